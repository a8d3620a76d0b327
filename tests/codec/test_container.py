"""What is inside an archive is listed within bounds."""

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpipe.codec.container import READ, Allowance, members


def tarred(**files: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, octets in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(octets)
            archive.addfile(entry, io.BytesIO(octets))
    return file.getvalue()


def zipped(**files: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, octets in files.items():
            archive.writestr(name, octets)
    return file.getvalue()


def imaged(**files: bytes) -> bytes:
    """An iso 9660 image with one directory (ECMA-119)."""

    def record(name: bytes, sector: int, size: int, flags: int) -> bytes:
        raw = struct.pack("<xB", 0) + struct.pack("<I", sector) + struct.pack(">I", sector) + struct.pack("<I", size) + struct.pack(">I", size)
        raw += bytes(7) + bytes([flags]) + bytes(6) + bytes([len(name)]) + name
        raw += bytes(len(raw) % 2)
        return bytes([len(raw)]) + raw[1:]

    listing, contents = record(b"\0", 18, 2048, 2) + record(b"\x01", 18, 2048, 2), b""
    for number, (name, octets) in enumerate(files.items()):
        listing += record(name.encode() + b";1", 19 + number, len(octets), 0)
        contents += octets.ljust(2048, b"\0")
    descriptor = (b"\x01CD001\x01".ljust(156, b"\0") + record(b"\0", 18, 2048, 2)).ljust(2048, b"\0")
    return bytes(16 * 2048) + descriptor + b"\xffCD001\x01".ljust(2048, b"\0") + listing.ljust(2048, b"\0") + contents


def cabinet(*names: bytes) -> bytes:
    files = b"".join(struct.pack("<IIHHHH", 1, 0, 0, 0, 0, 0x20) + name + b"\0" for name in names)
    return b"MSCF" + bytes(4) + struct.pack("<IIIIBBHH", 0, 0, 36, 0, 3, 1, 0, len(names)) + bytes(6) + files


def listed(octets: bytes, kind: str, **bounds: int) -> list[tuple[str, bytes | None]]:
    return [(one.name, one.octets) for one in members(octets, kind, Allowance(**{"octets": 10_000, "count": 100, **bounds}))]


@pytest.mark.parametrize(
    ("octets", "kind", "expected"),
    [
        (zipped(a=b"one", b=b"two"), "zip", [("a", b"one"), ("b", b"two")]),
        (tarred(a=b"one", b=b"two"), "tar", [("a", b"one"), ("b", b"two")]),
        (gzip.compress(b"one"), "gzip", [("", b"one")]),
        (b"\x1f\x8b\x08\x08\0\0\0\0\0\0a.exe\0" + gzip.compress(b"one")[10:], "gzip", [("a.exe", b"one")]),
        (lzma.compress(b"one"), "xz", [("", b"one")]),
        (bz2.compress(b"one"), "bzip2", [("", b"one")]),
        (imaged(A=b"one", B=b"two"), "iso", [("A", b"one"), ("B", b"two")]),
        (cabinet(b"a.exe", b"b.txt"), "cab", [("a.exe", None), ("b.txt", None)]),
    ],
    ids=["zip", "tar", "gzip", "gzip with a name", "xz", "bzip2", "iso", "cab"],  # two of them hold the present time
)
def test_members_are_listed(octets, kind, expected) -> None:
    assert listed(octets, kind) == expected


@pytest.mark.parametrize("kind", ["gzip", "xz", "bzip2", "zip"])
def test_a_bomb_is_unpacked_as_far_as_is_allowed(kind) -> None:
    bomb = bytes(10_000_000)
    octets = {"gzip": gzip.compress, "xz": lzma.compress, "bzip2": bz2.compress, "zip": lambda octets: zipped(a=octets)}[kind](bomb)
    allowance = Allowance(octets=5000, count=10)
    (one,) = members(octets, kind, allowance)
    assert len(one.octets) == 5000
    assert allowance.is_over


def test_members_that_share_their_octets_are_counted_each_time() -> None:
    one = zipped(a=bytes(100_000))
    directory = one.rfind(b"PK\x01\x02")
    entry, end = one[directory : one.rfind(b"PK\x05\x06")], one[one.rfind(b"PK\x05\x06") :]
    octets = one[:directory] + entry * 1000 + end[:8] + struct.pack("<HHI", 1000, 1000, len(entry) * 1000) + end[16:]
    allowance = Allowance(octets=1_000_000, count=100_000)
    assert sum(len(member.octets or b"") for member in members(octets, "zip", allowance)) == 1_000_000


def test_too_many_members_are_left_out() -> None:
    allowance = Allowance(octets=10_000, count=3)
    assert len(list(members(zipped(**{f"m{number}": b"" for number in range(9)}), "zip", allowance))) == 3
    assert allowance.is_over


@pytest.mark.parametrize("kind", sorted(READ))
def test_what_is_damaged_says_so(kind) -> None:
    assert any(one.is_unreadable for one in members(b"\x01" * 1000, kind, Allowance(1000, 100))) or kind in ("tar", "cab")


@given(st.sampled_from(sorted(READ)), st.sampled_from([zipped(a=b"1"), tarred(a=b"1"), gzip.compress(b"1"), imaged(A=b"1"), cabinet(b"a"), zlib.compress(b"")]),
    st.integers(0, 40_000), st.binary(max_size=12))  # fmt: skip
def test_no_octets_stop_it(kind, whole, place, junk) -> None:
    octets = whole[:place] + junk + whole[place + len(junk) :]
    list(members(octets, kind, Allowance(10_000, 50)))
