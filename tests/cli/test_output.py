import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpipe.cli import output


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("plain", "plain"),
        ("a\x1b[31mred\x1b[0m", "ared"),
        ("\x1b]0;title\x07x", "x"),
        ("\x1b]8;;http://example.org\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b2Jx", "x"),
        ("\x1bcreset", "reset"),
        ("cod\u202egnp.exe", "codgnp.exe"),
        ("bell\x07 nul\x00 del\x7f", "bell nul del"),
        ("two\r\nlines\tand tab", "two  lines and tab"),
        ("broken \udce4", "broken \ufffd"),
        ("unfinished \x1b[", "unfinished "),
    ],
)
def test_what_could_harm_a_terminal_is_taken_out(given: str, expected: str) -> None:
    assert output.safe(given) == expected


def test_nothing_but_printable_characters_is_left_whatever_comes() -> None:
    every = "".join(map(chr, range(0x3000))) * 2
    left = output.safe(every)
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in left)
    assert "\u202e" not in left


@given(st.text() | st.text(st.sampled_from("\x1b\x9b[]P0;m\x07\\a\n\r\t\udc80\u202e")))
def test_no_text_becomes_dangerous_by_being_made_safe(text: str) -> None:
    made = output.safe(text)
    assert output.safe(made) == made
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in made)
    made.encode("utf-8")


def test_a_long_unfinished_escape_sequence_takes_linear_time() -> None:
    assert len(output.safe("\x1b[" + "0" * 1_000_000)) > 900_000
    output.safe("\x1b]" * 500_000)


def test_lines_are_kept_where_a_text_is_asked_for() -> None:
    assert output.safe("a\r\nb\n", lines=True) == "a\nb\n"


def test_both_ends_of_a_long_name_stay() -> None:
    assert output.shorten("a" * 50 + ".pdf", 11) == "aaaaa…a.pdf"
    assert output.shorten("short", 11) == "short"


def test_sizes_are_readable() -> None:
    assert [output.size_text(size) for size in (0, 999, 1000, 999_999, 5_000_000)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "1.0 MB",
        "5.0 MB",
    ]


def test_times_are_readable() -> None:
    assert [output.seconds_text(seconds) for seconds in (0.41, 90, 300, 7200, 200_000)] == [
        "0.4 s",
        "90 s",
        "5 min",
        "2 h",
        "2 d",
    ]


def test_json_is_versioned_and_safe(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_json("show", {"name": "\x9b\u202e\udce4", "octets": b"\xff"})
    text = capsys.readouterr().out
    assert text.isascii()
    assert json.loads(text)["version"] == 1


def test_markup_in_a_name_stays_literal(capsys: pytest.CaptureFixture[str]) -> None:
    output.console().print(output.label("[red]x.png[/red]"))
    assert capsys.readouterr().out == "[red]x.png[/red]\n"


def test_a_complaint_has_our_name_on_each_line(capsys: pytest.CaptureFixture[str]) -> None:
    output.complain("one\ntwo\x1b[2J")
    assert capsys.readouterr().err == "mailpipe: one\nmailpipe: two\n"


@pytest.mark.parametrize("rows", [[], [{"a": 1}], [{"a": "\x1b[31m"}, {"b": [1, {"c": None}]}]])
def test_a_list_that_is_printed_as_it_comes_is_the_same_object(rows: list[object], capsys: pytest.CaptureFixture[str]) -> None:
    rest = {"counts": {"x": 1, "y": [2, 3]}, "more": "\u2028"}
    output.stream_json("queue list", "messages", iter(rows), lambda: rest)  # type: ignore[arg-type]
    text = capsys.readouterr().out
    assert json.loads(text) == {"version": 1, "verb": "queue list", "messages": rows, **rest}
    assert text.isascii() and "\x1b" not in text and text.endswith("}\n")
