"""The pipeline file: TOML text → `Settings`, or every complaint about it at once.

    settings = load_settings("pipeline.toml", registry, overrides=["sink.port=2525"])
    settings.stages[0].use, settings.stages[0].options

A complaint names the file, line and column, the dotted key, what was expected, and the nearest valid name. Relative
paths mean beside the file; so do those of an override, which stands for a line of the file.

Never here: what a component does with its options, and values of secrets: a complaint about one does not repeat it.
"""

import contextlib
import hashlib
import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    ByteSize,
    ConfigDict,
    Field,
    ValidationError,
    create_model,
    field_validator,
    model_validator,
)

from mailpipe.errors import SettingsError, UnknownComponent, secret_variable
from mailpipe.fields import is_address
from mailpipe.limits import Limits
from mailpipe.pipeline.complaint import complaints_of
from mailpipe.pipeline.component import LocalPath, Options
from mailpipe.pipeline.envelope_rule import EnvelopeRule
from mailpipe.pipeline.registry import Kind, Registry, nearest
from mailpipe.pipeline.toml_place import KeyPath, places_of
from mailpipe.queue.schedule import DEFAULT_EXPIRE, DEFAULT_RETRY, DEFAULT_WARN_AFTER, Schedule
from mailpipe.units import Duration

T = TypeVar("T", bound=BaseModel)
_TABLES = ("source", "stage", "sink", "envelope", "limits", "run", "queue", "quarantine")


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, use_attribute_docstrings=True)


def _retry(text: str) -> str:
    Schedule.parse(text)
    return text


class RunSettings(_Table):
    """The [run] table: how a run over an archive goes about it."""

    workers: Annotated[int, Field(ge=1, le=256)] = 1
    """How many processes work at the same time."""

    journal: LocalPath | Literal[False] | None = None
    """The file that remembers what is done, so that the same command continues where it was stopped; by default the
    pipeline file's name with ".journal"; false for none."""

    on_stage_error: Literal["defer", "quarantine"] = "defer"
    """What becomes of a mail at which a stage fails with an error of its own."""


class QueueSettings(_Table):
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


class QuarantineSettings(_Table):
    """The [quarantine] table: where mail is kept for a person to look at."""

    directory: LocalPath = Path("quarantine")
    """The directory for the messages and the reasons."""


def _limit(name: str) -> Any:
    default = getattr(Limits(), name)
    lowest = Field(ge=1, description=f"See the limit {name} of mailpipe.Limits.")
    if name.endswith("_size"):
        return (Annotated[ByteSize, lowest], ByteSize(default))
    return (Annotated[int, lowest], default)


class _PipelineLimits(_Table):
    message_size: ByteSize | None = None
    """Octets of a message; a larger one is rejected with 5.3.4."""


LimitSettings: type[_PipelineLimits] = create_model(
    "LimitSettings", __base__=_PipelineLimits, **{each.name: _limit(each.name) for each in fields(Limits)}
)


class Use(BaseModel):
    """A component that a pipeline file asks for.

    Attributes:
        use: its name.
        key: where it stands: "source", "stage.2" (from 1), "sink".
        options: its options, checked.
    """

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    use: str
    key: str
    options: Options


class Settings(BaseModel):
    """A pipeline file that was found good.

    Attributes:
        file: the path as it was given.
        text: what was read, without overrides.
        overrides: as they were given.
        source, sink: None where the file has no such table.
        stages: in order.
        envelope, limits, message_size, run, queue, quarantine: see their tables; no queue without its table.
    """

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    file: Path
    text: str
    overrides: tuple[str, ...]
    source: Use | None
    stages: tuple[Use, ...]
    sink: Use | None
    envelope: EnvelopeRule
    limits: Limits
    message_size: int | None
    run: RunSettings
    queue: QueueSettings | None
    quarantine: QuarantineSettings

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
            "stage": [[use.use, _plain(use.options)] for use in self.stages],
            "sink": [self.sink.use, _plain(self.sink.options)] if self.sink else None,
            "envelope": _plain(self.envelope),
            "limits": [str(self.limits), self.message_size],
        }
        return {
            name: hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]
            for name, value in tables.items()
        }


def look_up_secret(name: str) -> str | None:
    """A secret from the environment: a variable of its own, else a file of the credentials that systemd passes on."""
    value = os.environ.get(secret_variable(name))
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    if value is None and directory and name == Path(name).name:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            value = (Path(directory) / name).read_text("utf-8").rstrip("\r\n")
    return value


def _plain(model: BaseModel) -> object:
    return model.model_dump(mode="json", by_alias=True)


def load_settings(path: Path | str, registry: Registry, overrides: Sequence[str] = ()) -> Settings:
    """Read and check a pipeline file.

    Args:
        path: the file.
        registry: which components there are.
        overrides: "sink.port=2525", "stage.extract-attachments.directory=out", "stage.2.types=['image/*']"; the
            value is read as TOML where it is TOML, else as text.

    Raises:
        SettingsError: it cannot be read or used; `problems` has every complaint.
        PluginError: a component that it names does not keep its contract.
    """
    file = Path(path)
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise SettingsError(f"cannot read it: {error.strerror}", file=str(path)) from error
    except UnicodeDecodeError as error:
        raise SettingsError("it is no UTF-8 text", file=str(path), expected="a TOML file") from error
    return parse_settings(text, file, registry, overrides)


def parse_settings(text: str, file: Path, registry: Registry, overrides: Sequence[str] = ()) -> Settings:
    """The same for text that was read already; `file` says what relative paths are beside.

    Raises:
        SettingsError: the text cannot be used; `problems` has every complaint.
        PluginError: a component that it names does not keep its contract.
    """
    return _Reader(text, file, registry, tuple(overrides)).read()


def _beside_the_queue(use: Use, directory: Path) -> Use:
    """The same component; what it remembers lies beside the queue where its options do not say otherwise."""
    if not use.options.keeps_state or getattr(use.options, "state_directory", None) is not None:
        return use
    return use.model_copy(update={"options": use.options.model_copy(update={"state_directory": directory / "state"})})


class _Reader:
    """Reads one file and gathers the complaints."""

    def __init__(self, text: str, file: Path, registry: Registry, overrides: tuple[str, ...]) -> None:
        self.text, self.file, self.registry, self.overrides = text.replace("\r\n", "\n"), file, registry, overrides
        self.problems: list[SettingsError] = []
        self.places: dict[KeyPath, tuple[int, int]] = {}
        self.overridden: dict[KeyPath, str] = {}
        self.context = {"base": Path(os.path.abspath(file)).parent}  # noqa: PTH100 - a link to the file keeps its folder

    def read(self) -> Settings:
        tree = self._tree()
        self._check_tables(tree)
        for override in self.overrides:
            self._override(tree, override)
        source = self._use("source", tree.get("source"), ("source",))
        listed = tree.get("stage", [])
        stages = [self._use("stage", table, ("stage", number)) for number, table in enumerate(listed)]
        sink = self._use("sink", tree.get("sink"), ("sink",))
        envelope = self._table(tree, "envelope", EnvelopeRule)
        limits = self._table(tree, "limits", LimitSettings)
        run = self._table(tree, "run", RunSettings)
        queue = self._table(tree, "queue", QueueSettings) if "queue" in tree else None
        quarantine = self._table(tree, "quarantine", QuarantineSettings)
        if sink is not None and queue is not None and queue.directory is not None:
            sink = _beside_the_queue(sink, queue.directory)
        if self.problems or envelope is None or limits is None or run is None or quarantine is None:
            raise SettingsError.of_all(self.problems)
        return Settings(
            file=self.file,
            text=self.text,
            overrides=self.overrides,
            source=source,
            stages=tuple(use for use in stages if use is not None),
            sink=sink,
            envelope=envelope,
            limits=Limits(**limits.model_dump(exclude={"message_size"})),
            message_size=limits.message_size,
            run=run,
            queue=queue,
            quarantine=quarantine,
        )

    def _tree(self) -> dict[str, Any]:
        try:
            tree = tomllib.loads(self.text)
        except tomllib.TOMLDecodeError as error:
            raise self._syntax(error) from error
        self.places = places_of(self.text)
        return tree

    def _syntax(self, error: tomllib.TOMLDecodeError) -> SettingsError:
        # "… (at line 3, column 7)" or "(at end of document)"; there are no attributes before Python 3.14
        words, _, place = str(error).rpartition(" (at ")
        numbers = [int(piece) for piece in place.replace(",", " ").replace(")", " ").split() if piece.isdecimal()]
        if len(numbers) != 2:
            lines = self.text.split("\n")
            numbers = [len(lines), len(lines[-1]) + 1]
        message = (words or str(error)).rstrip(".")
        return SettingsError(
            f"not TOML: {message[:1].lower()}{message[1:]}", file=str(self.file), line=numbers[0], column=numbers[1]
        )

    def complain(
        self, path: KeyPath, message: str, *, expected: str = "", near: str | None = None
    ) -> None:
        """Note a complaint about a key, at its place or at the nearest one above it."""
        key = ".".join(str(step + 1) if isinstance(step, int) else step for step in path)
        for length in range(len(path), 0, -1):
            if override := self.overridden.get(path[:length]):
                where = f"--set {override.partition('=')[0]}"
                self.problems.append(SettingsError(message, file=where, key=key, expected=expected, nearest=near))
                return
            if place := self.places.get(path[:length]):
                break
        else:
            place = (1, 1)
        self.problems.append(
            SettingsError(
                message, file=str(self.file), key=key, line=place[0], column=place[1], expected=expected, nearest=near
            )
        )

    def _check_tables(self, tree: dict[str, Any]) -> None:
        for name, value in list(tree.items()):
            if name not in _TABLES:
                known = "a table " + ", ".join(f"[{each}]" if each != "stage" else "[[stage]]" for each in _TABLES)
                near = nearest(name.rstrip("s"), _TABLES) or nearest(name, _TABLES)
                self.complain((name,), f"unknown key {name!r}", near=near, expected="" if near else known)
            elif name == "stage" and (not isinstance(value, list) or not all(isinstance(each, dict) for each in value)):
                self.complain((name,), "not a list of tables", expected="[[stage]] for each stage")
                tree[name] = []
            elif name != "stage" and not isinstance(value, dict):
                self.complain((name,), "not a table", expected=f"one table [{name}]")
                del tree[name]

    def _override(self, tree: dict[str, Any], override: str) -> None:
        dotted, equals, written = override.partition("=")
        steps = [step.strip() for step in dotted.split(".")]
        try:
            if not equals or not all(steps) or len(steps) < 2:
                raise LookupError("not of the form table.key=value")
            at, path = self._descend(tree, steps)
        except LookupError as error:
            words = f"override {dotted!r}: {error.args[0]}"
            near = error.args[1] if len(error.args) > 1 else None
            self.problems.append(SettingsError(words, file=str(self.file), nearest=near))
            return
        at[steps[-1]] = _written_value(written.strip())
        self.overridden[(*path, steps[-1])] = override

    def _descend(self, tree: dict[str, Any], steps: list[str]) -> tuple[dict[str, Any], KeyPath]:
        if steps[0] not in _TABLES:
            raise LookupError(f"there is no table {steps[0]!r}", nearest(steps[0], _TABLES))
        at: Any = tree
        path: KeyPath = ()
        rest = steps[:-1]
        if steps[0] == "stage":
            number = self._stage_number(tree.get("stage", []), steps)
            at, path, rest = tree["stage"][number], ("stage", number), steps[2:-1]
        for step in rest:
            path = (*path, step)
            at = at.setdefault(step, {})
            if not isinstance(at, dict):
                raise LookupError(f"{'.'.join(map(str, path))} is no table")
        return at, path

    def _stage_number(self, stages: list[dict[str, Any]], steps: list[str]) -> int:
        if len(steps) < 3:
            raise LookupError("a stage has a number or a name: stage.2.key=value, stage.re-encode.key=value")
        if steps[1].isdecimal() and 1 <= int(steps[1]) <= len(stages):
            return int(steps[1]) - 1
        used = [str(stage.get("use", "")) for stage in stages]
        if used.count(steps[1]) > 1:
            raise LookupError(f"there are several stages {steps[1]!r}; give the number of one: stage.1.…")
        if steps[1] not in used:
            raise LookupError(f"the pipeline has no stage {steps[1]!r}", nearest(steps[1], tuple(used)))
        return used.index(steps[1])

    def _use(self, kind: Kind, table: Mapping[str, Any] | None, path: KeyPath) -> Use | None:
        if table is None:
            return None
        use = table.get("use")
        known = self.registry.names(kind) if not isinstance(use, str) else ()
        if not isinstance(use, str):
            what = "missing" if use is None else "not text"
            self.complain((*path, "use"), f"'use' is {what}", expected=f"the name of a {kind}: {', '.join(known)}")
            return None
        try:
            component = self.registry.entry(kind, use).load()
        except UnknownComponent as error:
            expected = "" if error.nearest else f"one of {', '.join(error.known)}"
            self.complain((*path, "use"), f"unknown {kind} {use!r}", near=error.nearest, expected=expected)
            return None
        rest = {key: value for key, value in table.items() if key != "use"}
        options = self._validated(component.Options, rest, path)
        key = "stage." + str(path[1] + 1) if len(path) == 2 and isinstance(path[1], int) else kind
        return Use(use=use, key=key, options=options) if options is not None else None

    def _table(self, tree: Mapping[str, Any], name: str, model: type[T]) -> T | None:
        return self._validated(model, tree.get(name, {}), (name,))

    def _validated(self, model: type[T], table: Mapping[str, Any], path: KeyPath) -> T | None:
        try:
            return model.model_validate(table, context=self.context)
        except ValidationError as error:
            for complaint in complaints_of(error, model):
                where = (*path, *complaint.path)
                self.complain(where, complaint.message, expected=complaint.expected, near=complaint.nearest)
            return None


def _written_value(written: str) -> object:
    """An override's value: TOML where it is TOML, else the text as it stands."""
    try:
        return tomllib.loads(f"value = {written}")["value"]
    except tomllib.TOMLDecodeError:
        return written
