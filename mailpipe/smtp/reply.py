"""SMTP replies (RFC 5321 section 4.2; enhanced status codes of RFC 2034): what a peer answers.

    reply = Reply(550, ("no such user",), EnhancedStatus(5, 1, 1))
    reply.is_permanent, reply.octets     # True, b"550 5.1.1 no such user\\r\\n"

Never here: what a reply means for a message; that is read by whoever asked.
"""

import re
from dataclasses import dataclass

from mailpipe.errors import LocalProtocolError
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
