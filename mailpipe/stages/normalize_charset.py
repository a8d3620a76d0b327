"""The stage `normalize-charset`: every text in UTF-8, whatever it came in.

    [[stage]]
    use = "normalize-charset"
    on_lossy = "keep"               # keep | convert | quarantine

Text parts and header fields of any other charset are written again, and say that they are UTF-8; an HTML text says it
in its own meta elements too. A part whose charset was wrong or missing gets the one that was found. What is ASCII or
UTF-8 already keeps its octets, and so does what is signed.

Never here: finding out charsets (`codec.charset`), transfer encodings for a server (`re-encode`).
"""

import re
from dataclasses import dataclass
from typing import Literal

from mailpipe.codec import charset as charsets
from mailpipe.codec import transfer
from mailpipe.errors import ComposeError
from mailpipe.fields import AddressList, ContentDisposition, ContentType
from mailpipe.fields.unstructured import Text
from mailpipe.message import Entity, Field, Header, edit
from mailpipe.pipeline.access import Access
from mailpipe.pipeline.component import Options, Stage
from mailpipe.pipeline.mail import Changed, Mail
from mailpipe.pipeline.verdict import Decision, Verdict
from mailpipe.stages import html_tokens, text_edit
from mailpipe.stages.attachment_choice import Covered

# The charset of an encoded word (RFC 2047 section 2) or of an extended parameter (RFC 2231 section 4).
_LABEL = re.compile(rb"=\?([^?*\s]{1,80})(?:\*[^?\s]{0,40})?\?[BbQq]\?|\*\d{0,3}\*?=\"?([A-Za-z0-9_.:-]{1,80})'")
_META = re.compile(r"charset\s*=\s*[\"']?\s*([^\s\"'/>;]+)", re.IGNORECASE)
_UTF_8 = ("utf_8", "ascii")


@dataclass(frozen=True, slots=True)
class CharsetChanged:
    """A note: a text was written in UTF-8.

    Attributes:
        part: the part's path; with a field's name for a field, "2 Subject".
        declared: the charset that was named; None where none was.
        charset: that it was read with.
        known_by: how that was known: declared, default, utf-8, detected, bom or fallback.
        lost: characters that stand for octets nobody can read.
    """

    part: str
    declared: str | None
    charset: str
    known_by: str
    lost: int = 0


class NormalizeCharsetOptions(Options):
    """What is written in UTF-8."""

    parts: bool = True
    """Whether text parts are, attached ones too."""
    fields: bool = True
    """Whether header fields are, those of parts too."""
    on_lossy: Literal["keep", "convert", "quarantine"] = "keep"
    """What to do with a text that has octets which fit no charset: leave it as it came, convert it with a mark in
    their place, or keep the message aside."""


class NormalizeCharset(Stage[NormalizeCharsetOptions]):
    """Writes text parts and header fields of other charsets in UTF-8, and reports what was lost."""

    name = "normalize-charset"
    Options = NormalizeCharsetOptions
    reads = Access(fields=("*",), body=True)
    touches = Access(fields=("*",), body=True, notes=(CharsetChanged, Changed,))

    @classmethod
    def accesses(cls, options: NormalizeCharsetOptions) -> tuple[Access, Access]:
        """It reads and touches any field, where it may touch fields, and bodies, where it may touch parts."""
        access = Access(fields=("*",) if options.fields else text_edit.CONTENT_FIELDS, body=True)
        return access, access | Access(notes=(CharsetChanged, Changed))

    @classmethod
    def decisions(cls, options: NormalizeCharsetOptions) -> tuple[Decision, ...]:
        """What it was told to do about a text that cannot be read."""
        return (Decision.QUARANTINE,) if options.on_lossy == "quarantine" else ()

    def process(self, mail: Mail) -> Mail | Verdict:
        """Write every text anew that needs it."""
        message, notes, lossy = mail.message, list[CharsetChanged](), list[str]()
        covered, line_end = Covered(message), message.header.line_end

        def change(path: str, entity: Entity) -> Entity:
            if covered.holds(path):
                return entity
            place = path or "1"
            if self.options.parts and not entity.parts and entity.content_type.type == "text":
                entity = self._part(place, entity, line_end, notes, lossy)
            if self.options.fields:
                header = self._header(place, entity.header, notes)
                if header is not entity.header:
                    entity = entity.with_header(header)
            return entity

        changed = edit.map_entities(message, change)
        if lossy and self.options.on_lossy == "quarantine":
            return Verdict.quarantine(f"part {lossy[0]} has octets that fit no charset", notes=tuple(notes))
        if changed is message:
            return mail
        changes = [Changed(self.name, f"part {one.part}: {one.charset} → utf-8") for one in notes]
        return mail.with_message(changed).with_note(*notes, *changes)

    def _part(
        self, place: str, leaf: Entity, line_end: bytes, notes: list[CharsetChanged], lossy: list[str]
    ) -> Entity:
        if transfer.canonical(leaf.transfer_encoding) is None:
            return leaf
        decoded, declared = leaf.decoded_text, leaf.content_type.charset
        if decoded.is_lossy or decoded.known_by == "fallback":
            lossy.append(place)
            if self.options.on_lossy != "convert":
                return leaf
        codec, octets = charsets.codec_name(declared) if declared else "ascii", leaf.octets
        is_same = codec in _UTF_8 or (octets.isascii() and octets.decode("ascii") == decoded.text)
        if is_same and not decoded.defects:
            return leaf
        text = decoded.text
        if leaf.content_type.subtype == "html":
            text = _with_meta(text)
        notes.append(
            CharsetChanged(place, declared, decoded.charset, decoded.known_by, decoded.text.count("\ufffd"))
        )
        return text_edit.in_charset(leaf, text, line_end, "utf-8")

    def _header(self, place: str, header: Header, notes: list[CharsetChanged]) -> Header:
        if bytes(header).isascii() and not _LABEL.search(bytes(header)):
            return header
        lines = list(header.lines)
        is_changed = False
        for number, line in enumerate(lines):
            label = _foreign(line) if line.is_field else None
            if label is None:
                continue
            made = _anew(line, header.line_end)
            if made is not None and made.raw != line.raw:
                lines[number] = made
                is_changed = True
                known_by = "declared" if label else "detected"
                notes.append(CharsetChanged(f"{place} {line.name}", label or None, label or "8bit", known_by))
        return header.with_fields(lines) if is_changed else header


def _foreign(field: Field) -> str | None:
    """The first charset in a field that is not UTF-8; "" for raw octets of one; None where there is none."""
    raw = field.raw
    for found in _LABEL.finditer(raw):
        label = (found[1] or found[2]).decode("ascii", "replace")
        if charsets.codec_name(label) not in _UTF_8:
            return label
    if not raw.isascii():
        try:
            raw.decode("utf-8")
        except UnicodeDecodeError:
            return ""
    return None


def _anew(field: Field, usual: bytes) -> Field | None:
    """The same field in UTF-8; None where it has no other way to be said."""
    line_end = next((end for end in (b"\r\n", b"\n", b"\r") if field.raw.endswith(end)), usual)
    value = field.value
    try:
        if isinstance(value, Text):
            return Field.compose(field.name, " ".join(field.text.splitlines()), line_end)
        if isinstance(value, AddressList | ContentType | ContentDisposition) and not value.defects:
            return Field.compose(field.name, value, line_end)
    except (ComposeError, UnicodeError):
        pass
    return None


def _with_meta(html: str) -> str:
    """HTML whose meta elements name UTF-8 (HTML section 4.2.5.4)."""
    pieces, position = [], 0
    for token in html_tokens.tokens(html):
        if token.kind == "start" and token.name == "body":
            break
        if token.kind == "start" and token.name == "meta":
            found = _META.search(html, token.start, token.stop)
            if found is not None:
                pieces += [html[position : found.start(1)], "utf-8"]
                position = found.end(1)
    return "".join((*pieces, html[position:]))
