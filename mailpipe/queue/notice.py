"""Who must be told what about a message (RFC 3461 sections 4.1 and 5.2): decided here, written elsewhere.

    for notice in notices(before, after, warn_after=4 * 3600):
        letter = reporter(notice)               # a Letter, or None where nothing is to be said

That each is told once is the work of `telling`: a report is recorded with the change that it tells of.

Never here: the words of a report, and the queue that it goes into.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from mailpipe.queue.entry import Entry, Handover, Recipient, RecipientState
from mailpipe.queue.spool import SHARDS
from mailpipe.smtp.demand import in_fields
from mailpipe.smtp.envelope import Envelope

_OVER = (RecipientState.FAILED, RecipientState.EXPIRED)


class Told(StrEnum):
    """What a sender is told (the action of RFC 3464 section 2.3.3)."""

    FAILED = "failed"  # it will not be delivered
    DELAYED = "delayed"  # it is not delivered yet, and tried again
    DELIVERED = "delivered"  # it lies in the mailbox
    RELAYED = "relayed"  # it went to a server that will not report


@dataclass(frozen=True, slots=True)
class Notice:
    """What must be told about one message.

    Attributes:
        told: what became of the recipients.
        entry: the message as it stands after the attempt.
        recipients: those that it is about, at least one.
        now: the moment, seconds since the epoch.
        until: until when a delayed message is tried, seconds since the epoch.
    """

    told: Told
    entry: Entry
    recipients: tuple[Recipient, ...]
    now: float
    until: float = 0.0

    @property
    def name(self) -> str:
        """The same for the same message, life (see `Queue.requeue`), kind and recipients."""
        whom = ",".join(f"{one.position} {one.address}" for one in self.recipients)
        # repr, for a moment as it was stored; a requeued message has a new one and is reported anew
        return f"{self.entry.id} {self.entry.since!r} {self.told.value} {whom}"


@dataclass(frozen=True, slots=True)
class Letter:
    """A report that is ready to be queued.

    Attributes:
        octets: the message.
        envelope: from the null reverse-path to the sender.
    """

    octets: bytes
    envelope: Envelope = field(default_factory=Envelope)


Reporter = Callable[[Notice], Letter | None]
"""Writes the report of a notice; None where nobody is to be told after all."""


def identifier_for(name: str) -> str:
    """The id that stands for a name; it says nothing about an arrival."""
    digest = int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest(), "big")
    return "".join(SHARDS[digest >> shift & 31] for shift in range(95, -1, -5))


def notices(
    before: Entry, after: Entry, now: float, *, warn_after: float | None, expire: float,
    handovers: Mapping[int, Handover] | None = None,
) -> tuple[Notice, ...]:
    """What must be told when a message goes from one state to the next.

    A message with the null reverse-path is never told about: it is a report, or its sender does not want any.

    Args:
        before: as it stood.
        after: as it is going to stand.
        now: the moment.
        warn_after: how long a message may wait before its sender is told, in seconds; None for never.
        expire: how long it is tried, in seconds.
        handovers: position → to whom a delivered recipient was handed; relayed where not said.
    """
    if not after.sender.reverse_path:
        return ()
    found: dict[Told, list[Recipient]] = {}
    for old, new in zip(before.recipients, after.recipients, strict=True):
        told = _told(old, new, after, now, warn_after, (handovers or {}).get(new.position, Handover.RELAYED))
        if told is not None:
            found.setdefault(told, []).append(new)
    until = after.since + expire
    until = until if after.return_by is None else min(until, after.return_by)
    return tuple(Notice(told, after, tuple(them), now, until) for told, them in found.items())


def _told(
    old: Recipient, new: Recipient, after: Entry, now: float, warn_after: float | None, handover: Handover
) -> Told | None:
    asked = new.forward_path.notify if new.forward_path else ()
    if new.state in _OVER and old.state not in _OVER:
        # RFC 3461 section 4.1: without NOTIFY a failure is told.
        return Told.FAILED if not asked or "FAILURE" in asked else None
    if new.state is RecipientState.DELIVERED and old.state is not RecipientState.DELIVERED:
        by = in_fields(after.sender.parameters)
        # RFC 2852 section 4.1: a trace, or the last word on a mail whose next hop does not know of its time
        is_traced = by.by_time is not None and (by.by_trace or (by.by_mode == "N" and handover is Handover.RELAYED))
        if is_traced and handover is not Handover.FINAL and "NEVER" not in asked:
            return Told.RELAYED
        if "SUCCESS" not in asked or handover is Handover.REPORTING:
            return None
        return Told.DELIVERED if handover is Handover.FINAL else Told.RELAYED
    # RFC 2852 section 4.1.3: whoever gave a time in mode N is told when it is over, but for NOTIFY=NEVER.
    if new.state is RecipientState.WAITING and (not asked or "DELAY" in asked):
        # Once: what was recorded after that moment has been told already.
        return Told.DELAYED if any(old.changed < mark <= now for mark in after.late_marks(warn_after)) else None
    return None
