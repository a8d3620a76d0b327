"""What an edit of signed mail may leave behind: the original untouched inside, or no broken signature.

    wrap(before, after, notice="The subject was tagged by lists.example.net.")
    strip(after, broken_by(before, after))

Never here: which of the two is wanted; that is the policy of a pipeline.
"""

from collections.abc import Iterable

from mailpipe.auth.signature_field import ARC_MESSAGE, ARC_RESULTS, ARC_SEAL, DKIM, relaxed_own
from mailpipe.auth.signatures import Kind, Signature, broken_by, signatures_of
from mailpipe.message import Field, Message, compose, parse

BROKEN_FIELD = "X-Broken-Signature"
"""Says of which signature an edit took the ground, one field each."""
_ARC = (ARC_MESSAGE, ARC_RESULTS, ARC_SEAL)


def wrap(before: Message, after: Message, *, notice: str = "") -> Message:
    """The edited header over a new body: a notice, and behind it the original untouched as message/rfc822.

    What the edit did to the body is not in it; the notice is the place to say so. Signatures of the original stand in
    it and are valid there; those that are not valid at the top any more are taken away from the top.

    Args:
        before: the message as it was signed.
        after: the message with its header as it is to be seen.
        notice: text to stand before the original; none where it is empty.

    Raises:
        ComposeError: the original cannot be enclosed.
    """
    line_end = after.header.line_end
    original = before
    if before.header.envelope_line is not None:
        # a line of an mbox is no part of the message
        original = parse(bytes(before)[len(before.header.envelope_line) :])
    parts = [compose.text(notice, line_end=line_end)] if notice else []
    parts.append(compose.enclosed(original, line_end=line_end))
    outer = [line for line in after.header.lines if not line.key.startswith("content-")]
    if "mime-version" not in after.header:
        outer.append(Field.compose("MIME-Version", b"1.0", line_end))
    if "content-transfer-encoding" in parts[-1].header:
        outer.append(Field.compose("Content-Transfer-Encoding", "8bit", line_end))
    outer = [Field(line.raw if line.raw.endswith((b"\n", b"\r")) else line.raw + line_end) for line in outer]
    made = compose.multipart("mixed", parts, fields=outer, line_end=line_end, kind=Message)
    assert isinstance(made, Message)
    if after.header.envelope_line is not None:
        made = made.with_header(after.header.with_fields(made.header.lines))
    return _without_fields(made, [one for one in broken_by(before, made) if one.is_field])


def strip(message: Message, broken: Iterable[Signature]) -> Message:
    """The message without broken signatures, each named in a field X-Broken-Signature.

    A broken signature of a header goes; where it is one of ARC, every field of the chain goes, since a chain with a
    gap is one that fails. A multipart/signed becomes what was signed. Encrypted parts and texts with PGP in them stay
    as they are: what they say is inside the signature.

    Args:
        message: after the edit.
        broken: signatures of the message before it.
    """
    listed = list(broken)
    if not listed:
        return message
    changed = _without_fields(message, [one for one in listed if one.is_field])
    owns = {one.own for one in listed if one.kind in (Kind.PGP_MIME, Kind.SMIME)}
    # the innermost first: what lies outside keeps its path
    for found in reversed(signatures_of(changed) if owns else ()):
        if found.own in owns and found.kind in (Kind.PGP_MIME, Kind.SMIME):
            changed = changed.replace(found.path, changed.part(found.parts[0]))
    header = changed.header
    for one in listed:
        header = header.with_added(BROKEN_FIELD, one.description)
    return changed.with_header(header)


def _without_fields(message: Message, broken: list[Signature]) -> Message:
    if not broken:
        return message
    owns = {one.own for one in broken}
    has_arc = any(one.kind != Kind.DKIM for one in broken)
    lines = message.header.lines
    kept = [
        line
        for line in lines
        if not (line.key == DKIM and relaxed_own(line.raw) in owns) and not (has_arc and line.key in _ARC)
    ]
    return message if len(kept) == len(lines) else message.with_header(message.header.with_fields(kept))
