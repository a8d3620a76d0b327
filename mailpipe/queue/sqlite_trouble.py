"""What SQLite's errors mean for a person: which of them is a full disk, a read-only one, damage, or another process.

    raise trouble(path, error) from error               # an OutputError with its remedy

SQLite tells a full disk from other failures of a write only where the write itself said ENOSPC. A quota, a sync that
finds the disk full, and the file of shared memory come as SQLITE_IOERR, and no errno with it. So the disk is asked:
a file without a name is written beside the database and synced, and what that says is said.

Never here: SQL.
"""

import errno
import os
import sqlite3
import tempfile
from pathlib import Path

from mailpipe.errors import EX_TEMPFAIL, OutputError
from mailpipe.queue.commit import AlreadyThere

_PROBE = bytes(65536)
"""More than the pages of a commit: what is too little for those must be too little for this."""

_REBUILD = "`mailpipe queue doctor --rebuild` makes a new one from the content files"
_ASK_THE_DISK = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM)


def trouble(path: Path, error: sqlite3.Error) -> OutputError:
    """The same trouble with the database's path and a remedy; `is_full` where disk or quota is.

    Args:
        path: the database.
        error: what the module sqlite3 raised.
    """
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if isinstance(error, sqlite3.IntegrityError):
        return AlreadyThere(str(path), f"a message of this id is in the queue already ({error})")
    if code == sqlite3.SQLITE_FULL:
        return OutputError.from_os(str(path), OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return OutputError(str(path), f"the database is damaged: {error}; {_REBUILD}")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        busy = OutputError(str(path), "another process kept the queue busy for too long; try again")
        busy.exit_code = EX_TEMPFAIL
        return busy
    if code in _ASK_THE_DISK and (reason := _ask_the_disk(path.parent)) is not None:
        return OutputError.from_os(str(path), reason)
    name = getattr(error, "sqlite_errorname", "")
    words = f"{error} ({name})" if name else str(error)
    return OutputError(str(path), f"cannot read or write the queue: {words}")


def _ask_the_disk(directory: Path) -> OSError | None:
    """What the system says of a write to that place; None where it takes it."""
    try:
        with tempfile.TemporaryFile(dir=directory, buffering=0) as probe:
            # The calls by which SQLite writes and syncs its log.
            written = 0
            while written < len(_PROBE):
                written += os.pwrite(probe.fileno(), _PROBE[written:], written)
            os.fdatasync(probe.fileno())
    except OSError as reason:
        return reason
    return None
