"""A connection to PostgreSQL that is made when it is needed, made anew when it broke, and knows the database's time.

    class PostgresStore(PostgresConnection): ...
    with store._writing() as connection: connection.execute("…")

It makes the tables where they are missing, in the schema "mailpipe" or in the one that the connection string names
(`?options=-csearch_path%3Dother`), so that one database can hold several queues.

Never here: what stands in the tables.
"""

import contextlib
import errno
import logging
import os
import time
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

from mailpipe.errors import EX_TEMPFAIL, ConfigError, OutputError
from mailpipe.queue.commit import AlreadyThere, SharedCommits

try:
    import psycopg
    from psycopg.conninfo import conninfo_to_dict, make_conninfo
    from psycopg.pq import TransactionStatus
except ImportError as error:
    raise ConfigError(
        f"a queue on PostgreSQL needs the package psycopg ({error}); pip install 'mailpipe[postgres]'"
    ) from error

Connection = psycopg.Connection[tuple[Any, ...]]

_log = logging.getLogger(__name__)
_SCHEMA = "mailpipe"
_STATEMENT_SECONDS = 60
_CLOCK_SECONDS = 60.0  # how often the database is asked for the time
_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # goes on while the machine sleeps
_TURN = 0x6D61_696C_7069_7065  # whoever makes the tables holds this lock
# A server that is gone without a word is noticed within a minute; whatever the connection string says goes before.
_DEFAULTS = {
    "application_name": "mailpipe", "connect_timeout": "10", "keepalives_idle": "30", "keepalives_interval": "10",
    "keepalives_count": "3", "tcp_user_timeout": "30000",
}  # fmt: skip

# Entry n brings the schema from version n to n + 1; entries are added, never changed.
_MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE version (number INTEGER NOT NULL)",
        "INSERT INTO version VALUES (0)",
        """CREATE TABLE message (
            number BIGINT GENERATED ALWAYS AS IDENTITY, id TEXT PRIMARY KEY, sender TEXT NOT NULL,
            origin TEXT NOT NULL, route TEXT NOT NULL, created DOUBLE PRECISION NOT NULL,
            since DOUBLE PRECISION NOT NULL, size BIGINT NOT NULL, digest TEXT NOT NULL,
            next_try DOUBLE PRECISION, lease TEXT NOT NULL DEFAULT '', leased_until DOUBLE PRECISION
        )""",
        """CREATE TABLE recipient (
            message TEXT NOT NULL REFERENCES message(id) ON DELETE CASCADE, position INTEGER NOT NULL,
            forward_path TEXT, state TEXT NOT NULL, attempts INTEGER NOT NULL, next_try DOUBLE PRECISION, status TEXT,
            diagnostic TEXT NOT NULL, changed DOUBLE PRECISION NOT NULL, is_attempted INTEGER NOT NULL,
            PRIMARY KEY (message, position)
        )""",
        "CREATE TABLE gone (id TEXT PRIMARY KEY, at DOUBLE PRECISION NOT NULL)",
        # Pieces of a large message are there before its row; nothing refers to it.
        """CREATE TABLE content (
            message TEXT NOT NULL, position INTEGER NOT NULL, octets BYTEA NOT NULL,
            written DOUBLE PRECISION NOT NULL DEFAULT extract(epoch FROM clock_timestamp()),
            PRIMARY KEY (message, position)
        )""",
        "ALTER TABLE content ALTER octets SET STORAGE EXTERNAL",
        "CREATE INDEX message_due ON message (next_try, number) WHERE lease = ''",
        "CREATE INDEX message_number ON message (number)",
        "CREATE INDEX message_leased ON message (leased_until) WHERE lease <> ''",
        "CREATE INDEX gone_at ON gone (at)",
    ),
)


class PostgresConnection(SharedCommits[Connection]):
    """One connection for the threads of a process.

    Args:
        database: a connection string of libpq, "postgresql://user@host/name".

    Raises:
        OutputError: it cannot be reached or written.
        ConfigError: the string has another form, or the tables were made by a later version of mailpipe.
    """

    def __init__(self, database: str) -> None:
        try:
            given = conninfo_to_dict(database)
        except psycopg.ProgrammingError:
            # Neither the string nor libpq's words about it: they may hold a password.
            words = "the queue's database: not a connection string of libpq; expected postgresql://user@host/name"
            raise ConfigError(words) from None
        host = given.get("host") or given.get("hostaddr") or "localhost"
        port = f":{given['port']}" if given.get("port") else ""
        super().__init__(f"postgresql://{host}{port}/{given.get('dbname') or ''}")
        options: dict[str, Any] = {**_DEFAULTS, **given}
        self._conninfo = make_conninfo(**options)
        self._connection: Connection | None = None
        # commits that may have happened though `add` said no: their moment, and what was to be known as gone
        self._unpromised: dict[str, tuple[float, tuple[str, ...]]] = {}
        self._clock: tuple[float, float] | None = None  # the database's moment, and ours of the same instant
        with self._lock:
            self._open()

    @abstractmethod
    def _forget_all(self, connection: Connection) -> None:
        """Delete what may have been committed though it was not promised."""

    def clock(self) -> float:
        """The database's clock, asked once a minute and counted on from there.

        Raises:
            OutputError: it was never reached.
        """
        with self._lock:
            ours = time.clock_gettime(_BOOT_CLOCK)
            if self._clock is None or ours - self._clock[1] > _CLOCK_SECONDS:
                try:
                    with self._reading() as connection:
                        query = "SELECT extract(epoch FROM clock_timestamp())::float8"
                        self._clock = (float(only_row(connection.execute(query))[0]), ours)
                except OutputError:
                    if self._clock is None:
                        raise
            moment, then = self._clock
            return moment + ours - then

    def _open(self) -> Connection:
        if self._connection is not None and not self._connection.closed:
            return self._connection
        connection = None
        try:
            connection = psycopg.connect(self._conninfo, autocommit=True)
            self._prepare(connection)
            if self._unpromised:
                with connection.transaction():
                    self._forget_all(connection)
                self._unpromised.clear()
        except BaseException as error:
            if connection is not None:
                connection.close()
            if isinstance(error, psycopg.Error):
                raise self._trouble(error) from error
            raise
        self._connection = connection
        return connection

    def new_session(self) -> Connection:
        """Another connection, for a lock that stands as long as it does.

        Raises:
            OutputError: the database cannot be reached.
        """
        try:
            return psycopg.connect(self._conninfo, autocommit=True)
        except psycopg.Error as error:
            raise self._trouble(error) from error

    def _prepare(self, connection: Connection) -> None:
        row = connection.execute("SELECT setting, source FROM pg_settings WHERE name = 'search_path'").fetchone()
        schema = str(row[0]) if row and row[1] == "client" else _SCHEMA
        if only_row(connection.execute("SELECT to_regnamespace(%s)", (schema,)))[0] is None:
            with contextlib.suppress(psycopg.errors.UniqueViolation):  # two made it at the same moment
                connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
        connection.execute("SELECT set_config('search_path', %s, FALSE)", (schema,))
        # A machine that falls off the net in the middle of a transaction gives back what it had locked.
        for limit in ("statement_timeout", "idle_in_transaction_session_timeout"):
            connection.execute("SELECT set_config(%s, %s, FALSE)", (limit, f"{_STATEMENT_SECONDS}s"))
        # "remote_apply" and such promise more than "on" and stay; less is not enough.
        connection.execute(
            """SELECT set_config('synchronous_commit', 'on', FALSE)
               WHERE current_setting('synchronous_commit') IN ('off', 'local')"""
        )
        if only_row(connection.execute("SHOW fsync"))[0] != "on":
            _log.warning("%s runs with fsync = off: a power cut can lose mail that was accepted", self.place)
        self._migrate(connection)

    def _migrate(self, connection: Connection) -> None:
        if self._version(connection) == len(_MIGRATIONS):
            return
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_TURN,))
            version = self._version(connection)
            if version > len(_MIGRATIONS):
                words = f"made by a later version of mailpipe (schema {version}); upgrade mailpipe"
                raise ConfigError(f"{self.place}: {words}")
            for number, statements in enumerate(_MIGRATIONS[version:], version + 1):
                for statement in statements:
                    connection.execute(statement)
                connection.execute("UPDATE version SET number = %s", (number,))

    @staticmethod
    def _version(connection: Connection) -> int:
        # Not by a failing SELECT, which would end the transaction, nor by to_regclass, which remembers what it did not
        # find while somebody else made it.
        query = "SELECT 1 FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'version'"
        if connection.execute(query).fetchone() is None:
            return 0
        return int(only_row(connection.execute("SELECT number FROM version"))[0])

    def close(self) -> None:
        """Close the connection; the next use opens it again."""
        with self._lock:
            if self._connection is not None:
                connection, self._connection = self._connection, None
                with contextlib.suppress(psycopg.Error):
                    connection.close()

    def _trouble(self, error: psycopg.Error) -> OutputError:
        state, words = error.sqlstate or "", _words(error)
        if isinstance(error, psycopg.errors.UniqueViolation):
            return AlreadyThere(self.place, f"a message of this id is in the queue already ({words})")
        # The server has a state of its own for ENOSPC only; its words about the other are the system's.
        if state == "53100" or os.strerror(errno.EDQUOT) in words:
            return OutputError(self.place, f"the disk of the database is full: {words}", is_full=True)
        if state in ("XX001", "XX002"):
            return OutputError(self.place, f"the database is damaged: {words}; restore it from a backup")
        if state in ("42501", "28000", "28P01"):
            return OutputError(self.place, f"not allowed: {words}; check user, password and rights on the schema")
        trouble = OutputError(self.place, f"cannot read or write the queue: {words}")
        if state == "25006":
            trouble = OutputError(self.place, f"takes no writes ({words}); is it a standby? try again later")
        elif state in ("40001", "40P01", "55P03", "57014"):
            trouble = OutputError(self.place, f"others kept the queue busy for too long ({words}); try again later")
        elif state[:2] in ("", "08", "53", "57") and isinstance(error, psycopg.OperationalError):
            trouble = OutputError(self.place, f"the database does not answer ({words}); try again later")
        else:
            return trouble
        trouble.exit_code = EX_TEMPFAIL
        return trouble

    def _begin(self, words: str) -> Connection:
        connection = self._open()
        try:
            connection.execute(words)
        except psycopg.OperationalError:
            if not connection.closed:
                raise
            # The server was restarted while nobody asked it anything: nothing has been begun that could be lost.
            self.close()
            connection = self._open()
            connection.execute(words)
        return connection

    @contextlib.contextmanager
    def _transaction(self, words: str) -> Iterator[Connection]:
        with self._lock:
            try:
                connection = self._begin(words)
                try:
                    yield connection
                    connection.execute("COMMIT")
                except BaseException:
                    self._roll_back(connection)
                    raise
            except psycopg.Error as error:
                raise self._trouble(error) from error

    def _roll_back(self, connection: Connection) -> None:
        if connection.info.transaction_status in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
            with contextlib.suppress(psycopg.Error):
                connection.execute("ROLLBACK")
        if connection.info.transaction_status is not TransactionStatus.IDLE:
            # Interrupted in the middle of a statement, or cut off: nobody knows what it would answer next.
            self.close()

    def _reading(self) -> contextlib.AbstractContextManager[Connection]:
        # One snapshot: a message and its recipients are read by two statements.
        return self._transaction("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")

    def _writing(self) -> contextlib.AbstractContextManager[Connection]:
        return self._transaction("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")


def only_row(cursor: "psycopg.Cursor[tuple[Any, ...]]") -> tuple[Any, ...]:
    """The one row of an answer that always has one."""
    row = cursor.fetchone()
    assert row is not None
    return row


def _words(error: psycopg.Error) -> str:
    return " ".join(str(error).split()) or type(error).__name__
