"""The base64 content transfer encoding (RFC 2045 6.8), as senders really write it.

    octets = base64.decode(raw, defects)      # never raises
    raw = base64.encode(octets)               # lines of 76 columns, each with its end
    for piece in base64.blocks(raw): ...      # the same, piece by piece, in bounded memory

Never here: the "B" of encoded words as such (encoded_word.py calls this), nor the URL-safe alphabet, which no
mail standard allows.

QUIRK: after padding the octets go on where more base64 follows, because mailers and gateways concatenate encoded
pieces; a footer in plain text that a list manager appended is left out, with a defect.
"""

import binascii
import re
from collections.abc import Callable, Iterator
from itertools import chain

from mailpipe.defect import Defect

__all__ = ["blocks", "decode", "encode"]

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_FOREIGN = bytes(set(range(256)) - set(_ALPHABET + b"="))
_FIRST_FOREIGN = re.compile(rb"[^A-Za-z0-9+/=\r\n \t]")
_SIGNS = re.compile(rb"==*+")  # not "=++": a search has an octet to look for
_PADDING = re.compile(rb"=[=\r\n \t]*+")
_BLOCK = 1 << 18
_SAMPLE = 512

# Below this many octets a call of binascii costs less than one of pybase64.
_SMALL = 128


def _lines(octets: bytes | memoryview) -> bytes:
    flat = binascii.b2a_base64(octets, newline=False)
    return b"\n".join([*[flat[start : start + 76] for start in range(0, len(flat), 76)], b""]) if flat.strip() else b""


_fast_decode: Callable[[bytes], bytes] = binascii.a2b_base64
_fast_lines: Callable[[bytes | memoryview], bytes] = _lines
try:
    import pybase64
except ImportError:
    pass
else:
    _fast_decode, _fast_lines = pybase64.b64decode, pybase64.encodebytes


def decode(octets: bytes | memoryview, defects: list[Defect] | None = None) -> bytes:
    r"""Undo base64; foreign characters are skipped, missing padding is supplied, a cut group is dropped.

    Args:
        octets: the encoded body.
        defects: gets "invalid-base64" and "truncated-base64" with offsets within `octets`.

    >>> decode(b"aGVsbG8=\r\nIHdvcmxk\r\n")
    b'hello world'
    """
    if isinstance(octets, memoryview):
        octets = bytes(octets)
    padding = octets.find(b"=")
    tail = b"" if padding < 0 else octets[padding:]
    if len(tail) <= 8 and not tail.strip(b"=\r\n \t"):
        try:
            decoded = binascii.a2b_base64(octets) if len(octets) < _SMALL else _fast_decode(octets)
        except (binascii.Error, ValueError):
            pass
        else:
            if defects is not None:
                _report_foreign(octets, len(decoded), len(tail), defects)
            return decoded
    return b"".join(blocks(octets, defects))


def encode(octets: bytes | memoryview, line_end: bytes = b"\r\n") -> bytes:
    r"""Encode into lines of 76 columns, each followed by `line_end`; nothing for nothing.

    >>> encode(b"hello world")
    b'aGVsbG8gd29ybGQ=\r\n'
    """
    lines = _fast_lines(octets)
    return lines if line_end == b"\n" else lines.replace(b"\n", line_end)


def blocks(octets: bytes | memoryview, defects: list[Defect] | None = None) -> Iterator[bytes]:
    """Undo base64 piece by piece, a quarter of a megabyte at a time; the pieces joined are what `decode` gives."""
    view = memoryview(octets)
    padding = _PADDING.search(view)
    # A list manager's footer: the first thing behind the padding is no base64.
    has_footer = padding is not None and _is_text(bytes(view[padding.end() : padding.end() + _SAMPLE]))
    stop = padding.end() if padding is not None and has_footer else len(view)
    carry, is_reported = b"", defects is None
    for start in range(0, stop, _BLOCK):
        block = bytes(view[start : min(start + _BLOCK, stop)])
        pieces, carry, is_misplaced = _groups(carry + block.translate(None, _FOREIGN))
        if not is_reported and defects is not None:
            if found := _FIRST_FOREIGN.search(block):
                defects.append(Defect("invalid-base64", start + found.start(), f"octet 0x{found[0][0]:02X}"))
                is_reported = True
            elif is_misplaced:
                defects.append(Defect("invalid-base64", start + block.find(b"="), '"=" inside a group'))
                is_reported = True
        if pieces:
            yield b"".join(pieces)
    symbols = carry.rstrip(b"=")
    if len(symbols) > 1 and _is_whole(symbols):
        yield binascii.a2b_base64(symbols + b"=" * (4 - len(symbols)))
    if defects is not None:
        if symbols:
            defects.append(Defect("truncated-base64", stop))
        if has_footer:
            defects.append(Defect("invalid-base64", stop, "text follows the padding"))


def _is_whole(symbols: bytes) -> bool:
    """Whether two or three symbols without padding are all that there was, and not a group that was cut off.

    An encoder leaves the bits that it does not need zero (RFC 4648 section 3.5); those of a cut group are chance.
    """
    spare = 0b1111 if len(symbols) == 2 else 0b11
    return not _ALPHABET.index(symbols[-1]) & spare


def _groups(cleaned: bytes) -> tuple[list[bytes], bytes, bool]:
    """Decode symbols and "="; an unfinished group is handed back, and whether a "=" stood where none belongs."""
    pieces: list[bytes] = []
    rest, is_misplaced, start = b"", False, 0
    for signs in chain(_SIGNS.finditer(cleaned), (None,)):
        stop, end = (len(cleaned), len(cleaned)) if signs is None else signs.span()
        symbols, equals = rest + cleaned[start:stop], end - stop
        start = end
        odd = len(symbols) % 4
        if odd >= 2 and odd + equals >= 4:
            pieces.append(_fast_decode(symbols + b"=" * (4 - odd)))
            rest = b""
            continue
        whole = len(symbols) - odd
        if whole:
            pieces.append(_fast_decode(symbols[:whole]))
        rest = symbols[whole:]
        if equals and end < len(cleaned):
            is_misplaced = is_misplaced or odd > 0
        elif equals and odd >= 2:
            # The second "=" may come with the next block.
            rest += b"="
    return pieces, rest, is_misplaced


def _is_text(sample: bytes) -> bool:
    """Whether more than an eighth of the octets, line ends aside, are none of base64."""
    letters = len(sample.translate(None, b"\r\n"))
    return len(sample.translate(None, _ALPHABET + b"=\r\n")) * 8 > letters


def _report_foreign(octets: bytes, decoded: int, tail: int, defects: list[Defect]) -> None:
    """Add a defect where there is anything but the alphabet and line ends, told by sizes before any search."""
    end = len(octets) - (tail or len(octets[-2:]) - len(octets[-2:].rstrip(b"\r\n")))
    skipped = end - (decoded * 4 + 2) // 3
    if not skipped:
        return
    column = octets.find(b"\n", 0, 1000)
    if column > 0:
        # Lines of one length: where every line end stands in its column, and they are all that was skipped.
        feeds = octets[column : end : column + 1]
        if feeds.count(b"\n") == len(feeds) == skipped:
            return
        returns = octets[column - 1 : end : column + 1]
        if feeds.count(b"\n") == len(feeds) and returns.count(b"\r") == len(returns) == skipped - len(feeds):
            return
    if skipped > octets.count(b"\n", 0, end) + octets.count(b"\r", 0, end) and (found := _FIRST_FOREIGN.search(octets)):
        defects.append(Defect("invalid-base64", found.start(), f"octet 0x{found[0][0]:02X}"))
