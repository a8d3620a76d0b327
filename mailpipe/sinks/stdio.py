"""A sink that writes to standard output: the octets of one message, or an mbox of several.

    [sink]
    use    = "stdout"
    format = "mbox"

What was written cannot be taken back, except from a file, which is cut to its old length when a write fails.

Never here: text. Octets go to the descriptor as they are, past any buffer of Python's.
"""

import contextlib
import errno
import os
import stat
import sys
from datetime import UTC, datetime
from typing import Literal

from mailpipe.archive import from_line
from mailpipe.archive.mbox import render
from mailpipe.durable import write_all
from mailpipe.errors import OutputError, TransientFailure
from mailpipe.pipeline.component import Options, Sink
from mailpipe.pipeline.mail import Mail
from mailpipe.pipeline.outcome import Fate, Receipt
from mailpipe.status import EnhancedStatus


class StdoutOptions(Options):
    """Options of the sink `stdout`."""

    format: Literal["message", "mbox"] = "message"
    """What is written: the octets of one message and nothing else, or an mbox (mboxrd), which can hold several."""


class StdoutSink(Sink[StdoutOptions]):
    """Writes to standard output: one message as it is, or an mbox of several."""

    name = "stdout"
    Options = StdoutOptions

    def __init__(self, options: StdoutOptions, descriptor: int | None = None) -> None:
        super().__init__(options)
        self._given, self._descriptor, self._count = descriptor, 1, 0

    def open(self) -> None:
        """Find standard output."""
        self._descriptor = sys.stdout.fileno() if self._given is None else self._given

    def deliver(self, mail: Mail) -> Receipt:
        """Write the mail.

        Raises:
            TransientFailure: the reader has gone, or a second message came in the format "message".
            OutputError: it cannot be written.
        """
        octets = bytes(mail.message)
        if self.options.format == "mbox":
            octets = render(octets, from_line.render(mail.envelope.reverse_path, datetime.now(UTC)))
        elif self._count:
            # Two messages without anything between them are one message to whoever reads them.
            reason = 'standard output has taken one message; set format = "mbox" in [sink] for several'
            raise TransientFailure(reason, EnhancedStatus(4, 3, 5))
        try:
            self._write(octets)
        except BrokenPipeError as error:
            raise TransientFailure("whoever read standard output has gone", EnhancedStatus(4, 3, 0)) from error
        except OSError as error:
            raise OutputError.from_os("standard output", error) from error
        self._count += 1
        return Receipt.of_all(mail.envelope.forward_paths, Fate.DELIVERED, "2.0.0", "written to standard output", "-")

    def _write(self, octets: bytes) -> None:
        is_file = stat.S_ISREG(os.fstat(self._descriptor).st_mode)
        position = os.lseek(self._descriptor, 0, os.SEEK_CUR) if is_file else 0
        try:
            write_all(self._descriptor, octets)
            if is_file:
                os.fsync(self._descriptor)
        except OSError as error:
            if is_file and error.errno != errno.EBADF:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._descriptor, position)
                    os.lseek(self._descriptor, position, os.SEEK_SET)
            raise
