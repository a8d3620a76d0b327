"""Fields that mailing lists add: List-Id (RFC 2919), List-Post, List-Unsubscribe and the other List-* (RFC 2369).

    mailing_list.parse(b" <mailto:a@b.example>, <https://b.example/>").urls     # ("mailto:a@b.example", "https://…")
    mailing_list.parse_id(b" A list <list.example.org>").id                     # "list.example.org"

Never here: requests to those URLs.
"""

import re
from dataclasses import dataclass, field

from mailpipe.codec import encoded_word
from mailpipe.defect import Defect
from mailpipe.fields.phrase import render_phrase
from mailpipe.fields.value import FieldValue, one_line, read_text
from mailpipe.frozen import quick_maker
from mailpipe.wire.lexer import QUOTED, tokens, unescape

_ORDINARY = re.compile(rb"[ \t]*+<([!-;=?-~]++)>[ \t\r\n]*+\Z")
_ORDINARY_ID = re.compile(
    rb"[ \t]*+(?:\"([ !#-\[\]-~]*+)\"|([A-Za-z0-9!#$%&'*+/^_`{|}~ -]*+))[ \t]*+<([!-;=?-~]++)>[ \t\r\n]*+\Z"
)
_ANGLE = re.compile(r"<([^<>]*+)>")
_BLANK = re.compile(r"[ \t\r\n]++")
_BARE_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*+:[^\s<>,]++")
_PHRASE_SIZE = 10_000  # LIMIT: a description is not read any further


@dataclass(frozen=True, slots=True)
class ListUrls(FieldValue):
    """The URLs of a List-* field, the preferred one first.

    Attributes:
        urls: without angle brackets and white space.
        is_no: the field says "NO": posting is not allowed (RFC 2369 section 3.4).
        defects: what is wrong with the body.
    """

    urls: tuple[str, ...] = ()
    is_no: bool = False
    defects: tuple[Defect, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        return "NO" if self.is_no else ", ".join(f"<{url}>" for url in self.urls)

    def render(self) -> bytes:
        """The octets of a composed field's body, not folded."""
        return str(self).encode()


@dataclass(frozen=True, slots=True)
class ListId(FieldValue):
    """List-Id (RFC 2919 section 3).

    Attributes:
        id: such as "list.example.org".
        description: the phrase before it, decoded; None where there is none.
        defects: what is wrong with the body.
    """

    id: str
    description: str | None = None
    defects: tuple[Defect, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        return f"{self.description} <{self.id}>" if self.description else f"<{self.id}>"

    def render(self) -> bytes:
        """The octets of a composed field's body, not folded."""
        octets = f"<{self.id}>".encode("utf-8", "replace")
        return b"%b %b" % (render_phrase(self.description), octets) if self.description else octets


_make = quick_maker(ListUrls)
_make_id = quick_maker(ListId)


def parse(body: bytes) -> ListUrls:
    """The URLs of a List-* field. Never raises; linear in the length of the body.

    >>> parse(b" NO (posting is not allowed)").is_no
    True
    """
    found = _ORDINARY.match(body)
    if found is not None:
        return _make((found[1].decode("ascii"),), False, ())
    defects: list[Defect] = []
    text = read_text(body, defects)
    urls = tuple(url for url in (_BLANK.sub("", each) for each in _ANGLE.findall(text)) if url)
    if urls:
        return ListUrls(urls, False, tuple(defects))
    words = text.split(None, 1)
    if words and words[0].upper() == "NO":
        return ListUrls((), True, tuple(defects))
    defects.append(Defect("invalid-field" if words else "empty-field", 0, one_line(text.strip())))
    return ListUrls(tuple(_BARE_URL.findall(text[:_PHRASE_SIZE])), False, tuple(defects))


def parse_id(body: bytes) -> ListId:
    """List-Id. Never raises; a body without angle brackets is taken for the identifier itself."""
    found = _ORDINARY_ID.match(body)
    if found is not None:
        before = (found[1] or found[2] or b"").decode("ascii").strip()
        if "=?" not in before:
            return _make_id(found[3].decode("ascii"), " ".join(before.split()) or None, ())
    defects: list[Defect] = []
    text = read_text(body, defects).strip()
    start = text.rfind("<")
    end = text.find(">", start) if start >= 0 else -1
    if end < 0:
        defects.append(Defect("invalid-field" if text else "empty-field", 0, one_line(text)))
        return ListId(_BLANK.sub("", text.strip("<>")), None, tuple(defects))
    before = tokens(text[: min(start, _PHRASE_SIZE)])
    phrase = " ".join(unescape(token.text) if token.kind is QUOTED else token.text for token in before)
    description = encoded_word.decode_text(phrase) if "=?" in phrase else phrase
    return ListId(_BLANK.sub("", text[start + 1 : end]), description.strip() or None, tuple(defects))
