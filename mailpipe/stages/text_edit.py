"""Edits of the text of a leaf: octets that nobody edited stay, charset and transfer encoding as far as they can.

    edited(leaf, [(start, stop, "new text")], line_end=line_end)     # None where it cannot be done without loss
    bodies(message)                                                   # the text parts that a reader takes for the body

Places are counted in the characters of `leaf.text`. Where the charset of the part cannot say what is new, the part
becomes UTF-8.

Never here: what is to be written.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from mailpipe.codec import charset as charsets
from mailpipe.codec import transfer
from mailpipe.codec.charset import DecodedText
from mailpipe.codec.labels import ASCII_SUPERSETS
from mailpipe.fields.value import FieldValue
from mailpipe.message import Entity, Field, Header, Message
from mailpipe.writer.downgrade import SIGNED

Edit = tuple[int, int, str]
"""From where to where in the text, and what stands there afterwards."""

OPAQUE = SIGNED | {"multipart/report", "application/pkcs7-mime", "application/x-pkcs7-mime"}
"""What is signed or encrypted, and what machines read: no text is added to it."""

CONTENT_FIELDS = (
    "MIME-Version", "Content-Type", "Content-Transfer-Encoding", "Content-Disposition", "Content-ID",
    "Content-Description",
)  # fmt: skip
"""The fields of a message that go with its body."""


@dataclass(frozen=True, slots=True)
class Bodies:
    """What a reader takes for the body.

    Attributes:
        leaves: text/plain and text/html leaves with their paths, in order; several where they are alternatives.
        opaque: the paths of signed, encrypted and machine-readable parts that stand where a body would be.
    """

    leaves: tuple[tuple[str, Entity], ...]
    opaque: tuple[str, ...]


def bodies(message: Message) -> Bodies:
    """The text parts that are shown first: each alternative, the root of a related, the first of any other multipart.

    Attachments, enclosed messages and what is signed are passed over (RFC 2046 section 5.1, RFC 2387).
    """
    leaves: list[tuple[str, Entity]] = []
    opaque: list[str] = []
    _find(message, "", leaves, opaque)
    return Bodies(tuple(leaves), tuple(opaque))


def _find(entity: Entity, path: str, leaves: list[tuple[str, Entity]], opaque: list[str]) -> bool:
    """Look for bodies below an entity; the parser sees to it that this does not go deep."""
    kind = entity.content_type
    if kind.value in OPAQUE:
        opaque.append(path)
        return True
    if not entity.is_multipart:
        if kind.value in ("text/plain", "text/html") and not entity.is_attachment:
            leaves.append((path, entity))
            return True
        return False
    is_found = False
    for number, part in _in_order(entity):
        is_found |= _find(part, f"{path}.{number}" if path else str(number), leaves, opaque)
        if is_found and kind.subtype != "alternative":
            break
    return is_found


def _in_order(entity: Entity) -> list[tuple[int, Entity]]:
    """The parts with their numbers; of a multipart/related its root alone (RFC 2387 section 3.2)."""
    parts = list(enumerate(entity.parts, 1))
    if entity.content_type.subtype != "related":
        return parts
    wanted = entity.content_type.params.get("start", "").strip().strip("<>")
    return [(number, part) for number, part in parts if wanted and part.content_id == wanted][:1] or parts[:1]


def line_end_of(text: str, usual: bytes) -> str:
    """How the lines of a text end; as usual where it has but one."""
    if "\r\n" in text:
        return "\r\n"
    return "\n" if "\n" in text else usual.decode("ascii")


def edited(leaf: Entity, edits: Sequence[Edit], *, line_end: bytes) -> Entity | None:
    """The same text leaf with another text in some places; None where that would lose what it says.

    Args:
        leaf: a leaf of type text.
        edits: places that do not overlap, in order.
        line_end: what ends a field that has to be added.
    """
    if transfer.canonical(leaf.transfer_encoding) is None:
        return None
    decoded = leaf.decoded_text
    wanted = _applied(decoded.text, edits)
    octets, label = leaf.octets, leaf.content_type.charset
    spliced = _spliced(octets, decoded, edits)
    if spliced is not None and (decoded.is_lossy or charsets.decode_text(spliced, label).text == wanted):
        return with_octets(leaf, spliced, None, line_end)
    if decoded.is_lossy or decoded.known_by in ("detected", "fallback"):
        return None  # what was guessed may be shown so, but not be written down
    return in_charset(leaf, wanted, line_end)


def in_charset(leaf: Entity, text: str, line_end: bytes, charset: str | None = None) -> Entity:
    """A text leaf with the given text: in a charset, by default its own, or in UTF-8 where that cannot say it."""
    declared = leaf.content_type.charset
    wanted = charset or declared
    if wanted and (charsets.codec_name(wanted) or "utf_16").startswith(("utf_16", "utf_32", "utf_7")):
        wanted = None
    octets, label = charsets.encode_text(text, wanted)
    codec = charsets.codec_name(declared) if declared else "ascii"
    is_said = codec == charsets.codec_name(label) or (octets.isascii() and codec in ASCII_SUPERSETS)
    if charset is None and is_said and charsets.decode_text(octets, declared).text == text:
        return with_octets(leaf, octets, None, line_end)
    return with_octets(leaf, octets, label, line_end)


def with_octets(leaf: Entity, octets: bytes, charset: str | None, line_end: bytes) -> Entity:
    """A text leaf with other octets under its own transfer encoding, or a better one where that cannot say them.

    Args:
        leaf: the leaf.
        octets: its new content, not encoded.
        charset: its new charset; None: as it was.
        line_end: what ends a field that has to be added.
    """
    header, old = leaf.header, transfer.canonical(leaf.transfer_encoding)
    if charset is not None:
        header = with_set(header, "Content-Type", leaf.content_type.with_param("charset", charset), line_end)
    token = old
    if old in (None, "x-uuencode") or (old == "7bit" and not octets.isascii() and leaf.raw_body.isascii()):
        token = transfer.choose(octets, "7bit", is_text=True)
    assert token is not None
    if token != old:
        header = with_set(header, "Content-Transfer-Encoding", token, line_end)
    if isinstance(leaf, Message) and header is not leaf.header and "mime-version" not in header:
        header = with_set(header, "MIME-Version", "1.0", line_end)
    # the field as the sender wrote it is put back, where it says the same
    return leaf.with_octets(octets, token, header=header, is_text=True).with_header(header)


def with_set(header: Header, name: str, value: "str | FieldValue", line_end: bytes) -> Header:
    """A header with a field set; one that is added ends as the lines of the message do."""
    if name in header:
        return header.with_field(name, value)
    return header.with_fields([*header.lines, Field.compose(name, value, line_end)])


def _applied(text: str, edits: Sequence[Edit]) -> str:
    pieces, position = [], 0
    for start, stop, new in edits:
        pieces += [text[position:start], new]
        position = stop
    pieces.append(text[position:])
    return "".join(pieces)


def _spliced(octets: bytes, decoded: DecodedText, edits: Sequence[Edit]) -> bytes | None:
    """The octets with those of the edits among them; None where characters and octets do not go together."""
    codec, text = charsets.codec_name(decoded.charset), decoded.text
    if codec is None or codec.startswith(("utf_16", "utf_32")):
        return None
    if len(edits) == 1 and edits[0][0] == edits[0][1] == len(text) and codec in ASCII_SUPERSETS:
        try:
            return octets + edits[0][2].encode("ascii" if decoded.is_lossy else codec)
        except UnicodeError:
            return None
    pieces, at, position = list[bytes](), 0, 0
    try:
        for start, stop, new in edits:
            kept, old = text[position:start].encode(codec), text[start:stop].encode(codec)
            if octets[at : at + len(kept) + len(old)] != kept + old:
                return None
            pieces += [kept, new.encode(codec)]
            at, position = at + len(kept) + len(old), stop
    except UnicodeError:
        return None
    pieces.append(octets[at:])
    return b"".join(pieces)
