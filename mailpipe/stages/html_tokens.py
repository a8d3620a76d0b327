"""HTML cut into tags, comments and text by the rules of the HTML standard's tokenizer (WHATWG section 13.2.5).

    for token in tokens(html):
        token.kind, token.name, html[token.start : token.stop]
    attributes(html, token)                     # {"href": "https://example.org/"} of a start tag

Linear in the length of the text, whatever it holds: what has no end reaches to the end of the text, as in a browser,
and is looked at once.

Never here: a tree. What an element may hold, and what a browser does about a missing end tag, is not known here.
"""

import html as _html
import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

Kind = Literal["text", "start", "end", "comment", "raw"]

RAW = frozenset({"script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes"})
"""Elements whose content holds no tags."""
VOID = frozenset({
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr",
})  # fmt: skip
"""Elements without an end tag."""

_LETTER = re.compile("[A-Za-z]")
_NAME = re.compile(r"[^\t\n\f\r />]++")
_COMMENT_END = re.compile("--!?>")
_BLANKS = re.compile(r"[\t\n\f\r /]*+")
_SPACES = re.compile(r"[\t\n\f\r ]*+")
_ATTRIBUTE_NAME = re.compile(r"=?[^\t\n\f\r />=]*+")
_UNQUOTED = re.compile(r"[^\t\n\f\r >]*+")
_RAW_END = {name: re.compile(rf"</{name}(?=[\t\n\f\r />])", re.IGNORECASE) for name in RAW}


class Token(NamedTuple):
    """A piece of the text.

    Attributes:
        kind: "text"; a "start" or "end" tag; a "comment" of any sort, doctypes too; "raw", the content of a script,
            a style, a title and so on.
        start, stop: where it stands.
        name: of a tag in lower case, of raw content the element that it is in; else "".
        is_closed: False for what reaches to the end of the text because its own end is missing.
    """

    kind: Kind
    start: int
    stop: int
    name: str = ""
    is_closed: bool = True


def tokens(html: str) -> Iterator[Token]:
    """The pieces of an HTML text, in order, without gaps.

    >>> [(token.kind, token.name) for token in tokens("<p class=a>Hi</p><!-- </body> -->")]
    [('start', 'p'), ('text', ''), ('end', 'p'), ('comment', '')]
    """
    position, size = 0, len(html)
    text = 0  # where text that has not been given yet begins
    while (start := html.find("<", position)) >= 0:
        token = _markup(html, start)
        if token is None:
            position = start + 1
            continue
        if start > text:
            yield Token("text", text, start)
        yield token
        position = text = token.stop
        if token.kind != "start" or not token.is_closed:
            continue
        if token.name == "plaintext":
            yield Token("raw", position, size, "plaintext", False)
            return
        if token.name in RAW:
            end = _RAW_END[token.name].search(html, position)
            stop = size if end is None else end.start()
            if stop > position or end is None:
                yield Token("raw", position, stop, token.name, end is not None)
            position = text = stop
    if text < size:
        yield Token("text", text, size)


def _markup(html: str, start: int) -> Token | None:
    """What begins at a "<"; None where it is text."""
    size, after = len(html), html[start + 1 : start + 2]
    if _LETTER.match(after):
        return _tag(html, start, start + 1, "start")
    if after == "/":
        if _LETTER.match(html, start + 2):
            return _tag(html, start, start + 2, "end")
        if start + 2 >= size:
            return None
    elif after not in ("!", "?"):
        return None
    if html.startswith("<!--", start):
        found = _COMMENT_END.search(html, start + 2)
        stop = size if found is None else found.end()
        return Token("comment", start, stop, "", found is not None)
    stop = html.find(">", start) + 1
    return Token("comment", start, stop or size, "", stop > 0)


def _tag(html: str, start: int, position: int, kind: Kind) -> Token:
    name = _NAME.match(html, position)
    assert name is not None
    stop = _attributes(html, name.end(), None)
    return Token(kind, start, len(html) if stop < 0 else stop, name[0].lower(), stop >= 0)


def _attributes(html: str, position: int, found: dict[str, str] | None) -> int:
    """Where a tag ends whose name is behind us, -1 where it does not."""
    size = len(html)
    while True:
        position = _BLANKS.match(html, position).end()  # type: ignore[union-attr]
        if position >= size:
            return -1
        if html[position] == ">":
            return position + 1
        name = _ATTRIBUTE_NAME.match(html, position)
        assert name is not None
        position = _SPACES.match(html, name.end()).end()  # type: ignore[union-attr]
        value = ""
        if html[position : position + 1] == "=":
            position = _SPACES.match(html, position + 1).end()  # type: ignore[union-attr]
            quote = html[position : position + 1]
            if quote in ("'", '"') and quote:
                stop = html.find(quote, position + 1)
                if stop < 0:
                    return -1
                value, position = html[position + 1 : stop], stop + 1
            else:
                unquoted = _UNQUOTED.match(html, position)
                assert unquoted is not None
                value, position = unquoted[0], unquoted.end()
        if found is not None:
            found.setdefault(name[0].lower(), value)


def attributes(html: str, token: Token) -> dict[str, str]:
    """The attributes of a tag, names in lower case, character references undone; the first of a name counts."""
    found: dict[str, str] = {}
    if token.kind in ("start", "end"):
        tag = html[token.start : token.stop]
        name = _NAME.match(tag, 2 if token.kind == "end" else 1)
        assert name is not None
        _attributes(tag, name.end(), found)
    return {key: _html.unescape(value) if "&" in value else value for key, value in found.items()}


def depth(html: str, most: int) -> int:
    """How deep elements are nested, counted up to one more than `most`.

    A parser may close elements earlier than this counts, never later: what passes is no deeper for it.
    """
    deepest, open_elements = 0, dict[str, int]()
    level = 0
    for token in tokens(html):
        if token.kind == "start" and token.name not in VOID:
            level += 1
            open_elements[token.name] = open_elements.get(token.name, 0) + 1
            deepest = max(deepest, level)
            if deepest > most:
                return deepest
        elif token.kind == "end" and open_elements.get(token.name):
            level -= 1
            open_elements[token.name] -= 1
    return deepest
