"""The tables of a pipeline file, each a model: [run], [queue], [quarantine], [limits], and what stands on a [[stage]].

    settings.stages[0].use, settings.stages[0].options, settings.stages[0].on_error
    settings.routes["spam"].sink

Never here: reading the file; see `settings`.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    ByteSize,
    ConfigDict,
    Field,
    create_model,
    field_validator,
    model_validator,
)

from mailpipe.fields import is_address
from mailpipe.limits import Limits
from mailpipe.pipeline.access import Budget
from mailpipe.pipeline.component import LocalPath, Options
from mailpipe.pipeline.envelope_rule import EnvelopeRule
from mailpipe.pipeline.registry import STEP_KEYS
from mailpipe.pipeline.toml_place import KeyPath
from mailpipe.queue.schedule import DEFAULT_EXPIRE, DEFAULT_RETRY, DEFAULT_WARN_AFTER, Schedule
from mailpipe.units import Duration


class Table(BaseModel):
    """A table of the pipeline file: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, use_attribute_docstrings=True)


def _retry(text: str) -> str:
    Schedule.parse(text)
    return text


class RunSettings(Table):
    """The [run] table: how a run over an archive goes about it."""

    workers: Annotated[int, Field(ge=1, le=256)] = 1
    """How many processes work at the same time."""

    journal: LocalPath | Literal[False] | None = None
    """The file that remembers what is done, so that the same command continues where it was stopped; by default the
    pipeline file's name with ".journal"; false for none."""

    on_stage_error: Literal["defer", "quarantine"] = "defer"
    """What becomes of a mail at which a stage fails with an error of its own."""


class QueueSettings(Table):
    """The [queue] table: where mail waits that the sink could not hand over."""

    directory: LocalPath | None = None
    """The directory of the durable queue; with a database, one for the messages that every machine sees."""

    database: str | None = None
    """A PostgreSQL connection string, "postgresql://user@host/name", where several machines share the queue."""

    retry: Annotated[str, AfterValidator(_retry)] = DEFAULT_RETRY
    """When it is tried again, such as "5m, 15m, 1h*3, 4h*10"."""

    expire: Annotated[Duration, Field(gt=0)] = cast("float", DEFAULT_EXPIRE)
    """How long it is tried at all."""

    in_doubt: Literal["resend", "hold", "ask"] = "resend"
    """What becomes of mail whose final reply was lost: it is sent again; held until somebody releases it; or held with
    the question beside it, which `mailpipe queue settle` answers."""

    reports: bool = False
    """Tell senders what became of their mail, by reports that go through the queue themselves (RFC 3464); not for runs
    over archives, whose senders do not wait for an answer."""

    reports_from: str | None = None
    """The address that reports are from; by default MAILER-DAEMON at the name of this machine."""

    warn_after: Annotated[Duration, Field(gt=0)] | Literal[False] = cast("float", DEFAULT_WARN_AFTER)
    """How long mail may wait before its sender is told once, where reports are on; false for never."""

    max_received: Annotated[int, Field(ge=1)] = 100
    """Received fields at most; mail with more goes round in circles and fails with 5.4.6."""

    loop_mark: str | None = None
    """A name of our own, such as "mailpipe@mx.example.org", which outgoing mail gets in a field Delivered-To; mail that
    comes back with it fails with 5.4.6. None by default, and mail leaves as it came."""

    @field_validator("reports_from", "loop_mark")
    @classmethod
    def _is_address(cls, text: str | None) -> str | None:
        if text is not None and not is_address(text):
            raise ValueError("not an address; write one such as MAILER-DAEMON@mx.example.org")
        return text

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if self.directory is None and self.database is None:
            raise ValueError("give a directory or a database")
        return self


class QuarantineSettings(Table):
    """The [quarantine] table: where mail is kept for a person to look at."""

    directory: LocalPath = Path("quarantine")
    """The directory for the messages and the reasons."""


def _limit(name: str) -> Any:
    default = getattr(Limits(), name)
    lowest = Field(ge=1, description=f"See the limit {name} of mailpipe.Limits.")
    if name.endswith("_size"):
        return (Annotated[ByteSize, lowest], ByteSize(default))
    return (Annotated[int, lowest], default)


class _PipelineLimits(Table):
    message_size: ByteSize | None = None
    """Octets of a message; a larger one is rejected with 5.3.4."""


LimitSettings: type[_PipelineLimits] = create_model(
    "LimitSettings", __base__=_PipelineLimits, **{each.name: _limit(each.name) for each in fields(Limits)}
)


class CheckSettings(Table):
    """The [check] table: what `mailpipe check` need not tell."""

    allow: tuple[str, ...] = ()
    """Codes of findings that are meant: ["reject-in-batch"]."""


class ErrorPolicy(Table):
    """What becomes of a mail at which a stage fails; as text, what `then` says."""

    retry: Annotated[int, Field(ge=0, le=20)] = 0
    """How often the stage is asked again."""

    wait: Annotated[Duration, Field(le=60)] = 1.0
    """How long before each time."""

    then: Literal["defer", "skip", "quarantine", "reject"] = "defer"
    """What happens when it fails still: the mail is to come again later; goes on as it was before the stage; is set
    aside; or is refused for good."""

    goto: str | None = None
    """The route that it takes then, in place of `then`."""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, given: object) -> object:
        return {"then": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _is_one_way(self) -> Self:
        if self.goto is not None and "then" in self.model_fields_set:
            raise ValueError("either 'then' or 'goto'")
        return self


class BudgetSettings(Table):
    """What one mail may cost at a stage; a stage with a time or a memory is run in a process of its own."""

    time: Annotated[Duration, Field(gt=0)] | None = None
    """How long the stage may take for one mail."""

    memory: ByteSize | None = None
    """How much more memory its process may take than it has when it begins."""

    expansion: Annotated[float, Field(ge=1)] | None = None
    """How many times as large the message may become."""

    def budget(self) -> Budget:
        """The same for the engine."""
        return Budget(self.time, None if self.memory is None else int(self.memory), self.expansion)


class StepSettings(Table):
    """What stands on a [[stage]] beside the options of its component."""

    use: str | None = None
    """The stage's name."""

    goto: str | None = None
    """In place of `use`: the route that the mail takes from here."""

    tee: tuple[str, ...] = ()
    """In place of `use`: routes that each take a copy of the mail, before it goes on."""

    label: str = ""
    """What the step is called in reports, where several use the same stage."""

    when: dict[str, Any] | None = None
    """The condition under which a mail meets it; every mail by default."""

    on_error: ErrorPolicy | None = None
    """What becomes of a mail at which it fails; by default what [run] on_stage_error says."""

    isolate: bool = False
    """Whether it runs in a process of its own, so that a crash costs one mail its turn and nothing else."""

    budget: BudgetSettings = BudgetSettings()
    """What one mail may cost at it."""

    on_broken_signature: Literal["accept", "skip", "wrap", "strip", "quarantine"] | None = None
    """What becomes of a signature that the stage would break: the edit stands; is left out; the signed message goes
    enclosed in the edited one; the broken signature is removed and a field says so; or the mail is set aside."""

    @field_validator("tee", mode="before")
    @classmethod
    def _is_list(cls, given: object) -> object:
        return [given] if isinstance(given, str) else given

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        given = [name for name, value in (("use", self.use), ("goto", self.goto), ("tee", self.tee)) if value]
        if len(given) > 1:
            raise ValueError(f"either {' or '.join(repr(each) for each in given)}; make it two stages")
        return self


assert set(StepSettings.model_fields) <= STEP_KEYS


class Use(BaseModel):
    """A component that a pipeline file asks for.

    Attributes:
        use: its name; "" for a step that only leads into routes.
        key: where it stands: "source", "stage.2" (from 1), "sink", "route.spam.stage.1".
        options: its options, checked.
        step: what stands beside them, of a stage.
        condition: the `when` of a stage, a `rules.Condition`.
    """

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    use: str
    key: str
    options: Options
    step: StepSettings = StepSettings()
    condition: Any = None

    @property
    def label(self) -> str:
        """What it is called."""
        step = self.step
        return step.label or self.use or (f"goto {step.goto}" if step.goto else f"tee {', '.join(step.tee)}")

    def ways(self) -> Iterator[tuple[KeyPath, str]]:
        """The routes that the step leads into, each with the key that says so."""
        if self.step.goto is not None:
            yield ("goto",), self.step.goto
        for name in self.step.tee:
            yield ("tee",), name
        if self.step.on_error is not None and self.step.on_error.goto is not None:
            yield ("on_error", "goto"), self.step.on_error.goto


class RouteSettings(BaseModel):
    """A route: stages of its own, and a sink where it does not end in that of the pipeline.

    Attributes:
        name: what `goto` and `tee` say.
        stages: in order.
        sink: None for the pipeline's.
    """

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    name: str
    stages: tuple[Use, ...]
    sink: Use | None


class Settings(BaseModel):
    """A pipeline file that was found good.

    Attributes:
        file: the path as it was given.
        text: what was read, without overrides.
        overrides: as they were given.
        source, sink: None where the file has no such table.
        stages: in order.
        routes: by name.
        envelope, limits, message_size, run, queue, quarantine, check: see their tables; no queue without its table.
    """

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    file: Path
    text: str
    overrides: tuple[str, ...]
    source: Use | None
    stages: tuple[Use, ...]
    routes: dict[str, RouteSettings] = {}
    sink: Use | None
    envelope: EnvelopeRule
    limits: Limits
    message_size: int | None
    run: RunSettings
    queue: QueueSettings | None
    quarantine: QuarantineSettings
    check: CheckSettings = CheckSettings()

    def every_stage(self) -> Iterator[Use]:
        """The stages of the pipeline and of its routes."""
        yield from self.stages
        for route in self.routes.values():
            yield from route.stages

    @property
    def name(self) -> str:
        """The file's name without its suffix."""
        return self.file.stem

    @property
    def folder(self) -> Path:
        """The folder that relative paths are taken from."""
        return self.file.parent

    @property
    def journal(self) -> Path | None:
        """The journal's path, None where there is to be none."""
        if self.run.journal is False:
            return None
        return self.run.journal or self.folder / f"{self.name}.journal"

    @property
    def digests(self) -> dict[str, str]:
        """A digest of each table that decides what becomes of a mail; secrets are not part of it."""
        tables: dict[str, object] = {
            "stage": _digested(self.stages),
            "sink": [self.sink.use, _plain(self.sink.options)] if self.sink else None,
            "envelope": _plain(self.envelope),
            "limits": [str(self.limits), self.message_size],
        }
        if self.routes:
            tables["route"] = {
                name: [_digested(route.stages), route.sink and [route.sink.use, _plain(route.sink.options)]]
                for name, route in self.routes.items()
            }
        return {
            name: hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]
            for name, value in tables.items()
        }


def _plain(model: BaseModel) -> object:
    return model.model_dump(mode="json", by_alias=True)


def _digested(uses: tuple[Use, ...]) -> object:
    """What decides; a step that only names its component is as it was before there were other keys."""
    written = []
    for use in uses:
        step = use.step.model_dump(mode="json", exclude_unset=True, exclude={"use", "label"})
        written.append([use.use, _plain(use.options), *([step] if step else [])])
    return written
