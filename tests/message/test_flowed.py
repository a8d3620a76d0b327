"""format=flowed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mailpipe
from mailpipe.message.flowed import Paragraph, flow, render, unflow

TEXT = st.text(st.sampled_from("ab >-F r\u0301ü\u4e2d"), max_size=200).filter(
    lambda text: text == "-- " or not text.endswith(" ")
)
PARAGRAPHS = st.lists(st.builds(Paragraph, TEXT, st.integers(0, 3)), max_size=6)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("\n", [("", 0)]),
        ("one \r\ntwo\r\n", [("one two", 0)]),
        (">> one \n>> two\n> three\n", [("one two", 2), ("three", 1)]),
        ("> one \nanswer\n", [("one ", 1), ("answer", 0)]),
        ("end \n-- \nAnn\n", [("end ", 0), ("-- ", 0), ("Ann", 0)]),
        ("> -- \n> Ann\n", [("-- ", 1), ("Ann", 1)]),
        (" >not quoted\n From here\n", [(">not quoted", 0), ("From here", 0)]),
        ("goes on \n", [("goes on ", 0)]),
    ],
)  # fmt: skip
def test_lines_become_paragraphs(text, expected):
    assert [tuple(paragraph) for paragraph in unflow(text)] == expected


def test_delsp_deletes_the_space_of_the_soft_break():
    assert unflow("\u4e2d \n\u6587\n", delsp=True) == (Paragraph("\u4e2d\u6587"),)
    assert unflow("so  \nit goes\n", delsp=True) == (Paragraph("so it goes"),)


@given(PARAGRAPHS, st.booleans(), st.integers(10, 80))
def test_what_is_flowed_comes_back(paragraphs, delsp, width):
    made = flow(paragraphs, delsp=delsp, width=width, line_end="\r\n")
    assert list(unflow(made, delsp=delsp)) == paragraphs


@given(st.text(st.sampled_from("abc d"), max_size=400), st.integers(0, 3))
def test_lines_are_no_longer_than_asked_for(text, depth):
    made = flow([Paragraph(text, depth)], delsp=True, width=60)
    assert all(len(line) <= 60 + 20 for line in made.splitlines())
    words = " ".join(word[:10] for word in text.split())
    assert all(len(line) <= 61 for line in flow([Paragraph(words, depth)], width=60).splitlines())


@given(st.text(max_size=300), st.booleans())
def test_no_text_makes_it_raise(text, delsp):
    assert all("\n" not in paragraph.text for paragraph in unflow(text, delsp=delsp))


def test_a_text_without_end_takes_linear_time():
    assert len(unflow("a \n" * 300_000)) == 1
    assert flow([Paragraph("ab " * 300_000)]).count("\n") > 10_000
    assert flow([Paragraph("a" * 600_000)], delsp=True).count("\n") > 8_000
    assert flow([Paragraph(" " * 600_000 + "x")]).count("\n") == 1


def test_paragraphs_are_shown_with_their_quote_marks():
    assert render([Paragraph("one"), Paragraph("two", 1), Paragraph("", 2)]) == "one\n> two\n>> \n"


def test_a_part_says_whether_it_is_flowed():
    octets = b"Content-Type: text/plain; format=Flowed; DelSp=yes\n\none \ntwo\n"
    assert mailpipe.parse(octets).flowed == (Paragraph("onetwo"),)
    assert mailpipe.parse(octets.replace(b"yes", b"no")).flowed == (Paragraph("one two"),)
    assert mailpipe.parse(b"Content-Type: text/plain\n\none \ntwo\n").flowed is None
