"""The address itself: which texts are one, and how any text is kept from being more than one (RFC 5322 3.4.1).

    is_address("ann@example.org")                # True
    safe_address("ann@example.org>,<b@c")        # "ann@example.orgb@c"

Never here: the mailbox round it, with its name and angle brackets; address.py has it.
"""

import re

from mailpipe.fields.value import Remembered

ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]"
DOT_ATOM = rf"{ATEXT}++(?>(?:\.{ATEXT}++)*)"

# Everything outside ASCII is allowed (RFC 6532). Said by what is not: a range of all of Unicode takes 5 ms to compile.
_UTEXT = r'[^\x00- "(),.:;<>@\[\\\]\x7f]'
_LABEL = r"[^\x00-/:-@\[-`{-\x7f][^\x00-,./:-@\[-`{-\x7f]*+"
_ADDRESS = re.compile(
    rf'({_UTEXT}++(?>(?:\.{_UTEXT}++)*)|"(?>(?:[^\x00-\x1f"\\\x7f]|\\[ -~])*)")'
    rf"@(?:({_LABEL}(?>(?:\.{_LABEL})*))|\[([!-Z^-~]++)\])"
)
_UNSAFE = re.compile(r"[\x00-\x20\x7f<>(),;:\"\\]")


def is_address(text: str) -> bool:
    """Whether the text is an address: a Mailbox of RFC 5321 section 4.1.2 and an addr-spec of RFC 5322 section 3.4.1.

    UTF-8 is allowed in both halves (RFC 6531, 6532); comments, folds, obsolete syntax and overlong parts are not.

    >>> is_address("ann@example.org"), is_address("ann@example..org"), is_address('"ann b"@[IPv6:2001:db8::1]')
    (True, False, True)
    """
    return _known[text]


def _is_address(text: str) -> bool:
    found = _ADDRESS.fullmatch(text)
    if found is None:
        return False
    local, domain, literal = found.groups()
    if len(local.encode("utf-8", "surrogatepass")) > 64 or not text.isprintable():
        return False
    if literal is not None:
        return _is_address_literal(literal)
    return len(domain.encode("utf-8", "surrogatepass")) <= 255 and all(
        len(label) <= 63 and label[-1] != "-" for label in domain.split(".")
    )


_known = Remembered(_is_address, 320)  # LIMIT: 64 and 255 octets and an "@"; the same few write most of the mail


def _is_address_literal(literal: str) -> bool:
    # ipaddress costs two milliseconds to import, and literals are rare.
    import ipaddress

    try:
        if literal[:5].lower() == "ipv6:":
            ipaddress.IPv6Address(literal[5:])
            return "%" not in literal
        ipaddress.IPv4Address(literal)
    except ValueError:
        return False
    return True


def safe_address(text: str) -> str:
    """An address that stays one address, whatever was read into it."""
    if is_address(text):
        return text
    local, at, domain = text.rpartition("@")
    if not at:
        return _UNSAFE.sub("", domain)
    if not local.startswith('"'):
        local = _UNSAFE.sub("", local)
    return f"{local}@{_UNSAFE.sub('', domain)}"
