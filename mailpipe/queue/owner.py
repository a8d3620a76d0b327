"""Who holds a lease: a name that other processes can ask whether its process is still alive.

    owner = Owner(directory)
    owner.name                          # goes into the lease
    is_alive(directory, name)           # False at once after the process was killed

The owner keeps a lock on a file of its name; the kernel takes the lock away when the process ends, however it ends.
So a lease of a dead process can be taken over at once instead of at its expiry. Expiry stays the rule of last resort.

Never here: leases themselves; those are rows of the store.
"""

import contextlib
import fcntl
import os
from pathlib import Path


class Owner:
    """One holder of leases; made once for each queue object and process.

    Attributes:
        name: letters and digits, never used again.
    """

    def __init__(self, directory: Path) -> None:
        self.name, self._pid = "", 0
        while not self.name:
            name = os.urandom(8).hex()
            self._path = directory / name
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            # Somebody who tidies up may have taken the file away between its making and its lock.
            with contextlib.suppress(FileNotFoundError):
                if self._path.stat().st_ino == os.fstat(self._descriptor).st_ino:
                    self.name, self._pid = name, os.getpid()
                    return
            os.close(self._descriptor)

    @property
    def is_ours(self) -> bool:
        """Whether this is still the process that made it; a fork is another process."""
        return self._pid == os.getpid()

    def close(self) -> None:
        """Give up the name; a fork only forgets it."""
        if self.is_ours:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            os.close(self._descriptor)


def is_alive(directory: Path, name: str) -> bool:
    """Whether the process that made the owner of this name still runs."""
    try:
        descriptor = os.open(directory / name, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        return True  # In doubt the lease stands until it expires.
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def sweep(directory: Path) -> None:
    """Take away what dead owners left; a living one notices the theft of a file it has not locked yet."""
    for path in directory.iterdir():
        if not is_alive(directory, path.name):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
