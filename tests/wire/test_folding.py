
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpipe.errors import ComposeError
from mailpipe.wire.folding import HARD_LIMIT, fold, unfold, unfolded

_BODY = st.text(alphabet='ab ",\t\\=?qé', max_size=400).filter(lambda text: text.strip(" \t") or not text)


@pytest.mark.parametrize(
    ("raw", "body"),
    [
        (b"one\r\n two\r\n", b"one two"),
        (b"one\n\ttwo\n", b"one\ttwo"),
        (b"one\r two\r", b"one two"),
        (b"one\r\n \r\n two", b"one  two"),
        (b"one", b"one"),
        (b"one\r\ntwo", b"one\r\ntwo"),
        (b"\r\n one\r\n", b" one"),
    ],
)
def test_line_ends_go_and_white_space_stays(raw, body):
    assert unfold(raw) == body


@given(_BODY, st.integers(10, 100), st.sampled_from([b"\r\n", b"\n"]))
def test_folding_changes_nothing_but_lines(body, width, line_end):
    raw = fold("Subject", body, width, line_end)
    assert raw.endswith(line_end)
    octets = body.encode()
    assert unfold(raw) == b"Subject:" + (b"" if octets[:1] in (b" ", b"\t") else b" ") + octets
    for line in raw.removesuffix(line_end).split(line_end):
        assert len(line) <= HARD_LIMIT
        assert line.strip()


def test_lines_stay_within_the_width_where_words_allow():
    assert all(len(line) <= 78 for line in fold("X", "word " * 100).split(b"\r\n"))


def test_a_quoted_string_and_an_encoded_word_stay_whole():
    quoted = '"' + "a b " * 15 + '"'
    assert quoted.encode() in fold("To", f"first, {quoted} <a@b.example>, last one")
    word = "=?utf-8?q?a_b c?="
    assert word.encode() in fold("Subject", "x " * 33 + word)


def test_a_quoted_string_beyond_the_hard_limit_is_folded_within():
    assert max(map(len, fold("To", '"' + "a b " * 600 + '"').split(b"\r\n"))) <= HARD_LIMIT


@pytest.mark.parametrize("body", ["a\r\nBcc: x", "a\0", "a\rb", "x" * 999, "a" + " " * 1200 + "b"])
def test_what_cannot_be_said_is_refused(body):
    with pytest.raises(ComposeError):
        fold("Subject", body)


def test_a_long_body_of_quotes_takes_linear_time():
    fold("Subject", '" \\' * 3_000)
    fold("Subject", '"a ' * 3_001)


@given(st.lists(st.sampled_from([b"a", b" ", b"\t", b"\r", b"\n", b"\r\n"]), max_size=12).map(b"".join))
def test_a_body_may_be_unfolded_twice(body):
    once = unfolded(body)
    assert unfolded(once) == once
    assert b"\n" not in once
    assert once.replace(b"\r", b"") == body.strip(b" \t\r\n").replace(b"\n", b"").replace(b"\r", b"")
