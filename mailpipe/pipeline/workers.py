"""The same engine in several processes: raw mail travels to them, outcomes travel back, messages do neither.

    with Workers(recipe, batch, count=4) as workers:
        workers.run()

Each process makes its own registry, stages and sink from the text of the pipeline file, and writes its own lines into
the one journal, whose lock it shares. Processes come from a fork server, not from a fork of the parent: that may have
threads (a progress bar, a sink's), and a fork copies their locks in whatever state they are; and not from a spawn, for
which each would import everything anew. Only two small chunks of mails, or one large mail, or as many as its sink takes
are under way to a worker at a time, so memory stays flat however large the archive is.

A worker that dies takes no mail with it: what the journal has is counted, the mails in hand go to another worker, each
alone, and one whose worker dies twice is deferred. When the parent dies, the pipes close, and workers end after the
mails in hand.

Never here: what happens to a mail; see `run`.
"""

import itertools
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
from mailpipe.pipeline.journal import History, Written, outcome_from
from mailpipe.pipeline.mail import Origin
from mailpipe.pipeline.outcome import Ending, Outcome
from mailpipe.pipeline.run import Taken
from mailpipe.pipeline.worker import Broken, Closed, Done, Job, OpenLine, Ready, Recipe, work
from mailpipe.status import EnhancedStatus

CHUNK_SECONDS, CHUNK_MAILS, CHUNK_OCTETS = 0.02, 64, 40_000
"""A chunk is about this much work for a worker, so many mails at most, and no more octets than that or one mail.

A worker has one chunk in hand and one that waits in its pipe. What waits must fit into the pipe (64 KiB), so that the
parent never waits for one worker while another has nothing to do.
"""
DEATHS = 2
"""How often a mail may be the one at which a worker dies."""
_IDLE_DEATHS = 3
_PATIENCE = 60.0


class WorkerTrouble(MailpipeError):
    """What a worker said when it could not go on; the words and the exit code are those of its own exception."""

    def __init__(self, words: str, exit_code: int) -> None:
        self.exit_code = exit_code
        super().__init__(words)


@dataclass(slots=True)
class _Task:
    """A mail on its way through the workers."""

    admitted: Admitted
    number: int
    deaths: int = 0

    @property
    def size(self) -> int:
        return len(self.admitted.raw.octets)


@dataclass(slots=True, eq=False)
class _Worker:
    process: Any
    jobs: Connection
    reader: threading.Thread | None = None
    tasks: dict[int, _Task] = field(default_factory=dict)
    chunks: int = 0
    in_flight: int = 1
    is_ready: bool = False
    is_closing: bool = False

    @property
    def is_idle(self) -> bool:
        return self.is_ready and not self.is_closing and not self.tasks

    def has_room(self, chunk: list[_Task]) -> bool:
        if not self.tasks:
            return self.is_idle
        # a mail at which a worker has died is given out alone, and nothing is put behind it
        if self.is_closing or chunk[0].deaths or any(task.deaths for task in self.tasks.values()):
            return False
        has_time = self.chunks < 2 or len(self.tasks) + len(chunk) <= self.in_flight
        return has_time and sum(task.size for task in chunk) <= CHUNK_OCTETS


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
        self._gathered: list[_Task] = []  # the chunk that is being filled
        self._gathered_octets = 0
        self._chunk_size = 1.0  # stays so without a journal: it tells what a dead worker had done of its chunk
        self._again: deque[_Task] = deque()  # given out once already
        self._numbers = itertools.count()
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
            for admitted in self._batch.mails():
                self._gather(_Task(admitted, next(self._numbers)))
                if self._trouble:
                    break
        except MailpipeError as error:
            # what is under way is brought to its end all the same
            self._source_trouble = error
        # a worker may still die when everything is given out, and what it had in hand is given out again
        while not self._trouble and (self._gathered or self._again or self._is_busy):
            self._give_out()
            while not self._again and self._is_busy:
                self._listen()
        while self._is_busy:
            self._listen()
        if trouble := self._trouble or self._source_trouble:
            raise trouble

    @property
    def _is_busy(self) -> bool:
        return any(worker.tasks for worker in self._workers)

    def _gather(self, task: _Task) -> None:
        """Add a mail to the chunk, and give that out when it is full or when somebody has nothing to do."""
        if self._gathered and self._gathered_octets + task.size > CHUNK_OCTETS:
            self._give_out()
        self._gathered.append(task)
        self._gathered_octets += task.size
        if len(self._gathered) >= self._chunk_size or any(worker.is_idle for worker in self._workers):
            self._give_out()
        while not self._events.empty():
            self._listen()

    def _give_out(self) -> None:
        """Send what was gathered, and before it what has to be done again; wait until workers have room."""
        chunk, self._gathered, self._gathered_octets = self._gathered, [], 0
        while (self._again or chunk) and not self._trouble:
            first = [self._again[0]] if self._again else chunk
            free = [worker for worker in self._workers if worker.has_room(first)]
            if not free:
                self._listen()
                continue
            if self._again:
                self._again.popleft()
            else:
                chunk = []
            self._send(min(free, key=lambda worker: (worker.chunks, len(worker.tasks))), first)

    def _send(self, worker: _Worker, chunk: list[_Task]) -> None:
        worker.tasks.update((task.number, task) for task in chunk)
        worker.chunks += 1
        given = ((task.number, task.admitted) for task in chunk)
        # a worker that is gone has an event waiting, and its tasks go to others
        with suppress(BrokenPipeError, ConnectionResetError):
            worker.jobs.send([Job(number, each.raw, each.digest, each.history) for number, each in given])

    def _listen(self) -> None:
        worker, event = self._events.get()
        if isinstance(event, Ready):
            worker.is_ready, worker.in_flight = True, event.in_flight
        elif isinstance(event, Done):
            self._take_in(worker, event)
        elif isinstance(event, Broken):
            self._trouble = self._trouble or WorkerTrouble(event.words, event.exit_code)
            worker.is_closing = True
        elif isinstance(event, Closed):
            self._closed(event)
        else:
            self._died(worker)

    def _take_in(self, worker: _Worker, done: Done) -> None:
        worker.chunks -= done.chunks
        for number, taken in done.taken:
            task = worker.tasks.pop(number)
            if self._batch.journal is not None:
                self._batch.journal.noted(len(taken.outcomes))
            self._record(task, taken)
        if done.taken and self._batch.journal is not None:
            fitting = CHUNK_SECONDS * len(done.taken) / max(done.seconds, 1e-6)
            self._chunk_size = min(float(CHUNK_MAILS), max(1.0, (3 * self._chunk_size + fitting) / 4))

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
        """The mails of a dead worker go on or end here; it died at one that was with the sink, or at the stages."""
        journal, tasks = self._batch.journal, list(worker.tasks.values())
        worker.tasks.clear()
        written: dict[bytes, Written] = {}
        if journal is not None:
            try:
                written = journal.written_for({task.admitted.digest for task in tasks})
            except MailpipeError as error:
                self._trouble = self._trouble or error
                return
        is_first = True  # of those that no line of the journal tells of: it was at the stages
        for task in tasks:
            about = written.get(task.admitted.digest)
            if about is not None and about.own is not None:
                self._record(task, _taken_from(about, task.admitted.raw.origin))
                continue
            is_open = about is not None and bool(about.open)
            if is_open or is_first:
                is_first = is_first and is_open
                task.deaths += 1
                if journal is None or is_open:
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
            target=work, args=(self._open_line, self._recipe, take, tell, shared), name="mailpipe-worker"
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
            if isinstance(event, Closed):
                self._closed(event)

    def _closed(self, event: Closed) -> None:
        for sentence in event.troubles:
            self._batch.warn(sentence)
        self._batch.tally.measure(event.metrics)


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
