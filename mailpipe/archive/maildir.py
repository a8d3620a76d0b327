"""The Maildir format: one file a message, in `new` or `cur`, with flags in its name.

    for entry in scan(directory): entry.unique, entry.flags        # in the order of the directory: flat in memory
    with_flags("1700000000.M1P2.host:2,F", "FS")                   # "1700000000.M1P2.host:2,FS"
    unique_name()                                                  # for a file about to be made in tmp/

Flags are letters behind ":2,": P passed, R replied, S seen, T trashed, D draft, F flagged; others belong to the
program that wrote them and are kept. A sub-folder is a directory beside `cur` whose name begins with a dot.

Never here: what is in the files.
"""

import contextlib
import itertools
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mailpipe.errors import InputError

FLAGS = {"P": "passed", "R": "replied", "S": "seen", "T": "trashed", "D": "draft", "F": "flagged"}
"""The letters that have a meaning for everybody."""

_SEPARATOR = ":2,"
_counter = itertools.count(1)
# The combinations of the common flags, as a file with them is named; seen alone first.
_USUAL = sorted(
    ("".join(letters) for count in range(7) for letters in itertools.combinations("DFPRST", count)),
    key=lambda letters: (letters not in ("", "S"), len(letters)),
)


@dataclass(frozen=True, slots=True)
class MaildirEntry:
    """One message file.

    Attributes:
        directory: the Maildir (or sub-folder) that it is in.
        place: "new" or "cur".
        file_name: the whole name.
    """

    directory: str
    place: str
    file_name: str

    @property
    def path(self) -> str:
        """The file's path."""
        return f"{self.directory}/{self.place}/{self.file_name}"

    @property
    def unique(self) -> str:
        """The part of the name that stays when flags change."""
        return self.file_name.partition(_SEPARATOR)[0]

    @property
    def flags(self) -> str:
        """The letters of its flags, sorted, each once."""
        return flags_of(self.file_name)


def flags_of(file_name: str) -> str:
    """The letters of a file name's flags, sorted, each once; "" where it has none.

    >>> flags_of("1700000000.M1P2.host:2,SFS")
    'FS'
    """
    letters = file_name.rpartition(_SEPARATOR)[2] if _SEPARATOR in file_name else ""
    return "".join(sorted({letter for letter in letters if letter.isascii() and letter.isalpha()}))


def with_flags(file_name: str, letters: str) -> str:
    """The file name with these flags and no others, in the order that the format asks for.

    >>> with_flags("1700000000.M1P2.host", "SF")
    '1700000000.M1P2.host:2,FS'
    """
    return file_name.partition(_SEPARATOR)[0] + _SEPARATOR + "".join(sorted(set(letters)))


def is_maildir(directory: str | Path) -> bool:
    """Whether a directory has `new` and `cur` in it."""
    return all((Path(directory) / place).is_dir() for place in ("new", "cur"))


def folders(directory: str | Path) -> Iterator[tuple[str, str]]:
    """The Maildir itself as "INBOX", and its sub-folders by their names without the leading dot, sorted.

    Yields:
        (name, directory)

    Raises:
        InputError: the directory cannot be read.
    """
    yield "INBOX", str(directory)
    try:
        with os.scandir(directory) as entries:
            names = sorted(entry.name for entry in entries if entry.name.startswith(".") and entry.is_dir())
    except OSError as error:
        raise InputError.from_os(str(directory), error) from error
    for name in names:
        if is_maildir(f"{directory}/{name}"):
            yield name[1:], f"{directory}/{name}"


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself; whoever opens it learns so
        return False


def scan(
    directory: str | Path, *, by_name: bool = False, places: tuple[str, ...] = ("new", "cur")
) -> Iterator[MaildirEntry]:
    """The message files of one Maildir.

    Args:
        directory: the Maildir.
        places: in which order; whoever moves messages to `cur` meanwhile reads it first, or meets them twice.
        by_name: sorted, which is the order of arrival for most writers, but needs every name in memory; otherwise in
            the order of the directory, and any number of files takes the same memory.

    Raises:
        InputError: `new` or `cur` cannot be read.
    """
    for place in places:
        try:
            with os.scandir(f"{directory}/{place}") as entries:
                # Names with a dot in front are no messages, whatever wrote them.
                names = (entry.name for entry in entries if entry.name[0] != "." and not _is_directory(entry))
                for name in sorted(names) if by_name else names:
                    yield MaildirEntry(str(directory), place, name)
        except OSError as error:
            raise InputError.from_os(f"{directory}/{place}", error) from error


class Locator:
    """Finds messages by the part of their names that stays, wherever they are now and whatever their flags are.

    Names with the common flags are tried first, so that a directory of ten million files is not read for one; a
    directory in which that fails is read once and remembered.
    """

    def __init__(self) -> None:
        self._names: dict[str, tuple[int, dict[str, MaildirEntry]]] = {}

    def find(self, directory: str | Path, unique: str) -> MaildirEntry | None:
        """The message as it is now; None where it is gone."""
        if not unique or "/" in unique or unique.startswith("."):
            return None
        folder = str(directory)
        entry = self._remembered(folder, unique)
        if entry is not None:
            return entry
        for place, suffix in itertools.chain(
            (("new", ""), ("cur", "")), (("cur", _SEPARATOR + letters) for letters in _USUAL)
        ):
            entry = MaildirEntry(folder, place, unique + suffix)
            if os.path.lexists(entry.path):
                return entry
        return self._read(folder).get(unique)

    def _remembered(self, folder: str, unique: str) -> MaildirEntry | None:
        entry = self._names[folder][1].get(unique) if folder in self._names else None
        return entry if entry is not None and os.path.lexists(entry.path) else None

    def _read(self, folder: str) -> dict[str, MaildirEntry]:
        try:
            changed = sum(os.stat(f"{folder}/{place}").st_mtime_ns for place in ("new", "cur"))  # noqa: PTH116
            if folder not in self._names or self._names[folder][0] != changed:
                self._names[folder] = (changed, {entry.unique: entry for entry in scan(folder)})
        except (OSError, InputError):
            return {}
        return self._names[folder][1]


def unique_name() -> str:
    """A name that no other delivery makes: time, process, thread, counter and host."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    host = socket.gethostname().replace("/", "\\057").replace(":", "\\072") or "localhost"
    process = f"P{os.getpid()}T{threading.get_native_id()}Q{next(_counter)}"
    return f"{seconds}.M{nanoseconds // 1000:06}{process}.{host}"


def make(directory: str | Path) -> None:
    """Make the three directories of a Maildir where they are missing.

    Raises:
        OSError: they cannot be made.
    """
    for place in ("tmp", "new", "cur"):
        os.makedirs(f"{directory}/{place}", mode=0o700, exist_ok=True)  # noqa: PTH103 - paths are text here


def mark_seen(entry: MaildirEntry) -> MaildirEntry:
    """Move a message to `cur` with the flag S.

    Returns:
        the entry as it is now.

    Raises:
        OSError: it cannot be moved.
    """
    moved = MaildirEntry(entry.directory, "cur", with_flags(entry.file_name, entry.flags + "S"))
    if moved != entry:
        if os.path.lexists(moved.path):
            raise FileExistsError(17, "another message has the name", moved.path)
        os.rename(entry.path, moved.path)  # noqa: PTH104 - paths are text here
    return moved


def remove(entry: MaildirEntry) -> None:
    """Unlink a message; one that is gone already is as good.

    Raises:
        OSError: it cannot be removed.
    """
    with contextlib.suppress(FileNotFoundError):
        os.unlink(entry.path)  # noqa: PTH108 - paths are text here
