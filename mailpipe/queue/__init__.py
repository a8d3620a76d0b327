"""The durable queue: mail that is ours until somebody else has it (RFC 5321 section 4.5.4.1).

    queue = Queue(directory, retry="5m, 15m, 1h*3, 4h*10", expire="5d")
    queue.put(octets, envelope, origin="archive.mbox:120")
    deliver_due(queue, transport)

Content files hold the octets, SQLite the states. Every step can be followed by kill -9.

Never here: a transport; delivery is a callable of the caller's.
"""

from mailpipe.queue.deliver import DeliveryCounts, Transport, deliver_due
from mailpipe.queue.doctor import Finding, set_database_aside
from mailpipe.queue.entry import Entry, QueueCounts, Recipient, RecipientFate, RecipientResult, RecipientState
from mailpipe.queue.policy import Reason
from mailpipe.queue.queue import Queue
from mailpipe.queue.schedule import Schedule

__all__ = [
    "Queue", "Entry", "Recipient", "RecipientState", "RecipientResult", "RecipientFate", "QueueCounts", "Reason",
    "Schedule", "deliver_due", "DeliveryCounts", "Transport", "Finding", "set_database_aside",
]
