"""The sink `smtp` with many mails at a time: each has its own fate, whatever becomes of the connections it shares."""

import random
import socket
from collections import Counter

import pytest
from pydantic import ValidationError

import mailpipe
from mailpipe.crew import Crew
from mailpipe.errors import TransientFailure
from mailpipe.net.sync import SmtpConnection
from mailpipe.pipeline.mail import Mail, Origin
from mailpipe.pipeline.outcome import Fate
from mailpipe.sinks.smtp import LmtpSink, SmtpSink
from mailpipe.smtp.envelope import Envelope
from mailpipe.testing.peer import EXTENSIONS, Fault, ScriptedPeer

CHUNKING = (*EXTENSIONS, "CHUNKING")


def octets_of(number):
    return b"From: ann@example.org\r\nSubject: %d\r\n\r\n%b" % (number, b"a line of text\r\n" * (number % 9))


def mail_of(number, *addresses):
    envelope = Envelope.of("ann@example.org", *(addresses or ("bob@example.net",)))
    return Mail(mailpipe.parse(octets_of(number)), envelope, Origin("test", "-", number))


def sink_for(peer, kind=SmtpSink, **options):
    sink = kind(kind.Options(host=peer.host, port=peer.port, helo_name="client.test", **options))
    sink.open()
    return sink


def fate_of(sink, mail):
    try:
        return sink.deliver(mail).recipients[0].fate
    except TransientFailure:
        return Fate.DEFERRED


def fates_of(sink, count):
    """The fate of so many mails, as many of them at a time as the sink takes."""
    crew = Crew(lambda number: fate_of(sink, mail_of(number)), sink.in_flight)
    for number in range(count):
        crew.give(number)
    fates = {}
    for _ in range(count):
        ended = crew.ended()
        assert ended.error is None
        fates[ended.job] = ended.answer
    crew.close()
    return fates


@pytest.mark.parametrize(("options", "in_flight"), [
    ({}, 10), ({"connections_per_host": 20}, 40), ({"window": 8}, 40), ({"in_flight": 3}, 3),
    ({"window": 64, "connections_per_host": 100}, 1000), ({"in_flight": 500}, 10), ({"messages_per_second": 0.1}, 2),
    ({"messages_per_second": 0.01}, 1), ({"messages_per_second": 100}, 10),
])  # fmt: skip
def test_it_takes_as_many_mails_as_its_connections_carry(options, in_flight):
    assert SmtpSink(SmtpSink.Options(host="mx.test", **options)).in_flight == in_flight


def test_direct_delivery_takes_fifty_and_of_one_destination_what_its_connections_carry():
    sink = SmtpSink(SmtpSink.Options(direct=True))
    assert (sink.in_flight, sink.lane_width) == (50, 10)
    assert sink.lane(Envelope.of("", "a@One.test", "b@two.test", "c@one.test")) == "one.test two.test"
    assert SmtpSink(SmtpSink.Options(host="mx.test")).lane(Envelope.of("", "a@one.test")) == ""
    with pytest.raises(ValidationError):
        SmtpSink.Options(host="mx.test", window=65)


def test_an_archive_arrives_over_lmtp_in_its_order():
    assert LmtpSink(LmtpSink.Options(host="/run/lmtp")).in_flight == 1


@pytest.mark.parametrize("window", [1, 8])
def test_everything_arrives_once_over_no_more_connections_than_there_may_be(window):
    with ScriptedPeer(extensions=CHUNKING) as peer:
        sink = sink_for(peer, connections_per_host=3, window=window)
        assert set(fates_of(sink, 300).values()) == {Fate.DELIVERED}
        sink.close()
        assert Counter(taken.octets for taken in peer.taken) == Counter(octets_of(number) for number in range(300))
        assert len(peer.sessions) <= 6  # three at a time, each for a hundred mails
        assert not peer.violations


MISDEEDS = (
    Fault("connect", "reply", "421 4.3.2 busy"), Fault("EHLO", "reset"), Fault("MAIL", "drop"),
    Fault("MAIL", "reply", "451 4.3.0 later"), Fault("RCPT", "reset"), Fault("RCPT", "reply", "550 5.1.1 nobody"),
    Fault("RCPT", "reply", "421 4.3.2 closing"), Fault("DATA", "drop"), Fault("content", "reset"),
    Fault("dot", "drop"), Fault("dot", "drop", accept=True), Fault("dot", "reset", accept=True),
    Fault("dot", "reply", "451 4.3.0 later"), Fault("dot", "reply", "421 4.3.2 closing"), Fault("dot", "reply-drop"),
)  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("window", [1, 8])
def test_under_faults_each_fate_is_the_truth(window, seed):
    faults = [Fault(one.at, one.do, one.text, accept=one.accept, chance=0.01) for one in MISDEEDS]
    random.Random(seed).shuffle(faults)
    with ScriptedPeer(*faults, extensions=CHUNKING, seed=seed) as peer:
        sink = sink_for(peer, connections_per_host=4, window=window, retry_pause=0)
        fates = fates_of(sink, 400)
        sink.close()
    taken = Counter(one.octets for one in peer.taken)
    acknowledged = {one.octets for one in peer.taken if one.acknowledged}
    for number, fate in fates.items():
        octets = octets_of(number)
        assert taken[octets] <= 1, f"{number} was repeated"
        assert fate is not Fate.DELIVERED or octets in acknowledged, f"{number} was lost"
        assert fate in (Fate.DELIVERED, Fate.IN_DOUBT) or not taken[octets], f"{number} would be repeated"
    assert sum(fate is Fate.DELIVERED for fate in fates.values()) > 200
    assert not peer.violations


def test_a_server_that_bears_two_connections_gets_its_mail_over_two():
    full = [Fault("connect", "reply", "421 4.7.0 too many connections", nth=number) for number in range(3, 100)]
    with ScriptedPeer(*full) as peer:
        sink = sink_for(peer, connections_per_host=10, messages_per_connection=1000)
        assert set(fates_of(sink, 150).values()) == {Fate.DELIVERED}
        sink.close()
        assert {taken.session for taken in peer.taken} <= {1, 2}
        assert len(peer.sessions) < 20, "it was asked again and again"


def test_a_server_that_was_away_gets_all_its_connections_again():
    peer = ScriptedPeer()
    peer.start()
    port, now = peer.port, [1000.0]
    sink = SmtpSink(SmtpSink.Options(host=f"127.0.0.1:{port}", connections_per_host=4, retry_pause=5))
    sink._clock = lambda: now[0]
    sink.open()
    pool = sink._pool
    assert set(fates_of(sink, 40).values()) == {Fate.DELIVERED}
    assert pool._destinations[f"127.0.0.1:{port}"].allowed == 4
    peer.stop()
    assert set(fates_of(sink, 40).values()) == {Fate.DEFERRED}
    peer.start(port)
    now[0] += 5
    assert set(fates_of(sink, 40).values()) == {Fate.DELIVERED}
    assert pool._destinations[f"127.0.0.1:{port}"].allowed == 4
    sink.close()
    peer.stop()
    assert max(Counter(taken.octets for taken in peer.taken).values()) == 2  # the same forty, once before and once after


def test_a_server_that_is_down_is_asked_once_and_not_by_each():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        down = listener.getsockname()[1]
    with ScriptedPeer() as peer:
        sink = SmtpSink(SmtpSink.Options(host=[f"127.0.0.1:{down}", f"127.0.0.1:{peer.port}"], retry_pause=60))
        sink.open()
        assert set(fates_of(sink, 50).values()) == {Fate.DELIVERED}
        assert sink._pool is not None and sink._pool._destinations[f"127.0.0.1:{down}"].failures == 1
        sink.close()
        assert len(peer.taken) == 50


def test_a_fault_of_our_own_in_the_middle_leaves_it_in_doubt(monkeypatch):
    real = SmtpConnection._read

    def read(self, *arguments):
        real(self, *arguments)
        if peer.taken:
            raise ZeroDivisionError("a bug")

    monkeypatch.setattr(SmtpConnection, "_read", read)
    with ScriptedPeer() as peer:
        sink = sink_for(peer)
        (entry,) = sink.deliver(mail_of(1)).recipients
        assert entry.fate is Fate.IN_DOUBT and "ZeroDivisionError: a bug" in entry.diagnostic
        sink.close()
    assert len(peer.taken) == 1
