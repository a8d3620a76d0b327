"""New entities and messages from text, octets and files (RFC 5322 section 3.6, RFC 2045, RFC 2183).

    part = compose.attachment(octets, "application/pdf", filename="invoice.pdf")
    message = compose.message(from_="Ann <ann@example.org>", to="bob@example.net", subject="Hello", text="Hi!")

Nothing here knows a clock or chance: dates and message identifiers are given, a boundary is drawn from a digest
of the parts, so that the same input gives the same octets.

Never here: sending, and anything that could put a bare CR, LF or NUL into a header; `Field.compose` refuses them.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from mailpipe.codec import charset as charsets
from mailpipe.codec import transfer
from mailpipe.errors import ComposeError
from mailpipe.fields import ContentDisposition, ContentType
from mailpipe.fields.date import render as render_date
from mailpipe.fields.value import FieldValue
from mailpipe.message.boundary import boundary_for
from mailpipe.message.entity import Entity
from mailpipe.message.field import Field
from mailpipe.message.header import Header
from mailpipe.message.message import Message

CRLF = b"\r\n"


def leaf(
    octets: bytes,
    content_type: "str | ContentType" = "application/octet-stream",
    *,
    encoding: str | None = None,
    filename: str | None = None,
    disposition: str | None = None,
    content_id: str | None = None,
    is_text: bool | None = None,
    domain: str = "7bit",
    line_end: bytes = CRLF,
    kind: type[Entity] = Entity,
) -> Entity:
    """A leaf of decoded octets.

    Args:
        octets: the content, not encoded.
        content_type: its type, as text or typed.
        encoding: the transfer encoding; by default the best that fits the domain.
        filename: the file name to suggest.
        disposition: "attachment" or "inline"; by default "attachment" where there is a file name.
        content_id: an identifier without angle brackets.
        is_text: whether line ends are line ends; by default whether the type is text.
        domain: what may be written: "7bit", "8bit" or "binary".
        line_end: what ends the lines that are written here.
        kind: Entity or Message.

    Raises:
        ComposeError: an argument cannot be said.
    """
    typed = ContentType.of(content_type) if isinstance(content_type, str) else content_type
    text = typed.type == "text" if is_text is None else is_text
    coding = encoding or transfer.choose(octets, domain, is_text=text)  # type: ignore[arg-type]
    fields = [Field.compose("Content-Type", typed, line_end)]
    if coding != "7bit":
        fields.append(Field.compose("Content-Transfer-Encoding", coding, line_end))
    if filename is not None or disposition is not None:
        made = ContentDisposition.of(disposition or "attachment").with_param("filename", filename)
        fields.append(Field.compose("Content-Disposition", made, line_end))
    if content_id is not None:
        fields.append(Field.compose("Content-ID", f"<{content_id}>".encode(), line_end))
    body = transfer.encode(octets, coding, is_text=text, line_end=line_end)
    return kind._composed(Header(fields), (line_end, body), children=())


def text(
    content: str,
    subtype: str = "plain",
    *,
    charset: str | None = None,
    params: Mapping[str, str] | None = None,
    domain: str = "7bit",
    line_end: bytes = CRLF,
) -> Entity:
    """A text leaf; ASCII where that is enough, else the given charset where it can, else UTF-8."""
    content = content.replace("\r\n", "\n").replace("\r", "\n")
    octets, name = charsets.encode_text(content, charset)
    if line_end != b"\n":
        octets = octets.replace(b"\n", line_end)
    typed = ContentType.of(f"text/{subtype}").with_param("charset", name)
    for key, value in (params or {}).items():
        typed = typed.with_param(key, value)
    return leaf(octets, typed, domain=domain, line_end=line_end)


def attachment(
    octets: bytes, content_type: str = "application/octet-stream", *, filename: str, line_end: bytes = CRLF
) -> Entity:
    """A leaf to be saved under a file name."""
    return leaf(octets, content_type, filename=filename, disposition="attachment", line_end=line_end, is_text=False)


def multipart(
    subtype: str,
    parts: Sequence[Entity],
    *,
    params: Mapping[str, str] | None = None,
    fields: Iterable[Field] = (),
    line_end: bytes = CRLF,
    kind: type[Entity] = Entity,
) -> Entity:
    """A multipart of the given parts (RFC 2046 section 5.1).

    Raises:
        ComposeError: there are no parts.
    """
    if not parts:
        raise ComposeError("a multipart needs at least one part (RFC 2046 section 5.1)")
    boundary = boundary_for(parts)
    typed = ContentType.of(f"multipart/{subtype}")
    for key, value in (params or {}).items():
        typed = typed.with_param(key, value)
    typed = typed.with_param("boundary", boundary)
    header = Header([*fields, Field.compose("Content-Type", typed, line_end)])
    delimiter = b"--" + boundary.encode()
    layout: list[bytes | Entity] = [line_end]
    for number, part in enumerate(parts):
        layout.append((line_end if number else b"") + delimiter + line_end)
        layout.append(part)
    layout.append(line_end + delimiter + b"--" + line_end)
    return kind._composed(header, tuple(layout), children=tuple(parts))


def enclosed(message: Message, *, line_end: bytes = CRLF) -> Entity:
    """A message/rfc822 part with a message in it (RFC 2046 section 5.2.1)."""
    fields = [Field.compose("Content-Type", ContentType.of("message/rfc822"), line_end)]
    if any(not piece.isascii() for piece in message.pieces()):
        fields.append(Field.compose("Content-Transfer-Encoding", "8bit", line_end))
    return Entity._composed(Header(fields), (line_end, message), children=(message,))


def message(
    *,
    from_: "str | FieldValue",
    to: "str | FieldValue | None" = None,
    cc: "str | FieldValue | None" = None,
    subject: str | None = None,
    date: datetime | None = None,
    message_id: str | None = None,
    text: str | None = None,
    html: str | None = None,
    attachments: Sequence[Entity] = (),
    fields: Iterable[tuple[str, str]] = (),
    line_end: bytes = CRLF,
) -> Message:
    """A new message: text and HTML as alternatives, attachments after them.

    Args:
        from_: address list, as text or typed; `to` and `cc` likewise.
        subject: decoded text.
        date: an aware datetime; the caller's, since nothing here knows a clock.
        message_id: without angle brackets.
        text: the plain text; "" where there is neither text nor HTML.
        html: the HTML.
        attachments: leaves, see `attachment`.
        fields: more fields, in order.
        line_end: what ends every line.

    Raises:
        ComposeError: an argument cannot be said.
    """
    made = [
        Field.compose(name, value, line_end)
        for name, value in (
            ("Date", render_date(date) if date is not None else None),
            ("From", from_),
            ("To", to),
            ("Cc", cc),
            ("Subject", subject),
            ("Message-ID", f"<{message_id}>".encode() if message_id is not None else None),
        )
        if value is not None
    ]
    made += [Field.compose(name, value, line_end) for name, value in fields]
    made.append(Field.compose("MIME-Version", b"1.0", line_end))
    contents = ((text, "plain"), (html, "html"))
    bodies = [_text(content, subtype, line_end) for content, subtype in contents if content is not None]
    if len(bodies) > 1:
        body = multipart("alternative", bodies, line_end=line_end)
    else:
        body = bodies[0] if bodies else _text("", "plain", line_end)
    if attachments:
        body = multipart("mixed", [body, *attachments], line_end=line_end)
    header = Header([*made, *body.header])
    return Message._composed(header, body._body_layout(), children=body.parts)


def _text(content: str, subtype: str, line_end: bytes) -> Entity:
    """`text`, which is the name of an argument above."""
    return text(content, subtype, line_end=line_end)
