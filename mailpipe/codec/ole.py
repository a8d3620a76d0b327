"""The directory of a compound file (MS-CFB): the names of its storages and streams, and the class of its root.

    directory = ole.read(octets)
    "WordDocument" in directory.names

Nothing raises; chains of sectors that run in a circle or out of the file end there.

Never here: the content of streams.
"""

import struct
from dataclasses import dataclass

__all__ = ["MSI_CLASS", "SIGN", "Directory", "read"]

SIGN = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
MSI_CLASS = bytes.fromhex("84100c0000000000c000000000000046")
"""The class identifier of an installer database, as it is stored."""

# LIMIT: a directory of so many entries is no document.
_MOST_ENTRIES = 20_000
_MOST_SECTORS = 10_000


@dataclass(frozen=True, slots=True)
class Directory:
    """What a compound file holds.

    Attributes:
        names: of every storage and stream below the root.
        root_class: the class identifier of the root, 16 octets.
        is_whole: whether the directory could be read to its end.
    """

    names: tuple[str, ...]
    root_class: bytes = bytes(16)
    is_whole: bool = True


def read(octets: bytes) -> Directory:
    """The directory; an empty one where there is none."""
    if len(octets) < 512 or not octets.startswith(SIGN):
        return Directory((), is_whole=False)
    (shift,) = struct.unpack_from("<H", octets, 30)
    if shift not in (9, 12):
        shift = 9
    size = 1 << shift
    (sector,) = struct.unpack_from("<I", octets, 48)
    table = _table(octets, size)
    names: list[str] = []
    root, seen, is_whole = bytes(16), set[int](), True
    while sector < 0xFFFFFFFA:
        start = (sector + 1) * size
        if sector in seen or start >= len(octets) or len(names) >= _MOST_ENTRIES or len(seen) >= _MOST_SECTORS:
            is_whole = False
            break
        seen.add(sector)
        for place in range(start, min(start + size, len(octets) - 127), 128):
            length, kind = struct.unpack_from("<HB", octets, place + 64)
            if kind == 5:
                root = octets[place + 80 : place + 96]
            elif kind in (1, 2) and 2 <= length <= 64:
                names.append(octets[place : place + length - 2].decode("utf-16-le", "replace"))
        place, rest = divmod(sector, size // 4)
        at = (table[place] + 1) * size + rest * 4 if place < len(table) else len(octets)
        if at + 4 > len(octets):
            is_whole = False
            break
        (sector,) = struct.unpack_from("<I", octets, at)
    return Directory(tuple(names), root, is_whole)


def _table(octets: bytes, size: int) -> list[int]:
    """The sectors that hold the allocation table."""
    found = [one for one in struct.unpack_from("<109I", octets, 76) if one < 0xFFFFFFFA]
    (sector,) = struct.unpack_from("<I", octets, 68)
    seen = set[int]()
    while sector < 0xFFFFFFFA and sector not in seen and len(found) < _MOST_SECTORS:
        seen.add(sector)
        start = (sector + 1) * size
        if start + size > len(octets):
            break
        numbers = struct.unpack_from(f"<{size // 4}I", octets, start)
        found += [one for one in numbers[:-1] if one < 0xFFFFFFFA]
        sector = numbers[-1]
    return found
