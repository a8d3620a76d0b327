"""The stage `extract-attachments`: attachments to files, with a manifest, and out of the message if so wished.

    [[stage]]
    use = "extract-attachments"
    directory = "attachments"       # beside the pipeline file
    store = "content"               # names | content (SHA-256, each content once)
    types = ["application/*", "image/*"]
    then = "note"                   # keep | note | detach

Every file is on disk and synced before the message goes on; one that cannot be written defers the message. Parts under
multipart/signed or multipart/encrypted are copied out and never removed (RFC 1847).

Never here: which parts are attachments (`attachment_choice`), how a file is written (`attachment_store`), which names
are safe (`file_names`).
"""

from pathlib import Path
from typing import Literal

from pydantic import Field as OptionField
from pydantic import model_validator

from mailpipe.message import Entity
from mailpipe.pipeline.access import Access
from mailpipe.pipeline.component import LocalPath, Options, Stage
from mailpipe.pipeline.mail import AttachmentSaved, Changed, Mail
from mailpipe.pipeline.services import Services
from mailpipe.stages import attachment_choice as choice
from mailpipe.stages.attachment_store import AttachmentStore, Manifest
from mailpipe.stages.file_names import safe_name
from mailpipe.units import ByteSize


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
        choice.checked_note(self.note)
        return self


class ExtractAttachments(Stage[ExtractAttachmentsOptions]):
    """Writes attachments to a directory or a content-addressed store and keeps, replaces or detaches them."""

    name = "extract-attachments"
    Options = ExtractAttachmentsOptions
    reads = Access(fields=("*",), body=True)
    touches = Access(body=True, fields=("Content-Type", "Content-Transfer-Encoding", "Content-Disposition"),
                     notes=(AttachmentSaved, Changed))  # fmt: skip
    decides = ()
    acts = True

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
            if not choice.is_leaf(entity) or not choice.is_wanted(entity, self.options):
                continue
            octets = entity.octets
            if choice.is_of_size(octets, self.options):
                saved[path] = self._save(mail, path, entity, octets)
        if not saved:
            return mail
        changed, changes = message, list[Changed]()
        if self.options.then != "keep":
            changed, changes = choice.without(message, saved, self.options.then, self.options.note, self.name)
        return mail.with_message(changed).with_note(*saved.values(), *changes)

    def _save(self, mail: Mail, path: str, entity: Entity, octets: bytes) -> AttachmentSaved:
        kind = entity.content_type.value
        name = safe_name(entity.filename, kind)
        file = self._store.save(octets, name)
        record, message = choice.record_of(path, entity, octets, str(file)), mail.message
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
            "sha256": record.sha256,
        })  # fmt: skip
        return record


def _relative(file: Path, directory: Path) -> str:
    return file.relative_to(directory).as_posix()
