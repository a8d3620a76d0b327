"""Names, texts and values read for a whole header at once are those of each field read by itself."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import mailpipe
from mailpipe import Field, Header
from mailpipe.errors import ComposeError
from mailpipe.fields import Text
from mailpipe.message import lines

PIECES = st.sampled_from([
    b"\n", b"\r\n", b"\n ", b"\r\n\t", b"\r", b" ", b"\t", b"  \n", b":", b": ", b" :", b"A: b\n", b"Subject: x \n", b"SUBJECT:y\r\n",
    b"Received: from a.example by b.example with SMTP id 7; Fri, 21 Nov 1997 09:55:06 -0600 (CST)\n", b"Received: from a\n by b; x\n",
    b"Date: Fri, 21 Nov 1997 09:55:06 +0100\n", b"Date: Tue Jun 11 10:33:29 2002\n", b"From: \"A \\\"B\\\"\" <a@b.example>\n",
    b"To: a@b.example,\n c@d.example\n", b"no field\n", b"=?utf-8?q?=C3=A9?=", b"=?", b"?=", b"\xc3\xa9", b"\xe9", b"\x1b$B", b"\0", b"\x85", b"\x0c",
    b"\xe2\x80\xa8", b"x", b"List-Help: <mailto:a@b.example?subject=help>\n", b"Content-Type: text/plain; charset=x\n", b"Message-ID: <1@a>\n",
])  # fmt: skip
HEADERS = st.lists(PIECES, max_size=25).map(b"".join)


def alone(field: Field) -> tuple[object, ...]:
    one = Field(field.raw, field.offset)
    return one.name, one.text, repr(one.value), one.value.defects


@given(HEADERS)
@example(b"A: b\r\n c\r\nD:\r\n \r\n\te \r\n")
@example(b"A: \r\r\nB: c\n")
@example(b"A : b\n: c\nd: e")
@example(b"=?utf-8?q?=C3=A9?=\n :")
@example(b"A: b\r c\n d\n")
@example(b"A: b\nSubject\n : not a field\nC: d\n")
def test_what_is_read_at_once_is_what_each_field_says_by_itself(octets: bytes) -> None:
    header = mailpipe.parse(octets).header
    assert header.items() == tuple((field.name, field.text) for field in Header(header.fields))
    for field in header:
        assert (field.name, field.text, repr(field.value), field.value.defects) == alone(field)
        assert not isinstance(field.value, Text) or field.value.text == field.text
        assert field.offset is not None and octets.startswith(field.raw, field.offset)


@given(HEADERS)
def test_looking_up_finds_what_searching_finds(octets: bytes) -> None:
    searched, cut = mailpipe.parse(octets), mailpipe.parse(octets)
    cut.header.items()
    for name in ("received", "subject", "From", "to", "a", "nobody"):
        assert [field.raw for field in searched.header.all(name)] == [field.raw for field in cut.header.all(name)]
        assert searched.header.first(name) == cut.header.first(name)
        assert repr(mailpipe.parse(octets).value_of(name)) == repr(cut.value_of(name))
        assert repr(mailpipe.parse(octets).values_of(name)) == repr(cut.values_of(name))
    assert (searched.subject, searched.from_, searched.date) == (cut.subject, cut.from_, cut.date)


@given(HEADERS)
def test_setting_a_field_is_the_same_before_and_after_looking(octets: bytes) -> None:
    fresh, cut = mailpipe.parse(octets), mailpipe.parse(octets)
    cut.header.items()
    for name in ("Subject", "A", "X-New"):
        made = bytes(fresh.header.with_field(name, "new"))
        assert made == bytes(cut.header.with_field(name, "new"))
        assert made == bytes(of_cut_fields(fresh.header).with_field(name, "new"))


def of_cut_fields(header: Header) -> Header:
    """The same header, of fields that were cut before."""
    return header._of_raws(list(header._cut()))


@given(HEADERS)
@example(b" a\nSubject: b\n")
@example(b"From a\nSubject: b")
def test_adding_and_dropping_in_one_piece_is_what_it_is_field_by_field(octets: bytes) -> None:
    header = mailpipe.parse(octets).header
    cut = of_cut_fields(header)
    for is_first in (True, False):
        assert bytes(header.with_added("X-Seen", "yes", first=is_first)) == bytes(cut.with_added("X-Seen", "yes", first=is_first))
    for name in ("subject", "x", "date", "Received"):
        assert bytes(header.without(name)) == bytes(cut.without(name))


def test_items_of_a_message_of_a_macintosh() -> None:
    header = mailpipe.parse(b"Subject: a\r b\rTo: x\r\rtext\r").header
    assert header.items() == (("Subject", "a b"), ("To", "x"))


def test_beyond_the_limit_of_fields_the_rest_is_one() -> None:
    header = mailpipe.parse(b"A: 1\nB: 2\nC: 3\nD: 4\n\n", limits=mailpipe.Limits(field_count=2)).header
    assert [name for name, _ in header.items()] == [field.name for field in header] == ["A", "B", "C"]
    assert bytes(header) == b"A: 1\nB: 2\nC: 3\nD: 4\n"


@pytest.mark.parametrize("blanks", [b" " * 200_000, b"\n " * 100_000, b"\t\r\n" * 0 + b"=" * 200_000])
def test_a_field_of_blanks_is_read_in_one_go(blanks: bytes) -> None:
    assert mailpipe.parse(b"A: x" + blanks + b"y\nB: z\n\n").header.items()[1] == ("B", "z")


@pytest.mark.parametrize("name", ["A: b", "A:", ":", "", "A b", "Ä", "A\n"])
def test_a_name_that_is_none_is_refused_also_beside_a_plain_text(name: str) -> None:
    with pytest.raises(ComposeError):
        Field.compose(name, "plain text")


@given(st.text("aZ:=?\t ~!<>ä\"", max_size=12))
def test_a_text_that_is_written_as_it_is_comes_back(text: str) -> None:
    field = Field.compose("Subject", text)
    assert field.text in (text, text.strip(" \t"))
    assert field.raw.isascii()


def test_the_names_that_a_sender_invents_are_not_kept_and_keep_no_other_out() -> None:
    for letter in (b"a", b"b"):
        header = mailpipe.parse(b"".join(b"%b%d: x\n" % (letter, number) for number in range(5000))).header
        assert len(header.items()) == 5000 and header.all("from") == ()
    assert len(lines._KEYS) <= 4000
    message = mailpipe.parse(b"X-Seldom: a\nFROM: b@c.example\n" + 100 * b"a: b\n" + b"\n")
    assert message.header.items()[1] == ("FROM", "b@c.example") and message.from_.addresses == ("b@c.example",)
    assert "X-Seldom" in lines._KEYS


@given(HEADERS)
def test_a_subject_is_the_same_before_and_after_looking(octets: bytes) -> None:
    fresh, cut = mailpipe.parse(octets), mailpipe.parse(octets)
    cut.header.items()
    assert cut.value_of("subject") == fresh.value_of("subject")
    assert cut.subject == fresh.subject
