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

from mailpipe import native
from mailpipe.fields import content_type
from mailpipe.fields.content_type import ContentType
from mailpipe.parser.grammar import LF_GRAMMAR, Buffer
from mailpipe.parser.node import BITS, STOP, Document, Node, end_at, fault, place

TEXT_PLAIN = content_type.parse(b"text/plain")
MESSAGE_RFC822 = content_type.parse(b"message/rfc822")
# RFC 2046 5.2.1, RFC 6532 3.7; message/news is the same thing by its old name (RFC 5537)
ENCLOSING = frozenset({"message/rfc822", "message/global", "message/news"})
_BLANKS = b" \t"
_FIRST_LETTERS = (b"C", b"c")
# What stands behind the colon in nearly every Content-Transfer-Encoding, with LF and with CRLF, and what it is without
# blanks: kept once for all parts.
_ENCODINGS = {
    b" %b%b" % (name, end): name
    for token in (b"7bit", b"8bit", b"binary", b"base64", b"quoted-printable")
    for name in (token, token.upper(), token.title())
    for end in (b"", b"\r")
}
_IDENTITY = frozenset({b"", b"7bit", b"8bit", b"binary"})
# LIMIT: a delimiter line is a boundary (70 octets by RFC 2046 5.1.1, more in the wild) and padding.
_LONGEST_DELIMITER = 4096
# Up to this depth each boundary is searched by itself, with long skips; beyond it every line that begins with
# two hyphens is looked up, so that the cost does not grow with the depth.
_SEARCHED_LEVELS = 3
# A header of a part that is longer is read field by field.
_ORDINARY_HEADER = 2048


def scan_header(node: Node, delimiters: "dict[bytes, int] | None" = None) -> None:
    """Find where the header ends and the body begins, and what the header says about the body; once.

    Args:
        node: with its span; its stop may still be the stop of what encloses it.
        delimiters: the delimiter lines that are open; one of them ends a header that lacks its empty line.
    """
    if node._header_size >= 0:
        return
    document = node._document
    assert document is not None
    octets, grammar, place = document.octets, document.grammar, node._place
    start, stop, line_end = place >> BITS, place & STOP, grammar.line_end
    bound = start + document.limits.header_size
    if bound > stop:
        bound = stop
    marks = None if delimiters or grammar is not LF_GRAMMAR else native.header_marks
    if marks is not None and bound - start > 2 and isinstance(octets, bytes):
        header_stop, body_start, node._kind, node._encoding = marks(octets, start, bound)
        if body_start > header_stop:
            node._separator_size = body_start - header_stop
            node._header_size = header_stop - start  # as below
            return
    search = grammar.part_mark.search if delimiters else grammar.mark.search
    position, header_stop, body_start = start - 1, -1, -1
    kind_at = encoding_at = -1
    if start == 0 or octets[position:start] != line_end:  # no line end to begin the search with
        position, head = start, octets[start : start + 2]
        if head[:1] == line_end or head == b"\r\n":
            header_stop = start
        elif delimiters and head == b"--" and _is_open(node, start, bound, delimiters):
            header_stop = body_start = start
        elif head[:1] in _FIRST_LETTERS and (found := grammar.first_mark.match(octets, start, bound)):
            position = found.end()
            kind_at, encoding_at = (position, -1) if found.lastindex == 1 else (-1, position)
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
    if 0 < kind_at < header_stop:
        node._kind = _body_at(octets, kind_at, header_stop, line_end)
    if 0 < encoding_at < header_stop:
        node._encoding = _body_at(octets, encoding_at, header_stop, line_end)
    node._separator_size = body_start - header_stop
    node._header_size = header_stop - start  # at last: another thread takes it to mean that all is known


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
    if stop + 1 >= bound or octets[stop + 1] not in _BLANKS:
        return octets[start:stop].strip()
    while 0 <= stop < bound - 1 and octets[stop + 1] in _BLANKS:
        stop = octets.find(line_end, stop + 1, bound)
    return _unfolded(octets[start : stop if stop >= 0 else bound], line_end)


def _unfolded(body: bytes, line_end: bytes) -> bytes:
    if line_end[0] in body:
        body = body.replace(b"\r", b"").replace(b"\n", b"")
    return body.strip()


def _kind_of(node: Node, default: ContentType) -> ContentType:
    """The type that a scanned header names; its octets are not kept longer."""
    body, node._kind = node._kind, None
    return default if body is None else content_type.parse(body)


class _Level:
    """An open multipart on the stack."""

    __slots__ = (
        "child_type", "children", "closing", "depth", "hit", "is_plain", "needle", "node", "plain", "saved", "size",
    )  # fmt: skip

    node: Node
    children: list[Node]
    child_type: ContentType  # of a part that names none
    plain: bytes  # its delimiter line
    closing: bytes
    needle: bytes  # a line end and the delimiter
    size: int  # of the needle
    is_plain: bool  # whether a line end behind the needle makes it a delimiter line: the boundary fits in a line
    depth: int  # how many entities are open, this one included
    hit: int  # where the needle may be next: -2 not searched, -1 nowhere
    saved: tuple[int | None, int | None] | None  # what else its delimiter lines were


def scan(root: Node, entity: type[Node], message: type[Node]) -> ContentType:
    """Find every header, body and part below a node, and note the structural defects; gives the type of the node.

    Args:
        root: a placed node; its own header is scanned too.
        entity: the class of the parts of a multipart.
        message: the class of enclosed messages.
    """
    scan_header(root)
    document, body = root._document, root._kind
    assert document is not None
    if body is None:
        kind = root._content_type or TEXT_PLAIN  # another thread may have scanned it meanwhile
    else:
        types = document.grammar.types
        kind = types.get(body) or _learn(body, body, types)
    if kind.type != "multipart" and kind.type != "message":  # most messages are a leaf
        root._children = ()
    else:
        _Scan(document, root._place & STOP, entity, message).run(root, kind)
    root._content_type, root._kind = kind, None  # at last, for the same reason as the size of a header
    return kind


class _Scan:
    """The state of one scan: the stack of open multiparts and the entities without a stop."""

    __slots__ = ("delimiters", "document", "end", "entity", "message", "opened", "parts", "stack")

    def __init__(self, document: Document, end: int, entity: type[Node], message: type[Node]) -> None:
        self.document, self.end, self.entity, self.message = document, end, entity, message
        self.delimiters: dict[bytes, int] = {}  # open delimiter line → 2 * level, + 1 for the closing one
        self.stack: list[_Level] = []
        self.opened: list[Node] = []  # outermost first; without the leaf that `run` has in hand
        self.parts = 1

    def run(self, root: Node, kind: ContentType) -> None:
        """Scan everything."""
        document, end, entity, stack, opened = self.document, self.end, self.entity, self.stack, self.opened
        octets, limits, grammar = document.octets, document.limits, document.grammar
        find, line_end, match_header, types = octets.find, grammar.line_end, grammar.part_header.match, grammar.types
        line_octet, reach, part_count = line_end[0], 1 + _ORDINARY_HEADER, limits.part_count
        if limits.header_size < _ORDINARY_HEADER:
            reach = 1 + limits.header_size
        search = self.enter(root, kind)  # the place of the line end before the first line to look at
        leaf: Node | None = None  # what was begun last, where that is a leaf
        leaf_start = body_start = 0
        outer = -2  # where a delimiter of any multipart but the innermost may be next: -2 not searched, -1 nowhere
        while stack:
            # memchr for the hyphen is many times faster than any longer needle, and base64 holds none
            hyphen = find(b"-", search, end)
            if hyphen < 0:
                break
            if hyphen > search:
                search = hyphen - 1
            level = stack[-1]
            is_plain = level.is_plain
            if len(stack) == 1:
                hit = find(level.needle, search, end)
            elif len(stack) <= _SEARCHED_LEVELS:
                if outer < search and outer != -1:
                    outer = self.next_outer(search)
                hit = find(level.needle, search, end if outer < 0 else outer + level.size)
                if hit < 0:
                    hit, is_plain = outer, False
            else:
                hit = find(line_end + b"--", search, end)
                is_plain = is_plain and octets[hit : hit + level.size] == level.needle
            if hit < 0:
                break
            stop = hit + level.size
            octet, is_closing = octets[stop] if is_plain and stop < end else -1, False
            if octet == 0x2D and octets[stop : stop + 2] == b"--":
                stop, is_closing = stop + 2, True
                octet = octets[stop] if stop < end else -1
            if octet == 0x0D and stop + 1 < end and octets[stop + 1] == 0x0A:
                stop, octet = stop + 1, 0x0A
            if octet != line_octet:
                stop, code = self.delimiter_at(hit)
                if code < 0:
                    search = stop
                    continue
                level, is_closing = stack[code >> 1], code & 1 == 1
            # RFC 2046 5.1.1: the line end before a delimiter belongs to the delimiter
            cut = hit - 1 if octets[hit - 1] == 0x0D and line_octet == 0x0A else hit
            if leaf is not None:
                leaf._place = leaf_start << BITS | cut
                if body_start > cut:
                    end_at(leaf, cut)
                leaf = None
            if len(opened) > level.depth:
                self.close(level, hit, cut)
                outer = -2
            search = stop
            if is_closing:  # what follows is epilogue, until a delimiter of what encloses this multipart
                self.pop()
                outer = -2
                continue
            if self.parts >= part_count:
                fault(level.node, "limit-part-count", hit)
                break
            self.parts += 1
            found = match_header(octets, stop, stop + reach if stop + reach < end else end)
            if found is None:  # long, or odd
                part = place(entity, document, stop + 1 if stop < end else end, end)
                level.children.append(part)
                scan_header(part, self.delimiters)
                search, outer = self.enter(part, _kind_of(part, level.child_type)), -2
                continue
            body, encoding = found.group(1, 2)
            leaf_start, body_start = stop + 1, found.end()
            part = entity()
            part._document = document
            part._separator_size = separator = 2 if found.lastindex == 3 else 1
            part._header_size = body_start - separator - leaf_start
            part._encoding = encoding and (_ENCODINGS.get(encoding) or _unfolded(encoding, line_end))
            part._header = part._kind = None
            part._rare = ()
            level.children.append(part)
            kind = level.child_type
            if body is not None:
                kind = types.get(body) or _learn(body, _unfolded(body, line_end), types)
            if kind.type == "multipart" or kind.type == "message":
                part._place = leaf_start << BITS | end
                search, outer = self.enter(part, kind), -2
                continue
            part._content_type, part._children = kind, ()
            leaf, search = part, body_start - 1
        if leaf is not None:
            leaf._place = leaf_start << BITS | end
        for level in stack:
            level.node._children = tuple(level.children)
            fault(level.node, "missing-close-delimiter" if level.children else "boundary-not-found", end)

    def enter(self, node: Node, kind: ContentType) -> int:
        """Open an entity and every message enclosed directly in it; gives where to search on."""
        document, opened = self.document, self.opened
        while True:
            if opened:
                node._content_type, node._children = kind, ()
            elif node._children is None:  # the root has its type when all is scanned, perhaps from another thread
                node._children = ()
            opened.append(node)
            start = node._place >> BITS
            body_start = start + node._header_size + node._separator_size
            if kind.type == "multipart":
                # QUIRK: a boundary may hold octets above 127 (RFC 2046 5.1.1 forbids it); trailing blanks are padding
                boundary = (kind.params.entries.get("boundary") or "").rstrip(" \t").encode("utf-8", "surrogateescape")
                if not boundary:
                    fault(node, "missing-boundary", start)
                elif len(opened) >= document.limits.nesting_depth:
                    fault(node, "limit-nesting-depth", body_start)
                else:
                    self.push(node, kind, boundary)
            elif kind.type == "message" and kind.value in ENCLOSING:
                if node._encoding is not None and _is_encoded(node._encoding):
                    fault(node, "encoded-message", start)
                    node._children = None  # decoded and parsed when somebody asks
                elif len(opened) >= document.limits.nesting_depth:
                    fault(node, "limit-nesting-depth", body_start)
                elif self.parts >= document.limits.part_count:
                    fault(node, "limit-part-count", body_start)
                else:
                    child = place(self.message, document, body_start, self.end)
                    node._children = (child,)
                    self.parts += 1
                    scan_header(child, self.delimiters)
                    node, kind = child, _kind_of(child, TEXT_PLAIN)
                    continue
            return body_start - 1

    def push(self, node: Node, kind: ContentType, boundary: bytes) -> None:
        """Open a multipart."""
        level, stack, delimiters = _Level(), self.stack, self.delimiters
        level.node, level.children = node, []
        level.child_type = MESSAGE_RFC822 if kind.subtype == "digest" else TEXT_PLAIN
        level.plain = plain = b"--" + boundary
        level.closing = closing = plain + b"--"
        level.needle = needle = self.document.grammar.line_end + plain
        level.size = len(needle)
        level.is_plain = len(needle) < _LONGEST_DELIMITER and 0x0D not in plain and 0x0A not in plain
        level.depth, level.hit = len(self.opened), -2
        number = 2 * len(stack)
        level.saved = (delimiters.get(plain), delimiters.get(closing)) if number else None
        delimiters[plain], delimiters[closing] = number, number + 1
        stack.append(level)

    def pop(self) -> _Level:
        """Forget the innermost multipart's delimiters."""
        level = self.stack.pop()
        level.node._children = tuple(level.children)
        if level.saved is None:  # the outermost: none is left
            self.delimiters.clear()
            return level
        for line, before in zip((level.plain, level.closing), level.saved, strict=True):
            if before is None:
                self.delimiters.pop(line, None)
            else:
                self.delimiters[line] = before
        return level

    def close(self, level: _Level, hit: int, stop: int) -> None:
        """End whatever lies deeper than the level whose delimiter was hit."""
        stack, opened = self.stack, self.opened
        while stack[-1] is not level:
            fault(self.pop().node, "missing-close-delimiter", hit)
        while len(opened) > level.depth:
            end_at(opened.pop(), stop)

    def next_outer(self, search: int) -> int:
        """Where a delimiter of any multipart but the innermost may be next, -1 for nowhere.

        An inner one is searched no further than to the next place of the outer ones, where it may end: what lies behind
        would be searched again for the next inner one.
        """
        nearest = -1
        for level in self.stack[:-1]:
            if level.hit < search and level.hit != -1:
                bound = self.end if nearest < 0 else nearest + level.size
                hit = self.document.octets.find(level.needle, search, bound)
                level.hit = nearest if hit < 0 else hit
            if level.hit >= 0 and (nearest < 0 or level.hit < nearest):
                nearest = level.hit
        return nearest

    def delimiter_at(self, hit: int) -> tuple[int, int]:
        """The line end behind a line, and which open delimiter the line is; -1 for none.

        Args:
            hit: the place of the line end before it.
        """
        octets, line_end = self.document.octets, self.document.grammar.line_end
        stop = octets.find(line_end, hit + 3, self.end)
        if stop < 0:
            stop = self.end
        line = octets[hit + 1 : stop if stop - hit < _LONGEST_DELIMITER else hit + _LONGEST_DELIMITER]
        return stop, self.delimiters.get(line.rstrip(b" \t\r"), -1)


def _learn(field: bytes, body: bytes, types: dict[bytes, ContentType]) -> ContentType:
    """What a Content-Type means; known by the octets of its field from then on, if it is short and of a leaf."""
    kind = content_type.read(body)
    if kind.type != "multipart" and kind.type != "message" and len(field) <= 256:
        if len(types) >= 512:  # LIMIT: a sender's inventions do not fill the memory
            types.clear()
        types[field] = kind
    return kind


def _is_encoded(token: bytes) -> bool:
    """Whether a transfer encoding hides the structure of what is enclosed."""
    return token.partition(b"(")[0].strip().lower() not in _IDENTITY
