"""What crashes, full disks and strangers leave behind in a queue, and how it is put right.

    for finding in queue.doctor(repair=True): print(finding.sentence)
    set_database_aside(directory)       # before a database that is damaged is built again from the content files

A content file without a row was never acknowledged, or its database was lost. Nobody can tell the two apart, so it is
queued as held: not sent by itself, not lost either.

Never here: deleting anything that may be somebody's mail.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from mailpipe.durable import sync_directory
from mailpipe.errors import InputError, OutputError
from mailpipe.queue.entry import Entry, Recipient, RecipientState, read_forward_path, read_sender
from mailpipe.queue.interface import Contents, QueueStore
from mailpipe.queue.spool import Spool
from mailpipe.queue.store import Store
from mailpipe.status import EnhancedStatus

MISSING = (
    "its content is missing: it was delivered and an old database was put back, or it is lost; release it when the "
    "content is there again, else bounce it or remove it"
)
"""What is said of a message without content."""

_FAR, _SLACK = 30 * 86400.0, 86400.0  # seconds that no schedule waits, and that no two clocks differ
_AHEAD = "it came or is due in a time far off: the clock was ahead; it is made due now, and its time begins now"
_SYSTEM = EnhancedStatus(4, 3, 0)
_ORPHAN = "found without a record: it was never acknowledged, or the database was lost; release it or remove it"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be.

    Attributes:
        kind: "unfinished", "settled-content", "orphan", "unreadable", "missing-content", "changed-content", "clock"
            or "database".
        place: the file.
        sentence: what it is and what becomes of it.
        is_repaired: whether it was put right.
    """

    kind: str
    place: str
    sentence: str
    is_repaired: bool = False

    def to_json(self) -> dict[str, object]:
        """Plain values for `json.dumps`."""
        return asdict(self)


def examine(store: QueueStore, spool: Contents, now: float, *, repair: bool, deep: bool) -> tuple[Finding, ...]:
    """Look at database and content files, and at each in the light of the other.

    Raises:
        OutputError: the database is damaged or the repair could not be written.
    """
    findings = []
    if damage := store.damage():
        findings.append(Finding("database", store.place, f"the database is damaged: {damage}"))
    findings += _unfinished(spool, repair)
    findings += _orphans(store, spool, now, repair)
    findings += _contents(store, spool, now, repair, deep)
    findings += _far_off(store, now, repair)
    return tuple(findings)


def _unfinished(spool: Contents, repair: bool) -> Iterator[Finding]:
    for path in spool.unfinished():
        if spool.is_busy(path) or not path.exists():
            continue
        if repair:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise OutputError.from_os(str(path), error) from error
        yield Finding("unfinished", str(path), "left by a crash before the message was acknowledged", repair)


def _orphans(store: QueueStore, spool: Contents, now: float, repair: bool) -> Iterator[Finding]:
    # Sorted, so that what is recovered stands in the order of its arrival.
    for identifier in sorted(spool.identifiers()):
        path = spool.path(identifier)
        # In this order: a put that ends between the questions has its row by the second.
        if store.get(identifier) or spool.is_busy(path) or store.get(identifier):
            continue
        if store.is_gone(identifier):
            if repair:
                spool.remove(identifier)
            yield Finding("settled-content", str(path), "its message is settled; the file is not needed", repair)
            continue
        try:
            entry = _recovered(spool, identifier, now)
        except InputError as error:
            if path.exists():
                if repair:
                    spool.set_aside(identifier)
                yield Finding("unreadable", str(path), f"{error.reason}; it belongs in the folder damaged", repair)
            continue
        if repair:
            store.add(entry)
        yield Finding("orphan", str(path), _ORPHAN, repair)


def _recovered(spool: Contents, identifier: str, now: float) -> Entry:
    size, record = spool.read_record(identifier)
    try:
        paths = [read_forward_path(text) for text in record["recipients"]]
        recipients = tuple(
            Recipient(number, path, RecipientState.HELD, status=_SYSTEM, diagnostic=_ORPHAN, changed=now)
            for number, path in enumerate(paths)
        )
        return Entry(
            identifier, read_sender(record["sender"]), recipients, record["origin"], record["route"],
            float(record["created"]), now, size, record["digest"], spool.path(identifier),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(str(spool.path(identifier)), f"its record cannot be read: {error!r}") from error


def _contents(store: QueueStore, spool: Contents, now: float, repair: bool, deep: bool) -> Iterator[Finding]:
    for entry in store.entries():
        if not any(one.state.is_live for one in entry.recipients):
            continue
        kind, sentence = "", ""
        try:
            size, _ = spool.read_record(entry.id)
            if size != entry.size or (deep and spool.digest(entry.id, size) != entry.digest):
                kind, sentence = "changed-content", "the content file is not what was put in; compare before release"
        except InputError as error:
            kind, sentence = "changed-content", f"{error.reason}; compare before release"
            # A message that somebody settles at this moment loses its row first.
            if not spool.holds(entry.id):
                kind, sentence = "missing-content", MISSING
        if not kind or store.get(entry.id) is None:
            continue
        if repair:
            store.change(entry.id, Stopped(sentence, now), now)
        yield Finding(kind, str(entry.content), sentence, repair)


def _far_off(store: QueueStore, now: float, repair: bool) -> Iterator[Finding]:
    """Messages from a time when the clock was ahead: they would wait until it is that time again."""

    def brought_back(entry: Entry) -> Entry:
        due = (
            replace(one, next_try=now) if one.next_try is not None and one.next_try > now + _FAR else one
            for one in entry.recipients
        )
        return replace(entry.with_recipients(*due), since=min(entry.since, now))

    for entry in store.entries("next_try > ? OR since > ?", (now + _FAR, now + _SLACK)):
        if repair:
            store.change(entry.id, brought_back, now)
        yield Finding("clock", str(entry.content), _AHEAD, repair)


class Stopped:
    """The change that holds a message whose content cannot be trusted. Nobody is told: it may have been delivered.

    Args:
        sentence: why, for whoever looks at it.
        now: the moment.
    """

    def __init__(self, sentence: str, now: float) -> None:
        self._sentence, self._now = sentence, now

    def __call__(self, entry: Entry) -> Entry:
        """The message as it is to stand."""
        stopped = (
            replace(
                one, state=RecipientState.HELD, next_try=None, status=_SYSTEM, diagnostic=self._sentence,
                changed=self._now,
            )
            for one in entry.recipients
            if one.state.is_live
        )
        return entry.with_recipients(*stopped)


def set_database_aside(directory: Path) -> None:
    """Put a new database in the place of a damaged or missing one; `doctor` fills it, everything held.

    No other process may use the queue meanwhile.

    Raises:
        OutputError: it cannot be renamed, or no new one made.
    """
    shelf = directory / "damaged"
    try:
        shelf.mkdir(mode=0o700, exist_ok=True)
        mark = os.urandom(4).hex()
        for name in ("queue.db", "queue.db-wal", "queue.db-shm"):
            with contextlib.suppress(FileNotFoundError):
                (directory / name).rename(shelf / f"{name}.{mark}")
        sync_directory(directory)
        Store(directory / "queue.db", Spool(directory / "content").path).close()
    except OSError as error:
        raise OutputError.from_os(str(directory), error) from error
