"""The stage `decode-uuencode`: files that stand uuencoded in a text become attachments of its message.

    [[stage]]
    use = "decode-uuencode"

The text loses its "begin … end" blocks and nothing else; the files come behind it, in a multipart/mixed that takes its
place. A block that is damaged or has no end stays in the text. What is signed is left.

Never here: the encoding (`codec.uuencode`).
"""

from mailpipe.message import Entity, Message, compose, edit
from mailpipe.pipeline.access import Access
from mailpipe.pipeline.component import Options, Stage
from mailpipe.pipeline.mail import Changed, Mail
from mailpipe.stages import text_edit
from mailpipe.stages.attachment_choice import Covered, is_leaf
from mailpipe.stages.file_names import media_type, safe_name


class DecodeUuencodeOptions(Options):
    """Which blocks are decoded."""

    damaged: bool = False
    """Decode damaged blocks too, as far as they can be."""
    attachments: bool = False
    """Look into attached texts as well as into those that are shown."""


class DecodeUuencode(Stage[DecodeUuencodeOptions]):
    """Turns uuencoded files in a text into attachments."""

    name = "decode-uuencode"
    Options = DecodeUuencodeOptions
    reads = Access(fields=text_edit.CONTENT_FIELDS, body=True)
    touches = Access(fields=text_edit.CONTENT_FIELDS, body=True, notes=(Changed,))
    decides = ()

    def process(self, mail: Mail) -> Mail:
        """Decode the blocks of every text."""
        message, changes = mail.message, list[Changed]()
        made, covered, line_end = dict[str, Entity](), Covered(message), message.header.line_end
        for path, leaf in message.walk():
            if not is_leaf(leaf) or leaf.content_type.type != "text" or covered.holds(path):
                continue
            if leaf.is_attachment and not self.options.attachments:
                continue
            files = [file for file in leaf.embedded_files if self.options.damaged or not file.defects]
            if not files:
                continue
            octets, pieces, position = leaf.octets, list[bytes](), 0
            for file in files:
                pieces.append(octets[position : file.start])
                position = file.stop
            rest = b"".join((*pieces, octets[position:]))
            # the text alone: the fields of a message stay where they are
            text: Entity = edit.wrap(leaf, "mixed").parts[0] if isinstance(leaf, Message) else leaf
            parts = [text_edit.with_octets(text, rest, None, line_end)]
            parts += [_attachment(file.filename, file.octets, line_end) for file in files]
            made[path] = compose.multipart("mixed", parts, line_end=line_end)
            changes.append(Changed(self.name, f"part {path or '1'}: {len(files)} files taken out of the text"))
        if not made:
            return mail
        changed = message.map_leaves(lambda path, leaf: made.get(path, leaf))
        return mail.with_message(changed).with_note(*changes)


def _attachment(name: str, octets: bytes, line_end: bytes) -> Entity:
    return compose.leaf(
        octets, media_type("", name), filename=safe_name(name), disposition="attachment", is_text=False,
        encoding="base64", line_end=line_end,
    )  # fmt: skip
