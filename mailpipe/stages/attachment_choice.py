"""Which parts are attachments that somebody wants, and what stands in their place afterwards.

    if choice.is_wanted(entity, options): ...
    message, changes = choice.without(message, {"2": record}, options.then, options.note, "extract-attachments")

Never here: files; `attachment_store` writes them.
"""

import fnmatch
import hashlib
from collections.abc import Mapping
from typing import Any, Protocol

from mailpipe.message import Entity, Message, compose
from mailpipe.pipeline.mail import AttachmentSaved, Changed
from mailpipe.stages.file_names import safe_name
from mailpipe.writer.downgrade import SIGNED, is_below

FACTS = ("filename", "content_type", "size", "sha256", "path")
"""What a note may name in braces."""


class Choice(Protocol):
    """The options that say which attachments are meant; see those of `extract-attachments`."""

    @property
    def types(self) -> tuple[str, ...]:
        """Media types that are meant, with wildcards."""
    @property
    def except_types(self) -> tuple[str, ...]:
        """Media types that are not."""
    @property
    def names(self) -> tuple[str, ...]:
        """File names that are meant, with wildcards."""
    @property
    def min_size(self) -> int:
        """Octets that one has at least."""
    @property
    def max_size(self) -> int | None:
        """Octets that one has at most; None for any."""
    @property
    def inline(self) -> bool:
        """Whether images that are shown in place are meant."""


def checked_note(note: str, facts: tuple[str, ...] = FACTS) -> str:
    """A note that can be filled.

    Raises:
        ValueError: it names something else in braces.
    """
    try:
        note.format(**{**dict.fromkeys(facts, ""), **({"size": 0} if "size" in facts else {})})
    except (KeyError, ValueError, IndexError, AttributeError) as error:
        raise ValueError(
            f"note: {error} cannot be filled in; in braces it may name {', '.join(facts)}"
        ) from error
    return note


def is_leaf(entity: Entity) -> bool:
    """Whether it is no multipart and holds no message."""
    return not entity.parts and not entity.is_multipart


def is_wanted(entity: Entity, choice: Choice) -> bool:
    """Whether a leaf is an attachment of a type and a name that is meant; its size is another question."""
    kind = entity.content_type
    disposition = entity.disposition
    is_inline = disposition is not None and disposition.value == "inline"
    is_shown = entity.content_id is not None and (disposition is None or is_inline)
    if not entity.is_attachment or (is_inline and not entity.filename) or (is_inline and kind.type == "text"):
        return False
    if is_shown and not choice.inline and kind.type == "image":
        return False
    name = safe_name(entity.filename, kind.value)
    return (
        matches(kind.value, choice.types)
        and not matches(kind.value, choice.except_types)
        and matches(name, choice.names)
    )


def is_of_size(octets: bytes, choice: Choice) -> bool:
    """Whether decoded content is as large as is meant."""
    return choice.min_size <= len(octets) <= (len(octets) if choice.max_size is None else choice.max_size)


def matches(value: str, patterns: tuple[str, ...]) -> bool:
    """Whether a value is like one of several patterns with wildcards; capitals do not matter."""
    return any(fnmatch.fnmatchcase(value.lower(), pattern.lower()) for pattern in patterns)


def record_of(path: str, entity: Entity, octets: bytes, file: str = "") -> AttachmentSaved:
    """What is known about an attachment.

    Args:
        path: the part's.
        entity: the part.
        octets: its decoded content.
        file: where it was written, "" for nowhere.
    """
    digest = hashlib.sha256(octets).hexdigest()
    return AttachmentSaved(path or "1", entity.filename, file, entity.content_type.value, len(octets), digest)


def signed_paths(message: Message) -> tuple[str, ...]:
    """The paths of what must not be changed below, for `is_below`."""
    return tuple(path for path, one in message.walk() if one.content_type.value in SIGNED)


def without(
    message: Message, records: Mapping[str, AttachmentSaved], then: str, note: str, stage: str
) -> tuple[Message, list[Changed]]:
    """The message with notes in the place of parts, or without them; what is signed keeps them.

    Args:
        message: the message.
        records: the parts, by path, in the order of `walk`.
        then: "note", or "detach" for parts that stand among others.
        note: the text, with facts in braces.
        stage: who says so.
    """
    changes: list[Changed] = []
    changed = message
    line_end, covered = message.header.line_end, signed_paths(message)
    # from the last to the first, so that removing a part does not move those still to come
    for path, record in reversed(list(records.items())):
        if is_below(path, covered):
            changes.append(Changed(stage, f"part {path} kept in the message: it is signed"))
            continue
        if then == "detach" and _stands_among_others(changed, path):
            changed = changed.remove(path)
            changes.append(Changed(stage, f"part {path} detached"))
            continue
        changed = changed.replace(path, compose.text(note.format(**_facts(record)), line_end=line_end))
        changes.append(Changed(stage, f"part {path or '1'} replaced by a note"))
    changes.reverse()
    return changed, changes


def _facts(record: AttachmentSaved) -> dict[str, Any]:
    return {
        "filename": safe_name(record.filename, record.content_type), "content_type": record.content_type,
        "size": record.size, "sha256": record.sha256, "path": record.path,
    }  # fmt: skip


def _stands_among_others(message: Message, path: str) -> bool:
    """Whether a part can go without leaving its multipart empty."""
    above, _, last = path.rpartition(".")
    if not last.isdecimal():
        return False
    owner = message.part(above) if above else message
    if not owner.is_multipart and owner.parts:
        owner = owner.parts[0]
    return owner.is_multipart and len(owner.parts) > 1
