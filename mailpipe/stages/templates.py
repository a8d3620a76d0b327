"""Texts of options that name facts of the mail in braces, and fields composed of them.

    text = templates.fill("{from_address}: {subject}", mail)
    field = templates.composed("X-Original-Subject", text, line_end)
    templates.reads("{subject}")                # Access(fields=("Subject",))

In braces: subject, from_address, message_id, sender, recipients, size, origin; "{{" and "}}" stand for braces. A format
or an attribute behind a name is refused, so that a template can say nothing but these facts.

Never here: a line end in a header. A template that holds CR, LF or NUL is refused where it is written; what a sender
smuggles into a subject (an encoded word may hold any octet) becomes a blank.
"""

import re
from collections.abc import Callable, Sequence
from string import Formatter
from typing import Annotated

from pydantic import AfterValidator

from mailpipe.codec import encoded_word
from mailpipe.errors import ComposeError
from mailpipe.message import Field
from mailpipe.pipeline.access import NOTHING, Access
from mailpipe.pipeline.mail import Mail

# Line ends of every kind, and what else a terminal or a log would act upon.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_FORBIDDEN = re.compile("[\r\n\x00]")
_NAME = re.compile(r"[!-9;-~]{1,200}")
# LIMIT: what a sender writes may fill a few lines of a field, not a megabyte.
_LONGEST = 2000


def _one_line(text: str) -> str:
    """Text without control characters, of a length that a field can bear."""
    return " ".join(_CONTROL.sub(" ", text)[:_LONGEST].encode("utf-8", "replace").decode().split())


def _from_address(mail: Mail) -> str:
    mailboxes = mail.message.from_.mailboxes
    return mailboxes[0].address if mailboxes else ""


_FACTS: dict[str, tuple[Callable[[Mail], str], Access]] = {
    "subject": (lambda mail: mail.message.subject or "", Access(fields=("Subject",))),
    "from_address": (_from_address, Access(fields=("From",))),
    "message_id": (lambda mail: mail.message.message_id or "", Access(fields=("Message-ID",))),
    "sender": (lambda mail: mail.envelope.reverse_path or "", Access(envelope=True)),
    "recipients": (lambda mail: ", ".join(mail.envelope.addresses), Access(envelope=True)),
    "size": (lambda mail: str(len(mail.message)), Access(fields=("*",), body=True)),
    "origin": (lambda mail: str(mail.origin), NOTHING),
}


def _names(template: str) -> list[str]:
    """The names in the braces of a template.

    Raises:
        ValueError: it is none.
    """
    found = []
    for _, name, form, conversion in Formatter().parse(template):
        if name is None:
            continue
        if name not in _FACTS or form or conversion:
            shown = "{" + name + ("!" + conversion if conversion else "") + (":" + form if form else "") + "}"
            raise ValueError(f"{shown} cannot be filled in; in braces it may name {', '.join(_FACTS)}")
        found.append(name)
    return found


def _checked(template: str) -> str:
    try:
        _names(template)
    except ValueError as error:
        raise ValueError(f"{error}; a brace that is meant as such is written twice") from error
    return template


def _checked_line(template: str) -> str:
    if _FORBIDDEN.search(template):
        raise ValueError("it holds a line end or a NUL, which would begin another field (RFC 5322 section 2.2)")
    return _checked(template)


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no field name: printable ASCII without blanks and colons (RFC 5322 section 2.2)")
    return name


TextTemplate = Annotated[str, AfterValidator(_checked)]
"""A text of any number of lines that may name facts of the mail in braces."""
LineTemplate = Annotated[str, AfterValidator(_checked_line)]
"""The same in one line, for a field."""
FieldName = Annotated[str, AfterValidator(_checked_name)]
"""The name of a header field (RFC 5322 section 2.2)."""


def fill(template: str, mail: Mail, *, escape: Callable[[str], str] | None = None) -> str:
    """The text of a template that was checked.

    Args:
        template: what the option says.
        mail: whose facts fill the braces; a fact that is missing is "".
        escape: what to do to each fact, such as `html.escape`.
    """
    if "{" not in template and "}" not in template:
        return template
    facts = {name: _one_line(_FACTS[name][0](mail)) for name in set(_names(template))}
    return template.format_map({name: escape(text) for name, text in facts.items()} if escape else facts)


def reads(*templates: str) -> Access:
    """What filling them looks at."""
    access = NOTHING
    for template in templates:
        for name in _names(template):
            access |= _FACTS[name][1]
    return access


def on_top(lines: Sequence[Field], field: Field) -> list[Field]:
    """The lines of a header with a field above them; below continuation lines that begin it, which would be its own."""
    place = 0
    while place < len(lines) and lines[place].raw[:1] in (b" ", b"\t"):
        place += 1
    return [*lines[:place], field, *lines[place:]]


def composed(name: str, text: str, line_end: bytes) -> Field:
    """A field of a text that came out of a template; never raises.

    Where the field cannot be said in its own syntax (a word of a thousand octets), encoded words say it.
    """
    text = _CONTROL.sub(" ", text)
    try:
        return Field.compose(name, text, line_end)
    except (ComposeError, UnicodeError):
        return Field.compose(name, encoded_word.encode(text, first_width=60), line_end)
