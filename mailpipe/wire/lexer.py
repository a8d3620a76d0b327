"""Tokens of a structured field body (RFC 5322 section 3.2), tolerant of whatever stands there.

    for token in tokens('Ann (at work) <ann@example.org>'):
        token.kind, token.text, token.start, token.end

Comments nest to any depth and are read without recursion. A comment, a quoted string or a domain literal that is not
closed is no token of its kind: its first character becomes an atom or is left out, and reading goes on behind it, so
that one lost parenthesis does not swallow a list of addresses. Every input takes linear time.

Never here: what the tokens of one field mean together; fields/ knows.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

ATOM, QUOTED, COMMENT, LITERAL, SPECIAL = "atom", "quoted", "comment", "literal", "special"


class Token(NamedTuple):
    """One token.

    Attributes:
        kind: ATOM, QUOTED, COMMENT, LITERAL (a domain literal) or SPECIAL (one of <>@,;:; of several angle brackets,
            commas or semicolons in a row only one is told).
        text: an atom or a special as it stands, a literal with its brackets; the inside of a comment or of a quoted
            string with its escapes.
        start: where it begins, in characters.
        end: where it ends.
    """

    kind: str
    text: str
    start: int
    end: int


# Encoded words come first: mailers put specials into them that RFC 2047 section 5 forbids in a phrase.
# A quotation mark behind a backslash opens nothing (programs escape names that they then do not quote).
# "::" belongs to DECnet node names; a "[" that opens no literal and a ")" that closes nothing to an atom.
_SHAPES = (
    r"[ \t\r\n]*+(?:"
    r"(=\?[^?\s]++\?[bBqQ]\?[^?\s]*+\?=|(?>(?:[^ \t\r\n(<>@,;:\"\[\\]++|\\\"?+|::|\[(?![^\[\]\\()<>,;\r\n]*+\]))+))"
    r"|([@:]|<++|>++|,++|;++)"
    r"|%s"
    r"|(\[[^\[\]\\()<>,;\r\n]*+\])"
    r"|(.))"
)
_TOKEN = re.compile(_SHAPES % r'"([^"\\]*+(?>(?:\\.[^"\\]*+)*))"', re.DOTALL)
# LIMIT: once one quotation mark has found no partner, none is looked for again, or each would search to the end.
_TOKEN_WITHOUT_QUOTES = re.compile(_SHAPES % r"((?!))", re.DOTALL)
_COMMENT_MARK = re.compile(r"[()\\]")
_FLAT_COMMENT = re.compile(r"\([^()\\]*+\)")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_FOLD = re.compile(r"\r?\n(?=[ \t])")


def unescape(text: str) -> str:
    r"""Undo the quoted pairs and the folds inside a quoted string or a comment (RFC 5322 sections 3.2.1 and 3.2.2).

    >>> unescape(r'Ann \"A\"')
    'Ann "A"'
    """
    if "\n" in text:
        text = _FOLD.sub("", text)
    return _ESCAPE.sub(r"\1", text) if "\\" in text else text


def comment_end(text: str, start: int) -> int:
    """Where the comment that opens at `start` ends; -1 when it is never closed."""
    depth, position = 0, start
    search = _COMMENT_MARK.search
    while mark := search(text, position):
        sign = text[mark.start()]
        position = mark.end()
        if sign == "(":
            depth += 1
        elif sign == ")":
            depth -= 1
            if depth == 0:
                return position
        else:
            position += 1
    return -1


def tokens(text: str, broken: list[tuple[str, int]] | None = None) -> Iterator[Token]:
    r"""The tokens of a body from left to right; white space only separates them.

    Args:
        text: the body, folded or not.
        broken: a list that takes (defect code, position) of what is never closed.

    >>> [token.text for token in tokens('"A \\"B\\"" <a@[10.0.0.1]>')]
    ['A \\"B\\"', '<', 'a', '@', '[10.0.0.1]', '>']
    """
    position, length = 0, len(text)
    match = _TOKEN.match
    make = tuple.__new__  # a third of the time of Token(...)
    has_open_comment = False
    while position < length:
        found = match(text, position)
        if found is None:  # only white space is left
            return
        group, position = found.lastindex, found.end()
        if group == 1:
            yield make(Token, (ATOM, found[1], found.start(1), position))
        elif group == 2:
            yield make(Token, (SPECIAL, found[2][0], found.start(2), position))
        elif group == 3:
            yield make(Token, (QUOTED, found[3], found.start(3) - 1, position))
        elif group == 4:
            yield make(Token, (LITERAL, found[4], found.start(4), position))
        else:
            sign, start = found[5], position - 1
            if sign == "(":
                end = -1
                if has_open_comment:
                    flat = _FLAT_COMMENT.match(text, start)
                    end = flat.end() if flat else -1
                else:
                    end = comment_end(text, start)
                    if end < 0:
                        has_open_comment = True
                        if broken is not None:
                            broken.append(("unclosed-comment", start))
                        if text.find("<", start) < 0 and text.find("@", start) < 0:
                            yield make(Token, (COMMENT, text[start + 1 :], start, length))
                            return
                if end >= 0:
                    yield make(Token, (COMMENT, text[start + 1 : end - 1], start, end))
                    position = end
                    continue
            elif sign == '"':
                if match is not _TOKEN_WITHOUT_QUOTES.match:
                    match = _TOKEN_WITHOUT_QUOTES.match
                    if broken is not None:
                        broken.append(("unclosed-quote", start))
                continue
            yield make(Token, (ATOM, sign, start, position))
