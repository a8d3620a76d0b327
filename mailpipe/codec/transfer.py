"""Content transfer encodings (RFC 2045 6): the one table from token to codec, and the choice for a peer.

    octets = transfer.decode(raw, "base64", defects)
    token = transfer.choose(octets, "7bit", is_text=True)
    raw = transfer.encode(octets, token, is_text=True)

Never here: charsets. What comes out of a transfer encoding is octets; charset.py makes text of them.
"""

import io
from collections.abc import Iterator
from functools import lru_cache
from typing import Literal

from mailpipe.codec import base64, quoted_printable, uuencode
from mailpipe.defect import Defect
from mailpipe.errors import ComposeError

__all__ = ["TOKENS", "Domain", "canonical", "choose", "decode", "encode", "open_decoded"]

Domain = Literal["7bit", "8bit", "binary"]
"""What a peer takes: lines of ASCII, lines of octets, or anything."""

TOKENS = ("7bit", "8bit", "binary", "base64", "quoted-printable", "x-uuencode")
"""The canonical tokens."""

_SPELLINGS = {
    "7bit": ("7bits", "7bitascii", "7", "usascii", "ascii", "none", "text", "plain", "utf8", "iso88591", "unencoded"),
    "8bit": ("8bits", "8", "8bitmime", "raw8bit"),
    "binary": ("bin", "raw"),
    "base64": ("b64", "base", "64", "b", "base64mime", "xbase64", "mimebase64", "base64encoded", "rfc2045base64"),
    "quoted-printable": (
        "quotedprintable", "qp", "q", "quoted", "quotedprintible", "quotedprintabel", "quotedprinable",
        "quoteprintable", "quotedprint", "xquotedprintable", "quotedprintables", "printable",
    ),
    "x-uuencode": ("xuuencode", "uuencode", "xuue", "uue", "xuu", "uu", "xuuencoded", "uuencoded"),
}  # fmt: skip
_CANONICAL = {spelling: token for token, also in _SPELLINGS.items() for spelling in (token, *also)}
_LONGEST = 998


@lru_cache(256)
def canonical(token: str) -> str | None:
    """The canonical token for what a sender wrote, None for an encoding that is unknown.

    Case, comments, quotes, punctuation and the common misspellings do not matter; an empty token is "7bit".

    >>> canonical("Quoted_Printable;"), canonical("base-64"), canonical("8 bit"), canonical("x-gzip")
    ('quoted-printable', 'base64', '8bit', None)
    """
    lowered = token.strip().lower()
    if not lowered:
        return "7bit"
    if lowered in TOKENS:
        return lowered
    lowered = lowered.split(";")[0].split("(")[0] or lowered.rsplit(")")[-1]
    squeezed = "".join([character for character in lowered if character.isascii() and character.isalnum()])
    return _CANONICAL.get(squeezed)


def decode(octets: bytes | memoryview, token: str, defects: list[Defect] | None = None) -> bytes:
    """Undo a transfer encoding; octets under an unknown one are left alone, with a defect.

    Never raises: what is damaged is decoded as far as it goes.
    """
    known = token if token in _DECODERS else canonical(token)
    if known is None:
        if defects is not None:
            defects.append(Defect("unknown-transfer-encoding", 0, _printable(token)))
        return bytes(octets)
    decoder = _DECODERS[known]
    return bytes(octets) if decoder is None else decoder(octets, defects)


_DECODERS = {
    "7bit": None,
    "8bit": None,
    "binary": None,
    "base64": base64.decode,
    "quoted-printable": quoted_printable.decode,
    "x-uuencode": uuencode.decode,
}


def encode(octets: bytes | memoryview, token: str, *, is_text: bool, line_end: bytes = b"\r\n") -> bytes:
    """Apply a transfer encoding; 7bit, 8bit and binary give the octets as they are.

    Args:
        octets: what to encode.
        token: any spelling of an encoding that is known.
        is_text: whether line ends are line ends, or octets like others (quoted-printable only).
        line_end: how encoded lines end.

    Raises:
        ComposeError: the encoding is unknown, or one that is only read (x-uuencode).
    """
    match canonical(token):
        case "base64":
            return base64.encode(octets, line_end)
        case "quoted-printable":
            return quoted_printable.encode(octets, is_text=is_text, line_end=line_end)
        case "7bit" | "8bit" | "binary":
            return bytes(octets)
    raise ComposeError(f"transfer encoding {token!r} cannot be written; use base64 or quoted-printable")


def choose(octets: bytes | memoryview, domain: Domain, *, is_text: bool) -> str:
    """The encoding that fits the octets and the peer best (RFC 2045 6.2, RFC 6152, RFC 3030).

    Text stays readable where it can: 7bit or 8bit as it is, else the shorter of quoted-printable and base64.
    What is no text is left alone only where no transport would touch it: all ASCII, lines ended by CRLF.

    >>> choose("a naïve example".encode(), "7bit", is_text=True), choose("naïve".encode(), "8bit", is_text=True)
    ('quoted-printable', '8bit')
    """
    octets = bytes(octets)
    is_ascii = octets.isascii()
    if _has_plain_lines(octets, is_text):
        if is_ascii:
            return "7bit"
        if domain != "7bit" and is_text:
            return "8bit"
    if domain == "binary":
        return "binary"
    if not is_text:
        return "base64"
    escapes = len(octets.translate(None, _UNESCAPED))
    quoted, packed = len(octets) + 2 * escapes, (len(octets) + 2) // 3 * 4
    return "quoted-printable" if quoted + quoted // 38 <= packed + packed // 38 else "base64"


_UNESCAPED = bytes({9, 10, 13, *range(32, 127)} - {61})


def _has_plain_lines(octets: bytes, is_text: bool) -> bool:
    """Whether no line is longer than 998 octets and there is neither NUL nor bare CR (RFC 5322 2.1.1, 2.3)."""
    if b"\0" in octets:
        return False
    if b"\r" in octets and octets.count(b"\r") != octets.count(b"\r\n"):
        return False
    if not is_text and octets.count(b"\n") != octets.count(b"\r\n"):
        return False
    start, size = 0, len(octets)
    while start + _LONGEST < size:
        if octets[start + _LONGEST : start + _LONGEST + 2] == b"\r\n":
            start += _LONGEST + 2
        elif (end := octets.rfind(b"\n", start, start + _LONGEST + 1)) >= 0:
            start = end + 1
        else:
            return False
    return True


def open_decoded(octets: bytes | memoryview, token: str) -> io.BufferedIOBase:
    """A readable file of the decoded octets, decoded block by block as it is read; it does not seek.

    The file holds on to `octets` (a mapped file, say) until it is closed. Under an unknown encoding it gives the
    octets as they are.
    """
    view = memoryview(octets)
    match canonical(token):
        case "base64":
            pieces = base64.blocks(view)
        case "quoted-printable":
            pieces = quoted_printable.blocks(view)
        case "x-uuencode":
            pieces = iter([uuencode.decode(view)])
        case _:
            pieces = (bytes(view[start : start + 65536]) for start in range(0, len(view), 65536))
    return io.BufferedReader(_Pieces(pieces), 65536)


class _Pieces(io.RawIOBase):
    """Pieces of octets as a raw file."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._rest = pieces, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override, unused-ignore]
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size

    def close(self) -> None:
        self._pieces, self._rest = iter(()), memoryview(b"")
        super().close()


def _printable(token: str) -> str:
    return token[:80].encode("ascii", "backslashreplace").decode() if token.isprintable() else repr(token[:80])
