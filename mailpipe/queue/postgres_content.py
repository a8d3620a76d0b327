"""The octets of messages as rows beside their states: whole, or not there at all.

    with contents.keep(id, octets, record) as kept: store.add(entry)       # one commit for small messages
    contents.path(id).open("rb")                                           # a temporary file with the octets

A message is cut into pieces of 1 MiB. The last is written in the transaction that records the message, those before it
as they come; what is left of a put that was killed is found by `doctor`, which a day later takes it for abandoned.

Never here: what state a message is in.
"""

import contextlib
import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any, Literal

from mailpipe.errors import InputError, OutputError
from mailpipe.queue.interface import Contents, QueueStore
from mailpipe.queue.postgres import PostgresStore
from mailpipe.queue.spool import Kept, Octets

_PIECE = 1 << 20
_ABANDONED = 86400.0  # seconds after which nobody is still writing


@dataclass(frozen=True, slots=True)
class PostgresContent:
    """The octets of one message in the database.

    Attributes:
        store: where they are.
        identifier: the message's.
    """

    store: PostgresStore = field(repr=False)
    identifier: str

    def __str__(self) -> str:
        return f"{self.store.place} message {self.identifier}"

    def exists(self) -> bool:
        """Whether there is a piece of it.

        Raises:
            OutputError: the database cannot be read.
        """
        query = "SELECT 1 FROM content WHERE message = %s LIMIT 1"
        return bool(self.store.query(query, (self.identifier,)))

    def pieces(self) -> Iterator[bytes]:
        """The octets in order, one piece in memory at a time; they end where a piece is missing.

        Raises:
            OutputError: the database cannot be read.
        """
        position, query = 0, "SELECT octets FROM content WHERE message = %s AND position = %s"
        while rows := self.store.query(query, (self.identifier, position)):
            yield rows[0][0]
            position += 1

    def open(self, mode: Literal["rb"]) -> IO[bytes]:
        """A temporary file with the octets; it is gone when it is closed.

        Raises:
            OSError: there are none, or no file can be made.
            OutputError: the database cannot be read.
        """
        file = tempfile.TemporaryFile("w+b")  # noqa: SIM115 - the caller closes it
        try:
            count = 0
            for count, piece in enumerate(self.pieces(), 1):  # noqa: B007
                file.write(piece)
            if not count:
                raise FileNotFoundError(2, "there are no octets of this message in the database")
            file.seek(0)
        except BaseException:
            file.close()
            raise
        return file

    def unlink(self, missing_ok: bool = False) -> None:
        """Take away what belongs to no message.

        Raises:
            OutputError: the database cannot be written.
        """
        self.store.query(
            """DELETE FROM content WHERE message = %s
               AND NOT EXISTS (SELECT 1 FROM message WHERE message.id = content.message)""",
            (self.identifier,),
            writes=True,
        )


class PostgresContents:
    """The octets of all messages of one queue.

    Attributes:
        store: where they are.
    """

    store: PostgresStore

    def path(self, identifier: str) -> PostgresContent:
        """Where the octets of this message lie or would lie."""
        return PostgresContent(self.store, identifier)

    def holds(self, identifier: str) -> bool:
        """Whether the octets of this message are there.

        Raises:
            OutputError: the database cannot be read.
        """
        return self.path(identifier).exists()

    @contextlib.contextmanager
    def keep(self, identifier: str, octets: Octets | Iterable[bytes], record: Mapping[str, Any]) -> Iterator[Kept]:
        """Keep a message while the caller records it; if the block raises, nothing of it is left.

        Args:
            identifier: a name never used before.
            octets: in one piece or in many, which are written as they come.
            record: not needed: the rows of the message stand in the same database.

        Raises:
            OutputError: it could not be written.
        """
        rest, position, size, digest = bytearray(), 0, 0, hashlib.sha256()
        content = self.path(identifier)
        try:
            for piece in (octets,) if isinstance(octets, Octets) else octets:
                digest.update(piece)
                with memoryview(piece) as view, view.cast("B") as flat:
                    size += len(flat)
                    for start in range(0, len(flat), _PIECE):
                        rest += flat[start : start + _PIECE]
                        while len(rest) > _PIECE:
                            self.store.add_piece(identifier, position, bytes(rest[:_PIECE]))
                            del rest[:_PIECE]
                            position += 1
            with self.store.with_piece(identifier, position, bytes(rest)):
                yield Kept(content, size, digest.hexdigest())
        except BaseException:
            if position:
                with contextlib.suppress(OutputError):
                    content.unlink()
            raise

    def remove(self, identifier: str) -> None:
        """Nothing: the octets went with the message, in the same transaction."""

    def identifiers(self) -> Iterator[str]:
        """None: octets are never acknowledged without a row, so that none of them can be an orphan."""
        return iter(())

    def unfinished(self) -> Iterator[PostgresContent]:
        """Pieces whose message never came."""
        rows = self.store.query(
            """SELECT DISTINCT message FROM content
               WHERE NOT EXISTS (SELECT 1 FROM message WHERE message.id = content.message)
               AND written < extract(epoch FROM clock_timestamp()) - %s""",
            (_ABANDONED,),
        )
        return iter([self.path(row[0]) for row in rows])

    def is_busy(self, place: Any) -> bool:
        """False: what `unfinished` tells of is a day old."""
        return False

    def set_aside(self, identifier: str) -> None:
        """Nothing: there are no orphans."""

    def read_record(self, identifier: str) -> tuple[int, dict[str, Any]]:
        """Size of the message; nothing else is recorded here.

        Raises:
            InputError: it is missing, or a piece of it is.
            OutputError: the database cannot be read.
        """
        rows = self.store.query(
            """SELECT count(*), coalesce(max(position) + 1, 0), coalesce(sum(octet_length(octets)), 0)::bigint
               FROM content WHERE message = %s""",
            (identifier,),
        )
        count, end, size = rows[0]
        if not count or count != end:
            raise InputError(str(self.path(identifier)), "a piece of the message is missing")
        return int(size), {}

    def digest(self, identifier: str, size: int) -> str:
        """SHA-256 of the octets as they lie there, hexadecimal.

        Raises:
            OutputError: the database cannot be read.
        """
        digest = hashlib.sha256()
        for piece in self.path(identifier).pieces():
            digest.update(piece[: max(size, 0)])
            size -= len(piece)
        return digest.hexdigest()


def open_postgres(database: str, contents: Contents | None) -> tuple[QueueStore, Contents]:
    """A store, and where the octets are: in the contents that are given, or beside the states.

    Raises:
        OutputError: the database cannot be reached or written.
        ConfigError: the connection string has another form, or the tables are of a later version.
    """
    if contents is not None:
        return PostgresStore(database, contents.path, keeps_content=False), contents
    rows = PostgresContents()
    store = PostgresStore(database, rows.path, keeps_content=True)
    rows.store = store
    return store, rows
