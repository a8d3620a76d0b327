"""What acts or reports goes out of HTML; what a reader came for stays."""

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mailpipe
from mailpipe import Envelope, Mail, Services, Verdict
from mailpipe.errors import ConfigError
from mailpipe.pipeline.mail import Changed, Origin
from mailpipe.pipeline.verdict import Decision
from mailpipe.stages.sanitize_html import SanitizeHtml

SAMPLES = sorted((Path(__file__).parents[2] / "samples" / "mail").glob("*.eml"))


def clean(html: str, stage, mail, **options) -> str:
    octets = b"Content-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n" + html.encode()
    after = stage(SanitizeHtml, **options).process(mail(octets)).message
    return after.text.removeprefix("<!DOCTYPE html>\n<html><body>").removesuffix("</body></html>\n")


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<p>Hi <b>you</b></p>", "<p>Hi <b>you</b></p>"),
        ("<script>alert(1)</script><p onclick=x()>Hi</p>", "<p>Hi</p>"),
        ("<a href='javascript:x()'>a</a><a href='https://example.org/'>b</a>", '<a rel="noopener noreferrer">a</a><a href="https://example.org/" rel="noopener noreferrer">b</a>'),
        ("<form action=x><input name=p>Text</form><iframe src=x></iframe><object data=x></object>", "Text"),
        ("<style>p{}</style><link rel=stylesheet href=x><base href=x><meta http-equiv=refresh content=1>T", "T"),
        ("<svg><script>x</script></svg><math><mi>x</mi></math>T", "T"),
        ('<img src="cid:a@b" alt="A">', '<img src="cid:a@b" alt="A">'),
        ('<img src="data:image/png;base64,AAAA"><img src="data:text/html,x">', '<img src="data:image/png;base64,AAAA"><img>'),
        ("<p style='color:red;position:fixed;background:url(https://x/)'>a</p>", "<p>a</p>"),
        ("<p style='color:red;position:fixed'>a</p>", '<p style="color:red">a</p>'),
        ("<td background='https://x/a.png'>a</td>", "a"),
        ("Köln &amp; <!-- secret --> more", "Köln &amp;  more"),
    ],
)
def test_html_becomes(html, expected, mail, stage) -> None:
    assert clean(html, stage, mail) == expected


PICTURES = (
    '<img src="https://example.org/logo.png" width="200" height="50"><img src="https://track.example/p.gif" width=1 height=1><img src="https://track.example/q.gif" style="width:0px">'
    '<img src="cid:a" width=1>'
)


def test_pictures_that_nobody_sees_go(mail, stage) -> None:
    assert "track.example" not in clean(PICTURES, stage, mail)
    assert "logo.png" in clean(PICTURES, stage, mail)
    assert clean(PICTURES, stage, mail, images="no-remote") == '<img src="cid:a" width="1">'
    assert "p.gif" in clean(PICTURES, stage, mail, images="keep")


def test_other_parts_keep_their_octets(mail, stage) -> None:
    octets = (
        b"Content-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\n\r\nplain <script>\xff\r\n--m\r\nContent-Type: text/html; charset=iso-8859-1\r\nX-Odd:  field \r\n\r\n"
        b"<script>x</script>\r\n<p>Sch\xf6n</p>\r\n--m\r\nContent-Type: text/html; name=a.html\r\nContent-Disposition: attachment\r\n\r\n<script>\r\n--m--\r\n"
    )
    after = stage(SanitizeHtml).process(mail(octets))
    assert bytes(after.message) == octets.replace(
        b"<script>x</script>\r\n<p>Sch\xf6n</p>", b"<!DOCTYPE html>\r\n<html><body>\r\n<p>Sch\xf6n</p></body></html>\r\n"
    )
    assert [note.what for note in after.notes_of(Changed)] == ["part 2 sanitized"]
    assert b"<script>\r\n--m--" not in bytes(stage(SanitizeHtml, attachments=True).process(mail(octets)).message)


def test_signed_html_stays(mail, stage) -> None:
    octets = b"Content-Type: multipart/signed; boundary=a\n\n--a\nContent-Type: text/html\n\n<script>\n--a\nContent-Type: application/pgp-signature\n\nsig\n--a--\n"
    assert bytes(stage(SanitizeHtml).process(mail(octets)).message) == octets


DEEP = b"Content-Type: text/html\n\n" + b"<div>" * 30_000 + b"deep"


def test_what_takes_too_long_is_refused_at_once(mail, stage) -> None:
    start = time.process_time()
    after = stage(SanitizeHtml).process(mail(DEEP))
    assert time.process_time() - start < 1
    assert isinstance(after, Verdict)
    assert after.decision is Decision.QUARANTINE
    assert "nested deeper than 200" in after.reason
    assert stage(SanitizeHtml, on_refused="reject").process(mail(DEEP)).decision is Decision.REJECT
    assert bytes(stage(SanitizeHtml, on_refused="keep").process(mail(DEEP)).message) == DEEP
    text = stage(SanitizeHtml, on_refused="text").process(mail(DEEP)).message
    assert (text.content_type.value, text.text) == ("text/plain", "deep\n")


@pytest.mark.parametrize(
    "piece",
    ["<div>", "<b a=1>", "<p><b a=2></p>", "<table>", "<table><tr><td>", "&", "&a;", "\x85", "<", "</p>", "<a ", "<a b='", "<!--", "<li>", "<p>x", "<select>", "<svg>", "<h1>", "<form>", "<button><p>", "<tr>", "<dd><dt>", "</b>", "<b></p>", "<a a1 a2 a3>", "<nobr>"],
)
def test_a_lot_of_anything_takes_seconds_at_most(piece, mail, stage) -> None:
    octets = b"Content-Type: text/html; charset=utf-8\n\n" + (piece * (300_000 // len(piece))).encode()
    start = time.process_time()
    stage(SanitizeHtml).process(mail(octets))
    assert time.process_time() - start < 15


def test_paragraphs_without_end_tags_are_no_depth(mail, stage) -> None:
    assert clean("<p>x\n" * 1000 + "<ul>" + "<li>y" * 1000, stage, mail).count("</p>") == 1000


def test_without_the_sanitizer_it_says_what_to_install(stage, monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "nh3", None)
    with pytest.raises(ConfigError, match=r'pip install "mailpipe\[html\]"'):
        stage(SanitizeHtml)


def test_it_says_what_it_decides() -> None:
    assert SanitizeHtml.decisions(SanitizeHtml.Options()) == (Decision.QUARANTINE,)
    assert SanitizeHtml.decisions(SanitizeHtml.Options(on_refused="text")) == ()


@given(st.one_of(st.binary(max_size=300), st.tuples(st.sampled_from([path.read_bytes() for path in SAMPLES]), st.integers(0, 3000), st.binary(max_size=20))))
@settings(deadline=None)
def test_no_octets_stop_it(octets) -> None:
    if isinstance(octets, tuple):
        whole, place, junk = octets
        octets = whole[:place] + junk + whole[place + len(junk) :]
    one = SanitizeHtml(SanitizeHtml.Options(on_refused="keep", attachments=True))
    one.open(Services.for_tests())
    for given_octets in (octets, b"Content-Type: text/html\n\n" + octets):
        mail = Mail(mailpipe.parse(given_octets), Envelope.of("a@example.org", "b@example.net"), Origin("eml", "x"))
        after = bytes(one.process(mail).message)
        assert bytes(mailpipe.parse(after)) == after
