"""The durable queue: mail that is ours until somebody else has it (RFC 5321 section 4.5.4.1).

    queue = Queue(directory, retry="5m, 15m, 1h*3, 4h*10", expire="5d")
    queue.put(octets, envelope, origin="archive.mbox:120")
    deliver_due(queue, transport)

Content files hold the octets, SQLite the states; for several machines PostgreSQL holds both. Every step can be
followed by kill -9.

Never here: a transport; delivery is a callable of the caller's.
"""

import importlib
from typing import TYPE_CHECKING, Any

# Where each name lives. They are imported when first asked for: a pipeline without a queue does without SQLite.
_HOMES = {
    "Queue": "queue", "Entry": "entry", "Recipient": "entry", "RecipientState": "entry", "RecipientResult": "entry",
    "RecipientFate": "entry", "QueueCounts": "entry", "Reason": "policy", "Schedule": "schedule",
    "deliver_due": "deliver", "deliver_forever": "deliver", "DeliveryCounts": "deliver", "Handover": "entry",
    "Notice": "notice", "Letter": "notice", "Told": "notice", "Reporter": "notice", "Transport": "deliver",
    "Finding": "doctor", "set_database_aside": "doctor",
    "Lanes": "side_by_side", "deliver_side_by_side": "side_by_side",
}  # fmt: skip

if TYPE_CHECKING:
    from mailpipe.queue.deliver import DeliveryCounts as DeliveryCounts
    from mailpipe.queue.deliver import Transport as Transport
    from mailpipe.queue.deliver import deliver_due as deliver_due
    from mailpipe.queue.deliver import deliver_forever as deliver_forever
    from mailpipe.queue.doctor import Finding as Finding
    from mailpipe.queue.doctor import set_database_aside as set_database_aside
    from mailpipe.queue.entry import Entry as Entry
    from mailpipe.queue.entry import Handover as Handover
    from mailpipe.queue.entry import QueueCounts as QueueCounts
    from mailpipe.queue.entry import Recipient as Recipient
    from mailpipe.queue.entry import RecipientFate as RecipientFate
    from mailpipe.queue.entry import RecipientResult as RecipientResult
    from mailpipe.queue.entry import RecipientState as RecipientState
    from mailpipe.queue.notice import Letter as Letter
    from mailpipe.queue.notice import Notice as Notice
    from mailpipe.queue.notice import Reporter as Reporter
    from mailpipe.queue.notice import Told as Told
    from mailpipe.queue.policy import Reason as Reason
    from mailpipe.queue.queue import Queue as Queue
    from mailpipe.queue.schedule import Schedule as Schedule
    from mailpipe.queue.side_by_side import Lanes as Lanes
    from mailpipe.queue.side_by_side import deliver_side_by_side as deliver_side_by_side

__all__ = [
    "Queue", "Entry", "Recipient", "RecipientState", "RecipientResult", "RecipientFate", "QueueCounts", "Reason",
    "Schedule", "deliver_due", "deliver_forever", "DeliveryCounts", "Handover", "Notice", "Letter", "Told", "Reporter",
    "Transport", "Finding", "set_database_aside", "Lanes", "deliver_side_by_side",
]


def __getattr__(name: str) -> Any:
    if (home := _HOMES.get(name)) is None:
        raise AttributeError(f"module 'mailpipe.queue' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"mailpipe.queue.{home}"), name)
    globals()[name] = value
    return value
