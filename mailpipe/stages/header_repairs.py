"""How `validate-headers` mends what its checks found; whatever is changed is kept beside under another name.

    message, changes = repair(message, findings)

A repair uses what the message itself says and never invents: a date comes from the trace fields, an author from Sender
or Return-Path. What cannot be mended so is left as it is.

Never here: what is to be mended; the stage's policies say.
"""

import hashlib
from collections.abc import Callable, Iterable

from mailpipe.archive import from_line
from mailpipe.errors import ComposeError
from mailpipe.fields import AddressList, DateTime, ReturnPath
from mailpipe.fields.date import render as render_date
from mailpipe.fields.rendering import render
from mailpipe.message import Field, Message
from mailpipe.stages.header_checks import Finding
from mailpipe.wire.folding import fold

_JOINED = frozenset({"to", "cc", "bcc", "reply-to"})


def repair(message: Message, findings: Iterable[Finding]) -> tuple[Message, list[str]]:
    """The message with everything mended that can be, and one line for each change."""
    fields: list[list[Field]] = [[field] for field in message.header.lines]  # a field may become several, or none
    wanted = list(findings)
    changes: list[str] = []
    line_end = message.header.line_end
    by_place: dict[int, list[Finding]] = {}
    for finding in wanted:
        if finding.place >= 0:
            by_place.setdefault(finding.place, []).append(finding)
    for place, found in by_place.items():
        field = fields[place][0]
        for finding in sorted(found, key=lambda one: one.check == "single_fields"):
            try:
                result = _REPAIRS[finding.check](field, finding, message, line_end)
            except ComposeError:  # a name or a value that cannot be said any better
                continue
            if result is not None:
                what, made = result
                fields[place] = made
                changes.append(what)
                break
    mended = _join_recipients(fields, by_place, changes, line_end)
    for finding in wanted:
        if finding.place < 0 and (added := _added(finding, message, line_end)):
            what, field = added
            mended.append(field)
            changes.append(what)
    if not changes:
        return message, []
    return message.with_header(message.header.with_fields(mended)), changes


def _join_recipients(
    fields: list[list[Field]], by_place: dict[int, list[Finding]], changes: list[str], line_end: bytes
) -> list[Field]:
    """Copies of recipient fields become part of the first; copies of others get another name."""
    flat: list[Field] = []
    first: dict[str, int] = {}
    copies = {place for place, found in by_place.items() if any(one.check == "single_fields" for one in found)}
    for place, made in enumerate(fields):
        for field in made:
            key = field.key
            if place in copies and key in first:
                if flat[first[key]].body == field.body:
                    changes.append(f"{field.name}: a repeated copy removed")
                    continue
                if key in _JOINED:
                    kept = flat[first[key]]
                    body = b", ".join(body for body in (kept.body.rstrip(b", "), field.body) if body)
                    flat[first[key]] = Field(fold(kept.name, body, line_end=line_end))
                    changes.append(f"{field.name}: a second field joined with the first")
                    continue
                flat.append(_renamed(field, line_end))
                changes.append(f"{field.name}: a second field renamed {flat[-1].name}")
                continue
            first.setdefault(key, len(flat))
            flat.append(field)
    return flat


def _renamed(field: Field, line_end: bytes) -> Field:
    """The same octets under a name that nothing reads."""
    # X-Original- would not do: X-Original-To is a trace field of Postfix
    raw = b"X-Repaired-" + field.raw
    return Field(raw if raw.endswith((b"\n", b"\r")) else raw + line_end)


Mended = tuple[str, list[Field]]
Repair = Callable[[Field, Finding, Message, bytes], Mended | None]


def _date(field: Field, finding: Finding, message: Message, line_end: bytes) -> Mended | None:
    value = field.value
    moment = value.datetime if isinstance(value, DateTime) else None
    body = render_date(moment) if moment is not None else _date_of(message)
    if body is None:
        return None
    return f"{field.name} written anew", [Field.compose(field.name, body, line_end), _renamed(field, line_end)]


def _date_of(message: Message) -> bytes | None:
    """When the message was first seen by a server that said so; the oldest trace field that can be read."""
    for received in reversed(message.received):
        if received.date is not None:
            return render_date(received.date)
    line = message.header.envelope_line
    seen = from_line.parse(line.rstrip(b"\r\n")) if line else None
    moment = getattr(seen, "date", None)
    return None if moment is None else render_date(moment)


def _addresses(field: Field, finding: Finding, message: Message, line_end: bytes) -> Mended | None:
    value = field.value
    if not isinstance(value, AddressList) or not value.mailboxes:
        return None
    body = value.render()
    if body == field.body:
        return None
    return f"{field.name} written anew", [Field.compose(field.name, body, line_end), _renamed(field, line_end)]


def _identifier(field: Field, finding: Finding, message: Message, line_end: bytes) -> Mended | None:
    made = Field.compose(field.name, _digest_id(message), line_end)
    return f"{field.name} written anew", [made, _renamed(field, line_end)]


def _digest_id(message: Message) -> bytes:
    return b"<" + hashlib.sha256(bytes(message)).hexdigest()[:40].encode() + b"@mailpipe.invalid>"


def _refolded(field: Field, finding: Finding, message: Message, line_end: bytes) -> Mended | None:
    raw = fold(field.name, field.body, line_end=line_end)
    return None if raw == field.raw else (f"{field.name} folded anew", [Field(raw)])


def _seven_bit(field: Field, finding: Finding, message: Message, line_end: bytes) -> Mended | None:
    value = field.value
    body = value.render() if isinstance(value, AddressList) else render(field.name, field.text)
    return f"{field.name} in encoded words", [Field.compose(field.name, body, line_end)]


def _malformed(field: Field, finding: Finding, message: Message, line_end: bytes) -> Mended | None:
    clean = field.raw.strip(b" \t\r\n").replace(b"\r", b" ").replace(b"\n", b" ").replace(b"\0", b"")
    if finding.code != "malformed-field":
        name, _, body = clean.partition(b":")
        return f"{field.name} written anew", [
            Field(fold(name.decode("latin-1").strip(), body.strip(), line_end=line_end))
        ]
    return "a malformed line made a field", [Field(fold("X-Malformed", clean, line_end=line_end))]


def _mime_version(field: Field, finding: Finding, message: Message, line_end: bytes) -> Mended | None:
    return "MIME-Version set to 1.0", [Field.compose("MIME-Version", b"1.0", line_end)]


def _content_type(field: Field, finding: Finding, message: Message, line_end: bytes) -> Mended | None:
    value = field.value
    if finding.code in ("invalid-content-type", "invalid-disposition") or not hasattr(value, "render"):
        return None  # what it should have been, nobody knows; readers assume text/plain
    return f"{field.name} written anew", [Field.compose(field.name, value, line_end), _renamed(field, line_end)]


def _leave(field: Field, finding: Finding, message: Message, line_end: bytes) -> Mended | None:
    return None


_REPAIRS: dict[str, Repair] = {
    "required_fields": _leave,
    "single_fields": _leave,  # done for the header as a whole
    "date_syntax": _date,
    "address_syntax": _addresses,
    "message_id": _identifier,
    "line_length": _refolded,
    "line_length_recommended": _refolded,
    "seven_bit": _seven_bit,
    "folding": _refolded,
    "field_syntax": _malformed,
    "mime_version": _mime_version,
    "content_type": _content_type,
}


def _added(finding: Finding, message: Message, line_end: bytes) -> tuple[str, Field] | None:
    """A field that is missing, made of what the message says elsewhere."""
    name = finding.field
    body: bytes | None = None
    if finding.check == "mime_version":
        body = b"1.0"
    elif finding.check == "message_id":
        body = _digest_id(message)
    elif finding.code == "missing-field" and name == "Date":
        body = _date_of(message)
    elif finding.code == "missing-field" and name == "From":
        path = message.value_of("return-path")
        if (sender := message.sender) is not None:
            body = sender.render()
        elif isinstance(path, ReturnPath) and path.address:
            body = path.address.encode()
    return None if body is None else (f"{name} added", Field.compose(name, body, line_end))
