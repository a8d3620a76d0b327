"""What is not allowed is found whatever it is called and however it is packed."""

import base64
import binascii
import gzip
import io
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import mailpipe
from mailpipe import Access, Envelope, Mail, Verdict
from mailpipe.pipeline.mail import Changed, Origin
from mailpipe.pipeline.verdict import Decision
from mailpipe.stages.block_types import BlockedContent, BlockTypes

SAMPLES = sorted((Path(__file__).parents[2] / "samples" / "mail").glob("*.eml"))
PE = b"MZ" + bytes(58) + b"\x40\0\0\0PE\0\0" + bytes(200)


def zipped(**files: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, octets in files.items():
            archive.writestr(name.replace("__", "."), octets)
    return file.getvalue()


def letter(octets: bytes, name: str = "", kind: bytes = b"application/octet-stream") -> bytes:
    disposition = b"Content-Disposition: attachment" + (f'; filename="{name}"'.encode() if name else b"")
    return (
        b"From: a@example.org\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\n#!/bin/sh is how scripts begin\n--b\n"
        b"Content-Type: " + kind + b"\n" + disposition + b"\nContent-Transfer-Encoding: base64\n\n" + base64.encodebytes(octets) + b"\n--b--\n"
    )  # fmt: skip


def verdict(stage, mail, octets: bytes, **options) -> str | None:
    after = stage(BlockTypes, **options).process(mail(octets))
    if isinstance(after, Verdict):
        assert after.decision is Decision.REJECT
        assert str(after.status) == "5.7.1"
        return after.reason
    assert bytes(after.message) == octets
    return None


@pytest.mark.parametrize(
    ("octets", "name", "expected"),
    [
        (PE, "holiday.jpg", "part 2 (holiday.jpg): the content is an executable (pe)"),
        (b"hello", "a.exe", "part 2 (a.exe): names that end with .exe are not allowed"),
        (b"hello", "a.EXE.", "part 2 (a.EXE.): names that end with .exe are not allowed"),
        (b"hello", "a.pdf.exe . .", "part 2 (a.pdf.exe . .): names that end with .exe are not allowed"),
        (b"hello", "a.exe::$DATA", "part 2 (a.exe::$DATA): names that end with .exe are not allowed"),
        (b"hello", "a\u202efdp.scr", "part 2 (a?fdp.scr): names that end with .scr are not allowed"),
        (b"hello", "ａ．ｅｘｅ", "part 2 (ａ．ｅｘｅ): names that end with .exe are not allowed"),
        (b"hello", "a.exe.txt", None),
        (b"hello", "a.txt", None),
        (zipped(a__txt=b"hello"), "a.zip", None),
        (zipped(a__js=b"hello"), "a.zip", "part 2 (a.zip/a.js): names that end with .js are not allowed"),
        (zipped(a__txt=PE), "a.zip", "part 2 (a.zip/a.txt): the content is an executable (pe)"),
        (gzip.compress(zipped(b__zip=zipped(c=PE))), "a.gz", "part 2 (a.gz/b.zip/c): the content is an executable (pe)"),
        (b"GIF89a" + zipped(a__lnk=b""), "a.gif", "part 2 (a.gif/a.lnk): names that end with .lnk are not allowed"),
    ],
    ids=lambda value: "octets" if isinstance(value, bytes) else ascii(value),
)
def test_it_is_found(octets, name, expected, mail, stage) -> None:
    assert verdict(stage, mail, letter(octets, name)) == expected


def test_the_first_lines_of_a_body_are_text(mail, stage) -> None:
    assert verdict(stage, mail, b"Subject: hi\n\n#!/bin/sh\necho hello\n") is None
    assert "pe" in verdict(stage, mail, b"Content-Transfer-Encoding: base64\n\n" + base64.encodebytes(PE))


def test_uuencoded_files_are_seen(mail, stage) -> None:
    lines = b"".join(binascii.b2a_uu(PE[place : place + 45]) for place in range(0, len(PE), 45))
    assert "a.jpg" in verdict(stage, mail, b"Subject: hi\n\nsee\nbegin 644 a.jpg\n" + lines + b"`\nend\n")


def test_enclosed_messages_are_seen(mail, stage) -> None:
    octets = b"Content-Type: message/rfc822\n\n" + letter(PE, "x.png")
    assert verdict(stage, mail, octets).startswith("part 2 (x.png)")


def test_macros_and_passwords_are_words(mail, stage) -> None:
    document = zipped(**{"[Content_Types]__xml": b"", "word/vbaProject__bin": b""})
    assert verdict(stage, mail, letter(document, "a.docx")) is None
    assert "macro" in verdict(stage, mail, letter(document, "a.docx"), deny_content=["macro"])
    assert verdict(stage, mail, letter(b"Rar!\x1a\x07\x01\0", "a.rar"), deny_content=["unreadable"]) == "part 2 (a.rar): a rar file cannot be looked into"
    with pytest.raises(ValidationError, match="no word for content"):
        BlockTypes.Options(deny_content=("exe",))


def test_only_some_types_may_be_allowed(mail, stage) -> None:
    assert verdict(stage, mail, letter(b"%PDF-1.4", "a.pdf"), allow_content=["pdf", "image"]) is None
    assert "text, which is not allowed" in verdict(stage, mail, letter(b"hello", "a.pdf"), allow_content=["pdf", "image"])
    assert "text, which is not allowed" in verdict(stage, mail, letter(zipped(a=b"hello"), "a.zip"), allow_content=["pdf"])
    assert verdict(stage, mail, letter(b"x", "a.pdf"), allow_types=["text/*", "application/octet-stream"]) is None
    assert "type application/octet-stream" in verdict(stage, mail, letter(b"x", "a.pdf"), allow_types=["text/*"])
    assert "type application/octet-stream" in verdict(stage, mail, letter(b"x", "a.pdf"), deny_types=["application/*"])
    assert "its name" in verdict(stage, mail, letter(b"x", "Invoice 7.pdf"), deny_names=["invoice*"])
    assert ".exe" in verdict(stage, mail, letter(b"x", "a.exe.txt"), inner_suffixes=True)


def test_depth_and_size_have_bounds(mail, stage) -> None:
    octets = zipped(a=PE)
    for _ in range(5):
        octets = zipped(a=octets)
    assert verdict(stage, mail, letter(octets, "a.zip")) is None
    assert "deeper than 3" in verdict(stage, mail, letter(octets, "a.zip"), deny_content=["beyond-limit"])
    assert "executable" in verdict(stage, mail, letter(octets, "a.zip"), depth=6)
    bomb = letter(zipped(a=bytes(1_000_000)), "a.zip")
    assert "too much" in verdict(stage, mail, bomb, deny_content=["beyond-limit"], unpacked_size="10KB")
    many = letter(zipped(**{f"m{number}": b"" for number in range(20)}), "a.zip")
    assert "too much" in verdict(stage, mail, many, deny_content=["beyond-limit"], members=10)


def test_it_may_keep_the_message_aside(mail, stage) -> None:
    after = stage(BlockTypes, then="quarantine").process(mail(letter(PE, "a.exe")))
    assert after.decision is Decision.QUARANTINE
    assert after.reason == "part 2 (a.exe): names that end with .exe are not allowed, and 1 more"
    assert [note.why for note in after.notes if isinstance(note, BlockedContent)][1] == "the content is an executable (pe)"


def test_it_may_take_the_part_out(mail, stage) -> None:
    octets = letter(PE, "a.exe")
    after = stage(BlockTypes, then="strip").process(mail(octets))
    assert bytes(after.message).startswith(octets[: octets.index(b"--b\nContent-Type: application")])
    assert "a.exe" in after.message.part("2").text
    assert list(after.notes_of(BlockedContent))
    assert list(after.notes_of(Changed)) == [Changed("block-types", "part 2 replaced by a note")]


def test_it_may_leave_a_tag(mail, stage) -> None:
    one = stage(BlockTypes, then="tag")
    after = one.process(mail(b"X-Blocked-Content: forged\n" + letter(PE, "a.jpg")))
    assert after.message.header.all("x-blocked-content")[0].text == "part 2 (a.jpg): the content is an executable (pe)"
    assert len(after.message.header.all("x-blocked-content")) == 1
    assert bytes(one.process(mail(b"X-Blocked-Content: forged\n" + letter(b"x"))).message) == letter(b"x")
    octets = letter(b"x")
    assert bytes(one.process(mail(octets)).message) == octets


def test_it_says_what_it_touches_and_decides() -> None:
    assert BlockTypes.accesses(BlockTypes.Options())[1] == Access(notes=(BlockedContent,))
    assert BlockTypes.accesses(BlockTypes.Options(then="strip"))[1].body
    assert BlockTypes.accesses(BlockTypes.Options(then="tag"))[1].fields == ("X-Blocked-Content",)
    assert BlockTypes.decisions(BlockTypes.Options()) == (Decision.REJECT,)
    assert BlockTypes.decisions(BlockTypes.Options(then="tag")) == ()


@given(st.one_of(st.binary(max_size=300), st.tuples(st.sampled_from([*(path.read_bytes() for path in SAMPLES), letter(zipped(a=PE), "a.zip")]), st.integers(0, 5000), st.binary(max_size=20))),
    st.sampled_from(["strip", "tag"]))  # fmt: skip
def test_no_octets_stop_it(octets, then) -> None:
    if isinstance(octets, tuple):
        whole, place, junk = octets
        octets = whole[:place] + junk + whole[place + len(junk) :]
    mail = Mail(mailpipe.parse(octets), Envelope.of("a@example.org", "b@example.net"), Origin("eml", "x"))
    after = bytes(BlockTypes(BlockTypes.Options(then=then, deny_content=("archive", "image", "executable"))).process(mail).message)
    assert bytes(mailpipe.parse(after)) == after
