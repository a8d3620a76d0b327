"""The stage `archive-copy`: a copy of the message goes into an archive, and is on disk before the mail goes on.

    [[stage]]
    use = "archive-copy"
    directory = "archive"
    name = "%Y-%m"                # a new one each month
    format = "mbox"               # mbox | maildir | eml

With that, mail of October goes into archive/2026-10.mbox. The copy holds the message as it is at this place of the
pipeline. A mail that comes again, because something behind this stage deferred it, finds its copy and makes no second
one, as long as `name` means the same archive; with `date = "message"` it always does.

A copy that cannot be written makes the stage fail, and its `on_error` says what becomes of the mail; deferred by
default. In a rehearsal nothing is written.

Never here: how files become durable (`mailpipe.durable`), and how an mbox is locked (`mailpipe.archive.mbox_append`).
"""

import contextlib
import hashlib
import os
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator

from mailpipe.archive import from_line
from mailpipe.archive.maildir import make as make_maildir
from mailpipe.archive.maildir import unique_name
from mailpipe.archive.mbox import render
from mailpipe.archive.mbox_append import MboxAppender
from mailpipe.durable import confirm, publish, sync_directory, write_new
from mailpipe.errors import OutputError
from mailpipe.pipeline.access import EVERYTHING, Access
from mailpipe.pipeline.component import LocalPath, Options, Stage
from mailpipe.pipeline.mail import Mail
from mailpipe.pipeline.services import Services
from mailpipe.units import Duration

_TABLE = "CREATE TABLE IF NOT EXISTS copy (key TEXT PRIMARY KEY, offset INTEGER, size INTEGER, sha256 BLOB)"
# What a reader puts behind a name when it has moved the file: asked for one by one, for a search would take longer with
# every message that is there.
_FLAGS = ("", *(f":2,{''.join(some)}" for count in range(7) for some in combinations("DFPRST", count)))


@dataclass(frozen=True, slots=True)
class CopyArchived:
    """A note: a copy of the message is in an archive.

    Attributes:
        path: the file, with its offset in an mbox.
        is_new: whether it was written now; not so for a mail that came again.
    """

    path: str
    is_new: bool = True


def _is_template(text: str) -> str:
    shown = PurePosixPath(datetime(2000, 1, 1, tzinfo=UTC).strftime(text))
    if not shown.parts or shown.is_absolute() or ".." in shown.parts or "\0" in text or text.endswith("/"):
        raise ValueError(f"{text!r} is no name below the directory, such as '%Y-%m' or '%Y/%m-%d'")
    return text


class ArchiveCopyOptions(Options):
    """Which archive, and how it is written."""

    directory: LocalPath
    """Where the archives are; made when it is not there."""
    name: Annotated[str, AfterValidator(_is_template)] = "%Y-%m"
    """The archive's name below it, with the signs of strftime for the date; an mbox gets ".mbox" behind it."""
    format: Literal["mbox", "maildir", "eml"] = "mbox"
    """An mbox, a Maildir, or a folder of message files."""
    date: Literal["now", "message"] = "now"
    """Which date the name is of: the present one, or that of the message, where it has one; both in UTC."""
    lock: Literal["fcntl", "dot", "both"] = "fcntl"
    """How an mbox is locked: with fcntl, with a file beside it that ends in .lock, or with both."""
    lock_timeout: Duration = 30.0
    """How long to wait for another program's lock; after that the stage fails."""


class ArchiveCopy(Stage[ArchiveCopyOptions]):
    """Keeps a copy of each message in an mbox, a Maildir or a folder, on disk before the mail goes on."""

    name = "archive-copy"
    acts = True
    Options = ArchiveCopyOptions
    reads = EVERYTHING
    touches = Access(notes=(CopyArchived,))
    decides = ()

    def open(self, services: Services) -> None:
        """Make the directory.

        Raises:
            OutputError: it cannot be made or written to.
        """
        self._services = services
        directory = self.options.directory
        if services.is_rehearsal:
            return
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError.from_os(str(directory), error) from error
        if not os.access(directory, os.W_OK | os.X_OK):
            raise OutputError(str(directory), "cannot write: change its permissions or its owner")

    def process(self, mail: Mail) -> Mail:
        """Write the copy, where there is none yet.

        Raises:
            OutputError: it cannot be written.
            TransientFailure: another program holds the lock of the mbox for too long.
        """
        if self._services.is_rehearsal:
            return mail
        octets = bytes(mail.message)
        origin = mail.origin.key.encode("utf-8", "surrogateescape")
        # the same place may hold another mail tomorrow, so the content is part of it
        key = hashlib.sha256(origin + b"\0" + octets).hexdigest()[:40]
        place = self.options.directory / self._date(mail).strftime(self.options.name)
        try:
            if self.options.format == "mbox":
                return mail.with_note(self._to_mbox(place.with_name(f"{place.name}.mbox"), key, mail, octets))
            return mail.with_note(self._to_file(place, key, octets))
        except (OSError, sqlite3.Error) as error:
            if isinstance(error, OSError):
                raise OutputError.from_os(str(place), error) from error
            raise OutputError(f"{place}.mbox.index", f"cannot write: {error}") from error

    def _date(self, mail: Mail) -> datetime:
        date = mail.message.date if self.options.date == "message" else None
        with contextlib.suppress(OverflowError):  # the year 1 east of Greenwich
            if date is not None:
                return date.astimezone(UTC)
        return self._services.clock.now().astimezone(UTC)

    def _to_file(self, folder: Path, key: str, octets: bytes) -> CopyArchived:
        """A file whose name says which mail it is, so that there is one of it."""
        if self.options.format == "maildir":
            is_new_folder = not folder.exists()
            make_maildir(folder)
            name = f"{key}.mailpipe"
            found = [folder / "new" / name, *(folder / "cur" / f"{name}{flags}" for flags in _FLAGS)]
            temporary, final = folder / "tmp" / unique_name(), folder / "new" / name
        else:
            is_new_folder = not folder.exists()
            folder.mkdir(parents=True, exist_ok=True)
            final = folder / f"{key}.eml"
            found, temporary = [final], folder / f".{unique_name()}.part"
        if there := next((path for path in found if path.exists()), None):
            return CopyArchived(str(there), is_new=False)
        write_new(temporary, octets)
        try:
            publish(temporary, final)
        except FileExistsError:
            temporary.unlink()
            return CopyArchived(str(final), is_new=False)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        confirm(final)
        if is_new_folder:
            _sync_up(folder, self.options.directory)
        return CopyArchived(str(final))

    def _to_mbox(self, path: Path, key: str, mail: Mail, octets: bytes) -> CopyArchived:
        """At the end of the mbox; an index beside it says what is where, and is written before.

        A crash between the two leaves an entry for what is not there: the octets are compared, so it is written then.
        """
        mbox = MboxAppender(path, self.options.lock, self.options.lock_timeout)
        if not path.exists():
            mbox.make()
            _sync_up(path.parent, self.options.directory)
        with mbox.locked() as descriptor, contextlib.closing(sqlite3.connect(f"{path}.index")) as index:
            index.execute("PRAGMA synchronous = FULL")
            index.execute(_TABLE)
            row = index.execute("SELECT offset, size, sha256 FROM copy WHERE key = ?", (key,)).fetchone()
            if row is not None and hashlib.sha256(os.pread(descriptor, row[1], row[0])).digest() == row[2]:
                return CopyArchived(f"{path}:{row[0]}", is_new=False)
            line = from_line.render(mail.envelope.reverse_path, self._services.clock.now())
            rendered = render(octets, line)
            size, gap = mbox.end(descriptor)
            entry = (key, size + len(gap), len(rendered), hashlib.sha256(rendered).digest())
            with index:
                index.execute("INSERT OR REPLACE INTO copy VALUES (?, ?, ?, ?)", entry)
            return CopyArchived(f"{path}:{mbox.append(descriptor, rendered)}")


def _sync_up(folder: Path, top: Path) -> None:
    """Put the names of folders that may be new on disk, up to one that is not."""
    while True:
        sync_directory(folder)
        if folder == top or folder.parent == folder:
            break
        folder = folder.parent
    sync_directory(top.parent)
