"""Text for people: Subject, Comments and every field that has no syntax of its own (RFC 5322 section 3.6.5).

    text = unstructured.parse(b" =?utf-8?q?Gr=C3=BC=C3=9Fe?=")
    text.text                    # "Grüße"
    str(text) == text.text

Never here: what encoded words look like; codec/encoded_word.py knows.
"""

from dataclasses import dataclass, field

from mailpipe.codec import encoded_word
from mailpipe.defect import Defect
from mailpipe.fields.value import FieldValue
from mailpipe.frozen import quick_maker
from mailpipe.wire.folding import unfolded


@dataclass(frozen=True, slots=True)
class Text(FieldValue):
    r"""Unstructured text.

    Attributes:
        text: decoded, unfolded, without white space at its ends.
        defects: what is wrong with the body.

    >>> parse(b" =?iso-8859-1?q?Caf=E9?= at noon\r\n").text
    'Café at noon'
    """

    text: str
    defects: tuple[Defect, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        return self.text

    def render(self) -> bytes:
        """The octets of a composed field's body: as they are, or in encoded words."""
        return render(self.text)


_make = quick_maker(Text)


def parse(body: bytes) -> Text:
    """The text of an unstructured field (RFC 5322 section 2.2.1, RFC 2047 section 5). Never raises.

    Args:
        body: what follows the colon, folded or not.
    """
    defects: list[Defect] = []
    return _make(read(body, defects), tuple(defects))


def of_text(text: str) -> Text:
    """The value whose text is known."""
    return _make(text, ())


def read(body: bytes, defects: list[Defect] | None = None) -> str:
    """The text alone of an unstructured body, folded or not.

    Args:
        body: what follows the colon.
        defects: a list that takes what is wrong.
    """
    if body.isascii():
        text = body.decode("ascii").strip(" \t\r\n")
        if "=?" not in text and text.isprintable():  # neither a fold nor an escape sequence in it
            return text
    return encoded_word.decode(unfolded(body), defects)


def render(text: str) -> bytes:
    """The octets of unstructured text in a composed field, not folded (RFC 2047 section 5).

    >>> render("plain"), render("Größe aus Bonn")
    (b'plain', b'=?utf-8?q?Gr=C3=B6=C3=9Fe_aus_Bonn?=')
    """
    return encoded_word.encode(text) if encoded_word.needs_encoding(text) else text.encode("ascii")
