"""Where an entity stands in the octets that were parsed, and what is known of it; made and filled by one scan.

    node = place(Node, Document(octets), start=0, stop=len(octets))
    fault(node, "missing-separator", offset)
    end_at(node, stop)

Never here: how places are found (`mailpipe.parser.scan`).
"""

from typing import Any, TypeVar

from mailpipe.fields.content_type import ContentType
from mailpipe.limits import DEFAULT_LIMITS, Limits
from mailpipe.parser.grammar import CR_GRAMMAR, LF_GRAMMAR, Buffer, Grammar

# Start and stop of a node are one int. Nobody can map 256 TB.
BITS = 48
STOP = (1 << BITS) - 1


class Document:
    """The octets that `parse` was given, and how to read them.

    Attributes:
        octets: bytes or a mapped file.
        limits: bounds of understanding.
        grammar: the line grammar.
        is_hidden: the octets were found under a transfer encoding; offsets in them are not offsets in the source.
    """

    __slots__ = ("grammar", "is_hidden", "limits", "octets")

    def __init__(self, octets: Buffer, limits: Limits = DEFAULT_LIMITS) -> None:
        self.octets = octets
        self.limits = limits
        self.is_hidden = False
        is_cr = octets.find(b"\n") < 0 and octets.find(b"\r") >= 0
        self.grammar: Grammar = CR_GRAMMAR if is_cr else LF_GRAMMAR


class Node:
    """The place of an entity in a document: header [start, header_stop), body [body_start, stop).

    Kept small, as there is one to each part: start and stop are one int, which is no larger for having 60 bits than 30;
    sizes up to 256 are ints that CPython shares; what few nodes have shares a slot.
    """

    __slots__ = (
        "_children", "_content_type", "_document", "_encoding", "_header", "_header_size", "_kind", "_place", "_rare",
        "_separator_size",
    )  # fmt: skip

    _document: Document | None  # None: composed, not read
    _place: int  # start << BITS | stop
    _header_size: int  # -1: not scanned yet
    _separator_size: int  # of the empty line behind the header, from when that is scanned
    _children: "tuple[Node, ...] | None"  # None: not scanned yet, or hidden under a transfer encoding
    _content_type: ContentType | None  # None: not scanned yet
    _kind: bytes | None  # body of Content-Type, from when the header is scanned until the type is known
    _encoding: bytes | None  # body of Content-Transfer-Encoding, from when the header is scanned
    _header: Any  # of whoever derives from this; None until asked for
    _rare: tuple[Any, ...]  # structural defects: code, offset; of what is composed: for whoever derives from this

    @property
    def _start(self) -> int:
        return self._place >> BITS

    @property
    def _body_start(self) -> int:
        return (self._place >> BITS) + self._header_size + self._separator_size

    @property
    def _stop(self) -> int:
        return self._place & STOP


N = TypeVar("N", bound=Node)


def place(kind: type[N], document: Document, start: int, stop: int) -> N:
    """A node whose inside has not been scanned."""
    node = kind()
    node._document = document
    node._place = start << BITS | stop
    node._header_size = -1
    node._children = node._content_type = node._header = node._kind = node._encoding = None
    node._rare = ()
    return node


def fault(node: Node, code: str, offset: int) -> None:
    """Remember a structural defect."""
    node._rare = (*node._rare, (code, offset))


def end_at(node: Node, stop: int) -> None:
    """Let a scanned node end where a delimiter does."""
    start = node._place >> BITS
    header_stop = start + node._header_size
    if header_stop + node._separator_size > stop:
        header_stop, start = min(header_stop, stop), min(start, stop)
        node._header_size, node._separator_size = header_stop - start, stop - header_stop
    node._place = start << BITS | stop
