"""The mbox format (RFC 4155 and the dialects that came before it): where its messages are, and how From is quoted.

    for span in split(mapped, "auto"):                # spans of octets, at the speed of a search
        mapped[span.begin : span.end]                 # the message as it stands in the archive
    render(octets, b"From ann@example.org Thu Jan  1 00:00:00 1970")      # ready to be appended

Dialects, for splitting and for undoing the quoting of body lines that begin with "From ":

- `mboxo`   each From_ line after an empty line separates. Nothing is unquoted: whether ">From " was "From " before
  cannot be known, and the octets are kept as they are.
- `mboxrd`  separates like mboxo; one ">" is removed from each line that matches ">*>From ".
- `mboxcl`, `mboxcl2`  Content-Length counts the octets of the body. It is believed where it leads exactly to a From_
  line or to the end of the archive; elsewhere From_ lines are looked for. Nothing is unquoted.
- `auto`    the habits of the first mebibyte decide. A From_ line must look like one (a date, or "From -"), and one
  inside a multipart that goes on behind it, or in an "included message", does not separate. Nothing is unquoted.

An archive whose writers leave no empty lines before From_ lines is recognised; there a header field must follow.

Never here: files, compression and locks; this module sees octets in memory or a mapped file.

QUIRK: octets before the first From_ line are a message without one; nothing is passed over but blank lines and a
byte order mark.
"""

import mmap
import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from mailpipe.archive.from_line import MAX_LENGTH, is_dated

Dialect = Literal["auto", "mboxo", "mboxrd", "mboxcl", "mboxcl2"]
Archive = bytes | mmap.mmap

_SAMPLE = 1 << 20
# Between two windows a mapped file gives its pages back: memory stays flat however long the archive is.
_WINDOW = 1 << 24
# LIMIT: a delimiter farther in front of a From_ line than this proves nothing; each line would be a search of its own.
_NEAR = 1 << 20
# LIMIT: a header longer than this has no Content-Length for us; it would be copied to look.
_HEADER = 1 << 18

_CANDIDATE = re.compile(rb"\nFrom ")
_EMPTY_LINE = re.compile(rb"\n\r?\n")
_BLANK = re.compile(rb"(?>(?:\xef\xbb\xbf)?)[\r\n]*+")
# ">From " is how UUCP hosts pushed down the From_ line of the host before.
_FIELD = re.compile(rb"[!-9;-~]{1,200}+[ \t]*+:|>From ")
_UNDATED = re.compile(rb"From [^ \t\r\n]++[ \t]*+\r?+\Z")
_MOZILLA = re.compile(rb"From -[ \t]*+\r?+\Z")
_LENGTH = re.compile(rb"[ \t]*+(\d{1,18})[ \t]*+\r?\n")
_INCLUDED = re.compile(rb"\n-{2,10}+ ?Begin (Included|Forwarded) Message ?-{2,10}+[ \t\r\n]*+\Z")
_QUOTED_RD = re.compile(rb"\n>(?=>*+From )")
_FROM_RD = re.compile(rb"\n(?=>*+From )")
_FROM_O = re.compile(rb"\n(?=From )")


class MboxSpan(NamedTuple):
    """One message of an archive, in octets from the archive's beginning.

    Attributes:
        from_offset: where its From_ line begins; the same as `begin` where it has none.
        begin: the first octet of the message.
        end: behind its last octet; the empty line before the next From_ line belongs to neither.
    """

    from_offset: int
    begin: int
    end: int


class Habits(NamedTuple):
    """What a splitter relies on.

    Attributes:
        empty_line: an empty line stands before each From_ line.
        looks: a From_ line must look like one: dated, or undated where `undated` says so.
        undated: "From sender" without a date is a From_ line too.
        lengths: Content-Length fields are to be followed.
        enclosed: From_ lines inside open multiparts do not separate.
    """

    empty_line: bool = True
    looks: bool = False
    undated: bool = False
    lengths: bool = False
    enclosed: bool = False


def _has_empty_line_before(octets: Archive, at: int) -> bool:
    before = octets[max(at - 3, 0) : at]
    return before.endswith(b"\n\n") or before == b"\n\r\n"


def _line_at(octets: Archive, at: int) -> bytes:
    """The line at an offset without its LF; b"" where it is too long to be a From_ line."""
    end = octets.find(b"\n", at, at + MAX_LENGTH)
    return octets[at:end] if end >= 0 else octets[at:] if len(octets) - at < MAX_LENGTH else b""


def _is_followed_by_field(octets: Archive, at: int, line: bytes) -> bool:
    return _FIELD.match(octets, at + len(line) + 1) is not None


def find_habits(octets: Archive, dialect: Dialect) -> Habits:
    """Look at the beginning of an archive for how its writers separate messages."""
    size = min(len(octets), _SAMPLE)
    first = _first(octets)
    with_empty = without = lengths = missing = 0
    for match in _CANDIDATE.finditer(octets, max(first - 1, 0), size):
        at = match.start() + 1
        line = _line_at(octets, at)
        looks = dialect in ("mboxo", "mboxrd") or is_dated(line)
        if at == first or not looks or not _is_followed_by_field(octets, at, line):
            continue
        if _has_empty_line_before(octets, at):
            with_empty += 1
        else:
            without += 1
    line = _line_at(octets, first)
    undated = not is_dated(line)
    if dialect in ("mboxcl", "mboxcl2"):
        return Habits(empty_line=False, looks=True, undated=undated, lengths=True)
    if dialect in ("mboxo", "mboxrd"):
        return Habits(empty_line=without <= with_empty)
    # A length that a stranger wrote into one message must not swallow the next: nearly all must have one that fits.
    begin = first
    while begin < size and lengths + missing < 50:
        begin = octets.find(b"\n", begin) + 1 or len(octets)
        candidate = _CANDIDATE.search(octets, begin - 1, min(begin + _WINDOW, len(octets)))
        stop = candidate.start() + 1 if candidate else len(octets)
        landing = _follow_length(octets, begin, stop)
        lengths, missing = lengths + (landing is not None), missing + (landing is None)
        begin = landing[1] if landing else stop
    follows = lengths >= 2 and lengths > 9 * missing
    return Habits(without <= with_empty and not follows, True, undated, follows, True)


def _first(octets: Archive) -> int:
    """Where the first From_ line should be: behind a byte order mark and blank lines."""
    match = _BLANK.match(octets)
    return match.end() if match else 0


def _follow_length(octets: Archive, begin: int, stop: int) -> tuple[int, int] | None:
    """Where the message at `begin` ends and the next From_ line begins, by its Content-Length; None where it errs.

    Args:
        octets: the archive.
        begin: the first octet of the message.
        stop: the next candidate for a From_ line; the header ends before it.
    """
    blank = _EMPTY_LINE.search(octets, max(begin - 1, 0), min(stop, begin + _HEADER))
    if blank is None:
        return None
    header = octets[max(begin - 1, 0) : blank.end()]
    name = header.lower().find(b"\ncontent-length:")
    if name < 0 or (match := _LENGTH.match(header, name + 16)) is None:
        return None
    end = following = blank.end() + int(match[1])
    size = len(octets)
    if end > size:
        return None
    for _ in range(2):
        following += 2 if octets[following : following + 2] == b"\r\n" else octets[following : following + 1] == b"\n"
    if following == size:
        return end, size
    if octets[following : following + 5] == b"From " and octets[following - 1 : following] == b"\n":
        return end, following
    return None


def _is_separator(octets: Archive, at: int, habits: Habits) -> bool:
    empty = _has_empty_line_before(octets, at)
    if habits.empty_line and not empty:
        return False
    if empty and not habits.looks:
        return True
    line = _line_at(octets, at)
    if not habits.looks:
        return _is_followed_by_field(octets, at, line)
    if is_dated(line):
        return empty or _is_followed_by_field(octets, at, line)
    known = _UNDATED if habits.undated else _MOZILLA
    return known.match(line) is not None and _is_followed_by_field(octets, at, line)


class _Enclosure:
    """Whether a From_ line stands inside something that goes on behind it.

    The proof must come before the next candidate, and cannot be given by the message in front alone: otherwise
    anybody could make the next message disappear by opening a multipart and never closing it.
    """

    def __init__(self) -> None:
        self.message, self.declared = -1, set[bytes]()

    def __call__(self, octets: Archive, begin: int, at: int) -> bool:
        included = _INCLUDED.search(octets, max(begin, at - 80), at)
        position = at if included else octets.rfind(b"\n--", max(begin, at - _NEAR), at)
        if position < 0:
            return False
        following = _CANDIDATE.search(octets, at, min(at + _WINDOW, len(octets)))
        stop = following.start() if following else len(octets)
        if included:
            return octets.find(b"- End " + included[1] + b" Message -", at, stop) >= 0
        delimiter = _line_at(octets, position + 1).rstrip()
        if len(delimiter) < 4 or delimiter.endswith(b"--") or not self._is_declared(octets, begin, position, delimiter):
            return False
        again = octets.find(b"\n" + delimiter, at, stop)
        # A message of its own that happens to have the same boundary declares it.
        return again >= 0 and octets.find(delimiter[2:], at, again) < 0

    def _is_declared(self, octets: Archive, begin: int, stop: int, delimiter: bytes) -> bool:
        if begin != self.message:
            self.message, self.declared = begin, set()
        if delimiter not in self.declared:
            place = octets.find(delimiter[2:], begin, min(stop, begin + _WINDOW))
            if place < 0 or b"boundary=" not in octets[max(begin, place - 12) : place].lower():
                return False
            self.declared.add(delimiter)
        return True


def _end_before(octets: Archive, begin: int, at: int, habits: Habits) -> int:
    """The end of the message whose separator begins at `at`: the empty line belongs to the separator.

    Where lengths count, one line end does: their writers put one behind the body, whatever it ends with.
    """
    if at < len(octets) or not habits.lengths:
        crlf = octets[at - 2 : at] == b"\r\n"
        rest = at - (2 if crlf else 1)
        if rest >= begin and octets[at - 1 : at] == b"\n" and (
            habits.lengths or rest == begin or octets[rest - 1 : rest] == b"\n"
        ):
            return rest
    return at


def split(octets: Archive, dialect: Dialect = "auto") -> Iterator[MboxSpan]:
    r"""Find the messages of an archive, in order; linear in time, flat in memory.

    Args:
        octets: the whole archive, in memory or mapped.
        dialect: see the module's page.

    >>> [tuple(span) for span in split(b"From - Thu Jan  1 00:00:00 1970\nA: b\n\n")]
    [(0, 32, 37)]
    """
    size = len(octets)
    if not size:
        return
    habits = find_habits(octets, dialect)
    enclosed = _Enclosure()
    start = _first(octets)
    if octets[start : start + 5] == b"From ":
        begin = octets.find(b"\n", start) + 1 or size
    elif start < size:
        begin = start = 0
    else:
        return
    position, released, landing = begin, 0, None
    fresh = habits.lengths
    while True:
        match = _CANDIDATE.search(octets, max(position - 1, 0), min(position + _WINDOW, size))
        if match is None and position + _WINDOW < size and not fresh:
            position += _WINDOW - 8
            released = _release(octets, released, position)
            continue
        at = match.start() + 1 if match else size
        if fresh:
            fresh, landing = False, _follow_length(octets, begin, at)
            if landing is None and match is None:
                continue
        if landing:
            end, at, landing = *landing, None
        elif match is None:
            break
        elif _is_separator(octets, at, habits) and not (habits.enclosed and enclosed(octets, begin, at)):
            end = _end_before(octets, begin, at, habits)
        else:
            position = at + 5
            continue
        yield MboxSpan(start, begin, end)
        if at == size:
            return
        start, fresh = at, habits.lengths
        position = begin = octets.find(b"\n", at) + 1 or size
        if begin - released > 2 * _WINDOW:
            released = _release(octets, released, start)
    yield MboxSpan(start, begin, max(begin, _end_before(octets, begin, size, habits)))


def _release(octets: Archive, released: int, upto: int) -> int:
    """Give the pages of a mapped file back to the system; they are read again where they are asked for."""
    upto -= upto % mmap.PAGESIZE
    if isinstance(octets, mmap.mmap) and upto > released and hasattr(mmap, "MADV_DONTNEED"):
        octets.madvise(mmap.MADV_DONTNEED, released, upto - released)
    return upto


def unquote(octets: bytes, dialect: Dialect) -> bytes:
    r"""Undo the quoting of a message read from an archive; only `mboxrd` can be undone.

    >>> unquote(b"A: b\n\n>From x\n>>From y\n", "mboxrd")
    b'A: b\\n\\nFrom x\\n>From y\\n'
    """
    if dialect != "mboxrd" or b">From " not in octets:
        return octets
    # A line feed in front serves the first line: a search for "\n" is many times faster than one with alternatives.
    return _QUOTED_RD.sub(b"\n", b"\n" + octets)[1:]


def quote(octets: bytes, dialect: Literal["mboxo", "mboxrd"]) -> bytes:
    """Quote the lines of a message that would be taken for From_ lines."""
    if b"From " not in octets:
        return octets
    return (_FROM_RD if dialect == "mboxrd" else _FROM_O).sub(b"\n>", b"\n" + octets)[1:]


def render(octets: bytes, from_line: bytes, dialect: Literal["mboxo", "mboxrd"] = "mboxrd") -> bytes:
    """A message ready to be appended: From_ line, quoted octets, an empty line.

    A message that does not end with a line end gets one: it is the one thing that an mbox cannot leave out.
    """
    quoted = quote(octets, dialect)
    if not quoted.endswith(b"\n"):
        quoted += b"\r\n" if b"\r\n" in quoted else b"\n"
    return b"%b\n%b\n" % (from_line, quoted)
