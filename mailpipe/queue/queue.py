"""The durable queue: mail that is ours until somebody else has it (RFC 5321 section 4.5.4.1).

    with Queue(directory, retry="5m, 15m, 1h*3, 4h*10", expire="5d") as queue:
        queue.put(octets, envelope, origin="archive.mbox:120", reasons=[(EnhancedStatus(4, 4, 1), "refused")])
        for entry in queue.lease(): queue.settle(entry, transport(entry))

`put` returns when the message is on disk and synced; from then on it is here until every recipient is delivered, or
until somebody removes it. Failed and expired recipients stay, with the reason. Several processes and threads may use
one queue; no lock is left behind by a crash: a lease ends by settling, with its process or its connection to the
database, or where nothing was heard of its holder for an hour.

In doubt: `lease` records that an attempt begins before it gives the entry away. If the process dies, its recipients are
in doubt, and are sent again ("resend") or kept for a human ("hold"). So a message can be repeated only where the result
of an attempt was lost, and never where "hold" was chosen.

Never here: sockets, pipelines, configuration files.
"""

import itertools
import logging
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Literal

from mailpipe.errors import OutputError
from mailpipe.queue.by_hand import ByHand
from mailpipe.queue.doctor import MISSING, Finding, Stopped, examine
from mailpipe.queue.entry import (
    Entry,
    QueueCounts,
    Recipient,
    RecipientResult,
    RecipientState,
)
from mailpipe.queue.interface import LeaseHolder
from mailpipe.queue.notice import Reporter
from mailpipe.queue.policy import Policy, Reason
from mailpipe.queue.schedule import DEFAULT_EXPIRE, DEFAULT_RETRY, Schedule
from mailpipe.queue.spool import Octets
from mailpipe.queue.store import open_store
from mailpipe.smtp.envelope import Envelope, ForwardPath

LEASE_SECONDS = 3600.0
"""How long whoever holds a message may stay silent before another process may take over, though he seems to live."""

_log = logging.getLogger(__name__)


class Queue(ByHand):
    """One queue: a directory, or a PostgreSQL database for several machines.

    Args:
        directory: made with mode 0700 where it is missing; needed where there is no database.
        database: "postgresql://…" instead of SQLite; the messages lie in it too, unless a directory is given that
            every machine sees.
        retry: delays between attempts, as `Schedule.parse` reads them; or a schedule.
        expire: how long a message is tried, "5d" or seconds.
        in_doubt: what becomes of a recipient whose final reply was lost: "resend" on the schedule, "hold" it until
            a human releases it, or "ask": hold it with the question beside the last reply.
        reporter: writes to the sender what became of a message; None for no reports.
        clock: seconds since the epoch; by default the store's, which is the same for all machines.
        random: where the schedule's jitter comes from.
        lease_seconds: how long a holder may neither settle nor renew.

    Raises:
        OutputError: the directory cannot be made or the database cannot be opened.
        ConfigError: the queue was made by a later version of mailpipe.
        ValueError: `retry`, `expire` or `in_doubt` has another form.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        database: str | None = None,
        retry: str | Schedule = DEFAULT_RETRY,
        expire: str | float = DEFAULT_EXPIRE,
        in_doubt: Literal["resend", "hold", "ask"] = "resend",
        reporter: Reporter | None = None,
        clock: Callable[[], float] | None = None,
        random: Random | None = None,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        if in_doubt not in ("resend", "hold", "ask"):
            raise ValueError(f"in_doubt is 'resend', 'hold' or 'ask', not {in_doubt!r}")
        self.directory = directory
        self.schedule = retry if isinstance(retry, Schedule) else Schedule.parse(retry, expire)
        self._policy = Policy(self.schedule, in_doubt == "resend", random or Random(), in_doubt == "ask")
        self._reporter = reporter
        self._store, self._spool = open_store(directory, database)
        self._clock, self._lease_seconds = clock or self._store.clock, lease_seconds
        self._owner: LeaseHolder | None = None
        self._renewed: dict[str, float] = {}  # leases that `stay` has renewed, and their ends
        self._numbers = itertools.count(1)
        if not self._policy.resends:
            self._park()
        self._reclaim()

    def __enter__(self) -> "Queue":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the database; whatever is still leased here may be taken over by others at once."""
        if self._owner is not None:
            self._owner.close()
            self._owner = None
        self._store.close()

    # -- in ---------------------------------------------------------------------------------------------------------

    def put(
        self,
        octets: Octets | Iterable[bytes],
        envelope: Envelope,
        *,
        origin: str,
        reasons: Sequence[Reason] | Mapping[str, Reason] = (),
        in_doubt: Container[str | ForwardPath] = (),
        route: str = "",
    ) -> str:
        """Take a message over; when this returns it is on disk and synced.

        Args:
            octets: the message in one piece, or in pieces that are written as they come.
            envelope: who it goes to; one without recipients gets a nameless one, so that it is kept all the same.
            origin: where it comes from, in words, for whoever looks at the queue.
            reasons: what an attempt before came to: one for each recipient in order, one for all, or by address.
                Recipients with a reason are tried again after the first delay, the others at once.
            in_doubt: the recipients, or their addresses, that may have been served though no final reply came.
            route: which way it goes; a name of the caller's that `lease` can ask for.

        Returns:
            the id.

        Raises:
            OutputError: it is not in the queue, and nothing of it is left; `is_full` where the disk or the quota is.
            ValueError: there are neither as many reasons as recipients, nor one, nor none.
        """
        now = self._clock()
        recipients = self._policy.arrive(envelope, reasons, in_doubt, now)
        self._store.admit()
        with self._arriving(octets, envelope, recipients, origin, route, now) as entry:
            self._store.add(entry)
        return entry.id

    # -- out --------------------------------------------------------------------------------------------------------

    def lease(
        self, now: float | None = None, *, route: str | None = None, is_attempt: bool = True
    ) -> Iterator[Entry]:
        """Give out the messages that are due, one by one, each to one process only.

        Each entry must be settled, renewed or given back by its caller. What is settled as deferred meanwhile is not
        given out again by the same call.

        Args:
            now: what is due at this moment counts as due; the clock's where not given.
            route: only messages of this route.
            is_attempt: record with the lease that an attempt begins. False is for transports that call `journal`
                themselves just before they send the end of data: fewer recipients are in doubt after a crash.

        Raises:
            OutputError: the database cannot be written.
        """
        moment = self._clock() if now is None else now
        self._reclaim()
        while True:
            if self._owner is None or not self._owner.is_ours:
                if self._owner is not None:
                    self._owner.close()
                self._owner = self._store.new_owner()
            self._owner.hold()
            lease = f"{self._owner.name}/{next(self._numbers)}"
            until = self._clock() + self._lease_seconds
            entry = self._store.take(lease, until, moment, route=route, is_attempt=is_attempt)
            if entry is None:
                return
            try:
                is_there = self._spool.holds(entry.id)
            except BaseException:
                self.give_back(entry)
                raise
            if is_there:
                yield entry
            else:
                _log.warning("%s: %s", entry.id, MISSING)
                self._store.change(entry.id, Stopped(MISSING, self._clock()), self._clock())
                self.give_back(entry)

    def journal(self, entry: Entry, *paths: ForwardPath) -> None:
        """Record durably that the end of data is about to be sent; call it for leases with `is_attempt=False`.

        Args:
            entry: as leased.
            paths: for these recipients; for all of the entry's where none is named.

        Raises:
            OutputError: it could not be recorded; do not send the end of data.
        """

        def decide(current: Entry) -> Entry:
            if current.lease != entry.lease:
                return current
            begun = (
                replace(one, is_attempted=True)
                for one in current.recipients
                if one.position in entry.leased and (not paths or one.forward_path in paths)
            )
            return current.with_recipients(*begun)

        current = self._store.change(entry.id, decide, self._clock())
        if current is None or current.lease != entry.lease:
            raise OutputError(self._store.place, f"the lease of {entry.id} has ended; it must not be sent now")

    def settle(self, entry: Entry, results: Sequence[RecipientResult]) -> tuple[Recipient, ...]:
        """Record what an attempt came to, and end the lease.

        A recipient without a result counts as deferred. Where the lease has passed to somebody else, what is final
        (delivered, failed) is recorded all the same, the rest is left to the new holder. A message whose recipients
        are all delivered leaves the queue.

        Args:
            entry: as leased.
            results: for the recipients of its envelope, in any order; equal paths are matched in order.

        Returns:
            the recipients of this attempt in their new states; () where somebody removed the message meanwhile.

        Raises:
            OutputError: it could not be recorded; the recipients will be in doubt.
            ValueError: the entry was not leased.
        """
        if not entry.leased:
            raise ValueError(f"message {entry.id} was looked at, not leased; only a leased one can be settled")
        now = self._clock()
        self._renewed.pop(entry.lease, None)
        after = self._move(
            entry.id, lambda current, policy: policy.settle(current, entry, results, now), now,
            {result.recipient: result.handover for result in results},
        )
        if after is None:
            return ()
        return tuple(one for one in after.recipients if one.position in entry.leased)

    def give_back(self, entry: Entry) -> None:
        """End a lease though nothing was attempted; the message is due as before."""

        def decide(current: Entry) -> Entry:
            if current.lease != entry.lease:
                return current
            untried = (replace(one, is_attempted=False) for one in current.recipients)
            return replace(current.with_recipients(*untried), lease="", leased_until=None)

        self._renewed.pop(entry.lease, None)
        self._store.change(entry.id, decide, self._clock())

    def renew(self, entry: Entry) -> bool:
        """Lengthen a lease from now on; whether it was still ours.

        Raises:
            OutputError: the database cannot be written.
        """
        now = self._clock()

        def decide(current: Entry) -> Entry:
            is_ours = current.lease == entry.lease
            return replace(current, leased_until=now + self._lease_seconds) if is_ours else current

        current = self._store.change(entry.id, decide, now)
        return current is not None and current.lease == entry.lease

    def stay(self, entry: Entry) -> bool:
        """Show that its holder lives while an attempt takes long; call it every few seconds, from any thread.

        Args:
            entry: as leased.

        Returns:
            whether the lease is still ours, as far as it was looked at.

        Raises:
            OutputError: others cannot be shown it now; they may take the message over.
        """
        if self._owner is not None:
            self._owner.hold()
        end = self._renewed.get(entry.lease, entry.leased_until or 0.0)
        if self._clock() < end - self._lease_seconds / 2:
            return True
        end = self._clock() + self._lease_seconds
        is_ours = self.renew(entry)
        if is_ours:
            self._renewed[entry.lease] = end
        return is_ours

    def _cut_short(self, identifier: str, lease: str) -> None:
        now = self._clock()
        self._store.change(
            identifier,
            lambda current: self._policy.cut_short(current, now) if current.lease == lease else current,
            now,
        )

    def _reclaim(self) -> None:
        """End the leases that have expired and those of dead processes."""
        expired, standing = self._store.leases(self._clock())
        others = {lease.partition("/")[0] for _, lease in standing} - {self._owner.name if self._owner else ""}
        dead = {name for name in others if not self._store.is_alive(name)}
        for identifier, lease in expired + [pair for pair in standing if pair[1].partition("/")[0] in dead]:
            self._cut_short(identifier, lease)

    def _park(self) -> None:
        """Under "hold", recipients that are in doubt wait for a human."""
        doubt = RecipientState.IN_DOUBT
        condition = "next_try IS NOT NULL AND id IN (SELECT message FROM recipient WHERE state = ?)"

        def parked(current: Entry) -> Entry:
            recipients = (replace(one, next_try=None) if one.state is doubt else one for one in current.recipients)
            return current.with_recipients(*recipients)

        for entry in self._store.entries(condition, (doubt.value,)):
            self._store.change(entry.id, parked, self._clock())  # another process may have settled it meanwhile

    # -- to look at -------------------------------------------------------------------------------------------------

    def list(self, *states: RecipientState | str) -> Iterator[Entry]:
        """The messages by arrival; with states, those of which a recipient is in one of them."""
        if not states:
            return self._store.entries()
        marks = ", ".join("?" * len(states))
        condition = f"id IN (SELECT message FROM recipient WHERE state IN ({marks}))"
        return self._store.entries(condition, tuple(RecipientState(state).value for state in states))

    def due(self, now: float | None = None) -> Iterator[Entry]:
        """The messages that are due and that nobody delivers, without leasing them."""
        return self._store.entries("next_try <= ? AND lease = ''", (self._clock() if now is None else now,))

    def now(self) -> float:
        """The queue's clock, seconds since the epoch."""
        return self._clock()

    def next_try(self) -> float | None:
        """When the next message is due, None where none waits."""
        return self._store.next_try()

    def counts(self) -> QueueCounts:
        """How much lies here, by state."""
        return QueueCounts(*self._store.count(self._clock()))

    def doctor(self, *, repair: bool = False, deep: bool = False) -> tuple[Finding, ...]:
        """Look for what crashes, full disks and strangers leave behind.

        Args:
            repair: put it right; nothing that may be somebody's mail is deleted, it is held.
            deep: read every message and compare its digest.

        Raises:
            OutputError: the database is damaged or the repair could not be written.
        """
        self._reclaim()
        if repair:
            self._store.sweep()
        return examine(self._store, self._spool, self._clock(), repair=repair, deep=deep)
