"""The stage `html-to-text`: a plain version beside an HTML text that came without one.

    [[stage]]
    use = "html-to-text"
    links = true                    # targets as footnotes

The HTML and its pictures become the second part of a multipart/alternative (RFC 2046 section 5.1.4), octet for octet;
the text before it is in format=flowed (RFC 3676). What is signed is left, and so is HTML that came with a plain text.

Never here: how HTML becomes text (`html_render`).
"""

from pydantic import Field as OptionField

from mailpipe.message import Entity, Message, compose, edit, flowed
from mailpipe.pipeline.access import Access
from mailpipe.pipeline.component import Options, Stage
from mailpipe.pipeline.mail import Changed, Mail
from mailpipe.stages import html_render, text_edit
from mailpipe.units import ByteSize


class HtmlToTextOptions(Options):
    """What the plain version is like."""

    links: bool = True
    """Whether the targets of links are listed below the text, with numbers behind the words that lead there."""
    keep_html: bool = True
    """Whether the HTML stays beside the text; where not, the text takes its place and only that."""
    max_size: ByteSize = OptionField(default=ByteSize(20_000_000), ge=0)
    """HTML of more octets is left alone."""


class HtmlToText(Stage[HtmlToTextOptions]):
    """Adds a plain text to a message that has HTML only, or puts it in the place of the HTML."""

    name = "html-to-text"
    Options = HtmlToTextOptions
    reads = Access(fields=text_edit.CONTENT_FIELDS, body=True)
    touches = Access(fields=text_edit.CONTENT_FIELDS, body=True, notes=(Changed,))
    decides = ()

    def process(self, mail: Mail) -> Mail:
        """Write the plain version of each HTML body, where none of the bodies is plain."""
        message = mail.message
        leaves = text_edit.bodies(message).leaves
        if not leaves or any(leaf.content_type.subtype == "plain" for _, leaf in leaves):
            return mail
        changes, made = list[Changed](), dict[str, Entity]()
        for path, leaf in leaves:
            if len(leaf.raw_body) > self.options.max_size:
                continue
            place, new = self._with_text(message, path, leaf)
            made[place] = new
            what = "a plain text added to" if self.options.keep_html else "plain text in the place of"
            changes.append(Changed(self.name, f"{what} part {path or '1'}"))
        if not made:
            return mail
        changed = edit.map_entities(message, lambda path, entity: made.get(path, entity))
        return mail.with_message(changed).with_note(*changes)

    def _with_text(self, message: Message, path: str, leaf: Entity) -> tuple[str, Entity]:
        """What takes which place."""
        line_end = message.header.line_end
        paragraphs = html_render.render(leaf.text, links=self.options.links)
        plain = compose.text(flowed.flow(paragraphs), params={"format": "flowed"}, line_end=line_end)
        if not self.options.keep_html:
            return path, plain
        # pictures belong to their HTML: the whole multipart/related is the alternative
        while path and _above(message, path).content_type.value == "multipart/related":
            path = path.rpartition(".")[0]
        second = message.part(path) if path else message.wrap("mixed").parts[0]
        return path, compose.multipart("alternative", [plain, second], line_end=line_end)


def _above(message: Message, path: str) -> Entity:
    return message.chain(path)[0][-1][0]
