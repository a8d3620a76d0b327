"""What every typed value of a header field has in common (RFC 5322 section 2.2), and the value of hopeless bodies.

    value = fields.parse("Date", b" yesterday")
    value.defects                # what is wrong with the octets, () where nothing is
    isinstance(value, Unparsed)  # only where a parser of a plugin failed

Values are frozen and slotted; two are equal when they mean the same, whatever their defects.

Never here: knowledge of any one field. A kind of value has a file of its own.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from mailpipe.codec import charset
from mailpipe.defect import Defect

Value = TypeVar("Value")


class FieldValue:
    """The base of every typed value.

    Attributes:
        defects: what is wrong with the body; offsets count octets from its beginning.
    """

    # No slot here: each value declares `defects` itself, or `quick_maker` could not lend its layout.
    __slots__ = ()

    defects: tuple[Defect, ...]

    def render(self) -> bytes:
        """The octets of a composed field's body, not folded; ASCII wherever the syntax has a way to say it."""
        raise NotImplementedError(f"{type(self).__name__} has no octets")


@dataclass(frozen=True, slots=True)
class Unparsed(FieldValue):
    """A body that its parser gave up on.

    Attributes:
        body: the octets as they were given.
    """

    body: bytes
    defects: tuple[Defect, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        return self.body.decode("ascii", "backslashreplace").strip()

    def render(self) -> bytes:
        """The octets as they were given, without white space at their ends."""
        return self.body.strip(b" \t\r\n")


def quick_maker(kind: type[Value]) -> Callable[..., Value]:
    """A constructor of a frozen dataclass that takes a quarter of the time.

    The constructor of a frozen dataclass sets each attribute through `object.__setattr__`. This one fills an unfrozen
    twin of the same layout and then names it `kind`; the result cannot be told from one made by `kind(...)`.

    Args:
        kind: a frozen, slotted dataclass; its arguments go by position, all of them.
    """
    names = [column.name for column in dataclasses.fields(kind)]  # type: ignore[arg-type]
    twin: Any = dataclasses.make_dataclass(
        f"_{kind.__name__}", [(name, object) for name in names], bases=kind.__bases__, slots=True, init=False,
        eq=False, repr=False,
    )  # fmt: skip
    twin.__abstractmethods__ = frozenset()  # the twin of a Mapping has no methods, and needs none
    lines = [f"def make({', '.join(names)}):", " made = new(twin)", *(f" made.{name} = {name}" for name in names)]
    space: dict[str, Any] = {"new": object.__new__, "twin": twin, "kind": kind}
    # written out as dataclasses writes its own constructors: a loop over the names would take twice the time
    exec("\n".join([*lines, " made.__class__ = kind", " return made"]), space)  # noqa: S102
    made: Callable[..., Value] = space["make"]
    return made


def read_text(body: bytes, defects: list[Defect] | None = None) -> str:
    """The characters of a body: ASCII, else UTF-8 (RFC 6532), else whatever charset is detected.

    Args:
        body: octets as received; encoded words are left alone.
        defects: a list that takes what is wrong.
    """
    try:
        text = body.decode("ascii") if body.find(b"\x1b$") < 0 else charset.decode_text(body, "iso-2022-jp").text
    except UnicodeDecodeError:
        try:
            text = body.decode("utf-8")
        except UnicodeDecodeError as trouble:
            text = charset.decode_text(body, None).text
            if defects is not None:
                defects.append(Defect("eight-bit-header", trouble.start))
    return text


def octets_before(text: str, position: int, size: int) -> int:
    """How many octets stood before a character of a text that `read_text` made of `size` octets.

    Exact for ASCII, UTF-8 and charsets of one octet a character; for other charsets an estimate within the body.
    """
    if len(text) == size:
        return position
    return min(size, len(text[:position].encode("utf-8", "surrogatepass")))


def one_line(text: str, length: int = 60) -> str:
    """A piece of somebody's octets as the detail of a defect: printable and short."""
    short = text[:length]
    return short if short.isprintable() else "".join(mark if mark.isprintable() else "?" for mark in short)
