"""A stage with a memory: mail to the help desk gets a ticket number, and what belongs together gets the same one.

    [[stage]]
    use       = "ticket-router"
    database  = "tickets.sqlite"
    addresses = ["support@example.org"]
    route_to  = "desk+{ticket}@example.net"

A mail belongs to a ticket when it was seen before, when In-Reply-To or References name one that was (RFC 5322 section
3.6.4), or when its subject has the tag of a ticket that exists; else it opens one. Numbers live in an SQLite file that
several workers may share: a number is on disk before the mail goes on, and the same mail gets the same one at a retry.

Copy this file into the folder `plugins/` beside a pipeline file, or install the folder that it came in.
"""

import hashlib
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import Field, field_validator

import mailpipe
from mailpipe import Access, Changed, Mail, Message
from mailpipe.errors import OutputError
from mailpipe.fields import is_address
from mailpipe.smtp import ForwardPath

MOST = 100
"""LIMIT: identifiers of References that are looked up, the newest; a sender may write thousands."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS ticket (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,  -- never given twice, whatever is deleted
    opened  TEXT NOT NULL,
    sender  TEXT NOT NULL,
    subject TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS message (
    key    TEXT PRIMARY KEY,                    -- its Message-ID, or a digest where it has none
    ticket INTEGER NOT NULL REFERENCES ticket (number)
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class TicketAssigned:
    """A note: the mail belongs to a ticket.

    Attributes:
        number: the ticket's.
        is_new: whether this mail opened it.
    """

    number: int
    is_new: bool


class TicketRouterOptions(mailpipe.Options):
    """Which mail gets a ticket, and where it goes."""

    database: mailpipe.LocalPath
    """The SQLite file, made when it is not there; its folder has to be there."""

    addresses: Annotated[tuple[str, ...], Field(min_length=1)]
    """The recipients whose mail is for the desk; mail to nobody of them passes untouched."""

    route_to: str = ""
    """Who gets it in their place, such as "desk+{ticket}@example.net"; empty leaves the recipients alone."""

    tag: str = "[#{ticket}]"
    """What is put before the subject, unless it is there."""

    trust_subject: bool = True
    """Whether the tag of a ticket that exists is enough to belong to it; whoever knows a number can write one."""

    first: Annotated[int, Field(ge=1, lt=2**53)] = 1
    """The first number, of a new database."""

    @field_validator("route_to")
    @classmethod
    def _is_address_with_place(cls, text: str) -> str:
        if text and not is_address(text.replace("{ticket}", "1")):
            raise ValueError("not an address; write one such as desk+{ticket}@example.net")
        return text

    @field_validator("tag")
    @classmethod
    def _has_place(cls, text: str) -> str:
        if text.count("{ticket}") != 1 or not text.isprintable() or text.strip() == "{ticket}":
            raise ValueError('needs {ticket} once and something around it, such as "[#{ticket}]"')
        return text


class TicketRouter(mailpipe.Stage[TicketRouterOptions]):
    """Gives mail to the desk a ticket number, tags its subject, and routes it by the number."""

    name = "ticket-router"
    Options = TicketRouterOptions
    acts = True
    reads = Access(fields=("Message-ID", "In-Reply-To", "References", "Subject"), envelope=True)
    touches = Access(fields=("Subject",), envelope=True, notes=(TicketAssigned,))
    decides = ()

    @classmethod
    def accesses(cls, options: TicketRouterOptions) -> tuple[Access, Access]:
        """The envelope is touched only where mail is routed."""
        return cls.reads, cls.touches if options.route_to else replace(cls.touches, envelope=False)

    def open(self, services: mailpipe.Services) -> None:
        """Open the database, and make its tables."""
        options, self._services = self.options, services
        self._addresses = {address.casefold() for address in options.addresses}
        before, after = options.tag.split("{ticket}")
        # LIMIT: fifteen digits; a number with thousands of them would take long to read
        self._tag = re.compile(re.escape(before) + r"(\d{1,15})" + re.escape(after))
        with self._trouble_told():
            # autocommit: transactions are begun in so many words below
            self._database = sqlite3.connect(options.database, timeout=30, isolation_level=None)
            self._database.execute("PRAGMA synchronous = FULL")
            self._database.execute("PRAGMA foreign_keys = ON")
            self._database.executescript(f"BEGIN IMMEDIATE; {SCHEMA} COMMIT;")
            with self._transaction():
                if self._one("SELECT count(*) FROM sqlite_sequence") == 0:
                    self._database.execute("INSERT INTO sqlite_sequence VALUES ('ticket', ?)", (options.first - 1,))

    def close(self) -> None:
        """Close the database."""
        if hasattr(self, "_database"):
            self._database.close()

    def process(self, mail: Mail) -> Mail:
        """Find or open the ticket; tag and route."""
        if not any(address.casefold() in self._addresses for address in mail.envelope.addresses):
            return mail
        # line ends may be hidden in the encoded words of a subject, and a field cannot hold them
        subject = "".join(one if one.isprintable() else " " for one in mail.message.subject or "")
        with self._trouble_told(), self._transaction():
            assigned = self._assign(mail, subject)
        self._services.metrics.count("opened" if assigned.is_new else "continued")
        return self._routed(self._tagged(mail, subject, assigned.number), assigned.number).with_note(assigned)

    # -- which ticket

    def _assign(self, mail: Mail, subject: str) -> TicketAssigned:
        message = mail.message
        key = message.message_id or f"sha256:{hashlib.sha256(bytes(message)).hexdigest()}"
        number = self._number_of(key)
        if number is not None:
            return TicketAssigned(number, is_new=False)
        number = self._of_thread(message) or self._of_subject(subject)
        is_new = number is None
        if number is None:
            opened = self._services.clock.now().isoformat()
            row = (opened, _storable(mail.envelope.reverse_path), _storable(subject))
            inserted = self._database.execute("INSERT INTO ticket (opened, sender, subject) VALUES (?, ?, ?)", row)
            assert inserted.lastrowid is not None
            number = inserted.lastrowid
        self._database.execute("INSERT INTO message VALUES (?, ?)", (_storable(key), number))
        return TicketAssigned(number, is_new)

    def _of_thread(self, message: Message) -> int | None:
        """The ticket of the nearest ancestor that was seen."""
        for identifier in (*message.in_reply_to[:MOST], *reversed(message.references[-MOST:])):
            if (number := self._number_of(identifier)) is not None:
                return number
        return None

    def _of_subject(self, subject: str) -> int | None:
        found = self._tag.search(subject) if self.options.trust_subject else None
        return None if found is None else self._one("SELECT number FROM ticket WHERE number = ?", int(found[1]))

    def _number_of(self, key: str) -> int | None:
        return self._one("SELECT ticket FROM message WHERE key = ?", _storable(key))

    # -- what becomes of the mail

    def _tagged(self, mail: Mail, subject: str, number: int) -> Mail:
        tag = self.options.tag.replace("{ticket}", str(number))
        if tag in subject:
            return mail
        changed = mail.message.with_header("Subject", f"{tag} {subject}".strip())
        return mail.with_message(changed).with_note(Changed(self.name, f"subject tagged {tag}"))

    def _routed(self, mail: Mail, number: int) -> Mail:
        if not self.options.route_to:
            return mail
        desk = self.options.route_to.replace("{ticket}", str(number))
        paths: dict[str, ForwardPath] = {}
        for path in mail.envelope.forward_paths:
            if path.address.casefold() in self._addresses:
                path = replace(path, address=desk)
            paths.setdefault(path.address, path)  # two addresses of the desk are one recipient now
        return mail.with_envelope(mail.envelope.with_forward_paths(*paths.values()))

    # -- the database

    def _one(self, query: str, *values: object) -> int | None:
        row = self._database.execute(query, values).fetchone()
        return None if row is None else int(row[0])

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing; IMMEDIATE, so that two workers never open a ticket for one mail."""
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    @contextmanager
    def _trouble_told(self) -> Iterator[None]:
        """A database that cannot be used defers the mail, which gets its number later."""
        try:
            yield
        except sqlite3.Error as error:
            words = f"{error}; check that its folder is there, that we may write, and that the disk is not full"
            raise OutputError(str(self.options.database), words) from error


def _storable(text: str) -> str:
    """Text without halves of characters, which SQLite does not take."""
    return text.encode("utf-8", "backslashreplace").decode()


def register(registry: mailpipe.Registry) -> None:
    """Enter the stage; called by mailpipe."""
    registry.add_stage(TicketRouter)
