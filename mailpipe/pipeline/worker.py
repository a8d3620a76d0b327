"""What one of several processes does: it makes its own line, takes mails as they come, and answers with outcomes.

    work(open_line, recipe, jobs, answers, journal)        # until the pipe of jobs is closed

Mails come in chunks and outcomes go back in chunks, because waking another process costs as much as a small mail. An
outcome is in the journal before its answer is sent, so a worker that dies leaves on record what it has done.

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
from mailpipe.pipeline.journal import History, Journal
from mailpipe.pipeline.mail import Origin, RawMail
from mailpipe.pipeline.outcome import Outcome, Receipt, RecipientReceipt
from mailpipe.pipeline.registry import Registry
from mailpipe.pipeline.run import Engine, Line, Taken
from mailpipe.smtp.envelope import Envelope, ForwardPath, MailParameters
from mailpipe.status import EnhancedStatus

ANSWER_SECONDS = 0.05
"""How long an outcome waits at most for others to travel with, while the next mail is not a slow one."""


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
    """One mail to be done."""

    raw: RawMail
    digest: bytes
    history: History


@dataclass(frozen=True, slots=True)
class Ready:
    """An answer: the line is open."""


@dataclass(frozen=True, slots=True)
class Done:
    """An answer: the next mails, in the order of the jobs.

    Attributes:
        taken: what became of each.
        seconds: how long they took together.
        is_last: they were the last of their chunk.
    """

    taken: list[Taken]
    seconds: float
    is_last: bool


@dataclass(frozen=True, slots=True)
class Broken:
    """An answer: the worker cannot go on, and says why."""

    words: str
    exit_code: int


@dataclass(frozen=True, slots=True)
class Closed:
    """An answer, the last: what went wrong when the line was closed."""

    troubles: list[str]


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
        engine = Engine(line, Journal(*journal) if journal else None)
        answers.send(Ready())
        with suppress(EOFError):
            while True:
                _take_all(engine, jobs.recv(), answers)
    finally:
        troubles = close()
    answers.send(Closed(troubles))


def _take_all(engine: Engine, chunk: list[Job], answers: Connection) -> None:
    taken: list[Taken] = []
    began = time.monotonic()
    try:
        for job in chunk:
            now = time.monotonic()
            if taken and now - began >= ANSWER_SECONDS:
                answers.send(Done(taken, now - began, is_last=False))
                taken, began = [], now
            taken.append(engine.take(job.raw, job.digest, job.history))
    finally:
        # also when the journal has failed: what was done before is done
        answers.send(Done(taken, time.monotonic() - began, is_last=True))
