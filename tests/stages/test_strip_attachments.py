"""Attachments go, a text says what they were, and everything beside them stays octet for octet."""

import base64
import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import mailpipe
from mailpipe import Envelope, Mail
from mailpipe.pipeline.mail import Changed, Origin
from mailpipe.stages.strip_attachments import StripAttachments

SAMPLES = sorted((Path(__file__).parents[2] / "samples" / "mail").glob("*.eml"))
PDF = b"%PDF-1.4 tiny\n" * 20
BEFORE = (
    b"From: =?iso-8859-1?Q?Andr=E9?= <andre@example.org>\nContent-Type: multipart/mixed; boundary=b\n\npreamble\n--b\n"
    b"Content-Type: text/plain; charset=iso-8859-1\n\nsch\xf6n \n--b\n"
)
PART = (
    b"Content-Type: application/pdf\nContent-Disposition: attachment; filename*=utf-8''Rechnung%20f%C3%BCr%20M%C3%A4rz.pdf\nContent-Transfer-Encoding: base64\n\n"
    + base64.encodebytes(PDF)
)
INNER = b"Content-Type: message/rfc822\n\nSubject: inner\nContent-Type: multipart/mixed; boundary=i\n\n--i\n\ntext\n--i\n" + PART + b"\n--i--\n"
AFTER = b"\n--b--\nepilogue"


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_a_note_takes_the_place_of_an_attachment(line_end, mail, stage) -> None:
    def lines(octets: bytes) -> bytes:
        return octets.replace(b"\n", line_end)

    after = stage(StripAttachments).process(mail(lines(BEFORE + PART + b"\n--b\n" + INNER + AFTER)))
    octets = bytes(after.message)
    assert octets.startswith(lines(BEFORE))
    assert octets.endswith(lines(AFTER))
    assert lines(b"--b\nContent-Type: message/rfc822\n\nSubject: inner\nContent-Type: multipart/mixed; boundary=i\n\n--i\n\ntext\n--i\n") in octets
    assert octets.count(b"\n") == octets.count(line_end)
    for path in ("2", "3.2"):
        note = after.message.part(path)
        assert note.content_type.value == "text/plain"
        assert "Rechnung für März.pdf (application/pdf, 280 octets)" in note.text
        assert hashlib.sha256(PDF).hexdigest() in note.text
    assert [note.what for note in after.notes_of(Changed)] == ["part 2 replaced by a note", "part 3.2 replaced by a note"]


@pytest.mark.parametrize(
    ("options", "is_gone"),
    [
        ({"types": ["image/*"]}, False), ({"types": ["APPLICATION/*"]}, True), ({"except_types": ["*/pdf"]}, False), ({"names": ["*.pdf"]}, True), ({"names": ["*.exe"]}, False),
        ({"min_size": "281"}, False), ({"max_size": "279"}, False), ({"min_size": "280", "max_size": "280"}, True),
    ],
)  # fmt: skip
def test_which_ones_is_the_users_choice(options, is_gone, mail, stage) -> None:
    octets = BEFORE + PART + AFTER
    after = stage(StripAttachments, **options).process(mail(octets))
    assert (bytes(after.message) != octets) is is_gone


def test_it_may_leave_no_trace(mail, stage) -> None:
    after = stage(StripAttachments, then="detach").process(mail(BEFORE + PART + AFTER))
    assert bytes(after.message) == BEFORE.removesuffix(b"\n--b\n") + AFTER


def test_signed_parts_stay(mail, stage) -> None:
    octets = (
        b"Content-Type: multipart/signed; boundary=s; protocol=\"application/pgp-signature\"\n\n--s\n" + BEFORE + PART + AFTER
        + b"\n--s\nContent-Type: application/pgp-signature; name=signature.asc\n\nsig\n--s--\n"
    )  # fmt: skip
    after = stage(StripAttachments).process(mail(octets))
    assert bytes(after.message) == octets
    assert {note.what.partition(": ")[2] for note in after.notes_of(Changed)} == {"it is signed"}


def test_a_note_that_cannot_be_filled_is_refused() -> None:
    with pytest.raises(ValidationError, match="filename, content_type, size, sha256"):
        StripAttachments.Options(note="{path}")


@given(st.one_of(st.binary(max_size=300), st.tuples(st.sampled_from(SAMPLES), st.integers(0, 5000), st.binary(max_size=20))), st.sampled_from(["note", "detach"]))
def test_no_octets_stop_it(octets, then) -> None:
    if isinstance(octets, tuple):
        path, place, junk = octets
        whole = path.read_bytes()
        octets = whole[:place] + junk + whole[place + len(junk) :]
    mail = Mail(mailpipe.parse(octets), Envelope.of("a@example.org", "b@example.net"), Origin("eml", "x"))
    after = bytes(StripAttachments(StripAttachments.Options(then=then, inline=True)).process(mail).message)
    assert bytes(mailpipe.parse(after)) == after
