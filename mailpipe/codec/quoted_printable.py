"""The quoted-printable content transfer encoding (RFC 2045 6.7).

    octets = quoted_printable.decode(raw, defects)           # never raises
    raw = quoted_printable.encode(octets, is_text=True)      # line ends stay line ends
    raw = quoted_printable.encode(octets, is_text=False)     # line ends are octets like others

Never here: the "Q" of encoded words (encoded_word.py), which has another alphabet.

QUIRK: a "=" that is followed by neither two hexadecimal digits nor a line end is kept as it is; a soft line break
may have blanks behind its "=" (RFC 2045 6.7 (3) has them dropped), may end with CR or LF alone, and may be the last
octet of the body. Blanks before a bare LF are dropped only in a body without CR: to look for both costs as much
as the decoding.
"""

import binascii
import re
from collections.abc import Iterator

from mailpipe import native
from mailpipe.defect import Defect

__all__ = ["blocks", "decode", "encode"]

_STRAY = re.compile(rb"=(?![0-9A-Fa-f]{2}|\r?\n|\Z)")
_SOFT_BARE_CR = re.compile(rb"=[ \t]*+\r(?!\n)")
# A CR that stands alone or has a blank before it, and perhaps the first octet of all: a literal first character, so
# that the search looks for nothing else, and one assertion behind it, not two.
_ODD_CR = re.compile(rb"\r.(?<![^ \t]\r\n)", re.DOTALL)
_BARE_CR_BEHIND_SIGN = re.compile(rb"\r(?!\n)(?<=[= \t]\r)")
_BLANK_BEFORE_LF = re.compile(rb"\n(?<=[ \t]\n)")
_BLANK_BEFORE_CRLF = re.compile(rb"\r(?=\n)(?<=[ \t]\r)")
_SOFT = re.compile(rb"=[ \t]*+(?:\r|\n|\Z)")
_SOFT_BLANKS = re.compile(rb"=[ \t]++\n")
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
    return _decode(octets, 0x0D in octets, defects)


def _decode(octets: bytes, has_cr: bool, defects: list[Defect] | None = None) -> bytes:
    quick = native.decode_quoted_printable
    if quick is not None and (decoded := quick(octets, has_cr, defects is None)) is not None:
        return decoded
    return _decode_in_python(octets, has_cr, defects)


def _decode_in_python(octets: bytes, has_cr: bool, defects: list[Defect] | None = None) -> bytes:
    encoded = octets
    if has_cr:
        if _ODD_CR.search(encoded, 2 if encoded[:2] == b"\r\n" else 0) or encoded[-1:] == b"\r":
            if _BARE_CR_BEHIND_SIGN.search(encoded):
                encoded = _SOFT_BARE_CR.sub(b"=\n", encoded)
            if _BLANK_BEFORE_CRLF.search(encoded):
                encoded = b"\r\n".join([line.rstrip(b" \t") for line in encoded.split(b"\r\n")])
    elif _BLANK_BEFORE_LF.search(encoded):
        encoded = b"\n".join([line.rstrip(b" \t") for line in encoded.split(b"\n")])
    if encoded[-1:] in (b" ", b"\t"):
        encoded = encoded.rstrip(b" \t")
    decoded = binascii.a2b_qp(encoded)
    # A stray "=" stays in what a2b_qp gives, and "==" leaves one; elsewhere only "=3D" gives a "=".
    if 0x3D in decoded or encoded[-1:] == b"=":
        # An escape takes two octets, a soft line break two or three; a stray "=" takes less.
        expected = len(encoded) - 2 * encoded.count(b"=") - (encoded.count(b"=\r\n") if has_cr else 0)
        if len(decoded) != expected and _STRAY.search(encoded):
            encoded = _SOFT_BLANKS.sub(b"=\n", encoded)
            if defects is not None and (stray := _STRAY.search(octets, _first_stray(octets))):
                defects.append(Defect("invalid-quoted-printable", stray.start()))
            decoded = binascii.a2b_qp(_STRAY.sub(b"=3D", encoded))
    return decoded


def _first_stray(octets: bytes) -> int:
    """Where the first "=" stands that blanks and a line end do not follow either."""
    for stray in _STRAY.finditer(octets):
        if not _SOFT.match(octets, stray.start()):
            return stray.start()
    return len(octets)


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
    has_cr = re.search(b"\r", view) is not None
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
        yield _decode(block, has_cr)


def _safe_cut(block: bytes) -> int:
    """Where a line without end may be cut: before nothing that hangs together; 0 when there is no such place."""
    cut = len(block.rstrip(b" \t\r"))
    if (sign := block.find(b"=", max(cut - 3, 0), cut)) >= 0:
        cut = len(block[:sign].rstrip(b"="))
    # Blanks before the cut may be the end of a line whose end comes later.
    return cut if cut and block[cut - 1] not in b" \t\r" else 0
