"""One stage, opened and asked as the engine would, and what it answered with questions that tests ask.

    result = run_stage(TagSubject, mail, word="list")
    result.mail.message.subject, result.changes.fields_changed
    result.assert_only_touched_what_it_declared()
    run_stage("block-attachments", mail).assert_verdict("reject", status="5.7.1")

    stage = run_stage.open(CountSenders, most=3)      # stays open until the test ends
    stage.run(first), stage.run(second)

What a stage raises comes out as it is: the engine would defer the mail, a test wants to see it.

Never here: several stages (`pipelines`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mailpipe.message import Message
from mailpipe.pipeline.access import Access
from mailpipe.pipeline.async_stage import caller_of, run_to_its_end
from mailpipe.pipeline.component import Options, Stage
from mailpipe.pipeline.function_stage import stage_of
from mailpipe.pipeline.mail import Mail
from mailpipe.pipeline.registry import check
from mailpipe.pipeline.services import Clock, Services
from mailpipe.pipeline.step import several
from mailpipe.pipeline.verdict import Decision, Verdict
from mailpipe.plugins import load_registry
from mailpipe.testing.changes import Changes, changes_between
from mailpipe.testing.clock import VirtualClock
from mailpipe.testing.messages import MailMaker, MessageBuilder

AnyStage = type[Stage[Any]] | Callable[..., Any] | str
"""A class, a function that `mailpipe.stage` decorates, or the name of a stage that is installed."""



def class_of(stage: AnyStage) -> type[Stage[Any]]:
    """The class of a stage, checked as at the door of a pipeline.

    Raises:
        UnknownComponent: there is no stage of that name.
        PluginError: it does not keep its contract.
    """
    if isinstance(stage, str):
        return load_registry().stage(stage)
    made = stage_of(stage)
    check("stage", made, "this test")
    assert isinstance(made, type)
    return made


@dataclass(frozen=True, slots=True)
class StageResult:
    """What a stage made of a mail.

    Attributes:
        stage: its name.
        given: the mail as it came.
        verdict: what it decided; None where it passed the mail on.
        mails: what it passed on, in order; () where it decided.
        reads: what it says that it reads.
        touches: what it says that it may touch.
        metrics: what it has counted since it was opened, without its own name.
    """

    stage: str
    given: Mail
    verdict: Verdict | None
    mails: tuple[Mail, ...]
    reads: Access
    touches: Access
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def mail(self) -> Mail:
        """The one mail that it passed on.

        Raises:
            AssertionError: it decided, or there are none or several.
        """
        assert self.verdict is None, f"{self.stage} passed no mail on: {_said(self.verdict)}"
        assert len(self.mails) == 1, f"{self.stage} made {len(self.mails)} mails of one; look at .mails"
        return self.mails[0]

    @property
    def changes(self) -> Changes:
        """What is different about the one mail; a verdict changes nothing and may leave notes."""
        if self.verdict is not None:
            return Changes(notes=self.verdict.notes)
        return changes_between(self.given, self.mail)

    @property
    def notes(self) -> tuple[object, ...]:
        """The notes that it left, those of its verdict or of each mail."""
        if self.verdict is not None:
            return self.verdict.notes
        return tuple(note for mail in self.mails for note in changes_between(self.given, mail).notes)

    def assert_unchanged(self) -> None:
        """The one mail went on as it came, octet for octet; notes may have been left."""
        changes = self.changes
        assert self.verdict is None and not changes, f"{self.stage} should have changed nothing: {changes}"

    def assert_verdict(self, decision: Decision | str, *, status: str | None = None, reason: str = "") -> Verdict:
        """It decided so; gives the verdict.

        Args:
            decision: "reject", "drop", "defer", "quarantine" or "accept".
            status: the enhanced status code, where it matters.
            reason: words that the reason holds.
        """
        wanted = Decision(decision)
        assert self.verdict is not None, f"{self.stage} passed the mail on and should have said {wanted.value}"
        said = _said(self.verdict)
        assert self.verdict.decision is wanted, f"{self.stage} said {said}, and should have said {wanted.value}"
        if status is not None:
            assert str(self.verdict.status) == status, f"{self.stage} said {said}, and the status should be {status}"
        assert reason in self.verdict.reason, f"{self.stage} said {said}, and the reason should hold {reason!r}"
        return self.verdict

    def assert_only_touched_what_it_declared(self) -> None:
        """Whatever is different about any of the mails is in what the stage says that it touches."""
        found = [changes_between(self.given, mail) for mail in self.mails]
        if self.verdict is not None:
            found.append(Changes(notes=self.verdict.notes))
        beyond = dict.fromkeys(words for changes in found for words in changes.beyond(self.touches))
        assert not beyond, (
            f"{self.stage} touched {', '.join(beyond)}, and declares that it touches {self.touches}; "
            "add it to `touches`, or leave it alone"
        )


class OpenStage:
    """A stage that has been opened.

    Attributes:
        stage: it.
        services: what it was given.
    """

    def __init__(self, stage: Stage[Any], services: Services, make_mail: MailMaker) -> None:
        self.stage, self.services, self._make_mail = stage, services, make_mail
        self._call = caller_of(stage)
        self._is_open = True

    def run(self, mail: Mail | Message | bytes | str | None = None) -> StageResult:
        """Ask it about one mail.

        Args:
            mail: a mail, or what `make_mail` makes one of.

        Raises:
            TypeError: its answer is none.
            Exception: whatever it raises itself.
        """
        given = mail if isinstance(mail, Mail) else self._make_mail(mail)
        verdict, mails = _answer(self.stage.name, self._call(given))
        reads, touches = type(self.stage).accesses(self.stage.options)
        prefix = f"{self.stage.name}."
        metrics = {name.removeprefix(prefix): value for name, value in self.services.metrics.values.items()}
        return StageResult(self.stage.name, given, verdict, mails, reads, touches, metrics)

    def close(self) -> None:
        """Close it, once."""
        if self._is_open:
            self._is_open = False
            closing: Callable[[], object] = self.stage.close
            run_to_its_end(closing())


class StageRunner:
    """Opens and asks stages; the fixture `run_stage` is one for each test.

    Attributes:
        secrets: name → value, for `services.secrets`; a test fills it before the stage is opened.
        clock: what stages take for the time.
        folder: what relative paths of options are taken from.
    """

    def __init__(self, folder: Path, clock: Clock | None = None, make_mail: MailMaker | None = None) -> None:
        self.folder, self.clock = folder, clock or VirtualClock()
        self.secrets: dict[str, str] = {}
        self._make_mail = make_mail or MailMaker(MessageBuilder())
        self._open: list[OpenStage] = []

    def __call__(
        self,
        stage: AnyStage,
        mail: Mail | Message | bytes | str | None = None,
        options: Options | Mapping[str, object] | None = None,
        /,
        **more: object,
    ) -> StageResult:
        """Open a stage, ask it about one mail, close it.

        Args:
            stage: see `AnyStage`.
            mail: a mail, or what `make_mail` makes one of; a letter where there is none.
            options: its options, checked as those of a pipeline file are.
            more: options by name.

        Raises:
            ValidationError: the options are none of this stage.
            MailpipeError: it cannot be opened.
            Exception: whatever it raises itself.
        """
        opened = self.open(stage, options, **more)
        try:
            return opened.run(mail)
        finally:
            opened.close()

    def open(
        self, stage: AnyStage, options: Options | Mapping[str, object] | None = None, /, **more: object
    ) -> OpenStage:
        """Open a stage for several mails; it is closed at the end of the test."""
        kind = class_of(stage)
        made = kind(self._options(kind, options, more))
        services = Services.for_tests(kind.name, self.clock, self.secrets)
        run_to_its_end(made.open(services))
        opened = OpenStage(made, services, self._make_mail)
        self._open.append(opened)
        return opened

    def _options(
        self, kind: type[Stage[Any]], options: Options | Mapping[str, object] | None, more: Mapping[str, object]
    ) -> Options:
        if isinstance(options, Options):
            return options.model_copy(update=dict(more)) if more else options
        return kind.Options.model_validate({**(options or {}), **more}, context={"base": self.folder})

    def close(self) -> None:
        """Close what is still open."""
        while self._open:
            self._open.pop().close()


def _answer(stage: str, answer: object) -> tuple[Verdict | None, tuple[Mail, ...]]:
    if isinstance(answer, Verdict):
        return answer, ()
    if isinstance(answer, Mail):
        return None, (answer,)
    return None, several(answer, stage)


def _said(verdict: Verdict) -> str:
    return f"{verdict.decision.value} ({verdict.status} {verdict.reason})"
