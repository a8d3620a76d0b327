"""Content-Disposition: shown in place or kept apart, under which name (RFC 2183, RFC 6266 for its extended names).

    disposition = content_disposition.parse(b' attachment; filename="a.txt"; size=12')
    disposition.value, disposition.filename, disposition.size      # "attachment", "a.txt", 12
    ContentDisposition.of("attachment", filename="naïve.txt").render()

Never here: whether a name is safe to write to; what makes files asks that of itself.
"""

import re
from dataclasses import dataclass, field
from datetime import datetime

from mailpipe.defect import Defect
from mailpipe.errors import ComposeError
from mailpipe.fields.date import read_moment
from mailpipe.fields.parameter import NO_PARAMETERS, Parameters, parse_behind
from mailpipe.fields.parameter import parse as parse_parameters
from mailpipe.fields.value import FieldValue, one_line
from mailpipe.frozen import quick_maker
from mailpipe.wire.lexer import comment_end

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`{|}~-]++")


@dataclass(frozen=True, slots=True)
class ContentDisposition(FieldValue):
    """How a part is meant to be presented.

    Attributes:
        value: "inline", "attachment" or another token, in lower case; "attachment" where none can be read
            (RFC 2183 section 2.8 says so of unknown ones).
        params: names in lower case, values decoded per RFC 2231.
        defects: what is wrong with the body.
    """

    value: str
    params: Parameters = NO_PARAMETERS
    defects: tuple[Defect, ...] = field(default=(), compare=False)

    @property
    def filename(self) -> str | None:
        """The suggested name as the sender wrote it, directories and all; None where there is none."""
        return self.params.entries.get("filename") or None

    @property
    def size(self) -> int | None:
        """The size that the sender claims, in octets; None where there is none."""
        digits = self.params.entries.get("size", "")
        return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 20 else None

    @property
    def creation_date(self) -> datetime | None:
        """When the file was made (RFC 2183 section 2.4)."""
        return self._moment("creation-date")

    @property
    def modification_date(self) -> datetime | None:
        """When the file was last changed (RFC 2183 section 2.5)."""
        return self._moment("modification-date")

    @property
    def read_date(self) -> datetime | None:
        """When the file was last read (RFC 2183 section 2.6)."""
        return self._moment("read-date")

    def _moment(self, name: str) -> datetime | None:
        text = self.params.entries.get(name)
        return read_moment(text) if text else None

    @classmethod
    def of(cls, value: str, **params: str | None) -> "ContentDisposition":
        """A disposition for a composed part.

        Args:
            value: "inline" or "attachment".
            params: parameters; an underscore in a name stands for "-"; those that are None are left out.

        Raises:
            ComposeError: the value is no token.
        """
        if not _TOKEN.fullmatch(value):
            raise ComposeError(f"{value!r} is no disposition such as 'attachment'")
        entries = {name.replace("_", "-").lower(): text for name, text in params.items() if text is not None}
        return cls(value.lower(), Parameters(entries, {}))

    def with_param(self, name: str, value: str | None) -> "ContentDisposition":
        """A copy with one parameter set, or removed where the value is None."""
        return ContentDisposition(self.value, self.params.with_parameter(name, value))

    def render(self) -> bytes:
        """The octets of a composed field's body, not folded."""
        return self.value.encode("ascii", "replace") + self.params.render()

    def __str__(self) -> str:
        return self.render().decode("ascii", "replace")


_make = quick_maker(ContentDisposition)


def parse(body: bytes) -> ContentDisposition:
    """The disposition of a body. Never raises; linear in its length.

    Args:
        body: what follows the colon, folded or not.
    """
    defects: list[Defect] = []
    text = body.decode("latin-1")
    start = len(text) - len(text.lstrip(" \t\r\n"))
    if text.startswith("(", start) and (end := comment_end(text, start)) > 0:
        start = len(text) - len(text[end:].lstrip(" \t\r\n"))
    if text.startswith('"', start):
        # QUIRK: '"attachment"; filename=a.txt'
        defects.append(Defect("invalid-disposition", start, "quotation marks round the disposition"))
        text, start = text.replace('"', " ", 2), start + 1
    found = _TOKEN.match(text, start)
    if found is None or text.startswith("=", found.end()):
        defects.append(Defect("invalid-disposition", start, one_line(text[start:].strip())))
        semicolon = text.find(";", start)
        behind = start if found is not None else len(text) if semicolon < 0 else semicolon
        return _make("attachment", parse_parameters(text, defects, behind), tuple(defects))
    params = parse_behind(text, defects, found.end())
    return _make(found[0].lower(), params, tuple(defects))
