"""The stage `deduplicate`: of several copies of a message one goes on, for each recipient.

    [[stage]]
    use = "deduplicate"
    by = "both"                     # message-id | content | both
    expire = "7d"
    state_directory = "state"       # by default beside the queue

A copy is dropped only where another one was delivered, or lies in the queue. What was seen and not delivered counts for
nothing: it is forgotten when its outcome is known, and where a crash kept that from us, the next copy goes on. The same
mail that comes again, which its origin tells, goes on too: whoever sends it again has a reason, and the journal knows
better.

Never here: how the file is kept (`state`).
"""

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from hashlib import blake2b
from typing import Literal

from pydantic import Field as OptionField

from mailpipe.errors import ConfigError
from mailpipe.pipeline.access import Access
from mailpipe.pipeline.component import LocalPath, Options, Stage
from mailpipe.pipeline.mail import Changed, Mail
from mailpipe.pipeline.outcome import Ending, Fate, Outcome
from mailpipe.pipeline.services import Services
from mailpipe.pipeline.verdict import Decision, Verdict
from mailpipe.stages.state import StateFile
from mailpipe.units import Duration

NAME = "deduplicate.db"
_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS seen (
        key BLOB PRIMARY KEY, mail BLOB NOT NULL, is_safe INTEGER NOT NULL, at REAL NOT NULL
    ) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS seen_at ON seen (at)",
)
_FIELDS = ("from", "to", "cc", "subject", "date", "message-id")
_SAFE = (Fate.DELIVERED, Fate.QUEUED)
_POLL = 0.02
_SWEEP = 1000  # mails between two looks for what has expired
_BELIEVED = 3600.0  # seconds for which a mail is believed to be under way, where others are put off because of it
_UNDER_WAY = 100_000  # LIMIT: mails whose outcome is awaited; a stage in a process of its own never hears of one


class DeduplicateOptions(Options):
    """What makes two messages copies of one another, and what becomes of the second."""

    by: Literal["message-id", "content", "both"] = "both"
    """Copies have the same Message-ID, the same content (body and From, To, Cc, Subject, Date, Message-ID), or both. A
    Message-ID alone can be made up by whoever wants a message to be taken for a copy; one without any is none."""
    recipients: bool = True
    """Whether each recipient has a right to a copy; without, one copy is enough for all the world."""
    then: Literal["drop", "tag", "reject", "quarantine"] = "drop"
    """What becomes of a copy all of whose recipients have one already; from others such recipients are taken away."""
    tag_field: str = "X-Duplicate"
    """The field that a tag is written to; where a message comes with one, that goes."""
    expire: Duration = 604_800.0
    """How long a message is remembered: "7d"."""
    wait: Duration = 2.0
    """How long a copy waits for the outcome of another one that is under way."""
    unsettled: Literal["pass", "defer"] = "pass"
    """What becomes of it where that is not known then: it goes on, and may turn out to be one too many; or it comes
    again later."""
    max_records: int = OptionField(default=1_000_000, ge=1000)
    """How many copies are remembered at most; the oldest are forgotten first."""
    state_directory: LocalPath | None = None
    """Where the file deduplicate.db lies; by default the folder "state" in the directory of the queue. Pipelines that
    deliver to different places must not share one."""

    @property
    def keeps_state(self) -> bool:
        """It does."""
        return True


class Deduplicate(Stage[DeduplicateOptions]):
    """Lets one of several copies of a message go on, and drops, tags, rejects or quarantines the others."""

    name = "deduplicate"
    Options = DeduplicateOptions
    reads = Access(fields=("From", "To", "Cc", "Subject", "Date", "Message-ID"), body=True, envelope=True)
    touches = Access(fields=("*",), envelope=True, notes=(Changed,))
    decides = (Decision.DROP, Decision.DEFER)

    @classmethod
    def accesses(cls, options: DeduplicateOptions) -> tuple[Access, Access]:
        """The content is read and the header touched only where the options ask for it."""
        fields = ("Message-ID",) if options.by == "message-id" else cls.reads.fields
        reads = Access(fields=fields, body=options.by != "message-id", envelope=True)
        tags = (options.tag_field,) if options.then == "tag" else ()
        return reads, Access(fields=tags, envelope=options.recipients, notes=(Changed,))

    @classmethod
    def decisions(cls, options: DeduplicateOptions) -> tuple[Decision, ...]:
        """Those that the options name."""
        named = (options.then, options.unsettled)
        return tuple(Decision(one) for one in named if one not in ("tag", "pass"))

    def open(self, services: Services) -> None:
        """Open the file.

        Raises:
            ConfigError: there is no place for it.
            OutputError: it cannot be made or opened.
        """
        directory = self.options.state_directory
        if directory is None:
            raise ConfigError('deduplicate has no place for what it remembers; set state_directory = "state"')
        self._clock, self._count = services.clock, 0
        self._lock = threading.Lock()
        self._under_way: dict[str, tuple[bytes, dict[bytes, str]]] = {}  # origin → mail, its keys with recipients
        self._no_wait_before = 0.0
        self._state = StateFile(None if services.is_rehearsal else directory, NAME, _SCHEMA)
        self._state.open()
        self._state.change(self._sweep)

    def close(self) -> None:
        """Close the file."""
        if hasattr(self, "_state"):
            self._state.close()

    def process(self, mail: Mail) -> Mail | Verdict:
        """Look whether the recipients have it already, and note that it is under way to the others."""
        name = self.options.tag_field
        if self.options.then == "tag" and name in mail.message.header:
            mail = mail.with_message(mail.message.with_header(mail.message.header.without(name)))
            mail = mail.with_note(Changed(self.name, f"{name} removed, which was not ours"))
        base = self._base(mail)
        if base is None:
            return mail
        paths = mail.envelope.forward_paths if self.options.recipients else ()
        keys = {_key(base, address): address for address in [path.address for path in paths] or [""]}
        self._count += 1
        if self._count % _SWEEP == 0:
            self._state.change(self._sweep)
        own = _identity(mail)
        had = self._look(own, keys)
        if had is None:
            return Verdict.defer("another copy of it is under way, and it is not known yet what comes of it")
        if len(had) == len(keys):
            return self._duplicate(mail)
        with self._lock:
            self._under_way[mail.origin.key] = own, {key: address for key, address in keys.items() if key not in had}
            if len(self._under_way) > _UNDER_WAY:
                del self._under_way[next(iter(self._under_way))]
        if not had:
            return mail
        left = [path for path in paths if _key(base, path.address) not in had]
        changed = Changed(self.name, f"{len(paths) - len(left)} of {len(paths)} recipients have a copy already")
        return mail.with_envelope(mail.envelope.with_forward_paths(*left)).with_note(changed)

    # -- which it is

    def _base(self, mail: Mail) -> bytes | None:
        """What copies share; None where it cannot be said."""
        message, by = mail.message, self.options.by
        # a copy that a route gets is none that somebody else has
        digest = blake2b(f"{by}\0{mail.origin.branch}".encode("utf-8", "surrogatepass"), digest_size=16)
        if by != "content":
            ident = message.message_id
            if not ident:
                if by == "message-id":
                    return None
                ident = ""
            digest.update(b"\0" + ident.encode("utf-8", "surrogatepass"))
        if by != "message-id":
            for name in _FIELDS:
                digest.update(b"\0" + b" ".join((message.header.body_of(name) or b"").split()))
            # servers on the way may have changed the line ends and the end of the body, and nothing else
            digest.update(b"\0" + message.raw_body.replace(b"\r\n", b"\n").rstrip(b"\n"))
        return digest.digest()

    # -- what is remembered

    def _look(self, own: bytes, keys: Iterable[bytes]) -> set[bytes] | None:
        """The keys that are safe elsewhere; the others are ours from now on. None: come again."""
        clock, has_waited = self._clock, False
        begin = clock.monotonic()
        until = begin + self.options.wait if begin >= self._no_wait_before else begin
        while True:
            is_last = clock.monotonic() >= until
            had = self._state.change(partial(self._claim, own, keys, is_last))
            if is_last and has_waited:
                # the other one may wait for this very thread; in vain once is enough for a while
                self._no_wait_before = clock.monotonic() + 10 * self.options.wait
            if had is not None or is_last:
                return had
            clock.sleep(_POLL)
            has_waited = True

    def _claim(self, own: bytes, keys: Iterable[bytes], is_last: bool, rows: sqlite3.Connection) -> set[bytes] | None:
        options, now = self.options, self._clock.now().timestamp()
        # the other one may have died with its process, and then nobody will ever tell
        believed = options.wait if options.unsettled == "pass" else _BELIEVED
        had, free, is_open = set[bytes](), list[bytes](), False
        for key in keys:
            row = rows.execute("SELECT mail, is_safe, at FROM seen WHERE key = ?", (key,)).fetchone()
            if row is None or now - row[2] > options.expire:
                free.append(key)
            elif row[1]:
                had |= {key} if row[0] != own else set()  # its own: it was delivered, and comes again
            else:
                is_open = is_open or (row[0] != own and now - row[2] < believed)
                free.append(key)
        if is_open and not (is_last and options.unsettled == "pass"):
            return None
        rows.executemany("INSERT OR REPLACE INTO seen VALUES (?, ?, 0, ?)", [(key, own, now) for key in free])
        return had

    def ended(self, outcome: Outcome) -> None:
        """Keep what was delivered, and forget the rest.

        Raises:
            OutputError: it cannot be written; copies go on then.
        """
        with self._lock:
            found = self._under_way.pop(outcome.origin.key, None)
        if found is None:
            return
        own, keys = found
        is_safe = _is_safe(outcome)
        now = self._clock.now().timestamp()

        def write(rows: sqlite3.Connection) -> None:
            for key, recipient in keys.items():
                if is_safe(recipient):
                    rows.execute("INSERT OR REPLACE INTO seen VALUES (?, ?, 1, ?)", (key, own, now))
                else:
                    rows.execute("DELETE FROM seen WHERE key = ? AND mail = ? AND NOT is_safe", (key, own))

        self._state.change(write)

    def _sweep(self, rows: sqlite3.Connection) -> None:
        rows.execute("DELETE FROM seen WHERE at < ?", (self._clock.now().timestamp() - self.options.expire,))
        (count,) = rows.execute("SELECT count(*) FROM seen").fetchone()
        if count > self.options.max_records:
            oldest = "SELECT key FROM seen ORDER BY at LIMIT ?"
            rows.execute(f"DELETE FROM seen WHERE key IN ({oldest})", (count - self.options.max_records,))

    # -- what is done

    def _duplicate(self, mail: Mail) -> Mail | Verdict:
        words, then = "a copy of it was delivered before", self.options.then
        if then == "drop":
            return Verdict.drop(words)
        if then == "reject":
            return Verdict.reject(words)
        if then == "quarantine":
            return Verdict.quarantine(words)
        name = self.options.tag_field
        header = mail.message.header.without(name).with_added(name, self.options.by)
        return mail.with_message(mail.message.with_header(header)).with_note(Changed(self.name, f"{name} added"))


def _key(base: bytes, address: str) -> bytes:
    local, _, domain = address.rpartition("@")
    whole = base + f"\0{local}@{domain.casefold()}".encode("utf-8", "surrogatepass")
    return blake2b(whole, digest_size=16).digest()


def _identity(mail: Mail) -> bytes:
    """The same for all that is made of one mail, and when it comes again.

    From a mail server's pipe every mail has one origin; there the octets tell, which are the same at each attempt.
    """
    origin = mail.origin
    digest = blake2b((origin.root or origin.key).encode("utf-8", "surrogatepass"), digest_size=16)
    if origin.location == "-":
        digest.update(b"\0" + bytes(mail.message))
    return digest.digest()


def _leaves(outcome: Outcome) -> Iterator[Outcome]:
    if not outcome.children:
        yield outcome
    for child in outcome.children:
        yield from _leaves(child)


def _is_safe(outcome: Outcome) -> Callable[[str], bool]:
    """Tells of a recipient whether the mail is with it, or safe on the way to it."""
    leaves = list(_leaves(outcome))
    entries = [entry for leaf in leaves if leaf.receipt is not None for entry in leaf.receipt.recipients]
    known = {entry.recipient.address for entry in entries}
    lacking = {entry.recipient.address for entry in entries if entry.fate not in _SAFE}
    is_whole = all(leaf.ending in (Ending.DELIVERED, Ending.QUEUED) for leaf in leaves)
    # a later stage may have sent it elsewhere; then all of it must be safe
    return lambda recipient: recipient not in lacking if recipient in known else is_whole
