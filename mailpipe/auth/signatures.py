"""Which signatures a message has, which octets each covers, and which of them an edit breaks; without a key or the DNS.

    for one in signatures_of(message):
        print(one.description, one.fields, one.body, one.parts)     # "DKIM example.org selector s1", …
    broken_by(before, after)

Known are DKIM (RFC 6376), ARC (RFC 8617), PGP/MIME (RFC 3156), PGP in texts (RFC 9580 section 7), S/MIME (RFC 8551).
A message without any costs a look at its field names and its structure, and a search in its texts for "-----BEGIN PGP".

Never here: whether a signature is valid; that takes a key. What is said is whether it still covers what it covered.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from mailpipe.auth.arc import instance_of
from mailpipe.auth.canonical import Canonical, with_crlf
from mailpipe.auth.signature_field import ARC_MESSAGE, ARC_RESULTS, ARC_SEAL, DKIM, SignatureField, relaxed_own
from mailpipe.auth.signature_field import Kind as FieldKind
from mailpipe.message import Entity, Message

MAX_BLOCKS = 20
"""LIMIT: PGP blocks that are looked for in one text."""
MAX_ELEMENTS = 100_000
"""LIMIT: elements of S/MIME content of unknown length in which its end is looked for."""
_TRAILING = re.compile(rb"(?<![ \t])[ \t]++(?=\r\n)")  # the look behind keeps long runs of blanks linear
_WORD = re.compile(r"[A-Za-z0-9-]{1,40}")
_BEGIN = b"-----BEGIN PGP "
_BLOCKS = (
    (b"-----BEGIN PGP SIGNED MESSAGE-----", b"-----END PGP SIGNATURE-----"),
    (b"-----BEGIN PGP MESSAGE-----", b"-----END PGP MESSAGE-----"),
)
_ARC: tuple[Literal["arc-authentication-results"] | FieldKind, ...] = (ARC_RESULTS, ARC_MESSAGE, ARC_SEAL)
_HEADER_FIELDS = (DKIM, ARC_MESSAGE, ARC_SEAL)


class Kind(StrEnum):
    """What a signature is made by."""

    DKIM = "DKIM"
    ARC_MESSAGE = "ARC message signature"
    ARC_SEAL = "ARC seal"
    PGP_MIME = "PGP/MIME"
    PGP_ENCRYPTED = "PGP/MIME encrypted"
    PGP_INLINE = "PGP inline"
    SMIME = "S/MIME"
    SMIME_OPAQUE = "S/MIME opaque"


class State(StrEnum):
    """What became of a signature."""

    KEPT = "kept"
    BROKEN = "broken"
    REMOVED = "removed"
    BROKEN_BEFORE = "broken before"


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature of a message.

    Attributes:
        kind: what it is made by.
        description: one line for a person: "DKIM example.org selector s1", "PGP/MIME part 1".
        path: of the entity that holds it, as in `Entity.walk`; "" for the message and for fields.
        place: of its field among the lines of the header, -1 for what is no field.
        fields: names of the fields that it covers, as written; "ARC-…" for a seal.
        body: whether it covers anything behind the header of the message.
        parts: paths of the entities that it covers.
        own: what it is found again by in another message.
    """

    kind: Kind
    description: str
    path: str = ""
    place: int = -1
    fields: tuple[str, ...] = ()
    body: bool = True
    parts: tuple[str, ...] = ()
    own: bytes = field(default=b"", repr=False)
    _read: SignatureField | None = field(default=None, repr=False)

    @property
    def is_field(self) -> bool:
        """Whether it stands in the header."""
        return self._read is not None

    def covers(self, fields: Sequence[str] = (), *, body: bool = False) -> bool:
        """Whether it covers any of these fields, or of the body; "*" is any field.

        An edit of what it does not cover leaves it whole; an edit of what it covers may.
        """
        if body and self.body:
            return True
        mine = {name.casefold() for name in self.fields}
        return any(name.casefold() in mine or (name == "*" and bool(mine)) for name in fields)

    def digest(self, message: Message) -> bytes | None:
        """The digest of the canonical octets that it covers in a message; None where it is not there.

        Two messages with the same digest are the same to whoever verifies it.
        """
        if self._read is None:
            return next((digest for one, digest in _in_parts(message) if one.own == self.own), None)
        canonical = Canonical(message)
        place = _place(canonical, self)
        return None if place < 0 else _field_digest(canonical, self, place)

    def is_whole(self, message: Message) -> bool:
        """Whether the body of the message is the one that was signed, as far as that can be seen without a key."""
        return self._read is None or (not self._read.problem and self._read.body_fits(Canonical(message)))

    def __str__(self) -> str:
        return self.description


def signatures_of(message: Message) -> tuple[Signature, ...]:
    """Every signature of a message: those in its header from the top, then those of its parts in order.

    What is enclosed as message/rfc822 counts with its MIME and PGP signatures; the fields of its header do not.
    """
    return (*_in_header(message), *(one for one, _ in _in_parts(message)))


def survival(before: Message, after: Message) -> tuple[tuple[Signature, State], ...]:
    """What became of each signature of a message when it was changed into another."""
    found: list[tuple[Signature, State]] = []
    in_header = list(_in_header(before))
    if in_header:
        old = Canonical(before)
        new = Canonical(after, like=old)
        for one in in_header:
            assert one._read is not None
            if one._read.problem or not one._read.body_fits(old):
                found.append((one, State.BROKEN_BEFORE))
                continue
            place = _place(new, one)
            if place < 0:
                found.append((one, State.REMOVED))
                continue
            is_same = _field_digest(old, one, one.place) == _field_digest(new, one, place)
            found.append((one, State.KEPT if is_same else State.BROKEN))
    in_parts = list(_in_parts(before))
    if in_parts:
        later = list(_in_parts(after))
        left = Counter((one.kind, digest) for one, digest in later)
        owns = {one.own for one, _ in later}
        for one, digest in in_parts:
            if left[one.kind, digest]:
                left[one.kind, digest] -= 1
                found.append((one, State.KEPT))
            else:
                found.append((one, State.BROKEN if one.own in owns else State.REMOVED))
    return tuple(found)


def broken_by(before: Message, after: Message) -> tuple[Signature, ...]:
    """The signatures that were whole before a change and are not behind it, or are gone.

    One whose body did not fit already before is not among them; `survival` names it.
    """
    if before is after:
        return ()
    return tuple(one for one, state in survival(before, after) if state in (State.BROKEN, State.REMOVED))


# -- in the header


def _in_header(message: Message) -> Iterator[Signature]:
    if not any(name in message.header for name in _HEADER_FIELDS):
        return
    for place, line in enumerate(message.header.lines):
        if line.key == DKIM:
            read = SignatureField.parse(line.raw, DKIM)
            yield Signature(
                Kind.DKIM, str(read), "", place, read.names, read.length != 0, own=relaxed_own(line.raw), _read=read
            )
        elif line.key == ARC_MESSAGE:
            read = SignatureField.parse(line.raw, ARC_MESSAGE)
            yield Signature(Kind.ARC_MESSAGE, str(read), "", place, read.names, own=relaxed_own(line.raw), _read=read)
        elif line.key == ARC_SEAL:
            read = SignatureField.parse(line.raw, ARC_SEAL)
            names = ("ARC-Authentication-Results", "ARC-Message-Signature", "ARC-Seal")
            yield Signature(Kind.ARC_SEAL, str(read), "", place, names, False, own=relaxed_own(line.raw), _read=read)


def _place(canonical: Canonical, one: Signature) -> int:
    """Where a signature of the header stands in a message, -1 where it does not."""
    assert one._read is not None
    places = canonical.places(one._read.kind)
    return next((place for place in places if relaxed_own(canonical.raw(place)) == one.own), -1)


def _field_digest(canonical: Canonical, one: Signature, place: int) -> bytes:
    assert one._read is not None
    read = SignatureField.parse(canonical.raw(place), one._read.kind)
    if read.kind == ARC_SEAL:
        return hashlib.sha256(_sealed(canonical, read, place)).digest()
    name = read.hash_name or "sha256"
    body = canonical.body_digest(read.body_form, name, read.length)
    return hashlib.sha256(read.signed_header(canonical, place) + b"\r\n" + (body or b"short")).digest()


def _sealed(canonical: Canonical, read: SignatureField, place: int) -> bytes:
    """The fields that a seal covers: its own set, and those before it where the chain had not failed."""
    first = read.instance if read.chain == "fail" else 1
    covered: list[tuple[int, int, bytes]] = []
    for order, key in enumerate(_ARC):
        for each in canonical.places(key):
            raw = canonical.raw(each)
            number = instance_of(raw) if key == ARC_RESULTS else SignatureField.parse(raw, key).instance
            if first <= number <= read.instance and each != place:
                covered.append((number, order, canonical.field(each, "relaxed")))
    return b"".join((*(octets for _, _, octets in sorted(covered)), read.signed_header(canonical, place)))


# -- in the parts


def _in_parts(message: Message) -> Iterator[tuple[Signature, bytes]]:
    """The signatures of parts, each with the digest of what it covers."""
    is_cr = message.header.line_end == b"\r"
    for path, entity in message.walk():
        kind = entity.content_type
        if kind.type == "text":
            yield from _in_text(path, entity)
        elif kind.value in ("multipart/signed", "multipart/encrypted"):
            yield from _in_multipart(path, entity, is_cr)
        elif kind.value in ("application/pkcs7-mime", "application/x-pkcs7-mime"):
            word = kind.params.get("smime-type") or ""
            said = f"S/MIME {word if _WORD.fullmatch(word) else 'opaque'} part {path or '1'}"
            octets = entity.octets
            digest = hashlib.sha256(octets[: _end_of_ber(octets)]).digest()
            yield Signature(Kind.SMIME_OPAQUE, said, path, parts=(path or "1",), own=digest), digest


def _end_of_ber(octets: bytes) -> int:
    """Where the value that begins octets ends (X.690 section 8.1); verifiers do not look at what is behind it."""
    at = depth = 0
    for _ in range(MAX_ELEMENTS):
        start = at
        if at + 2 > len(octets) or octets[at] & 0x1F == 0x1F:
            break  # cut off, or a kind of tag that CMS does not have
        length, at = octets[at + 1], at + 2
        if length == 0x80:
            depth += 1
            continue
        if length > 0x80:
            length, at = int.from_bytes(octets[at : at + length - 0x80]), at + length - 0x80
        at += length
        if octets[start] == 0 and length == 0:
            depth -= 1
        if depth <= 0:
            return at
    return len(octets)


def _in_multipart(path: str, entity: Entity, is_cr: bool) -> Iterator[tuple[Signature, bytes]]:
    """multipart/signed and multipart/encrypted (RFC 1847 section 2)."""
    parts = entity.parts
    if len(parts) < 2:
        return
    protocol = (entity.content_type.params.get("protocol") or parts[1].content_type.value).lower()
    is_signed = entity.content_type.value == "multipart/signed"
    kind = Kind.SMIME if "pkcs7" in protocol else Kind.PGP_MIME if is_signed else Kind.PGP_ENCRYPTED
    below = "1" if is_signed else "2"
    inside = f"{path}.{below}" if path and not path.endswith("TEXT") else f"{path.removesuffix('TEXT')}{below}"
    own = hashlib.sha256(with_crlf(parts[1].octets)).digest()
    covered = with_crlf(parts[0].raw, is_cr=is_cr) if is_signed else b""
    digest = hashlib.sha256(own + covered).digest()
    yield Signature(kind, f"{kind} part {inside}", path, parts=(inside,), own=own), digest


def _in_text(path: str, entity: Entity) -> Iterator[tuple[Signature, bytes]]:
    """Blocks of PGP in a text; blanks at the ends of signed lines do not count (RFC 9580 section 7.2)."""
    raw = entity.raw_body
    encoding = entity.transfer_encoding
    if encoding == "base64":
        raw = entity.octets
    elif b"-----BEGIN" not in raw:
        return
    elif encoding == "quoted-printable":
        raw = entity.octets
    if _BEGIN not in raw:
        return
    for begin, end in _BLOCKS:
        at = 0
        for _ in range(MAX_BLOCKS):
            start = raw.find(begin, at)
            stop = raw.find(end, start)
            if start < 0 or stop < 0:
                break
            at = stop + len(end)
            if start and raw[start - 1] not in b"\r\n":
                continue
            octets = _TRAILING.sub(b"", with_crlf(raw[start:at], is_cr=b"\n" not in raw))
            digest = hashlib.sha256(octets).digest()
            # the armored signature at the end tells it from others
            own = hashlib.sha256(octets[octets.rfind(_BEGIN) :]).digest()
            said = f"PGP in part {path or '1'}"
            yield Signature(Kind.PGP_INLINE, said, path, parts=(path or "1",), own=own), digest
