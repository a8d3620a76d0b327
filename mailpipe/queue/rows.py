"""Entries as rows and rows as entries: one row a message, one row a recipient; the same columns in both databases.

    entry = entry_of(row, recipient_rows, content)
    values = recipient_values(identifier, recipient)

Never here: statements and connections.
"""

from collections.abc import Callable, Iterable
from typing import Any

from mailpipe.queue.entry import (
    Content,
    Entry,
    Recipient,
    RecipientState,
    forward_path_text,
    read_forward_path,
    read_sender,
    sender_text,
)
from mailpipe.status import EnhancedStatus

MESSAGE = "id, sender, origin, route, created, since, size, digest, lease, leased_until"
"""Columns of a message."""

RECIPIENT = "position, forward_path, state, attempts, next_try, status, diagnostic, changed, is_attempted"
"""Columns of a recipient, behind the id of its message."""

REMEMBERED = 7 * 86400.0
"""How long the ids of settled messages are known, in seconds."""


def printable(text: str) -> str:
    """Text in UTF-8, which is all that databases keep; octets that were none are shown by number."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def entry_of(row: tuple[Any, ...], recipients: Iterable[tuple[Any, ...]], content: Callable[[str], Content]) -> Entry:
    """The message of a row with the columns `MESSAGE` and its recipients' rows with the columns `RECIPIENT`."""
    (identifier, sender, origin, route, created, since, size, digest, lease, leased_until) = row
    read = tuple(
        Recipient(
            position, read_forward_path(path), RecipientState(state), attempts, next_try,
            EnhancedStatus.parse(status) if status else None, diagnostic, changed, bool(is_attempted),
        )
        for position, path, state, attempts, next_try, status, diagnostic, changed, is_attempted in recipients
    )  # fmt: skip
    return Entry(
        identifier, read_sender(sender), read, origin, route, created, since, size, digest,
        content(identifier), lease, leased_until,
    )  # fmt: skip


def message_values(entry: Entry) -> tuple[Any, ...]:
    """The first eight columns of a message, and its next try: it arrives without a lease."""
    return (
        entry.id, sender_text(entry.sender), printable(entry.origin), printable(entry.route), entry.created,
        entry.since, entry.size, entry.digest, entry.next_try,
    )  # fmt: skip


def recipient_values(identifier: str, recipient: Recipient) -> tuple[Any, ...]:
    """The row of a recipient."""
    return (
        identifier, recipient.position, forward_path_text(recipient.forward_path), recipient.state.value,
        recipient.attempts, recipient.next_try if recipient.state.is_live else None,
        str(recipient.status) if recipient.status else None, printable(recipient.diagnostic), recipient.changed,
        int(recipient.is_attempted),
    )  # fmt: skip


def expired_and_standing(
    rows: Iterable[tuple[str, str, float]], now: float
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """(id, lease) of the leases that are over, and of those that are not, from rows of id, lease and its end."""
    expired: list[tuple[str, str]] = []
    standing: list[tuple[str, str]] = []
    for identifier, lease, until in rows:
        (expired if until <= now else standing).append((identifier, lease))
    return expired, standing
