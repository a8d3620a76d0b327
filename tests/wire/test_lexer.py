from hypothesis import given
from hypothesis import strategies as st

from mailpipe.wire.lexer import ATOM, COMMENT, LITERAL, QUOTED, SPECIAL, comment_end, tokens, unescape


def test_every_kind_of_token_is_told() -> None:
    found = [(token.kind, token.text) for token in tokens('Ann "B \\"C\\"" (d (e)) <f@[192.0.2.1]>')]
    assert found == [
        (ATOM, "Ann"), (QUOTED, 'B \\"C\\"'), (COMMENT, "d (e)"), (SPECIAL, "<"), (ATOM, "f"), (SPECIAL, "@"),
        (LITERAL, "[192.0.2.1]"), (SPECIAL, ">"),
    ]  # fmt: skip


def test_what_is_never_closed_does_not_swallow_the_rest() -> None:
    broken: list[tuple[str, int]] = []
    texts = [token.text for token in tokens('a (b "c <d@e>', broken)]
    assert texts == ["a", "(", "b", "c", "<", "d", "@", "e", ">"]
    assert broken == [("unclosed-comment", 2), ("unclosed-quote", 5)]


def test_an_encoded_word_is_one_atom_whatever_it_holds() -> None:
    assert [token.text for token in tokens("=?utf-8?q?a,b@c?= d")] == ["=?utf-8?q?a,b@c?=", "d"]


def test_comments_nest_to_any_depth() -> None:
    text = "(" * 50_000 + ")" * 50_000
    assert comment_end(text, 0) == len(text)
    assert comment_end("((a)", 0) == -1
    assert comment_end(r"(a\)b)", 0) == 6


def test_quoted_pairs_are_undone() -> None:
    assert unescape(r"a\"b\\c") == 'a"b\\c'


@given(st.text(st.sampled_from("ab .@<>,;:()[]\"\\=?\r\n"), max_size=80))
def test_tokens_stand_in_order_and_within_the_text(text: str) -> None:
    position = 0
    for token in tokens(text):
        assert position <= token.start < token.end <= len(text)
        position = token.end
