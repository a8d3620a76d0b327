"""Room on the disk that is kept for what empties the queue, so that one that has filled its disk is not stuck.

    reserve.fill()              # True where it is there now; new mail is taken only then
    reserve.spend()             # for a transaction by which mail leaves, where the disk is full

Never here: who may spend it.
"""

import contextlib
import os
from pathlib import Path

SIZE = 262_144
"""Octets: the log of a few dozen deliveries, and the shared memory without which SQLite cannot open a database."""


class Reserve:
    """A file of a fixed size that means nothing.

    Args:
        path: where it is.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def fill(self) -> bool:
        """Make it where it is missing or short; whether it is there."""
        try:
            if self._path.stat().st_size >= SIZE:
                return True
        except OSError:
            pass
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, SIZE)
            finally:
                os.close(descriptor)
        except OSError:
            self.spend()
            return False
        return True

    def spend(self) -> None:
        """Give its room to whoever writes next."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
