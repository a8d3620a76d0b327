"""What one of several processes does: it makes its own line, takes mails as they come, and answers with outcomes.

    work(open_line, recipe, jobs, answers, journal)        # until the pipe of jobs is closed

Mails come in chunks and outcomes go back in chunks, because waking another process costs as much as a small mail. An
outcome is in the journal before its answer is sent, so a worker that dies leaves on record what it has done. Where the
sink takes several mails at a time, so many are under way; not so without a journal, which then could not tell.

Never here: which mail goes where, and what is done when a worker dies; see `workers`.
"""

import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from operator import attrgetter
from pathlib import Path
from typing import Any

from mailpipe.errors import EX_SOFTWARE, MailpipeError
from mailpipe.pipeline.flight import Flight
from mailpipe.pipeline.journal import History, Journal
from mailpipe.pipeline.mail import Origin, RawMail
from mailpipe.pipeline.outcome import Outcome, Receipt, RecipientReceipt
from mailpipe.pipeline.registry import Registry
from mailpipe.pipeline.run import Engine, Line, Taken
from mailpipe.smtp.envelope import Envelope, ForwardPath, MailParameters
from mailpipe.status import EnhancedStatus

ANSWER_SECONDS = 0.05
"""How long an outcome waits at most for others to travel with, while the next mail is not a slow one."""
_LOOK_SECONDS = 0.005
"""How often is looked for outcomes while no mail comes and some are under way."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a worker makes its line from; plain values, for another process.

    Attributes:
        rebuild: makes the registry.
        text, file, overrides: what the settings are read from.
        sink: name and pickled options of a sink in place of that of the settings, None for that.
    """

    rebuild: Callable[[], Registry]
    text: str
    file: Path
    overrides: tuple[str, ...]
    sink: tuple[str, bytes] | None = None


OpenLine = Callable[[Recipe], tuple[Line, Callable[[], list[str]]]]
"""Makes and opens a line from a recipe; gives it with what closes it, which tells its troubles."""


@dataclass(frozen=True, slots=True)
class Job:
    """One mail to be done, by its number."""

    number: int
    raw: RawMail
    digest: bytes
    history: History


@dataclass(frozen=True, slots=True)
class Ready:
    """An answer: the line is open, and so many mails may be under way."""

    in_flight: int


@dataclass(frozen=True, slots=True)
class Done:
    """An answer: mails that have ended.

    Attributes:
        taken: number of the job, and what became of it.
        seconds: how long they took together.
        chunks: how many chunks have ended with them.
    """

    taken: list[tuple[int, Taken]]
    seconds: float
    chunks: int


@dataclass(frozen=True, slots=True)
class Broken:
    """An answer: the worker cannot go on, and says why."""

    words: str
    exit_code: int


@dataclass(frozen=True, slots=True)
class Closed:
    """An answer, the last.

    Attributes:
        troubles: what went wrong when the line was closed.
        metrics: what the stages counted.
    """

    troubles: list[str]
    metrics: dict[str, float]


def _travel_light(*kinds: Any) -> None:
    """Pickle dataclasses as their fields in order; the way that they come with costs ten times as much."""
    for kind in kinds:
        ForkingPickler.register(kind, partial(_reduced, kind, attrgetter(*(each.name for each in fields(kind)))))


def _reduced(kind: type, values: Callable[[Any], tuple[Any, ...]], value: Any) -> tuple[type, tuple[Any, ...]]:
    return kind, values(value)


_travel_light(Job, Done, Taken, History, RawMail, Origin, Outcome, Receipt, RecipientReceipt)
_travel_light(EnhancedStatus, Envelope, MailParameters, ForwardPath)


def work(
    open_line: OpenLine, recipe: Recipe, jobs: Connection, answers: Connection, journal: tuple[int, Path] | None
) -> None:
    """Everything that a worker does, from its beginning to its end.

    Args:
        open_line: makes the line.
        recipe: from this.
        jobs: lists of `Job` come from here.
        answers: go here.
        journal: descriptor and path of the journal of the run, None for none.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # the parent decides when to stop; a key press or a service manager signals all of us at once
        signal.signal(number, signal.SIG_IGN)
    with suppress(BrokenPipeError, ConnectionResetError):
        try:
            _serve(open_line, recipe, jobs, answers, journal)
        except MailpipeError as error:
            answers.send(Broken(str(error), error.exit_code))
        except Exception as error:  # noqa: BLE001 - the parent must learn of it, in one line
            answers.send(Broken(f"a worker failed: {type(error).__name__}: {error}", EX_SOFTWARE))


def _serve(
    open_line: OpenLine, recipe: Recipe, jobs: Connection, answers: Connection, journal: tuple[int, Path] | None
) -> None:
    line, close = open_line(recipe)
    try:
        desk = _Desk(Engine(line, Journal(*journal) if journal else None), answers)
        with suppress(EOFError):
            while True:
                desk.wait_for(jobs)
                desk.take_all(jobs.recv())
        desk.land()
    finally:
        troubles = close()
    answers.send(Closed(troubles, line.metrics.values))


class _Desk:
    """Gives mails to the engine, and answers with outcomes.

    Args:
        engine: its line is open.
        answers: where to.
    """

    def __init__(self, engine: Engine, answers: Connection) -> None:
        # without a journal nobody could tell which of several mails a dead worker may have handed over
        self._flight = Flight(engine, self._ended, None if engine.journal else 1)
        self._answers = answers
        self._ready: list[tuple[int, Taken]] = []
        self._left: dict[int, int] = {}  # chunk → jobs that have not ended
        self._chunks_done = self._chunk = 0
        self._began = time.monotonic()
        answers.send(Ready(engine.line.sink.in_flight if engine.journal else 1))

    def wait_for(self, jobs: Connection) -> None:
        """Wait for the next jobs, and answer meanwhile."""
        while not self._flight.is_empty and not jobs.poll(_LOOK_SECONDS):
            self._look()
        if self._flight.is_empty:
            self._answer()

    def take_all(self, chunk: list[Job]) -> None:
        """Take some mails through the stages, and to the sink or on their way to it."""
        if self._flight.is_empty:
            self._began = time.monotonic()
        self._chunk += 1
        self._left[self._chunk] = len(chunk)
        try:
            for job in chunk:
                self._flight.take((self._chunk, job.number), job.raw, job.digest, job.history)
                if time.monotonic() - self._began >= ANSWER_SECONDS:
                    self._answer()
        except MailpipeError:
            with suppress(MailpipeError):  # the first one says why
                self.land()
            raise
        if self._chunks_done:
            self._answer()

    def land(self) -> None:
        """Answer for all that is under way."""
        try:
            self._flight.land()
        finally:
            self._answer()

    def _look(self) -> None:
        self._flight.look()
        if self._chunks_done or time.monotonic() - self._began >= ANSWER_SECONDS:
            self._answer()

    def _ended(self, word: tuple[int, int], taken: Taken) -> None:
        chunk, number = word
        self._ready.append((number, taken))
        self._left[chunk] -= 1
        if not self._left[chunk]:
            del self._left[chunk]
            self._chunks_done += 1

    def _answer(self) -> None:
        if self._ready:
            now = time.monotonic()
            ready, chunks, seconds = self._ready, self._chunks_done, now - self._began
            self._ready, self._chunks_done, self._began = [], 0, now
            self._answers.send(Done(ready, seconds, chunks))
