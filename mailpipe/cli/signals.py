"""Ctrl-C and SIGTERM for verbs that take many messages: the first ends the work in good order, the next at once.

    with stopping() as signals:
        redeliver(queue, sink, should_stop=signals.has_come)

Never here: what "in good order" means; that is known where the messages are.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from mailpipe.cli import output

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def ignore_signals() -> None:
    """From now on none of them counts: what was to be done is done, and only the exit code is still to be told."""
    with suppress(ValueError):  # not the main thread
        for number in _NUMBERS:
            signal.signal(number, signal.SIG_IGN)


@dataclass
class Signals:
    """What has come so far.

    Attributes:
        number: the first signal, 0 for none.
    """

    number: int = 0

    def has_come(self) -> bool:
        """Whether it is time to stop."""
        return self.number != 0


@contextmanager
def stopping(stop: Callable[[int], None] | None = None) -> Iterator[Signals]:
    """While it lasts, the first SIGINT, SIGTERM or SIGHUP is noted and told to `stop`; the next one interrupts.

    Raises:
        KeyboardInterrupt: the second signal came.
    """
    signals = Signals()

    def come(number: int, _frame: object) -> None:
        if signals.number:
            raise KeyboardInterrupt
        signals.number = number
        output.complain("finishing the messages in hand; once more to leave at once")
        if stop is not None:
            stop(number)

    before = {}
    try:
        for each in _NUMBERS:
            if signal.getsignal(each) is not signal.SIG_IGN:  # nohup ignores SIGHUP, and so must we
                before[each] = signal.signal(each, come)
    except ValueError:
        pass  # only the main thread may; a program that runs us in another one has its own way
    try:
        yield signals
    finally:
        for each, old in before.items():
            signal.signal(each, old if old is not None else signal.SIG_DFL)
