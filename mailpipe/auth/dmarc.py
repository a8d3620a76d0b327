"""DMARC (RFC 7489): does what passed bear the name in From, and what does that domain want done if nothing does?

    found = check("example.org", [Identity("spf", "pass", "mail.example.org")], lookup, PublicSuffixes(), digest=digest)
    found.result, found.disposition             # "pass", "none"

Never here: SPF and DKIM themselves, and which mail is refused; a stage decides about that.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from mailpipe.auth.dmarc_record import DmarcRecord, find_record
from mailpipe.auth.lookup import Lookup, LookupFailed
from mailpipe.auth.organization import Organization

MAX_IDENTITIES = 100
"""LIMIT: results that are looked at; a message may bear any number of signatures."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What another method found out.

    Attributes:
        method: "spf" or "dkim".
        result: "pass", "temperror" or another.
        domain: whose name passed, in lower case and A-labels.
    """

    method: str
    result: str
    domain: str


@dataclass(frozen=True, slots=True)
class DmarcResult:
    """What DMARC says.

    Attributes:
        result: "pass", "fail", "none", "temperror" or "permerror" (RFC 8601 section 2.7.5, RFC 7489 section 11.2).
        domain: the one in From.
        disposition: what the domain wants done with this message: "none", "quarantine" or "reject".
        policy: what it wants done in general, before `pct` had its say; "" where there is none.
        policy_domain: who published that.
        aligned: the methods that passed for the name in From: ("dkim", "spf").
        reason: one line, where there is something to say.
    """

    result: str
    domain: str
    disposition: str = "none"
    policy: str = ""
    policy_domain: str = ""
    aligned: tuple[str, ...] = ()
    reason: str = ""


def check(
    domain: str, identities: Sequence[Identity], lookup: Lookup, organization: Organization, *, digest: bytes = b""
) -> DmarcResult:
    """Evaluate the policy of the domain in From (section 6.6.2).

    Args:
        domain: in lower case and A-labels.
        identities: what SPF and DKIM found.
        lookup: answers questions.
        organization: knows which domains belong together.
        digest: of the message; `pct` chooses by it, so that the same message meets the same fate every time. Empty:
            the policy is for all.
    """
    try:
        return _checked(domain, identities[:MAX_IDENTITIES], lookup, organization, digest)
    except LookupFailed as error:
        return DmarcResult("temperror", domain, reason=str(error))


def _checked(
    domain: str, identities: Sequence[Identity], lookup: Lookup, organization: Organization, digest: bytes
) -> DmarcResult:
    record, owner = find_record(domain, lookup), domain
    if record is None:
        owner = organization.of(domain, lookup)
        record = find_record(owner, lookup) if owner != domain else None
    if record is None:
        return DmarcResult("none", domain, reason=f"{domain} has no DMARC record")
    policy = record.policy if owner == domain else record.subdomain_policy
    aligned, doubtful = _alignment(domain, identities, record, lookup, organization)
    if aligned:
        return DmarcResult("pass", domain, "none", policy, owner, aligned)
    if doubtful:
        words = f"{doubtful.method} of {doubtful.domain} has no result yet, which might pass"
        return DmarcResult("temperror", domain, "none", policy, owner, (), words)
    disposition, words = policy, ""
    if not _is_chosen(digest, record.percent):
        # section 6.6.4: the others get the next milder treatment
        disposition = {"reject": "quarantine", "quarantine": "none"}.get(policy, "none")
        words = f"the policy is for {record.percent} of 100 messages, and not for this one"
    return DmarcResult("fail", domain, disposition, policy, owner, (), words)


def _alignment(
    domain: str, identities: Sequence[Identity], record: DmarcRecord, lookup: Lookup, organization: Organization
) -> tuple[tuple[str, ...], Identity | None]:
    """The methods that passed for the domain, and one that may yet."""
    aligned: list[str] = []
    doubtful: Identity | None = None
    own = ""
    for each in identities:
        if each.result not in ("pass", "temperror") or not each.domain or each.method in aligned:
            continue
        is_same = each.domain == domain
        is_strict = record.is_strict_dkim if each.method == "dkim" else record.is_strict_spf
        if not is_same and not is_strict:
            own = own or organization.of(domain, lookup)
            is_same = organization.of(each.domain, lookup) == own
        if is_same and each.result == "pass":
            aligned.append(each.method)
        elif is_same:
            doubtful = doubtful or each
    return tuple(aligned), doubtful


def _is_chosen(digest: bytes, percent: int) -> bool:
    return not digest or int.from_bytes(digest[:8], "big") % 100 < percent
