"""Connections that serve mail after mail, a few for each destination, and destinations that are left alone.

    pool = ConnectionPool(PoolLimits(), clock=time.monotonic, chance=random.Random(), pause=time.sleep)
    with pool.lease("mx.example.net:25", lambda: SmtpConnection(endpoint, plan)) as connection:
        result = connection.deliver(envelope, octets)
    pool.note_up("mx.example.net:25")

A destination is whatever the caller tells apart by a key: host, port, and how TLS is to be used there. One that is down
holds up nobody else. May be used by several threads: each gets a connection of its own, one more with each mail that
was handed over, up to the limit; when there are no more, a part of one that can have several transactions in flight.
A destination that refuses one more connection while others stand is not down, it has enough.

Never here: rules of SMTP; routes; what becomes of a mail.
"""

import contextlib
import random
import threading
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field

from mailpipe.errors import TransientFailure
from mailpipe.net.endpoint import Timeouts
from mailpipe.net.sync import SmtpConnection
from mailpipe.status import EnhancedStatus
from mailpipe.units import duration_text

_CONGESTED = EnhancedStatus(4, 4, 5)
_MAX_DESTINATIONS = 10_000
"""LIMIT: destinations that are remembered at a time; those in use or down are never forgotten for it."""


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """How much at once, and for how long.

    Attributes:
        messages_per_connection: transactions before a connection is closed.
        age: seconds before a connection is closed.
        check_after: seconds of idleness after which the peer is asked whether it is still there (NOOP).
        close_after: seconds of idleness after which a connection is closed.
        health_timeout: seconds that the answer to NOOP may take.
        connections_per_destination: at most, at a time.
        idle_connections: kept at a time, all destinations together.
        messages_per_second: for each destination; None without end.
        patience: seconds to wait for the rate, or for a connection while none comes free; then the mail is deferred.
    """

    messages_per_connection: int = 100
    age: float = 300.0
    check_after: float = 10.0
    close_after: float = 60.0
    health_timeout: float = 10.0
    connections_per_destination: int = 2
    idle_connections: int = 20
    messages_per_second: float | None = None
    patience: float = 60.0


@dataclass(frozen=True, slots=True)
class BackOff:
    """How long a destination that failed is left alone: longer each time, so that it can recover.

    Attributes:
        first: seconds after the first failure; 0 never leaves it alone.
        factor: how much longer after each further one.
        most: seconds at most; not below `first`.
        spread: the part of the time that chance may take away, so that not all senders come back at once.
    """

    first: float = 5.0
    factor: float = 2.0
    most: float = 300.0
    spread: float = 0.1

    def seconds(self, failures: int, chance: random.Random) -> float:
        """How long after so many failures in a row, from 1."""
        whole = min(self.first * self.factor ** min(failures - 1, 60), max(self.most, self.first))
        return whole * (1 - self.spread * chance.random())


@dataclass(slots=True, eq=False)
class _Kept:
    connection: SmtpConnection
    made_at: float
    idle_since: float = 0.0
    users: int = 0
    lent: int = 0
    is_checked: bool = True
    was_lost: bool = False


@dataclass(slots=True)
class _Destination:
    changed: threading.Condition
    idle: list[_Kept] = field(default_factory=list)
    busy: list[_Kept] = field(default_factory=list)
    allowed: int = 1
    turns: int = 0
    refusals: int = 0
    full_until: float = 0.0
    next_at: float = 0.0
    failures: int = 0
    losses: int = 0
    down_until: float = 0.0
    failure: TransientFailure | None = None

    def is_forgettable(self, now: float) -> bool:
        return not (self.idle or self.busy or now < self.down_until or now < self.next_at)

    def move(self) -> None:
        """Something has happened that others may wait for."""
        self.turns += 1
        self.changed.notify_all()


class ConnectionPool:
    """Lends connections.

    Attributes:
        limits: how much at once.
        back_off: how long a destination that failed is left alone.
    """

    def __init__(
        self,
        limits: PoolLimits | None = None,
        back_off: BackOff | None = None,
        *,
        clock: Callable[[], float],
        chance: random.Random,
        pause: Callable[[float], None],
    ) -> None:
        """Nothing is connected yet.

        Args:
            limits: how much at once.
            back_off: how long a destination that failed is left alone.
            clock: seconds that only grow.
            chance: spreads the end of a back-off.
            pause: waits so many seconds, for the rate of a destination.
        """
        self.limits, self.back_off = limits or PoolLimits(), back_off or BackOff()
        self._clock, self._chance, self._pause = clock, chance, pause
        self._destinations: dict[Hashable, _Destination] = {}
        self._lock = threading.RLock()

    @contextlib.contextmanager
    def lease(self, key: Hashable, make: Callable[[], SmtpConnection]) -> Iterator[SmtpConnection]:
        """Borrow a connection for one mail; it goes back by itself, or is closed where an exception came through.

        Args:
            key: which destination.
            make: makes a connection where none is kept; it need not be open yet.

        Raises:
            TransientFailure: the destination is left alone for now, or too busy (status 4.4.5).
        """
        kept = self._take(key, make)
        try:
            yield kept.connection
        except BaseException:
            with self._lock:
                if kept.users == 1:  # otherwise others have transactions of their own in flight there
                    kept.connection.abort()
            raise
        finally:
            self._give_back(key, kept)

    def note_up(self, key: Hashable) -> None:
        """The destination has answered: it is not left alone any more, and may get one connection more."""
        with self._lock:
            destination = self._destination(key)
            destination.failures = destination.losses = 0
            destination.down_until, destination.failure = 0.0, None
            may_grow = destination.allowed < self.limits.connections_per_destination
            if may_grow and self._clock() >= destination.full_until:
                destination.allowed += 1
                if destination.allowed == self.limits.connections_per_destination:
                    destination.refusals = 0
                destination.move()

    def note_down(self, key: Hashable, failure: TransientFailure) -> bool:
        """The destination could not be reached or wants nobody: it is left alone for a while.

        Returns:
            Whether it is. Not so where other connections with it stand: then these are as many as it wants for now, and
            the mail may wait for one of them.
        """
        with self._lock:
            destination = self._destination(key)
            standing = sum(kept.connection.is_open for kept in (*destination.busy, *destination.idle))
            if standing:
                destination.refusals += 1
                destination.allowed = standing
                destination.full_until = self._clock() + self.back_off.seconds(destination.refusals, self._chance)
                return False
            if self._clock() < destination.down_until:
                return True  # of several that were under way only the first counts
            destination.failures += 1
            destination.failure, destination.allowed = failure, 1
            destination.refusals, destination.full_until = 0, 0.0
            destination.down_until = self._clock() + self.back_off.seconds(destination.failures, self._chance)
            destination.move()
            return True

    def note_lost(self, key: Hashable, failure: TransientFailure, connection: SmtpConnection | None = None) -> None:
        """A connection ended in the middle. Once is a server that was restarted; twice in a row it is down.

        Args:
            key: which destination.
            failure: what to say while it is left alone.
            connection: the one that ended; of several mails that were on it only the first counts.
        """
        with self._lock:
            destination = self._destination(key)
            for kept in destination.busy:
                if kept.connection is connection and kept.was_lost:
                    return
                kept.was_lost = kept.was_lost or kept.connection is connection
            destination.losses += 1
            lost_again = destination.losses >= 2
        if lost_again:
            self.note_down(key, failure)

    def down_for(self, key: Hashable) -> float:
        """Seconds for which a destination is still left alone; 0 where it is not."""
        with self._lock:
            destination = self._destinations.get(key)
            return 0.0 if destination is None else max(0.0, destination.down_until - self._clock())

    def close(self) -> None:
        """Say goodbye on every connection that nobody uses."""
        with self._lock:
            idle = [kept for destination in self._destinations.values() for kept in destination.idle]
            for destination in self._destinations.values():
                destination.idle.clear()
        for kept in idle:
            kept.connection.quit()

    def _destination(self, key: Hashable) -> _Destination:
        if key not in self._destinations and len(self._destinations) >= _MAX_DESTINATIONS:
            now = self._clock()
            kept = {key: one for key, one in self._destinations.items() if not one.is_forgettable(now)}
            self._destinations = kept
        if (found := self._destinations.get(key)) is None:
            found = self._destinations[key] = _Destination(threading.Condition(self._lock))
        return found

    def _take(self, key: Hashable, make: Callable[[], SmtpConnection]) -> _Kept:
        patience = self.limits.patience
        with self._lock:
            destination = self._destination(key)
            self._refuse_while_down(destination)
            while (kept := self._seat(destination, make)) is None:
                seen = destination.turns
                if not destination.changed.wait_for(lambda seen=seen: destination.turns != seen, patience):  # type: ignore[misc]
                    words = f"{key}: all its connections are busy for {duration_text(patience)} now; tried again later"
                    raise TransientFailure(words, _CONGESTED)
                self._refuse_while_down(destination)  # what was found out by whoever was waited for
            kept.users += 1
            kept.lent += 1
            if kept.users == 1:
                destination.busy.append(kept)
        try:
            if (seconds := self._turn(destination, key)) > 0:
                self._pause(seconds)
            if not kept.is_checked:
                if not self._is_fit(kept):
                    kept.connection, kept.made_at, kept.lent = make(), self._clock(), 1
                kept.is_checked = True
            return kept
        except BaseException:
            self._give_back(key, kept)
            raise

    def _seat(self, destination: _Destination, make: Callable[[], SmtpConnection]) -> _Kept | None:
        """A place for one more mail; None where none is free."""
        if len(destination.busy) < destination.allowed:
            if destination.idle:
                kept = destination.idle.pop()
                kept.is_checked = False
                return kept
            return _Kept(make(), self._clock())
        shared = [kept for kept in destination.busy if kept.is_checked and kept.users < kept.connection.room]
        shared = [kept for kept in shared if not self._has_served(kept, kept.lent)]
        return min(shared, key=lambda kept: kept.users, default=None)

    def _refuse_while_down(self, destination: _Destination) -> None:
        failure = destination.failure
        if failure is None or self._clock() >= destination.down_until:
            return
        left = duration_text(max(1, round(destination.down_until - self._clock())))
        raise TransientFailure(f"{failure.diagnostic} (not asked again for the next {left})", failure.status)

    def _turn(self, destination: _Destination, key: Hashable) -> float:
        """Seconds until the rate of a destination allows one more."""
        if self.limits.messages_per_second is None:
            return 0.0
        with self._lock:
            now = self._clock()
            start = max(now, destination.next_at)
            if start - now > self.limits.patience:
                rate = f"{self.limits.messages_per_second:g} messages a second"
                raise TransientFailure(f"{key}: {rate} is all it may get; tried again later", _CONGESTED)
            destination.next_at = start + 1 / self.limits.messages_per_second
            return start - now

    def _is_fit(self, kept: _Kept) -> bool:
        """Whether a kept connection may serve one more mail; one that may not is closed."""
        connection = kept.connection
        idle = self._clock() - kept.idle_since
        if self._has_served(kept, kept.lent - 1):
            connection.quit()
            return False
        if idle >= self.limits.close_after:
            connection.quit()
            return False
        if idle >= self.limits.check_after:
            usual, connection.timeouts = connection.timeouts, Timeouts.within(self.limits.health_timeout)
            try:
                if not connection.is_alive():
                    connection.abort()
                    return False
            finally:
                connection.timeouts = usual
        return True

    def _has_served(self, kept: _Kept, lent: int) -> bool:
        """Whether a connection has carried as many mails as one may, or is as old; `lent` for so many mails before."""
        connection, most = kept.connection, self.limits.messages_per_connection
        if connection.is_open:
            most = min(most, connection.extensions.mail_max or most)
        return max(connection.transaction_count, lent) >= most or self._clock() - kept.made_at >= self.limits.age

    def _give_back(self, key: Hashable, kept: _Kept) -> None:
        too_many: list[_Kept] = []
        with self._lock:
            destination = self._destination(key)
            kept.users -= 1
            if not kept.users:
                destination.busy.remove(kept)
                if kept.connection.is_open:
                    kept.idle_since = self._clock()
                    destination.idle.append(kept)
                    too_many = self._surplus()
            destination.move()
        for one in too_many:
            one.connection.quit()

    def _surplus(self) -> list[_Kept]:
        """Take out the connections that were idle for too long, and the oldest of too many."""
        now, found = self._clock(), []
        idle = [(kept.idle_since, place, kept) for place in self._destinations.values() for kept in place.idle]
        idle.sort(key=lambda entry: entry[0])
        too_many = len(idle) - self.limits.idle_connections
        for number, (since, place, kept) in enumerate(idle):
            if number < too_many or now - since >= self.limits.close_after:
                place.idle.remove(kept)
                found.append(kept)
        return found
