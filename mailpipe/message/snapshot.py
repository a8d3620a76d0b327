"""A message as pydantic models: everything that can be known, ready for JSON (`model_dump_json`) and for schemas.

    snapshot = message.snapshot()
    snapshot.model_dump_json(indent=2)

Never here: octets of bodies. A snapshot tells sizes and digests, and the text of text parts.
"""

import base64
import hashlib
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import CoreSchema
from pydantic_core import core_schema as schemas

from mailpipe.defect import Defect, Severity
from mailpipe.fields import AddressList, Group, Mailbox
from mailpipe.message.entity import Entity


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class MailboxSnapshot(_Model):
    """One mailbox."""

    display_name: str | None
    """Decoded display name."""
    address: str
    """The address-spec."""
    group: str | None = None
    """The group that it stands in."""


class FieldSnapshot(_Model):
    """One header field."""

    name: str
    """As written."""
    text: str
    """The decoded body."""


class DefectSnapshot(_Model):
    """One defect."""

    code: str
    """Kebab-case code."""
    severity: Severity
    """How much it matters."""
    offset: int
    """Octets from the beginning of the source."""
    path: str
    """The part."""
    field: str
    """The header field, "" where it is not about one."""
    detail: str
    """What was found."""
    sentence: str
    """What it means."""
    rfc: str
    """Where it is written."""


class PartSnapshot(_Model):
    """One entity."""

    path: str
    """Path as in `Entity.walk`."""
    content_type: str
    """Type and subtype."""
    params: dict[str, str]
    """Parameters of Content-Type, decoded."""
    charset: str | None
    """The declared charset."""
    charset_used: str | None
    """The charset that the text was decoded with, of text parts."""
    charset_known_by: str | None
    """How that one was known: declared, default, utf-8, detected, bom or fallback."""
    is_lossy: bool
    """Whether octets of the text had to be replaced."""
    disposition: str | None
    """inline, attachment, …"""
    filename: str | None
    """As the sender gave it: unsafe as a path."""
    transfer_encoding: str
    """In lower case."""
    content_id: str | None
    """Without angle brackets."""
    span: tuple[int, int] | None
    """Start and stop in the source."""
    body_span: tuple[int, int] | None
    """Start and stop of the body."""
    size: int
    """Octets of the decoded body of a leaf, of the whole body otherwise."""
    sha256: str | None
    """Digest of the decoded body of a leaf."""
    header: list[FieldSnapshot]
    """The fields, in order."""
    text: str | None
    """The text of a text part."""


class MessageSnapshot(_Model):
    """A message."""

    version: int = Field(default=1)
    """Of this form."""
    size: int
    """Octets."""
    subject: str | None
    """Decoded."""
    from_: list[MailboxSnapshot] = Field(serialization_alias="from", validation_alias="from")
    """The authors."""
    sender: MailboxSnapshot | None
    """Who handed it in."""
    reply_to: list[MailboxSnapshot]
    """Where answers should go."""
    to: list[MailboxSnapshot]
    """Primary recipients."""
    cc: list[MailboxSnapshot]
    """Secondary recipients."""
    bcc: list[MailboxSnapshot]
    """Hidden recipients."""
    date: datetime | None
    """With its zone."""
    message_id: str | None
    """Without angle brackets."""
    in_reply_to: list[str]
    """Identifiers."""
    references: list[str]
    """Identifiers, oldest first."""
    parts: list[PartSnapshot]
    """Every entity, depth first."""
    defects: list[DefectSnapshot]
    """Everything that is wrong."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True, populate_by_name=True)


class Views(Protocol):
    """What a snapshot asks of a message."""

    @property
    def subject(self) -> str | None:
        """Decoded."""
        ...
    @property
    def from_(self) -> AddressList:
        """The authors."""
        ...
    @property
    def sender(self) -> Mailbox | None:
        """Who handed it in."""
        ...
    @property
    def reply_to(self) -> AddressList:
        """Where answers should go."""
        ...
    @property
    def to(self) -> AddressList:
        """Primary recipients."""
        ...
    @property
    def cc(self) -> AddressList:
        """Secondary recipients."""
        ...
    @property
    def bcc(self) -> AddressList:
        """Hidden recipients."""
        ...
    @property
    def date(self) -> datetime | None:
        """With its zone."""
        ...
    @property
    def message_id(self) -> str | None:
        """Without angle brackets."""
        ...
    @property
    def in_reply_to(self) -> tuple[str, ...]:
        """Identifiers."""
        ...
    @property
    def references(self) -> tuple[str, ...]:
        """Identifiers."""
        ...
    @property
    def defects(self) -> tuple[Defect, ...]:
        """Everything that is wrong."""
        ...
    def walk(self) -> Iterator[tuple[str, Entity]]:
        """Every entity with its path."""
        ...
    def __len__(self) -> int: ...


def take(message: Views) -> MessageSnapshot:
    """The snapshot of a message."""
    sender = message.sender
    return MessageSnapshot(
        size=len(message),
        subject=_clean(message.subject),
        from_=_mailboxes(message.from_),
        sender=None if sender is None else _mailbox(sender, None),
        reply_to=_mailboxes(message.reply_to),
        to=_mailboxes(message.to),
        cc=_mailboxes(message.cc),
        bcc=_mailboxes(message.bcc),
        date=message.date,
        message_id=_clean(message.message_id),
        in_reply_to=[_text(one) for one in message.in_reply_to],
        references=[_text(one) for one in message.references],
        parts=[_part(path, entity) for path, entity in message.walk()],
        defects=[
            DefectSnapshot(
                code=one.code, severity=one.severity, offset=one.offset, path=one.path, field=_text(one.field),
                detail=_text(one.detail), sentence=one.sentence, rfc=one.rfc,
            )
            for one in message.defects
        ],
    )


def _part(path: str, entity: Entity) -> PartSnapshot:
    kind, disposition = entity.content_type, entity.disposition
    is_leaf = not entity.parts and not entity.is_multipart
    octets = entity.octets if is_leaf else entity.raw_body
    decoded = entity.decoded_text if is_leaf and kind.type == "text" else None
    return PartSnapshot(
        path=path,
        content_type=_text(kind.value),
        params={_text(key): _text(value) for key, value in kind.params.items()},
        charset=_clean(kind.charset),
        charset_used=None if decoded is None else decoded.charset,
        charset_known_by=None if decoded is None else decoded.known_by,
        is_lossy=decoded is not None and decoded.is_lossy,
        disposition=None if disposition is None else _text(disposition.value),
        filename=_clean(entity.filename),
        transfer_encoding=_text(entity.transfer_encoding),
        content_id=_clean(entity.content_id),
        span=entity.span,
        body_span=entity.body_span,
        size=len(octets),
        sha256=hashlib.sha256(octets).hexdigest() if is_leaf else None,
        header=[FieldSnapshot(name=_text(field.name), text=_text(field.text)) for field in entity.header],
        text=None if decoded is None else _text(decoded.text),
    )


def _mailboxes(members: Any) -> list[MailboxSnapshot]:
    made = []
    for member in members:
        if isinstance(member, Group):
            made += [_mailbox(one, _text(member.display_name or "")) for one in member.mailboxes]
        else:
            made.append(_mailbox(member, None))
    return made


def _mailbox(one: Mailbox, group: str | None) -> MailboxSnapshot:
    return MailboxSnapshot(display_name=_clean(one.display_name), address=_text(one.address), group=group)


def _text(text: str) -> str:
    """Text that JSON can hold: lone surrogates, which stand for octets that fit no charset, are replaced."""
    return text.encode("utf-8", "replace").decode("utf-8") if not text.isascii() else text


def _clean(text: str | None) -> str | None:
    return None if text is None else _text(text)


def core_schema(kind: type[Entity], parse: Callable[[bytes], Entity]) -> CoreSchema:
    """How pydantic validates and dumps a `Message` field: octets or base64 text in, base64 text out."""

    def read(value: Any) -> Entity:
        if isinstance(value, kind):
            return value
        if isinstance(value, str):
            return parse(base64.b64decode(value, validate=True))
        if isinstance(value, bytes | bytearray | memoryview):
            return parse(bytes(value))
        raise ValueError("expected a Message, its octets, or its octets in base64")

    return schemas.no_info_plain_validator_function(
        read,
        json_schema_input_schema=schemas.str_schema(),
        serialization=schemas.plain_serializer_function_ser_schema(
            lambda message: base64.b64encode(bytes(message)).decode(),
            return_schema=schemas.str_schema(),
            when_used="json",
        ),
    )
