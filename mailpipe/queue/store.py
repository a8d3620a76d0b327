"""The states of the queue in SQLite: one row a message, one row a recipient, leases, and ids that are gone.

    store.add(entry)                                    # durable when it returns
    entry = store.take(lease, until, now)               # UPDATE … RETURNING: one process gets it
    store.change(entry.id, lambda current: ...)         # read, decide, write in one transaction

Write-ahead log with synchronous=FULL: a transaction that was committed outlives a power cut. Several threads that add
at the same time share one commit. Connections do not survive a fork; they are closed before it and opened after it.

Never here: content files, schedules, and what a result means; `decide` is the caller's.
"""

import contextlib
import errno
import fcntl
import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from mailpipe.errors import ConfigError, OutputError
from mailpipe.queue.entry import (
    Entry,
    Recipient,
    RecipientState,
    forward_path_text,
    read_forward_path,
    read_sender,
    sender_text,
)
from mailpipe.status import EnhancedStatus

_BUSY_SECONDS = 60.0
_REMEMBERED = 7 * 86400.0  # how long the ids of settled messages are known

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

_MESSAGE = "id, sender, origin, route, created, since, size, digest, lease, leased_until"
_RECIPIENT = "position, forward_path, state, attempts, next_try, status, diagnostic, changed, is_attempted"
_PAGE = 200

_stores: "weakref.WeakSet[Store]" = weakref.WeakSet()


def _printable(text: str) -> str:
    # SQLite keeps UTF-8 only; octets that were none are shown by number.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


class _Arrival:
    """One message that waits for a shared commit."""

    def __init__(self, entry: Entry) -> None:
        self.entry, self.is_done = entry, False
        self.error: OutputError | None = None


class Store:
    """The database of one queue.

    Args:
        path: the database file; made where it is missing.
        content: the path of a message's content file.

    Raises:
        OutputError: it cannot be opened or written, or is damaged.
        ConfigError: it was made by a later version of mailpipe.
    """

    def __init__(self, path: Path, content: Callable[[str], Path]) -> None:
        self.path, self._content = path, content
        self._lock = threading.RLock()
        self._arriving = threading.Lock()  # taken after _lock where both are
        self._arrivals: list[_Arrival] = []
        self._connection: sqlite3.Connection | None = None
        with self._lock:
            self._open()
        _stores.add(self)

    # -- connection ---------------------------------------------------------------------------------------------

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None:
            return self._connection
        connection = None
        try:
            # Switching to the log and making tables wait for no busy timeout; openers take turns by this lock.
            turn = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(turn, fcntl.LOCK_EX)
                connection = sqlite3.connect(
                    self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
                )
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("PRAGMA foreign_keys = ON")
                self._migrate(connection)
            finally:
                os.close(turn)
        except sqlite3.Error as error:
            if connection is not None:
                connection.close()
            raise self._trouble(error) from error
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

    def close(self) -> None:
        """Close the connection; the next use opens it again."""
        with self._lock:
            if self._connection is not None:
                connection, self._connection = self._connection, None
                with contextlib.suppress(sqlite3.Error):
                    connection.close()

    def _trouble(self, error: sqlite3.Error) -> OutputError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            return OutputError.from_os(str(self.path), OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            remedy = "`mailpipe queue doctor --rebuild` makes a new one from the content files"
            return OutputError(str(self.path), f"the database is damaged: {error}; {remedy}")
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return OutputError(str(self.path), "another process kept the queue busy for too long; try again")
        return OutputError(str(self.path), f"cannot read or write the queue: {error}")

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._open()
            except sqlite3.Error as error:
                raise self._trouble(error) from error

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._reading() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    with contextlib.suppress(sqlite3.Error):
                        connection.execute("ROLLBACK")
                raise

    # -- rows ---------------------------------------------------------------------------------------------------

    def _entry(self, connection: sqlite3.Connection, row: tuple[Any, ...]) -> Entry:
        (identifier, sender, origin, route, created, since, size, digest, lease, leased_until) = row
        rows = connection.execute(
            f"SELECT {_RECIPIENT} FROM recipient WHERE message = ? ORDER BY position", (identifier,)
        )
        recipients = tuple(
            Recipient(
                position, read_forward_path(path), RecipientState(state), attempts, next_try,
                EnhancedStatus.parse(status) if status else None, diagnostic, changed, bool(is_attempted),
            )
            for position, path, state, attempts, next_try, status, diagnostic, changed, is_attempted in rows
        )
        return Entry(
            identifier, read_sender(sender), recipients, origin, route, created, since, size, digest,
            self._content(identifier), lease, leased_until,
        )

    def _write_recipients(
        self, connection: sqlite3.Connection, identifier: str, recipients: Iterable[Recipient]
    ) -> None:
        connection.executemany(
            f"INSERT OR REPLACE INTO recipient (message, {_RECIPIENT}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    identifier, recipient.position, forward_path_text(recipient.forward_path), recipient.state.value,
                    recipient.attempts, recipient.next_try if recipient.state.is_live else None,
                    str(recipient.status) if recipient.status else None, _printable(recipient.diagnostic),
                    recipient.changed, int(recipient.is_attempted),
                )
                for recipient in recipients
            ],
        )

    # -- putting in and taking out ------------------------------------------------------------------------------

    def add(self, entry: Entry) -> None:
        """Record a message; durable when it returns.

        Raises:
            OutputError: it could not be recorded, and is not.
        """
        arrival = _Arrival(entry)
        with self._arriving:
            self._arrivals.append(arrival)
        try:
            with self._lock:
                # Whoever had the lock before may have committed this one too.
                if not arrival.is_done:
                    self._add_all()
        except BaseException:
            self._withdraw(arrival)
            raise
        if arrival.error:
            raise arrival.error

    def _add_all(self) -> None:
        with self._arriving:
            arrivals, self._arrivals = self._arrivals, []
        error = OutputError(str(self.path), "interrupted before the message was recorded; try again")
        is_committed = False
        try:
            with self._writing() as connection:
                for arrival in arrivals:
                    self._insert(connection, arrival.entry)
            is_committed = True
        except OutputError as trouble:
            error = trouble
        finally:
            for arrival in arrivals:
                if not is_committed:
                    arrival.error = error
                    # A commit that failed may have reached the disk; what was not promised must not stay.
                    with contextlib.suppress(OutputError):
                        self.forget(arrival.entry.id, arrival.entry.created)
                arrival.is_done = True

    def _withdraw(self, arrival: _Arrival) -> None:
        with self._lock, self._arriving:
            if arrival in self._arrivals:
                self._arrivals.remove(arrival)
                return
        with contextlib.suppress(OutputError):
            self.forget(arrival.entry.id, arrival.entry.created)

    def _insert(self, connection: sqlite3.Connection, entry: Entry) -> None:
        connection.execute(
            f"INSERT INTO message ({_MESSAGE}, next_try) VALUES (?, ?, ?, ?, ?, ?, ?, ?, '', NULL, ?)",
            (
                entry.id, sender_text(entry.sender), _printable(entry.origin), _printable(entry.route),
                entry.created, entry.since, entry.size, entry.digest, entry.next_try,
            ),
        )
        self._write_recipients(connection, entry.id, entry.recipients)

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
        with self._writing() as connection:
            row = connection.execute(
                f"""UPDATE message SET lease = ?, leased_until = ? WHERE id = (
                        SELECT id FROM message WHERE next_try <= ? AND next_try IS NOT NULL AND lease = ''
                        AND (? IS NULL OR route = ?) ORDER BY next_try, rowid LIMIT 1
                    ) RETURNING {_MESSAGE}""",
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

    def change(self, identifier: str, decide: Callable[[Entry], Entry | None], now: float) -> Entry | None:
        """Read a message, let `decide` make another of it, and write that; all or nothing.

        A message whose recipients are all delivered, or for which `decide` gives None, is deleted and its id is kept
        among those that are gone: its content file may then be removed.

        Returns:
            the message as decided; None where there is none of that id or `decide` gave None.

        Raises:
            OutputError: the database cannot be written; nothing was changed.
        """
        with self._writing() as connection:
            row = connection.execute(f"SELECT {_MESSAGE} FROM message WHERE id = ?", (identifier,)).fetchone()
            if row is None:
                return None
            before = self._entry(connection, row)
            after = decide(before)
            if after is None or all(one.state is RecipientState.DELIVERED for one in after.recipients):
                connection.execute("DELETE FROM message WHERE id = ?", (identifier,))
                connection.execute("INSERT OR REPLACE INTO gone VALUES (?, ?)", (identifier, now))
                connection.execute("DELETE FROM gone WHERE at < ?", (now - _REMEMBERED,))
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
        with self._reading() as connection:
            row = connection.execute(f"SELECT {_MESSAGE} FROM message WHERE id = ?", (identifier,)).fetchone()
            return self._entry(connection, row) if row else None

    def entries(self, condition: str = "1", values: tuple[Any, ...] = ()) -> Iterator[Entry]:
        """All messages that meet an SQL condition of this package's own, by arrival, read page by page."""
        last = -1
        while True:
            with self._reading() as connection:
                rows = connection.execute(
                    f"""SELECT {_MESSAGE}, rowid FROM message WHERE rowid > ? AND ({condition})
                        ORDER BY rowid LIMIT {_PAGE}""",
                    (last, *values),
                ).fetchall()
                page = [self._entry(connection, row[:-1]) for row in rows]
            yield from page
            if len(page) < _PAGE:
                return
            last = rows[-1][-1]

    def leases(self, now: float) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        """(id, lease) of those that have expired, and of those that have not."""
        with self._reading() as connection:
            rows = connection.execute("SELECT id, lease, leased_until FROM message WHERE lease <> ''").fetchall()
        expired = [(identifier, lease) for identifier, lease, until in rows if until <= now]
        return expired, [(identifier, lease) for identifier, lease, until in rows if until > now]

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
        with self._reading() as connection:
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


# SQLite's locks belong to a process and its connections must not be seen by two; each side opens its own after a fork.
_forking: list[Store] = []


def _before_fork() -> None:
    for store in list(_stores):
        store._lock.acquire()
        _forking.append(store)
        store.close()


def _after_fork(*, is_child: bool = False) -> None:
    while _forking:
        store = _forking.pop()
        if is_child:
            # The threads that wait for these, and whoever held this lock, live in the parent.
            store._arrivals, store._arriving = [], threading.Lock()
        store._lock.release()


os.register_at_fork(
    before=_before_fork, after_in_parent=_after_fork, after_in_child=lambda: _after_fork(is_child=True)
)
