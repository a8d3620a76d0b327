"""TNEF, the "winmail.dat" of Outlook (MS-OXTNEF): attachments, body and properties of a message in one attachment.

    found = tnef.read(octets)
    found.attachments[0].filename, found.attachments[0].octets
    found.body, found.html, found.rtf

Nothing raises: what is damaged is read as far as it goes, and `is_whole` says whether it went to the end.

Never here: RTF (`codec.rtf`), and what becomes of what was found.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from mailpipe.codec import charset as charsets

__all__ = ["SIGN", "Attachment", "Tnef", "read"]

SIGN = b"\x78\x9f\x3e\x22"

# LIMIT: a stream of millions of little attributes, and messages within messages within messages.
_MOST_ATTRIBUTES = 20_000
_MOST_PROPERTIES = 20_000
_DEEPEST = 8

# attributes (MS-OXTNEF section 2.1.3.3), without the type in their upper half
_SUBJECT, _MESSAGE_CLASS, _BODY = 0x8004, 0x8008, 0x800C
_DATA, _TITLE, _RENDER, _MESSAGE_PROPERTIES, _ATTACHMENT_PROPERTIES = 0x800F, 0x8010, 0x9002, 0x9003, 0x9005
_CODEPAGE = 0x9007

# properties (MS-OXPROPS)
_P_SUBJECT, _P_BODY, _P_RTF, _P_HTML, _P_CODEPAGE, _P_CLASS = 0x0037, 0x1000, 0x1009, 0x1013, 0x3FDE, 0x001A
_P_DATA, _P_SHORT_NAME, _P_METHOD, _P_LONG_NAME, _P_TYPE, _P_ID = 0x3701, 0x3704, 0x3705, 0x3707, 0x370E, 0x3712
_P_DISPLAY_NAME, _P_SENDER_NAME, _P_SENDER, _P_HIDDEN = 0x3001, 0x0C1A, 0x0C1F, 0x7FFE

_SIZES = {1: 0, 2: 4, 3: 4, 4: 4, 5: 8, 6: 8, 7: 8, 0xA: 4, 0xB: 4, 0x14: 8, 0x40: 8, 0x48: 16}
_VARIABLE = (0xD, 0x1E, 0x1F, 0x102)

Value = int | float | str | bytes
Properties = dict[int, Value]


@dataclass(frozen=True, slots=True)
class Attachment:
    """One attachment.

    Attributes:
        filename: the long name where there is one, else the short one; "" where there is none. Unsafe as a path.
        octets: its content; b"" where it is an embedded message.
        content_type: as Outlook noted it, "" where it did not.
        content_id: without angle brackets, "" where there is none.
        embedded: the message that it is; None for a file.
        properties: identifier → value.
    """

    filename: str
    octets: bytes
    content_type: str = ""
    content_id: str = ""
    embedded: "Tnef | None" = None
    properties: Properties = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Tnef:
    """What a TNEF stream holds.

    Attributes:
        subject, sender, message_class: "" where they are not there.
        body: the plain text; None where there is none.
        html: the HTML; None where there is none.
        rtf: the text in RTF, compressed as MS-OXRTFCP has it; None where there is none.
        attachments: in order.
        properties: identifier → value, of the message.
        is_whole: whether everything could be read.
    """

    subject: str = ""
    sender: str = ""
    message_class: str = ""
    body: str | None = None
    html: str | None = None
    rtf: bytes | None = None
    attachments: tuple[Attachment, ...] = ()
    properties: Properties = field(default_factory=dict, repr=False)
    is_whole: bool = True


def read(octets: bytes) -> Tnef | None:
    """What a TNEF stream holds; None where it is none."""
    return _read(octets, 0)


class _State:
    """A stream while it is read."""

    def __init__(self) -> None:
        self.codepage = "windows-1252"
        self.is_whole = True
        self.left = _MOST_PROPERTIES

    def text(self, value: Value | None) -> str:
        if isinstance(value, str):
            return value
        if isinstance(value, bytes):
            return charsets.decode_text(value.rstrip(b"\0"), self.codepage).text
        return ""


def _read(octets: bytes, depth: int) -> Tnef | None:
    if not octets.startswith(SIGN) or depth > _DEEPEST:
        return None
    state = _State()
    mine: dict[int, bytes] = {}
    properties: Properties = {}
    files: list[tuple[dict[int, bytes], Properties]] = []
    for level, name, value in _attributes(octets, state):
        if level == 2:
            if name == _RENDER or not files:
                files.append(({}, {}))
            if name == _ATTACHMENT_PROPERTIES:
                files[-1][1].update(_properties(value, state))
            else:
                files[-1][0][name] = value
        elif name == _MESSAGE_PROPERTIES:
            properties.update(_properties(value, state))
        elif name == _CODEPAGE and len(value) >= 4:
            state.codepage = _charset(int.from_bytes(value[:4], "little"))
        else:
            mine[name] = value
    attachments = tuple([_attachment(each, its, state, depth) for each, its in files])
    html, codepage = properties.get(_P_HTML), properties.get(_P_CODEPAGE)
    if isinstance(html, bytes):
        label = _charset(codepage) if isinstance(codepage, int) else None
        html = charsets.decode_text(html.rstrip(b"\0"), label).text
    body = properties.get(_P_BODY, mine.get(_BODY))
    rtf = properties.get(_P_RTF)
    return Tnef(
        state.text(properties.get(_P_SUBJECT, mine.get(_SUBJECT))),
        state.text(properties.get(_P_SENDER, properties.get(_P_SENDER_NAME))),
        state.text(properties.get(_P_CLASS, mine.get(_MESSAGE_CLASS))),
        None if body is None else state.text(body),
        html if isinstance(html, str) else None,
        rtf if isinstance(rtf, bytes) else None,
        attachments,
        properties,
        state.is_whole,
    )


def _charset(codepage: int) -> str:
    return {65001: "utf-8", 20127: "us-ascii", 28591: "iso-8859-1", 50220: "iso-2022-jp"}.get(
        codepage, f"windows-{codepage}" if 1250 <= codepage <= 1258 else f"cp{codepage}"
    )


def _attributes(octets: bytes, state: _State) -> Iterator[tuple[int, int, bytes]]:
    """Level, name and value of each attribute (section 2.1.3.1)."""
    position, size = 6, len(octets)
    for _ in range(_MOST_ATTRIBUTES):
        if position + 9 > size:
            state.is_whole &= position >= size
            return
        level, name, length = struct.unpack_from("<BII", octets, position)
        start = position + 9
        if level not in (1, 2) or start + length > size:
            state.is_whole = False
            if level in (1, 2) and name & 0xFFFF in (_DATA, _BODY):  # the last one, cut short on its way
                yield level, name & 0xFFFF, octets[start:]
            return
        yield level, name & 0xFFFF, octets[start : start + length]
        position = start + length + 2
    state.is_whole = False


def _properties(octets: bytes, state: _State) -> Properties:
    """The properties of a property list (section 2.1.3.4); of several values the first."""
    found: Properties = {}
    if len(octets) < 4:
        state.is_whole = False
        return found
    count, position = int.from_bytes(octets[:4], "little"), 4
    try:
        for _ in range(count):
            state.left -= 1
            if state.left < 0:
                state.is_whole = False
                break
            kind, name = struct.unpack_from("<HH", octets, position)
            position += 4
            if name >= 0x8000:  # a named property: its set, and a number or a word in it
                (form,) = struct.unpack_from("<I", octets, position + 16)
                position += 20
                (length,) = struct.unpack_from("<I", octets, position)
                position += 4 + ((length + 3) // 4 * 4 if form else 0)
            value, position = _value(octets, kind, position)
            if value is not None and name not in found and name < 0x8000:
                found[name] = value
    except (struct.error, _DamagedError):
        state.is_whole = False
    return found


class _DamagedError(Exception):
    """Nothing behind it can be read."""


def _value(octets: bytes, kind: int, position: int) -> tuple[Value | None, int]:
    is_multiple, kind = bool(kind & 0x1000), kind & ~0x1000
    count = 1
    if is_multiple or kind in _VARIABLE:
        (count,) = struct.unpack_from("<I", octets, position)
        position += 4
        # each takes four octets at least, but for types without a value
        if count > (len(octets) - position) // 4 + 1:
            raise _DamagedError
    first: Value | None = None
    for number in range(count):
        if kind in _VARIABLE:
            (length,) = struct.unpack_from("<I", octets, position)
            position += 4
            if position + length > len(octets):
                raise _DamagedError
            raw = octets[position : position + length] if number == 0 else b""
            position += (length + 3) // 4 * 4
            value: Value | None = raw
            if kind == 0x1F:
                value = raw.decode("utf-16-le", "replace").rstrip("\0")
        else:
            size = _SIZES.get(kind)
            if size is None or position + size > len(octets):
                raise _DamagedError
            raw = octets[position : position + size]
            position += size
            value = raw if kind == 0x48 else int.from_bytes(raw, "little", signed=kind in (2, 3, 0x14)) if raw else None
            if kind == 5 and raw:
                (value,) = struct.unpack("<d", raw)
        if number == 0:
            first = value
    return first, position


def _attachment(attributes: dict[int, bytes], properties: Properties, state: _State, depth: int) -> Attachment:
    name = ""
    for candidate in (_P_LONG_NAME, _P_DISPLAY_NAME, _P_SHORT_NAME):
        name = name or state.text(properties.get(candidate)).strip()
    name = name or state.text(attributes.get(_TITLE)).strip()
    octets, embedded = attributes.get(_DATA, b""), None
    data = properties.get(_P_DATA)
    if isinstance(data, bytes):
        # an object begins with the identifier of its interface
        inner = data[16:]
        if inner.startswith(SIGN):
            embedded = _read(inner, depth + 1)
        if embedded is None and not octets:
            octets = inner if properties.get(_P_METHOD) in (5, 6) else data
    kind, identifier = state.text(properties.get(_P_TYPE)), state.text(properties.get(_P_ID)).strip("<> ")
    return Attachment(name, b"" if embedded else octets, kind.strip().lower(), identifier, embedded, properties)
