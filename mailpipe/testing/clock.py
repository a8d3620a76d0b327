"""A clock that stands still until a test turns it: for stages (`services.clock`) and for whatever takes a function.

    clock = VirtualClock()
    clock.now()                  # 2026-03-05 09:30:00+00:00
    clock.sleep(3600)            # comes back at once; it is 10:30
    Queue(…, now=clock)          # called, it gives the seconds since 1970

Never here: threads that wait for a moment; nobody is woken.
"""

from datetime import UTC, datetime, timedelta

START = datetime(2026, 3, 5, 9, 30, tzinfo=UTC)
"""When a virtual clock begins, unless it is told otherwise."""


class VirtualClock:
    """A clock for tests; keeps the contract of `services.clock`.

    Attributes:
        timestamp: the time as seconds since 1970; may be set, backwards too, as clocks of machines are.
        slept: what was waited for, in seconds, in order.
    """

    def __init__(self, start: datetime | float = START) -> None:
        """Begin at a moment, an aware one or seconds since 1970.

        Raises:
            ValueError: a datetime without a zone.
        """
        if isinstance(start, datetime) and start.tzinfo is None:
            raise ValueError("a clock begins at a moment with a zone, such as datetime(2026, 3, 5, tzinfo=UTC)")
        self.timestamp = start.timestamp() if isinstance(start, datetime) else start
        self.slept: list[float] = []
        self._monotonic = 1000.0

    def now(self) -> datetime:
        """The date and time, aware, in UTC."""
        return datetime.fromtimestamp(self.timestamp, UTC)

    def monotonic(self) -> float:
        """Seconds that only grow, whatever is done to `timestamp`."""
        return self._monotonic

    def __call__(self) -> float:
        """Seconds since 1970, for whatever takes `time.time`."""
        return self.timestamp

    def sleep(self, seconds: float) -> None:
        """Let so many seconds pass, at once; it is noted in `slept`."""
        self.slept.append(seconds)
        self.advance(seconds)

    def advance(self, by: float | timedelta) -> None:
        """Let time pass without anybody having waited for it.

        Raises:
            ValueError: less than nothing.
        """
        seconds = by.total_seconds() if isinstance(by, timedelta) else by
        if seconds < 0:
            raise ValueError("time passes forward; set `timestamp` for a clock that was put back")
        self.timestamp += seconds
        self._monotonic += seconds
