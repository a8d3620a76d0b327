"""The small fields of MIME: MIME-Version, Content-Transfer-Encoding, Content-Language and others (RFC 2045, 3282).

    mime.parse_transfer_encoding(b" Base64 (really)").text       # "base64"
    mime.parse_language(b" de, en-GB").tags                      # ("de", "en-gb")

Never here: Content-Type and Content-Disposition, which have files of their own, and what an encoding does.
"""

import re
from dataclasses import dataclass, field
from functools import lru_cache

from mailpipe.defect import Defect
from mailpipe.fields.value import FieldValue, one_line, read_text
from mailpipe.frozen import quick_maker
from mailpipe.wire.lexer import COMMENT, QUOTED, SPECIAL, tokens, unescape

_BARE_TOKEN = re.compile(rb"[ \t]*+([A-Za-z0-9!#$&'*+.^_`{|}~-]++)[ \t\r\n]*+\Z")
_SHORT = 4096  # LIMIT: none of these fields is longer in earnest; the rest of a longer one is not read


@dataclass(frozen=True, slots=True)
class TokenValue(FieldValue):
    """One word, such as a transfer encoding or an automatic submission's keyword (RFC 3834 section 5).

    Attributes:
        text: in lower case, without comments; "" where there is none.
        defects: what is wrong with the body.
    """

    text: str
    defects: tuple[Defect, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        return self.text

    def render(self) -> bytes:
        """The octets of a composed field's body."""
        return self.text.encode("ascii", "replace")


@dataclass(frozen=True, slots=True)
class MimeVersion(FieldValue):
    """MIME-Version (RFC 2045 section 4).

    Attributes:
        major: 1 in every message so far.
        minor: 0 in every message so far.
        defects: "invalid-mime-version" where the version is another one.
    """

    major: int
    minor: int
    defects: tuple[Defect, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"

    def render(self) -> bytes:
        """The octets of a composed field's body."""
        return str(self).encode("ascii")


@dataclass(frozen=True, slots=True)
class Languages(FieldValue):
    """Content-Language (RFC 3282) and Accept-Language without weights.

    Attributes:
        tags: language tags in lower case.
        defects: what is wrong with the body.
    """

    tags: tuple[str, ...] = ()
    defects: tuple[Defect, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        return ", ".join(self.tags)

    def render(self) -> bytes:
        """The octets of a composed field's body."""
        return str(self).encode("ascii", "replace")


_ONE_DOT_ZERO = MimeVersion(1, 0)
_make_token = quick_maker(TokenValue)


def without_comments(body: bytes, defects: list[Defect]) -> str:
    """The words of a body without its comments, one blank between those that stood apart."""
    pieces: list[str] = []
    broken: list[tuple[str, int]] = []
    end = 0
    for token in tokens(read_text(body[:_SHORT], defects), broken):
        if token.kind is COMMENT:
            continue
        if pieces and token.start > end and token.kind is not SPECIAL:
            pieces.append(" ")
        pieces.append(unescape(token.text) if token.kind is QUOTED else token.text)
        end = token.end
    defects.extend(Defect(code, position) for code, position in broken)
    return "".join(pieces)


def parse_token(body: bytes) -> TokenValue:
    """The first word of a body, in lower case; what follows a semicolon is left out. Never raises."""
    found = _BARE_TOKEN.match(body)
    if found is not None:
        return _make_token(found[1].decode("ascii").lower(), ())
    defects: list[Defect] = []
    words = without_comments(body, defects).split(";")[0].split()
    if len(words) != 1:
        defects.append(Defect("invalid-field" if words else "empty-field", 0, one_line(" ".join(words))))
    return _make_token(words[0].lower() if words else "", tuple(defects))


def parse_transfer_encoding(body: bytes) -> TokenValue:
    """The transfer encoding (RFC 2045 section 6.1), in lower case. Never raises.

    >>> parse_transfer_encoding(b" Quoted-Printable (for now)").text
    'quoted-printable'
    """
    return parse_token(body)


@lru_cache(256)
def encoding_named(body: bytes) -> str:
    """The name of the transfer encoding alone, in lower case; "7bit" where there is none (RFC 2045 section 6.1)."""
    return parse_token(body).text or "7bit"


def parse_version(body: bytes) -> MimeVersion:
    """MIME-Version with its comments dropped; "1.0" is assumed where no version can be read. Never raises."""
    if body.strip() == b"1.0":
        return _ONE_DOT_ZERO
    defects: list[Defect] = []
    text = without_comments(body, defects).replace(" ", "")
    found = re.match(r"(\d{1,4})\.(\d{1,4})(?!\d)", text)
    if found is None or text != "1.0":
        defects.append(Defect("invalid-mime-version", 0, one_line(text)))
    if found is None:
        return MimeVersion(1, 0, tuple(defects))
    return MimeVersion(int(found[1]), int(found[2]), tuple(defects))


def parse_language(body: bytes) -> Languages:
    """The language tags of a body. Never raises."""
    defects: list[Defect] = []
    text = without_comments(body, defects).lower()
    tags = tuple(tag for tag in (piece.split(";")[0].strip() for piece in text.split(",")) if tag)
    if not tags:
        defects.append(Defect("empty-field"))
    wrong = next((tag for tag in tags if not re.fullmatch(r"[a-z0-9-]++|\*", tag)), None)
    if wrong is not None:
        defects.append(Defect("invalid-field", 0, one_line(wrong)))
    return Languages(tags, tuple(defects))


def parse_location(body: bytes) -> TokenValue:
    """Content-Location and Content-Base (RFC 2557 section 4): a URI, its folds and blanks removed. Never raises."""
    defects: list[Defect] = []
    text = "".join(read_text(body, defects).split())
    if not text:
        defects.append(Defect("empty-field"))
    return _make_token(text.strip('"<>'), tuple(defects))


def parse_digest(body: bytes) -> TokenValue:
    """Content-MD5 (RFC 1864): the digest in base64, as written. Never raises."""
    text = body[:_SHORT].decode("ascii", "replace").strip()
    right = re.fullmatch(r"[A-Za-z0-9+/]{22}==", text) is not None
    return _make_token(text, () if right else (Defect("invalid-field", 0, one_line(text)),))
