"""What a lesser peer needs: 8bit to 7bit, long lines and NULs into a transfer encoding (RFC 6152 section 3, RFC 2047).

    seven = downgrade(message, WritePolicy(encoding="7bit", smtputf8=False))

Leaves that fit stay as they are, octet for octet; so does everything below multipart/signed and multipart/encrypted,
whose octets are covered by a signature.

Never here: line ends; `write` sees to them at the very end.
"""

import re

from mailpipe.codec import transfer
from mailpipe.errors import ComposeError
from mailpipe.fields.rendering import render
from mailpipe.message import Entity, Field, Header, edit
from mailpipe.status import EnhancedStatus
from mailpipe.wire.folding import fold
from mailpipe.writer.policy import WritePolicy

_BARE_CR = re.compile(rb"\r(?!\n)")
SIGNED = frozenset({"multipart/signed", "multipart/encrypted"})


def has_longer_line(octets: bytes, length: int) -> bool:
    r"""Whether a line has more octets than that, without its end; a look at every thousandth octet or so tells.

    >>> has_longer_line(b"one\r\nthree\nfour", 4), has_longer_line(b"one\r\nthree\nfour", 5)
    (True, False)
    """
    start, size = 0, len(octets)
    while start + length < size:
        if (end := octets.rfind(b"\n", start, start + length + 1)) >= 0:
            start = end + 1  # every line up to there began behind `start`
        elif octets[start + length] == 0x0D and octets[start + length + 1 : start + length + 2] in (b"\n", b""):
            start += length + 2
        else:
            return True
    return False


def is_line_safe(octets: bytes, policy: WritePolicy, *, among_feeds: bool = False) -> bool:
    """Whether octets may be written as they are.

    Args:
        octets: a message, or the body of a leaf.
        policy: what the peer can take.
        among_feeds: other lines of the message end with LF, so that a bare CR ends none.
    """
    if policy.encoding == "binary":
        return True
    if policy.encoding == "7bit" and not octets.isascii():
        return False
    if b"\0" in octets or has_longer_line(octets, policy.line_length):
        return False
    return not (b"\r" in octets and (among_feeds or b"\n" in octets) and _BARE_CR.search(octets))


def downgrade(entity: Entity, policy: WritePolicy) -> Entity:
    """The same entity, said within the policy; the same object where nothing had to change.

    Raises:
        ComposeError: a signed part would have to change (5.6.3), or an address needs SMTPUTF8 (5.6.7).
    """
    among_feeds = entity.header.line_end != b"\r"
    covered = tuple(path for path, one in entity.walk() if one.content_type.value in SIGNED)

    def change(path: str, one: Entity) -> Entity:
        if is_below(path, covered):
            _refuse_if_needed(one, policy)
            return one
        changed = one
        is_leaf = not one.parts and not one.is_multipart
        if is_leaf and not is_line_safe(one.raw_body, policy, among_feeds=among_feeds):
            changed = reencoded(one, transfer.choose(one.octets, policy.encoding, is_text=is_text(one)))
        elif one.parts and policy.encoding == "7bit" and one.transfer_encoding in ("8bit", "binary"):
            changed = one.with_header("Content-Transfer-Encoding", "7bit")
        header = downgraded_header(changed.header, policy)
        return changed if header is changed.header else changed.with_header(header)

    return edit.map_entities(entity, change)


def is_text(leaf: Entity) -> bool:
    """Whether line ends in the content are line ends: text, and not in a charset of two-octet units."""
    kind = leaf.content_type
    return kind.type in ("text", "message") and not (kind.charset or "").lower().startswith(("utf-16", "utf-32", "ucs"))


def reencoded(leaf: Entity, token: str) -> Entity:
    """The same leaf under another transfer encoding (RFC 2045 section 6)."""
    return leaf.with_octets(leaf.octets, token, is_text=is_text(leaf))


def is_below(path: str, covered: tuple[str, ...]) -> bool:
    """Whether a path of `Entity.walk` lies inside one of others."""
    for above in covered:
        # the parts of an enclosed multipart "2.TEXT" are "2.1", "2.2", …
        prefix = above.removesuffix("TEXT") if above.endswith("TEXT") else f"{above}." if above else ""
        if path != above and path.startswith(prefix):
            return True
    return False


def _refuse_if_needed(one: Entity, policy: WritePolicy) -> None:
    """A signed part cannot be changed; long lines alone are left to the peer."""
    if one.parts or one.is_multipart:
        return
    if policy.encoding == "7bit" and not one.raw.isascii():
        error = ComposeError("a signed part holds octets above 127 and the peer does not offer 8BITMIME (RFC 6152)")
        error.status = EnhancedStatus(5, 6, 3)
        raise error


def downgraded_header(header: Header, policy: WritePolicy) -> Header:
    """A header without bare CR, NUL and overlong lines, and in ASCII where the policy asks for it."""
    octets = bytes(header)
    must_be_ascii = policy.encoding == "7bit" and not policy.smtputf8 and not octets.isascii()
    if not must_be_ascii and is_line_safe(octets, WritePolicy(encoding="8bit", line_length=policy.line_length)):
        return header
    line_end = header.line_end
    fields = []
    for field in header.lines:
        raw = field.raw
        if b"\0" in raw or (line_end != b"\r" and _BARE_CR.search(raw)):
            raw = _BARE_CR.sub(b" ", raw).replace(b"\0", b"")
        if must_be_ascii and not raw.isascii():
            raw = _ascii(Field(raw), line_end)
        if has_longer_line(raw, policy.line_length) and field.name:
            raw = fold(field.name, Field(raw).body, line_end=line_end)
        fields.append(field if raw is field.raw else Field(raw))
    return header.with_fields(fields)


def _ascii(field: Field, line_end: bytes) -> bytes:
    """A field in ASCII: encoded words where they may stand.

    Raises:
        ComposeError: an address-spec needs UTF-8.
    """
    if not field.name or not field.name.isascii():
        return field.raw.decode("utf-8", "replace").encode("ascii", "replace")
    value = field.value
    octets = value.render() if hasattr(value, "render") else b"\xff"
    if not octets.isascii():
        octets = render(field.name, field.text)
    if not octets.isascii():
        error = ComposeError(f"{field.name} needs UTF-8 and the peer does not offer SMTPUTF8 (RFC 6531)")
        error.status = EnhancedStatus(5, 6, 7)
        raise error
    return fold(field.name, octets, line_end=line_end)
