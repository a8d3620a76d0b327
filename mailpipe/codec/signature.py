"""What octets are, by their own signs and not by what a sender calls them.

    content = signature.identify(octets)
    content.kind, content.groups                # "docm", frozenset({"office", "macro", "zip"})

Kinds go in groups: executable, script, shortcut, archive, disk-image, office, document, image, audio, video, text. A
container says in addition that it is "encrypted", that it holds a "macro" or an "embedded" object, and which format it
is underneath ("zip", "ole").

Never here: what is allowed, and names; what is inside a container is listed by `container`.
"""

import re
import struct
from dataclasses import dataclass

from mailpipe.codec import ole, zip_directory

__all__ = ["GROUPS", "KINDS", "Content", "identify"]

_GROUPED = {
    "executable": "pe dos elf macho java-class dex wasm rpm deb msi jar apk chm",
    "script": "shell-script php batch registry script-host powershell",
    "shortcut": "lnk url",
    "archive": """zip rar 7z gzip xz bzip2 zstd lz4 lzip cab ace arj lha tar compress xar ar cpio tnef jar apk
        iso udf vhd vhdx wim dmg squashfs""",
    "disk-image": "iso udf vhd vhdx wim dmg squashfs",
    "office": "doc xls ppt docx xlsx pptx xlsb visio odf onenote ole office-encrypted",
    "document": "pdf rtf postscript epub xps djvu msg",
    "image": "png jpeg gif bmp tiff webp ico svg psd heif",
    "audio": "mp3 ogg flac wav midi amr",
    "video": "mp4 matroska avi mpeg asf flash",
    "text": "html xml calendar vcard pgp pem text",
}
KINDS: dict[str, frozenset[str]] = {
    kind: frozenset(group for group, kinds in _GROUPED.items() if kind in kinds.split())
    for kind in (*" ".join(_GROUPED.values()).split(), "unknown")
}
"""Kind → its groups."""
GROUPS = frozenset(_GROUPED) | {"encrypted", "macro", "embedded", "zip", "ole"}
"""Every word that `Content.groups` may hold."""

_SIGNS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x7fELF", "elf"),
    (0, b"\xfe\xed\xfa\xce", "macho"), (0, b"\xfe\xed\xfa\xcf", "macho"),
    (0, b"\xce\xfa\xed\xfe", "macho"), (0, b"\xcf\xfa\xed\xfe", "macho"),
    (0, b"dex\n", "dex"), (0, b"\0asm", "wasm"), (0, b"\xed\xab\xee\xdb", "rpm"), (0, b"ITSF", "chm"),
    (0, b"L\0\0\0\x01\x14\x02\0", "lnk"), (0, b"[InternetShortcut]", "url"),
    (0, b"REGEDIT4", "registry"), (0, b"Windows Registry Editor", "registry"),
    (0, b"Rar!\x1a\x07", "rar"), (0, b"7z\xbc\xaf\x27\x1c", "7z"), (0, b"\x1f\x8b\x08", "gzip"),
    (0, b"\xfd7zXZ\0", "xz"), (0, b"\x28\xb5\x2f\xfd", "zstd"), (0, b"\x04\x22\x4d\x18", "lz4"),
    (0, b"LZIP\x01", "lzip"),
    (0, b"MSCF\0\0\0\0", "cab"), (7, b"**ACE**", "ace"), (0, b"\x60\xea", "arj"), (257, b"ustar", "tar"),
    (0, b"\x1f\x9d", "compress"), (0, b"xar!", "xar"), (0, b"070701", "cpio"), (0, b"\x78\x9f\x3e\x22", "tnef"),
    (0, b"conectix", "vhd"), (0, b"vhdxfile", "vhdx"), (0, b"MSWIM\0\0\0", "wim"), (0, b"hsqs", "squashfs"),
    (0x8001, b"CD001", "iso"), (0x8001, b"BEA01", "udf"), (0x8001, b"NSR0", "udf"),
    (0, b"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d", "onenote"),
    (0, b"{\\rt", "rtf"), (0, b"%!PS", "postscript"), (0, b"AT&TFORM", "djvu"),
    (0, b"\x89PNG\r\n\x1a\n", "png"), (0, b"\xff\xd8\xff", "jpeg"), (0, b"GIF87a", "gif"), (0, b"GIF89a", "gif"),
    (0, b"II*\0", "tiff"), (0, b"MM\0*", "tiff"), (0, b"8BPS", "psd"), (0, b"\0\0\x01\0", "ico"),
    (0, b"ID3", "mp3"), (0, b"\xff\xfb", "mp3"), (0, b"OggS", "ogg"), (0, b"fLaC", "flac"), (0, b"MThd", "midi"),
    (0, b"#!AMR", "amr"), (0, b"\x1a\x45\xdf\xa3", "matroska"), (0, b"\0\0\x01\xba", "mpeg"),
    (0, b"\0\0\x01\xb3", "mpeg"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"), (0, b"FWS", "flash"), (0, b"CWS", "flash"), (0, b"ZWS", "flash"),
)  # fmt: skip
_WORDS = tuple(
    (re.compile(pattern, re.IGNORECASE), kind)
    for pattern, kind in (
        (rb"<\?php\b", "php"),
        (rb"<(?:job|package|scriptlet|component|hta:application)\b", "script-host"),
        (rb"<svg\b", "svg"),
        (rb"<!doctype[ \t\r\n]+html|<(?:html|head|body|script|iframe|table|meta|title|a|div|p|style|form)\b", "html"),
        (rb"<\?xml\b", "xml"),
        (rb"@?(?:echo off|setlocal)\b", "batch"),
        (rb"BEGIN:VCALENDAR", "calendar"),
        (rb"BEGIN:VCARD", "vcard"),
        (rb"-----BEGIN PGP ", "pgp"),
        (rb"-----BEGIN [A-Z]", "pem"),
        (rb"on error resume next|(?:dim|set) \w+(?: *= *createobject\(|\r?\n)", "script-host"),
        (rb"(?:var \w+ *= *)?new activexobject\(", "script-host"),
        (rb"\$\w+ *= *new-object |powershell(?:\.exe)? |invoke-expression |iex ?\(", "powershell"),
    )
)
_LHA = re.compile(rb"-l[hz][0-9ds]-")
_BZIP2 = re.compile(rb"BZh[1-9](?:1AY&SY|\x17\x72\x45\x38)")
_SVG = re.compile(rb"<svg\b", re.IGNORECASE)
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)
_HEIF = (b"heic", b"heix", b"mif1", b"avif", b"msf1")


@dataclass(frozen=True, slots=True)
class Content:
    """What octets are.

    Attributes:
        kind: "pe", "zip", "docx", "pdf", …; "unknown" where nothing is recognised.
        groups: "executable", "archive", "macro", "encrypted", …; see `GROUPS`.
    """

    kind: str
    groups: frozenset[str]

    @property
    def words(self) -> frozenset[str]:
        """The kind and the groups together."""
        return self.groups | {self.kind}


def _content(kind: str, *more: str) -> Content:
    return Content(kind, KINDS[kind] | frozenset(more))


def identify(octets: bytes) -> Content:
    r"""What octets are. Never raises; looks at the beginning, and at the directory at the end of a zip.

    >>> identify(b"MZ" + bytes(58) + b"\x40\0\0\0PE\0\0").kind, identify(b"%PDF-1.7\n").kind
    ('pe', 'pdf')
    """
    found = _by_sign(octets)
    # a picture in front of a zip is a picture to its viewer and a zip to an unpacker
    if found.kind != "zip" and not found.groups & {"zip", "ole"}:
        directory = zip_directory.read(octets, most=2000)
        if directory is not None and directory.entries:
            inside = _zip(directory)
            return Content(found.kind, found.groups | inside.groups | {inside.kind, "archive"})
    return found


def _by_sign(octets: bytes) -> Content:
    start = octets[:8]
    if start[:2] == b"MZ":
        return _content("pe" if _is_pe(octets) else "dos")
    if start[:4] in (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08") or start[:4] == b"PK00":
        directory = zip_directory.read(octets, most=2000)
        return _content("zip", "zip") if directory is None else _zip(directory)
    if start == ole.SIGN:
        return _ole(octets)
    if start[:4] == b"\xca\xfe\xba\xbe":
        # a fat binary has a few architectures, a class file a version above 44 there
        return _content("macho" if int.from_bytes(octets[4:8], "big") < 40 else "java-class")
    if start == b"!<arch>\n":
        return _content("deb" if octets[8:21] == b"debian-binary" else "ar")
    for offset, sign, kind in _SIGNS:
        if octets.startswith(sign, offset):
            return _content(kind)
    return _content(_by_inner_sign(octets))


def _by_inner_sign(octets: bytes) -> str:
    """The kind by signs that stand a little further on, or are words."""
    start = octets[:16]
    if start[:4] == b"RIFF":
        return {b"WEBP": "webp", b"WAVE": "wav", b"AVI ": "avi"}.get(start[8:12], "unknown")
    if start[4:8] == b"ftyp":
        return "heif" if start[8:12] in _HEIF else "mp4"
    if start[:2] == b"BM" and int.from_bytes(octets[14:18], "little") in _BMP_HEADERS:
        return "bmp"
    if _LHA.match(octets, 2):
        return "lha"
    if _BZIP2.match(octets):
        return "bzip2"
    if octets[-512:-508] == b"koly":
        return "dmg"
    if b"%PDF-" in octets[:1024]:
        return "pdf"
    return _by_words(octets)


def _by_words(octets: bytes) -> str:
    head = octets[:4096]
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        head = head.decode("utf-16", "ignore").encode()
    head = head.removeprefix(b"\xef\xbb\xbf")
    if head.startswith(b"#!"):
        return "shell-script"
    words = head.lstrip(b" \t\r\n\f;'")
    while words.startswith(b"<!--"):  # comments before the first tag
        end = words.find(b"-->")
        if end < 0:
            return "html"
        words = words[end + 3 :].lstrip(b" \t\r\n\f")
    for sign, kind in _WORDS:
        if sign.match(words):
            return "svg" if kind == "xml" and _SVG.search(words) else kind
    return "text" if head and b"\0" not in head and _is_text(head) else "unknown"


def _is_text(head: bytes) -> bool:
    return not head.translate(None, bytes({*range(0x20, 0x7F), *range(0x80, 0x100), 7, 8, 9, 10, 12, 13, 27}))


def _is_pe(octets: bytes) -> bool:
    try:
        (place,) = struct.unpack_from("<I", octets, 0x3C)
    except struct.error:
        return False
    return octets[place : place + 4] == b"PE\0\0"


def _zip(directory: zip_directory.Directory) -> Content:
    """What a zip is, by the names in its directory (ECMA-376 part 2, JAR, ODF part 2)."""
    names = {entry.name.replace("\\", "/").lower().lstrip("/") for entry in directory.entries}
    more = ["zip"]
    if any(entry.is_encrypted for entry in directory.entries):
        more.append("encrypted")
    if "[content_types].xml" in names:
        if any(name.endswith("vbaproject.bin") or name.startswith("xl/macrosheets/") for name in names):
            more.append("macro")
        if any("/embeddings/" in name or "/activex/" in name for name in names):
            more.append("embedded")
        for kind, folder in (("docx", "word/"), ("pptx", "ppt/"), ("visio", "visio/")):
            if any(name.startswith(folder) for name in names):
                return _content(kind, *more)
        if any(name.startswith("xl/") for name in names):
            return _content("xlsb" if "xl/workbook.bin" in names else "xlsx", *more)
        return _content("xps" if any(name.endswith(".fdseq") for name in names) else "zip", *more)
    if "androidmanifest.xml" in names:
        return _content("apk", *more)
    if "meta-inf/manifest.mf" in names or any(name.endswith(".class") for name in names):
        return _content("jar", *more)
    if "mimetype" in names and "meta-inf/manifest.xml" in names:
        if any(name.startswith(("basic/", "scripts/")) for name in names):
            more.append("macro")
        return _content("odf", *more)
    if "mimetype" in names and "meta-inf/container.xml" in names:
        return _content("epub", *more)
    return _content("zip", *more)


def _ole(octets: bytes) -> Content:
    """What a compound file is, by the names of its streams (MS-CFB, MS-OVBA, MS-OFFCRYPTO)."""
    directory = ole.read(octets)
    names = {name.lower() for name in directory.names}
    more = ["ole"]
    if names & {"vba", "_vba_project", "_vba_project_cur", "macros"}:
        more.append("macro")
    if names & {"\x01ole10native", "objectpool", "package"} or any(name.startswith("mbd") for name in names):
        more.append("embedded")
    if names & {"encryptedpackage", "encryption"}:
        return _content("office-encrypted", "encrypted", *more)
    if directory.root_class == ole.MSI_CLASS or any("\u4840" in name for name in directory.names):
        return _content("msi", *more)
    if "__properties_version1.0" in names:
        return _content("msg", *more)
    for kind, streams in (("doc", {"worddocument"}), ("xls", {"workbook", "book"}), ("ppt", {"powerpoint document"})):
        if names & streams:
            return _content(kind, *more)
    return _content("ole", *more)
