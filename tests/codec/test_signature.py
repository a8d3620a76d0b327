"""What octets are is seen from the octets."""

import io
import struct
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpipe.codec import ole, signature, zip_directory
from mailpipe.codec.signature import identify


def zipped(*names: str, encrypted: bool = False, **contents: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, contents.get(name, b"x" * 100))
    octets = file.getvalue()
    if encrypted:  # bit 0 of the flags of every header
        octets = bytearray(octets)
        for sign, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            at = octets.find(sign)
            while at >= 0:
                octets[at + place] |= 1
                at = octets.find(sign, at + 4)
    return bytes(octets)


def compound(*names: str, root: bytes = bytes(16)) -> bytes:
    """A compound file of one allocation table and a directory of those names (MS-CFB)."""
    entries = [("Root Entry", 5, root), *((name, 2, bytes(16)) for name in names)]
    raw = b""
    for name, kind, identifier in entries:
        encoded = name.encode("utf-16-le") + b"\0\0"
        raw += encoded.ljust(64, b"\0") + struct.pack("<HBB", len(encoded), kind, 1) + b"\xff" * 12 + identifier + bytes(32)
    raw += bytes(-len(raw) % 512)
    count = len(raw) // 512
    table = [0xFFFFFFFD, *range(2, count + 1), 0xFFFFFFFE]
    table[count] = 0xFFFFFFFE
    fat = struct.pack("<128I", *(table + [0xFFFFFFFF] * 128)[:128])
    head = ole.SIGN + bytes(16) + struct.pack("<HHHHH", 0x3E, 3, 0xFFFE, 9, 6) + bytes(6) + struct.pack("<III", 0, 1, 1)
    head += struct.pack("<IIIIII", 0, 4096, 0xFFFFFFFE, 0, 0xFFFFFFFE, 0) + struct.pack("<109I", 0, *[0xFFFFFFFF] * 108)
    return head + fat + raw


PE = b"MZ" + bytes(58) + b"\x40\0\0\0PE\0\0" + bytes(200)


@pytest.mark.parametrize(
    ("octets", "kind", "groups"),
    [
        (PE, "pe", {"executable"}), (b"MZ" + bytes(100), "dos", {"executable"}), (b"\x7fELF\x02", "elf", {"executable"}),
        (b"\xca\xfe\xba\xbe\0\0\0\x02", "macho", {"executable"}), (b"\xca\xfe\xba\xbe\0\0\0\x41", "java-class", {"executable"}),
        (b"L\0\0\0\x01\x14\x02\0\0\0\0\0\xc0\0\0\0\0\0\0\x46", "lnk", {"shortcut"}), (b"[InternetShortcut]\r\nURL=file://x", "url", {"shortcut"}),
        (b"#!/bin/sh\n", "shell-script", {"script"}), (b"<?php echo 1;", "php", {"script"}), (b"@echo off\r\n", "batch", {"script"}),
        (b"\xff\xfe" + "Windows".encode("utf-16-le"), "text", {"text"}), (b"On Error Resume Next\r\n", "script-host", {"script"}),
        (b"\r\n  <!-- x --><HTML><p>", "html", {"text"}), (b"\xef\xbb\xbf<!DOCTYPE html>", "html", {"text"}), (b"<!-- x", "html", {"text"}),
        (b"<?xml version='1.0'?><svg>", "svg", {"image"}), (b"<?xml version='1.0'?><a/>", "xml", {"text"}),
        (b"%PDF-1.7", "pdf", {"document"}), (b"junk\n%PDF-1.7", "pdf", {"document"}), (b"{\\rtf1", "rtf", {"document"}),
        (b"Rar!\x1a\x07\x01\0", "rar", {"archive"}), (b"7z\xbc\xaf\x27\x1c", "7z", {"archive"}), (b"\x1f\x8b\x08\0", "gzip", {"archive"}),
        (b"\x28\xb5\x2f\xfd", "zstd", {"archive"}), (b"MSCF\0\0\0\0", "cab", {"archive"}), (bytes(0x8001) + b"CD001", "iso", {"archive", "disk-image"}),
        (bytes(257) + b"ustar", "tar", {"archive"}), (b"\x78\x9f\x3e\x22", "tnef", {"archive"}),
        (b"\x89PNG\r\n\x1a\n", "png", {"image"}), (b"RIFF\0\0\0\0WEBP", "webp", {"image"}), (b"\0\0\0\x18ftypheic", "heif", {"image"}),
        (b"BEGIN:VCALENDAR\r\n", "calendar", {"text"}), ("Grüße\n".encode(), "text", {"text"}), (b"\0\x01\x02", "unknown", set()), (b"", "unknown", set()),
        (zipped("a.txt"), "zip", {"archive", "zip"}), (zipped("a.txt", encrypted=True), "zip", {"archive", "zip", "encrypted"}),
        (zipped("[Content_Types].xml", "word/document.xml"), "docx", {"office", "zip"}),
        (zipped("[Content_Types].xml", "word/document.xml", "word/vbaProject.bin"), "docx", {"office", "zip", "macro"}),
        (zipped("[Content_Types].xml", "xl/workbook.xml", "xl/macrosheets/s.xml"), "xlsx", {"office", "zip", "macro"}),
        (zipped("[Content_Types].xml", "ppt/presentation.xml", "ppt/embeddings/o.bin"), "pptx", {"office", "zip", "embedded"}),
        (zipped("META-INF/MANIFEST.MF", "A.class"), "jar", {"executable", "archive", "zip"}), (zipped("AndroidManifest.xml"), "apk", {"executable", "archive", "zip"}),
        (zipped("mimetype", "META-INF/manifest.xml", "Basic/a.xml"), "odf", {"office", "zip", "macro"}),
        (b"GIF89a" + zipped("a.exe"), "gif", {"image", "zip", "archive"}), (PE + zipped("a.txt"), "pe", {"executable", "zip", "archive"}),
        (compound("WordDocument"), "doc", {"office", "ole"}), (compound("Workbook", "_VBA_PROJECT_CUR", "VBA"), "xls", {"office", "ole", "macro"}),
        (compound("EncryptedPackage", "EncryptionInfo"), "office-encrypted", {"office", "ole", "encrypted"}),
        (compound("\x05SummaryInformation", root=ole.MSI_CLASS), "msi", {"executable", "ole"}), (compound("__properties_version1.0"), "msg", {"document", "ole"}),
    ],
    ids=lambda value: "octets" if isinstance(value, bytes) else str(sorted(value)) if isinstance(value, set) else value,
)  # fmt: skip
def test_it_is_a(octets, kind, groups) -> None:
    found = identify(octets)
    assert (found.kind, found.groups) == (kind, groups)


def test_there_are_enough_kinds() -> None:
    assert len(signature.KINDS) > 80


def test_a_directory_of_many_sectors_is_read() -> None:
    names = [f"stream {number}" for number in range(40)]
    assert ole.read(compound(*names)).names == tuple(names)


def test_a_chain_that_runs_in_a_circle_ends() -> None:
    octets = bytearray(compound("WordDocument"))
    octets[512 + 4 : 512 + 8] = (1).to_bytes(4, "little")
    assert not ole.read(bytes(octets)).is_whole


def test_zip_members_are_read_within_bounds() -> None:
    octets = b"before" + zipped("a", "b")
    directory = zip_directory.read(octets, most=10)
    assert [entry.name for entry in directory.entries] == ["a", "b"]
    assert zip_directory.member(octets, directory, directory.entries[1], most=1000) == b"x" * 100
    assert zip_directory.member(octets, directory, directory.entries[1], most=7) == b"x" * 7
    assert not zip_directory.read(octets, most=1).is_whole
    assert zip_directory.read(b"PK\x05\x06", most=1) is None


@given(st.binary(max_size=200), st.sampled_from([b"", b"PK\x03\x04", ole.SIGN, PE, zipped("a", "[Content_Types].xml"), compound("WordDocument")]), st.integers(0, 600), st.binary(max_size=8))
def test_no_octets_stop_it(tail, head, place, junk) -> None:
    octets = head[:place] + junk + head[place + len(junk) :] + tail
    identify(octets)
    directory = zip_directory.read(octets, most=5)
    for entry in directory.entries if directory else ():
        zip_directory.member(octets, directory, entry, most=1000)
