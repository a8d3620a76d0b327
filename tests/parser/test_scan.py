"""Headers, bodies and parts are found where the RFC says, and where it says nothing, where it is safe."""

import sys
import threading
import time
import tracemalloc
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mailpipe
from mailpipe import Limits, Message


def tree(message: Message) -> list[tuple[str, str]]:
    return [(path, entity.content_type.value) for path, entity in message.walk()]


def codes(message: Message) -> set[str]:
    return {defect.code for defect in message.defects}


def with_line_end(octets: bytes, line_end: bytes) -> bytes:
    return octets.replace(b"\n", line_end)


LINE_ENDS = pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"], ids=["lf", "crlf", "cr"])

MIXED = b"""From: a@example.org
Content-Type: multipart/mixed; boundary=b

preamble
--b

one
--b
Content-Type: multipart/alternative; boundary=c

--c

two
--c  \t
Content-Type: text/html

three
--c--
inner epilogue
--b
Content-Type: message/rfc822

Subject: inner

four
--b--
epilogue
"""


@LINE_ENDS
def test_the_tree_of_a_message_is_found_with_every_line_end(line_end: bytes) -> None:
    message = mailpipe.parse(with_line_end(MIXED, line_end))
    assert tree(message) == [
        ("", "multipart/mixed"), ("1", "text/plain"), ("2", "multipart/alternative"), ("2.1", "text/plain"),
        ("2.2", "text/html"), ("3", "message/rfc822"), ("3.1", "text/plain"),
    ]  # fmt: skip
    texts = [entity.raw_body for _, entity in message.walk() if not entity.parts]
    assert texts == [b"one", b"two", b"three", b"four"]
    assert message.preamble == b"preamble"
    assert message.epilogue == b"epilogue" + line_end
    assert message.part("2").epilogue == b"inner epilogue"
    assert message.part("3.1").subject == "inner"  # type: ignore[attr-defined]


def test_a_boundary_that_begins_like_another_is_another() -> None:
    message = mailpipe.parse(
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/mixed; boundary=bb\n\n--bb\n\n1\n--bbb\n--bb--\n--b--\n"
    )
    assert tree(message)[-1] == ("1.1", "text/plain")
    assert message.part("1.1").raw_body == b"1\n--bbb"


def test_an_inner_multipart_without_its_end_ends_with_the_outer_delimiter() -> None:
    message = mailpipe.parse(
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/mixed; boundary=c\n\n--c\n\n1\n--b\n\n2\n--b--\n"
    )
    assert [message.part(path).raw_body for path in ("1.1", "2")] == [b"1", b"2"]
    assert "missing-close-delimiter" in codes(message)


def test_the_same_boundary_inside_itself_belongs_to_the_inner_one_until_it_closes() -> None:
    message = mailpipe.parse(
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\n1\n--b--\n--b\n\n2\n--b--\n"
    )
    assert tree(message) == [("", "multipart/mixed"), ("1", "multipart/mixed"), ("1.1", "text/plain"), ("2", "text/plain")]


def test_a_part_without_an_empty_line_ends_at_the_delimiter() -> None:
    message = mailpipe.parse(b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html\n--b--\n")
    assert tree(message) == [("", "multipart/mixed"), ("1", "text/html")]
    assert message.part("1").raw_body == b""


@pytest.mark.parametrize("odd", ["b\r", "b\n", "b\nc", "b\r\nc", "b" * 4094])
def test_a_boundary_that_no_line_can_hold_is_nowhere(odd: str) -> None:
    kind = b"Content-Type: multipart/mixed; boundary*=''%b\n\n" % quote(odd).encode()
    message = mailpipe.parse(kind + b"\n--%b\n\n1\n--%b--\n" % (odd.encode(), odd.encode()))
    assert message.parts == ()


_HEADER_LINES = [
    b"Content-Type: text/html", b"content-type :", b"CONTENT-TYPE: text/plain;", b"Content-T", b"Content-Type\ra: 1",
    b"Content-Transfer-Encoding: base64", b"Content-transfer-encoding\t: 8bit\r8", b"X: 1", b" folded", b"\t", b" ",
    b"\r", b"-", b"--b", b"--c", b"no colon", b"",
]  # fmt: skip


@LINE_ENDS
@given(lines=st.lists(st.sampled_from(_HEADER_LINES), max_size=6))
def test_a_short_header_of_a_part_says_what_it_says_behind_a_long_field(line_end: bytes, lines: list[bytes]) -> None:
    begin, long = b"Content-Type: multipart/mixed; boundary=b\n\n--b\n", b"X: " + b"y" * 3000 + b"\n"
    block = b"\n".join([*lines, b"", b"text", b"--b--"])
    seen = []
    for octets in (begin + b"X:\n" + block, begin + long + block):
        part = mailpipe.parse(with_line_end(octets, line_end)).parts[0]
        seen.append((part.content_type, part.transfer_encoding, part.raw_body, len(part.header), part.structural_defects == ()))
    assert seen[0] == seen[1]


def test_a_delimiter_with_a_colon_is_no_field() -> None:
    message = mailpipe.parse(b"Content-Type: multipart/mixed; boundary=\"x:y\"\n\n--x:y\nA: 1\n--x:y\n\n2\n--x:y--\n")
    assert len(message.parts) == 2
    assert message.part("2").raw_body == b"2"


def test_parts_of_a_digest_are_messages_unless_they_say_otherwise() -> None:
    message = mailpipe.parse(
        b"Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: one\n\n1\n--b\nContent-Type: text/plain\n\n2\n--b--\n"
    )
    assert tree(message) == [("", "multipart/digest"), ("1", "message/rfc822"), ("1.1", "text/plain"), ("2", "text/plain")]


def test_an_enclosed_message_under_base64_is_found() -> None:
    message = mailpipe.parse(
        b"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nU3ViamVjdDogaW5uZXIKCmhlbGxvCg==\n"
    )
    inner = message.parts[0]
    assert isinstance(inner, Message)
    assert inner.subject == "inner"
    assert inner.span is None
    assert "encoded-message" in codes(message)


def test_a_bare_cr_among_lines_with_lf_is_no_line_end() -> None:
    message = mailpipe.parse(b"Subject: a\rBcc: smuggled@example.org\n\nbody\n")
    assert message.header.keys() == ("Subject",)
    assert "bare-cr" in codes(message)


def test_a_header_without_its_end_is_a_header() -> None:
    message = mailpipe.parse(b"Subject: x\nTo: y@example.org")
    assert message.header["to"] == "y@example.org"
    assert message.raw_body == b""


def test_a_line_that_is_no_field_stays_in_the_header() -> None:
    message = mailpipe.parse(b"Subject: x\nhello world\nTo: y@example.org\n\nmore\n")
    assert message.header.keys() == ("Subject", "To")
    assert [line.raw for line in message.header.lines][1] == b"hello world\n"
    assert message.raw_body == b"more\n"
    assert "malformed-field" in codes(message)


def test_a_part_that_forgets_its_empty_line_still_has_a_body() -> None:
    message = mailpipe.parse(b"Content-Type: multipart/mixed; boundary=b\n\n--b\nA: 1\nhello world\n-- not a delimiter\n--b--\n")
    assert message.part("1").header.keys() == ("A",)
    assert message.part("1").raw_body == b"hello world\n-- not a delimiter"
    assert "missing-separator" in codes(message)


def test_an_mbox_line_before_the_header_is_no_field() -> None:
    octets = b"From a@example.org Thu Jan  1 00:00:00 1970\nSubject: x\n\nbody\n"
    message = mailpipe.parse(octets)
    assert message.header.keys() == ("Subject",)
    assert message.header.envelope_line == octets.splitlines(True)[0]
    assert bytes(message.with_header("Subject", "y")) == octets.replace(b"Subject: x", b"Subject: y")


def test_a_multipart_without_parts_has_its_surroundings() -> None:
    message = mailpipe.parse(b"Content-Type: multipart/mixed; boundary=b\n\nbefore\n--b--\nafter\n")
    assert (message.parts, message.preamble, message.epilogue) == ((), b"before", b"after\n")


def test_limits_leave_the_rest_opaque() -> None:
    parts = b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nx\n" * 50 + b"--b--\n"
    message = mailpipe.parse(parts, limits=Limits(part_count=10))
    assert len(message.parts) == 9
    assert "limit-part-count" in codes(message)
    assert bytes(message) == parts
    deep = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(50))
    message = mailpipe.parse(deep, limits=Limits(nesting_depth=10))
    assert len(list(message.walk())) == 10
    assert "limit-nesting-depth" in codes(message)
    message = mailpipe.parse(b"Subject: " + b"x" * 5000 + b"\n\nbody", limits=Limits(header_size=1000))
    assert "limit-header-size" in codes(message)
    message = mailpipe.parse(b"A: 1\n" * 100, limits=Limits(field_count=10))
    assert len(message.header) == 11


HOSTILE = {
    "nested parts": lambda n: b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (i, i) for i in range(n // 60)),
    "nested messages": lambda n: b"Content-Type: message/rfc822\n\n" * (n // 30),
    "fields": lambda n: b"a:b\n" * (n // 4),
    "one long field": lambda n: b"Subject: " + b"x" * n,
    "one folded field": lambda n: b"Subject: x\n" + b" y\n" * (n // 3),
    "tiny parts": lambda n: b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nx\n" * (n // 7),
    "prefix boundaries": lambda n: b"".join(
        b"Content-Type: multipart/mixed; boundary=%s\n\n--%s\n" % (b"b" * i, b"b" * i) for i in range(1, 40)
    ) + b"--b" * 10 + b"\n--bbbbb" * (n // 8),
    "multiparts without their delimiters": lambda n: b"Content-Type: multipart/mixed; boundary=b\n\n" + b"".join(
        b"--b\nContent-Type: multipart/mixed; boundary=%d\n\n" % number for number in range(n // 50)
    ) + b"--b--\n",
    "parts without empty lines": lambda n: b"Content-Type: multipart/mixed; boundary=\"x:y\"\n\n" + b"--x:y\nA: 1\n" * (n // 12),
    "header lines like delimiters": lambda n: b"Content-Type: multipart/mixed; boundary=b\n\n--b\n" + b"--x: y\n" * (n // 7),
    "hyphens": lambda n: b"Content-Type: multipart/mixed; boundary=b\n\n" + b"\n--" * (n // 3),
    "one line of hyphens": lambda n: b"Content-Type: multipart/mixed; boundary=b\n\n" + b"-" * n,
    "delimiters with padding": lambda n: b"Content-Type: multipart/mixed; boundary=b\n\n" + (b"--b" + b" " * 5000 + b"x\n") * (n // 5004),
    "blank folds": lambda n: b"A: " + b"\n " * (n // 2),
    "bare returns": lambda n: b"A: 1\r" * (n // 5),
}  # fmt: skip


@pytest.mark.parametrize("shape", HOSTILE)
def test_hostile_shapes_cost_time_in_proportion(shape: str) -> None:
    def seconds(size: int) -> float:
        octets = HOSTILE[shape](size)
        best = 9.0
        for _ in range(3):
            started = time.process_time()
            message = mailpipe.parse(octets, limits=Limits(nesting_depth=100_000, part_count=10_000_000))
            for _ in message.walk():
                pass
            message.header.get("x")
            best = min(best, time.process_time() - started)
        return best

    small, large = seconds(150_000), seconds(1_200_000)
    # eight times the input: quadratic cost would be sixty-four times; the floor keeps clock noise out
    assert large <= 24 * max(small, 0.002)


def test_parsing_a_large_attachment_copies_nothing() -> None:
    octets = (
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\ntext\n--b\nContent-Type: application/octet-stream\n"
        b"Content-Transfer-Encoding: base64\n\n" + b"QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ejAx\n" * 280_000 + b"--b--\n"
    )  # fmt: skip
    tracemalloc.start()
    try:
        message = mailpipe.parse(octets)
        assert len(list(message.walk())) == 3
        assert tracemalloc.get_traced_memory()[1] < len(octets) // 100
    finally:
        tracemalloc.stop()


@LINE_ENDS
def test_a_part_keeps_less_than_half_of_its_octets_again(line_end: bytes) -> None:
    part = b"--b\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n" + b"some words\n" * 28
    head = b"Content-Type: multipart/mixed; boundary=b\n\n"
    messages = [with_line_end(head + part * 50 + b"--b--\n" + b" " * number, line_end) for number in range(20)]

    def kept() -> list[Message]:
        made = [mailpipe.parse(octets) for octets in messages]
        assert all(len(tree(message)) == 51 for message in made)
        return made

    kept()  # what is known for good
    tracemalloc.start()
    try:
        made = kept()
        assert tracemalloc.get_traced_memory()[0] < 0.5 * sum(map(len, made))
    finally:
        tracemalloc.stop()


def test_many_parts_have_their_numbers_for_names() -> None:
    message = mailpipe.parse(b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nx\n" * 250 + b"--b--\n")
    assert [path for path, _ in message.walk()] == ["", *map(str, range(1, 251))]
    twice = message.attach(message, message)
    assert [path for path, _ in twice.walk()][-1] == "252.250"
    assert [path for path, _ in twice.walk()].count("251.7") == 1


def test_threads_that_ask_one_message_at_once_get_the_same_answers() -> None:
    interval, expected = sys.getswitchinterval(), tree(mailpipe.parse(MIXED))
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(200):
            message, answers, together = mailpipe.parse(MIXED), [], threading.Barrier(4)

            def ask(message: Message, answers: list[object], together: threading.Barrier) -> None:
                together.wait()
                answers.append((message.header.keys(), len(message.parts), tree(message)))

            threads = [threading.Thread(target=ask, args=(message, answers, together)) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert answers == [(("From", "Content-Type"), 3, expected)] * 4
    finally:
        sys.setswitchinterval(interval)
