"""The journal of a run: JSON Lines that say which mail was begun and how each one ended.

The same command continues where it was stopped, whatever stopped it.

    with Journal.open(path, settings.digests) as journal:
        if digest in journal.done: ...                     # an earlier run settled it
        journal.begin(digest, origin)                      # before the sink is called
        journal.end(digest, outcome)                       # after it
        journal.sync()                                     # before the source is told

A line is one write to a file opened for appending, so several processes and threads may write; a line that was cut
short by a crash counts as not written. What was begun and not ended is *in doubt*: it may have been handed over, and is
sent again. A mail is known by its origin and its octets together: another message in the same place is another mail.

Never here: what is done about a mail. The first line ties the journal to the settings that decide what becomes of a
mail; a journal of other settings is refused.
"""

import fcntl
import json
import os
import threading
import time
from collections.abc import Container, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

from mailpipe.durable import sync_directory, write_all
from mailpipe.errors import EX_TEMPFAIL, ConfigError, OutputError
from mailpipe.pipeline.mail import Origin
from mailpipe.pipeline.outcome import Ending, Fate, Outcome
from mailpipe.status import EnhancedStatus

VERSION = 1
DIGEST_SIZE = 16
GROUP_SIZE = 256
"""Outcomes that share one fsync."""
GROUP_SECONDS = 1.0
"""How long an outcome waits for its fsync at most, as long as mail flows."""

_TABLE_NAMES = {"stage": "[[stage]]", "sink": "[sink]", "envelope": "[envelope]", "limits": "[limits]"}
_HEX = DIGEST_SIZE * 2
_END = b'{"end":"'
_BEGIN = b'{"begin":"'
_AT_SETTLED = len(_END) + _HEX + len(b'","settled":')
_AT_ROOT = _AT_SETTLED + len(b'1,"root":"')
_encode = json.JSONEncoder(separators=(",", ":")).encode
# Recipients that need no second attempt when the mail comes again.
_SETTLED_FATES = frozenset({Fate.DELIVERED.value, Fate.QUEUED.value, Fate.FAILED.value})


@lru_cache(maxsize=1024)
def _place(source: str, folder: str) -> bytes:
    """The same archive by another path is the same archive."""
    real = os.path.realpath(folder) if folder else ""
    return f"{source}\0{real}\0".encode("utf-8", "surrogateescape")


def digest_of(origin: Origin, octets: bytes) -> bytes:
    """What a mail is remembered by: 16 octets of its origin and its content."""
    folder, _, name = origin.location.rpartition("/")
    # files of one folder share the one look at the file system
    real = "" if origin.location == "-" else os.path.abspath(folder)  # noqa: PTH100 - it is asked for every mail
    place = _place(origin.source, real) + name.encode("utf-8", "surrogateescape")
    mark = (origin.ident or str(origin.offset)).encode("utf-8", "surrogateescape")
    return blake2b(place + b"\0" + mark + b"\0" + octets, digest_size=DIGEST_SIZE).digest()


class DigestSet:
    """Many digests in little memory: about 18 octets each where a set takes 100."""

    def __init__(self) -> None:
        self._buckets: dict[bytes, bytearray] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, digest: bytes) -> None:
        """Add one; again does nothing."""
        if digest not in self:
            self._buckets.setdefault(digest[:2], bytearray()).extend(digest[2:])
            self._count += 1

    def __contains__(self, digest: bytes) -> bool:
        bucket, rest = self._buckets.get(digest[:2]), digest[2:]
        at = bucket.find(rest) if bucket else -1
        while bucket and at >= 0:
            if at % len(rest) == 0:
                return True
            at = bucket.find(rest, at + 1)
        return False


@dataclass(frozen=True, slots=True)
class History:
    """What earlier runs did with a mail that they did not settle.

    Attributes:
        recipients: digest of it or of a mail made of it → addresses that need no second attempt.
        children: digests of mails made of it that are settled.
    """

    recipients: Mapping[bytes, frozenset[str]] = field(default_factory=dict)
    children: frozenset[bytes] = frozenset()


NO_HISTORY = History()


@dataclass(slots=True)
class Written:
    """What the journal has about one mail that entered and what was made of it.

    Attributes:
        open: begun and not ended.
        own: its own last end line, None where it has none.
        children: end lines of mails made of it, digest → fields.
    """

    open: set[bytes] = field(default_factory=set)
    own: dict[str, Any] | None = None
    children: dict[bytes, dict[str, Any]] = field(default_factory=dict)

    def take(self, root: bytes, digest: bytes, fields: dict[str, Any] | None) -> None:
        """Take in one more line: `fields` of an end line, None for a begin line."""
        if fields is None:
            self.open.add(digest)
            return
        self.open.discard(digest)
        if digest == root:
            self.own = fields
        else:
            self.children[digest] = fields


class Journal:
    """One journal file, open for appending.

    Attributes:
        path: where it lies.
        done: digests of the mails that are settled.
        in_doubt: digest → keys: mails that were begun and not ended when it was opened, by the mail that entered.
    """

    def __init__(self, descriptor: int, path: Path) -> None:
        self.path, self._descriptor = path, descriptor
        self.done = DigestSet()
        self.in_doubt: dict[bytes, list[str]] = {}
        self._open: dict[bytes, bytes] = {}
        self._recipients: dict[bytes, dict[bytes, frozenset[str]]] = {}
        self._children: dict[bytes, set[bytes]] = {}
        self._start = 0
        self._waiting, self._synced = 0, time.monotonic()
        self._counting = threading.Lock()

    @classmethod
    def open(cls, path: Path, settings: Mapping[str, str], *, fresh: bool = False) -> "Journal":
        """Open a journal and read what earlier runs did; make it where there is none.

        Args:
            path: the file.
            settings: table → digest, of what decides about a mail.
            fresh: put an existing journal aside as "….old" and start over.

        Raises:
            ConfigError: it belongs to other settings.
            OutputError: it cannot be written, is no journal, or another run uses it.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = _locked(path)
            if fresh and os.fstat(descriptor).st_size:
                _refuse_other_files(_first_line(descriptor), path)
                path.replace(path.with_name(path.name + ".old"))
                os.close(descriptor)
                descriptor = _locked(path)
        except OSError as error:
            remedy = "; set [run] journal to another file, or to false for none"
            trouble = OutputError.from_os(str(path), error)
            raise OutputError(str(path), trouble.reason + remedy, is_full=trouble.is_full) from error
        journal = cls(descriptor, path)
        try:
            journal._take_up(settings)
        except BaseException as error:
            journal.close()
            if isinstance(error, OSError):
                raise OutputError.from_os(str(path), error) from error
            raise
        return journal

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        """The descriptor, for another process of the same run: the lock goes with it."""
        return self._descriptor

    def close(self) -> None:
        """Let another run have it. What is not synced is left to the system."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            with suppress(OSError):  # it says nothing about what `sync` has confirmed
                os.close(descriptor)

    # -- reading ----------------------------------------------------------------------------------------------------

    def history(self, digest: bytes) -> History:
        """What is known of a mail that is not done."""
        recipients, children = self._recipients.get(digest), self._children.get(digest)
        if not recipients and not children:
            return NO_HISTORY
        return History(recipients or {}, frozenset(children or ()))

    def _take_up(self, settings: Mapping[str, str]) -> None:
        with os.fdopen(os.dup(self._descriptor), "rb") as file:
            file.seek(0)
            first = file.readline()
            if first.endswith(b"\n"):
                changed = _changed_tables(first, self.path, settings)
                if changed and not file.peek(1):
                    # nothing was begun under the other settings, so nothing would be continued
                    os.ftruncate(self._descriptor, 0)
                    self._write_header(settings)
                    changed = []
                if changed:
                    raise ConfigError(
                        f"{self.path}: {' and '.join(changed)} changed since this journal was begun; it would be wrong "
                        "to continue. Run with --fresh to start over, which sends again what was sent already, or undo "
                        "the change"
                    )
                last = first
                for last in file:
                    self._read(last)
                if not last.endswith(b"\n"):
                    self._write(b"\n")  # the next line must not grow onto the torn one
            elif len(first) < 4096 and first.startswith(b'{"mailpipe_journal"'[: len(first)]):
                # nothing, or a first line that a crash cut short: no mail had been begun
                os.ftruncate(self._descriptor, 0)
                self._write_header(settings)
            else:
                raise _no_journal(self.path)
        self._start = os.fstat(self._descriptor).st_size
        for line in self._open.values():
            with suppress(ValueError, KeyError, TypeError):  # it was cut short, and says nothing
                fields = json.loads(line)
                self.in_doubt.setdefault(bytes.fromhex(fields["root"]), []).append(str(fields["key"]))
        self._open.clear()

    def _write_header(self, settings: Mapping[str, str]) -> None:
        begun = datetime.now(UTC).isoformat(timespec="seconds")
        self._write(_line({"mailpipe_journal": VERSION, "settings": dict(settings), "begun": begun}))
        self.sync()
        sync_directory(self.path.parent)

    def _read(self, line: bytes) -> None:
        """Take in one line; one that makes no sense was cut short and says nothing."""
        try:
            if line.startswith(_END):
                digest = bytes.fromhex(line[len(_END) : len(_END) + _HEX].decode("ascii"))
                root = bytes.fromhex(line[_AT_ROOT : _AT_ROOT + _HEX].decode("ascii"))
                settled = line[_AT_SETTLED : _AT_SETTLED + 1]
                if len(digest) == len(root) == DIGEST_SIZE and settled in (b"0", b"1"):
                    self._ended(digest, root, settled == b"1", line)
            elif line.startswith(_BEGIN):
                # nearly every one is ended by a line soon after; what is in it is asked of those few that are not
                self._open[bytes.fromhex(line[len(_BEGIN) : len(_BEGIN) + _HEX].decode("ascii"))] = line
        except (ValueError, KeyError, TypeError):
            return

    def _ended(self, digest: bytes, root: bytes, is_settled: bool, line: bytes) -> None:
        self._open.pop(digest, None)
        if is_settled and digest == root:
            self._recipients.pop(root, None)
            self._children.pop(root, None)
            self.done.add(root)
        elif is_settled:
            self._children.setdefault(root, set()).add(digest)
        elif addresses := _settled_addresses(json.loads(line)):
            known = self._recipients.setdefault(root, {})
            known[digest] = known.get(digest, frozenset()) | addresses

    def written_for(self, roots: Container[bytes]) -> dict[bytes, Written]:
        """What this run wrote about some mails that entered; asked when a process that wrote it is gone.

        Raises:
            OutputError: the journal cannot be read.
        """
        found: dict[bytes, Written] = {}
        try:
            with self.path.open("rb") as file:
                file.seek(self._start)
                for line in file:
                    is_end = line.startswith(_END)
                    if not (is_end or line.startswith(_BEGIN)):
                        continue
                    try:
                        fields = json.loads(line)
                        digest = bytes.fromhex(fields["end" if is_end else "begin"])
                        root = bytes.fromhex(fields["root"])
                    except (ValueError, KeyError):
                        continue
                    if root in roots:
                        found.setdefault(root, Written()).take(root, digest, fields if is_end else None)
        except OSError as error:
            raise OutputError(str(self.path), f"cannot read: {error.strerror}") from error
        return found

    # -- writing ----------------------------------------------------------------------------------------------------

    def begin(self, digest: bytes, origin: Origin, root: bytes | None = None) -> None:
        """Note that the sink is about to be called.

        Args:
            digest: the mail's.
            origin: where it came from.
            root: digest of the mail that entered the pipeline; the mail itself by default.

        Raises:
            OutputError: it cannot be noted; the sink must not be called.
        """
        names = (_BEGIN, digest.hex().encode(), (root or digest).hex().encode(), _text(origin.key))
        self._write(b'%b%b","root":"%b","key":%b}\n' % names)

    def end(self, digest: bytes, outcome: Outcome, root: bytes | None = None) -> None:
        """Note how a mail ended.

        Args:
            digest: the mail's.
            outcome: how it ended.
            root: digest of the mail that entered the pipeline; the mail itself by default.

        Raises:
            OutputError: it cannot be noted; the mail is in doubt.
        """
        head = b'%b%b","settled":%d,"root":"%b",' % (
            _END, digest.hex().encode(), outcome.ending.is_settled, (root or digest).hex().encode(),
        )  # fmt: skip
        self._write(head + _line(outcome_fields(outcome))[1:])
        self.noted()

    def noted(self, count: int = 1) -> None:
        """Count outcomes that were written, here or by another process of the run, towards the next sync."""
        with self._counting:
            self._waiting += count

    @property
    def is_due(self) -> bool:
        """Whether it is time for `sync`."""
        if not self._waiting:
            return False
        return self._waiting >= GROUP_SIZE or time.monotonic() - self._synced >= GROUP_SECONDS

    def sync(self) -> None:
        """Make everything written so far survive a power cut.

        Raises:
            OutputError: it may not survive; sources must not be told.
        """
        with self._counting:
            self._waiting = 0
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise OutputError.from_os(str(self.path), error) from error
        self._synced = time.monotonic()

    def _write(self, line: bytes) -> None:
        try:
            write_all(self._descriptor, line)
        except OSError as error:
            raise OutputError.from_os(str(self.path), error) from error


def outcome_fields(outcome: Outcome) -> dict[str, Any]:
    """An outcome as plain values for JSON; what is empty is left out."""
    fields: dict[str, Any] = {
        "key": outcome.origin.key,
        "at": round(time.time(), 3),
        "ending": outcome.ending.value,
        "status": str(outcome.status),
        "reason": outcome.reason,
        "size_in": outcome.size_in,
        "size_out": outcome.size_out,
    }
    if outcome.stage:
        fields["stage"] = outcome.stage
    if outcome.receipt is not None:
        fields["reference"] = outcome.receipt.reference
        fields["recipients"] = [
            [entry.recipient.address, entry.fate.value, str(entry.status), entry.diagnostic]
            for entry in outcome.receipt.recipients
        ]
    if outcome.defects:
        fields["defects"] = dict(outcome.defects)
    if outcome.attachments:
        fields["attachments"] = [
            {"part": each.part, "filename": each.filename, "path": each.path, "sha256": each.sha256}
            for each in outcome.attachments
        ]
    if outcome.changes:
        fields["changes"] = list(outcome.changes)
    if outcome.trail:
        fields["trail"] = list(outcome.trail)
    return fields


def outcome_from(fields: Mapping[str, Any], origin: Origin) -> Outcome:
    """An outcome as the journal has it; attachments and the receipt stay there."""
    return Outcome(
        origin,
        Ending(fields["ending"]),
        EnhancedStatus.parse(fields["status"]),
        reason=str(fields.get("reason", "")),
        stage=str(fields.get("stage", "")),
        defects=fields.get("defects", {}),
        size_in=int(fields.get("size_in", 0)),
        size_out=int(fields.get("size_out", 0)),
    )


def _settled_addresses(fields: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(str(address) for address, fate, *_ in fields.get("recipients", ()) if fate in _SETTLED_FATES)


def _line(fields: Mapping[str, Any]) -> bytes:
    return _encode(fields).encode("ascii") + b"\n"


def _text(text: str) -> bytes:
    return _encode(text).encode("ascii")


def _locked(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        busy = OutputError(str(path), "another run of this pipeline is using this journal; wait for it, or stop it")
        busy.exit_code = EX_TEMPFAIL
        raise busy from None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _first_line(descriptor: int) -> bytes:
    return os.pread(descriptor, 4096, 0).partition(b"\n")[0]


def _no_journal(path: Path) -> OutputError:
    return OutputError(str(path), "there is a file of that name that is no journal; name another one in [run] journal")


def _refuse_other_files(line: bytes, path: Path) -> None:
    if not line.startswith(b'{"mailpipe_journal"'):
        raise _no_journal(path)


def _changed_tables(line: bytes, path: Path, settings: Mapping[str, str]) -> list[str]:
    """The tables of the pipeline file that are not those of a journal's first line."""
    try:
        header = json.loads(line)
        version, written = header["mailpipe_journal"], dict(header["settings"])
    except (ValueError, KeyError, TypeError):
        raise _no_journal(path) from None
    if version != VERSION:
        raise ConfigError(f"{path}: made by another version of mailpipe (format {version}); --fresh starts over")
    return [_TABLE_NAMES.get(name, name) for name, digest in settings.items() if written.get(name) != digest]
