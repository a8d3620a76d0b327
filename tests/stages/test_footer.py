"""A footer stands under the text, in every version of it, once, and nothing else moves."""

import base64
import difflib
import quopri
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import mailpipe
from mailpipe import Access, Envelope, Mail
from mailpipe.pipeline.mail import Changed, Origin
from mailpipe.stages.footer import Footer

SAMPLES = sorted((Path(__file__).parents[2] / "samples" / "mail").glob("*.eml"))
TEXT = "-- \nExample Ltd, Nowhere\n"
HTML = "<hr><p>Example <b>Ltd</b></p>"


def letter(content_type: bytes, body: bytes, line_end: bytes = b"\n") -> bytes:
    octets = b"From: a@example.org\nMIME-Version: 1.0\nContent-Type: " + content_type + b"\n\n" + body
    return octets.replace(b"\n", line_end)


def added(before: bytes, after: bytes) -> list[bytes]:
    """What was put in; fails where anything was taken away."""
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    pieces = [code for code in matcher.get_opcodes() if code[0] != "equal"]
    assert {code[0] for code in pieces} <= {"insert"}
    return [after[code[3] : code[4]] for code in pieces]


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_it_is_written_under_plain_text(line_end, mail, stage) -> None:
    octets = letter(b"text/plain; charset=iso-8859-1", b"Sch\xf6n.\n", line_end)
    after = stage(Footer, text=TEXT).process(mail(octets))
    assert bytes(after.message) == octets + TEXT.join(["\n", ""]).encode().replace(b"\n", line_end)
    assert [note.what for note in after.notes_of(Changed)] == ["written under part 1"]


def test_a_text_without_its_last_line_end_gets_one(mail, stage) -> None:
    octets = letter(b"text/plain", b"Hi")
    assert bytes(stage(Footer, text=TEXT).process(mail(octets)).message) == octets + b"\n\n" + TEXT.encode()


ALTERNATIVE = letter(
    b"multipart/mixed; boundary=m",
    b"preamble\n--m\nContent-Type: multipart/alternative; boundary=a\n\n--a\nContent-Type: text/plain\n\nHi\n\n--a\n"
    b"Content-Type: multipart/related; boundary=r\n\n--r\nContent-Type: text/html; charset=us-ascii\n\n<html><body><p>Hi<!-- </body> --></p></body></html>\n--r\n"
    b"Content-Type: image/png\nContent-ID: <i>\n\nPNG\n--r--\n--a--\n--m\nContent-Type: text/plain; name=a.txt\nContent-Disposition: attachment\n\nfile\n--m\n"
    b"Content-Type: message/rfc822\n\nSubject: inner\n\ninner text\n--m--\nepilogue\n",
)  # fmt: skip


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_every_alternative_gets_its_version_and_nothing_else_changes(line_end, mail, stage) -> None:
    octets = ALTERNATIVE.replace(b"\n", line_end)
    after = bytes(stage(Footer, text=TEXT, html=HTML).process(mail(octets)).message)
    html, text = (HTML + "\n").encode().replace(b"\n", line_end), TEXT.encode().replace(b"\n", line_end)
    expected = octets.replace(b"</p></body>", b"</p>" + html + b"</body>").replace(
        b"Hi" + line_end * 2 + b"--a", b"Hi" + line_end + line_end + text + line_end + b"--a")  # fmt: skip
    assert after == expected
    assert b"".join(added(octets, after)).count(b"Example") == 2


@pytest.mark.parametrize("encoding", ["base64", "quoted-printable"])
def test_encoded_parts_are_encoded_again(encoding, mail, stage) -> None:
    text = "Grüße aus Köln\r\n".encode()
    raw = base64.encodebytes(text) if encoding == "base64" else quopri.encodestring(text.replace(b"\r", b""))
    octets = letter(b"text/plain; charset=UTF-8\nContent-Transfer-Encoding: " + encoding.upper().encode(), raw)
    after = stage(Footer, text="Schönen Tag!").process(mail(octets)).message
    assert after.text.replace("\r\n", "\n") == "Grüße aus Köln\n\nSchönen Tag!\n"
    assert bytes(after.header) == bytes(mailpipe.parse(octets).header)


def test_a_charset_that_cannot_say_it_becomes_utf_8(mail, stage) -> None:
    octets = letter(b"text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: 8bit", b"Sch\xf6n\n")
    after = stage(Footer, text="日本").process(mail(octets)).message
    assert after.content_type.charset == "utf-8"
    assert after.text == "Schön\n\n日本\n"
    after = stage(Footer, text="Größe").process(mail(octets)).message
    assert bytes(after) == octets + b"\nGr\xf6\xdfe\n"


def test_a_part_that_was_ascii_says_how_it_is_written_now(mail, stage) -> None:
    octets = b"From: a@example.org\n\nHi\n"
    after = mailpipe.parse(bytes(stage(Footer, text="Grüße").process(mail(octets)).message))
    assert after.text == "Hi\n\nGrüße\n"
    assert after.header["mime-version"] == "1.0"
    assert after.transfer_encoding in ("quoted-printable", "base64")
    assert bytes(after).isascii()


def test_japanese_stays_in_its_charset(mail, stage) -> None:
    body = "日本語の本文\n".encode("iso-2022-jp")
    octets = letter(b"text/plain; charset=ISO-2022-JP", body)
    after = stage(Footer, text="株式会社").process(mail(octets)).message
    assert bytes(after) == octets + "\n株式会社\n".encode("iso-2022-jp")


def test_flowed_text_stays_flowed(mail, stage) -> None:
    octets = letter(b"text/plain; format=flowed", b"a paragraph that goes \non and \n")
    footer = "> not quoted\n" + "long " * 30
    after = stage(Footer, text=footer).process(mail(octets)).message
    paragraphs = after.flowed
    assert [one.depth for one in paragraphs] == [0] * len(paragraphs)
    assert paragraphs[0].text.strip() == "a paragraph that goes on and"
    assert paragraphs[-2].text == "> not quoted"
    assert paragraphs[-1].text == ("long " * 30).strip()
    assert all(len(line) <= 78 for line in after.text.splitlines())


def test_it_is_not_written_twice_and_not_where_it_is_quoted(mail, stage) -> None:
    one = stage(Footer, text=TEXT, html=HTML)
    first = one.process(mail(ALTERNATIVE))
    assert one.process(first) is first
    quoted = letter(b"text/plain", b"yes\n> -- \n> Example Ltd,\n> Nowhere\n")
    assert bytes(one.process(mail(quoted)).message) == quoted
    assert bytes(stage(Footer, text=TEXT, again=True).process(mail(quoted)).message) != quoted


def test_what_is_signed_is_left(mail, stage) -> None:
    octets = letter(
        b"multipart/signed; boundary=s; protocol=\"application/pgp-signature\"",
        b"--s\nContent-Type: text/plain\n\nHi\n--s\nContent-Type: application/pgp-signature\n\nsig\n--s--\n",
    )
    after = stage(Footer, text=TEXT).process(mail(octets))
    assert bytes(after.message) == octets
    assert "signed" in next(iter(after.notes_of(Changed))).what
    octets = letter(b"application/pkcs7-mime; smime-type=signed-data; name=smime.p7m", b"MII=\n")
    assert bytes(stage(Footer, text=TEXT).process(mail(octets)).message) == octets


def test_a_message_without_text_gets_a_text_part(mail, stage) -> None:
    octets = letter(b"application/pdf; name=a.pdf", b"%PDF-1.4\n")
    after = stage(Footer, text=TEXT).process(mail(octets)).message
    assert [part.content_type.value for part in after.parts] == ["application/pdf", "text/plain"]
    assert after.parts[1].text == TEXT
    assert bytes(after.parts[0]).endswith(b"\n\n%PDF-1.4\n")
    assert bytes(stage(Footer, text=TEXT, without_text="keep").process(mail(octets)).message) == octets


@pytest.mark.parametrize(
    ("html", "place"),
    [
        ("<body>Hi</body>", 8), ("<BODY>Hi</BODY\n></html>", 8), ("<p>Hi</p></html>", 9), ("<p>Hi", 5), ("", 0),
        ("<body>Hi</body><script>'</body>'</script>", 8), ("<body><p title='</body>'>Hi</body>", 27), ("<body>Hi<!-- </body>", 8), ("<body>Hi<script></body>", 8),
        ("<body>Hi</body><!-- x --!><p></body>", 29), ("Hi<a title=\"</body>", 2), ("<plaintext>Hi</body>", 0),
    ],
)  # fmt: skip
def test_where_html_ends_is_found_safely(html, place, mail, stage) -> None:
    octets = letter(b"text/html", html.encode())
    after = stage(Footer, text="F", html="<i>F</i>").process(mail(octets)).message
    assert after.text == html[:place] + "<i>F</i>\n".replace("\n", "\n") + html[place:]


def test_html_is_made_of_the_text_where_none_is_given(mail, stage) -> None:
    octets = letter(b"text/html", b"<p>Hi</p>")
    after = stage(Footer, text="{from_address} & <co>\nline two").process(mail(octets)).message
    assert after.text == "<p>Hi</p><div>a@example.org &amp; &lt;co&gt;<br>\nline two</div>\n"


def test_facts_are_escaped_in_html(mail, stage) -> None:
    octets = letter(b"text/html", b"<p>Hi</p>").replace(b"From:", b"Subject: <script>&\nFrom:")
    after = stage(Footer, text="x", html="<p>{subject}</p>").process(mail(octets)).message
    assert after.text.endswith("<p>&lt;script&gt;&amp;</p>\n")


def test_a_damaged_text_is_left_where_nothing_can_be_added(mail, stage) -> None:
    octets = letter(b"text/plain; charset=utf-8", "Köln und noch mehr Grüße über Öl ".encode() * 9 + b"\xff\n")
    after = stage(Footer, text="日本").process(mail(octets))
    assert bytes(after.message) == octets
    assert "cannot be read" in next(iter(after.notes_of(Changed))).what
    assert bytes(stage(Footer, text="F").process(mail(octets)).message) == octets + b"\nF\n"


def test_html_of_a_guessed_charset_gets_character_references(mail, stage) -> None:
    octets = letter(b"text/html; charset=utf-8", "<p>Köln und noch mehr Grüße über Öl</p>".encode() + b"\xff</body>")
    after = stage(Footer, text="日").process(mail(octets))
    assert bytes(after.message) == octets.replace(b"</body>", b"<div>&#26085;</div>\n</body>")


def test_it_says_what_it_touches() -> None:
    reads, touches = Footer.accesses(Footer.Options(text="{subject}"))
    assert reads.has_field("Subject")
    assert touches.body
    assert not touches.has_field("Subject")
    assert isinstance(reads, Access)
    with pytest.raises(ValidationError, match="twice"):
        Footer.Options(text="x", html="<style>p {color: red}</style>")


@given(st.one_of(st.binary(max_size=300), st.tuples(st.sampled_from(SAMPLES), st.integers(0, 5000), st.binary(max_size=20))), st.sampled_from(["F", "日本"]))
def test_no_octets_stop_it(octets, text) -> None:
    if isinstance(octets, tuple):
        path, place, junk = octets
        whole = path.read_bytes()
        octets = whole[:place] + junk + whole[place + len(junk) :]
    mail = Mail(mailpipe.parse(octets), Envelope.of("a@example.org", "b@example.net"), Origin("eml", "x"))
    one = Footer(Footer.Options(text=text))
    after = bytes(one.process(mail).message)
    assert bytes(mailpipe.parse(after)) == after
