"""A header field (RFC 5322 section 2.2): name, raw octets, and its meaning when somebody asks.

    field = message.header.first("Subject")
    field.raw           # as received, folds and line end included
    field.body          # unfolded octets
    field.text          # str, encoded words decoded
    field.value         # typed: Text, AddressList, DateTime, ContentType, …

Never here: what fields there are; that is `mailpipe.fields.registry`.
"""

import re

from mailpipe.defect import Defect
from mailpipe.errors import ComposeError
from mailpipe.fields.rendering import render
from mailpipe.fields.value import FieldValue
from mailpipe.message.lines import Lines
from mailpipe.parser.grammar import FIELD_START, LF_GRAMMAR
from mailpipe.wire.folding import body_of, fold

_PLAIN = re.compile(r"[!-9;-~]++: [!-<>-~]++(?> [!-<>-~]++)*")  # words with one blank between them, no "="
_NAME = re.compile(r"[!-9;-~]{1,900}")


class Field:
    """One field, received or composed. Frozen."""

    __slots__ = ("_lines", "_place")

    _lines: Lines  # what it has in common with the others of its block
    _place: int  # among them

    def __init__(self, raw: bytes, offset: int | None = None) -> None:
        """One field by itself.

        Args:
            raw: octets with folds and the final line end.
            offset: octets from the beginning of the parsed source, None when composed.
        """
        self._lines, self._place = Lines(LF_GRAMMAR, None, [raw], offset), 0

    @property
    def raw(self) -> bytes:
        """Its octets, with folds and the final line end."""
        return self._lines.raws[self._place]

    @property
    def offset(self) -> int | None:
        """Octets from the beginning of the parsed source, None when composed."""
        return self._lines.offset_of(self._place)

    @classmethod
    def compose(cls, name: str, value: "str | bytes | FieldValue", line_end: bytes = b"\r\n") -> "Field":
        """A new field, folded at 78 columns.

        Args:
            name: the field name.
            value: text (encoded by RFC 2047 where it needs to be), octets that are already in wire form, or a
                typed value.
            line_end: what ends its lines.

        Raises:
            ComposeError: the name is no field name, or the value holds a CR, LF or NUL.
        """
        return cls(composed(name, value, line_end))

    @property
    def name(self) -> str:
        """The name as written; "" for a line without a colon."""
        return self._lines.items[self._place][0]

    @property
    def is_field(self) -> bool:
        """Whether it has a name that is one, and a colon; False for a malformed line of a header."""
        return FIELD_START.match(self.raw) is not None

    @property
    def key(self) -> str:
        """The name in lower case."""
        return self.name.lower()

    @property
    def body(self) -> bytes:
        """The octets after the colon, unfolded, without blanks at either end (RFC 5322 section 2.2.3)."""
        return body_of(self.raw)

    @property
    def text(self) -> str:
        """The body as text, encoded words decoded (RFC 2047), octets above 127 as UTF-8 or as detected."""
        return self._lines.text(self._place)

    @property
    def value(self) -> FieldValue:
        """The typed value; made at the first question, then kept."""
        return self._lines.value(self._place)

    @property
    def defects(self) -> tuple[Defect, ...]:
        """What is wrong with the typed value, offsets from the beginning of the parsed source."""
        start = (self.offset or 0) + self._body_start
        return tuple(
            Defect(defect.code, start + self._folds_before(defect.offset), defect.detail, field=self.name)
            for defect in self.value.defects
        )

    @property
    def _body_start(self) -> int:
        colon = self.raw.find(b":") + 1
        return colon + len(self.raw) - colon - len(self.raw[colon:].lstrip(b" \t\r\n"))

    def _folds_before(self, offset: int) -> int:
        """An offset in the unfolded body as one in the raw body."""
        raw, at, left = self.raw, self._body_start, offset
        start = at
        while True:
            stop = raw.find(b"\n", at)
            if stop < 0 or stop - at >= left:
                return at + left - start
            line = stop - at - (raw[stop - 1 : stop] == b"\r")
            if line >= left:
                return at + left - start
            left -= line
            at = stop + 1

    def __bytes__(self) -> bytes:
        return self.raw

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Field) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        return f"Field({self.raw!r})"


def composed(name: str, value: "str | bytes | FieldValue", line_end: bytes) -> bytes:
    """The octets of a new field; arguments and errors as for `Field.compose`."""
    if value.__class__ is str and len(line := f"{name}: {value}") <= 78 and ":" not in name and _PLAIN.fullmatch(line):
        return line.encode("ascii") + line_end  # neither an encoded word nor a fold is needed, whatever the field
    if not _NAME.fullmatch(name):
        raise ComposeError(f"{name!r} is no field name (RFC 5322 section 2.2)")
    if isinstance(value, FieldValue):
        body = value.render() if hasattr(value, "render") else render(name, str(value))
    elif isinstance(value, str):
        body = render(name, value)
    else:
        body = bytes(value)
    if b"\r" in body or b"\n" in body or b"\0" in body:
        raise ComposeError(f"the value of {name!r} holds a line end or a NUL (RFC 5322 section 2.2)")
    return fold(name, body, line_end=line_end)


_new = object.__new__


def fields_of(lines: Lines) -> list[Field]:
    """A field for each line of a block."""
    made = []
    for place in range(len(lines)):
        field = _new(Field)  # a call of the constructor would double the cost of the loop
        field._lines, field._place = lines, place
        made.append(field)
    return made
