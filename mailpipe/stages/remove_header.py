"""The stage `remove-header`: fields out of the header, by name and by text.

    [[stage]]
    use = "remove-header"
    names = ["X-Spam-*", "DKIM-Signature"]      # "*" and "?" are wildcards; capitals do not matter
    except_names = ["X-Spam-Checked"]
    values = ["*"]                              # only fields with such a text

Every other octet of the message stays.

Never here: fields inside parts; only the header of the message itself is looked at.
"""

import fnmatch
import re
from typing import Literal

from pydantic import Field as OptionField

from mailpipe.message import Field
from mailpipe.pipeline.access import Access
from mailpipe.pipeline.component import Options, Stage
from mailpipe.pipeline.mail import Changed, Mail
from mailpipe.pipeline.services import Services

_WILD = re.compile(r"[*?\[]")


class RemoveHeaderOptions(Options):
    """Which fields go."""

    names: tuple[str, ...] = OptionField(min_length=1)
    """Names of fields, with the wildcards "*" and "?"; capitals do not matter."""
    except_names: tuple[str, ...] = ()
    """Names of fields that stay, with wildcards."""
    values: tuple[str, ...] = ("*",)
    """Only fields whose decoded text is like one of these, with wildcards; capitals do not matter."""
    which: Literal["all", "first", "last"] = "all"
    """Of several fields of the same name that are meant: every one, the topmost or the lowest."""


class RemoveHeader(Stage[RemoveHeaderOptions]):
    """Removes header fields by name, with wildcards, and by text."""

    name = "remove-header"
    Options = RemoveHeaderOptions
    reads = Access(fields=("*",))
    touches = Access(fields=("*",), notes=(Changed,))
    decides = ()

    @classmethod
    def accesses(cls, options: RemoveHeaderOptions) -> tuple[Access, Access]:
        """It reads and touches the fields that it names; a wildcard means any."""
        fields = ("*",) if any(_WILD.search(name) for name in options.names) else options.names
        return Access(fields=fields), Access(fields=fields, notes=(Changed,))

    def open(self, services: Services) -> None:
        """Compile the wildcards."""
        self._names, self._kept = _wild(self.options.names), _wild(self.options.except_names)
        self._values = None if "*" in self.options.values else _wild(self.options.values)

    def process(self, mail: Mail) -> Mail:
        """Remove the fields."""
        header = mail.message.header
        lines = header.lines
        meant = [place for place, line in enumerate(lines) if self._is_meant(line)]
        if self.options.which != "all":
            order = meant if self.options.which == "last" else reversed(meant)
            meant = sorted({lines[place].key: place for place in order}.values())
        if not meant:
            return mail
        gone, names = set(meant), dict.fromkeys(lines[place].name for place in meant)
        kept = [line for place, line in enumerate(lines) if place not in gone]
        changed = mail.message.with_header(header.with_fields(kept))
        return mail.with_message(changed).with_note(*(Changed(self.name, f"{name} removed") for name in names))

    def _is_meant(self, line: Field) -> bool:
        key = line.key
        if not self._names.match(key) or not line.is_field or self._kept.match(key):
            return False
        return self._values is None or self._values.match(line.text.lower()) is not None


def _wild(patterns: tuple[str, ...]) -> "re.Pattern[str]":
    """One pattern for all of them; `fnmatch` writes "*" as an atomic group, so that none backtracks."""
    return re.compile("|".join(fnmatch.translate(pattern.lower()) for pattern in patterns) or r"(?!)")
