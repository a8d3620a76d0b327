"""The process of an isolated stage as the pipeline has it in hand: a fresh interpreter with three pipes to it.

    child = ChildProcess(level)
    child.expect_within(5)
    child.send(frames.MAIL, octets)
    octets = child.receive(frames.ANSWER, None, most)      # Late, Gone, TooLong
    child.end()                                            # "was killed by SIGSEGV"

No call waits longer than it was told to, whatever the process does or leaves undone.

Never here: what the frames mean; see `isolation`.
"""

import logging
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress

from mailpipe.pipeline import isolation_frames as frames
from mailpipe.pipeline.isolation_frames import Garbled

_LOOK_SECONDS = 0.25
_PIECE = 1 << 16


class Late(Exception):
    """The time is over."""


class Gone(Exception):
    """The process has ended, or closed its pipes."""


class TooLong(Exception):
    """An answer is longer than may be."""

    def __init__(self, size: int) -> None:
        self.size = size
        super().__init__(size)


class ChildProcess:
    """The process, and three pipes to it.

    Args:
        level: what of its log is wanted.

    Raises:
        OSError: no process can be started.
    """

    def __init__(self, level: int) -> None:
        self.level = level
        self._until: float | None = None
        self._buffer = bytearray()
        take, self._give = os.pipe()
        self._hear, tell = os.pipe()
        life, self._life = os.pipe()
        # with our path, so that it finds the same modules
        code = f"import sys; sys.path[:] = {sys.path!r}; "
        code += f"from mailpipe.pipeline.isolated import main; main({take}, {tell}, {life})"
        try:
            # A fresh interpreter: a fork of this process would have its locks in whatever state they are. Standard
            # output may be where mail is handed over, so what a stage prints goes where complaints go.
            self._process = subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=subprocess.DEVNULL, stdout=_where_complaints_go(), pass_fds=(take, tell, life),
                start_new_session=True,
            )  # fmt: skip
        except OSError:
            for each in (self._give, self._hear, self._life):
                os.close(each)
            raise
        finally:
            for each in (take, tell, life):
                os.close(each)
        os.set_blocking(self._give, False)
        os.set_blocking(self._hear, False)
        self._readable, self._writable = select.poll(), select.poll()
        self._readable.register(self._hear, select.POLLIN)
        self._writable.register(self._give, select.POLLOUT)
        self._is_open = True

    def expect_within(self, seconds: float | None) -> None:
        """From now on, this much time."""
        self._until = None if seconds is None else time.monotonic() + seconds

    def send(self, kind: bytes, octets: bytes) -> None:
        """Send a frame.

        Raises:
            Gone, Late: it cannot be taken.
        """
        rest = memoryview(b"".join(frames.frame(kind, octets)))
        while rest:
            try:
                rest = rest[os.write(self._give, rest) :]
            except BlockingIOError:
                self._wait_for(self._writable)
            except BrokenPipeError:
                raise Gone from None

    def receive(self, kind: bytes, seconds: float | None, most: int) -> bytes:
        """The next frame of a kind; what it logs before is logged.

        Raises:
            Gone, Late, TooLong: there is none, not in time, or more than is wanted.
            Garbled: it is of another kind.
        """
        if seconds is not None:
            self.expect_within(seconds)
        while True:
            self._fill(frames.HEAD.size)
            got, size = frames.HEAD.unpack_from(self._buffer)
            if got not in (kind, frames.LOG):
                raise Garbled(f"a frame begins with {got!r}")
            if size > most:
                raise TooLong(size) if got == kind else Garbled("a line of the log has no end")
            self._fill(frames.HEAD.size + size)
            content = bytes(memoryview(self._buffer)[frames.HEAD.size : frames.HEAD.size + size])
            del self._buffer[: frames.HEAD.size + size]
            if got == kind:
                return content
            name, level, text = frames.read_log_line(content)
            logging.getLogger(name).log(level, "%s", text)

    def request_close(self) -> None:
        """Say that there will be no more mail."""
        os.close(self._give)
        self._give = -1

    def wait(self, seconds: float) -> None:
        """Wait for it to end.

        Raises:
            Late: it does not.
        """
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Late from None

    def end(self, grace: float = 0) -> str:
        """End it and all that it has started.

        Args:
            grace: seconds that it is left to end by itself, so that it is known how it would have.

        Returns:
            how it ended, in words.
        """
        if self._is_open:
            self._is_open = False
            pause = 0.001
            while grace > 0 and not self._has_ended():
                time.sleep(pause)
                grace -= pause
                pause *= 2
            self._kill()
            for each in (self._give, self._hear, self._life):
                if each >= 0:
                    os.close(each)
        return _words_of(self._process.returncode)

    def _kill(self) -> None:
        # before it is waited for, so that its number cannot be somebody else's
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)

    def _fill(self, size: int) -> None:
        while len(self._buffer) < size:
            try:
                octets = os.read(self._hear, _PIECE)
            except BlockingIOError:
                self._wait_for(self._readable)
                continue
            if not octets:
                raise Gone
            self._buffer += octets

    def _wait_for(self, poll: "select.poll") -> None:
        while True:
            left = _LOOK_SECONDS
            if self._until is not None:
                left = min(left, self._until - time.monotonic())
                if left <= 0:
                    raise Late
            if poll.poll(left * 1000 + 1):
                return
            # what it has started may hold its pipes open: they tell nothing of its end then
            if self._has_ended() and not poll.poll(0):
                raise Gone

    def _has_ended(self) -> bool:
        """Whether it has; its number stays its own, so that its group can be ended by that."""
        if self._process.returncode is not None:
            return True
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        try:
            return os.waitid(os.P_PID, self._process.pid, flags) is not None
        except ChildProcessError:  # somebody else has waited for it
            return True


def _where_complaints_go() -> int:
    try:
        os.fstat(2)
    except OSError:
        return subprocess.DEVNULL
    return 2


def _words_of(code: int | None) -> str:
    if code is None:
        return "cannot be ended"
    if code < 0:
        try:
            return f"was killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"was killed by signal {-code}"
    return f"ended with exit code {code}"
