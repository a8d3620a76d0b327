"""The compiled way gives what the way in Python gives, or leaves the question to it."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import mailpipe
from mailpipe import native
from mailpipe.codec import charset, quoted_printable
from mailpipe.fields import address, date, trace
from mailpipe.message import lines
from mailpipe.parser import scan
from mailpipe.parser.grammar import LF_GRAMMAR
from mailpipe.testing.specimens import ordinary_messages

pytestmark = pytest.mark.skipif(not native.IS_COMPILED, reason="there is no compiled build")

HEADERS = st.lists(st.sampled_from([
    b"Subject: a\n", b"SUBJECT:b \r\n", b"To:  a@b.example,\n\tc@d.example \n", b"X: \n \n\t\n", b"X:\n", b"X: a\r\n b\r\n", b"X: a\r", b"\r\n", b"\n", b" ",
    b"\t", b":", b"=?utf-8?q?=C3=A9?=", b"=?", b"=", b"?", b"\x1b$B", b"\0", b"\x80", "é".encode(), b"\x0b", b"Content-Type: text/plain\n",
    b"content-TYPE : a/b;\n c=d\r\n", b"Content-Transfer-Encoding:base64\n", b"CONTENT-transfer-encoding\t: x\n", b"Content-Typ: x\n", b"Content\rType: x\n",
    b"--x\n", b"no field\n", b"a" * 90 + b": b\n",
]), max_size=12).map(b"".join)  # fmt: skip

DAY = st.sampled_from(["Mon, ", "mon, ", "Mon,", "Mon ", "", "  ", "\t", "M, "])
NUMBER = st.sampled_from(["1", "9", "29", "30", "31", "32", "0", "00", "007", "x"])
MONTH = st.sampled_from(["Jan", "Feb", "Apr", "Dec", "feb", "FEB", "Xyz", "January"])
YEAR = st.sampled_from(["1900", "2000", "2023", "2024", "02", "0102", "102", "3000", "999", "20 24"])
CLOCK = st.sampled_from(["10:20:30", "23:59:59", "24:00:00", "10:60:00", "10:20:60", "1:2:3", "10:20", "10.20.30", "10:20:30.5", " 10:20:30"])
ZONE = st.sampled_from([
    "+0000", "-0000", "+0530", "-1200", "+1500", "+1501", "-2359", "+0060", "GMT", "EST", "", "+1", "+05:30", "Z", "+0100 (CET)", "+0100 (a) (b)", "+0100(a)",
    "+0100 (a (b))", "+0100 (a", "+0100 x", "+0100\t", "+0100 (\\a)", "+01000",
])  # fmt: skip
BLANK = st.sampled_from([" ", "  ", "\t", "", "\r", "\n "])
DATES = st.builds("".join, st.tuples(DAY, NUMBER, BLANK, MONTH, BLANK, YEAR, BLANK, CLOCK, BLANK, ZONE))
HOPS = st.builds("".join, st.tuples(
    st.lists(st.sampled_from([
        "from a.example", " ", "\t", " (b [192.0.2.1])", " by c.example", " (Postfix)", " with ESMTP", " id ", "7ab", "<7.b@c>", "<7", "7>", "7(c)", " id 8", "id",
        " for <d@e.example>", " for f", "\tid\t", " (x; y)", ";", '"q"', "é", " via g", "x" * 300,
    ]), max_size=9).map("".join), st.sampled_from(["; ", ";", "", ";\t"]), DATES,
))  # fmt: skip
QUOTED = st.lists(st.sampled_from([
    b"=", b"=3D", b"=e9", b"=C3=A9", b"=\n", b"=\r\n", b"=\r", b"\n", b"\r\n", b"\r", b" ", b"\t", b"=20\n", b"= \n", b"=G1", b"=4", b"text", b"\x80", b"\0",
    b"a run of more than eight octets", b"seven..", b"eight...=",
]), max_size=12).map(b"".join)  # fmt: skip


LISTS = st.lists(st.sampled_from([
    "a@b.example", "ann", "Ann Lee", "Ann  Lee", '"Ann, L"', '"A\\"b"', '"\\', '""', '" a', " ", "  ", "\t", "\r\n ", "<", ">", "<a@b>", "<a.b@c.d>", ",", ", ", "(x y)",
    "(x\ty  z)", "( )", "(a(b))", "=?utf-8?q?x?=", " =?utf-8?q??=", "@", ".", "a.", "\x1c", "\x0b", "é", ":", ";",
]), max_size=9).map("".join)  # fmt: skip


@contextmanager
def in_python() -> Iterator[None]:
    """What asks for a compiled function while it runs goes the way in Python."""
    names = ("header_marks", "field_body", "field_bodies", "field_text", "only_field", "places_of", "value_of", "values_of")
    kept = [getattr(native, name) for name in names]
    try:
        for name in names:
            setattr(native, name, None)
        yield
    finally:
        for name, function in zip(names, kept, strict=True):
            setattr(native, name, function)


@given(HEADERS, st.sampled_from([0, 1, 3, 1000]))
@example(b"", 0)
def test_names_and_texts(block: bytes, most: int) -> None:
    expected = lines.names_and_texts_in_python(block, most)
    got = lines.names_and_texts(block, most)
    assert (got is None) == (expected is None)
    if got is not None and expected is not None:
        assert got[0] == expected[0]
        assert got[1] == all(text is not None for _, text in got[0])


NAMES = st.sampled_from(["Subject", "SUBJECT", "to", "date", "Received", "", "é", "É", "K", "\u212a", "x" * 90])


@given(st.lists(st.tuples(NAMES, st.sampled_from([None, "a", "<a@b.example>", "from a by b; 1 Jan 1998 10:20:30 +0100"])), max_size=9), NAMES)
@example([("a", "b")] * 99 + [("To", "c")], "to")
@example([("a", "b")] * 100 + [("To", "c")], "to")
def test_looking_up(fields: list[lines.Item], name: str) -> None:
    def looked_up() -> tuple[object, ...]:
        of_block = lines.Lines(LF_GRAMMAR, None, [f"{each}: {text}\n".encode() for each, text in fields], 0)
        of_block._items = tuple(fields)
        first = repr(of_block.value_of(name))
        return of_block.place_of(name), list(of_block.places_of(name)), first, repr(of_block.values_of(name)), repr(of_block._values)

    with in_python():
        expected = looked_up()
    assert looked_up() == expected


def test_there_is_a_value_for_each_field() -> None:
    for ask in (native.value_of, native.values_of):
        assert ask is not None
        with pytest.raises(ValueError, match="each field"):
            ask((("a", "b"),), [], "a", {}, None)


@given(HEADERS, HEADERS)
def test_header_marks(header: bytes, rest: bytes) -> None:
    octets = header + b"\n" + rest
    compiled, plain = (scan.place(mailpipe.Message, scan.Document(octets), 0, len(octets)) for _ in range(2))
    scan.scan_header(compiled)
    with in_python():
        scan.scan_header(plain)
    for name in ("span", "body_span", "_kind", "_encoding", "_rare"):
        assert getattr(compiled, name) == getattr(plain, name), name


@given(HEADERS, st.sampled_from(["subject", "X", "to", "content-type", "", " ", "é", "x" * 90]), st.integers(0, 9), st.integers(0, 9))
@example(b"X: a\n b\nX : c\nX:", "x", 0, 0)
@example(b":a\n:b\n", "", 0, 0)
def test_bodies_of_a_name(octets: bytes, name: str, start: int, less: int) -> None:
    start, stop = min(start, len(octets)), max(0, len(octets) - less)
    for ask in (LF_GRAMMAR.body, LF_GRAMMAR.every, LF_GRAMMAR.only):
        with in_python():
            expected = ask(name, octets, start, stop)
        assert ask(name, octets, start, stop) == expected


@given(HEADERS)
@example(b"Subject: a\r\n\tb \r\n")
@example(b"Subject:\r\n \r\n")
def test_subject(octets: bytes) -> None:
    with in_python():
        expected = mailpipe.parse(octets).subject
    assert mailpipe.parse(octets).subject == expected


def test_no_octet_outside_the_bounds_is_looked_at() -> None:
    assert native.header_marks is not None
    assert native.header_marks(b"a\n\nContent-Type: x\n", 0, 2) == (2, 2, None, None)
    assert native.header_marks(b"a\nContent-Type: x\n", 0, 14) == (14, 14, None, None)
    assert native.header_marks(b"Content-Type: x\n y\n", 0, 16) == (16, 16, b"x", None)
    for position, bound in ((-1, 3), (0, 4)):
        with pytest.raises(ValueError, match="place"):
            native.header_marks(b"abc", position, bound)
        with pytest.raises(ValueError, match="place"):
            native.field_bodies(b"abc", position, bound, "a")  # type: ignore[misc]


@given(DATES)
@example("Thu, 29 Feb 2024 23:59:59 -0000")
@example("29 Feb 1900 00:00:00 +0000")
def test_dates(text: str) -> None:
    text = text.strip(" \t\r\n")
    expected, got = date.of_text_in_python(text), date.of_text(text)
    assert (repr(got), got.defects, type(got)) == (repr(expected), expected.defects, date.DateTime)


@given(HOPS)
@example("from a.example by b.example with SMTP id 7; Thu, 1 Jan 1998 10:20:30 +0100 (CET)")
@example("by b.example id <7.8@c> (d) for e; 1 Jan 1998 10:20:30 GMT")
def test_hops(text: str) -> None:
    if text.isascii():
        text = text.replace("\r", "").replace("\n", "")
        expected, got = trace.received_of_text_in_python(text), trace.received_of_text(text)
        assert (repr(got), got.defects, type(got)) == (repr(expected), expected.defects, trace.Received)
    else:
        octets = text.encode()
        assert repr(trace.parse_received(octets)) == repr(trace._parse_any(octets))


@given(LISTS)
@example("\"Ann\" <a@b>,  Ann  Lee\r\n <a@b.example> , a@b (x\ty  z)\n,")
def test_mailboxes(text: str) -> None:
    assert native.MailboxReader is not None
    got, expected = native.MailboxReader(address.Mailbox, address._shown)(text), address.members_in_python(text)
    assert got == (expected if text.isascii() else None)


@given(QUOTED, st.booleans())
def test_quoted_printable(octets: bytes, is_block_of_crlf: bool) -> None:
    found: tuple[list[object], list[object]] = ([], [])
    has_cr = is_block_of_crlf or b"\r" in octets
    assert quoted_printable._decode(octets, has_cr) == quoted_printable._decode_in_python(octets, has_cr)
    assert quoted_printable._decode(octets, has_cr, found[0]) == quoted_printable._decode_in_python(octets, has_cr, found[1])  # type: ignore[arg-type]
    assert found[0] == found[1]


@given(st.binary(max_size=40) | QUOTED)
def test_high_octets(octets: bytes) -> None:
    assert native.high_octets is not None
    assert native.high_octets(octets) == charset.high_octets_in_python(octets)


@given(st.binary(max_size=40) | st.lists(st.sampled_from([b"a", b"\xe9", b"\x93", b"\x81"])).map(b"".join))
def test_windows_text(octets: bytes) -> None:
    controls = octets.translate(None, charset._NOT_C1)
    assert native.windows_text is not None
    assert native.windows_text(octets) == charset.windows_text_in_python(octets, controls)


def test_mail_and_what_becomes_of_it_under_a_clumsy_hand() -> None:
    chance = random.Random(5)
    for original in ordinary_messages().values():
        for _ in range(200):
            octets = bytearray(original)
            for _ in range(chance.randrange(4)):
                at = chance.randrange(len(octets) + 1)
                octets[at : at + chance.randrange(3)] = chance.choice([b"", b"\n", b"\r", b" ", b":", b"=", b";", b"(", b"\xe9"])
            block = bytes(mailpipe.parse(bytes(octets)).header)
            expected, got = lines.names_and_texts_in_python(block, 1000), lines.names_and_texts(block, 1000)
            assert (expected and expected[0]) == (got and got[0])
            for name, text in (got or ((), True))[0]:
                if text is not None and name.lower() == "received":
                    assert repr(trace.received_of_text(text)) == repr(trace.received_of_text_in_python(text))
                if text is not None and name.lower() == "date":
                    assert repr(date.of_text(text)) == repr(date.of_text_in_python(text))


def test_what_is_made_is_an_ordinary_value() -> None:
    moment = date.of_text("Thu, 1 Jan 1998 10:20:30 +0100")
    assert moment == date.DateTime(moment.datetime, "+0100", ())
    assert hash(moment) == hash(date.DateTime(moment.datetime, "+0100", ()))
    with pytest.raises(AttributeError):
        moment.zone = "x"  # type: ignore[misc]
    for wrong in (object, trace.ReturnPath):
        with pytest.raises((TypeError, KeyError)):
            native.DateReader(wrong, date.of_text_in_python)  # type: ignore[misc]
