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
from mailpipe.status import EnhancedStatus

_ORPHAN = "found without a record: it was never acknowledged, or the database was lost; release it or remove it"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be.

    Attributes:
        kind: "unfinished", "settled-content", "orphan", "unreadable", "missing-content", "changed-content" or
            "database".
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
        held, status = RecipientState.HELD, EnhancedStatus(4, 3, 0)
        recipients = tuple(
            Recipient(number, path, held, status=status, diagnostic=_ORPHAN, changed=now)
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
        kind, sentence, state = "", "", RecipientState.HELD
        try:
            size, _ = spool.read_record(entry.id)
            if size != entry.size or (deep and spool.digest(entry.id, size) != entry.digest):
                kind, sentence = "changed-content", "the content file is not what was put in; compare before release"
        except InputError as error:
            kind, sentence = "changed-content", f"{error.reason}; compare before release"
            # A message that somebody settles at this moment loses its row first.
            if not entry.content.exists():
                kind, sentence, state = "missing-content", "the content file is missing", RecipientState.FAILED
        if not kind or store.get(entry.id) is None:
            continue
        if repair:
            store.change(entry.id, _stopped(state, sentence, now), now)
        yield Finding(kind, str(entry.content), sentence, repair)


class _stopped:
    """The change that ends the attempts for an entry whose content cannot be trusted."""

    def __init__(self, state: RecipientState, sentence: str, now: float) -> None:
        self._state, self._sentence, self._now = state, sentence, now

    def __call__(self, entry: Entry) -> Entry:
        stopped = (
            replace(one, state=self._state, next_try=None, diagnostic=self._sentence, changed=self._now)
            for one in entry.recipients
            if one.state.is_live
        )
        return entry.with_recipients(*stopped)


def set_database_aside(directory: Path) -> None:
    """Rename a damaged database, so that the next `Queue` makes a new one and `doctor` fills it, everything held.

    No other process may use the queue meanwhile.

    Raises:
        OutputError: it cannot be renamed.
    """
    shelf = directory / "damaged"
    try:
        shelf.mkdir(mode=0o700, exist_ok=True)
        mark = os.urandom(4).hex()
        for name in ("queue.db", "queue.db-wal", "queue.db-shm"):
            with contextlib.suppress(FileNotFoundError):
                (directory / name).rename(shelf / f"{name}.{mark}")
        sync_directory(directory)
    except OSError as error:
        raise OutputError.from_os(str(directory), error) from error
