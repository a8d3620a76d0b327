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
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from mailpipe.errors import (
    StageError,
)
from mailpipe.limits import DEFAULT_LIMITS, Limits
from mailpipe.message import parse
from mailpipe.pipeline.component import Sink
from mailpipe.pipeline.envelope_rule import EnvelopeRule
from mailpipe.pipeline.handing_over import hand_over, joined, result_of, words_of
from mailpipe.pipeline.journal import NO_HISTORY, History, Journal, digest_of
from mailpipe.pipeline.loop import LoopRule
from mailpipe.pipeline.mail import Mail, RawMail, Skipped
from mailpipe.pipeline.outcome import Ending, Fate, Outcome, Receipt
from mailpipe.pipeline.quarantine import Quarantine
from mailpipe.pipeline.services import Clock, Current, Metrics, SystemClock
from mailpipe.pipeline.step import OnError, Step, Way, Ways, asked
from mailpipe.pipeline.story import Story
from mailpipe.pipeline.verdict import Decision, Verdict
from mailpipe.status import EnhancedStatus

if TYPE_CHECKING:  # slow to import; most pipelines that filter have none
    from mailpipe.queue import Queue

_log = logging.getLogger(__name__)
_SUCCESS, _SYSTEM = EnhancedStatus(2, 0, 0), EnhancedStatus(4, 3, 0)
_TOO_BIG, _NO_RECIPIENT = EnhancedStatus(5, 3, 4), EnhancedStatus(5, 1, 3)
_DEFER = OnError()
_OPEN = (Fate.DEFERRED, Fate.IN_DOUBT)


@dataclass(frozen=True, slots=True)
class Line:
    """What a mail goes through.

    Attributes:
        ways: the steps, in order, and the routes that lead off; each ends in a sink.
        rule: makes the envelope of a mail that has none.
        quarantine: where mail is set aside.
        queue: takes what the sink could not hand over; None for none.
        limits: of understanding.
        message_size: octets of a message at most, None for no limit.
        on_stage_error: what becomes of a mail at which a stage fails that does not say it itself.
        loops: when mail goes no further because it went round in circles; None where it cannot.
        reports: whether the queue tells senders what the sink settled at the first attempt.
        current: told which mail is at the stages.
        clock: what is waited by.
        metrics: what stages count.
        listeners: told each outcome, in the thread in which the mail ended.
    """

    ways: Ways
    rule: EnvelopeRule
    quarantine: Quarantine
    queue: "Queue | None" = None
    limits: Limits = DEFAULT_LIMITS
    message_size: int | None = None
    on_stage_error: OnError = _DEFER
    loops: LoopRule | None = None
    reports: bool = False
    current: Current = field(default_factory=Current)
    clock: Clock = field(default_factory=SystemClock)
    metrics: Metrics = field(default_factory=Metrics)
    listeners: tuple[Callable[[Outcome], None], ...] = ()

    @property
    def sink(self) -> Sink[Any]:
        """Where a mail goes that takes no route."""
        return self.ways.main.sink


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
        way: the one that it has passed.
    """

    trip: _Trip
    story: Story
    digest: bytes
    mail: Mail
    way: Way


class Engine:
    """Takes mails through a line, one at a time; those behind the stages may be handed over side by side.

    Args:
        line: stages, sink and what is between them; open.
        journal: where beginnings and endings are noted; None for nowhere.
    """

    def __init__(self, line: Line, journal: Journal | None = None) -> None:
        self.line, self.journal = line, journal
        self.watch: Callable[[Step, Mail], Verdict | tuple[Mail, ...]] | None = None
        """Asks each stage in the engine's place, for those who want to see it done (`mailpipe try`)."""

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
        for listener in self.line.listeners:
            try:
                listener(outcome)
            except Exception as error:  # noqa: BLE001 - the outcome stands, whoever cannot hear it
                _log.warning("%s: a stage could not be told how it ended: %s", outcome.origin, words_of(error))

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
        trail: list[str] | None = [] if line.ways.are_branched else None
        story = Story(Mail(message, envelope, raw.origin), frozenset(), len(raw.octets), trail)
        return self._follow(trip, story, line.ways.main, 0, trip.root)

    def _follow(
        self, trip: _Trip, story: Story, way: Way, at: int, digest: bytes, *, is_meant: bool = False
    ) -> Outcome | Begun:
        """Take a mail from step number `at` of a way to a sink; `is_meant`: it is known to meet the first one."""
        self.line.current.origin = story.mail.origin
        while at < len(way.steps):
            step, at = way.steps[at], at + 1
            if step.rule is not None and not is_meant:
                try:
                    meant, others = step.rule.halves(story.mail)
                except Exception as error:  # noqa: BLE001 - a fault of ours must not lose the mail
                    trouble = StageError(step.label, f"its condition failed: {words_of(error)}", str(story.mail.origin))
                    return self._stage_failed(story, step, trouble, self.line.on_stage_error)
                if meant is None:
                    story.tell(step.label, "not meant")
                    continue
                if others is not None:
                    return self._split(trip, story, step, ((meant, at - 1), (others, at)), way, by_recipient=True)
            is_meant = False
            try:
                for name in step.tee:
                    self._copy(trip, story, step, name)
                if step.goto:
                    story.tell(step.label, f"took the route {step.goto}")
                    way, at = self.line.ways.routes[step.goto], 0
                    continue
                if step.call is None:
                    continue
                result = self._asked(step, story.mail)
            except StageError as error:
                on_error = step.on_error or self.line.on_stage_error
                if on_error.then == "skip":
                    story.tell(step.label, f"failed and was skipped: {error}")
                    story.mail = story.mail.with_note(Skipped(step.label, str(error)))
                elif on_error.then == "goto":
                    story.tell(step.label, f"failed, took the route {on_error.goto}: {error}")
                    way, at = self.line.ways.routes[on_error.goto], 0
                else:
                    return self._stage_failed(story, step, error, on_error)
                continue
            if isinstance(result, Verdict):
                story.notes = result.notes
                story.tell(step.label, result.decision.value)
                if result.decision is Decision.ACCEPT:
                    break
                return self._decided(story, step.label, result)
            if len(result) != 1:
                return self._split(trip, story, step, tuple((each, at) for each in result), way)
            if story.trail is not None:
                story.tell(step.label, "passed" if result[0].message is story.mail.message else "changed")
            story.mail = result[0]
        return self._deliver(trip, story, digest, way)

    def _asked(self, step: Step, mail: Mail) -> Verdict | tuple[Mail, ...]:
        """Ask a stage, as often as its `on_error` says.

        Raises:
            StageError: it failed each time.
        """
        if self.watch is not None:
            return self.watch(step, mail)
        on_error = step.on_error
        if on_error is None or not on_error.retry:
            return asked(step, mail)
        for _ in range(on_error.retry):
            try:
                return asked(step, mail)
            except StageError as error:
                _log.warning("%s; asked again in %g s", error, on_error.wait)
                self.line.clock.sleep(on_error.wait)
        return asked(step, mail)

    def _copy(self, trip: _Trip, story: Story, step: Step, name: str) -> None:
        """Take a copy of a mail along a route.

        Raises:
            StageError: it is to be tried again; what it is a copy of must not go on.
        """
        origin = story.mail.origin
        child = replace(story.mail, origin=origin.copy(name))
        outcome = self._take_child(trip, story, child, self.line.ways.routes[name], 0, [])
        if outcome is None:
            return
        self.line.current.origin = origin
        story.tell(step.label, f"a copy took the route {name}: {outcome.ending.value}")
        if not outcome.ending.is_settled:
            raise StageError(step.label, f"its copy on the route {name} is deferred: {outcome.reason}", str(origin))

    def _take_child(
        self, trip: _Trip, story: Story, child: Mail, way: Way, at: int, trail: list[str], *, is_meant: bool = False
    ) -> Outcome | None:
        """Take a mail that was made of another to its outcome, and note that; None where an earlier run had.

        Args:
            trip: of both.
            story: of the one that it was made of.
            child: the mail.
            way, at, is_meant: see `_follow`.
            trail: what is told of it so far.
        """
        octets = bytes(child.message)
        digest = digest_of(child.origin, trip.root + octets)
        if digest in trip.history.children:
            trip.taken.skipped += 1
            return None
        counted = story.counted | {id(note) for note in story.mail.notes}
        inner = Story(child, counted, len(octets), None if story.trail is None else trail)
        followed = self._follow(trip, inner, way, at, digest, is_meant=is_meant)
        outcome = self._hand_over(followed) if isinstance(followed, Begun) else followed
        trip.taken.outcomes.append(outcome)
        self._note(trip, digest, outcome)
        return outcome

    def _split(
        self,
        trip: _Trip,
        story: Story,
        step: Step,
        mails: "tuple[tuple[Mail, int], ...]",
        way: Way,
        *,
        by_recipient: bool = False,
    ) -> Outcome:
        """Take several mails, each from its own step on, to their outcomes; by recipient the first is meant by it."""
        if not mails:
            return story.end(Ending.DROPPED, _SUCCESS, "the stage made no mail of it", step.label)
        children: list[Outcome] = []
        for number, (mail, at) in enumerate(mails, 1):
            child, is_meant = replace(mail, origin=story.mail.origin.child(number)), by_recipient and number == 1
            trail = list(story.trail or ())
            if (outcome := self._take_child(trip, story, child, way, at, trail, is_meant=is_meant)) is not None:
                children.append(outcome)
        whom = "for different recipients" if by_recipient else "made of it"
        if deferred := sum(not child.ending.is_settled for child in children):
            # the source may not forget this one while something made of it is safe nowhere else
            reason = f"{deferred} of the {len(mails)} mails {whom} are deferred"
            own = story.end(Ending.DEFERRED, _SYSTEM, reason, step.label)
        else:
            words = f"{len(mails)} mails {'go their own ways ' if by_recipient else 'were '}{whom}"
            own = story.end(Ending.SPLIT, _SUCCESS, words, step.label)
        return replace(own, children=tuple(children))

    def _decided(self, story: Story, stage: str, verdict: Verdict) -> Outcome:
        if verdict.decision is Decision.QUARANTINE:
            return self._set_aside(story, stage, verdict.reason, verdict.status)
        ending = {
            Decision.DROP: Ending.DROPPED,
            Decision.REJECT: Ending.REJECTED,
            Decision.DEFER: Ending.DEFERRED,
        }[verdict.decision]
        return story.end(ending, verdict.status, verdict.reason, stage)

    def _stage_failed(self, story: Story, step: Step, error: StageError, on_error: OnError) -> Outcome:
        story.tell(step.label, f"failed: {error}")
        if on_error.then == "quarantine":
            return self._set_aside(story, step.label, str(error), error.status)
        if on_error.then == "reject":
            return story.end(Ending.REJECTED, EnhancedStatus(5, 3, 0), str(error), step.label)
        return story.end(Ending.DEFERRED, error.status, str(error), step.label)

    def _set_aside(self, story: Story, stage: str, reason: str, status: EnhancedStatus) -> Outcome:
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

    def _deliver(self, trip: _Trip, story: Story, digest: bytes, way: Way) -> Outcome | Begun:
        self.line.current.origin = None
        mail, paths = story.mail, story.mail.envelope.forward_paths
        if way.sink.needs_recipients and not paths:
            return self._without_recipients(story)
        if earlier := trip.history.recipients.get(digest, frozenset()):
            left = tuple(path for path in paths if path.address not in earlier)
            if not left:
                receipt = Receipt.of_all((), Fate.DELIVERED, "2.0.0", "settled by an earlier run")
                return story.delivered(receipt)
            mail = mail if len(left) == len(paths) else mail.with_envelope(mail.envelope.with_forward_paths(*left))
        begun = Begun(trip, story, digest, mail, way)
        # the flight knows the lanes of the pipeline's own sink only
        return begun if way.is_main else self._hand_over(begun)

    def _hand_over(self, begun: Begun) -> Outcome:
        mail, story = begun.mail, begun.story
        if self.journal is not None:
            self.journal.begin(begun.digest, mail.origin, begun.trip.root)
        receipt = hand_over(begun.way.sink, mail, self.line.loops if begun.way.is_main else None)
        receipt = self._queued(mail, receipt, begun.way)
        if any(entry.fate is Fate.IN_DOUBT for entry in receipt.recipients):
            begun.trip.taken.in_doubt.append(mail.origin.key)
        if mail is not story.mail:
            receipt = joined(story.mail.envelope.forward_paths, receipt)
        return story.delivered(receipt)

    def _without_recipients(self, story: Story) -> Outcome:
        rule = self.line.rule
        reason = rule.missing if not story.mail.envelope.forward_paths else ""
        if rule.on_missing == "quarantine":
            return self._set_aside(story, "", reason, _NO_RECIPIENT)
        if rule.on_missing == "defer":
            return story.end(Ending.DEFERRED, EnhancedStatus(4, 1, 3), reason)
        return story.end(Ending.FAILED, _NO_RECIPIENT, reason)

    def _report(self, queue: "Queue", mail: Mail, receipt: Receipt, sink: Sink[Any]) -> None:
        """Let the queue tell the sender of what was settled at the first attempt."""
        told = [each for each in receipt.recipients if each.fate in (Fate.FAILED, Fate.DELIVERED)]
        try:
            queue.report(
                bytes(mail.message),
                mail.envelope.with_forward_paths(*(each.recipient for each in told)),
                [result_of(each, sink) for each in told],
                origin=mail.origin.key,
            )
        except Exception as error:  # noqa: BLE001 - what the sink did is done, and is in the outcome
            _log.warning("%s: the sender could not be told: %s", mail.origin, words_of(error))

    def _queued(self, mail: Mail, receipt: Receipt, way: Way) -> Receipt:
        """Put the recipients that were not served into the queue, where there is one."""
        waiting = tuple(entry for entry in receipt.recipients if entry.fate in _OPEN)
        queue = self.line.queue
        if queue is not None and self.line.reports:
            self._report(queue, mail, receipt, way.sink)
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
                route="" if way.is_main else way.name,
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
