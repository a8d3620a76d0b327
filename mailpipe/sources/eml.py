"""Mails from files with one message each, and from folders of them.

    [source]
    use     = "eml"
    path    = ["letters", "one-more.txt"]      # folders are searched for *.eml; a file may have any name

Whatever octets a file holds are a mail. For workers: `origins()` lists the files, `reread(origin)` reads one.

Never here: archives of many messages; see `mbox` and `maildir`.
"""

import os
from collections.abc import Iterator
from fnmatch import fnmatch
from typing import Literal

from mailpipe.archive.opened import open_regular
from mailpipe.errors import InputError
from mailpipe.pipeline.component import Options, Source
from mailpipe.pipeline.mail import Origin, RawMail
from mailpipe.sources.paths import LocalPaths


class EmlOptions(Options):
    """Options of the source `eml`."""

    path: LocalPaths
    """A file or a folder, or a list of them."""

    pattern: str = "*.eml"
    """Which files of a folder are messages, as a shell pattern for their names; files named in `path` always are."""

    recursive: bool = True
    """Search the folders inside a folder too. Links to folders are not followed."""

    order: Literal["name", "directory"] = "name"
    """In which order a folder's files come: by name, or as the file system lists them, in flat memory."""


class EmlSource(Source[EmlOptions]):
    """Reads files with one message each, and folders of them."""

    name = "eml"
    Options = EmlOptions

    def open(self) -> None:
        """Look whether every path can be read.

        Raises:
            InputError: a file or folder is missing or unreadable.
        """
        for path in self.options.path:
            location = str(path)
            if not path.is_dir():
                open_regular(location).close()
                continue
            try:
                os.scandir(location).close()
            except OSError as error:
                raise InputError.from_os(location, error) from error

    def origins(self) -> Iterator[Origin]:
        """Which files there are, without reading them; the size is not known before, and 0.

        Raises:
            InputError: after all others, when a folder cannot be read.
        """
        troubles: list[InputError] = []
        for path in self.options.path:
            location = str(path)
            if path.is_dir():
                for ident in self._search(location, troubles):
                    yield Origin("eml", location, ident=ident)
            else:
                yield Origin("eml", location)
        _report(troubles)

    def __iter__(self) -> Iterator[RawMail]:
        """The messages. What cannot be read stops nothing, and is reported when all others have been read.

        Raises:
            InputError: files or folders could not be read.
        """
        troubles: list[InputError] = []
        try:
            for origin in self.origins():
                try:
                    mail = self.reread(origin)
                except InputError as error:
                    troubles.append(error)
                    continue
                yield mail
        except InputError as error:
            troubles.append(error)
        _report(troubles)

    def reread(self, origin: Origin) -> RawMail:
        """The mail of an origin that this source, or another one with the same options, gave.

        Raises:
            InputError: the file is gone or cannot be read.
        """
        path = os.path.join(origin.location, origin.ident) if origin.ident else origin.location  # noqa: PTH118 - text
        with open_regular(path) as file:
            try:
                octets = file.read()
            except OSError as error:
                raise InputError.from_os(path, error) from error
        return RawMail(octets, Origin("eml", origin.location, 0, len(octets), origin.ident))

    def _search(self, location: str, troubles: list[InputError]) -> Iterator[str]:
        """The files of a folder that match, as paths from it; without recursion, so that depth is no matter."""
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            try:
                with os.scandir(f"{location}/{folder}" if folder else location) as entries:
                    listed = sorted(entries, key=lambda entry: entry.name) if self.options.order == "name" else entries
                    inside = []
                    for entry in listed:
                        ident = f"{folder}/{entry.name}" if folder else entry.name
                        if entry.is_dir(follow_symlinks=False):
                            inside.append(ident)
                        elif fnmatch(entry.name, self.options.pattern) and not _is_link_to_directory(entry):
                            yield ident
            except OSError as error:
                troubles.append(InputError.from_os(f"{location}/{folder}", error))
                continue
            if self.options.recursive:
                waiting += reversed(inside)


def _is_link_to_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself; reading it says so
        return False


def _report(troubles: list[InputError]) -> None:
    if troubles:
        more = f" (and {len(troubles) - 1} more)" if len(troubles) > 1 else ""
        raise InputError(troubles[0].path, troubles[0].reason + more)
