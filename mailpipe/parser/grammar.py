"""The line grammar of a header block (RFC 5322 section 2.2), once for lines that end with LF or CRLF, once for CR.

A header ends at the first empty line and nowhere else (RFC 5322 section 2.1). A line in it that is no field, having no
colon or no name, is a defect and stays where it is: programs that end the header there see another message than those
that do not, which is how filters are deceived.

QUIRK: a bare CR ends a line only in a message that holds no LF at all (as written by Mac OS before 2001). Anywhere
else it is an ordinary octet, for the same reason.

Never here: what a field means.
"""

import re
from dataclasses import dataclass

# Every quantifier is possessive: a block that does not match has been read once, not once for each way to fail.
_REST = rb"[^%(nl)s]*+(?:%(nl)s|\Z)"
# Any line but an empty one.
_LINES = rb"(?:[^\r\n]%(rest)s|\r(?!\n)%(rest)s)*+"
_CR_LINES = rb"(?:[^\r]%(rest)s)*+"
# Inside a multipart also not one that begins like a delimiter.
_PART_LINES = rb"(?:(?!--)(?:[^\r\n]%(rest)s|\r(?!\n)%(rest)s))*+"
_CR_PART_LINES = rb"(?:(?!--)[^\r]%(rest)s)*+"
# field = field-name *WSP ":" body; obs-FWS lets a folded line be blank but for white space (RFC 5322 section 4.2)
_FIELD = rb"[!-9;-~]++[ \t]*+:%(rest)s(?:[ \t]%(rest)s)*+"


@dataclass(frozen=True, slots=True)
class Grammar:
    """The patterns for one kind of line end.

    Attributes:
        line_end: the octet that ends every line.
        header: matches a header block from its first octet to the empty line.
        part_header: the same, but stops at a line that may be a delimiter.
        well_formed: matches fields as long as there is nothing else between them.
        fields: finds each field of a block, or each line that is none.
    """

    line_end: bytes
    header: re.Pattern[bytes]
    part_header: re.Pattern[bytes]
    well_formed: re.Pattern[bytes]
    fields: re.Pattern[bytes]


def _grammar(line_end: bytes, lines: bytes, part_lines: bytes) -> Grammar:
    rest = _REST % {b"nl": re.escape(line_end)}
    return Grammar(
        line_end,
        re.compile(lines % {b"rest": rest}),
        re.compile(part_lines % {b"rest": rest}),
        re.compile(rb"(?:" + _FIELD % {b"rest": rest} + rb")*+"),
        re.compile(rb"[^%(nl)s]++(?:%(nl)s|\Z)(?:[ \t]%(rest)s)*+" % {b"nl": re.escape(line_end), b"rest": rest}),
    )


LF_GRAMMAR = _grammar(b"\n", _LINES, _PART_LINES)
CR_GRAMMAR = _grammar(b"\r", _CR_LINES, _CR_PART_LINES)
