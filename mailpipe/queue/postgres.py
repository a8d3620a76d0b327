"""The states of the queue in PostgreSQL, for several machines that work one queue: the same rows as in SQLite.

    store = PostgresStore("postgresql://mail@db.example.net/mail", contents)
    store.add(entry)                                    # durable when it returns
    entry = store.take(lease, until, now)               # FOR UPDATE SKIP LOCKED: one holder gets it

A transaction that was committed outlives a crash of the server (synchronous_commit is never less than "on"). Whoever
holds leases is known to live by a lock of his session (`postgres_owner`); moments are those of the database's clock.

Never here: schedules, and what a result means; `decide` is the caller's.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from mailpipe.errors import OutputError
from mailpipe.queue.commit import Arrival
from mailpipe.queue.entry import Content, Entry, Recipient, RecipientState
from mailpipe.queue.postgres_connection import Connection, PostgresConnection, only_row
from mailpipe.queue.postgres_owner import PostgresOwner, is_locked
from mailpipe.queue.rows import (
    MESSAGE,
    RECIPIENT,
    REMEMBERED,
    entry_of,
    expired_and_standing,
    message_values,
    recipient_values,
)

_PAGE = 200


class PostgresStore(PostgresConnection):
    """The database of one queue.

    Args:
        database: a connection string of libpq, "postgresql://user@host/name".
        contents: makes the content of an id.
        keeps_content: the octets stand in this database, too, and go with their message.

    Raises:
        OutputError: it cannot be reached or written.
        ConfigError: the string has another form, or the tables were made by a later version of mailpipe.
    """

    def __init__(self, database: str, contents: Callable[[str], Content], *, keeps_content: bool) -> None:
        self._content, self._keeps_content = contents, keeps_content
        self._pieces: dict[str, tuple[int, bytes]] = {}
        super().__init__(database)

    # -- owners -------------------------------------------------------------------------------------------------

    def new_owner(self) -> PostgresOwner:
        """A name for leases, whose lock falls with its session.

        Raises:
            OutputError: the database cannot be reached.
        """
        return PostgresOwner(self.new_session, self.end_leases)

    def is_alive(self, name: str) -> bool:
        """Whether the session that holds this name still stands, on whichever machine.

        Raises:
            OutputError: the database cannot be read.
        """
        with self._reading() as connection:
            return is_locked(connection, name)

    def sweep(self) -> None:
        """Nothing: owners leave nothing behind."""

    def admit(self) -> None:
        """Nothing: the server says where its disk is full."""

    def end_leases(self, owner: str) -> None:
        """Let the leases of an owner expire now.

        Raises:
            OutputError: the database cannot be written.
        """
        with self._writing() as connection:
            connection.execute(
                "UPDATE message SET leased_until = 0 WHERE lease <> '' AND starts_with(lease, %s)", (owner + "/",)
            )

    # -- rows ---------------------------------------------------------------------------------------------------

    def _entries(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> list[Entry]:
        recipients: dict[str, list[tuple[Any, ...]]] = {row[0]: [] for row in rows}
        for one in connection.execute(
            f"SELECT message, {RECIPIENT} FROM recipient WHERE message = ANY(%s) ORDER BY message, position",
            (list(recipients),),
        ):
            recipients[one[0]].append(one[1:])
        return [entry_of(row, recipients[row[0]], self._content) for row in rows]

    def _write_recipients(self, connection: Connection, identifier: str, recipients: Iterable[Recipient]) -> None:
        columns = RECIPIENT.split(", ")
        changes = ", ".join(f"{column} = excluded.{column}" for column in columns[1:])
        with connection.cursor() as cursor:
            cursor.executemany(
                f"""INSERT INTO recipient (message, {RECIPIENT}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
                    ON CONFLICT (message, position) DO UPDATE SET {changes}""",
                [_without_nul(recipient_values(identifier, recipient)) for recipient in recipients],
            )

    # -- putting in and taking out ------------------------------------------------------------------------------

    def _insert(self, connection: Connection, entry: Entry, marks: Sequence[str] = ()) -> None:
        connection.execute(
            """INSERT INTO message (id, sender, origin, route, created, since, size, digest, next_try)
               VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)""",
            _without_nul(message_values(entry)),
        )
        self._write_recipients(connection, entry.id, entry.recipients)
        if (piece := self._pieces.get(entry.id)) is not None:
            self._write_piece(connection, entry.id, *piece)
        for mark in marks:
            self._mark(connection, mark, entry.created)

    def _disown(self, arrivals: Sequence[Arrival]) -> None:
        with self._lock:
            self._unpromised |= {one.entry.id: (one.entry.created, tuple(one.marks)) for one in arrivals}
            # Where this fails, too, the next connection does it first of all.
            with contextlib.suppress(OutputError):
                with self._writing() as connection:
                    self._forget_all(connection)
                self._unpromised.clear()

    def _forget_all(self, connection: Connection) -> None:
        for identifier, (created, marks) in self._unpromised.items():
            if not self._is_free(connection, identifier):
                connection.execute("DELETE FROM gone WHERE id = ANY(%s)", (list(marks),))
            self._delete(connection, identifier, created)

    def has_come(self, identifier: str) -> bool | None:
        """Whether an arrival of a `change` that raised was recorded after all; None where nobody can say now."""
        try:
            with self._writing() as connection:
                if is_free := self._is_free(connection, identifier):
                    connection.execute("DELETE FROM message WHERE id = %s", (identifier,))
                return not is_free
        except OutputError:
            return None

    @staticmethod
    def _is_free(connection: Connection, identifier: str) -> bool:
        """Whether there was no message of this id; now there is an empty one."""
        # A server that still commits what was thought lost holds the id; this insertion waits for it.
        made = connection.execute(
            """INSERT INTO message (id, sender, origin, route, created, since, size, digest)
               VALUES (%s, '', '', '', 0, 0, 0, '') ON CONFLICT (id) DO NOTHING""",
            (identifier,),
        )
        return made.rowcount == 1

    def forget(self, identifier: str, now: float = 0.0) -> None:
        """Delete a message, also one whose commit has not been heard of, and keep its id among those that are gone.

        Raises:
            OutputError: the database cannot be written; the next connection tries it again.
        """
        with self._lock:
            self._unpromised[identifier] = (now, ())
            with self._writing() as connection:
                self._forget_all(connection)
            self._unpromised.clear()

    def _delete(self, connection: Connection, identifier: str, now: float) -> None:
        connection.execute("DELETE FROM message WHERE id = %s", (identifier,))
        if self._keeps_content:
            connection.execute("DELETE FROM content WHERE message = %s", (identifier,))
        self._mark(connection, identifier, now)

    @staticmethod
    def _mark(connection: Connection, identifier: str, now: float) -> None:
        connection.execute(
            "INSERT INTO gone VALUES (%s, %s) ON CONFLICT (id) DO UPDATE SET at = excluded.at", (identifier, now)
        )

    def take(self, lease: str, until: float, now: float, *, route: str | None, is_attempt: bool) -> Entry | None:
        """Lease the message that has been due longest and that nobody else is taking; None where none is due.

        Args:
            lease: the new holder, a name never used before.
            until: when the lease ends.
            now: what is due at this moment counts as due.
            route: only messages of this route; None for all.
            is_attempt: record with the lease that an attempt begins.

        Raises:
            OutputError: the database cannot be written.
        """
        columns = ", ".join(f"message.{column}" for column in MESSAGE.split(", "))
        with self._writing() as connection:
            rows = connection.execute(
                f"""WITH chosen AS MATERIALIZED (
                        SELECT id FROM message WHERE next_try <= %s AND lease = '' AND (%s::text IS NULL OR route = %s)
                        ORDER BY next_try, number LIMIT 1 FOR UPDATE SKIP LOCKED
                    ) UPDATE message SET lease = %s, leased_until = %s FROM chosen WHERE message.id = chosen.id
                    RETURNING {columns}""",
                (now, route, route, lease, until),
            ).fetchall()
            if not rows:
                return None
            entry = self._entries(connection, rows)[0]
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
        among those that are gone.

        Returns:
            the message as decided; None where there is none of that id or `decide` gave None.

        Raises:
            OutputError: the database cannot be written; nothing was changed.
        """
        with self._writing() as connection:
            rows = connection.execute(
                f"SELECT {MESSAGE} FROM message WHERE id = %s FOR UPDATE", (_nul_free(identifier),)
            ).fetchall()
            if not rows:
                return None
            before = self._entries(connection, rows)[0]
            after = decide(before)
            for arrival in arrivals:
                self._insert(connection, arrival)
            if after is None or all(one.state is RecipientState.DELIVERED for one in after.recipients):
                self._delete(connection, identifier, now)
                connection.execute("DELETE FROM gone WHERE at < %s", (now - REMEMBERED,))
            elif after != before:
                changed = [new for old, new in zip(before.recipients, after.recipients, strict=True) if old != new]
                self._write_recipients(connection, identifier, changed)
                connection.execute(
                    "UPDATE message SET since = %s, next_try = %s, lease = %s, leased_until = %s WHERE id = %s",
                    (after.since, after.next_try, after.lease, after.leased_until, identifier),
                )
            return after

    def bring_forward(self, now: float, route: str | None) -> int:
        """Make everything that waits for a later moment due now; how many messages that changed."""
        with self._writing() as connection:
            # The messages first and in order, as everybody else does: nobody waits in a circle.
            ids = [
                row[0]
                for row in connection.execute(
                    """SELECT id FROM message WHERE (%s::text IS NULL OR route = %s)
                       AND id IN (SELECT message FROM recipient WHERE next_try > %s) ORDER BY number FOR UPDATE""",
                    (route, route, now),
                )
            ]
            connection.execute(
                "UPDATE recipient SET next_try = %s WHERE next_try > %s AND message = ANY(%s)", (now, now, ids)
            )
            return connection.execute(
                "UPDATE message SET next_try = %s WHERE next_try > %s AND id = ANY(%s)", (now, now, ids)
            ).rowcount

    # -- looking ------------------------------------------------------------------------------------------------

    def get(self, identifier: str) -> Entry | None:
        """One message, None where there is none of that id."""
        with self._reading() as connection:
            rows = connection.execute(
                f"SELECT {MESSAGE} FROM message WHERE id = %s", (_nul_free(identifier),)
            ).fetchall()
            return self._entries(connection, rows)[0] if rows else None

    def entries(self, condition: str = "TRUE", values: tuple[Any, ...] = ()) -> Iterator[Entry]:
        """All messages that meet an SQL condition of this package's own, by arrival, read page by page."""
        last = -1
        while True:
            with self._reading() as connection:
                rows = connection.execute(
                    f"""SELECT {MESSAGE}, number FROM message WHERE number > %s AND ({condition.replace("?", "%s")})
                        ORDER BY number LIMIT {_PAGE}""",
                    (last, *values),
                ).fetchall()
                page = self._entries(connection, [row[:-1] for row in rows])
            yield from page
            if len(rows) < _PAGE:
                return
            last = rows[-1][-1]

    def leases(self, now: float) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        """(id, lease) of those that have expired, and of those that have not."""
        with self._reading() as connection:
            query = "SELECT id, lease, leased_until FROM message WHERE lease <> '' ORDER BY number"
            rows = connection.execute(query).fetchall()
        return expired_and_standing(rows, now)

    def is_gone(self, identifier: str) -> bool:
        """Whether this message was here and was settled or removed not long ago."""
        with self._reading() as connection:
            return bool(connection.execute("SELECT 1 FROM gone WHERE id = %s", (identifier,)).fetchone())

    def next_try(self) -> float | None:
        """When the first message is due that nobody delivers, None where none waits."""
        with self._reading() as connection:
            moment = only_row(connection.execute("SELECT min(next_try) FROM message WHERE lease = ''"))[0]
            return None if moment is None else float(moment)

    def count(self, now: float) -> tuple[int, int, int, int, dict[str, int]]:
        """Messages, octets, due messages, leased messages, and recipients by state."""
        with self._reading() as connection:
            messages, octets, due, leased = only_row(
                connection.execute(
                    """SELECT count(*), coalesce(sum(size), 0)::bigint,
                       count(*) FILTER (WHERE next_try <= %s AND lease = ''), count(*) FILTER (WHERE lease <> '')
                       FROM message""",
                    (now,),
                )
            )
            states: dict[str, int] = dict(
                connection.execute("SELECT state, count(*) FROM recipient GROUP BY state").fetchall()
            )
        return messages, octets, due, leased, {state.value: states.get(state.value, 0) for state in RecipientState}

    def damage(self) -> str:
        """Nothing: PostgreSQL looks after its own files, and tells damage when it meets it."""
        return ""

    # -- octets -------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def with_piece(self, identifier: str, position: int, octets: bytes) -> Iterator[None]:
        """Let the last piece of a message be written in the transaction that records it."""
        self._pieces[identifier] = (position, octets)
        try:
            yield
        finally:
            del self._pieces[identifier]

    def add_piece(self, identifier: str, position: int, octets: bytes) -> None:
        """Write a piece of a message that is not recorded yet.

        It need not be on disk when this returns: the server writes one log, and the commit of the message's row, which
        comes later in it, takes along whatever stands before.

        Raises:
            OutputError: the database cannot be written.
        """
        with self._writing() as connection:
            connection.execute("SET LOCAL synchronous_commit = off")
            self._write_piece(connection, identifier, position, octets)

    @staticmethod
    def _write_piece(connection: Connection, identifier: str, position: int, octets: bytes) -> None:
        connection.execute(
            "INSERT INTO content (message, position, octets) VALUES (%s, %s, %s)", (identifier, position, octets)
        )

    def query(self, statement: str, values: tuple[Any, ...] = (), *, writes: bool = False) -> list[tuple[Any, ...]]:
        """The rows of one statement of this package's own, octets as bytes.

        Raises:
            OutputError: the database cannot be read or written.
        """
        with self._writing() if writes else self._reading() as connection:
            cursor = connection.execute(statement, values, binary=True)
            return cursor.fetchall() if cursor.description else []


def _nul_free(text: str) -> str:
    return text.replace("\0", "\\x00")


def _without_nul(values: tuple[Any, ...]) -> tuple[Any, ...]:
    # The one character that PostgreSQL has no room for.
    return tuple(_nul_free(value) if isinstance(value, str) else value for value in values)
