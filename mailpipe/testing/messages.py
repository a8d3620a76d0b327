r"""Mails for tests, in one line: what a test does not name has a default that looks like real mail.

    build_message(subject="Invoice 4711", attachments=[("invoice.pdf", b"%PDF-1.7 …")])
    build_message(raw=b"Subject: broken\r\nno colon here\r\n\r\n")
    make_mail(build_message(to="desk@example.net"), sender="ann@example.org")

Messages are parsed again once they are composed, so that a stage meets them as if they had been received. The same
calls in the same order give the same octets.

Never here: broken mail (`specimens`), and what is done with a mail.
"""

import mimetypes
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from mailpipe.message import Entity, Message, compose, parse
from mailpipe.pipeline.envelope_rule import EnvelopeRule
from mailpipe.pipeline.mail import Mail, Origin
from mailpipe.smtp.envelope import Envelope
from mailpipe.testing.clock import START

Attachment = Entity | Path | tuple[str, bytes] | tuple[str, bytes, str]
"""A part, a file to read, or (name, octets) with or without the media type."""

Headers = Mapping[str, str] | Iterable[tuple[str, str]]
"""More fields: name → text, or pairs where a name occurs several times."""


class MessageBuilder:
    """Makes messages; the fixture `build_message` is one for each test."""

    def __init__(self) -> None:
        self._made = 0

    def __call__(
        self,
        *,
        subject: str | None = "The tide tables for March",
        from_: str = "Ann Lindqvist <ann@example.org>",
        to: str | None = "Bruno Marsh <bruno@example.net>",
        cc: str | None = None,
        text: str | None = None,
        html: str | None = None,
        attachments: Sequence[Attachment] = (),
        headers: Headers = (),
        date: datetime | None = START,
        message_id: str | None = "",
        line_end: bytes = b"\r\n",
        raw: bytes | str | None = None,
    ) -> Message:
        """Make a message.

        Args:
            subject: decoded text; None for a message without the field. `to` and `cc` likewise.
            from_: who wrote it, in the syntax of the field.
            to: its recipients.
            cc: more of them.
            text: the plain text; a short letter where there is neither text nor HTML.
            html: the HTML; beside a text, an alternative.
            attachments: see `Attachment`.
            headers: more fields, behind the others.
            date: an aware datetime.
            message_id: without angle brackets; "" for one that was not there before in this test.
            line_end: what ends every line.
            raw: the message itself, as octets or as text; nothing else counts then.

        Raises:
            ComposeError: an argument cannot be said in a message.
            OSError: a file to attach cannot be read.
        """
        self._made += 1
        if raw is not None:
            return parse(raw.encode() if isinstance(raw, str) else raw)
        if text is None and html is None:
            text = "Dear all,\n\nthe tables are ready; high water is at noon.\n\nAnn\n"
        made = compose.message(
            from_=from_,
            to=to,
            cc=cc,
            subject=subject,
            date=date,
            message_id=f"20260305.{self._made}@mail.example.org" if message_id == "" else message_id,
            text=text,
            html=html,
            attachments=[_part(each, line_end) for each in attachments],
            fields=headers.items() if isinstance(headers, Mapping) else headers,
            line_end=line_end,
        )
        return parse(bytes(made))


class MailMaker:
    """Makes mails of messages; the fixture `make_mail` is one for each test."""

    def __init__(self, build: MessageBuilder) -> None:
        self._build, self._made = build, 0

    def __call__(
        self,
        message: Mail | Message | bytes | str | None = None,
        *,
        sender: str | None = None,
        recipients: Sequence[str] | None = None,
        envelope: Envelope | None = None,
        origin: Origin | None = None,
        notes: Sequence[object] = (),
    ) -> Mail:
        """Make a mail.

        Args:
            message: the content; the builder's own where there is none. A mail is changed by what else is given.
            sender: the reverse-path; by default that of the header, as in a run over an archive.
            recipients: the forward-paths; by default those of the header.
            envelope: in place of both.
            origin: where it came from; by default a place of its own in "test.mbox".
            notes: what stages before have left.
        """
        given = message if isinstance(message, Mail) else self._mail(message)
        made = envelope if envelope is not None else given.envelope
        if sender is not None:
            made = made.with_reverse_path(sender)
        if recipients is not None:
            made = made.with_forward_paths(*recipients)
        return Mail(given.message, made, origin or given.origin, (*given.notes, *notes))

    def _mail(self, message: Message | bytes | str | None) -> Mail:
        if message is None:
            message = self._build()
        elif not isinstance(message, Message):
            message = self._build(raw=message)
        size = len(message)
        origin = Origin("test", "test.mbox", 4096 * self._made, size)
        self._made += 1
        return Mail(message, EnvelopeRule().envelope_of(message), origin)


def _part(given: Attachment, line_end: bytes) -> Entity:
    if isinstance(given, Entity):
        return given
    if isinstance(given, Path):
        given = (given.name, given.read_bytes())
    name, octets = given[0], given[1]
    kind = given[2] if len(given) > 2 else mimetypes.guess_type(name)[0] or "application/octet-stream"
    return compose.attachment(octets, kind, filename=name, line_end=line_end)
