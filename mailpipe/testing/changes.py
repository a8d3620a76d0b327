"""What became of a mail between two moments, field by field and part by part.

    changes = changes_between(before, after)
    changes.fields_changed, changes.parts_removed        # ("Subject",), ("2",)
    changes.beyond(TagSubject.touches)                   # () or what it should have left alone

Fields are compared by their octets, folds and all: one that was only folded anew is changed.

Never here: whether a change is a good one.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from mailpipe.message import Entity, Header, Message
from mailpipe.pipeline.access import Access
from mailpipe.pipeline.mail import Changed, Mail

ENVELOPE_LINE = "From_"
"""What the line before the first field is called, which some mbox files hold (RFC 4155)."""
NO_NAME = "(a line without a name)"


@dataclass(frozen=True, slots=True)
class Changes:
    """The differences of two mails.

    Attributes:
        fields_added: names of fields of the message that were not there before, as they are written.
        fields_removed: names that are not there any more.
        fields_changed: names whose fields are others, or more, or fewer.
        fields_moved: whether fields that did not change stand in another order.
        parts_added: paths of entities below the message, as `Entity.walk` gives them; "1" is also the body of a
            message without parts.
        parts_removed: paths that lead nowhere now.
        parts_changed: paths at which there is something else.
        body: whether any octet below the header is another.
        envelope: whether sender, recipients or their parameters are others.
        notes: the notes that were left.
    """

    fields_added: tuple[str, ...] = ()
    fields_removed: tuple[str, ...] = ()
    fields_changed: tuple[str, ...] = ()
    fields_moved: bool = False
    parts_added: tuple[str, ...] = ()
    parts_removed: tuple[str, ...] = ()
    parts_changed: tuple[str, ...] = ()
    body: bool = False
    envelope: bool = False
    notes: tuple[object, ...] = ()

    @property
    def fields(self) -> tuple[str, ...]:
        """Every name that is in one of the three lists."""
        return self.fields_added + self.fields_removed + self.fields_changed

    def __bool__(self) -> bool:
        """Whether content or envelope is another; notes alone change nothing."""
        return bool(self.fields) or self.fields_moved or self.body or self.envelope

    def __str__(self) -> str:
        lists = (
            ("added", self.fields_added, self.parts_added),
            ("removed", self.fields_removed, self.parts_removed),
            ("changed", self.fields_changed, self.parts_changed),
        )
        words = [f"{name} {what}" for what, names, _ in lists for name in names]
        words += [f"part {path} {what}" for what, _, paths in lists for path in paths]
        words += ["the order of the fields changed"] * self.fields_moved
        if self.body and not any(paths for _, _, paths in lists):
            words.append("octets between the parts changed")
        words += ["the envelope changed"] * self.envelope
        return ", ".join(words) or "nothing changed"

    def beyond(self, access: Access) -> tuple[str, ...]:
        """What an access does not allow, in words; () where all is in order.

        Whoever may change the body may change the fields that describe it too, Content-… and MIME-Version (RFC 2045
        section 3); and `Changed`, which tells of a change, needs no leave.
        """
        wrong = [
            f"the field {name}"
            for name in self.fields
            if not (access.has_field(name) or (access.body and _describes_the_body(name)))
        ]
        if self.fields_moved and "*" not in access.fields:
            wrong.append("the order of the fields")
        if self.body and not access.body:
            paths = self.parts_added + self.parts_removed + self.parts_changed
            wrong.append(f"the body (part {', '.join(paths)})" if paths else "the body")
        if self.envelope and not access.envelope:
            wrong.append("the envelope")
        everything = "*" in access.fields and access.body and access.envelope
        if not everything:
            undeclared = (note for note in self.notes if not isinstance(note, (Changed, *access.notes)))
            wrong.extend(f"the note {type(note).__name__}" for note in undeclared)
        return tuple(dict.fromkeys(wrong))


def changes_between(before: Mail, after: Mail) -> Changes:
    """The differences of two mails; time and memory are linear in both."""
    old = {id(note) for note in before.notes}
    notes = tuple(note for note in after.notes if id(note) not in old)
    envelope = before.envelope != after.envelope
    if before.message is after.message:
        return Changes(envelope=envelope, notes=notes)
    added, removed, changed, is_moved = _fields(before.message.header, after.message.header)
    body = before.message.raw_body != after.message.raw_body
    new, gone, others = _parts(before.message, after.message) if body else ((), (), ())
    return Changes(added, removed, changed, is_moved, new, gone, others, body, envelope, notes)


def _describes_the_body(name: str) -> bool:
    return name.lower().startswith("content-") or name.lower() == "mime-version"


def _fields(before: Header, after: Header) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], bool]:
    old, new = list(_lines(before)), list(_lines(after))
    if old == new:
        return (), (), (), False
    names: dict[str, str] = {name.lower(): name for name, _ in reversed((*old, *new))}
    of_old, of_new = _by_name(old), _by_name(new)
    added = [names[key] for key in of_new if key not in of_old]
    removed = [names[key] for key in of_old if key not in of_new]
    changed = [names[key] for key, raws in of_old.items() if key in of_new and of_new[key] != raws]
    touched = {name.lower() for name in (*added, *removed, *changed)}
    left = [[raw for name, raw in lines if name.lower() not in touched] for lines in (old, new)]
    return tuple(added), tuple(removed), tuple(changed), left[0] != left[1]


def _lines(header: Header) -> Iterator[tuple[str, bytes]]:
    if header.envelope_line:
        yield ENVELOPE_LINE, header.envelope_line
    lines = header.lines
    for number, line in enumerate(lines, 1):
        raw = line.raw
        if number == len(lines) and not raw.endswith((b"\n", b"\r")):
            raw += header.line_end  # a message that breaks off here: what comes behind it has to begin a line
        yield line.name or NO_NAME, raw


def _by_name(lines: list[tuple[str, bytes]]) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {}
    for name, raw in lines:
        found.setdefault(name.lower(), []).append(raw)
    return found


def _parts(before: Message, after: Message) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    old, new = dict(_entities(before)), dict(_entities(after))
    changed = [path for path, entity in old.items() if path in new and not _is_same(path, entity, new[path])]
    return (
        tuple(path for path in new if path not in old),
        tuple(path for path in old if path not in new),
        tuple(changed),
    )


def _entities(message: Message) -> Iterator[tuple[str, Entity]]:
    for path, entity in message.walk():
        if path or not entity.parts:
            yield path or "1", entity


def _is_same(path: str, old: Entity, new: Entity) -> bool:
    if old is new:
        return True
    if old.parts and new.parts:  # what is below it is told by itself
        return bytes(old.header) == bytes(new.header)
    if isinstance(old, Message) and isinstance(new, Message) and path == "1":
        return old.raw_body == new.raw_body
    return old.raw == new.raw
