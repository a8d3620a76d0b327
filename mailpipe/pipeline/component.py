"""The three contracts: a `Source` yields mail, a `Stage` looks at it or changes it, a `Sink` hands it over.

    class Shout(Stage):
        '''Puts the subject in capitals.'''

        name = "shout"

        class Options(mailpipe.Options):
            '''None.'''

        def process(self, mail: Mail) -> Mail:
            header = mail.message.header
            subject = (mail.message.subject or "").upper()
            return mail.with_message(mail.message.with_header(header.with_field("Subject", subject)))

    def register(registry):
        registry.add_stage(Shout)

Life: constructed with its options, opened once in each worker, used many times, closed once. A component gets its
options and a mail and nothing else: no engine, no registry, no settings; a stage also its few `Services`.

Never here: implementations, and the registry that finds them.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationInfo

from mailpipe.pipeline.access import EVERYTHING, Access, Budget
from mailpipe.pipeline.mail import Mail, RawMail
from mailpipe.pipeline.outcome import Outcome, Receipt
from mailpipe.pipeline.services import Services
from mailpipe.pipeline.verdict import Decision, Verdict
from mailpipe.smtp.envelope import Envelope


def _resolve(path: Path, info: ValidationInfo) -> Path:
    """A relative path in a pipeline file means: beside that file."""
    base = (info.context or {}).get("base")
    path = path.expanduser()
    return path if base is None or path.is_absolute() else Path(base) / path


LocalPath = Annotated[Path, AfterValidator(_resolve)]
"""A path; in a pipeline file a relative one is taken from the folder of that file."""


class Options(BaseModel):
    """The base of every component's options: frozen, unknown keys refused, defaults checked.

    Each field needs a description; it is the documentation that `mailpipe plugins` shows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, use_attribute_docstrings=True)

    @property
    def keeps_state(self) -> bool:
        """Whether the component remembers something beyond its life, in an option `state_directory` of its own.

        Where that names nothing, the pipeline gives it the folder "state" in the directory of the queue.
        """
        return False


O = TypeVar("O", bound=Options)  # noqa: E741 - the options of one component


class Component(ABC, Generic[O]):
    """What sources, stages and sinks have in common.

    Attributes:
        name: kebab-case; what `use = "…"` says in a pipeline file.
        Options: the options model, nested or assigned.
        options: this instance's options.
    """

    name: ClassVar[str]
    Options: ClassVar[type[Options]] = Options

    def __init__(self, options: O) -> None:
        self.options = options

    def close(self) -> None:
        """Release it; called once after the last mail, also when a run fails."""


class _End(Component[O]):
    """What sources and sinks have in common."""

    def open(self) -> None:
        """Acquire what is needed; called once in each worker before the first mail.

        Raises:
            MailpipeError: it cannot be had; the run ends before any mail flows.
        """


class Source(_End[O]):
    """Where mail comes from."""

    @abstractmethod
    def __iter__(self) -> Iterator[RawMail]:
        """The mails, one after the other.

        Raises:
            InputError: the archive cannot be opened or read.
        """

    def settle(self, outcome: Outcome) -> None:
        """Told once the outcome is on record; only now may the source forget the mail.

        Not called for an outcome whose ending is not settled (`Ending.is_settled`).
        """


Answer = Mail | Verdict | Iterable[Mail]
"""What a stage may answer."""


class Stage(Component[O]):
    """What happens to a mail on its way.

    Attributes:
        reads: what it looks at.
        touches: what it may change, notes that it leaves included.
        is_parallel: whether several workers may each have one of it at the same time; one that counts across mails in
            its own memory may not.
        budget: what a mail may cost at it, where the pipeline file says nothing else.
        decides: the decisions that its verdicts may have, where that is known.
        always_decides: whether no mail goes on behind it.
        signs: whether it signs the message, so that what comes later may break it.
        acts: whether it has effects beyond the mail: files, counters, calls of other programs or servers that change
            something there. `mailpipe try` and `mailpipe diff` leave such a stage out unless they are told otherwise.
    """

    reads: ClassVar[Access] = EVERYTHING
    touches: ClassVar[Access] = EVERYTHING
    is_parallel: ClassVar[bool] = True
    budget: ClassVar[Budget] = Budget()
    decides: ClassVar[tuple[Decision, ...] | None] = None
    always_decides: ClassVar[bool] = False
    signs: ClassVar[bool] = False
    acts: ClassVar[bool] = False

    @classmethod
    def accesses(cls, options: O) -> tuple[Access, Access]:
        """What one with these options reads and touches; where they matter, a stage says so here."""
        return cls.reads, cls.touches

    @classmethod
    def decisions(cls, options: O) -> tuple[Decision, ...] | None:
        """The decisions that one with these options may take; None where that is not known."""
        return cls.decides

    @classmethod
    def may_be_parallel(cls, options: O) -> bool:
        """Whether several workers may each have one with these options; where they matter, a stage says so here."""
        return cls.is_parallel

    def open(self, services: Services) -> Awaitable[None] | None:
        """Acquire what is needed; called once in each worker before the first mail. May be async.

        Raises:
            MailpipeError: it cannot be had; the run ends before any mail flows.
        """
        return None

    @abstractmethod
    def process(self, mail: Mail) -> Answer | Awaitable[Answer] | AsyncIterator[Mail]:
        """Pass the mail on, changed or not, decide about it, or make several of it. May be async.

        An exception never loses the mail: the engine turns it into the outcome that the stage's `on_error` names,
        *deferred* by default.
        """

    def ended(self, outcome: Outcome) -> None:
        """Told how each mail ended, whether it came by here or not, once that is on record; in any thread.

        For one that remembers across mails: what it saw is not yet what became of it. A crash, or a process of its own
        that the stage lives in, may keep the word from it, and a mail without one may come again. In a rehearsal
        (`Services.is_rehearsal`) what is said to be delivered is not.
        """


class Sink(_End[O]):
    """Where mail goes.

    Attributes:
        needs_recipients: a mail without any cannot be delivered; the pipeline's envelope rule says what becomes of it.
    """

    needs_recipients: ClassVar[bool] = False

    @property
    def in_flight(self) -> int:
        """How many mails it may be given before it has answered for the first, each in a thread of its own.

        One by default: then `deliver` is called by one thread, for one mail after the other.
        """
        return 1

    @property
    def lane_width(self) -> int:
        """How many of them may be of one lane."""
        return self.in_flight

    def lane(self, envelope: Envelope) -> str:
        """What a mail shares with those that it may have to wait for; mails of different lanes never do."""
        return ""

    @abstractmethod
    def deliver(self, mail: Mail) -> Receipt:
        """Hand the mail over; return only when it is safe, or say for each recipient why not.

        Raises:
            TransientFailure: nothing was handed over; the mail is deferred.
            PermanentFailure: nothing was handed over, nor will it be.
            OutputError: it cannot be written; the mail is deferred.
        """


AnyComponent = Component[Any]
