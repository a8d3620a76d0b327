"""The quoted-printable content transfer encoding (RFC 2045 6.7).

    octets = quoted_printable.decode(raw, defects)           # never raises
    raw = quoted_printable.encode(octets, is_text=True)      # line ends stay line ends
    raw = quoted_printable.encode(octets, is_text=False)     # line ends are octets like others

Never here: the "Q" of encoded words (encoded_word.py), which has another alphabet.

QUIRK: a "=" that is followed by neither two hexadecimal digits nor a line end is kept as it is; a soft line break
may have blanks behind its "=" (RFC 2045 6.7 (3) has them dropped), may end with CR or LF alone, and may be the last
octet of the body.
"""

import binascii
import re
from collections.abc import Iterator

from mailpipe.defect import Defect

__all__ = ["blocks", "decode", "encode"]

_STRAY = re.compile(rb"=(?![0-9A-Fa-f]{2}|\r?\n|\Z)")
_SOFT_BARE_CR = re.compile(rb"=[ \t]*+\r(?!\n)")
_BARE_CR = re.compile(rb"\r(?!\n)")
_LONG_FROM = re.compile(rb"^From (?=[^\n]{70})", re.MULTILINE)
_FROM = re.compile(rb"^From ", re.MULTILINE)
_BLOCK = 1 << 18


def decode(octets: bytes | memoryview, defects: list[Defect] | None = None) -> bytes:
    r"""Undo quoted-printable; what does not follow the syntax is kept literally.

    Args:
        octets: the encoded body.
        defects: gets "invalid-quoted-printable" with the offset of the first stray "=" within `octets`.

    >>> decode(b"caf=C3=A9 =\r\nau lait  \r\n").decode()
    'café au lait\r\n'
    """
    if isinstance(octets, memoryview):
        octets = bytes(octets)
    encoded = octets
    if b"\r" in encoded and _BARE_CR.search(encoded):
        encoded = _SOFT_BARE_CR.sub(b"=\n", encoded)
    encoded = _without_trailing_blanks(encoded)
    decoded = binascii.a2b_qp(encoded)
    # An escape gives two octets less, a soft line break two or three; a stray "=" gives less than that away, and
    # a2b_qp takes "==" for one "=".
    expected = len(encoded) - 2 * encoded.count(b"=") - (encoded.count(b"=\r\n") if b"\r" in encoded else 0)
    if len(decoded) != expected and _STRAY.search(encoded):
        if defects is not None:
            place = _STRAY.search(octets) or _STRAY.search(encoded)
            assert place is not None
            defects.append(Defect("invalid-quoted-printable", place.start()))
        decoded = binascii.a2b_qp(_STRAY.sub(b"=3D", encoded))
    return decoded


def encode(octets: bytes | memoryview, *, is_text: bool, line_end: bytes = b"\r\n") -> bytes:
    r"""Encode into lines of at most 76 characters, safe for every transport and mailbox format.

    Blanks at the end of a line, a "." alone and "From " at the beginning of a line are encoded too.

    Args:
        octets: what to encode.
        is_text: CRLF and LF are line ends, written as `line_end`; without it they are encoded as octets.
        line_end: how lines end in the result.

    >>> encode("café\n".encode(), is_text=True)
    b'caf=C3=A9\r\n'
    """
    octets = bytes(octets)
    if is_text:
        if b"\r" in octets:
            octets = octets.replace(b"\r\n", b"\n")
        if b"\r" in octets:
            # b2a_qp leaves a bare CR of a text alone, so that it would become a line end on its way.
            encoded = b"\n".join([binascii.b2a_qp(line, istext=False) for line in octets.split(b"\n")])
        else:
            encoded = binascii.b2a_qp(octets, istext=True)
    else:
        encoded = binascii.b2a_qp(octets, istext=False)
    if b"\r\n" in encoded:
        encoded = encoded.replace(b"\r\n", b"\n")
    if b"From " in encoded:
        encoded = _FROM.sub(b"=46rom ", _LONG_FROM.sub(b"=46rom=\n ", encoded))
    return encoded if line_end == b"\n" else encoded.replace(b"\n", line_end)


def blocks(octets: bytes | memoryview) -> Iterator[bytes]:
    """Undo quoted-printable piece by piece, cut at line ends; the pieces joined are what `decode` gives."""
    view = memoryview(octets)
    start = 0
    while start < len(view):
        size = _BLOCK
        while True:
            block = bytes(view[start : start + size])
            if start + len(block) == len(view):
                break
            if (cut := block.rfind(b"\n") + 1) or (cut := _safe_cut(block)):
                block = block[:cut]
                break
            size *= 2
        start += len(block)
        yield decode(block)


def _safe_cut(block: bytes) -> int:
    """Where a line without end may be cut: before nothing that hangs together; 0 when there is no such place."""
    cut = len(block.rstrip(b" \t\r"))
    if (sign := block.find(b"=", max(cut - 3, 0), cut)) >= 0:
        cut = sign
    # Blanks before the cut may be the end of a line whose end comes later.
    return cut if cut and block[cut - 1] not in b" \t\r" else 0


def _without_trailing_blanks(encoded: bytes) -> bytes:
    """Drop white space at the ends of lines, which a transport added (RFC 2045 6.7 (3))."""
    has_tab = b"\t" in encoded
    if b"\r" in encoded and (b" \r\n" in encoded or (has_tab and b"\t\r\n" in encoded)):
        encoded = b"\r\n".join([line.rstrip(b" \t") for line in encoded.split(b"\r\n")])
    if b" \n" in encoded or (has_tab and b"\t\n" in encoded):
        encoded = b"\n".join([line.rstrip(b" \t") for line in encoded.split(b"\n")])
    return encoded.rstrip(b" \t") if encoded[-1:] in (b" ", b"\t") else encoded
