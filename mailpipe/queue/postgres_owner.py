"""Who holds a lease, on any machine: a name with a lock on it that falls with the session that took it.

    owner = PostgresOwner(store.new_session, store.end_leases)
    owner.hold()                        # before it takes a message: the lock stands, or is taken anew
    is_locked(connection, name)         # False within moments after its process was killed

The session does nothing but hold the lock (`pg_advisory_lock`), and the server notices its end by itself: at once where
a process dies, after some twenty seconds where a machine does. A deliverer whose session was cut off takes nothing
until it stands again; what it had in hand others may have by then, and each of its leases says so.

Never here: leases themselves; those are rows of the store.
"""

import contextlib
import os
import select
import weakref
from collections.abc import Callable

import psycopg

from mailpipe.errors import EX_TEMPFAIL, OutputError
from mailpipe.queue.postgres_connection import Connection, only_row

# The server's own watch over a machine that is gone without a word; on a local socket they say nothing.
_WATCH = {"tcp_keepalives_idle": "10s", "tcp_keepalives_interval": "5s", "tcp_keepalives_count": "2"}

_owners: "weakref.WeakSet[PostgresOwner]" = weakref.WeakSet()


class PostgresOwner:
    """One holder of leases; made once for each queue object and process.

    Args:
        connect: makes a session of its own.
        end_leases: lets what a name holds expire at once.

    Attributes:
        name: letters and digits, never used again.

    Raises:
        OutputError: the database cannot be reached.
    """

    def __init__(self, connect: Callable[[], Connection], end_leases: Callable[[str], None]) -> None:
        self.name, self._pid = os.urandom(8).hex(), os.getpid()
        self._connect, self._end_leases = connect, end_leases
        self._session: Connection | None = None
        _owners.add(self)
        self.hold()

    @property
    def is_ours(self) -> bool:
        """Whether this is still the process that made it; a fork is another process."""
        return self._pid == os.getpid()

    def hold(self) -> None:
        """Make sure that the lock stands.

        Raises:
            OutputError: it does not, and cannot be taken now.
        """
        if self._session is not None and _is_up(self._session):
            return
        self._drop()
        session = self._connect()
        try:
            for name, value in _WATCH.items():
                session.execute("SELECT set_config(%s, %s, FALSE)", (name, value))
            session.execute(
                "SELECT set_config(name, '0', FALSE) FROM pg_settings WHERE name = 'idle_session_timeout'"
            )
            is_taken = only_row(session.execute("SELECT pg_try_advisory_lock(%s)", (_key(self.name),)))[0]
        except psycopg.Error as error:
            session.close()
            words = f"the lock of this process could not be taken ({error}); try again later"
            trouble = OutputError("the queue's database", " ".join(words.split()))
            trouble.exit_code = EX_TEMPFAIL
            raise trouble from error
        if not is_taken:
            # Our own session before this one, whose end the server has not noticed yet: it still speaks for us.
            session.close()
            return
        self._session = session

    def close(self) -> None:
        """End what it still holds, as far as the database can be reached; a fork only forgets it."""
        if self.is_ours:
            with contextlib.suppress(OutputError):
                self._end_leases(self.name)
            self._drop()

    def _drop(self) -> None:
        if self._session is not None:
            with contextlib.suppress(psycopg.Error):
                self._session.close()
            self._session = None

    def forget(self) -> None:
        """In a fork: let go of the session without a word, so that it ends with its process and not with this one."""
        if self._session is not None:
            with contextlib.suppress(OSError, psycopg.Error):
                os.close(self._session.fileno())


def _key(name: str) -> int:
    return int.from_bytes(bytes.fromhex(name), "big", signed=True)


def is_locked(connection: Connection, name: str) -> bool:
    """Whether a session of this database holds the name."""
    try:
        high, low = divmod(int(name, 16), 1 << 32)
    except ValueError:
        return False
    row = connection.execute(
        """SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1
           AND classid = %s::bigint::oid AND objid = %s::bigint::oid
           AND database = (SELECT oid FROM pg_database WHERE datname = current_database())""",
        (high, low),
    ).fetchone()
    return row is not None


def _is_up(session: Connection) -> bool:
    """Whether the session stands, as far as can be told without a question: nobody has closed it."""
    try:
        if not select.select([session.fileno()], [], [], 0)[0]:
            return True
        session.pgconn.consume_input()
        return not select.select([session.fileno()], [], [], 0)[0]
    except (OSError, ValueError, psycopg.Error):
        return False


def _forget_all() -> None:
    for owner in list(_owners):
        owner.forget()


os.register_at_fork(after_in_child=_forget_all)
