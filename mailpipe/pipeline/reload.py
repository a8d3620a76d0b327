"""A pipeline file that is read again while its mail flows: the new one takes over between two mails, or not at all.

    reloader = Reloader(load, opened_pipeline)          # load() gives (registry, settings), as at the start
    with reloader.held() as pipeline:                   # one mail at a time; several threads may
        pipeline.process(raw)
    result = reloader.reload()                          # loads, checks, opens; keeps the old one where that fails
    with reloader.watch_signal(): ...                   # SIGHUP asks for it: reloader.reload_if_asked()

A file that cannot be used never stops what works: the result says why, and the old pipeline goes on. For a moment both
are open. Who holds the old one finishes with it; the last one closes it. Plugin files are imported anew each time;
installed distributions are not.

Never here: what a pipeline does, and what a verb says about it.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from mailpipe.errors import ConfigError, MailpipeError
from mailpipe.pipeline.assemble import Pipeline, assemble
from mailpipe.pipeline.registry import Registry
from mailpipe.pipeline.services import Clock
from mailpipe.pipeline.settings import Settings

PLUGIN_MODULES = "mailpipe_plugin_"
"""How the modules of plugin files begin, as `mailpipe.plugins` names them."""
LOOK_AGAIN = 0.3
"""Seconds between two looks at files that are watched."""

_TABLES = {
    "source": "[source]", "stage": "[[stage]]", "route": "[route]", "sink": "[sink]", "envelope": "[envelope]",
    "limits": "[limits]", "run": "[run]", "queue": "[queue]", "quarantine": "[quarantine]",
}  # fmt: skip


class Closable(Protocol):
    """What can be closed."""

    def close(self) -> object:
        """Release it."""


T = TypeVar("T", bound=Closable)


@dataclass(frozen=True, slots=True)
class ReloadResult:
    """What came of reading a pipeline file again.

    Attributes:
        is_taken: whether the new pipeline has taken over.
        file: the pipeline file, as it was given.
        changed: the tables that are different, as people write them: "[sink]", "[[stage]]".
        error: why the old one goes on, None where it does not.
    """

    is_taken: bool
    file: str
    changed: tuple[str, ...] = ()
    error: MailpipeError | None = None

    @property
    def words(self) -> str:
        """The same in a sentence; where there are several complaints, in several lines."""
        if self.error is not None:
            return f"{self.file} was read again and is not taken, the old one goes on:\n{self.error}"
        if not self.changed:
            return f"{self.file} was read again: no table changed"
        return f"{self.file} was read again: {' and '.join(self.changed)} changed"


@dataclass(slots=True, eq=False)
class _Held(Generic[T]):
    """One that is open, and how many are at work with it."""

    made: T
    settings: Settings
    users: int = 0
    is_old: bool = False


def opened_pipeline(settings: Settings, registry: Registry, before: Pipeline | None = None) -> Pipeline:
    """A pipeline with everything open, as `Reloader` wants it made.

    Raises:
        MailpipeError: it cannot be opened.
    """
    pipeline = assemble(settings, registry)
    pipeline.open()
    return pipeline


class Reloader(Generic[T]):
    """Something that is made from a pipeline file, and made anew when the file is read again.

    Args:
        load: reads and checks the file; called at once, and for each reload.
        make: opens what works with it, given the settings, the registry and the one before (None at the start); what it
            raises keeps the old one.

    Raises:
        MailpipeError: the file cannot be used, at the start.
    """

    def __init__(
        self, load: Callable[[], tuple[Registry, Settings]], make: Callable[[Settings, Registry, T | None], T]
    ) -> None:
        self._load, self._make = load, make
        self._changing, self._counting = threading.Lock(), threading.Lock()
        self._is_asked = False
        registry, settings = load()
        self._now: _Held[T] = _Held(make(settings, registry, None), settings)

    def __enter__(self) -> "Reloader[T]":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def settings(self) -> Settings:
        """Those that are in force."""
        return self._now.settings

    def current(self) -> T:
        """The one that is in force, for a look; who works with it while a reload may come takes it by `held`."""
        return self._now.made

    @contextmanager
    def held(self) -> Iterator[T]:
        """The one that is in force; it stays open until the block is left, whatever happens meanwhile."""
        with self._counting:
            held = self._now
            held.users += 1
        try:
            yield held.made
        finally:
            with self._counting:
                held.users -= 1
                is_over = held.is_old and not held.users
            if is_over:
                held.made.close()

    def reload(self) -> ReloadResult:
        """Read the file again, and let the new pipeline take over where it can be used. Never raises because of it."""
        with self._changing:
            file = str(self.settings.file)
            modules = {name: module for name, module in sys.modules.items() if name.startswith(PLUGIN_MODULES)}
            try:
                registry, settings = self._load()
                new = _Held(self._make(settings, registry, self._now.made), settings)
            except Exception as error:  # noqa: BLE001 - whatever is wrong with the new one, the old one works
                # the old one's classes are found by their modules
                sys.modules.update(modules)
                words = f"{type(error).__name__}: {error}"
                return ReloadResult(False, file, (), error if isinstance(error, MailpipeError) else ConfigError(words))
            with self._counting:
                old, self._now = self._now, new
                old.is_old, is_over = True, not old.users
            if is_over:
                with suppress(Exception):  # the new one has taken over; how the old one went is no matter
                    old.made.close()
            return ReloadResult(True, file, changed_tables(old.settings, settings))

    def close(self) -> None:
        """Close the one in force, at once or when its last user has finished."""
        with self._counting:
            self._now.is_old, is_over = True, not self._now.users
        if is_over:
            self._now.made.close()

    # -- asked for by a signal

    def ask(self) -> None:
        """Ask for a reload at the next opportunity; may be called from a signal handler."""
        self._is_asked = True

    def reload_if_asked(self) -> ReloadResult | None:
        """Reload if that was asked for; None where it was not. Called between two mails."""
        if not self._is_asked:
            return None
        self._is_asked = False
        return self.reload()

    @contextmanager
    def watch_signal(
        self,
        wake: Callable[[], None] | None = None,
        number: int = signal.SIGHUP,
        *,
        also_ignored: bool = False,
    ) -> Iterator[None]:
        """While it lasts, a signal asks for a reload.

        Args:
            wake: called by the handler, so that who waits looks up.
            number: the signal.
            also_ignored: take it up where it is ignored, as nohup has it: right for what has no terminal to lose, and
                is told to read its file again all the same.
        """

        def come(_number: int, _frame: object) -> None:
            self.ask()
            if wake is not None:
                wake()

        before: Any = None
        with suppress(ValueError):  # only the main thread may; a program that runs us in another one has its own way
            if also_ignored or signal.getsignal(number) is not signal.SIG_IGN:
                before = signal.signal(number, come)
        try:
            yield
        finally:
            if before is not None:
                signal.signal(number, before)


def changed_tables(old: Settings, new: Settings) -> tuple[str, ...]:
    """The tables that are different, as people write them."""
    first, second = _digests(old), _digests(new)
    different = {name for name in _TABLES if first.get(name) != second.get(name)}
    for name, was, now in (("sink", old.sink, new.sink), ("source", old.source, new.source)):
        # digests leave secrets out
        if was and now and type(was.options) is type(now.options) and was.options != now.options:
            different.add(name)
    return tuple(shown for name, shown in _TABLES.items() if name in different)


def _digests(settings: Settings) -> dict[str, object]:
    source, queue = settings.source, settings.queue
    return {
        **settings.digests,
        "source": source and (source.use, source.options.model_dump(mode="json")),
        "run": settings.run.model_dump(mode="json"),
        "queue": queue and queue.model_dump(mode="json"),
        "quarantine": settings.quarantine.model_dump(mode="json"),
    }


class FileWatch:
    """Files and folders, looked at again and again.

    Args:
        paths: files, and folders whose files are meant; one that is not there may come.
        clock: what is waited by.
    """

    def __init__(self, paths: Sequence[Path | str], clock: Clock) -> None:
        self._paths, self._clock = [Path(path) for path in paths], clock
        self._seen = self._look()

    def wait(self) -> list[str]:
        """Wait until something changed and then is quiet for one look; what changed, as paths."""
        while (now := self._look()) == self._seen:
            self._clock.sleep(LOOK_AGAIN)
        while True:  # an editor may write a file in several steps
            self._clock.sleep(LOOK_AGAIN)
            before, now = now, self._look()
            if now == before:
                break
        changed = sorted(path for path in {*now, *self._seen} if now.get(path) != self._seen.get(path))
        self._seen = now
        return changed

    def _look(self) -> dict[str, tuple[int, int, int]]:
        found: dict[str, tuple[int, int, int]] = {}
        for path in self._paths:
            _stamp(path, found)
            if path.is_dir():
                with suppress(OSError), os.scandir(path) as entries:
                    for entry in entries:
                        if not entry.name.startswith((".", "__pycache__")):
                            _stamp(Path(entry.path), found)
        return found


def _stamp(path: Path, found: dict[str, tuple[int, int, int]]) -> None:
    with suppress(OSError):
        stat = path.stat()
        # of a folder its files say what changed; its own time changes with files that are not looked at
        is_folder = path.is_dir()
        found[str(path)] = (0, 0, stat.st_ino) if is_folder else (stat.st_mtime_ns, stat.st_size, stat.st_ino)
