"""A program run as a filter: octets in, octets out, within bounds; without a shell, and never for longer than it may.

    ran = run_command(["spamc", "-x"], octets, environment={"PATH": "/usr/bin:/bin"}, timeout=30, most=10_000_000)
    ran.code, ran.output, ran.complaint

Both pipes are served side by side, so that a program that writes before it has read everything does not wait for us
while we wait for it. It runs in a session of its own and is killed with all that it has started.

Never here: what an exit code means.
"""

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mailpipe.errors import TransientFailure
from mailpipe.status import EnhancedStatus
from mailpipe.units import duration_text

COMPLAINT_LIMIT = 4096
"""Octets of the error output that are kept; the rest is read and thrown away."""
_PIECE = 1 << 16
_LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Ran:
    """How a program ended.

    Attributes:
        code: its exit code, negative for a signal.
        output: what it wrote to standard output.
        complaint: the first of what it wrote to standard error.
    """

    code: int
    output: bytes
    complaint: bytes


def run_command(
    command: Sequence[str],
    octets: bytes,
    *,
    environment: Mapping[str, str],
    timeout: float,
    most: int,
    directory: Path | None = None,
) -> Ran:
    """Run a program to its end.

    Args:
        command: the program and its arguments.
        octets: its standard input; a program that does not read them all is none the worse for it.
        environment: all that it has of one.
        timeout: seconds.
        most: octets of output.
        directory: where it runs; None for here.

    Raises:
        TransientFailure: it cannot be started, takes too long, or writes too much.
    """
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=dict(environment), cwd=directory, start_new_session=True, bufsize=0,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        words = getattr(error, "strerror", None) or str(error)
        trouble = f"cannot start {command[0]}: {words}; check 'command'"
        raise TransientFailure(trouble, EnhancedStatus(4, 3, 5)) from error
    try:
        run = _Run(process, octets, most)
        try:
            run.to_its_end(time.monotonic() + timeout)
        finally:
            run.close()
        return Ran(process.wait(), bytes(run.output), bytes(run.complaint))
    except TimeoutError as error:
        words = f"{command[0]} did not end within {duration_text(timeout)} and was killed"
        raise TransientFailure(words, EnhancedStatus(4, 3, 0)) from error
    except _TooMuch as error:
        words = f"{command[0]} wrote more than {most} octets and was killed"
        raise TransientFailure(words, EnhancedStatus(4, 3, 0)) from error
    finally:
        # what it has started and left behind goes, too
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class _TooMuch(Exception):
    """The program writes and writes."""


class _Run:
    def __init__(self, process: "subprocess.Popen[bytes]", octets: bytes, most: int) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._process, self._rest, self._most = process, memoryview(octets), most
        self.output, self.complaint = bytearray(), bytearray()
        self._stdin: IO[bytes] = process.stdin
        self._stdout: IO[bytes] = process.stdout
        self._stderr: IO[bytes] = process.stderr
        self._selector = selectors.DefaultSelector()
        for each, event in (
            (self._stdin, selectors.EVENT_WRITE),
            (self._stdout, selectors.EVENT_READ),
            (self._stderr, selectors.EVENT_READ),
        ):
            os.set_blocking(each.fileno(), False)
            self._selector.register(each, event)

    def close(self) -> None:
        self._selector.close()
        for each in (self._stdin, self._stdout, self._stderr):
            each.close()

    def to_its_end(self, deadline: float) -> None:
        """Serve the pipes until the program has ended and nothing is left in them."""
        while True:
            has_ended = not self._selector.get_map() or self._has_ended()
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            if not self._selector.get_map():
                # it has closed its pipes, and may yet have something to do
                try:
                    self._process.wait(left)
                except subprocess.TimeoutExpired:
                    raise TimeoutError from None
                return
            # its children may hold the pipes open when it has ended; what is in them by then counts
            ready = self._selector.select(0 if has_ended else min(left, _LOOK_SECONDS))
            for key, _ in ready:
                self._serve(key.fileobj)  # type: ignore[arg-type]  # what was registered
            if has_ended and not any(key.fileobj is not self._stdin for key, _ in ready):
                return

    def _has_ended(self) -> bool:
        """Whether it has; it is not waited for yet, so that its group keeps its number."""
        with suppress(ChildProcessError):
            return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        return True

    def _serve(self, pipe: IO[bytes]) -> None:
        if pipe is self._stdin:
            self._feed()
            return
        octets = os.read(pipe.fileno(), _PIECE)
        if not octets:
            self._selector.unregister(pipe)
        elif pipe is self._stdout:
            self.output += octets
            if len(self.output) > self._most:
                raise _TooMuch
        else:
            self.complaint += octets[: COMPLAINT_LIMIT - len(self.complaint)]

    def _feed(self) -> None:
        try:
            if self._rest:
                self._rest = self._rest[os.write(self._stdin.fileno(), self._rest[:_PIECE]) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._rest = self._rest[:0]
        if not self._rest:
            self._selector.unregister(self._stdin)
            self._stdin.close()
