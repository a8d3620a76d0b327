"""The line grammar of a header block (RFC 5322 section 2.2), once for lines that end with LF or CRLF, once for CR.

QUIRK: a bare CR ends a line only in a message that holds no LF at all (as written by Mac OS before 2001). Anywhere
else it is an ordinary octet: programs that disagree about it are how headers are smuggled.

Never here: what a field means.
"""

import re
from dataclasses import dataclass

# field = field-name *WSP ":" body; obs-FWS lets a folded line be blank but for white space (RFC 5322 section 4.2).
# Every quantifier is possessive: a block that does not match has been read once, not once for each way to fail.
_FIELD = rb"[!-9;-~\x80-\xff]++[ \t]*+:%(rest)s(?:[ \t]%(rest)s)*+"
_REST = rb"[^%(nl)s]*+(?:%(nl)s|\Z)"


@dataclass(frozen=True, slots=True)
class Grammar:
    """The patterns for one kind of line end.

    Attributes:
        line_end: the octet that ends every line.
        header: matches a whole header block from its first octet, without the empty line.
        fields: finds each field of a block, or each line that is none.
        field: matches one field.
        delimiter: the line end and the two hyphens before a boundary.
    """

    line_end: bytes
    header: re.Pattern[bytes]
    fields: re.Pattern[bytes]
    field: re.Pattern[bytes]
    delimiter: bytes


def _grammar(line_end: bytes) -> Grammar:
    rest = _REST % {b"nl": re.escape(line_end)}
    field = _FIELD % {b"rest": rest}
    # An mbox "From " line (RFC 4155) may stand before the header where an archive was split carelessly.
    header = rb"(?:>?From " + rest + rb")?+(?:" + field + rb")*+"
    return Grammar(
        line_end,
        re.compile(header),
        re.compile(rb"(?:" + rest.replace(b"*+", b"++", 1) + rb")(?:[ \t]" + rest + rb")*+"),
        re.compile(field),
        line_end + b"--",
    )


LF_GRAMMAR = _grammar(b"\n")
CR_GRAMMAR = _grammar(b"\r")
