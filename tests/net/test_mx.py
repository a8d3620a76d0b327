"""Where the mail of a domain goes, told by a name server on loopback."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpipe.errors import ConfigError, PermanentFailure, TransientFailure
from mailpipe.net.endpoint import Endpoint, split_host
from mailpipe.net.mx import Destination, Exchanger, MxRoutes
from mailpipe.net.resolver import Resolver


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def resolver(dns_server, clock):
    return Resolver([dns_server.address], clock=clock, timeout=0.5)


@pytest.fixture
def routes(resolver):
    return MxRoutes(resolver, own_names=["mx.us.test"], own_addresses=["192.0.2.99", "2001:db8::99"])


def names(destination, seed=1):
    return [exchanger.name for exchanger in destination.ordered(random.Random(seed))]


def refusal(routes, domain):
    with pytest.raises(PermanentFailure) as caught:
        routes.find(domain)
    return str(caught.value.status)


def test_the_lowest_preference_comes_first(dns_server, routes):
    dns_server.add("example.test", "MX", "20 b.test.", "10 a.test.", "30 c.test.")
    for host in ("a.test", "b.test", "c.test"):
        dns_server.add_host(host, "192.0.2.1")
    destination = routes.find("Example.TEST.")
    assert names(destination) == ["a.test", "b.test", "c.test"]
    assert destination.domain == "example.test" and not destination.is_implicit


def test_equal_preferences_are_shuffled_by_the_chance_that_is_given(dns_server, routes):
    dns_server.add("example.test", "MX", "10 a.test.", "10 b.test.", "10 c.test.", "5 first.test.")
    for host in ("a.test", "b.test", "c.test", "first.test"):
        dns_server.add_host(host, "192.0.2.1")
    destination = routes.find("example.test")
    seen = {tuple(names(destination, seed)) for seed in range(60)}
    assert len(seen) == 6 and {order[0] for order in seen} == {"first.test"}
    assert names(destination, 7) == names(destination, 7)


def test_ipv6_and_ipv4_alternate(dns_server, routes):
    dns_server.add("example.test", "MX", "10 a.test.")
    dns_server.add_host("a.test", "192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1")
    (only,) = routes.find("example.test").ordered(random.Random(1))
    assert only.addresses[0] == "2001:db8::1" and len(only.addresses) == 4
    assert sorted(only.addresses[1:]) == ["192.0.2.1", "192.0.2.2", "192.0.2.3"]


@given(
    preferences=st.lists(st.integers(0, 5), min_size=1, max_size=8),
    addresses=st.lists(st.ip_addresses().map(str), min_size=1, max_size=8, unique=True),
    seed=st.integers(),
)
def test_an_order_loses_nobody_and_keeps_preferences(preferences, addresses, seed):
    exchangers = tuple(Exchanger(f"h{n}.test", one, tuple(addresses)) for n, one in enumerate(preferences))
    ordered = Destination("x.test", exchangers).ordered(random.Random(seed))
    assert [one.preference for one in ordered] == sorted(preferences)
    assert {one.name for one in ordered} == {one.name for one in exchangers}
    assert all(sorted(one.addresses) == sorted(addresses) for one in ordered)


def test_domains_with_the_same_exchangers_have_the_same_key(dns_server, routes):
    dns_server.add("one.test", "MX", "10 a.test.", "20 b.test.")
    dns_server.add("two.test", "MX", "20 B.test.", "10 a.test.")
    dns_server.add("three.test", "MX", "10 b.test.", "20 a.test.")
    dns_server.add_host("a.test", "192.0.2.1")
    dns_server.add_host("b.test", "192.0.2.2")
    one, two, three = (routes.find(f"{name}.test") for name in ("one", "two", "three"))
    assert one.key == two.key != three.key


def test_a_null_mx_is_a_refusal_for_good(dns_server, routes):
    dns_server.add("example.test", "MX", "0 .")
    assert refusal(routes, "example.test") == "5.1.10"
    with pytest.raises(PermanentFailure) as caught:
        routes.check_sender("example.test")
    assert str(caught.value.status) == "5.7.27"


def test_a_sender_without_null_mx_passes(dns_server, routes):
    dns_server.add("example.test", "MX", "10 a.test.")
    routes.check_sender("example.test")
    routes.check_sender("missing.test")


def test_a_domain_without_mx_is_its_own_exchanger(dns_server, routes):
    dns_server.add_host("example.test", "192.0.2.1", "2001:db8::1")
    destination = routes.find("example.test")
    assert destination.is_implicit and names(destination) == ["example.test"]


def test_a_domain_that_is_not_there_fails_for_good(routes):
    assert refusal(routes, "missing.test") == "5.1.2"


def test_a_domain_with_neither_mx_nor_address_fails_for_good(dns_server, routes):
    dns_server.add("example.test", "TXT", '"only words"')
    assert refusal(routes, "example.test") == "5.1.2"


@pytest.mark.parametrize("trouble", ["failing", "silent"])
def test_a_name_server_that_fails_defers(dns_server, routes, trouble):
    getattr(dns_server, trouble).add("example.test")
    with pytest.raises(TransientFailure) as caught:
        routes.find("example.test")
    assert str(caught.value.status) == "4.4.3" and "example.test" in str(caught.value)


@pytest.mark.parametrize("follows", [True, False])
def test_an_alias_of_a_domain_is_followed(dns_server, routes, follows):
    dns_server.follows = follows
    dns_server.add("alias.test", "CNAME", "middle.test.")
    dns_server.add("middle.test", "CNAME", "example.test.")
    dns_server.add("example.test", "MX", "10 a.test.")
    dns_server.add("a.test", "CNAME", "b.test.")
    dns_server.add_host("b.test", "192.0.2.1")
    (only,) = routes.find("alias.test").exchangers
    assert (only.name, only.canonical_name, only.addresses) == ("a.test", "b.test", ("192.0.2.1",))


@pytest.mark.parametrize("follows", [True, False])
def test_aliases_in_a_circle_end(dns_server, routes, follows):
    dns_server.follows = follows
    dns_server.add("one.test", "CNAME", "two.test.")
    dns_server.add("two.test", "CNAME", "one.test.")
    with pytest.raises(TransientFailure, match="circle") as caught:
        routes.find("one.test")
    assert str(caught.value.status) == "4.4.6"
    assert len(dns_server.asked) < 20


def test_a_chain_of_aliases_without_end_ends(dns_server, routes):
    dns_server.follows = False
    for number in range(40):
        dns_server.add(f"n{number}.test", "CNAME", f"n{number + 1}.test.")
    with pytest.raises(TransientFailure, match="too many"):
        routes.find("n0.test")


def test_we_and_whoever_is_no_nearer_are_cut_off(dns_server, routes):
    dns_server.add("example.test", "MX", "10 near.test.", "20 mx.us.test.", "20 equal.test.", "30 far.test.")
    for host in ("near.test", "equal.test", "far.test"):
        dns_server.add_host(host, "192.0.2.1")
    assert names(routes.find("example.test")) == ["near.test"]


@pytest.mark.parametrize("address", ["192.0.2.99", "2001:DB8:0:0::99"])
def test_we_are_known_by_address_as_well(dns_server, routes, address):
    dns_server.add("example.test", "MX", "10 other-name.test.", "20 far.test.")
    dns_server.add_host("other-name.test", address)
    dns_server.add_host("far.test", "192.0.2.1")
    assert refusal(routes, "example.test") == "5.4.6"


def test_mail_that_would_come_back_to_us_fails_for_good(dns_server, routes):
    dns_server.add("example.test", "MX", "10 mx.us.test.")
    dns_server.add_host("mx.us.test", "192.0.2.1")
    assert refusal(routes, "example.test") == "5.4.6"
    assert refusal(routes, "mx.us.test") == "5.4.6"
    assert refusal(routes, "[192.0.2.99]") == "5.4.6"


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.10", "::1", "0.0.0.0", "::", "::ffff:127.0.0.1"])
def test_the_inside_of_this_machine_is_ours_unless_it_is_allowed(dns_server, resolver, routes, address):
    dns_server.add("example.test", "MX", "10 inside.test.")
    dns_server.add_host("inside.test", address)
    literal = f"[IPv6:{address}]" if ":" in address else f"[{address}]"
    assert refusal(routes, "example.test") == refusal(routes, literal) == "5.4.6"
    assert names(MxRoutes(resolver, allows_loopback=True).find("example.test")) == ["inside.test"]


def test_an_mx_that_is_an_address_is_passed_over(dns_server, routes):
    dns_server.add("example.test", "MX", "10 192.0.2.1.", "20 a.test.")
    dns_server.add_host("a.test", "192.0.2.2")
    assert names(routes.find("example.test")) == ["a.test"]
    dns_server.add("other.test", "MX", "10 192.0.2.1.")
    assert refusal(routes, "other.test") == "5.4.4"


def test_exchangers_that_do_not_exist_are_passed_over(dns_server, routes):
    dns_server.add("example.test", "MX", "10 missing.test.", "20 a.test.")
    dns_server.add_host("a.test", "192.0.2.2")
    assert names(routes.find("example.test")) == ["a.test"]
    dns_server.add("other.test", "MX", "10 missing.test.")
    assert refusal(routes, "other.test") == "5.4.4"


def test_an_exchanger_whose_address_cannot_be_asked_for_now_defers_only_where_it_is_the_last(dns_server, routes):
    dns_server.add("example.test", "MX", "10 failing.test.", "20 a.test.")
    dns_server.add("other.test", "MX", "10 failing.test.", "20 missing.test.")
    dns_server.failing.add("failing.test")
    dns_server.add_host("a.test", "192.0.2.2")
    assert names(routes.find("example.test")) == ["a.test"]
    with pytest.raises(TransientFailure):
        routes.find("other.test")


def test_name_servers_that_keep_every_address_to_themselves_are_not_asked_without_end(dns_server, routes):
    dns_server.add("example.test", "MX", *(f"10 failing{number}.test." for number in range(15)))
    dns_server.failing.update(f"failing{number}.test" for number in range(15))
    with pytest.raises(TransientFailure):
        routes.find("example.test")
    assert len({name for name, _ in dns_server.asked}) == 1 + 3


def test_one_family_of_addresses_is_enough(dns_server, routes):
    dns_server.add("example.test", "MX", "10 a.test.")
    dns_server.add_host("a.test", "192.0.2.2")
    dns_server.failing.add(("a.test", "AAAA"))
    (only,) = routes.find("example.test").exchangers
    assert only.addresses == ("192.0.2.2",)


@pytest.mark.parametrize(
    ("literal", "address"), [("[192.0.2.1]", "192.0.2.1"), ("[IPv6:2001:DB8::1]", "2001:db8::1")]
)
def test_an_address_literal_is_asked_of_nobody(dns_server, routes, literal, address):
    (only,) = routes.find(literal).exchangers
    assert only.addresses == (address,) and not dns_server.asked


@pytest.mark.parametrize("literal", ["[192.0.2.256]", "[x400:what]", "[IPv6:zz]"])
def test_a_literal_of_another_form_fails_for_good(routes, literal):
    assert refusal(routes, literal) == "5.1.2"


def test_a_name_that_no_name_server_could_be_asked_for_is_not_there(routes):
    assert refusal(routes, "x" * 64 + ".test") == "5.1.2"


def test_answers_are_remembered_as_long_as_they_live(dns_server, resolver, clock):
    dns_server.add("example.test", "MX", "10 a.test.", ttl=100)
    for _ in range(3):
        assert resolver.mx("Example.test").records[0].host == "a.test"
    assert len(dns_server.asked) == 1
    clock.now += 99
    resolver.mx("example.test")
    assert len(dns_server.asked) == 1
    clock.now += 1
    resolver.mx("example.test")
    assert len(dns_server.asked) == 2


def test_that_a_name_is_missing_is_remembered_for_the_time_of_its_zone(dns_server, resolver, clock):
    assert not resolver.mx("missing.test").exists
    clock.now += 59
    assert not resolver.mx("missing.test").exists
    assert len(dns_server.asked) == 1
    clock.now += 2
    dns_server.add("missing.test", "MX", "10 a.test.")
    assert resolver.mx("missing.test").exists


def test_a_failure_is_not_remembered(dns_server, resolver):
    dns_server.failing.add("example.test")
    with pytest.raises(TransientFailure):
        resolver.mx("example.test")
    dns_server.failing.clear()
    dns_server.add("example.test", "MX", "10 a.test.")
    assert resolver.mx("example.test").records


def test_the_flag_of_a_validating_server_counts_only_where_it_is_trusted(dns_server, resolver, clock):
    dns_server.add("signed.test", "MX", "10 a.test.", signed=True)
    dns_server.add("plain.test", "MX", "10 a.test.")
    assert not resolver.mx("signed.test").is_validated
    trusting = Resolver([dns_server.address], clock=clock, timeout=0.5, validates=True)
    assert trusting.mx("signed.test").is_validated and not trusting.mx("plain.test").is_validated


def test_one_unsigned_alias_spoils_the_chain(dns_server, clock):
    dns_server.follows = False
    dns_server.add("one.test", "CNAME", "two.test.", signed=True)
    dns_server.add("two.test", "CNAME", "three.test.")
    dns_server.add("three.test", "MX", "10 a.test.", signed=True)
    trusting = Resolver([dns_server.address], clock=clock, timeout=0.5, validates=True)
    assert trusting.mx("one.test").records and not trusting.mx("one.test").is_validated
    assert trusting.mx("three.test").is_validated


def test_a_second_name_server_is_asked_where_the_first_fails(dns_server, clock):
    dns_server.add("example.test", "MX", "10 a.test.")
    two = Resolver(["127.0.0.1:9", dns_server.address], clock=clock, timeout=5)
    assert two.mx("example.test").records


def test_a_name_server_that_is_no_address_is_a_matter_of_configuration(clock):
    with pytest.raises(ConfigError, match="dns = "):
        Resolver(["not an address"], clock=clock)


def test_an_endpoint_knows_its_address_apart_from_its_name():
    endpoint = Endpoint("mx.example.net", 25, "2001:db8::1")
    assert (endpoint.connect_host, endpoint.ascii_host) == ("2001:db8::1", "mx.example.net")
    assert str(endpoint) == "mx.example.net[2001:db8::1]:25"
    assert Endpoint("mx.example.net").connect_host == "mx.example.net"


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("mx.example.net", Endpoint("mx.example.net", 24)),
        ("mx.example.net:2525", Endpoint("mx.example.net", 2525)),
        ("::1", Endpoint("::1", 24)),
        ("[::1]", Endpoint("::1", 24)),
        ("[::1]:2525", Endpoint("::1", 2525)),
        ("/run/a:b", Endpoint("/run/a:b", 24)),
        ("unix:/run/lmtp", Endpoint("unix:/run/lmtp", 24)),
    ],
)
def test_an_endpoint_is_read_as_people_write_it(text, endpoint):
    assert Endpoint.parse(text, 24) == endpoint


@pytest.mark.parametrize("text", ["", ":25", "mx.example.net:", "mx.example.net:0", "mx.example.net:99999", "[]:25"])
def test_what_names_no_host_or_port_is_refused(text):
    with pytest.raises(ValueError):
        split_host(text, 25)
