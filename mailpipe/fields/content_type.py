"""Content-Type: the media type, its parameters, and what is assumed without one (RFC 2045 section 5).

    kind = content_type.parse(b' text/html; charset="utf-8"')
    kind.value, kind.charset, kind.params["charset"]      # "text/html", "utf-8", "utf-8"
    ContentType.of("text/plain", charset="utf-8").render()

A body that names no media type is text/plain with a defect (RFC 2045 section 5.2). QUIRK: where it names a type and no
subtype, "multipart" with a boundary is multipart/mixed, and pictures, sound and data are application/octet-stream; a
comma or a colon behind the media type is read as the semicolon that should stand there.

Never here: boundaries that are searched for; the parser does that.
"""

import re
from dataclasses import dataclass, field
from functools import lru_cache

from mailpipe.defect import Defect
from mailpipe.errors import ComposeError
from mailpipe.fields.parameter import NO_LANGUAGES, NO_PARAMETERS, Parameters, parse_behind
from mailpipe.fields.parameter import parse as parse_parameters
from mailpipe.fields.value import FieldValue, one_line
from mailpipe.frozen import quick_maker, twin_of
from mailpipe.wire.lexer import comment_end

_SIGNS = rb"[A-Za-z0-9!#$&^_.+-]"
_ORDINARY = re.compile(
    rb"[ \t]*+(%b++)/(%b++)"
    rb"(?:;[ \t\r\n]*+([A-Za-z-]++)=(?:\"([^\"\\\x80-\xff\x1b\r\n]*+)\"|([A-Za-z0-9_.:/+-]++)))?;?[ \t\r\n]*+\Z"
    % (_SIGNS, _SIGNS)
)
_WORD_SIGNS = r"[A-Za-z0-9!#$%&'*+.^_`{|}~-]"
_TOKEN = re.compile(rf"{_WORD_SIGNS}++")
_BLANKS = re.compile(r"[ \t\r\n]*+")
_LONE_TYPE = re.compile(r"(multipart|application|image|audio|video)(?![A-Za-z0-9.+_-])", re.IGNORECASE)
_MEDIA_TYPE = re.compile(rf"({_WORD_SIGNS}++)[ \t\r\n]*+/[ \t\r\n]*+({_WORD_SIGNS}++)")


@dataclass(frozen=True, slots=True)
class ContentType(FieldValue):
    """A media type.

    Attributes:
        type: "text", in lower case.
        subtype: "plain", in lower case.
        params: names in lower case, values decoded per RFC 2231.
        defects: what is wrong with the body.

    >>> parse(b"TEXT/Plain; Charset=us-ascii (plain text)").params
    Parameters({'charset': 'us-ascii'})
    """

    type: str
    subtype: str
    params: Parameters = NO_PARAMETERS
    defects: tuple[Defect, ...] = field(default=(), compare=False)

    @property
    def value(self) -> str:
        """Type and subtype: "text/plain", in lower case."""
        return f"{self.type}/{self.subtype}"

    @property
    def charset(self) -> str | None:
        """The charset parameter as written, None where there is none."""
        return self.params.entries.get("charset") or None

    @property
    def boundary(self) -> str | None:
        """The boundary parameter (RFC 2046 section 5.1.1), None where there is none."""
        return self.params.entries.get("boundary") or None

    @property
    def is_multipart(self) -> bool:
        """Whether the type is multipart."""
        return self.type == "multipart"

    @classmethod
    def of(cls, value: str, **params: str | None) -> "ContentType":
        """A media type for a composed entity.

        Args:
            value: "type/subtype".
            params: parameters; an underscore in a name stands for "-"; those that are None are left out.

        Raises:
            ComposeError: the value is no media type.
        """
        kind, slash, subtype = value.partition("/")
        if not slash or not _TOKEN.fullmatch(kind) or not _TOKEN.fullmatch(subtype):
            raise ComposeError(f"{value!r} is no media type such as 'text/plain'")
        entries = {name.replace("_", "-").lower(): text for name, text in params.items() if text is not None}
        return cls(kind.lower(), subtype.lower(), Parameters(entries, {}))

    def with_param(self, name: str, value: str | None) -> "ContentType":
        """A copy with one parameter set, or removed where the value is None."""
        return ContentType(self.type, self.subtype, self.params.with_parameter(name, value))

    def render(self) -> bytes:
        """The octets of a composed field's body, not folded."""
        return self.value.encode("ascii", "replace") + self.params.render()

    def __str__(self) -> str:
        return self.render().decode("ascii", "replace")


_make = quick_maker(ContentType)
_unfrozen = twin_of(ContentType)
_unfrozen_parameters = twin_of(Parameters)
# What nearly every body is made of, kept once for all messages.
_NAMES = {
    name: word
    for word in (
        "text", "multipart", "message", "image", "application", "audio", "plain", "html", "mixed", "alternative",
        "related", "signed", "report", "digest", "rfc822", "octet-stream", "charset", "boundary", "name",
    )
    for name in (word.encode(), word.upper().encode(), word.title().encode())
}  # fmt: skip


def read(body: bytes) -> ContentType:
    """As `parse`, but nothing is kept: for whoever keeps what he reads."""
    found = _ORDINARY.match(body)
    if found is None:
        return _read_any(body)
    media, subtype, name, quoted, token = found.groups()
    params = NO_PARAMETERS
    if name is not None:
        value = token if quoted is None else quoted
        if 0x3F in value and value.find(b"=?") >= 0:
            return _read_any(body)
        params = _unfrozen_parameters()
        params.entries = {_NAMES.get(name) or name.decode("ascii").lower(): value.decode("ascii")}
        params.languages = NO_LANGUAGES
        params.__class__ = Parameters
    # what `_make` does, without the call
    made = _unfrozen()
    made.type = _NAMES.get(media) or media.decode("ascii").lower()
    made.subtype = _NAMES.get(subtype) or subtype.decode("ascii").lower()
    made.params, made.defects = params, ()
    made.__class__ = ContentType
    kind: ContentType = made
    return kind


_read_cached = lru_cache(maxsize=512)(read)


def parse(body: bytes) -> ContentType:
    """The media type of a body. Never raises; linear in its length.

    Args:
        body: what follows the colon, folded or not.
    """
    # A boundary is new in every message, and a cache must not keep what a sender makes long.
    # Whether an octet is in it is asked in a quarter of the time that a word takes.
    if (
        len(body) > 256
        or (0x79 in body and body.find(b"oundary") >= 0)
        or (0x59 in body and body.find(b"OUNDARY") >= 0)
    ):
        return read(body)
    return _read_cached(body)


def _read_any(body: bytes) -> ContentType:
    defects: list[Defect] = []
    text = body.decode("latin-1")
    start = _skip(text, 0)
    if text.startswith('"', start):
        # QUIRK: '"text/html"; charset=utf-8'
        defects.append(Defect("invalid-content-type", start, "quotation marks round the media type"))
        text = text.replace('"', " ", 2)
        start = _skip(text, start)
    found = _MEDIA_TYPE.match(text, start)
    named = (found[1], found[2], found.end()) if found is not None else _commented(text, start)
    if named is None:
        semicolon = text.find(";", start)
        stop = len(text) if semicolon < 0 else semicolon
        defects.append(Defect("invalid-content-type", start, one_line(text[start:stop].strip())))
        # QUIRK: "Content-Type: charset=us-ascii" and "text; charset=us-ascii" keep their parameters.
        first = text[start:stop]
        params = parse_parameters(text, defects, start if "=" in first and "/" not in first else stop)
        kind, subtype = "text", "plain"
        if lone := _LONE_TYPE.match(text, start):
            if lone[1].lower() != "multipart":
                kind, subtype = "application", "octet-stream"
            elif "boundary" in params.entries:
                kind, subtype = "multipart", "mixed"
        return _make(kind, subtype, params, tuple(defects))
    kind, subtype, behind = named
    params = parse_behind(text, defects, behind)
    # the text is latin-1, but these are ASCII
    kind = _NAMES.get(kind.encode()) or kind.lower()
    subtype = _NAMES.get(subtype.encode()) or subtype.lower()
    return _make(kind, subtype, params, tuple(defects))


def _skip(text: str, position: int) -> int:
    """Behind white space and comments."""
    while (blanks := _BLANKS.match(text, position)) is not None:
        position = blanks.end()
        end = comment_end(text, position) if text.startswith("(", position) else -1
        if end < 0:
            break
        position = end
    return position


def _commented(text: str, start: int) -> tuple[str, str, int] | None:
    """Type, subtype and where they end, with comments round the slash; None where there is no media type."""
    kind = _TOKEN.match(text, start)
    slash = _skip(text, kind.end()) if kind is not None else -1
    if kind is None or not text.startswith("/", slash):
        return None
    subtype = _TOKEN.match(text, _skip(text, slash + 1))
    return None if subtype is None else (kind[0], subtype[0], subtype.end())
