"""A pipeline that is played without an audience: every stage is asked, and nothing leaves.

    with Rehearsal(settings, registry) as rehearsal:
        played = rehearsal.take(raw)
        for seen in played.seen: print(seen.step.label, seen.words)
        played.outcomes, played.handed

In place of the sinks stand ones that take everything and note it, nothing is queued, journalled or set aside, no source
is told, and stages that have effects beyond the mail (`Stage.acts`) are left out unless they are asked for.

Never here: what is different between two mails (`differences`), and how it is shown.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from mailpipe.errors import SettingsError, StageError
from mailpipe.message import parse
from mailpipe.pipeline.access import EVERYTHING, Access
from mailpipe.pipeline.component import Options, Sink
from mailpipe.pipeline.differences import Differences, differences, exceeded
from mailpipe.pipeline.line import PRETENCE, open_line
from mailpipe.pipeline.mail import Mail, Origin, RawMail
from mailpipe.pipeline.outcome import Ending, Fate, Outcome, Receipt
from mailpipe.pipeline.quarantine import Quarantine
from mailpipe.pipeline.registry import Registry, nearest
from mailpipe.pipeline.run import Engine, Line
from mailpipe.pipeline.services import Clock
from mailpipe.pipeline.settings import Settings, Use
from mailpipe.pipeline.step import Step, Way, Ways, asked
from mailpipe.pipeline.tables import StepSettings
from mailpipe.pipeline.verdict import Verdict
from mailpipe.smtp.envelope import Envelope
from mailpipe.status import EnhancedStatus


@dataclass(frozen=True, slots=True)
class StepFacts:
    """One step, as the pipeline file has it.

    Attributes:
        way: the route's name, "" for the pipeline itself.
        number: from 1, as the file counts.
        label: what it is called.
        use: the stage's name, "" for one that only leads on.
        touches: what the stage says that it may change.
        is_left_out: whether it acts beyond the mail and was not asked for.
        goto, tee: the routes that it leads into.
        condition: its `when`, None where every mail meets it.
        retry: how often it is asked again.
    """

    way: str
    number: int
    label: str
    use: str
    touches: Access = EVERYTHING
    is_left_out: bool = False
    goto: str = ""
    tee: tuple[str, ...] = ()
    condition: Any = None
    retry: int = 0


@dataclass(slots=True)
class Seen:
    """What was seen at one step.

    Attributes:
        step: which.
        mail: as it came.
        is_meant: whether its condition holds.
        why_not: the part of the condition that does not.
        apart: where recipients part ways here: those that are meant, and the others; both go on as mails of their own.
        answer: of the stage: a verdict, or the mails that it made; None where it was not asked, or failed.
        error: how it failed, "" where it did not.
        seconds: how long it took.
        times: how often it was asked.
    """

    step: StepFacts
    mail: Mail
    is_meant: bool = True
    why_not: str = ""
    apart: tuple[tuple[str, ...], tuple[str, ...]] | None = None
    answer: Verdict | tuple[Mail, ...] | None = None
    error: str = ""
    seconds: float = 0.0
    times: int = 0
    _changes: Differences | None = field(default=None, repr=False)

    @property
    def mails(self) -> tuple[Mail, ...]:
        """The mails that came out."""
        return self.answer if isinstance(self.answer, tuple) else ()

    @property
    def verdict(self) -> Verdict | None:
        """The verdict, None where there is none."""
        return self.answer if isinstance(self.answer, Verdict) else None

    @property
    def word(self) -> str:
        """What happened, in a word."""
        if self.apart is not None:
            return "recipients part"
        if not self.is_meant:
            return "not met"
        if self.step.is_left_out:
            return "not asked"
        if self.error:
            return "failed"
        if self.verdict is not None:
            return self.verdict.decision.value
        if self.times and len(self.mails) != 1:
            return "split"
        if self.step.goto:
            return "goto"
        if self.step.tee:
            return "tee"
        return "changed" if self.times and self.changes.is_about_the_mail else "passed"

    @property
    def changes(self) -> Differences:
        """What is different behind it, where one mail came out; of a verdict, its notes."""
        if len(self.mails) != 1:
            return Differences(notes=self.verdict.notes if self.verdict is not None else ())
        if self._changes is None:  # asked for more than once, and linear in the message
            self._changes = differences(self.mail, self.mails[0])
        return self._changes

    @property
    def exceeded(self) -> tuple[str, ...]:
        """What it changed and does not say that it touches."""
        return exceeded(self.step.touches, self.changes) if self.times else ()


@dataclass(frozen=True, slots=True)
class Handed:
    """A mail that a sink would have been given.

    Attributes:
        mail: as it would be.
        way: the route whose sink it is, "" for the pipeline's.
        sink: its name, "" where the file has none.
    """

    mail: Mail
    way: str
    sink: str


@dataclass(slots=True)
class Played:
    """What would become of one mail.

    Attributes:
        raw: the mail.
        envelope: the one that it enters with; None where none can be made.
        seen: the steps that it met, and those that the mails made of it met.
        outcomes: its own first.
        handed: what the sinks would be given.
        set_aside: what the quarantine would be given, by the key of its origin.
    """

    raw: RawMail
    envelope: Envelope | None = None
    seen: list[Seen] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    handed: list[Handed] = field(default_factory=list)
    set_aside: dict[str, bytes] = field(default_factory=dict)

    @property
    def own(self) -> Outcome:
        """The outcome of the mail that entered."""
        return self.outcomes[0]

    @property
    def leaves(self) -> list[Outcome]:
        """The outcomes of all that was not split again."""
        return [each for each in self.outcomes if each.ending is not Ending.SPLIT and not each.children]

    def branch(self, origin: Origin) -> str:
        """What tells a mail that was made of this one: "1", "2/1", "copies"; "" for itself."""
        root = self.raw.origin.ident or str(self.raw.origin.offset)
        return (origin.ident or str(origin.offset))[len(root) + 1 :] if origin.ident != self.raw.origin.ident else ""

    def handed_of(self, outcome: Outcome) -> Handed | None:
        """What a sink would be given of the mail with that outcome."""
        return next((each for each in self.handed if each.mail.origin == outcome.origin), None)

    def envelope_of(self, outcome: Outcome) -> Envelope | None:
        """The last that is known of the envelope of the mail with that outcome."""
        if (handed := self.handed_of(outcome)) is not None:
            return handed.mail.envelope
        for seen in reversed(self.seen):
            if seen.mail.origin == outcome.origin:
                return seen.mail.envelope
        return self.envelope


class _Noting(Sink[Options]):
    """Takes every mail and notes it, in the place of a sink."""

    name = PRETENCE
    place: tuple[str, str] = ("", "")
    played: Played | None = None

    def deliver(self, mail: Mail) -> Receipt:
        """Delivered, every time."""
        if self.played is not None:
            self.played.handed.append(Handed(mail, *self.place))
        return Receipt.of_all(mail.envelope.forward_paths, Fate.DELIVERED, "2.0.0", "would be handed over")


class _NotingQuarantine(Quarantine):
    """Keeps nothing and notes it."""

    played: Played | None = None

    def keep(
        self, octets: bytes, origin: Origin, envelope: Envelope | None, *,
        reason: str, status: EnhancedStatus, stage: str = "", defects: object = None,
    ) -> Path:  # fmt: skip
        """Nothing is written."""
        if self.played is not None:
            self.played.set_aside[origin.key] = octets
        return self.directory


class _Watched:
    """The rule of a step, asked in its place; one that has none is met by every mail."""

    is_per_recipient = False

    def __init__(self, step: StepFacts, rule: Any, rehearsal: "Rehearsal") -> None:
        self.step, self._rule, self._rehearsal = step, rule, rehearsal

    def halves(self, mail: Mail) -> tuple[Mail | None, Mail | None]:
        """The same as the rule says."""
        meant, others = (mail, None) if self._rule is None else self._rule.halves(mail)
        seen = Seen(self.step, mail, is_meant=meant is not None)
        if meant is None:
            seen.why_not = self._rehearsal.why_not(self.step, mail)
        elif others is not None:
            seen.apart = (meant.envelope.addresses, others.envelope.addresses)
        self._rehearsal.note(seen)
        return meant, others


class Rehearsal:
    """A pipeline that is open for looking.

    Args:
        settings: of the pipeline; a sink is not needed.
        registry: the one that they were checked with.
        really: ask stages too that act beyond the mail.
        only: the one step to take, by number, label or key ("stage.2", "route.spam.stage.1"); "" for all.
        clock: what stages and rules are given; the machine's by default.

    Attributes:
        settings: as they are played.
        left_out: labels of the stages that are left out because they act beyond the mail.
        remembers: whether a stage remembers mails, so that one that is played again meets another pipeline.

    Raises:
        SettingsError: there is no such step, or several.
        MailpipeError: a stage cannot be opened.
    """

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        *,
        really: bool = False,
        only: str = "",
        clock: Clock | None = None,
    ) -> None:
        self.left_out: list[str] = []
        self._played: Played | None = None
        if only:
            settings = with_one_step(settings, only)
        facts = {use.key: _facts(use, registry, really=really) for use in _every(settings)}
        self.left_out = [each.label for each in facts.values() if each.is_left_out]
        self.settings = settings
        self.remembers = any(_remembers(use, registry) for use in _every(settings) if not facts[use.key].is_left_out)
        sink = _noting("", settings.sink, registry)
        line, self._close = open_line(_without(settings, facts), registry, sink, clock)
        self.line = line = self._watched(line, facts, registry)
        self._engine = Engine(line)
        self._engine.watch = self._ask

    def __enter__(self) -> "Rehearsal":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the stages."""
        close, self._close = self._close, list
        close()

    def take(self, raw: RawMail) -> Played:
        """Play one mail to its end."""
        played = self._played = Played(raw)
        for way in (self.line.ways.main, *self.line.ways.routes.values()):
            cast("_Noting", way.sink).played = played
        cast("_NotingQuarantine", self.line.quarantine).played = played
        played.outcomes = _own_first(self._engine.take(raw).outcomes, raw.origin)
        if played.seen:
            played.envelope = played.seen[0].mail.envelope
        elif played.handed:
            played.envelope = played.handed[0].mail.envelope
        else:  # it was refused before
            with suppress(Exception):  # trouble with reading it is in its outcome
                message = parse(raw.octets, limits=self.line.limits)
                played.envelope = raw.envelope or self.line.rule.envelope_of(message, raw.from_line)
        return played

    def note(self, seen: Seen) -> None:
        """Note what was seen."""
        assert self._played is not None
        self._played.seen.append(seen)

    def why_not(self, step: StepFacts, mail: Mail) -> str:
        """The part of the condition of a step that did not hold for a mail."""
        from mailpipe.pipeline.rules.why import why_not  # slow to import, and most pipelines have no rules

        paths = mail.envelope.forward_paths
        recipient = paths[0].address if paths and step.condition.is_per_recipient else None
        return why_not(step.condition, mail, recipient, self.line.clock)

    # -- in the engine's place

    def _ask(self, step: Step, mail: Mail) -> Verdict | tuple[Mail, ...]:
        assert self._played is not None
        facts = cast("_Watched", step.rule).step
        last = self._played.seen[-1] if self._played.seen else None
        if last is None or last.step is not facts or last.mail is not mail:
            last = Seen(facts, mail)  # half of a mail, of which its condition is known to hold
            self.note(last)
        clock = self.line.clock
        begun = clock.monotonic()
        try:
            while True:  # as often as the engine, without its waiting
                last.times += 1
                try:
                    last.answer, last.error = asked(step, mail), ""
                    return last.answer
                except StageError as error:
                    last.error = str(error)
                    if last.times > facts.retry:
                        raise
        finally:
            last.seconds = clock.monotonic() - begun

    def _watched(self, line: Line, facts: dict[str, StepFacts], registry: Registry) -> Line:
        settings, queue = self.settings, self.settings.queue
        main = self._way(line.ways.main, settings.stages, facts, line.ways.main.sink)
        routes = {}
        for name, way in line.ways.routes.items():
            route = settings.routes[name]
            sink = main.sink if route.sink is None else _noting(name, route.sink, registry)
            routes[name] = self._way(way, route.stages, facts, sink)
        loops = None
        if queue is not None:
            from mailpipe.pipeline.redeliver import loop_rule  # SQLite is slow to import

            loops = loop_rule(queue, main.sink)
        aside = _NotingQuarantine(line.quarantine.directory)
        return replace(line, ways=Ways(main, routes), quarantine=aside, loops=loops)

    def _way(self, way: Way, uses: tuple[Use, ...], facts: dict[str, StepFacts], sink: Sink[Any]) -> Way:
        steps = tuple(
            replace(step, rule=cast("Any", _Watched(facts[use.key], step.rule, self)))
            for step, use in zip(way.steps, uses, strict=True)
        )
        return replace(way, steps=steps, sink=sink)


def _noting(way: str, use: Use | None, registry: Registry) -> _Noting:
    sink = _Noting(Options())
    sink.place = (way, use.use if use is not None else "")
    if use is not None:
        sink.needs_recipients = registry.sink(use.use).needs_recipients  # type: ignore[misc]
    return sink


def _own_first(outcomes: list[Outcome], origin: Origin) -> list[Outcome]:
    return sorted(outcomes, key=lambda each: each.origin != origin)


# -- the steps of a file


def _every(settings: Settings) -> Iterator[Use]:
    yield from settings.stages
    for route in settings.routes.values():
        yield from route.stages


def _remembers(use: Use, registry: Registry) -> bool:
    return bool(use.use) and (use.options.keeps_state or not registry.stage(use.use).may_be_parallel(use.options))


def _facts(use: Use, registry: Registry, *, really: bool) -> StepFacts:
    *_, number = use.key.split(".")
    way = use.key.split(".")[1] if use.key.startswith("route.") else ""
    policy = use.step.on_error
    touches, is_left_out = EVERYTHING, False
    if use.use:
        component = registry.stage(use.use)
        touches, is_left_out = component.accesses(use.options)[1], component.acts and not really
    return StepFacts(
        way, int(number), use.label, use.use, touches, is_left_out, use.step.goto or "", use.step.tee, use.condition,
        policy.retry if policy is not None else 0,
    )  # fmt: skip


def _without(settings: Settings, facts: dict[str, StepFacts]) -> Settings:
    """The same, with steps that only lead on in the place of those that are left out: they are not even opened."""

    def passing(uses: tuple[Use, ...]) -> tuple[Use, ...]:
        return tuple(_passing(use) if facts[use.key].is_left_out else use for use in uses)

    routes = {
        name: route.model_copy(update={"stages": passing(route.stages)}) for name, route in settings.routes.items()
    }
    return settings.model_copy(update={"stages": passing(settings.stages), "routes": routes})


def _passing(use: Use) -> Use:
    step = StepSettings(label=use.label)
    return use.model_copy(update={"use": "", "options": Options(), "step": step})


def with_one_step(settings: Settings, wanted: str) -> Settings:
    """The same with one step alone.

    Args:
        settings: of the pipeline.
        wanted: its number, label, stage or key.

    Raises:
        SettingsError: there is no such step, or several.
    """
    every = list(_every(settings))
    tests: tuple[Callable[[Use], bool], ...] = (
        lambda use: wanted in (use.key, use.key.removeprefix("stage.")),
        lambda use: use.step.label == wanted,
        lambda use: use.use == wanted,
    )
    for test in tests:
        found = [use for use in every if test(use)]
        if len(found) > 1:
            keys = ", ".join(use.key for use in found)
            words = f"there are several steps {wanted!r}"
            raise SettingsError(words, file=str(settings.file), expected=f"one of {keys}")
        if found:
            # it keeps its key, by which it is known; its routes stay, for it may lead into them
            return settings.model_copy(update={"stages": (found[0],)})
    known = tuple(dict.fromkeys(use.label for use in every))
    near = nearest(wanted, known)
    expected = "" if near else f"a number from 1 to {len(settings.stages)}, or one of {', '.join(known)}"
    raise SettingsError(f"there is no step {wanted!r}", file=str(settings.file), nearest=near, expected=expected)
