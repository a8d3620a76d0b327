"""The pool of connections, on a clock and a chance of its own."""

import random
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpipe.errors import TransientFailure
from mailpipe.net.endpoint import Endpoint, Timeouts
from mailpipe.net.pool import BackOff, ConnectionPool, PoolLimits
from mailpipe.net.sync import SmtpConnection
from mailpipe.smtp.envelope import Envelope
from mailpipe.smtp.opening import Opening
from mailpipe.testing.peer import Fault, ScriptedPeer

MESSAGE = b"Subject: one\r\n\r\ntext\r\n"
ENVELOPE = Envelope.of("ann@example.org", "bob@example.net")
DOWN = TransientFailure("mx.test: connection refused")


class Time:
    """A clock that moves when told, and a pause that moves it."""

    def __init__(self):
        self.now = 1000.0
        self.pauses = []

    def __call__(self):
        return self.now

    def pause(self, seconds):
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def time():
    return Time()


def pool_of(time, back_off=None, **limits):
    return ConnectionPool(PoolLimits(**limits), back_off, clock=time, chance=random.Random(1), pause=time.pause)


def send(pool, peer, key="mx"):
    """One mail through the pool; returns whether it was taken."""

    def make():
        return SmtpConnection(Endpoint(peer.host, peer.port), Opening("client.test"))

    with pool.lease(key, make) as connection:
        return connection.deliver(ENVELOPE, MESSAGE).answers[0].is_accepted


def test_one_connection_serves_one_mail_after_the_other(time):
    with ScriptedPeer() as peer:
        pool = pool_of(time)
        assert all(send(pool, peer) for _ in range(5))
        pool.close()
        assert len(peer.sessions) == 1 and peer.sessions[0][-1] == "QUIT" and len(peer.taken) == 5


def test_a_connection_ends_after_its_number_of_messages(time):
    with ScriptedPeer() as peer:
        pool = pool_of(time, messages_per_connection=2)
        assert all(send(pool, peer) for _ in range(5))
        pool.close()
        assert [taken.session for taken in peer.taken] == [1, 1, 2, 2, 3]


def test_a_connection_ends_where_the_peer_says_so(time):
    with ScriptedPeer(extensions=("LIMITS MAILMAX=1",)) as peer:
        pool = pool_of(time)
        assert all(send(pool, peer) for _ in range(2))
        pool.close()
        assert [taken.session for taken in peer.taken] == [1, 2]


def test_a_connection_ends_at_its_age(time):
    with ScriptedPeer() as peer:
        pool = pool_of(time, age=100, check_after=1000, close_after=1000)
        send(pool, peer)
        time.now += 99
        send(pool, peer)
        time.now += 1
        send(pool, peer)
        pool.close()
        assert [taken.session for taken in peer.taken] == [1, 1, 2]


def test_an_idle_connection_is_asked_whether_it_lives(time):
    with ScriptedPeer() as peer:
        pool = pool_of(time, check_after=10)
        send(pool, peer)
        time.now += 9
        send(pool, peer)
        assert "NOOP" not in peer.sessions[0]
        time.now += 10
        send(pool, peer)
        with pool.lease("mx", lambda: None) as connection:
            assert connection.timeouts == Timeouts()  # those of the question held for the question
        pool.close()
        assert peer.sessions[0].count("NOOP") == 1 and len(peer.sessions) == 1


@pytest.mark.parametrize("do", ["drop", "reset", "garbage"])
def test_an_idle_connection_that_died_is_replaced_before_a_mail_meets_it(time, do):
    with ScriptedPeer(Fault("NOOP", do)) as peer:
        pool = pool_of(time, check_after=10)
        send(pool, peer)
        time.now += 10
        assert send(pool, peer)
        pool.close()
        assert [taken.session for taken in peer.taken] == [1, 2]


def test_a_peer_that_does_not_answer_the_question_is_not_waited_for(time):
    with ScriptedPeer(Fault("NOOP", "hang")) as peer:
        pool = pool_of(time, check_after=10, health_timeout=0.2)
        send(pool, peer)
        time.now += 10
        assert send(pool, peer)
        pool.close()


def test_a_connection_that_was_idle_for_long_is_closed_with_a_word(time):
    with ScriptedPeer() as peer:
        pool = pool_of(time, check_after=10, close_after=60)
        send(pool, peer)
        time.now += 60
        send(pool, peer)
        pool.close()
        assert peer.sessions[0][-1] == "QUIT" and "NOOP" not in peer.sessions[0]
        assert [taken.session for taken in peer.taken] == [1, 2]


def test_idle_connections_of_all_destinations_together_have_a_limit(time):
    with ScriptedPeer() as peer:
        pool = pool_of(time, idle_connections=3)
        for number in range(10):
            send(pool, peer, f"mx{number}")
            time.now += 1
        assert sum(session[-1] == "QUIT" for session in peer.sessions) == 7
        assert send(pool, peer, "mx9") and peer.taken[-1].session == 10
        pool.close()
        assert all(session[-1] == "QUIT" for session in peer.sessions)


def test_a_connection_through_which_an_exception_came_is_not_used_again(time):
    with ScriptedPeer() as peer:
        pool = pool_of(time)
        with pytest.raises(RuntimeError), pool.lease("mx", lambda: SmtpConnection(Endpoint(peer.host, peer.port),
                                                                               Opening("client.test"))) as connection:  # fmt: skip
            connection.open()
            raise RuntimeError
        assert send(pool, peer) and peer.taken[0].session == 2
        pool.close()


def test_a_destination_has_no_more_connections_at_a_time_than_it_may(time):
    with ScriptedPeer() as peer:
        pool = pool_of(time, connections_per_destination=1, patience=0.05)

        def make():
            return SmtpConnection(Endpoint(peer.host, peer.port), Opening("client.test"))

        with pool.lease("mx", make):
            with pytest.raises(TransientFailure, match="are busy") as caught:
                send(pool, peer)
            assert str(caught.value.status) == "4.4.5"
            assert send(pool, peer, "another")
        assert send(pool, peer)
        pool.close()


def test_whoever_waits_for_a_connection_gets_it_when_it_is_free(time):
    with ScriptedPeer() as peer:
        pool = pool_of(time, connections_per_destination=2, patience=30)
        threads = [threading.Thread(target=send, args=(pool, peer)) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        pool.close()
        assert len(peer.taken) == 20 and len(peer.sessions) <= 2


def test_a_destination_gets_its_mails_at_its_rate(time):
    with ScriptedPeer() as peer:
        pool = pool_of(time, messages_per_second=2)
        assert all(send(pool, peer) for _ in range(4))
        assert time.pauses == [0.5, 0.5, 0.5]
        assert send(pool, peer, "another") and len(time.pauses) == 3
        time.now += 10
        assert send(pool, peer) and len(time.pauses) == 3
        pool.close()


def test_a_rate_that_asks_for_too_long_a_wait_defers(time):
    with ScriptedPeer() as peer:
        pool = pool_of(time, messages_per_second=0.01, patience=60)
        assert send(pool, peer)
        with pytest.raises(TransientFailure, match="tried again later") as caught:
            send(pool, peer)
        assert str(caught.value.status) == "4.4.5"
        time.now += 100
        assert send(pool, peer)
        pool.close()


def test_a_destination_that_is_down_is_left_alone_longer_each_time(time):
    pool = pool_of(time, BackOff(first=10, most=60, spread=0))
    waits = []
    for _ in range(6):
        pool.note_down("mx", DOWN)
        waits.append(pool.down_for("mx"))
        with pytest.raises(TransientFailure, match=r"connection refused \(not asked again for the next"):
            send(pool, None)
        time.now += waits[-1]
        assert pool.down_for("mx") == 0
    assert waits == [10, 20, 40, 60, 60, 60]
    pool.note_up("mx")
    pool.note_down("mx", DOWN)
    assert pool.down_for("mx") == 10 and pool.down_for("another") == 0


def test_a_connection_lost_once_is_no_reason_to_stay_away(time):
    pool = pool_of(time, BackOff(first=10, spread=0))
    pool.note_lost("mx", DOWN)
    assert pool.down_for("mx") == 0
    pool.note_lost("mx", DOWN)
    assert pool.down_for("mx") == 10
    pool.note_up("mx")
    pool.note_lost("mx", DOWN)
    assert pool.down_for("mx") == 0


@given(failures=st.integers(1, 10_000), seed=st.integers(), first=st.floats(0, 1e4), most=st.floats(0, 1e5))
def test_a_back_off_stays_between_its_bounds(failures, seed, first, most):
    seconds = BackOff(first, most=most, spread=0.1).seconds(failures, random.Random(seed))
    assert first * 0.9 * (1 - 1e-9) <= seconds <= max(first, most)


def test_destinations_that_nobody_needs_are_forgotten(time, monkeypatch):
    monkeypatch.setattr("mailpipe.net.pool._MAX_DESTINATIONS", 10)
    pool = pool_of(time, BackOff(first=10, spread=0))
    pool.note_down("down", DOWN)
    for number in range(100):
        pool.note_up(f"mx{number}")
    assert len(pool._destinations) <= 11 and pool.down_for("down") == 10
