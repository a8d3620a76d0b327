"""A message that has HTML only gets a plain text, and keeps its HTML octet for octet."""

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mailpipe
from mailpipe import Envelope, Mail
from mailpipe.message import flowed
from mailpipe.pipeline.mail import Changed, Origin
from mailpipe.stages.html_render import render
from mailpipe.stages.html_to_text import HtmlToText

SAMPLES = sorted((Path(__file__).parents[2] / "samples" / "mail").glob("*.eml"))


def text(html: str, **options) -> str:
    return flowed.render(render(html, **options))


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("plain  text\n&amp; more", "plain text & more\n"),
        ("<h1>Title</h1><p>One\n two<br>three</p><p>four", "Title\n\nOne two\nthree\n\nfour\n"),
        ("<div>a</div><div>b<div>c</div></div>", "a\nb\nc\n"),
        ("<ul><li>a<li>b<ol><li>x</li><li>y</li></ol></ul>end", "* a\n* b\n  1. x\n  2. y\n\nend\n"),
        ("<blockquote>q<blockquote>qq</blockquote></blockquote>a", "> q\n>\n>> qq\n\na\n"),
        ("<pre>a  b\n  c\n\nd</pre>e", "a  b\n  c\n\nd\n\ne\n"),
        ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a b\nc\n"),
        ("a<hr>b", "a\n\n--------------------\n\nb\n"),
        ("<title>T</title><head><style>p {}</style></head><body>b<script>x</script><!-- c --></body>", "b\n"),
        ("a<b>b</b>c <i>d</i>e", "abc de\n"),
        ("<img src=x alt='A cat'> sits", "[A cat] sits\n"),
        ("a&nbsp;&nbsp;b&euro;&#8364;", "a  b€€\n"),
        ("", ""),
    ],
)
def test_html_reads_as(html, expected) -> None:
    assert text(html).replace("> \n", ">\n") == expected


def test_links_are_footnotes() -> None:
    html = (
        "<p>See <a href='https://example.org/a'>this</a> and <a href='https://example.org/a'>that</a>, <a href='https://example.org/b'>https://example.org/b</a>,"
        " <a href='mailto:a@example.org'>a@example.org</a>, <a href='javascript:x()'>no</a>, <a name=x>anchor</a></p>"
    )
    expected = "See this [1] and that [1], https://example.org/b, a@example.org, no, anchor\n"
    assert text(html) == expected + "\n[1] https://example.org/a\n"
    assert text(html, links=False) == expected.replace(" [1]", "")


@pytest.mark.parametrize("piece", ["<blockquote>", "<ul><li>", "<a href=x>", "<div>", "<p>x", "<pre>\n", "<a href='http://x'>y</a>", "<td>", "&amp;", "<br>", "<ol><li>"])
def test_a_lot_takes_little_time_and_room(piece) -> None:
    html = piece * (300_000 // len(piece))
    start = time.process_time()
    written = text(html)
    assert time.process_time() - start < 12
    assert len(written) < 20_000_000


HTML = b"<p>Gr\xfc\xdfe, <a href=\"https://example.org/\">K\xf6ln</a></p>\n"
LETTER = b"From: a@example.org\nMIME-Version: 1.0\nContent-Type: text/html; charset=iso-8859-1\nContent-Transfer-Encoding: 8bit\nSubject: hi\n\n" + HTML


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_html_alone_becomes_an_alternative(line_end, mail, stage) -> None:
    after = stage(HtmlToText).process(mail(LETTER.replace(b"\n", line_end)))
    message = mailpipe.parse(bytes(after.message))
    assert message.header.keys() == ("From", "MIME-Version", "Content-Type", "Subject")
    assert message.content_type.value == "multipart/alternative"
    plain, html = message.parts
    assert plain.content_type.params["format"] == "flowed"
    assert plain.text.replace("\r\n", "\n") == "Grüße, Köln [1]\n\n[1] https://example.org/\n"
    assert bytes(html) == (b"Content-Type: text/html; charset=iso-8859-1\nContent-Transfer-Encoding: 8bit\n\n" + HTML).replace(b"\n", line_end)
    assert bytes(message).count(b"\n") == bytes(message).count(line_end)
    assert [note.what for note in after.notes_of(Changed)] == ["a plain text added to part 1"]


def test_pictures_stay_with_their_html(mail, stage) -> None:
    related = b"Content-Type: multipart/related; boundary=r\n\n--r\nContent-Type: text/html\n\n<p>Hi<img src=cid:i></p>\n--r\nContent-Type: image/png\nContent-ID: <i>\n\nPNG\n--r--\n"
    octets = b"Content-Type: multipart/mixed; boundary=m\n\n--m\n" + related + b"\n--m\nContent-Type: application/pdf\n\nPDF\n--m--\n"
    after = stage(HtmlToText).process(mail(octets)).message
    assert bytes(after).endswith(b"\n--m\nContent-Type: application/pdf\n\nPDF\n--m--\n")
    alternative = after.part("1")
    assert [part.content_type.value for part in alternative.parts] == ["text/plain", "multipart/related"]
    assert bytes(alternative.parts[1]) == related
    after = stage(HtmlToText).process(mail(related)).message
    assert [part.content_type.value for part in after.parts] == ["text/plain", "multipart/related"]


def test_the_text_may_take_the_place_of_the_html(mail, stage) -> None:
    after = stage(HtmlToText, keep_html=False, links=False).process(mail(LETTER)).message
    assert after.content_type.value == "text/plain"
    assert after.text == "Grüße, Köln\n"
    assert after.header["subject"] == "hi"


@pytest.mark.parametrize(
    "octets",
    [
        b"Subject: hi\n\nplain\n",
        b"Content-Type: multipart/alternative; boundary=a\n\n--a\n\nHi\n--a\nContent-Type: text/html\n\n<p>Hi\n--a--\n",
        b"Content-Type: multipart/signed; boundary=a\n\n--a\nContent-Type: text/html\n\n<p>Hi\n--a\nContent-Type: application/pgp-signature\n\nsig\n--a--\n",
        b"Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: text/html; name=a.html\nContent-Disposition: attachment\n\n<p>Hi\n--a--\n",
    ],
)
def test_others_stay_as_they_are(octets, mail, stage) -> None:
    before = mail(octets)
    assert stage(HtmlToText).process(before) is before


@given(st.one_of(st.binary(max_size=300), st.tuples(st.sampled_from([*(path.read_bytes() for path in SAMPLES), LETTER]), st.integers(0, 3000), st.binary(max_size=20))), st.booleans())
def test_no_octets_stop_it(octets, keep) -> None:
    if isinstance(octets, tuple):
        whole, place, junk = octets
        octets = whole[:place] + junk + whole[place + len(junk) :]
    mail = Mail(mailpipe.parse(octets), Envelope.of("a@example.org", "b@example.net"), Origin("eml", "x"))
    after = bytes(HtmlToText(HtmlToText.Options(keep_html=keep)).process(mail).message)
    assert bytes(mailpipe.parse(after)) == after


@given(st.text(alphabet="<>/!-'\"= aAplitdbrqo&;\n", max_size=200))
def test_no_html_stops_it(html) -> None:
    text(html)
