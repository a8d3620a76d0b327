"""One scan over the octets of a message: header blocks and delimiters become spans (RFC 5322 2.1, RFC 2046 5.1).

    document = Document(octets, limits)
    root = Message(...)                   # a Node with span [0, size)
    scan(root, Entity, Message)           # now root and everything below it know their places

Rules of this file:
- No recursion and no second pass. A stack holds the open multiparts; a hit of any open boundary closes what lies
  deeper. Everything is done with `find`, one compiled pattern for a header block, and slices of single lines.
- No octet of a body is copied or decoded.
- Linear: each octet is looked at a bounded number of times, whatever the nesting.

Never here: the model. Nodes are places; what can be asked of them is written in `mailpipe.message`.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

from mailpipe import native
from mailpipe.fields import content_type
from mailpipe.fields.content_type import ContentType
from mailpipe.limits import DEFAULT_LIMITS, Limits
from mailpipe.parser.grammar import CR_GRAMMAR, LF_GRAMMAR, Buffer, Grammar

TEXT_PLAIN = content_type.parse(b"text/plain")
MESSAGE_RFC822 = content_type.parse(b"message/rfc822")
# RFC 2046 5.2.1, RFC 6532 3.7; message/news is the same thing by its old name (RFC 5537)
ENCLOSING = frozenset({"message/rfc822", "message/global", "message/news"})
_BLANKS = (b" ", b"\t")
_FIRST_LETTERS = (b"C", b"c")
_IDENTITY = frozenset({b"", b"7bit", b"8bit", b"binary"})
# LIMIT: a delimiter line is a boundary (70 octets by RFC 2046 5.1.1, more in the wild) and padding.
_LONGEST_DELIMITER = 4096
# Up to this depth each boundary is searched by itself, with long skips; beyond it every line that begins with
# two hyphens is looked up, so that the cost does not grow with the depth.
_SEARCHED_LEVELS = 3
# A header of a part that is longer is read field by field.
_ORDINARY_HEADER = 2048


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
    """The place of an entity in a document: header [start, header_stop), body [body_start, stop)."""

    __slots__ = (
        "_body_start", "_children", "_content_type", "_document", "_encoding", "_faults", "_header", "_header_stop",
        "_kind", "_start", "_stop",
    )

    _document: Document | None  # None: composed, not read
    _start: int
    _header_stop: int  # -1: not scanned yet
    _body_start: int
    _stop: int
    _children: "Sequence[Node] | None"  # None: not scanned yet, or hidden under a transfer encoding
    _content_type: ContentType | None  # None: not scanned yet
    _kind: bytes | None  # body of Content-Type, from when the header is scanned until the type is known
    _encoding: bytes | None  # body of Content-Transfer-Encoding, from when the header is scanned
    _faults: tuple[tuple[str, int], ...]  # structural defects: code, offset
    _header: Any  # of whoever derives from this; None until asked for


N = TypeVar("N", bound=Node)


def place(kind: type[N], document: Document, start: int, stop: int) -> N:
    """A node whose inside has not been scanned."""
    node = kind.__new__(kind)
    node._document = document
    node._start = start
    node._header_stop = node._body_start = -1
    node._stop = stop
    node._children = node._content_type = node._header = node._kind = node._encoding = None
    node._faults = ()
    return node


def fault(node: Node, code: str, offset: int) -> None:
    """Remember a structural defect."""
    node._faults = (*node._faults, (code, offset))


def scan_header(node: Node, delimiters: "dict[bytes, int] | None" = None) -> None:
    """Find where the header ends and the body begins, and what the header says about the body; once.

    Args:
        node: with its span; its stop may still be the stop of what encloses it.
        delimiters: the delimiter lines that are open; one of them ends a header that lacks its empty line.
    """
    if node._header_stop >= 0:
        return
    document = node._document
    assert document is not None
    octets, grammar, start, stop = document.octets, document.grammar, node._start, node._stop
    bound = start + document.limits.header_size
    if bound > stop:
        bound = stop
    search = grammar.part_mark.search if delimiters else grammar.mark.search
    position, header_stop, body_start = start - 1, -1, -1
    kind_at = encoding_at = -1
    if start == 0 or octets[position:start] != grammar.line_end:  # no line end to begin the search with
        position, head = start, octets[start : start + 2]
        if grammar.begins_empty(head):
            header_stop = start
        elif delimiters and head == b"--" and _is_open(node, start, bound, delimiters):
            header_stop = body_start = start
        elif head[:1] in _FIRST_LETTERS and (found := grammar.first_mark.match(octets, start, bound)):
            position = found.end()
            kind_at, encoding_at = (position, -1) if found.lastindex == 1 else (-1, position)
    marks = native.header_marks
    if header_stop < 0 and marks is not None and not delimiters and grammar is LF_GRAMMAR and isinstance(octets, bytes):
        header_stop, body_start, kind_at, encoding_at = marks(octets, position, bound, kind_at, encoding_at)
    while header_stop < 0:
        found = search(octets, position, bound)
        if found is None:
            header_stop = body_start = bound
            break
        position, which = found.end(), found.lastindex
        if which is None:
            header_stop, body_start = found.start() + 1, position
        elif which == 1:
            if kind_at < 0:
                kind_at = position
        elif which == 2:
            if encoding_at < 0:
                encoding_at = position
        elif delimiters and _is_open(node, position - 2, bound, delimiters):
            header_stop = body_start = position - 2
    if body_start < 0:
        body_start = header_stop + (2 if octets[header_stop : header_stop + 2] == b"\r\n" else 1)
    elif body_start == header_stop:
        if header_stop < stop and header_stop < bound:
            # QUIRK: a part that ends without an empty line is a header as far as it looks like one, and a body from
            # there on; mailers that forget the empty line are many, and their text is to be seen
            header_stop = body_start = grammar.fields_stop(octets, start, header_stop)
        if header_stop < stop:
            fault(node, "limit-header-size" if header_stop >= bound else "missing-separator", header_stop)
    node._header_stop, node._body_start = header_stop, body_start
    if 0 < kind_at < header_stop:
        node._kind = _body_at(octets, kind_at, header_stop, grammar.line_end)
    if 0 < encoding_at < header_stop:
        node._encoding = _body_at(octets, encoding_at, header_stop, grammar.line_end)


def _is_open(node: Node, position: int, bound: int, delimiters: "dict[bytes, int]") -> bool:
    """Whether a line that begins with two hyphens is an open delimiter."""
    document = node._document
    assert document is not None
    stop = document.octets.find(document.grammar.line_end, position, bound)
    line = document.octets[position : min(bound if stop < 0 else stop, position + _LONGEST_DELIMITER)]
    return line.rstrip(b" \t\r") in delimiters


def _body_at(octets: Buffer, start: int, bound: int, line_end: bytes) -> bytes:
    """The unfolded body of a field."""
    stop = octets.find(line_end, start, bound)
    if stop < 0:
        return octets[start:bound].strip()
    if octets[stop + 1 : stop + 2] not in _BLANKS:
        return octets[start:stop].strip()
    while 0 <= stop < bound - 1 and octets[stop + 1 : stop + 2] in _BLANKS:
        stop = octets.find(line_end, stop + 1, bound)
    return _unfolded(octets[start : stop if stop >= 0 else bound], line_end)


def _unfolded(body: bytes, line_end: bytes) -> bytes:
    if body.find(line_end) >= 0:
        body = body.replace(b"\r", b"").replace(b"\n", b"")
    return body.strip()


def _kind_of(node: Node, default: ContentType) -> ContentType:
    """The type that a scanned header names; its octets are not kept longer."""
    body, node._kind = node._kind, None
    return default if body is None else content_type.parse(body)


class _Level:
    """An open multipart on the stack."""

    __slots__ = ("child_type", "children", "depth", "hit", "needle", "node", "plain", "saved")

    def __init__(self, node: Node, plain: bytes, line_end: bytes, depth: int) -> None:
        self.node = node
        self.children: list[Node] = []
        node._children = self.children
        self.plain = plain
        self.needle = line_end + plain
        self.depth = depth  # how many entities are open, this one included
        self.hit = -2  # the next place of the needle; -2 not searched, -1 none
        self.saved: tuple[int | None, int | None] = (None, None)
        is_digest = node._content_type is not None and node._content_type.subtype == "digest"
        self.child_type = MESSAGE_RFC822 if is_digest else TEXT_PLAIN


def scan(root: Node, entity: type[Node], message: type[Node]) -> None:
    """Find every header, body and part below a node, and note the structural defects.

    Args:
        root: a placed node; its own header is scanned too.
        entity: the class of the parts of a multipart.
        message: the class of enclosed messages.
    """
    document = root._document
    assert document is not None
    scan_header(root)
    kind = _kind_of(root, TEXT_PLAIN)
    if kind.type != "multipart" and kind.type != "message":  # most messages are a leaf
        root._content_type, root._children = kind, ()
    else:
        _Scan(root, entity, message).run(root, kind)


class _Scan:
    """The state of one scan: the stack of open multiparts and the entities without a stop."""

    __slots__ = (
        "delimiters", "document", "end", "entity", "find", "line_end", "match_header", "message", "octets", "opened",
        "parts", "reach", "stack",
    )

    def __init__(self, root: Node, entity: type[Node], message: type[Node]) -> None:
        document = root._document
        assert document is not None
        self.document, self.entity, self.message = document, entity, message
        self.octets, self.line_end, self.find = document.octets, document.grammar.line_end, document.octets.find
        self.end = root._stop
        self.delimiters: dict[bytes, int] = {}  # open delimiter line → 2 * level, + 1 for the closing one
        self.stack: list[_Level] = []
        self.opened: list[Node] = []  # outermost first
        self.match_header = document.grammar.part_header.match
        self.reach = 1 + min(_ORDINARY_HEADER, document.limits.header_size)
        self.parts = 1

    def run(self, root: Node, kind: ContentType) -> None:
        """Scan everything."""
        stack, limits = self.stack, self.document.limits
        search = self.enter(root, kind)
        while stack and (found := self.next_delimiter(search)):
            code, hit, stop = found
            level = self.close(code >> 1, hit)
            search = stop
            if code & 1:  # what follows is epilogue, until a delimiter of what encloses this multipart
                self.pop()
                continue
            if self.parts >= limits.part_count:
                fault(level.node, "limit-part-count", hit)
                break
            self.parts += 1
            search = self.begin_part(level, stop)
        for level in stack:
            fault(level.node, "missing-close-delimiter" if level.node._children else "boundary-not-found", self.end)

    def begin_part(self, level: _Level, line_end_at: int) -> int:
        """Place a part behind a delimiter line and scan its header; gives where to search on."""
        end, bound = self.end, line_end_at + self.reach
        child = place(self.entity, self.document, line_end_at + 1 if line_end_at < end else end, end)
        level.children.append(child)
        found = self.match_header(self.octets, line_end_at, bound if bound < end else end)
        if found is None:  # long, or odd
            return self.begin(child, level.child_type)
        body, encoding = found.group(1, 2)
        child._header_stop, search = found.span(3)
        child._body_start = search
        if encoding is not None:
            child._encoding = _unfolded(encoding, self.line_end)
        kind = level.child_type if body is None else content_type.parse(_unfolded(body, self.line_end))
        if kind.type == "multipart" or kind.type == "message":
            return self.enter(child, kind)
        child._content_type, child._children = kind, ()
        self.opened.append(child)
        return search - 1

    def begin(self, node: Node, default: ContentType) -> int:
        """Scan the header of an entity and open it; gives where to search on."""
        scan_header(node, self.delimiters)
        return self.enter(node, _kind_of(node, default))

    def enter(self, node: Node, kind: ContentType) -> int:
        """Open an entity and every message enclosed directly in it; gives where to search on."""
        document, limits = self.document, self.document.limits
        while True:
            self.opened.append(node)
            node._content_type, node._children = kind, ()
            if kind.type == "multipart":
                self.push(node, kind)
            elif kind.type == "message" and kind.value in ENCLOSING:
                if node._encoding is not None and _is_encoded(node._encoding):
                    fault(node, "encoded-message", node._start)
                    node._children = None  # decoded and parsed when somebody asks
                elif len(self.opened) >= limits.nesting_depth:
                    fault(node, "limit-nesting-depth", node._body_start)
                elif self.parts >= limits.part_count:
                    fault(node, "limit-part-count", node._body_start)
                else:
                    child = place(self.message, document, node._body_start, self.end)
                    node._children = [child]
                    self.parts += 1
                    scan_header(child, self.delimiters)
                    node, kind = child, _kind_of(child, TEXT_PLAIN)
                    continue
            return node._body_start - 1

    def push(self, node: Node, kind: ContentType) -> None:
        """Open a multipart."""
        # QUIRK: a boundary may hold octets above 127 (RFC 2046 5.1.1 forbids it); trailing blanks are padding
        boundary = (kind.boundary or "").rstrip(" \t").encode("utf-8", "surrogateescape")
        if not boundary:
            fault(node, "missing-boundary", node._start)
        elif len(self.opened) >= self.document.limits.nesting_depth:
            fault(node, "limit-nesting-depth", node._body_start)
        else:
            level = _Level(node, b"--" + boundary, self.line_end, len(self.opened))
            closing, number, delimiters = level.plain + b"--", 2 * len(self.stack), self.delimiters
            level.saved = (delimiters.get(level.plain), delimiters.get(closing))
            delimiters[level.plain], delimiters[closing] = number, number + 1
            self.stack.append(level)

    def pop(self) -> _Level:
        """Forget the innermost multipart's delimiters."""
        level = self.stack.pop()
        if not self.stack:  # the outermost: none is left
            self.delimiters.clear()
            return level
        for line, before in zip((level.plain, level.plain + b"--"), level.saved, strict=True):
            if before is None:
                self.delimiters.pop(line, None)
            else:
                self.delimiters[line] = before
        return level

    def close(self, index: int, hit: int) -> _Level:
        """End whatever lies deeper than the level whose delimiter was hit; gives that level."""
        stack, opened = self.stack, self.opened
        while len(stack) > index + 1:
            fault(self.pop().node, "missing-close-delimiter", hit)
        level = stack[index]
        # RFC 2046 5.1.1: the line end before a delimiter belongs to the delimiter
        stop = hit - 1 if hit > 0 and self.octets[hit - 1] == 0x0D and self.line_end == b"\n" else hit
        while len(opened) > level.depth:
            node = opened.pop()
            node._stop = stop
            if node._body_start > stop:
                node._body_start = stop
                if node._header_stop > stop:
                    node._header_stop = stop
                    if node._start > stop:
                        node._start = stop
        return level

    def next_delimiter(self, search: int) -> tuple[int, int, int] | None:
        """The next open delimiter line: its code, the place of the line end before it, and of the one that ends it.

        Args:
            search: the place of the line end before the first line to look at; -1 for the first line of all.
        """
        octets, find, end, stack = self.octets, self.find, self.end, self.stack
        line_end, delimiters = self.line_end, self.delimiters
        if search < 0:
            search = 0
            if octets[:2] == b"--":
                stop = find(line_end, 0, end)
                stop = end if stop < 0 else stop
                code = delimiters.get(octets[: min(stop, _LONGEST_DELIMITER)].rstrip(b" \t\r"), -1)
                if code >= 0:
                    return code, 0, stop
        while True:
            # memchr for the hyphen is many times faster than any longer needle, and base64 holds none
            hyphen = find(b"-", search, end)
            if hyphen < 0:
                return None
            if hyphen - 1 > search:
                search = hyphen - 1
            if len(stack) == 1:
                hit = find(stack[0].needle, search, end)
            elif len(stack) <= _SEARCHED_LEVELS:
                hit = -1
                for level in stack:
                    if level.hit != -1 and level.hit < search:
                        level.hit = find(level.needle, search, end)
                    if level.hit >= 0 and (hit < 0 or level.hit < hit):
                        hit = level.hit
            else:
                hit = find(line_end + b"--", search, end)
            if hit < 0:
                return None
            stop = find(line_end, hit + 3, end)
            if stop < 0:
                stop = end
            line = octets[hit + 1 : stop if stop - hit < _LONGEST_DELIMITER else hit + _LONGEST_DELIMITER]
            code = delimiters.get(line.rstrip(b" \t\r"), -1)
            if code >= 0:
                return code, hit, stop
            search = stop


def _is_encoded(token: bytes) -> bool:
    """Whether a transfer encoding hides the structure of what is enclosed."""
    return token.partition(b"(")[0].strip().lower() not in _IDENTITY
