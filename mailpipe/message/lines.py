r"""The lines of a header (RFC 5322 section 2.2): names and texts read for all of them at once, and their values.

    names_and_texts(b"Subject: a\n b\nTo: x\n", 1000)      # [("Subject", "a b"), ("To", "x")], True
    lines = Lines(LF_GRAMMAR, block, start=0)               # shared by the fields that are cut from one block
    lines.raws[3], lines.items[3], lines.offset_of(3)

Never here: looking up by name.
"""

import re
import sys
from collections.abc import Sequence
from itertools import accumulate
from operator import itemgetter

from mailpipe import native
from mailpipe.fields import Text, unstructured
from mailpipe.fields.registry import REMEMBERED, TEXT_READERS, read, read_known, read_often, reader_of
from mailpipe.fields.value import FieldValue
from mailpipe.parser.grammar import FIELD_START, LF_GRAMMAR, Grammar

# Each pattern begins with a literal, so that a search has an octet to look for. A CR never stands where they are used:
# with it a set is a table for `re`, which is quicker than two ranges.
_FOLD = re.compile(r"\n(?=[\r \t])")
# Behind the unfolding, where every line is a field; one that is none ends the search, with two empty groups. A blank
# before the colon may have been a fold, which makes it none.
_ITEM = re.compile(r"\n(?:([\r!-9;-~]++):[ \t]*+(.*[^ \t\n]|)|(?s:.++))")
_NO_ITEM = ("", "")
_ENCODED = re.compile(r"\?(?<==\?)")  # of the two signs the rarer first

Item = tuple[str, str | None]
"""A field's name as written and its text; None where the text takes a look at its charset or its encoded words."""


def names_and_texts_in_python(block: bytes, most: int) -> tuple[tuple[Item, ...], bool] | None:
    """The name and the text of every field of a block whose lines end with LF or CRLF.

    Args:
        block: the fields, each with its line end.
        most: fields at most.

    Returns:
        One item for each field, in order, and whether each has its text. None where each has to be looked at by itself:
        a line belongs to no field, a CR stands alone, a blank stands before a colon, or there are more fields.
    """
    try:
        text, is_ascii = block.decode("ascii"), True
    except UnicodeDecodeError:
        text, is_ascii = block.decode("utf-8", "surrogateescape"), False
    if "\r" in text:
        if text.count("\r") != text.count("\r\n"):
            return None
        text = text.replace("\r", "")
    text = "\n" + "".join(_FOLD.split(text))  # in a little less time than a substitution
    found: list[Item] = _ITEM.findall(text)
    if len(found) > most or (found and found[-1] == _NO_ITEM):
        return None
    # a single sign is found by memchr, two of them are not
    if is_ascii and ("?" not in text or _ENCODED.search(text) is None) and "\x1b" not in text:
        return tuple(found), True
    plain = [
        (name, body if body.isascii() and "=?" not in body and "\x1b" not in body else None)  # type: ignore[union-attr,operator]
        for name, body in found
    ]
    return tuple(plain), False


names_and_texts = native.names_and_texts or names_and_texts_in_python


class _Keys(dict[str, str]):
    """Names as written, and in lower case: those that mail is full of."""

    def __missing__(self, name: str) -> str:
        key = name.lower()
        if len(name) < 80:  # LIMIT: a sender's inventions must not fill the memory, nor keep the names of others out
            if len(self) >= 4000:
                self.clear()
            key = self[name] = sys.intern(key)  # its hash is known, and it is compared by identity
        return key


_FEW = 100  # fields that are sooner looked through, compiled, than indexed
_KEYS = _Keys()
_key_of, _name_of_item = _KEYS.__getitem__, itemgetter(0)


class Lines:
    """The lines of one block: fields, and lines that are none. Cut and read when somebody asks.

    Attributes:
        start: the first one's offset in what was parsed, None where they were composed.
        is_complete: whether each has its text, from when they were read.
    """

    __slots__ = (
        "_block", "_grammar", "_is_clean", "_items", "_keys", "_most", "_offsets", "_places", "_raws", "_values",
        "is_complete", "start",
    )  # fmt: skip

    def __init__(
        self,
        grammar: Grammar,
        block: bytes | None,
        raws: list[bytes] | None = None,
        start: int | None = None,
        most: int = sys.maxsize,
    ) -> None:
        """Lines of a block, or lines that were cut before; one of the two is given.

        Args:
            grammar: of their line ends.
            block: all of them.
            raws: each with its folds and line end.
            start: the first one's offset in what was parsed, None where they were composed.
            most: lines that a block is cut into at most.
        """
        self._grammar, self._block, self._raws, self.start, self._most = grammar, block, raws, start, most
        self.is_complete = False
        self._items: tuple[Item, ...] | None = None
        self._keys: list[str] | None = None
        self._places: dict[str, int] | None = None
        self._values: list[FieldValue | None] | None = None
        self._is_clean: bool | None = None
        self._offsets: list[int] | None = None

    @property
    def raws(self) -> list[bytes]:
        """Each with its folds and line end."""
        raws = self._raws
        if raws is None:
            assert self._block is not None
            raws = self._grammar.cut(self._block)
            if len(raws) > self._most:  # LIMIT: a million fields of three octets; the rest stays one raw field
                raws[self._most :] = [b"".join(raws[self._most :])]
            self._raws = raws
        return raws

    @property
    def items(self) -> tuple[Item, ...]:
        """Name and text of each."""
        items = self._items
        return items if items is not None else self._read()

    def _read(self) -> tuple[Item, ...]:
        raws = self._raws
        if self._grammar is LF_GRAMMAR and (raws is None or len(raws) > 1):
            block = self._block if self._block is not None else b"".join(raws or ())
            found = names_and_texts(block, self._most)
            if found is not None and (raws is None or len(found[0]) == len(raws)):
                items, self.is_complete = found
                self._items, self._is_clean = items, True
                return items
        self._items = items = tuple([(name_of(raw), None) for raw in self.raws])
        return items

    @property
    def keys(self) -> list[str]:
        """The name of each in lower case, "" for a line without a colon."""
        keys = self._keys
        if keys is None:
            keys = self._keys = list(map(_key_of, map(_name_of_item, self.items)))
        return keys

    def place_of(self, name: str) -> int | None:
        """Where the first field of a name stands, in whatever case it is written; None where there is none."""
        places = self._places
        if places is None:
            if native.places_of is not None and len(self) <= _FEW:
                found = native.places_of(self.items, name)
                return found[0] if found else None
            keys = self.keys
            places = dict(zip(reversed(keys), range(len(keys) - 1, -1, -1), strict=False))
            places.pop("", None)  # a line without a colon
            self._places = places
        place = places.get(name)
        return place if place is not None or name.islower() else places.get(name.lower())

    def places_of(self, name: str) -> Sequence[int]:
        """Where all fields of a name stand."""
        if native.places_of is not None and len(self) <= _FEW:
            return native.places_of(self.items, name)
        first = self.place_of(name)
        if first is None:
            return ()
        keys = self.keys
        key = keys[first]
        if keys.count(key) == 1:  # in a quarter of the time
            return (first,)
        return [place for place, one in enumerate(keys) if one == key]

    def __len__(self) -> int:
        return len(self.items if self._raws is None else self._raws)

    @property
    def is_clean(self) -> bool:
        """Whether every line belongs to a field."""
        if self._is_clean is None:
            self._is_clean = all(map(FIELD_START.match, self.raws))
        return self._is_clean

    def value(self, place: int) -> FieldValue:
        """The typed value of one; made at the first question, then kept."""
        values = self._values
        if values is None:
            values = self._values = [None] * len(self)
        value = values[place]
        if value is None:
            name, text = (self._items or self.items)[place]
            value = values[place] = self.value_of_raw(place) if text is None else read_known(name, text)
        return value

    def value_of(self, name: str) -> FieldValue | None:
        """The typed value of the first field of a name; None where there is none."""
        if native.value_of is not None:
            values, items = self._values, self._items or self.items
            if values is None:
                values = self._values = [None] * len(items)
            if len(items) <= _FEW:
                return native.value_of(items, values, name, TEXT_READERS, self)  # type: ignore[no-any-return]
        place = self.place_of(name)
        return None if place is None else self.value(place)

    def values_of(self, name: str) -> list[FieldValue]:
        """The typed values of all fields of a name."""
        values = self._values
        if values is None:
            values = self._values = [None] * len(self)
        if native.values_of is not None and len(values) <= _FEW:
            return native.values_of(self._items or self.items, values, name, TEXT_READERS, self)
        places = self.places_of(name)
        if not places:
            return []
        items, read_text, found = self.items, reader_of(name), []
        for place in places:  # as `value` does it, with one look for what reads them
            value = values[place]
            if value is None:
                text = items[place][1]
                value = values[place] = self.value_of_raw(place) if text is None else read_text(text)
            found.append(value)
        return found

    def value_of_raw(self, place: int) -> FieldValue:
        """The typed value of one whose text takes a closer look."""
        raw = self.raws[place]
        return read_often(raw) if len(raw) <= REMEMBERED else read(raw)

    def text(self, place: int) -> str:
        """The text of one."""
        text = (self._items or self.items)[place][1]
        if text is None:
            value = None if self._values is None else self._values[place]
            text = value.text if isinstance(value, Text) else text_of(self.raws[place])
        return text

    def offset_of(self, place: int) -> int | None:
        """Where a line begins in what was parsed."""
        if self.start is None or place == 0:
            return self.start
        if self._offsets is None:
            self._offsets = list(accumulate(map(len, self.raws), initial=self.start))
        return self._offsets[place]


def name_of(raw: bytes) -> str:
    """The name of a raw field as written; "" for a line without a colon."""
    name, colon, _ = raw.partition(b":")
    return name.rstrip(b" \t").decode("utf-8", "surrogateescape") if colon else ""


def text_of(raw: bytes) -> str:
    """The text of a raw field; of the whole of a line without a colon."""
    _, colon, body = raw.partition(b":")
    return unstructured.read(body if colon else raw)
