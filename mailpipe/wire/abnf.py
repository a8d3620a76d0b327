"""Terminals of Internet mail under their RFC names, each beneath its rule (RFC 5234, 5322, 5321, 2045).

    re.compile(rb"[" + ATEXT + rb"]++")       # the inside of a character class
    if octet in WSP: ...

Never here: rules that nest (comments, addresses); those are read by hand, with a limit on depth.

Each name is the inside of a character class of bytes, ready for `re`; names that end in `_OCTETS` are the same as
plain octets for `in`, `strip` and `translate`.
"""

__all__ = [
    "ALPHA", "ATEXT", "ATEXT_OCTETS", "CRLF", "CTEXT", "DIGIT", "DTEXT", "FTEXT", "HEXDIG", "QTEXT", "SPECIALS_OCTETS",
    "TOKEN", "TSPECIALS_OCTETS", "UTF8_NON_ASCII", "VCHAR", "WSP", "WSP_OCTETS",
]  # fmt: skip

# ALPHA = %x41-5A / %x61-7A, DIGIT = %x30-39, HEXDIG = DIGIT / "A" … "F" in either case (RFC 5234 B.1)
ALPHA = rb"A-Za-z"
DIGIT = rb"0-9"
HEXDIG = rb"0-9A-Fa-f"

# VCHAR = %x21-7E; WSP = SP / HTAB; CRLF = CR LF (RFC 5234 B.1)
VCHAR = rb"!-~"
WSP = rb" \t"
WSP_OCTETS = b" \t"
CRLF = b"\r\n"

# UTF8-non-ascii = UTF8-2 / UTF8-3 / UTF8-4 (RFC 6532 3.1); here every octet above 127, well-formed or not
UTF8_NON_ASCII = rb"\x80-\xff"

# atext = ALPHA / DIGIT / "!" / "#" / … / "~" (RFC 5322 3.2.3), UTF8-non-ascii (RFC 6532 3.2)
ATEXT = rb"A-Za-z0-9!#$%&'*+\-/=?^_`{|}~\x80-\xff"
ATEXT_OCTETS = bytes({33, *range(35, 40), 42, 43, 45, *range(47, 58), 61, 63, *range(65, 91), *range(94, 127)}) + bytes(
    range(128, 256)
)

# specials = "(" / ")" / "<" / ">" / "[" / "]" / ":" / ";" / "@" / "\" / "," / "." / DQUOTE (RFC 5322 3.2.3)
SPECIALS_OCTETS = b'()<>[]:;@\\,."'

# ctext = %d33-39 / %d42-91 / %d93-126 / obs-ctext (RFC 5322 3.2.2, 4.1)
CTEXT = rb"\x01-\x08\x0b\x0c\x0e-\x1f!-'*-\[\]-\xff"

# qtext = %d33 / %d35-91 / %d93-126 / obs-qtext (RFC 5322 3.2.4, 4.1)
QTEXT = rb"\x01-\x08\x0b\x0c\x0e-\x1f!#-\[\]-\xff"

# dtext = %d33-90 / %d94-126 / obs-dtext (RFC 5322 3.4.1, 4.4)
DTEXT = rb"\x01-\x08\x0b\x0c\x0e-\x1f!-Z^-\xff"

# ftext = %d33-57 / %d59-126 (RFC 5322 3.6.8)
FTEXT = rb"!-9;-~"

# token = 1*<any CHAR except SPACE, CTLs, or tspecials> (RFC 2045 5.1)
TOKEN = rb"!#$%&'*+\-.0-9A-Z^_`a-z{|}~"
TSPECIALS_OCTETS = b'()<>@,;:\\"/[]?='
