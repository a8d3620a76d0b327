"""Where `extract-attachments` puts files: a plain directory, or a store addressed by content (SHA-256).

    store = AttachmentStore(directory, by_content=False)
    path = store.save(octets, "invoice.pdf")         # on disk and synced, or OutputError

A file is written under a temporary name, synced, and linked to its final name, so that a name is either complete or
absent. The same content under the same name is one file; other content gets a name with its digest in it. Several
processes may write into one store.

Never here: which parts are attachments.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from mailpipe.durable import publish, sync_directory, write_all, write_new
from mailpipe.errors import OutputError
from mailpipe.stages.file_names import with_mark


class AttachmentStore:
    """A directory of files and their manifest.

    Attributes:
        directory: where the files lie.
        by_content: whether they are named by their digest alone.
    """

    def __init__(self, directory: Path, *, by_content: bool) -> None:
        self.directory, self.by_content = directory, by_content

    def open(self) -> None:
        """Make the directory.

        Raises:
            OutputError: it cannot be made.
        """
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError.from_os(str(self.directory), error) from error

    def save(self, octets: bytes, name: str) -> Path:
        """Write a file unless the same content lies there already; gives its path.

        Raises:
            OutputError: it cannot be written; nothing half-written stays.
        """
        digest = hashlib.sha256(octets).hexdigest()
        if self.by_content:
            candidates = [Path(digest[:2]) / digest]  # whatever the name: one content is one file
        else:
            candidates = [Path(name), Path(with_mark(name, digest[:12])), Path(with_mark(name, digest))]
        try:
            for candidate in candidates:
                path = self.directory / candidate
                if _holds(path, octets, digest) or (not path.exists() and self._write(path, octets, digest)):
                    return path
        except OSError as error:
            raise OutputError.from_os(str(self.directory / candidates[0]), error) from error
        raise OutputError(str(self.directory / candidates[-1]), "another file has that name; move it away")

    def _write(self, path: Path, octets: bytes, digest: str) -> bool:
        """Whether the file is there now with these octets."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{digest[:12]}.{os.getpid()}.part")
        temporary.unlink(missing_ok=True)  # of a process with the same number that was killed
        write_new(temporary, octets, mode=0o644)
        try:
            publish(temporary, path)
        except FileExistsError:  # another process was first
            temporary.unlink()
            return _holds(path, octets, digest)
        sync_directory(path.parent)
        return True


def _holds(path: Path, octets: bytes, digest: str) -> bool:
    """Whether a file with these octets lies there."""
    try:
        if path.stat().st_size != len(octets):
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == digest
    except FileNotFoundError:
        return False


class Manifest:
    """JSON Lines that tie each file to its message and part; appended line by line, never rewritten.

    A message that comes again, after a crash, adds no second line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: set[bytes] = set()
        self._handle = -1
        self._is_torn = False

    def open(self) -> None:
        """Open for appending and learn what is there; a torn last line is ended.

        Raises:
            OutputError: it cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
            with self.path.open("rb") as file:
                line = b""
                for line in file:
                    self._known.add(_digest(line))
            if line and not line.endswith(b"\n"):
                os.write(self._handle, b"\n")
        except OSError as error:
            raise OutputError.from_os(str(self.path), error) from error

    def add(self, entry: dict[str, Any]) -> None:
        """Append one entry, synced.

        Raises:
            OutputError: it cannot be written.
        """
        line = json.dumps(entry, ensure_ascii=False, sort_keys=True).encode("utf-8", "replace") + b"\n"
        if _digest(line) in self._known:
            return
        try:
            # one write of one line: processes that append at once do not tear each other's lines
            write_all(self._handle, b"\n" + line if self._is_torn else line)
            self._is_torn = False
            os.fdatasync(self._handle)
        except OSError as error:
            self._is_torn = True  # part of it may stand there, and the next must not grow onto it
            raise OutputError.from_os(str(self.path), error) from error
        self._known.add(_digest(line))

    def close(self) -> None:
        """Close the file."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def _digest(line: bytes) -> bytes:
    return hashlib.blake2b(line.rstrip(b"\n"), digest_size=16).digest()
