"""What a sender of mail must remember about TLS beyond its own life: MTA-STS policies (RFC 8461), counts (RFC 8460).

    with TlsState(Path("queue/state")) as state:
        state.keep(domain, ident, "enforce", hosts, max_age)      # on disk when it returns
        state.kept(domain)                              # policy, its ident, its age; None where none is kept
        state.count(TlsCount("example.net", "sts", "", "mx.example.net", 1, ("version: STSv1", …)))
        state.counts("2026-11-27")

One SQLite database in write-ahead mode, for several processes and threads. A policy outlives a power cut; a count
outlives the process, and a power cut may cost the last of them. Counts are kept for `KEPT_DAYS`.

Never here: what a policy says (`tls_policy`), reports (`tls_report`). What cannot be read or written later is told in
the log and forgotten: no mail waits for it.
"""

import fcntl
import json
import logging
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from mailpipe.durable import sync_directory
from mailpipe.errors import ConfigError, OutputError

KEPT_DAYS = 35
"""Days that counts are kept: reports are made daily, and a month can be looked back at."""
MAX_POLICIES = 100_000
"""LIMIT: policies that are kept; the one that was fetched first goes first."""
MAX_ROWS = 100_000
"""LIMIT: kinds of sessions that one day may have; what is one kind more is not counted."""
NAME = "tls.db"
_BUSY_SECONDS = 30.0
_VERSION = 1
_SCHEMA = (
    """CREATE TABLE policy (
        domain TEXT PRIMARY KEY, ident TEXT NOT NULL, mode TEXT NOT NULL, hosts TEXT NOT NULL, max_age INTEGER NOT NULL,
        fetched REAL NOT NULL
    ) WITHOUT ROWID""",
    "CREATE INDEX policy_fetched ON policy (fetched)",
    """CREATE TABLE session (
        day TEXT NOT NULL, domain TEXT NOT NULL, policy_type TEXT NOT NULL, policy TEXT NOT NULL, problem TEXT NOT NULL,
        host TEXT NOT NULL, sessions INTEGER NOT NULL,
        PRIMARY KEY (day, domain, policy_type, policy, problem, host)
    ) WITHOUT ROWID""",
)
_STATES: "weakref.WeakSet[TlsState]" = weakref.WeakSet()
_log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True, order=True)
class TlsCount:
    """How many sessions went one way.

    Attributes:
        domain: the recipients' domain.
        policy_type: "tlsa", "sts" or "no-policy-found".
        problem: what went wrong, "" where TLS came about as the policy asks.
        host: the exchanger, "" where it did not come to that.
        sessions: how many.
        policy: the lines of the policy, or the TLSA records, as a report shows them (RFC 8460 section 4.4).
    """

    domain: str
    policy_type: str
    problem: str
    host: str
    sessions: int
    policy: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KeptPolicy:
    """A policy as it was fetched once.

    Attributes:
        ident: of the DNS record that announced it.
        mode: "enforce", "testing" or "none".
        hosts: names of exchangers.
        max_age: seconds that it holds.
        age: seconds since it was fetched.
        stamp: tells one fetch from another.
    """

    ident: str
    mode: str
    hosts: tuple[str, ...]
    max_age: int
    age: float
    stamp: float = 0.0


class TlsState:
    """The memory of one sender.

    Args:
        directory: made with mode 0700 where it is missing.
        clock: seconds since the epoch.

    Raises:
        OutputError: it cannot be made or written, or is damaged.
        ConfigError: it was made by a later version of mailpipe.
    """

    def __init__(self, directory: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.path, self._clock = directory / NAME, clock
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        _STATES.add(self)
        try:
            _make(directory)
            self._opened()
        except sqlite3.Error as error:
            words = f"{error}; if it is damaged, move it away: policies are then fetched anew"
            raise OutputError(str(self.path), words) from error
        except OSError as error:
            raise OutputError.from_os(str(error.filename or directory), error) from error

    def __enter__(self) -> "TlsState":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the database; the next use opens it again."""
        with self._lock:
            self._let_go()

    def _let_go(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
        self._connection = None

    def keep(self, domain: str, ident: str, mode: str, hosts: tuple[str, ...], max_age: int) -> float:
        """Keep a policy that was just fetched, in place of an older one; on disk when this returns.

        Returns:
            the stamp of this fetch.
        """
        stamp = self._clock()
        row = (domain, ident, mode, json.dumps(hosts), max_age, stamp)

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("PRAGMA synchronous = FULL")
            with closing(connection.execute("INSERT OR REPLACE INTO policy VALUES (?, ?, ?, ?, ?, ?)", row)):
                pass

        self._do(write, None, f"the policy of {domain} is not kept")
        return stamp

    def kept(self, domain: str) -> KeptPolicy | None:
        """The policy of a domain, however old; None where there is none."""

        def read(connection: sqlite3.Connection) -> tuple[str, str, str, int, float] | None:
            found = connection.execute(
                "SELECT ident, mode, hosts, max_age, fetched FROM policy WHERE domain = ?", (domain,)
            ).fetchone()
            return None if found is None else tuple(found)

        row = self._do(read, None, f"the policy of {domain} cannot be read")
        if row is None:
            return None
        ident, mode, hosts, max_age, fetched = row
        # A clock that was set back must not make a policy younger than just fetched.
        return KeptPolicy(ident, mode, tuple(json.loads(hosts)), max_age, max(0.0, self._clock() - fetched), fetched)

    def count(self, one: TlsCount) -> None:
        """Add sessions to those of the present day, UTC."""
        day = datetime.fromtimestamp(self._clock(), UTC).date().isoformat()
        key = (day, one.domain, one.policy_type, json.dumps(one.policy), one.problem, one.host)

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("PRAGMA synchronous = NORMAL")  # survives us; a power cut may cost the last
            updated = connection.execute(
                "UPDATE session SET sessions = sessions + ? WHERE day = ? AND domain = ? AND policy_type = ? "
                "AND policy = ? AND problem = ? AND host = ?", (one.sessions, *key),
            )  # fmt: skip
            if not updated.rowcount:
                connection.execute(
                    "INSERT INTO session SELECT ?, ?, ?, ?, ?, ?, ? "
                    "WHERE (SELECT count(*) FROM session WHERE day = ?) < ? "
                    "ON CONFLICT DO UPDATE SET sessions = sessions + excluded.sessions",
                    (*key, one.sessions, day, MAX_ROWS),
                )

        self._do(write, None, "a session is not counted")

    def counts(self, day: str) -> tuple[TlsCount, ...]:
        """What was counted on a day ("2026-11-27", UTC), in order.

        Raises:
            OutputError: the database cannot be read.
        """
        try:
            with self._lock:
                rows = self._opened().execute(
                    "SELECT domain, policy_type, problem, host, sessions, policy FROM session WHERE day = ?", (day,)
                ).fetchall()
        except sqlite3.Error as error:
            raise OutputError(str(self.path), str(error)) from error
        return tuple(sorted(
            TlsCount(domain, policy_type, problem, host, sessions, tuple(json.loads(policy)))
            for domain, policy_type, problem, host, sessions, policy in rows
        ))  # fmt: skip

    def _do(self, work: Callable[[sqlite3.Connection], T], otherwise: T, words: str) -> T:
        try:
            with self._lock:
                return work(self._opened())
        except (sqlite3.Error, OSError, ConfigError) as error:
            _log.warning("%s: %s: %s", self.path, words, error)
            return otherwise

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            # Switching to the log waits for no busy timeout; openers take turns by this lock.
            turn = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(turn, fcntl.LOCK_EX)
                connection = sqlite3.connect(
                    self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
                )
                try:
                    self._prepare(connection)
                except BaseException:
                    connection.close()
                    raise
            finally:
                os.close(turn)
            self._connection = connection
        return self._connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN IMMEDIATE")
        try:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version > _VERSION:
                raise ConfigError(f"{self.path} was made by a later version of mailpipe; use that, or move it away")
            if version == 0:
                for statement in _SCHEMA:
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {_VERSION}")
            now = self._clock()
            oldest = (datetime.fromtimestamp(now, UTC) - timedelta(days=KEPT_DAYS)).date().isoformat()
            connection.execute("DELETE FROM session WHERE day < ?", (oldest,))
            connection.execute("DELETE FROM policy WHERE fetched + max_age < ?", (now,))
            too_many = "SELECT domain FROM policy ORDER BY fetched DESC LIMIT -1 OFFSET ?"
            connection.execute(f"DELETE FROM policy WHERE domain IN ({too_many})", (MAX_POLICIES,))
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")


# A connection does not survive a fork: each side opens its own behind it.
_forking: list[TlsState] = []


def _before_fork() -> None:
    for state in list(_STATES):
        state._lock.acquire()
        state._let_go()
        _forking.append(state)


def _after_fork() -> None:
    while _forking:
        _forking.pop()._lock.release()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)


def _make(directory: Path) -> None:
    """The directory and those above it that are missing, for nobody else to read, and on disk."""
    if directory.is_dir():
        return
    if not directory.parent.is_dir():
        _make(directory.parent)
    directory.mkdir(mode=0o700, exist_ok=True)
    sync_directory(directory.parent)
