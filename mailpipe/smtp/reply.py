r"""SMTP replies (RFC 5321 section 4.2; enhanced status codes of RFC 2034): what a peer answers.

    reply = Reply(550, ("no such user",), EnhancedStatus(5, 1, 1))
    reply.is_permanent, reply.octets     # True, b"550 5.1.1 no such user\r\n"
    parser = ReplyParser(); parser.feed(octets); parser.next_reply()

Never here: what a reply means for a message; that is read by whoever asked.
"""

import re
from collections import deque
from dataclasses import dataclass

from mailpipe.errors import LocalProtocolError, RemoteProtocolError
from mailpipe.status import EnhancedStatus

_UNSAFE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply, of one or more lines.

    Attributes:
        code: three digits, 200 to 599.
        lines: the text of each line, without code, status and line end.
        status: the enhanced status code, None where the peer gave none.
    """

    code: int
    lines: tuple[str, ...] = ()
    status: EnhancedStatus | None = None

    @property
    def is_positive(self) -> bool:
        """2yz: done."""
        return 200 <= self.code <= 299

    @property
    def is_intermediate(self) -> bool:
        """3yz: go on."""
        return 300 <= self.code <= 399

    @property
    def is_transient(self) -> bool:
        """4yz: try again later."""
        return 400 <= self.code <= 499

    @property
    def is_permanent(self) -> bool:
        """5yz: do not try again."""
        return 500 <= self.code <= 599

    @property
    def text(self) -> str:
        """The text of all lines in one."""
        return " ".join(line for line in self.lines if line)

    @property
    def enhanced_status(self) -> EnhancedStatus:
        """The peer's own status, or the undefined one of the reply's class."""
        if self.status is not None:
            return self.status
        return EnhancedStatus({2: 2, 3: 2, 4: 4}.get(self.code // 100, 5), 0, 0)

    def __str__(self) -> str:
        return " ".join(str(piece) for piece in (self.code, self.status, self.text) if piece)

    @property
    def octets(self) -> bytes:
        """The reply as it goes over the wire.

        Raises:
            LocalProtocolError: a line holds a control character.
        """
        status = f"{self.status} " if self.status is not None else ""
        lines = self.lines or ("",)
        if any(_UNSAFE.search(line) for line in lines):
            raise LocalProtocolError("a reply line holds a control character")
        last = len(lines) - 1
        return "".join(
            f"{self.code}{' ' if number == last else '-'}{status}{line}".rstrip(" ") + "\r\n"
            if number == last
            else f"{self.code}-{status}{line}\r\n"
            for number, line in enumerate(lines)
        ).encode("utf-8", "surrogateescape")


# QUIRK: a tab, several spaces, or nothing between code and text, as some servers send it.
_LINE = re.compile(rb"([2-5][0-9][0-9])(?![0-9])(-?)[ \t]*+([^\x00]*+)\Z")
_STATUS = re.compile(r"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?:\s++|\Z)")
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")

MAX_REPLY = 64 * 1024
"""LIMIT: octets of one reply; stops a peer that never ends its lines or its list of lines."""


class ReplyParser:
    r"""Octets in, replies out; tolerant of what servers really send.

        parser.feed(b"250-mx.example.net\r\n250 PIPELINING\r\n")
        parser.next_reply()          # Reply(250, ("mx.example.net", "PIPELINING")), or None: feed more

    Taken as well: a bare LF, missing text, odd spacing, empty lines between replies, an enhanced status code on every
    line or on one, codes that differ within a reply (the last one counts). Text is made printable: what is not UTF-8
    is written as \\xNN, a control character as a space.
    """

    __slots__ = ("_lines", "_rest", "_size", "_waiting")

    def __init__(self) -> None:
        self._waiting: deque[bytes] = deque()  # whole lines, without LF
        self._rest = b""  # the beginning of one
        self._lines: list[bytes] = []  # those of a reply that goes on
        self._size = 0

    def feed(self, octets: bytes) -> None:
        """Take in what the peer sent."""
        whole = (self._rest + octets if self._rest else octets).split(b"\n")
        # LIMIT: of a line without end no more is kept than shows that it has none
        self._rest = whole.pop()[: 2 * MAX_REPLY]
        self._waiting += whole

    def clear(self) -> None:
        """Forget what has not been read, as at STARTTLS (RFC 3207 section 4.2)."""
        self._waiting.clear()
        self._rest, self._lines, self._size = b"", [], 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits to be read but line ends."""
        return not (self._lines or self._rest.strip() or any(line.strip() for line in self._waiting))

    def next_reply(self) -> Reply | None:
        """The next whole reply, None where octets are missing.

        Raises:
            RemoteProtocolError: what came is no reply, or a reply without end.
        """
        while self._waiting:
            whole = self._waiting.popleft()
            if not self._lines and (said_before := _SAID_BEFORE.get(whole)) is not None:
                self._size = 0
                return said_before
            line = whole.rstrip(b"\r")
            self._size += len(whole) + 1
            if self._size > MAX_REPLY:
                break
            if not line.strip():
                continue
            match = _LINE.match(line)
            if match is None:
                raise RemoteProtocolError(f"the peer does not speak SMTP: expected a reply, got {_shown(line[:80])!r}")
            self._lines.append(match[3])
            if not match[2]:
                lines, self._lines, self._size = tuple(self._lines), [], 0
                reply = _reply(int(match[1]), lines)
                if len(lines) == 1 and len(whole) < 80:
                    if len(_SAID_BEFORE) >= 256:
                        _SAID_BEFORE.clear()  # LIMIT: a peer with a number in each reply must not fill the memory
                    _SAID_BEFORE[whole] = reply
                return reply
        if self._size + len(self._rest) > MAX_REPLY:
            raise RemoteProtocolError(f"the peer sent a reply of more than {MAX_REPLY} octets")
        return None


def _shown(octets: bytes) -> str:
    return _UNPRINTABLE.sub(" ", octets.decode("utf-8", "backslashreplace")).strip()


def _reply(code: int, raw: tuple[bytes, ...]) -> Reply:
    """A status belongs to a reply only where its class fits the code (RFC 2034 section 4)."""
    status_class = {2: "2", 3: "2", 4: "4", 5: "5"}[code // 100]
    lines, status = [], None
    for octets in raw:
        text = _shown(octets)
        match = _STATUS.match(text)
        if match is not None and text[0] == status_class:
            status = status or EnhancedStatus.parse(match[1])
            text = text[match.end() :]
        lines.append(text)
    return Reply(code, tuple(lines), status)


# A server says the same few things for every message of a batch: line without LF → its reply.
_SAID_BEFORE: dict[bytes, Reply] = {}


def parse_reply(octets: bytes) -> Reply:
    r"""Read exactly one reply.

    Raises:
        RemoteProtocolError: the octets are none, or more than one.

    >>> str(parse_reply(b"550-5.1.1 no such user\r\n550 5.1.1 here\r\n"))
    '550 5.1.1 no such user here'
    """
    parser = ReplyParser()
    parser.feed(octets)
    reply = parser.next_reply()
    if reply is None or not parser.is_empty:
        raise RemoteProtocolError(f"not one whole reply: {_shown(octets[:80])!r}")
    return reply
