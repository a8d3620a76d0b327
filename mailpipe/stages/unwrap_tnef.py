"""The stage `unwrap-tnef`: what Outlook put into a winmail.dat, as parts that everybody can read (MS-OXTNEF).

    [[stage]]
    use = "unwrap-tnef"
    body = "missing"                # missing | always | never

The attachments that are in it take its place, under the long names; messages in it become message/rfc822 parts. Its
text (HTML, RTF or plain) is added where the message has none of its own. What is signed is left, and so is a
winmail.dat that holds nothing or cannot be read.

Never here: the format (`codec.tnef`, `codec.rtf`).
"""

import re
from collections.abc import Sequence
from typing import Literal

from mailpipe.codec import rtf, tnef
from mailpipe.errors import ComposeError
from mailpipe.message import Entity, Field, Message, compose
from mailpipe.pipeline.access import Access
from mailpipe.pipeline.component import Options, Stage
from mailpipe.pipeline.mail import Changed, Mail
from mailpipe.stages import templates, text_edit
from mailpipe.stages.attachment_choice import Covered, is_leaf
from mailpipe.stages.file_names import media_type, safe_name

_TYPES = ("application/ms-tnef", "application/vnd.ms-tnef")
_IDENTIFIER = re.compile(r"[!-;=?-~]{1,200}")


class UnwrapTnefOptions(Options):
    """What of a winmail.dat is taken out."""

    body: Literal["missing", "always", "never"] = "missing"
    """Add its text where the message has none, always, or never."""
    keep: bool = False
    """Leave the winmail.dat beside what was in it."""


class UnwrapTnef(Stage[UnwrapTnefOptions]):
    """Puts the attachments and the text of a winmail.dat in its place."""

    name = "unwrap-tnef"
    Options = UnwrapTnefOptions
    reads = Access(fields=text_edit.CONTENT_FIELDS, body=True)
    touches = Access(fields=text_edit.CONTENT_FIELDS, body=True, notes=(Changed,))
    decides = ()

    def process(self, mail: Mail) -> Mail:
        """Unwrap every winmail.dat."""
        message, changes = mail.message, list[Changed]()
        covered, made = Covered(message), dict[str, Entity]()
        for path, leaf in message.walk():
            kind = leaf.content_type.value
            if not is_leaf(leaf) or covered.holds(path):
                continue
            if kind not in _TYPES and (leaf.filename or "").strip().lower() != "winmail.dat":
                continue
            octets = leaf.octets
            found = tnef.read(octets)
            parts = self._parts(found, message) if found is not None else []
            if not parts:
                changes.append(Changed(self.name, f"part {path or '1'} left: nothing was found in it"))
                continue
            if self.options.keep:
                parts.append(compose.attachment(octets, kind, filename="winmail.dat", line_end=message.header.line_end))
            line_end = message.header.line_end
            made[path] = parts[0] if len(parts) == 1 else compose.multipart("mixed", parts, line_end=line_end)
            changes.append(Changed(self.name, f"part {path or '1'}: {len(parts)} parts taken out"))
        if not changes:
            return mail
        changed = message.map_leaves(lambda path, leaf: made.get(path, leaf))
        return mail.with_message(changed).with_note(*changes)

    def _parts(self, found: tnef.Tnef, message: Message) -> list[Entity]:
        line_end = message.header.line_end
        wants_body = self.options.body == "always"
        if self.options.body == "missing":
            wants_body = not any(leaf.text.strip() for _, leaf in text_edit.bodies(message).leaves)
        body = _body(found, line_end) if wants_body else None
        return ([body] if body is not None else []) + _files(found, line_end)


def _body(found: tnef.Tnef, line_end: bytes) -> Entity | None:
    """The text of a stream: alternatives where there are two versions."""
    plain, html = found.body, found.html
    if found.rtf is not None and (plain is None or html is None):
        raw = rtf.decompress(found.rtf)
        html = html if html is not None else rtf.html_of(raw)
        plain = plain if plain is not None or html is not None else rtf.text_of(raw)
    made = [
        compose.text(text.replace("\0", ""), subtype, line_end=line_end)
        for text, subtype in ((plain, "plain"), (html, "html"))
        if text is not None and text.strip(" \t\r\n\0")
    ]
    if len(made) > 1:
        return compose.multipart("alternative", made, line_end=line_end)
    return made[0] if made else None


def _files(found: tnef.Tnef, line_end: bytes) -> list[Entity]:
    """The attachments of a stream."""
    made: list[Entity] = []
    for one in found.attachments:
        if one.embedded is not None:
            made.append(_message(one.embedded, line_end))
        elif one.octets or one.filename:
            made.append(_file(one, line_end))
    return made


def _file(one: tnef.Attachment, line_end: bytes) -> Entity:
    kind = media_type(one.content_type, one.filename)
    name = safe_name(one.filename, kind)
    identifier = one.content_id if _IDENTIFIER.fullmatch(one.content_id) else None
    try:
        return compose.leaf(
            one.octets, kind, filename=name, disposition="attachment", content_id=identifier, is_text=False,
            encoding="base64", line_end=line_end,
        )  # fmt: skip
    except ComposeError:  # a name that no parameter can say
        return compose.attachment(one.octets, filename="attachment.bin", line_end=line_end)


def _message(found: tnef.Tnef, line_end: bytes) -> Entity:
    """A message in a stream as a message/rfc822 part; what it says of its way is not kept."""
    fields: list[Field] = []
    if found.subject:
        fields.append(templates.composed("Subject", found.subject[:500], line_end))
    if "@" in found.sender and found.sender.isascii():
        fields.append(templates.composed("From", found.sender[:200], line_end))
    fields.append(Field.compose("MIME-Version", b"1.0", line_end))
    body = _body(found, line_end)
    parts: Sequence[Entity] = ([body] if body is not None else []) + _files(found, line_end)
    inner = compose.multipart(
        "mixed", parts or [compose.text("", line_end=line_end)], fields=fields, line_end=line_end, kind=Message
    )
    assert isinstance(inner, Message)
    return compose.enclosed(inner, line_end=line_end)
