r"""Message identifiers: Message-ID, In-Reply-To, References and their kin (RFC 5322 section 3.6.4).

    message_id.parse_list(b" <1@a.example>\r\n <2@b.example>").ids     # ("1@a.example", "2@b.example")
    message_id.parse(b"<1@a.example>").id                               # "1@a.example"

Identifiers are held without their angle brackets. QUIRK: where a body has no angle brackets at all, words with an "@"
are taken for identifiers.

Never here: how identifiers are made; message/compose.py makes them.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import overload

from mailpipe.defect import Defect
from mailpipe.fields.value import FieldValue, one_line, read_text
from mailpipe.frozen import quick_maker

_ONE = re.compile(rb"\s*+<([^<>@\s\x80-\xff]*+@[^<>\s\x80-\xff]*+)>\s*+\Z")
_BRACKETED = re.compile(r"<([^<>]*+)>")
_BLANK = re.compile(r"[ \t\r\n]++(?:\([^()]*+\))?|\([^()]*+\)[ \t\r\n]++|(\"[^\"]*+\")")
_LINE_END = re.compile(r"[\r\n]++")
_WORD = re.compile(r"[^\s,;<>()\"]++")
_SHAPE = re.compile(r"[^@\s]++@[^@\s]++")


@dataclass(frozen=True, slots=True)
class MessageId(FieldValue):
    """One message identifier.

    Attributes:
        id: "left@right" without angle brackets; "" where the body has none.
        defects: what is wrong with the body.
    """

    id: str
    defects: tuple[Defect, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        return f"<{self.id}>"

    def render(self) -> bytes:
        """The octets of a composed field's body."""
        return f"<{self.id}>".encode()


@dataclass(frozen=True, slots=True)
class MessageIdList(FieldValue):
    """Message identifiers in order.

    Attributes:
        ids: "left@right" without angle brackets.
        defects: what is wrong with the body.

    >>> list(parse_list(b"Your message of Monday <1@a.example>"))
    ['1@a.example']
    """

    ids: tuple[str, ...] = ()
    defects: tuple[Defect, ...] = field(default=(), compare=False)

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        return self.ids[index]

    def __str__(self) -> str:
        return " ".join(f"<{each}>" for each in self.ids)

    def render(self) -> bytes:
        """The octets of a composed field's body, not folded."""
        return str(self).encode()


_make = quick_maker(MessageId)
_make_list = quick_maker(MessageIdList)


def _find(body: bytes) -> tuple[list[str], list[Defect]]:
    defects: list[Defect] = []
    text = read_text(body, defects)
    ids = [_tight(each) if not each.isprintable() or " " in each else each for each in _BRACKETED.findall(text)]
    ids = [each for each in ids if each]
    if not ids:
        words = [word for word in _WORD.findall(text) if "@" in word]
        if len(words) == 0 and len(text.split()) == 1:
            words = [text.strip().strip("<>")]
        ids = [word for word in words if word]
        if ids or text.strip():
            defects.append(Defect("invalid-message-id", 0, one_line(text.strip())))
    elif any(_SHAPE.fullmatch(each) is None for each in ids):
        wrong = next(each for each in ids if _SHAPE.fullmatch(each) is None)
        defects.append(Defect("invalid-message-id", body.find(b"<"), one_line(wrong)))
    return ids, defects


def _tight(text: str) -> str:
    """An identifier without the blanks and comments round its words (RFC 5322 section 4.5.4); quoted blanks stay."""
    return _BLANK.sub(lambda found: _LINE_END.sub("", found[1]) if found[1] else "", text)


def parse(body: bytes) -> MessageId:
    """The identifier of Message-ID, Resent-Message-ID or Content-ID. Never raises.

    Args:
        body: what follows the colon, folded or not.
    """
    found = _ONE.match(body)
    if found is not None:
        return _make(found[1].decode("ascii"), ())
    ids, defects = _find(body)
    if len(ids) > 1:
        defects.append(Defect("invalid-message-id", body.find(b">") + 1, "more than one"))
    return _make(ids[0] if ids else "", tuple(defects))


def parse_list(body: bytes) -> MessageIdList:
    """The identifiers of In-Reply-To or References. Never raises.

    Args:
        body: what follows the colon, folded or not.
    """
    ids, defects = _find(body)
    return _make_list(tuple(ids), tuple(defects))
