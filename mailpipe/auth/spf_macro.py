"""Macros of SPF put into words (RFC 7208 section 7): what the letters mean for one client and one sender.

    facts = Facts(ip_address("192.0.2.3"), "strong-bad@email.example.com", "mx.example.org")
    expand(record.redirect, facts.values("email.example.com"), validated)

Never here: the grammar of macros (`spf_record`).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import quote

from mailpipe.auth.domain import LONGEST
from mailpipe.auth.spf_record import Macro, MacroString

MAX_VALUE = 512
"""LIMIT: characters of a value that is put in for a macro; a local part of a megabyte would be multiplied by a record
that repeats it."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a client.

    Attributes:
        ip: its address; an IPv4 address in IPv6 clothes is IPv4 already.
        sender: the address of MAIL FROM, or postmaster at the name of HELO.
        helo: the name of HELO or EHLO.
        receiver: our own name, for explanations.
        timestamp: seconds since 1970, for explanations.
    """

    ip: IPv4Address | IPv6Address
    sender: str
    helo: str = ""
    receiver: str = "unknown"
    timestamp: int = 0

    def values(self, domain: str) -> Mapping[str, str]:
        """The value of each letter but p, while a domain is looked at (RFC 7208 section 7.2)."""
        local, _, own = self.sender.rpartition("@")
        local = local or "postmaster"
        is_4 = isinstance(self.ip, IPv4Address)
        return {
            "s": f"{local[:MAX_VALUE]}@{own}", "l": local, "o": own, "d": domain, "h": self.helo,
            "i": str(self.ip) if is_4 else ".".join(self.ip.exploded.replace(":", "").upper()),
            "v": "in-addr" if is_4 else "ip6", "c": str(self.ip), "r": self.receiver, "t": str(self.timestamp),
        }  # fmt: skip


def expand(macros: MacroString, values: Mapping[str, str], validated: Callable[[], str]) -> str:
    """The text of a macro string.

    Args:
        macros: parsed.
        values: letter → value, see `Facts.values`.
        validated: gives the value of p; asked only where it stands.
    """
    return "".join(
        piece if isinstance(piece, str) else _value(piece, values, validated)
        for piece in macros
    )  # fmt: skip


def expand_domain(macros: MacroString, values: Mapping[str, str], validated: Callable[[], str]) -> str:
    """The text of a domain-spec: labels go from the left until no more than 253 octets are left (section 7.3)."""
    name = expand(macros, values, validated).removesuffix(".")
    while len(name) > LONGEST and "." in name[-LONGEST - 1 :]:
        name = name[-LONGEST - 1 :].partition(".")[2]
    return name


def _value(macro: Macro, values: Mapping[str, str], validated: Callable[[], str]) -> str:
    value = (validated() if macro.letter == "p" else values[macro.letter])[:MAX_VALUE]
    if macro.count or macro.is_reversed or macro.delimiters:
        parts = re.split(f"[{re.escape(macro.delimiters or '.')}]", value)
        if macro.is_reversed:
            parts.reverse()
        value = ".".join(parts[-macro.count :])
    return quote(value, safe="-._~") if macro.is_escaped else value
