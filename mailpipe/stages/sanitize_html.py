"""The stage `sanitize-html`: HTML without scripts, forms, frames and, if so wished, without what betrays the reader.

    [[stage]]
    use = "sanitize-html"           # needs: pip install "mailpipe[html]"
    images = "no-pixels"            # keep | no-pixels | no-remote

Elements and attributes that are not known to be harmless go; pictures of the message itself (cid:) stay. What takes a
sanitizer too long (a megabyte of nested elements takes half a minute) is refused before it begins, and `on_refused`
says what then happens. HTML is parsed and written anew, so that none of its octets can be expected to stay; every other
part of the message does. What is signed is left.

Never here: the sanitizer, which is nh3, and what is a tag (`html_tokens`).
"""

import re
from typing import Any, Literal

from pydantic import Field as OptionField

from mailpipe.errors import ConfigError
from mailpipe.message import Entity, Message, compose, flowed
from mailpipe.pipeline.access import Access
from mailpipe.pipeline.component import Options, Stage
from mailpipe.pipeline.mail import Changed, Mail
from mailpipe.pipeline.services import Services
from mailpipe.pipeline.verdict import Decision, Verdict
from mailpipe.stages import html_render, text_edit
from mailpipe.stages.attachment_choice import Covered
from mailpipe.stages.html_tokens import VOID, attributes, tokens
from mailpipe.units import ByteSize

_STYLES = """background background-color border border-bottom border-collapse border-color border-left border-radius
    border-right border-spacing border-style border-top border-width clear color direction display float font
    font-family font-size font-style font-variant font-weight height letter-spacing line-height list-style
    list-style-type margin margin-bottom margin-left margin-right margin-top max-height max-width min-height min-width
    padding padding-bottom padding-left padding-right padding-top table-layout text-align text-decoration text-indent
    text-transform vertical-align white-space width word-break word-spacing word-wrap"""
_TAGS = """a abbr acronym address article aside b bdi bdo big blockquote br caption center cite code col colgroup dd
    del details dfn dir div dl dt em figcaption figure font footer h1 h2 h3 h4 h5 h6 header hgroup hr i img ins kbd li
    main map area mark menu nav ol p pre q rp rt ruby s samp section small span strike strong sub summary sup table
    tbody td tfoot th thead time tr tt u ul var wbr"""
_SCHEMES = "http https mailto tel ftp cid data"
_GONE = "script style title noscript template textarea select svg math"
# Elements that the parser opens again in every block while they are not closed (HTML section 13.2.4.3).
_FORMATTING = frozenset({
    "a", "b", "big", "code", "em", "font", "i", "nobr", "s", "small", "strike", "strong", "tt", "u",
})  # fmt: skip
# Elements that end where the next of their kind begins (section 13.1.2.4), so that none of them gets deep by itself.
_ENDED_BY_NEXT = frozenset({
    "p", "li", "dt", "dd", "tr", "td", "th", "thead", "tbody", "tfoot", "option", "optgroup", "rt", "rp", "colgroup",
})  # fmt: skip
# LIMIT: what makes the parser's work grow by its square: elements opened again, attributes compared with each other,
# and complaints about characters.
_MOST_REOPENED = 500_000
_MOST_ATTRIBUTES = 300
_MOST_REFERENCES = 200_000
_MOST_ODD = 100_000
_ODD = re.compile("[\x01-\x08\x0b\x0e-\x1f\x7f-\x9f\ufdd0-\ufdef\ufffe\uffff]")
_ATTRIBUTES = {
    "*": "style align valign dir lang title class bgcolor width height border",
    "a": "href name target", "area": "href shape coords alt", "img": "src alt hspace vspace", "font": "color face size",
    "table": "cellpadding cellspacing summary rules frame", "td": "colspan rowspan nowrap abbr headers scope",
    "th": "colspan rowspan nowrap abbr headers scope", "col": "span", "colgroup": "span", "ol": "start type",
    "ul": "type", "li": "value type", "map": "name", "blockquote": "cite", "q": "cite", "bdo": "dir",
    "time": "datetime", "hr": "size noshade color",
}  # fmt: skip
# Anything in a style that could fetch something or hide that it does; no value that is harmless has these.
_FETCHING = re.compile(r"url|image|expression|import|\\|/\*|behavior|binding", re.IGNORECASE)
_SMALL = re.compile(r"\s*0*[0-2](?:px)?\s*\Z", re.IGNORECASE)
_HIDDEN = re.compile(r"(?:width|height)\s*:\s*0*[0-2](?:px)?\s*(?:;|\Z|!)|display\s*:\s*none", re.IGNORECASE)
_PICTURE = re.compile(r"data:image/(?:png|gif|jpe?g|webp);base64,", re.IGNORECASE)


class SanitizeHtmlOptions(Options):
    """What stays in HTML."""

    images: Literal["keep", "no-pixels", "no-remote"] = "no-pixels"
    """Pictures from servers: all stay, those that nobody can see go (they tell the sender when the mail is read), or
    all go. Pictures that the message brings with it stay."""
    styles: bool = True
    """Whether style attributes stay, as far as their properties are known to be harmless."""
    max_size: ByteSize = OptionField(default=ByteSize(2_000_000), ge=0)
    """HTML of more octets is refused."""
    depth: int = OptionField(default=200, ge=10, le=500)
    """HTML with more elements inside one another is refused."""
    on_refused: Literal["quarantine", "reject", "text", "keep"] = "quarantine"
    """What to do with HTML that is refused: keep the message aside, refuse it, put its text in its place, or leave it
    as it is."""
    attachments: bool = False
    """Whether attached HTML files are sanitized too."""


class SanitizeHtml(Stage[SanitizeHtmlOptions]):
    """Removes scripts, forms and other active content from HTML, and pictures that report to their sender."""

    name = "sanitize-html"
    Options = SanitizeHtmlOptions
    reads = Access(fields=text_edit.CONTENT_FIELDS, body=True)
    touches = Access(fields=text_edit.CONTENT_FIELDS, body=True, notes=(Changed,))

    @classmethod
    def decisions(cls, options: SanitizeHtmlOptions) -> tuple[Decision, ...]:
        """What it was told to do about HTML that is refused."""
        named = {"quarantine": (Decision.QUARANTINE,), "reject": (Decision.REJECT,)}
        return named.get(options.on_refused, ())

    def open(self, services: Services) -> None:
        """Load the sanitizer.

        Raises:
            ConfigError: it is not installed.
        """
        try:
            import nh3  # an extra; a pipeline without this stage does without
        except ImportError as error:
            raise ConfigError(
                'sanitize-html needs nh3, which is not installed; run: pip install "mailpipe[html]"'
            ) from error
        allowed = {tag: set(names.split()) for tag, names in _ATTRIBUTES.items()}
        if not self.options.styles:
            allowed["*"].discard("style")
        self._clean = nh3.Cleaner(
            tags=set(_TAGS.split()), attributes=allowed, url_schemes=set(_SCHEMES.split()),
            attribute_filter=_attribute, filter_style_properties=set(_STYLES.split()), link_rel="noopener noreferrer",
            clean_content_tags=set(_GONE.split()),
        ).clean  # fmt: skip

    def process(self, mail: Mail) -> Mail | Verdict:
        """Sanitize every HTML part."""
        message, changes, refused = mail.message, list[Changed](), list[str]()
        covered, line_end = Covered(message), message.header.line_end

        def change(path: str, leaf: Entity) -> Entity:
            kind = leaf.content_type
            if kind.value not in ("text/html", "application/xhtml+xml") or covered.holds(path):
                return leaf
            if leaf.is_attachment and not self.options.attachments:
                return leaf
            html = leaf.text
            why = self._refusal(html, len(leaf.raw_body))
            if why:
                refused.append(f"part {path or '1'}: {why}")
                if self.options.on_refused != "text":
                    return leaf
                changes.append(Changed(self.name, f"text in the place of part {path or '1'}: {why}"))
                paragraphs = html_render.render(html)
                return compose.text(flowed.flow(paragraphs), params={"format": "flowed"}, line_end=line_end)
            made = self._sanitized(html)
            if made == html:
                return leaf
            changes.append(Changed(self.name, f"part {path or '1'} sanitized"))
            written = made.replace("\n", line_end.decode())
            return text_edit.in_charset(leaf, written, line_end)

        changed: Message = message.map_leaves(change)
        if refused and self.options.on_refused == "quarantine":
            return Verdict.quarantine(f"HTML that cannot be sanitized: {refused[0]}")
        if refused and self.options.on_refused == "reject":
            return Verdict.reject(f"HTML that cannot be sanitized: {refused[0]}", status="5.6.0")
        return mail.with_message(changed).with_note(*changes) if changes else mail

    def _refusal(self, html: str, size: int) -> str:
        """Why HTML is not given to the sanitizer; "" where it is."""
        if max(size, len(html)) > self.options.max_size:
            return f"it has more than {self.options.max_size} octets"
        if html.count("&") > _MOST_REFERENCES or len(_ODD.findall(html)) > _MOST_ODD:
            return "it has too many character references or control characters"
        open_elements: dict[str, int] = {}
        level = formatting = reopened = 0
        for token in tokens(html):
            name = token.name
            if token.kind == "start":
                if token.stop - token.start > 2 * _MOST_ATTRIBUTES and len(attributes(html, token)) > _MOST_ATTRIBUTES:
                    return f"an element has more than {_MOST_ATTRIBUTES} attributes"
                reopened += formatting
                if name in VOID or name in _ENDED_BY_NEXT:
                    continue
                level += 1
                open_elements[name] = open_elements.get(name, 0) + 1
                formatting += name in _FORMATTING
            elif token.kind == "end" and open_elements.get(name):
                level -= 1
                open_elements[name] -= 1
                formatting -= name in _FORMATTING
            if level > self.options.depth:
                return f"its elements are nested deeper than {self.options.depth}"
            if reopened > _MOST_REOPENED:
                return "its elements are not closed"
        return ""

    def _sanitized(self, html: str) -> str:
        clean: str = self._clean(html.encode("utf-8", "replace").decode())
        if self.options.images != "keep":
            clean = self._without_images(clean)
        return f"<!DOCTYPE html>\n<html><body>{clean}</body></html>\n"

    def _without_images(self, html: str) -> str:
        """Clean HTML without the pictures that are not wanted; what they stand for in words stays."""
        pieces, position = [], 0
        for token in tokens(html):
            if token.kind != "start" or token.name != "img":
                continue
            facts = attributes(html, token)
            source = facts.get("src", "").strip().lower()
            if source.startswith(("cid:", "data:")) or not source:
                continue
            if self.options.images == "no-pixels" and not _is_pixel(facts):
                continue
            pieces.append(html[position : token.start])
            position = token.stop
        return "".join((*pieces, html[position:]))


def _is_pixel(facts: dict[str, str]) -> bool:
    """Whether nobody can see a picture of that size."""
    sizes = [facts[name] for name in ("width", "height") if name in facts]
    return any(_SMALL.match(size) for size in sizes) or bool(_HIDDEN.search(facts.get("style", "")))


def _attribute(tag: str, name: str, value: str) -> Any:
    """What is left of an attribute that is allowed as such; None where nothing is."""
    if name == "style":
        return None if _FETCHING.search(value) else value
    start = value.strip().lower()
    if start.startswith("data:"):
        return value if tag == "img" and name == "src" and _PICTURE.match(value.strip()) else None
    return value
