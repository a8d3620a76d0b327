import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpipe.queue.schedule import Schedule

NEVER_MIND = random.Random(0)


def test_the_language_reads_as_people_write_it():
    assert Schedule.parse(" 5m,15m ,1h * 3, 4h*10 ").steps == ((300, 1), (900, 1), (3600, 3), (14400, 10))


@pytest.mark.parametrize(
    "text", ["", " ", ",", "5m,", "5", "5m*", "5m*0", "*3", "0s", "5m**2", "-5m", "5m*-1", "soon", "5m;6m"]
)
def test_what_is_no_schedule_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match="5m, 15m"):
        Schedule.parse(text)


@pytest.mark.parametrize(("expire", "jitter"), [("0s", 0.1), ("never", 0.1), ("5d", 1.0), ("5d", -0.1)])
def test_expiry_and_jitter_are_checked(expire, jitter):
    with pytest.raises(ValueError):
        Schedule.parse("5m", expire, jitter)


def test_it_is_written_as_it_was_read():
    assert str(Schedule.parse("5m, 15m, 1h*3, 4h*10")) == "5m, 15m, 1h*3, 4h*10"


def test_the_last_delay_repeats():
    schedule = Schedule.parse("1m*2, 1h")
    assert [schedule.delay(attempts) for attempts in (1, 2, 3, 4, 1000)] == [60, 60, 3600, 3600, 3600]


def test_the_last_attempt_falls_on_the_expiry():
    schedule = Schedule.parse("1h", "90m", jitter=0)
    assert schedule.next_try(1, 0, 0, NEVER_MIND) == 3600
    assert schedule.next_try(2, 3600, 0, NEVER_MIND) == 5400
    assert schedule.next_try(3, 5400, 0, NEVER_MIND) is None


def test_a_billion_repetitions_take_no_memory():
    assert Schedule.parse("1s*999999999, 1h").delay(10**9) == 3600


@given(st.integers(1, 100), st.floats(0, 1e9), st.integers(0, 2**32))
def test_jitter_stays_within_its_part_and_is_repeatable(attempts, now, seed):
    schedule = Schedule.parse("5m, 15m, 1h*3, 4h*10", "5000w", jitter=0.1)
    delay = schedule.delay(attempts)
    moment = schedule.next_try(attempts, now, now, random.Random(seed))
    assert moment == schedule.next_try(attempts, now, now, random.Random(seed))
    assert 0.899 * delay <= moment - now <= 1.101 * delay


@given(st.text(alphabet="0123456789 smhdw*,.", max_size=40))
def test_any_text_is_a_schedule_or_a_value_error(text):
    try:
        schedule = Schedule.parse(text)
    except ValueError:
        return
    assert Schedule.parse(str(schedule)).delay(1) == pytest.approx(schedule.delay(1), abs=0.001)


def test_an_attempt_falls_on_the_warning_and_the_steps_go_on_after_it():
    schedule = Schedule.parse("1h*2, 4h", "5d", 0, "4h")
    moments = [0.0]
    for attempts in range(1, 6):
        moments.append(schedule.next_try(attempts, moments[-1], 0.0, NEVER_MIND))
    assert [moment / 3600 for moment in moments] == [0, 1, 2, 4, 8, 12]
    with pytest.raises(ValueError, match="warn_after"):
        Schedule.parse("1h", "5d", 0, 0)
