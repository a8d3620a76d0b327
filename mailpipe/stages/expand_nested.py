"""The stage `expand-nested`: messages that are attached to a message, as mails of their own or opened in their place.

    [[stage]]
    use = "expand-nested"
    how = "lift"                    # lift | flatten
    then = "keep"                   # for lift: keep | note | detach | alone

`lift` sends each attached message on by itself, octet for octet, with the envelope of the mail that brought it: for
journals, reports of spam and archives. `flatten` puts its body and its attachments where it stood, below a few lines
that name its author, date and subject, so that filters and readers meet them as parts like others.

The messages inside an attached one go with it when it is lifted; flattening goes down to `depth`. What is signed,
encrypted or part of a report of delivery is left.

Never here: recipients out of a header; nothing is sent to anybody who did not get the mail.
"""

from typing import Literal

from pydantic import Field as OptionField

from mailpipe.message import Entity, Message, compose, edit
from mailpipe.pipeline.access import Access
from mailpipe.pipeline.component import Options, Stage
from mailpipe.pipeline.mail import Changed, Mail
from mailpipe.stages import text_edit
from mailpipe.stages.attachment_choice import Covered
from mailpipe.stages.text_edit import OPAQUE
from mailpipe.writer.downgrade import is_below

_TYPES = ("message/rfc822", "message/global")
_SHOWN = ("From", "To", "Cc", "Date", "Subject", "Message-ID")


class ExpandNestedOptions(Options):
    """What becomes of attached messages."""

    how: Literal["lift", "flatten"] = "flatten"
    """Send them on as mails of their own, or put their parts in their place."""
    then: Literal["keep", "note", "detach", "alone"] = "keep"
    """When lifted, what becomes of the mail that brought them: it goes on as it is, with a note or nothing in their
    place, or not at all."""
    depth: int = OptionField(default=3, ge=1, le=20)
    """When flattened, how many messages inside one another are opened."""
    most: int = OptionField(default=100, ge=1, le=10_000)
    """Attached messages of one mail that are lifted; a mail with more goes on as it is."""


class ExpandNested(Stage[ExpandNestedOptions]):
    """Lifts attached messages to mails of their own, or opens them in their place."""

    name = "expand-nested"
    Options = ExpandNestedOptions
    reads = Access(fields=("*",), body=True)
    touches = Access(fields=("*",), body=True, notes=(Changed,))
    decides = ()

    @classmethod
    def accesses(cls, options: ExpandNestedOptions) -> tuple[Access, Access]:
        """A mail that is lifted is another in every field."""
        reads = Access(fields=text_edit.CONTENT_FIELDS, body=True)
        fields = ("*",) if options.how == "lift" else text_edit.CONTENT_FIELDS
        return reads, Access(fields=fields, body=True, notes=(Changed,))

    def process(self, mail: Mail) -> Mail | list[Mail]:
        """Look for attached messages."""
        found = _attached(mail.message)
        if self.options.how == "flatten":
            return self._flattened(mail, found)
        first = _outermost(found)
        if not first or len(first) > self.options.most:
            return mail
        lifted = [mail.with_message(_own(entity)) for _, entity in first]
        changes = [Changed(self.name, f"lifted out of part {path or '1'}") for path, _ in first]
        lifted = [one.with_note(change) for one, change in zip(lifted, changes, strict=True)]
        if self.options.then == "alone":
            return lifted
        return [self._without(mail, first), *lifted]

    def _without(self, mail: Mail, found: list[tuple[str, Entity]]) -> Mail:
        changed, line_end = mail.message, mail.message.header.line_end
        words = "goes on as a mail of its own"
        for path, entity in reversed(found):
            if self.options.then == "keep":
                continue
            above = changed.chain(path)[0]
            if self.options.then == "detach" and above and above[-1][0].is_multipart and len(above[-1][0].parts) > 1:
                changed = changed.remove(path)
                continue
            inner = entity.parts[0]
            subject = inner.subject if isinstance(inner, Message) else None
            text = f"The attached message {subject or 'without a subject'!r} {words}.\n"
            changed = changed.replace(path, compose.text(text, line_end=line_end))
        notes = [Changed(self.name, f"the message in part {path or '1'} {words}") for path, _ in found]
        return mail.with_message(changed).with_note(*notes)

    def _flattened(self, mail: Mail, found: list[tuple[str, Entity]]) -> Mail:
        message, line_end = mail.message, mail.message.header.line_end
        levels: dict[str, int] = {}
        stack: list[str] = []
        for path, _ in found:
            while stack and not is_below(path, (stack[-1],)):
                stack.pop()
            levels[path] = len(stack)
            stack.append(path)
        opened = {path for path, level in levels.items() if level < self.options.depth}
        if not opened:
            return mail
        changed = edit.map_entities(
            message, lambda path, entity: _opened(entity, line_end) if path in opened else entity
        )
        what = (f"the message in part {path or '1'} opened in its place" for path in levels if path in opened)
        return mail.with_message(changed).with_note(*(Changed(self.name, one) for one in what))


def _attached(message: Message) -> list[tuple[str, Entity]]:
    """The message/rfc822 parts that may be touched, in order."""
    covered = Covered(message, OPAQUE)
    return [
        (path, one)
        for path, one in message.walk()
        if one.content_type.value in _TYPES and one.parts and not covered.holds(path)
    ]


def _outermost(found: list[tuple[str, Entity]]) -> list[tuple[str, Entity]]:
    kept: list[tuple[str, Entity]] = []
    for path, entity in found:
        if not kept or not is_below(path, (kept[-1][0],)):
            kept.append((path, entity))
    return kept


def _own(entity: Entity) -> Message:
    """The attached message as one that stands by itself; it keeps its octets."""
    inner = entity.parts[0]
    assert isinstance(inner, Message)
    return inner


def _opened(entity: Entity, line_end: bytes) -> Entity:
    """A multipart of some words about an attached message and its body, octet for octet."""
    inner = entity.parts[0]
    header = inner.header
    lines = [f"{name}: {' '.join((header.get(name) or '').split())}" for name in _SHOWN if name in header]
    words = compose.text("\n".join(("Attached message", *lines, "")), line_end=line_end)
    return compose.multipart("mixed", [words, edit.wrap(inner, "mixed").parts[0]], line_end=line_end)
