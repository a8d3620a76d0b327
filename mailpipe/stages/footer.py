"""The stage `footer`: a few lines under the text of a message, in its plain and in its HTML version.

    [[stage]]
    use = "footer"
    text = '''
    --
    Example Ltd, registered in Nowhere
    '''
    html = "<hr><p>Example Ltd, registered in <b>Nowhere</b></p>"

It goes under every alternative that a reader takes for the body: never into attachments, enclosed messages, or what is
signed or encrypted. Text in format=flowed stays flowed (RFC 3676), HTML gets it before its </body>, a charset that
cannot say it becomes UTF-8. A message that has no text gets the footer as a text part of its own. A body that holds
the footer already, also quoted, is left alone.

Never here: finding the body and editing it (`text_edit`), and what is a tag and what a comment (`html_tokens`).
"""

import html as _html
from typing import Literal

from pydantic import Field as OptionField

from mailpipe.message import Entity, Message, compose, flowed
from mailpipe.message.flowed import Paragraph
from mailpipe.pipeline.access import Access
from mailpipe.pipeline.component import Options, Stage
from mailpipe.pipeline.mail import Changed, Mail
from mailpipe.stages import html_tokens, templates, text_edit
from mailpipe.stages.templates import TextTemplate


class FooterOptions(Options):
    """What is written under the text."""

    text: TextTemplate = OptionField(min_length=1)
    """The plain version, of any number of lines; may name facts of the mail in braces: {subject}, {from_address},
    {message_id}, {sender}, {recipients}, {size}, {origin}."""
    html: TextTemplate | None = None
    """The HTML version, with facts in braces too; by default made of the plain one."""
    without_text: Literal["attach", "keep"] = "attach"
    """What to do with a message that has no text to write under: attach the footer as a text part, or leave it."""
    again: bool = False
    """Write it also under a body that holds it already."""


class Footer(Stage[FooterOptions]):
    """Writes a footer under the plain and the HTML text of a message, and not twice."""

    name = "footer"
    Options = FooterOptions
    reads = Access(fields=("*",), body=True)
    touches = Access(fields=("*",), body=True, notes=(Changed,))
    decides = ()

    @classmethod
    def accesses(cls, options: FooterOptions) -> tuple[Access, Access]:
        """It touches bodies, and the fields that say how the body of a message is written."""
        content = text_edit.CONTENT_FIELDS
        named = templates.reads(options.text, options.html or "")
        return Access(fields=content, body=True) | named, Access(fields=content, body=True, notes=(Changed,))

    def process(self, mail: Mail) -> Mail:
        """Write under every body."""
        options, message = self.options, mail.message
        text = _lines(templates.fill(options.text, mail))
        html = None if options.html is None else templates.fill(options.html, mail, escape=_html.escape)
        found = text_edit.bodies(message)
        made_of: dict[str, Entity] = {}
        line_end, changes, changed = message.header.line_end, list[Changed](), message
        for path, leaf in found.leaves:
            made = self._under(leaf, text, html if html is not None else _as_html(text), line_end)
            if made is leaf:
                continue
            place = path or "1"
            if made is None:
                changes.append(Changed(self.name, f"part {place} left without it: its text cannot be read"))
                continue
            made_of[path] = made
            changes.append(Changed(self.name, f"written under part {place}"))
        if made_of:
            changed = changed.map_leaves(lambda path, leaf: made_of.get(path, leaf))
        for path in found.opaque:
            what = f"part {path or '1'} left without it: it is signed, encrypted or a report"
            changes.append(Changed(self.name, what))
        is_bare = not found.leaves and not found.opaque
        if is_bare and options.without_text == "attach" and not _has(message, text):
            changed = changed.attach(compose.text(text, line_end=line_end))
            changes.append(Changed(self.name, "attached as a text part"))
        if not changes:
            return mail
        return mail.with_message(changed).with_note(*changes)

    def _under(self, leaf: Entity, text: str, html: str, line_end: bytes) -> Entity | None:
        """The leaf with the footer; the same leaf where it has it, None where it cannot be written."""
        old = leaf.text
        is_html = leaf.content_type.subtype == "html"
        if not self.options.again and _squeezed(html if is_html else text) in _squeezed(old):
            return leaf
        end = text_edit.line_end_of(old, line_end)
        if is_html:
            place = _end_of_body(old)
            written = _lines(html).replace("\n", end)
            made = text_edit.edited(leaf, [(place, place, written)], line_end=line_end)
            if made is None:  # references need no charset (HTML section 13.1.4)
                written = written.encode("ascii", "xmlcharrefreplace").decode()
                made = text_edit.edited(leaf, [(place, place, written)], line_end=line_end)
            return made
        if (paragraphs := leaf.flowed) is not None:
            delsp = leaf.content_type.params.get("delsp", "").strip().lower() == "yes"
            added = [Paragraph(line) for line in text.splitlines()]
            text = flowed.flow(added, delsp=delsp)
            # the empty line ends a paragraph that breaks off with a soft line break
            before = "\n" if not paragraphs or old.endswith(("\n", "\r")) else "\n\n"
        else:
            before = "" if not old else "\n" if old.endswith(("\n", "\r")) else "\n\n"
        return text_edit.edited(leaf, [(len(old), len(old), (before + text).replace("\n", end))], line_end=line_end)


def _lines(text: str) -> str:
    """Whole lines, without the empty ones around them."""
    return text.replace("\r\n", "\n").replace("\r", "\n").strip("\n") + "\n"


def _as_html(text: str) -> str:
    return f"<div>{_html.escape(text.strip(), quote=False)}</div>".replace("\n", "<br>\n") + "\n"


def _squeezed(text: str) -> str:
    """Text without what mail programs change about it: line breaks, blanks, marks of quoting."""
    return " ".join(text.replace(">", " ").split())


def _has(message: Message, text: str) -> bool:
    wanted = _squeezed(text)
    return any(
        wanted in _squeezed(part.text) for _, part in message.walk() if part.content_type.value == "text/plain"
    )


def _end_of_body(html: str) -> int:
    """Where the body of an HTML text ends: before its last </body>, else </html>, else at the end.

    What is in comments, scripts and titles is no tag, and what was left open at the end would swallow the footer.
    """
    places: dict[str, int] = {}
    for token in html_tokens.tokens(html):
        if token.kind == "end" and token.name in ("body", "html"):
            places[token.name] = token.start
        if not token.is_closed:
            start = html.rfind("<", 0, token.start) if token.kind == "raw" else token.start
            places["open"] = max(start, 0)
    return next((places[name] for name in ("body", "html", "open") if name in places), len(html))
