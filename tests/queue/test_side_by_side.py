"""Many messages of the queue at a time: each once, a slow place holds up no other, a crash leaves in doubt what was out."""

import itertools
import os
import threading
import time
from collections import Counter

import pytest

from mailpipe.errors import ConnectionLost, OutputError
from mailpipe.queue import DeliveryCounts, Lanes, Queue, deliver, deliver_side_by_side, heart
from mailpipe.queue import side_by_side as module
from mailpipe.smtp.envelope import Envelope

PLACES = pytest.mark.parametrize("place", ["files", "postgres"], indirect=True)


def lane(entry):
    return entry.recipients[0].address.rpartition("@")[2]


def put(queue, count, domain="x.test"):
    return [queue.put(b"%d" % number, Envelope.of("a@x.test", f"b@{domain}"), origin=domain) for number in range(count)]


def wait_until(question):
    for _ in range(20_000):
        if question():
            return
        threading.Event().wait(0.001)
    raise AssertionError("it did not happen")


def wide(count, width=None):
    return Lanes(count, width or count, lane)


@PLACES
@pytest.mark.parametrize("lanes", [wide(8), wide(8, 3)], ids=["one lane", "lanes"])
def test_everything_due_is_attempted_once_and_counted(queue, answering, lanes):
    names = put(queue, 40) + put(queue, 20, "y.test")
    seen, progress = [], []
    transport = answering(b="delivered")

    def told(entry):
        seen.append(entry.id)
        return transport(entry)

    counts = deliver_side_by_side(queue, told, lanes, on_progress=lambda *told: progress.append(told))
    assert counts == DeliveryCounts(messages=60, delivered=60) and Counter(seen) == Counter(names)
    assert len(progress) == 60 and list(queue.list()) == [] and queue.counts().leased == 0


def test_so_many_are_under_way_at_a_time(queue, answering):
    together = threading.Barrier(5)
    put(queue, 20)

    def transport(entry):
        together.wait(30)
        return answering()(entry)

    assert deliver_side_by_side(queue, transport, wide(5)).delivered == 20


def test_a_slow_place_holds_up_no_other(queue, answering):
    put(queue, 30, "slow.test")
    put(queue, 30, "fast.test")
    gate, fast = threading.Event(), []

    def transport(entry):
        if lane(entry) == "slow.test":
            assert gate.wait(30)
        else:
            fast.append(entry.id)
            if len(fast) == 30:
                gate.set()  # only when all the others have gone
        return answering()(entry)

    assert deliver_side_by_side(queue, transport, wide(4, 2)).delivered == 60


def test_what_comes_while_a_slow_place_is_waited_for_is_delivered_meanwhile(queue, answering):
    put(queue, 3, "slow.test")
    gate, stop = threading.Event(), threading.Event()

    def transport(entry):
        if lane(entry) == "slow.test":
            put(queue, 1, "fast.test")  # while this one is under way
            assert gate.wait(30)
        else:
            gate.set()
        return answering()(entry)

    def progress(entry, recipients):
        if queue.counts().messages == 0:
            stop.set()

    counts = deliver_side_by_side(queue, transport, wide(3, 1), wait=lambda _: None, look_again=0.01, on_progress=progress,
                                  should_stop=stop.is_set)  # fmt: skip
    assert counts.delivered == 6


@pytest.mark.parametrize("lanes", [wide(3), wide(6, 3)], ids=["one lane", "lanes"])
def test_only_what_is_under_way_is_begun_on_disk(queue, make_queue, answering, lanes):
    put(queue, 12)
    begun = []

    def transport(entry):
        seen = make_queue().show(entry.id)
        assert seen.recipients[0].is_attempted and seen.lease
        begun.append(sum(one.recipients[0].is_attempted for one in make_queue().list()))
        return answering()(entry)

    assert deliver_side_by_side(queue, transport, lanes).delivered == 12
    assert max(begun) <= 3


def test_one_bad_message_does_not_stop_the_others(queue, answering):
    put(queue, 20)

    def transport(entry):
        if int(entry.octets) % 4 == 0:
            raise ConnectionLost("reset", in_doubt=True)
        if int(entry.octets) % 4 == 1:
            raise RuntimeError("a bug")
        return answering()(entry)

    counts = deliver_side_by_side(queue, transport, wide(4))
    assert counts == DeliveryCounts(messages=20, delivered=10, deferred=5, in_doubt=5)


def test_what_is_deferred_is_not_attempted_twice_in_one_run(make_queue, clock, answering):
    queue = make_queue(retry="1s")
    put(queue, 9)

    def slow(entry):
        clock.sleep(600)
        return answering("deferred")(entry)

    assert deliver_side_by_side(queue, slow, wide(3)).messages == 9


def test_when_told_to_stop_it_ends_what_is_under_way_and_gives_back_the_rest(queue, answering):
    put(queue, 30)
    stop = threading.Event()

    def transport(entry):
        wait_until(lambda: stop.is_set() or queue.counts().leased > 10)  # and most of them have not begun
        stop.set()
        return answering()(entry)

    counts = deliver_side_by_side(queue, transport, wide(20, 2), should_stop=stop.is_set)
    assert 1 <= counts.delivered <= 4
    assert queue.counts().leased == 0 and queue.counts().due == 30 - counts.delivered
    assert not any(entry.recipients[0].is_attempted for entry in queue.list())


def test_everything_and_a_flush_bring_forward_what_waits(make_queue, answering):
    queue = make_queue()
    put(queue, 5)
    assert deliver_side_by_side(queue, answering("deferred"), wide(3)).deferred == 5
    assert deliver_side_by_side(queue, answering(), wide(3)).messages == 0
    flushes = iter([True])
    stop = threading.Event()
    counts = deliver_side_by_side(queue, answering("deferred"), wide(3), wait=lambda _: stop.set(), should_stop=stop.is_set,
                                  should_flush=lambda: next(flushes, False))  # fmt: skip
    assert counts.deferred == 5
    assert deliver_side_by_side(queue, answering(), wide(3), everything=True).delivered == 5


def test_it_waits_until_the_next_message_is_due(make_queue, clock, answering):
    queue, waits, stop = make_queue(retry="1s"), [], threading.Event()
    put(queue, 1)
    answers = iter(["deferred", "delivered"])

    def wait(seconds):
        waits.append(seconds)
        clock.sleep(seconds)
        if not queue.counts().messages:
            stop.set()

    counts = deliver_side_by_side(queue, lambda entry: answering(next(answers))(entry), wide(3), wait=wait, should_stop=stop.is_set)
    assert (counts.deferred, counts.delivered) == (1, 1) and 0.9 <= waits[0] <= 1.1


def test_a_message_that_waits_for_long_keeps_its_lease(make_queue, clock, answering, monkeypatch):
    monkeypatch.setattr(heart, "BEAT", 0.02)
    queue = make_queue(lease_seconds=0.2)
    put(queue, 3, "slow.test")
    renewed = threading.Event()
    real = queue.renew

    def renew(entry):
        answer = real(entry)
        renewed.set()
        return answer

    monkeypatch.setattr(queue, "renew", renew)

    def transport(entry):
        clock.sleep(0.15)  # more than half of the lease goes by meanwhile
        assert renewed.wait(30)
        return answering()(entry)

    assert deliver_side_by_side(queue, transport, wide(4, 1), look_again=0.02).delivered == 3


def test_a_message_that_was_taken_over_while_it_waited_is_not_sent(make_queue, clock, answering):
    queue, sent = make_queue(lease_seconds=100), []
    put(queue, 2)

    def transport(entry):
        if not sent:
            sent.append(entry.id)
            clock.sleep(1000)
            other = make_queue()  # ends the leases that have expired
            sent.extend(one.id for one in other.lease())
        else:
            sent.append(entry.id)
        return answering()(entry)

    deliver_side_by_side(queue, transport, wide(2, 1))
    # what was under way is in doubt and waits for its next try; what had only waited went to the other
    assert len(sent) == len(set(sent)) == 2


def test_a_queue_that_cannot_be_written_ends_the_loop_when_what_is_under_way_has_ended(queue, answering, monkeypatch):
    put(queue, 20)
    real = queue.settle

    def settle(entry, results):
        if int(entry.octets) == 3:
            raise OutputError("queue", "cannot write", is_full=True)
        return real(entry, results)

    monkeypatch.setattr(queue, "settle", settle)
    with pytest.raises(OutputError, match="cannot write"):
        deliver_side_by_side(queue, answering(), wide(4))
    assert queue.counts().leased == 1  # and will be in doubt


def test_no_more_than_a_bounded_number_waits(queue, answering, monkeypatch):
    monkeypatch.setattr(module, "WAITING", 6)
    put(queue, 40)
    leased = []

    def transport(entry):
        leased.append(queue.counts().leased)
        return answering()(entry)

    assert deliver_side_by_side(queue, transport, wide(4, 1)).delivered == 40
    assert max(leased) <= 7


def test_a_process_that_dies_leaves_in_doubt_what_was_under_way_and_nothing_else(tmp_path):
    with Queue(tmp_path / "queue", in_doubt="hold") as queue:
        put(queue, 20)
    child = os.fork()
    if child == 0:
        try:
            queue, together = Queue(tmp_path / "queue", in_doubt="hold"), threading.Barrier(3)

            def transport(entry):
                together.wait(30)
                os._exit(9)

            deliver_side_by_side(queue, transport, wide(10, 3))
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    with Queue(tmp_path / "queue", in_doubt="hold") as queue:
        states = Counter(entry.recipients[0].state.value for entry in queue.list())
    assert states == {"in-doubt": 3, "waiting": 17}


def test_an_interrupt_waits_for_nothing(queue, answering):
    put(queue, 4)
    gate = threading.Event()

    def transport(entry):
        gate.wait(30)
        return answering()(entry)

    def interrupt():
        if queue.counts().leased == 2:
            raise KeyboardInterrupt
        return False

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        deliver_side_by_side(queue, transport, wide(2), look_again=0.01, should_stop=interrupt)
    assert time.monotonic() - began < 20
    gate.set()


@pytest.mark.parametrize("lanes", [wide(4), wide(4, 2)], ids=["one lane", "lanes"])
def test_what_came_of_several_is_kept_until_it_can_be_recorded(queue, answering, monkeypatch, lanes):
    names, sent, stop = put(queue, 4), [], threading.Event()
    real, refused, is_full = queue._store.change, [], threading.Event()

    def change(*arguments):
        if is_full.is_set():
            refused.append(arguments[0])
            if len(refused) == 6:
                is_full.clear()
            raise OutputError("queue.db", "the disk is full", is_full=True)
        return real(*arguments)

    monkeypatch.setattr(queue._store, "change", change)
    for place in (deliver, module):
        monkeypatch.setattr(place, "waits", lambda: itertools.repeat(0.001))

    def transport(entry):
        if not sent:
            is_full.set()
        sent.append(entry.id)
        return answering()(entry)

    def wait(_):
        if not queue.counts().messages:
            stop.set()

    counts = deliver_side_by_side(queue, transport, lanes, wait=wait, should_stop=stop.is_set, look_again=0.01)
    assert counts.delivered == 4 and Counter(sent) == Counter(names) and len(refused) == 6
    assert list(queue.list()) == []


def test_one_round_does_not_wait_for_room_and_leaves_in_doubt_what_it_cannot_record(make_queue, answering, monkeypatch):
    queue = make_queue(in_doubt="hold")
    (identifier,) = put(queue, 1)
    real, is_full = queue._store.change, threading.Event()

    def change(*arguments):
        if is_full.is_set():
            raise OutputError("queue.db", "the disk is full", is_full=True)
        return real(*arguments)

    monkeypatch.setattr(queue._store, "change", change)

    def transport(entry):
        is_full.set()
        return answering()(entry)

    with pytest.raises(OutputError, match="full"):
        deliver_side_by_side(queue, transport, wide(2))
    is_full.clear()
    queue.close()
    assert [one.state.value for one in make_queue(in_doubt="hold").show(identifier).recipients] == ["in-doubt"]
