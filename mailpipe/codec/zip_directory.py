"""The central directory of a zip (APPNOTE 4.3.12): names, sizes, whether encrypted; and one member's octets.

    directory = zip_directory.read(octets, most=1000)
    directory.entries[0].name, directory.entries[0].is_encrypted
    zip_directory.member(octets, directory, directory.entries[0], most=1_000_000)

Nothing raises: what is damaged is read as far as it goes, or is None.

Never here: writing, and what a member is.
"""

import struct
import zlib
from dataclasses import dataclass

__all__ = ["Directory", "Entry", "member", "read"]

_END = b"PK\x05\x06"
_END64 = b"PK\x06\x06"
_LOCATOR64 = b"PK\x06\x07"
_ENTRY = b"PK\x01\x02"
_LOCAL = b"PK\x03\x04"


@dataclass(frozen=True, slots=True)
class Entry:
    """One member.

    Attributes:
        name: as written; UTF-8 where that fits, else code page 437.
        method: 0 stored, 8 deflated, others.
        packed, size: octets as stored, and as declared when unpacked.
        is_encrypted: bit 0 of the flags.
        offset: of its local header.
    """

    name: str
    method: int
    packed: int
    size: int
    is_encrypted: bool
    offset: int


@dataclass(frozen=True, slots=True)
class Directory:
    """A central directory.

    Attributes:
        entries: the members, in order.
        is_whole: whether every entry could be read, and there were not too many.
        shift: octets that stand before the zip in what was given.
    """

    entries: tuple[Entry, ...]
    is_whole: bool
    shift: int


def read(octets: bytes, *, most: int) -> Directory | None:
    """The directory of a zip that ends with these octets; None where there is none.

    Args:
        octets: a file, perhaps with something before the zip and a comment behind it.
        most: entries that are read at most.
    """
    end = octets.rfind(_END, max(0, len(octets) - 65_557))
    if end < 0 or end + 22 > len(octets):
        return None
    count, size, start = struct.unpack_from("<HII", octets, end + 10)
    stop = end
    if 0xFFFFFFFF in (size, start) or count == 0xFFFF:
        locator = end - 20
        if locator >= 0 and octets[locator : locator + 4] == _LOCATOR64:
            place = octets.rfind(_END64, max(0, locator - 1000), locator)
            if place >= 0 and place + 56 <= len(octets):
                size, start = struct.unpack_from("<QQ", octets, place + 40)
                stop = place
    # what the directory says of its own place is off by what stands before the zip
    begin = stop - size
    if begin < 0 or (size and octets[begin : begin + 4] != _ENTRY):
        begin = start
    return _entries(octets, begin, stop, begin - start, most)


def _entries(octets: bytes, position: int, stop: int, shift: int, most: int) -> Directory:
    found: list[Entry] = []
    while position + 46 <= stop and octets[position : position + 4] == _ENTRY:
        if len(found) >= most:
            return Directory(tuple(found), False, shift)
        flags, method = struct.unpack_from("<HH", octets, position + 8)
        packed, size = struct.unpack_from("<II", octets, position + 20)
        name_size, extra_size, comment_size = struct.unpack_from("<HHH", octets, position + 28)
        (offset,) = struct.unpack_from("<I", octets, position + 42)
        name = octets[position + 46 : position + 46 + name_size]
        extra = octets[position + 46 + name_size : position + 46 + name_size + extra_size]
        if 0xFFFFFFFF in (packed, size, offset):
            size, packed, offset = _zip64(extra, size, packed, offset)
        found.append(Entry(_text(name), method, packed, size, bool(flags & 1), offset))
        position += 46 + name_size + extra_size + comment_size
    return Directory(tuple(found), position == stop, shift)


def _text(name: bytes) -> str:
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        return name.decode("cp437")


def _zip64(extra: bytes, size: int, packed: int, offset: int) -> tuple[int, int, int]:
    position = 0
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, position)
        if kind == 1:
            numbers = [
                int.from_bytes(extra[at : at + 8], "little")
                for at in range(position + 4, min(position + 4 + length, len(extra)) - 7, 8)
            ]
            values = [size, packed, offset]
            for place, value in enumerate(values):
                if value == 0xFFFFFFFF and numbers:
                    values[place] = numbers.pop(0)
            return values[0], values[1], values[2]
        position += 4 + length
    return size, packed, offset


def member(octets: bytes, directory: Directory, entry: Entry, *, most: int) -> bytes | None:
    """The octets of a member, `most` of them at most; None where they cannot be read.

    Args:
        octets: what `read` was given.
        directory: what it gave.
        entry: one of its entries.
        most: octets that are unpacked at most; a bomb is not unpacked further.
    """
    start = entry.offset + directory.shift
    if entry.is_encrypted or start < 0 or octets[start : start + 4] != _LOCAL or start + 30 > len(octets):
        return None
    name_size, extra_size = struct.unpack_from("<HH", octets, start + 26)
    begin = start + 30 + name_size + extra_size
    # many entries may point at the same octets: none is copied before it is unpacked
    packed = memoryview(octets)[begin : begin + min(entry.packed, len(octets))]
    if entry.method == 0:
        return bytes(packed[:most])
    if entry.method != 8:
        return None
    try:
        return zlib.decompressobj(-15).decompress(packed, most) if most > 0 else b""
    except zlib.error:
        return None
