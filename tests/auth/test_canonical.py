"""The canonical forms are those of RFC 6376 section 3.4, and dkimpy's on whatever it reads."""

import dkim
import pytest
from dkim.canonicalization import Relaxed, Simple
from hypothesis import example, given
from hypothesis import strategies as st

import mailpipe
from mailpipe.auth.canonical import Canonical, relaxed_body, relaxed_field, simple_body, simple_field, with_crlf

# mostly what the forms are about
bodies = st.lists(st.sampled_from([b" ", b"\t", b"\r\n", b"\r", b"\n", b"a", b".", b"\xff", b"\0", b"\x0b"]), max_size=30).map(b"".join)


def test_the_examples_of_the_standard() -> None:
    # RFC 6376 section 3.4.5
    assert relaxed_field(b"A: X\r\n") == b"a:X\r\n"
    assert relaxed_field(b"B : Y\t\r\n\tZ  \r\n") == b"b:Y Z\r\n"
    assert simple_field(b"B : Y\t\r\n\tZ  \r\n") == b"B : Y\t\r\n\tZ  \r\n"
    body = b" C \r\nD \t E\r\n\r\n\r\n"
    assert relaxed_body(body) == b" C\r\nD E\r\n"
    assert simple_body(body) == b" C \r\nD \t E\r\n"
    assert simple_body(b"") == b"\r\n"
    assert relaxed_body(b"") == b""


@given(bodies)
@example(b"a\r\r\n\r\n")
@example(b"\r\r\n")
@example(b"\n\r")
@example(b" \r\n \t\r\n")
def test_bodies_are_canonicalised_as_dkimpy_does(octets: bytes) -> None:
    body = with_crlf(octets)
    if body and not body.endswith(b"\r\n"):
        body += b"\r\n"  # what every mail has on the wire
    assert simple_body(body) == Simple.canonicalize_body(body)
    assert relaxed_body(body) == Relaxed.canonicalize_body(body)


@given(st.binary(max_size=200))
def test_any_octets_are_canonicalised_as_dkimpy_does(octets: bytes) -> None:
    body = with_crlf(octets) + b"\r\n"
    assert simple_body(body) == Simple.canonicalize_body(body)
    assert relaxed_body(body) == Relaxed.canonicalize_body(body)


@given(bodies)
def test_canonicalising_twice_changes_nothing(octets: bytes) -> None:
    for form in (simple_body, relaxed_body):
        once = form(with_crlf(octets))
        assert form(once) == once


@given(st.lists(st.sampled_from([b" ", b"\t", b"\r\n ", b"\n\t", b"a", b":", b"\xe9", b"=?"]), max_size=20).map(b"".join))
def test_fields_are_canonicalised_as_dkimpy_does(text: bytes) -> None:
    raw = b"Subject:" + text + b"\r\n"
    assert [relaxed_field(raw)] == [name + b":" + body for name, body in Relaxed.canonicalize_headers([(b"Subject", with_crlf(text) + b"\r\n")])]


@given(st.lists(st.sampled_from([b"A:", b"b:", b"Sub-Ject: ", b"x", b" ", b"\t", b"\n", b"\r\n", b"\n\n", b"\n ", b":", b"\xe9"]), max_size=25).map(b"".join))
def test_a_message_is_read_as_dkimpy_reads_it(octets: bytes) -> None:
    try:
        fields, body = dkim.rfc822_parse(octets)
    except (dkim.MessageFormatError, IndexError):
        return
    if b"\n" not in octets:
        return  # dkimpy knows no lines that end with CR
    canonical = Canonical(mailpipe.parse(octets))
    names = [name.lower() for name, _ in fields]
    if [key.encode() for key in canonical.keys] != names:
        return  # dkimpy lets go of lines that are no field
    wanted = [*names, *names[:1], b"absent"]
    chosen = [name.decode() for name in wanted]
    assert canonical.header(chosen, "simple") == b"".join(name + b":" + text for name, text in dkim.select_headers(fields, wanted))
    relaxed = Relaxed.canonicalize_headers(fields)
    assert canonical.header(chosen, "relaxed") == b"".join(name + b":" + text for name, text in dkim.select_headers(relaxed, wanted))
    assert canonical.body("simple") == Simple.canonicalize_body(body)


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_the_line_ends_of_a_message_do_not_matter(line_end: bytes) -> None:
    message = mailpipe.parse(b"From: a@example.org\nSubject: x\n y\n\none\n\ntwo \n\n".replace(b"\n", line_end))
    canonical = Canonical(message)
    assert canonical.header(["subject"], "simple") == b"Subject: x\r\n y\r\n"
    assert canonical.body("simple") == b"one\r\n\r\ntwo \r\n"
    assert canonical.body("relaxed") == b"one\r\n\r\ntwo\r\n"


def test_names_take_the_lowest_field_that_is_left() -> None:
    message = mailpipe.parse(b"A: 1\r\nB: 2\r\nA: 3\r\n\r\n")
    canonical = Canonical(message)
    assert canonical.header(["a", "b", "A", "a", "c"], "relaxed") == b"a:3\r\nb:2\r\na:1\r\n"
    assert canonical.header(["a", "a"], "relaxed", but=2) == b"a:1\r\n"


def test_a_bare_cr_is_an_octet_of_its_line() -> None:
    canonical = Canonical(mailpipe.parse(b"From: a@example.org\r\nSubject: x\r y\r\n\r\none\r\r\n\r\n"))
    assert canonical.body("simple") == b"one\r\r\n"
    assert canonical.header(["subject"], "relaxed") == b"subject:x\r y\r\n"


def test_a_length_beyond_the_body_has_no_digest() -> None:
    canonical = Canonical(mailpipe.parse(b"From: a@example.org\r\n\r\nabc\r\n"))
    assert canonical.body_digest("simple", "sha256", 6) is None
    assert canonical.body_digest("simple", "sha256", 5) == canonical.body_digest("simple", "sha256", None)
    assert canonical.body_digest("simple", "sha256", 0) != canonical.body_digest("simple", "sha256", 5)


@pytest.mark.parametrize("octets", [b" \t" * 500_000, b"\r\n" * 500_000, b"a \r" * 300_000, b" " * 1_000_000 + b"a", b"\r" * 1_000_000, b"a  b\t\r\n" * 150_000])
def test_hostile_bodies_take_linear_time(octets: bytes) -> None:
    # a loop over lines or a pattern that goes back would take minutes
    for form in (simple_body, relaxed_body):
        form(octets)
        form(octets + b"x")
    relaxed_field(b"Subject: " + octets)
