"""Five days in less than a second: every attempt, the warning and the end fall on their moments."""

import itertools
import random
import time

import pytest

from mailpipe.queue import Letter, Schedule, Told, deliver_due, deliver_forever
from mailpipe.smtp.envelope import Envelope, MailParameters

DAY, HOUR = 86400.0, 3600.0
TO = Envelope.of("ann@example.org", "bob@example.net")
STEPS = [300, 900, HOUR, HOUR, HOUR] + [4 * HOUR] * 100


def moments_of(steps, warn_after=None, expire=5 * DAY):
    """When attempts must fall, in seconds after the arrival: the retry language said once more, in other words."""
    moments = [0.0]
    for step in steps:
        due = moments[-1] + step
        if warn_after is not None and moments[-1] < warn_after < due:
            due = warn_after
        moments.append(min(due, expire))
        if moments[-1] == expire:
            return moments
    raise AssertionError("the steps end before the time does")


@pytest.fixture
def told():
    return []


@pytest.fixture
def reporter(told):
    def report(notice):
        told.append((notice.told, notice.now))
        return Letter(b"Subject: report\r\n\r\n", Envelope.of("", notice.entry.sender.reverse_path))

    return report


def run(queue, clock, transport, end):
    """The deliverer on the virtual clock until a moment."""
    waits = []

    def wait(seconds):
        waits.append(seconds)
        clock.sleep(seconds)

    counts = deliver_forever(queue, transport, wait, should_stop=lambda: clock.timestamp > end, look_again=2 * DAY)
    assert min(waits) > 0  # no round without a reason
    return counts


@pytest.mark.parametrize("warn_after", [None, 4 * HOUR, 250.0, 2 * HOUR + 1200])
def test_five_days_of_attempts_fall_on_their_due_times_in_less_than_a_second(
    make_queue, clock, answering, told, reporter, warn_after
):
    schedule = Schedule.parse("5m, 15m, 1h*3, 4h*10", "5d", 0, warn_after)
    queue, start, attempts = make_queue(retry=schedule, reporter=reporter), clock.timestamp, []
    identifier = queue.put(b"x" * 4096, TO, origin="test")

    def transport(entry):
        if entry.sender.reverse_path:
            attempts.append(clock.timestamp - start)
        return answering("deferred" if entry.sender.reverse_path else "delivered")(entry)

    begun = time.process_time()
    counts = run(queue, clock, transport, start + 6 * DAY)
    taken = time.process_time() - begun

    assert attempts == moments_of(STEPS, warn_after)
    assert queue.show(identifier).recipients[0].state.value == "expired"
    warnings = [] if warn_after is None else [(Told.DELAYED, start + warn_after)]
    assert told == [*warnings, (Told.FAILED, start + 5 * DAY)]
    assert (counts.expired, counts.delivered) == (1, len(told))
    assert taken < 1


@pytest.mark.parametrize("raw", [False, True])
def test_a_mail_with_a_time_is_sent_with_what_is_left_of_it_and_returned_when_it_is_over(
    make_queue, clock, answering, told, reporter, raw
):
    schedule = Schedule.parse("5m, 15m, 1h*3, 4h*10", "5d", 0, 4 * HOUR)
    queue, start, left = make_queue(retry=schedule, reporter=reporter), clock.timestamp, []
    asked = MailParameters(parameters=(("BY", "3000;R"),)) if raw else MailParameters(by_time=3000)
    identifier = queue.put(b"", Envelope(TO.reverse_path, TO.forward_paths, asked), origin="test")

    def transport(entry):
        if entry.sender.reverse_path:
            left.append(entry.sender.parameters.by_time or 3000)
        return answering("deferred" if entry.sender.reverse_path else "delivered")(entry)

    run(queue, clock, transport, start + DAY)
    assert left == [3000, 2700, 1800]
    one = queue.show(identifier).recipients[0]
    assert (one.state.value, str(one.status), one.changed) == ("failed", "5.4.7", start + 3000)
    assert told == [(Told.FAILED, start + 3000)]


def test_a_mail_whose_time_may_pass_goes_on_and_its_sender_is_told_at_that_moment(
    make_queue, clock, answering, told, reporter
):
    queue, start, left = make_queue(retry=Schedule.parse("15m", "2h", 0), reporter=reporter), clock.timestamp, []
    asked = MailParameters(by_time=1000, by_mode="N", hold_for=1500, parameters=(("X-A", "b"),))
    queue.put(b"", Envelope(TO.reverse_path, TO.forward_paths, asked), origin="test")

    def transport(entry):
        given = entry.sender.parameters
        if entry.sender.reverse_path:
            assert given.parameters == (("X-A", "b"),)
            left.append((given.by_time, given.hold_for))
        return answering("deferred" if entry.sender.reverse_path and len(left) < 4 else "delivered")(entry)

    run(queue, clock, transport, start + DAY)
    assert left == [(1000, 1500), (100, 600), (0, 500), (-900, None)]
    assert told == [(Told.DELAYED, start + 1000), (Told.RELAYED, start + 1900)]


def test_with_jitter_every_attempt_stays_near_its_delay_and_the_ends_are_exact(make_queue, clock, answering, reporter):
    schedule = Schedule.parse("5m, 15m, 1h*3, 4h*10", "5d", 0.1, 4 * HOUR)
    queue, start = make_queue(retry=schedule, reporter=reporter, random=random.Random(7)), clock.timestamp
    queue.put(b"", TO, origin="test")
    attempts = []

    def transport(entry):
        if entry.sender.reverse_path:
            attempts.append(clock.timestamp - start)
        return answering("deferred" if entry.sender.reverse_path else "delivered")(entry)

    run(queue, clock, transport, start + 6 * DAY)
    gaps = [after - before for before, after in itertools.pairwise(attempts)]
    assert 4 * HOUR in attempts and attempts[-1] == 5 * DAY
    for number, gap in enumerate(gaps, 1):
        cut = attempts[number] in (4 * HOUR, 5 * DAY)
        delay = schedule.delay(number)
        assert (0 if cut else 0.9 * delay) < gap <= 1.1 * delay


def test_what_arrives_in_the_night_is_found_at_the_next_look(make_queue, clock, answering):
    queue, start = make_queue(), clock.timestamp
    put = iter([None, None, "now"])

    def wait(seconds):
        clock.sleep(seconds)
        if next(put, None):
            queue.put(b"", TO, origin="test")

    counts = deliver_forever(queue, answering(), wait, should_stop=lambda: clock.timestamp > start + 9, look_again=2.0)
    assert counts.delivered == 1


def test_a_flush_brings_forward_what_waits(make_queue, clock, answering):
    queue, start = make_queue(), clock.timestamp
    queue.put(b"", TO, origin="test")
    deliver_due(queue, answering("deferred"))
    answers = iter([False, True])
    counts = deliver_forever(
        queue, answering(), clock.sleep, should_flush=lambda: next(answers, False),
        should_stop=lambda: clock.timestamp > start + 5,
    )
    assert counts.delivered == 1


def test_what_is_due_on_another_route_is_no_reason_to_go_round_and_round(make_queue, clock, answering):
    queue, start, waits = make_queue(), clock.timestamp, []
    queue.put(b"", TO, origin="test", route="other")

    def wait(seconds):
        waits.append(seconds)
        clock.sleep(seconds)

    deliver_forever(queue, answering(), wait, should_stop=lambda: clock.timestamp >= start + 10, route="mine")
    assert waits == [2.0] * 5
