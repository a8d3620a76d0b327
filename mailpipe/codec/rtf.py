r"""RTF as Outlook writes it: unpacked (MS-OXRTFCP), and the text or the HTML that is in it (MS-OXRTFEX).

    raw = rtf.decompress(packed)
    html = rtf.html_of(raw)                     # None where it was not made of HTML
    text = rtf.text_of(raw)

Nothing raises: damaged octets give what they give.

Never here: fonts, tables, pictures.
"""

import re
import struct
from collections.abc import Iterator

from mailpipe.codec import charset as charsets

__all__ = ["decompress", "html_of", "text_of"]

_DICTIONARY = (
    rb"{\rtf1\ansi\mac\deff0\deftab720{\fonttbl;}{\f0\fnil \froman \fswiss \fmodern \fscript \fdecor MS Sans "
    rb"SerifSymbolArialTimes New RomanCourier{\colortbl\red0\green0\blue0"
    b"\r\n"
    rb"\par \pard\plain\f0\fs20\b\i\u\tab\tx"
)
# LIMIT: the text of a message; what is longer is a bomb or a book.
_LONGEST = 20_000_000

_TOKEN = re.compile(
    rb"\\(?:'([0-9A-Fa-f]{2})|([a-zA-Z]{1,32})(-?[0-9]{1,10})? ?|(.))|([{}])|[\r\n]+|([^\\{}\r\n]+)", re.DOTALL
)
# Groups that hold no text of the message.
_ASIDE = frozenset((
    b"fonttbl", b"colortbl", b"stylesheet", b"info", b"pict", b"object", b"header", b"footer", b"generator",
    b"listtable", b"listoverridetable", b"rsidtbl", b"themedata", b"datastore", b"xmlnstbl", b"fldinst", b"mhtmltag",
))  # fmt: skip
_CHARACTERS = {
    b"par": "\n", b"line": "\n", b"row": "\n", b"sect": "\n", b"page": "\n", b"tab": "\t", b"cell": "\t",
    b"lquote": "\u2018", b"rquote": "\u2019", b"ldblquote": "\u201c", b"rdblquote": "\u201d", b"bullet": "\u2022",
    b"endash": "\u2013", b"emdash": "\u2014",
}  # fmt: skip

_SYMBOLS = {b"~": "\u00a0", b"_": "-", b"\\": "\\", b"{": "{", b"}": "}", b"\r": "\n", b"\n": "\n"}


def decompress(packed: bytes) -> bytes:
    """RTF out of its packing; as far as it goes where it is damaged, b"" where it is none."""
    if len(packed) < 16:
        return b""
    size, raw_size, kind, _ = struct.unpack_from("<IIII", packed)
    end = min(size + 4, len(packed))
    if kind == 0x414C454D:  # "MELA": not packed
        return packed[16 : min(16 + raw_size, end)][:_LONGEST]
    if kind != 0x75465A4C:  # "LZFu"
        return b""
    window = bytearray(4096)
    window[: len(_DICTIONARY)] = _DICTIONARY
    write, position, made = len(_DICTIONARY), 16, bytearray()
    while position < end and len(made) < _LONGEST:
        control = packed[position]
        position += 1
        for bit in range(8):
            if position >= end:
                break
            if not control >> bit & 1:
                one = packed[position]
                position += 1
                made.append(one)
                window[write] = one
                write = (write + 1) & 4095
                continue
            if position + 2 > end:
                return bytes(made)
            pair = packed[position] << 8 | packed[position + 1]
            position += 2
            place, length = pair >> 4, (pair & 15) + 2
            if place == write:
                return bytes(made)
            for _ in range(length):
                one = window[place]
                place = (place + 1) & 4095
                made.append(one)
                window[write] = one
                write = (write + 1) & 4095
    return bytes(made)


def html_of(raw: bytes) -> str | None:
    """The HTML that RTF was made of (MS-OXRTFEX section 2.1.3); None where it was made of something else."""
    if b"\\fromhtml" not in raw[:4096]:
        return None
    return "".join(_pieces(raw, True))


def text_of(raw: bytes) -> str:
    r"""The text of RTF.

    >>> text_of(rb"{\rtf1\ansi\ansicpg1252{\fonttbl{\f0 Arial;}}Gr\'fc\'dfe\par \u8364?}")
    'Grüße\n€'
    """
    return "".join(_pieces(raw, False))


def _pieces(raw: bytes, is_html: bool) -> Iterator[str]:
    """The text, piece by piece; of RTF that was HTML, what stands for HTML alone."""
    codepage, octets = "windows-1252", bytearray()
    # of each group: whether it is aside, in a tag of HTML, meant for readers of RTF alone; characters behind \u
    stack: list[tuple[bool, bool, bool, int]] = []
    aside = in_tag = only_rtf = is_star = False
    after, skip = 1, 0
    for token in _TOKEN.finditer(raw):
        hexadecimal, word, number, symbol, brace, text = token.groups()
        if hexadecimal is not None or text is not None:
            piece = bytes([int(hexadecimal, 16)]) if hexadecimal is not None else text
            if skip:
                taken = min(skip, len(piece))
                skip, piece = skip - taken, piece[taken:]
            if not aside and not (is_html and only_rtf and not in_tag):
                octets += piece
            continue
        if octets and (brace is None or len(octets) > 65536):
            yield charsets.decode_text(bytes(octets), codepage, may_detect=False).text
            octets.clear()
        if brace == b"{":
            # LIMIT: groups beyond a depth that no writer reaches count as one
            if len(stack) < 10_000:
                stack.append((aside, in_tag, only_rtf, after))
            is_star, skip = False, 0
        elif brace == b"}":
            if octets:
                yield charsets.decode_text(bytes(octets), codepage, may_detect=False).text
                octets.clear()
            if stack:
                aside, in_tag, only_rtf, after = stack.pop()
            skip = 0
        elif symbol == b"*":
            is_star = True
        elif symbol is not None:
            if not aside and not (is_html and only_rtf and not in_tag):
                yield _SYMBOLS.get(symbol, "")
        elif word is not None:
            if word == b"htmltag":
                in_tag, aside = is_html, not is_html
            elif word == b"htmlrtf":
                only_rtf = number != b"0"
            elif word in _ASIDE or is_star:
                aside = True
            elif word == b"ansicpg" and number:
                codepage = f"windows-{int(number)}" if 1250 <= int(number) <= 1258 else f"cp{int(number)}"
            elif word == b"uc" and number:
                after = max(0, min(int(number), 8))
            elif not aside and not (is_html and only_rtf and not in_tag):
                if word == b"u" and number:
                    yield _character(int(number))
                elif word in _CHARACTERS:
                    yield _CHARACTERS[word]
            if word == b"u" and number:
                skip = after
            is_star = False
    if octets:
        yield charsets.decode_text(bytes(octets), codepage, may_detect=False).text


def _character(number: int) -> str:
    number &= 0xFFFF
    return "\ufffd" if 0xD800 <= number < 0xE000 or not number else chr(number)
