import time

import pytest

from mailpipe.errors import ConnectionLost, OutputError, PermanentFailure, TransientFailure
from mailpipe.queue import DeliveryCounts, Schedule, deliver_due
from mailpipe.smtp.envelope import Envelope, ForwardPath
from mailpipe.status import EnhancedStatus

TO = Envelope.of("ann@example.org", "bob@example.net")
BOTH = Envelope.of("ann@example.org", "bob@example.net", "carol@example.net")


def raising(error):
    def transport(entry):
        raise error

    return transport


def only(queue):
    (entry,) = queue.list()
    return entry.recipients[0]


def test_everything_due_is_attempted_once_and_counted(queue, answering):
    for number in range(5):
        queue.put(b"%d" % number, BOTH, origin="test")
    progress = []
    counts = deliver_due(queue, answering(carol="deferred"), on_progress=lambda *told: progress.append(told))
    assert counts == DeliveryCounts(messages=5, delivered=5, deferred=5)
    assert [[one.state.value for one in them] for _, them in progress] == [["delivered", "waiting"]] * 5
    assert deliver_due(queue, answering()) == DeliveryCounts()
    assert deliver_due(queue, answering(), everything=True) == DeliveryCounts(messages=5, delivered=5)
    assert list(queue.list()) == []


def test_a_message_that_is_deferred_by_nothing_at_all_is_not_attempted_twice_in_one_run(make_queue, clock, answering):
    queue = make_queue(retry="1s")
    for _ in range(3):
        queue.put(b"", TO, origin="test")

    def slow(entry):
        clock.sleep(600)
        return answering("deferred")(entry)

    assert deliver_due(queue, slow).messages == 3


@pytest.mark.parametrize(
    ("error", "state", "status", "words"),
    [
        (TransientFailure("421 going down", EnhancedStatus(4, 3, 2)), "waiting", "4.3.2", "421 going down"),
        (PermanentFailure("550 no such user", EnhancedStatus(5, 1, 1)), "failed", "5.1.1", "550 no such user"),
        (ConnectionLost("reset by peer"), "waiting", "4.4.2", "reset by peer"),
        (ConnectionLost("reset by peer", in_doubt=True), "in-doubt", "4.4.2", "reset by peer"),
        (ZeroDivisionError("division\n by zero"), "waiting", "4.3.0", "ZeroDivisionError: division by zero"),
        (TimeoutError(), "waiting", "4.3.0", "TimeoutError"),
        (OutputError("/mnt", "full", is_full=True), "waiting", "4.3.1", "OutputError: /mnt: full"),
    ],
)
def test_an_exception_of_the_transport_is_recorded_with_its_words(queue, error, state, status, words):
    queue.put(b"", TO, origin="test")
    deliver_due(queue, raising(error))
    recipient = only(queue)
    assert (recipient.state.value, str(recipient.status), recipient.diagnostic) == (state, status, words)


def test_one_bad_message_does_not_stop_the_others(queue, answering):
    for origin in ("bad", "good", "good"):
        queue.put(b"", TO, origin=origin)

    def transport(entry):
        if entry.origin == "bad":
            raise RuntimeError("bad message")
        return answering()(entry)

    assert deliver_due(queue, transport) == DeliveryCounts(messages=3, delivered=2, deferred=1)


def test_it_stands_on_disk_that_an_attempt_has_begun_before_the_transport_is_called(queue, make_queue, answering):
    queue.put(b"", TO, origin="test")
    seen = []

    def transport(entry):
        seen.append(make_queue().show(entry.id))
        return answering()(entry)

    deliver_due(queue, transport)
    assert seen[0].recipients[0].is_attempted and seen[0].lease


def test_a_journalling_transport_is_in_doubt_only_after_it_journalled(queue, result):
    queue.put(b"", BOTH, origin="before")
    queue.put(b"", BOTH, origin="after")

    def transport(entry):
        if entry.origin == "after":
            queue.journal(entry, ForwardPath("carol@example.net"))
        raise ConnectionLost("reset by peer")

    assert deliver_due(queue, transport, journals=True) == DeliveryCounts(messages=2, deferred=3, in_doubt=1)


def test_an_interrupt_leaves_the_message_in_doubt_and_the_others_untouched(queue):
    queue.put(b"", TO, origin="first")
    queue.put(b"", TO, origin="second")
    with pytest.raises(KeyboardInterrupt):
        deliver_due(queue, raising(KeyboardInterrupt()))
    assert [entry.recipients[0].state.value for entry in queue.list()] == ["in-doubt", "waiting"]
    assert queue.counts().leased == 0


def test_it_stops_when_told(queue, answering):
    for _ in range(4):
        queue.put(b"", TO, origin="test")
    answers = iter([False, False, True])
    assert deliver_due(queue, answering(), should_stop=lambda: next(answers)).messages == 2
    assert queue.counts().due == 2 and queue.counts().leased == 0


def test_five_days_of_attempts_fall_on_their_due_times_in_less_than_a_second(make_queue, clock, answering):
    schedule = Schedule.parse("5m, 15m, 1h*3, 4h*10", "5d", jitter=0)
    queue, start, attempts = make_queue(retry=schedule), clock.timestamp, []
    queue.put(b"x" * 4096, TO, origin="test")

    def transport(entry):
        attempts.append(clock.timestamp - start)
        return answering("deferred")(entry)

    begun = time.process_time()
    while (moment := queue.next_try()) is not None:
        clock.timestamp = moment - 0.001
        assert deliver_due(queue, transport).messages == 0
        clock.timestamp = moment
        assert deliver_due(queue, transport).messages == 1
    taken = time.process_time() - begun

    expected, moment = [0.0], 0.0
    for delay in [300, 900, 3600, 3600, 3600] + [14400] * 100:
        moment = min(moment + delay, 5 * 86400)
        expected.append(moment)
        if moment == 5 * 86400:
            break
    assert attempts == expected
    assert only(queue).state.value == "expired" and only(queue).diagnostic == "told so"
    assert taken < 1
