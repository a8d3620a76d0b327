"""What is inside an archive file: names and octets of its members, within bounds of depth, count and size.

    for member in container.members(octets, "zip", Allowance(octets=50_000_000, count=1000)):
        member.name, member.is_encrypted, member.octets

Read are zip (deflate), tar, gzip, xz, bzip2, TNEF, iso 9660, and the names of cab; of others it is only known that
they are archives. Nothing raises: what cannot be read ends the list, with a member that is `is_unreadable`.

Never here: writing anything to a disk; a name is a word of the sender.
"""

import bz2
import lzma
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from mailpipe.codec import tnef, zip_directory

__all__ = ["READ", "Allowance", "Member", "members"]

READ = frozenset({"zip", "tar", "gzip", "xz", "bzip2", "cab", "iso", "tnef"})
"""The kinds whose members are known."""

# LIMIT: what xz may take to unpack; its window can be 4 GiB.
_XZ_MEMORY = 128 * 1024 * 1024


@dataclass(slots=True)
class Allowance:
    """What looking into containers may still cost; shared by all of a message.

    Attributes:
        octets: that may be unpacked.
        count: members that may be looked at.
        is_over: something was left out because of it.
    """

    octets: int
    count: int
    is_over: bool = False

    def takes_member(self) -> bool:
        """Count one more member; False where that is too many."""
        self.count -= 1
        self.is_over |= self.count < 0
        return self.count >= 0

    def takes(self, octets: bytes | None) -> bytes | None:
        """Count unpacked octets."""
        if octets is not None:
            self.octets -= len(octets)
            self.is_over |= self.octets <= 0
        return octets


@dataclass(frozen=True, slots=True)
class Member:
    """One member.

    Attributes:
        name: the sender's word; "" where none is known.
        octets: unpacked, as far as the allowance went; None where they are not known.
        is_encrypted: whether a password is needed.
        is_unreadable: stands for what could not be read because the container is damaged.
    """

    name: str
    octets: bytes | None = None
    is_encrypted: bool = False
    is_unreadable: bool = False


_BROKEN = Member("", None, False, True)


def members(octets: bytes, kind: str, allowance: Allowance) -> Iterator[Member]:
    """The members of a container, in order.

    Args:
        octets: the container.
        kind: one of `READ`.
        allowance: what it may cost; it is used up.
    """
    match kind:
        case "zip":
            yield from _zip(octets, allowance)
        case "tar":
            yield from _tar(octets, allowance)
        case "gzip" | "xz" | "bzip2":
            yield from _stream(octets, kind, allowance)
        case "cab":
            yield from _cab(octets, allowance)
        case "iso":
            yield from _iso(octets, allowance)
        case "tnef":
            yield from _tnef(tnef.read(octets), allowance)


def _zip(octets: bytes, allowance: Allowance) -> Iterator[Member]:
    directory = zip_directory.read(octets, most=max(allowance.count, 0) + 1)
    if directory is None:
        yield _BROKEN
        return
    for entry in directory.entries:
        if not allowance.takes_member():
            return
        content = None
        if allowance.octets > 0:
            content = allowance.takes(zip_directory.member(octets, directory, entry, most=allowance.octets))
        yield Member(entry.name, content, entry.is_encrypted)
    if not directory.is_whole:
        yield _BROKEN


def _tar(octets: bytes, allowance: Allowance) -> Iterator[Member]:
    position, size = 0, len(octets)
    while position + 512 <= size and octets[position] != 0:
        if not allowance.takes_member():
            return
        head = octets[position : position + 512]
        name, length = _c_text(head[:100]), _octal(head[124:136])
        prefix = _c_text(head[345:500]) if head[257:262] == b"ustar" else ""
        if length < 0 or position + 512 + length > size:
            yield _BROKEN
            return
        # a copy of what is in memory already costs nothing new
        yield Member(f"{prefix}/{name}" if prefix else name, octets[position + 512 : position + 512 + length])
        position += 512 + (length + 511) // 512 * 512


def _c_text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "replace")


def _octal(field: bytes) -> int:
    if field[:1] == b"\x80":  # base-256, as GNU tar writes large sizes
        return int.from_bytes(field[1:], "big")
    text = field.strip(b" \0").decode("ascii", "replace")
    return int(text, 8) if text and all(one in "01234567" for one in text) else -1 if text else 0


def _stream(octets: bytes, kind: str, allowance: Allowance) -> Iterator[Member]:
    """The one member of a compressed file, with the name that gzip keeps of it."""
    if not allowance.takes_member():
        return
    most, name = max(allowance.octets, 0), ""
    try:
        if kind == "gzip":
            name = _gzip_name(octets)
            content = zlib.decompressobj(31).decompress(octets, most) if most else b""
        elif kind == "xz":
            content = lzma.LZMADecompressor(lzma.FORMAT_XZ, _XZ_MEMORY).decompress(octets, most)
        else:
            content = bz2.BZ2Decompressor().decompress(octets, most)
    except (zlib.error, lzma.LZMAError, OSError, EOFError, MemoryError, ValueError):
        yield _BROKEN
        return
    yield Member(name, allowance.takes(content))


def _gzip_name(octets: bytes) -> str:
    """The name in the header (RFC 1952 section 2.3.1)."""
    if len(octets) < 10 or not octets[3] & 8:
        return ""
    position = 10
    if octets[3] & 4:
        position += 2 + int.from_bytes(octets[10:12], "little")
    return octets[position : position + 1000].partition(b"\0")[0].decode("latin-1")


def _cab(octets: bytes, allowance: Allowance) -> Iterator[Member]:
    """The names in a cabinet (MS-CAB section 2.3)."""
    try:
        (position,) = struct.unpack_from("<I", octets, 16)
        (count,) = struct.unpack_from("<H", octets, 28)
        for _ in range(count):
            (flags,) = struct.unpack_from("<H", octets, position + 14)
            stop = octets.find(b"\0", position + 16, position + 16 + 257)
            if stop < 0:
                yield _BROKEN
                return
            if not allowance.takes_member():
                return
            yield Member(octets[position + 16 : stop].decode("utf-8" if flags & 0x80 else "cp1252", "replace"))
            position = stop + 1
    except struct.error:
        yield _BROKEN


def _iso(octets: bytes, allowance: Allowance) -> Iterator[Member]:
    """The files of an iso 9660 image; those of its Joliet tree, which has the long names, where there is one."""
    roots: dict[int, bytes] = {}
    for sector in range(16, 64):
        descriptor = octets[sector * 2048 : sector * 2048 + 2048]
        if descriptor[1:6] != b"CD001" or descriptor[0] == 255 or len(descriptor) < 2048:
            break
        if descriptor[0] in (1, 2):
            roots.setdefault(descriptor[0], descriptor[156:190])
    root = roots.get(2) or roots.get(1)
    if root is None:
        yield _BROKEN
        return
    coding = "utf-16-be" if 2 in roots else "cp1252"
    # LIMIT: directories that overlap each other are not read more often than there are octets
    stack, seen, left = [root], set[int](), len(octets)
    while stack:
        record = stack.pop()
        start, length = int.from_bytes(record[2:6], "little"), int.from_bytes(record[10:14], "little")
        if start in seen:
            continue
        seen.add(start)
        extent = octets[start * 2048 : start * 2048 + min(length, left)]
        left -= len(extent)
        position = 0
        while position < len(extent):
            size = extent[position]
            if size < 34:  # records do not cross sectors; zeros fill the rest
                position = (position // 2048 + 1) * 2048
                continue
            one = extent[position : position + size]
            position += size
            name = one[33 : 33 + one[32]] if len(one) > 33 else b""
            if name in (b"\0", b"\x01"):
                continue
            if not allowance.takes_member():
                return
            if one[25] & 2:
                stack.append(one)
                continue
            begin, count = int.from_bytes(one[2:6], "little") * 2048, int.from_bytes(one[10:14], "little")
            # each file may claim the same octets again: what is looked at is counted
            content = allowance.takes(octets[begin : begin + min(count, max(allowance.octets, 0))])
            yield Member(name.decode(coding, "replace").partition(";")[0], content)


def _tnef(found: tnef.Tnef | None, allowance: Allowance) -> Iterator[Member]:
    """The attachments of a winmail.dat, those of messages in it too."""
    if found is None:
        yield _BROKEN
        return
    for one in found.attachments:
        if not allowance.takes_member():
            return
        if one.embedded is not None:
            yield from _tnef(one.embedded, allowance)
        else:
            yield Member(one.filename, one.octets)
    if not found.is_whole:
        yield _BROKEN
