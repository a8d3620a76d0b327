"""What is different between a mail before a stage and after it: header fields, parts, envelope, notes.

    found = differences(before, after)
    found.fields            # (FieldChange("removed", "Subject", …), FieldChange("added", "Subject", …))
    exceeded(touches, found)  # ("body",): what changed and is not among what the stage says that it touches

Linear in the size of both, hostile headers and trees included.

Never here: colours, and who made the difference.
"""

import hashlib
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

from mailpipe.message import Entity, Field, Message
from mailpipe.pipeline.access import Access
from mailpipe.pipeline.mail import Mail, Skipped
from mailpipe.smtp.envelope import Envelope

_ENGINES_OWN = (Skipped,)


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field that is there on one side only.

    Attributes:
        what: "removed" or "added".
        name: of the field, "" for a line that is none.
        text: its body unfolded: decoded where that tells the two sides apart, else the octets as they are.
    """

    what: str
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class PartFacts:
    """One entity of the MIME tree.

    Attributes:
        path: as `Entity.walk` has it; "" is the message.
        type: the media type.
        encoding: the transfer encoding.
        name: the file name, None where there is none.
        size: octets of a leaf as they stand; 0 of what holds other parts.
    """

    path: str
    type: str
    encoding: str
    name: str | None
    size: int


@dataclass(frozen=True, slots=True)
class PartChange:
    """One part that is different.

    Attributes:
        what: "removed", "added", "changed" or "moved".
        before, after: None where it is not there.
    """

    what: str
    before: PartFacts | None
    after: PartFacts | None


@dataclass(frozen=True, slots=True)
class EnvelopeChange:
    """What became of the envelope.

    Attributes:
        sender: before and after, None where it stayed.
        removed, added: recipients.
        others: what else is different: "parameters", "client", "order", "recipient parameters".
    """

    sender: tuple[str, str] | None = None
    removed: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self != _SAME


_SAME = EnvelopeChange()


@dataclass(frozen=True, slots=True)
class Differences:
    """All of it.

    Attributes:
        fields: of the message's own header, in order.
        order: whether fields stand in another order, or otherwise written, though none came or went.
        parts: of the tree.
        body: whether any octet below the header is different.
        envelope: what became of it.
        notes: those that were added.
    """

    fields: tuple[FieldChange, ...] = ()
    order: bool = False
    parts: tuple[PartChange, ...] = ()
    body: bool = False
    envelope: EnvelopeChange = _SAME
    notes: tuple[object, ...] = ()

    @property
    def is_about_the_mail(self) -> bool:
        """Whether the message or its envelope is different, and not notes alone."""
        return bool(self.fields or self.order or self.parts or self.body or self.envelope)

    def __bool__(self) -> bool:
        return self.is_about_the_mail or bool(self.notes)


def differences(before: Mail, after: Mail) -> Differences:
    """What is different."""
    notes = _added_notes(before.notes, after.notes)
    envelope = envelope_change(before.envelope, after.envelope)
    if after.message is before.message:
        return Differences(envelope=envelope, notes=notes)
    old, new = before.message.header.lines, after.message.header.lines
    changed = field_changes(old, new)
    order = not changed and [field.raw for field in old] != [field.raw for field in new]
    body = before.message.raw_body != after.message.raw_body
    parts = part_changes(before.message, after.message)
    return Differences(changed, order, parts, body, envelope, notes)


def _added_notes(before: tuple[object, ...], after: tuple[object, ...]) -> tuple[object, ...]:
    if all(old is new for old, new in zip(before, after, strict=False)):
        return after[len(before) :]
    known = {id(note) for note in before}
    return tuple(note for note in after if id(note) not in known)


def field_changes(before: Sequence[Field], after: Sequence[Field]) -> tuple[FieldChange, ...]:
    """The fields that are on one side only; what took the place of a field follows it."""
    left = Counter(field.raw for field in before)
    left.subtract(Counter(field.raw for field in after))
    gone = list(_surplus(before, left))
    come: defaultdict[str, deque[Field]] = defaultdict(deque)
    for field in _surplus(after, Counter({raw: -count for raw, count in left.items()})):
        come[field.key].append(field)
    changes: list[FieldChange] = []
    for old in gone:
        new = come[old.key].popleft() if come[old.key] else None
        texts = _texts(old, new)
        changes.append(FieldChange("removed", _name(old), texts[0]))
        if new is not None:
            changes.append(FieldChange("added", _name(new), texts[1]))
    rest = {id(field) for waiting in come.values() for field in waiting}
    changes += [FieldChange("added", _name(each), _texts(each, None)[0]) for each in after if id(each) in rest]
    return tuple(changes)


def _surplus(lines: Sequence[Field], left: "Counter[bytes]") -> Iterator[Field]:
    """Those that are there more often than on the other side."""
    left = Counter(left)
    for field in lines:
        if left[field.raw] > 0:
            left[field.raw] -= 1
            yield field


def _name(field: Field) -> str:
    return field.name if field.is_field else ""


def _texts(old: Field, new: Field | None) -> tuple[str, str]:
    """The two as text that tells them apart: decoded, else the octets without folds, else with them."""
    if new is None:
        return (old.text if old.is_field else _octets(old.raw)), ""
    for read in (lambda field: field.text, lambda field: _octets(field.body), lambda field: _octets(field.raw)):
        pair = read(old), read(new)
        if pair[0] != pair[1]:
            return pair
    return pair


def _octets(octets: bytes) -> str:
    return octets.decode("utf-8", "backslashreplace")


def part_changes(before: Message, after: Message) -> tuple[PartChange, ...]:
    """The parts that are different; a part that only moved is told by its content."""
    if after is before:
        return ()
    old, new = _facts(before), _facts(after)
    waiting: defaultdict[tuple[object, ...], deque[str]] = defaultdict(deque)
    for path, (facts, digest) in old.items():
        if digest is not None:
            waiting[facts.type, facts.name, facts.encoding, facts.size, digest].append(path)
    # what stayed where it was first, so that of two equal parts the right one moved
    kept = {path for path, found in new.items() if old.get(path) == found}
    changes: list[PartChange] = []
    matched: dict[str, str] = {}
    for path, (facts, digest) in new.items():
        same = waiting.get((facts.type, facts.name, facts.encoding, facts.size, digest))
        while path not in kept and digest is not None and same:
            if (earlier := same.popleft()) not in kept:
                matched[path] = earlier
                break
    moved = set(matched.values())
    for path, (facts, _) in new.items():
        if path in kept:
            continue
        if path in matched:
            changes.append(PartChange("moved", old[matched[path]][0], facts))
        elif path in old and path not in moved and path not in kept:
            changes.append(PartChange("changed", old[path][0], facts))
        else:
            changes.append(PartChange("added", None, facts))
    for path, (facts, _) in old.items():
        if path not in kept and path not in moved and (path not in new or path in matched):
            changes.append(PartChange("removed", facts, None))
    return tuple(changes)


def _facts(message: Message) -> dict[str, tuple[PartFacts, bytes | None]]:
    return {path: _of_part(path, entity) for path, entity in message.walk()}


def _of_part(path: str, entity: Entity) -> tuple[PartFacts, bytes | None]:
    is_leaf = not entity.parts and not entity.is_multipart
    # the header of the message itself is told apart by its fields
    raw = (entity.raw if path else entity.raw_body) if is_leaf else b""
    size = len(entity.raw_body) if is_leaf else 0
    facts = PartFacts(path, entity.content_type.value, entity.transfer_encoding, entity.filename, size)
    return facts, hashlib.blake2b(raw, digest_size=16).digest() if is_leaf else None


def envelope_change(before: Envelope, after: Envelope) -> EnvelopeChange:
    """What is different between two envelopes."""
    if before == after:
        return _SAME
    old, new = Counter(before.addresses), Counter(after.addresses)
    others = []
    if before.parameters != after.parameters:
        others += [
            f"parameter {each.name}"
            for each in fields(before.parameters)
            if getattr(before.parameters, each.name) != getattr(after.parameters, each.name)
        ]
    if before.client != after.client:
        others.append("client")
    if old == new and before.forward_paths != after.forward_paths:
        others.append("order of recipients" if before.addresses != after.addresses else "parameters of recipients")
    sender = (before.reverse_path, after.reverse_path) if before.reverse_path != after.reverse_path else None
    return EnvelopeChange(sender, tuple((old - new).elements()), tuple((new - old).elements()), tuple(others))


def exceeded(touches: Access, found: Differences) -> tuple[str, ...]:
    """What changed and is not among what a stage says that it touches: "Subject", "body", "envelope", "note Changed".

    A stage that declares everything, as one that declares nothing does, exceeds nothing.
    """
    if "*" in touches.fields and touches.body and touches.envelope:
        return ()
    names = dict.fromkeys(change.name or "a line that is no field" for change in found.fields)
    beyond = [name for name in names if not touches.has_field(name)]
    if found.order and not touches.fields:
        beyond.append("order of fields")
    beyond += ["body"] * (found.body and not touches.body)
    beyond += ["envelope"] * (bool(found.envelope) and not touches.envelope)
    for kind in dict.fromkeys(type(note) for note in found.notes):
        if not issubclass(kind, (*touches.notes, *_ENGINES_OWN)):
            beyond.append(f"note {kind.__name__}")
    return tuple(beyond)
