"""Policies are found, names aligned, and percentages kept as RFC 7489 has them."""

import hashlib
import sys

import pytest

from mailpipe.auth.dmarc import Identity, check
from mailpipe.auth.dmarc_record import parse_record
from mailpipe.auth.organization import PublicSuffixes, TreeWalk, walked
from mailpipe.errors import ConfigError

SUFFIXES = PublicSuffixes()


def of(table, domain="example.org", *identities, organization=SUFFIXES, digest=b""):
    return check(domain, [Identity(*each) for each in identities], table, organization, digest=digest)


def policies(zone, **records):
    return zone({("_dmarc." + name.replace("_", "."), "TXT"): [text] for name, text in records.items()})


@pytest.mark.parametrize(
    ("record", "identity", "expected"),
    [
        ("p=reject", ("dkim", "pass", "example.org"), "pass"),
        ("p=reject", ("dkim", "pass", "mail.example.org"), "pass"),
        ("p=reject; adkim=s", ("dkim", "pass", "mail.example.org"), "fail"),
        ("p=reject; adkim=s", ("dkim", "pass", "example.org"), "pass"),
        ("p=reject", ("spf", "pass", "bounces.example.org"), "pass"),
        ("p=reject; aspf=s", ("spf", "pass", "bounces.example.org"), "fail"),
        ("p=reject", ("spf", "softfail", "example.org"), "fail"),
        ("p=reject", ("dkim", "pass", "badexample.org"), "fail"),
        ("p=reject", ("dkim", "pass", "org"), "fail"),
        ("p=reject", ("dkim", "temperror", "example.org"), "temperror"),
        ("p=reject", ("dkim", "temperror", "else.example"), "fail"),
        ("p=reject", ("spf", "pass", ""), "fail"),
    ],
)
def test_names_are_aligned(record, identity, expected, zone) -> None:
    found = of(policies(zone, example_org=f"v=DMARC1; {record}"), "example.org", identity)
    assert found.result == expected
    assert found.disposition == ("reject" if expected == "fail" else "none")
    assert found.aligned == ((identity[0],) if expected == "pass" else ())


def test_one_of_several_is_enough(zone) -> None:
    table = policies(zone, example_org="v=DMARC1; p=reject")
    found = of(table, "example.org", ("dkim", "fail", "example.org"), ("dkim", "pass", "else.example"), ("spf", "pass", "example.org"))
    assert (found.result, found.aligned) == ("pass", ("spf",))


def test_the_policy_of_the_organization_is_for_names_below_it(zone) -> None:
    table = policies(zone, example_co_uk="v=DMARC1; p=reject; sp=quarantine")
    found = of(table, "shop.mail.example.co.uk")
    assert (found.result, found.disposition, found.policy_domain) == ("fail", "quarantine", "example.co.uk")
    assert of(table, "example.co.uk").disposition == "reject"
    assert of(policies(zone, example_org="v=DMARC1; p=reject"), "a.example.org").disposition == "reject"


def test_no_policy_no_answer(zone) -> None:
    assert of(zone()).result == "none"
    assert of(zone({("_dmarc.example.org", "TXT"): ["v=DMARC1; p=none", "v=DMARC1; p=reject"]})).result == "none"
    assert of(zone({("_dmarc.example.org", "TXT"): ["spf", "v=DMARC1; p=reject"]})).result == "fail"
    assert of(zone(failing=["_dmarc.example.org"])).result == "temperror"
    assert of(policies(zone, org="v=DMARC1; p=reject"), "org").result == "fail"


@pytest.mark.parametrize(
    ("record", "policy"),
    [
        ("v=DMARC1; p=reject", "reject"), ("v = DMARC1 ;p = Quarantine;;", "quarantine"), ("v=DMARC1;p=none;rua=mailto:a@example.org", "none"),
        ("v=DMARC1; p=bogus; rua=mailto:a@example.org", "none"), ("v=DMARC1; rua=mailto:a@example.org!10m, https://x.example", "none"),
        ("v=DMARC1; p=bogus", None), ("v=DMARC1; p=reject; sp=bogus", None), ("v=DMARC1", None), ("p=reject; v=DMARC1", None), ("v=DMARC10; p=none", None),
        ("v=dmarc1; p=none", None),
    ],
)  # fmt: skip
def test_records(record, policy) -> None:
    parsed = parse_record(record.encode())
    assert (parsed.policy if parsed else None) == policy


@pytest.mark.parametrize(("text", "percent"), [("pct=25", 25), ("pct=0", 0), ("pct=101", 100), ("pct=x", 100), ("pct=-5", 100), ("", 100), ("pct=\u0665", 100)])
def test_percentages(text, percent) -> None:
    assert parse_record(f"v=DMARC1; p=reject; {text}".encode()).percent == percent


def test_the_share_of_mail_is_kept_and_the_same_every_time(zone) -> None:
    table = policies(zone, example_org="v=DMARC1; p=reject; pct=25")
    digests = [hashlib.sha256(str(number).encode()).digest() for number in range(1000)]
    fates = [of(table, digest=digest).disposition for digest in digests]
    assert fates == [of(table, digest=digest).disposition for digest in digests]
    assert set(fates) == {"reject", "quarantine"}
    assert 200 < fates.count("reject") < 300
    assert of(policies(zone, example_org="v=DMARC1; p=quarantine; pct=0"), digest=digests[0]).disposition == "none"


def test_the_tree_walk_needs_no_list(zone) -> None:
    table = policies(zone, example_org="v=DMARC1; p=reject", tenant_host="v=DMARC1; p=none", host="v=DMARC1; p=none; psd=y", a_b="v=DMARC1; p=none; psd=n", b="v=DMARC1; p=none")
    walk = TreeWalk()
    assert walk.of("x.mail.example.org", table) == "example.org"
    assert walk.of("x.y.tenant.host", table) == "tenant.host"
    assert walk.of("x.y.other.host", table) == "other.host"
    assert walk.of("host", table) == "host"
    assert walk.of("x.a.b", table) == "a.b"
    assert walk.of("nowhere.test", table) == "nowhere.test"
    assert of(table, "x.example.org", ("dkim", "pass", "mail.example.org"), organization=walk).result == "pass"


def test_a_tree_walk_asks_eight_times_at_most() -> None:
    names = walked(".".join("abcdefghijklmnop") + ".org")
    assert len(names) == 8
    assert names[-1] == "org"
    assert walked("org") == ["org"]


def test_a_missing_list_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "publicsuffixlist", None)
    with pytest.raises(ConfigError, match=r"mailpipe\[auth\]"):
        PublicSuffixes()
