r"""Transparency and the end of data (RFC 5321 sections 4.5.2 and 4.1.1.4).

    encode_content(b"Subject: dots\r\n\r\n.hidden\r\n")     # b"Subject: dots\r\n\r\n..hidden\r\n.\r\n"
    reader = DataReader(); reader.receive_data(octets)     # the other direction, for servers

CRLF is the only line end on the wire. A bare CR or LF is refused, not mended, because a server that takes one for a
line end would read the rest of the message as commands (SMTP smuggling). The end of data is CRLF.CRLF and nothing else.

Never here: mending of messages; `to_crlf` is there for whoever decides to.
"""

import re
from io import IncrementalNewlineDecoder

from mailpipe.errors import LimitExceeded, LocalProtocolError

TERMINATOR = b".\r\n"
"""The end of data, where the content before it ends with CRLF."""
_END = b"\r\n.\r\n"
_BARE_CR = re.compile(rb"\r(?!\n)")
_DOT_FIRST = re.compile(rb"\n\.")
_ONE_PASS = 1 << 18  # octets; more are not to be held twice


def is_crlf_only(octets: bytes) -> bool:
    """Whether every CR is followed by LF and every LF preceded by CR."""
    if len(octets) <= _ONE_PASS:
        seen = IncrementalNewlineDecoder(None, False)  # notes which line ends there are, in a third of the time
        seen.decode(octets.decode("latin-1"), True)
        return seen.newlines is None or seen.newlines == "\r\n"
    # Where each CR has its LF, there is no LF without CR unless there are more of them.
    return octets.count(b"\r") == octets.count(b"\n") and _BARE_CR.search(octets) is None


def to_crlf(octets: bytes) -> bytes:
    r"""The same lines with CRLF as their only line end; a bare CR ends a line, too.

    >>> to_crlf(b"a\nb\r\nc\rd")
    b'a\r\nb\r\nc\r\nd'
    """
    if is_crlf_only(octets):
        return octets
    return octets.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")


def stuff(octets: bytes) -> bytes:
    """Double each dot that begins a line.

    Raises:
        LocalProtocolError: the octets hold a bare CR or LF.
    """
    if not is_crlf_only(octets):
        raise LocalProtocolError("the message holds a bare CR or LF, which must not go over the wire; use to_crlf()")
    # to search by a pattern takes a third of the time of `replace`, and most messages have no such line
    stuffed = octets.replace(b"\r\n.", b"\r\n..") if _DOT_FIRST.search(octets) is not None else octets
    return b"." + stuffed if stuffed[:1] == b"." else stuffed


def chunk_content(octets: bytes) -> bytes:
    """The content as it follows BDAT LAST, to be read there as it would be behind DATA: whole lines, no bare CR or LF.

    RFC 3030 section 2 wants lines unless BODY=BINARYMIME was said; a peer that passes the message on by DATA would
    otherwise smuggle for us.

    Raises:
        LocalProtocolError: the octets hold a bare CR or LF.
    """
    if not is_crlf_only(octets):
        raise LocalProtocolError("the message holds a bare CR or LF, which must not go over the wire; use to_crlf()")
    return octets if not octets or octets.endswith(b"\r\n") else octets + b"\r\n"


def unstuff(octets: bytes) -> bytes:
    """Undo `stuff`: a dot that begins a line is dropped."""
    plain = octets.replace(b"\r\n.", b"\r\n")
    return plain[1:] if plain.startswith(b".") else plain


def encode_content(octets: bytes) -> bytes:
    """The content as it follows a 354 reply, the end of data included; a last line without CRLF gets one.

    Raises:
        LocalProtocolError: the octets hold a bare CR or LF.
    """
    stuffed = stuff(octets)
    return stuffed + (TERMINATOR if not stuffed or stuffed[-2:] == b"\r\n" else _END)


class DataReader:
    """Collects what follows a 354 reply until the end of data.

        reader.receive_data(octets)
        if reader.is_complete: content, rest = reader.octets, reader.rest

    Attributes:
        is_complete: the end of data has come.
        octets: the content without transparency, once complete.
        rest: what came behind the end of data: the next commands.
    """

    def __init__(self, limit: int = 1 << 30) -> None:
        self.is_complete = False
        self.octets, self.rest = b"", b""
        self._limit = limit
        # A virtual line end before the first octet makes ".CRLF" at the very beginning an end like any other.
        self._buffer = bytearray(b"\r\n")
        self._searched = 0

    def receive_data(self, octets: bytes) -> None:
        """Take in more octets.

        Raises:
            LimitExceeded: the content is larger than the limit.
        """
        if self.is_complete:
            self.rest += octets
            return
        self._buffer += octets
        found = self._buffer.find(_END, self._searched)
        if found < 0:
            if len(self._buffer) > self._limit:
                raise LimitExceeded("message_size", len(self._buffer), self._limit)
            self._searched = max(0, len(self._buffer) - len(_END) + 1)
            return
        self.is_complete = True
        self.rest = bytes(self._buffer[found + len(_END) :])
        raw = bytes(self._buffer[: found + 2])
        self.octets = raw.replace(b"\r\n.", b"\r\n")[2:]
        self._buffer = bytearray()
