"""Stages ask real name servers, remember, and give up in time."""

import sys

import pytest

from mailpipe import Services
from mailpipe.auth.lookup import LookupFailed
from mailpipe.errors import ConfigError
from mailpipe.stages.lookups import LookupOptions, open_lookup


class Clock:
    """One that stands still until it is turned."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


def opened(dns_server, clock=None, **more):
    options = LookupOptions(nameservers=(dns_server.address,), **more)
    return open_lookup(options, Services.for_tests("spf", clock=clock))


def test_every_kind_of_record(dns_server) -> None:
    dns_server.add("example.org", "TXT", '"v=spf1 " "-all"', '"f\\195\\188r"')
    dns_server.add("example.org", "MX", "20 b.example.org.", "10 a.example.org.")
    dns_server.add_host("a.example.org", "192.0.2.1", "2001:db8::1")
    dns_server.add("1.2.0.192.in-addr.arpa", "PTR", "a.example.org.")
    lookup = opened(dns_server)
    # name servers turn the order of records round
    assert set(lookup.txt("example.org")) == set(lookup("example.org")) == {b"v=spf1 -all", "für".encode()}
    assert lookup.mx("example.org") == ("a.example.org", "b.example.org")
    assert lookup.addresses("a.example.org", 4) == ("192.0.2.1",)
    assert lookup.addresses("a.example.org", 6) == ("2001:db8::1",)
    assert lookup.ptr("192.0.2.1") == ("a.example.org",)
    assert lookup.txt("nowhere.example") == lookup.mx("a.example.org") == ()
    assert lookup.txt("a..b") == lookup.txt("ü" * 300) == lookup.txt("x" * 500) == ()


def test_a_server_that_fails_is_no_answer(dns_server) -> None:
    dns_server.failing.add("example.org")
    lookup = opened(dns_server)
    for ask in (lambda: lookup.txt("example.org"), lambda: lookup.mx("example.org"), lambda: lookup.addresses("example.org", 4)):
        with pytest.raises(LookupFailed, match=r"example\.org"):
            ask()


def test_what_was_asked_once_is_remembered_by_all_stages_of_a_worker(dns_server) -> None:
    dns_server.add("example.org", "TXT", '"x"')
    clock = Clock()
    first, second = opened(dns_server, clock), opened(dns_server, clock)
    assert first.txt("example.org") == second.txt("EXAMPLE.org.") == (b"x",)
    assert len(dns_server.asked) == 1
    clock.seconds = 301.0
    first.txt("example.org")
    assert len(dns_server.asked) == 2


def test_the_time_of_a_mail_ends(dns_server) -> None:
    clock = Clock()
    lookup = opened(dns_server, clock, dns_deadline="5s")
    lookup.txt("example.org")
    lookup.begin()
    clock.seconds = 4.9
    lookup.txt("a.example.org")
    clock.seconds = 5.0
    with pytest.raises(LookupFailed, match="5 s"):
        lookup.txt("b.example.org")
    lookup.begin()
    assert lookup.txt("b.example.org") == ()


def test_what_is_missing_or_wrong_is_told_before_any_mail(monkeypatch) -> None:
    with pytest.raises(ConfigError, match="nameservers"):
        open_lookup(LookupOptions(nameservers=("not an address",)), Services.for_tests("spf"))
    monkeypatch.setitem(sys.modules, "mailpipe.net.resolver", None)
    with pytest.raises(ConfigError, match=r"mailpipe\[auth\]"):
        open_lookup(LookupOptions(), Services.for_tests("spf", clock=Clock()))
