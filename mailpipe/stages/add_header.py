"""The stage `add-header`: one more field, whatever others there are.

    [[stage]]
    use = "add-header"
    name = "X-Original-Subject"
    value = "{subject}"             # see `templates` for what may stand in braces
    position = "top"                # top | bottom

Every other octet of the message stays. A field at the top is above those of earlier hops, where trace fields go
(RFC 5321 section 4.4).

Never here: fields that are to stand once; `set-header` does that.
"""

from typing import Literal

from mailpipe.pipeline.access import Access
from mailpipe.pipeline.component import Options, Stage
from mailpipe.pipeline.mail import Changed, Mail
from mailpipe.stages import templates
from mailpipe.stages.templates import FieldName, LineTemplate


class AddHeaderOptions(Options):
    """The field to add."""

    name: FieldName
    """The name of the field."""
    value: LineTemplate
    """Its text; may name facts of the mail in braces: {subject}, {from_address}, {message_id}, {sender}, {recipients},
    {size}, {origin}."""
    position: Literal["top", "bottom"] = "bottom"
    """Above all other fields, or below them."""
    unless_present: bool = False
    """Leave a message alone that has a field of that name."""


class AddHeader(Stage[AddHeaderOptions]):
    """Adds a header field, at the top or at the bottom, with a text that may name facts of the mail."""

    name = "add-header"
    Options = AddHeaderOptions
    reads = Access(fields=("*",))
    touches = Access(fields=("*",), notes=(Changed,))
    decides = ()

    @classmethod
    def accesses(cls, options: AddHeaderOptions) -> tuple[Access, Access]:
        """It reads what its template names, and touches its own field."""
        own = Access(fields=(options.name,))
        touched = Access(fields=(options.name,), notes=(Changed,))
        return templates.reads(options.value) | (own if options.unless_present else Access()), touched

    def process(self, mail: Mail) -> Mail:
        """Add the field."""
        options, header = self.options, mail.message.header
        if options.unless_present and options.name in header:
            return mail
        field = templates.composed(options.name, templates.fill(options.value, mail), header.line_end)
        lines = templates.on_top(header.lines, field) if options.position == "top" else [*header.lines, field]
        changed = mail.message.with_header(header.with_fields(lines))
        return mail.with_message(changed).with_note(Changed(self.name, f"{options.name} added"))
