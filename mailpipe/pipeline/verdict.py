"""What a stage decides when it does not pass the mail on.

    return Verdict.reject("no executables, please", status="5.7.1")
    return Verdict.drop("a copy of a message seen before")

A decision is a value, never an exception. Returning a `Mail` passes it on (with another envelope: redirected);
returning several emits them all.

Never here: what a peer answered (a reply), or what happened in the end (an outcome).
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from mailpipe.smtp.reply import Reply
from mailpipe.status import EnhancedStatus

_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


class Decision(StrEnum):
    """The kinds of verdict."""

    ACCEPT = "accept"
    DROP = "drop"
    REJECT = "reject"
    DEFER = "defer"
    QUARANTINE = "quarantine"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision with its status and reason; made by the class methods.

    Attributes:
        decision: what is to happen: straight to the sink, nowhere, back to the sender, later, or aside.
        reason: one line of printable text, without the status.
        status: the enhanced status code.
        code: the reply code for an SMTP client.
        notes: more notes for the outcome (see `Mail.notes`).
    """

    decision: Decision
    reason: str
    status: EnhancedStatus
    code: int
    notes: tuple[object, ...] = ()

    @classmethod
    def _make(
        cls, decision: Decision, reason: str, status: str, code: int | None, notes: tuple[object, ...]
    ) -> "Verdict":
        enhanced = EnhancedStatus.parse(status)
        return cls(decision, _CONTROL.sub(" ", reason).strip(), enhanced, code or enhanced.reply_code, notes)

    @classmethod
    def accept(cls, reason: str = "accepted", *, notes: tuple[object, ...] = ()) -> "Verdict":
        """The mail goes to the sink as it is, past the remaining stages."""
        return cls._make(Decision.ACCEPT, reason, "2.0.0", 250, notes)

    @classmethod
    def drop(cls, reason: str, *, notes: tuple[object, ...] = ()) -> "Verdict":
        """The mail ends here; its sender is told that it was accepted."""
        return cls._make(Decision.DROP, reason, "2.0.0", 250, notes)

    @classmethod
    def reject(
        cls, reason: str, *, code: int | None = None, status: str = "5.7.1", notes: tuple[object, ...] = ()
    ) -> "Verdict":
        """The mail is refused for good.

        Args:
            reason: one line, shown to the sender.
            code: reply code 500 to 599; by default the one that goes with the status.
            status: enhanced status code of class 5.
            notes: for the outcome.

        Raises:
            ValueError: code or status is not of class 5.
        """
        if not status.startswith("5.") or (code is not None and not 500 <= code <= 599):
            raise ValueError("a rejection has a reply code 5yz and a status 5.y.z (RFC 5321 section 4.2.1)")
        return cls._make(Decision.REJECT, reason, status, code, notes)

    @classmethod
    def defer(
        cls, reason: str, *, code: int | None = None, status: str = "4.7.1", notes: tuple[object, ...] = ()
    ) -> "Verdict":
        """The mail is to come again later.

        Raises:
            ValueError: code or status is not of class 4.
        """
        if not status.startswith("4.") or (code is not None and not 400 <= code <= 499):
            raise ValueError("a deferral has a reply code 4yz and a status 4.y.z (RFC 5321 section 4.2.1)")
        return cls._make(Decision.DEFER, reason, status, code, notes)

    @classmethod
    def quarantine(cls, reason: str, *, notes: tuple[object, ...] = ()) -> "Verdict":
        """The mail is kept aside for a person to look at; its sender is told that it was accepted."""
        return cls._make(Decision.QUARANTINE, reason, "2.0.0", 250, notes)

    @property
    def reply(self) -> Reply:
        """The verdict as a reply to an SMTP client."""
        return Reply(self.code, (self.reason,), self.status)
