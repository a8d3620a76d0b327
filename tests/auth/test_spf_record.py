"""Records keep the grammar of RFC 7208 section 12, or say which term does not."""

import time

import pytest

from mailpipe.auth.spf_record import Macro, is_spf, parse_explanation, parse_record


@pytest.mark.parametrize(
    ("octets", "is_one"),
    [(b"v=spf1", True), (b"v=spf1 -all", True), (b"V=SPF1 -all", True), (b"v=spf10 -all", False), (b" v=spf1", False), (b"v=spf1\t-all", False)],
)
def test_a_record_begins_with_its_version_and_a_blank(octets, is_one) -> None:
    assert is_spf(octets) is is_one


def test_terms_come_in_order_with_what_they_mean() -> None:
    record = parse_record(b"v=spf1 +A/24//64 mx:mail.example.org ~ip6:2001:db8::/32  ?exists:%{ir}.%{v}._spf.example.org redirect=_spf.example.net")
    assert not record.problem
    assert [(each.mechanism, each.result) for each in record.directives] == [
        ("a", "pass"), ("mx", "pass"), ("ip6", "softfail"), ("exists", "neutral"),
    ]  # fmt: skip
    assert (record.directives[0].prefix_4, record.directives[0].prefix_6) == (24, 64)
    assert str(record.directives[2].network) == "2001:db8::/32"
    assert record.directives[3].target == (Macro("i", is_reversed=True), ".", Macro("v"), "._spf.example.org")
    assert record.redirect == ("_spf.example.net",)


@pytest.mark.parametrize(
    "term",
    [
        "all:example.org", "-all.", "ip4", "ip4:", "ip4:192.0.2", "ip4:192.0.2.0/33", "ip4:192.0.2.0/08", "ip4:192.0.2.0//24", "ip6:192.0.2.0",
        "ip6:2001:db8::/129", "a/33", "a//129", "a/24/64", "a:", "a:/24", "a:com", "a:example.123", "a:example.-x", "mx:exa mple", "include", "include:",
        "include:example.org/24", "exists", "ptr:", "ptr/24", "redirect=", "exp=", "-redirect=a.example", "nonsense", "nonsense:a.example", "=x", "1a",
        "a:%{x}.example", "a:%{d0}.example", "a:%{c}.example", "a:%d.example", "a:%{d", "unknown=%(x)", "redirect=a.example redirect=b.example",
        "exp=a.example exp=b.example", "a:ex\u00e4mple.org", "ip6:fe80::1%eth0",
    ],
)  # fmt: skip
def test_one_wrong_term_spoils_the_record(term) -> None:
    record = parse_record(f"v=spf1 ip4:192.0.2.1 {term} -all".encode())
    assert record.problem or term == "mx:exa mple"
    if term == "mx:exa mple":
        assert parse_record(b"v=spf1 mx:exa -all").problem


@pytest.mark.parametrize("term", ["foo=bar", "foo.b-c_1=%{d}%%", "x=", "exp=%{d}", "a:%{d1r-}", "A:EXAMPLE.ORG.", "a:example.x--1", "a:foo:bar/baz.example/0//0"])
def test_what_the_grammar_allows_is_allowed(term) -> None:
    assert parse_record(f"v=spf1 {term} -all".encode()).problem == ""


def test_explanations_may_say_more() -> None:
    assert parse_explanation(b"%{c} is not %{o}'s; see http://x.example/?i=%{I}") is not None
    assert parse_explanation(b"100%") is None
    assert parse_explanation("für".encode()) is None


@pytest.mark.parametrize(
    "octets",
    [b"v=spf1 " + b"a" * 300_000, b"v=spf1 a:" + b"a." * 150_000, b"v=spf1 a:" + b"%{d" * 100_000, b"v=spf1 a" + b"/1" * 150_000,
     b"v=spf1 " + b"-" * 300_000, b"v=spf1 a:" + b"a" * 300_000 + b"!", b"v=spf1 ip4:" + b"/" * 300_000, b"v=spf1" + b" a" * 30_000],
)  # fmt: skip
def test_hostile_records_take_no_time(octets) -> None:
    begin = time.perf_counter()
    parse_record(octets)
    assert time.perf_counter() - begin < 10
