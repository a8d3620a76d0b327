"""What stands inside a body without being a part: uuencoded files, pieces of a message, bodies kept elsewhere.

    for file in entity.embedded_files: file.filename, file.octets     # "begin 644 name" … "end" in a text
    entity.partial.number, entity.partial.total                       # message/partial, RFC 2046 section 5.2.2
    entity.external_body.access_type, entity.external_body.url        # message/external-body, section 5.2.3

Never here: putting pieces together again (`partial`); fetching anything from anywhere.
"""

from dataclasses import dataclass, field
from datetime import datetime

from mailpipe import fields
from mailpipe.codec import uuencode
from mailpipe.defect import Defect
from mailpipe.fields import ContentType, DateTime
from mailpipe.limits import DEFAULT_LIMITS
from mailpipe.message.header import Header
from mailpipe.parser.node import Document

# LIMIT: a text of many thousand little blocks is an attack, or a book about uuencode.
_MOST_FILES = 1000


@dataclass(frozen=True, slots=True)
class EmbeddedFile:
    """A uuencoded file in a text.

    Attributes:
        filename: the sender's word: unsafe as a path until made safe.
        mode: permission bits of its "begin" line; a fact, never to be applied.
        octets: the decoded file.
        start, stop: where its block stands in the octets of the part.
        defects: what is wrong with the block; offsets count from the beginning of those octets.
    """

    filename: str
    mode: int
    octets: bytes = field(repr=False)
    start: int
    stop: int
    defects: tuple[Defect, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Partial:
    """The place of a message/partial among its siblings (RFC 2046 section 5.2.2).

    Attributes:
        id: what all pieces of one message share.
        number: which piece, from 1.
        total: how many there are; None where only the last piece says so.
    """

    id: str
    number: int
    total: int | None


@dataclass(frozen=True, slots=True)
class ExternalBody:
    """A body that is kept elsewhere (RFC 2046 section 5.2.3, RFC 2017 for URLs).

    Attributes:
        access_type: in lower case: "anon-ftp", "local-file", "mail-server", "url", …; "" where it is missing.
        params: every parameter of the Content-Type, decoded, names in lower case.
        header: the fields of the body that is elsewhere (its type, its Content-ID, …).
        phantom_body: octets behind that header; for a mail-server what to write to it, otherwise to be ignored.
    """

    access_type: str
    params: dict[str, str]
    header: Header = field(repr=False)
    phantom_body: bytes = field(default=b"", repr=False)

    @property
    def content_type(self) -> ContentType:
        """The type of the body that is elsewhere; text/plain where it is not said."""
        found = self.header.first("content-type")
        value = fields.parse("content-type", b"text/plain" if found is None else found.body)
        assert isinstance(value, ContentType)
        return value

    @property
    def url(self) -> str | None:
        """Where it is, for the access-type URL; blanks, which only fold it, are removed (RFC 2017 section 3)."""
        url = self.params.get("url")
        return None if url is None else "".join(url.split())

    @property
    def size(self) -> int | None:
        """How many octets it has; None where that is not said."""
        return _number(self.params.get("size"))

    @property
    def expiration(self) -> datetime | None:
        """Until when it is there; None where that is not said."""
        value = fields.parse("date", self.params.get("expiration", "").encode("utf-8", "replace"))
        return value.datetime if isinstance(value, DateTime) else None

    @property
    def is_writable(self) -> bool:
        """Whether it may be overwritten (permission=read-write)."""
        return self.params.get("permission", "").strip().lower() == "read-write"


def embedded_files(octets: bytes) -> tuple[EmbeddedFile, ...]:
    r"""The uuencoded files of a text, in order.

    >>> [(file.filename, file.octets) for file in embedded_files(b"see:\nbegin 644 a.txt\n#0V%T\n`\nend\n")]
    [('a.txt', b'Cat')]
    """
    if octets.find(b"begin") < 0:
        return ()
    found: list[EmbeddedFile] = []
    for block in uuencode.find(octets):
        found.append(
            EmbeddedFile(block.filename, block.mode, block.octets, block.start, block.stop, block.defects)
        )
        if len(found) == _MOST_FILES:
            break
    return tuple(found)


def without_embedded_files(octets: bytes) -> bytes:
    r"""A text without its uuencoded blocks.

    >>> without_embedded_files(b"see:\nbegin 644 a.txt\n#0V%T\n`\nend\nbye\n")
    b'see:\nbye\n'
    """
    pieces, position = [], 0
    for file in embedded_files(octets):
        pieces.append(octets[position : file.start])
        position = file.stop
    pieces.append(octets[position:])
    return b"".join(pieces)


def partial(kind: ContentType) -> Partial | None:
    """What a Content-Type says about a piece; None where it is no message/partial or has no usable number."""
    if kind.value != "message/partial":
        return None
    number, total = _number(kind.params.get("number")), _number(kind.params.get("total"))
    if not number:
        return None
    return Partial(kind.params.get("id") or "", number, total or None)


def external_body(kind: ContentType, body: bytes) -> ExternalBody | None:
    """What a message/external-body says; None where the type is another.

    Args:
        kind: its Content-Type.
        body: its body, which is a header and perhaps more.
    """
    if kind.value != "message/external-body":
        return None
    document = Document(body)
    stop = document.grammar.header_stop(body, 0, len(body))
    header = Header._received(body, 0, stop, document.grammar, DEFAULT_LIMITS.field_count)
    rest = body[stop:]
    for line_end in (b"\r\n", b"\n", b"\r"):
        if rest.startswith(line_end):
            rest = rest[len(line_end) :]
            break
    params = dict(kind.params.items())
    return ExternalBody((params.get("access-type") or "").strip().lower(), params, header, rest)


def _number(text: str | None) -> int | None:
    text = (text or "").strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else None
