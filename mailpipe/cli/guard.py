"""A process that must not end without having said how: it runs in a child, and the parent knows when it was silent.

    code = guarded(lambda: work(), seconds=240, silent=EX_TEMPFAIL, say=print)

A plugin may end the process behind Python's back: os._exit(0), a library in C that calls exit(0), an exec. For a mail
server that would be "delivered". So the child tells its code by a pipe, and only what was told there counts. And it may
never end: a mail server kills it then, and Postfix bounces the message. So the parent ends it before.

Never here: what the work is, and what is printed.
"""

import atexit
import os
import signal
from collections.abc import Callable
from contextlib import suppress

_NUMBERS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL."""


def guarded(act: Callable[[], int], *, seconds: float, silent: int, say: Callable[[str], None]) -> int:
    """The code that `act` gives in a process of its own.

    Signals that come meanwhile are passed on to it. Threads that it leaves behind are not waited for.

    Args:
        act: gives an exit code and does not raise.
        seconds: how long it may take.
        silent: the code where it ended without giving one.
        say: told why, in one line.
    """
    reader, writer = os.pipe()
    try:
        child = os.fork()
    except OSError as error:
        say(f"cannot start a process: {error.strerror}")
        return silent
    if child == 0:
        _be_child(act, reader, writer, silent)
    os.close(writer)
    for number in _NUMBERS:
        signal.signal(number, lambda number, _frame: _pass_on(child, number))
    is_late = _end_in(seconds, child)
    _, status = os.waitpid(child, 0)
    for number in (*_NUMBERS, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)
    # a process that the child left behind may hold the other end: there will be no end of file to wait for
    os.set_blocking(reader, False)
    try:
        told = os.read(reader, 1)
    except BlockingIOError:
        told = b""
    if is_late:
        say(f"the time limit of {seconds:g} s is over")
    if told:
        return told[0]
    ended = os.waitstatus_to_exitcode(status)
    how = f"by {signal.Signals(-ended).name}" if ended < 0 else f"with exit code {ended}"
    say(f"the process ended {how} before it had decided; look for a stage that ends or crashes it")
    return silent


def _be_child(act: Callable[[], int], reader: int, writer: int, silent: int) -> None:
    code = silent
    try:
        os.close(reader)
        code = act()
        atexit._run_exitfuncs()
        os.write(writer, bytes((code,)))
    finally:
        # not sys.exit: the frames above are the parent's, and a thread that does not end would keep us
        os._exit(code)


def _end_in(seconds: float, child: int) -> list[bool]:
    """End the child when the time is over, in good order and then at once; the list is empty until then."""
    is_late: list[bool] = []

    def end(_number: int, _frame: object) -> None:
        _pass_on(child, signal.SIGKILL if is_late else signal.SIGTERM)
        is_late.append(True)
        signal.setitimer(signal.ITIMER_REAL, GRACE)

    signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    return is_late


def _pass_on(child: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(child, number)
