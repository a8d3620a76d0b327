"""The stage `strip-attachments`: attachments out of the message, with a text in their place that says what they were.

    [[stage]]
    use = "strip-attachments"
    types = ["video/*", "application/x-msdownload"]
    min_size = "10MB"

Nothing is kept of them but name, size and SHA-256; `extract-attachments` keeps them in files. Parts under
multipart/signed or multipart/encrypted stay (RFC 1847).

Never here: which parts are attachments (`attachment_choice`), and what is in them (`block-types`).
"""

from typing import Annotated, Literal

from pydantic import AfterValidator

from mailpipe.pipeline.access import Access
from mailpipe.pipeline.component import Options, Stage
from mailpipe.pipeline.mail import AttachmentSaved, Changed, Mail
from mailpipe.stages import attachment_choice as choice
from mailpipe.stages.text_edit import CONTENT_FIELDS
from mailpipe.units import ByteSize

_FACTS = ("filename", "content_type", "size", "sha256")


class StripAttachmentsOptions(Options):
    """Which attachments go, and what is said of them."""

    types: tuple[str, ...] = ("*/*",)
    """Media types to remove, with wildcards: ["video/*", "application/*"]."""
    except_types: tuple[str, ...] = ()
    """Media types to leave alone, with wildcards."""
    names: tuple[str, ...] = ("*",)
    """File names to remove, with wildcards; a part without a name counts as "attachment" with a suffix."""
    min_size: ByteSize = ByteSize(0)
    """Smaller attachments stay: "10KB"."""
    max_size: ByteSize | None = None
    """Larger attachments stay: "50MB"."""
    inline: bool = False
    """Whether parts that are shown in place, such as images of an HTML text, count as attachments."""
    then: Literal["note", "detach"] = "note"
    """A text note takes the place of the part, or nothing does."""
    note: Annotated[str, AfterValidator(lambda note: choice.checked_note(note, _FACTS))] = (
        "The attachment {filename} ({content_type}, {size} octets) was removed.\nSHA-256: {sha256}\n"
    )
    """The text of a note; may name filename, content_type, size and sha256 in braces."""


class StripAttachments(Stage[StripAttachmentsOptions]):
    """Removes attachments by type, name and size, and says in their place what they were."""

    name = "strip-attachments"
    Options = StripAttachmentsOptions
    reads = Access(fields=CONTENT_FIELDS, body=True)
    # a message that is but an attachment gets other fields
    touches = Access(fields=CONTENT_FIELDS, body=True, notes=(Changed,))
    decides = ()

    def process(self, mail: Mail) -> Mail:
        """Remove every attachment that is meant."""
        records: dict[str, AttachmentSaved] = {}
        for path, entity in mail.message.walk():
            if not choice.is_leaf(entity) or not choice.is_wanted(entity, self.options):
                continue
            octets = entity.octets
            if choice.is_of_size(octets, self.options):
                records[path] = choice.record_of(path, entity, octets)
        if not records:
            return mail
        options = self.options
        changed, changes = choice.without(mail.message, records, options.then, options.note, self.name)
        return mail.with_message(changed).with_note(*changes)
