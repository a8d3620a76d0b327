"""Mails from Maildirs: one file a message, in `new` and `cur`.

    [source]
    use   = "maildir"
    path  = "Mail"
    after = "seen"               # keep | seen | remove, once the outcome is on record

For workers: `origins()` lists the messages without reading them; `reread(origin)` in any process gives the mail, also
when its flags have changed or another program has moved it from `new` to `cur`.

Never here: names and flags; see `mailpipe.archive.maildir`. A mail that was rejected or failed is never moved or
removed, whatever `after` says: it is safe nowhere else.
"""

import os
from collections.abc import Iterator
from typing import Literal

from mailpipe.archive.kind import check_directory
from mailpipe.archive.maildir import Locator, MaildirEntry, folders, is_maildir, mark_seen, remove, scan
from mailpipe.errors import InputError, OutputError
from mailpipe.pipeline.component import Options, Source
from mailpipe.pipeline.mail import Origin, RawMail
from mailpipe.pipeline.outcome import Ending, Outcome
from mailpipe.sources.paths import LocalPaths

_SAFE_ELSEWHERE = (Ending.DELIVERED, Ending.QUEUED, Ending.DROPPED, Ending.QUARANTINED, Ending.SPLIT)


class MaildirOptions(Options):
    """Options of the source `maildir`."""

    path: LocalPaths
    """The Maildir, or a list of them."""

    folders: bool = False
    """Read the sub-folders too (directories that begin with a dot, such as .Sent)."""

    which: Literal["all", "unseen"] = "all"
    """Which messages to read: all, or those without the flag S (seen)."""

    after: Literal["keep", "seen", "remove"] = "keep"
    """What to do with a message once its outcome is on record: keep it as it is, move it to cur with the flag S, or
    remove it. Messages that were rejected, failed or deferred are kept as they are."""

    order: Literal["directory", "name"] = "directory"
    """In which order: as the file system lists them, in flat memory, or by name, with every name in memory."""


class MaildirSource(Source[MaildirOptions]):
    """Reads Maildirs of any number of files; a message is moved or removed only when its outcome is on record."""

    name = "maildir"
    Options = MaildirOptions

    def __init__(self, options: MaildirOptions) -> None:
        super().__init__(options)
        self._moved: set[str] = set()
        self._locator = Locator()

    def open(self) -> None:
        """Look whether every Maildir is one.

        Raises:
            InputError: one is missing, unreadable or of another kind.
        """
        for path in self.options.path:
            check_directory(path, "read a file with the source mbox or eml")
            if not is_maildir(path):
                reason = 'is no Maildir (no "new" and "cur" in it); read a folder with the source eml'
                raise InputError(str(path), reason)

    def origins(self) -> Iterator[Origin]:
        """Which messages there are, without reading them; `reread` gives the mail.

        The size is not known before a message is read, and 0.

        Raises:
            InputError: a directory cannot be read.
        """
        return (origin for origin, _ in self._list())

    def __iter__(self) -> Iterator[RawMail]:
        """The messages, one after the other; one that another program removes meanwhile is passed over.

        Raises:
            InputError: a directory cannot be read; after all others, when messages cannot be read.
        """
        troubles: list[InputError] = []
        for origin, entry in self._list():
            try:
                mail = self._read(origin, entry)
            except InputError as error:
                troubles.append(error)
                continue
            if mail is not None:
                yield mail
        if troubles:
            first = troubles[0]
            more = f" (and {len(troubles) - 1} more)" if len(troubles) > 1 else ""
            raise InputError(first.path, first.reason + more)

    def reread(self, origin: Origin) -> RawMail:
        """The mail of an origin that this source, or another one with the same options, gave.

        Raises:
            InputError: it is gone or cannot be read.
        """
        if (mail := self._read(origin)) is None:
            raise InputError(str(origin), "is not there any more; another program has removed it")
        return mail

    def settle(self, outcome: Outcome) -> None:
        """Move or remove the message, as `after` says, if it is safe elsewhere.

        Raises:
            OutputError: it cannot be moved or removed.
        """
        if self.options.after == "keep" or outcome.ending not in _SAFE_ELSEWHERE:
            return
        if (entry := self._locate(outcome.origin)) is None:
            return  # removed by another program, or a mail that a stage made
        try:
            if self.options.after == "remove":
                remove(entry)
            else:
                if entry.place == "cur":
                    # A file that is renamed while its directory is read may be listed twice.
                    self._moved.add(f"{entry.directory}/{entry.unique}")
                mark_seen(entry)
        except OSError as error:
            raise OutputError.from_os(entry.path, error) from error

    def _list(self) -> Iterator[tuple[Origin, MaildirEntry]]:
        places = ("cur", "new") if self.options.after == "seen" else ("new", "cur")
        for path in self.options.path:
            location = str(path)
            for name, directory in folders(path) if self.options.folders else (("INBOX", location),):
                prefix = "" if directory == location else f".{name}/"
                for entry in scan(directory, by_name=self.options.order == "name", places=places):
                    if self.options.which == "unseen" and "S" in entry.flags:
                        continue
                    if self._moved and f"{directory}/{entry.unique}" in self._moved:
                        continue
                    yield Origin("maildir", location, ident=prefix + entry.unique), entry

    def _locate(self, origin: Origin) -> MaildirEntry | None:
        folder, slash, unique = origin.ident.rpartition("/")
        # "name/1" is a mail that a stage made of another; it has no file.
        if slash and (not folder.startswith(".") or "/" in folder):
            return None
        return self._locator.find(f"{origin.location}/{folder}" if slash else origin.location, unique)

    def _read(self, origin: Origin, entry: MaildirEntry | None = None) -> RawMail | None:
        for _ in range(3):
            if (entry := entry or self._locate(origin)) is None:
                return None
            try:
                octets = _read_file(entry.path)
            except FileNotFoundError:
                entry = None  # moved between the look and the reading
                continue
            except OSError as error:
                raise InputError.from_os(entry.path, error) from error
            return RawMail(octets, Origin("maildir", origin.location, 0, len(octets), origin.ident))
        return None


def _read_file(path: str) -> bytes:
    """All of a file, in half the time that pathlib takes: it counts where messages are small and many.

    Raises:
        OSError: it cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        pieces = []
        # one octet more than it should have, so that its end is seen at the first look
        while piece := os.read(descriptor, max(os.fstat(descriptor).st_size, 1 << 16) + 1):
            pieces.append(piece)
    finally:
        os.close(descriptor)
    return b"".join(pieces)
