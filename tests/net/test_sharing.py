"""Threads that share connections: each has its own answers, whatever the peer does to one of them."""

import random
import ssl
import threading
from collections import Counter
from dataclasses import dataclass, field

import pytest

from mailpipe.errors import TransientFailure
from mailpipe.net.endpoint import Endpoint, Timeouts
from mailpipe.net.pool import BackOff, ConnectionPool, PoolLimits
from mailpipe.net.sync import SmtpConnection
from mailpipe.smtp.envelope import Envelope
from mailpipe.smtp.opening import Opening, TlsMode
from mailpipe.smtp.state import Dialect
from mailpipe.testing.peer import EXTENSIONS, Fault, ScriptedPeer

ENVELOPE = Envelope.of("ann@example.org", "bob@example.net")
CHUNKING = (*EXTENSIONS, "CHUNKING")


def message(number):
    body = b"a line of text\r\n" * (3000 if number % 50 == 0 else number % 7)
    return b"Subject: %d\r\n\r\n%b" % (number, body)


def connect(peer, window=2, *, chunking=False, timeout=30, **more):
    return SmtpConnection(Endpoint(peer.host, peer.port), Opening("client.test", **more), Timeouts.within(timeout),
                          window=window, chunking=chunking)  # fmt: skip


def wait_until(question):
    for _ in range(20_000):
        if question():
            return
        threading.Event().wait(0.001)
    raise AssertionError("it did not happen")


@dataclass
class Gate:
    """Holds back the answer to the first message."""

    reached: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)
    subjects: list = field(default_factory=list)

    def __call__(self, taken):
        self.subjects.append(taken.octets.split(b"\r\n")[0])
        self.reached.set()
        assert self.opened.wait(30)


def begin(work, *arguments):
    thread = threading.Thread(target=work, args=arguments, daemon=True)
    thread.start()
    return thread


def shared_by(peer, connection, count):
    """So many transactions, each begun when the one before is in flight; gives results by number."""
    results = {}

    def send(number):
        results[number] = connection.transaction(ENVELOPE, message(number))

    threads = []
    for number in range(1, count + 1):
        threads.append(begin(send, number))
        wait_until(lambda: connection.transaction_count >= number or number - 1 in results)  # noqa: B023
    return threads, results


@pytest.mark.parametrize(("window", "chunking", "extensions"), [(2, False, EXTENSIONS), (4, True, CHUNKING)])
def test_the_next_goes_out_before_the_first_is_answered(window, chunking, extensions):
    gate = Gate()
    with ScriptedPeer(extensions=extensions, on_taken=gate) as peer:
        connection = connect(peer, window, chunking=chunking)
        threads, results = shared_by(peer, connection, window)
        assert gate.reached.wait(30) and connection.room == window
        assert connection.transaction_count == window and not results
        gate.opened.set()
        for thread in threads:
            thread.join(30)
        connection.quit()
        assert all(results[number].answers[0].is_accepted for number in range(1, window + 1))
        assert len(peer.sessions) == 1 and len(gate.subjects) == window and not peer.violations


@pytest.mark.parametrize(("extensions", "chunking", "room"), [
    ((), True, 1), (("PIPELINING",), True, 2), (("CHUNKING",), True, 1), (("PIPELINING", "CHUNKING"), True, 8),
    (("PIPELINING", "CHUNKING"), False, 2),
])  # fmt: skip
def test_the_room_of_a_session_is_what_the_peer_offers(extensions, chunking, room):
    with ScriptedPeer(extensions=extensions) as peer, connect(peer, 8, chunking=chunking) as connection:
        assert connection.room == 1
        connection.open()
        assert connection.room == room


def test_whom_the_peer_left_behind_the_dot_is_in_doubt_and_the_one_behind_him_goes_over_a_new_connection():
    gate = Gate()
    with ScriptedPeer(Fault("dot", "drop", nth=1, accept=True), on_taken=gate) as peer:
        connection = connect(peer)
        threads, results = shared_by(peer, connection, 2)
        gate.opened.set()
        for thread in threads:
            thread.join(30)
        connection.quit()
    assert results[1].answers[0].in_doubt
    assert results[2].answers[0].is_accepted
    assert gate.subjects == [b"Subject: 1", b"Subject: 2"]


@pytest.mark.parametrize("chunking", [False, True])
def test_a_connection_that_is_given_up_ends_every_transaction_in_flight(chunking):
    gate = Gate()
    with ScriptedPeer(extensions=CHUNKING, on_taken=gate) as peer:
        connection = connect(peer, 2, chunking=chunking)
        threads, results = shared_by(peer, connection, 2)
        assert gate.reached.wait(30)
        connection.abort()
        gate.opened.set()
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()
    assert results[1].answers[0].in_doubt and results[1].lost is not None
    # the second had sent its content only where that may go ahead of the replies
    assert results[2].answers[0].in_doubt is chunking or results[2].answers[0].is_accepted


def test_a_silent_peer_is_waited_for_once_and_not_by_each():
    with ScriptedPeer(Fault("dot", "hang")) as peer:
        connection = connect(peer, timeout=0.2)
        threads, results = shared_by(peer, connection, 2)
        for thread in threads:
            thread.join(30)
        assert results[1].answers[0].in_doubt and "timed out" in str(results[1].lost)
        assert not results[2].answers[0].is_accepted
        connection.abort()


MISDEEDS = (
    Fault("MAIL", "drop"), Fault("MAIL", "reply", "451 4.3.0 later"), Fault("MAIL", "reply", "421 4.3.2 closing"),
    Fault("RCPT", "reply", "550 5.1.1 nobody"), Fault("RCPT", "reset"), Fault("RCPT", "reply", "421 4.3.2 closing"),
    Fault("DATA", "drop"), Fault("DATA", "reply", "452 4.3.1 full"), Fault("content", "reset"),
    Fault("dot", "drop"), Fault("dot", "drop", accept=True), Fault("dot", "reset", accept=True),
    Fault("dot", "garbage", accept=True), Fault("dot", "reply", "451 4.3.0 later"),
    Fault("dot", "reply", "421 4.3.2 closing"), Fault("dot", "reply-drop"), Fault("dot", "reply-reset"),
    Fault("connect", "drop"), Fault("connect", "reply", "421 4.3.2 busy"),
)  # fmt: skip


def unlucky(rate, seed):
    faults = [Fault(one.at, one.do, one.text, accept=one.accept, chance=rate / len(MISDEEDS)) for one in MISDEEDS]
    random.Random(seed).shuffle(faults)
    return faults


def checked(peer, results):
    """Who was told that it is taken: it was, once. Who is not in doubt and was not told so: it was not taken."""
    taken = Counter(one.octets for one in peer.taken)
    acknowledged = {one.octets for one in peer.taken if one.acknowledged}
    for number, (is_accepted, in_doubt) in results.items():
        count = taken[message(number)]
        assert count <= 1, f"message {number} was repeated"
        assert not is_accepted or count == 1, f"message {number} was lost"
        assert not count or is_accepted or in_doubt, f"message {number} was taken and would be repeated"
        # a reply that went down with its connection leaves doubt, and nothing else does
        assert is_accepted or in_doubt or message(number) not in acknowledged
    assert not peer.violations


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("window", "chunking", "dialect"), [
    (1, False, Dialect.SMTP), (2, False, Dialect.SMTP), (2, False, Dialect.LMTP), (8, True, Dialect.SMTP),
    (8, True, Dialect.LMTP),
])  # fmt: skip
def test_whatever_the_peer_does_nothing_is_lost_or_silently_repeated(window, chunking, dialect, seed):
    numbers, results = iter(range(240)), {}
    with ScriptedPeer(*unlucky(0.2, seed), dialect=dialect, extensions=CHUNKING, seed=seed) as peer:
        connection = connect(peer, window, chunking=chunking, dialect=dialect)

        def send():
            for number in numbers:
                try:
                    answer = connection.transaction(ENVELOPE, message(number)).answers[0]
                    results[number] = answer.is_accepted, answer.in_doubt
                except TransientFailure:
                    results[number] = False, False

        threads = [begin(send) for _ in range(window + 2)]
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
        connection.abort()
    assert len(results) == 240
    assert sum(is_accepted for is_accepted, _ in results.values()) > 100
    checked(peer, results)
    if not chunking:  # each broken connection leaves one in doubt at most
        assert sum(in_doubt for _, in_doubt in results.values()) <= len(peer.sessions)


# -- the pool -------------------------------------------------------------------------------------------------------


def pool_of(back_off=None, **limits):
    now = iter(range(1_000_000))
    return ConnectionPool(PoolLimits(**limits), back_off, clock=lambda: next(now) / 1e6, chance=random.Random(1),
                          pause=lambda _: None)  # fmt: skip


def through(pool, peer, window=2, number=1):
    with pool.lease("mx", lambda: connect(peer, window)) as connection:
        result = connection.deliver(ENVELOPE, message(number))
        pool.note_up("mx")
        return result


def test_when_there_are_no_more_connections_two_mails_share_one():
    gate = Gate()
    with ScriptedPeer(on_taken=gate) as peer:
        pool, results = pool_of(connections_per_destination=1), []
        threads = [begin(lambda: results.append(through(pool, peer)))]
        assert gate.reached.wait(30)
        threads.append(begin(lambda: results.append(through(pool, peer))))
        wait_until(lambda: [kept.users for kept in pool._destinations["mx"].busy] == [2])
        gate.opened.set()
        for thread in threads:
            thread.join(30)
        pool.close()
        assert len(peer.sessions) == 1 and len(results) == 2


def test_a_connection_is_shared_by_no_more_mails_than_it_may_carry():
    with ScriptedPeer() as peer:
        pool = pool_of(connections_per_destination=1, messages_per_connection=1, patience=0.05)
        with pool.lease("mx", lambda: connect(peer)) as connection:
            connection.open()
            with pytest.raises(TransientFailure, match="are busy"):
                through(pool, peer)
        pool.close()


def test_each_mail_that_was_handed_over_allows_one_connection_more():
    with ScriptedPeer() as peer:
        pool = pool_of(connections_per_destination=3, patience=0.01)
        for most in (1, 2, 3, 3):
            leases = [pool.lease("mx", lambda: connect(peer, 1)) for _ in range(most + 1)]
            for lease in leases[:-1]:
                lease.__enter__()
            with pytest.raises(TransientFailure, match="are busy"):
                leases[-1].__enter__()
            for lease in leases[:-1]:
                lease.__exit__(None, None, None)
            pool.note_up("mx")
        pool.close()


def test_a_destination_that_refuses_one_connection_more_is_not_down():
    with ScriptedPeer() as peer:
        pool = pool_of(BackOff(first=10, spread=0), connections_per_destination=5, patience=0.01)
        through(pool, peer, 1)
        with pool.lease("mx", lambda: connect(peer, 1)) as first:
            first.open()
            with pool.lease("mx", lambda: connect(peer, 1)):
                assert not pool.note_down("mx", TransientFailure("421 too many connections"))
            assert pool.down_for("mx") == 0
            pool.note_up("mx")  # it does not try again at once
            with pytest.raises(TransientFailure, match="are busy"):
                through(pool, peer, 1)
        assert pool.note_down("elsewhere", TransientFailure("refused"))
        pool.close()


def test_a_connection_that_was_lost_under_two_mails_was_lost_once():
    pool = pool_of(BackOff(first=10, spread=0))
    with ScriptedPeer() as peer, pool.lease("mx", lambda: connect(peer)) as connection:
        pool.note_lost("mx", TransientFailure("lost"), connection)
        pool.note_lost("mx", TransientFailure("lost"), connection)
        assert pool.down_for("mx") == 0
    pool.note_lost("mx", TransientFailure("lost"))
    assert pool.down_for("mx") > 0


def test_a_mail_that_waits_too_long_for_the_rate_takes_no_connection_along():
    with ScriptedPeer() as peer:
        pool = pool_of(messages_per_second=0.001)
        through(pool, peer)
        with pytest.raises(TransientFailure, match="tried again later"):
            through(pool, peer)
        assert len(pool._destinations["mx"].idle) == 1 and not pool._destinations["mx"].busy
        pool.close()
        assert peer.sessions[0][-1] == "QUIT"


def test_a_busy_destination_is_waited_for_as_long_as_it_gets_on():
    with ScriptedPeer(on_taken=lambda _: threading.Event().wait(0.1)) as peer:  # a server that takes its time
        pool = pool_of(connections_per_destination=1, patience=2)
        results = []
        threads = [begin(lambda: results.append(through(pool, peer, 1))) for _ in range(40)]
        for thread in threads:
            thread.join(60)
        pool.close()
        assert len(results) == 40 and all(result.answers[0].is_accepted for result in results)


def test_tls_connections_are_shared_as_well():
    trustme = pytest.importorskip("trustme")
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    numbers, results = iter(range(100)), []
    with ScriptedPeer(extensions=CHUNKING, tls=context) as peer:
        connection = connect(peer, 8, chunking=True, tls=TlsMode.OPPORTUNISTIC)

        def send():
            results.extend(connection.transaction(ENVELOPE, message(number)).answers[0].is_accepted for number in numbers)

        threads = [begin(send) for _ in range(8)]
        for thread in threads:
            thread.join(60)
        connection.quit()
        assert results == [True] * 100 and all(taken.encrypted for taken in peer.taken) and len(peer.sessions) == 1


@pytest.mark.parametrize(("limit", "sessions"), [("RCPTDOMAINMAX=1", 3), ("MAILMAX=1", 6), ("MAILMAX=3", 2)])
def test_what_the_peer_allows_a_session_is_kept_by_all_that_share_it(limit, sessions):
    offered = (*(one for one in EXTENSIONS if not one.startswith("LIMITS")), f"LIMITS {limit}")
    with ScriptedPeer(extensions=offered) as peer:
        connection, results = connect(peer), {}
        start = threading.Barrier(2)

        def send(domains):
            for number, domain in domains:
                start.wait(30)  # the next two begin together
                results[number] = connection.transaction(Envelope.of("ann@example.org", f"bob@{domain}"), message(number))

        pairs = [("a.test", "a.test"), ("b.test", "b.test"), ("c.test", "c.test")]
        threads = [begin(send, [(2 * turn + place, pair[place]) for turn, pair in enumerate(pairs)]) for place in (0, 1)]
        for thread in threads:
            thread.join(60)
        connection.quit()
        assert len(results) == 6 and all(result.answers[0].is_accepted for result in results.values())
        assert len(peer.sessions) == sessions and not peer.violations
