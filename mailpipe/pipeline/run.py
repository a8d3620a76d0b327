"""The engine: a raw mail becomes a message, goes through the stages to the sink, and ends in exactly one outcome.

    engine = Engine(line, journal)
    taken = engine.take(raw, digest, history)
    taken.outcomes          # its own first, then those of the mails that stages made of it

    begun = engine.begin(raw, digest, history)     # or in two halves: through the stages,
    taken = engine.finish(begun)                   # and to the sink, in any thread

This is the one place where exceptions of other people's code become outcomes. What stops the run instead is trouble
with the journal: an outcome that cannot be recorded.

Never here: files, processes, configuration; where mail comes from and in what order.
"""

import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from mailpipe.errors import (
    EX_SOFTWARE,
    StageError,
)
from mailpipe.limits import DEFAULT_LIMITS, Limits
from mailpipe.message import parse
from mailpipe.pipeline.component import Sink, Stage
from mailpipe.pipeline.envelope_rule import EnvelopeRule
from mailpipe.pipeline.handing_over import hand_over, joined, kind_of, result_of, words_of
from mailpipe.pipeline.journal import NO_HISTORY, History, Journal, digest_of
from mailpipe.pipeline.loop import LoopRule
from mailpipe.pipeline.mail import AttachmentSaved, Changed, DefectsFound, Mail, Origin, RawMail
from mailpipe.pipeline.outcome import Ending, Fate, Outcome, Receipt
from mailpipe.pipeline.quarantine import Quarantine
from mailpipe.pipeline.step import Step
from mailpipe.pipeline.verdict import Decision, Verdict
from mailpipe.status import EnhancedStatus

if TYPE_CHECKING:  # slow to import; most pipelines that filter have none
    from mailpipe.queue import Queue

SPLIT_LIMIT = 10_000
"""LIMIT: mails that one stage may make of one; a stage that never ends would otherwise fill the memory."""

_log = logging.getLogger(__name__)
_SUCCESS, _SYSTEM = EnhancedStatus(2, 0, 0), EnhancedStatus(4, 3, 0)
_TOO_BIG, _NO_RECIPIENT = EnhancedStatus(5, 3, 4), EnhancedStatus(5, 1, 3)
_OPEN = (Fate.DEFERRED, Fate.IN_DOUBT)


@dataclass(frozen=True, slots=True)
class Line:
    """What a mail goes through.

    Attributes:
        steps: the stages, in order.
        sink: where it goes.
        rule: makes the envelope of a mail that has none.
        quarantine: where mail is set aside.
        queue: takes what the sink could not hand over; None for none.
        limits: of understanding.
        message_size: octets of a message at most, None for no limit.
        on_stage_error: "defer" or "quarantine".
        loops: when mail goes no further because it went round in circles; None where it cannot.
        reports: whether the queue tells senders what the sink settled at the first attempt.
    """

    steps: tuple[Step, ...]
    sink: Sink[Any]
    rule: EnvelopeRule
    quarantine: Quarantine
    queue: "Queue | None" = None
    limits: Limits = DEFAULT_LIMITS
    message_size: int | None = None
    on_stage_error: str = "defer"
    loops: LoopRule | None = None
    reports: bool = False


@dataclass(slots=True)
class Taken:
    """What became of one mail that entered.

    Attributes:
        outcomes: its own first, then those of the mails made of it.
        skipped: mails made of it that an earlier run had settled.
        in_doubt: keys of those of them that the sink may have handed over without seeing the reply.
    """

    outcomes: list[Outcome]
    skipped: int = 0
    in_doubt: list[str] = field(default_factory=list)

    @property
    def own(self) -> Outcome:
        """The outcome of the mail that entered."""
        return self.outcomes[0]


@dataclass(slots=True)
class _Trip:
    """One mail that entered, with all that is made of it, on its way."""

    root: bytes
    raw: RawMail
    history: History
    taken: Taken


@dataclass(slots=True, eq=False)
class Begun:
    """A mail that has passed the stages and is to be handed over; nothing of it has gone out.

    Attributes:
        trip: what it belongs to.
        story: what is to be told of it.
        digest: what the journal knows it by.
        mail: for those recipients that an earlier run has not settled.
    """

    trip: _Trip
    story: "_Story"
    digest: bytes
    mail: Mail


class Engine:
    """Takes mails through a line, one at a time; those behind the stages may be handed over side by side.

    Args:
        line: stages, sink and what is between them; open.
        journal: where beginnings and endings are noted; None for nowhere.
    """

    def __init__(self, line: Line, journal: Journal | None = None) -> None:
        self.line, self.journal = line, journal

    def take(self, raw: RawMail, digest: bytes = b"", history: History = NO_HISTORY) -> Taken:
        """Take one mail to its outcome.

        Args:
            raw: the mail.
            digest: what the journal knows it by; needed where there is a journal.
            history: what earlier runs did with it.

        Raises:
            OutputError: the journal cannot be written. What happened to the mail is not on record, and it will come
                again.
        """
        begun = self.begin(raw, digest, history)
        return begun if isinstance(begun, Taken) else self.finish(begun)

    def begin(self, raw: RawMail, digest: bytes = b"", history: History = NO_HISTORY) -> "Taken | Begun":
        """Take one mail through the stages, to its outcome or as far as the sink.

        Mails that a stage makes of it are taken to their outcomes here, one after the other.

        Raises:
            OutputError: the journal cannot be written.
        """
        trip = _Trip(digest, raw, history, Taken([]))
        own = self._enter(trip)
        return own if isinstance(own, Begun) else self._ended(trip, own)

    def finish(self, begun: Begun) -> Taken:
        """Hand over a mail that has passed the stages; where the sink can, in several threads at a time.

        Raises:
            OutputError: the journal cannot be written.
        """
        return self._ended(begun.trip, self._hand_over(begun))

    def put_off(self, begun: Begun) -> Taken | None:
        """Put a mail that would have to wait for long into the queue, due at once; None where that cannot be.

        Raises:
            OutputError: the journal cannot be written.
        """
        queue, mail, story = self.line.queue, begun.mail, begun.story
        if queue is None:
            return None
        if self.journal is not None:
            self.journal.begin(begun.digest, mail.origin, begun.trip.root)
        try:
            number = queue.put(bytes(mail.message), mail.envelope, origin=mail.origin.key)
        except Exception as error:  # noqa: BLE001 - it waits here then
            _log.warning("%s: it waits, for it could not be queued: %s", mail.origin, words_of(error))
            return None
        words = f"queued as {number}: other mail is under way to the same place"
        receipt = Receipt.of_all(mail.envelope.forward_paths, Fate.QUEUED, "4.4.5", words)
        if mail is not story.mail:
            receipt = joined(story.mail.envelope.forward_paths, receipt)
        return self._ended(begun.trip, story.delivered(replace(receipt, reference=number)))

    def _ended(self, trip: _Trip, own: Outcome) -> Taken:
        trip.taken.outcomes.insert(0, own)
        self._note(trip, trip.root, own)
        return trip.taken

    def _note(self, trip: _Trip, digest: bytes, outcome: Outcome) -> None:
        if self.journal is not None:
            self.journal.end(digest, outcome, trip.root)

    # -- the way ----------------------------------------------------------------------------------------------------

    def _enter(self, trip: _Trip) -> Outcome | Begun:
        raw, line = trip.raw, self.line
        if line.message_size is not None and len(raw.octets) > line.message_size:
            size = len(raw.octets)
            reason = f"the message has {size} octets, more than the limit message_size of {line.message_size}"
            return Outcome(raw.origin, Ending.REJECTED, _TOO_BIG, reason, size_in=size)
        try:
            message = parse(raw.octets, limits=line.limits)
            envelope = raw.envelope if raw.envelope is not None else line.rule.envelope_of(message, raw.from_line)
        except Exception as error:  # noqa: BLE001 - a fault of ours must not lose the mail
            reason = f"mailpipe failed to read the message: {words_of(error)}"
            return Outcome(raw.origin, Ending.DEFERRED, _SYSTEM, reason, size_in=len(raw.octets))
        mail = Mail(message, envelope, raw.origin)
        return self._follow(trip, mail, 0, trip.root, frozenset(), len(raw.octets))

    def _follow(
        self, trip: _Trip, mail: Mail, at: int, digest: bytes, counted: frozenset[int], size_in: int
    ) -> Outcome | Begun:
        """Take a mail from stage number `at` to the sink; `counted` are the ids of notes that belong to its parent."""
        story = _Story(mail, counted, size_in)
        for number in range(at, len(self.line.steps)):
            step = self.line.steps[number]
            stage = step.stage
            try:
                result = _process(step, story.mail)
            except StageError as error:
                return self._stage_failed(story, stage, error)
            if isinstance(result, Verdict):
                story.notes = result.notes
                if result.decision is Decision.ACCEPT:
                    break
                return self._decided(story, stage.name, result)
            if len(result) != 1:
                return self._split(trip, story, stage, result, number + 1)
            story.mail = result[0]
        return self._deliver(trip, story, digest)

    def _split(
        self, trip: _Trip, story: "_Story", stage: Stage[Any], mails: tuple[Mail, ...], at: int
    ) -> Outcome:
        if not mails:
            return story.end(Ending.DROPPED, _SUCCESS, "the stage made no mail of it", stage.name)
        counted = story.counted | {id(note) for note in story.mail.notes}
        children: list[Outcome] = []
        for number, mail in enumerate(mails, 1):
            child = replace(mail, origin=story.mail.origin.child(number))
            octets = bytes(child.message)
            digest = digest_of(child.origin, trip.root + octets)
            if digest in trip.history.children:
                trip.taken.skipped += 1
                continue
            followed = self._follow(trip, child, at, digest, counted, len(octets))
            outcome = self._hand_over(followed) if isinstance(followed, Begun) else followed
            children.append(outcome)
            trip.taken.outcomes.append(outcome)
            self._note(trip, digest, outcome)
        if deferred := sum(not child.ending.is_settled for child in children):
            # the source may not forget this one while something made of it is safe nowhere else
            reason = f"{deferred} of the {len(mails)} mails made of it are deferred"
            own = story.end(Ending.DEFERRED, _SYSTEM, reason, stage.name)
        else:
            own = story.end(Ending.SPLIT, _SUCCESS, f"{len(mails)} mails were made of it", stage.name)
        return replace(own, children=tuple(children))

    def _decided(self, story: "_Story", stage: str, verdict: Verdict) -> Outcome:
        if verdict.decision is Decision.QUARANTINE:
            return self._set_aside(story, stage, verdict.reason, verdict.status)
        ending = {
            Decision.DROP: Ending.DROPPED,
            Decision.REJECT: Ending.REJECTED,
            Decision.DEFER: Ending.DEFERRED,
        }[verdict.decision]
        return story.end(ending, verdict.status, verdict.reason, stage)

    def _stage_failed(self, story: "_Story", stage: Stage[Any], error: StageError) -> Outcome:
        if self.line.on_stage_error == "quarantine":
            return self._set_aside(story, stage.name, str(error), error.status)
        return story.end(Ending.DEFERRED, error.status, str(error), stage.name)

    def _set_aside(self, story: "_Story", stage: str, reason: str, status: EnhancedStatus) -> Outcome:
        mail = story.mail
        try:
            self.line.quarantine.keep(
                bytes(mail.message), mail.origin, mail.envelope,
                reason=reason, status=status, stage=stage, defects=story.defects,
            )  # fmt: skip
        except Exception as error:  # noqa: BLE001 - whatever it was, the mail is not safe in the quarantine
            words = f"it could not be quarantined ({words_of(error)}); {reason}"
            return story.end(Ending.DEFERRED, _SYSTEM, words, stage)
        return story.end(Ending.QUARANTINED, status, reason, stage)

    # -- the sink ---------------------------------------------------------------------------------------------------

    def _deliver(self, trip: _Trip, story: "_Story", digest: bytes) -> Outcome | Begun:
        mail, paths = story.mail, story.mail.envelope.forward_paths
        if self.line.sink.needs_recipients and not paths:
            return self._without_recipients(story)
        if earlier := trip.history.recipients.get(digest, frozenset()):
            left = tuple(path for path in paths if path.address not in earlier)
            if not left:
                receipt = Receipt.of_all((), Fate.DELIVERED, "2.0.0", "settled by an earlier run")
                return story.delivered(receipt)
            mail = mail if len(left) == len(paths) else mail.with_envelope(mail.envelope.with_forward_paths(*left))
        return Begun(trip, story, digest, mail)

    def _hand_over(self, begun: Begun) -> Outcome:
        mail, story = begun.mail, begun.story
        if self.journal is not None:
            self.journal.begin(begun.digest, mail.origin, begun.trip.root)
        receipt = self._queued(mail, hand_over(self.line.sink, mail, self.line.loops))
        if any(entry.fate is Fate.IN_DOUBT for entry in receipt.recipients):
            begun.trip.taken.in_doubt.append(mail.origin.key)
        if mail is not story.mail:
            receipt = joined(story.mail.envelope.forward_paths, receipt)
        return story.delivered(receipt)

    def _without_recipients(self, story: "_Story") -> Outcome:
        rule = self.line.rule
        reason = rule.missing if not story.mail.envelope.forward_paths else ""
        if rule.on_missing == "quarantine":
            return self._set_aside(story, "", reason, _NO_RECIPIENT)
        if rule.on_missing == "defer":
            return story.end(Ending.DEFERRED, EnhancedStatus(4, 1, 3), reason)
        return story.end(Ending.FAILED, _NO_RECIPIENT, reason)

    def _report(self, queue: "Queue", mail: Mail, receipt: Receipt) -> None:
        """Let the queue tell the sender of what was settled at the first attempt."""
        told = [each for each in receipt.recipients if each.fate in (Fate.FAILED, Fate.DELIVERED)]
        try:
            queue.report(
                bytes(mail.message),
                mail.envelope.with_forward_paths(*(each.recipient for each in told)),
                [result_of(each, self.line.sink) for each in told],
                origin=mail.origin.key,
            )
        except Exception as error:  # noqa: BLE001 - what the sink did is done, and is in the outcome
            _log.warning("%s: the sender could not be told: %s", mail.origin, words_of(error))

    def _queued(self, mail: Mail, receipt: Receipt) -> Receipt:
        """Put the recipients that were not served into the queue, where there is one."""
        waiting = tuple(entry for entry in receipt.recipients if entry.fate in _OPEN)
        queue = self.line.queue
        if queue is not None and self.line.reports:
            self._report(queue, mail, receipt)
        if queue is None or not waiting:
            return receipt
        paths = tuple(entry.recipient for entry in waiting if entry.recipient.address)
        try:
            number = queue.put(
                bytes(mail.message),
                mail.envelope.with_forward_paths(*paths),
                origin=mail.origin.key,
                reasons=[(entry.status, entry.diagnostic) for entry in waiting],
                in_doubt={entry.recipient.address for entry in waiting if entry.fate is Fate.IN_DOUBT},
            )
        except Exception as error:  # noqa: BLE001 - whatever it was, the mail is not safe in the queue
            words = f"and it could not be queued: {words_of(error)}"
            entries = (
                replace(each, diagnostic=f"{each.diagnostic}; {words}") if each.fate in _OPEN else each
                for each in receipt.recipients
            )
            return Receipt(tuple(entries), receipt.reference)
        entries = (
            replace(each, fate=Fate.QUEUED, diagnostic=f"queued as {number}: {each.diagnostic}")
            if each.fate in _OPEN else each
            for each in receipt.recipients
        )  # fmt: skip
        return Receipt(tuple(entries), receipt.reference or number)


class _Story:
    """A mail with what is to be told about it in its outcome."""

    __slots__ = ("counted", "mail", "notes", "size_in")

    def __init__(self, mail: Mail, counted: frozenset[int], size_in: int) -> None:
        self.mail, self.counted, self.size_in = mail, counted, size_in
        self.notes: tuple[object, ...] = ()

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
            len(bytes(self.mail.message)) if receipt is not None else 0,
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


def _process(step: Step, mail: Mail) -> Verdict | tuple[Mail, ...]:
    """Ask a stage.

    Raises:
        StageError: whatever it raised, or that its answer is none.
    """
    process = os.getpid()
    try:
        answer = step.call(mail)
        if isinstance(answer, Mail):
            # a mail is known by where it came from, whatever a stage makes of it
            return (answer if answer.origin is mail.origin else replace(answer, origin=mail.origin),)
        if isinstance(answer, Verdict):
            return answer
        return _several(answer, mail.origin)
    except (Exception, SystemExit) as error:
        raise StageError(step.stage.name, words_of(error), str(mail.origin)) from error
    finally:
        if os.getpid() != process:
            # The stage forked and its child comes back here: the mail is in the parent's hands, once is enough.
            os._exit(EX_SOFTWARE)


def _several(answer: object, origin: Origin) -> tuple[Mail, ...]:
    if not isinstance(answer, Iterable) or isinstance(answer, str | bytes):
        raise TypeError(f"process returned {kind_of(answer)}; it must return a Mail, a Verdict or several Mails")
    mails = tuple(islice(answer, SPLIT_LIMIT + 1))
    if len(mails) > SPLIT_LIMIT:
        raise ValueError(f"process made more than {SPLIT_LIMIT} mails of one")
    for each in mails:
        if not isinstance(each, Mail):
            raise TypeError(f"process emitted {kind_of(each)} among the mails")
    return (replace(mails[0], origin=origin),) if len(mails) == 1 else mails
