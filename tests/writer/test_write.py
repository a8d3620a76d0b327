"""Octets for a peer: what fits is copied, what does not is said another way, what is signed is left alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mailpipe
from mailpipe import WritePolicy, write
from mailpipe.errors import ComposeError
from mailpipe.writer.downgrade import has_longer_line

SMTP = WritePolicy(line_end=b"\r\n", encoding="8bit")
SEVEN = WritePolicy(line_end=b"\r\n", encoding="7bit", smtputf8=False)


def test_the_default_policy_is_lossless() -> None:
    octets = b"A: b\rc\n\n\0\xff\r\n"
    assert write(mailpipe.parse(octets), WritePolicy()) == octets


def test_line_ends_become_crlf_and_nothing_else_changes() -> None:
    octets = b"Subject: x\nContent-Type: text/plain; charset=utf-8\n\nh\xc3\xa9llo\r\nworld\n"
    assert write(mailpipe.parse(octets), SMTP) == octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def test_a_message_with_cr_alone_gets_lines() -> None:
    assert write(mailpipe.parse(b"Subject: x\r\rone\rtwo\r"), SMTP) == b"Subject: x\r\n\r\none\r\ntwo\r\n"


def test_eight_bit_becomes_seven_where_the_peer_must_have_it() -> None:
    octets = "Subject: Grüße\nFrom: Änne <a@example.org>\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nhéllo\n".encode()
    made = write(mailpipe.parse(octets), SEVEN)
    assert made.isascii()
    again = mailpipe.parse(made)
    assert again.text == "héllo\r\n"
    assert again.subject == "Grüße"
    assert again.from_[0].display_name == "Änne"
    assert again.transfer_encoding == "quoted-printable"


def test_long_lines_nuls_and_bare_returns_go_under_an_encoding() -> None:
    for body in (b"x" * 2000, b"a\0b\n", b"a\rb\n"):
        octets = b"Subject: x\nContent-Type: text/plain\n\n" + body
        made = write(mailpipe.parse(octets), SMTP)
        assert not has_longer_line(made, 998)
        assert b"\0" not in made
        assert made.count(b"\r") == made.count(b"\r\n") == made.count(b"\n")
        assert mailpipe.parse(made).octets.replace(b"\r\n", b"\n") == body.replace(b"\r\n", b"\n")


def test_a_header_line_that_is_too_long_is_folded_and_bare_returns_in_it_become_spaces() -> None:
    octets = b"Subject: " + b"word " * 400 + b"\nX: a\rb\n\nbody\n"
    made = mailpipe.parse(write(mailpipe.parse(octets), SMTP))
    assert not has_longer_line(bytes(made), 998)
    assert made.header["x"] == "a b"
    assert (made.subject or "").split() == ["word"] * 400


SIGNED = (
    b"Content-Type: multipart/signed; boundary=s; protocol=\"application/pgp-signature\"; micalg=pgp-sha256\n\n--s\n"
    b"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n%s\n--s\nContent-Type: application/pgp-signature\n\nsig\n--s--\n"
)


def test_a_signed_part_is_left_alone_where_it_can_be() -> None:
    octets = SIGNED % b"x" * 1
    assert write(mailpipe.parse(octets), SEVEN) == octets.replace(b"\n", b"\r\n")
    octets = SIGNED % (b"h\xc3\xa9" + b"y" * 2000)
    assert write(mailpipe.parse(octets), SMTP) == octets.replace(b"\n", b"\r\n")


def test_a_signed_part_that_would_have_to_change_is_refused_with_its_status() -> None:
    with pytest.raises(ComposeError) as caught:
        write(mailpipe.parse(SIGNED % b"h\xc3\xa9"), SEVEN)
    assert str(caught.value.status) == "5.6.3"


def test_an_address_that_needs_utf8_is_refused_with_its_status() -> None:
    octets = "From: änne@example.org\n\nbody\n".encode()
    with pytest.raises(ComposeError) as caught:
        write(mailpipe.parse(octets), SEVEN)
    assert str(caught.value.status) == "5.6.7"
    assert write(mailpipe.parse(octets), SMTP) == octets.replace(b"\n", b"\r\n")


@given(st.binary(max_size=300))
def test_whatever_is_written_for_smtp_is_lines(octets: bytes) -> None:
    made = write(mailpipe.parse(octets), SMTP)
    assert made.count(b"\r") == made.count(b"\n") == made.count(b"\r\n")
    assert not has_longer_line(made, 998)


def test_a_bare_cr_that_is_all_of_a_body_is_no_line_end_where_others_end_with_lf() -> None:
    octets = b"Content-Type: text/plain\nContent-Transfer-Encoding: binary\n\na\rb"
    assert mailpipe.parse(write(mailpipe.parse(octets), SEVEN)).text == "a\rb"
    assert write(mailpipe.parse(octets.replace(b"\n", b"\r")), SEVEN).endswith(b"\r\n\r\na\r\nb")


@given(st.text(max_size=80), st.sampled_from(["utf-8", "iso-8859-1", "utf-16"]))
def test_text_survives_the_way_to_seven_bits(text: str, charset: str) -> None:
    try:
        body = text.encode(charset)
    except UnicodeEncodeError:
        return
    octets = f"Content-Type: text/plain; charset={charset}\nContent-Transfer-Encoding: binary\n\n".encode() + body
    message = mailpipe.parse(octets)
    made = write(message, SEVEN)
    assert made.isascii()
    assert mailpipe.parse(made).text.splitlines() == message.text.splitlines()


@given(st.lists(st.sampled_from([b"a", b"abc", b"\n", b"\r\n", b"\r", b"abcdef"]), max_size=30).map(b"".join), st.integers(1, 8))
def test_a_longer_line_is_found_wherever_it_stands(octets: bytes, length: int) -> None:
    lines = octets.split(b"\n")
    assert has_longer_line(octets, length) == any(len(line.removesuffix(b"\r")) > length for line in lines)
