"""The stage `decode-mime`: every leaf opened now, so that later stages meet no surprise (RFC 2045, 2047, 2231).

    [[stage]]
    use = "decode-mime"
    on_lossy = "tag"                # accept | tag | reject | quarantine
    decoded_size = "200MB"

Nothing is changed: what was found is left as `DecodedPart` notes, one a leaf, and counted as defects in the outcome.

Never here: re-encoding; see `re_encode`.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from mailpipe.codec import transfer
from mailpipe.codec.charset import decode_text
from mailpipe.defect import Defect
from mailpipe.fields import FieldValue
from mailpipe.message import Entity
from mailpipe.pipeline.access import Access
from mailpipe.pipeline.component import Options, Stage
from mailpipe.pipeline.mail import Changed, DefectsFound, Mail
from mailpipe.pipeline.verdict import Decision, Verdict
from mailpipe.units import ByteSize

Action = Literal["accept", "tag", "reject", "quarantine"]

# What says that the content, and not merely its form, is not what the sender meant.
_DAMAGE = frozenset({
    "invalid-base64", "truncated-base64", "invalid-quoted-printable", "invalid-uuencode", "unknown-transfer-encoding",
    "missing-boundary", "boundary-not-found",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class DecodedPart:
    """A note: what a leaf turned out to be.

    Attributes:
        path: as in `Entity.walk`.
        content_type: "text/plain".
        filename: decoded, None where there is none.
        transfer_encoding: as declared, in lower case.
        size: octets with the transfer encoding undone.
        declared_charset: None where none is declared, or the part is no text.
        charset: that the text was decoded with; None where the part is no text.
        known_by: how that was known: declared, default, utf-8, detected, bom or fallback; "" where it is no text.
        is_lossy: octets of the text were replaced.
        text: the text; None where the part is no text.
    """

    path: str
    content_type: str
    filename: str | None
    transfer_encoding: str
    size: int
    declared_charset: str | None = None
    charset: str | None = None
    known_by: str = ""
    is_lossy: bool = False
    text: str | None = None


class DecodeMimeOptions(Options):
    """What to do about content that cannot be decoded as it should."""

    on_lossy: Action = "accept"
    """What to do when octets of a text fit no charset and had to be replaced."""
    on_wrong_charset: Action = "accept"
    """What to do when a declared charset is unknown or does not fit, and another one was detected."""
    on_damage: Action = "accept"
    """What to do when a transfer encoding is unknown or damaged, or a multipart has no boundary."""
    on_oversize: Action = "quarantine"
    """What to do when the decoded parts of one message exceed `decoded_size`."""
    decoded_size: ByteSize = ByteSize(1_000_000_000)
    """The most octets that all parts of one message may have when decoded."""
    keep_text: bool = False
    """Keep the text of text parts in the notes for later stages; costs memory."""
    tag_field: str = "X-Content-Defects"
    """The field that a tag is written to: codes of defects and the parts that have them."""


def _actions(options: DecodeMimeOptions) -> set[Action]:
    return {options.on_lossy, options.on_wrong_charset, options.on_damage, options.on_oversize}


class DecodeMime(Stage[DecodeMimeOptions]):
    """Decodes every part and every field, reports what is damaged, wrongly declared or too large."""

    name = "decode-mime"
    Options = DecodeMimeOptions
    reads = Access(fields=("*",), body=True)
    touches = Access(notes=(DecodedPart, DefectsFound))

    @classmethod
    def accesses(cls, options: DecodeMimeOptions) -> tuple[Access, Access]:
        """A tag is a field."""
        field = (options.tag_field,) if "tag" in _actions(options) else ()
        return cls.reads, cls.touches | Access(fields=field, notes=(Changed,) if field else ())

    @classmethod
    def decisions(cls, options: DecodeMimeOptions) -> tuple[Decision, ...]:
        """What the policies say."""
        return tuple(Decision(word) for word in ("reject", "quarantine") if word in _actions(options))

    def process(self, mail: Mail) -> Mail | Verdict:
        """Open every leaf and every field; count; decide."""
        defects: list[Defect] = []
        parts: list[DecodedPart] = []
        total = 0
        for path, entity in mail.message.walk():
            defects += self._structure(path, entity)
            if entity.parts or entity.is_multipart:
                continue
            part = self._decoded(path, entity, defects)
            parts.append(part)
            total += part.size
            if total > self.options.decoded_size and (verdict := self._oversize(defects, total)) is not None:
                return verdict
        counts = DefectsFound(dict(Counter(defect.code for defect in defects)))
        tags: list[Defect] = []
        verdicts: dict[str, Verdict] = {}
        for defect in defects:
            action = self._action(defect.code)
            if action == "tag":
                tags.append(defect)
            elif action != "accept" and action not in verdicts:
                where = f"part {defect.path}: " if defect.path else ""
                reason = f"{where}{defect.sentence} [{defect.rfc}]"
                make = Verdict.quarantine if action == "quarantine" else _reject
                verdicts[action] = make(reason, notes=(counts, *parts))
        if verdicts:
            return verdicts.get("reject") or verdicts["quarantine"]
        notes: list[object] = [*parts]
        if defects:
            notes.append(counts)
        message = mail.message
        if tags:
            words = sorted({f"{defect.code} (part {defect.path})" if defect.path else defect.code for defect in tags})
            header = message.header.without(self.options.tag_field).with_added(self.options.tag_field, "; ".join(words))
            message = message.with_header(header)
            notes.append(Changed(self.name, f"{self.options.tag_field} added"))
        return mail.with_message(message).with_note(*notes) if notes else mail

    def _structure(self, path: str, entity: Entity) -> list[Defect]:
        """Structural defects, and those of the fields that the content depends on."""
        found = [Defect(code, offset, path=path) for code, offset in entity.structural_defects]
        values: list[FieldValue | None] = [entity.content_type, entity.disposition]
        for value in values:
            if value is not None:
                found += [Defect(one.code, one.offset, one.detail, path) for one in value.defects]
        header = entity.header
        for field in header if b"=?" in bytes(header) else ():  # most have no encoded word
            if b"=?" in field.body:
                found += [
                    Defect(one.code, one.offset, one.detail, path, field.name)
                    for one in field.defects
                    if one.code in ("invalid-encoded-word", "unknown-charset", "wrong-charset", "lossy-text")
                ]
        return found

    def _decoded(self, path: str, entity: Entity, defects: list[Defect]) -> DecodedPart:
        found: list[Defect] = []
        octets = transfer.decode(entity.raw_body, entity.transfer_encoding, found)
        kind = entity.content_type
        if kind.type != "text":
            defects += [Defect(one.code, one.offset, one.detail, path) for one in found]
            return DecodedPart(path, kind.value, entity.filename, entity.transfer_encoding, len(octets))
        text = decode_text(octets, kind.charset)
        found += text.defects
        defects += [Defect(one.code, one.offset, one.detail, path) for one in found]
        return DecodedPart(
            path, kind.value, entity.filename, entity.transfer_encoding, len(octets), kind.charset, text.charset,
            text.known_by, text.is_lossy, text.text if self.options.keep_text else None,
        )  # fmt: skip

    def _action(self, code: str) -> Action:
        if code == "lossy-text":
            return self.options.on_lossy
        if code in ("unknown-charset", "wrong-charset"):
            return self.options.on_wrong_charset
        return self.options.on_damage if code in _DAMAGE else "accept"

    def _oversize(self, defects: list[Defect], total: int) -> Verdict | None:
        action = self.options.on_oversize
        if action in ("accept", "tag"):
            return None
        counts = DefectsFound(dict(Counter([*(defect.code for defect in defects), "limit-decoded-size"])))
        reason = f"the decoded parts have more than {int(self.options.decoded_size)} octets"
        if action == "reject":
            return Verdict.reject(reason, status="5.3.4", notes=(counts,))
        return Verdict.quarantine(reason, notes=(counts,))


def _reject(reason: str, *, notes: tuple[object, ...]) -> Verdict:
    return Verdict.reject(reason, status="5.6.0", notes=notes)
