"""The process of a stage that is kept apart: it makes and opens the stage, then answers for one mail after the other.

    python -c 'from mailpipe.pipeline.isolated import main; main(3, 4, 5)'      # what `isolation` starts

It is a fresh interpreter, so that no thread or lock of the pipeline is half in it. Its standard output is the error
output of the pipeline. It ends when its pipe of requests does, and is ended by the kernel when the pipeline dies while
a stage hangs.

Never here: how long a stage may take, and what is done when this process ends; see `isolation`.
"""

import fcntl
import io
import logging
import math
import os
import pickle
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from mailpipe.errors import EX_SOFTWARE, MailpipeError
from mailpipe.message import parse
from mailpipe.pipeline import isolation_frames as frames
from mailpipe.pipeline.access import Budget
from mailpipe.pipeline.async_stage import caller_of, run_to_its_end
from mailpipe.pipeline.component import Stage
from mailpipe.pipeline.handing_over import kind_of, words_of
from mailpipe.pipeline.isolation_frames import Answer, Begin, Failure, MailBack, VerdictBack
from mailpipe.pipeline.mail import Mail
from mailpipe.pipeline.registry import Registry
from mailpipe.pipeline.services import Metrics, Secrets, Services, ServicesMaker
from mailpipe.pipeline.settings import look_up_secret
from mailpipe.pipeline.step import several
from mailpipe.pipeline.verdict import Verdict

_SMALL = 1 << 20
"""Messages up to this size do not move the memory limit; each larger one does by what it needs itself."""
_COPIES = 4
"""How often a message is in memory here before the stage does anything: the frame, the octets, and the way back."""
_LINE = 10_000
_F_SETSIG = 10  # of Linux, for which the module fcntl has no name


class _Channel:
    """The way back: frames that go out whole, whichever thread has them, from this process alone."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._process = descriptor, os.getpid()
        self._is_ours = self._identity()
        self._lock = threading.Lock()

    def _identity(self) -> tuple[int, int]:
        status = os.fstat(self._descriptor)
        return status.st_dev, status.st_ino

    def send(self, kind: bytes, *pieces: bytes) -> None:
        if os.getpid() != self._process:
            return  # a process that the stage has made of this one
        with self._lock:
            # a stage that closes what is not its own may have opened a file of its own in the same place
            if self._identity() != self._is_ours:
                os._exit(EX_SOFTWARE)
            octets = memoryview(b"".join(frames.frame(kind, *pieces)))
            try:
                while octets:
                    octets = octets[os.write(self._descriptor, octets) :]
            except OSError:
                os._exit(EX_SOFTWARE)  # nobody listens any more


class _Forward(logging.Handler):
    """What is logged here is logged by the pipeline."""

    def __init__(self, channel: _Channel) -> None:
        super().__init__()
        self._channel = channel

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info:
            text = f"{text}\n{''.join(traceback.format_exception(*record.exc_info))}"
        self._channel.send(frames.LOG, frames.log_line(record.name, record.levelno, text[:_LINE]))


def main(requests: int, answers: int, life: int) -> None:
    """Be the process.

    Args:
        requests, answers: descriptors of pipes.
        life: the end of a pipe that is closed when the pipeline is no more.
    """
    _end_with(life)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # the pipeline decides when to stop; a service manager signals all of us at once
        signal.signal(number, signal.SIG_IGN)
    channel = _Channel(answers)
    incoming = io.FileIO(requests, closefd=False)
    got = _read(incoming)
    if got is None:
        return
    begin: Begin = pickle.loads(got)  # our own parent's, by its own pipe
    handler = _Forward(channel)
    logging.basicConfig(level=begin.level, handlers=[handler], force=True)
    try:
        desk = _Desk(begin, channel)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the pipeline must learn of it
        channel.send(frames.READY, *frames.write_answer(Answer(failure=_failure_of(error))))
        return
    channel.send(frames.READY, *frames.write_answer(Answer()))
    while (got := _read(incoming)) is not None:
        desk.take(got)
    channel.send(frames.CLOSED, *frames.write_answer(desk.close()))


def _read(incoming: io.FileIO) -> bytearray | None:
    """The next frame's content; None when there will be none."""
    head = _exactly(incoming, frames.HEAD.size)
    return None if head is None else _exactly(incoming, frames.HEAD.unpack(head)[1])


def _exactly(incoming: io.FileIO, size: int) -> bytearray | None:
    octets = bytearray(size)
    with memoryview(octets) as view:
        filled = 0
        while filled < size:
            got = incoming.readinto(view[filled:])
            if not got:
                return None
            filled += got
    return octets


class _Desk:
    """The open stage, and answers for it.

    Args:
        begin: what it is.
        channel: where log lines and answers go.

    Raises:
        Exception: it cannot be made or opened.
    """

    def __init__(self, begin: Begin, channel: _Channel) -> None:
        rebuild: Callable[[], Registry] = pickle.loads(begin.rebuild)
        kind = rebuild().stage(begin.name)
        self._stage: Stage[Any] = kind(pickle.loads(begin.options))
        self._channel, self._limits = channel, begin.limits
        maker = ServicesMaker(secrets=Secrets(look_up_secret), is_rehearsal=begin.is_rehearsal)
        made = maker.make(begin.label)
        self._current, self._metrics = maker.current, Metrics()
        services = Services(made.log, self._metrics, made.clock, made.secrets, made.is_rehearsal)
        run_to_its_end(self._stage.open(services))
        self._call = caller_of(self._stage)
        self._process = os.getpid()
        self._bounds = _Bounds(begin.budget)

    def take(self, packed: bytearray) -> None:
        """Take one mail and answer for it."""
        try:
            self._bounds.set(len(packed))
            answer, blobs = self._asked(packed)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a failure is an answer, too
            if os.getpid() == self._process:
                answer, blobs = Answer(failure=_failure_of(error), metrics=self._counted()), []
        finally:
            if os.getpid() != self._process:
                # the stage forked and its child comes back here: the mail is in our hands, once is enough
                os._exit(EX_SOFTWARE)
        self._channel.send(frames.ANSWER, *frames.write_answer(answer, blobs))

    def close(self) -> Answer:
        """Close the stage."""
        failure = None
        try:
            closing: Any = self._stage.close  # it may be async
            run_to_its_end(closing())
        except (Exception, SystemExit) as error:  # noqa: BLE001 - it is told, and nothing is left to be done
            failure = _failure_of(error)
        return Answer(failure=failure, metrics=self._counted())

    def _asked(self, packed: bytearray) -> tuple[Answer, list[bytes]]:
        octets, envelope, origin, dumped = frames.unpack_mail(packed)
        notes = tuple(map(_note, dumped))
        numbers = {id(note): number for number, note in enumerate(notes)}
        mail = Mail(parse(octets, limits=self._limits), envelope, origin, notes)
        self._current.origin = origin
        try:
            result = self._call(mail)
            if isinstance(result, Mail | Verdict):
                is_several = False
                mails: tuple[Any, ...] = (result,) if isinstance(result, Mail) else ()
            else:
                is_several, mails = True, several(result)
        finally:
            self._current.origin = None
        blobs: list[bytes] = []
        if isinstance(result, Verdict):
            back = VerdictBack(
                result.decision, _encodable(result.reason), str(result.status), result.code,
                _noted(result.notes, numbers, blobs),
            )  # fmt: skip
            return Answer(verdict=back, metrics=self._counted()), blobs
        backs = tuple(_back(each, mail, octets, numbers, blobs) for each in mails)
        return Answer(backs, metrics=self._counted(), is_several=is_several), blobs

    def _counted(self) -> dict[str, float]:
        counted = {name: value for name, value in self._metrics.values.items() if math.isfinite(value)}
        self._metrics.values.clear()
        return counted


class _Sealed:
    """Stands for a note that cannot be had here; it goes back as it came."""


def _note(dumped: bytes) -> object:
    if not dumped:
        return _Sealed()
    try:
        return pickle.loads(dumped)  # our own parent's, by its own pipe
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - of a type that nobody has imported here: it is not for this stage
        return _Sealed()


def _back(made: Mail, given: Mail, octets: bytes, numbers: dict[int, int], blobs: list[bytes]) -> MailBack:
    """A mail as its difference to the one that was given; never written anew where the octets are the same."""
    size = None
    if made.message is not given.message:
        changed = bytes(made.message)
        if changed != octets:
            size = len(changed)
            blobs.append(changed)
    envelope = None if made.envelope == given.envelope else made.envelope
    return MailBack(size, envelope, _noted(made.notes, numbers, blobs))


def _noted(notes: tuple[object, ...], numbers: dict[int, int], blobs: list[bytes]) -> tuple[int, ...]:
    told = []
    for note in notes:
        number = numbers.get(id(note))
        if number is None:
            try:
                dumped = frames.dump_note(note)
                frames.load_note(dumped)
            except Exception as error:
                words = f"{kind_of(note)} as a note cannot leave an isolated stage; a note is a dataclass of a module"
                raise TypeError(f"{words} ({words_of(error)})") from error
            number = -len(dumped)
            blobs.append(dumped)
        told.append(number)
    return tuple(told)


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _failure_of(error: BaseException) -> Failure:
    if isinstance(error, MemoryError):
        return Failure("MemoryError", is_memory=True)
    is_ours = isinstance(error, MailpipeError)
    code = error.exit_code if isinstance(error, MailpipeError) else 0
    trace = "".join(traceback.format_exception(error))
    return Failure(_encodable(words_of(error)), False, is_ours, code, _encodable(trace[-_LINE:]))


# -- bounds


class _Bounds:
    """What the kernel holds this process to: its size now and the budget above it.

    The clock of the parent is what ends a stage that takes too long; the limit on processor time is for the case that
    the parent itself cannot.
    """

    def __init__(self, budget: Budget) -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        self._memory, self._time = budget.memory, budget.time
        self._own = _size_of_this_process() if budget.memory is not None else 0
        self._room = self._seconds = 0

    def set(self, size: int) -> None:
        """For one mail of that size."""
        if self._memory is not None and self._own:
            room = _SMALL * _COPIES + (size * _COPIES if size > _SMALL else 0)
            if room != self._room:
                self._room = room
                _lower(resource.RLIMIT_AS, self._own + self._memory + room)
        if self._time is not None:
            # a stage may use every processor for as long as it may take
            seconds = int(time.process_time() + (self._time + 5) * (os.cpu_count() or 1)) + 1
            if seconds != self._seconds:
                self._seconds = seconds
                _lower(resource.RLIMIT_CPU, seconds)


def _lower(limit: int, value: int) -> None:
    _, hard = resource.getrlimit(limit)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(limit, (value, hard))


def _size_of_this_process() -> int:
    """Octets of address space; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()
    except (OSError, ValueError):
        return 0


def _end_with(life: int) -> None:
    """See to it that this process and what it has started end with the pipeline, whatever the stage is doing then."""
    group = os.getpgrp()
    if sys.platform == "linux":
        # The kernel itself kills the group when the other end closes, and no thread has to have its turn for it.
        # PR_SET_PDEATHSIG would do so already when the thread ends that started us.
        fcntl.fcntl(life, fcntl.F_SETOWN, -group)
        fcntl.fcntl(life, _F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(life, fcntl.F_SETFL, fcntl.fcntl(life, fcntl.F_GETFL) | os.O_ASYNC)
    else:
        threading.Thread(target=_wait_for_the_end, args=(life, group), daemon=True).start()


def _wait_for_the_end(life: int, group: int) -> None:
    with suppress(OSError):
        os.read(life, 1)
    os.killpg(group, signal.SIGKILL)
