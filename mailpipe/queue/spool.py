"""Content files: the octets of each message, whole and on disk, or not there at all.

    with spool.keep(id, octets, record) as content: ...        # on disk and synced; the block writes the row
    spool.remove(id)

A file is written under a temporary name, synced, renamed, and its directory synced; nobody sees half a message. The
octets come first, then one line of JSON that repeats the envelope, then one line of fixed length that says how long
both are: a queue whose database is lost can be built again from its content files.

While a message is being put in, its file is locked; `is_busy` tells a file that is being written from one that a
crash left behind, without a clock.

Never here: SQL, and what state a message is in.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mailpipe.durable import sync_directory, write_all
from mailpipe.errors import InputError, OutputError
from mailpipe.queue.entry import Content

Octets = bytes | bytearray | memoryview
"""A message in one piece."""

# One shard for each last letter of an id; the alphabet has neither i, l, o nor u.
SHARDS = "0123456789abcdefghjkmnpqrstvwxyz"
_TAIL = re.compile(rb"([0-9a-f]{16}) ([0-9a-f]{8}) mailpipe1\n")
_TAIL_SIZE = 36
_PIECE = 1 << 20
_SUFFIX, TEMPORARY = ".mail", ".part"


@dataclass(frozen=True, slots=True)
class Kept:
    """A message that is safe in its file.

    Attributes:
        path: where it lies.
        size: octets of the message.
        digest: their SHA-256, hexadecimal.
    """

    path: Content
    size: int
    digest: str


def new_identifier(now: float) -> str:
    """Twenty characters: milliseconds, then chance; ordered by arrival, unique among processes."""
    number = (max(0, int(now * 1000)) & (1 << 48) - 1) << 52 | int.from_bytes(os.urandom(7), "big") >> 4
    return "".join(SHARDS[number >> shift & 31] for shift in range(95, -1, -5))


def is_busy(path: Path) -> bool:
    """Whether somebody is putting this message in at this moment."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


class Spool:
    """The folder of content files.

    Raises:
        OSError: the folder cannot be made or synced.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(mode=0o700, exist_ok=True)
        for shard in SHARDS:
            (directory / shard).mkdir(mode=0o700, exist_ok=True)
        # Also where they were there: whoever made them may have been killed before this line.
        sync_directory(directory)

    def path(self, identifier: str) -> Path:
        """Where the content of this message lies or would lie."""
        return self.directory / identifier[-1] / (identifier + _SUFFIX)

    def holds(self, identifier: str) -> bool:
        """Whether the content of this message is there.

        Raises:
            OutputError: nobody can say: its folder is away, or cannot be looked into.
        """
        path = self.path(identifier)
        try:
            path.stat()
        except OSError as error:
            if isinstance(error, FileNotFoundError) and path.parent.is_dir():
                return False
            words = f"cannot look for the message: {error.strerror or error}; is the folder of the contents mounted?"
            raise OutputError(str(path.parent), words) from error
        return True

    @contextlib.contextmanager
    def keep(self, identifier: str, octets: Octets | Iterable[bytes], record: Mapping[str, Any]) -> Iterator[Kept]:
        """Write a message and hold its lock while the caller records it; if the block raises, the file is taken away.

        Args:
            identifier: a name never used before.
            octets: in one piece or in many, which are written as they come.
            record: what a lost database would need, plain values.

        Raises:
            OutputError: it could not be written and synced; nothing is left.
        """
        path = self.path(identifier)
        temporary = path.with_suffix(TEMPORARY)
        with contextlib.ExitStack() as undo:
            try:
                descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                undo.callback(_quietly, path.unlink)
                undo.callback(_quietly, temporary.unlink)
                undo.callback(_quietly, os.close, descriptor)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            except OSError as error:
                raise OutputError.from_os(str(temporary), error) from error
            size, digest = 0, hashlib.sha256()
            # The pieces come from the caller, whose exceptions are his own and pass as they are.
            for piece in (octets,) if isinstance(octets, Octets) else octets:
                try:
                    write_all(descriptor, piece)
                except OSError as error:
                    raise OutputError.from_os(str(temporary), error) from error
                digest.update(piece)
                size += memoryview(piece).nbytes
            line = json.dumps({**record, "digest": digest.hexdigest()}).encode("ascii") + b"\n"
            try:
                write_all(descriptor, line + b"%016x %08x mailpipe1\n" % (size, len(line)))
                os.fsync(descriptor)
                temporary.rename(path)
                sync_directory(path.parent)
            except OSError as error:
                raise OutputError.from_os(str(path), error) from error
            yield Kept(path, size, digest.hexdigest())
            undo.pop_all()
            _quietly(os.close, descriptor)

    def remove(self, identifier: str) -> None:
        """Take a content file away; one that is not there is no trouble.

        Raises:
            OutputError: it is there and cannot be removed.
        """
        path = self.path(identifier)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError.from_os(str(path), error) from error

    def is_busy(self, place: Path) -> bool:
        """Whether somebody is putting this message in at this moment."""
        return is_busy(place)

    def set_aside(self, identifier: str) -> None:
        """Move a file that cannot be read into the folder `damaged` beside the content files.

        Raises:
            OutputError: it cannot be moved.
        """
        shelf, path = self.directory.parent / "damaged", self.path(identifier)
        try:
            shelf.mkdir(mode=0o700, exist_ok=True)
            path.rename(shelf / path.name)
        except OSError as error:
            raise OutputError.from_os(str(shelf), error) from error

    def identifiers(self) -> Iterator[str]:
        """The ids of all content files, shard by shard."""
        for path in self._files(_SUFFIX):
            yield path.name.removesuffix(_SUFFIX)

    def unfinished(self) -> Iterator[Path]:
        """Temporary files: being written, or left behind by a crash."""
        return self._files(TEMPORARY)

    def _files(self, suffix: str) -> Iterator[Path]:
        for shard in SHARDS:
            try:
                with os.scandir(self.directory / shard) as files:
                    names = sorted(file.name for file in files)
            except FileNotFoundError:
                continue
            for name in names:
                if name.endswith(suffix):
                    yield self.directory / shard / name

    def read_record(self, identifier: str) -> tuple[int, dict[str, Any]]:
        """Size of the message and the record behind it.

        Raises:
            InputError: the file is missing or damaged.
        """
        path = self.path(identifier)
        try:
            with path.open("rb") as file:
                total = file.seek(0, os.SEEK_END)
                file.seek(max(0, total - _TAIL_SIZE))
                tail = _TAIL.fullmatch(file.read())
                if not tail or (size := int(tail[1], 16)) + (length := int(tail[2], 16)) + _TAIL_SIZE != total:
                    raise InputError(str(path), "not a content file of this queue, or cut short")
                file.seek(size)
                return size, json.loads(file.read(length))
        except (OSError, ValueError) as error:
            raise InputError(str(path), f"the message cannot be read: {error}") from error

    def digest(self, identifier: str, size: int) -> str:
        """SHA-256 of the octets as they lie on disk, hexadecimal.

        Raises:
            InputError: the file is missing.
        """
        path, digest = self.path(identifier), hashlib.sha256()
        try:
            with path.open("rb") as file:
                while size > 0 and (piece := file.read(min(size, _PIECE))):
                    digest.update(piece)
                    size -= len(piece)
        except OSError as error:
            raise InputError(str(path), f"the message cannot be read: {error}") from error
        return digest.hexdigest()


def _quietly(act: Any, *arguments: Any) -> None:
    with contextlib.suppress(OSError):
        act(*arguments)
