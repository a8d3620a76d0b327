"""The loop that delivers what is due: lease, hand to a transport, record.

    counts = deliver_due(queue, transport)                          # transport(entry) -> [RecipientResult, ...]
    counts = deliver_due(queue, transport, everything=True)         # whatever waits, due or not
    counts = deliver_forever(queue, transport, wait)                # and again whenever something is due

Before the transport is called it stands on disk that an attempt has begun, and after it what came of it; kill -9
between the two leaves the recipients in doubt, to be sent again or held as the queue was told. A message is repeated
only where the result of an attempt was lost.

Never here: sockets; the transport is the caller's.
"""

import contextlib
import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TypeVar

from mailpipe.errors import EX_TEMPFAIL, ConnectionLost, DeliveryError, InputError, MailpipeError, OutputError
from mailpipe.queue.entry import Entry, Recipient, RecipientFate, RecipientResult, RecipientState
from mailpipe.queue.heart import Heart
from mailpipe.queue.queue import Queue
from mailpipe.smtp.envelope import ForwardPath
from mailpipe.status import EnhancedStatus

_log = logging.getLogger(__name__)

Recorded = TypeVar("Recorded")
Transport = Callable[[Entry], Sequence[RecipientResult]]
"""Hands one entry over and says what came of each recipient of its envelope."""


@dataclass(slots=True)
class DeliveryCounts:
    """What one run of the loop came to.

    Attributes:
        messages: entries that were attempted.
        delivered, failed, deferred, in_doubt, expired, held: recipients by the state they were left in.
    """

    messages: int = 0
    delivered: int = 0
    failed: int = 0
    deferred: int = 0
    in_doubt: int = 0
    expired: int = 0
    held: int = 0

    def to_json(self) -> dict[str, object]:
        """Plain values for `json.dumps`."""
        return asdict(self)

    def add(self, settled: Sequence[Recipient]) -> None:
        """One more message, its recipients in their new states."""
        self.messages += 1
        for recipient in settled:
            name = _COUNTED[recipient.state]
            setattr(self, name, getattr(self, name) + 1)


LOOK_AGAIN = 2.0
"""Seconds after which `deliver_forever` looks for what other processes have put in: one indexed read."""

_TOO_LATE = EnhancedStatus(5, 4, 7)
_COUNTED = {
    RecipientState.DELIVERED: "delivered",
    RecipientState.FAILED: "failed",
    RecipientState.WAITING: "deferred",
    RecipientState.IN_DOUBT: "in_doubt",
    RecipientState.EXPIRED: "expired",
    RecipientState.HELD: "held",
}


def deliver_due(
    queue: Queue,
    transport: Transport,
    *,
    everything: bool = False,
    route: str | None = None,
    journals: bool = False,
    on_progress: Callable[[Entry, tuple[Recipient, ...]], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> DeliveryCounts:
    """Attempt every message that is due, each once.

    An exception of the transport never loses a message: its recipients are deferred with the exception's words; a
    `PermanentFailure` fails them, a `ConnectionLost` in doubt leaves them so.

    Args:
        queue: where the messages are.
        transport: hands one over. It is called in this thread.
        everything: bring forward whatever waits for a later moment.
        route: only messages of this route.
        journals: the transport calls `queue.journal` itself before it sends the end of data; only what it
            journalled is in doubt after a crash.
        on_progress: told each entry, as attempted, and its recipients in their new states.
        should_stop: asked before each message; True ends the loop in good order.

    Returns:
        the counts.

    Raises:
        OutputError: the queue cannot be written. What was attempted last is in doubt.
    """
    counts = DeliveryCounts()
    _round(queue, transport, counts, everything=everything, route=route, journals=journals, on_progress=on_progress,
           should_stop=should_stop)  # fmt: skip
    return counts


def _round(
    queue: Queue, transport: Transport, counts: DeliveryCounts, *, everything: bool, route: str | None, journals: bool,
    on_progress: Callable[[Entry, tuple[Recipient, ...]], None] | None, should_stop: Callable[[], bool] | None,
    wait: Callable[[float], None] | None = None,
) -> None:  # fmt: skip
    """Attempt every message that is due; with `wait` an outcome that cannot be recorded is kept until it can be."""
    if everything:
        queue.flush(route=route)
    if should_stop and should_stop():
        return
    with Heart(queue) as heart:
        for entry in queue.lease(route=route, is_attempt=not journals):
            heart.begin(entry)
            results = attempt(queue, transport, entry, journals)
            settled = patiently(lambda: queue.settle(entry, results), entry, wait, should_stop)  # noqa: B023 - called here
            heart.end(entry)
            counts.add(settled)
            if on_progress:
                on_progress(entry, settled)
            if should_stop and should_stop():
                break


def patiently(
    record: Callable[[], Recorded], entry: Entry, wait: Callable[[float], object] | None,
    should_stop: Callable[[], bool] | None,
) -> Recorded:  # fmt: skip
    """What recording something gives; with `wait` trouble that passes is waited for, until it is told to stop.

    Who gave up on an outcome would leave in doubt what is known.

    Raises:
        OutputError: it cannot be recorded.
    """
    pauses = waits()
    while True:
        try:
            return record()
        except OutputError as error:
            if wait is None or not passes(error) or (should_stop and should_stop()):
                raise
            _log.warning("%s: what came of it cannot be recorded yet: %s", entry.id, error)
            wait(next(pauses))


def passes(error: OutputError) -> bool:
    """Whether that is trouble which passes: a full disk, a database that is busy or away."""
    return error.exit_code == EX_TEMPFAIL


def waits() -> Iterator[float]:
    """Seconds to wait while trouble lasts, again and again."""
    yield from (LOOK_AGAIN, 5.0, 10.0)
    yield from itertools.repeat(30.0)


def deliver_forever(
    queue: Queue,
    transport: Transport,
    wait: Callable[[float], None],
    *,
    should_flush: Callable[[], bool] | None = None,
    should_stop: Callable[[], bool] | None = None,
    look_again: float = LOOK_AGAIN,
    route: str | None = None,
    journals: bool = False,
    on_progress: Callable[[Entry, tuple[Recipient, ...]], None] | None = None,
) -> DeliveryCounts:
    """Attempt what is due, wait until something is, and so on until told to stop.

    Args:
        queue, transport, route, journals, on_progress: see `deliver_due`.
        wait: passes so many seconds, or fewer where it is woken by a signal.
        should_flush: asked before each round; True brings forward whatever waits.
        should_stop: asked before each message and each wait.
        look_again: the longest wait, in seconds.

    Returns:
        the counts of all rounds.

    Trouble with the queue that passes (a full disk, a database that is away) is waited for, and what came of the
    attempt in hand is recorded when it is over.

    Raises:
        OutputError: the queue cannot be written, and waiting does not help or is to stop. What was attempted last is
            in doubt.
    """
    counts, pauses = DeliveryCounts(), waits()
    while not (should_stop and should_stop()):
        before = counts.messages
        try:
            _round(
                queue, transport, counts, everything=should_flush is not None and should_flush(), route=route,
                journals=journals, on_progress=on_progress, should_stop=should_stop, wait=wait,
            )  # fmt: skip
            if should_stop and should_stop():
                break
            moment = queue.next_try()
            # A leased message is not counted by `next_try`; its lease may expire meanwhile.
            pause = look_again if moment is None else min(moment - queue.now(), look_again)
        except OutputError as error:
            if not passes(error) or (should_stop and should_stop()):
                raise
            _log.warning("the queue cannot be worked now; it is tried again: %s", error)
            wait(next(pauses))
            continue
        pauses = waits()
        if pause <= 0 and counts.messages == before:
            pause = look_again  # what is due is not ours: another route
        if pause > 0:
            wait(pause)
    return counts


def attempt(queue: Queue, transport: Transport, entry: Entry, journals: bool) -> Sequence[RecipientResult]:
    """What one attempt comes to, whatever the transport raises; see `deliver_due`.

    Raises:
        OutputError: an interrupt came, and that it did could not be recorded.
    """
    aged = entry.as_of(queue.now())
    if aged is None:  # RFC 2852 section 4.1.2: with nothing left it is returned, and no longer tried
        words = "the time within which the sender wanted it delivered or returned is over"
        nobody = ForwardPath("")
        return [
            RecipientResult(one.forward_path or nobody, RecipientFate.FAILED, _TOO_LATE, words)
            for one in entry.remaining
        ]
    try:
        return transport(aged)
    except Exception as error:  # noqa: BLE001 a transport's exception must not lose the message nor stop the others
        return _results(queue, entry, error, journals)
    except BaseException:
        # Ctrl-C in the middle: nobody knows how far it came, and nobody is left to wait for the lease.
        cut = ConnectionLost("interrupted before the final reply", in_doubt=True)
        queue.settle(entry, _results(queue, entry, cut, journals))
        raise


def _results(queue: Queue, entry: Entry, error: Exception, journals: bool) -> list[RecipientResult]:
    status = error.status if isinstance(error, MailpipeError) else EnhancedStatus(4, 3, 0)
    if isinstance(error, DeliveryError):
        words = error.diagnostic
    else:
        words = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    is_permanent = isinstance(error, DeliveryError) and status.is_permanent
    begun: set[int] = set()
    if journals:
        with contextlib.suppress(InputError):  # somebody removed it meanwhile
            begun = {one.position for one in queue.show(entry.id).recipients if one.is_attempted}
    elif isinstance(error, ConnectionLost) and error.in_doubt:
        begun = set(entry.leased)
    results = []
    for one in entry.remaining:
        if one.position in begun and not is_permanent:
            fate = RecipientFate.IN_DOUBT
        else:
            fate = RecipientFate.FAILED if is_permanent else RecipientFate.DEFERRED
        results.append(RecipientResult(one.forward_path or ForwardPath(""), fate, status, " ".join(words.split())))
    return results
