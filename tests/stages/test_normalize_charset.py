"""Every text is UTF-8 afterwards and says so; what was ASCII or UTF-8 keeps its octets."""

import base64
import quopri
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mailpipe
from mailpipe import Envelope, Mail, Verdict
from mailpipe.pipeline.mail import Changed, Origin
from mailpipe.pipeline.verdict import Decision
from mailpipe.stages.normalize_charset import CharsetChanged, NormalizeCharset

SAMPLES = sorted((Path(__file__).parents[2] / "samples" / "mail").glob("*.eml"))


def letter(charset: str, body: bytes, encoding: str = "8bit", subtype: str = "plain") -> bytes:
    return f"From: a@example.org\nMIME-Version: 1.0\nContent-Type: text/{subtype}; charset={charset}\nContent-Transfer-Encoding: {encoding}\n\n".encode() + body


@pytest.mark.parametrize(
    ("charset", "text"),
    [("iso-8859-1", "Grüße aus Köln\n"), ("windows-1251", "Привет\n"), ("iso-2022-jp", "日本語\n"), ("shift_jis", "日本語\n"), ("gb2312", "中文\n"), ("koi8-r", "Привет\n")],
)
@pytest.mark.parametrize("encoding", ["8bit", "base64", "quoted-printable"])
def test_a_text_becomes_utf_8(charset, text, encoding, mail, stage) -> None:
    raw = text.encode(charset)
    raw = base64.encodebytes(raw) if encoding == "base64" else quopri.encodestring(raw) if encoding == "quoted-printable" else raw
    after = stage(NormalizeCharset).process(mail(letter(charset, raw, encoding)))
    message = mailpipe.parse(bytes(after.message))
    assert (message.text, message.content_type.charset, message.transfer_encoding) == (text, "utf-8", encoding)
    assert message.octets == text.encode()
    assert [note.charset for note in after.notes_of(CharsetChanged)] == [charset]
    assert [note.what for note in after.notes_of(Changed)] == [f"part 1: {charset} → utf-8"]


def test_a_wrong_or_missing_charset_is_mended(mail, stage) -> None:
    after = stage(NormalizeCharset).process(mail(letter("us-ascii", "Grüße aus Köln am Rhein\n".encode())))
    assert mailpipe.parse(bytes(after.message)).content_type.charset == "utf-8"
    after = stage(NormalizeCharset).process(mail(b"From: a@example.org\n\n" + "Grüße\n".encode()))
    assert mailpipe.parse(bytes(after.message)).content_type.charset == "utf-8"
    assert after.message.text == "Grüße\n"


def test_fields_become_utf_8(mail, stage) -> None:
    octets = (
        b"From: =?iso-8859-1?Q?Andr=E9?= <andre@example.org>\nTo:  Odd   <b@example.net>\nSubject: =?ISO-2022-JP?B?GyRCRnxLXBsoQg==?= hi\nX-Raw: Gr\xfc\xdfe aus K\xf6ln\n"
        b"X-Utf: =?utf-8?q?=C3=A4?= \xc3\xa4\nContent-Type: application/pdf; name*=iso-8859-1''%E4.pdf\n\nPDF"
    )
    after = stage(NormalizeCharset).process(mail(octets)).message
    message = mailpipe.parse(bytes(after))
    assert message.subject == "日本 hi"
    assert message.from_.mailboxes[0].display_name == "André"
    assert message.header["x-raw"] == "Grüße aus Köln"
    assert message.filename == "ä.pdf"
    assert b"iso" not in bytes(after).lower()
    assert b"\nTo:  Odd   <b@example.net>\n" in bytes(after)
    assert b"\nX-Utf: =?utf-8?q?=C3=A4?= \xc3\xa4\n" in bytes(after)
    assert bytes(stage(NormalizeCharset, fields=False).process(mail(octets)).message) == octets


@pytest.mark.parametrize(
    "octets",
    [
        letter("utf-8", "Grüße\n".encode()), letter("UTF-8", b"\xef\xbb\xbfascii\n"), letter("iso-8859-1", b"ascii\n"), letter("iso-2022-jp", b"ascii\n"), b"Subject: x\n\nascii\n",
        b"Content-Type: multipart/signed; boundary=s\n\n--s\nContent-Type: text/plain; charset=iso-8859-1\n\n\xe4\n--s\nContent-Type: application/pgp-signature\n\nsig\n--s--\n",
    ],
)  # fmt: skip
def test_others_keep_their_octets(octets, mail, stage) -> None:
    before = mail(octets)
    assert stage(NormalizeCharset).process(before) is before


def test_html_says_it_too(mail, stage) -> None:
    html = '<head><META http-equiv=Content-Type content="text/html; charset=windows-1252"><meta charset=\'x\'></head><body>ü<meta charset=y>'
    after = stage(NormalizeCharset).process(mail(letter("windows-1252", html.encode("cp1252"), subtype="html"))).message
    assert after.text == html.replace("windows-1252", "utf-8").replace("'x'", "'utf-8'")


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_only_the_part_changes(line_end, mail, stage) -> None:
    octets = (
        b"X:  odd \nContent-Type: multipart/mixed; boundary=m\n\npre\n--m\ncontent-TYPE: text/plain; charset=utf-8\n\n\xc3\xa4\n--m\nContent-Type: text/plain; charset=iso-8859-1\n"
        b"content-transfer-encoding: 8BIT\nX-Y:  z\n\n\xe4\n--m\nContent-Type: image/png\n\n\xe4\n--m--\npost"
    ).replace(b"\n", line_end)
    after = bytes(stage(NormalizeCharset).process(mail(octets)).message)
    assert after == octets.replace(b"charset=iso-8859-1", b"charset=utf-8").replace(b"X-Y:  z" + line_end * 2 + b"\xe4", b"X-Y:  z" + line_end * 2 + b"\xc3\xa4")


LOSSY = letter("utf-8", "Köln und Öl ".encode() * 9 + b"\xff\n")


def test_what_fits_no_charset_is_left_converted_or_stopped(mail, stage) -> None:
    assert bytes(stage(NormalizeCharset).process(mail(LOSSY)).message) == LOSSY
    after = stage(NormalizeCharset, on_lossy="convert").process(mail(LOSSY))
    assert after.message.text.endswith("Öl \ufffd\n")
    assert [note.lost for note in after.notes_of(CharsetChanged)] == [1]
    after = stage(NormalizeCharset, on_lossy="quarantine").process(mail(LOSSY))
    assert isinstance(after, Verdict)
    assert after.decision is Decision.QUARANTINE


@given(st.one_of(st.binary(max_size=300), st.tuples(st.sampled_from([*(path.read_bytes() for path in SAMPLES), LOSSY]), st.integers(0, 900), st.binary(max_size=20))),
    st.sampled_from(["keep", "convert"]))  # fmt: skip
def test_no_octets_stop_it(octets, on_lossy) -> None:
    if isinstance(octets, tuple):
        whole, place, junk = octets
        octets = whole[:place] + junk + whole[place + len(junk) :]
    one = NormalizeCharset(NormalizeCharset.Options(on_lossy=on_lossy))
    mail = Mail(mailpipe.parse(octets), Envelope.of("a@example.org", "b@example.net"), Origin("eml", "x"))
    after = bytes(one.process(mail).message)
    assert bytes(mailpipe.parse(after)) == after
