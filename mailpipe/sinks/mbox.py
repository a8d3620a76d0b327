"""A sink that appends to an mbox (RFC 4155), under locks that mail programs know.

    [sink]
    use  = "mbox"
    path = "archive.mbox"

The From_ line is made of the envelope's sender and the present time. A write that fails is undone: the archive is as
long as it was. A process that is killed in the middle of a write leaves half a message at the end; the next mail
begins on a line of its own behind it.

Never here: quoting; see `mailpipe.archive.mbox`.
"""

import contextlib
import fcntl
import logging
import os
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Literal

from mailpipe.archive import from_line
from mailpipe.archive.mbox import render
from mailpipe.durable import sync_directory, write_all
from mailpipe.errors import OutputError, TransientFailure
from mailpipe.pipeline.component import LocalPath, Options, Sink
from mailpipe.pipeline.mail import Mail
from mailpipe.pipeline.outcome import Fate, Receipt
from mailpipe.status import EnhancedStatus
from mailpipe.units import Duration, duration_text

_log = logging.getLogger(__name__)

_PAUSE = 0.05
# A lock of fcntl holds against other processes, not against other threads of this one.
_threads = threading.Lock()


class MboxSinkOptions(Options):
    """Options of the sink `mbox`."""

    path: LocalPath
    """The archive; made where it is missing."""

    dialect: Literal["mboxrd", "mboxo"] = "mboxrd"
    """How lines that begin with "From " are quoted: mboxrd can be undone by a reader, mboxo cannot."""

    lock: Literal["fcntl", "dot", "both"] = "fcntl"
    """How the archive is locked: with fcntl, with a file beside it that ends in .lock, or with both."""

    lock_timeout: Duration = 30.0
    """How long to wait for another program's lock; after that the mail is deferred."""

    sync: bool = True
    """Wait for the disk after each mail. Without, a power cut may lose mails that were reported as delivered."""


class MboxSink(Sink[MboxSinkOptions]):
    """Appends to an mbox, one mail at a time."""

    name = "mbox"
    Options = MboxSinkOptions

    def open(self) -> None:
        """Make the archive where it is missing.

        Raises:
            OutputError: it cannot be made or written.
        """
        try:
            path = self.options.path
            is_new = not path.exists()
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(self._open())
            if is_new:
                sync_directory(str(path.parent))
        except OSError as error:
            raise OutputError.from_os(str(self.options.path), error) from error

    def deliver(self, mail: Mail) -> Receipt:
        """Append the mail and wait for the disk.

        Raises:
            TransientFailure: another program holds the lock for too long.
            OutputError: it cannot be written; the archive is as it was.
        """
        line = from_line.render(mail.envelope.reverse_path, datetime.now(UTC))
        octets = render(bytes(mail.message), line, self.options.dialect)
        location = str(self.options.path)
        try:
            with self._locked() as descriptor:
                offset = self._append(descriptor, octets)
        except OSError as error:
            raise OutputError.from_os(location, error) from error
        diagnostic = f"appended at {offset}"
        return Receipt.of_all(
            mail.envelope.forward_paths, Fate.DELIVERED, "2.0.0", diagnostic, f"{location}:{offset}"
        )

    def _open(self) -> int:
        return os.open(self.options.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _append(self, descriptor: int, octets: bytes) -> int:
        """Write at the end, or leave the file as long as it was.

        Returns:
            where the From_ line stands.
        """
        size = os.lseek(descriptor, 0, os.SEEK_END)
        tail = os.pread(descriptor, 3, max(size - 3, 0))
        # Whoever wrote before may have left out the empty line, or been stopped in the middle of one.
        if not size or tail.endswith((b"\n\n", b"\n\r\n")):
            gap = b""
        else:
            gap = b"\n" if tail.endswith(b"\n") else b"\n\n"
        try:
            write_all(descriptor, gap + octets)
            if self.options.sync:
                os.fsync(descriptor)
        except BaseException:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, size)
            raise
        return size + len(gap)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        deadline = time.monotonic() + self.options.lock_timeout
        with contextlib.ExitStack() as stack:
            if not _threads.acquire(timeout=max(self.options.lock_timeout, 0.001)):
                raise self._busy("another thread")
            stack.callback(_threads.release)
            if self.options.lock != "fcntl":
                stack.enter_context(self._dot_locked(deadline))
            descriptor = self._open()
            stack.callback(self._close, descriptor)
            while self.options.lock != "dot":
                try:
                    fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except (BlockingIOError, PermissionError) as error:
                    if time.monotonic() >= deadline:
                        raise self._busy("another program") from error
                    time.sleep(_PAUSE)
            yield descriptor

    def _close(self, descriptor: int) -> None:
        try:
            os.close(descriptor)
        except OSError:
            # What is synced is there, whatever is said now; told of a failure, the engine would bring it again.
            if not self.options.sync:
                raise

    @contextlib.contextmanager
    def _dot_locked(self, deadline: float) -> Iterator[None]:
        lock = f"{self.options.path}.lock"
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
        waited = duration_text(self.options.lock_timeout)
        remedy = "if no program is at work there, remove the lock"
        reason = f"{self.options.path} is locked by {holder}, after {waited}; {remedy}"
        return TransientFailure(reason, EnhancedStatus(4, 2, 0))
