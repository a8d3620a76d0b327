"""Which sources, stages and sinks there are: every component by its name, checked at the door.

    registry.add_stage(MyStage)                       # what a plugin's register(registry) says
    registry.stage("my-stage")                        # the class, or UnknownComponent with the nearest name
    for entry in registry.entries("stage"): print(entry.name, entry.origin, entry.summary)

A component that breaks its contract is refused when it is registered (a lazily registered one at its first use):
before any mail flows.

Never here: where plugins are found; see `mailpipe.plugins`.
"""

import inspect
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal, cast

from mailpipe.errors import PluginError, UnknownComponent
from mailpipe.pipeline.component import AnyComponent, Options, Sink, Source, Stage
from mailpipe.pipeline.function_stage import stage_of

Kind = Literal["source", "stage", "sink"]
KINDS: tuple[Kind, ...] = ("source", "stage", "sink")

STEP_KEYS = frozenset({"use", "goto", "tee", "label", "when", "on_error", "isolate", "budget", "on_broken_signature"})
"""Keys of a [[stage]] that no component may have as an option."""
_NAME = re.compile(r"[a-z][a-z0-9]*+(?>(?:-[a-z0-9]++)*)")
_BASES: dict[Kind, type[AnyComponent]] = {"source": Source, "stage": Stage, "sink": Sink}
# The methods that a component may or must have, with the parameters that the engine gives them.
_METHODS: dict[Kind, dict[str, tuple[str, ...]]] = {
    "source": {"__iter__": (), "settle": ("outcome",)},
    "stage": {"process": ("mail",)},
    "sink": {"deliver": ("mail",)},
}
_LIFE: dict[Kind, dict[str, tuple[str, ...]]] = {
    "source": {"open": (), "close": ()},
    "stage": {"open": ("services",), "close": ()},
    "sink": {"open": (), "close": ()},
}


@dataclass(slots=True)
class Entry:
    """One registered component.

    Attributes:
        kind: "source", "stage" or "sink".
        name: what `use = "…"` says.
        origin: the distribution and version, or the file, that it came from.
        place: "module:Class" of a component that is imported at its first use, "" once it is.
    """

    kind: Kind
    name: str
    origin: str
    place: str = ""
    _component: type[AnyComponent] | None = field(default=None, repr=False)

    def load(self) -> type[AnyComponent]:
        """The class, imported and checked if it was not yet.

        Raises:
            PluginError: it cannot be imported or does not keep its contract.
        """
        if self._component is None:
            component = self._import()
            component = stage_of(component)
            check(self.kind, component, self.origin)
            if component.name != self.name:
                raise PluginError(self.name, self.origin, f"{self.place} calls itself {component.name!r}")
            self._component, self.place = component, ""
        return self._component

    def _import(self) -> type[AnyComponent]:
        module, _, attribute = self.place.partition(":")
        try:
            return cast("type[AnyComponent]", getattr(import_module(module), attribute))
        except (ImportError, AttributeError) as error:
            raise PluginError(self.name, self.origin, f"{self.place} cannot be imported: {error}") from error

    @property
    def options(self) -> type[Options]:
        """The options model; its fields carry type, default and description."""
        return self.load().Options

    @property
    def summary(self) -> str:
        """The first line of the class's docstring."""
        return inspect.cleandoc(self.load().__doc__ or "").partition("\n")[0]


class Registry:
    """Name → component, for each kind.

    Attributes:
        rebuild: makes the same registry again in another process; None for one that was filled by hand.
    """

    def __init__(self, rebuild: "Callable[[], Registry] | None" = None) -> None:
        self.rebuild = rebuild
        self._entries: dict[Kind, dict[str, Entry]] = {kind: {} for kind in KINDS}
        self._origin = "this program"
        self._waiting: list[Callable[[Registry], None]] = []

    @contextmanager
    def coming_from(self, origin: str) -> Iterator[None]:
        """While it lasts, what is added is noted as coming from `origin`."""
        before, self._origin = self._origin, origin
        try:
            yield
        finally:
            self._origin = before

    def add_source(self, component: type[Source[Any]]) -> None:
        """Register a source.

        Raises:
            PluginError: it does not keep its contract, or its name is taken.
        """
        self._add("source", component)

    def add_stage(self, component: type[Stage[Any]] | Callable[..., Any]) -> None:
        """Register a stage: a class, or a function that `mailpipe.stage` decorates.

        Raises:
            PluginError: it does not keep its contract, or its name is taken.
        """
        self._add("stage", stage_of(component))

    def add_sink(self, component: type[Sink[Any]]) -> None:
        """Register a sink.

        Raises:
            PluginError: it does not keep its contract, or its name is taken.
        """
        self._add("sink", component)

    def add_lazy(self, kind: Kind, name: str, place: str) -> None:
        """Register "module:Class", to be imported and checked at its first use.

        Raises:
            PluginError: the name is ill-formed or taken.
        """
        _check_name(name, self._origin)
        self._put(Entry(kind, name, self._origin, place))

    def add_later(self, fill: "Callable[[Registry], None]") -> None:
        """Keep `fill` until a name is asked for that is not here yet, or all names are."""
        self._waiting.append(fill)

    def source(self, name: str) -> type[Source[Any]]:
        """The source of that name.

        Raises:
            UnknownComponent: there is none; it names the nearest.
            PluginError: it cannot be used.
        """
        return cast("type[Source[Any]]", self.entry("source", name).load())

    def stage(self, name: str) -> type[Stage[Any]]:
        """The stage of that name.

        Raises:
            UnknownComponent: there is none; it names the nearest.
            PluginError: it cannot be used.
        """
        return cast("type[Stage[Any]]", self.entry("stage", name).load())

    def sink(self, name: str) -> type[Sink[Any]]:
        """The sink of that name.

        Raises:
            UnknownComponent: there is none; it names the nearest.
            PluginError: it cannot be used.
        """
        return cast("type[Sink[Any]]", self.entry("sink", name).load())

    def entry(self, kind: Kind, name: str) -> Entry:
        """The entry of that kind and name.

        Raises:
            UnknownComponent: there is none; it names the nearest.
            PluginError: a plugin that was looked into for it cannot be used.
        """
        found = self._entries[kind].get(name)
        if found is None:
            self.load_all()
            found = self._entries[kind].get(name)
        if found is None:
            known = self.names(kind)
            raise UnknownComponent(kind, name, known, nearest(name, known))
        return found

    def entries(self, kind: Kind | None = None) -> tuple[Entry, ...]:
        """Every entry, by kind and name.

        Raises:
            PluginError: a plugin cannot be used.
        """
        self.load_all()
        kinds = KINDS if kind is None else (kind,)
        return tuple(self._entries[each][name] for each in kinds for name in sorted(self._entries[each]))

    def names(self, kind: Kind) -> tuple[str, ...]:
        """The names of one kind, sorted.

        Raises:
            PluginError: a plugin cannot be used.
        """
        return tuple(entry.name for entry in self.entries(kind))

    def load_all(self) -> None:
        """Ask every plugin that was kept for later.

        Raises:
            PluginError: one of them cannot be used.
        """
        while self._waiting:
            self._waiting.pop(0)(self)

    def _add(self, kind: Kind, component: type[AnyComponent]) -> None:
        check(kind, component, self._origin)
        self._put(Entry(kind, component.name, self._origin, _component=component))

    def _put(self, entry: Entry) -> None:
        taken = self._entries[entry.kind].get(entry.name)
        if taken is not None:
            reason = f"there is a {entry.kind} of that name already, from {taken.origin}"
            raise PluginError(entry.name, entry.origin, reason)
        self._entries[entry.kind][entry.name] = entry


def nearest(name: str, known: tuple[str, ...]) -> str | None:
    """The known name that `name` was probably meant to be.

    >>> nearest("extract-atachments", ("decode-mime", "extract-attachments"))
    'extract-attachments'
    """
    from difflib import get_close_matches  # slow to import, only for a mistake

    folded = name.casefold().replace("_", "-").replace(" ", "-")
    spelled = {each.casefold().replace("_", "-"): each for each in known}
    found = get_close_matches(folded, spelled, n=1, cutoff=0.6)
    return spelled[found[0]] if found else None


def check(kind: Kind, component: type[AnyComponent], origin: str) -> None:
    """Whether a class keeps the contract of its kind.

    Raises:
        PluginError: it does not; the reason says in what.
    """
    base = _BASES[kind]
    given: object = component
    if not isinstance(given, type) or not issubclass(given, base):
        label = getattr(given, "name", None) or getattr(given, "__name__", None) or repr(given)
        raise PluginError(str(label), origin, f"a {kind} is a class derived from mailpipe.{base.__name__}")
    shown = component.__qualname__
    if not isinstance(getattr(component, "name", None), str):
        raise PluginError(shown, origin, f'it has no name; give the class one: name = "{_kebab(component.__name__)}"')
    _check_name(component.name, origin)
    if not inspect.cleandoc(component.__dict__.get("__doc__") or ""):
        reason = f"the class {shown} has no docstring; its first line is shown to users"
        raise PluginError(component.name, origin, reason)
    _check_methods(kind, component, origin)
    _check_options(component, origin)


def _kebab(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower().replace("_", "-")


def _check_name(name: str, origin: str) -> None:
    if not _NAME.fullmatch(name):
        near = _kebab(re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")) or "my-stage"
        raise PluginError(name, origin, f"a name is lower-case words joined by hyphens, such as {near!r}")


def _check_methods(kind: Kind, component: type[AnyComponent], origin: str) -> None:
    base = _BASES[kind]
    for name, given in (_METHODS[kind] | _LIFE[kind] | {"__init__": ("options",)}).items():
        method = getattr(component, name)
        if getattr(method, "__isabstractmethod__", False):
            reason = f"the method {name} is missing; a {kind} has {name}({_listed(given)})"
            raise PluginError(component.name, origin, reason)
        if method is getattr(base, name):
            continue
        is_async = inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method)
        if is_async and (kind != "stage" or name == "__init__"):
            raise PluginError(component.name, origin, f"{name} is async; it must be a plain method")
        if not _takes(component, name, len(given)):
            reason = f"{name} is called as {name}({_listed(given)}), but takes other parameters"
            raise PluginError(component.name, origin, reason)
    if left := sorted(getattr(component, "__abstractmethods__", ())):
        raise PluginError(component.name, origin, f"the method {left[0]} is missing")


def _listed(given: tuple[str, ...]) -> str:
    return ", ".join(("self", *given))


def _takes(component: type[AnyComponent], name: str, count: int) -> bool:
    own = inspect.getattr_static(component, name)
    bound_already = isinstance(own, staticmethod | classmethod)
    try:
        inspect.signature(getattr(component, name)).bind(*range(count if bound_already else count + 1))
    except TypeError:
        return False
    except ValueError:  # a method of an extension module may have no signature to look at
        return True
    return True


def _check_options(component: type[AnyComponent], origin: str) -> None:
    given: object = component.Options
    if not isinstance(given, type) or not issubclass(given, Options):
        raise PluginError(component.name, origin, "its Options must be a class derived from mailpipe.Options")
    taken = sorted(STEP_KEYS & set(given.model_fields)) if issubclass(component, Stage) else ()
    if taken:
        raise PluginError(component.name, origin, f"an option cannot be called {taken[0]!r}: every stage has that key")
    bare = [name for name, each in given.model_fields.items() if not (each.description or "").strip()]
    if bare:
        raise PluginError(
            component.name,
            origin,
            f"the option {bare[0]!r} has no description; write a docstring under it, it is what users are shown",
        )
