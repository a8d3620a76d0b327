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
from typing import Literal

from mailpipe.codec import base64, charset
from mailpipe.codec.labels import ASCII_SUPERSETS
from mailpipe.defect import Defect

__all__ = ["decode", "decode_text", "encode", "needs_encoding", "words"]

# A word ends at the first "?=", and is looked for only before the last "?=" of the field, so that no attempt
# runs to the end in vain.
_WORD = re.compile(
    rb"=\?([!-)+->@-~]++)(?>(?:\*[!->@-~]*+)?)\?([BbQq])\?([^?]*+(?>(?:\?(?!=)[^?]*+)*))\?=",
)
# The same for `sub`, where no payload may reach over the beginning of another word.
_WORD_HERE = re.compile(rb"=\?[^?\s]{1,80}+\?[BbQq]\?[^?]*+\?=")
_RAW_WORD = re.compile(r"(=\?([!-)+->@-~]{1,80}+)(\*[!->@-~]{0,80}+)?\?[Qq]\?)([^?]*+)\?=")
_STRAY = re.compile(rb"=(?![0-9A-Fa-f]{2})")
_HIGH = re.compile(rb"[\x80-\xff]")
_UTF_8 = frozenset((b"utf-8", b"UTF-8", b"Utf-8"))
_UTF_8_WORD = (b"utf-8?", b"UTF-8?")
_Q, _B = (b"Q", b"q"), (b"B", b"b")  # to look for bytes in bytes takes five times as long
_LONGEST = 75
_LONGEST_PLAIN = 900  # octets of a word outside of encoded words: a line has 998, and the name of the field is on it
_MOST_DETECTIONS = 4
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
    if octets.isascii() and 0x1B not in octets:
        if start < 0:
            return octets.decode("ascii")
        if octets[start + 2 : start + 8] in _UTF_8_WORD and (text := _in_order(octets)) is not None:
            return text
    field = _Field(octets, defects)
    pieces: list[str] = []
    runs: list[tuple[bytes, bytes]] = []
    position, label, begin = 0, b"", 0
    for word in _WORD.finditer(octets, max(start, 0), max(octets.rfind(b"?=") + 2, 0)) if start >= 0 else ():
        name, encoding, payload = word.groups()
        between = octets[position : word.start()]
        is_adjacent = bool(runs) and not between.strip(_BLANKS)
        if runs and not (is_adjacent and name == label):
            pieces.append(field.read_words(label, runs, begin))
            runs = []
        if between and not is_adjacent:
            pieces.append(field.read_raw(between))
        if not runs:
            label, begin = name, word.start()
        runs.append((encoding, payload))
        position = word.end()
    if runs:
        pieces.append(field.read_words(label, runs, begin))
    if rest := octets[position:]:
        pieces.append(field.read_raw(rest))
        if defects is not None and (odd := rest.find(b"=?")) >= 0 and rest.count(b"?", odd) > 2:
            defects.append(Defect("invalid-encoded-word", position + odd))
    return "".join(pieces)


def _in_order(octets: bytes) -> str | None:
    """The text of ASCII and words of UTF-8 in which nothing is wrong; None for all else, which `decode` sorts out.

    Words are cut out in one call, nothing is kept of where they stood, and all octets become text together.
    """
    stop = octets.rfind(b"?=") + 2
    pieces = _WORD.split(octets[:stop])
    rest = pieces.pop() + octets[stop:]
    if not pieces or rest.find(b"=?") >= 0:
        return None
    found, label = [pieces[0]], pieces[1]
    pieces[0] = b""
    cut = iter(pieces)
    for between, name, encoding, payload in zip(cut, cut, cut, cut, strict=True):
        if between.strip(_BLANKS):
            found.append(between)
        if encoding in _Q:
            if 0x3D in payload[-2:] or payload.find(b"==") >= 0:  # an escape may be split between two words, or be none
                return None
            octets = binascii.a2b_qp(payload, header=True)
        else:
            try:
                octets = binascii.a2b_base64(payload, strict_mode=True)
            except binascii.Error:
                return None
        if name != label:
            # words of two labels have no character in common
            if name not in _UTF_8 or not octets or 0x7F < octets[0] < 0xC0:
                return None
            label = name
        found.append(octets)
    found.append(rest)
    try:
        return b"".join(found).decode("utf-8")
    except UnicodeDecodeError:
        return None


def decode_text(text: str, defects: list[Defect] | None = None) -> str:
    """The same for text that is `str` already; surrogate escapes stand for octets that were no UTF-8.

    >>> decode_text("=?iso-8859-1?Q?=E4?= ö")
    'ä ö'
    """
    is_ascii = text.isascii()
    if "=?" not in text:
        if is_ascii:
            return text
    elif not is_ascii:
        text = _RAW_WORD.sub(_as_octets, text)
    try:
        return decode(text.encode("utf-8", "surrogateescape"), defects)
    except UnicodeEncodeError:
        return decode(text.encode("utf-8", "replace"), defects)


def _as_octets(found: re.Match[str]) -> str:
    """A "Q" word whose raw octets have become text, with octets again: of its own charset, or those of a guess."""
    if found[0].isascii():
        return found[0]
    letters = [letter if letter.isascii() else _hexadecimal(letter, found[2]) for letter in found[4]]
    return f"{found[1]}{''.join(letters)}?="


def _hexadecimal(letter: str, label: str) -> str:
    for codec in (charset.codec_name(label) or "utf_8", "latin_1"):
        try:
            return "".join([f"={octet:02X}" for octet in letter.encode(codec)])
        except UnicodeError:
            continue
    return letter


class _Field:
    """One field while it is decoded: what was found out about its charset, and how often chardet was asked."""

    __slots__ = ("_asked", "_charset", "_defects", "_octets")

    def __init__(self, octets: bytes, defects: list[Defect] | None) -> None:
        self._octets, self._defects = octets, defects
        self._charset, self._asked = "", 0

    def read_raw(self, piece: bytes) -> str:
        """Octets outside encoded words: ASCII, UTF-8, or one detected charset for the whole field."""
        if 0x1B not in piece:
            try:
                return piece.decode("utf-8") if not self._charset else piece.decode("ascii")
            except UnicodeDecodeError:
                pass
        if not self._charset:
            # Detection is surer with all that the field has.
            self._charset = charset.decode_text(_WORD_HERE.sub(b"", self._octets) or piece).charset
            if self._defects is not None and (high := _HIGH.search(self._octets)):
                self._defects.append(Defect("eight-bit-header", high.start(), self._charset))
        return charset.decode_text(piece, self._charset, may_detect=False).text

    def read_words(self, label: bytes, runs: list[tuple[bytes, bytes]], begin: int) -> str:
        """Adjacent words of one charset: joined as octets, so that split characters come together."""
        defects = self._defects
        if len(runs) == 1:
            encoding, payload = runs[0]
            octets = _from_b([payload], begin, defects) if encoding in _B else _from_q(payload)
        else:
            octets = _joined(runs, begin, defects)
        if label in _UTF_8:
            try:
                return octets.decode("utf-8")
            except UnicodeDecodeError:
                pass
        problems: list[Defect] = []
        # LIMIT: a field of many words under wrong labels would ask chardet for each of them.
        text = charset.text_of(octets, label.decode("ascii"), problems, may_detect=self._asked < _MOST_DETECTIONS)
        if problems:
            self._asked += 1
            if defects is not None:
                defects.extend([Defect(problem.code, begin, problem.detail) for problem in problems])
        return text


def _joined(runs: list[tuple[bytes, bytes]], begin: int, defects: list[Defect] | None) -> bytes:
    """The octets of adjacent words, decoded as long as the encoding stays the same."""
    pieces: list[bytes] = []
    group: list[bytes] = []
    for index, (encoding, payload) in enumerate(runs):
        group.append(payload)
        if index + 1 == len(runs) or runs[index + 1][0].lower() != encoding.lower():
            pieces.append(_from_b(group, begin, defects) if encoding in _B else _from_q(b"".join(group)))
            group = []
    return b"".join(pieces)


def _from_q(payload: bytes) -> bytes:
    """The octets of a "Q" word; a "=" that begins no octet stays, where a2b_qp takes "=" at the end and "==" away."""
    if payload[-1:] == b"=" or payload.find(b"==") >= 0:
        payload = _STRAY.sub(b"=3D", payload)
    return binascii.a2b_qp(payload, header=True)


def _from_b(payloads: list[bytes], begin: int, defects: list[Defect] | None) -> bytes:
    """The octets of adjacent "B" words; a base64 group may be split between them."""
    problems: list[Defect] | None = None if defects is None else []
    if len(payloads) > 1 and any(len(payload) % 4 for payload in payloads) and sum(map(len, payloads)) % 4:
        # Padding is missing somewhere, so each word stands alone; no word is cut off, "?=" has been seen behind it.
        padded = [payload + b"=" * (-len(payload) % 4) for payload in payloads]
        octets = b"".join([base64.decode(payload, problems) for payload in padded])
    else:
        octets = base64.decode(b"".join(payloads), problems)
    if problems and defects is not None:
        defects.append(Defect("invalid-encoded-word", begin, problems[0].code))
    return octets


def needs_encoding(text: str) -> bool:
    """Whether text cannot stand in a header field as it is: other than printable ASCII, or like an encoded word.

    Nor can a word that is longer than a line may be (RFC 5322 section 2.1.1); encoded words can be folded anywhere.
    """
    if not (text.isascii() and text.isprintable()) or "=?" in text:
        return True
    return len(text) > _LONGEST_PLAIN and max(map(len, text.split(" "))) > _LONGEST_PLAIN


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
