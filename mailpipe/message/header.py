"""The header (RFC 5322 section 2.2): fields in order, found by name whatever its case.

    header["Subject"]                       # decoded str of the first; KeyError when absent
    header.first("From").value              # the field, its typed value
    header.with_field("Subject", "New")     # a new header; everything else keeps its octets

A received header is a span; it is cut into fields when more than a few names have been asked for.

Never here: bodies, and what a field's value means.
"""

import re
from collections.abc import Iterable, Iterator

from mailpipe.errors import FieldError
from mailpipe.fields.value import FieldValue
from mailpipe.message.field import Field, composed, fields_of
from mailpipe.message.lines import Lines
from mailpipe.parser.grammar import CR_GRAMMAR, FIELD_START, LF_GRAMMAR, Buffer, Grammar
from mailpipe.wire.folding import unfolded

# How many look-ups by search are cheaper than cutting the whole block into fields and indexing them.
_SEARCHES = 10


class Header:
    """Ordered, case-insensitive, multi-valued. Frozen: `with_…` and `without` give new ones."""

    __slots__ = (
        "_begin", "_end", "_fields", "_grammar", "_limit", "_lines", "_octets", "_offset", "_prefix", "_searches",
    )  # fmt: skip

    _prefix: bytes  # an mbox line before the fields
    _octets: Buffer | None  # what the block is a span of; None: made of fields
    _begin: int
    _end: int
    _offset: int | None  # of the block in the parsed source
    _lines: Lines | None  # None: only searched so far
    _fields: list[Field] | None
    _grammar: Grammar
    _limit: int
    _searches: int

    def __init__(self, fields: Iterable[Field] = ()) -> None:
        made = list(fields)
        is_cr = bool(made) and made[0].raw.endswith(b"\r")
        self._set(b"", None, 0, 0, None, CR_GRAMMAR if is_cr else LF_GRAMMAR, 0)
        self._fields, self._lines = made, Lines(self._grammar, None, [field.raw for field in made])

    def _set(
        self,
        prefix: bytes,
        octets: Buffer | None,
        begin: int,
        end: int,
        offset: int | None,
        grammar: Grammar,
        limit: int,
    ) -> None:
        self._prefix, self._octets, self._begin, self._end, self._offset = prefix, octets, begin, end, offset
        self._lines = self._fields = None
        self._grammar, self._limit, self._searches = grammar, limit, 0

    @classmethod
    def _received(cls, octets: Buffer, begin: int, end: int, grammar: Grammar, limit: int) -> "Header":
        """A header that is a span of what was parsed."""
        header, prefix = cls.__new__(cls), b""
        if begin < end and octets[begin] in b"F>" and octets[begin : begin + 6].removeprefix(b">")[:5] == b"From ":
            # an mbox separator (RFC 4155) is no field, but it is kept
            line = octets.find(grammar.line_end, begin, end) + 1 or end
            prefix, begin = octets[begin:line], line
        header._set(prefix, octets, begin, end, begin, grammar, limit)
        return header

    def _of_block(self, block: bytes) -> "Header":
        header = Header.__new__(Header)
        header._set(self._prefix, block, 0, len(block), None, self._grammar, self._limit)
        return header

    def _of_raws(self, raws: list[bytes]) -> "Header":
        header, prefix = Header.__new__(Header), self._prefix
        if prefix and raws and not prefix.endswith(self._grammar.line_end):
            prefix += self.line_end  # a message of an mbox that breaks off in its very first line
        header._set(prefix, None, 0, 0, None, self._grammar, 0)
        header._lines = Lines(self._grammar, None, raws)
        return header

    @property
    def _block(self) -> bytes:
        return b"".join(self._cut()) if self._octets is None else self._octets[self._begin : self._end]

    # -- the parts

    def values_of(self, name: str) -> list[FieldValue]:
        """The typed value of every field of that name, in order."""
        return self._all_lines().values_of(name)

    def _all_lines(self) -> Lines:
        """The lines of the block."""
        lines = self._lines
        if lines is None:
            lines = self._lines = Lines(self._grammar, self._block, None, self._offset, self._limit)
        return lines

    def _cut(self) -> list[bytes]:
        """The raw fields."""
        return self._all_lines().raws

    @property
    def fields(self) -> tuple[Field, ...]:
        """Every field, in order."""
        return tuple(self)

    @property
    def lines(self) -> tuple[Field, ...]:
        """Every field, and every line that is none because it has no name or no colon, in order."""
        return tuple(self._all())

    def _all(self) -> list[Field]:
        if self._fields is None:
            self._fields = fields_of(self._all_lines())
        return self._fields

    # -- looking up

    def first(self, name: str) -> Field | None:
        """The first field of that name, or None."""
        if self._lines is None and self._searches < _SEARCHES:
            self._searches += 1
            return self._search(name)
        place = self._all_lines().place_of(name)
        return None if place is None else self._all()[place]

    def _search(self, name: str) -> Field | None:
        """The first field of that name in a block that has not been cut."""
        found = self._grammar.find(name, self._octets, self._begin, self._end)  # type: ignore[arg-type]
        return None if found is None else self._found(found)

    def _search_all(self, name: str) -> Iterator[Field]:
        """The same for every field of that name."""
        octets, grammar = self._octets, self._grammar
        found = grammar.find(name, octets, self._begin, self._end)  # type: ignore[arg-type]
        search = grammar.finder(name)[1]
        while found is not None:
            yield self._found(found)
            found = search(octets, found.end(), self._end)

    def _found(self, found: re.Match[bytes]) -> Field:
        """The field that a search has found."""
        assert self._octets is not None
        start, stop = self._grammar.extent(found, self._octets, self._end)
        return Field(self._octets[start:stop], None if self._offset is None else self._offset + start - self._begin)

    def find(self, name: str) -> bytes | None:
        """The body of the first field of that name, folds and all; None where there is none."""
        if self._lines is None and self._searches < _SEARCHES:
            self._searches += 1
            return self._grammar.body(name, self._octets, self._begin, self._end)  # type: ignore[arg-type]
        lines = self._all_lines()
        place = lines.place_of(name)
        return None if place is None else lines.raws[place].partition(b":")[2]

    def body_of(self, name: str) -> bytes | None:
        """The body of the first field of that name, unfolded; None where there is none."""
        body = self.find(name)
        return None if body is None else unfolded(body)

    def all(self, name: str) -> tuple[Field, ...]:
        """Every field of that name, in order."""
        if self._lines is None and self._searches < _SEARCHES:
            self._searches += 1
            return tuple(self._search_all(name))
        fields = self._all()
        return tuple([fields[place] for place in self._all_lines().places_of(name)])

    def get(self, name: str, default: str | None = None) -> str | None:
        """The decoded text of the first field of that name, or the default."""
        lines = self._lines
        if lines is None:
            field = self.first(name)
            return default if field is None else field.text
        place = lines.place_of(name)
        return default if place is None else lines.text(place)

    def known_text(self, name: str) -> str | None:
        """The text of the first field of that name where all were read already and it was plain; None otherwise."""
        lines = self._lines
        place = None if lines is None else lines.place_of(name)
        return None if lines is None or place is None else lines.items[place][1]

    def require(self, name: str) -> Field:
        """The first field of that name.

        Raises:
            FieldError: there is none.
        """
        field = self.first(name)
        if field is None:
            raise FieldError(name, "it to be there")
        return field

    def __getitem__(self, name: str) -> str:
        field = self.first(name)
        if field is None:
            raise KeyError(name)
        return field.text

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.first(name) is not None

    def __iter__(self) -> Iterator[Field]:
        fields = self._all()
        return iter(fields if self._all_lines().is_clean else [line for line in fields if line.is_field])

    def __len__(self) -> int:
        lines = self._all_lines()
        return len(lines) if lines.is_clean else sum(1 for raw in lines.raws if FIELD_START.match(raw))

    def keys(self) -> tuple[str, ...]:
        """The names as written, in order, repeated ones too."""
        return tuple(field.name for field in self)

    def items(self) -> tuple[tuple[str, str], ...]:
        r"""Name as written and decoded text of every field, in order, repeated ones too.

        The quickest way to the texts of all fields: no `Field` is made.

        >>> import mailpipe
        >>> mailpipe.parse(b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\nTo: Ada\n <ada@example.org>\n\n").header.items()
        (('Subject', 'Grüße'), ('To', 'Ada <ada@example.org>'))
        """
        lines = self._lines
        if lines is None:
            lines = self._all_lines()
        items = lines.items
        if lines.is_complete:
            return items  # type: ignore[return-value]
        if not lines.is_clean:
            return tuple([(field.name, field.text) for field in self])
        text = lines.text
        return tuple(
            [item if item[1] is not None else (item[0], text(place)) for place, item in enumerate(items)]  # type: ignore[misc]
        )

    # -- changing

    def with_field(self, name: str, value: "str | bytes | FieldValue") -> "Header":
        """Set a field: in the place of the first of that name, or at the end; later ones of that name go.

        Raises:
            ComposeError: see `Field.compose`.
        """
        octets, end = self._octets, self._end
        if octets is not None:
            begin = self._begin
            extent = self._grammar.only(name, octets, begin, end)
            if extent is not None:
                start, stop = extent
                if octets[stop - 1] == 0x0A:  # what `_end_of` finds
                    line_end = b"\r\n" if octets[stop - 2] == 0x0D else b"\n"
                else:
                    line_end = self.line_end
                made = composed(name, value, line_end)
                return self._of_block(b"".join((octets[begin:start], made, octets[stop:end])))
        raws, key = list(self._cut()), name.lower().encode("utf-8", "surrogateescape")
        places = [place for place, raw in enumerate(raws) if _has_name(raw, key)]
        if not places:
            return self._extended(raws, composed(name, value, self.line_end))
        raws[places[0]] = composed(name, value, _end_of(raws[places[0]]) or self.line_end)
        for place in reversed(places[1:]):
            del raws[place]
        return self._of_raws(raws)

    def with_added(self, name: str, value: "str | bytes | FieldValue", *, first: bool = False) -> "Header":
        """Add a field at the end, or at the beginning (where trace fields go), whatever others there are.

        Raises:
            ComposeError: see `Field.compose`.
        """
        made, octets, begin, end = composed(name, value, self.line_end), self._octets, self._begin, self._end
        if octets is not None and begin < end:
            if not first:
                is_ended = octets[end - 1] == self._grammar.line_end[0]
                return self._of_block(b"".join((octets[begin:end], b"" if is_ended else self.line_end, made)))
            if octets[begin] not in b" \t":
                return self._of_block(made + octets[begin:end])
        raws = list(self._cut())
        if first:
            return self._of_raws(_orphan_first([made, *raws]))
        return self._extended(raws, made)

    def with_fields(self, fields: Iterable[Field]) -> "Header":
        """The given fields in the place of all `lines`; an mbox line before them stays, a missing line end is added."""
        line_end, end = self.line_end, self._grammar.line_end
        raws = [field.raw for field in fields]
        for place, raw in enumerate(raws[:-1]):
            if not raw.endswith(end):
                raws[place] = raw + line_end
        return self._of_raws(_orphan_first(raws))

    def _extended(self, raws: list[bytes], made: bytes) -> "Header":
        if raws and not raws[-1].endswith(self._grammar.line_end):
            raws[-1] += self.line_end
        raws.append(made)
        return self._of_raws(raws)

    def with_replaced(self, old: Field, new: Field) -> "Header":
        """One particular field in the place of another; found by identity first, then by its octets.

        Raises:
            FieldError: the old one is not in the header.
        """
        raws = list(self._cut())
        for place, field in enumerate(self._all()):
            if field is old or (field.offset == old.offset and field.raw == old.raw):
                raws[place] = new.raw
                return self._of_raws(raws)
        raise FieldError(old.name, "it to be in this header")

    def without(self, name: str) -> "Header":
        """Every field but those of that name."""
        octets, begin, end = self._octets, self._begin, self._end
        if octets is not None and (extent := self._grammar.only(name, octets, begin, end)) is not None:
            return self._of_block(octets[begin : extent[0]] + octets[extent[1] : end])
        key = name.lower().encode("utf-8", "surrogateescape")
        return self._of_raws([raw for raw in self._cut() if not _has_name(raw, key)])

    def without_field(self, field: Field) -> "Header":
        """Every field but one particular field.

        Raises:
            FieldError: it is not in the header.
        """
        for place, own in enumerate(self._all()):
            if own is field or (own.offset == field.offset and own.raw == field.raw):
                raws = list(self._cut())
                del raws[place]
                return self._of_raws(raws)
        raise FieldError(field.name, "it to be in this header")

    # -- octets

    @property
    def envelope_line(self) -> bytes | None:
        """The mbox "From " line before the first field (RFC 4155), None where there is none."""
        return self._prefix or None

    @property
    def line_end(self) -> bytes:
        """What ends the lines of this header: CRLF, LF or CR; CRLF where there are none."""
        if self._grammar is CR_GRAMMAR:
            return b"\r"
        octets = self._octets if self._octets is not None else (self._cut() or [b""])[0]
        stop = octets.find(b"\n") if self._octets is None else octets.find(b"\n", self._begin, self._end)
        return b"\n" if stop >= 0 and octets[stop - 1 : stop] != b"\r" else b"\r\n"

    @property
    def is_ended(self) -> bool:
        """Whether its last line has its end; False where a message breaks off in its header."""
        last = self._block if self._octets is not None else (self._cut() or [b""])[-1]
        return not last or last.endswith(self._grammar.line_end)

    def __bytes__(self) -> bytes:
        if self._octets is None or self._prefix:
            return self._prefix + self._block
        return self._octets[self._begin : self._end]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Header) and bytes(self) == bytes(other)

    def __hash__(self) -> int:
        return hash(bytes(self))

    def __repr__(self) -> str:
        return f"<Header of {len(self)} fields>"


def _orphan_first(raws: list[bytes]) -> list[bytes]:
    """The same lines; one that begins with a blank, as the first line of a broken header may, stays the first.

    Behind a field it would become a part of it: a sender could add to what we put on top, such as the results of
    authentication.
    """
    for place in range(1, len(raws)):
        if raws[place][:1] in (b" ", b"\t"):
            raws.insert(0, raws.pop(place))
            break  # the others are in no received header
    return raws


def _end_of(raw: bytes) -> bytes:
    """The line end of a field, LF or CRLF; nothing where it has neither."""
    return b"" if raw[-1:] != b"\n" else b"\r\n" if raw[-2:] == b"\r\n" else b"\n"


def _has_name(raw: bytes, key: bytes) -> bool:
    """Whether a raw field has that lower-case name."""
    size = len(key)
    if raw[:size].lower() != key:
        return False
    rest = raw[size : size + 1]
    return rest == b":" or (rest in (b" ", b"\t") and raw[size:].lstrip(b" \t").startswith(b":"))
