"""The values of mailpipe in somebody else's pydantic models, and the JSON Schema of a snapshot."""

import json
from pathlib import Path

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from mailpipe import Defect, Envelope, Mailbox, Message, parse
from mailpipe.fields import (
    AddressList,
    ContentDisposition,
    ContentType,
    DateTime,
    Group,
    MessageId,
    MessageIdList,
    Received,
    Text,
)
from mailpipe.fields import parse as parse_field
from mailpipe.message.snapshot import MessageSnapshot
from mailpipe.smtp.envelope import ForwardPath

OCTETS = b"Subject: =?utf-8?Q?Hafen?=\r\nFrom: Ann <ann@example.org>\r\n\r\nBody \xff\r\n"
SAMPLES = sorted((Path(__file__).parents[2] / "samples" / "mail").glob("*.eml"))


class Case(BaseModel):
    """What a help desk might keep."""

    message: Message
    asker: Mailbox
    kind: ContentType
    defects: tuple[Defect, ...] = ()
    envelope: Envelope | None = None


def case() -> Case:
    message = parse(OCTETS)
    mailbox = message.from_[0]
    assert isinstance(mailbox, Mailbox)
    return Case(
        message=message, asker=mailbox, kind=message.content_type, defects=message.defects,
        envelope=Envelope("ann@example.org", (ForwardPath("bob@example.net"),)),
    )  # fmt: skip


def test_a_message_is_a_field_of_a_model():
    made = case()
    assert made.message.subject == "Hafen"
    assert isinstance(made.model_dump()["message"], Message)


def test_a_model_with_a_message_goes_through_json():
    made = case()
    again = Case.model_validate_json(made.model_dump_json())
    assert bytes(again.message) == OCTETS and again.asker == made.asker and again.kind == made.kind
    assert again.defects == made.defects and again.defects
    assert again == made


@pytest.mark.parametrize("wrong", ["not base64!", 7, None, ["x"]])
def test_what_is_no_message_is_refused(wrong):
    with pytest.raises(ValidationError):
        TypeAdapter(Message).validate_python(wrong)


def test_a_message_takes_octets():
    assert TypeAdapter(Message).validate_python(OCTETS) == parse(OCTETS)
    assert TypeAdapter(Message).validate_python(bytearray(OCTETS)).subject == "Hafen"


def test_a_mailbox_takes_text():
    assert TypeAdapter(Mailbox).validate_python("Ann <ann@example.org>") == Mailbox("Ann", "ann@example.org")
    with pytest.raises(ValidationError, match="one address"):
        TypeAdapter(Mailbox).validate_python("nobody")


VALUES = [
    Mailbox("Ann", "ann@example.org"),
    Group("Team", (Mailbox(None, "bob@example.net"),)),
    parse_field("To", b"Team: bob@example.net; Ann <ann@example.org>"),
    parse_field("Content-Type", b"text/plain; charset=utf-8; x*=utf-8''%C3%BC"),
    parse_field("Content-Disposition", b"attachment; filename=a.txt"),
    parse_field("Date", b"Fri, 21 Nov 1997 09:55:06 -0600"),
    parse_field("Subject", b"=?utf-8?Q?Hafen?="),
    parse_field("Message-ID", b"<1@example.org>"),
    parse_field("References", b"<1@example.org> <2@example.org>"),
    parse_field("Received", b"from a.example by b.example with ESMTP id 1; Fri, 21 Nov 1997 09:55:06 -0600"),
    Defect("bare-cr", 17, "there"),
    Envelope("ann@example.org"),
]
KINDS = (AddressList, ContentDisposition, ContentType, DateTime, MessageId, MessageIdList, Received, Text)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_goes_through_json_and_has_a_schema(value):
    adapter = TypeAdapter(type(value))
    assert adapter.validate_python(value) == value
    assert adapter.validate_json(adapter.dump_json(value)) == value
    assert adapter.json_schema()["title" if "title" in adapter.json_schema() else "type"]
    assert adapter.json_schema(mode="serialization")


def test_every_kind_of_value_is_among_them():
    assert set(KINDS) <= {type(value) for value in VALUES}


def test_a_model_with_a_message_has_a_schema():
    for mode in ("validation", "serialization"):
        schema = Case.model_json_schema(mode=mode)
        assert schema["properties"]["message"]["type"] == "string"


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_a_snapshot_goes_through_json(path):
    snapshot = parse(path.read_bytes()).snapshot()
    text = snapshot.model_dump_json(by_alias=True)
    assert MessageSnapshot.model_validate_json(text) == snapshot
    assert MessageSnapshot.model_validate(snapshot.model_dump()) == snapshot
    assert "from" in json.loads(text)


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"Subject: \xff\xfe\r\nFrom: \xff <\xff@\xff>\r\n\r\n\xff",
        b"Content-Type: text/plain; charset*=\xff''\xff; name=\"\xed\xa0\x80\"\r\n\r\n\xed\xa0\x80",
        b"Content-Disposition: \xff; filename*0*=utf-8''%ED%A0%80\r\nContent-ID: <\xff>\r\n\r\n",
        b"Date: Fri, 21 Nov 0001 00:00:00 +2359\r\n\r\n",
        b"Date: Fri, 31 Dec 9999 23:59:59 -2359\r\n\r\n",
        b"To: \xff: \xff@\xff, <>;\r\nX-\xff: \xff\r\n\xff\r\n\r\n",
        b"Content-Type: text/plain; charset=utf-7\r\n\r\n+2AA-\r\n",
        b"Content-Type: text/plain; charset=utf-16\r\n\r\n\xd8\x00\xd8\x00",
    ],
)
def test_a_snapshot_of_anything_is_json(octets):
    text = parse(octets).snapshot().model_dump_json(by_alias=True)
    assert MessageSnapshot.model_validate_json(text).size == len(octets)


def test_the_schema_of_a_snapshot_describes_every_property():
    schema = MessageSnapshot.model_json_schema(by_alias=True, mode="serialization")
    assert schema["properties"]["from"]["description"] == "The authors."
    assert {"parts", "defects", "subject"} <= set(schema["required"])
    for name, definition in {"": schema, **schema["$defs"]}.items():
        if "properties" in definition:
            silent = [key for key, one in definition["properties"].items() if "description" not in one]
            assert silent in ([], ["version"]), (name, silent)
