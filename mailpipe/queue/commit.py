"""One connection for many threads and across forks: those that add at the same time share one commit.

    class Store(SharedCommits[sqlite3.Connection]): ...
    store.add(entry)                    # durable when it returns, in whichever thread's commit

Connections do not survive a fork; they are closed before it and opened after it.

Never here: SQL.
"""

import contextlib
import os
import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Generic, TypeVar

from mailpipe.errors import OutputError
from mailpipe.queue.entry import Entry

ConnectionT = TypeVar("ConnectionT")

_stores: "weakref.WeakSet[SharedCommits[Any]]" = weakref.WeakSet()


class AlreadyThere(OutputError):
    """A message of this id is recorded already; the one that was to be added is not, and the other is untouched."""


class Arrival:
    """One message that waits for a shared commit.

    Attributes:
        entry: the message.
        marks: ids that are to be known as gone from then on.
        is_done: it was committed, or was not.
        error: why it was not.
    """

    def __init__(self, entry: Entry, marks: Sequence[str] = ()) -> None:
        self.entry, self.marks, self.is_done = entry, marks, False
        self.error: OutputError | None = None


class SharedCommits(ABC, Generic[ConnectionT]):
    """The part of a store that both databases have in common.

    Attributes:
        place: what it is called in errors.
    """

    def __init__(self, place: str) -> None:
        self.place = place
        self._lock = threading.RLock()
        self._arriving = threading.Lock()  # taken after _lock where both are
        self._arrivals: list[Arrival] = []
        _stores.add(self)

    @abstractmethod
    def close(self) -> None:
        """Close the connection; the next use opens it again."""

    @abstractmethod
    def forget(self, identifier: str, now: float = 0.0) -> None:
        """Delete a message's rows, those of a failed commit too, and keep its id among those that are gone."""

    @abstractmethod
    def _writing(self) -> AbstractContextManager[ConnectionT]: ...

    @abstractmethod
    def _insert(self, connection: ConnectionT, entry: Entry, marks: Sequence[str] = ()) -> None: ...

    def _disown(self, arrivals: Sequence[Arrival]) -> None:
        """A commit that failed may have reached the disk; what was not promised must not stay."""
        for arrival in arrivals:
            with contextlib.suppress(OutputError):
                self.forget(arrival.entry.id, arrival.entry.created)

    def add(self, entry: Entry, marks: Sequence[str] = ()) -> None:
        """Record a message, and with it ids to be known as gone; durable when it returns.

        Raises:
            OutputError: it could not be recorded, and is not.
        """
        arrival = Arrival(entry, marks)
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
        error = OutputError(self.place, "interrupted before the message was recorded; try again")
        is_committed = is_rolled_back = False
        try:
            with self._writing() as connection:
                for arrival in arrivals:
                    self._insert(connection, arrival.entry, arrival.marks)
            is_committed = True
        except OutputError as trouble:
            # Then forgetting the id would take the other message away.
            error, is_rolled_back = trouble, isinstance(trouble, AlreadyThere)
        finally:
            if not is_committed and not is_rolled_back:
                self._disown(arrivals)
            for arrival in arrivals:
                arrival.error = None if is_committed else error
                arrival.is_done = True

    def _withdraw(self, arrival: Arrival) -> None:
        with self._lock, self._arriving:
            if arrival in self._arrivals:
                self._arrivals.remove(arrival)
                return
        self._disown([arrival])


# Two processes on one connection would spoil each other's work; each side opens its own after a fork.
_forking: list[SharedCommits[Any]] = []


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
