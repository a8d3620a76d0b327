"""Another implementation of RFC 7208, pyspf, comes to the same results over made-up zones."""

import random
import socket

import pytest

from mailpipe.auth.spf import check

spf = pytest.importorskip("spf")

NAMES = ["example.org", "a.example", "b.example", "c.example", "mail.example.org", "nowhere.example"]
ADDRESSES = ["192.0.2.1", "192.0.2.77", "198.51.100.1", "203.0.113.9", "2001:db8::1", "2001:db8:5::2"]
# It refuses a domain that includes itself before any term is looked at, and counts the names of the client that lead
# nowhere, and the same question as often as it is asked; the RFC asks for neither.
ITS_OWN = ("include has trivial recursion", "Void lookup limit")
MACROS = ["%{d}", "%{d2}.x.example", "%{ir}.%{v}.b.example", "%{l}.a.example", "%{o}", "%{h}", "%{dr}.example", "%{S}.a.example", "%{p}"]


def _term(chance):
    name = chance.choice([*NAMES, *NAMES, *MACROS])
    prefix = chance.choice(["", "", "/24", "//64", "/28//48", "/33"])
    ip = chance.choice(ADDRESSES)
    network = ("ip6:" if ":" in ip else "ip4:") + ip + chance.choice(["", "/16", "/32"])
    term = chance.choice([
        "all", "a", f"a{prefix}", f"a:{name}{prefix}", f"mx:{name}", f"mx{prefix}", "ptr", f"ptr:{name}", f"exists:{name}", f"include:{name}",
        f"include:{chance.choice(NAMES)}", network, network, network,
    ])  # fmt: skip
    if chance.random() < 0.03:
        return chance.choice(["ip4:1.2.3", "bogus", "a:%{z}.example", "include", "foo=%{d}", "exists:localhost"])
    return chance.choice(["", "", "-", "~", "?", "+"]) + term


def _record(chance):
    terms = [_term(chance) for _ in range(chance.randrange(1, 6))]
    if chance.random() < 0.25:
        terms.insert(chance.randrange(len(terms) + 1), f"redirect={chance.choice(NAMES)}")
    return " ".join(["v=spf1", *terms])


def _table(chance):
    table = {}
    for name in NAMES[:-1]:
        if chance.random() < 0.9:
            table[name, "TXT"] = [_record(chance)]
        for kind, mark in (("A", "."), ("AAAA", ":")):
            addresses = [one for one in ADDRESSES if mark in one and chance.random() < 0.4]
            if addresses:
                table[name, kind] = addresses
        if chance.random() < 0.5:
            table[name, "MX"] = chance.sample(NAMES, chance.randrange(1, 3))
    for ip in ADDRESSES[:4]:
        if chance.random() < 0.5:
            table[".".join(reversed(ip.split("."))) + ".in-addr.arpa", "PTR"] = chance.sample(NAMES, 2)
    return table


def _answers(table):
    def ask(name, kind, *_, **__):
        name = name.lower().rstrip(".")
        for value in table.get((name, kind), ()):
            if kind == "TXT":
                value = (value.encode(),)
            elif kind == "MX":
                value = (10, value)
            elif kind == "AAAA":
                value = socket.inet_pton(socket.AF_INET6, value)
            yield (name, kind), value

    return ask


@pytest.mark.parametrize("seed", range(8))
def test_made_up_zones_come_to_the_same(seed, zone, monkeypatch) -> None:
    chance = random.Random(seed)
    seen = set()
    for number in range(250):
        table = _table(chance)
        monkeypatch.setattr(spf, "DNSLookup", _answers(table))
        ip = chance.choice(ADDRESSES)
        query = spf.query(i=ip, s="ann@example.org", h="mail.example.org", strict=True)
        expected, _, _ = query.check()
        found = check(ip, "ann@example.org", helo="mail.example.org", lookup=zone(table))
        if found.result != expected and str(query.perm_error).startswith(ITS_OWN):
            continue
        seen.add(found.result)
        assert found.result == expected, (number, ip, found, table)
    assert {"pass", "fail", "permerror", "neutral"} <= seen
