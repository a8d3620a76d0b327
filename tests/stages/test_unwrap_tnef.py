"""What is in a winmail.dat takes its place."""

import base64
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mailpipe
from mailpipe import Envelope, Mail
from mailpipe.codec import tnef
from mailpipe.pipeline.mail import Changed, Origin
from mailpipe.stages.unwrap_tnef import UnwrapTnef

SAMPLES = sorted((Path(__file__).parents[2] / "samples" / "mail").glob("*.eml"))
RTF = bytes.fromhex("2d0000002b0000004c5a4675f1c5c7a703000a007263706731323542320af32068656c090020627705b06c647d0a800fa0")


def attribute(level: int, name: int, value: bytes) -> bytes:
    return struct.pack("<BII", level, name, len(value)) + value + struct.pack("<H", sum(value) & 0xFFFF)


def properties(*entries: tuple[int, int, object]) -> bytes:
    made = struct.pack("<I", len(entries))
    for kind, name, value in entries:
        made += struct.pack("<HH", kind, name)
        if kind == 3:
            made += struct.pack("<i", value)
            continue
        raw = (value + "\0").encode("utf-16-le") if kind == 0x1F else value
        made += struct.pack("<II", 1, len(raw)) + raw + bytes(-len(raw) % 4)
    return made


def file(name: str, octets: bytes) -> bytes:
    return attribute(2, 0x69002, bytes(14)) + attribute(2, 0x6800F, octets) + attribute(2, 0x69005, properties((0x1F, 0x3707, name)))


def stream(*attributes: bytes) -> bytes:
    return tnef.SIGN + struct.pack("<H", 7) + b"".join(attributes)


INNER = stream(attribute(1, 0x18004, b"inner\0"), attribute(1, 0x2800C, b"inner text\0"), file("c.txt", b"c"))
WINMAIL = stream(
    attribute(1, 0x69003, properties((0x102, 0x1009, RTF))), file("Übersicht.pdf", b"%PDF"), file("../b.txt", b"b\n"),
    attribute(2, 0x69002, bytes(14)) + attribute(2, 0x69005, properties((3, 0x3705, 5), (0xD, 0x3701, bytes(16) + INNER))),
)  # fmt: skip


def letter(text: bytes, octets: bytes = WINMAIL, line_end: bytes = b"\n") -> bytes:
    return (
        b"From: a@example.org\nContent-Type: multipart/mixed; boundary=m\n\npreamble\n--m\nContent-Type: text/plain; charset=iso-8859-1\n\n" + text + b"\n--m\n"
        b"Content-Type: application/ms-tnef; name=\"winmail.dat\"\nContent-Transfer-Encoding: base64\n\n" + base64.encodebytes(octets) + b"\n--m--\nepilogue\n"
    ).replace(b"\n", line_end)  # fmt: skip


def shape(message) -> list[tuple[str, str, str | None]]:
    return [(path, one.content_type.value, one.filename) for path, one in message.walk()]


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_attachments_take_its_place(line_end, mail, stage) -> None:
    octets = letter(b"Sch\xf6n", line_end=line_end)
    after = stage(UnwrapTnef).process(mail(octets))
    message = mailpipe.parse(bytes(after.message))
    assert bytes(message).startswith(octets[: octets.index(b"Content-Type: application/ms-tnef")])
    assert bytes(message).endswith(line_end + b"--m--" + line_end + b"epilogue" + line_end)
    assert bytes(message).count(b"\n") == bytes(message).count(line_end)
    assert shape(message)[2:] == [
        ("2", "multipart/mixed", None), ("2.1", "application/pdf", "Übersicht.pdf"), ("2.2", "text/plain", "b.txt"),
        ("2.3", "message/rfc822", None), ("2.3.TEXT", "multipart/mixed", None), ("2.3.1", "text/plain", None), ("2.3.2", "text/plain", "c.txt"),
    ]  # fmt: skip
    assert message.part("2.1").octets == b"%PDF"
    assert message.part("2.2").octets == b"b\n"
    assert message.part("2.3").parts[0].subject == "inner"
    assert message.part("2.3.1").text == "inner text"
    assert [note.what for note in after.notes_of(Changed)] == ["part 2: 3 parts taken out"]


def test_its_text_is_added_where_there_is_none(mail, stage) -> None:
    after = stage(UnwrapTnef).process(mail(letter(b" "))).message
    assert after.part("2.1").text.strip() == "hello world"
    assert stage(UnwrapTnef, body="never").process(mail(letter(b" "))).message.part("2.1").filename == "Übersicht.pdf"
    assert stage(UnwrapTnef, body="always").process(mail(letter(b"x"))).message.part("2.1").text.strip() == "hello world"


def test_a_message_that_is_one_becomes_a_multipart(mail, stage) -> None:
    octets = b"From: a@example.org\nSubject: s\nContent-Type: application/ms-tnef\nContent-Transfer-Encoding: base64\n\n" + base64.encodebytes(WINMAIL)
    after = stage(UnwrapTnef).process(mail(octets)).message
    assert after.header.keys()[:2] == ("From", "Subject")
    assert [part.filename for part in after.parts] == [None, "Übersicht.pdf", "b.txt", None]


def test_it_may_stay_beside_its_content(mail, stage) -> None:
    after = stage(UnwrapTnef, keep=True).process(mail(letter(b"x"))).message
    assert after.part("2.4").octets == WINMAIL


@pytest.mark.parametrize("octets", [b"no tnef at all", stream()])
def test_what_holds_nothing_is_left(octets, mail, stage) -> None:
    before = letter(b"x", octets)
    after = stage(UnwrapTnef).process(mail(before))
    assert bytes(after.message) == before
    assert "nothing was found" in next(iter(after.notes_of(Changed))).what


def test_signed_ones_stay(mail, stage) -> None:
    octets = b"Content-Type: multipart/signed; boundary=s\n\n--s\n" + letter(b"x") + b"\n--s\nContent-Type: application/pgp-signature\n\nsig\n--s--\n"
    before = mail(octets)
    assert stage(UnwrapTnef).process(before) is before


@given(st.one_of(st.tuples(st.sampled_from([*(path.read_bytes() for path in SAMPLES)]), st.integers(0, 3000), st.binary(max_size=20)), st.tuples(st.just(WINMAIL), st.integers(0, len(WINMAIL)), st.binary(max_size=12))))
def test_no_octets_stop_it(given_octets) -> None:
    whole, place, junk = given_octets
    octets = whole[:place] + junk + whole[place + len(junk) :]
    octets = letter(b" ", octets) if whole is WINMAIL else octets
    mail = Mail(mailpipe.parse(octets), Envelope.of("a@example.org", "b@example.net"), Origin("eml", "x"))
    after = bytes(UnwrapTnef(UnwrapTnef.Options()).process(mail).message)
    assert bytes(mailpipe.parse(after)) == after
