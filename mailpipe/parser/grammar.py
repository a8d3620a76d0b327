"""The line grammar of a header block (RFC 5322 section 2.2), once for lines that end with LF or CRLF, once for CR.

A header ends at the first empty line and nowhere else (RFC 5322 section 2.1). A line in it that is no field, having no
colon or no name, is a defect and stays where it is: programs that end the header there see another message than those
that do not, which is how filters are deceived.

QUIRK: a bare CR ends a line only in a message that holds no LF at all (as written by Mac OS before 2001). Anywhere
else it is an ordinary octet, for the same reason.

Never here: what a field means.
"""

import mmap
import re
from collections.abc import Callable
from dataclasses import dataclass

from mailpipe import native
from mailpipe.fields.content_type import ContentType

Buffer = bytes | mmap.mmap
_Find = Callable[..., re.Match[bytes] | None]
Finder = tuple[bytes, _Find, _Find, Callable[..., list[bytes]]]
"""Both cases of a name's first octet; what searches for its field behind a line end, what matches it at a place, what
finds every body of it behind a line end."""

FIELD_START = re.compile(rb"[!-9;-~]++[ \t]*+:")
"""What every field begins with (RFC 5322 sections 2.2 and 4.5.8)."""


@dataclass(frozen=True, slots=True)
class Grammar:
    """The patterns for one kind of line end. Each begins with the line end itself, so that a search is a memchr.

    Attributes:
        line_end: the octet that ends every line.
        empty_line: the end of the last line before an empty one.
        mark: the end of a line and an empty one behind it, or and the name of Content-Type (group 1) or of
            Content-Transfer-Encoding (group 2).
        part_mark: the same, or the end of a line and two hyphens behind it (group 3).
        first_mark: Content-Type or Content-Transfer-Encoding where a line begins.
        part_header: a whole header of a part, from the line end before it, as far as no line begins with a hyphen: the
            bodies of the first Content-Type (group 1) and the first Content-Transfer-Encoding (group 2), the CR of an
            empty line that is CRLF (group 3). One call for what takes three or four by `part_mark`, for headers of a
            few lines.
        finders: for each name that has been asked for, what `finder` gives.
        types: what the bodies of Content-Type mean, folds and all, for leaves that have been seen of late.
        field_stop: the end of a line that no folded line follows; obs-FWS lets a folded line be blank but for white
            space (RFC 5322 section 4.2).
    """

    line_end: bytes
    empty_line: re.Pattern[bytes]
    mark: re.Pattern[bytes]
    part_mark: re.Pattern[bytes]
    first_mark: re.Pattern[bytes]
    part_header: re.Pattern[bytes]
    field_stop: re.Pattern[bytes]
    finders: dict[str, Finder]
    types: dict[bytes, ContentType]

    def finder(self, name: str) -> Finder:
        """What finds the first field of a name, whatever its case; the body, folds and all, is group 1."""
        found = self.finders.get(name)
        if found is None:
            octets = name.encode("utf-8", "surrogateescape")
            cases = [re.escape(octets[place : place + 1]) for place in range(len(octets))]
            for place, one in enumerate(cases):
                if one.isalpha():
                    cases[place] = b"[%b%b]" % (one.upper(), one.lower())
            end = self.line_end
            field = b"".join(cases) + rb"[ \t]*+:([^%b]*+(?>(?:%b[ \t][^%b]*+)*))" % (end, end, end)
            behind = re.compile(end + field)
            found = octets[:1].upper() + octets[:1].lower(), behind.search, re.compile(field).match, behind.findall
            if len(self.finders) < 1000:
                self.finders[name] = found
        return found

    def find(self, name: str, octets: Buffer, start: int, bound: int) -> re.Match[bytes] | None:
        """The first field of a name in a header block; group 1 is its body, its line end stands behind it.

        Args:
            name: in any case.
            octets: what the block is a span of.
            start: where it begins.
            bound: where it ends.
        """
        first, search, match, _ = self.finders.get(name) or self.finder(name)
        if start < bound and octets[start] in first and (found := match(octets, start, bound)):
            return found
        return search(octets, start, bound)

    def body(self, name: str, octets: Buffer, start: int, bound: int) -> bytes | None:
        """The body of the first field of a name in a header block, folds and all; arguments as for `find`."""
        if native.field_body is not None and self.line_end == b"\n" and isinstance(octets, bytes):
            return native.field_body(octets, start, bound, name)
        found = self.find(name, octets, start, bound)
        return None if found is None else found[1]

    def every(self, name: str, octets: Buffer, start: int, bound: int) -> list[bytes]:
        """The bodies of every field of a name in a header block, folds and all, in order; arguments as for `find`."""
        if native.field_bodies is not None and self.line_end == b"\n" and isinstance(octets, bytes):
            return native.field_bodies(octets, start, bound, name)
        first, _, match, findall = self.finders.get(name) or self.finder(name)
        if start < bound and octets[start] in first and (found := match(octets, start, bound)):
            return [found[1], *findall(octets, found.end(), bound)]
        return findall(octets, start, bound)

    def extent(self, found: re.Match[bytes], octets: Buffer, bound: int) -> tuple[int, int]:
        """Where a field that was found begins, and where its line end stops."""
        start, stop = found.span()
        return start + (octets[start] == self.line_end[0]), stop + 1 if stop < bound else stop

    def only(self, name: str, octets: Buffer, start: int, bound: int) -> tuple[int, int] | None:
        """The extent of the only field of a name; None where there is none or another one; arguments as for `find`."""
        if native.only_field is not None and self.line_end == b"\n" and isinstance(octets, bytes):
            return native.only_field(octets, start, bound, name)
        found = self.find(name, octets, start, bound)
        if found is None or self.finder(name)[1](octets, found.end(), bound) is not None:
            return None
        return self.extent(found, octets, bound)

    def begins_empty(self, octets: bytes) -> bool:
        """Whether a line of which these are the first two octets is empty."""
        return octets[:1] == self.line_end or octets == b"\r\n"

    def header_stop(self, octets: Buffer, start: int, bound: int) -> int:
        """Where the lines that begin at `start` end, at an empty line or at the bound."""
        if self.begins_empty(octets[start : start + 2]):
            return start
        found = self.empty_line.search(octets, start, bound)
        return bound if found is None else found.end()

    def cut(self, block: bytes) -> list[bytes]:
        """The fields of a block, and the lines that are none, each with its line ends."""
        raws = self.field_stop.split(block)
        last = raws.pop()
        line_end = self.line_end
        raws = [raw + line_end for raw in raws]
        if last:
            raws.append(last)
        return raws

    def fields_stop(self, octets: Buffer, start: int, bound: int) -> int:
        """Where the first line that belongs to no field begins."""
        while start < bound and FIELD_START.match(octets, start, bound):
            found = self.field_stop.search(octets, start, bound)
            start = bound if found is None else found.end()
        return start


def _word(word: bytes) -> bytes:
    """A pattern for a word in any case, soonest for the case that nearly all mail writes it in."""
    # spelt out, because a pattern that ignores case has no octet to jump to
    letters = [b"[%c%c]" % (letter, letter ^ 0x20) if chr(letter).isalpha() else b"%c" % letter for letter in word]
    return b"(?>%b|%b)" % (word, b"".join(letters))


# Behind the first letter, which is in a set of first octets, because that is one look at most lines.
_CONTENT_T, _YPE, _RANSFER_ENCODING = _word(b"ontent-") + b"[Tt]", _word(b"ype"), _word(b"ransfer-Encoding")
_STRUCTURE = _CONTENT_T + rb"(?:(" + _YPE + rb")|(" + _RANSFER_ENCODING + rb"))[ \t]*+:"


def _grammar(line_end: bytes, empty_line: bytes, part_empty_line: bytes, empty_behind: bytes) -> Grammar:
    folded = rb"(?![ \t]"
    line = rb"[^" + line_end + rb"]*+"
    body = rb"[ \t]*+:(" + line + rb"(?>(?:" + line_end + rb"[ \t]" + line + rb")*))"
    # the first of each name counts: a second one is a line like others
    told = rb"[Cc]%b(?>(?(1)(?!)|%b)|(?(2)(?!)|%b))" % (_CONTENT_T, _YPE + body, _RANSFER_ENCODING + body)
    any_line = rb"(?>" + told + rb"|[^\r\n-]" + line + rb")" + line_end
    return Grammar(
        line_end,
        re.compile(line_end + rb"(?=" + empty_line + rb")"),
        re.compile(line_end + rb"[\r\nCc](?:" + empty_behind + rb"|(?<=[Cc])" + _STRUCTURE + rb")"),
        re.compile(line_end + rb"[\r\nCc-](?:" + empty_behind + rb"|(?<=[Cc])" + _STRUCTURE + rb"|(?<=-)(-))"),
        re.compile(rb"[Cc]" + _STRUCTURE),
        re.compile(line_end + rb"(?>(?:" + any_line + rb")*)" + part_empty_line),
        re.compile(line_end + folded + rb")"),
        {},
        {},
    )


LF_GRAMMAR = _grammar(b"\n", rb"\r?\n", rb"(?:\n|(\r)\n)", rb"(?<=\n\n)|(?<=\r)\n")
CR_GRAMMAR = _grammar(b"\r", rb"\r", rb"\r", rb"(?<=\r\r)")
