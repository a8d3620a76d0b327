"""A virtual clock, a queue on it, and transports that do as they are told."""

import errno
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mailpipe.queue import Entry, Queue, RecipientFate, RecipientResult
from mailpipe.smtp.envelope import ForwardPath
from mailpipe.status import EnhancedStatus

STATUS = {"delivered": "2.0.0", "failed": "5.1.1", "deferred": "4.2.1", "in-doubt": "4.4.2"}


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


class Faults:
    """Makes the n-th call of a system function fail, at the `os` module that pathlib and the spool both use."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patch, self.calls = monkeypatch, 0

    def arm(self, name: str, number: int, code: int, *, then_all: bool = False) -> None:
        real: Callable[..., Any] = getattr(os, name)
        self.calls = 0

        def faulty(*arguments: Any, **named: Any) -> Any:
            self.calls += 1
            if self.calls == number or (then_all and self.calls > number):
                raise OSError(code, os.strerror(code))
            return real(*arguments, **named)

        self._patch.setattr(os, name, faulty)

    def disarm(self) -> None:
        self._patch.undo()


@pytest.fixture
def faults() -> Iterator[Faults]:
    with pytest.MonkeyPatch.context() as patch:
        yield Faults(patch)


@pytest.fixture(params=[errno.ENOSPC, errno.EIO, errno.EDQUOT], ids=["ENOSPC", "EIO", "EDQUOT"])
def code(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_queue(tmp_path: Path, clock: Clock) -> Iterator[Callable[..., Queue]]:
    """Opens a queue on tmp_path/queue; `jitter` is off and chance is fixed."""
    made: list[Queue] = []

    def make(**options: Any) -> Queue:
        options = {"clock": clock, "random": random.Random(1), **options}
        queue = Queue(tmp_path / "queue", **options)
        made.append(queue)
        return queue

    yield make
    for queue in made:
        queue.close()


@pytest.fixture
def queue(make_queue: Callable[..., Queue]) -> Queue:
    return make_queue()


@pytest.fixture
def result() -> Callable[..., RecipientResult]:
    def make(path: ForwardPath | str, fate: str, diagnostic: str = "") -> RecipientResult:
        path = ForwardPath(path) if isinstance(path, str) else path
        return RecipientResult(path, RecipientFate(fate), EnhancedStatus.parse(STATUS[fate]), diagnostic)

    return make


@pytest.fixture
def answering(result: Callable[..., RecipientResult]) -> Callable[..., Callable[[Entry], list[RecipientResult]]]:
    """A transport that gives every recipient the same fate, or each its own by address."""

    def make(fate: str = "delivered", **by_local_part: str) -> Callable[[Entry], list[RecipientResult]]:
        def transport(entry: Entry) -> list[RecipientResult]:
            paths = entry.envelope.forward_paths or (ForwardPath(""),)
            return [result(path, by_local_part.get(path.address.partition("@")[0], fate), "told so") for path in paths]

        return transport

    return make


@pytest.fixture
def crash() -> Callable[[Queue], None]:
    """Ends a queue as kill -9 would: nothing is recorded, the lock of its owner falls."""

    def end(queue: Queue) -> None:
        queue._store.close()
        if queue._owner is not None:
            os.close(queue._owner._descriptor)
            queue._owner = None

    return end
