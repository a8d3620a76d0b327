r"""What goes over the wire, line by line, for people to read; secrets masked, content shortened. It does no I/O.

    transcript = Transcript(file.write, clock=time.monotonic)
    transcript.connected("mx.example.net:25"); transcript.sent(octets); transcript.received(octets)
    # "   0.012 > MAIL FROM:<ann@example.org>\n"

A line has the seconds since the beginning, a direction (">" sent, "<" received, "*" neither) and the text; what cannot
be printed is written \xNN, so that a peer can neither end a line nor paint a terminal. Octets are taken in pieces of
any size, in clear, from the beginning of the connection on. A transcript that cannot be written ends without a word: it
must never cost a mail.

From AUTH on, everything that either side says is masked until the exchange has ended, whatever the mechanism; and where
a peer repeats in a reply what it was sent there, that is masked as well.

Never here: files, clocks (`mailpipe.net.trace` has both).

LIMIT: of a line 2,000 octets are shown; what is longer is counted, and neither kept nor searched.
"""

import base64
import binascii
import re
from collections.abc import Callable

MASK = "***"
MAX_SHOWN = 2_000
_MAX_KEPT = 16_384  # more than the longest line of AUTH (RFC 4954 section 4), so that an echo of it is found whole
_ODD = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_AUTH = re.compile(rb"[ \t]*+AUTH(?![^ \t])", re.IGNORECASE)
_MECHANISM = re.compile(rb"[ \t]*+(AUTH[ \t]++[A-Z0-9_\-]{1,20})(?:[ \t]++(.*+))?", re.IGNORECASE | re.DOTALL)
_BDAT = re.compile(rb"[ \t]*+BDAT[ \t]++([0-9]{1,20})(?![^ \t])", re.IGNORECASE)
_DATA = re.compile(rb"[ \t]*+DATA[ \t]*+", re.IGNORECASE)
_END = b"\r\n.\r\n"
_LEAST_SECRET = 4  # shorter ones would be found everywhere


class _Lines:
    """Octets in pieces of any size to lines without their ends, each with the number of octets left out."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._left_out = 0

    def take(self, octets: bytes, start: int) -> tuple[int, bytes, int] | None:
        """The next line that ends in `octets` from `start` on: where the next begins, the line, octets left out."""
        end = octets.find(b"\n", start)
        piece = octets[start : len(octets) if end < 0 else end]
        room = max(_MAX_KEPT - len(self._kept), 0)
        self._kept += piece[:room]
        self._left_out += max(len(piece) - room, 0)
        return None if end < 0 else (end + 1, *self.rest())

    def rest(self) -> tuple[bytes, int]:
        """What stands behind the last line end, taken away."""
        line, left_out = bytes(self._kept), self._left_out
        self._kept.clear()
        self._left_out = 0
        return line.removesuffix(b"\r"), left_out

    def __bool__(self) -> bool:
        return bool(self._kept)


class Transcript:
    """Writes down one connection after the other.

    Attributes:
        mask: secrets are masked.
        is_broken: it could not be written, and goes no further.
    """

    def __init__(
        self,
        write: Callable[[str], object],
        mask: bool = True,
        *,
        clock: Callable[[], float] | None = None,
        label: str = "",
    ) -> None:
        """Nothing is written yet.

        Args:
            write: takes one line, its LF included.
            mask: mask secrets; False only where the peer and the password are for testing.
            clock: running time in seconds from anywhere; None for lines without time.
            label: stands at the beginning of each line, to tell connections in one file from one another.
        """
        self.mask, self.is_broken = mask, False
        self._write, self._clock = write, clock
        self._label = f"{label} " if label else ""
        self._start = clock() if clock is not None else 0.0
        self._begin()

    def _begin(self) -> None:
        self._out, self._in = _Lines(), _Lines()
        self._unanswered = 1  # the greeting
        self._in_auth = self._in_content = self._data_asked = False
        self._responses_due = 0  # challenges whose answer has not been sent
        self._piece_left = 0  # octets of BDAT that are still to come
        self._counted = 0
        self._tail = b""
        self._secrets: set[str] = set()

    def connected(self, peer: str) -> None:
        """A connection begins; what is left of the one before is written down."""
        self._flush()
        self._begin()
        self.note(f"connected to {peer}")

    def note(self, text: str) -> None:
        """Write down what is neither sent nor received: a handshake, a failure."""
        self._line("*", text)

    def closed(self, reason: str = "") -> None:
        """The connection has ended."""
        self._flush()
        self._begin()
        self.note(f"closed{f': {reason}' if reason else ''}")

    def sent(self, octets: bytes) -> None:
        """Take what went out."""
        at = 0
        while at < len(octets):
            if self._piece_left:
                at = self._count_piece(octets, at)
            elif self._in_content:
                at = self._count_content(octets, at)
            elif (taken := self._out.take(octets, at)) is not None:
                at, line, left_out = taken
                self._sent_line(line, left_out)
            else:
                return

    def received(self, octets: bytes) -> None:
        """Take what came in."""
        at = 0
        while (taken := self._in.take(octets, at)) is not None:
            at, line, left_out = taken
            self._received_line(line, left_out)

    def _sent_line(self, line: bytes, left_out: int) -> None:
        self._unanswered += 1
        # A peer may end the exchange in the same breath as its challenge, before the answer is on its way.
        if self._in_auth or self._responses_due:
            self._responses_due = max(self._responses_due - 1, 0)
            self._remember(line)
            self._line(">", MASK if self.mask else line, left_out)
            return
        if _AUTH.match(line):
            self._in_auth = True
            match = _MECHANISM.fullmatch(line)
            words = b" " + MASK.encode() if match is None or match[2] is not None else b""
            self._remember(line.lstrip()[4:] if match is None else match[2] or b"")
            shown = (b"AUTH" if match is None else match[1]) + words
            self._line(">", shown if self.mask else line, 0 if self.mask else left_out)
            return
        self._line(">", line, left_out)
        if (piece := _BDAT.match(line)) is not None:
            self._piece_left = int(piece[1])
        elif _DATA.fullmatch(line):
            self._data_asked = True

    def _received_line(self, line: bytes, left_out: int) -> None:
        code, is_last = line[:3], line[3:4] != b"-"
        is_challenge = code == b"334"
        if self.mask and is_challenge:
            self._line("<", b"334" + line[3:4] + MASK.encode())
        else:
            self._line("<", self._without_secrets(line), left_out)
        if not (is_last and code.isdigit()):
            return
        self._unanswered = max(self._unanswered - 1, 0)
        if is_challenge:
            self._in_auth = True
            self._responses_due += 1
        elif not self._unanswered:
            self._in_auth = False
        if code == b"354" and self._data_asked:
            self._in_content, self._data_asked = True, False
            self._counted, self._tail = 0, b"\r\n"

    def _count_piece(self, octets: bytes, at: int) -> int:
        taken = min(self._piece_left, len(octets) - at)
        self._piece_left -= taken
        self._counted += taken
        if not self._piece_left:
            self._content_line()
        return at + taken

    def _count_content(self, octets: bytes, at: int) -> int:
        """Look for the line with the dot, whichever way it is cut."""
        found = (self._tail + octets[at : at + 4]).find(_END)
        start = octets.find(_END, at) if found < 0 else at + found - len(self._tail)
        if found < 0 and start < 0:
            self._counted += len(octets) - at
            self._tail = (self._tail + octets[max(at, len(octets) - 4) :])[-4:]
            return len(octets)
        end = start + len(_END)
        self._counted += end - at - len(b".\r\n")
        self._in_content = False
        self._content_line()
        self._unanswered += 1
        self._line(">", b".")
        return end

    def _content_line(self) -> None:
        self._line(">", f"… {self._counted:,} octets")
        self._counted = 0

    def _remember(self, line: bytes) -> None:
        """Note the secrets as they were sent and as they were meant."""
        for word in line.split():
            try:
                meant = base64.b64decode(word, validate=True)
            except binascii.Error:
                meant = b""
            # PLAIN, CRAM-MD5 and the mechanisms for tokens have the secret behind the name
            last = re.split(rb"[\x00\x01 ]", meant.rstrip(b"\x01"))[-1]
            for piece in (word, meant, last):
                if len(piece) >= _LEAST_SECRET:
                    self._secrets.add(piece.decode("utf-8", "backslashreplace"))

    def _without_secrets(self, line: bytes) -> str:
        text = line.decode("utf-8", "backslashreplace")
        if self.mask:
            for secret in sorted(self._secrets, key=len, reverse=True):
                text = text.replace(secret, MASK)
        return text

    def _flush(self) -> None:
        """Write down lines that have no end, and content that broke off."""
        if self._counted or self._piece_left or self._in_content:
            self._content_line()
        for arrow, lines in ((">", self._out), ("<", self._in)):
            if lines:
                line, left_out = lines.rest()
                hidden = self.mask and (self._in_auth or b"AUTH".startswith(line[:4].strip().upper()))
                self._line(arrow, MASK if hidden else self._without_secrets(line), 0 if hidden else left_out)

    def _line(self, arrow: str, text: str | bytes, left_out: int = 0) -> None:
        if isinstance(text, bytes):
            text = text.decode("utf-8", "backslashreplace")
        left_out += max(len(text) - MAX_SHOWN, 0)
        shown = _ODD.sub(lambda match: _escaped(match[0]), text[:MAX_SHOWN])
        more = f" … {left_out:,} octets more" if left_out else ""
        time = f"{self._clock() - self._start:8.3f} " if self._clock is not None else ""
        if self.is_broken:
            return
        try:
            self._write(f"{self._label}{time}{arrow} {shown}{more}\n")
        except Exception:  # noqa: BLE001 - between the dot and its reply an exception would put mail in doubt
            self.is_broken = True


def _escaped(letter: str) -> str:
    return f"\\x{ord(letter):02x}" if ord(letter) < 256 else f"\\u{ord(letter):04x}"
