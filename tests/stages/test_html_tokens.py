"""HTML is cut as a browser cuts it, in linear time."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpipe.stages.html_tokens import attributes, depth, tokens


def cut(html: str) -> list[tuple[str, str]]:
    return [(token.kind, html[token.start : token.stop]) for token in tokens(html)]


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("a < b <3 c", [("text", "a < b <3 c")]),
        ("<!DOCTYPE html><?xml x?></ x>t", [("comment", "<!DOCTYPE html>"), ("comment", "<?xml x?>"), ("comment", "</ x>"), ("text", "t")]),
        ("<!--><p>", [("comment", "<!-->"), ("start", "<p>")]),
        ("<!--a--!>b", [("comment", "<!--a--!>"), ("text", "b")]),
        ("<a b=\"c>d\" e='f' g=h>i", [("start", "<a b=\"c>d\" e='f' g=h>"), ("text", "i")]),
        ("<a b\"c>d\">", [("start", "<a b\"c>"), ("text", "d\">")]),
        ("<script>if (a<b) '</p>'</SCRIPT >x", [("start", "<script>"), ("raw", "if (a<b) '</p>'"), ("end", "</SCRIPT >"), ("text", "x")]),
        ("<a href='x", [("start", "<a href='x")]),
        ("<", [("text", "<")]), ("</", [("text", "</")]),
    ],
)  # fmt: skip
def test_it_is_cut_into(html, expected) -> None:
    assert cut(html) == expected


def test_attributes_are_read() -> None:
    html = "<A HREF=\"?a&amp;b\" href=2 checked x = 'y' z=1>"
    assert attributes(html, next(iter(tokens(html)))) == {"href": "?a&b", "checked": "", "x": "y", "z": "1"}


def test_depth_is_counted_as_far_as_it_matters() -> None:
    assert depth("<p><br><b>x</b></p>", 10) == 2
    assert depth("<div>" * 1000, 50) == 51


@given(st.text(alphabet="<>/!-'\"= aApscript&;\n", max_size=200))
def test_the_pieces_are_the_whole(html) -> None:
    assert "".join(piece for _, piece in cut(html)) == html
    for token in tokens(html):
        attributes(html, token)


@pytest.mark.parametrize("piece", ["<a ", "<a '", "<!--", "<!-- -->", "<div>", "</div", "<script>", "<a b=\"", "<![", "<x y=z ", "<<", "</"])
def test_a_lot_of_anything_takes_no_time(piece) -> None:
    html = piece * (300_000 // len(piece))
    start = time.process_time()
    for token in tokens(html):
        if not token.is_closed:
            attributes(html, token)
    assert time.process_time() - start < 8
