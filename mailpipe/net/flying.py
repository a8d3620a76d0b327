"""A transaction in flight on a connection that several threads share, and how a break of the connection is told.

Never here: sockets and the session itself (`mailpipe.net.sync`).
"""

import threading
from dataclasses import dataclass

from mailpipe.smtp.events import TransactionResult


@dataclass(slots=True, eq=False)
class Flying:
    """A transaction whose answers have not all come.

    Attributes:
        peer: to whom it went.
        may_repeat: the connection was in use before: one that dies under its first transaction would die again.
        changed: notified when there is a result, or when somebody must take the place at the socket.
        result: how it ended, None before that.
        is_over: the session has ended with it.
    """

    peer: str
    may_repeat: bool
    changed: threading.Condition
    result: TransactionResult | None = None
    is_over: bool = False


def words_of(doing: str, error: OSError) -> str:
    """What to say of an error while something was being done."""
    if isinstance(error, TimeoutError):
        return f"timed out while {doing}"
    return f"connection lost while {doing} ({error.strerror or error})"
