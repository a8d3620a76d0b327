"""What a journal tells about a mail: how it ended and why, in every run that had it in hand.

    found = inquire(path, Wanted(key="archive.mbox:592"))
    for story in found.stories: story.ending, story.last, story.attempts

The journal is read twice from its beginning to its end, whatever its size, and never held in memory; another process
may be writing it. A line that makes no sense was cut short and says nothing.

Never here: what is in the mail itself; see `recognise`.
"""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any

from mailpipe.errors import InputError
from mailpipe.pipeline.journal import DIGEST_SIZE, VERSION

IN_DOUBT = "in-doubt"
"""In place of an ending: begun, and not ended by any run."""
MOST_CANDIDATES = 100_000
"""LIMIT: mails that are kept as possible answers; an inquiry that fits more is cut."""
MOST_LINES = 1_000
"""LIMIT: lines of one mail that are kept; a mail may be made into thousands, and fail in a thousand runs."""
_FINE = ("delivered", "split")
_NEAREST = 3
_TELL = 4096

OnProgress = Callable[[int], None]
"""Told octets that were read."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which mails are asked about; where nothing is said, all that did not end well.

    Attributes:
        key: "mbox:archive.mbox:592", or the same without its source or folder, or the digest in the journal.
        keys: any of these keys.
        ending: their last ending, "in-doubt" included.
        recipient: an address that a sink was given.
    """

    key: str = ""
    keys: frozenset[str] = frozenset()
    ending: str = ""
    recipient: str = ""

    @property
    def is_everything_bad(self) -> bool:
        """Whether nothing was said."""
        return not (self.key or self.keys or self.ending or self.recipient)

    def names(self, key: str, digest: str, root: str) -> bool:
        """Whether a line is of a mail that is asked about by its name."""
        if self.keys:
            return key in self.keys or root_key(key) in self.keys
        if not self.key:
            return True
        own = root_key(key)
        names = (key, key.partition(":")[2], own, own.partition(":")[2], digest, root)
        return self.key in names or key.endswith(f"/{self.key}") or own.endswith(f"/{self.key}")

    def fits(self, fields: dict[str, Any]) -> bool:
        """Whether an end line fits what is asked beside the name."""
        ending = fields.get("ending")
        if self.ending and ending != self.ending:
            return False
        if self.recipient:
            wanted = self.recipient.casefold()
            return any(str(each[0]).casefold() == wanted for each in fields.get("recipients", ()))
        return not self.is_everything_bad or ending not in _FINE


@dataclass(slots=True)
class Attempt:
    """One time that a mail was in hand.

    Attributes:
        key: of it, or of the mail that was made of it.
        digest: what the journal knows it by.
        is_begun: whether the sink was asked.
        fields: how it ended, as the journal has it; None where it never did: it was in hand when the run broke off.
    """

    key: str
    digest: str
    is_begun: bool = False
    fields: dict[str, Any] | None = None

    @property
    def ending(self) -> str:
        """As a word."""
        return str(self.fields.get("ending", "")) if self.fields is not None else IN_DOUBT


@dataclass(slots=True)
class Story:
    """A mail that entered, with what was made of it.

    Attributes:
        root: its digest.
        key: where it came from.
        attempts: its own, the oldest first.
        made: key → attempts, of the mails that were made of it.
        lines_left_out: how many lines were too many to be kept.
    """

    root: str
    key: str = ""
    attempts: list[Attempt] = field(default_factory=list)
    made: dict[str, list[Attempt]] = field(default_factory=dict)
    lines_left_out: int = 0
    _lines: int = 0

    @property
    def last(self) -> Attempt | None:
        """How it ended in the end; None where only what was made of it is known."""
        return self.attempts[-1] if self.attempts else None

    @property
    def ending(self) -> str:
        """As a word."""
        return self.last.ending if self.last is not None else IN_DOUBT

    def take(self, kind: str, fields: dict[str, Any]) -> None:
        """Take in one line."""
        self._lines += 1
        if self._lines > MOST_LINES:
            self.lines_left_out += 1
            return
        digest, key = str(fields[kind]), str(fields["key"])
        attempts = self.attempts if digest == self.root else self.made.setdefault(key, [])
        if digest == self.root or not self.key:
            self.key = key if digest == self.root else root_key(key)
        if kind == "begin":
            attempts.append(Attempt(key, digest, is_begun=True))
        elif attempts and attempts[-1].fields is None:
            attempts[-1].fields = fields
        else:
            attempts.append(Attempt(key, digest, fields=fields))


@dataclass(slots=True)
class Found:
    """What an inquiry came to.

    Attributes:
        begun: when the journal was begun, as it says.
        matched: how many mails fit.
        is_cut: whether more than could be kept fitted.
        stories: the first of them, in the order of the journal.
        nearest: where none fits a key, keys that are near.
        lines: how many lines were read.
    """

    begun: str = ""
    matched: int = 0
    is_cut: bool = False
    stories: list[Story] = field(default_factory=list)
    nearest: list[str] = field(default_factory=list)
    lines: int = 0


def inquire(
    path: Path | str, wanted: Wanted, limit: int = 20, on_progress: OnProgress | None = None
) -> Found:
    """Ask a journal.

    Args:
        path: the journal.
        wanted: about which mails.
        limit: how many stories at most.
        on_progress: told now and then how many octets were read; the file is read twice.

    Raises:
        InputError: it cannot be read, or is no journal.
    """
    found = Found()
    near = _Nearest(wanted.key)
    candidates: dict[str, set[str]] = {}
    open_: dict[str, str] = {}
    asks_doubt = wanted.ending == IN_DOUBT or wanted.is_everything_bad
    for kind, fields in _lines(path, found, on_progress):
        digest, root, key = str(fields[kind]), str(fields["root"]), str(fields["key"])
        is_meant = wanted.names(key, digest, root)
        if not is_meant:
            near.see(key)
        if kind == "begin":
            if is_meant:
                open_[digest] = root
            continue
        open_.pop(digest, None)
        if is_meant and wanted.fits(fields):
            if root in candidates or len(candidates) < MOST_CANDIDATES:
                candidates.setdefault(root, set()).add(digest)
            else:
                found.is_cut = True
        elif root in candidates:
            # a later word about it counts more
            candidates[root].discard(digest)
            if not candidates[root]:
                del candidates[root]
    if asks_doubt or wanted.key or wanted.keys:
        for digest, root in open_.items():
            candidates.setdefault(root, set()).add(digest)
    found.matched = len(candidates)
    if not candidates:
        found.nearest = near.keys
        return found
    stories = {root: Story(root) for root in list(candidates)[:limit]}
    for kind, fields in _lines(path, Found(), on_progress):
        if (story := stories.get(str(fields["root"]))) is not None:
            story.take(kind, fields)
    found.stories = list(stories.values())
    return found


def is_journal(path: Path | str) -> bool:
    """Whether a file begins like a journal.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            return file.read(20).startswith(b'{"mailpipe_journal"')
    except OSError as error:
        raise InputError.from_os(str(path), error) from error


def keys_of(path: Path | str, on_progress: OnProgress | None = None) -> Iterator[str]:
    """The key of each line.

    Raises:
        InputError: the journal cannot be read, or is none.
    """
    for _, fields in _lines(path, Found(), on_progress):
        yield str(fields["key"])


def root_key(key: str) -> str:
    """The key of the mail that entered, as far as a key tells: "mbox:a.mbox:592/1" is of "mbox:a.mbox:592"."""
    place, colon, mark = key.rpartition(":")
    source = key.partition(":")[0]
    # the marks of other sources are names, which may hold a slash themselves
    return f"{place}{colon}{mark.partition('/')[0]}" if source in ("mbox", "stdin") else key


def _lines(path: Path | str, found: Found, on_progress: OnProgress | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """The lines that say something, as ("begin" or "end", fields)."""
    try:
        with Path(path).open("rb") as file:
            found.begun = _header(file.readline(1 << 16), str(path))
            for number, line in enumerate(file):
                found.lines += 1
                if on_progress is not None and number % _TELL == 0:
                    on_progress(file.tell())
                kind = "end" if line.startswith(b'{"end":"') else "begin" if line.startswith(b'{"begin":"') else ""
                if not kind:
                    continue
                try:
                    fields = json.loads(line)
                except ValueError:
                    continue
                if len(str(fields.get(kind))) == 2 * DIGEST_SIZE and "root" in fields and "key" in fields:
                    yield kind, fields
            if on_progress is not None:
                on_progress(os.fstat(file.fileno()).st_size)
    except OSError as error:
        raise InputError.from_os(str(path), error) from error


def _header(line: bytes, path: str) -> str:
    try:
        header = json.loads(line)
        version, begun = header["mailpipe_journal"], str(header.get("begun", ""))
    except (ValueError, KeyError, TypeError):
        raise InputError(path, "is no journal of mailpipe") from None
    if version != VERSION:
        raise InputError(path, f"is a journal of another version of mailpipe (format {version})")
    return begun


class _Nearest:
    """The keys that are nearest to one, of as many as there are: it keeps three, and looks at each once."""

    def __init__(self, wanted: str) -> None:
        self._wanted = wanted
        self._best: list[tuple[tuple[int, int], str]] = []

    @property
    def keys(self) -> list[str]:
        return [key for _, key in self._best]

    def see(self, key: str) -> None:
        if not self._wanted:
            return
        distance = self._distance(key)
        if len(self._best) == _NEAREST and distance >= self._best[-1][0]:
            return
        if all(key != known for _, known in self._best):
            self._best = sorted([*self._best, (distance, key)])[:_NEAREST]

    def _distance(self, key: str) -> tuple[int, int]:
        """Octets that they do not begin with in common, then how far their numbers are apart."""
        best = (1 << 30, 1 << 62)
        for candidate in (key, key.partition(":")[2]):
            pairs = zip(candidate, self._wanted, strict=False)
            common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
            place, _, mark = candidate.rpartition(":")
            wanted_place, _, wanted_mark = self._wanted.rpartition(":")
            if place == wanted_place and mark.isdecimal() and wanted_mark.isdecimal():
                best = min(best, (0, abs(int(mark[:18]) - int(wanted_mark[:18]))))
            else:
                best = min(best, (len(self._wanted) - common + 1, abs(len(candidate) - len(self._wanted))))
        return best
