"""Encoded words: text of any charset in header fields (RFC 2047, language by RFC 2231 5).

    text = encoded_word.decode(b"=?utf-8?Q?Gr=C3=BC=C3=9Fe?= from Bonn", defects)
    raw = encoded_word.encode("Größe aus Bonn")          # b"=?utf-8?q?Gr=C3=B6=C3=9Fe_aus_Bonn?="

Never here: where encoded words may stand; fields know that.

QUIRK: what real mailers write is read: words without white space around them, white space inside a word, a
character or a base64 group split between two words, missing padding, "?" inside a "Q" word, unknown charsets, and
raw octets above 127 around the words (UTF-8 first, else detected). A word without its "?=" stays as it is.
"""

import binascii
import re
from collections.abc import Callable
from typing import Literal

from mailpipe.codec import base64, charset
from mailpipe.codec.labels import ASCII_SUPERSETS
from mailpipe.defect import Defect

__all__ = ["decode", "decode_text", "encode", "needs_encoding", "words"]

# A word ends at the first "?=", and is looked for only before the last "?=" of the field, so that no attempt
# runs to the end in vain.
_WORD = re.compile(
    rb"=\?([!-)+->@-~]++)(?:\*[!->@-~]*+)?+\?([BbQq])\?([^?]*+(?:\?(?!=)[^?]*+)*+)\?=",
)
_LONGEST = 75
_BLANKS = b" \t\r\n"
_Encoding = Literal["b", "q"]


def decode(octets: bytes, defects: list[Defect] | None = None) -> str:
    """The text of unstructured field content: encoded words decoded, everything else as it is.

    Args:
        octets: an unfolded field body or a piece of one.
        defects: gets "invalid-encoded-word", "eight-bit-header" and the defects of charset.py, with offsets
            within `octets`.

    >>> decode(b"=?utf-8?q?a=C3?= =?utf-8?q?=A4?= b")
    'aä b'
    """
    start = octets.find(b"=?")
    if start < 0:
        return _raw_reader(octets, defects)(octets)
    stop = octets.rfind(b"?=") + 2
    read_raw = _raw_reader(octets, defects)
    pieces: list[str] = []
    position = 0
    label, runs, begin = b"", list[tuple[bytes, bytes]](), 0
    for word in _WORD.finditer(octets, start, max(stop, start)):
        name, encoding, payload = word.groups()
        between = octets[position : word.start()]
        if runs and between.strip(_BLANKS):
            pieces.append(_decode_runs(label, runs, begin, defects))
            runs = []
            pieces.append(read_raw(between))
        elif not runs:
            pieces.append(read_raw(between))
        elif name != label:
            pieces.append(_decode_runs(label, runs, begin, defects))
            runs = []
        if not runs:
            label, begin = name, word.start()
        runs.append((encoding, payload))
        position = word.end()
    if runs:
        pieces.append(_decode_runs(label, runs, begin, defects))
    rest = octets[position:]
    if defects is not None and (odd := rest.find(b"=?")) >= 0 and rest.count(b"?", odd) > 2:
        defects.append(Defect("invalid-encoded-word", position + odd))
    pieces.append(read_raw(rest))
    return "".join(pieces)


def decode_text(text: str, defects: list[Defect] | None = None) -> str:
    """The same for text that is `str` already; surrogate escapes stand for octets that were no UTF-8.

    >>> decode_text("=?iso-8859-1?Q?=E4?= ö")
    'ä ö'
    """
    if "=?" not in text and text.isascii():
        return text
    try:
        return decode(text.encode("utf-8", "surrogateescape"), defects)
    except UnicodeEncodeError:
        return decode(text.encode("utf-8", "replace"), defects)


def _raw_reader(octets: bytes, defects: list[Defect] | None) -> Callable[[bytes], str]:
    """How octets outside encoded words are read; one answer for the whole field."""
    known: list[str] = []

    def read(piece: bytes) -> str:
        if piece.isascii() and b"\x1b" not in piece:
            return piece.decode("ascii")
        try:
            if not known and b"\x1b" not in piece:
                return piece.decode("utf-8")
        except UnicodeDecodeError:
            pass
        if not known:
            decoded = charset.decode_text(_WORD.sub(b"", octets) if octets is not piece else octets)
            known.append(decoded.charset)
            if defects is not None and not octets.isascii():
                first = next(offset for offset, octet in enumerate(octets) if octet > 127)
                defects.append(Defect("eight-bit-header", first, decoded.charset))
            if octets is piece:
                return decoded.text
        return charset.decode_text(piece, known[0]).text

    return read


def _decode_runs(label: bytes, runs: list[tuple[bytes, bytes]], begin: int, defects: list[Defect] | None) -> str:
    """The text of adjacent words of one charset: joined as octets, so that split characters come together."""
    if len(runs) == 1:
        encoding, payload = runs[0]
        octets = _from_b([payload], begin, defects) if encoding in b"Bb" else _from_q(payload)
    else:
        pieces: list[bytes] = []
        group: list[bytes] = []
        last = b""
        for encoding, payload in runs:
            kind = b"b" if encoding in b"Bb" else b"q"
            if group and kind != last:
                pieces.append(_from_b(group, begin, defects) if last == b"b" else _from_q(b"".join(group)))
                group = []
            group.append(payload)
            last = kind
        pieces.append(_from_b(group, begin, defects) if last == b"b" else _from_q(b"".join(group)))
        octets = b"".join(pieces)
    problems: list[Defect] | None = None if defects is None else []
    text = charset.text_of(octets, label.decode("ascii"), problems)
    if problems and defects is not None:
        defects.extend([Defect(problem.code, begin, problem.detail) for problem in problems])
    return text


def _from_q(payload: bytes) -> bytes:
    return binascii.a2b_qp(payload, header=True)


def _from_b(payloads: list[bytes], begin: int, defects: list[Defect] | None) -> bytes:
    """The octets of adjacent "B" words; a base64 group may be split between them."""
    problems: list[Defect] | None = None if defects is None else []
    if len(payloads) > 1 and any(len(payload) % 4 for payload in payloads) and sum(map(len, payloads)) % 4:
        # Padding is missing somewhere, so each word stands alone.
        octets = b"".join([base64.decode(payload, problems) for payload in payloads])
    else:
        octets = base64.decode(b"".join(payloads), problems)
    if problems and defects is not None:
        defects.append(Defect("invalid-encoded-word", begin, problems[0].code))
    return octets


def needs_encoding(text: str) -> bool:
    """Whether text cannot stand in a header field as it is: other than printable ASCII, or like an encoded word."""
    return not (text.isascii() and text.isprintable()) or "=?" in text


def encode(
    text: str, *, charset: str = "utf-8", first_width: int | None = None, width: int = 76, phrase: bool = False
) -> bytes:
    """Text as encoded words with spaces between them, ready for folding; arguments as for `words`.

    >>> encode("Größe aus Bonn")
    b'=?utf-8?q?Gr=C3=B6=C3=9Fe_aus_Bonn?='
    """
    return " ".join(words(text, charset=charset, first_width=first_width, width=width, phrase=phrase)).encode("ascii")


def words(
    text: str, *, charset: str = "utf-8", first_width: int | None = None, width: int = 76, phrase: bool = False
) -> list[str]:
    """Text as encoded words, "B" or "Q" by length, no character split between two words.

    Args:
        text: what to encode, line ends included.
        charset: the charset to use where it can say the text; UTF-8 otherwise.
        first_width: characters that the first word may take, where its line has begun.
        width: columns of a line; a word takes one less, for the space before it, and 75 at most.
        phrase: keep to the octets that RFC 2047 5 (3) allows in a display name.
    """
    if not text:
        return []
    octets, label = _encode_with(text, charset)
    plain = _PHRASE if phrase else _PLAIN
    q_size = len(octets) + 2 * len(octets.translate(None, plain))
    is_short = q_size <= (len(octets) + 2) // 3 * 4 and not label.startswith("iso-2022")
    encoding: _Encoding = "q" if is_short else "b"
    longest = max(min(_LONGEST, width - 1), len(label) + 7 + 12)
    first = longest if first_width is None else min(max(first_width, len(label) + 7 + 12), longest)
    found: list[str] = []
    start = 0
    room = first - len(label) - 7
    while start < len(text):
        size = min(len(text) - start, room)
        piece = _payload(text[start : start + size], label, encoding, plain)
        while len(piece) > room and size > 1:
            # In proportion, and at least one character less.
            size = max(1, min(size - 1, size * room // len(piece) + 1))
            piece = _payload(text[start : start + size], label, encoding, plain)
        found.append(f"=?{label}?{encoding}?{piece}?=")
        start += size
        room = longest - len(label) - 7
    return found


_PLAIN = bytes(set(range(33, 127)) - set(b"=?_")) + b" "
_PHRASE = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/ "


def _encode_with(text: str, name: str) -> tuple[bytes, str]:
    """Octets and label; UTF-8 in place of charsets that do not keep ASCII (RFC 2047 3) or have endless names."""
    codec = charset.codec_name(name) or ""
    is_fit = len(name) <= 30 and (codec in ASCII_SUPERSETS or codec.startswith("iso2022"))
    return charset.encode_text(text, name if is_fit else None)


def _payload(piece: str, label: str, encoding: _Encoding, plain: bytes) -> str:
    octets = charset.encode_text(piece, label)[0]
    if encoding == "b":
        return binascii.b2a_base64(octets, newline=False).decode("ascii")
    table = _Q_TABLES[plain]
    return "".join([table[octet] for octet in octets])


def _q_table(plain: bytes) -> tuple[str, ...]:
    return tuple("_" if octet == 32 else chr(octet) if octet in plain else f"={octet:02X}" for octet in range(256))


_Q_TABLES = {plain: _q_table(plain) for plain in (_PLAIN, _PHRASE)}
