"""xtext (RFC 3461 section 4): any text as one word of printable ASCII, for values of ESMTP parameters.

    encode_xtext("ann+tag@example.org")           # "ann+2Btag@example.org"
    decode_xtext("ann+2Btag@example.org")         # "ann+tag@example.org"

Never here: which parameters are written so.
"""

import re

from mailpipe.errors import LocalProtocolError

# Everything but "!" to "~" without "+" and "=".
_ENCODED = re.compile(rb"[^\x21-\x2a\x2c-\x3c\x3e-\x7e]")
_WORD = re.compile(r"(?>(?:[\x21-\x2a\x2c-\x3c\x3e-\x7e]|\+[0-9A-Fa-f]{2})*)")
_HEX = re.compile(rb"\+([0-9A-Fa-f]{2})")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def encode_xtext(text: str) -> str:
    r"""Write text as xtext; beyond ASCII its UTF-8 octets.

    Raises:
        LocalProtocolError: it holds a control character, which the encoding would carry into somebody's log or
            command line.

    >>> encode_xtext("a=b c")
    'a+3Db+20c'
    """
    if _CONTROL.search(text):
        raise LocalProtocolError(f"a control character in {text[:200]!a}")
    return _ENCODED.sub(lambda match: b"+%02X" % match[0][0], text.encode()).decode("ascii")


def decode_xtext(word: str) -> str:
    """Undo `encode_xtext`; what is no UTF-8 becomes U+FFFD.

    Raises:
        ValueError: the word is no xtext.
    """
    if not _WORD.fullmatch(word):
        raise ValueError(f"{word[:200]!a} is no xtext (RFC 3461 section 4)")
    octets = _HEX.sub(lambda match: bytes([int(match[1], 16)]), word.encode("ascii"))
    return octets.decode("utf-8", "replace")
