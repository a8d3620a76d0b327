"""The envelope of a mail that came without one: made from header fields by a rule of the pipeline file.

    [envelope]
    reverse_path       = ["return-path", "sender", "from"]     # the first that is there; or "null", or an address
    recipients         = ["to", "cc", "bcc"]                   # all of them; an entry with "@" is an address
    fallback_recipient = "postmaster@example.org"              # where none is found

An archive keeps messages, not transactions (RFC 5321 section 2.3.1): who a message went to is a guess from its
header, and which guess is right only the user knows. The header itself is never changed by it.

Never here: envelopes that a client or a command line gave; those are taken as they are.
"""

import re
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

from mailpipe.archive import from_line
from mailpipe.errors import LocalProtocolError
from mailpipe.fields import address as addresses
from mailpipe.fields.address import AddressList
from mailpipe.message import Message
from mailpipe.smtp.dsn import parse_notify
from mailpipe.smtp.envelope import Envelope, ForwardPath, MailParameters
from mailpipe.smtp.path import AddressSpec

_FIELD_NAME = re.compile(r"[!-9;-?A-~]{1,78}")  # printable ASCII without ":" and "@"
# What may stand between "<" and ">" without ending the path or the command; the sink checks the rest.
_ADDRESS = re.compile(r"[^\x00-\x1f\x7f<>]{1,998}")
_SPACED = re.compile(r'[^\s"]++(?>(?:"(?>(?:[^"\\]|\\.)*)"[^\s"]*+)*)|(?>(?:"(?>(?:[^"\\]|\\.)*)"[^\s"]*+)+)')


def _is_address(text: str) -> bool:
    return bool(_ADDRESS.fullmatch(text) and _SPACED.fullmatch(text)) and "@" in text[1:-1]


def _needs_smtputf8(address: str) -> bool:
    if address.isascii():
        return False
    try:
        return AddressSpec.parse(address).needs_smtputf8
    except LocalProtocolError:
        return True  # the sink will refuse it in words of its own


def _choice(text: str) -> str:
    text = text.strip()
    if "@" in text:
        if not _is_address(text):
            raise ValueError(f"{text!r} is no address such as 'bob@example.net'")
        return text
    if not _FIELD_NAME.fullmatch(text):
        raise ValueError(f"{text!r} is neither the name of a header field nor an address")
    return text.lower()


def _address(text: str) -> str:
    if not _is_address(text.strip()):
        raise ValueError(f"{text!r} is no address such as 'bob@example.net'")
    return text.strip()


def _listed(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _notify(value: object) -> object:
    listed = _listed(value)
    if not isinstance(listed, tuple | list) or not all(isinstance(one, str) for one in listed):
        return value
    return parse_notify(",".join(listed)) if listed else ()


_Choice = Annotated[str, AfterValidator(_choice)]
_Choices = Annotated[tuple[_Choice, ...], BeforeValidator(_listed)]


class EnvelopeRule(BaseModel):
    """How an envelope is made for a mail that has none."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    reverse_path: _Choices = ("return-path", "sender", "from")
    """Where the sender is taken from, the first that has one counts: names of header fields, "from-line" for the
    separator line of an mbox, an address, or "null"."""

    recipients: _Choices = ("to", "cc", "bcc")
    """Where the recipients are taken from: names of header fields and fixed addresses, all of them together."""

    fallback_recipient: Annotated[str, AfterValidator(_address)] | None = None
    """The recipient of a message in which no other is found."""

    notify: Annotated[tuple[str, ...], BeforeValidator(_notify)] = ()
    """What the senders are to be told: ["never"], or any of "success", "failure" and "delay"; by default as the servers
    do it (RFC 3461 section 4.1)."""

    ret: Literal["full", "hdrs"] | None = None
    """What of a message comes back with a failure: all of it, or its header."""

    on_missing: Literal["fail", "quarantine", "defer"] = "fail"
    """What becomes of a mail without any recipient, where the sink needs one."""

    def envelope_of(self, message: Message, separator: bytes = b"") -> Envelope:
        """The envelope that the rule makes of a message; without recipients where it has none.

        Args:
            message: whose header is looked at.
            separator: the From_ line that stood before it in an mbox, b"" for none.
        """
        reverse_path = next(self._senders(message, separator), "")
        chosen: dict[tuple[str, str], str] = {}
        for address in self._recipients(message):
            local, _, domain = address.rpartition("@")
            chosen.setdefault((local, domain.casefold()), address)
        if not chosen and self.fallback_recipient:
            chosen = {("", ""): self.fallback_recipient}
        paths = tuple(ForwardPath(address, self.notify) for address in chosen.values())
        needs_utf8 = any(_needs_smtputf8(address) for address in (reverse_path, *chosen.values()))
        if self.ret is None and not needs_utf8:
            return Envelope(reverse_path, paths)
        ret = None if self.ret is None else self.ret.upper()
        return Envelope(reverse_path, paths, MailParameters(ret=ret, smtputf8=needs_utf8))

    @property
    def missing(self) -> str:
        """One line that says where no recipient was found."""
        return f"no recipient found in {', '.join(self.recipients) or 'nothing'}; see [envelope] in the pipeline file"

    def _senders(self, message: Message, separator: bytes) -> Iterator[str]:
        for choice in self.reverse_path:
            if choice == "null":
                yield ""
            elif choice == "from-line":
                parsed = from_line.parse(separator)
                sender = parsed.sender if parsed else ""
                if sender == "MAILER-DAEMON":  # what mail servers write for the null reverse-path
                    yield ""
                elif _is_address(sender):
                    yield sender
            elif "@" in choice:
                yield choice
            elif choice == "return-path":
                yield from _return_paths(message)
            else:
                yield from _addresses(message, choice)

    def _recipients(self, message: Message) -> Iterator[str]:
        for choice in self.recipients:
            if "@" in choice:
                yield choice
            else:
                yield from _addresses(message, choice)


def _addresses(message: Message, name: str) -> Iterator[str]:
    """The addresses of every field of that name, whatever the field is elsewhere used for."""
    lists: list[AddressList] = []
    for value in message.values_of(name):
        if not isinstance(value, AddressList):
            lists = [addresses.parse(field.body) for field in message.header.all(name)]
            break
        lists.append(value)
    for one in lists:
        for mailbox in one.mailboxes:
            if _is_address(mailbox.address):
                yield mailbox.address


def _return_paths(message: Message) -> Iterator[str]:
    """The first Return-Path, "<>" included (RFC 5321 section 4.4)."""
    for field in message.header.all("return-path"):
        body = field.body.decode("utf-8", "surrogateescape").strip()
        address = body[1:-1].strip() if body.startswith("<") and body.endswith(">") else body
        if not address or _is_address(address):
            yield address
