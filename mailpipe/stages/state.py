"""What a stage remembers beyond its life: one SQLite file, for several workers and threads.

    self._state = StateFile(options.state_directory, "deduplicate.db", SCHEMA)
    self._state.open()
    seen = self._state.change(lambda rows: rows.execute("SELECT …").fetchone())      # all of it or nothing

What is written outlives a crash of the process; a power cut may cost the last of it, so nothing may be kept here whose
loss would lose mail.

Never here: what is remembered.
"""

import fcntl
import os
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from mailpipe.errors import ConfigError, OutputError

T = TypeVar("T")
_BUSY_SECONDS = 30.0


class StateFile:
    """A database of one stage.

    Args:
        directory: made with mode 0700 where it is missing; None: in memory, for a rehearsal or one worker.
        name: of the file in it.
        schema: statements that make the tables, all of them "IF NOT EXISTS".
        version: of the tables; a file of a later one is refused.
    """

    def __init__(self, directory: Path | None, name: str, schema: Sequence[str], version: int = 1) -> None:
        self.path = Path(":memory:") if directory is None else directory / name
        self._in_memory, self._schema, self._version = directory is None, schema, version
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def open(self) -> None:
        """Make or open it.

        Raises:
            OutputError: it cannot be made or written, or is damaged.
            ConfigError: it was made by a later version of mailpipe.
        """
        if self._in_memory:
            self._connection = self._opened()
            return
        directory = self.path.parent
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            # switching to the log waits for no busy timeout; openers take turns by this lock
            turn = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(turn, fcntl.LOCK_EX)
                self._connection = self._opened()
            finally:
                os.close(turn)
        except sqlite3.Error as error:
            raise OutputError(str(self.path), f"{error}; if it is damaged, move it away") from error
        except OSError as error:
            raise OutputError.from_os(str(error.filename or directory), error) from error

    def _opened(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version > self._version:
                raise ConfigError(f"{self.path} was made by a later version of mailpipe; use that, or move it away")
            for statement in self._schema:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {self._version}")
        except BaseException:
            connection.close()
            raise
        return connection

    def change(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Read and write in one transaction, which no other process comes between.

        Raises:
            OutputError: it cannot be read or written.
        """
        with self._lock:
            connection = self._connection
            if connection is None:
                raise OutputError(str(self.path), "it is closed")
            try:
                connection.execute("BEGIN IMMEDIATE")
                try:
                    made = work(connection)
                    connection.execute("COMMIT")
                except BaseException:
                    with suppress(sqlite3.Error):
                        connection.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise OutputError(str(self.path), str(error)) from error
            return made

    def close(self) -> None:
        """Close it; closing twice does nothing."""
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()
