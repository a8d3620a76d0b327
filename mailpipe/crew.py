"""A few threads that do jobs side by side, and say to whom gave them what came of each.

    crew = Crew(work, size=20, width=5)
    crew.give(job, lane="example.net")          # at most five of one lane are done at a time
    ended = crew.ended()                        # waits for the next: ended.job, ended.answer

Everything but the work itself is done in the thread that gives the jobs.

Never here: what the work is; how many jobs are taken in before some have ended.
"""

import itertools
import threading
from collections import Counter, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

J = TypeVar("J")
A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class Ended(Generic[J, A]):
    """A job that was done.

    Attributes:
        job: as it was given.
        answer: what the work returned, None where it raised.
        error: what it raised.
    """

    job: J
    answer: A | None
    error: BaseException | None = None


class Crew(Generic[J, A]):
    """Threads, started when they are needed; none of them outlives the process or keeps it from ending.

    Args:
        work: does one job; in several threads at a time.
        size: how many jobs are done at a time.
        width: how many of one lane; None for no limit.
        name: of the threads.
    """

    def __init__(self, work: Callable[[J], A], size: int, width: int | None = None, name: str = "crew") -> None:
        self._work, self._size, self._width, self._name = work, size, width or size, name
        self._jobs: SimpleQueue[tuple[int, J, Hashable] | None] = SimpleQueue()
        self._done: SimpleQueue[tuple[int, Ended[J, A], Hashable]] = SimpleQueue()
        self._begun: dict[int, J] = {}
        self._numbers = itertools.count()
        self._threads: list[threading.Thread] = []
        self._busy: Counter[Hashable] = Counter()
        self._waiting: dict[Hashable, deque[J]] = {}
        self._count = 0

    def __len__(self) -> int:
        """Jobs that were given and have not been told as ended."""
        return self._count

    @property
    def has_hands(self) -> bool:
        """Some thread has nothing to do."""
        return len(self._begun) < self._size

    @property
    def jobs(self) -> tuple[J, ...]:
        """Those that are being done or wait."""
        return (*self._begun.values(), *(job for line in self._waiting.values() for job in line))

    def give(self, job: J, lane: Hashable = "") -> None:
        """Have a job done when there is a thread for it and its lane is not full; does not wait."""
        self._count += 1
        if self.has_hands and self._busy[lane] < self._width:
            self._begin(job, lane)
        else:
            self._waiting.setdefault(lane, deque()).append(job)

    def take_back(self) -> J | None:
        """The youngest job of the longest line that waits, which is then not done; None where none waits."""
        if not self._waiting:
            return None
        lane = max(self._waiting, key=lambda lane: len(self._waiting[lane]))
        line = self._waiting[lane]
        job = line.pop()
        if not line:
            del self._waiting[lane]
        self._count -= 1
        return job

    def ended(self, seconds: float | None = None) -> Ended[J, A] | None:
        """The next job that was done, awaited for so long; None where there is none, or none yet."""
        if not self._count:
            return None
        try:
            number, ended, lane = self._done.get(timeout=seconds) if seconds else self._done.get(block=seconds is None)
        except Empty:
            return None
        self._count -= 1
        del self._begun[number]
        self._busy[lane] -= 1
        if not self._busy[lane]:
            del self._busy[lane]
        self._next()
        return ended

    def close(self) -> None:
        """Let the threads go when they have done what is begun; what waits is not done."""
        self._waiting.clear()
        for _ in self._threads:
            self._jobs.put(None)
        self._threads.clear()

    def _begin(self, job: J, lane: Hashable) -> None:
        number = next(self._numbers)
        self._begun[number] = job
        self._busy[lane] += 1
        self._jobs.put((number, job, lane))
        if len(self._threads) < len(self._begun):
            # A process that is told to leave at once must not wait for a server: what is in flight is in doubt then.
            thread = threading.Thread(target=self._serve, name=self._name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def _next(self) -> None:
        """Begin what has waited and now can be begun; lanes take turns."""
        for lane in list(self._waiting):
            if not self.has_hands:
                return
            if self._busy[lane] < self._width:
                line = self._waiting.pop(lane)
                self._begin(line.popleft(), lane)
                if line:
                    self._waiting[lane] = line  # at the end of the line of lanes

    def _serve(self) -> None:
        while (given := self._jobs.get()) is not None:
            number, job, lane = given
            try:
                ended: Ended[J, A] = Ended(job, self._work(job))
            except BaseException as error:  # noqa: BLE001 - it is told, and raised where the job came from
                ended = Ended(job, None, error)
            self._done.put((number, ended, lane))
