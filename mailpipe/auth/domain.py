"""Names of domains as the DNS wants them: lower case, A-labels (RFC 5890), no last dot; and which names are none.

    ascii_domain("Müller.Example.")      # "xn--mller-kva.example"
    ascii_domain("[192.0.2.1]")          # None
    is_within("mail.a.example", "a.example")

Never here: questions to the DNS, and which domains belong together; see `organization`.
"""

import re
from functools import lru_cache

LONGEST = 253
"""Octets of a name in text (RFC 1035 section 2.3.4)."""

_LABEL = re.compile(r"[ -~]{1,63}")  # the DNS takes any octet, and SPF makes names with blanks
_LITERAL = re.compile(r"\[.*\]")


@lru_cache(4096)
def ascii_domain(text: str) -> str | None:
    """A domain in lower case and A-labels; None where the text is none: empty, a literal, an overlong or empty label.

    >>> ascii_domain("Example.ORG."), ascii_domain("a..example")
    ('example.org', None)
    """
    text = text.strip().removesuffix(".")
    if not text.isascii():
        import idna  # slow to import, and most domains are ASCII

        try:
            text = idna.encode(text, uts46=True).decode("ascii")
        except (idna.IDNAError, UnicodeError):
            return None
    text = text.lower()
    if len(text) > LONGEST or not all(map(_LABEL.fullmatch, text.split("."))) or _LITERAL.fullmatch(text):
        return None
    return text


def domain_of(address: str) -> str:
    """What stands behind the last at-sign, "" where there is none."""
    return address.rpartition("@")[2] if "@" in address else ""


def is_within(name: str, domain: str) -> bool:
    """Whether a name is the domain or lies below it; both as `ascii_domain` gives them.

    >>> is_within("mx.a.example", "a.example"), is_within("xa.example", "a.example")
    (True, False)
    """
    return name == domain or name.endswith("." + domain)
