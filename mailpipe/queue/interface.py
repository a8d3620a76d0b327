"""What the queue asks of the place that keeps its states, and of the place that keeps the octets.

    store: QueueStore                   # SQLite in a directory, or PostgreSQL for several machines
    contents: Contents                  # files of a directory, or rows beside the states

Both stores keep the same promises: `add` returns when the message outlives a crash, `take` gives a message to one
holder only, `change` is all or nothing.

Never here: how either is done.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from mailpipe.queue.entry import Content, Entry
from mailpipe.queue.spool import Kept, Octets


class LeaseHolder(Protocol):
    """A name that goes into leases.

    Attributes:
        name: letters and digits, never used again.
    """

    name: str

    @property
    def is_ours(self) -> bool:
        """Whether this is still the process that made it; a fork is another process."""
        ...

    def hold(self) -> None:
        """Make sure that others see it living, before it takes anything.

        Raises:
            OutputError: that cannot be done now.
        """
        ...

    def close(self) -> None:
        """Give up the name: what it still holds may be taken over at once."""
        ...


class LeftBehind(Protocol):
    """Octets without a message: being written, or left by a crash."""

    def exists(self) -> bool:
        """Whether they are still there."""
        ...

    def unlink(self, missing_ok: bool = False) -> None:
        """Take them away.

        Raises:
            OSError: they cannot be taken away.
        """
        ...


class Contents(Protocol):
    """The octets of all messages, whole or not there at all."""

    def path(self, identifier: str) -> Content:
        """Where the octets of this message lie or would lie."""
        ...

    def holds(self, identifier: str) -> bool:
        """Whether the octets of this message are there.

        Raises:
            OutputError: nobody can say now.
        """
        ...

    def keep(
        self, identifier: str, octets: Octets | Iterable[bytes], record: Mapping[str, Any]
    ) -> AbstractContextManager[Kept]:
        """Keep a message while the caller records it; if the block raises, nothing is left.

        Raises:
            OutputError: it could not be written.
        """
        ...

    def remove(self, identifier: str) -> None:
        """Take the octets of a message away; none there is no trouble.

        Raises:
            OutputError: they are there and cannot be removed.
        """
        ...

    def identifiers(self) -> Iterator[str]:
        """The ids of octets that may have no row."""
        ...

    def unfinished(self) -> Iterator[LeftBehind]:
        """Octets that belong to no message (yet)."""
        ...

    def is_busy(self, place: Any) -> bool:
        """Whether somebody is putting this message in at this moment."""
        ...

    def set_aside(self, identifier: str) -> None:
        """Put octets that cannot be read where nobody takes them for a message; nothing is deleted.

        Raises:
            OutputError: they cannot be moved.
        """
        ...

    def read_record(self, identifier: str) -> tuple[int, dict[str, Any]]:
        """Size of the message, and what was recorded with it.

        Raises:
            InputError: it is missing or damaged.
        """
        ...

    def digest(self, identifier: str, size: int) -> str:
        """SHA-256 of the octets as they lie there, hexadecimal.

        Raises:
            InputError: they are missing.
        """
        ...


class QueueStore(Protocol):
    """The states of all messages.

    Attributes:
        place: what it is called in errors; without passwords.
    """

    place: str

    def clock(self) -> float:
        """Seconds since the epoch, the same for everybody who works this queue."""
        ...

    def new_owner(self) -> LeaseHolder:
        """A new name for leases.

        Raises:
            OutputError: it cannot be made.
        """
        ...

    def is_alive(self, name: str) -> bool:
        """Whether the holder of this name may still deliver."""
        ...

    def sweep(self) -> None:
        """Take away what dead owners left."""
        ...

    def close(self) -> None:
        """Close the connection; the next use opens it again."""
        ...

    def admit(self) -> None:
        """Look whether more mail may come in.

        Raises:
            OutputError: the disk is so full that what is left is needed to let mail out.
        """
        ...

    def add(self, entry: Entry, marks: Sequence[str] = ()) -> None:
        """Record a message, and with it ids to be known as gone; durable when it returns.

        Raises:
            OutputError: it could not be recorded, and is not.
        """
        ...

    def take(self, lease: str, until: float, now: float, *, route: str | None, is_attempt: bool) -> Entry | None:
        """Lease the message that has been due longest; None where none is due.

        Raises:
            OutputError: the database cannot be written.
        """
        ...

    def change(
        self, identifier: str, decide: Callable[[Entry], Entry | None], now: float, arrivals: Sequence[Entry] = ()
    ) -> Entry | None:
        """Read a message, let `decide` make another of it, and write that and the arrivals; all or nothing.

        Raises:
            OutputError: the database cannot be written; nothing was changed.
        """
        ...

    def has_come(self, identifier: str) -> bool | None:
        """Whether an arrival of a `change` that raised was recorded after all.

        Returns:
            True: it was; False: it was not, and will not be; None: nobody can say now.
        """
        ...

    def bring_forward(self, now: float, route: str | None) -> int:
        """Make everything that waits for a later moment due now; how many messages that changed."""
        ...

    def get(self, identifier: str) -> Entry | None:
        """One message, None where there is none of that id."""
        ...

    def entries(self, condition: str = "TRUE", values: tuple[Any, ...] = ()) -> Iterator[Entry]:
        """All messages that meet a condition of this package's own, in SQL that both understand, by arrival."""
        ...

    def leases(self, now: float) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        """(id, lease) of those that have expired, and of those that have not."""
        ...

    def is_gone(self, identifier: str) -> bool:
        """Whether this message was here and was settled or removed not long ago."""
        ...

    def next_try(self) -> float | None:
        """When the first message is due that nobody delivers, None where none waits."""
        ...

    def count(self, now: float) -> tuple[int, int, int, int, dict[str, int]]:
        """Messages, octets, due messages, leased messages, and recipients by state."""
        ...

    def damage(self) -> str:
        """What is wrong with the database, "" where nothing is."""
        ...
