"""Whatever is parsed is written back octet for octet, and no view raises."""

import io
import mmap
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import mailpipe
from mailpipe import Message
from mailpipe.defect import DEFECTS

ANATOMY = [
    b"", b"\n", b"\r\n", b"\r", b":", b": x\n", b"a", b"From x\n", b"Subject: x", b"Subject: x\n", b" leading\n",
    b"--\n", b"--b\n--b--\n", b"\0", b"\xff\xfe", b"A: 1\rB: 2\r\rbody\r", b"A: 1\n\rB: 2\r\n\nbody",
]

WORDS = st.sampled_from([
    b"\n", b"\r\n", b"\r", b"\n\n", b"\r\n\r\n", b" ", b"\t", b":", b";", b"=", b"\"", b"--", b"--b", b"--b--", b"--c", b"--b\n",
    b"\n--b\n", b"\n--b--\n", b"\r\n--b\r\n", b"\n--c\n", b"\n--c--\n", b"Content-Type: ", b"content-type:", b"multipart/mixed; boundary=b",
    b"multipart/alternative; boundary=\"c\"", b"Content-Type: multipart/mixed; boundary=b\n\n", b"multipart/digest; boundary=b",
    b"Content-Type: multipart/mixed; boundary=c\n\n", b"Content-Type: message/rfc822\n\n", b"message/rfc822", b"text/plain",
    b"Content-Transfer-Encoding: base64\n", b"Content-Transfer-Encoding: quoted-printable\n", b"Subject: =?utf-8?q?=C3=A9?=\n",
    b"From: a <b@c>\n", b"Date: Mon, 1 Jan 2026 00:00:00 +0000\n", b"x", b"=?", b"?=", b"\xc3\xa9", b"\xe9", b"\0", b"aGVsbG8=", b"=3D",
])  # fmt: skip
SOUP = st.lists(WORDS, max_size=40).map(b"".join)
OCTETS = st.one_of(st.binary(max_size=400), SOUP)


def look_at_everything(message: Message) -> None:
    """Ask every view of every part."""
    for path, entity in message.walk():
        assert entity is message.part(path) or entity == message.part(path)
        bytes(entity), entity.raw, entity.span, entity.body_span, entity.raw_body, len(entity), repr(entity)
        entity.content_type.value, dict(entity.content_type.params), entity.content_type.charset
        entity.disposition, entity.filename, entity.transfer_encoding, entity.content_id
        entity.is_multipart, entity.is_attachment, entity.octets, entity.text, entity.decoded_text.known_by
        entity.preamble, entity.epilogue, entity.open().read()
        for field in entity.header:
            field.name, field.body, field.text, field.value, field.defects
        entity.header.items()
    message.subject, message.from_, message.sender, message.reply_to, message.to, message.cc, message.bcc
    message.date, message.message_id, message.in_reply_to, message.references, message.received
    message.body_text, message.body_html, message.attachments
    for defect in message.defects:
        assert defect.code in DEFECTS
        assert defect.offset >= 0


@given(OCTETS)
@example(b"Content-Type: multipart/mixed; boundary=b\n\n--b\n--b--\n")
@example(b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n--b--")
def test_parsing_and_writing_gives_the_same_octets(octets: bytes) -> None:
    assert bytes(mailpipe.parse(octets)) == octets


@given(OCTETS)
def test_no_view_raises(octets: bytes) -> None:
    look_at_everything(mailpipe.parse(octets))


@pytest.mark.parametrize("octets", ANATOMY, ids=repr)
def test_the_smallest_messages_have_every_view(octets: bytes) -> None:
    message = mailpipe.parse(octets)
    look_at_everything(message)
    assert bytes(message) == octets


@given(OCTETS)
def test_spans_lie_within_their_parents_and_in_order(octets: bytes) -> None:
    message = mailpipe.parse(octets)
    for _, entity in message.walk():
        if entity.span is None:
            continue
        start, stop = entity.span
        body_start, body_stop = entity.body_span
        assert start <= body_start <= body_stop == stop
        assert octets[start:stop] == bytes(entity)
        at = body_start
        for part in entity.parts:
            if part.span is not None:
                assert at <= part.span[0] <= part.span[1] <= stop
                at = part.span[1]


@given(SOUP)
def test_header_and_body_cover_the_message(octets: bytes) -> None:
    message = mailpipe.parse(octets)
    header = (message.header.envelope_line or b"") + b"".join(field.raw for field in message.header.lines)
    assert bytes(message.header) == header
    assert octets.startswith(header)
    assert octets.endswith(message.raw_body)
    assert len(octets) - len(header) - len(message.raw_body) in (0, 1, 2)


@given(SOUP)
def test_field_offsets_point_at_the_field(octets: bytes) -> None:
    for _, entity in mailpipe.parse(octets).walk():
        if entity.span is not None:
            for field in entity.header:
                assert octets[field.offset :].startswith(field.raw)


def test_every_kind_of_source_reads_the_same(tmp_path: Path) -> None:
    octets = b"Subject: x\r\n\r\n" + b"body\r\n" * 300_000
    file = tmp_path / "m.eml"
    file.write_bytes(octets)
    with file.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as mapped, file.open("rb") as again:
        sources = [octets, bytearray(octets), memoryview(octets), mapped, again, io.BytesIO(octets)]
        for source in sources:
            message = mailpipe.parse(source)
            assert message.subject == "x"
            assert bytes(message) == octets
            del message


def test_a_source_that_is_no_source_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="str"):
        mailpipe.parse("Subject: x")  # type: ignore[arg-type]


NAMES = st.sampled_from(["Subject", "subject", "To", "X", "Subject ", "To\t", "Subj", "Toto", "xsubject", "SUBJECT"])


@given(st.lists(st.tuples(NAMES, st.sampled_from(["a", "b\n c", "", "x: y"])), max_size=6), st.sampled_from(["Subject", "to", "x", "subj", "a"]))
def test_searching_a_header_finds_what_an_index_finds(fields: list[tuple[str, str]], name: str) -> None:
    octets = "".join(f"{key}:{value}\n" for key, value in fields).encode() + b"\nbody"
    wanted = next((field for field in mailpipe.parse(octets).header if field.key == name.lower()), None)
    header = mailpipe.parse(octets).header
    assert header.first(name) == wanted
    assert header.body_of(name) == (None if wanted is None else wanted.body)
    assert (header.first(name) or wanted) is wanted or header.first(name).offset == wanted.offset
    list(header)
    assert header.first(name) == wanted
