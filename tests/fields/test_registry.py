from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailpipe.defect import DEFECTS, Defect
from mailpipe.errors import ComposeError
from mailpipe.fields import registry
from mailpipe.fields.rendering import render
from mailpipe.fields.unstructured import Text
from mailpipe.fields.value import FieldValue, Unparsed

# Pieces that mean something somewhere; arbitrary octets alone would hardly ever meet.
PIECES = st.sampled_from(
    [b"<", b">", b"@", b",", b";", b":", b"=", b'"', b"\\", b"(", b")", b"[", b"]", b"=?utf-8?q?", b"?=", b"=?a?b?x?=",
     b"*0*=", b"*1=", b"''", b"%", b"\r\n ", b"\n", b"\r", b"\0", b" ", b".", b"/", b"a", b"Mon, ", b"12", b" Jan ",
     b"2002", b"10:20:30", b"+0100", b" from ", b" by ", b" with ", b"text/plain", b"charset", b"\xc3\xa4", b"\xff",
     b"\x1b$B", b"-", b"+", b"PM", b"1.0", b"none", b"spf=pass"]
)  # fmt: skip
BODIES = st.one_of(st.binary(max_size=200), st.lists(PIECES, max_size=40).map(b"".join))


@pytest.fixture
def spare_table() -> Iterator[None]:
    """Give the table back as it was."""
    table, parsers = dict(registry._TABLE), dict(registry._PARSERS)
    yield
    for current, kept in ((registry._TABLE, table), (registry._PARSERS, parsers)):
        current.clear()
        current.update(kept)  # type: ignore[arg-type]


# One name for each parser.
NAMES = sorted({registry.kind(name).parse: name for name in (*registry.names(), "X-Unknown")}.values())


@pytest.mark.parametrize("name", NAMES)
@given(body=BODIES)
@example(body=b"")
@example(body=b"\x80")
def test_no_body_raises(name: str, body: bytes) -> None:
    value = registry.parse(name, body)
    assert isinstance(value, registry.kind(name).value)
    for defect in value.defects:
        assert defect.code in DEFECTS
        assert 0 <= defect.offset <= len(body)
        assert defect.detail.isprintable()
    assert isinstance(value.render(), bytes)
    assert isinstance(str(value), str)
    assert registry.parse(name, body) == value
    assert hash(value) == hash(registry.parse(name, body))


@pytest.mark.parametrize("name", registry.names())
def test_every_name_reads_nothing_and_nonsense(name: str) -> None:
    for body in (b"", b" ", b"\xff\0(\"<", b"\r\n \r\n"):
        assert isinstance(registry.parse(name, body), registry.kind(name).value)


def test_the_value_of_an_unknown_name_is_text() -> None:
    assert registry.parse("X-Anything", b" a") == Text("a")
    assert registry.kind("x-anything").occurrence.maximum is None


def test_the_table_knows_how_often_a_field_may_occur() -> None:
    assert registry.occurrence("subject").maximum == 1
    assert registry.occurrence("RECEIVED").maximum is None
    assert registry.required_names() == ("Date", "From")
    assert registry.spelling("mime-version") == "MIME-Version"


@pytest.mark.usefixtures("spare_table")
def test_a_plugin_adds_a_row() -> None:
    registry.register_field("X-Spam-Status", lambda body: Text(body.decode().upper()), maximum=1)
    assert registry.parse("x-spam-status", b"yes") == Text("YES")
    assert registry.occurrence("X-SPAM-STATUS").maximum == 1


@pytest.mark.usefixtures("spare_table")
def test_the_bug_of_a_plugin_becomes_a_defect() -> None:
    def parse(body: bytes) -> FieldValue:
        raise RuntimeError("boom")

    registry.register_field("Subject", parse)
    for name in ("Subject", "subject", "SUBJECT"):
        value = registry.parse(name, b" a")
        assert isinstance(value, Unparsed)
        assert value.defects == (Defect("invalid-field", 0, "RuntimeError: boom"),)


def test_a_row_needs_the_name_of_a_field() -> None:
    with pytest.raises(ValueError, match="no name of a header field"):
        registry.register_field("a b", lambda body: Text(""))


@pytest.mark.parametrize("text", ["a\rb", "a\nb", "a\0b"])
@pytest.mark.parametrize("name", ["Subject", "To", "X-Other"])
def test_text_cannot_begin_another_field(name: str, text: str) -> None:
    with pytest.raises(ComposeError):
        render(name, text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Subject", "Größe aus Bonn"), ("To", 'Jörg <j@a.example>, "Lee, Ann" <a@b.example>'), ("Keywords", "eins, zwölf"),
        ("Content-Disposition", 'attachment; filename="größe.txt"'), ("List-Id", "Jörgs Liste <l.example>"),
    ],
)  # fmt: skip
def test_text_of_people_becomes_ascii_and_reads_back(name: str, text: str) -> None:
    octets = render(name, text)
    assert octets.isascii()
    assert registry.parse(name, octets) == registry.parse(name, text.encode())


def test_long_fields_are_not_remembered() -> None:
    def remembered() -> int:
        caches = (registry.read_often, registry._remembered)
        return len(registry._addresses) + sum(cache.cache_info().currsize for cache in caches)

    before = remembered()
    for name in (*registry.names(), "X-Whatever"):
        body = ", ".join(f"{name}-{number}@example.org" for number in range(20))
        registry.read_known(name, body)
        registry.parse_often(name, body.encode())
    assert remembered() == before


WORDS = st.sampled_from(
    ["Fri,", "21", " ", "Nov", "1997", "09:55:06", "10:20:30Z", "-0600", "GMT", "(CST)", "(", "from", "by", "with", "id", " id ", "for", ";",
     "<a@b.example>", "a@b.example", '"A"', '"A \\"B\\""', ",", ":", "\t", "x", "Tue Jun 11 10:33:29 2002", "0102", "@", "<>", "."]
)  # fmt: skip


@given(st.sampled_from(["Date", "Received", "From", "To", "Subject", "Return-Path", "Message-ID"]), st.lists(WORDS, max_size=14))
@example("Received", ["id", " ", "7", ";", "x", ";"])
@example("Date", ["10:20:30Z"])
def test_every_way_to_read_a_field_comes_to_the_same(name: str, words: list[str]) -> None:
    text = " ".join(words).strip(" \t")
    value = registry.parse(name, text.encode())
    for other in (registry.read_known(name, text), registry.parse_often(name, f" {text}\r\n".encode())):
        assert (repr(other), other.defects) == (repr(value), value.defects)
