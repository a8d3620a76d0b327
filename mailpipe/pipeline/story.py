"""A mail on its way, with what is to be told about it in its outcome.

Never here: where it goes next.
"""

from collections.abc import Mapping

from mailpipe.pipeline.mail import AttachmentSaved, Changed, DefectsFound, Mail
from mailpipe.pipeline.outcome import Ending, Fate, Outcome, Receipt
from mailpipe.status import EnhancedStatus

_SUCCESS = EnhancedStatus(2, 0, 0)


class Story:
    """One mail.

    Attributes:
        mail: as it is now.
        counted: ids of notes that belong to the mail that it was made of.
        size_in: octets as it came.
        notes: those of the verdict that ended its way.
        trail: the steps that it met, as the outcome tells them; None where nobody asks.
    """

    __slots__ = ("counted", "mail", "notes", "size_in", "trail")

    def __init__(self, mail: Mail, counted: frozenset[int], size_in: int, trail: list[str] | None = None) -> None:
        self.mail, self.counted, self.size_in, self.trail = mail, counted, size_in, trail
        self.notes: tuple[object, ...] = ()

    def tell(self, step: str, what: str) -> None:
        """Note what became of it at a step."""
        if self.trail is not None:
            self.trail.append(f"{step}: {what}")

    def _own_notes(self) -> list[object]:
        return [note for note in (*self.mail.notes, *self.notes) if id(note) not in self.counted]

    @property
    def defects(self) -> Mapping[str, int]:
        """The counts of all stages that looked; two that saw the same defect saw it once."""
        found: dict[str, int] = {}
        for note in self._own_notes():
            if isinstance(note, DefectsFound):
                for code, count in note.counts.items():
                    found[code] = max(count, found.get(code, 0))
        return found

    def end(
        self, ending: Ending, status: EnhancedStatus, reason: str, stage: str = "", receipt: Receipt | None = None
    ) -> Outcome:
        """The outcome."""
        notes = self._own_notes()
        return Outcome(
            self.mail.origin,
            ending,
            status,
            " ".join(reason.split()),
            stage,
            receipt,
            self.defects if notes else {},
            tuple(note for note in notes if isinstance(note, AttachmentSaved)),
            tuple(f"{note.stage}: {note.what}" for note in notes if isinstance(note, Changed)),
            self.size_in,
            len(self.mail.message) if receipt is not None else 0,
            trail=tuple(self.trail or ()),
        )

    def delivered(self, receipt: Receipt) -> Outcome:
        """The outcome of a mail that reached the sink: the worst fate that is left speaks for it."""
        for fate, ending in (
            (Fate.DEFERRED, Ending.DEFERRED),
            (Fate.IN_DOUBT, Ending.DEFERRED),
            (Fate.QUEUED, Ending.QUEUED),
            (Fate.FAILED, Ending.FAILED),
        ):
            for entry in receipt.recipients:
                if entry.fate is fate:
                    return self.end(ending, entry.status, entry.diagnostic, receipt=receipt)
        first = receipt.recipients[0] if receipt.recipients else None
        status, words = (first.status, first.diagnostic) if first else (_SUCCESS, "")
        return self.end(Ending.DELIVERED, status, words, receipt=receipt)


