"""The From_ line: what is read from thirty years of writers, and what is written."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpipe.archive.from_line import MAX_LENGTH, is_dated, parse, render


@pytest.mark.parametrize(
    ("line", "sender", "stamp"),
    [
        ("From ann@example.org Thu Nov 29 23:33:09 1973", "ann@example.org", "1973-11-29 23:33:09"),
        ("From ann@example.org  Thu Nov  9 23:33:09 1973\r\n", "ann@example.org", "1973-11-09 23:33:09"),
        ("From ann@example.org Thu Nov 29 23:33 1973", "ann@example.org", "1973-11-29 23:33:00"),
        ("From ann@example.org Thu Nov 29 23:33:09 1973 +0200", "ann@example.org", "1973-11-29 21:33:09"),
        ("From ann@example.org Thu Nov 29 23:33:09 EST 1973", "ann@example.org", "1973-11-30 04:33:09"),
        ("From ann@example.org Thu Nov 29 23:33:09 -0130 1973", "ann@example.org", "1973-11-30 01:03:09"),
        ("From ann@example.org Thu Nov 29 23:33:09 1973 MEST", "ann@example.org", "1973-11-29 23:33:09"),
        ("From ann@example.org Thu, 29 Nov 1973 23:33:09 +0000", "ann@example.org", "1973-11-29 23:33:09"),
        ("From ann@example.org Thu Nov 29 23:33:09 73", "ann@example.org", "1973-11-29 23:33:09"),
        ("From host!ann Thu Nov 29 23:33:09 1973 remote from gateway", "host!ann", "1973-11-29 23:33:09"),
        ("From ann at example.org  Thu Nov 29 23:33:09 1973", "ann at example.org", "1973-11-29 23:33:09"),
        ('From "ann b"@example.org Thu Nov 29 23:33:09 1973', '"ann b"@example.org', "1973-11-29 23:33:09"),
        ("From Mon Mon Jan  1 00:00:00 1990", "Mon", "1990-01-01 00:00:00"),
        ("From  Thu Nov 29 23:33:09 1973", "", "1973-11-29 23:33:09"),
        ("From - Thu Nov 29 23:33:60 1973", "-", "1973-11-29 23:33:59"),
    ],
)
def test_sender_and_date_are_read_from_every_known_form(line: str, sender: str, stamp: str) -> None:
    parsed = parse(line.encode())
    assert parsed is not None
    assert (parsed.sender, f"{parsed.date:%Y-%m-%d %H:%M:%S}") == (sender, stamp)
    assert parsed.date.tzinfo is UTC
    assert is_dated(line.encode())


@pytest.mark.parametrize(
    "line",
    [
        "From Russia with love",
        "From -",
        "From ann@example.org",
        "From Thu Nov 29 23:33:09 1973",
        "From ann Thu Foo 29 23:33:09 1973",
        "From ann Thu Nov 29 3:33 1973",
        "From ann Thu Nov 29 25:33:09 1973",
        "From ann Thu Nov 29 23:33:09 1973 and so on",
        "from ann Thu Nov 29 23:33:09 1973",
        "From: ann Thu Nov 29 23:33:09 1973",
        "",
    ],
)
def test_prose_and_broken_dates_are_no_from_line(line: str) -> None:
    assert parse(line.encode()) is None


def test_an_impossible_day_is_none_and_raises_nothing() -> None:
    assert parse(b"From ann Thu Feb 31 23:33:09 1973") is None


def test_an_overlong_line_is_not_looked_at() -> None:
    assert parse(b"From " + b"a" * MAX_LENGTH + b" Thu Nov 29 23:33:09 1973") is None


def test_what_is_rendered_reads_back() -> None:
    moment = datetime(2024, 2, 9, 3, 4, 5, tzinfo=UTC)
    assert render("ann@example.org", moment) == b"From ann@example.org Fri Feb  9 03:04:05 2024"
    parsed = parse(render("", moment))
    assert parsed is not None and parsed.sender == "MAILER-DAEMON" and parsed.date == moment


@given(st.text(max_size=80))
def test_any_sender_makes_one_line_with_a_date(sender: str) -> None:
    line = render(sender, datetime(2024, 2, 9, 3, 4, 5, tzinfo=UTC))
    assert len(line.splitlines()) == 1
    assert is_dated(line)


@given(st.binary(max_size=200))
def test_no_octets_make_the_reader_raise(octets: bytes) -> None:
    parse(b"From " + octets)
