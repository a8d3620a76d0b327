"""A sink that writes one file a mail, with a name from a template; never over another file.

    [sink]
    use       = "eml"
    directory = "out"
    name      = "{number:06d}.eml"        # or "{digest}.eml", "{message_id}.eml", "{date}-{number}.eml"

Never here: what is in the files; the octets of the mail go there as they are.
"""

import contextlib
import hashlib
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from string import Formatter
from typing import Annotated

from pydantic import AfterValidator

from mailpipe.archive.maildir import unique_name
from mailpipe.durable import confirm, publish, write_new
from mailpipe.errors import OutputError
from mailpipe.pipeline.component import LocalPath, Options, Sink
from mailpipe.pipeline.mail import Mail
from mailpipe.pipeline.outcome import Fate, Receipt

_FIELDS = ("number", "digest", "message_id", "date")
_UNSAFE = re.compile(r"[^A-Za-z0-9._@+=-]+")
# Most file systems take 255 octets; a template may put words around it.
_LONGEST = 150


def _check_template(template: str) -> str:
    """A template may name the known fields, and must make one safe file name."""
    try:
        names = {name for _, name, _, _ in Formatter().parse(template) if name is not None}
        if unknown := names - set(_FIELDS):
            raise ValueError(f"unknown field {sorted(unknown)[0]!r}; there are {', '.join(_FIELDS)}")
        if not names - {"date"}:
            raise ValueError("every mail would get the same name; put {number}, {digest} or {message_id} into it")
        sample = template.format(number=1, digest="0", message_id="a@b", date="20000101T000000Z")
    except (ValueError, KeyError, IndexError) as error:
        raise ValueError(f"{template!r} is no template for a file name: {error}") from error
    if "/" in sample or "\0" in sample or sample.startswith("."):
        raise ValueError(f"{template!r}: a file name holds no '/' and begins with no '.'")
    return template


class EmlSinkOptions(Options):
    """Options of the sink `eml`."""

    directory: LocalPath
    """Where the files go; made where it is missing."""

    name: Annotated[str, AfterValidator(_check_template)] = "{number:06d}.eml"
    """The template of file names, with {number} (from 1, going on behind the files that are there), {digest} (SHA-256
    of the mail), {message_id} (made safe for a file name), {date} (now, 20000131T235959Z)."""

    sync: bool = True
    """Wait for the disk after each mail. Without, a power cut may lose mails that were reported as delivered."""


class EmlSink(Sink[EmlSinkOptions]):
    """Writes one file a mail. A name that is taken gets "-2", "-3", … put in, or the next number."""

    name = "eml"
    Options = EmlSinkOptions

    def __init__(self, options: EmlSinkOptions) -> None:
        super().__init__(options)
        self._number = 0

    def open(self) -> None:
        """Make the directory, and see which numbers are taken.

        Raises:
            OutputError: it cannot be made or written to.
        """
        directory = self.options.directory
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._number = self._highest_number()
        except OSError as error:
            raise OutputError.from_os(str(directory), error) from error
        if not os.access(directory, os.W_OK | os.X_OK):
            raise OutputError(str(directory), "cannot write: change its permissions or its owner")

    def deliver(self, mail: Mail) -> Receipt:
        """Write the mail, wait for the disk, and give it its name.

        Raises:
            OutputError: it cannot be written; nothing is left of it.
        """
        octets = bytes(mail.message)
        directory = str(self.options.directory)
        temporary = f"{directory}/.{unique_name()}.part"
        try:
            write_new(temporary, octets, sync=self.options.sync, mode=0o644)
            try:
                final = self._publish(temporary, mail, octets)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)  # noqa: PTH108 - paths are text here
                raise
            if self.options.sync:
                confirm(final)
        except OSError as error:
            raise OutputError.from_os(directory, error) from error
        diagnostic = f"saved as {Path(final).name}"
        return Receipt.of_all(mail.envelope.forward_paths, Fate.DELIVERED, "2.0.0", diagnostic, final)

    def _publish(self, temporary: str, mail: Mail, octets: bytes) -> str:
        template, fields = self.options.name, self._fields(mail, octets)
        attempt = 0
        while True:
            attempt += 1
            self._number += 1
            name = template.format(number=self._number, **fields)
            if "{number" not in template and attempt > 1:
                stem, suffix = os.path.splitext(name)  # noqa: PTH122 - a name, not a path
                name = f"{stem}-{attempt}{suffix}"
            final = f"{self.options.directory}/{name}"
            try:
                publish(temporary, final)
            except FileExistsError:
                continue
            return final

    def _fields(self, mail: Mail, octets: bytes) -> dict[str, str]:
        fields = {"date": f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}", "digest": "", "message_id": ""}
        if "{digest" in self.options.name or "{message_id" in self.options.name:
            fields["digest"] = hashlib.sha256(octets).hexdigest()
        if "{message_id" in self.options.name:
            written = mail.message.header.get("Message-ID") or ""
            safe = _UNSAFE.sub("_", written.strip().strip("<>")).lstrip(".")[:_LONGEST]
            fields["message_id"] = safe or fields["digest"]
        return fields

    def _highest_number(self) -> int:
        """The highest number among the files that the template may have named."""
        if "{number" not in self.options.name:
            return 0
        pattern = "".join(
            re.escape(text) + ("" if name is None else r"0*(\d{1,15})" if name == "number" else ".*?")
            for text, name, _, _ in Formatter().parse(self.options.name)
        )
        found = re.compile(pattern)
        with os.scandir(self.options.directory) as entries:
            matches = (found.fullmatch(entry.name) for entry in entries)
            return max((int(match[1]) for match in matches if match), default=0)
