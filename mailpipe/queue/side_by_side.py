"""The loop that delivers what is due, many messages at a time; messages for one place never hold up those for others.

    lanes = Lanes(in_flight=50, width=10, lane=lambda entry: entry.recipients[0].address.rpartition("@")[2])
    counts = deliver_side_by_side(queue, transport, lanes)                  # transport(entry), in several threads
    counts = deliver_side_by_side(queue, transport, lanes, wait=wait)       # and on, until it is told to stop

Of one lane so many messages are under way at a time at most; others of it wait here, leased and not begun, with nothing
but their rows in memory. It stands on disk that an attempt has begun just before the transport is called, so that only
what really was under way is in doubt after a crash.

Never here: what becomes of one message (`mailpipe.queue.deliver`); sockets.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass

from mailpipe.crew import Crew
from mailpipe.errors import OutputError
from mailpipe.queue.deliver import LOOK_AGAIN, DeliveryCounts, Transport, attempt, passes, patiently, waits
from mailpipe.queue.entry import Entry, Recipient
from mailpipe.queue.heart import Heart
from mailpipe.queue.queue import Queue

_log = logging.getLogger(__name__)

WAITING = 5000
"""LIMIT: messages that are leased and wait for others of their lane. Where so many wait, no more are looked at until
some of them have gone; each takes about two kilobytes of memory."""

Settled = tuple[Recipient, ...]


@dataclass(frozen=True, slots=True)
class Lanes:
    """How many messages are under way at a time.

    Attributes:
        in_flight: in all, each in a thread of its own.
        width: of one lane.
        lane: names the lane of a message.
    """

    in_flight: int
    width: int
    lane: Callable[[Entry], Hashable]


def deliver_side_by_side(
    queue: Queue,
    transport: Transport,
    lanes: Lanes,
    *,
    everything: bool = False,
    wait: Callable[[float], None] | None = None,
    route: str | None = None,
    look_again: float = LOOK_AGAIN,
    on_progress: Callable[[Entry, Settled], None] | None = None,
    should_flush: Callable[[], bool] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> DeliveryCounts:
    """Attempt every message that is due, each once; with `wait` also what becomes due, until told to stop.

    Args:
        queue: where the messages are.
        transport: hands one over; called in several threads. What it raises loses no message, see `deliver_due`.
        lanes: how many at a time.
        everything: bring forward whatever waits for a later moment.
        wait: passes so many seconds, or fewer where it is woken by a signal; None ends where nothing is due any more.
        route: only messages of this route.
        look_again: the longest wait, in seconds, and how often is looked for new messages while others are under way.
        on_progress: told each entry, as attempted, and its recipients in their new states; in this thread.
        should_flush: asked now and then; True brings forward whatever waits.
        should_stop: asked before each message; True ends the loop when what is under way has ended.

    Returns:
        the counts.

    With `wait` trouble with the queue that passes (a full disk, a database that is away) is waited for, and what came
    of the attempts in hand is recorded when it is over.

    Raises:
        OutputError: the queue cannot be written, and waiting does not help or is to stop. What was under way has ended,
            and may be in doubt.
    """
    is_stopped = should_stop or (lambda: False)
    flush = everything
    pauses = waits()
    with Heart(queue) as heart:
        loop = _Loop(queue, transport, lanes, route, on_progress, heart, is_patient=wait is not None)
        try:
            while not is_stopped():
                try:
                    flush = flush or (should_flush is not None and should_flush())
                    if flush:
                        queue.flush(route=route)
                        flush = False
                        loop.look_anew(0)
                    loop.fill(is_stopped)
                    if loop.crew:
                        loop.tell(look_again)
                    elif wait is None:
                        break
                    elif not is_stopped():
                        moment = queue.next_try()
                        # A leased message is not counted by `next_try`; its lease may expire meanwhile.
                        pause = look_again if moment is None else min(moment - queue.now(), look_again)
                        wait(pause if pause > 0 else look_again)  # what is due and was not given to us is not ours
                    if wait is not None:
                        loop.look_anew(look_again if loop.crew else 0)
                    pauses = waits()
                except OutputError as error:
                    if wait is None or not passes(error) or is_stopped():
                        raise
                    _log.warning("the queue cannot be worked now; it is tried again: %s", error)
                    loop.look_anew(0)
                    wait(next(pauses))
        except Exception:
            with contextlib.suppress(OutputError):  # the first one says why
                loop.end()
            raise
        # An interrupt waits for nothing: what is under way is in doubt as soon as this process has gone.
        loop.end()
    return loop.counts


class _Loop:
    """What is under way, and what came of it."""

    def __init__(
        self, queue: Queue, transport: Transport, lanes: Lanes, route: str | None,
        on_progress: Callable[[Entry, Settled], None] | None, heart: Heart, *, is_patient: bool,
    ) -> None:  # fmt: skip
        self.counts = DeliveryCounts()
        self.crew: Crew[Entry, Settled | None] = Crew(self._deliver, lanes.in_flight, lanes.width, "mailpipe-queue")
        self._queue, self._transport, self._lanes, self._route = queue, transport, lanes, route
        self._on_progress, self._heart = on_progress, heart
        self._is_over = threading.Event()
        self._wait = self._is_over.wait if is_patient else None  # for trouble to pass, in a thread of the crew
        # Where nothing can have to wait, the lease itself says that the attempt has begun: one commit less.
        self._begins_later = lanes.width < lanes.in_flight
        self._leases: Iterator[Entry] | None = self._lease()
        self._looked = time.monotonic()

    def _lease(self) -> Iterator[Entry]:
        return self._queue.lease(route=self._route, is_attempt=not self._begins_later)

    def look_anew(self, seconds: float) -> None:
        """What is due now may be more than what was due before; not again within so many seconds."""
        now = time.monotonic()
        if self._leases is None and now - self._looked >= seconds:
            self._leases, self._looked = self._lease(), now

    def fill(self, is_stopped: Callable[[], bool]) -> None:
        """Lease messages as long as there is a thread for one."""
        while self._leases is not None and self.crew.has_hands and len(self.crew) < WAITING and not is_stopped():
            try:
                entry = next(self._leases, None)
            except BaseException:
                self._leases = None  # it gives nothing any more
                raise
            if entry is None:
                self._leases = None
                return
            self._heart.begin(entry)
            self.crew.give(entry, self._lanes.lane(entry))
            self.tell(0)

    def _deliver(self, entry: Entry) -> Settled | None:
        """One attempt, in a thread of the crew; None where the message is not ours any more."""
        if self._begins_later and not patiently(lambda: self._begin(entry), entry, self._wait, self._is_over.is_set):
            return None  # the lease has passed to somebody else, who delivers it
        results = attempt(self._queue, self._transport, entry, journals=False)
        return patiently(lambda: self._queue.settle(entry, results), entry, self._wait, self._is_over.is_set)

    def _begin(self, entry: Entry) -> bool:
        """Put on disk that an attempt begins; False where the lease is not ours any more."""
        try:
            self._queue.journal(entry)
        except OutputError:
            if self._queue.renew(entry):
                raise
            return False
        return True

    def tell(self, seconds: float | None) -> None:
        """Wait so long for one message to end, and count it and those that have ended as well."""
        ended = self.crew.ended(seconds)
        while ended is not None:
            entry = ended.job
            self._heart.end(entry)
            if ended.error is not None:
                raise ended.error
            if ended.answer is not None:
                self.counts.add(ended.answer)
                if self._on_progress:
                    self._on_progress(entry, ended.answer)
            ended = self.crew.ended(0)

    def end(self) -> None:
        """Give back what was not begun, and let what was come to its end."""
        trouble: BaseException | None = None
        self._is_over.set()
        while (entry := self.crew.take_back()) is not None:
            self._heart.end(entry)
            try:
                self._queue.give_back(entry)
            except OutputError as error:
                trouble = trouble or error
        while self.crew:
            try:
                self.tell(None)
            except OutputError as error:
                trouble = trouble or error
        self.crew.close()
        if trouble is not None:
            raise trouble
