"""Mail that waits in the durable queue goes through the pipeline's sink once more.

    queue = open_queue(settings.queue)
    counts = redeliver(queue, sink)                      # what is due
    counts = redeliver(queue, sink, everything=True)     # whatever waits

As many mails are under way at a time as the sink takes.

Never here: stages; mail in the queue has passed them. When to try again; that is the queue's schedule.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from threading import Lock
from types import MappingProxyType
from typing import Any

from mailpipe.fields import is_address
from mailpipe.limits import DEFAULT_LIMITS, Limits
from mailpipe.message import parse
from mailpipe.pipeline.component import Sink
from mailpipe.pipeline.handing_over import hand_over, result_of
from mailpipe.pipeline.loop import LoopRule
from mailpipe.pipeline.mail import Mail, Origin
from mailpipe.pipeline.outcome import Fate, Receipt
from mailpipe.pipeline.settings import QueueSettings
from mailpipe.queue import (
    DeliveryCounts,
    Entry,
    Lanes,
    Queue,
    Recipient,
    RecipientResult,
    Schedule,
    deliver_due,
    deliver_forever,
    deliver_side_by_side,
)

Routes = Mapping[str, Sink[Any]]
"""The sinks of routes, by name."""
NO_ROUTES: Routes = MappingProxyType({})


def open_queue(settings: QueueSettings) -> Queue:
    """The queue that a pipeline file names; made where it is missing.

    Raises:
        OutputError: it cannot be made or opened.
    """
    reporter, warn_after = None, None
    if settings.reports:
        from mailpipe.pipeline.notification import Reports  # most queues send none

        host = os.uname().nodename
        own = f"MAILER-DAEMON@{host}"
        reporter = Reports(settings.reports_from or (own if is_address(own) else "MAILER-DAEMON@localhost"))
        warn_after = settings.warn_after or None
    schedule = Schedule.parse(settings.retry, settings.expire, warn_after=warn_after)
    return Queue(
        settings.directory, database=settings.database, retry=schedule, in_doubt=settings.in_doubt, reporter=reporter
    )


def loop_rule(settings: QueueSettings | None, sink: Sink[Any]) -> LoopRule | None:
    """When mail is stopped that went round in circles; None where it cannot come back, or nothing says when."""
    if settings is None or not sink.needs_recipients:
        return None
    return LoopRule(settings.max_received, settings.loop_mark or "")


def redeliver(
    queue: Queue,
    sink: Sink[Any],
    limits: Limits = DEFAULT_LIMITS,
    *,
    everything: bool = False,
    loops: LoopRule | None = None,
    routes: Routes = NO_ROUTES,
    on_progress: Callable[[Entry, tuple[Recipient, ...]], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> DeliveryCounts:
    """Hand what waits to an open sink.

    Args:
        queue: where it waits.
        sink: open.
        limits: of understanding.
        everything: also what is not due yet.
        loops: see `loop_rule`.
        routes: the open sinks of routes, by name.
        on_progress: told each entry and its recipients in their new states.
        should_stop: asked before each message.

    Raises:
        OutputError: the queue cannot be written.
    """
    if sink.in_flight > 1:
        return deliver_side_by_side(
            queue, _transport(sink, limits, loops, routes), _lanes(sink, routes), everything=everything,
            on_progress=on_progress, should_stop=should_stop,
        )  # fmt: skip
    return deliver_due(
        queue, _transport(sink, limits, loops, routes), everything=everything, on_progress=on_progress,
        should_stop=should_stop,
    )  # fmt: skip


def keep_redelivering(
    queue: Queue,
    sink: Sink[Any],
    wait: Callable[[float], None],
    limits: Limits = DEFAULT_LIMITS,
    *,
    loops: LoopRule | None = None,
    routes: Routes = NO_ROUTES,
    on_progress: Callable[[Entry, tuple[Recipient, ...]], None] | None = None,
    should_flush: Callable[[], bool] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> DeliveryCounts:
    """The same whenever something is due, until it is told to stop; see `mailpipe.queue.deliver_forever`.

    Raises:
        OutputError: the queue cannot be written.
    """
    if sink.in_flight > 1:
        return deliver_side_by_side(
            queue, _transport(sink, limits, loops, routes), _lanes(sink, routes), wait=wait, on_progress=on_progress,
            should_flush=should_flush, should_stop=should_stop,
        )  # fmt: skip
    return deliver_forever(
        queue, _transport(sink, limits, loops, routes), wait, on_progress=on_progress, should_flush=should_flush,
        should_stop=should_stop,
    )  # fmt: skip


def _lanes(sink: Sink[Any], routes: Routes) -> Lanes:
    def lane(entry: Entry) -> str:
        own = routes.get(entry.route, sink)
        return f"{entry.route}>{own.lane(entry.envelope)}"

    return Lanes(sink.in_flight, sink.lane_width, lane)


def _transport(
    sink: Sink[Any], limits: Limits, loops: LoopRule | None, routes: Routes
) -> Callable[[Entry], list[RecipientResult]]:
    # one that takes a mail at a time is never asked by two threads
    locks = {name: Lock() if own.in_flight == 1 else nullcontext() for name, own in routes.items()}

    def transport(entry: Entry) -> list[RecipientResult]:
        mail = Mail(parse(entry.octets, limits=limits), entry.envelope, Origin("queue", entry.origin, ident=entry.id))
        if not entry.route:
            return [result_of(each, sink) for each in hand_over(sink, mail, loops).recipients]
        if (own := routes.get(entry.route)) is None:
            words = f"it waits for the route {entry.route!r}, which has no sink in the pipeline file any more"
            receipt = Receipt.of_all(mail.envelope.forward_paths, Fate.DEFERRED, "4.3.5", words)
            return [result_of(each, sink) for each in receipt.recipients]
        with locks[entry.route]:
            receipt = hand_over(own, mail)
        return [result_of(each, own) for each in receipt.recipients]

    return transport
