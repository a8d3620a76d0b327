"""An mbox that is written to (RFC 4155): at its end, under locks that mail programs know, whole or not at all.

    mbox = MboxAppender(path, lock="fcntl")
    with mbox.locked() as descriptor:
        offset = mbox.append(descriptor, octets)

A write that fails is undone: the archive is as long as it was. A process that is killed in the middle of a write leaves
half a message at the end; the next one begins on a line of its own behind it.

Never here: From_ lines and quoting; see `mbox`.
"""

import contextlib
import fcntl
import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from mailpipe.durable import sync_directory, write_all
from mailpipe.errors import TransientFailure
from mailpipe.status import EnhancedStatus
from mailpipe.units import duration_text

_log = logging.getLogger(__name__)

_PAUSE = 0.05
# A lock of fcntl holds against other processes, not against other threads of this one.
_threads = threading.Lock()


class MboxAppender:
    """Appends to one archive.

    Args:
        path: the archive.
        lock: how it is locked: with fcntl, with a file beside it that ends in .lock, or with both.
        lock_timeout: seconds to wait for another program's lock.
        sync: whether to wait for the disk after each message.
    """

    def __init__(
        self,
        path: Path,
        lock: Literal["fcntl", "dot", "both"] = "fcntl",
        lock_timeout: float = 30.0,
        *,
        sync: bool = True,
    ) -> None:
        self.path = path
        self._lock, self._timeout, self._sync = lock, lock_timeout, sync

    def make(self) -> None:
        """Make the archive and its folder where they are missing.

        Raises:
            OSError: they cannot be made or written.
        """
        is_new = not self.path.exists()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        os.close(self._open())
        if is_new:
            sync_directory(str(self.path.parent))

    def append(self, descriptor: int, octets: bytes) -> int:
        """Write at the end, or leave the file as long as it was.

        Args:
            descriptor: from `locked`.
            octets: a From_ line, a message that is quoted, and an empty line.

        Returns:
            where the From_ line stands.

        Raises:
            OSError: it cannot be written.
        """
        size, gap = self.end(descriptor)
        try:
            write_all(descriptor, gap + octets)
            if self._sync:
                os.fsync(descriptor)
        except BaseException:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, size)
            raise
        return size + len(gap)

    @staticmethod
    def end(descriptor: int) -> tuple[int, bytes]:
        """How long the archive is, and what has to stand before the next From_ line."""
        size = os.lseek(descriptor, 0, os.SEEK_END)
        tail = os.pread(descriptor, 3, max(size - 3, 0))
        # Whoever wrote before may have left out the empty line, or been stopped in the middle of one.
        if not size or tail.endswith((b"\n\n", b"\n\r\n")):
            return size, b""
        return size, b"\n" if tail.endswith(b"\n") else b"\n\n"

    @contextlib.contextmanager
    def locked(self) -> Iterator[int]:
        """The archive, open and ours alone.

        Raises:
            TransientFailure: another program holds the lock for too long.
            OSError: it cannot be opened, or closed where nothing was synced.
        """
        deadline = time.monotonic() + self._timeout
        with contextlib.ExitStack() as stack:
            if not _threads.acquire(timeout=max(self._timeout, 0.001)):
                raise self._busy("another thread")
            stack.callback(_threads.release)
            if self._lock != "fcntl":
                stack.enter_context(self._dot_locked(deadline))
            descriptor = self._open()
            stack.callback(self._close, descriptor)
            while self._lock != "dot":
                try:
                    fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except (BlockingIOError, PermissionError) as error:
                    if time.monotonic() >= deadline:
                        raise self._busy("another program") from error
                    time.sleep(_PAUSE)
            yield descriptor

    def _open(self) -> int:
        return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _close(self, descriptor: int) -> None:
        try:
            os.close(descriptor)
        except OSError:
            # What is synced is there, whatever is said now; told of a failure, the engine would bring it again.
            if not self._sync:
                raise

    @contextlib.contextmanager
    def _dot_locked(self, deadline: float) -> Iterator[None]:
        lock = f"{self.path}.lock"
        while True:
            try:
                descriptor = os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                break
            except FileExistsError as error:
                if time.monotonic() >= deadline:
                    raise self._busy(f"the file {lock}") from error
                time.sleep(_PAUSE)
        with contextlib.suppress(OSError):
            os.close(descriptor)  # it is empty, so that nothing can be lost here
        try:
            yield
        finally:
            try:
                os.unlink(lock)  # noqa: PTH108 - paths are text here
            except FileNotFoundError:
                pass
            except OSError as error:
                # The mail is in the archive; the next one will be told who holds the lock.
                _log.warning("the lock %s could not be taken away: %s", lock, error.strerror or error)

    def _busy(self, holder: str) -> TransientFailure:
        waited = duration_text(self._timeout)
        remedy = "if no program is at work there, remove the lock"
        reason = f"{self.path} is locked by {holder}, after {waited}; {remedy}"
        return TransientFailure(reason, EnhancedStatus(4, 2, 0))
