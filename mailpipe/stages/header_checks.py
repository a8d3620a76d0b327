"""The checks of `validate-headers`: each is a name, a severity, a status, and the defects that it stands for.

    for finding in find(message):
        print(finding.check, finding.field, finding.sentence)

Never here: policies. A check finds; the stage decides.
"""

import re
from dataclasses import dataclass

from mailpipe.defect import DEFECTS, Severity
from mailpipe.fields import (
    AddressList,
    AuthenticationResults,
    DateTime,
    Keywords,
    Languages,
    ListId,
    ListUrls,
    MessageId,
    MessageIdList,
    Received,
    ReturnPath,
    TagList,
    Text,
    TokenValue,
    is_address,
)
from mailpipe.fields.mime import MimeVersion
from mailpipe.fields.registry import required_names, row_of
from mailpipe.message import Field, Message

_NAME = re.compile(r"[!-9;-~]+")  # printable ASCII without a colon
_LONGEST, _RECOMMENDED = 998, 78
_PLAIN_ENCODINGS = ("7bit", "8bit", "binary")
# A line that neither goes on with the one before nor begins with a name and its colon.
_ODD_LINE = re.compile(rb"(?:\A|\n)(?![!-9;-~]++:|(?<=\n)[ \t]|(?<=\n)\Z)")
_BLANK_LINE = re.compile(rb"\n[ \t\r\v\f]*+\n")
# What no check asks about.
_NOT_CHECKED = frozenset(
    (AuthenticationResults, Keywords, Languages, ListId, ListUrls, MessageIdList, Received, ReturnPath, TagList, Text,
     TokenValue)
)  # fmt: skip


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
    header = message.header
    octets = bytes(header)[len(header.envelope_line or b"") :]
    # most headers are in order, and one look at all lines tells so sooner than one at each
    has_bare_cr = 0x0D in octets and octets.count(b"\r") != octets.count(b"\r\n")
    is_regular = not has_bare_cr and _ODD_LINE.search(octets) is None
    is_clean = not has_bare_cr and octets.isascii() and 0 not in octets and _BLANK_LINE.search(octets) is None
    is_short = max(map(len, octets.split(b"\n"))) <= _RECOMMENDED
    for place, field in enumerate(header.lines):
        name = field.name
        if not is_regular:
            if not _NAME.fullmatch(name):
                # a name with a blank in it ends the header for other programs: what follows would be body to them
                found.append(Finding("field_syntax", "malformed-field", place=place))
                continue
            if field.raw[len(name) : len(name) + 1] != b":":
                found.append(Finding("field_syntax", "space-before-colon", name, place))
        key = name.lower()
        seen[key] = times = seen.get(key, 0) + 1
        row = row_of(key)
        if row is not None and (maximum := row.occurrence.maximum) is not None and times > maximum:
            found.append(Finding("single_fields", "duplicate-field", name, place))
        if not is_short and len(field.raw) > _RECOMMENDED:
            found += _of_lengths(field, place)
        if not is_clean:
            found += _of_octets(field, place)
        if row is not None and row.value not in _NOT_CHECKED:
            found += _of_value(field, name, key, place)
    for name in required_names():
        if name.lower() not in seen:
            found.append(Finding("required_fields", "missing-field", name))
    if "message-id" not in seen:
        found.append(Finding("message_id", "missing-field", "Message-ID"))
    found += _of_mime(message, seen)
    return found


def _of_lengths(field: Field, place: int) -> list[Finding]:
    """Line lengths of one field."""
    lines = field.raw.split(b"\n")
    longest = max(map(len, lines))
    if longest <= _RECOMMENDED:
        return []
    if longest > _LONGEST and max(len(line.rstrip(b"\r")) for line in lines) > _LONGEST:
        return [Finding("line_length", "line-too-long", field.name, place)]
    if max(map(_characters, lines)) > _RECOMMENDED:
        return [Finding("line_length_recommended", "line-over-78", field.name, place)]
    return []


def _of_octets(field: Field, place: int) -> list[Finding]:
    """Blank folds, octets above 127, NUL and bare CR of one field."""
    found, raw, name = [], field.raw, field.name
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


def _of_value(field: Field, name: str, key: str, place: int) -> list[Finding]:
    """The typed value of one field."""
    value = field.value
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
    if isinstance(value, MessageId) and key == "message-id":
        if not value.id or value.defects:
            return [Finding("message_id", "invalid-message-id", name, place)]
    elif isinstance(value, MimeVersion) and (value.major, value.minor) != (1, 0):
        return [Finding("mime_version", "invalid-mime-version", name, place)]
    elif key in ("content-type", "content-disposition"):
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
