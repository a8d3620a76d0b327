"""The stage `extract-attachments`: attachments to files, with a manifest, and out of the message if so wished.

    [[stage]]
    use = "extract-attachments"
    directory = "attachments"       # beside the pipeline file
    store = "content"               # names | content (SHA-256, each content once)
    types = ["application/*", "image/*"]
    then = "note"                   # keep | note | detach

Every file is on disk and synced before the message goes on; one that cannot be written defers the message. Parts under
multipart/signed or multipart/encrypted are copied out and never removed (RFC 1847).

Never here: how a file is written (`attachment_store`), which names are safe (`file_names`).
"""

import fnmatch
import hashlib
from pathlib import Path
from typing import Any, Literal

from pydantic import Field as OptionField
from pydantic import model_validator

from mailpipe.message import Entity, Message, compose
from mailpipe.pipeline.access import Access
from mailpipe.pipeline.component import LocalPath, Options, Stage
from mailpipe.pipeline.mail import AttachmentSaved, Changed, Mail
from mailpipe.pipeline.services import Services
from mailpipe.stages.attachment_store import AttachmentStore, Manifest
from mailpipe.stages.file_names import safe_name
from mailpipe.units import ByteSize
from mailpipe.writer.downgrade import SIGNED, is_below


class ExtractAttachmentsOptions(Options):
    """Which attachments go where, and what stays in the message."""

    directory: LocalPath
    """Where the files go; made when it is not there."""
    store: Literal["names", "content"] = "names"
    """By the sender's names made safe, or by SHA-256 with each content once."""
    types: tuple[str, ...] = ("*/*",)
    """Media types to extract, with wildcards: ["application/*", "image/*"]."""
    except_types: tuple[str, ...] = ()
    """Media types to leave alone, with wildcards."""
    names: tuple[str, ...] = ("*",)
    """File names to extract, with wildcards; a part without a name counts as "attachment" with a suffix."""
    min_size: ByteSize = ByteSize(0)
    """Smaller attachments stay: "10KB"."""
    max_size: ByteSize | None = None
    """Larger attachments stay: "50MB"."""
    inline: bool = False
    """Whether parts that are shown in place, such as images of an HTML text, count as attachments."""
    then: Literal["keep", "note", "detach"] = "keep"
    """What happens in the message: the part stays, a text note takes its place, or it goes."""
    note: str = OptionField(
        default="The attachment {filename} ({content_type}, {size} octets) was removed and kept elsewhere.\n"
        "SHA-256: {sha256}\n"
    )
    """The text of a note; may name filename, content_type, size, sha256 and path."""
    manifest: LocalPath | None = None
    """The JSON Lines file that ties files to messages; by default manifest.jsonl in the directory."""

    @model_validator(mode="after")
    def _note_can_be_filled(self) -> "ExtractAttachmentsOptions":
        try:
            self.note.format(filename="", content_type="", size=0, sha256="", path="")
        except (KeyError, ValueError, IndexError, AttributeError) as error:
            raise ValueError(
                f"note: {error} cannot be filled in; in braces it may name filename, content_type, size, sha256, path"
            ) from error
        return self


class ExtractAttachments(Stage[ExtractAttachmentsOptions]):
    """Writes attachments to a directory or a content-addressed store and keeps, replaces or detaches them."""

    name = "extract-attachments"
    Options = ExtractAttachmentsOptions
    reads = Access(fields=("*",), body=True)
    touches = Access(body=True, fields=("Content-Type", "Content-Transfer-Encoding", "Content-Disposition"),
                     notes=(AttachmentSaved, Changed))  # fmt: skip
    decides = ()

    @classmethod
    def accesses(cls, options: ExtractAttachmentsOptions) -> tuple[Access, Access]:
        """Where attachments are kept the message stays as it is."""
        return cls.reads, cls.touches if options.then != "keep" else Access(notes=(AttachmentSaved,))

    def open(self, services: Services) -> None:
        """Make the directory and open the manifest."""
        options = self.options
        self._store = AttachmentStore(options.directory, by_content=options.store == "content")
        self._store.open()
        self._manifest = Manifest(options.manifest or options.directory / "manifest.jsonl")
        self._manifest.open()

    def close(self) -> None:
        """Close the manifest."""
        if hasattr(self, "_manifest"):
            self._manifest.close()

    def process(self, mail: Mail) -> Mail:
        """Write every attachment that is wanted; change the message as configured."""
        message = mail.message
        saved: dict[str, AttachmentSaved] = {}
        for path, entity in message.walk():
            if entity.parts or entity.is_multipart or not self._is_wanted(entity):
                continue
            octets = entity.octets
            if len(octets) < self.options.min_size or len(octets) > (self.options.max_size or len(octets)):
                continue
            saved[path] = self._save(mail, path, entity, octets)
        if not saved:
            return mail
        covered = tuple(path for path, one in message.walk() if one.content_type.value in SIGNED)
        changed, changes = message, list[Changed]()
        if self.options.then != "keep":
            changed, changes = self._without(message, saved, covered)
        return mail.with_message(changed).with_note(*saved.values(), *changes)

    def _is_wanted(self, entity: Entity) -> bool:
        options, kind = self.options, entity.content_type
        disposition = entity.disposition
        is_inline = disposition is not None and disposition.value == "inline"
        is_shown = entity.content_id is not None and (disposition is None or is_inline)
        if not entity.is_attachment or (is_inline and not entity.filename) or (is_inline and kind.type == "text"):
            return False
        if is_shown and not options.inline and kind.type == "image":
            return False
        name = safe_name(entity.filename, kind.value)
        return (
            _matches(kind.value, options.types)
            and not _matches(kind.value, options.except_types)
            and _matches(name, options.names)
        )

    def _save(self, mail: Mail, path: str, entity: Entity, octets: bytes) -> AttachmentSaved:
        kind = entity.content_type.value
        name = safe_name(entity.filename, kind)
        file = self._store.save(octets, name)
        digest = hashlib.sha256(octets).hexdigest()
        message = mail.message
        self._manifest.add({
            "origin": str(mail.origin),
            "message_id": message.message_id,
            "subject": message.subject,
            "from": [one.address for one in message.from_.mailboxes],
            "date": message.date.isoformat() if message.date is not None else None,
            "part": path or "1",
            "filename": entity.filename,
            "path": _relative(file, self.options.directory),
            "content_type": kind,
            "size": len(octets),
            "sha256": digest,
        })  # fmt: skip
        return AttachmentSaved(path or "1", entity.filename, str(file), kind, len(octets), digest)

    def _without(
        self, message: Message, saved: dict[str, AttachmentSaved], covered: tuple[str, ...]
    ) -> tuple[Message, list[Changed]]:
        """The message with notes in the place of parts, or without them."""
        changes: list[Changed] = []
        changed = message
        line_end = message.header.line_end
        # from the last to the first, so that removing a part does not move those still to come
        for path, record in reversed(saved.items()):
            if is_below(path, covered):
                changes.append(Changed(self.name, f"part {path} kept in the message: it is signed"))
                continue
            if self.options.then == "detach" and _stands_among_others(changed, path):
                changed = changed.remove(path)
                changes.append(Changed(self.name, f"part {path} detached"))
                continue
            text = self.options.note.format(**_facts(record))
            note = compose.text(text, line_end=line_end)
            changed = changed.replace(path, note)
            changes.append(Changed(self.name, f"part {path or '1'} replaced by a note"))
        changes.reverse()
        return changed, changes


def _matches(value: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(value.lower(), pattern.lower()) for pattern in patterns)


def _facts(record: AttachmentSaved) -> dict[str, Any]:
    return {
        "filename": safe_name(record.filename, record.content_type), "content_type": record.content_type,
        "size": record.size, "sha256": record.sha256, "path": record.path,
    }  # fmt: skip


def _relative(file: Path, directory: Path) -> str:
    return file.relative_to(directory).as_posix()


def _stands_among_others(message: Message, path: str) -> bool:
    """Whether a part can go without leaving its multipart empty."""
    above, _, last = path.rpartition(".")
    if not last.isdecimal():
        return False
    owner = message.part(above) if above else message
    if not owner.is_multipart and owner.parts:
        owner = owner.parts[0]
    return owner.is_multipart and len(owner.parts) > 1
