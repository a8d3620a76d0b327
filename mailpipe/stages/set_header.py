"""The stage `set-header`: a field that stands once, with the given text.

    [[stage]]
    use = "set-header"
    name = "Reply-To"
    value = "list@example.org"      # see `templates` for what may stand in braces
    only_if = "always"              # always | absent | present

It takes the place of the first field of that name and later ones go; where there is none it is added.

Never here: one more field beside others; `add-header` does that.
"""

from typing import Literal

from mailpipe.pipeline.access import Access
from mailpipe.pipeline.component import Options, Stage
from mailpipe.pipeline.mail import Changed, Mail
from mailpipe.stages import templates
from mailpipe.stages.templates import FieldName, LineTemplate


class SetHeaderOptions(Options):
    """The field to set."""

    name: FieldName
    """The name of the field."""
    value: LineTemplate
    """Its text; may name facts of the mail in braces: {subject}, {from_address}, {message_id}, {sender}, {recipients},
    {size}, {origin}."""
    only_if: Literal["always", "absent", "present"] = "always"
    """Whether a message that has no such field, or has one, is left alone."""
    position: Literal["top", "bottom"] = "bottom"
    """Where the field goes in a message that has none of that name."""


class SetHeader(Stage[SetHeaderOptions]):
    """Sets a header field, in the place of those of its name, with a text that may name facts of the mail."""

    name = "set-header"
    Options = SetHeaderOptions
    reads = Access(fields=("*",))
    touches = Access(fields=("*",), notes=(Changed,))
    decides = ()

    @classmethod
    def accesses(cls, options: SetHeaderOptions) -> tuple[Access, Access]:
        """It reads what its template names and its own field, and touches the latter."""
        own = Access(fields=(options.name,))
        return templates.reads(options.value) | own, Access(fields=(options.name,), notes=(Changed,))

    def process(self, mail: Mail) -> Mail:
        """Set the field."""
        options, header = self.options, mail.message.header
        key, lines = options.name.lower(), list(header.lines)
        places = [place for place, line in enumerate(lines) if line.key == key and line.is_field]
        if options.only_if != "always" and bool(places) != (options.only_if == "present"):
            return mail
        line_end = _line_end(lines[places[0]].raw, header.line_end) if places else header.line_end
        made = templates.composed(options.name, templates.fill(options.value, mail), line_end)
        if len(places) == 1 and lines[places[0]].raw == made.raw:
            return mail
        if places:
            lines[places[0]] = made
            lines = [line for place, line in enumerate(lines) if place not in places[1:]]
        else:
            lines = templates.on_top(lines, made) if options.position == "top" else [*lines, made]
        changed = mail.message.with_header(header.with_fields(lines))
        return mail.with_message(changed).with_note(Changed(self.name, f"{options.name} set"))


def _line_end(raw: bytes, usual: bytes) -> bytes:
    """The line end of the field that is replaced, so that nothing else moves."""
    return next((end for end in (b"\r\n", b"\n", b"\r") if raw.endswith(end)), usual)
