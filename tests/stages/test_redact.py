"""What is personal goes, wherever it is text, and nothing beside it changes."""

import base64
import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import mailpipe
from mailpipe import Access, Envelope, Mail, Services, Verdict
from mailpipe.errors import ConfigError, SecretMissing
from mailpipe.pipeline.mail import Changed, Origin
from mailpipe.pipeline.verdict import Decision
from mailpipe.stages.redact import Redact, Redacted
from mailpipe.stages.redact_patterns import BUILT_IN, find

SAMPLES = sorted((Path(__file__).parents[2] / "samples" / "mail").glob("*.eml"))
ALL = list(BUILT_IN)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("email", "write to ann.b+c@mail.example.org, or <x@example.com>.", ["ann.b+c@mail.example.org", "x@example.com"]),
        ("email", "jörg@müller.example a@b @example.org foo@example", ["jörg@müller.example"]),
        ("phone", "+49 30 1234567, +49 (0)30/1234-567; 030 1234567 (089) 12 34 56", ["+49 30 1234567", "+49 (0)30/1234-567", "030 1234567", "(089) 12 34 56"]),
        ("phone", "call (212) 555-0123 or 212-555-0123 or +1 212 555 0123.", ["(212) 555-0123", "212-555-0123", "+1 212 555 0123"]),
        ("phone", "2026-11-28 10:00, 01-02-2026, 3.14159265, 1234567, v0.12.345", []),
        ("phone", "+49 30 1234567 2026 1000 99", ["+49 30 1234567 2026"]),
        ("iban", "DE89 3704 0044 0532 0130 00 and GB82WEST12345698765432, no DE88370400440532013000", ["DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432"]),
        ("iban", "xDE89370400440532013000 DE893704004405320130001", []),
        ("credit-card", "4111 1111 1111 1111 12/27, 378282246310005; 4111-1111-1111-1112", ["4111 1111 1111 1111", "378282246310005"]),
        ("credit-card", "0000000000000000 12345678901234567890123 2026-11-28 10", []),
        ("ipv4", "from 192.0.2.1. and 256.1.1.1, 1.2.3.4.5, v1.2.3", ["192.0.2.1"]),
        ("ipv6", "2001:db8::1, [fe80::1:2] 10:30:45 ::1 ab:cd ::ffff:192.0.2.1", ["2001:db8::1", "fe80::1:2", "::ffff:192.0.2.1"]),
        ("us-ssn", "123-45-6789, 000-45-6789, 666-45-6789, 1123-45-6789", ["123-45-6789"]),
    ],
)
def test_a_pattern_finds_what_it_means(name, text, expected) -> None:
    assert [text[span.start : span.stop] for span in find(text, {name: BUILT_IN[name]})] == expected


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("piece", ["a", "1", "a@", "a.", "+1", "00 ", "1 ", "1-", "(0", "DE89", "DE89 1", ":", "f:", "1.", "-", "+12345678901234567890 ", "+1(1)", "a@a.", "0123 12 12 "])
def test_a_long_text_takes_no_time(name, piece) -> None:
    text = piece * (100_000 // len(piece))
    start = time.process_time()
    find(text, {name: BUILT_IN[name]})
    assert time.process_time() - start < 3


LETTER = (
    b"From: Ann <ann@example.org>\nSubject: =?iso-8859-1?Q?Zahlung_f=FCr?= DE89370400440532013000\nMessage-ID: <1@example.org>\n"
    b"Content-Type: multipart/mixed; boundary=m\n\npreamble 123-45-6789\n--m\nContent-Type: text/plain; charset=iso-8859-1\n\nSch\xf6n: DE89 3704 0044 0532 0130 00 \xfcberweisen\n"
    b"--m\nContent-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: base64\n\n"
    + base64.encodebytes("<p title='123-45-6789'>Köln 123<b>-45-</b>6789 &amp; 4111&nbsp;1111 1111&#32;1111 12</p><!-- 123-45-6789 --><script>'123-45-6789'</script>".encode())
    + b"--m\nContent-Type: application/pdf; name=\"123-45-6789.pdf\"\nContent-Disposition: attachment; filename=\"123-45-6789.pdf\"\n\n123-45-6789\n--m\n"
    b"Content-Type: message/rfc822\n\nSubject: 123-45-6789\n\ninner 123-45-6789\n--m--\n"
)  # fmt: skip


def test_texts_html_fields_and_names_are_redacted(mail, stage) -> None:
    after = stage(Redact).process(mail(LETTER))
    octets = bytes(after.message)
    assert octets.startswith(b"From: Ann <ann@example.org>\nSubject: =?utf-8?")
    assert after.message.subject == "Zahlung für [iban]"
    assert b"\npreamble 123-45-6789\n--m\nContent-Type: text/plain; charset=iso-8859-1\n\nSch\xf6n: [iban] \xfcberweisen\n--m\n" in octets
    html = after.message.part("2").text
    assert html == "<p title='123-45-6789'>Köln [us-ssn]<b></b> &amp; [credit-card] 12</p><!-- [us-ssn] --><script>'123-45-6789'</script>"
    assert after.message.part("3").filename == "[us-ssn].pdf"
    assert after.message.part("3").octets == b"123-45-6789"
    assert octets.endswith(b"Content-Type: message/rfc822\n\nSubject: [us-ssn]\n\ninner [us-ssn]\n--m--\n")
    (note,) = after.notes_of(Redacted)
    assert note.counts == {"iban": 2, "us-ssn": 5, "credit-card": 1}
    assert [one.what for one in after.notes_of(Changed)] == ["replaced 1 credit-card, 2 iban, 5 us-ssn"]


def test_a_message_with_nothing_in_it_is_the_same(mail, stage) -> None:
    before = mail(b"Subject: hi\n\nhello\n")
    assert stage(Redact, patterns=ALL).process(before) is before


def test_links_to_addresses_are_redacted(mail, stage) -> None:
    octets = b"Content-Type: text/html\n\n<a class=x href=\"mailto:ann@example.org?subject=a\">ann@example.org</a><img src=\"cid:image1@example.org\">\n"
    after = stage(Redact, patterns=["email"]).process(mail(octets))
    assert after.message.text == "<a class=x href=\"mailto:[email]?subject=a\">[email]</a><img src=\"cid:image1@example.org\">\n"


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_only_the_place_changes(line_end, mail, stage) -> None:
    octets = b"Subject:  a  b\nContent-type: TEXT/plain; charset=UTF-8\nContent-Transfer-Encoding: Quoted-Printable\n\nGr=C3=BC=C3=9Fe =\n123-45-6789\nend\n".replace(b"\n", line_end)
    after = stage(Redact).process(mail(octets)).message
    assert bytes(after.header) == bytes(mailpipe.parse(octets).header)
    assert after.text == "Grüße [us-ssn]\nend\n".replace("\n", line_end.decode())


def test_digests_are_the_same_for_the_same_value(mail) -> None:
    one = Redact(Redact.Options(replacement="<{pattern}:{digest}>", key="redaction", patterns=("iban",)))
    one.open(Services.for_tests(secrets={"redaction": "k"}))
    after = one.process(mail(b"Subject: DE89 3704 0044 0532 0130 00\n\nDE89370400440532013000\n")).message
    assert after.subject == after.text.strip()
    assert after.subject.startswith("<iban:")
    assert len(after.subject) == 16 + 7
    with pytest.raises(SecretMissing, match="redaction"):
        one.open(Services.for_tests())
    with pytest.raises(ValidationError, match="needs key"):
        Redact.Options(replacement="{digest}")


def test_patterns_of_an_operator(mail, stage) -> None:
    after = stage(Redact, patterns=[], custom={"customer": r"\bC-[0-9]{4}\b", "word": "gr(ü|u)n"}).process(mail("Subject: grün C-1234\n\nC-1234x C-9999\n".encode()))
    assert after.message.subject == "[word] [customer]"
    assert after.message.text == "C-1234x [customer]\n"
    for wrong in (r"(a)\1", "(?=a)", "("):
        with pytest.raises(ConfigError, match="'p' cannot be used"):
            stage(Redact, custom={"p": wrong})


def test_without_re2_own_patterns_are_refused(stage, monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "re2", None)
    with pytest.raises(ConfigError, match=r'pip install "mailpipe\[re2\]"'):
        stage(Redact, custom={"p": "a"})


def test_signed_parts_are_left_and_named(mail, stage) -> None:
    octets = b"Content-Type: multipart/signed; boundary=s; protocol=\"application/pgp-signature\"\n\n--s\n\n123-45-6789\n--s\nContent-Type: application/pgp-signature\n\nsig\n--s--\n"
    after = stage(Redact).process(mail(octets))
    assert bytes(after.message) == octets
    assert next(iter(after.notes_of(Redacted))).left == ("part 1 is signed or encrypted",)


@pytest.mark.parametrize(("option", "decision"), [("quarantine", Decision.QUARANTINE), ("reject", Decision.REJECT), ("keep", None)])
def test_a_text_that_cannot_be_written_again_is_stopped(option, decision, mail, stage) -> None:
    octets = b"Content-Type: text/plain; charset=utf-8\n\n" + "Köln und Öl ".encode() * 9 + b"\xff 123-45-6789\n"
    after = stage(Redact, on_unreadable=option).process(mail(octets))
    if decision is None:
        assert bytes(after.message) == octets
        assert next(iter(after.notes_of(Redacted))).left
    else:
        assert isinstance(after, Verdict)
        assert after.decision is decision
        assert "123" not in after.reason


def test_the_report_has_counts_and_no_values(tmp_path, mail, stage) -> None:
    one = stage(Redact, report=str(tmp_path / "redacted.jsonl"))
    one.process(mail(LETTER))
    one.process(mail(b"Subject: hi\n\nhello\n"))
    (line,) = (tmp_path / "redacted.jsonl").read_text().splitlines()
    assert json.loads(line) == {"origin": "test.eml:0", "message_id": "1@example.org", "counts": {"iban": 2, "us-ssn": 5, "credit-card": 1}, "left": []}


def test_it_says_what_it_touches() -> None:
    reads, touches = Redact.accesses(Redact.Options())
    assert isinstance(reads, Access)
    assert touches.has_field("Subject")
    assert not touches.has_field("From")
    assert Redact.accesses(Redact.Options(fields=("X-*",)))[1].has_field("From")
    assert Redact.decisions(Redact.Options()) == (Decision.QUARANTINE,)
    for options in ({"patterns": ("nonsense",)}, {"replacement": "{value}"}, {"replacement": "a\nb"}):
        with pytest.raises(ValidationError):
            Redact.Options(**options)


@given(st.one_of(st.binary(max_size=300), st.tuples(st.sampled_from([*(path.read_bytes() for path in SAMPLES), LETTER]), st.integers(0, 3000), st.binary(max_size=20))))
def test_no_octets_stop_it(octets) -> None:
    if isinstance(octets, tuple):
        whole, place, junk = octets
        octets = whole[:place] + junk + whole[place + len(junk) :]
    mail = Mail(mailpipe.parse(octets), Envelope.of("a@example.org", "b@example.net"), Origin("eml", "x"))
    one = Redact(Redact.Options(patterns=tuple(ALL), custom={"vowels": "[aeiou]+"}, fields=("*",), on_unreadable="keep"))
    one.open(Services.for_tests())
    after = bytes(one.process(mail).message)
    assert bytes(mailpipe.parse(after)) == after
