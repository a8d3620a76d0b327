"""Charsets (RFC 2046 4.1.2): octets to text and back, saying how the charset was known and what was lost.

    decoded = charset.decode_text(octets, "iso-8859-1")       # never raises
    decoded.text, decoded.charset, decoded.known_by, decoded.is_lossy
    octets, label = charset.encode_text("Grüße")              # the smallest charset that says it all

Never here: transfer encodings, and which label a part has.

The declared charset counts wherever the octets fit it. Without one, or where it does not fit, UTF-8 is tried, then
byte order marks, then what HTML says of itself, then detection over a few thousand octets around the first high one,
then windows-1252. chardet is imported the first time that detection is needed.
"""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from mailpipe import native
from mailpipe.codec.labels import ASCII_SUPERSETS, CODECS, codec_name, mime_name
from mailpipe.defect import Defect

__all__ = ["DecodedText", "codec_name", "decode_text", "encode_text", "mime_name", "text_in", "text_of"]

KnownBy = Literal["declared", "default", "utf-8", "detected", "bom", "fallback"]

_SAMPLE = 4096
_ASCII = bytes(range(128))
_EUC_KANA = re.compile(rb"\xa4[\xa1-\xf3]|\xa5[\xa1-\xf6]")
_SJIS_KANA = re.compile(rb"\x82[\x9f-\xf1]|\x83[\x40-\x96]")
_LATIN = ("cp1252", "cp1250", "cp1254", "cp1257", "iso8859_2")
# Letters of Western Europe in windows-1252, and letters of iso-8859-2 that are signs in windows-1250.
_WESTERN = bytes({*range(0xC0, 0x100)} - {0xD0, 0xD7, 0xDD, 0xDE, 0xF0, 0xF7, 0xFD, 0xFE})
_ISO_8859_2_LETTER = re.compile(rb"[A-Za-z\xc0-\xff][\xb1\xb6\xbb\xbc][A-Za-z\xc0-\xff]")
_OTHER_SCRIPT = re.compile("[\u0370-\u0e7f](?<![\u0700-\u0dff])")  # one range in half the time of two
_MIXED_WORD = re.compile("[A-Za-z][\u0370-\u06ff\u0e00-\u0e7f]|[\u0370-\u06ff\u0e00-\u0e7f][A-Za-z]")
_META = re.compile(rb"<meta\s[^>]{0,200}?charset\s{0,9}=[\s\"']{0,9}([A-Za-z0-9_.:-]{2,40})", re.IGNORECASE)
_NOT_C1 = bytes({*range(256)} - {*range(0x80, 0xA0)})
# windows-1252 as WHATWG reads it: the five octets that it leaves undefined are C1 controls.
_WINDOWS = "".join(bytes([octet]).decode("cp1252", "ignore") or chr(octet) for octet in range(256))
# Octets that are the same character in every charset of _LATIN and in windows-1252's relatives, and how to tell
# whether two octets above 127 follow each other, as they do in every other script.
_AGREED = bytes(
    octet
    for octet in range(256)
    if {bytes([octet]).decode(codec, "replace") for codec in _LATIN[:-1]} == {_WINDOWS[octet]}
)
_SHADOW = bytes(0x20 if octet < 0x80 else 0x80 for octet in range(256))
# Kinds of signs, and octets to each sign, for which replacing costs less than looking up every octet.
_FEW, _SPARSE = 3, 256
_BOMS = (
    (b"\xef\xbb\xbf", "utf_8_sig"),
    (b"\xff\xfe\0\0", "utf_32"),
    (b"\0\0\xfe\xff", "utf_32"),
    (b"\xff\xfe", "utf_16"),
    (b"\xfe\xff", "utf_16"),
)
_MARKS = (b"\xef", b"\xff", b"\xfe", b"\0")  # what a mark begins with
# Codecs to try where one does not fit, widest use first.
_WIDER = {
    "cp932": ("shift_jis_2004",),
    "cp949": ("johab",),
    "cp950": ("big5hkscs",),
    "euc_jp": ("euc_jis_2004",),
    "cp874": ("iso8859_11",),
    "iso2022_jp": ("iso2022_jp_2", "iso2022_jp_ext"),
    "iso8859_8": ("cp1255",),
    "iso8859_6": ("cp1256",),
    "iso8859_7": ("cp1253",),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class DecodedText:
    """Text and how it was found.

    Attributes:
        text: the text; a byte order mark at its beginning is left out.
        charset: MIME name of the charset that was used, in lower case.
        known_by: "declared" by the label, or by HTML itself where there is none; "default": none declared and all
            ASCII; "utf-8": the octets are UTF-8; "bom": a byte order mark said so; "detected" by frequency;
            "fallback": nothing fitted.
        is_lossy: some octets were replaced by U+FFFD.
        defects: "unknown-charset", "wrong-charset", "undeclared-charset", "lossy-text".
    """

    text: str
    charset: str
    known_by: KnownBy
    is_lossy: bool = False
    defects: tuple[Defect, ...] = ()


@dataclass(slots=True)
class _Unfrozen:
    text: str
    charset: str
    known_by: KnownBy
    is_lossy: bool = False
    defects: tuple[Defect, ...] = ()


def _quick(text: str, charset: str, known_by: KnownBy) -> DecodedText:
    """What `DecodedText(…)` gives, in a quarter of the time: a frozen dataclass sets each field the long way."""
    made = _Unfrozen(text, charset, known_by)
    made.__class__ = DecodedText  # type: ignore[assignment]
    return made  # type: ignore[return-value]


def decode_text(octets: bytes, label: str | None = None, *, may_detect: bool = True) -> DecodedText:
    """Turn octets into text by their declared charset, or by what fits better. Never raises.

    Args:
        octets: text with its transfer encoding undone.
        label: the charset as the sender wrote it, None or "" where none is declared.
        may_detect: False takes windows-1252 in place of detection, for callers with very many small texts.

    >>> decode_text("café".encode("latin-1"), "iso-8859-1")
    DecodedText(text='café', charset='iso-8859-1', known_by='declared', is_lossy=False, defects=())
    """
    codec = codec_name(label) if label else None
    is_ascii = octets.isascii()
    if is_ascii and (codec is None or codec in ASCII_SUPERSETS) and 0x1B not in octets:
        text = octets.decode("ascii")
        if not label:
            return _quick(text, "us-ascii", "default")
        if codec is None:
            return DecodedText(text, "us-ascii", "default", False, (Defect("unknown-charset", 0, _printable(label)),))
        return _quick(text, _declared_name(label, codec), "declared")
    if not label:
        return _undeclared(octets, (), may_detect)
    if codec is None:
        return _undeclared(octets, (Defect("unknown-charset", 0, _printable(label)),), may_detect)
    if codec == "ascii" and not is_ascii:
        return _undeclared(octets, (Defect("wrong-charset", 0, _printable(label)),), may_detect)
    try:
        return _declared(octets, label, codec)
    except (UnicodeError, ValueError):
        return _failed(octets, label, codec, may_detect)


def text_in(octets: bytes, label: str | None = None) -> str:
    """The text alone that `decode_text` finds, in half the time for what is ASCII or UTF-8.

    Args:
        octets: text with its transfer encoding undone.
        label: the charset as the sender wrote it, None or "" where none is declared.
    """
    codec = codec_name(label) if label else None
    if (codec is None or codec in ASCII_SUPERSETS) and octets.isascii() and 0x1B not in octets:
        return octets.decode("ascii")
    if codec == "utf_8":
        try:
            return octets.decode("utf-8").removeprefix("\ufeff")
        except UnicodeDecodeError:
            pass
    elif codec == "cp1252" and native.windows_text is not None:
        return native.windows_text(octets)
    return decode_text(octets, label).text


def text_of(octets: bytes, label: str, defects: list[Defect] | None = None, *, may_detect: bool = True) -> str:
    """The text alone of octets with a declared charset, for callers in a hurry.

    Args:
        octets: text with its transfer encoding undone.
        label: the charset as the sender wrote it.
        defects: gets what `decode_text` would report.
        may_detect: as for `decode_text`.
    """
    codec = codec_name(label)
    if codec == "utf_8" or (codec in ASCII_SUPERSETS and octets.isascii()):
        try:
            return octets.decode("utf-8")
        except UnicodeDecodeError:
            pass
    decoded = decode_text(octets, label, may_detect=may_detect)
    if defects is not None:
        defects.extend(decoded.defects)
    return decoded.text


def encode_text(text: str, charset: str | None = None) -> tuple[bytes, str]:
    r"""Encode text in us-ascii if that says it all, else in `charset` if that can, else in UTF-8.

    Lone surrogates, which stand for octets that were no UTF-8, become those octets again.

    Returns:
        The octets and the MIME name of their charset, in lower case.

    >>> encode_text("plain", "iso-8859-1"), encode_text("Grüße", "ISO-8859-1"), encode_text("日本", "iso-8859-1")
    ((b'plain', 'us-ascii'), (b'Gr\xfc\xdfe', 'iso-8859-1'), (b'\xe6\x97\xa5\xe6\x9c\xac', 'utf-8'))
    """
    if text.isascii():
        return text.encode("ascii"), "us-ascii"
    if charset and (codec := _strict_codec(charset)):
        try:
            octets = text.encode(codec)
        except UnicodeError:
            octets = b""
        # Readers take a label for its superset: C1 controls under iso-8859-1 would become other characters.
        if octets and decode_text(octets, charset, may_detect=False).text == text:
            return octets, charset.strip().lower()
    try:
        return text.encode("utf-8"), "utf-8"
    except UnicodeEncodeError:
        pass
    try:
        return text.encode("utf-8", "surrogateescape"), "utf-8"
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace"), "utf-8"


def _strict_codec(label: str) -> str | None:
    """The codec that a label names to the letter, so that a reader who knows no supersets can read it."""
    try:
        named = codecs.lookup(label.strip()).name.replace("-", "_")
    except (LookupError, ValueError):
        return codec_name(label)
    return named if named in CODECS else codec_name(label)


def _printable(label: str) -> str:
    return label[:80] if label.isprintable() else ascii(label[:80])


@lru_cache(1024)
def _declared_name(label: str, codec: str) -> str:
    """The label as the sender wrote it where it is a plain name, else the MIME name of the codec."""
    lowered = label.lower()
    return lowered if lowered.isascii() and lowered.replace("-", "").replace("_", "").isalnum() else mime_name(codec)


def _declared(octets: bytes, label: str, codec: str) -> DecodedText:
    """Decode by the declared codec or a superset of it; raises UnicodeError where none fits."""
    if codec == "cp1252":
        if controls := _high(octets).translate(None, _NOT_C1):
            return _quick(_windows(octets, controls), "windows-1252", "declared")
        return _quick(octets.decode("latin-1"), _declared_name(label, codec), "declared")
    if codec == "utf_8":
        text = octets.decode("utf-8")
        return _quick(text.removeprefix("\ufeff"), _declared_name(label, codec), "declared")
    if codec in ("utf_16", "utf_32"):
        return DecodedText(_by_width(octets, codec), _declared_name(label, codec), "declared")
    # Shift out is a control character to Python's codec, and half-width kana to telephones.
    for one in (codec, *_WIDER.get(codec, ())) if codec != "iso2022_jp" or b"\x0e" not in octets else ():
        try:
            return DecodedText(octets.decode(one), _declared_name(label, codec), "declared")
        except UnicodeError:
            continue
    if codec != "iso2022_jp":
        raise UnicodeError
    return DecodedText(_by_jis_blocks(octets), _declared_name(label, codec), "declared")


def high_octets_in_python(octets: bytes) -> bytes:
    """Those above 127, in order."""
    return octets.translate(None, _ASCII)


_high = native.high_octets or high_octets_in_python


def _windows(octets: bytes, controls: bytes) -> str:
    """Text by windows-1252; the controls are those of its octets that latin-1 takes for C1 controls."""
    return windows_text_in_python(octets, controls) if native.windows_text is None else native.windows_text(octets)


def windows_text_in_python(octets: bytes, controls: bytes) -> str:
    """The same; a few kinds of quotation marks and dashes are sooner replaced than all octets looked up."""
    kinds = frozenset(controls)
    if len(kinds) > _FEW or len(controls) * _SPARSE > len(octets):
        return codecs.charmap_decode(octets, "strict", _WINDOWS)[0]
    text = octets.decode("latin-1")
    for octet in kinds:
        text = text.replace(chr(octet), _WINDOWS[octet])
    return text


def _by_width(octets: bytes, codec: str) -> str:
    """UTF-16 and UTF-32: by byte order mark, else by where the zeros are (RFC 2781 4.3)."""
    if octets.startswith((b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")):
        return octets.decode(codec)
    sample, width = octets[:4096], 2 if codec == "utf_16" else 4
    is_little = sample[width - 1 :: width].count(0) >= sample[0::width].count(0)
    return octets.decode(f"{codec}_{'le' if is_little else 'be'}")


_JIS = re.compile(rb"\x1b(\$[@B]|\([A-Z]|\$\([A-Z])|[\x0e\x0f]")


def _by_jis_blocks(octets: bytes) -> str:
    """ISO-2022-JP as Windows and telephones write it (cp50221): NEC row 13, half-width kana, raw Shift_JIS."""
    pieces: list[bytes] = []
    state, position = b"(B", 0
    for switch in [*_JIS.finditer(octets), None]:
        block = octets[position : switch.start() if switch else len(octets)]
        if state[:1] == b"$":
            pieces.append(_kanji(block))
        elif state == b"(I":
            pieces.append(bytes([octet | 0x80 if 0x21 <= octet <= 0x5F else octet for octet in block]))
        else:
            pieces.append(block)
        if switch:
            position = switch.end()
            state = switch[1] or (b"(I" if switch[0] == b"\x0e" else b"(B")
    return b"".join(pieces).decode("cp932")


def _kanji(block: bytes) -> bytes:
    """JIS X 0208 rows and cells as Shift_JIS; what is no pair stays."""
    shifted = bytearray()
    position = 0
    while position < len(block):
        row, cell = block[position], block[position + 1] if position + 1 < len(block) else 0
        if not (0x21 <= row <= 0x7E and 0x21 <= cell <= 0x7E):
            shifted.append(row)
            position += 1
            continue
        lead = (row + 1) // 2 + (0x70 if row < 0x5F else 0xB0)
        trail = cell + (0x1F if cell < 0x60 else 0x20) if row % 2 else cell + 0x7E
        shifted += bytes((lead, trail))
        position += 2
    return bytes(shifted)


def _failed(octets: bytes, label: str, codec: str, may_detect: bool) -> DecodedText:
    """What to make of octets that do not fit their declared charset."""
    wrong = Defect("wrong-charset", 0, _printable(label))
    if codec != "utf_8":
        try:
            return DecodedText(octets.decode("utf-8-sig"), "utf-8", "utf-8", False, (wrong,))
        except UnicodeDecodeError:
            pass
    try:
        text = octets.decode(codec, "replace")
    except (UnicodeError, ValueError):
        return _undeclared(octets, (wrong,), may_detect)
    damaged = text.count("\ufffd")
    read = len(text) - damaged - len(text.encode("ascii", "ignore"))
    # A few bad octets among many good characters are damage, not another charset.
    if damaged * 8 <= read:
        return _lossy(text, mime_name(codec), "declared", wrong)
    found = _undeclared(octets, (wrong,), may_detect)
    if found.known_by == "fallback" and damaged * 2 <= read:
        return _lossy(text, mime_name(codec), "declared", wrong)
    return found


def _lossy(text: str, name: str, known_by: KnownBy, *defects: Defect) -> DecodedText:
    loss = Defect("lossy-text", 0, f"{text.count(chr(0xFFFD))} places")
    return DecodedText(text, name, known_by, True, (*defects, loss))


def _undeclared(octets: bytes, defects: tuple[Defect, ...], may_detect: bool) -> DecodedText:
    """Octets of unknown charset: UTF-8, byte order marks, escape sequences, detection, windows-1252."""
    guessed = defects or (Defect("undeclared-charset"),)
    for mark, codec in _BOMS if octets[:1] in _MARKS else ():
        if octets.startswith(mark):
            try:
                return DecodedText(octets.decode(codec), mime_name(codec), "bom", False, guessed)
            except UnicodeError:
                continue
    # one octet is found many times faster than two
    if 0x1B in octets and octets.find(b"\x1b$") >= 0:
        try:
            return DecodedText(_declared(octets, "", "iso2022_jp").text, "iso-2022-jp", "detected", False, guessed)
        except UnicodeError:
            pass
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError as error:
        first = error.start
    else:
        if octets.isascii():
            return DecodedText(text, "us-ascii", "default", False, defects)
        return DecodedText(text, "utf-8", "utf-8", False, guessed)
    high = _high(octets)
    plain = len(octets) - len(high)
    # One place at least is damaged; whether sixteen good characters stand against it is seen without replacing it,
    # which would widen the text.
    if len(high) >= 32 and len(octets.decode("utf-8", "ignore")) - plain >= 16:
        text = octets.decode("utf-8", "replace")
        damaged = text.count("\ufffd")
        if damaged * 16 <= len(text) - plain - damaged:
            return _lossy(text, "utf-8", "utf-8", *guessed)
    named = _html_codec(octets)
    if named is not None:
        try:
            return DecodedText(_declared(octets, "", named).text, mime_name(named), "declared", False, guessed)
        except (UnicodeError, ValueError):
            pass
    found = _detect(octets, first, high) if may_detect else None
    if found is not None:
        codec, text = found
        return DecodedText(text, mime_name(codec), "detected", False, guessed)
    text = _windows(octets, high.translate(None, _NOT_C1))
    return DecodedText(text, "windows-1252", "fallback", False, guessed)


def _html_codec(octets: bytes) -> str | None:
    """What the meta element of HTML names (RFC 2854 section 4); None where it is no HTML or names nothing."""
    if not octets[:64].lstrip().startswith(b"<"):
        return None
    found = _META.search(octets, 0, 2048)
    codec = None if found is None else codec_name(found[1].decode("ascii"))
    return codec if codec in ASCII_SUPERSETS else None  # it could not be read in another


def _detect(octets: bytes, first: int, every: bytes) -> tuple[str, str] | None:
    """Codec and text by frequency, asked of a few thousand octets; None where nothing fits.

    Args:
        octets: the text.
        first: where the first octet stands that is no UTF-8.
        every: its octets above 127.
    """
    start = max(0, min(first - _SAMPLE // 4, len(octets) - _SAMPLE))
    sample = octets[start : start + _SAMPLE]
    high = _high(sample)
    span = sample[sample.find(high[:1]) : sample.rfind(high[-1:]) + 1]
    if not high.translate(None, _AGREED) and b"\x80\x80" not in span.translate(_SHADOW):
        # single letters and signs among ASCII: Western Europe, whichever of its charsets it is
        return "cp1252", _windows(octets, every.translate(None, _NOT_C1))
    for likely in _likely(sample, high):
        codec = likely
        try:
            text = _declared(octets, "", codec).text
        except (UnicodeError, ValueError):
            continue
        if codec not in _LATIN and (
            _OTHER_SCRIPT.search(text, 0, _SAMPLE) is None
            or len(_MIXED_WORD.findall(text, 0, _SAMPLE)) * 4 <= len(high)
        ):
            return codec, text
        if codec not in _LATIN:
            # Letters of two scripts in one word: a word of Latin letters was taken for another script.
            is_western = len(high) <= 8 and not high.translate(None, _WESTERN)
            codec = "cp1252" if is_western else _guess(sample, _LATIN) or "cp1252"
        if codec == "cp1250" and _ISO_8859_2_LETTER.search(sample) and not high.translate(None, _NOT_C1):
            codec = "iso8859_2"
        try:
            return codec, text if codec == likely else _declared(octets, "", codec).text
        except (UnicodeError, ValueError):
            continue
    return None


def _likely(sample: bytes, high: bytes) -> Iterator[str]:
    """Codecs to try, the surest first; chardet is asked only where nobody is content with what came before."""
    if (codec := _japanese(sample, high)) is not None:
        yield codec
    if (codec := _guess(sample, ())) is not None:
        yield codec
    yield "cp1252"


@lru_cache(32)
def _guess(sample: bytes, among: tuple[str, ...]) -> str | None:
    # Slow to import (40 ms), and needed for a few messages in a hundred.
    import chardet

    try:
        found = chardet.detect(
            sample,
            prefer_superset=True,
            encoding_era=chardet.EncodingEra.MODERN_WEB,
            include_encodings=among or None,
        )["encoding"]
    except Exception:  # noqa: BLE001 - whatever a detector trips over, the text must be read
        return None
    return codec_name(found) if found else None


def _japanese(sample: bytes, high: bytes) -> str | None:
    """EUC-JP or Shift_JIS by their kana, which short texts have in plenty and detectors overlook.

    Args:
        sample: what to look at.
        high: its octets above 127.
    """
    # Kana are searched only where enough octets are that could begin one: patterns are slow.
    if (high.count(0xA4) + high.count(0xA5)) * 6 >= len(high) and len(_EUC_KANA.findall(sample)) * 6 >= len(high):
        return "euc_jp"
    if (high.count(0x82) + high.count(0x83)) * 4 >= len(high) and len(_SJIS_KANA.findall(sample)) * 4 >= len(high):
        return "cp932"
    return None
