"""Lists of phrases: Keywords (RFC 5322 section 3.6.5) and the fields that borrow its form.

    keywords.parse(b' one, "two, three", =?utf-8?q?f=C3=BCnf?=').phrases      # ("one", "two, three", "fünf")

Never here: the meaning of a keyword.
"""

from dataclasses import dataclass, field

from mailpipe.codec import encoded_word
from mailpipe.defect import Defect
from mailpipe.fields.phrase import render_phrase
from mailpipe.fields.value import FieldValue, octets_before, read_text
from mailpipe.wire.lexer import COMMENT, QUOTED, SPECIAL, tokens, unescape


@dataclass(frozen=True, slots=True)
class Keywords(FieldValue):
    """Phrases in order.

    Attributes:
        phrases: decoded, empty ones left out.
        defects: what is wrong with the body.
    """

    phrases: tuple[str, ...] = ()
    defects: tuple[Defect, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        return ", ".join(self.phrases)

    def render(self) -> bytes:
        """The octets of a composed field's body, not folded."""
        return b", ".join(render_phrase(phrase) for phrase in self.phrases)


def parse(body: bytes) -> Keywords:
    """The phrases of a body. Never raises; linear in its length."""
    defects: list[Defect] = []
    text = read_text(body, defects)
    broken: list[tuple[str, int]] = []
    phrases: list[str] = []
    pieces: list[str] = []
    end = 0
    for token in tokens(text, broken):
        if token.kind is COMMENT:
            continue
        if token.kind is SPECIAL and token.text == ",":
            phrases.append("".join(pieces))
            pieces = []
            continue
        if pieces and token.start > end:
            pieces.append(" ")
        pieces.append(unescape(token.text) if token.kind is QUOTED else token.text)
        end = token.end
    phrases.append("".join(pieces))
    defects += [Defect(code, octets_before(text, position, len(body))) for code, position in broken]
    decoded = (encoded_word.decode_text(phrase) if "=?" in phrase else phrase for phrase in phrases)
    return Keywords(tuple(phrase for phrase in decoded if phrase), tuple(defects))
