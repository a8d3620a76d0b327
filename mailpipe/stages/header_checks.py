"""The checks of `validate-headers`: each is a name, a severity, a status, and the defects that it stands for.

    for finding in find(message):
        print(finding.check, finding.field, finding.sentence)

Never here: policies. A check finds; the stage decides.
"""

import re
from dataclasses import dataclass

from mailpipe.defect import DEFECTS, Severity
from mailpipe.fields import AddressList, DateTime, MessageId, is_address, occurrence
from mailpipe.fields.mime import MimeVersion
from mailpipe.fields.registry import required_names
from mailpipe.message import Field, Message

_NAME = re.compile(r"[!-9;-~]+")  # printable ASCII without a colon
_LONGEST, _RECOMMENDED = 998, 78
_PLAIN_ENCODINGS = ("7bit", "8bit", "binary")


@dataclass(frozen=True, slots=True)
class Check:
    """One rule.

    Attributes:
        severity: how much a finding matters to whoever reads the message.
        status: the enhanced status code of a rejection for it.
        rule: one sentence.
    """

    severity: Severity
    status: str
    rule: str


_N, _W, _E = Severity.NOTE, Severity.WARNING, Severity.ERROR

CHECKS: dict[str, Check] = {
    "required_fields": Check(_E, "5.6.0", "Date and From are there."),
    "single_fields": Check(_W, "5.6.0", "No field stands more often than it may."),
    "date_syntax": Check(_W, "5.6.0", "Dates can be read and are not obsolete."),
    "address_syntax": Check(_W, "5.6.0", "Addresses follow the syntax."),
    "message_id": Check(_W, "5.6.0", "There is a Message-ID of the form <left@right>."),
    "line_length": Check(_E, "5.6.0", "No line is longer than 998 octets."),
    "line_length_recommended": Check(_N, "5.6.0", "No line is longer than 78 characters."),
    "seven_bit": Check(_W, "5.6.7", "The header is ASCII or UTF-8."),
    "folding": Check(_N, "5.6.0", "No folded line is blank."),
    "field_syntax": Check(_E, "5.6.0", "Every line is a field."),
    "mime_version": Check(_N, "5.6.0", "MIME-Version is 1.0 where there are Content- fields."),
    "content_type": Check(_W, "5.6.1", "Content-Type and Content-Transfer-Encoding fit the syntax and each other."),
}
"""Every check, in the order in which they are made."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a check found.

    Attributes:
        check: a key of `CHECKS`.
        code: the defect's code, a key of `mailpipe.defect.DEFECTS`.
        field: the name of the header field, "" where it is about the header as a whole.
        place: the number of the field in the header, from 0; -1 where there is none.
    """

    check: str
    code: str
    field: str = ""
    place: int = -1

    @property
    def sentence(self) -> str:
        """What is wrong, for a person."""
        return DEFECTS[self.code].sentence

    @property
    def rfc(self) -> str:
        """Where it is written."""
        return DEFECTS[self.code].rfc


def find(message: Message) -> list[Finding]:
    """Everything that the checks find in a message's own header."""
    found: list[Finding] = []
    seen: dict[str, int] = {}
    for place, field in enumerate(message.header.lines):
        if not _NAME.fullmatch(field.name):
            # a name with a blank in it ends the header for other programs: what follows would be body to them
            found.append(Finding("field_syntax", "malformed-field", place=place))
            continue
        if field.raw[len(field.name) : len(field.name) + 1] != b":":
            found.append(Finding("field_syntax", "space-before-colon", field.name, place))
        key = field.key
        seen[key] = seen.get(key, 0) + 1
        maximum = occurrence(key).maximum
        if maximum is not None and seen[key] > maximum:
            found.append(Finding("single_fields", "duplicate-field", field.name, place))
        found += _of_lines(field, place)
        found += _of_value(field, place)
    for name in required_names():
        if name.lower() not in seen:
            found.append(Finding("required_fields", "missing-field", name))
    if "message-id" not in seen:
        found.append(Finding("message_id", "missing-field", "Message-ID"))
    found += _of_mime(message, seen)
    return found


def _of_lines(field: Field, place: int) -> list[Finding]:
    """Line lengths, blank folds and octets above 127 of one field."""
    found, raw, name = [], field.raw, field.name
    if len(raw) > _RECOMMENDED:
        longest = max(len(line.rstrip(b"\r")) for line in raw.split(b"\n"))
        if longest > _LONGEST:
            found.append(Finding("line_length", "line-too-long", name, place))
        elif longest > _RECOMMENDED and max(map(_characters, raw.split(b"\n"))) > _RECOMMENDED:
            found.append(Finding("line_length_recommended", "line-over-78", name, place))
    if b"\n" in raw[:-1] and any(not line.strip() for line in raw.split(b"\n")[:-1]):
        found.append(Finding("folding", "blank-continuation", name, place))
    if not raw.isascii():
        try:
            raw.decode("utf-8")
        except UnicodeDecodeError:
            found.append(Finding("seven_bit", "eight-bit-header", name, place))
    if b"\r" in raw.replace(b"\r\n", b"") and b"\n" in raw:
        found.append(Finding("field_syntax", "bare-cr", name, place))
    if b"\0" in raw:
        found.append(Finding("field_syntax", "nul-octet", name, place))
    return found


def _characters(line: bytes) -> int:
    return len(line.rstrip(b"\r").decode("utf-8", "replace"))


def _of_value(field: Field, place: int) -> list[Finding]:
    """The typed value of one field."""
    value, name = field.value, field.name
    if isinstance(value, DateTime):
        if value.datetime is None:
            return [Finding("date_syntax", "invalid-date", name, place)]
        return [Finding("date_syntax", defect.code, name, place) for defect in value.defects[:1]]
    if isinstance(value, AddressList):
        if value.defects:
            return [Finding("address_syntax", value.defects[0].code, name, place)]
        if not all(is_address(mailbox.address) for mailbox in value.mailboxes):
            return [Finding("address_syntax", "invalid-address", name, place)]
        return []
    if isinstance(value, MessageId) and field.key == "message-id":
        if not value.id or value.defects:
            return [Finding("message_id", "invalid-message-id", name, place)]
    elif isinstance(value, MimeVersion) and (value.major, value.minor) != (1, 0):
        return [Finding("mime_version", "invalid-mime-version", name, place)]
    elif field.key in ("content-type", "content-disposition"):
        return [Finding("content_type", defect.code, name, place) for defect in value.defects[:1]]
    return []


def _of_mime(message: Message, seen: dict[str, int]) -> list[Finding]:
    """MIME-Version, Content-Type and Content-Transfer-Encoding against one another."""
    found = []
    if "mime-version" not in seen and any(key.startswith("content-") and key != "content-length" for key in seen):
        found.append(Finding("mime_version", "missing-field", "MIME-Version"))
    if message.is_multipart:
        if message.transfer_encoding not in _PLAIN_ENCODINGS:
            found.append(Finding("content_type", "encoded-multipart", "Content-Transfer-Encoding"))
        if not message.content_type.boundary:
            found.append(Finding("content_type", "missing-boundary", "Content-Type"))
    return found
