"""An entity (RFC 2045 section 2.4): a header and a body, received or composed. Frozen; edits make new ones.

    entity.content_type.value, entity.filename      # "application/pdf", "invoice.pdf"
    entity.raw, entity.octets, entity.text          # as received; transfer encoding undone; charset undone

A received entity is a span of a document and costs nothing until it is asked. A composed one has a header and a
layout: octets, slices of documents and entities, in the order in which they are written.

Never here: edits of the tree (`edit`), and what only the top of a tree has (`message`).
"""

import io
import re
from collections.abc import Callable, Iterator
from typing import ClassVar, Self

from mailpipe.codec import charset, transfer
from mailpipe.codec.charset import DecodedText
from mailpipe.defect import Defect
from mailpipe.fields import ContentDisposition, ContentType, content_type
from mailpipe.fields.mime import encoding_named
from mailpipe.fields.registry import parse_often
from mailpipe.fields.value import FieldValue
from mailpipe.limits import DEFAULT_LIMITS
from mailpipe.message import embedded, paths
from mailpipe.message.embedded import EmbeddedFile, ExternalBody, Partial
from mailpipe.message.flowed import Paragraph, unflow
from mailpipe.message.header import Header
from mailpipe.message.slice import Slice, around, separated
from mailpipe.parser.node import BITS, STOP, Document, Node, place
from mailpipe.parser.scan import ENCLOSING, TEXT_PLAIN, scan, scan_header


class Entity(Node):
    """A header and a body.

    Every view can be asked of every entity and never raises because of what the octets say; what is wrong is in
    `defects`.
    """

    __slots__ = ()

    _header: Header | None
    # set by the modules that define them, which stand above this one
    _message_class: ClassVar[type["Entity"]]
    _inspect: ClassVar[Callable[["Entity"], tuple[Defect, ...]]]

    @classmethod
    def _composed(
        cls,
        header: Header,
        layout: tuple["bytes | Slice | Entity", ...],
        *,
        base: "Entity | None" = None,
        children: "tuple[Entity, ...] | None" = None,
    ) -> Self:
        """A composed entity.

        Args:
            header: its header.
            layout: everything after the header, the empty line first.
            base: an entity with the same body, whose parts serve where the header still says the same about it.
            children: its parts, where they are known.
        """
        entity = cls()
        entity._document = entity._content_type = None
        entity._header, entity._rare, entity._children = header, (layout, base), children
        return entity

    @property
    def _layout(self) -> tuple["bytes | Slice | Entity", ...]:
        """Composed only: what follows the header."""
        return self._rare[0]  # type: ignore[no-any-return]

    @property
    def _base(self) -> "Entity | None":
        """Composed only: whose body it shares."""
        return self._rare[1]  # type: ignore[no-any-return]

    # -- places and octets

    @property
    def is_composed(self) -> bool:
        """Whether it was made or edited here; False: it stands in what was parsed."""
        return self._document is None

    @property
    def span(self) -> tuple[int, int] | None:
        """Start and stop in the octets that were given to `parse`; None when composed."""
        if self._document is None or self._document.is_hidden:
            return None
        place = self._place
        return place >> BITS, place & STOP

    @property
    def body_span(self) -> tuple[int, int] | None:
        """Start and stop of the body; it ends before the line end that belongs to the next delimiter."""
        if self._document is None or self._document.is_hidden:
            return None
        if self._header_size < 0:
            scan_header(self)
        return self._body_start, self._stop

    @property
    def raw(self) -> bytes:
        """Its own octets, header and body."""
        if self._document is not None:
            place = self._place
            return self._document.octets[place >> BITS : place & STOP]
        layout = self._rare[0]
        if len(layout) == 2 and layout[1].__class__ is Slice:  # another header before the same body
            return b"".join((self._header.__bytes__(), bytes(layout[0]), layout[1].view))  # type: ignore[union-attr]
        return b"".join(self.pieces())

    def __bytes__(self) -> bytes:
        return self.raw

    def pieces(self) -> Iterator[bytes]:
        """Its octets piece by piece; what nobody edited comes in one slice."""
        stack: list[bytes | Slice | Entity] = [self]
        while stack:
            piece = stack.pop()
            if isinstance(piece, Entity) and piece._document is None:
                stack.extend(reversed(piece._layout))
                yield bytes(piece.header)
            else:
                yield bytes(piece)

    @property
    def raw_body(self) -> bytes:
        """The octets after the empty line, transfer encoding and all."""
        if self._document is not None:
            if self._header_size < 0:
                scan_header(self)
            place = self._place
            start = (place >> BITS) + self._header_size + self._separator_size
            return self._document.octets[start : place & STOP]
        return b"".join(b"".join(p.pieces()) if isinstance(p, Entity) else bytes(p) for p in self._layout[1:])

    def __len__(self) -> int:
        """Octets of header and body."""
        if self._document is not None:
            return (self._place & STOP) - (self._place >> BITS)
        return sum(map(len, self.pieces()))

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Entity) and self.raw == other.raw)

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        where = "composed" if self._document is None else f"{self._start}:{self._stop}"
        return f"<{type(self).__name__} {self.content_type.value} {where}>"

    # -- header and what it says

    @property
    def header(self) -> Header:
        """Its fields."""
        header = self._header
        if header is None:
            document = self._document
            assert document is not None
            if self._header_size < 0:
                scan_header(self)
            start = self._place >> BITS
            header = self._header = Header._received(
                document.octets, start, start + self._header_size, document.grammar, document.limits.field_count
            )
        return header

    def _find(self, name: str) -> bytes | None:
        """The body of the first field of that name, folds and all; looks into the octets before a header is made."""
        if self._header is not None:
            return self._header.find(name)
        document = self._document
        assert document is not None
        if self._header_size < 0:
            scan_header(self)
        start = self._place >> BITS
        return document.grammar.body(name, document.octets, start, start + self._header_size)

    def value_of(self, name: str) -> FieldValue | None:
        """The typed value of the first field of that name, None where there is none."""
        header = self._header
        if header is not None and (lines := header._lines) is not None:  # each field keeps its value
            return lines.value_of(name)
        body = self._find(name)
        return None if body is None else parse_often(name, body)

    def values_of(self, name: str) -> list[FieldValue]:
        """The typed value of every field of that name, in order."""
        header, document = self._header, self._document
        if header is not None and (document is None or header._lines is not None):
            return header._all_lines().values_of(name)
        assert document is not None
        scan_header(self)
        start = self._place >> BITS
        bodies = document.grammar.every(name, document.octets, start, start + self._header_size)
        return [parse_often(name, body) for body in bodies]

    @property
    def content_type(self) -> ContentType:
        """Content-Type, or the default: text/plain, in a digest message/rfc822 (RFC 2045 5.2, RFC 2046 5.1.5)."""
        kind = self._content_type
        return self._grow() if kind is None else kind

    @property
    def disposition(self) -> ContentDisposition | None:
        """Content-Disposition (RFC 2183), None where there is none."""
        value = self.value_of("content-disposition")
        return value if isinstance(value, ContentDisposition) else None

    @property
    def filename(self) -> str | None:
        """The file name that the sender gave: of Content-Disposition first, then Content-Type's name.

        It is the sender's word: unsafe as a path until made safe.
        """
        disposition = self.disposition
        name = disposition.filename if disposition is not None else None
        return name or self.content_type.params.get("name") or None

    @property
    def transfer_encoding(self) -> str:
        """The transfer encoding in lower case; "7bit" where none is named (RFC 2045 6.1)."""
        if self._document is None:
            body = self.header.body_of("content-transfer-encoding")
        else:
            if self._header_size < 0:
                scan_header(self)
            body = self._encoding
        return "7bit" if body is None else encoding_named(body[:200])

    @property
    def content_id(self) -> str | None:
        """Content-ID without its angle brackets (RFC 2045 section 7), None where there is none."""
        field = self.header.first("content-id")
        if field is None:
            return None
        return field.body.decode("utf-8", "replace").strip().strip("<>").strip() or None

    @property
    def is_multipart(self) -> bool:
        """Whether the type is multipart, whatever its parts."""
        return self.content_type.type == "multipart"

    @property
    def is_attachment(self) -> bool:
        """A leaf that is to be saved rather than shown: by its disposition, its file name, or its type."""
        kind = self.content_type
        if kind.type == "multipart":
            return False
        disposition = self.disposition
        if (disposition is not None and disposition.value != "inline") or self.filename:
            return True
        return kind.type not in ("text", "message") and self.content_id is None

    # -- structure

    def _grow(self) -> ContentType:
        """Learn type and parts."""
        if self._document is not None:
            return scan(self, Entity, Entity._message_class)
        base = self._base
        if base is not None and all(
            self.header.body_of(name) == base.header.body_of(name)
            for name in ("content-type", "content-transfer-encoding")
        ):
            kind, children = base.content_type, base.parts
        else:
            body = self.header.body_of("content-type")
            kind = TEXT_PLAIN if body is None else content_type.parse(body)
            children = ()
            if self._children is None and (kind.type == "multipart" or kind.value in ENCLOSING):
                read = place(type(self), Document(self.raw), 0, len(self))
                kind, children = read.content_type, read.parts
        self._content_type = kind
        if self._children is None:
            self._children = children
        return kind

    @property
    def parts(self) -> tuple["Entity", ...]:
        """The parts of a multipart; for message/rfc822 and message/global the one `Message` inside; else ()."""
        if self._content_type is None:
            self._grow()
        children = self._children
        if children is None:
            children = self._children = (self._decoded_message(),)
        return children  # type: ignore[return-value]

    def _decoded_message(self) -> "Entity":
        """The message under a transfer encoding (RFC 2046 5.2.1 forbids one; it occurs)."""
        limits = self._document.limits if self._document is not None else DEFAULT_LIMITS
        octets = self.octets
        document = Document(octets, limits)
        document.is_hidden = True
        return place(Entity._message_class, document, 0, len(octets))

    def walk(self) -> Iterator[tuple[str, "Entity"]]:
        """Every entity below and including this one, depth first, with its path.

        Paths are those of IMAP (RFC 9051 section 6.4.5): "" is where the walk begins, "2" its second part, "2.1"
        the first part of that. A message inside "2" is "2.1" where it is a leaf; where it is a multipart it is
        "2.TEXT", and its parts are "2.1", "2.2", ….
        """
        yield "", self
        if self._children == ():  # most messages are a leaf
            return
        prefix, (last, step) = "", paths.steps(self)
        stack: list[tuple[str, str, Iterator[tuple[str, Entity]]]] = []
        while True:
            for name, entity in step:
                yield prefix + name, entity
                if entity._children != () and entity.parts:  # most are leaves
                    if name != last:  # what is done with is not kept: in a deep chain the prefixes are long
                        stack.append((prefix, last, step))
                    if name != "TEXT":  # what is a message's body has no number of its own
                        prefix = f"{prefix}{name}."
                    last, step = paths.steps(entity)
                    break
            else:
                if not stack:
                    return
                prefix, last, step = stack.pop()

    def part(self, path: str) -> "Entity":
        """The entity at a path of `walk`; "1" also finds the body of a message that is no multipart.

        Raises:
            KeyError: there is none.
        """
        return self.chain(path)[1]

    def chain(self, path: str) -> tuple[list[tuple["Entity", int]], "Entity"]:
        """What leads to a path of `walk`, each entity with the position of its child, and what is there.

        Raises:
            KeyError: there is nothing.
        """
        return paths.chain(self, path)

    @property
    def preamble(self) -> bytes | None:
        """What stands before the first delimiter of a multipart (RFC 2046 5.1.1); None for anything else."""
        return self._surroundings()[0]

    @property
    def epilogue(self) -> bytes | None:
        """What stands after the closing delimiter of a multipart; None for anything else."""
        return self._surroundings()[1]

    def _surroundings(self) -> tuple[bytes | None, bytes | None]:
        if not self.is_multipart:
            return None, None
        body, boundary = self.raw_body, b"--" + (self.content_type.boundary or "").encode("utf-8", "surrogateescape")
        parts = self.parts
        before, after = body, body
        if not parts:
            closing = re.search(rb"(?:\A|[\r\n])" + re.escape(boundary) + rb"--[ \t]*+(?:[\r\n]|\Z)", body)
            if closing is None:
                return body, b""
            before, after = body[: closing.end()], body[closing.start() :]
        elif self._document is not None and parts[0]._document is self._document:
            octets = self._document.octets
            before = octets[self._body_start : parts[0]._start]
            after = octets[parts[-1]._stop : self._stop]
        else:
            sizes = [len(piece) for piece in self._layout]
            places = [place for place, piece in enumerate(self._layout) if isinstance(piece, Entity)]
            if places:
                after = body[sum(sizes[1 : places[-1] + 1]) :]
                before = body[: sum(sizes[1 : places[0]])]
        return around(before, after, boundary)

    # -- content

    @property
    def octets(self) -> bytes:
        """The body with its transfer encoding undone (RFC 2045 section 6); an unknown encoding is left alone."""
        if self._document is None:
            return transfer.decode(self.raw_body, self.transfer_encoding)
        octets, encoding = self.raw_body, self._encoding  # in this order: what finds the body finds its encoding
        return octets if encoding is None else transfer.decode(octets, encoding_named(encoding[:200]))

    @property
    def decoded_text(self) -> DecodedText:
        """The body as text: `.text`, in which `.charset`, how that was `.known_by`, and whether it `.is_lossy`."""
        return charset.decode_text(self.octets, self.content_type.charset)

    @property
    def text(self) -> str:
        """The body as str, transfer encoding and charset undone; line ends as they are."""
        return charset.text_in(self.octets, self.content_type.charset)

    def open(self) -> io.BufferedIOBase:
        """The decoded body as a stream that holds a block at a time."""
        if self._document is not None and isinstance(self._document.octets, bytes):
            if self._header_size < 0:
                scan_header(self)
            return transfer.open_decoded(
                memoryview(self._document.octets)[self._body_start : self._stop], self.transfer_encoding
            )
        return transfer.open_decoded(self.raw_body, self.transfer_encoding)

    @property
    def flowed(self) -> tuple[Paragraph, ...] | None:
        """The paragraphs of a text in format=flowed (RFC 3676); None where the part does not say so."""
        kind = self.content_type
        if kind.type != "text" or kind.params.get("format", "").strip().lower() != "flowed":
            return None
        return unflow(self.text, delsp=kind.params.get("delsp", "").strip().lower() == "yes")

    @property
    def embedded_files(self) -> tuple[EmbeddedFile, ...]:
        """The uuencoded files in a text part, in order; () in any other part."""
        return embedded.embedded_files(self.octets) if self.content_type.type == "text" else ()

    @property
    def partial(self) -> Partial | None:
        """Its place among the pieces of a message (RFC 2046 section 5.2.2); None where it is no message/partial."""
        return embedded.partial(self.content_type)

    @property
    def external_body(self) -> ExternalBody | None:
        """Where its body is kept (RFC 2046 section 5.2.3); None where it is no message/external-body."""
        kind = self.content_type
        return embedded.external_body(kind, self.octets) if kind.value == "message/external-body" else None

    @property
    def structural_defects(self) -> tuple[tuple[str, int], ...]:
        """What the scan found wrong with this entity itself: codes, with offsets in the parsed source."""
        if self._content_type is None:
            self._grow()
        return () if self._document is None else self._rare

    @property
    def defects(self) -> tuple[Defect, ...]:
        """Everything that is wrong with it and below it, by offset."""
        return Entity._inspect(self)

    # -- changing

    def with_octets(self, octets: bytes, encoding: str, *, header: Header | None = None, is_text: bool) -> Self:
        """The same leaf with other content.

        Args:
            octets: the content, not encoded.
            encoding: the transfer encoding to write it in; the field is set.
            header: the fields to go with it; by default its own.
            is_text: whether line ends in the content are line ends.

        Raises:
            ComposeError: the encoding cannot be written.
        """
        header = header if header is not None else self.header
        line_end = header.line_end
        if encoding != "7bit" or "content-transfer-encoding" in header:
            header = header.with_field("Content-Transfer-Encoding", encoding)
        body = transfer.encode(octets, encoding, is_text=is_text, line_end=line_end)
        return type(self)._composed(header, (separated(header, self._body_layout()[0]), body), children=())

    def with_header(self, header: "Header | str", value: "str | bytes | FieldValue | None" = None) -> Self:
        """The same body under another header.

        Args:
            header: the new header, or the name of one field to set.
            value: with a name: the value, see `Header.with_field`.

        Raises:
            ComposeError: the field cannot be said.
        """
        if isinstance(header, str):
            header = self.header.with_field(header, value if value is not None else "")
        return type(self)._composed(header, self._body_layout(), base=self)

    def _body_layout(self) -> tuple["bytes | Slice | Entity", ...]:
        """Its body as a layout: the empty line, then octets or parts."""
        if self._document is None:
            return self._layout
        if self._header_size < 0:
            scan_header(self)
        octets, size, stop = self._document.octets, self._header_size, self._place & STOP
        header_stop = (self._place >> BITS) + size
        body_start = header_stop + self._separator_size
        separator = octets[header_stop:body_start]
        if not separator and body_start < stop:
            separator = self.header.line_end if size else self._document.grammar.line_end
        return separator, Slice(self._document, body_start, stop)
