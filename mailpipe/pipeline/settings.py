"""The pipeline file: TOML text → `Settings`, or every complaint about it at once.

    settings = load_settings("pipeline.toml", registry, overrides=["sink.port=2525"])
    settings.stages[0].use, settings.stages[0].options

A complaint names the file, line and column, the dotted key, what was expected, and the nearest valid name. Relative
paths mean beside the file; so do those of an override, which stands for a line of the file.

Never here: what a component does with its options, and values of secrets: a complaint about one does not repeat it.
"""

import contextlib
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from mailpipe.errors import SettingsError, UnknownComponent, secret_variable
from mailpipe.limits import Limits
from mailpipe.pipeline.complaint import complaints_of
from mailpipe.pipeline.component import Options
from mailpipe.pipeline.envelope_rule import EnvelopeRule
from mailpipe.pipeline.registry import STEP_KEYS, Kind, Registry, nearest
from mailpipe.pipeline.tables import (
    CheckSettings,
    LimitSettings,
    QuarantineSettings,
    QueueSettings,
    RouteSettings,
    RunSettings,
    Settings,
    StepSettings,
    Use,
)
from mailpipe.pipeline.toml_place import KeyPath, dotted, path_of, places_of

__all__ = ["QueueSettings", "RunSettings", "Settings", "Use", "load_settings", "look_up_secret", "parse_settings"]

T = TypeVar("T", bound=BaseModel)
_TABLES = ("source", "stage", "route", "sink", "envelope", "limits", "run", "queue", "quarantine", "check")
_ROUTE_NAME = re.compile(r"[a-z][a-z0-9-]*+")
_ROUTE_KEYS = ("stage", "sink")


def look_up_secret(name: str) -> str | None:
    """A secret from the environment: a variable of its own, else a file of the credentials that systemd passes on."""
    value = os.environ.get(secret_variable(name))
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    if value is None and directory and name == Path(name).name:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            value = (Path(directory) / name).read_text("utf-8").rstrip("\r\n")
    return value


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
        stages = self._stages(tree, ())
        routes = {name: self._route(name, table) for name, table in tree.get("route", {}).items()}
        sink = self._use("sink", tree.get("sink"), ("sink",))
        envelope = self._table(tree, "envelope", EnvelopeRule)
        limits = self._table(tree, "limits", LimitSettings)
        run = self._table(tree, "run", RunSettings)
        queue = self._table(tree, "queue", QueueSettings) if "queue" in tree else None
        quarantine = self._table(tree, "quarantine", QuarantineSettings)
        check = self._table(tree, "check", CheckSettings)
        if queue is not None and (place := queue.directory) is not None:
            sink = None if sink is None else _beside_the_queue(sink, place)
            stages = tuple(_beside_the_queue(one, place) for one in stages)
            routes = {
                name: RouteSettings(
                    name=name,
                    stages=tuple(_beside_the_queue(one, place) for one in route.stages),
                    sink=None if route.sink is None else _beside_the_queue(route.sink, place),
                )
                for name, route in routes.items()
            }
        self._check_ways(stages, routes)
        if self.problems or not (envelope and limits and run and quarantine and check):
            raise SettingsError.of_all(self.problems)
        return Settings(
            file=self.file,
            text=self.text,
            overrides=self.overrides,
            source=source,
            stages=stages,
            routes=routes,
            sink=sink,
            envelope=envelope,
            limits=Limits(**limits.model_dump(exclude={"message_size"})),
            message_size=limits.message_size,
            run=run,
            queue=queue,
            quarantine=quarantine,
            check=check,
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
        self, path: KeyPath, message: str, *, expected: str = "", near: str | None = None, code: str = "setting"
    ) -> None:
        """Note a complaint about a key, at its place or at the nearest one above it."""
        key = dotted(path)
        for length in range(len(path), 0, -1):
            if override := self.overridden.get(path[:length]):
                where = f"--set {override.partition('=')[0]}"
                self.problems.append(SettingsError(message, file=where, key=key, expected=expected, nearest=near))
                return
            if place := self.places.get(path[:length]):
                break
        else:
            place = (1, 1)
        problem = SettingsError(
            message, file=str(self.file), key=key, line=place[0], column=place[1], expected=expected, nearest=near
        )
        problem.code = code
        self.problems.append(problem)

    def _check_tables(self, tree: dict[str, Any]) -> None:
        for name, value in list(tree.items()):
            if name not in _TABLES:
                known = "a table " + ", ".join(f"[{each}]" if each != "stage" else "[[stage]]" for each in _TABLES)
                near = nearest(name.rstrip("s"), _TABLES) or nearest(name, _TABLES)
                self.complain((name,), f"unknown key {name!r}", near=near, expected="" if near else known)
            elif name == "stage" and (not isinstance(value, list) or not all(isinstance(each, dict) for each in value)):
                self.complain((name,), "not a list of tables", expected="[[stage]] for each stage")
                tree[name] = []
            elif name == "route" and isinstance(value, dict):
                for each in [each for each in value if not _ROUTE_NAME.fullmatch(each)]:
                    self.complain((name, each), f"{each!r} is no name for a route", expected="such as 'spam-2'")
                    del value[each]
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
            words = f"unknown {kind} {use!r}"
            self.complain((*path, "use"), words, near=error.nearest, expected=expected, code="unknown-component")
            return None
        rest = {key: value for key, value in table.items() if key != "use"}
        options = self._validated(component.Options, rest, path)
        return Use(use=use, key=dotted(path), options=options) if options is not None else None

    def _stages(self, tree: Mapping[str, Any], path: KeyPath) -> tuple[Use, ...]:
        uses = [self._step(table, (*path, "stage", number)) for number, table in enumerate(tree.get("stage", []))]
        return tuple(use for use in uses if use is not None)

    def _step(self, table: Mapping[str, Any], path: KeyPath) -> Use | None:
        """A stage with what stands beside its options."""
        own = {key: value for key, value in table.items() if key in STEP_KEYS}
        if not own.keys() & {"goto", "tee"} and not isinstance(own.get("use"), str):
            return self._use("stage", table, path)
        step = self._validated(StepSettings, own, path)
        condition = self._condition(step.when, path) if step is not None and step.when is not None else None
        if step is not None and step.use is None:
            if extra := sorted(set(table) - STEP_KEYS):
                near = nearest(extra[0], tuple(STEP_KEYS))
                self.complain((*path, extra[0]), f"unknown key {extra[0]!r}", near=near)
            return Use(use="", key=dotted(path), options=Options(), step=step, condition=condition)
        rest = {key: value for key, value in table.items() if key not in STEP_KEYS or key == "use"}
        use = self._use("stage", rest, path)
        if use is None or step is None:
            return None
        return use.model_copy(update={"step": step, "condition": condition})

    def _condition(self, when: Mapping[str, Any], path: KeyPath) -> object:
        from mailpipe.pipeline.rules import Condition  # slow to import, and most pipelines have no rules

        return self._validated(Condition, when, (*path, "when"))

    def _route(self, name: str, table: Any) -> RouteSettings:
        path = ("route", name)
        stages = table.get("stage", []) if isinstance(table, dict) else None
        if not isinstance(table, dict):
            self.complain(path, "not a table", expected=f"[route.{name}], or [[route.{name}.stage]]")
            table = {}
        elif not isinstance(stages, list) or not all(isinstance(each, dict) for each in stages):
            self.complain((*path, "stage"), "not a list of tables", expected=f"[[route.{name}.stage]] for each stage")
            table = {key: value for key, value in table.items() if key != "stage"}
        for key in table:
            if key not in _ROUTE_KEYS:
                near = nearest(key, _ROUTE_KEYS)
                expected = "" if near else f"[[route.{name}.stage]] or [route.{name}.sink]"
                self.complain((*path, key), f"unknown key {key!r}", near=near, expected=expected)
        sink = self._use("sink", table.get("sink"), (*path, "sink"))
        return RouteSettings(name=name, stages=self._stages(table, path), sink=sink)

    def _check_ways(self, stages: tuple[Use, ...], routes: Mapping[str, RouteSettings]) -> None:
        """Every route that is named is there, and none leads back to itself."""
        known = tuple(routes)
        for use in (*stages, *(use for route in routes.values() for use in route.stages)):
            for key, name in use.ways():
                if name not in routes:
                    words = f"there is no route {name!r}"
                    near = nearest(name, known)
                    expected = "" if near else f"one of {', '.join(known)}" if known else f"a table [route.{name}]"
                    at = (*path_of(use.key), *key)
                    self.complain(at, words, near=near, expected=expected, code="missing-route")
        for name in routes:
            if circle := _circle(name, routes):
                words = f"the route leads back to itself: {' → '.join(circle)}"
                self.complain(("route", name), words, expected="routes that end")
                return

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


def _circle(start: str, routes: Mapping[str, RouteSettings]) -> list[str]:
    """The way from a route back to itself, [] where there is none."""
    waiting, seen = [[start]], set[str]()
    while waiting:
        way = waiting.pop()
        for use in routes[way[-1]].stages:
            for _, name in use.ways():
                if name == start:
                    return [*way, name]
                if name in routes and name not in seen:
                    seen.add(name)
                    waiting.append([*way, name])
    return []


def _written_value(written: str) -> object:
    """An override's value: TOML where it is TOML, else the text as it stands."""
    try:
        return tomllib.loads(f"value = {written}")["value"]
    except tomllib.TOMLDecodeError:
        return written
