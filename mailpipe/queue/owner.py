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
import weakref
from pathlib import Path

from mailpipe.errors import OutputError

_owners: "weakref.WeakSet[Owner]" = weakref.WeakSet()


class Owner:
    """One holder of leases; made once for each queue object and process.

    Attributes:
        name: letters and digits, never used again.

    Raises:
        OutputError: its file cannot be made.
    """

    def __init__(self, directory: Path) -> None:
        self.name, self._pid = os.urandom(8).hex(), os.getpid()
        self._path, self._descriptor = directory / self.name, -1
        _owners.add(self)
        self.hold()

    def hold(self) -> None:
        """Make sure that the lock stands where others look for it.

        Raises:
            OutputError: it does not, and cannot be taken.
        """
        while not self._stands():
            # Somebody who tidies up may have taken the file away, also between its making and its lock.
            self._let_go()
            try:
                self._path.parent.mkdir(mode=0o700, exist_ok=True)
                self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            except OSError as error:
                self._let_go()
                raise OutputError.from_os(str(self._path), error) from error

    def _stands(self) -> bool:
        try:
            return self._descriptor >= 0 and self._path.stat().st_ino == os.fstat(self._descriptor).st_ino
        except OSError:
            return False

    @property
    def is_ours(self) -> bool:
        """Whether this is still the process that made it; a fork is another process."""
        return self._pid == os.getpid()

    def close(self) -> None:
        """Give up the name; a fork only forgets it."""
        if self.is_ours:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
        self._let_go()

    def _let_go(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(descriptor)


def _let_all_go() -> None:
    # A fork shares the lock; one that outlives its parent would have the dead seem alive.
    for owner in list(_owners):
        owner._let_go()


os.register_at_fork(after_in_child=_let_all_go)


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
