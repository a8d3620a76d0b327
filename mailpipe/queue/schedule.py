"""The retry language: when a message that could not be delivered is tried again (RFC 5321 section 4.5.4.1).

    schedule = Schedule.parse("5m, 15m, 1h*3, 4h*10", expire="5d")
    schedule.next_try(attempts=1, now=now, since=created, chance=random.Random())     # a moment, None once expired

Steps are delays in order, "1h*3" means three times; the last one repeats until the message expires. The last attempt
falls on the expiry itself, so that the whole time is used and nothing expires untried. So it is with the warning: where
senders are told of a delay, an attempt falls on that moment, and nobody is told of what would have arrived.

Never here: a clock, sleep, or a queue. Moments and chance are given by the caller.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

from mailpipe.units import duration_text, parse_duration

_STEP = re.compile(r"([^*]*+)(?:\*\s*+(\d{1,9})\s*+)?")
_REMEDY = "write delays such as '5m, 15m, 1h*3, 4h*10'"

DEFAULT_RETRY = "5m, 15m, 1h*3, 4h*10"
DEFAULT_EXPIRE = "5d"
DEFAULT_WARN_AFTER = "4h"


def _step(text: str) -> tuple[float, int]:
    match = _STEP.fullmatch(text)
    try:
        delay = float(parse_duration(match[1])) if match else 0.0
    except ValueError as error:
        raise ValueError(f"{text.strip()!r} is no step of a retry schedule: {error}; {_REMEDY}") from None
    times = int(match[2]) if match and match[2] else 1
    if match is None or delay <= 0 or times < 1:
        raise ValueError(f"{text.strip()!r} is no step of a retry schedule; {_REMEDY}")
    return delay, times


@dataclass(frozen=True, slots=True)
class Schedule:
    """Delays between attempts and the end of patience; all in seconds.

    Attributes:
        steps: (delay, how often) in order; the last delay repeats until the expiry.
        expire: how long after its arrival a message is given up.
        jitter: each delay is changed by chance by up to this part of it, so that a thousand messages that were
            deferred together do not return together.
        warn_after: how long after its arrival the sender is told that it is late; None for never.
    """

    steps: tuple[tuple[float, int], ...]
    expire: float
    jitter: float = 0.1
    warn_after: float | None = None

    def __post_init__(self) -> None:
        if not self.steps:
            raise ValueError(f"a retry schedule needs at least one delay; {_REMEDY}")
        if self.expire <= 0:
            raise ValueError("expire must be longer than nothing; write a duration such as '5d'")
        if not 0 <= self.jitter < 1:
            raise ValueError("jitter is a part of the delay, from 0 to less than 1")
        if self.warn_after is not None and self.warn_after <= 0:
            raise ValueError("warn_after must be longer than nothing; write a duration such as '4h'")

    @classmethod
    def parse(
        cls,
        retry: str = DEFAULT_RETRY,
        expire: str | float = DEFAULT_EXPIRE,
        jitter: float = 0.1,
        warn_after: str | float | None = None,
    ) -> "Schedule":
        """Read "5m, 15m, 1h*3, 4h*10", "5d" and "4h"; a number as `expire` or `warn_after` is seconds.

        Raises:
            ValueError: the text has another form, a delay is nothing, or the expiry is nothing.

        >>> Schedule.parse("5m, 1h*2", "1d").steps
        ((300.0, 1), (3600.0, 2))
        """
        steps = tuple(_step(piece) for piece in retry.split(",")) if retry.strip() else ()
        warn = None if warn_after is None else float(parse_duration(warn_after))
        return cls(steps, float(parse_duration(expire)), jitter, warn)

    def __str__(self) -> str:
        return ", ".join(duration_text(delay) + (f"*{times}" if times > 1 else "") for delay, times in self.steps)

    def delay(self, attempts: int) -> float:
        """Seconds to wait after the given number of attempts (from 1), without jitter.

        >>> [Schedule.parse("5m, 1h*2, 4h").delay(number) for number in (1, 2, 3, 4, 99)]
        [300.0, 3600.0, 3600.0, 14400.0, 14400.0]
        """
        passed = 0
        for delay, times in self.steps:
            passed += times
            if attempts <= passed:
                return delay
        return self.steps[-1][0]

    def next_try(
        self,
        attempts: int,
        now: float,
        since: float,
        chance: Random,
        *,
        marks: Iterable[float] = (),
        until: float | None = None,
    ) -> float | None:
        """The moment of the next attempt, or None where the message has expired.

        Args:
            attempts: how many were made, from 1.
            now: the moment of the last one.
            since: the moment from which the expiry counts.
            chance: where the jitter comes from.
            marks: more moments at which the sender is told that it is late; an attempt falls on each.
            until: when it expires at the latest, whatever the schedule says; None for the schedule's expiry.
        """
        end = since + self.expire
        if until is not None:
            end = min(end, until)
        if now >= end:
            return None
        delay = self.delay(attempts)
        if self.jitter:
            delay *= 1 + chance.uniform(-self.jitter, self.jitter)
        told_at = marks if self.warn_after is None else (*marks, since + self.warn_after)
        return min(now + delay, end, *(mark for mark in told_at if mark > now))
