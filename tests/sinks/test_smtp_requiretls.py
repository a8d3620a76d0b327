"""TLS on every hop, or no mail; and mail that is to arrive whatever becomes of TLS (RFC 8689)."""

import importlib.util
import ssl
from dataclasses import replace
from pathlib import Path

import pytest

import mailpipe
from mailpipe.errors import TransientFailure
from mailpipe.sinks.smtp import SmtpSink
from mailpipe.smtp.envelope import MailParameters
from mailpipe.testing.peer import ScriptedPeer

_spec = importlib.util.spec_from_file_location("direct", Path(__file__).with_name("test_smtp_direct.py"))
direct = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(direct)
dns_server, place, authority, ca_file = direct.dns_server, direct.place, direct.authority, direct.ca_file
DELIVERED, FAILED, DEFERRED = direct.DELIVERED, direct.FAILED, direct.DEFERRED
OFFERS = ("REQUIRETLS",)


def guarded(*addresses, raw=False):
    """A mail that must travel over TLS; `raw`: as whoever passes parameters on without knowing them says it."""
    mail = direct.mail_of(*addresses)
    asked = MailParameters(parameters=(("requiretls", None),)) if raw else MailParameters(requiretls=True)
    return mail.with_envelope(replace(mail.envelope, parameters=asked))


def relaxed(*addresses, value="No", **parameters):
    mail = direct.mail_of(*addresses)
    octets = bytes(mail.message).replace(b"Subject:", b"TLS-Required: %b\nSubject:" % value.encode())
    envelope = replace(mail.envelope, parameters=MailParameters(**parameters))
    return mail.with_message(mailpipe.parse(octets)).with_envelope(envelope)


def fates(sink, mail):
    return [(entry.fate, str(entry.status)) for entry in sink.deliver(mail).recipients]


# -- direct delivery ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("raw", [False, True])
def test_it_goes_where_signed_records_lead_to_a_certificate_of_that_name(place, authority, ca_file, raw):
    place.peer(extensions=OFFERS)
    peer = place.peer(tls=direct.certified(authority, "mx.two.test")[0], extensions=OFFERS)
    silent = place.peer(tls=direct.certified(authority, "mx.three.test")[0])
    other = place.peer(tls=direct.certified(authority, "other.test")[0], extensions=OFFERS)
    for number, name in enumerate(("one", "two", "three", "four"), 1):
        place.domain(f"{name}.test", (10, f"mx.{name}.test", f"127.0.0.{number}"), signed=True)
    sink = place.sink(tls_ca_file=ca_file, dns_validates=True)
    mail = guarded("a@one.test", "b@two.test", "c@three.test", "d@four.test", raw=raw)
    assert fates(sink, mail) == [
        (DEFERRED, "4.7.4"), (DELIVERED, "2.0.0"), (FAILED, "5.7.30"), (DEFERRED, "4.7.5"),
    ]  # fmt: skip
    assert ("REQUIRETLS", None) in peer.taken[0].parameters and peer.taken[0].encrypted
    assert not place.peers[0].taken and not silent.taken and not other.taken


def test_it_goes_nowhere_where_anybody_may_have_named_the_servers(place, authority, ca_file):
    peer = place.peer(tls=direct.certified(authority, "mx.one.test")[0], extensions=OFFERS)
    place.domain("one.test", (10, "mx.one.test", "127.0.0.1"))
    sink = place.sink(tls_ca_file=ca_file)
    receipt = sink.deliver(guarded("a@one.test")).recipients[0]
    assert (receipt.fate, str(receipt.status)) == (FAILED, "5.7.30") and "DNSSEC" in receipt.diagnostic
    assert not peer.sessions


@pytest.mark.parametrize("mode", ["enforce", "testing"])
def test_it_goes_where_an_mta_sts_policy_names_the_server_even_where_it_is_only_tested(place, authority, ca_file, mode):
    for number, name in enumerate(("one", "two"), 1):
        place.peer(tls=direct.certified(authority, f"mx.{name}.test")[0], extensions=OFFERS)
        place.domain(f"{name}.test", (10, f"mx.{name}.test", f"127.0.0.{number}"))
        direct.publish(place, f"{name}.test")
    sink = place.sink(tls_ca_file=ca_file, fetch=direct.sts(mode, "mx.one.test"))
    assert fates(sink, guarded("a@one.test", "b@two.test")) == [(DELIVERED, "2.0.0"), (DEFERRED, "4.7.5")]
    assert not place.peers[1].sessions


def test_it_is_not_content_with_any_certificate_where_the_dns_announces_none_that_counts(place, authority):
    peer = place.peer(tls=direct.certified(authority, "other.test")[0], extensions=OFFERS)
    place.domain("one.test", (10, "mx.one.test", "127.0.0.1"), signed=True)
    direct.announce(place, 1, 1, 1, b"of the web")
    sink = place.sink(dns_validates=True)
    assert direct.deliver(sink, "a@one.test") == [DELIVERED]
    assert fates(sink, guarded("a@one.test")) == [(DEFERRED, "4.7.5")] and len(peer.taken) == 1


def test_it_goes_to_the_certificate_that_the_dns_announces(place, authority):
    context, certificate = direct.certified(authority, "other.test")
    peer = place.peer(tls=context, extensions=OFFERS)
    place.domain("one.test", (10, "mx.one.test", "127.0.0.1"), signed=True)
    direct.announce(place, 3, 0, 0, certificate)
    assert fates(place.sink(dns_validates=True), guarded("a@one.test")) == [(DELIVERED, "2.0.0")]
    assert ("REQUIRETLS", None) in peer.taken[0].parameters


def two_exchangers(place, authority, *offers):
    for number, offered in enumerate(offers, 1):
        place.peer(tls=direct.certified(authority, f"mx{number}.one.test")[0], extensions=offered)
    place.domain("one.test", (10, "mx1.one.test", "127.0.0.1"), (20, "mx2.one.test", "127.0.0.2"), signed=True)


@pytest.mark.parametrize(("second", "expected"), [(OFFERS, (DELIVERED, "2.0.0")), ((), (FAILED, "5.7.30"))])
def test_the_next_exchanger_may_do_what_the_first_does_not(place, authority, ca_file, second, expected):
    two_exchangers(place, authority, (), second)
    sink = place.sink(tls_ca_file=ca_file, dns_validates=True)
    assert fates(sink, guarded("a@one.test")) == [expected]
    assert len(place.peers[1].taken) == (second == OFFERS) and not place.peers[0].taken


@pytest.mark.parametrize("down", [0, 1])
def test_an_exchanger_that_cannot_be_asked_now_may_be_the_one(place, authority, ca_file, down):
    two_exchangers(place, authority, (), ())
    place.peers[down].stop()
    assert fates(place.sink(tls_ca_file=ca_file, dns_validates=True), guarded("a@one.test")) == [(DEFERRED, "4.7.30")]


# -- a smarthost ----------------------------------------------------------------------------------------------------


@pytest.fixture
def context(authority):
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(made)
    return made


@pytest.mark.parametrize(
    ("offers", "options", "expected"),
    [
        (OFFERS, {"tls": "opportunistic"}, (DELIVERED, "2.0.0")),  # this one mail has the certificate checked
        (OFFERS, {"tls": "required"}, (DELIVERED, "2.0.0")),
        (OFFERS, {"tls": "required", "tls_verify": False}, (FAILED, "5.7.10")),
        (OFFERS, {"tls": "never"}, (FAILED, "5.7.10")),
        ((), {"tls": "required"}, (FAILED, "5.7.30")),
    ],
)
def test_a_smarthost_must_prove_who_it_is(context, ca_file, offers, options, expected):
    with ScriptedPeer(tls=context, extensions=offers) as peer:
        sink = SmtpSink(SmtpSink.Options(host=peer.host, port=peer.port, tls_ca_file=ca_file, **options))
        assert fates(sink, guarded("a@one.test")) == [expected]
        assert fates(sink, direct.mail_of("a@one.test")) == [(DELIVERED, "2.0.0")]
        sink.close()
        assert [("REQUIRETLS", None) in one.parameters for one in peer.taken] == [True] * (expected[0] == DELIVERED) + [False]


def test_a_smarthost_with_a_certificate_of_nobody_keeps_it_waiting(context):
    with ScriptedPeer(tls=context, extensions=OFFERS) as peer:
        sink = SmtpSink(SmtpSink.Options(host=peer.host, port=peer.port))
        with pytest.raises(TransientFailure, match="not believed"):
            sink.deliver(guarded("a@one.test"))
        sink.close()
        assert not peer.taken


# -- TLS-Required: No -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "fate"), [("No", DELIVERED), (" nO ", DELIVERED), ("Yes", DEFERRED), ("", DEFERRED)])
def test_mail_that_is_to_arrive_whatever_becomes_of_tls_passes_over_policies(place, value, fate):
    peer = place.peer()
    place.domain("one.test", (10, "mx.one.test", "127.0.0.1"), signed=True)
    direct.announce(place, 3, 1, 1, b"x" * 32)
    direct.publish(place)
    sink = place.sink(dns_validates=True, fetch=direct.sts("enforce", "mx.elsewhere.test"))
    assert [one for one, _ in fates(sink, relaxed("a@one.test", value=value))] == [fate]
    assert len(peer.taken) == (fate == DELIVERED)


def test_it_says_nothing_where_the_envelope_asks_for_tls(place):
    peer = place.peer(extensions=OFFERS)
    place.domain("one.test", (10, "mx.one.test", "127.0.0.1"), signed=True)
    assert fates(place.sink(dns_validates=True), relaxed("a@one.test", requiretls=True)) == [(DEFERRED, "4.7.4")]
    assert not peer.taken


def test_it_does_not_loosen_what_the_pipeline_file_asks_for(place):
    peer = place.peer()
    place.domain("one.test", (10, "mx.one.test", "127.0.0.1"))
    assert [one for one, _ in fates(place.sink(tls="required"), relaxed("a@one.test"))] == [DEFERRED]
    assert not peer.taken


def test_a_policy_that_was_known_before_a_restart_is_kept_where_it_cannot_be_fetched(place, tmp_path, authority, ca_file):
    peer = place.peer()
    place.domain("one.test", (10, "mx.one.test", "127.0.0.1"))
    direct.publish(place)
    options = {"state_directory": tmp_path / "state", "tls_ca_file": ca_file}
    first = place.sink(fetch=direct.sts("enforce", "mx.one.test"), **options)
    assert direct.deliver(first, "a@one.test") == [DEFERRED]  # TLS is not offered
    first.close()

    def unreachable(domain):
        raise OSError("unreachable")

    assert direct.deliver(place.sink(fetch=unreachable, **options), "a@one.test") == [DEFERRED] and not peer.taken
    assert direct.deliver(place.sink(fetch=unreachable), "a@one.test") == [DELIVERED]  # a sender without memory


# -- reports --------------------------------------------------------------------------------------------------------


def report(*addresses):
    mail = guarded(*addresses)
    return mail.with_envelope(mail.envelope.with_reverse_path(""))


@pytest.mark.parametrize(("offers", "is_said"), [(OFFERS, True), ((), False)])
def test_a_report_travels_over_tls_where_it_can(place, authority, ca_file, offers, is_said):
    peer = place.peer(tls=direct.certified(authority, "mx.one.test")[0], extensions=offers)
    place.domain("one.test", (10, "mx.one.test", "127.0.0.1"), signed=True)
    assert fates(place.sink(tls_ca_file=ca_file, dns_validates=True), report("a@one.test")) == [(DELIVERED, "2.0.0")]
    assert peer.taken[0].encrypted and (("REQUIRETLS", None) in peer.taken[0].parameters) is is_said


def test_a_report_is_not_lost_where_it_cannot(place, authority, ca_file):
    plain = place.peer(extensions=OFFERS)
    other = place.peer(tls=direct.certified(authority, "other.test")[0], extensions=OFFERS)
    for number, name in enumerate(("one", "two"), 1):
        place.domain(f"{name}.test", (10, f"mx.{name}.test", f"127.0.0.{number}"), signed=True)
    sink = place.sink(tls_ca_file=ca_file, dns_validates=True)
    assert fates(sink, report("a@one.test", "b@two.test")) == [(DELIVERED, "2.0.0")] * 2
    assert not plain.taken[0].parameters and not other.taken[0].parameters and other.taken[0].encrypted


def test_a_smarthost_takes_a_report_with_or_without_proof(context, ca_file):
    with ScriptedPeer(tls=context, extensions=OFFERS) as peer:
        for asked, is_said in (({"tls_ca_file": ca_file}, True), ({"tls": "opportunistic"}, False)):
            sink = SmtpSink(SmtpSink.Options(host=peer.host, port=peer.port, **asked))
            assert fates(sink, report("a@one.test")) == [(DELIVERED, "2.0.0")]
            assert (("REQUIRETLS", None) in peer.taken[-1].parameters) is is_said
            sink.close()
