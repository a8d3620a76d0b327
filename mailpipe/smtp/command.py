r"""SMTP and LMTP commands as values (RFC 5321 section 4.1.1, RFC 2033, 3030, 3207, 4954), rendered and parsed.

    Mail("ann@example.org", (("SIZE", "1200"),)).octets     # b"MAIL FROM:<ann@example.org> SIZE=1200\r\n"
    parse_command(b"RCPT TO:<bob@example.net>")              # Rcpt("bob@example.net")

Rendering refuses whatever could end a command early or begin another. XCLIENT and XFORWARD are Postfix's own.

Never here: when a command may be given (`state`), and what it is answered.
"""

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

from mailpipe.errors import LocalProtocolError, RemoteProtocolError
from mailpipe.smtp.attribute import attributes_text, parse_attributes
from mailpipe.smtp.envelope import Parameters
from mailpipe.smtp.path import parse_path, path_octets

__all__ = [
    "Command", "Greeting", "Ehlo", "Helo", "Lhlo", "Mail", "Rcpt", "Data", "EndOfData", "Bdat", "Rset", "Noop", "Quit",
    "StartTls", "Auth", "AuthResponse", "Xclient", "Xforward", "Unknown", "parse_command",
]  # fmt: skip

MAX_COMMAND = 12_288
"""LIMIT: octets of one command line; RFC 4954 section 4 asks for this much for AUTH, all others stay far below."""

_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.\-]*+)|\[[A-Za-z0-9:.\-]++\]")
_KEYWORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9\-]*+")
_VALUE = re.compile(r"[\x21-\x3c\x3e-\x7e]++")
_UTF8_VALUE = re.compile("[\x21-\x3c\x3e-\x7e\u00a0-\u2027\u202a-\ud7ff\ue000-\U0010ffff]++")
_MECHANISM = re.compile(r"[A-Z0-9_\-]{1,20}")


class Command:
    """The base of all commands.

    Attributes:
        verb: the command's word, in capitals.
        ends_group: it must be the last of a group of pipelined commands (RFC 2920 section 3.1).
    """

    __slots__ = ()
    verb: ClassVar[str] = ""
    ends_group: ClassVar[bool] = False

    @property
    def octets(self) -> bytes:
        """The command as it goes over the wire.

        Raises:
            LocalProtocolError: an argument holds what must not be there.
        """
        return self.verb.encode("ascii") + b"\r\n"


@dataclass(frozen=True, slots=True)
class Greeting(Command):
    """No command: stands for the connection itself, which the peer answers with its greeting."""

    verb = "connecting"

    @property
    def octets(self) -> bytes:
        """Nothing."""
        return b""


@dataclass(frozen=True, slots=True)
class _Hello(Command):
    domain: str
    ends_group = True

    @property
    def octets(self) -> bytes:
        """The command line; the domain must be a name or an address literal."""
        if not self.domain or not _HOST.fullmatch(self.domain):
            raise LocalProtocolError(f"{self.domain!a} is no host name to introduce oneself with; set helo_name")
        return f"{self.verb} {self.domain}\r\n".encode("ascii")


@dataclass(frozen=True, slots=True)
class Ehlo(_Hello):
    """EHLO: hello, with extensions (RFC 5321 section 4.1.1.1)."""

    verb = "EHLO"


@dataclass(frozen=True, slots=True)
class Helo(_Hello):
    """HELO: hello to a peer of before 1995."""

    verb = "HELO"


@dataclass(frozen=True, slots=True)
class Lhlo(_Hello):
    """LHLO: hello in LMTP (RFC 2033 section 4.1)."""

    verb = "LHLO"


def _parameters(parameters: Parameters, smtputf8: bool) -> bytes:
    if not parameters:
        return b""
    allowed = _UTF8_VALUE if smtputf8 else _VALUE
    words = []
    for keyword, value in parameters:
        if not _KEYWORD.fullmatch(keyword) or (value is not None and not allowed.fullmatch(value)):
            raise LocalProtocolError(f"{keyword[:80]!a}={str(value)[:80]!a} cannot be an ESMTP parameter")
        words.append(f" {keyword}" if value is None else f" {keyword}={value}")
    return "".join(words).encode()


@dataclass(frozen=True, slots=True)
class Mail(Command):
    """MAIL: begins a transaction (RFC 5321 section 4.1.1.2).

    Attributes:
        reverse_path: address-spec, "" for the null one.
        parameters: (keyword, value or None) in the order in which they are sent.
    """

    reverse_path: str
    parameters: Parameters = ()
    verb = "MAIL"

    @property
    def smtputf8(self) -> bool:
        """Whether the transaction is one of RFC 6531."""
        return any(keyword == "SMTPUTF8" for keyword, _ in self.parameters)

    @property
    def octets(self) -> bytes:
        """The command line."""
        utf8 = self.smtputf8
        return b"MAIL FROM:" + path_octets(self.reverse_path, utf8) + _parameters(self.parameters, utf8) + b"\r\n"


@dataclass(frozen=True, slots=True)
class Rcpt(Command):
    """RCPT: names one recipient (RFC 5321 section 4.1.1.3).

    Attributes:
        forward_path: address-spec.
        parameters: (keyword, value or None).
        smtputf8: the transaction is one of RFC 6531, so that UTF-8 may be sent.
    """

    forward_path: str
    parameters: Parameters = ()
    smtputf8: bool = False
    verb = "RCPT"

    @property
    def octets(self) -> bytes:
        """The command line."""
        if not self.forward_path:
            raise LocalProtocolError("a recipient cannot be the null path")
        path = path_octets(self.forward_path, self.smtputf8)
        return b"RCPT TO:" + path + _parameters(self.parameters, self.smtputf8) + b"\r\n"


@dataclass(frozen=True, slots=True)
class Data(Command):
    """DATA: asks to send the content (RFC 5321 section 4.1.1.4)."""

    verb = "DATA"
    ends_group = True


@dataclass(frozen=True, slots=True)
class EndOfData(Command):
    """No command: the line with a dot that ends the content; answered once, in LMTP once for each recipient."""

    verb = "end of data"

    @property
    def octets(self) -> bytes:
        """The dot line."""
        return b".\r\n"


@dataclass(frozen=True, slots=True)
class Bdat(Command):
    """BDAT: a counted piece of the content follows (RFC 3030 section 2).

    Attributes:
        size: octets that follow the command line.
        last: it is the last piece.
    """

    size: int
    last: bool = False
    verb = "BDAT"

    @property
    def octets(self) -> bytes:
        """The command line, without the piece."""
        return f"BDAT {self.size}{' LAST' if self.last else ''}\r\n".encode("ascii")


@dataclass(frozen=True, slots=True)
class Rset(Command):
    """RSET: forget the transaction."""

    verb = "RSET"


@dataclass(frozen=True, slots=True)
class Noop(Command):
    """NOOP: are you there?"""

    verb = "NOOP"
    ends_group = True


@dataclass(frozen=True, slots=True)
class Quit(Command):
    """QUIT: the end of the session."""

    verb = "QUIT"
    ends_group = True


@dataclass(frozen=True, slots=True)
class StartTls(Command):
    """STARTTLS: TLS from the next octet on (RFC 3207)."""

    verb = "STARTTLS"
    ends_group = True


@dataclass(frozen=True, slots=True)
class Auth(Command):
    """AUTH: who we are (RFC 4954).

    Attributes:
        mechanism: its name, in capitals.
        initial: the initial response before base64, None for none; never shown.
    """

    mechanism: str
    initial: bytes | None = field(default=None, repr=False)
    verb = "AUTH"
    ends_group = True

    @property
    def octets(self) -> bytes:
        """The command line; an empty initial response is written "="."""
        if not _MECHANISM.fullmatch(self.mechanism):
            raise LocalProtocolError(f"{self.mechanism!a} is no name of an authentication mechanism")
        initial = b"" if self.initial is None else b" " + (base64.b64encode(self.initial) or b"=")
        return b"AUTH " + self.mechanism.encode("ascii") + initial + b"\r\n"


@dataclass(frozen=True, slots=True)
class AuthResponse(Command):
    """A client's answer within an authentication exchange.

    Attributes:
        response: before base64, never shown; None cancels the exchange.
    """

    response: bytes | None = field(default=None, repr=False)
    verb = "AUTH"
    ends_group = True

    @property
    def octets(self) -> bytes:
        """The line in base64, or "*"."""
        return (b"*" if self.response is None else base64.b64encode(self.response)) + b"\r\n"


@dataclass(frozen=True, slots=True)
class _ClientAttributes(Command):
    attributes: Parameters
    ends_group = True

    @property
    def octets(self) -> bytes:
        """The command line; an IPv6 address gets its prefix, a value that is unavailable its word."""
        return f"{self.verb} {attributes_text(self.attributes)}\r\n".encode("ascii")


@dataclass(frozen=True, slots=True)
class Xclient(_ClientAttributes):
    """XCLIENT: the session is somebody else's, for all that the peer decides; it greets again afterwards.

    Attributes:
        attributes: (name, value, None where it is unavailable): NAME, ADDR, PORT, PROTO, HELO, LOGIN, DESTADDR,
            DESTPORT; only those that the peer lists may be sent.
    """

    verb = "XCLIENT"


@dataclass(frozen=True, slots=True)
class Xforward(_ClientAttributes):
    """XFORWARD: where the next message came from, for the peer's log; forgotten after the transaction.

    Attributes:
        attributes: (name, value, None where it is unavailable): NAME, ADDR, PORT, PROTO, HELO, IDENT, SOURCE; only
            those that the peer lists may be sent.
    """

    verb = "XFORWARD"


@dataclass(frozen=True, slots=True)
class Unknown(Command):
    """A command line that is none of the others, VRFY, EXPN and HELP among them.

    Attributes:
        word: the first word in capitals.
        argument: the rest.
    """

    word: str
    argument: str = ""

    @property
    def octets(self) -> bytes:
        """Not for sending.

        Raises:
            LocalProtocolError: always.
        """
        raise LocalProtocolError(f"{self.word[:80]!a} is not a command that a client of ours sends")


def parse_command(line: bytes) -> Command:
    """Read one command line, with or without its line end; for servers.

    Raises:
        RemoteProtocolError: a known command with arguments that it cannot have.

    >>> parse_command(b"mail from: <ann@example.org> size=12 BODY=8BITMIME")
    Mail(reverse_path='ann@example.org', parameters=(('SIZE', '12'), ('BODY', '8BITMIME')))
    """
    line = line.rstrip(b"\r\n")
    if len(line) > MAX_COMMAND:
        raise RemoteProtocolError(f"a command line of {len(line)} octets")
    word, _, argument = line.partition(b" ")
    verb = word.upper()
    try:
        reader = _READERS.get(verb)
        if reader is None:
            return Unknown(verb.decode("utf-8", "replace"), argument.decode("utf-8", "replace"))
        return reader(argument.strip(b" \t"))
    except (LocalProtocolError, ValueError) as error:
        raise RemoteProtocolError(f"{verb.decode()}: {error}") from error


def _bare(made: Command) -> Callable[[bytes], Command]:
    def read(argument: bytes) -> Command:
        if argument:
            raise ValueError("takes no argument")
        return made

    return read


def _hello(kind: type[_Hello]) -> Callable[[bytes], Command]:
    def read(argument: bytes) -> Command:
        if not argument:
            raise ValueError("a domain is missing")
        return kind(argument.split()[0].decode("utf-8", "replace"))

    return read


def _path_and_parameters(argument: bytes, word: bytes) -> tuple[str, Parameters]:
    # QUIRK: a space behind the colon is not in the grammar and is sent by many
    if argument[: len(word)].upper() != word:
        raise ValueError(f"expected {word.decode()}<path>")
    rest = argument[len(word) :].lstrip(b" ")
    end = rest.find(b">")
    if end < 0:
        raise ValueError("a path in angle brackets is missing")
    address = parse_path(rest[: end + 1])
    parameters: list[tuple[str, str | None]] = []
    for piece in rest[end + 1 :].decode().split():
        keyword, equals, value = piece.partition("=")
        if not _KEYWORD.fullmatch(keyword):
            raise ValueError(f"{keyword!a} is no parameter")
        parameters.append((keyword.upper(), value if equals else None))
    return address, tuple(parameters)


def _mail(argument: bytes) -> Command:
    return Mail(*_path_and_parameters(argument, b"FROM:"))


def _rcpt(argument: bytes) -> Command:
    address, parameters = _path_and_parameters(argument, b"TO:")
    if not address:
        raise ValueError("a recipient cannot be the null path")
    return Rcpt(address, parameters, smtputf8=not address.isascii())


def _bdat(argument: bytes) -> Command:
    words = argument.upper().split()
    if not words or not words[0].isdigit() or len(words[0]) > 20 or words[1:] not in ([], [b"LAST"]):
        raise ValueError("expected a size and, for the last piece, LAST")
    return Bdat(int(words[0]), len(words) == 2)


def _auth(argument: bytes) -> Command:
    words = argument.split()
    if not 1 <= len(words) <= 2:
        raise ValueError("expected a mechanism and at most one initial response")
    initial = None
    if len(words) == 2:
        initial = b"" if words[1] == b"=" else base64.b64decode(words[1], validate=True)
    return Auth(words[0].decode("ascii").upper(), initial)


def _client_attributes(kind: type[_ClientAttributes]) -> Callable[[bytes], Command]:
    return lambda argument: kind(parse_attributes(argument.decode("ascii")))


_READERS: dict[bytes, Callable[[bytes], Command]] = {
    b"EHLO": _hello(Ehlo),
    b"HELO": _hello(Helo),
    b"LHLO": _hello(Lhlo),
    b"MAIL": _mail,
    b"RCPT": _rcpt,
    b"DATA": _bare(Data()),
    b"BDAT": _bdat,
    b"RSET": _bare(Rset()),
    b"NOOP": lambda argument: Noop(),
    b"QUIT": _bare(Quit()),
    b"STARTTLS": _bare(StartTls()),
    b"AUTH": _auth,
    b"XCLIENT": _client_attributes(Xclient),
    b"XFORWARD": _client_attributes(Xforward),
}
