"""Splitting an mbox: what separates in which dialect, and what an attacker cannot do."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailpipe.archive.mbox import Dialect, MboxSpan, quote, render, split, unquote
from mailpipe.archive.opened import open_mapped

FROM = b"From ann@example.org Thu Nov 29 23:33:09 1973\n"
QUOTING: list[Dialect] = ["mboxo", "mboxrd"]


def contents(octets: bytes, dialect: Dialect = "auto") -> list[bytes]:
    return [unquote(octets[span.begin : span.end], dialect) for span in split(octets, dialect)]


def test_the_empty_line_before_a_from_line_belongs_to_the_separator() -> None:
    first, second = b"A: 1\n\nx\n", b"A: 2\n\ny\n"
    octets = FROM + first + b"\n" + FROM + second + b"\n"
    spans = list(split(octets))
    assert [octets[span.begin : span.end] for span in spans] == [first, second]
    assert spans[1] == MboxSpan(len(FROM + first) + 1, len(FROM + first) + 1 + len(FROM), len(octets) - 1)


def test_crlf_archives_split_the_same() -> None:
    octets = (FROM + b"A: 1\n\nx\n\n" + FROM + b"A: 2\n\ny\n\n").replace(b"\n", b"\r\n")
    assert contents(octets) == [b"A: 1\r\n\r\nx\r\n", b"A: 2\r\n\r\ny\r\n"]


def test_prose_after_an_empty_line_separates_in_mboxo_and_not_in_auto() -> None:
    octets = FROM + b"A: 1\n\nmy film:\n\nFrom Russia with love\n\n" + FROM + b"A: 2\n\ny\n"
    assert len(contents(octets, "mboxo")) == 3
    assert contents(octets) == [b"A: 1\n\nmy film:\n\nFrom Russia with love\n", b"A: 2\n\ny\n"]


def test_a_from_line_without_an_empty_line_before_it_is_body_where_the_others_have_one() -> None:
    body = b"A: 1\n\nhe wrote:\n" + FROM + b"B: 2\n"
    octets = FROM + body + b"\n" + (FROM + b"A: 3\n\ny\n\n") * 3
    assert contents(octets)[0] == body


def test_an_archive_whose_writer_leaves_no_empty_lines_is_recognised() -> None:
    octets = FROM + b"A: 1\n\nx\n" + FROM + b"A: 2\n\ny\n" + FROM + b"A: 3\n\nz\n"
    assert contents(octets) == [b"A: 1\n\nx\n", b"A: 2\n\ny\n", b"A: 3\n\nz\n"]


def test_undated_from_lines_separate_where_the_first_has_no_date() -> None:
    octets = b"From 123@xxx\nA: 1\n\nx\n\nFrom 124@xxx\nA: 2\n\ny\n\nFrom nowhere in particular\nz\n"
    assert len(contents(octets)) == 2


def test_mozilla_separators_are_known_among_dated_ones() -> None:
    assert len(contents(FROM + b"A: 1\n\nx\n\nFrom - \nA: 2\n\ny\n")) == 2


def test_blank_lines_and_a_byte_order_mark_at_the_beginning_are_passed_over() -> None:
    assert [tuple(span)[:2] for span in split(b"\xef\xbb\xbf\n\n" + FROM + b"A: 1\n\nx\n")] == [(5, 5 + len(FROM))]


def test_octets_before_the_first_from_line_are_a_message_of_their_own() -> None:
    assert contents(b"half a message\n\n" + FROM + b"A: 1\n\nx\n") == [b"half a message\n", b"A: 1\n\nx\n"]


def test_nothing_and_blank_lines_hold_no_message() -> None:
    assert contents(b"") == contents(b"\n\r\n") == []


def test_a_from_line_alone_is_an_empty_message() -> None:
    assert contents(FROM) == contents(FROM[:-1]) == [b""]
    assert contents(FROM + b"\n" + FROM + b"\n", "mboxrd") == [b"", b""]


# -- Content-Length


def test_content_length_is_followed_where_it_fits() -> None:
    body = b"x\n\n" + FROM + b"Not: a message\n\nat all"
    first = b"Subject: a\nContent-Length: %d\n\n%b" % (len(body), body)
    octets = FROM + first + b"\n" + FROM + b"A: 2\n\ny\n"
    assert contents(octets, "mboxcl2") == [first, b"A: 2\n\ny\n"]


def test_content_length_that_does_not_fit_is_not_followed() -> None:
    for length in (3, 10**9, 10**17):
        octets = FROM + b"Content-Length: %d\n\nx\n\n" % length + FROM + b"A: 2\n\ny\n"
        assert len(contents(octets, "mboxcl2")) == 2


def test_auto_follows_content_length_only_where_the_archive_keeps_it() -> None:
    def entry(body: bytes) -> bytes:
        return FROM + b"Content-Length: %d\n\n%b\n" % (len(body), body)

    quoted = b"x\n\n" + FROM + b"Not: a message\n"
    assert len(contents(entry(quoted) + entry(b"a\n") * 9)) == 10
    # One sender's field must not swallow the message behind his own.
    hostile = FROM + b"Content-Length: %d\n\nx\n\n" % len(b"x\n\n" + FROM + b"A: 2\n\ny\n")
    plain = FROM + b"A: 2\n\ny\n\n"
    assert len(contents(hostile + plain * 9)) == 10


# -- multiparts and included messages


def test_a_from_line_inside_an_open_multipart_does_not_separate() -> None:
    first = (
        b"Content-Type: multipart/mixed; boundary=xyz\n\n--xyz\nContent-Type: message/rfc822\n\n"
        + FROM + b"Subject: inner\n\nx\n--xyz--\n"
    )  # fmt: skip
    octets = FROM + first + b"\n" + FROM + b"A: 2\n\ny\n"
    assert contents(octets) == [first, b"A: 2\n\ny\n"]


def test_an_unclosed_multipart_does_not_swallow_the_next_messages() -> None:
    hostile = b"Content-Type: multipart/mixed; boundary=xyz\n\n--xyz\n\nx\n"
    octets = FROM + hostile + b"\n" + FROM + b"A: 2\n\ny\n\n" + FROM + b"A: 3\n\n--xyz--\n"
    assert len(contents(octets)) == 3


def test_a_second_copy_of_a_truncated_multipart_is_a_message_of_its_own() -> None:
    copy = b"Content-Type: multipart/mixed; boundary=xyz\n\n--xyz\n\nx\n"
    assert contents(FROM + copy + b"\n" + FROM + copy + b"--xyz--\n") == [copy, copy + b"--xyz--\n"]


def test_an_included_message_that_ends_does_not_separate_and_one_without_end_does() -> None:
    inner = b"\n----- Begin Included Message -----\n\n" + FROM + b"A: inner\n\nx\n"
    assert len(contents(FROM + b"A: 1\n" + inner + b"----- End Included Message -----\n")) == 1
    assert len(contents(FROM + b"A: 1\n" + inner)) == 2


# -- quoting


def test_mboxrd_removes_one_level_and_mboxo_keeps_every_octet() -> None:
    body = b"A: 1\n\n>From a\n>>From b\n> From c\n"
    assert contents(FROM + body, "mboxrd") == [b"A: 1\n\nFrom a\n>From b\n> From c\n"]
    assert contents(FROM + body, "mboxo") == contents(FROM + body) == [body]


def test_quoting_begins_with_the_first_line() -> None:
    assert quote(b"From x\n", "mboxrd") == b">From x\n"
    assert unquote(b">From x\n", "mboxrd") == b"From x\n"
    assert quote(b">From x\nFrom y\n", "mboxo") == b">From x\n>From y\n"


pieces = st.sampled_from([b"From ", b">From ", b">", b"\n", b"\r\n", b"x", b"A: b", b"--x", FROM, b"\xef\xbb\xbf"])
messages = st.lists(pieces | st.binary(max_size=8), max_size=12).map(b"".join)


@settings(deadline=None)
@given(st.lists(messages, max_size=5))
def test_what_is_written_as_mboxrd_reads_back_octet_for_octet(written: list[bytes]) -> None:
    ended = [octets if octets.endswith(b"\n") else octets + b"\n" for octets in written]
    assert contents(b"".join(render(octets, FROM[:-1]) for octets in ended), "mboxrd") == ended


@settings(deadline=None)
@given(st.lists(messages.map(lambda octets: b"A: b\n\n" + octets + b"\n"), max_size=5))
def test_auto_finds_the_same_messages_in_what_we_write(written: list[bytes]) -> None:
    archive = b"".join(render(octets, FROM[:-1]) for octets in written)
    assert len(contents(archive)) == len(written)


@settings(deadline=None)
@given(messages, st.sampled_from(["auto", "mboxo", "mboxrd", "mboxcl", "mboxcl2"]))
def test_no_octet_is_in_two_messages_or_in_none(octets: bytes, dialect: Dialect) -> None:
    octets = FROM + octets
    spans = list(split(octets, dialect))
    behind = 0
    for span in spans:
        assert not octets[behind : span.from_offset].strip(b"\r\n")
        assert behind <= span.from_offset <= span.begin <= span.end
        assert span.begin == (octets.find(b"\n", span.from_offset) + 1 or len(octets))
        behind = span.end
    assert not octets[behind:].strip(b"\r\n")


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_arbitrary_octets_are_covered_too(octets: bytes) -> None:
    spans = list(split(octets))
    assert sum(span.end - span.from_offset for span in spans) >= len(octets.strip(b"\xef\xbb\xbf\r\n")) - 2 * len(spans)


# -- time and memory


@pytest.mark.parametrize(
    "unit",
    [
        b"\nFrom ",
        b"\n\nFrom x\n",
        b"\n\n" + FROM,
        b"\n\n" + FROM + b"A: b\n\n--x\n",
        b"\n--xyz\n\n" + FROM + b"A: b\n",
        b"\n-- \n",
        b"\nContent-Length: 9\n",
        b"\n----- Begin Included Message -----\n\n" + FROM + b"A: b\n",
        b"From " * 3000,
    ],
)
@pytest.mark.parametrize("dialect", ["auto", "mboxrd", "mboxcl2"])
def test_hostile_shapes_take_linear_time(unit: bytes, dialect: Dialect) -> None:
    head = FROM + b"Content-Type: multipart/mixed; boundary=xyz\n\n"

    def seconds(size: int) -> float:
        octets = head + unit * (size // len(unit))
        best = 9.0
        for _ in range(3):
            # The processor's time, not the clock's: other programs may be at work.
            start = time.process_time()
            for _span in split(octets, dialect):
                pass
            best = min(best, time.process_time() - start)
        return best

    # Quadratic time would be 16 times as long; the constant is for the noise of a busy machine.
    assert seconds(160_000) < 10 * seconds(40_000) + 0.05


def test_a_large_sparse_archive_is_split_in_flat_memory(tmp_path: Path) -> None:
    path = tmp_path / "large.mbox"
    with path.open("wb") as file:
        for _ in range(3):
            file.write(FROM + b"A: 1\n\n")
            file.seek(100 << 20, 1)
            file.write(b"\n\n")
    script = (
        "import resource, sys\n"
        "from mailpipe.archive.mbox import split\n"
        "from mailpipe.archive.opened import open_mapped\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "with open_mapped(sys.argv[1]) as octets: count = sum(1 for _ in split(octets, 'auto'))\n"
        "print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    run = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    count, kilobytes = (int(word) for word in run.stdout.split())
    assert count == 3
    # The archive has 300 MB; a few windows of 16 MB may be mapped at a time.
    assert kilobytes < 100_000


def test_a_search_that_is_broken_off_does_not_hinder_closing(tmp_path: Path) -> None:
    path = tmp_path / "a.mbox"
    path.write_bytes(FROM + b"A: 1\n\nx\n\n" + FROM + b"A: 2\n\ny\n")
    with open_mapped(path) as octets:
        spans = split(octets)
        assert next(spans).from_offset == 0
