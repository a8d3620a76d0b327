"""The text of an HTML document as a reader sees it, character by character tied to where it stands in the source.

    for run in runs(html):
        run.text                                # "Call 030 1234" of "Call <b>030</b>&nbsp;1234"
        run.edits(5, 13, "[phone]")             # the source's places that have to change for it

A run goes on through tags that only change how text looks, and ends at those that begin a new line, so that a number of
which half is bold is whole.

Never here: what is looked for.
"""

import html as _html
import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple

from mailpipe.stages.html_tokens import Token, tokens

INLINE = frozenset({
    "a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "data", "dfn", "em", "font", "i", "ins", "del",
    "kbd", "label", "mark", "q", "s", "samp", "small", "span", "strike", "strong", "sub", "sup", "time", "tt", "u",
    "var", "wbr",
})  # fmt: skip
"""Elements that do not interrupt a word."""

_REFERENCE = re.compile(r"&(?:#[0-9]{1,8}|#[xX][0-9A-Fa-f]{1,8}|[A-Za-z][A-Za-z0-9]{1,31});?")


class _Piece(NamedTuple):
    begin: int  # in the text of the run
    start: int  # in the source
    stop: int
    size: int  # characters of text
    is_reference: bool


class Run:
    """A stretch of text without a break.

    Attributes:
        text: with character references undone.
    """

    __slots__ = ("_begins", "_pieces", "text")

    def __init__(self, pieces: list[_Piece], text: str) -> None:
        self.text, self._pieces = text, pieces
        self._begins = [piece.begin for piece in pieces]

    def edits(self, start: int, stop: int, new: str) -> list[tuple[int, int, str]]:
        """What has to change in the source so that a piece of the text is another: (start, stop, source).

        Tags between stay; the new text stands where the old one began.
        """
        made: list[tuple[int, int, str]] = []
        place = bisect_right(self._begins, start) - 1
        written = _html.escape(new, quote=False)
        while place < len(self._pieces) and self._pieces[place].begin < stop:
            piece = self._pieces[place]
            first, last = max(start - piece.begin, 0), min(stop - piece.begin, piece.size)
            span = (piece.start, piece.stop) if piece.is_reference else (piece.start + first, piece.start + last)
            if made and made[-1][1] == span[0]:
                made[-1] = (made[-1][0], span[1], made[-1][2])
            else:
                made.append((*span, "" if made else written))
            place += 1
        return made


def runs(html: str) -> Iterator[Run]:
    """The runs of text, in order; titles, text areas and comments are runs too, scripts and styles are not."""
    pieces: list[_Piece] = []
    texts: list[str] = []
    size = 0

    def add(start: int, stop: int, text: str, is_reference: bool) -> None:
        nonlocal size
        pieces.append(_Piece(size, start, stop, len(text), is_reference))
        texts.append(text)
        size += len(text)

    def add_text(start: int, stop: int) -> None:
        position = start
        for found in _REFERENCE.finditer(html, start, stop) if html.find("&", start, stop) >= 0 else ():
            text = _html.unescape(found[0])
            if text == found[0]:
                continue
            if found.start() > position:
                add(position, found.start(), html[position : found.start()], False)
            add(found.start(), found.end(), text, True)
            position = found.end()
        if stop > position:
            add(position, stop, html[position:stop], False)

    def taken() -> Iterator[Run]:
        nonlocal size
        if pieces:
            yield Run(list(pieces), "".join(texts))
            pieces.clear()
            texts.clear()
            size = 0

    for token in tokens(html):
        if token.kind == "text":
            add_text(token.start, token.stop)
            continue
        if _goes_on(token):
            continue
        yield from taken()
        if token.kind == "comment" or (token.kind == "raw" and token.name not in ("script", "style")):
            add(token.start, token.stop, html[token.start : token.stop], False)
            yield from taken()
    yield from taken()


def _goes_on(token: Token) -> bool:
    return token.kind in ("start", "end") and token.name in INLINE
