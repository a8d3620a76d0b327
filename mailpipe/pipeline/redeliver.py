"""Mail that waits in the durable queue goes through the pipeline's sink once more.

    queue = open_queue(settings.queue)
    counts = redeliver(queue, sink)                      # what is due
    counts = redeliver(queue, sink, everything=True)     # whatever waits

Never here: stages; mail in the queue has passed them. When to try again; that is the queue's schedule.
"""

from collections.abc import Callable
from typing import Any

from mailpipe.limits import DEFAULT_LIMITS, Limits
from mailpipe.message import parse
from mailpipe.pipeline.component import Sink
from mailpipe.pipeline.mail import Mail, Origin
from mailpipe.pipeline.outcome import Fate
from mailpipe.pipeline.run import hand_over
from mailpipe.pipeline.settings import QueueSettings
from mailpipe.queue import DeliveryCounts, Entry, Queue, Recipient, RecipientFate, RecipientResult, deliver_due

_FATES = {
    Fate.DELIVERED: RecipientFate.DELIVERED,
    Fate.FAILED: RecipientFate.FAILED,
    Fate.IN_DOUBT: RecipientFate.IN_DOUBT,
}


def open_queue(settings: QueueSettings) -> Queue:
    """The queue that a pipeline file names; made where it is missing.

    Raises:
        OutputError: it cannot be made or opened.
    """
    return Queue(settings.directory, retry=settings.retry, expire=settings.expire)


def redeliver(
    queue: Queue,
    sink: Sink[Any],
    limits: Limits = DEFAULT_LIMITS,
    *,
    everything: bool = False,
    on_progress: Callable[[Entry, tuple[Recipient, ...]], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> DeliveryCounts:
    """Hand what waits to an open sink.

    Args:
        queue: where it waits.
        sink: open.
        limits: of understanding.
        everything: also what is not due yet.
        on_progress: told each entry and its recipients in their new states.
        should_stop: asked before each message.

    Raises:
        OutputError: the queue cannot be written.
    """

    def transport(entry: Entry) -> list[RecipientResult]:
        mail = Mail(parse(entry.octets, limits=limits), entry.envelope, Origin("queue", entry.origin, ident=entry.id))
        receipt = hand_over(sink, mail)
        return [
            RecipientResult(each.recipient, _FATES.get(each.fate, RecipientFate.DEFERRED), each.status, each.diagnostic)
            for each in receipt.recipients
        ]

    return deliver_due(queue, transport, everything=everything, on_progress=on_progress, should_stop=should_stop)
