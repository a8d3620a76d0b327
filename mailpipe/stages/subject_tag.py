"""The stage `subject-tag`: a word before or behind the subject, once.

    [[stage]]
    use = "subject-tag"
    tag = "[EXTERNAL]"
    position = "prefix"             # prefix | suffix
    after_reply = true              # "Re: [EXTERNAL] lunch" rather than "[EXTERNAL] Re: lunch"

The octets of the subject stay as they came, encoded words, charset and all (RFC 2047); only where the tag cannot stand
beside them is the whole text said anew. A subject that has the tag anywhere, capitals and blanks aside, is left alone.

Never here: taking tags away.
"""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator

from mailpipe.codec import encoded_word
from mailpipe.errors import ComposeError
from mailpipe.fields import unstructured
from mailpipe.message import Field
from mailpipe.pipeline.access import Access
from mailpipe.pipeline.component import Options, Stage
from mailpipe.pipeline.mail import Changed, Mail
from mailpipe.stages import templates


def _visible(tag: str) -> str:
    if not tag.strip() or not tag.isprintable():
        raise ValueError("a tag is a line of printable text, such as \"[EXTERNAL]\"")
    return tag.strip()


# "Re:", "RE[2]:", "Fwd:", and what mail programs in other languages put there.
_REPLY = re.compile(
    r"(?>(?:(?:re|r|aw|antw|antwort|sv|vs|vá|odp|ynt|rif|ref|fwd?|wg|tr|rv|enc|i|vl|doorst|továbbítás|回复|答复|转发|返信)"
    r"(?:\[[0-9]{1,4}\])? ?[:：] *)*)",
    re.IGNORECASE,
)


class SubjectTagOptions(Options):
    """The tag and its place."""

    tag: Annotated[str, AfterValidator(_visible)]
    """The word: "[EXTERNAL]"."""
    position: Literal["prefix", "suffix"] = "prefix"
    """Before the subject or behind it."""
    after_reply: bool = False
    """As a prefix, put it behind "Re:", "Fwd:", "AW:" and their like, so that these stay first."""
    when_missing: Literal["add", "keep"] = "add"
    """What to do with a message that has no Subject: give it one that is the tag, or leave it alone."""


class SubjectTag(Stage[SubjectTagOptions]):
    """Puts a word before or behind the subject, once, and leaves the octets of the subject as they are."""

    name = "subject-tag"
    Options = SubjectTagOptions
    reads = Access(fields=("Subject",))
    touches = Access(fields=("Subject",), notes=(Changed,))
    decides = ()

    def process(self, mail: Mail) -> Mail:
        """Tag every Subject that has no tag yet; readers differ in which of several they show."""
        header = mail.message.header
        lines = list(header.lines)
        places = [place for place, line in enumerate(lines) if line.key == "subject" and line.is_field]
        if not places and self.options.when_missing == "add":
            lines.append(templates.composed("Subject", self.options.tag, header.line_end))
        elif not sum(self._tag(lines, place, header.line_end) for place in places):
            return mail
        changed = mail.message.with_header(header.with_fields(lines))
        return mail.with_message(changed).with_note(Changed(self.name, f"Subject tagged {self.options.tag}"))

    def _tag(self, lines: list[Field], place: int, line_end: bytes) -> bool:
        """Put a tagged field in the place of one; False where it has the tag."""
        field, tag = lines[place], self.options.tag
        if _squeezed(tag) in _squeezed(field.text):
            return False
        raw = field.raw
        line_end = next((end for end in (b"\r\n", b"\n", b"\r") if raw.endswith(end)), line_end)
        text = " ".join(field.text.split("\n"))
        at = len(text)
        if self.options.position == "prefix":
            at = _REPLY.match(text).end() if self.options.after_reply else 0  # type: ignore[union-attr]
        wanted = _joined(text[:at], tag, text[at:])
        body = self._beside(field.body, text, at)
        if body is not None and unstructured.read(body) == wanted:
            try:
                lines[place] = Field.compose(field.name, body, line_end)
                return True
            except ComposeError:  # a NUL, or a word without end
                pass
        lines[place] = templates.composed(field.name, wanted, line_end)
        return True

    def _beside(self, body: bytes, text: str, at: int) -> bytes | None:
        """The octets of the subject with those of the tag at a place of its text; None where that place is encoded."""
        if 0 < at < len(text):
            if not body.startswith(text[:at].encode("utf-8", "surrogateescape")):
                return None
            place = len(text[:at].encode("utf-8", "surrogateescape"))
        else:
            place = 0 if at == 0 else len(body)
        before, after, tag = body[:place].rstrip(b" \t"), body[place:].lstrip(b" \t"), self.options.tag
        # between two encoded words white space means nothing, so that it has to be in the words
        left = " " if before.endswith(b"?=") and encoded_word.needs_encoding(tag) else ""
        right = " " if after.startswith(b"=?") and encoded_word.needs_encoding(tag) else ""
        return b" ".join(piece for piece in (before, unstructured.render(left + tag + right), after) if piece)


def _squeezed(text: str) -> str:
    return " ".join(text.split()).casefold()


def _joined(*pieces: str) -> str:
    return " ".join(piece.strip(" \t") for piece in pieces if piece.strip(" \t"))
