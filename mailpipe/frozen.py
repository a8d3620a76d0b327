"""Frozen dataclasses, made quickly: for the kinds of which there are several to each message.

    make = quick_maker(Mailbox)
    make("Ann", "ann@example.org") == Mailbox("Ann", "ann@example.org")

Never here: the kinds themselves.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

Value = TypeVar("Value")


def quick_maker(kind: type[Value]) -> Callable[..., Value]:
    """A constructor of a frozen dataclass that takes a quarter of the time.

    The constructor of a frozen dataclass sets each attribute through `object.__setattr__`. This one fills an unfrozen
    twin of the same layout and then names it `kind`; the result cannot be told from one made by `kind(...)`.

    Args:
        kind: a frozen, slotted dataclass; its arguments go by position, all of them.
    """
    names = [column.name for column in dataclasses.fields(kind)]  # type: ignore[arg-type]
    twin = twin_of(kind)
    lines = [f"def make({', '.join(names)}):", " made = new(twin)", *(f" made.{name} = {name}" for name in names)]
    space: dict[str, Any] = {"new": object.__new__, "twin": twin, "kind": kind}
    # written out as dataclasses writes its own constructors: a loop over the names would take twice the time
    exec("\n".join([*lines, " made.__class__ = kind", " return made"]), space)  # noqa: S102
    made: Callable[..., Value] = space["make"]
    return made


def twin_of(kind: type[Any]) -> Any:
    """The unfrozen twin of a frozen, slotted dataclass, for a reader that fills it without the call of a maker.

    Whoever makes one fills every attribute and then names it: `made.__class__ = kind`.
    """
    names = [column.name for column in dataclasses.fields(kind)]
    twin: Any = dataclasses.make_dataclass(
        f"_{kind.__name__}", [(name, object) for name in names], bases=kind.__bases__, slots=True, init=False,
        eq=False, repr=False,
    )  # fmt: skip
    twin.__abstractmethods__ = frozenset()  # the twin of a Mapping has no methods, and needs none
    return twin
