"""Room on the disk that is kept for what empties the queue, so that one that has filled its disk is not stuck.

    reserve.fill()              # None where it is there now; new mail is taken only then
    reserve.spend()             # for a transaction by which mail leaves, where the disk is full

Never here: who may spend it.
"""

import contextlib
import errno
import os
from pathlib import Path

from mailpipe.durable import write_all

SIZE = 262_144
"""Octets: the log of a few dozen deliveries, and the shared memory without which SQLite cannot open a database."""


class Reserve:
    """A file of a fixed size that means nothing.

    Args:
        path: where it is.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def fill(self) -> OSError | None:
        """Make it where it is missing or short.

        Returns:
            why it cannot be made, where disk or quota are full. Any other trouble is met by whoever writes next.
        """
        with contextlib.suppress(OSError):
            if self._path.stat().st_size >= SIZE:
                return None
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                _allocate(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            self.spend()
            return error if error.errno in (errno.ENOSPC, errno.EDQUOT) else None
        return None

    def spend(self) -> None:
        """Give its room to whoever writes next."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)


def _allocate(descriptor: int) -> None:
    try:
        os.posix_fallocate(descriptor, 0, SIZE)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        # QUIRK: some file systems cannot, and some systems do not do without.
        write_all(descriptor, bytes(SIZE))
