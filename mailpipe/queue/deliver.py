"""The loop that delivers what is due: lease, hand to a transport, record.

    counts = deliver_due(queue, transport)                          # transport(entry) -> [RecipientResult, ...]
    counts = deliver_due(queue, transport, everything=True)         # whatever waits, due or not

Before the transport is called it stands on disk that an attempt has begun, and after it what came of it; kill -9
between the two leaves the recipients in doubt, to be sent again or held as the queue was told. A message is repeated
only where the result of an attempt was lost.

Never here: sockets; the transport is the caller's.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from mailpipe.errors import ConnectionLost, DeliveryError, MailpipeError
from mailpipe.queue.entry import Entry, Recipient, RecipientFate, RecipientResult, RecipientState
from mailpipe.queue.queue import Queue
from mailpipe.smtp.envelope import ForwardPath
from mailpipe.status import EnhancedStatus

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
    if everything:
        queue.flush(route=route)
    counts = DeliveryCounts()
    if should_stop and should_stop():
        return counts
    for entry in queue.lease(route=route, is_attempt=not journals):
        settled = queue.settle(entry, _attempt(queue, transport, entry, journals))
        counts.messages += 1
        for recipient in settled:
            name = _COUNTED[recipient.state]
            setattr(counts, name, getattr(counts, name) + 1)
        if on_progress:
            on_progress(entry, settled)
        if should_stop and should_stop():
            break
    return counts


def _attempt(queue: Queue, transport: Transport, entry: Entry, journals: bool) -> Sequence[RecipientResult]:
    try:
        return transport(entry)
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
