"""Every public name of the message model, used as a stranger would use it, and checked by mypy where it is there."""

import importlib.util
import io
import mmap
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path

import pytest

import mailpipe
from mailpipe import Defect, Entity, Field, Header, Limits, Mailbox, Message, WritePolicy, fields, parse, write
from mailpipe.fields import (
    AddressList,
    ContentDisposition,
    ContentType,
    DateTime,
    FieldValue,
    Group,
    MessageId,
    MessageIdList,
    Received,
    Text,
)
from mailpipe.message import DecodedText, compose, edit, partial
from mailpipe.message.embedded import EmbeddedFile, ExternalBody, Partial
from mailpipe.message.flowed import Paragraph, flow, render, unflow
from mailpipe.message.report import DeliveryReport, DispositionNotification, RecipientReport, TypedText
from mailpipe.status import EnhancedStatus

OCTETS = b"""\
Return-Path: <ann@example.org>
Received: from a.example.org by b.example.net with ESMTP id 1; Fri, 21 Nov 1997 09:55:06 -0600
Subject: =?utf-8?Q?Hafen?=
From: Ann <ann@example.org>
Sender: ann@example.org
Reply-To: ann@example.org
To: Team: bob@example.net, carl@example.net;
Cc: dora@example.net
Bcc: erik@example.net
Date: Fri, 21 Nov 1997 09:55:06 -0600
Message-ID: <3@example.org>
In-Reply-To: <2@example.org>
References: <1@example.org> <2@example.org>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="=_a"

before
--=_a
Content-Type: multipart/alternative; boundary="=_b"

--=_b
Content-Type: text/plain; charset=utf-8; format=flowed

Hello \nAnn
--=_b
Content-Type: text/html; charset=utf-8

<p>Hello Ann</p>
--=_b--
--=_a
Content-Type: application/pdf; name*=utf-8''h%C3%A4fen.pdf
Content-Disposition: attachment; filename*=utf-8''h%C3%A4fen.pdf
Content-Transfer-Encoding: base64
Content-ID: <part@example.org>

JVBERi0=
--=_a
Content-Type: message/rfc822

Subject: inside

Inner
--=_a--
after
"""


def of_sources(octets: bytes) -> list[Message]:
    """`parse` takes bytes, what can be viewed as bytes, mapped files and binary files."""
    limits: Limits = Limits()
    made = [parse(octets), parse(bytearray(octets), limits=limits), parse(memoryview(octets)), parse(io.BytesIO(octets))]
    with tempfile.TemporaryFile() as file:
        file.write(octets)
        file.flush()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            made.append(parse(bytes(parse(mapped))))
    return made


def of_entities(message: Message) -> None:
    """Everything that an entity tells."""
    entity: Entity = message
    header: Header = entity.header
    kind: ContentType = entity.content_type
    words: tuple[str, str, str] = (kind.type, kind.subtype, kind.value)
    params: dict[str, str] = dict(kind.params)
    charset: str | None = kind.charset
    boundary: str | None = kind.boundary
    parts: tuple[Entity, ...] = entity.parts
    pdf, enclosed = parts[1], parts[2]
    disposition: ContentDisposition | None = pdf.disposition
    filename: str | None = pdf.filename
    encoding: str = pdf.transfer_encoding
    identifier: str | None = pdf.content_id
    is_multipart: bool = entity.is_multipart
    inner: Entity = enclosed.parts[0]
    walked: list[tuple[str, Entity]] = list(entity.walk())
    octets: bytes = pdf.octets
    text: str = message.part("1.1").text
    decoded: DecodedText = message.part("1.1").decoded_text
    raw: bytes = entity.raw
    span: tuple[int, int] | None = entity.span
    body_span: tuple[int, int] | None = entity.body_span
    preamble: bytes | None = entity.preamble
    epilogue: bytes | None = entity.epilogue
    defects: tuple[Defect, ...] = entity.defects
    with pdf.open() as stream:
        streamed: bytes = stream.read()
    assert words == ("multipart", "mixed", "multipart/mixed")
    assert params["boundary"] == boundary == "=_a" and charset is None
    assert disposition is not None and disposition.value == "attachment"
    assert disposition.params["filename"] == filename == "häfen.pdf"
    assert (encoding, identifier, octets, streamed) == ("base64", "part@example.org", b"%PDF-", b"%PDF-")
    assert is_multipart and isinstance(inner, Message) and inner.subject == "inside"
    assert [path for path, _ in walked] == ["", "1", "1.1", "1.2", "2", "3", "3.1"]
    assert text == decoded.text == "Hello \nAnn"
    assert (decoded.charset, decoded.known_by, decoded.is_lossy) == ("utf-8", "declared", False)
    assert raw == OCTETS and span == (0, len(OCTETS)) and body_span is not None and body_span[1] == len(OCTETS)
    assert (preamble, epilogue) == (b"before", b"after\n")
    assert all(one.code and one.offset >= 0 and one.sentence and one.rfc for one in defects)
    assert header is message.header


def of_headers(header: Header) -> None:
    """Everything that a header and its fields tell."""
    subject: str = header["Subject"]
    got: str | None = header.get("X-None")
    given: str | None = header.get("X-None", "none")
    first: Field | None = header.first("received")
    every: tuple[Field, ...] = header.all("Received")
    texts: tuple[tuple[str, str], ...] = header.items()
    assert dict(texts)["Subject"] == "Hafen" and texts == tuple((one.name, one.text) for one in header)
    assert first is not None and every == (first,)
    name: str = first.name
    raw: bytes = first.raw
    body: bytes = first.body
    text: str = first.text
    value: FieldValue = first.value
    names: list[str] = [one.name for one in header]
    changed: Header = header.with_field("Subject", "New").without("Cc")
    assert (subject, got, given) == ("Hafen", None, "none")
    assert name == "Received" and raw.startswith(b"Received:") and body.decode() == text
    assert isinstance(value, Received)
    assert names[2] == [one.name for one in changed][2] == "Subject" and "cc" not in changed
    with pytest.raises(KeyError):
        header["X-None"]


def of_fields() -> None:
    """Typed values by themselves."""
    addresses = fields.parse("To", b"Team: bob@example.net; Ann <ann@example.org>")
    assert isinstance(addresses, AddressList)
    team = addresses[0]
    assert isinstance(team, Group) and team.display_name == "Team"
    ann: Mailbox = addresses.mailboxes[1]
    assert (ann.display_name, ann.address, ann.local_part, ann.domain) == (
        "Ann", "ann@example.org", "ann", "example.org",
    )  # fmt: skip
    date = fields.parse("Date", b"Fri, 21 Nov 97 09:55:06 CST")
    assert isinstance(date, DateTime)
    moment: datetime | None = date.datetime
    assert moment is not None and moment.utcoffset() is not None
    kind = fields.parse("Content-Type", b"text/plain; charset=utf-8")
    assert isinstance(kind, ContentType) and kind.charset == "utf-8"
    text = fields.parse("Subject", b"=?utf-8?Q?Hafen?=")
    assert isinstance(text, Text) and text.text == "Hafen"
    identifier = fields.parse("Message-ID", b"<1@example.org>")
    assert isinstance(identifier, MessageId) and identifier.id == "1@example.org"
    identifiers = fields.parse("References", b"<1@example.org> <2@example.org>")
    assert isinstance(identifiers, MessageIdList) and identifiers.ids == ("1@example.org", "2@example.org")
    valid: bool = fields.is_address("ann@example.org")
    assert valid and not fields.is_address("ann")


def of_messages(message: Message) -> None:
    """The views of a message."""
    subject: str | None = message.subject
    sender: Mailbox | None = message.sender
    lists: list[AddressList] = [message.from_, message.reply_to, message.to, message.cc, message.bcc]
    date: datetime | None = message.date
    identifier: str | None = message.message_id
    replied: tuple[str, ...] = message.in_reply_to
    references: tuple[str, ...] = message.references
    received: tuple[Received, ...] = message.received
    text: str | None = message.body_text
    html: str | None = message.body_html
    attachments: tuple[Entity, ...] = message.attachments
    assert subject == "Hafen" and sender is not None and sender.address == "ann@example.org"
    assert [one.mailboxes[0].local_part for one in lists] == ["ann", "ann", "bob", "dora", "erik"]
    assert isinstance(message.to[0], Group)
    assert date is not None and date.year == 1997 and identifier == "3@example.org"
    assert replied == ("2@example.org",) and references == ("1@example.org", "2@example.org")
    assert len(received) == 1 and text == "Hello \nAnn" and html == "<p>Hello Ann</p>"
    assert [one.filename for one in attachments] == ["häfen.pdf", None]


def of_edits(message: Message) -> None:
    """Every edit gives a new message and shares what it does not touch."""
    part: Entity = compose.text("Neu")
    renamed: Message = message.with_header("Subject", "New")
    again: Message = message.with_header(message.header.without("Bcc"))
    replaced: Message = message.replace("1.1", part)
    removed: Message = message.remove("2")
    mapped: Message = message.map_leaves(lambda path, leaf: part if path == "1.2" else leaf)
    attached: Message = message.attach(compose.attachment(b"x", filename="x.bin"))
    wrapped: Message = message.wrap("mixed")
    edited: Message = edit.replace(message, "1.1", part)
    made: Message = compose.message(from_="ann@example.org", to="bob@example.net", subject="Hi", text="Hi", html="<p>")
    assert renamed.subject == "New" and again.bcc.mailboxes == ()
    assert replaced.body_text == "Neu" and edited == replaced
    assert [one.filename for one in removed.attachments] == [None]
    assert mapped.body_html is None or mapped.body_html != message.body_html
    assert attached.attachments[-1].filename == "x.bin" and wrapped.parts[0].content_type.value == "multipart/mixed"
    assert made.span is None and parse(bytes(made)).subject == "Hi"
    octets: bytes = write(message, WritePolicy(line_end=b"\r\n", encoding="7bit"))
    assert bytes(message) == OCTETS and octets.count(b"\r\n") == octets.count(b"\n")
    with pytest.raises(KeyError):
        message.remove("9")


def of_views(message: Message) -> None:
    """Reports, flowed text, embedded files, pieces, bodies elsewhere."""
    report: DeliveryReport | None = message.delivery_report
    receipt: DispositionNotification | None = message.disposition_notification
    paragraphs: tuple[Paragraph, ...] | None = message.part("1.1").flowed
    files: tuple[EmbeddedFile, ...] = message.part("1.1").embedded_files
    piece: Partial | None = message.partial
    elsewhere: ExternalBody | None = message.external_body
    assert (report, receipt, files, piece, elsewhere) == (None, None, (), None, None)
    assert paragraphs is not None and paragraphs[0].text == "Hello Ann" and paragraphs[0].depth == 0
    assert unflow(flow(paragraphs)) == paragraphs and render(paragraphs) == "Hello Ann\n"
    bounced = parse(
        b"From: mailer-daemon@example.org\nSubject: failure\nContent-Type: multipart/report;"
        b" report-type=delivery-status; boundary=a\n\n--a\nContent-Type: message/delivery-status\n\n"
        b"Reporting-MTA: dns; a.example\n\nFinal-Recipient: rfc822; ann@example.org\nAction: failed\nStatus: 5.1.1\n--a--\n"
    ).delivery_report
    assert bounced is not None
    recipient: RecipientReport = bounced.recipients[0]
    status: EnhancedStatus | None = recipient.status
    final: TypedText | None = recipient.final_recipient
    assert recipient.address == "ann@example.org" and str(status) == "5.1.1" and recipient.is_permanent
    assert final is not None and (final.type, final.text) == ("rfc822", "ann@example.org")
    with pytest.raises(mailpipe.MailpipeError):
        partial.assemble([message])


def of_snapshots(message: Message) -> None:
    """The pydantic side."""
    text: str = message.snapshot().model_dump_json()
    assert '"subject":"Hafen"' in text


def test_every_name_of_the_contract_can_be_used() -> None:
    messages = of_sources(OCTETS)
    assert all(bytes(message) == OCTETS for message in messages)
    message = messages[0]
    of_entities(message)
    of_headers(message.header)
    of_fields()
    of_messages(message)
    of_edits(message)
    of_views(message)
    of_snapshots(message)


def test_recipients_are_those_of_every_field() -> None:
    message = parse(b"To: ann@a.example\nFrom: x@a.example\nTO: Team: bob@b.example;\nCc: c@c.example\nTo:\n\n")
    assert [str(member) for member in message.to] == ["ann@a.example", "Team: bob@b.example;"]
    assert message.cc.addresses == ("c@c.example",) and not message.bcc
    assert [field.name for field in message.header] == ["To", "From", "TO", "Cc", "To"]
    assert message.to.addresses == ("ann@a.example", "bob@b.example")


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy is not installed")
def test_the_contract_is_typed() -> None:
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", __file__]
    top = Path(__file__).parents[2]
    result = subprocess.run(command, cwd=top, capture_output=True, text=True, timeout=110)
    assert result.returncode == 0, result.stdout + result.stderr
