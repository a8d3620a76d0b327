"""The daily report to a domain on how sessions with its servers began (TLSRPT, RFC 8460 section 4), as JSON values.

    document = tls_report("example.net", "2026-11-27", state.counts("2026-11-27"), organization="mx.example.org")
    json.dumps(document)

Never here: where the counts come from, whom the report goes to (the TXT record "_smtp._tls.example.net").
"""

from collections.abc import Sequence
from typing import Any

from mailpipe.net.tls_state import TlsCount


def reported_domains(counts: Sequence[TlsCount]) -> tuple[str, ...]:
    """The domains that have something to be told, in order."""
    return tuple(sorted({one.domain for one in counts}))


def tls_report(
    domain: str, day: str, counts: Sequence[TlsCount], *, organization: str, contact: str = ""
) -> dict[str, Any]:
    """The report on one domain and one day.

    Args:
        domain: who it is for.
        day: "2026-11-27", UTC.
        counts: of that day; those of other domains are passed over.
        organization: who reports, a name or a host.
        contact: an address to ask; "" for none.

    Returns:
        what `json.dumps` writes as RFC 8460 section 4.4 has it. The same counts make the same report, its id too.
    """
    groups: dict[tuple[str, tuple[str, ...]], list[TlsCount]] = {}
    for one in sorted(counts):
        if one.domain == domain:
            groups.setdefault((one.policy_type, one.policy), []).append(one)
    document: dict[str, Any] = {
        "organization-name": organization,
        "date-range": {"start-datetime": f"{day}T00:00:00Z", "end-datetime": f"{day}T23:59:59Z"},
        "report-id": f"{day}_{domain}@{organization}",
        "policies": [_policy(domain, kind, lines, found) for (kind, lines), found in groups.items()],
    }
    if contact:
        document["contact-info"] = contact
    return document


def _policy(domain: str, kind: str, lines: tuple[str, ...], found: list[TlsCount]) -> dict[str, Any]:
    policy: dict[str, Any] = {"policy-type": kind, "policy-domain": domain}
    if lines:
        policy["policy-string"] = list(lines)
    if hosts := [line.partition(":")[2].strip() for line in lines if line.startswith("mx:")]:
        policy["mx-host"] = hosts
    failures: dict[tuple[str, str], int] = {}
    for one in found:
        if one.problem:
            failures[one.problem, one.host] = failures.get((one.problem, one.host), 0) + one.sessions
    made: dict[str, Any] = {
        "policy": policy,
        "summary": {
            "total-successful-session-count": sum(one.sessions for one in found if not one.problem),
            "total-failure-session-count": sum(failures.values()),
        },
    }
    if failures:
        made["failure-details"] = [
            {"result-type": problem, **({"receiving-mx-hostname": host} if host else {}), "failed-session-count": count}
            for (problem, host), count in failures.items()
        ]
    return made
