"""The steps of a line: stages as the engine meets them, with the rule, the routes and the mistakes that go with each.

    answer = asked(step, mail)          # a Verdict, or the mails that it made; StageError whatever else it does

Never here: what comes of an answer; see `run`.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from mailpipe.errors import EX_SOFTWARE, StageError
from mailpipe.pipeline.async_stage import caller_of
from mailpipe.pipeline.component import Sink, Stage
from mailpipe.pipeline.handing_over import kind_of, words_of
from mailpipe.pipeline.mail import Mail
from mailpipe.pipeline.signed_mail import Guard
from mailpipe.pipeline.verdict import Verdict

if TYPE_CHECKING:  # slow to import, and most pipelines have no rules
    from mailpipe.pipeline.rules import Rule

SPLIT_LIMIT = 10_000
"""LIMIT: mails that one stage may make of one; a stage that never ends would otherwise fill the memory."""


@dataclass(frozen=True, slots=True)
class OnError:
    """What becomes of a mail at which a stage fails.

    Attributes:
        then: "defer", "skip", "quarantine" or "reject", or "goto".
        goto: the route, for "goto".
        retry: how often it is asked again.
        wait: seconds before each time.
    """

    then: str = "defer"
    goto: str = ""
    retry: int = 0
    wait: float = 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a line.

    Attributes:
        label: what it is called.
        call: asks the stage; a plain function, however the stage is written. None for a step that only leads on.
        rule: which mails meet it; None for all.
        on_error: None for what the line says.
        goto: the route that a mail takes from here, "" for none.
        tee: the routes that take a copy.
        guard: what is done about signatures that the stage breaks; None for one that does not touch the message.
        expansion: how many times as large the stage may make the message, None for no bound.
    """

    label: str
    call: Callable[[Mail], object] | None = None
    rule: "Rule | None" = None
    on_error: OnError | None = None
    goto: str = ""
    tee: tuple[str, ...] = ()
    expansion: float | None = None
    guard: Guard | None = None

    @classmethod
    def of(cls, stage: Stage[Any]) -> "Step":
        """The step of a stage without conditions."""
        return cls(stage.name, caller_of(stage))


@dataclass(frozen=True, slots=True)
class Way:
    """A sequence of steps and where it ends.

    Attributes:
        name: of the route, "" for the pipeline itself.
        steps: in order.
        sink: where mail goes that has passed them.
        is_main: whether that is the pipeline's sink.
    """

    name: str
    steps: tuple[Step, ...]
    sink: Sink[Any]
    is_main: bool = True


@dataclass(slots=True)
class Ways:
    """The pipeline's own way and its routes.

    Attributes:
        main: where a mail begins.
        routes: by name.
        are_branched: whether mails may go different ways, so that it is worth telling which one took.
    """

    main: Way
    routes: Mapping[str, Way] = field(default_factory=dict)
    are_branched: bool = field(init=False)

    @property
    def sinks(self) -> "dict[str, Sink[Any]]":
        """The sinks of the routes that have one."""
        return {name: way.sink for name, way in self.routes.items() if not way.is_main}

    def __post_init__(self) -> None:
        steps = self.main.steps
        self.are_branched = bool(self.routes) or any(step.rule is not None for step in steps)


def asked(step: Step, mail: Mail) -> Verdict | tuple[Mail, ...]:
    """Ask a stage.

    Raises:
        StageError: whatever it raised, that its answer is none, or that it made too much of the mail.
    """
    assert step.call is not None
    process = os.getpid()
    try:
        answer = step.call(mail)
        if isinstance(answer, Mail):
            if step.expansion is not None and answer.message is not mail.message:
                _bound(step, len(mail.message), len(answer.message))
            if step.guard is not None and answer.message is not mail.message:
                guarded = step.guard(mail, answer)
                if isinstance(guarded, Verdict):
                    return guarded
                answer = guarded
            # a mail is known by where it came from, whatever a stage makes of it
            return (answer if answer.origin is mail.origin else replace(answer, origin=mail.origin),)
        if isinstance(answer, Verdict):
            return answer
        mails = several(answer)
        if len(mails) == 1:
            mails = (replace(mails[0], origin=mail.origin),)
        if step.expansion is not None:
            _bound(step, len(mail.message), sum(len(each.message) for each in mails))
        return mails
    except StageError:
        raise  # that of a process of its own, which knows what happened there
    except (Exception, SystemExit) as error:
        raise StageError(step.label, words_of(error), str(mail.origin)) from error
    finally:
        if os.getpid() != process:
            # The stage forked and its child comes back here: the mail is in the parent's hands, once is enough.
            os._exit(EX_SOFTWARE)


def _bound(step: Step, before: int, after: int) -> None:
    assert step.expansion is not None
    if after > before * step.expansion:
        most = f"{step.expansion:g} times as many"
        raise ValueError(f"it made {after:,} octets of {before:,}, more than {most} (its budget.expansion)")


def several(answer: object, whose: str = "process") -> tuple[Mail, ...]:
    """The mails of an answer that is neither one mail nor a verdict.

    Args:
        answer: of a stage.
        whose: who gave it, in the words of a complaint.

    Raises:
        TypeError: it is no answer.
        ValueError: there are more than `SPLIT_LIMIT`.
    """
    if not isinstance(answer, Iterable) or isinstance(answer, str | bytes):
        raise TypeError(f"{whose} returned {kind_of(answer)}; it must return a Mail, a Verdict or several Mails")
    mails = tuple(islice(answer, SPLIT_LIMIT + 1))
    if len(mails) > SPLIT_LIMIT:
        raise ValueError(f"{whose} made more than {SPLIT_LIMIT} mails of one")
    for each in mails:
        if not isinstance(each, Mail):
            raise TypeError(f"{whose} emitted {kind_of(each)} among the mails")
    return mails
