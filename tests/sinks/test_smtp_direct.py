"""Delivery to the recipients' own servers: a name server and mail servers of our own, each at its loopback address."""

import importlib.util
import ssl
import subprocess
import sys
import threading
from hashlib import sha256
from pathlib import Path

import pytest
import trustme

import mailpipe
from mailpipe.net.tls import public_key_info
from mailpipe.net.tls_state import TlsCount
from mailpipe.pipeline.mail import Mail, Origin
from mailpipe.pipeline.outcome import Fate
from mailpipe.pipeline.redeliver import redeliver
from mailpipe.queue import Queue
from mailpipe.sinks.smtp import SmtpSink
from mailpipe.smtp.envelope import Envelope
from mailpipe.testing.peer import Fault, ScriptedPeer

_place = Path(__file__).parents[1] / "net" / "dns_server.py"
_spec = importlib.util.spec_from_file_location("dns_server", _place)
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)

PLAIN = b"From: ann@example.org\nSubject: one\n\ntext\n"
DELIVERED, FAILED, DEFERRED, IN_DOUBT = Fate.DELIVERED, Fate.FAILED, Fate.DEFERRED, Fate.IN_DOUBT


def mail_of(*addresses):
    return Mail(mailpipe.parse(PLAIN), Envelope.of("ann@example.org", *addresses), Origin("test", "-"))


@pytest.fixture
def dns_server():
    with _module.DnsServer() as server:
        yield server


class Place:
    """Mail servers at 127.0.0.1, 127.0.0.2, … on one port, and sinks that deliver to them."""

    def __init__(self, dns):
        self.dns, self.port, self.peers, self.sinks = dns, 0, [], []
        self.now = 1000.0

    def peer(self, *faults, at=None, **options):
        """One more server at the next address."""
        peer = ScriptedPeer(*faults, **options)
        peer.host = at or f"127.0.0.{len(self.peers) + 1}"
        peer.start(self.port)
        self.port = peer.port
        self.peers.append(peer)
        return peer

    def domain(self, name, *exchangers, signed=False):
        """MX records; each exchanger is (preference, name, address)."""
        self.dns.add(name, "MX", *(f"{preference} {host}." for preference, host, _ in exchangers), signed=signed)
        for _, host, address in exchangers:
            self.dns.add_host(host, address, signed=signed)

    def sink(self, fetch=None, **options):
        options = {"helo_name": "client.test", "dns": [self.dns.address], "port": self.port, "allow_loopback": True} | options
        sink = SmtpSink(SmtpSink.Options(direct=True, **options))
        sink._clock = lambda: self.now
        sink._fetch = fetch
        sink.open()
        self.sinks.append(sink)
        return sink


@pytest.fixture
def place(dns_server):
    one = Place(dns_server)
    yield one
    for sink in one.sinks:
        sink.close()
    for peer in one.peers:
        peer.stop()


def deliver(sink, *addresses):
    receipt = sink.deliver(mail_of(*addresses))
    assert [entry.recipient.address for entry in receipt.recipients] == list(addresses)
    return [entry.fate for entry in receipt.recipients]


def test_each_recipient_goes_to_the_servers_of_its_domain_and_order_is_kept(place):
    one, two = place.peer(), place.peer()
    place.domain("one.test", (10, "mx.one.test", "127.0.0.1"))
    place.domain("two.test", (10, "mx.two.test", "127.0.0.2"))
    receipt = place.sink().deliver(mail_of("a@one.test", "b@two.test", "c@ONE.test"))
    assert [entry.fate for entry in receipt.recipients] == [DELIVERED] * 3
    assert [entry.recipient.address for entry in receipt.recipients] == ["a@one.test", "b@two.test", "c@ONE.test"]
    assert [taken.forward_paths for taken in one.taken] == [("a@one.test", "c@ONE.test")]
    assert [taken.forward_paths for taken in two.taken] == [("b@two.test",)]
    assert receipt.reference == "250 2.0.0 kept"


def test_domains_with_equal_exchangers_share_a_transaction(place):
    peer = place.peer()
    for name in ("one.test", "two.test"):
        place.domain(name, (10, "mx.host.test", "127.0.0.1"))
    place.domain("three.test", (5, "mx.host.test", "127.0.0.1"))
    assert deliver(place.sink(), "a@one.test", "b@two.test", "c@three.test", "d@one.test") == [DELIVERED] * 4
    assert sorted(taken.forward_paths for taken in peer.taken) == [
        ("a@one.test", "b@two.test", "d@one.test"), ("c@three.test",),
    ]  # fmt: skip


def test_the_connection_serves_the_next_mail(place):
    peer = place.peer()
    place.domain("one.test", (10, "mx.one.test", "127.0.0.1"))
    sink = place.sink()
    assert [deliver(sink, "a@one.test") for _ in range(3)] == [[DELIVERED]] * 3
    assert len(peer.sessions) == 1


def test_the_next_exchanger_is_asked_where_one_is_down(place):
    place.peer()
    second = place.peer()
    place.domain("one.test", (10, "a.one.test", "127.0.0.9"), (20, "b.one.test", "127.0.0.2"))
    assert deliver(place.sink(), "a@one.test") == [DELIVERED] and len(second.taken) == 1


def test_one_exchanger_with_several_addresses_is_tried_at_each(place):
    peer = place.peer()
    place.dns.add("one.test", "MX", "10 mx.one.test.")
    place.dns.add_host("mx.one.test", "127.0.0.9", "127.0.0.8", "127.0.0.1", "::1")
    assert deliver(place.sink(), "a@one.test") == [DELIVERED] and len(peer.taken) == 1


def test_a_destination_that_is_down_holds_up_no_other(place):
    good = place.peer()
    place.peer(Fault("connect", "hang"))
    place.domain("good.test", (10, "mx.good.test", "127.0.0.1"))
    place.domain("silent.test", (10, "mx.silent.test", "127.0.0.2"))
    place.domain("down.test", (10, "mx.down.test", "127.0.0.9"))
    sink = place.sink(timeout=0.3)
    fates = deliver(sink, "a@silent.test", "b@down.test", "c@good.test", "d@missing.test")
    assert fates == [DEFERRED, DEFERRED, DELIVERED, FAILED] and len(good.taken) == 1
    # what is down is not asked again for the next mail
    assert deliver(sink, "a@silent.test", "c@good.test") == [DEFERRED, DELIVERED]
    assert len(place.peers[1].sessions) == 1


def test_destinations_go_side_by_side(place):
    """Two servers that each wait for the other to be spoken to."""
    barrier = threading.Barrier(2, timeout=20)

    class Together(ScriptedPeer):
        def _data(self, session, text):
            barrier.wait()
            super()._data(session, text)

    for number in (1, 2):
        peer = Together()
        peer.host = f"127.0.0.{number}"
        peer.start(place.port)
        place.port = peer.port
        place.peers.append(peer)
    place.domain("one.test", (10, "mx.one.test", "127.0.0.1"))
    place.domain("two.test", (10, "mx.two.test", "127.0.0.2"))
    assert deliver(place.sink(), "a@one.test", "b@two.test") == [DELIVERED, DELIVERED]


def test_a_destination_that_failed_is_asked_again_after_its_pause(place):
    peer = place.peer(Fault("connect", "reply", "421 4.3.2 busy", times=1))
    place.domain("one.test", (10, "mx.one.test", "127.0.0.1"))
    sink = place.sink(retry_pause=10)
    assert deliver(sink, "a@one.test") == [DEFERRED] and deliver(sink, "a@one.test") == [DEFERRED]
    assert len(peer.sessions) == 1
    place.now += 10
    assert deliver(sink, "a@one.test") == [DELIVERED]


def test_each_recipient_of_each_destination_has_its_own_fate(place):
    place.peer(Fault("RCPT", "reply", "550 5.1.1 no", match="no@"), Fault("RCPT", "reply", "450 4.2.0 later", match="later@"))
    place.peer(Fault("dot", "drop"))
    place.domain("one.test", (10, "mx.one.test", "127.0.0.1"))
    place.domain("two.test", (10, "mx.two.test", "127.0.0.2"))
    place.dns.add("null.test", "MX", "0 .")
    place.dns.failing.add("unsure.test")
    wanted = {
        "yes@one.test": (DELIVERED, "2.0.0"), "no@one.test": (FAILED, "5.1.1"), "later@one.test": (DEFERRED, "4.2.0"),
        "in@two.test": (IN_DOUBT, "4.4.2"), "x@null.test": (FAILED, "5.1.10"), "x@unsure.test": (DEFERRED, "4.4.3"),
        "x@missing.test": (FAILED, "5.1.2"), "postmaster": (FAILED, "5.1.2"), "no address": (FAILED, "5.1.3"),
    }  # fmt: skip
    receipt = place.sink(dns_timeout=1).deliver(mail_of(*wanted))
    assert {e.recipient.address: (e.fate, str(e.status)) for e in receipt.recipients} == wanted


def test_an_address_literal_needs_no_name_server(place):
    peer = place.peer()
    assert deliver(place.sink(), "a@[127.0.0.1]") == [DELIVERED]
    assert not place.dns.asked and peer.taken[0].forward_paths == ("a@[127.0.0.1]",)


def test_an_international_domain_is_asked_for_in_ascii(place):
    peer = place.peer()
    place.domain("xn--bcher-kva.test", (10, "mx.one.test", "127.0.0.1"))
    assert deliver(place.sink(), "a@bücher.test") == [DELIVERED] and len(peer.taken) == 1


def test_mail_that_would_come_back_to_us_fails(place):
    place.peer()
    place.domain("one.test", (10, "client.test", "127.0.0.1"))
    place.domain("two.test", (10, "other.test", "127.0.0.1"))
    (entry,) = place.sink().deliver(mail_of("a@one.test")).recipients
    assert entry.fate is FAILED and str(entry.status) == "5.4.6"
    (entry,) = place.sink(own_addresses=["127.0.0.1"]).deliver(mail_of("a@two.test")).recipients
    assert entry.fate is FAILED and str(entry.status) == "5.4.6"


def test_the_inside_of_this_machine_takes_no_mail_of_the_world(place):
    peer = place.peer()
    place.domain("one.test", (10, "mx.one.test", "127.0.0.1"))
    assert deliver(place.sink(allow_loopback=False), "a@one.test", "b@[127.0.0.1]") == [FAILED, FAILED]
    assert not peer.sessions


def test_not_every_exchanger_of_the_world_is_asked_when_mail_is_put_off(place):
    for _ in range(5):
        place.peer(Fault("MAIL", "reply", "451 4.7.1 greylisted"))
    place.domain("one.test", *((n, f"mx{n}.one.test", f"127.0.0.{n}") for n in range(1, 6)))
    assert deliver(place.sink(), "a@one.test") == [DEFERRED]
    assert [len(peer.sessions) for peer in place.peers] == [1, 1, 1, 0, 0]


def test_without_dnspython_the_words_say_what_to_install():
    code = (
        "import sys; sys.modules['dns'] = None\n"
        "from mailpipe.sinks.smtp import SmtpSink\n"
        "from mailpipe.errors import ConfigError\n"
        "SmtpSink(SmtpSink.Options(host='mx.test')).open()\n"
        "try: SmtpSink(SmtpSink.Options(direct=True)).open()\n"
        "except ConfigError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'mailpipe[direct]'" in done.stdout


# TLS


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def ca_file(authority, tmp_path):
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return path


def certified(authority, *names):
    """A server's context, and its certificate in DER."""
    issued = authority.issue_cert(*names)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    issued.configure_cert(context)
    return context, ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())


def sts(mode, *hosts, max_age=86400):
    lines = ["version: STSv1", f"mode: {mode}", *(f"mx: {host}" for host in hosts), f"max_age: {max_age}"]
    return lambda domain: "\r\n".join([*lines, ""]).encode()


def publish(place, domain="one.test"):
    place.dns.add(f"_mta-sts.{domain}", "TXT", '"v=STSv1; id=1;"')


def counts(sink):
    return [(one.policy_type, one.problem, one.sessions) for one in sink.tls_counts]


def test_without_a_policy_tls_is_taken_where_it_is_offered(place, authority):
    tls, _ = certified(authority, "other.test")
    with_tls, without = place.peer(tls=tls), place.peer()
    place.domain("one.test", (10, "mx.one.test", "127.0.0.1"))
    place.domain("two.test", (10, "mx.two.test", "127.0.0.2"))
    sink = place.sink()
    assert deliver(sink, "a@one.test", "b@two.test") == [DELIVERED, DELIVERED]
    assert with_tls.taken[0].encrypted and not without.taken[0].encrypted
    assert sink.tls_counts == (
        TlsCount("one.test", "no-policy-found", "", "mx.one.test", 1),
        TlsCount("two.test", "no-policy-found", "starttls-not-supported", "mx.two.test", 1),
    )


def test_an_enforced_policy_is_kept_with_a_valid_certificate(place, authority, ca_file):
    tls, _ = certified(authority, "mx.one.test")
    peer = place.peer(tls=tls)
    place.domain("one.test", (10, "mx.one.test", "127.0.0.1"))
    publish(place)
    sink = place.sink(sts("enforce", "*.one.test"), tls_ca_file=ca_file)
    assert deliver(sink, "a@one.test") == [DELIVERED] and peer.taken[0].encrypted
    assert counts(sink) == [("sts", "", 1)]


@pytest.mark.parametrize(
    ("names", "problem"),
    [(("other.test",), "certificate-host-mismatch"), ((), "starttls-not-supported")],
)
@pytest.mark.parametrize("mode", ["enforce", "testing", "none"])
def test_a_server_that_breaks_the_policy_gets_mail_only_where_it_is_not_enforced(
    place, authority, ca_file, names, problem, mode
):
    peer = place.peer(tls=certified(authority, *names)[0] if names else None)
    place.domain("one.test", (10, "mx.one.test", "127.0.0.1"))
    publish(place)
    sink = place.sink(sts(mode, "mx.one.test"), tls_ca_file=ca_file)
    first = sink.deliver(mail_of("a@one.test")).recipients[0]
    assert first.fate is (DEFERRED if mode == "enforce" else DELIVERED)
    assert deliver(sink, "a@one.test") == [first.fate]
    assert len(peer.taken) == (0 if mode == "enforce" else 2)
    assert (("sts", problem, 1) in counts(sink)) is (mode != "none")
    if mode == "enforce":
        assert first.status.subject == 7


def test_a_certificate_of_nobody_breaks_the_policy(place, authority):
    place.peer(tls=certified(authority, "mx.one.test")[0])
    place.domain("one.test", (10, "mx.one.test", "127.0.0.1"))
    publish(place)
    sink = place.sink(sts("enforce", "mx.one.test"))
    assert deliver(sink, "a@one.test") == [DEFERRED] and counts(sink) == [("sts", "certificate-not-trusted", 1)]


def test_an_exchanger_that_the_policy_does_not_name_is_passed_over(place, authority, ca_file):
    bad, good = place.peer(), place.peer(tls=certified(authority, "b.one.test")[0])
    place.domain("one.test", (10, "a.evil.test", "127.0.0.1"), (20, "b.one.test", "127.0.0.2"))
    publish(place)
    assert deliver(place.sink(sts("enforce", "b.one.test"), tls_ca_file=ca_file), "a@one.test") == [DELIVERED]
    assert not bad.sessions and len(good.taken) == 1
    (entry,) = place.sink(sts("enforce", "c.one.test"), tls_ca_file=ca_file).deliver(mail_of("a@one.test")).recipients
    assert entry.fate is DEFERRED and "does not name a.evil.test" in entry.diagnostic
    assert deliver(place.sink(sts("testing", "c.one.test")), "a@one.test") == [DELIVERED] and bad.taken


def test_a_tested_policy_that_is_put_off_by_the_server_is_not_tried_a_second_way(place, authority, ca_file):
    tls, _ = certified(authority, "mx.one.test")
    peer = place.peer(Fault("MAIL", "reply", "451 4.3.0 later"), tls=tls)
    place.domain("one.test", (10, "mx.one.test", "127.0.0.1"))
    publish(place)
    sink = place.sink(sts("testing", "mx.one.test"), tls_ca_file=ca_file)
    assert [deliver(sink, "a@one.test") for _ in range(2)] == [[DEFERRED]] * 2
    assert len(peer.sessions) == 1


def test_domains_with_equal_exchangers_and_different_policies_go_apart(place, authority, ca_file):
    peer = place.peer(tls=certified(authority, "mx.host.test")[0])
    for name in ("one.test", "two.test"):
        place.domain(name, (10, "mx.host.test", "127.0.0.1"))
    publish(place)
    sink = place.sink(sts("enforce", "mx.host.test"), tls_ca_file=ca_file)
    assert deliver(sink, "a@one.test", "b@two.test") == [DELIVERED, DELIVERED] and len(peer.taken) == 2


def test_mta_sts_can_be_switched_off(place):
    place.peer()
    place.domain("one.test", (10, "mx.one.test", "127.0.0.1"))
    publish(place)
    assert deliver(place.sink(sts("enforce", "mx.one.test"), mta_sts=False), "a@one.test") == [DELIVERED]


def test_who_wants_no_tls_follows_no_policy_and_counts_nothing(place, authority):
    peer = place.peer(tls=certified(authority, "mx.one.test")[0])
    place.domain("one.test", (10, "mx.one.test", "127.0.0.1"), signed=True)
    publish(place)
    announce(place, 3, 1, 1, b"another key")
    sink = place.sink(sts("enforce", "mx.one.test"), tls="never", dns_validates=True)
    assert deliver(sink, "a@one.test") == [DELIVERED] and not peer.taken[0].encrypted and not sink.tls_counts


def announce(place, usage, selector, matching, octets, host="mx.one.test"):
    shown = {0: octets.hex(), 1: sha256(octets).hexdigest()}[matching]
    place.dns.add(f"_{place.port}._tcp.{host}", "TLSA", f"{usage} {selector} {matching} {shown}", signed=True)


@pytest.mark.parametrize("selector", [0, 1])
@pytest.mark.parametrize("matching", [0, 1])
def test_dane_believes_the_certificate_that_the_dns_announces_and_nobody_else(place, authority, selector, matching):
    tls, der = certified(authority, "any-name.test")
    peer = place.peer(tls=tls)
    place.domain("one.test", (10, "mx.one.test", "127.0.0.1"), signed=True)
    announce(place, 3, selector, matching, public_key_info(der) if selector else der)
    sink = place.sink(dns_validates=True)
    assert deliver(sink, "a@one.test") == [DELIVERED] and peer.taken[0].encrypted
    assert counts(sink) == [("tlsa", "", 1)]


def test_dane_comes_before_mta_sts(place, authority):
    tls, der = certified(authority, "any-name.test")
    peer = place.peer(tls=tls)
    place.domain("one.test", (10, "mx.one.test", "127.0.0.1"), signed=True)
    publish(place)
    announce(place, 3, 0, 1, der)
    sink = place.sink(sts("enforce", "elsewhere.test"), dns_validates=True)
    assert deliver(sink, "a@one.test") == [DELIVERED] and peer.taken and counts(sink) == [("tlsa", "", 1)]


@pytest.mark.parametrize("offers", [True, False])
def test_dane_keeps_the_mail_where_the_server_has_another_certificate_or_no_tls(place, authority, offers):
    tls, _ = certified(authority, "mx.one.test")
    peer = place.peer(tls=tls if offers else None)
    place.domain("one.test", (10, "mx.one.test", "127.0.0.1"), signed=True)
    announce(place, 3, 1, 1, b"another key")
    sink = place.sink(dns_validates=True)
    assert deliver(sink, "a@one.test") == [DEFERRED] and not peer.taken
    assert counts(sink) == [("tlsa", "validation-failure" if offers else "starttls-not-supported", 1)]


@pytest.mark.parametrize("unsigned", ["mx", "host", "tlsa", "trust"])
def test_dane_is_asked_for_only_where_every_step_is_signed(place, authority, unsigned):
    peer = place.peer()
    place.domain("one.test", (10, "mx.one.test", "127.0.0.1"), signed=True)
    announce(place, 3, 1, 1, b"another key")
    name = {"mx": "one.test", "host": "mx.one.test", "tlsa": f"_{place.port}._tcp.mx.one.test", "trust": ""}[unsigned]
    place.dns.signed.discard(name)
    assert deliver(place.sink(dns_validates=unsigned != "trust"), "a@one.test") == [DELIVERED] and peer.taken


def test_dane_without_an_answer_keeps_the_mail(place):
    peer = place.peer()
    place.domain("one.test", (10, "mx.one.test", "127.0.0.1"), signed=True)
    place.dns.failing.add(f"_{place.port}._tcp.mx.one.test")
    (entry,) = place.sink(dns_validates=True).deliver(mail_of("a@one.test")).recipients
    assert entry.fate is DEFERRED and str(entry.status) == "4.4.3" and not peer.sessions


def test_records_that_mean_nothing_to_mail_still_ask_for_tls(place, authority):
    plain, tls = place.peer(), place.peer(tls=certified(authority, "any.test")[0])
    for name, address in (("one", "127.0.0.1"), ("two", "127.0.0.2")):
        place.domain(f"{name}.test", (10, f"mx.{name}.test", address), signed=True)
        announce(place, 1, 1, 1, b"of the web", f"mx.{name}.test")
    assert deliver(place.sink(dns_validates=True), "a@one.test", "b@two.test") == [DEFERRED, DELIVERED]
    assert not plain.taken and tls.taken[0].encrypted


def test_dane_follows_an_authority_of_the_dns_to_the_name_of_the_host(place, authority):
    root = ssl.PEM_cert_to_DER_cert(authority.cert_pem.bytes().decode())
    peers = [place.peer(tls=certified(authority, name)[0]) for name in ("mx.one.test", "other.test")]
    for number, name in enumerate(("one", "two"), 1):
        place.domain(f"{name}.test", (10, f"mx.{name}.test", f"127.0.0.{number}"), signed=True)
        announce(place, 2, 0, 0, root, f"mx.{name}.test")
    assert deliver(place.sink(dns_validates=True), "a@one.test", "b@two.test") == [DELIVERED, DEFERRED]
    assert len(peers[0].taken) == 1 and not peers[1].taken


def test_a_slow_destination_holds_up_no_other(place, tmp_path):
    gate, fast = threading.Event(), []

    def count(taken):
        fast.append(taken)
        if len(fast) == 40:
            gate.set()  # only when all the others have gone

    place.peer(on_taken=lambda _: gate.wait(60))
    place.peer(on_taken=count)
    place.domain("slow.test", (10, "mx.slow.test", "127.0.0.1"))
    place.domain("fast.test", (10, "mx.fast.test", "127.0.0.2"))
    sink = place.sink(in_flight=8, connections_per_host=2)
    with Queue(tmp_path / "queue") as queue:
        for number in range(80):
            queue.put(PLAIN, Envelope.of("", f"b@{'slow' if number < 40 else 'fast'}.test"), origin="test")
        counts = redeliver(queue, sink)
    assert counts.delivered == 80 and len(fast) == 40
