"""Who holds a message, and when another may take it over: the same for both kinds of store."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import mailpipe
from mailpipe.errors import OutputError
from mailpipe.queue import deliver_due, heart
from mailpipe.smtp.envelope import Envelope

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(mailpipe.__file__).parent.parent)}
TO = Envelope.of("ann@example.org", "bob@example.net")

# Delivers what is due, says what it begins, and goes on at a line.
DELIVERER = """
import json, os, sys
from pathlib import Path
from mailpipe.queue import Queue, RecipientFate, RecipientResult, deliver_due
from mailpipe.status import EnhancedStatus

place = json.loads(sys.argv[1])
if "directory" in place:
    place["directory"] = Path(place["directory"])
queue = Queue(**place, in_doubt=sys.argv[2])

def transport(entry):
    os.write(1, (entry.id + "\\n").encode())
    fate = RecipientFate(sys.stdin.readline().strip())
    return [RecipientResult(path, fate, EnhancedStatus(4, 0, 0), "said") for path in entry.envelope.forward_paths]

print(json.dumps(deliver_due(queue, transport).to_json()))
"""


@pytest.fixture
def deliverer(place):
    """Starts a deliverer in a process of its own, which has begun with a message when this returns."""
    started = []

    def start(in_doubt="hold"):
        words = json.dumps({name: str(value) for name, value in place.items()})
        process = subprocess.Popen(
            [sys.executable, "-c", DELIVERER, words, in_doubt], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env=ENVIRONMENT, text=True, start_new_session=True,
        )  # fmt: skip
        started.append(process)
        process.begun = process.stdout.readline().strip()
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def within(seconds, is_so):
    """Look until it is so; how a thing is asked that another process brings about."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, f"not so within {seconds} s"
        time.sleep(0.02)


def state_of(queue, identifier):
    return queue.show(identifier).recipients[0].state.value


def test_a_killed_deliverers_message_is_taken_over_within_seconds(make_queue, deliverer, answering):
    queue = make_queue(clock=None, in_doubt="hold")
    begun, _waiting = (queue.put(b"x", TO, origin="test") for _ in range(2))
    process = deliverer()
    assert process.begun == begun and list(queue.due()) != [] and queue.counts().leased == 1
    process.kill()
    process.wait()

    def is_taken_over():
        deliver_due(queue, answering("delivered"))
        return queue.counts().leased == 0

    within(5, is_taken_over)
    (left,) = queue.list()
    assert left.id == begun and state_of(queue, begun) == "in-doubt"
    assert "before a final reply" in left.recipients[0].diagnostic


def test_a_living_deliverer_keeps_what_it_has_however_often_others_look(make_queue, deliverer, answering):
    queue = make_queue(clock=None, in_doubt="hold")
    identifier = queue.put(b"x", TO, origin="test")
    process = deliverer()
    for _ in range(20):
        assert deliver_due(queue, answering("delivered")).messages == 0
    assert state_of(queue, identifier) == "waiting" and queue.counts().leased == 1
    process.communicate("delivered\n")
    assert list(queue.list()) == []


@pytest.mark.parametrize(("fate", "state"), [("delivered", None), ("failed", "failed"), ("deferred", "waiting")])
def test_the_late_word_of_one_who_was_thought_dead_ends_the_doubt(make_queue, clock, crash, answering, fate, state):
    slow, other = make_queue(in_doubt="hold"), make_queue(in_doubt="hold")
    identifier = slow.put(b"x", TO, origin="test")
    (entry,) = slow.lease()
    crash(slow)  # its connection or its lock is gone, and it lives on
    assert list(other.lease()) == [] and state_of(other, identifier) == "in-doubt"
    slow.settle(entry, answering(fate)(entry))
    if state is None:
        assert list(other.list()) == []
    else:
        (one,) = other.show(identifier).recipients
        assert (one.state.value, one.attempts, one.next_try is not None) == (state, 1, state == "waiting")


def test_a_late_deferral_changes_nothing_where_somebody_tries_it_again(make_queue, clock, crash, answering):
    slow, other = make_queue(in_doubt="resend"), make_queue(in_doubt="resend")
    identifier = slow.put(b"x", TO, origin="test")
    (entry,) = slow.lease()
    crash(slow)
    assert list(other.lease()) == []
    clock.sleep(1000)
    (again,) = other.lease()
    slow.settle(entry, answering("deferred")(entry))
    assert other.show(identifier).lease == again.lease
    other.settle(again, answering("in-doubt")(again))
    slow.settle(entry, answering("deferred")(entry))
    assert state_of(other, identifier) == "in-doubt"


def test_nothing_is_sent_on_a_lease_that_somebody_else_has_ended(make_queue, crash):
    slow, other = make_queue(), make_queue()
    slow.put(b"x", TO, origin="test")
    (entry,) = slow.lease(is_attempt=False)
    slow.journal(entry)
    crash(slow)
    assert list(other.lease()) == []
    with pytest.raises(OutputError, match="must not be sent"):
        slow.journal(entry)
    assert not slow.renew(entry)


def test_a_clock_that_jumps_takes_nothing_from_the_living_for_long_and_nothing_to_the_dead(
    make_queue, clock, crash, answering
):
    living, other = make_queue(in_doubt="hold"), make_queue(in_doubt="hold")
    identifier = living.put(b"x", TO, origin="test")
    (entry,) = living.lease()
    clock.timestamp -= 10 * 86400  # a lease that would stand for ten days
    assert list(other.lease()) == [] and other.show(identifier).lease == entry.lease
    crash(living)
    assert list(other.lease()) == [] and other.counts().leased == 0  # the dead is found without a clock
    other.release(identifier)
    (entry,) = other.lease()
    clock.timestamp += 20 * 86400
    assert list(living.lease()) == []
    other.settle(entry, answering("deferred")(entry))
    assert state_of(other, identifier) in ("waiting", "expired")


def test_an_attempt_that_takes_long_renews_its_lease(make_queue, clock, answering, monkeypatch):
    monkeypatch.setattr(heart, "BEAT", 0.02)
    slow, other = make_queue(in_doubt="hold"), make_queue(in_doubt="hold")
    identifier = slow.put(b"x", TO, origin="test")

    def transport(entry):
        for _ in range(4):  # two hours and more
            clock.sleep(2000)
            within(5, lambda: other.show(identifier).leased_until > clock.timestamp + 1700)
            assert list(other.lease()) == []
        return answering("delivered")(entry)

    assert deliver_due(slow, transport).delivered == 1 and list(other.list()) == []


def test_a_lease_that_is_lost_in_the_middle_is_told(make_queue, clock, answering, monkeypatch, caplog):
    monkeypatch.setattr(heart, "BEAT", 0.02)
    slow, other = make_queue(in_doubt="hold"), make_queue(in_doubt="hold")
    identifier = slow.put(b"x", TO, origin="test")

    def transport(entry):
        other.remove(identifier)
        clock.sleep(2000)
        within(5, lambda: "taken over or removed" in caplog.text)
        return answering("delivered")(entry)

    deliver_due(slow, transport)
    assert len([one for one in caplog.records if "taken over" in one.message]) == 1


def test_a_fork_that_outlives_its_deliverer_does_not_hold_its_messages(make_queue, answering):
    queue = make_queue(clock=None, in_doubt="hold")
    identifier = queue.put(b"x", TO, origin="test")
    reading, writing = os.pipe()
    deliverer = os.fork()
    if deliverer == 0:
        mine = make_queue(clock=None, in_doubt="hold")
        assert len(list(mine.lease())) == 1
        grandchild = os.fork()
        if grandchild == 0:
            os.write(writing, b"%d\n" % os.getpid())
            signal.pause()
        signal.pause()
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        grandchild = int(pipe.readline())
        try:
            assert list(queue.lease()) == [] and queue.counts().leased == 1
            os.kill(deliverer, signal.SIGKILL)
            os.waitpid(deliverer, 0)
            within(5, lambda: list(queue.lease()) == [] and queue.counts().leased == 0)
        finally:
            os.kill(grandchild, signal.SIGKILL)
    assert state_of(queue, identifier) == "in-doubt"


@pytest.mark.parametrize("at_once", [2, 4])
def test_threads_of_one_process_share_its_leases(make_queue, answering, at_once):
    queue, lock, seen = make_queue(clock=None), threading.Lock(), []
    names = [queue.put(b"x", TO, origin="test") for _ in range(12)]

    def work():
        for entry in queue.lease():
            with lock:
                seen.append(entry.id)
            queue.settle(entry, answering("delivered")(entry))

    threads = [threading.Thread(target=work) for _ in range(at_once)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == sorted(names)


