"""What a record means for a client: RFC 7208 sections 4 to 7, over a table."""

import pytest

from mailpipe.auth.spf import check

ANN = "ann@example.org"


def result(zone, ip="192.0.2.3", sender=ANN, **more):
    return check(ip, sender, lookup=zone, helo=more.pop("helo", "mx.example.org"), **more)


@pytest.mark.parametrize(
    ("record", "ip", "expected", "mechanism"),
    [
        ("v=spf1 ip4:192.0.2.0/24 -all", "192.0.2.3", "pass", "ip4:192.0.2.0/24"),
        ("v=spf1 ip4:192.0.2.0/24 -all", "198.51.100.1", "fail", "-all"),
        ("v=spf1 ip4:192.0.2.0/24 ~all", "198.51.100.1", "softfail", "~all"),
        ("v=spf1 ?all", "198.51.100.1", "neutral", "?all"),
        ("v=spf1", "198.51.100.1", "neutral", "default"),
        ("v=spf1 ip4:192.0.2.0/24 -all", "::ffff:192.0.2.9", "pass", "ip4:192.0.2.0/24"),
        ("v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all", "2001:db8:1::5", "pass", "ip6:2001:db8::/32"),
        ("v=spf1 ip4:0.0.0.0/0 -all", "2001:db8:1::5", "fail", "-all"),
        ("v=spf1 IP4:192.0.2.3 -ALL", "192.0.2.3", "pass", "IP4:192.0.2.3"),
    ],
)
def test_addresses_and_qualifiers(record, ip, expected, mechanism, zone) -> None:
    found = result(zone.of(example_org=record), ip)
    assert (found.result, found.mechanism, found.domain) == (expected, mechanism, "example.org")


def test_no_record_no_domain_no_answer(zone) -> None:
    assert result(zone()).result == "none"
    assert result(zone({("example.org", "TXT"): ["v=spf2", "something else"]})).result == "none"
    for sender in ("ann@localhost", "ann@[192.0.2.1]", "ann@a..example", "ann@" + "a" * 64 + ".example", "ann@"):
        assert result(zone(), sender=sender).result == "none", sender
    assert result(zone(failing=["example.org"])).result == "temperror"
    assert result(zone({("example.org", "TXT"): ["v=spf1 -all", "v=spf1 +all"]})).result == "permerror"
    with pytest.raises(ValueError, match="address"):
        result(zone(), ip="mx.example.org")


def test_a_null_reverse_path_asks_for_the_name_of_helo(zone) -> None:
    table = zone.of(mx_example_org="v=spf1 ip4:192.0.2.3 -all")
    found = result(table, sender="")
    assert (found.result, found.domain) == ("pass", "mx.example.org")


def test_hosts_and_exchangers_of_both_families(zone) -> None:
    table = zone({
        ("example.org", "TXT"): ["v=spf1 a/30 mx:mail.example.org//64 -all"], ("example.org", "A"): ["192.0.2.1"],
        ("mail.example.org", "MX"): ["mx1.example.org", "mx2.example.org"], ("mx2.example.org", "AAAA"): ["2001:db8::1"],
        ("mx1.example.org", "A"): ["198.51.100.7"], ("mx2.example.org", "A"): ["198.51.100.8"], ("mx1.example.org", "AAAA"): ["2001:db8:9::1"],
        ("example.org", "AAAA"): ["2001:db8:8::1"],
    })  # fmt: skip
    assert result(table).mechanism == "a/30"
    assert result(table, "198.51.100.8").mechanism == "mx:mail.example.org//64"
    assert result(table, "2001:db8::dead").mechanism == "mx:mail.example.org//64"
    assert result(table, "203.0.113.1").result == "fail"


def test_included_policies_match_only_where_they_pass(zone) -> None:
    table = zone.of(example_org="v=spf1 include:a.example include:b.example ?all", a_example="v=spf1 -ip4:192.0.2.3 ~all", b_example="v=spf1 ip4:192.0.2.3 -all")
    assert result(table).mechanism == "include:b.example"
    assert result(table, "192.0.2.4").result == "neutral"
    assert result(zone.of(example_org="v=spf1 include:a.example -all")).result == "permerror"
    broken = zone.of(example_org="v=spf1 include:a.example -all", a_example="v=spf1 nonsense -all")
    assert result(broken).result == "permerror"


def test_redirect_is_asked_where_nothing_matches(zone) -> None:
    table = zone.of(example_org="v=spf1 redirect=_spf.example.net ip4:192.0.2.4", _spf="x")
    table.table["_spf.example.net", "TXT"] = ["v=spf1 ip4:192.0.2.3 -all exp=why.%{d}"]
    table.table["why._spf.example.net", "TXT"] = ["%{i} may not send for %{o}"]
    assert result(table).mechanism == "ip4:192.0.2.3"
    assert result(table, "192.0.2.4").mechanism == "ip4:192.0.2.4"
    refused = result(table, "203.0.113.9")
    assert refused.explanation == "203.0.113.9 may not send for example.org"
    assert not result(table, "203.0.113.9", explains=False).explanation
    assert result(zone.of(example_org="v=spf1 redirect=nowhere.example")).result == "permerror"


def test_names_of_the_client_must_lead_back_to_it(zone) -> None:
    table = zone({
        ("example.org", "TXT"): ["v=spf1 ptr -all"], ("3.2.0.192.in-addr.arpa", "PTR"): ["liar.example.org", "mx.example.org"],
        ("mx.example.org", "A"): ["192.0.2.3"], ("liar.example.org", "A"): ["203.0.113.1"], ("4.2.0.192.in-addr.arpa", "PTR"): ["liar.example.org"],
    })  # fmt: skip
    assert result(table).mechanism == "ptr"
    assert result(table, "192.0.2.4").result == "fail"


def test_macros_make_names(zone) -> None:
    table = zone({
        ("example.org", "TXT"): ["v=spf1 exists:%{l1r-}.%{ir}.%{v}.%{d2}.lists.%{h}.%{p} -all"],
        ("ann.3.2.0.192.in-addr.example.org.lists.mx.example.org.unknown", "A"): ["127.0.0.2"],
    })  # fmt: skip
    assert result(table, sender="ann-lee@example.org").result == "pass"
    assert result(table, sender="bob@example.org").result == "fail"
    six = zone({("example.org", "TXT"): ["v=spf1 exists:%{i}.x.example -all"]})
    assert result(six, "2001:db8::1").result == "fail"
    assert six.asked[-1] == ("2.0.0.1.0.d.b.8." + "0." * 23 + "1.x.example", "A")


def test_long_names_lose_labels_from_the_left(zone) -> None:
    table = zone.of(example_org="v=spf1 exists:%{l}.%{l}.%{l}.%{l}.%{l}.%{d} -all")
    local = "a" * 60
    assert result(table, sender=f"{local}@example.org").result == "fail"
    name = table.asked[-1][0]
    assert len(name) <= 253
    assert name.endswith(f".{local}.example.org")


def test_ten_terms_may_ask_and_not_eleven(zone) -> None:
    for count, expected in ((10, "pass"), (11, "permerror")):
        table = zone.of(example_org="v=spf1 " + " ".join(f"-a:h{n}.example" for n in range(count)) + " +all")
        for number in range(count):
            table.table[f"h{number}.example", "A"] = ["203.0.113.1"]
        assert result(table).result == expected


def test_a_circle_of_includes_ends(zone) -> None:
    assert result(zone.of(example_org="v=spf1 include:example.org -all")).result == "permerror"
    assert result(zone.of(example_org="v=spf1 redirect=example.org")).result == "permerror"


def test_two_questions_may_have_no_answer_and_not_three(zone) -> None:
    for count, expected in ((2, "pass"), (3, "permerror")):
        table = zone.of(example_org="v=spf1 " + " ".join(f"a:h{n}.example" for n in range(count)) + " +all")
        assert result(table).result == expected


def test_eleven_exchangers_are_too_many(zone) -> None:
    table = zone({("example.org", "TXT"): ["v=spf1 mx -all"], ("example.org", "MX"): [f"mx{n}.example.org" for n in range(11)]})
    assert result(table).result == "permerror"


def test_a_term_before_the_one_without_an_answer_decides(zone) -> None:
    table = zone.of(example_org="v=spf1 ip4:192.0.2.3 a:broken.example -all")
    table.failing.add("broken.example")
    assert result(table).result == "pass"
    assert result(table, "192.0.2.4").result == "temperror"


def test_names_outside_ascii_are_asked_as_a_labels(zone) -> None:
    table = zone.of(**{"xn--mller-kva_example": "v=spf1 ip4:192.0.2.3 -all"})
    found = result(table, sender="ann@müller.example")
    assert (found.result, found.domain) == ("pass", "xn--mller-kva.example")


def test_a_local_part_of_a_megabyte_is_no_weapon(zone) -> None:
    table = zone.of(example_org="v=spf1 -all exp=why.example", why_example="%{s}" * 3000)
    assert len(result(table, sender="a" * 1_000_000 + "@example.org").explanation) == 1000
