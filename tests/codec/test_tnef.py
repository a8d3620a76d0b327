"""A winmail.dat is read as far as it goes."""

import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpipe.codec import container, tnef
from mailpipe.codec.container import Allowance


def attribute(level: int, name: int, value: bytes) -> bytes:
    return struct.pack("<BII", level, name, len(value)) + value + struct.pack("<H", sum(value) & 0xFFFF)


def properties(*entries: tuple[int, int, object]) -> bytes:
    """A property list of (type, identifier, value)."""
    made = struct.pack("<I", len(entries))
    for kind, name, value in entries:
        made += struct.pack("<HH", kind, name)
        if name >= 0x8000:
            made += bytes(16) + struct.pack("<I", 1) + struct.pack("<I", 6) + "ab\0".encode("utf-16-le") + b"\0\0"
        if kind in (2, 3, 0xB):
            made += struct.pack("<i", value)
            continue
        raw = (value + "\0").encode("utf-16-le") if kind == 0x1F else value
        made += struct.pack("<II", 1, len(raw)) + raw + bytes(-len(raw) % 4)
    return made


def stream(*attributes: bytes) -> bytes:
    return tnef.SIGN + struct.pack("<H", 7) + attribute(1, 0x89006, b"\0\0\1\0") + attribute(1, 0x69007, struct.pack("<II", 1252, 0)) + b"".join(attributes)


def file(short: bytes, octets: bytes, *more: tuple[int, int, object]) -> bytes:
    return attribute(2, 0x69002, bytes(14)) + attribute(2, 0x18010, short + b"\0") + attribute(2, 0x6800F, octets) + (attribute(2, 0x69005, properties(*more)) if more else b"")


LONG = (0x1F, 0x3707, "Übersicht für März.pdf")
SIMPLE = stream(
    attribute(1, 0x18004, b"Gr\xfc\xdfe\0"), attribute(1, 0x2800C, b"Body te\xdft\0"),
    attribute(1, 0x69003, properties((3, 0x3FDE, 65001), (0x1F, 0x8005, "named"), (0x102, 0x1013, "<p>ä</p>".encode()), (0x1F, 0x0C1F, "ann@example.org"))),
    file(b"UBERSI~1.PDF", b"%PDF", LONG, (0x1F, 0x370E, "application/PDF"), (0x1F, 0x3712, "<a@b>")), file(b"b.txt", b"text"),
)  # fmt: skip


def test_everything_is_read() -> None:
    found = tnef.read(SIMPLE)
    assert found.is_whole
    assert (found.subject, found.body, found.html, found.sender) == ("Grüße", "Body teßt", "<p>ä</p>", "ann@example.org")
    one, two = found.attachments
    assert (one.filename, one.octets, one.content_type, one.content_id) == ("Übersicht für März.pdf", b"%PDF", "application/pdf", "a@b")
    assert (two.filename, two.octets) == ("b.txt", b"text")


def test_a_message_inside_is_read() -> None:
    outer = stream(attribute(2, 0x69002, bytes(14)), attribute(2, 0x69005, properties((3, 0x3705, 5), (0xD, 0x3701, bytes(16) + SIMPLE))))
    (one,) = tnef.read(outer).attachments
    assert one.embedded.subject == "Grüße"
    assert [member.name for member in container.members(outer, "tnef", Allowance(1000, 10))] == ["Übersicht für März.pdf", "b.txt"]


def test_an_object_is_read_without_its_interface() -> None:
    outer = stream(attribute(2, 0x69002, bytes(14)), attribute(2, 0x69005, properties((3, 0x3705, 6), (0xD, 0x3701, bytes(16) + b"OLE"))))
    assert tnef.read(outer).attachments[0].octets == b"OLE"


def test_messages_within_messages_come_to_an_end() -> None:
    octets = SIMPLE
    for _ in range(30):
        octets = stream(attribute(2, 0x69002, bytes(14)), attribute(2, 0x69005, properties((3, 0x3705, 5), (0xD, 0x3701, bytes(16) + octets))))
    found, depth = tnef.read(octets), 0
    while found.attachments and found.attachments[0].embedded:
        found, depth = found.attachments[0].embedded, depth + 1
    assert depth == 8


def test_what_is_cut_short_is_read_as_far_as_it_goes() -> None:
    for size in range(len(SIMPLE)):
        found = tnef.read(SIMPLE[:size])
        assert (found is None) == (size < 4)
    assert not tnef.read(SIMPLE[:-4]).is_whole
    assert tnef.read(SIMPLE[:-4]).attachments[1].octets == b"te"


@pytest.mark.parametrize("octets", [b"", b"hello", tnef.SIGN[::-1]])
def test_what_is_none_is_none(octets) -> None:
    assert tnef.read(octets) is None


def test_many_little_attributes_take_no_time() -> None:
    octets = stream(attribute(2, 0x69002, b"") * 500_000)
    start = time.process_time()
    assert not tnef.read(octets).is_whole
    assert time.process_time() - start < 2


@given(st.integers(0, len(SIMPLE)), st.binary(max_size=12))
def test_no_octets_stop_it(place, junk) -> None:
    tnef.read(SIMPLE[:place] + junk + SIMPLE[place + len(junk) :])
    tnef.read(tnef.SIGN + junk)
