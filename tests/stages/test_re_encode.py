"""What fits leaves as it came; what does not gets the best encoding; what is signed is left alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mailpipe
from mailpipe import Mail, Verdict
from mailpipe.message import compose
from mailpipe.pipeline.mail import Changed, Origin
from mailpipe.stages.re_encode import ReEncode

LATIN = b"From: a@example.org\nMIME-Version: 1.0\nContent-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: 8bit\n\nna\xefve caf\xe9\n"
SIGNED = (
    b"Content-Type: multipart/signed; boundary=s; protocol=\"application/pgp-signature\"\n\n--s\n"
    b"Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: 8bit\n\nna\xefve\n--s\nContent-Type: application/pgp-signature\n\nsig\n--s--\n"
)


def test_a_message_that_fits_is_the_same_object(mail, stage) -> None:
    before = mail(LATIN)
    assert stage(ReEncode).process(before) is before


def test_seven_bits_where_the_server_has_no_more(mail, stage) -> None:
    after = stage(ReEncode, domain="7bit").process(mail(LATIN))
    assert bytes(after.message).isascii()
    assert after.message.text == "naïve café\n"
    assert after.message.transfer_encoding == "quoted-printable"
    assert [note.what for note in after.notes_of(Changed)]


def test_texts_become_utf_8_on_request(mail, stage) -> None:
    after = stage(ReEncode, charset="utf-8").process(mail(LATIN))
    assert after.message.content_type.charset == "utf-8"
    assert "naïve café".encode() in bytes(after.message)
    assert "iso-8859-1" not in bytes(after.message).decode()


def test_texts_become_ascii_where_that_is_enough(mail, stage) -> None:
    octets = LATIN.replace(b"na\xefve caf\xe9", b"plain").replace(b"iso-8859-1", b"utf-16").replace(b"plain\n", "plain\n".encode("utf-16"))
    after = stage(ReEncode, charset="ascii").process(mail(octets))
    assert after.message.content_type.charset == "us-ascii"
    assert after.message.raw_body == b"plain\n"
    assert stage(ReEncode, charset="ascii").process(mail(LATIN)).message.content_type.charset == "utf-8"


def test_a_text_that_cannot_be_read_without_loss_stays_as_it_is(mail, stage) -> None:
    octets = LATIN.replace(b"iso-8859-1", b"utf-8").replace(b"na\xefve caf\xe9", "日本語テスト ".encode() * 20 + b"\xff")
    after = stage(ReEncode, charset="utf-8").process(mail(octets))
    if after.message.decoded_text.is_lossy:
        assert bytes(after.message) == octets


@pytest.mark.parametrize("options", [{}, {"charset": "utf-8"}, {"parts": "all"}, {"charset": "ascii", "parts": "all"}])
def test_what_is_signed_leaves_octet_for_octet(options, mail, stage) -> None:
    assert bytes(stage(ReEncode, **options).process(mail(SIGNED)).message) == SIGNED


def test_what_is_signed_and_does_not_fit_is_decided_by_policy(mail, stage) -> None:
    verdict = stage(ReEncode, domain="7bit").process(mail(SIGNED))
    assert isinstance(verdict, Verdict)
    assert str(verdict.status) == "5.6.3"
    assert isinstance(stage(ReEncode, domain="7bit", on_signed="quarantine").process(mail(SIGNED)), Verdict)
    assert bytes(stage(ReEncode, domain="7bit", on_signed="keep").process(mail(SIGNED)).message) == SIGNED


def test_only_parts_that_need_it_change(mail, stage) -> None:
    octets = (
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\naGVsbG8=\n"
        b"--b\nContent-Type: text/plain\n\n" + b"x" * 1200 + b"\n--b--\n"
    )
    after = stage(ReEncode).process(mail(octets))
    assert after.message.part("1").raw == mailpipe.parse(octets).part("1").raw
    assert after.message.part("2").transfer_encoding != "7bit"
    assert after.message.part("2").text == "x" * 1200
    everything = stage(ReEncode, parts="all").process(mail(octets))
    assert everything.message.part("1").transfer_encoding == "7bit"
    assert everything.message.part("1").text == "hello"


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=200), min_size=1, max_size=3), st.sampled_from(["7bit", "8bit"]))
def test_no_text_is_lost_on_the_way(texts: list[str], domain: str) -> None:
    message = compose.multipart("mixed", [compose.text(text) for text in texts], kind=mailpipe.Message)
    one = ReEncode(ReEncode.Options.model_validate({"domain": domain, "parts": "all", "charset": "utf-8"}))
    after = one.process(Mail(message, mailpipe.Envelope(), Origin("eml", "x")))
    assert isinstance(after, Mail)
    again = mailpipe.parse(bytes(after.message))
    assert [part.text for part in again.parts] == [part.text for part in message.parts]
