"""The stage `rename-header`: a field under another name, its body octet for octet as it was.

    [[stage]]
    use = "rename-header"
    name = "X-Spam-Status"
    to = "X-Old-Spam-Status"

Its folds stay where they are, also where the longer name makes a line long; a line that comes to more than 998 octets
is folded anew (RFC 5322 section 2.1.1).

Never here: another text; see `set-header`.
"""

from typing import Literal

from mailpipe.message import Field
from mailpipe.pipeline.access import Access
from mailpipe.pipeline.component import Options, Stage
from mailpipe.pipeline.mail import Changed, Mail
from mailpipe.stages.templates import FieldName
from mailpipe.wire.folding import HARD_LIMIT


class RenameHeaderOptions(Options):
    """Which field gets which name."""

    name: FieldName
    """The name that it has; capitals do not matter."""
    to: FieldName
    """The name that it gets."""
    when_taken: Literal["rename", "keep"] = "rename"
    """What to do where a field of the new name is there already: rename all the same, or leave the message alone."""


class RenameHeader(Stage[RenameHeaderOptions]):
    """Gives header fields of one name another, and changes nothing else about them."""

    name = "rename-header"
    Options = RenameHeaderOptions
    reads = Access(fields=("*",))
    touches = Access(fields=("*",), notes=(Changed,))
    decides = ()

    @classmethod
    def accesses(cls, options: RenameHeaderOptions) -> tuple[Access, Access]:
        """It reads and touches the fields of both names."""
        fields = (options.name, options.to)
        return Access(fields=fields), Access(fields=fields, notes=(Changed,))

    def process(self, mail: Mail) -> Mail:
        """Rename the fields."""
        options, header = self.options, mail.message.header
        old, new = options.name.lower(), options.to
        lines = list(header.lines)
        places = [place for place, line in enumerate(lines) if line.key == old and line.is_field and line.name != new]
        if not places or (options.when_taken == "keep" and old != new.lower() and new in header):
            return mail
        for place in places:
            lines[place] = _renamed(lines[place], new, header.line_end)
        changed = mail.message.with_header(header.with_fields(lines))
        return mail.with_message(changed).with_note(Changed(self.name, f"{options.name} renamed to {new}"))


def _renamed(field: Field, name: str, line_end: bytes) -> Field:
    body = field.raw[len(field.name.encode("utf-8", "surrogateescape")) :]
    raw = name.encode() + body
    first = raw.partition(b"\n")[0]
    if len(first) > HARD_LIMIT >= len(first) - len(name) + len(field.name):
        try:
            return Field.compose(name, field.body, line_end)
        except ValueError:  # a word that cannot be folded, or a NUL
            return Field(raw)
    return Field(raw)
