"""Which parts are attachments that somebody wants, and what stands in their place afterwards.

    if choice.is_wanted(entity, options): ...
    message, changes = choice.without(message, {"2": record}, options.then, options.note, "extract-attachments")

Never here: files; `attachment_store` writes them.
"""

import fnmatch
import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from mailpipe.message import Entity, Message, compose, edit
from mailpipe.pipeline.mail import AttachmentSaved, Changed
from mailpipe.stages.file_names import safe_name
from mailpipe.writer.downgrade import SIGNED

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


class Covered:
    """Parts below which nothing is to be changed; asked for a path, it looks at what is above that, however many.

    Args:
        message: where they are.
        types: their media types, by default what is signed or encrypted.
    """

    def __init__(self, message: Message, types: Collection[str] = SIGNED) -> None:
        self.paths = tuple(path for path, one in message.walk() if one.content_type.value in types)
        self._set = frozenset(self.paths)

    def holds(self, path: str) -> bool:
        """Whether a path of `walk` lies inside one of them; `is_below` for many paths."""
        if not self._set:
            return False
        above = path
        while above:
            above = above.rpartition(".")[0]
            # the parts of an enclosed multipart "2.TEXT" are "2.1", "2.2", …
            text = f"{above}.TEXT" if above else "TEXT"
            if above in self._set or (text in self._set and text != path):
                return True
        return False


def without(
    message: Message, records: Mapping[str, AttachmentSaved], then: str, note: str, stage: str
) -> tuple[Message, list[Changed]]:
    """The message with notes in the place of parts, or without them; what is signed keeps them.

    Args:
        message: the message.
        records: the parts, by path, in the order of `walk`.
        then: "note", or "detach" for parts that stand among others that stay.
        note: the text, with facts in braces.
        stage: who says so.
    """
    changes: list[Changed] = []
    line_end, covered = message.header.line_end, Covered(message)
    notes: dict[str, Entity] = {}
    meant = [path for path in records if not covered.holds(path)]
    removed = _removable(message, meant) if then == "detach" else frozenset[str]()
    for path, record in records.items():
        if covered.holds(path):
            changes.append(Changed(stage, f"part {path} kept in the message: it is signed"))
        elif path in removed:
            changes.append(Changed(stage, f"part {path} detached"))
        else:
            notes[path] = compose.text(note.format(**_facts(record)), line_end=line_end)
            changes.append(Changed(stage, f"part {path or '1'} replaced by a note"))
    changed = edit.map_leaves(message, lambda path, leaf: notes.get(path, leaf)) if notes else message
    return edit.remove_all(changed, removed) if removed else changed, changes


def _removable(message: Message, paths: Sequence[str]) -> frozenset[str]:
    """Those of some leaves that can go without leaving their multipart empty: where all would, the first stays."""
    wanted = frozenset(paths)
    kept: set[str] = set()
    for path, entity in message.walk():
        if entity.is_multipart and entity.parts:
            prefix = path.removesuffix("TEXT") if path.endswith("TEXT") else f"{path}." if path else ""
            if all(f"{prefix}{number}" in wanted for number in range(1, len(entity.parts) + 1)):
                kept.add(f"{prefix}1")
        elif entity.parts and not entity.parts[0].is_multipart:
            kept.add(f"{path}.1" if path else "1")  # the body of an enclosed message is no part
        elif path == "":
            kept.add(path)
    return wanted - kept


def _facts(record: AttachmentSaved) -> dict[str, Any]:
    return {
        "filename": safe_name(record.filename, record.content_type), "content_type": record.content_type,
        "size": record.size, "sha256": record.sha256, "path": record.path,
    }  # fmt: skip
