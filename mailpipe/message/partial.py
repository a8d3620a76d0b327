"""Putting the pieces of a message together again (RFC 2046 section 5.2.2.1).

    missing = partial.missing(messages)         # (2,) while the second of three has not come
    whole = partial.assemble(messages)          # in any order, with duplicates; a Message

Never here: keeping pieces until all have come; that is for whoever receives them.
"""

from collections.abc import Sequence

from mailpipe.errors import ComposeError
from mailpipe.message.entity import Entity
from mailpipe.message.header import Header
from mailpipe.message.message import Message, parse
from mailpipe.parser.node import Document, place

# LIMIT: the number of a piece is a word of the sender; nobody gets a list of a billion missing ones.
_MOST_PIECES = 100_000
_FROM_INSIDE = ("subject", "message-id", "encrypted", "mime-version")


def missing(messages: Sequence[Entity]) -> tuple[int, ...]:
    """The numbers of the pieces that are not there; of those beyond the last one known nothing can be said.

    Raises:
        ComposeError: see `assemble`.
    """
    pieces, total = _collect(messages)
    last = total or max(pieces)
    return tuple(number for number in range(1, last + 1) if number not in pieces)


def assemble(messages: Sequence[Entity]) -> Message:
    """The message whose pieces these are.

    Its header is that of the first piece, but for Content- fields, Subject, Message-ID, Encrypted and MIME-Version,
    which come from the header inside it; its body is the bodies of all pieces, octet for octet.

    Args:
        messages: message/partial entities of one id, in any order; of duplicates the first counts.

    Raises:
        ComposeError: one is no message/partial, they are of several messages, or pieces are missing.
    """
    pieces, total = _collect(messages)
    if total is None:
        raise ComposeError("no piece says how many there are (RFC 2046 section 5.2.2); the last one is missing")
    absent = [number for number in range(1, total + 1) if number not in pieces]
    if absent:
        raise ComposeError(f"piece {absent[0]} of {total} is missing, and {len(absent) - 1} more")
    first = pieces[1]
    octets = first.octets
    inner = place(Entity, Document(octets), 0, len(octets))
    outer_fields = [one for one in first.header if not _comes_from_inside(one.key)]
    inner_fields = [one for one in inner.header if _comes_from_inside(one.key)]
    header = Header().with_fields([*outer_fields, *inner_fields])
    start = inner.body_span[0] if inner.body_span is not None else len(octets)
    line_end = first.header.line_end
    return parse(
        b"".join(
            (bytes(header), line_end, octets[start:], *(pieces[number].octets for number in range(2, total + 1)))
        )
    )


def _collect(messages: Sequence[Entity]) -> tuple[dict[int, Entity], int | None]:
    """The pieces by their numbers, and how many there should be."""
    pieces: dict[int, Entity] = {}
    total: int | None = None
    identifier: str | None = None
    for message in messages:
        view = message.partial
        if view is None or view.number > _MOST_PIECES or (view.total or 0) > _MOST_PIECES:
            raise ComposeError(f"a {message.content_type.value} is no numbered message/partial (RFC 2046 5.2.2)")
        if identifier is None:
            identifier = view.id
        elif view.id != identifier:
            raise ComposeError(f"the pieces are of two messages: {identifier!r} and {view.id!r}")
        if view.total is not None:
            if total is not None and total != view.total:
                raise ComposeError(f"the pieces do not agree how many they are: {total} or {view.total}")
            total = view.total
        pieces.setdefault(view.number, message)
    if not pieces:
        raise ComposeError("there are no pieces to put together")
    if total is not None and max(pieces) > total:
        raise ComposeError(f"piece {max(pieces)} is numbered beyond the total of {total}")
    return pieces, total


def _comes_from_inside(key: str) -> bool:
    return key.startswith("content-") or key in _FROM_INSIDE
