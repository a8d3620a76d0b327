"""The states of the queue in SQLite: one row a message, one row a recipient, leases, and ids that are gone.

    store.add(entry)                                    # durable when it returns
    entry = store.take(lease, until, now)               # UPDATE … RETURNING: one process gets it
    store.change(entry.id, lambda current: ...)         # read, decide, write in one transaction

Write-ahead log with synchronous=FULL: a transaction that was committed outlives a power cut.

Never here: content files, schedules, and what a result means; `decide` is the caller's.
"""

import contextlib
import ctypes
import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from mailpipe.durable import sync_directory
from mailpipe.errors import ConfigError, OutputError
from mailpipe.queue.commit import SharedCommits
from mailpipe.queue.entry import Entry, Recipient, RecipientState
from mailpipe.queue.interface import Contents, QueueStore
from mailpipe.queue.owner import Owner, is_alive, sweep
from mailpipe.queue.reserve import Reserve
from mailpipe.queue.rows import (
    MESSAGE,
    RECIPIENT,
    REMEMBERED,
    entry_of,
    expired_and_standing,
    message_values,
    recipient_values,
)
from mailpipe.queue.spool import Spool
from mailpipe.queue.sqlite_trouble import trouble

ResultT = TypeVar("ResultT")

_BUSY_SECONDS = 60.0

# Entry n brings the schema from version n to n + 1; entries are added, never changed.
_MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE message (
            id TEXT PRIMARY KEY, sender TEXT NOT NULL, origin TEXT NOT NULL, route TEXT NOT NULL,
            created REAL NOT NULL, since REAL NOT NULL, size INTEGER NOT NULL, digest TEXT NOT NULL,
            next_try REAL, lease TEXT NOT NULL DEFAULT '', leased_until REAL
        )""",
        """CREATE TABLE recipient (
            message TEXT NOT NULL REFERENCES message(id) ON DELETE CASCADE, position INTEGER NOT NULL,
            forward_path TEXT, state TEXT NOT NULL, attempts INTEGER NOT NULL, next_try REAL, status TEXT,
            diagnostic TEXT NOT NULL, changed REAL NOT NULL, is_attempted INTEGER NOT NULL,
            PRIMARY KEY (message, position)
        ) WITHOUT ROWID""",
        "CREATE TABLE gone (id TEXT PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID",
        "CREATE INDEX message_due ON message (next_try) WHERE next_try IS NOT NULL AND lease = ''",
        "CREATE INDEX message_leased ON message (leased_until) WHERE lease <> ''",
        "CREATE INDEX gone_at ON gone (at)",
    ),
)

_GONE = (
    "the database is missing, and there are messages whose states it held; put it back from a backup, or have "
    "`mailpipe queue doctor --rebuild` make a new one, everything held"
)
_ARRIVAL = "id, sender, origin, route, created, since, size, digest, next_try"
_PAGE = 200


class Store(SharedCommits[sqlite3.Connection]):
    """The database of one queue.

    Args:
        path: the database file; made where it is missing.
        content: the path of a message's content file.

    Raises:
        OutputError: it cannot be opened or written, or is damaged.
        ConfigError: it was made by a later version of mailpipe.
    """

    def __init__(self, path: Path, content: Callable[[str], Path]) -> None:
        super().__init__(str(path))
        self.path, self._content = path, content
        self._owners = path.parent / "owners"
        self._connection: sqlite3.Connection | None = None
        self._file = (0, 0)  # device and inode of what the connection has open
        self._reserve = Reserve(path.with_suffix(".reserve"))
        with self._lock:
            self._with_room(self._open)
        self._reserve.fill()

    # -- clock and owners ---------------------------------------------------------------------------------------

    def clock(self) -> float:
        """The system's clock: everybody who works this queue has the same."""
        return time.time()

    def new_owner(self) -> Owner:
        """A name whose lock falls with its process.

        Raises:
            OutputError: its file cannot be made.
        """
        return self._with_room(lambda: Owner(self._owners))

    def is_alive(self, name: str) -> bool:
        """Whether the process that made the owner of this name still runs."""
        return is_alive(self._owners, name)

    def sweep(self) -> None:
        """Take away what dead owners left."""
        sweep(self._owners)

    # -- connection ---------------------------------------------------------------------------------------------

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None:
            self._check_place()
            return self._connection
        connection = None
        try:
            # Switching to the log and making tables wait for no busy timeout; openers take turns by this lock.
            turn = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(turn, fcntl.LOCK_EX)
                if self._file != (0, 0) and not self.path.exists():
                    raise OutputError(str(self.path), _GONE)  # it was there: nobody wants an empty one
                connection = sqlite3.connect(
                    self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
                )
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("PRAGMA foreign_keys = ON")
                self._migrate(connection)
                self._file = _identity(self.path)
            finally:
                os.close(turn)
        except sqlite3.Error as error:
            if connection is not None:
                connection.close()
            raise trouble(self.path, error) from error
        except OSError as error:
            raise OutputError.from_os(str(self.path), error) from error
        except ConfigError:
            if connection is not None:
                connection.close()
            raise
        self._connection = connection
        return connection

    def _migrate(self, connection: sqlite3.Connection) -> None:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if version > len(_MIGRATIONS):
            raise ConfigError(f"{self.path}: made by a later version of mailpipe (schema {version}); upgrade mailpipe")
        for number, statements in enumerate(_MIGRATIONS[version:], version + 1):
            connection.execute("BEGIN IMMEDIATE")
            for statement in statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
            connection.execute("COMMIT")

    def admit(self) -> None:
        """Look whether more mail may come in.

        Raises:
            OutputError: the disk is so full that what is left is needed to let mail out.
        """
        if (full := self._reserve.fill()) is not None:
            raise OutputError.from_os(str(self.path.parent), full)

    def _with_room(self, act: Callable[[], ResultT]) -> ResultT:
        """Do what lets mail out, with the reserve where the disk is full."""
        try:
            return act()
        except OutputError as error:
            if not error.is_full:
                raise
        with self._lock:
            self._reserve.spend()
            with contextlib.suppress(OutputError, sqlite3.Error):
                self._open().execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return act()

    def _check_place(self) -> None:
        """Look whether the connection is to the file that stands under the name; else what it records is lost.

        Raises:
            OutputError: the file was deleted or replaced.
        """
        with contextlib.suppress(OSError):
            if _identity(self.path) == self._file:
                return
        # Never closed: SQLite would take the log of the new file away, which has the same name. The system closes it.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._connection))
        self._connection = None
        raise OutputError(
            str(self.path), "the database was deleted or replaced while it was in use; nothing was recorded. End every "
            "process that uses this queue, put the file back, then ask `mailpipe queue doctor`",
        )  # fmt: skip

    def close(self) -> None:
        """Close the connection; the next use opens it again."""
        with self._lock:
            if self._connection is not None:
                connection, self._connection = self._connection, None
                with contextlib.suppress(sqlite3.Error):
                    connection.close()

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._open()
            except sqlite3.Error as error:
                raise trouble(self.path, error) from error

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._reading() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                self._check_place()
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    with contextlib.suppress(sqlite3.Error):
                        connection.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _snapshot(self) -> Iterator[sqlite3.Connection]:
        """One moment for several statements: a message and its recipients belong together."""
        with self._reading() as connection:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("COMMIT")

    # -- rows ---------------------------------------------------------------------------------------------------

    def _entry(self, connection: sqlite3.Connection, row: tuple[Any, ...]) -> Entry:
        rows = connection.execute(f"SELECT {RECIPIENT} FROM recipient WHERE message = ? ORDER BY position", row[:1])
        return entry_of(row, rows, self._content)

    def _write_recipients(
        self, connection: sqlite3.Connection, identifier: str, recipients: Iterable[Recipient]
    ) -> None:
        connection.executemany(
            f"INSERT OR REPLACE INTO recipient (message, {RECIPIENT}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [recipient_values(identifier, recipient) for recipient in recipients],
        )

    # -- putting in and taking out ------------------------------------------------------------------------------

    def _insert(self, connection: sqlite3.Connection, entry: Entry, marks: Sequence[str] = ()) -> None:
        connection.execute(
            f"INSERT INTO message ({_ARRIVAL}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", message_values(entry)
        )
        self._write_recipients(connection, entry.id, entry.recipients)
        connection.executemany(
            "INSERT OR REPLACE INTO gone VALUES (?, ?)", [(mark, entry.created) for mark in marks]
        )

    def has_come(self, identifier: str) -> bool | None:
        """Whether an arrival of a `change` that raised was recorded after all; None where nobody can say now."""
        try:
            if self.get(identifier) is not None:
                return True
            self.forget(identifier)
        except OutputError:
            return None
        return False

    def forget(self, identifier: str, now: float = 0.0) -> None:
        """Delete a message's rows, those of a failed commit too, and keep its id among those that are gone.

        Raises:
            OutputError: the database cannot be written.
        """
        with self._writing() as connection:
            connection.execute("DELETE FROM message WHERE id = ?", (identifier,))
            # Never without a row to write: what a failed commit left in the log comes back after a crash unless the
            # next transaction is written over it.
            connection.execute("INSERT OR REPLACE INTO gone VALUES (?, ?)", (identifier, now))

    def take(self, lease: str, until: float, now: float, *, route: str | None, is_attempt: bool) -> Entry | None:
        """Lease the message that has been due longest; None where none is due.

        Args:
            lease: the new holder, a name never used before.
            until: when the lease ends.
            now: what is due at this moment counts as due.
            route: only messages of this route; None for all.
            is_attempt: record with the lease that an attempt begins.

        Raises:
            OutputError: the database cannot be written.
        """
        entry = self._with_room(lambda: self._take(lease, until, now, route, is_attempt))
        if entry is None:
            self._reserve.fill()
        return entry

    def _take(self, lease: str, until: float, now: float, route: str | None, is_attempt: bool) -> Entry | None:
        with self._writing() as connection:
            row = connection.execute(
                f"""UPDATE message SET lease = ?, leased_until = ? WHERE id = (
                        SELECT id FROM message WHERE next_try <= ? AND next_try IS NOT NULL AND lease = ''
                        AND (? IS NULL OR route = ?) ORDER BY next_try, rowid LIMIT 1
                    ) RETURNING {MESSAGE}""",
                (lease, until, now, route, route),
            ).fetchall()
            if not row:
                return None
            entry = self._entry(connection, row[0])
            due = [
                replace(recipient, is_attempted=is_attempt)
                for recipient in entry.recipients
                if recipient.state.is_live and recipient.next_try is not None and recipient.next_try <= now
            ]
            if is_attempt:
                self._write_recipients(connection, entry.id, due)
            return replace(entry.with_recipients(*due), leased=tuple(recipient.position for recipient in due))

    def change(
        self, identifier: str, decide: Callable[[Entry], Entry | None], now: float, arrivals: Sequence[Entry] = ()
    ) -> Entry | None:
        """Read a message, let `decide` make another of it, and write that and the arrivals; all or nothing.

        A message whose recipients are all delivered, or for which `decide` gives None, is deleted and its id is kept
        among those that are gone: its content file may then be removed.

        Returns:
            the message as decided; None where there is none of that id or `decide` gave None.

        Raises:
            OutputError: the database cannot be written; nothing was changed.
        """
        return self._with_room(lambda: self._change(identifier, decide, now, arrivals))

    def _change(
        self, identifier: str, decide: Callable[[Entry], Entry | None], now: float, arrivals: Sequence[Entry]
    ) -> Entry | None:
        with self._writing() as connection:
            row = connection.execute(f"SELECT {MESSAGE} FROM message WHERE id = ?", (identifier,)).fetchone()
            if row is None:
                return None
            before = self._entry(connection, row)
            after = decide(before)
            for arrival in arrivals:
                self._insert(connection, arrival)
            if after is None or all(one.state is RecipientState.DELIVERED for one in after.recipients):
                connection.execute("DELETE FROM message WHERE id = ?", (identifier,))
                connection.execute("INSERT OR REPLACE INTO gone VALUES (?, ?)", (identifier, now))
                connection.execute("DELETE FROM gone WHERE at < ?", (now - REMEMBERED,))
            elif after != before:
                changed = [new for old, new in zip(before.recipients, after.recipients, strict=True) if old != new]
                self._write_recipients(connection, identifier, changed)
                connection.execute(
                    "UPDATE message SET since = ?, next_try = ?, lease = ?, leased_until = ? WHERE id = ?",
                    (after.since, after.next_try, after.lease, after.leased_until, identifier),
                )
            return after

    def bring_forward(self, now: float, route: str | None) -> int:
        """Make everything that waits for a later moment due now; how many messages that changed."""
        with self._writing() as connection:
            connection.execute(
                """UPDATE recipient SET next_try = ? WHERE next_try > ?
                    AND message IN (SELECT id FROM message WHERE ? IS NULL OR route = ?)""",
                (now, now, route, route),
            )
            return connection.execute(
                "UPDATE message SET next_try = ? WHERE next_try > ? AND (? IS NULL OR route = ?)",
                (now, now, route, route),
            ).rowcount

    # -- looking ------------------------------------------------------------------------------------------------

    def get(self, identifier: str) -> Entry | None:
        """One message, None where there is none of that id."""
        with self._snapshot() as connection:
            row = connection.execute(f"SELECT {MESSAGE} FROM message WHERE id = ?", (identifier,)).fetchone()
            return self._entry(connection, row) if row else None

    def entries(self, condition: str = "TRUE", values: tuple[Any, ...] = ()) -> Iterator[Entry]:
        """All messages that meet an SQL condition of this package's own, by arrival, read page by page."""
        last = -1
        while True:
            with self._snapshot() as connection:
                rows = connection.execute(
                    f"""SELECT {MESSAGE}, rowid FROM message WHERE rowid > ? AND ({condition})
                        ORDER BY rowid LIMIT {_PAGE}""",
                    (last, *values),
                ).fetchall()
                recipients: dict[str, list[tuple[Any, ...]]] = {row[0]: [] for row in rows}
                for one in connection.execute(
                    f"""SELECT message, {RECIPIENT} FROM recipient
                        WHERE message IN ({", ".join("?" * len(rows))}) ORDER BY message, position""",
                    tuple(recipients),
                ):
                    recipients[one[0]].append(one[1:])
            for row in rows:
                yield entry_of(row[:-1], recipients[row[0]], self._content)
            if len(rows) < _PAGE:
                return
            last = rows[-1][-1]

    def leases(self, now: float) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        """(id, lease) of those that have expired, and of those that have not."""
        with self._reading() as connection:
            query = "SELECT id, lease, leased_until FROM message WHERE lease <> '' ORDER BY rowid"
            rows = connection.execute(query).fetchall()
        return expired_and_standing(rows, now)

    def is_gone(self, identifier: str) -> bool:
        """Whether this message was here and was settled or removed not long ago."""
        with self._reading() as connection:
            return bool(connection.execute("SELECT 1 FROM gone WHERE id = ?", (identifier,)).fetchone())

    def next_try(self) -> float | None:
        """When the first message is due that nobody delivers, None where none waits."""
        with self._reading() as connection:
            row = connection.execute("SELECT min(next_try) FROM message WHERE lease = ''").fetchone()
            return None if row[0] is None else float(row[0])

    def count(self, now: float) -> tuple[int, int, int, int, dict[str, int]]:
        """Messages, octets, due messages, leased messages, and recipients by state."""
        with self._snapshot() as connection:
            messages, octets, due, leased = connection.execute(
                """SELECT count(*), coalesce(sum(size), 0), coalesce(sum(next_try <= ? AND lease = ''), 0),
                   coalesce(sum(lease <> ''), 0) FROM message""",
                (now,),
            ).fetchone()
            states = dict(connection.execute("SELECT state, count(*) FROM recipient GROUP BY state"))
        return messages, octets, due, leased, {state.value: states.get(state.value, 0) for state in RecipientState}

    def damage(self) -> str:
        """What SQLite finds wrong with the file, "" where nothing is."""
        with self._reading() as connection:
            rows = [str(row[0]) for row in connection.execute("PRAGMA quick_check")]
        return "" if rows == ["ok"] else "; ".join(rows)


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def open_store(directory: Path | None, database: str | None) -> tuple[QueueStore, Contents]:
    """The places of a queue: states and octets.

    Args:
        directory: for SQLite and the content files, made with mode 0700 where it is missing.
        database: "postgresql://…" for the states; the octets stand beside them, or in the content files of the
            directory where there is one, which every machine must then see.

    Raises:
        OutputError: one cannot be made or opened, or the database is missing beside messages.
        ConfigError: it was made by a later version of mailpipe, or nothing can speak to the database.
        ValueError: there is neither directory nor database.
    """
    contents = None
    if directory is not None:
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if database is None:
                (directory / "owners").mkdir(mode=0o700, exist_ok=True)
            contents = Spool(directory / "content")
            if database is None:
                # In this order: whoever puts in the first message has made the database before.
                if next(contents.identifiers(), None) is not None and not (directory / "queue.db").exists():
                    raise OutputError(str(directory / "queue.db"), _GONE)
                store = Store(directory / "queue.db", contents.path)
            sync_directory(directory)
            sync_directory(directory.absolute().parent)
        except OSError as error:
            raise OutputError.from_os(str(error.filename or directory), error) from error
    if database is None:
        if contents is None:
            raise ValueError("a queue needs a directory or a database")
        return store, contents
    from mailpipe.queue.postgres_content import open_postgres  # psycopg is an extra and slow to import

    return open_postgres(database, contents)
