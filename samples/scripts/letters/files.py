"""Tiny files of many types, each valid for the program that opens it."""

import io
import struct
import zipfile
import zlib


def pdf(text: str) -> bytes:
    """One page with one line of text."""
    stream = b"BT /F1 24 Tf 72 720 Td (" + text.encode("ascii") + b") Tj ET"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources <</Font <</F1 5 0 R>>>> >>",
        b"<< /Length %d >>\nstream\n" % len(stream) + stream + b"\nendstream",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    octets, places = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(octets))
        octets += b"%d 0 obj\n" % number + content + b"\nendobj\n"
    table = len(octets)
    octets += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    octets += b"".join(b"%010d 00000 n \n" % place for place in places)
    return octets + b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, table)


def png(width: int, height: int, colour: tuple[int, int, int]) -> bytes:
    """A rectangle of one colour with a white diagonal, stored without compression."""
    rows = b"".join(
        b"\0" + b"".join(b"\xff\xff\xff" if x == y else bytes(colour) for x in range(width)) for y in range(height)
    )

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 0)) + chunk(b"IEND", b"")


def gif() -> bytes:
    """One transparent pixel."""
    return bytes.fromhex("47494638396101000100800000ffffff00000021f90401000000002c00000000010001000002024401003b")


def archive(members: dict[str, bytes]) -> bytes:
    """A zip file, stored without compression, every member dated alike."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as file:
        for name, octets in members.items():
            member = zipfile.ZipInfo(name, (2026, 11, 2, 8, 0, 0))
            member.create_system = 3
            member.external_attr = 0o644 << 16
            file.writestr(member, octets)
    return buffer.getvalue()


def document(text: str) -> bytes:
    """The smallest word-processor document that opens."""
    types = (
        '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
        '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Override PartName="/word/document.xml" ContentType="application/vnd.openxmlformats-officedocument.'
        'wordprocessingml.document.main+xml"/></Types>'
    )
    relations = (
        '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
        '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1" '
        'Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" '
        'Target="word/document.xml"/></Relationships>'
    )
    content = (
        '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
        '<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body><w:p><w:r>'
        f"<w:t>{text}</w:t></w:r></w:p></w:body></w:document>"
    )
    return archive(
        {
            "[Content_Types].xml": types.encode(),
            "_rels/.rels": relations.encode(),
            "word/document.xml": content.encode(),
        }
    )


def calendar(summary: str) -> bytes:
    """One appointment (RFC 5545), with CRLF line ends as its standard wants."""
    lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//harbour//samples//EN",
        "METHOD:REQUEST",
        "BEGIN:VEVENT",
        "UID:visit-2026@harbour.example.org",
        "DTSTAMP:20261102T080000Z",
        "DTSTART:20261120T130000Z",
        "DTEND:20261120T150000Z",
        f"SUMMARY:{summary}",
        "ORGANIZER:mailto:ada@example.org",
        "END:VEVENT",
        "END:VCALENDAR",
        "",
    ]
    return "\r\n".join(lines).encode()


TABLE = "ship;arrived;cargo\nMarie;1903-05-02;salt\nÅse;1903-05-04;herring\n".encode("iso-8859-1")
INVOICE = pdf("Invoice 2026-117: two masts, one anchor")
MAP = png(24, 24, (20, 90, 160))
LOGO = png(12, 12, (180, 30, 30))
