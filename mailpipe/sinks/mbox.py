"""A sink that appends to an mbox (RFC 4155), under locks that mail programs know.

    [sink]
    use  = "mbox"
    path = "archive.mbox"

The From_ line is made of the envelope's sender and the present time.

Never here: quoting, locks and half-written messages; see `mailpipe.archive.mbox` and `mbox_append`.
"""

from datetime import UTC, datetime
from typing import Literal

from mailpipe.archive import from_line
from mailpipe.archive.mbox import render
from mailpipe.archive.mbox_append import MboxAppender
from mailpipe.errors import OutputError
from mailpipe.pipeline.component import LocalPath, Options, Sink
from mailpipe.pipeline.mail import Mail
from mailpipe.pipeline.outcome import Fate, Receipt
from mailpipe.units import Duration


class MboxSinkOptions(Options):
    """Options of the sink `mbox`."""

    path: LocalPath
    """The archive; made where it is missing."""

    dialect: Literal["mboxrd", "mboxo"] = "mboxrd"
    """How lines that begin with "From " are quoted: mboxrd can be undone by a reader, mboxo cannot."""

    lock: Literal["fcntl", "dot", "both"] = "fcntl"
    """How the archive is locked: with fcntl, with a file beside it that ends in .lock, or with both."""

    lock_timeout: Duration = 30.0
    """How long to wait for another program's lock; after that the mail is deferred."""

    sync: bool = True
    """Wait for the disk after each mail. Without, a power cut may lose mails that were reported as delivered."""


class MboxSink(Sink[MboxSinkOptions]):
    """Appends to an mbox, one mail at a time."""

    name = "mbox"
    Options = MboxSinkOptions

    def __init__(self, options: MboxSinkOptions) -> None:
        super().__init__(options)
        self._mbox = MboxAppender(options.path, options.lock, options.lock_timeout, sync=options.sync)

    def open(self) -> None:
        """Make the archive where it is missing.

        Raises:
            OutputError: it cannot be made or written.
        """
        try:
            self._mbox.make()
        except OSError as error:
            raise OutputError.from_os(str(self.options.path), error) from error

    def deliver(self, mail: Mail) -> Receipt:
        """Append the mail and wait for the disk.

        Raises:
            TransientFailure: another program holds the lock for too long.
            OutputError: it cannot be written; the archive is as it was.
        """
        line = from_line.render(mail.envelope.reverse_path, datetime.now(UTC))
        octets = render(bytes(mail.message), line, self.options.dialect)
        location = str(self.options.path)
        try:
            with self._mbox.locked() as descriptor:
                offset = self._mbox.append(descriptor, octets)
        except OSError as error:
            raise OutputError.from_os(location, error) from error
        diagnostic = f"appended at {offset}"
        return Receipt.of_all(
            mail.envelope.forward_paths, Fate.DELIVERED, "2.0.0", diagnostic, f"{location}:{offset}"
        )
