"""Paths in a tree of entities, as IMAP numbers its parts (RFC 9051 section 6.4.5).

    last, named = steps(entity)                 # "2", an iterator of ("1", part), ("2", part)
    above, entity = chain(message, "2.1")       # [(message, 1), (second part, 0)], its first part

Never here: what an entity is.
"""

from collections.abc import Iterator
from typing import Any, Protocol

_NUMBERS = tuple(map(str, range(1, 100)))


class Branch(Protocol):
    """What may have parts."""

    @property
    def parts(self) -> tuple[Any, ...]:
        """Its parts, or the message in it."""

    @property
    def is_multipart(self) -> bool:
        """Whether its parts are numbered."""


def steps(entity: Branch) -> tuple[str, Iterator[tuple[str, Any]]]:
    """The last name that a part of an entity has in a path, and the names with the parts."""
    parts = entity.parts
    count = len(parts)
    if not entity.is_multipart:
        last = "TEXT" if parts and parts[0].is_multipart else "1"
        return last, zip((last,), parts, strict=False)
    if count > len(_NUMBERS):
        return str(count), zip(map(str, range(1, count + 1)), parts, strict=True)
    return _NUMBERS[count - 1], zip(_NUMBERS, parts, strict=False)


def chain(root: Branch, path: str) -> tuple[list[tuple[Any, int]], Any]:
    """What leads to a path, each entity with the position of its child, and what is there.

    Raises:
        KeyError: there is nothing.
    """
    above: list[tuple[Any, int]] = []
    entity: Any = root
    for name in path.split(".") if path else ():
        parts = entity.parts
        if not entity.is_multipart and parts and parts[0].is_multipart and name != "TEXT":
            above.append((entity, 0))  # the message inside has no number of its own
            entity = parts[0]
            parts = entity.parts
        if entity.is_multipart and name.isdecimal() and 1 <= int(name) <= len(parts):
            index = int(name) - 1
        elif not entity.is_multipart and parts and name in ("1", "TEXT"):
            index = 0
        elif path == "1" and not parts and entity is root and not entity.is_multipart:
            break  # the body of a message that is no multipart
        else:
            raise KeyError(path)
        above.append((entity, index))
        entity = parts[index]
    return above, entity
