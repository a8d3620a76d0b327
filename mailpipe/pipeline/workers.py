"""The same engine in several processes: raw mail travels to them, outcomes travel back, messages do neither.

    with Workers(recipe, batch, count=4) as workers:
        workers.run()

Each process makes its own registry, stages and sink from the text of the pipeline file, and writes its own lines into
the one journal, whose lock it shares. Processes come from a fork server, not from a fork of the parent: that may have
threads (a progress bar, a sink's), and a fork copies their locks in whatever state they are; and not from a spawn, for
which each would import everything anew. Only what fits into a few megabytes is under way to a worker at a time, so
memory stays flat however large the archive is.

A worker that dies takes no mail with it: what the journal has is counted, the mail in hand goes to another worker, and
one whose worker dies twice is deferred. When the parent dies, the pipes close, and workers end after the mail in hand.

Never here: what happens to a mail; see `run`.
"""

import multiprocessing
import pickle
import signal
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.reduction import DupFd
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from mailpipe.errors import EX_SOFTWARE, MailpipeError
from mailpipe.pipeline.batch import Admitted, Batch
from mailpipe.pipeline.journal import History, Journal, Written, outcome_from
from mailpipe.pipeline.mail import Origin, RawMail
from mailpipe.pipeline.outcome import Ending, Outcome
from mailpipe.pipeline.registry import Registry
from mailpipe.pipeline.run import Engine, Line, Taken
from mailpipe.status import EnhancedStatus

JOBS, OCTETS = 8, 4 << 20
"""How much is under way to one worker: jobs, and octets beyond the first job."""
DEATHS = 2
"""How often a mail may be the one at which a worker dies."""
_IDLE_DEATHS = 3
_PATIENCE = 60.0


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
class _Job:
    number: int
    raw: RawMail
    digest: bytes
    history: History


@dataclass(frozen=True, slots=True)
class _Ready:
    """The line is open."""


@dataclass(frozen=True, slots=True)
class _Done:
    number: int
    taken: Taken


@dataclass(frozen=True, slots=True)
class _Broken:
    """The worker cannot go on, and says why."""

    words: str
    exit_code: int


@dataclass(frozen=True, slots=True)
class _Closed:
    troubles: list[str]


class WorkerTrouble(MailpipeError):
    """What a worker said when it could not go on; the words and the exit code are those of its own exception."""

    def __init__(self, words: str, exit_code: int) -> None:
        self.exit_code = exit_code
        super().__init__(words)


# -- in the worker ----------------------------------------------------------------------------------------------------


def _work(
    open_line: OpenLine, recipe: Recipe, jobs: Connection, answers: Connection, journal: tuple[int, Path] | None
) -> None:
    """What a worker does from its beginning to its end."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # the parent decides when to stop; a key press or a service manager signals all of us at once
        signal.signal(number, signal.SIG_IGN)
    with suppress(BrokenPipeError, ConnectionResetError):
        try:
            _serve(open_line, recipe, jobs, answers, journal)
        except MailpipeError as error:
            answers.send(_Broken(str(error), error.exit_code))
        except Exception as error:  # noqa: BLE001 - the parent must learn of it, in one line
            answers.send(_Broken(f"a worker failed: {type(error).__name__}: {error}", EX_SOFTWARE))


def _serve(
    open_line: OpenLine, recipe: Recipe, jobs: Connection, answers: Connection, journal: tuple[int, Path] | None
) -> None:
    line, close = open_line(recipe)
    try:
        engine = Engine(line, Journal(*journal) if journal else None)
        answers.send(_Ready())
        while True:
            try:
                job: _Job = jobs.recv()
            except EOFError:
                break
            answers.send(_Done(job.number, engine.take(job.raw, job.digest, job.history)))
    finally:
        troubles = close()
    answers.send(_Closed(troubles))


# -- in the parent ----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Task:
    """A mail on its way through the workers."""

    number: int
    admitted: Admitted
    deaths: int = 0

    @property
    def size(self) -> int:
        return len(self.admitted.raw.octets)


@dataclass(slots=True, eq=False)
class _Worker:
    process: Any
    jobs: Connection
    reader: threading.Thread | None = None
    tasks: deque[_Task] = field(default_factory=deque)
    octets: int = 0
    is_ready: bool = False
    is_closing: bool = False

    def has_room(self, task: _Task) -> bool:
        if not self.is_ready or self.is_closing:
            return False
        if not self.tasks:
            return True
        # a mail at which a worker has died is given out alone, and nothing is put behind it
        if task.deaths or any(each.deaths for each in self.tasks):
            return False
        return len(self.tasks) < JOBS and self.octets + task.size <= OCTETS


class Workers:
    """Several processes that take the mails of one batch.

    Args:
        open_line: what each process makes its line with; a function of a module.
        recipe: what from.
        batch: the mails.
        count: how many processes.
    """

    def __init__(self, open_line: OpenLine, recipe: Recipe, batch: Batch, count: int) -> None:
        self._open_line, self._recipe, self._batch, self._count = open_line, recipe, batch, count
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([open_line.__module__])
        self._workers: list[_Worker] = []
        self._events: SimpleQueue[tuple[_Worker, object]] = SimpleQueue()
        self._again: deque[_Task] = deque()
        self._idle_deaths = 0
        self._trouble: MailpipeError | None = None  # what makes going on useless
        self._source_trouble: MailpipeError | None = None

    def __enter__(self) -> "Workers":
        for _ in range(self._count):
            self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def run(self) -> None:
        """Take every mail of the batch to its outcome.

        Raises:
            MailpipeError: a source cannot be read, the journal not be written, or no worker can work.
        """
        try:
            for number, admitted in enumerate(self._batch.mails()):
                self._give(_Task(number, admitted))
                if self._trouble:
                    break
        except MailpipeError as error:
            # what is under way is brought to its end all the same
            self._source_trouble = error
        while self._again or any(worker.tasks for worker in self._workers):
            if self._trouble:
                self._again.clear()
            if self._again:
                self._give(self._again.popleft())
            else:
                self._listen()
        if trouble := self._trouble or self._source_trouble:
            raise trouble

    def _give(self, task: _Task) -> None:
        """Send a mail to the worker that has least to do; wait until one has room."""
        self._again.append(task)
        while self._again and not self._trouble:
            task = self._again[0]
            free = [worker for worker in self._workers if worker.has_room(task)]
            if free:
                self._again.popleft()
                self._send(min(free, key=lambda worker: (len(worker.tasks), worker.octets)), task)
            else:
                self._listen()
        while not self._events.empty():
            self._listen()

    def _send(self, worker: _Worker, task: _Task) -> None:
        admitted = task.admitted
        worker.tasks.append(task)
        worker.octets += task.size
        # a worker that is gone has an event waiting, and its tasks go to others
        with suppress(BrokenPipeError, ConnectionResetError):
            worker.jobs.send(_Job(task.number, admitted.raw, admitted.digest, admitted.history))

    def _listen(self) -> None:
        worker, event = self._events.get()
        if isinstance(event, _Ready):
            worker.is_ready = True
        elif isinstance(event, _Done):
            task = worker.tasks.popleft()
            worker.octets -= task.size
            if self._batch.journal is not None:
                self._batch.journal.noted(len(event.taken.outcomes))
            self._record(task, event.taken)
        elif isinstance(event, _Broken):
            self._trouble = self._trouble or WorkerTrouble(event.words, event.exit_code)
            worker.is_closing = True
        elif isinstance(event, _Closed):
            for sentence in event.troubles:
                self._batch.warn(sentence)
        else:
            self._died(worker)

    def _record(self, task: _Task, taken: Taken) -> None:
        try:
            self._batch.record(task.admitted, taken)
        except MailpipeError as error:
            self._trouble = self._trouble or error

    # -- deaths -----------------------------------------------------------------------------------------------------

    def _died(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.jobs.close()
        worker.process.join()
        if not worker.tasks and not worker.is_ready:
            self._idle_deaths += 1
        if worker.is_closing or self._trouble:
            # it said why; what it had in hand is on record or comes again with the next run
            worker.tasks.clear()
            return
        words = _death_words(worker.process.exitcode)
        if self._idle_deaths >= _IDLE_DEATHS:
            self._trouble = WorkerTrouble(f"workers die before they can work ({words})", EX_SOFTWARE)
            return
        self._batch.warn(f"a worker process {words}; another took its place")
        self._take_back(worker, words)
        self._start()

    def _take_back(self, worker: _Worker, words: str) -> None:
        """The mails of a dead worker, the one in hand first, go on or end here."""
        journal, tasks = self._batch.journal, list(worker.tasks)
        worker.tasks.clear()
        written: dict[bytes, Written] = {}
        if journal is not None:
            try:
                written = journal.written_for({task.admitted.digest for task in tasks})
            except MailpipeError as error:
                self._trouble = self._trouble or error
                return
        was_in_hand = True
        for task in tasks:
            about = written.get(task.admitted.digest)
            if about is not None and about.own is not None:
                self._record(task, _taken_from(about, task.admitted.raw.origin))
                continue
            if was_in_hand:
                was_in_hand = False
                task.deaths += 1
                if journal is None or (about is not None and about.open):
                    self._batch.tally.in_doubt.append(task.admitted.raw.origin.key)
            if about is not None and about.children:
                before = task.admitted.history
                task.admitted.history = History(before.recipients, before.children | _settled(about))
            if task.deaths < DEATHS:
                self._again.append(task)
            else:
                self._give_up(task, words)

    def _give_up(self, task: _Task, words: str) -> None:
        raw = task.admitted.raw
        reason = f"{task.deaths} worker processes ended at this mail; the last one {words}"
        outcome = Outcome(
            raw.origin, Ending.DEFERRED, EnhancedStatus(4, 3, 0), reason, size_in=len(raw.octets)
        )
        try:
            if self._batch.journal is not None:
                self._batch.journal.end(task.admitted.digest, outcome)
        except MailpipeError as error:
            self._trouble = self._trouble or error
            return
        self._record(task, Taken([outcome]))

    # -- life -------------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        take, give = self._context.Pipe(duplex=False)
        hear, tell = self._context.Pipe(duplex=False)
        journal = self._batch.journal
        shared = None if journal is None else _Shared(journal.fileno(), journal.path)
        process = self._context.Process(
            target=_work, args=(self._open_line, self._recipe, take, tell, shared), name="mailpipe-worker"
        )
        process.start()
        take.close()
        tell.close()
        worker = _Worker(process, give)
        worker.reader = threading.Thread(target=self._read, args=(worker, hear), daemon=True)
        self._workers.append(worker)
        worker.reader.start()

    def _read(self, worker: _Worker, hear: Connection) -> None:
        """In a thread for each worker: so that no worker ever waits for somebody to take its answer."""
        try:
            with hear:
                while True:
                    self._events.put((worker, hear.recv()))
        except (EOFError, OSError, pickle.UnpicklingError):
            pass
        finally:
            self._events.put((worker, None))

    def _close(self) -> None:
        for worker in self._workers:
            worker.is_closing = True
            worker.jobs.close()
        for worker in self._workers:
            worker.process.join(_PATIENCE)
            if worker.process.is_alive():
                self._batch.warn(f"a worker process did not end within {_PATIENCE:.0f} seconds and was killed")
                worker.process.kill()
                worker.process.join()
            if worker.reader is not None:
                worker.reader.join()
        self._workers = []
        while not self._events.empty():
            _, event = self._events.get()
            if isinstance(event, _Closed):
                for sentence in event.troubles:
                    self._batch.warn(sentence)


class _Shared:
    """The journal's open file on its way to a worker: a duplicate of the descriptor carries the lock along."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self.descriptor, self.path = descriptor, path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return _received, (DupFd(self.descriptor), self.path)


def _received(duplicate: Any, path: Path) -> tuple[int, Path]:
    return duplicate.detach(), path


def _taken_from(written: Written, origin: Origin) -> Taken:
    assert written.own is not None
    children = [
        outcome_from(fields, Origin(origin.source, origin.location, origin.offset, ident=str(fields.get("key", ""))))
        for fields in written.children.values()
    ]
    return Taken([outcome_from(written.own, origin), *children])


def _settled(written: Written) -> frozenset[bytes]:
    return frozenset(digest for digest, fields in written.children.items() if fields.get("settled"))


def _death_words(code: int | None) -> str:
    if code is not None and code < 0:
        try:
            return f"was killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"was killed by signal {-code}"
    return f"ended with exit code {code}"
