"""Charset labels: which Python codec stands behind what senders write (IANA registry, WHATWG Encoding 4.2).

    codec_name("KS_C_5601-1987")      # "cp949"
    mime_name("cp949")                # "euc-kr"

Never here: decoding. charset.py decides what happens where octets and label disagree.

QUIRK: a label means what mailers mean by it, as the WHATWG table says: iso-8859-1 is read as windows-1252,
shift_jis as windows-31j, gb2312 as gb18030, euc-kr as windows-949, tis-620 as windows-874. us-ascii stays itself.
Codecs that make no text of octets (base64, zip, rot13, …) or that a sender could use to hide text from others
(unicode_escape, punycode, …) are never named.
"""

import re
from encodings.aliases import aliases
from functools import lru_cache

__all__ = ["ASCII_SUPERSETS", "CODECS", "codec_name", "mime_name"]

_SINGLE = """
ascii latin_1 iso8859_1 iso8859_2 iso8859_3 iso8859_4 iso8859_5 iso8859_6 iso8859_7 iso8859_8 iso8859_9 iso8859_10
iso8859_11 iso8859_13 iso8859_14 iso8859_15 iso8859_16 cp1250 cp1251 cp1252 cp1253 cp1254 cp1255 cp1256 cp1257 cp1258
cp437 cp720 cp737 cp775 cp850 cp852 cp855 cp856 cp857 cp858 cp860 cp861 cp862 cp863 cp864 cp865 cp866 cp869 cp874
cp1006 cp1125 koi8_r koi8_t koi8_u kz1048 ptcp154 tis_620 hp_roman8 palmos mac_arabic mac_croatian mac_cyrillic
mac_farsi mac_greek mac_iceland mac_latin2 mac_roman mac_romanian mac_turkish
"""
_MULTIPLE = """
utf_8 utf_8_sig big5 big5hkscs cp932 cp949 cp950 euc_jis_2004 euc_jisx0213 euc_jp euc_kr gb18030 gb2312 gbk johab
shift_jis shift_jis_2004 shift_jisx0213
"""
_OTHER = """
cp037 cp273 cp424 cp500 cp875 cp1026 cp1140 hz iso2022_jp iso2022_jp_1 iso2022_jp_2 iso2022_jp_2004 iso2022_jp_3
iso2022_jp_ext iso2022_kr utf_7 utf_16 utf_16_be utf_16_le utf_32 utf_32_be utf_32_le
"""

ASCII_SUPERSETS = frozenset((_SINGLE + _MULTIPLE).split())
"""Codecs under which ASCII octets without escape sequences are ASCII text."""

CODECS = ASCII_SUPERSETS | frozenset(_OTHER.split())
"""Every codec that a label may stand for."""

# What Python has no name for, or reads more narrowly than mailers mean it.
_MEANT = {
    "utf_8": """utf8 utf-8 unicode-1-1-utf-8 unicode11utf8 unicode20utf8 x-unicode20utf8 utf-8mb4 utf-8mb3 utf8-sig
        utf-8-bom utf-8n cp65001 cp-65001 windows-65001 x-utf-8 al32utf8 utf-eight utf-8-mac utf-8-strict cesu-8
        csutf8 utf-8-general-ci utf8mb4-general-ci utf""",
    "utf_16": """unicode ucs-2 ucs2 iso-10646-ucs-2 csunicode unicodefeff cp1200 utf16 utf-16 csutf16 x-utf-16""",
    "utf_16_le": "utf-16le utf16le unicodelittle x-utf-16le ucs-2le cp1202",
    "utf_16_be": "utf-16be utf16be unicodefffe unicodebig x-utf-16be ucs-2be cp1201",
    "utf_32": "utf-32 ucs-4 ucs4 iso-10646-ucs-4 csucs4 cp12000",
    "utf_7": "utf-7 utf7 unicode-1-1-utf-7 csunicode11utf7 x-unicode-2-0-utf-7 unicode-2-0-utf-7 cp65000 utf-7-imap",
    "ascii": """us-ascii usascii ascii-us us us-ascci us-acsii ansi_x3.4-1968 ansi_x3.4-1986 iso_646.irv:1991 iso646-us
        iso-ir-6 ibm367 cp367 csascii 646 7bit 7-bit us-ascii-7bit usasci us_ascii x-ascii x-us-ascii ascii-7bit
        iso-us-ascii iso-646 cp20127 default_charset""",
    "cp1252": """iso-8859-1 iso8859-1 iso88591 iso_8859-1:1987 latin1 latin-1 l1 ibm819 cp819 csisolatin1 iso-ir-100
        8859-1 8859_1 iso-latin-1 iso-latin1 isolatin1 x-iso-8859-1 iso-8859 iso8859 windows-1252 cp1252 x-cp1252 1252
        cp-1252 win-1252 windows1252 ansi ansi-1252 x-ansi windows-ansi west-european west european western
        iso-8859-1-windows-3.0-latin-1 iso-8859-1-windows-3.1-latin-1 cswindows30latin1 cswindows31latin1 cswindows1252
        windows-latin1 x-windows-1252 ms-ansi iso-1 iso_1 8859 latin iso-885-1 iso-8858-1 iso-8859-l iso-8859-1l
        iso-8851-1 iso-8850-1 iso-8859-1-latin-1 iso-8859-1-unicode windows-28591 cp28591 wiso8859-1 ibm1252
        isolat1 iso-8859-12 iso-8895-1""",
    "iso8859_2": "cp28592 iso8859-2 l2 latin2 iso-8859-2-windows-latin-2 iso-latin-2 x-iso-8859-2 cswindows31latin2",
    "iso8859_3": "cp28593 latin3 l3 iso-latin-3",
    "iso8859_4": "cp28594 latin4 l4 iso-latin-4",
    "iso8859_5": "cp28595 cyrillic iso-8859-5-cyrillic",
    "iso8859_6": "cp28596 arabic iso-8859-6-e iso-8859-6-i csiso88596e csiso88596i asmo-708 ecma-114 asmo708",
    "iso8859_7": "cp28597 greek greek8 sun_eu_greek elot_928 ecma-118",
    "iso8859_8": "cp28598 hebrew visual csiso88598e csiso88598i iso-8859-8-e iso-8859-8-i logical cp38598 iso-8859-8i",
    "cp1254": """iso-8859-9 iso8859-9 latin5 l5 iso-ir-148 csisolatin5 iso_8859-9:1989 windows-1254 cp28599 x-cp1254
        iso-latin-5 turkish iso-8859-9-windows-latin-5 cswindows31latin5 8859-9 iso_8859-9""",
    "iso8859_10": "latin6 l6 iso-ir-157 csisolatin6 iso-8859-10:1992",
    "cp874": "iso-8859-11 iso8859-11 tis-620 tis620 tis-620-0 tis-620-2529-1 dos-874 windows-874 x-windows-874 ibm874"
        " thai cstis620 iso-ir-166 cp-874 ms874",
    "iso8859_13": "latin7 l7 cp28603",
    "iso8859_14": "latin8 l8 iso-celtic",
    "iso8859_15": "latin9 latin-9 l9 latin0 csisolatin9 cp28605 iso-8859-15-euro iso-8859-15fdis",
    "iso8859_16": "latin10 l10 iso-ir-226",
    "cp1250": "x-cp1250 win-1250 cswindows1250 cp-1250 1250 central-european x-windows-1250 ansi-1250",
    "cp1251": """x-cp1251 win-1251 cswindows1251 cp-1251 1251 win1251 x-windows-1251 ansi-1251 window-1251 windows-
        cyrillic""",
    "cp1253": "x-cp1253 win-1253 cp-1253 1253 cswindows1253 x-windows-1253",
    "cp1255": "x-cp1255 win-1255 cp-1255 1255 cswindows1255 x-windows-1255",
    "cp1256": "x-cp1256 win-1256 cp-1256 1256 cswindows1256 x-windows-1256",
    "cp1257": "x-cp1257 win-1257 cp-1257 1257 cswindows1257 x-windows-1257",
    "cp1258": "x-cp1258 win-1258 cp-1258 1258 cswindows1258 x-windows-1258 tcvn viscii-1258",
    "koi8_r": "koi8 koi8r koi8-r koi koi-8 koi8-ru? koi8-rus x-koi8-r cskoi8r cp20866",
    "koi8_u": "koi8-u koi8u koi8-ru koi8ru cp21866",
    "cp866": "ibm866 dos-866 csibm866 x-cp866 cp-866 866 alt",
    "cp858": "ibm00858 ccsid00858 cp00858 pc-multilingual-850+euro x-ibm858",
    "cp437": "dos-437 x-ibm437 pc8 ibm-437",
    "cp850": "dos-850 x-ibm850 ibm-850",
    "cp852": "dos-852 x-ibm852 ibm-852",
    "cp1140": "ibm01140 cp01140 ccsid01140 ebcdic-us-37+euro",
    "mac_roman": "macintosh mac x-mac-roman csmacintosh macroman x-macroman x-mac apple-roman cp10000",
    "mac_latin2": "x-mac-ce x-mac-centraleurroman mac-ce maccentraleurope x-mac-central-europe x-mac-latin2 cp10029",
    "mac_cyrillic": "x-mac-cyrillic x-mac-ukrainian cp10007 cp10017 x-mac-uk",
    "mac_greek": "x-mac-greek cp10006",
    "mac_turkish": "x-mac-turkish cp10081",
    "mac_iceland": "x-mac-icelandic x-mac-iceland cp10079",
    "mac_croatian": "x-mac-croatian cp10082",
    "mac_romanian": "x-mac-romanian x-mac-romania cp10010",
    "mac_arabic": "x-mac-arabic cp10004",
    "mac_farsi": "x-mac-farsi",
    "gb18030": """gb2312 gb_2312 gb_2312-80 gb2312-80 gbk gb-k gb18030 gb-18030 chinese csgb2312 csiso58gb231280 iso-
        ir-58
        x-gbk x-gb2312 x-gb18030 euc-cn euccn euc_cn x-euc-cn cn-gb cngb gb cp936 ms936 936 windows-936 x-cp936 gb13000
        cp54936 cp20936 cp51936 eucgb2312-cn simplified chinese chinese_gb2312 gb1988 csgbk gb-2312 gb2313 gb-2312-80
        x-windows-936 iso-8859-gb2312 gb18030-2000 gb18030-2022 zh-cn hz-gb""",
    "hz": "hz-gb-2312 hz-gb2312 hzgb cp52936 x-hz",
    "cp950": """big5 big-5 big5-eten cn-big5 cnbig5 csbig5 x-x-big5 x-big5 windows-950 cp950 cp-950 ms950 950
        x-windows-950
        chinesebig5 chinese-big5 zh-tw big5-tw bg5 x-cp950 iso-8859-big5""",
    "big5hkscs": "big5-hkscs big5hkscs x-big5-hkscs big5-hkscs:2004 big5-hkscs:2008 cp951 hkscs",
    "cp932": """shift_jis shift-jis shiftjis sjis s-jis s_jis x-sjis x-shift-jis x-shift_jis ms_kanji ms932 cp932 cp-932
        932 windows-31j windows-932 x-windows-31j cswindows31j csshiftjis x-ms-cp932 cp943 cp943c ibm-943 ibm943
        mskanji sjis-win x-mac-japanese x-mac-jp sift_jis shft_jis x-cp932 shift_jis-2007""",
    "euc_jp": """euc-jp eucjp x-euc-jp x-euc x-eucjp cseucpkdfmtjapanese ujis u-jis cp51932 cp20932 eucjp-ms eucjpms
        eucjp-win x-euc-jp-linux extended_unix_code_packed_format_for_japanese x-ujis""",
    "iso2022_jp": """iso-2022-jp csiso2022jp jis jis7 iso2022jp iso-2022jp cp50220 cp50221 cp50222 x-iso-2022-jp
        iso-2022-jp-ms x-windows-iso2022jp x-windows-50220 x-windows-50221 jis_encoding csjisencoding cp50221-ms
        iso-2002-jp iso-2020-jp iso-2022-j""",
    "iso2022_jp_ext": "iso-2022-jp-8bit",
    "cp949": """ks_c_5601-1987 ks_c_5601-1989 ksc5601 ksc_5601 ks_c_5601 ksc5601-1987 ksc-5601 euc-kr euckr x-euc-kr
        cseuckr
        korean iso-ir-149 csksc56011987 windows-949 cp949 ms949 949 uhc x-windows-949 x-uhc ks_c_5601_1987
        ksx1001 ks_x_1001 cp51949 iso-8859-kr 5601 k_c_5601-1987 ks_c5601-1987 x-cp949 ks_c_5601-1992 johab-949""",
    "iso2022_kr": "iso-2022-kr csiso2022kr cp50225 x-iso-2022-kr",
    "johab": "johab cp1361 ms1361 x-johab",
    "hp_roman8": "hp-roman8 roman8 r8 cshproman8",
    "ptcp154": "pt154 cyrillic-asian csptcp154",
    "kz1048": "kz-1048 strk1048-2002 rk1048",
}  # fmt: skip

_MIME_NAMES = {
    "ascii": "us-ascii", "latin_1": "iso-8859-1", "iso8859_1": "iso-8859-1", "cp932": "shift_jis", "cp949": "euc-kr",
    "cp950": "big5", "big5hkscs": "big5-hkscs", "cp874": "windows-874", "mac_roman": "macintosh", "hz": "hz-gb-2312",
    "mac_latin2": "x-mac-ce", "utf_8_sig": "utf-8", "tis_620": "tis-620", "kz1048": "kz-1048", "ptcp154": "ptcp154",
    "hp_roman8": "hp-roman8", "iso2022_jp": "iso-2022-jp", "iso2022_jp_ext": "iso-2022-jp", "iso2022_kr": "iso-2022-kr",
    "cp65001": "utf-8", "shift_jis_2004": "shift_jis", "shift_jisx0213": "shift_jis", "euc_jis_2004": "euc-jp",
    "euc_jisx0213": "euc-jp", "johab": "johab", "utf_16_le": "utf-16le", "utf_16_be": "utf-16be",
    "utf_32_le": "utf-32le", "utf_32_be": "utf-32be",
}  # fmt: skip

_DROPPED = re.compile(r"[^a-z0-9+]")
# A known label with something glued to it, as broken HTML and templates leave it.
_BEGINNING = re.compile(
    r"(?:x-?)?(utf-?(?:8|7|16(?:[lb]e)?|32)|(?:windows|cp|win)-?(?:125\d|874|93[26]|949|950)|us-?ascii"
    r"|iso-?8859-?1[0-6]|iso-?8859-?\d|iso-?2022-?(?:jp|kr)|koi8-?[ru]|gb-?2312|gb-?18030|gbk|big-?5|shift-?jis|euc-?(?:jp|kr|cn))"
)


def _squeezed(label: str) -> str:
    return _DROPPED.sub("", label)


def _table() -> dict[str, str]:
    table = {_squeezed(codec): codec for codec in CODECS}
    for alias, codec in aliases.items():
        if codec in CODECS:
            table[_squeezed(alias)] = codec
    table |= {f"ibm{codec[2:]}": codec for codec in CODECS if codec.startswith("cp")}
    for codec, labels in _MEANT.items():
        for label in labels.split():
            table[_squeezed(label)] = codec
    table["iso88591"] = table["latin1"] = "cp1252"
    return table


_CODEC_OF = _table()


@lru_cache(1024)
def codec_name(label: str) -> str | None:
    """The Python codec behind a charset label, None for what is unknown or says nothing.

    Case, punctuation, quotes, "charset=" and a language suffix (RFC 2231 5) do not matter.

    >>> codec_name("ISO_8859-1"), codec_name('"utf8";'), codec_name("gb2312"), codec_name("unknown-8bit")
    ('cp1252', 'utf_8', 'gb18030', None)
    """
    lowered = label[:200].lower()
    if found := _CODEC_OF.get(_squeezed(lowered)):
        return found
    lowered = (lowered.rpartition("charset=")[2] or lowered).removeprefix("charset").strip(" \t\r\n\"'=:;,.<>()[]\\")
    for piece in (lowered, re.split(r"[\s\"'*;,()<>/\\]", lowered, maxsplit=1)[0]):
        squeezed = _squeezed(piece)
        if found := _CODEC_OF.get(squeezed):
            return found
        if squeezed.startswith("x") and (found := _CODEC_OF.get(squeezed[1:])):
            return found
    if found_at := _BEGINNING.match(lowered.replace("_", "-")):
        return _CODEC_OF.get(_squeezed(found_at[1]))
    return None


@lru_cache(256)
def mime_name(codec: str) -> str:
    """The preferred MIME name of a codec: "cp1252" → "windows-1252"."""
    if codec in _MIME_NAMES:
        return _MIME_NAMES[codec]
    if codec.startswith("cp125"):
        return f"windows-{codec[2:]}"
    if codec.startswith("cp"):
        return f"ibm{codec[2:]}"
    if codec.startswith("iso8859_"):
        return f"iso-8859-{codec[8:]}"
    if codec.startswith("mac_"):
        return f"x-{codec.replace('_', '-')}"
    return codec.replace("_", "-")
