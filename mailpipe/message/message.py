"""The message: the top entity of a tree, or one enclosed in another (RFC 5322; views as in RFC 8621 section 4.1.4).

    message = mailpipe.parse(octets)
    message.subject, message.from_[0].address, message.date
    message.body_text, [part.filename for part in message.attachments]
    message.replace("2", part), message.remove("3"), message.attach(part)      # new messages

Never here: how fields are understood (`mailpipe.fields`), how trees are edited (`edit`).
"""

import mmap
import os
from collections.abc import Callable
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any, Self

from mailpipe import native
from mailpipe.fields import AddressList, DateTime, Mailbox, MessageId, MessageIdList, Received, unstructured
from mailpipe.limits import DEFAULT_LIMITS, Limits
from mailpipe.message import edit, report
from mailpipe.message.entity import Entity
from mailpipe.message.report import DeliveryReport, DispositionNotification
from mailpipe.parser.grammar import LF_GRAMMAR
from mailpipe.parser.node import BITS, Document, place
from mailpipe.parser.scan import scan_header

if TYPE_CHECKING:
    from mailpipe.message.snapshot import MessageSnapshot

_NO_ADDRESSES = AddressList()


class Message(Entity):
    """A message (RFC 5322), with typed views of its header and body. Frozen."""

    __slots__ = ()

    # -- header

    @property
    def subject(self) -> str | None:
        """Subject, decoded; None where there is none."""
        header, document = self._header, self._document
        if header is not None:
            if (text := header.known_text("subject")) is not None:
                return text
        elif document is not None and native.field_text is not None and document.grammar is LF_GRAMMAR:
            octets = document.octets
            if isinstance(octets, bytes):
                if self._header_size < 0:
                    scan_header(self)
                start = self._place >> BITS
                plain = native.field_text(octets, start, start + self._header_size, "subject")
                if plain is not ...:
                    return plain
        body = self._find("subject")
        return None if body is None else unstructured.read(body)

    @property
    def from_(self) -> AddressList:
        """The authors (RFC 5322 section 3.6.2); groups are kept (RFC 6854)."""
        value = self.value_of("from")
        return value if isinstance(value, AddressList) else _NO_ADDRESSES

    @property
    def sender(self) -> Mailbox | None:
        """Who handed it in, where that is not the author; None where there is no Sender."""
        value = self.value_of("sender")
        mailboxes = value.mailboxes if isinstance(value, AddressList) else ()
        return mailboxes[0] if mailboxes else None

    @property
    def reply_to(self) -> AddressList:
        """Where answers should go."""
        return self._addresses("reply-to")

    @property
    def to(self) -> AddressList:
        """The primary recipients; every To field where there are several."""
        return self._recipients("to")

    @property
    def cc(self) -> AddressList:
        """The secondary recipients; every Cc field where there are several."""
        return self._recipients("cc")

    @property
    def bcc(self) -> AddressList:
        """The hidden recipients; every Bcc field where there are several."""
        return self._recipients("bcc")

    def _addresses(self, name: str) -> AddressList:
        value = self.value_of(name)
        return value if isinstance(value, AddressList) else _NO_ADDRESSES

    def _recipients(self, name: str) -> AddressList:
        values = self.values_of(name)
        if not values:
            return _NO_ADDRESSES
        if len(values) == 1 and isinstance(values[0], AddressList):
            return values[0]
        lists = [value for value in values if isinstance(value, AddressList)]
        members = tuple([member for value in lists for member in value.members])
        return AddressList(members, tuple([defect for value in lists for defect in value.defects]))

    @property
    def date(self) -> datetime | None:
        """Date, with its zone (RFC 5322 sections 3.3 and 4.3); None where there is none or it cannot be read."""
        value = self.value_of("date")
        return value.datetime if isinstance(value, DateTime) else None

    @property
    def message_id(self) -> str | None:
        """Message-ID without its angle brackets; None where there is none."""
        identifiers = self._identifiers("message-id")
        return identifiers[0] if identifiers else None

    @property
    def in_reply_to(self) -> tuple[str, ...]:
        """The identifiers of In-Reply-To, without angle brackets."""
        return self._identifiers("in-reply-to")

    @property
    def references(self) -> tuple[str, ...]:
        """The identifiers of References, without angle brackets, oldest first."""
        return self._identifiers("references")

    def _identifiers(self, name: str) -> tuple[str, ...]:
        value = self.value_of(name)
        if isinstance(value, MessageId):
            return (value.id,) if value.id else ()
        return value.ids if isinstance(value, MessageIdList) else ()

    @property
    def received(self) -> tuple[Received, ...]:
        """The trace fields (RFC 5321 section 4.4), newest first."""
        return tuple([value for value in self.values_of("received") if isinstance(value, Received)])

    # -- body

    @property
    def body_text(self) -> str | None:
        """The text to show: of the first text/plain that is no attachment, else of any other text but HTML."""
        return self._body("plain")

    @property
    def body_html(self) -> str | None:
        """The HTML to show: of the first text/html that is no attachment."""
        return self._body("html")

    def _body(self, subtype: str) -> str | None:
        second = None
        for entity in self._shown():
            kind = entity.content_type
            if kind.type != "text" or entity.is_attachment:
                continue
            if kind.subtype == subtype:
                return entity.text
            if second is None and subtype == "plain" and kind.subtype != "html":
                second = entity
        return None if second is None else second.text

    def _shown(self) -> list[Entity]:
        """The leaves of this message, not those of messages enclosed in it."""
        leaves: list[Entity] = []
        stack: list[Entity] = [self]
        while stack:
            entity = stack.pop()
            if entity.is_multipart:
                stack.extend(reversed(entity.parts))
            else:
                leaves.append(entity)
        return leaves

    @property
    def attachments(self) -> tuple[Entity, ...]:
        """What is to be saved rather than shown, in order; an enclosed message is one attachment, not its parts."""
        return tuple(
            entity
            for entity in self._shown()
            if entity is not self and (entity.is_attachment or entity.content_type.type == "message")
        )

    @property
    def delivery_report(self) -> DeliveryReport | None:
        """What a bounce says (RFC 3464), machine-readable or not; None where it is no report of a delivery."""
        return report.delivery_report(self)

    @property
    def disposition_notification(self) -> DispositionNotification | None:
        """What a read receipt says (RFC 8098); None where it is none."""
        return report.disposition_notification(self)

    # -- editing; each gives a new message that shares whatever was not touched

    def replace(self, path: str, entity: Entity) -> Self:
        """Another entity in the place of the one at a path of `walk`.

        Raises:
            KeyError: there is nothing at that path.
        """
        return edit.replace(self, path, entity)

    def remove(self, path: str) -> Self:
        """The message without the part at a path of `walk`.

        Raises:
            KeyError: there is nothing at that path, or it is no part of a multipart.
        """
        return edit.remove(self, path)

    def map_leaves(self, change: Callable[[str, Entity], Entity]) -> Self:
        """Every leaf replaced by what the function gives for (path, leaf); the same leaf back leaves it untouched."""
        return edit.map_leaves(self, change)

    def attach(self, *entities: Entity) -> Self:
        """More parts at the end; what is no multipart/mixed becomes the first part of one."""
        return edit.attach(self, entities)

    def wrap(self, subtype: str = "mixed") -> Self:
        """The body as the only part of a new multipart; the Content- fields go with it."""
        return edit.wrap(self, subtype)

    # -- values

    def snapshot(self) -> "MessageSnapshot":
        """Everything that can be known, as a pydantic model (`mailpipe.message.snapshot.MessageSnapshot`)."""
        # pydantic is slow to import and few readers of mail need it
        from mailpipe.message.snapshot import take

        return take(self)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        # only asked for by pydantic itself, so that it is imported already
        from mailpipe.message.snapshot import core_schema

        return core_schema(cls, parse)


Entity._message_class = Message


def parse(
    source: bytes | bytearray | memoryview | mmap.mmap | IO[bytes], *, limits: Limits = DEFAULT_LIMITS
) -> Message:
    r"""Read a message; never raises because of what the octets say.

    Nothing is copied of bytes and mapped files, nothing is read before it is asked for. A file that can be mapped
    is mapped; any other is read to its end.

    Args:
        source: the octets, or a binary file (read from where it stands).
        limits: bounds of understanding; beyond them the octets are left opaque.

    Raises:
        TypeError: the source is none of these.
        OSError: the file cannot be read.

    >>> bytes(parse(b"Subject: hello\n\nworld\n"))
    b'Subject: hello\n\nworld\n'
    """
    if isinstance(source, (bytes, mmap.mmap)):
        octets: bytes | mmap.mmap = source
    elif isinstance(source, (bytearray, memoryview)):
        octets = bytes(source)  # somebody may change them under us
    elif hasattr(source, "read"):
        octets = _from_file(source)
    else:
        raise TypeError(f"parse takes bytes, a mapped file or a binary file, not {type(source).__name__}")
    return place(Message, Document(octets, limits), 0, len(octets))


def _from_file(file: IO[bytes]) -> bytes | mmap.mmap:
    try:
        position = file.tell()
        size = os.fstat(file.fileno()).st_size
        if position == 0 and size >= 1 << 20:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError, AttributeError):
        pass  # a pipe, or a file in memory
    octets = file.read()
    if not isinstance(octets, bytes):
        raise TypeError("parse takes a file that was opened in binary mode")
    return octets
