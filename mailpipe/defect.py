"""What is wrong with octets: a defect has a code, a place and, by the one table below, a sentence.

    for defect in message.defects:
        print(defect.offset, defect.code, defect.sentence, defect.rfc)

Never here: what to do about it. A defect is a fact about the octets; the decision is a verdict of a stage.
"""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How much a defect matters to whoever reads the message."""

    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class DefectKind:
    """One row of the table: what a code means wherever it occurs."""

    sentence: str
    rfc: str
    severity: Severity


def _row(severity: Severity, rfc: str, sentence: str) -> DefectKind:
    return DefectKind(sentence, rfc, severity)


_N, _W, _E = Severity.NOTE, Severity.WARNING, Severity.ERROR

DEFECTS: dict[str, DefectKind] = {
    # lines and characters
    "bare-cr": _row(_W, "RFC 5322 2.2", "A CR stands alone; lines end with CRLF."),
    "bare-lf": _row(_N, "RFC 5322 2.3", "Lines end with LF alone; on the wire they end with CRLF."),
    "mixed-line-ends": _row(_W, "RFC 5322 2.3", "Lines end now with CRLF, now with LF."),
    "nul-octet": _row(_W, "RFC 5322 4", "There is a NUL octet."),
    "line-too-long": _row(_E, "RFC 5322 2.1.1", "A line has more than 998 octets without its end."),
    "line-over-78": _row(_N, "RFC 5322 2.1.1", "A line has more than 78 characters."),
    "eight-bit-header": _row(_W, "RFC 5322 2.2", "A header field has octets above 127 that are not UTF-8."),
    "eight-bit-undeclared": _row(_W, "RFC 2045 2.8", "A 7bit body has octets above 127."),
    # header block
    "missing-separator": _row(_W, "RFC 5322 2.1", "The header ends without an empty line."),
    "malformed-field": _row(_W, "RFC 5322 2.2", "A line of the header is no field: it has no name or no colon."),
    "space-before-colon": _row(_N, "RFC 5322 4.5", "White space stands between the field name and the colon."),
    "leading-continuation": _row(_W, "RFC 5322 2.2.3", "The header begins with a continuation line."),
    "blank-continuation": _row(_N, "RFC 5322 4.2", "A folded line has nothing but white space."),
    "envelope-from-line": _row(_N, "RFC 4155", "An mbox \"From \" line stands before the header."),
    "duplicate-field": _row(_W, "RFC 5322 3.6", "A field that may occur once occurs again."),
    "missing-field": _row(_W, "RFC 5322 3.6", "A required field is absent."),
    "empty-field": _row(_N, "RFC 5322 3.2", "A field that needs a value is empty."),
    # structured fields
    "invalid-address": _row(_W, "RFC 5322 3.4", "An address does not follow the syntax."),
    "obsolete-address": _row(_N, "RFC 5322 4.4", "An address has the obsolete syntax."),
    "invalid-date": _row(_W, "RFC 5322 3.3", "A date does not follow the syntax."),
    "obsolete-date": _row(_N, "RFC 5322 4.3", "A date has the obsolete syntax."),
    "invalid-message-id": _row(_W, "RFC 5322 3.6.4", "A message identifier does not follow the syntax."),
    "invalid-received": _row(_N, "RFC 5321 4.4", "A trace field does not follow the syntax."),
    "invalid-mime-version": _row(_N, "RFC 2045 4", "MIME-Version is not 1.0."),
    "unclosed-comment": _row(_N, "RFC 5322 3.2.2", "A comment is not closed."),
    "unclosed-quote": _row(_N, "RFC 5322 3.2.4", "A quoted string is not closed."),
    "invalid-content-type": _row(_W, "RFC 2045 5.1", "Content-Type does not follow the syntax; text/plain it is."),
    "invalid-disposition": _row(_W, "RFC 2183 2", "Content-Disposition does not follow the syntax."),
    "invalid-parameter": _row(_N, "RFC 2045 5.1", "A parameter does not follow the syntax."),
    "duplicate-parameter": _row(_W, "RFC 2045 5.1", "A parameter occurs twice; the first counts."),
    "invalid-encoded-word": _row(_N, "RFC 2047 2", "An encoded word does not follow the syntax."),
    "invalid-field": _row(_W, "RFC 5322 2.2", "A field does not follow its own syntax."),
    # structure
    "missing-boundary": _row(_E, "RFC 2046 5.1.1", "A multipart names no boundary."),
    "boundary-not-found": _row(_E, "RFC 2046 5.1.1", "The boundary of a multipart does not occur in it."),
    "missing-close-delimiter": _row(_W, "RFC 2046 5.1.1", "A multipart ends without its closing delimiter."),
    "encoded-multipart": _row(_W, "RFC 2045 6.4", "A multipart has a transfer encoding that hides its parts."),
    "encoded-message": _row(_N, "RFC 2046 5.2.1", "An enclosed message has a transfer encoding."),
    # bodies
    "unknown-transfer-encoding": _row(_W, "RFC 2045 6.4", "The transfer encoding is unknown; the octets stay."),
    "invalid-base64": _row(_W, "RFC 2045 6.8", "There are characters outside the base64 alphabet."),
    "truncated-base64": _row(_W, "RFC 2045 6.8", "The base64 body ends in the middle of a group."),
    "invalid-quoted-printable": _row(_W, "RFC 2045 6.7", "A \"=\" is not followed by two hexadecimal digits."),
    "invalid-uuencode": _row(_W, "POSIX uuencode", "A uuencoded block is damaged."),
    "unknown-charset": _row(_W, "RFC 2046 4.1.2", "The charset is unknown; another one was detected."),
    "wrong-charset": _row(_W, "RFC 2046 4.1.2", "The octets do not fit the declared charset; another was detected."),
    "undeclared-charset": _row(_N, "RFC 2046 4.1.2", "No charset is declared for octets above 127; one was detected."),
    "lossy-text": _row(_W, "RFC 2046 4.1.2", "Some octets fit no charset and were replaced."),
    # limits
    "limit-nesting-depth": _row(_E, "RFC 2046 5.1", "Entities are nested too deeply; the rest is left opaque."),
    "limit-part-count": _row(_E, "RFC 2046 5.1", "There are too many parts; the rest is left opaque."),
    "limit-header-size": _row(_E, "RFC 5322 2.2", "The header is too large; the rest is left opaque."),
    "limit-field-count": _row(_E, "RFC 5322 2.2", "The header has too many fields; the rest is left opaque."),
    "limit-parameter-count": _row(_E, "RFC 2045 5.1", "A field has too many parameters; the rest is left alone."),
    "limit-address-count": _row(_E, "RFC 5322 3.4", "A field has too many addresses; the rest is left alone."),
    "limit-encoded-word-count": _row(_E, "RFC 2047 2", "A field has too many encoded words; the rest is left alone."),
    "limit-decoded-size": _row(_E, "RFC 2045 6", "A decoded body is too large; its view is cut off."),
}
"""The one table: code → sentence, RFC section, severity."""


@dataclass(frozen=True, slots=True)
class Defect:
    """One thing that is wrong, and where.

    Attributes:
        code: a key of `DEFECTS`, kebab-case.
        offset: octets from the beginning of the parsed source (from the beginning of the body or the field
            where a function was given only that).
        detail: what was found, "" where the sentence says it all. Printable text, at most a line.
        path: the part, as IMAP numbers it ("1.2"), "" for the message itself.
        field: the name of the header field, "" where it is not about one.

    >>> Defect("bare-cr", 17).sentence
    'A CR stands alone; lines end with CRLF.'
    """

    code: str
    offset: int = 0
    detail: str = ""
    path: str = ""
    field: str = ""

    @property
    def kind(self) -> DefectKind:
        """The row of the table."""
        return DEFECTS[self.code]

    @property
    def sentence(self) -> str:
        """One sentence for a person."""
        return DEFECTS[self.code].sentence

    @property
    def rfc(self) -> str:
        """The document and section that says how it should be."""
        return DEFECTS[self.code].rfc

    @property
    def severity(self) -> Severity:
        """How much it matters."""
        return DEFECTS[self.code].severity
