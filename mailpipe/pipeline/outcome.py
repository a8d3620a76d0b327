"""What became of a mail: a `Receipt` from the sink, an `Outcome` for the journal; every mail ends in exactly one.

Never here: decisions; those are verdicts. An outcome is history.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from mailpipe.pipeline.mail import AttachmentSaved, Origin
from mailpipe.smtp.envelope import ForwardPath
from mailpipe.status import EnhancedStatus


class Fate(StrEnum):
    """How one recipient of one mail ended in a sink."""

    DELIVERED = "delivered"  # accepted downstream, or on disk and synced
    QUEUED = "queued"  # safe in the durable queue, to be tried again
    FAILED = "failed"  # refused for good
    DEFERRED = "deferred"  # not taken and not queued: the source must keep it
    IN_DOUBT = "in-doubt"  # the end of data was sent and no reply came: it may have been accepted


@dataclass(frozen=True, slots=True)
class RecipientReceipt:
    """One recipient's part of a receipt.

    Attributes:
        recipient: the forward-path.
        fate: how it ended.
        status: enhanced status code.
        diagnostic: the peer's reply or the system's words, one line.
        handover: who has it now, where it was delivered: "final", its mailbox; "relayed", a server that does not
            report; "reporting", a server that took over the duty to report (RFC 3461 section 5.2). "" for what
            follows from the sink: one that needs recipients relays.
    """

    recipient: ForwardPath
    fate: Fate
    status: EnhancedStatus
    diagnostic: str = ""
    handover: str = ""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a sink did with one mail.

    Attributes:
        recipients: one entry for each forward-path of the envelope, in its order.
        reference: what to find the mail by downstream: a queue id, a file name, the peer's last reply.
    """

    recipients: tuple[RecipientReceipt, ...]
    reference: str = ""

    @classmethod
    def of_all(
        cls, recipients: tuple[ForwardPath, ...], fate: Fate, status: str, diagnostic: str = "", reference: str = ""
    ) -> "Receipt":
        """The same fate for every recipient; a mail without recipients gets one entry for the nameless one."""
        enhanced = EnhancedStatus.parse(status)
        paths = recipients or (ForwardPath(""),)
        return cls(tuple(RecipientReceipt(path, fate, enhanced, diagnostic) for path in paths), reference)

    @property
    def fates(self) -> frozenset[Fate]:
        """The fates that occur."""
        return frozenset(entry.fate for entry in self.recipients)


class Ending(StrEnum):
    """How a mail as a whole ended. The counts of a run are counts of these, and add up to the mails that entered."""

    DELIVERED = "delivered"  # every recipient accepted
    QUEUED = "queued"  # at least one recipient waits in the durable queue; the rest are settled
    FAILED = "failed"  # at least one recipient refused for good, none waits
    DROPPED = "dropped"
    REJECTED = "rejected"
    QUARANTINED = "quarantined"
    DEFERRED = "deferred"  # not safe anywhere but in its source, which keeps it; the next run takes it again
    SPLIT = "split"  # a stage made several mails of it; each has an outcome of its own

    @property
    def is_settled(self) -> bool:
        """Whether the source may forget the mail."""
        return self is not Ending.DEFERRED


@dataclass(frozen=True, slots=True)
class Outcome:
    """The whole story of one mail.

    Attributes:
        origin: which mail.
        ending: how it ended.
        status: enhanced status code.
        reason: one line: the verdict's reason, the sink's diagnostic, the exception's words.
        stage: the stage that decided, "" where the sink did.
        receipt: from the sink, None where it was not reached.
        defects: defect code → occurrences.
        attachments: files that were written.
        changes: what stages changed, one line each.
        size_in, size_out: octets as read, octets as handed to the sink.
        children: of a mail that a stage split, what became of those that were made of it in this run; each has an
            outcome of its own in the journal and in the counts, and is not counted here.
        trail: the steps that it met and what became of it there, where mails may go different ways.
    """

    origin: Origin
    ending: Ending
    status: EnhancedStatus
    reason: str = ""
    stage: str = ""
    receipt: Receipt | None = None
    defects: Mapping[str, int] = field(default_factory=dict)
    attachments: tuple[AttachmentSaved, ...] = ()
    changes: tuple[str, ...] = ()
    size_in: int = 0
    size_out: int = 0
    children: "tuple[Outcome, ...]" = ()
    trail: tuple[str, ...] = ()
