"""Everything that is wrong with a message, gathered on request: structure, header fields, bodies, lines.

    for defect in inspect(message):
        print(defect.path, defect.offset, defect.sentence)

Never here: what to do about it, and checks that need more than the octets.
"""

import re
from collections.abc import Iterator

from mailpipe.codec import transfer
from mailpipe.codec.charset import decode_text
from mailpipe.defect import Defect
from mailpipe.fields import registry
from mailpipe.message.entity import Entity
from mailpipe.message.field import Field

_BARE_CR = re.compile(rb"\r(?!\n)")
_BLANK_FOLD = re.compile(rb"\n[ \t]+\r?(?:\n|\Z)")
_CHUNK = 1 << 20
_LONGEST, _RECOMMENDED = 998, 78


def inspect(root: Entity) -> tuple[Defect, ...]:
    """Every defect of an entity and of what is below it, by offset.

    Offsets count from the beginning of what was given to `parse`; in a composed entity, or in one that was found
    under a transfer encoding, from its own beginning.
    """
    found: list[Defect] = []
    for path, entity in root.walk():
        entity.parts  # noqa: B018 - scanned at this question
        found += (Defect(code, offset, path=path) for code, offset in entity.structural_defects)
        found += _of_header(entity, path)
        if not entity.parts and not entity.is_multipart:
            found += _of_body(entity, path)
    found += _of_lines(root)
    return tuple(sorted(found, key=lambda defect: defect.offset))


def _of_header(entity: Entity, path: str) -> Iterator[Defect]:
    is_message = isinstance(entity, Entity._message_class)
    start = entity._start if entity._document is not None else 0
    seen: dict[str, int] = {}
    if entity.header.envelope_line is not None:
        yield Defect("envelope-from-line", start, path=path)
    for number, field in enumerate(entity.header.lines):
        offset = field.offset or 0
        if not field.is_field:
            yield _nameless(field, number, offset, path)
            continue
        name, key = field.name, field.key
        seen[key] = seen.get(key, 0) + 1
        rule = registry.occurrence(key)
        if rule.maximum is not None and seen[key] == rule.maximum + 1:
            yield Defect("duplicate-field", offset, name, path, name)
        if field.raw[len(name.encode("utf-8", "surrogateescape")) :][:1] != b":":
            yield Defect("space-before-colon", offset + len(name), name, path, name)
        if not field.raw.isascii():
            try:
                field.raw.decode("utf-8")
            except UnicodeDecodeError as error:
                yield Defect("eight-bit-header", offset + error.start, name, path, name)
        if match := _BLANK_FOLD.search(field.raw):
            yield Defect("blank-continuation", offset + match.start() + 1, name, path, name)
        for defect in field.defects:
            yield Defect(defect.code, defect.offset, defect.detail, path, name)
    if is_message:
        for name in registry.required_names():
            if name.lower() not in seen:
                yield Defect("missing-field", start, name, path, name)


def _nameless(field: Field, number: int, offset: int, path: str) -> Defect:
    if number == 0 and field.raw.startswith((b" ", b"\t")):
        return Defect("leading-continuation", offset, path=path)
    return Defect("malformed-field", offset, repr(field.raw[:60])[2:-1], path)


def _of_body(entity: Entity, path: str) -> Iterator[Defect]:
    body = entity.raw_body
    start = entity._body_start if entity._document is not None else 0
    problems: list[Defect] = []
    coding = entity.transfer_encoding
    octets = transfer.decode(body, coding, problems)
    for problem in problems:
        yield Defect(problem.code, start + problem.offset, problem.detail, path)
    if coding == "7bit" and not body.isascii():
        at = next((place for place, octet in enumerate(body) if octet > 127), 0)
        yield Defect("eight-bit-undeclared", start + at, path=path)
    if entity.content_type.type == "text":
        for problem in decode_text(octets, entity.content_type.charset).defects:
            # an offset in decoded octets is a place in the body only where nothing was decoded
            at = problem.offset if octets == body else 0
            yield Defect(problem.code, start + at, problem.detail, path)


def _of_lines(root: Entity) -> Iterator[Defect]:
    """Line ends, lengths and NULs of the whole, the first place of each with its count."""
    raw = root.raw
    base = root._start if root._document is not None else 0
    feeds, pairs, returns = raw.count(b"\n"), raw.count(b"\r\n"), raw.count(b"\r")
    if returns > pairs:
        match = _BARE_CR.search(raw)
        assert match is not None
        yield Defect("bare-cr", base + match.start(), _times(returns - pairs))
    if 0 < pairs < feeds:
        yield Defect("mixed-line-ends", base, f"{pairs} CRLF, {feeds - pairs} LF")
    if (at := raw.find(b"\0")) >= 0:
        yield Defect("nul-octet", base + at, _times(raw.count(b"\0")))
    first, count = _long_lines(raw, _LONGEST)
    if count:
        yield Defect("line-too-long", base + first, _times(count))
    first, count = _long_lines(raw, _RECOMMENDED)
    if count:
        yield Defect("line-over-78", base + first, _times(count))


def _times(count: int) -> str:
    return "" if count == 1 else f"{count} times"


def _long_lines(raw: bytes, maximum: int) -> tuple[int, int]:
    """Where the first line over a length begins, and how many there are."""
    first, count, position, size = -1, 0, 0, len(raw)
    while position < size:
        stop = raw.rfind(b"\n", position, position + _CHUNK)
        if stop < position:
            stop = raw.find(b"\n", position)
            if stop < 0:
                stop = size
        lines = raw[position:stop].split(b"\n")
        if max(map(len, lines)) > maximum:
            for line in lines:
                if len(line) - line.endswith(b"\r") > maximum:
                    if first < 0:
                        first = position
                    count += 1
                position += len(line) + 1
        position = stop + 1
    return first, count


Entity._inspect = staticmethod(inspect)
