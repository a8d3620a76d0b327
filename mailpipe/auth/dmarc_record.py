"""The DMARC record (RFC 7489 section 6.3): from the TXT records of `_dmarc.` and a domain to a typed policy.

    record = find_record("example.org", lookup)
    record.policy, record.subdomain_policy, record.percent      # "reject", "quarantine", 100

Never here: alignment, and what becomes of a message; see `dmarc`.
"""

import re
from dataclasses import dataclass

from mailpipe.auth.lookup import Lookup
from mailpipe.fields.authentication import parse_tags

POLICIES = ("none", "quarantine", "reject")
"""What a domain may ask for, the mildest first."""
MAX_RECORD = 16_384
"""LIMIT: octets of a record that are looked at."""

_VERSION = re.compile(rb"v[ \t]*=[ \t]*DMARC1[ \t]*(?:;|\Z)")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*+:[^\s,!]+")


@dataclass(frozen=True, slots=True)
class DmarcRecord:
    """A policy.

    Attributes:
        policy: "none", "quarantine" or "reject", for the domain.
        subdomain_policy: the same for names below it.
        is_strict_dkim, is_strict_spf: names must be equal; else they must have one organizational domain.
        percent: how many messages of a hundred the policy is for.
        psd: "y" where the domain is a public suffix, "n" where it is an organization, "u" where it does not say
            (DMARCbis).
        reports: where it wants aggregate reports sent, URIs as they stand there.
    """

    policy: str
    subdomain_policy: str
    is_strict_dkim: bool = False
    is_strict_spf: bool = False
    percent: int = 100
    psd: str = "u"
    reports: tuple[str, ...] = ()


def find_record(domain: str, lookup: Lookup) -> DmarcRecord | None:
    """The policy that a domain itself publishes; None where there is none, or more than one (section 6.6.3).

    Raises:
        LookupFailed: no answer could be had.
    """
    records = [each for each in lookup.txt(f"_dmarc.{domain}") if _VERSION.match(each)]
    return parse_record(records[0]) if len(records) == 1 else None


def parse_record(octets: bytes) -> DmarcRecord | None:
    """A record; None where it is none of DMARC or says neither a policy nor where reports go. Never raises."""
    if not _VERSION.match(octets):
        return None
    tags = parse_tags(octets[:MAX_RECORD]).tags
    reports = tuple(uri for one in tags.get("rua", "").split(",") if _URI.match(uri := one.strip()))
    policy, below = tags.get("p", "").lower(), tags.get("sp", "").lower()
    if policy not in POLICIES or (below and below not in POLICIES):
        # section 6.6.3: who asks for reports wants to watch, and nothing else can be read from it
        if not reports:
            return None
        policy, below = "none", "none"
    percent = tags.get("pct", "100")
    return DmarcRecord(
        policy,
        below or policy,
        tags.get("adkim", "").lower() == "s",
        tags.get("aspf", "").lower() == "s",
        int(percent) if percent.isascii() and percent.isdecimal() and len(percent) < 4 and int(percent) <= 100 else 100,
        tags.get("psd", "u").lower(),
        reports,
    )
