"""HTML as plain text: paragraphs, lists, quotations, preformatted text, links as footnotes.

    paragraphs = render(html)                   # for `flowed.flow` or `flowed.render`

It reads tokens, not a tree, so that it takes linear time and its depth has no cost; what a style hides is shown.

Never here: layout. A table is its rows, one a line.
"""

import html as _html
import re

from mailpipe.message.flowed import Paragraph
from mailpipe.stages.html_tokens import Token, attributes, tokens

_BLOCKS = frozenset({
    "address", "article", "aside", "body", "center", "dd", "details", "dir", "div", "dl", "dt", "fieldset",
    "figcaption", "figure", "footer", "form", "header", "html", "legend", "li", "main", "menu", "nav", "option",
    "section", "summary", "tbody", "tfoot", "thead", "tr",
})  # fmt: skip
_PARAGRAPHS = frozenset({"p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "table", "pre", "blockquote", "hr"})
_BLANKS = re.compile(r"[ \t\n\r\f]+")
_SCHEMES = ("http:", "https:", "ftp:", "mailto:", "tel:")

# LIMIT: quotations deeper than this look alike, and a text of nothing but them must not grow by its square.
_DEEPEST = 8
_MOST_LINKS = 1000
_LONGEST_LINK = 2000


def render(html: str, *, links: bool = True) -> list[Paragraph]:
    """The text of an HTML document. Never raises.

    Args:
        html: the document or a piece of one.
        links: whether the targets of links are listed at the end, with their numbers in the text.

    >>> [each.text for each in render("<p>See <a href='https://example.org/'>the site</a></p><ul><li>one<li>two</ul>")]
    ['See the site [1]', '', '* one', '* two', '', '[1] https://example.org/']
    """
    one = _Renderer(html, links)
    for token in tokens(html):
        one.take(token)
    return one.finished()


class _Renderer:
    def __init__(self, html: str, links: bool) -> None:
        self._html, self._links = html, links
        self._made: list[Paragraph] = []
        self._line: list[str] = []
        self._has_blank = True  # the line ends with a blank, or is empty
        self._wants_gap = False
        self._quotes = self._pre = self._hidden = 0
        self._lists: list[int] = []  # the next number of each, 0 where they have none
        self._bullet = ""
        self._targets: dict[str, int] = {}
        self._open_links: list[tuple[str, int]] = []

    def take(self, token: Token) -> None:
        match token.kind:
            case "text":
                self._text(_html.unescape(self._html[token.start : token.stop]))
            case "raw" if token.name == "textarea":
                self._text(_html.unescape(self._html[token.start : token.stop]))
            case "start" if token.is_closed:
                self._start(token)
            case "end" if token.is_closed:
                self._end(token.name)

    def _text(self, text: str) -> None:
        if self._hidden:
            return
        if self._pre:
            first, *more = text.replace("\r\n", "\n").split("\n")
            self._add(first)
            for line in more:
                self._end_line(keep=True)
                self._add(line)
            return
        text = _BLANKS.sub(" ", text)
        if self._has_blank:
            text = text.lstrip(" ")
        self._add(text)

    def _add(self, text: str) -> None:
        if text:
            self._line.append(text)
            self._has_blank = text.endswith(" ")

    def _end_line(self, *, keep: bool = False) -> None:
        text = "".join(self._line)
        text = text if self._pre else text.strip(" \t\n\r\f")
        self._line, self._has_blank = [], True
        if not text.strip() and not keep:
            return
        bullet, self._bullet = self._bullet, ""
        self._put(bullet + text)

    def _put(self, text: str) -> None:
        if self._wants_gap and self._made and self._made[-1].text:
            last = self._made[-1].depth
            self._made.append(Paragraph("", min(last, self._quotes, _DEEPEST)))
        self._wants_gap = False
        self._made.append(Paragraph(text.replace("\u00a0", " ").replace("\r", " "), min(self._quotes, _DEEPEST)))

    def _start(self, token: Token) -> None:
        name = token.name
        if name in ("head", "template"):
            self._hidden += 1
        elif name == "body":
            self._hidden = 0
        if name == "br":
            self._end_line(keep=True)
            return
        if name in _BLOCKS or name in _PARAGRAPHS:
            self._end_line()
            self._wants_gap |= name in _PARAGRAPHS and not (name in ("ul", "ol") and bool(self._lists))
        match name:
            case "blockquote":
                self._quotes += 1
            case "pre":
                self._pre += 1
            case "ul" | "ol" | "dir" | "menu":
                self._lists.append(1 if name == "ol" else 0)
            case "li":
                self._begin_item()
            case "hr":
                self._put("-" * 20)
                self._wants_gap = True
            case "td" | "th":
                self._add("" if self._has_blank else " ")
            case "img":
                alt = _BLANKS.sub(" ", attributes(self._html, token).get("alt", "")).strip()
                if alt and not self._hidden:
                    self._add(f"[{alt[:200]}]")
            case "a":
                target = attributes(self._html, token).get("href", "").strip()
                self._open_links.append((target, len(self._line)))

    def _begin_item(self) -> None:
        indent = "  " * (min(len(self._lists), 6) - 1) if self._lists else ""
        number = self._lists[-1] if self._lists else 0
        if number:
            self._lists[-1] += 1
        self._bullet = f"{indent}{number}. " if number else f"{indent}* "

    def _end(self, name: str) -> None:
        match name:
            case "head" | "template":
                self._hidden = max(0, self._hidden - 1)
            case "a" if self._open_links:
                self._end_link(*self._open_links.pop())
        if name in _BLOCKS or name in _PARAGRAPHS:
            self._end_line()
            self._wants_gap |= name in _PARAGRAPHS
        match name:
            case "blockquote":
                self._quotes = max(0, self._quotes - 1)
            case "pre":
                self._pre = max(0, self._pre - 1)
            case "ul" | "ol" | "dir" | "menu" if self._lists:
                self._lists.pop()
                self._wants_gap = not self._lists

    def _end_link(self, target: str, place: int) -> None:
        """The number of a link behind its text, where the text does not say the same."""
        target = "".join(target.split())[:_LONGEST_LINK]
        if self._hidden or not self._links or not target.lower().startswith(_SCHEMES):
            return
        shown = "".join(self._line[place:]).strip()
        if not shown or shown in (target, target.partition(":")[2], target.partition("//")[2].rstrip("/")):
            return
        if target not in self._targets and len(self._targets) >= _MOST_LINKS:
            return
        number = self._targets.setdefault(target, len(self._targets) + 1)
        self._add(f"[{number}]" if self._has_blank else f" [{number}]")

    def finished(self) -> list[Paragraph]:
        self._end_line()
        while self._made and not self._made[-1].text.strip():
            self._made.pop()
        if self._targets:
            self._made.append(Paragraph(""))
            self._made += [Paragraph(f"[{number}] {target}") for target, number in self._targets.items()]
        return self._made
