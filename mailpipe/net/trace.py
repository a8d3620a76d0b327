"""A file of transcripts: what went over the wire of every connection, for `--trace`.

    with TraceFile(Path("out/smtp.trace")) as trace:
        connection = SmtpConnection(endpoint, opening, transcript=trace.transcript())

Several processes may write to one file: each line goes out in one piece and begins with the number of the process and
of the connection in it.

Never here: what is masked and how a line looks (`mailpipe.smtp.transcript`).
"""

import contextlib
import itertools
import os
import time
from pathlib import Path
from types import TracebackType

from mailpipe.errors import OutputError
from mailpipe.smtp.transcript import Transcript


class TraceFile:
    """Appends transcripts to a file, which only its owner may read: mail addresses are in it.

    Attributes:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, made where it is not there.

        Raises:
            OutputError: it cannot be written.
        """
        self.path = path
        self._numbers = itertools.count(1)
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise OutputError.from_os(str(path), error) from error

    def transcript(self, *, mask: bool = True) -> Transcript:
        """A transcript for one connection after the other, with a number of its own."""
        return Transcript(self._write, mask, clock=time.monotonic, label=f"{os.getpid()}.{next(self._numbers)}")

    def _write(self, line: str) -> None:
        os.write(self._descriptor, line.encode("utf-8", "backslashreplace"))

    def close(self) -> None:
        """Close the file; transcripts that are still in use end there."""
        with contextlib.suppress(OSError):
            os.close(self._descriptor)
        self._descriptor = -1

    def __enter__(self) -> "TraceFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
