"""A disk that fails to order: code that writes files, with each of its system calls killed or refused in turn.

    def act(faulty):                        # runs in a process of its own, once for each call × fault
        sink.open()
        with faulty:                        # from here on calls are counted
            return sink.deliver(mail).recipients[0].diagnostic

    for fault, ending in walk(prepare, act): …look at the directory; ending.kind is "done", "raised" or "killed"

It stands between Python and the functions of `os`, which is what `pathlib`, `shutil` and mailpipe write with. Octets
that go through `open()` or SQLite are not seen. Needs `os.fork`: use it in a process without threads.

Never here: what is right after a fault; the test knows.
"""

import contextlib
import errno
import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

CALLS = (
    "open", "close", "write", "pwrite", "fsync", "fdatasync", "ftruncate", "truncate", "rename", "replace", "link",
    "unlink", "mkdir", "rmdir",
)  # fmt: skip
"""The functions of `os` that are counted."""

KILLS = ("kill-before", "kill-within", "kill-after")
"""By SIGKILL to itself; "kill-within" writes half of the octets first."""
REFUSALS = ("ENOSPC", "EIO", "EDQUOT")


@dataclass(frozen=True, slots=True)
class StorageFault:
    """One call that goes wrong.

    Attributes:
        call: a name of `CALLS`.
        number: the nth call of that name, from 1.
        do: one of `KILLS`, or the name of an errno.
        onwards: every later call of that name fails as well.
    """

    call: str
    number: int
    do: str
    onwards: bool = False

    def __str__(self) -> str:
        return f"{self.call}#{self.number}{'…' if self.onwards else ''}/{self.do}"


@dataclass(frozen=True, slots=True)
class Ending:
    """How one run ended.

    Attributes:
        kind: "done", "raised" or "killed".
        value: what `act` returned, or type and words of what it raised.
        calls: the calls that it made while it was watched.
    """

    kind: str
    value: str = ""
    calls: Counter[str] = field(default_factory=Counter)


@contextlib.contextmanager
def faulty_storage(fault: StorageFault | None, calls: Counter[str] | None = None) -> Iterator[Counter[str]]:
    """Count the calls of this process, and have one of them go wrong.

    Args:
        fault: which one; None only counts.
        calls: where to count, a counter of its own by default.
    """
    counted: Counter[str] = Counter() if calls is None else calls
    real = {name: getattr(os, name) for name in CALLS}
    for name in CALLS:
        setattr(os, name, _wrapped(name, real[name], fault, counted, real["write"]))
    try:
        yield counted
    finally:
        for name, function in real.items():
            setattr(os, name, function)


def _wrapped(
    name: str, real: Callable[..., Any], fault: StorageFault | None, counted: Counter[str], write: Callable[..., Any]
) -> Callable[..., Any]:
    def call(*arguments: Any, **named: Any) -> Any:
        counted[name] += 1
        if fault is None or fault.call != name or counted[name] < fault.number:
            return real(*arguments, **named)
        if counted[name] > fault.number and not fault.onwards:
            return real(*arguments, **named)
        if fault.do == "kill-before":
            die()
        if fault.do == "kill-within":
            octets = memoryview(arguments[1]).cast("B")
            write(arguments[0], octets[: len(octets) // 2])
            die()
        if fault.do == "kill-after":
            real(*arguments, **named)
            die()
        if name == "close":
            real(*arguments, **named)  # Linux has closed it, whatever it says
        code = getattr(errno, fault.do)
        raise OSError(code, os.strerror(code))

    return call


def die() -> None:
    """End this process as `kill -9` does."""
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()  # a signal to oneself may arrive a moment later


def run(act: Callable[[AbstractContextManager[Any]], str], fault: StorageFault | None) -> Ending:
    """Run `act` in a process of its own with one fault.

    Raises:
        RuntimeError: the process neither finished nor was killed by its fault.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            counted: Counter[str] = Counter()
            try:
                said = ["done", act(faulty_storage(fault, counted))]
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is the result
                said = ["raised", f"{type(error).__name__}: {error}"]
            os.write(writing, json.dumps([*said, counted]).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said_octets = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return Ending("killed")
    if not said_octets:
        raise RuntimeError(f"the run with {fault} ended without a word (status {status})")
    kind, value, calls = json.loads(said_octets)
    return Ending(kind, value, Counter(calls))


def walk(
    prepare: Callable[[], None],
    act: Callable[[AbstractContextManager[Any]], str],
    *,
    kills: Sequence[str] = KILLS,
    refusals: Sequence[str] = REFUSALS,
    most: int = 0,
) -> Iterator[tuple[StorageFault | None, Ending]]:
    """Run `act` once undisturbed, then once for each of its calls and each fault.

    Args:
        prepare: makes the place as it is before, each time.
        act: does the work; gets a context manager that has to surround what is to be watched.
        kills: of `KILLS`, which ones.
        refusals: names of errno.
        most: of each function at most so many calls, the first ones and the last; 0 for all.

    Yields:
        the fault, None for the first run, and how the run ended; before the next one begins.
    """
    prepare()
    first = run(act, None)
    yield None, first
    for call, count in sorted(first.calls.items()):
        dos = [do for do in kills if do != "kill-within" or call == "write"]
        numbers = [number for number in range(1, count + 1) if not most or number < most or number == count]
        faults = [StorageFault(call, number, do) for number in numbers for do in (*dos, *refusals)]
        faults += [StorageFault(call, number, "EIO", onwards=True) for number in numbers if number < count]
        for fault in faults:
            prepare()
            yield fault, run(act, fault)
