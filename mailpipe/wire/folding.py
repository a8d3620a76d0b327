r"""Folding of header fields: long lines are broken before white space (RFC 5322 2.2.3).

    body = unfold(b" one\r\n two\r\n")                # b" one two"
    raw = fold("Subject", "a long text …", width=78)  # b"Subject: a long\r\n text …\r\n"

Never here: what a field means. Folding and unfolding change no octet but line ends, so that
`unfold(fold(name, body))` is the name, ": " and the body again.
"""

import re

from mailpipe.errors import ComposeError

__all__ = ["HARD_LIMIT", "body_of", "fold", "unfold", "unfolded"]

HARD_LIMIT = 998
"""Octets that a line may have without its end (RFC 5322 2.1.1)."""

_CR_FOLD = re.compile(rb"\r++(?=[ \t])")
_FOLD = re.compile(rb"(?:\r\n|\n|\r)(?=[ \t])")
# LIMIT: what is longer cannot stay whole on a line; unbounded, a thousand unclosed quotes would each scan to the end.
_QUOTED = rb'"(?>(?:[^"\\]|\\.){0,900})"'
_ENCODED_WORD = rb"=\?[^?\s]{1,80}+\?[BbQq]\?[^?]{0,200}+\?="
# White space, then what hangs together: quoted strings and encoded words with all that touches them.
_UNIT = re.compile(rb"[ \t]*+(?>(?:" + _QUOTED + rb"|" + _ENCODED_WORD + rb'|[^ \t"=]++|[^ \t])*)', re.DOTALL)
_WORD = re.compile(rb"[ \t]*+[^ \t]*+")


def unfold(raw: bytes) -> bytes:
    r"""Take the line ends of folding out, and the line end behind the field; white space stays.

    CRLF, LF and bare CR count as line ends alike. Linear.

    >>> unfold(b"one\r\n two\r\n")
    b'one two'
    """
    if raw.endswith(b"\r\n"):
        raw = raw[:-2]
    elif raw.endswith((b"\n", b"\r")):
        raw = raw[:-1]
    if b"\n" not in raw and b"\r" not in raw:
        return raw
    return _FOLD.sub(b"", raw)


def fold(name: str, body: str | bytes, width: int = 78, line_end: bytes = b"\r\n") -> bytes:
    r"""A whole field in folded lines: name, ": ", body, line end.

    Lines break before white space, outside quoted strings and encoded words as long as the hard limit of 998
    octets allows. No line has white space alone, and nothing is added or lost.

    Args:
        name: the field's name.
        body: unfolded or folded text; `str` is written as UTF-8 (RFC 6532 3.2), with surrogate escapes as octets.
        width: octets that a line should have at most.
        line_end: how lines end.

    Raises:
        ComposeError: the body has a NUL or a line end that is no folding, or a word of more than 998 octets.

    >>> fold("Subject", "one two", width=12)
    b'Subject: one\r\n two\r\n'
    """
    if isinstance(body, str):
        body = body.encode("utf-8", "surrogateescape")
    body = unfold(body)
    if b"\n" in body or b"\r" in body or b"\0" in body:
        raise ComposeError(f"field {name}: the body has a line end or a NUL; take it out or encode it")
    line = name.encode() + (b":" if body[:1] in (b" ", b"\t") else b": ") + body
    if len(line) <= width:
        return line + line_end
    lines = _break(line, len(name) + 1, width)
    if max(map(len, lines)) > HARD_LIMIT:
        raise ComposeError(f"field {name}: a word has more than {HARD_LIMIT} octets and cannot be folded")
    return line_end.join([*lines, b""])


def _break(line: bytes, start: int, width: int) -> list[bytes]:
    lines: list[bytes] = []
    current, is_empty = line[:start], True
    for unit in _units(line, start, width):
        # The first word stays on the line of the name, unless it would fit only below.
        is_better_below = not is_empty or (start > 1 and len(unit) <= width and len(current) + len(unit) > HARD_LIMIT)
        if len(current) + len(unit) > width and is_better_below and unit[:1] in (b" ", b"\t"):
            lines.append(current)
            current = unit
        else:
            current += unit
        is_empty = False
    lines.append(current)
    return lines


def _units(line: bytes, start: int, width: int) -> list[bytes]:
    units: list[bytes] = []
    while start < len(line):
        unit = _UNIT.match(line, start)
        assert unit is not None
        words = [unit[0]]
        if len(unit[0]) > HARD_LIMIT - width:
            words = [word for word in _WORD.findall(unit[0]) if word]
        for word in words:
            if word.strip(b" \t") or not units:
                units.append(word)
            else:
                # White space at the end of the body has no line of its own.
                units[-1] += word
        start = unit.end()
    return units


def body_of(raw: bytes) -> bytes:
    """The unfolded body of a raw field; the whole of a line without a colon."""
    name, colon, body = raw.partition(b":")
    return unfolded(body if colon else name)


def unfolded(body: bytes) -> bytes:
    """A body without blanks and line ends at its ends and without folds.

    A CR before white space is taken for a fold too, alone or beside LFs, so that a body can be unfolded twice; any
    other bare CR stays as part of the body.
    """
    body = body.strip(b" \t\r\n")
    # numbers, because `in` with octets on its left raises and drops an error inside the interpreter first
    if 0x0A in body:
        body = body.replace(b"\r\n", b"").replace(b"\n", b"")
    return body if 0x0D not in body else _CR_FOLD.sub(b"", body)
