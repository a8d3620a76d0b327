"""Uuencoded files leave the text and become attachments."""

import base64
import binascii
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mailpipe
from mailpipe import Envelope, Mail
from mailpipe.pipeline.mail import Changed, Origin
from mailpipe.stages.decode_uuencode import DecodeUuencode

SAMPLES = sorted((Path(__file__).parents[2] / "samples" / "mail").glob("*.eml"))
PDF = b"%PDF-1.4 " + bytes(range(256))


def block(name: bytes, octets: bytes) -> bytes:
    return b"begin 644 " + name + b"\n" + b"".join(binascii.b2a_uu(octets[place : place + 45]) for place in range(0, len(octets), 45)) + b"`\nend\n"


TEXT = b"Sch\xf6n,\n" + block(b"../a b.pdf", PDF) + b"and\n" + block(b"b.txt", b"b") + b"bye\n"


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_a_plain_message_becomes_a_multipart(line_end, mail, stage) -> None:
    octets = (b"From: a@example.org\nContent-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: 8bit\nSubject: old\n\n" + TEXT).replace(b"\n", line_end)
    after = stage(DecodeUuencode).process(mail(octets))
    message = mailpipe.parse(bytes(after.message))
    assert [part.filename for part in message.parts] == [None, "a b.pdf", "b.txt"]
    assert bytes(message.parts[0]) == b"Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: 8bit\n\nSch\xf6n,\nand\nbye\n".replace(b"\n", line_end)
    assert message.parts[1].octets == PDF
    assert message.parts[1].content_type.value == "application/pdf"
    assert message.header["subject"] == "old"
    assert bytes(message).count(b"\n") == bytes(message).count(line_end)
    assert [note.what for note in after.notes_of(Changed)] == ["part 1: 2 files taken out of the text"]


def test_a_part_becomes_a_multipart_in_its_place(mail, stage) -> None:
    head, tail = b"Content-Type: multipart/mixed; boundary=m\n\npre\n--m\n", b"\n--m\nContent-Type: image/png\n\nPNG\n--m--\npost"
    octets = head + b"Content-Transfer-Encoding: base64\nContent-Type: text/plain; charset=iso-8859-1\n\n" + base64.encodebytes(TEXT) + tail
    after = stage(DecodeUuencode).process(mail(octets)).message
    assert bytes(after).startswith(head)
    assert bytes(after).endswith(tail)
    assert after.part("1.1").text == "Schön,\nand\nbye\n"
    assert after.part("1.2").octets == PDF


def test_an_enclosed_message_keeps_its_fields(mail, stage) -> None:
    octets = b"Content-Type: message/rfc822\n\nSubject: inner\n\n" + block(b"b.txt", b"b")
    after = mailpipe.parse(bytes(stage(DecodeUuencode).process(mail(octets)).message))
    inner = after.parts[0]
    assert inner.subject == "inner"
    assert [field.key for field in inner.parts[0].header] == []
    assert inner.parts[1].octets == b"b"


def test_damaged_blocks_stay_unless_asked_for(mail, stage) -> None:
    octets = b"Subject: x\n\n" + block(b"b.txt", b"b" * 90).replace(b"`\nend\n", b"")
    before = mail(octets)
    assert stage(DecodeUuencode).process(before) is before
    assert stage(DecodeUuencode, damaged=True).process(before).message.parts[1].octets == b"b" * 90


def test_text_about_uuencode_stays(mail, stage) -> None:
    before = mail(b"Subject: x\n\nbegin 644 a.txt\nis how they begin\nend\n")
    assert stage(DecodeUuencode).process(before) is before
    signed = mail(b"Content-Type: multipart/signed; boundary=s\n\n--s\n\n" + block(b"a", b"a") + b"--s\nContent-Type: application/pgp-signature\n\nsig\n--s--\n")
    assert stage(DecodeUuencode).process(signed) is signed


@given(st.tuples(st.sampled_from([*(path.read_bytes() for path in SAMPLES), b"Subject: x\n\n" + TEXT, b"\n" + TEXT]), st.integers(0, 800), st.binary(max_size=20)), st.booleans())
def test_no_octets_stop_it(given_octets, damaged) -> None:
    whole, place, junk = given_octets
    octets = whole[:place] + junk + whole[place + len(junk) :]
    mail = Mail(mailpipe.parse(octets), Envelope.of("a@example.org", "b@example.net"), Origin("eml", "x"))
    after = bytes(DecodeUuencode(DecodeUuencode.Options(damaged=damaged)).process(mail).message)
    assert bytes(mailpipe.parse(after)) == after
