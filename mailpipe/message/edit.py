"""Edits of a tree: the entities on the way to the root are new, everything else is shared, octets and all.

    edit.replace(message, "1.2", part)
    edit.map_leaves(message, lambda path, leaf: smaller(leaf))

What is written between the parts, delimiters and preambles, is kept as it came. Only where new content holds a line
that would end its multipart does that multipart get a new boundary.

Never here: how an entity is made (`compose`), how octets are rendered.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import pairwise
from typing import TypeVar

from mailpipe.codec import transfer
from mailpipe.fields import ContentType
from mailpipe.message.boundary import boundary_for
from mailpipe.message.entity import Entity
from mailpipe.message.field import Field
from mailpipe.message.header import Header
from mailpipe.message.slice import Slice, separated

E = TypeVar("E", bound=Entity)
Layout = list["bytes | Slice | Entity"]


def replace(root: E, path: str, new: Entity) -> E:
    """Another entity in the place of the one at a path of `walk`; "" replaces the body of the root itself.

    Where the old one is a message and the new one is not, the message keeps its own fields and takes the new one's
    Content- fields and body.

    Raises:
        KeyError: there is nothing at that path.
    """
    chain, old = root.chain(path)
    made: Entity = _suited(old, new)
    for owner, index in reversed(chain):
        made = _with_children(owner, {index: made})
    return made  # type: ignore[return-value]


def remove(root: E, path: str) -> E:
    """The tree without the part at a path; the only part of a multipart leaves an empty text in its place.

    Raises:
        KeyError: there is nothing at that path, or it is no part of a multipart.
    """
    chain, _ = root.chain(path)
    if not chain or not chain[-1][0].is_multipart:
        raise KeyError(path)
    owner, index = chain.pop()
    if len(owner.parts) == 1:
        empty = Entity._composed(Header(), (owner.header.line_end,), children=())
        made = _with_children(owner, {0: empty})
    else:
        layout = _layout(owner)
        places = _places(layout)
        if index < len(places) - 1:
            del layout[places[index] : places[index + 1]]
        else:
            del layout[places[index - 1] + 1 : places[index] + 1]
        children = [part for number, part in enumerate(owner.parts) if number != index]
        made = type(owner)._composed(owner.header, _mended(layout, owner), children=tuple(children))
    for above, place in reversed(chain):
        made = _with_children(above, {place: made})
    return made  # type: ignore[return-value]


def remove_all(root: E, paths: Collection[str]) -> E:
    """The tree without the parts at several paths, in the time that one takes; paths that are none are passed over.

    A multipart that loses every part keeps an empty text.
    """
    gone = frozenset(paths)

    def change(path: str, entity: Entity) -> Entity:
        if not entity.is_multipart or not entity.parts:
            return entity
        prefix = path.removesuffix("TEXT") if path.endswith("TEXT") else f"{path}." if path else ""
        kept = [number for number in range(len(entity.parts)) if f"{prefix}{number + 1}" not in gone]
        return entity if len(kept) == len(entity.parts) else _with_some(entity, kept)

    return map_entities(root, change)


def _with_some(owner: Entity, kept: Sequence[int]) -> Entity:
    """A multipart with some of its parts, each behind the delimiter that stood before what went."""
    if not kept:
        empty = Entity._composed(Header(), (owner.header.line_end,), children=())
        return _with_children(_with_some(owner, [0]), {0: empty})
    layout, parts = _layout(owner), owner.parts
    places = _places(layout)
    made: Layout = [*layout[: places[0]], parts[kept[0]]]
    for before, number in pairwise(kept):
        made += [*layout[places[before] + 1 : places[before + 1]], parts[number]]
    made += layout[places[-1] + 1 :]
    return type(owner)._composed(owner.header, _mended(made, owner), children=tuple(parts[number] for number in kept))


def map_leaves(root: E, change: Callable[[str, Entity], Entity]) -> E:
    """Every leaf replaced by what the function gives for (path, leaf).

    A function that gives back the leaf it was given leaves it untouched; where it does so for all, the same root
    comes back. Enclosed messages are entered; a multipart without parts is left alone.
    """
    return map_entities(
        root, lambda path, entity: entity if entity.parts or entity.is_multipart else change(path, entity)
    )


def map_entities(root: E, change: Callable[[str, Entity], Entity]) -> E:
    """Every entity, parts before what holds them, replaced by what the function gives for (path, entity).

    The function sees a multipart or an enclosing entity with its new parts in it.
    """
    found = list(root.walk())
    made: dict[int, Entity] = {}
    for path, entity in reversed(found):  # children come before their parents
        current = entity
        changed = {number: made[id(part)] for number, part in enumerate(entity.parts) if id(part) in made}
        if changed:
            current = _with_children(entity, changed)
        new = change(path, current)
        if new is not current:
            new = _suited(current, new)
        if new is not entity:
            made[id(entity)] = new
    return made.get(id(root), root)  # type: ignore[return-value]


def attach(root: E, entities: Sequence[Entity]) -> E:
    """More parts at the end of a multipart/mixed; anything else becomes the first part of one."""
    if not entities:
        return root
    if root.content_type.value != "multipart/mixed" or not root.parts or not root.content_type.boundary:
        root = wrap(root, "mixed")
    line_end = root.header.line_end
    delimiter = b"--" + _octets_of(root.content_type.boundary or "")
    layout = _layout(root)
    last = _places(layout)[-1] + 1
    for entity in reversed(entities):
        layout[last:last] = [line_end + delimiter + line_end, entity]
    made = type(root)._composed(root.header, tuple(layout), children=(*root.parts, *entities))
    if any(_holds(entity, delimiter, root) for entity in entities):
        return _with_new_boundary(made)
    return made


def wrap(root: E, subtype: str) -> E:
    """The body as the only part of a new multipart; the Content- fields go with it (RFC 2045 section 3)."""
    line_end = root.header.line_end
    content = [field for field in root.header if field.key.startswith("content-")]
    layout = root._body_layout()
    own = Header(content)
    part = Entity._composed(own, (separated(own, layout[0]), *layout[1:]), base=root)
    boundary = boundary_for([part])
    typed = ContentType.of(f"multipart/{subtype}").with_param("boundary", boundary)
    header = _with_content(root.header, [Field.compose("Content-Type", typed, line_end)], line_end)
    delimiter = b"--" + boundary.encode()
    pieces = (line_end, delimiter + line_end, part, line_end + delimiter + b"--" + line_end)
    return type(root)._composed(header, pieces, children=(part,))


# -- what takes the place of what


def _suited(old: Entity, new: Entity) -> Entity:
    """The new entity, as what the old one was: a message stays a message with its own fields."""
    message = Entity._message_class
    if not isinstance(old, message) or isinstance(new, message):
        return new
    line_end = old.header.line_end
    content = [field for field in new.header if field.key.startswith("content-")]
    header = _with_content(old.header, content, line_end)
    layout = new._body_layout()
    return type(old)._composed(header, (separated(header, layout[0]), *layout[1:]), base=new, children=new.parts)


def _with_content(header: Header, content: Sequence[Field], line_end: bytes) -> Header:
    """A header whose Content- fields are others, in the place of the first old one; MIME-Version is seen to."""
    kept: list[Field] = []
    place = -1
    for field in header.lines:
        if field.key.startswith("content-"):
            place = len(kept) if place < 0 else place
        else:
            kept.append(field)
    place = len(kept) if place < 0 else place
    added = list(content)
    if added and "mime-version" not in header:
        added.insert(0, Field.compose("MIME-Version", b"1.0", line_end))
    if added and not added[-1].raw.endswith(line_end[-1:]):
        added[-1] = Field(added[-1].raw + line_end)
    return header.with_fields([*kept[:place], *added, *kept[place:]])


# -- layouts


def _layout(owner: Entity) -> Layout:
    """What follows the header, with every child as a piece of its own."""
    while True:
        document = owner._document
        if document is not None:
            layout: Layout = [owner._body_layout()[0]]
            position = owner._body_start
            for part in owner.parts:
                layout += [Slice(document, position, part._start), part]
                position = part._stop
            layout.append(Slice(document, position, owner._stop))
            return layout
        if owner._base is None or any(isinstance(piece, Entity) for piece in owner._layout):
            return list(owner._layout)
        owner = owner._base


def _places(layout: Layout) -> list[int]:
    return [place for place, piece in enumerate(layout) if isinstance(piece, Entity)]


def _mended(layout: Layout, owner: Entity) -> tuple["bytes | Slice | Entity", ...]:
    """The layout, in which every part begins on a line of its own.

    A part without any octets ends where the line of its delimiter does, and has that line end in common with the next.
    """
    if owner.is_multipart:
        for place in _places(layout):
            before, part = layout[place - 1], layout[place]
            end = bytes(before.view[-1:]) if isinstance(before, Slice) else bytes(before)[-1:]
            if end not in (b"\n", b"\r", b"") and len(part):
                layout[place - 1] = bytes(before) + owner.header.line_end
    return tuple(layout)


def _with_children(owner: Entity, changed: Mapping[int, Entity]) -> Entity:
    """The same entity with other children at some positions."""
    children = list(owner.parts)
    for index, new in changed.items():
        children[index] = new
    if not owner.is_multipart and _is_hidden(owner):
        body = transfer.encode(
            children[0].raw, owner.transfer_encoding, is_text=False, line_end=owner.header.line_end
        )
        return type(owner)._composed(owner.header, (owner._body_layout()[0], body), children=tuple(children))
    layout = _layout(owner)
    places = _places(layout)
    for index, new in changed.items():
        layout[places[index]] = new
    layout[0] = separated(owner.header, layout[0])
    # what it was read as counts where its header does not say: a part of a digest is a message (RFC 2046 5.1.5)
    base = owner if owner._document is not None or owner._base is None else owner._base
    made = type(owner)._composed(owner.header, _mended(layout, owner), base=base, children=tuple(children))
    if owner.is_multipart:
        delimiter = b"--" + _octets_of(owner.content_type.boundary or "")
        if any(_holds(new, delimiter, owner) for new in changed.values()):
            return _with_new_boundary(made)
    return made


def _is_hidden(owner: Entity) -> bool:
    """Whether the message inside stands under a transfer encoding."""
    return transfer.canonical(owner.transfer_encoding) not in ("7bit", "8bit", "binary", None)


# -- boundaries


def _octets_of(boundary: str) -> bytes:
    return boundary.rstrip(" \t").encode("utf-8", "surrogateescape")


def _holds(new: Entity, delimiter: bytes, owner: Entity) -> bool:
    """Whether new content has a line that could end its multipart. Octets that stood in it before cannot."""
    base = owner
    while base._document is None and base._base is not None:
        base = base._base
    foreign: list[bytes] = []
    stack: list[bytes | Slice | Entity] = [new]
    while stack:
        piece = stack.pop()
        if isinstance(piece, Entity):
            if piece._document is None:
                stack.extend(reversed((bytes(piece.header), *piece._layout)))
                continue
            document, start, stop = piece._document, piece._start, piece._stop
        elif isinstance(piece, Slice):
            document, start, stop = piece.document, piece.start, piece.stop
        else:
            foreign.append(piece)
            continue
        if document is not base._document or start < base._body_start or stop > base._stop:
            foreign.append(bytes(piece))
    return delimiter in b"".join(foreign)


def _with_new_boundary(owner: E) -> E:
    """The same multipart under a boundary that occurs in none of its parts; preamble and epilogue are kept."""
    boundary = boundary_for(owner.parts)
    line_end = owner.header.line_end
    old = owner.header.first("content-type")
    typed = owner.content_type.with_param("boundary", boundary)
    made = Field.compose(old.name if old is not None else "Content-Type", typed, line_end)
    header = owner.header.with_replaced(old, made) if old is not None else owner.header
    delimiter = b"--" + boundary.encode()
    preamble, epilogue = owner.preamble or b"", owner.epilogue or b""
    layout: Layout = [owner._layout[0]]
    for number, part in enumerate(owner.parts):
        before = line_end if number else preamble + (line_end if preamble else b"")
        layout += [before + delimiter + line_end, part]
    layout.append(line_end + delimiter + b"--" + line_end + epilogue)
    return type(owner)._composed(header, tuple(layout), children=owner.parts)
