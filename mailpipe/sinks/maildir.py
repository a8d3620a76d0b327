"""A sink that delivers into a Maildir: written in `tmp`, synced, then moved to `new`.

    [sink]
    use  = "maildir"
    path = "Mail"

A mail that `deliver` has taken is on disk under its name; one that it has not taken has left nothing behind.

Never here: names and flags; see `mailpipe.archive.maildir`.
"""

import contextlib
import os
import re

from mailpipe.archive.maildir import make, unique_name
from mailpipe.durable import confirm, publish, write_new
from mailpipe.errors import OutputError
from mailpipe.pipeline.component import LocalPath, Options, Sink
from mailpipe.pipeline.mail import Mail
from mailpipe.pipeline.outcome import Fate, Receipt

_UNSAFE = re.compile(r"[\x00-\x1f\x7f]+")


class MaildirSinkOptions(Options):
    """Options of the sink `maildir`."""

    path: LocalPath
    """The Maildir; made where it is missing."""

    sync: bool = True
    """Wait for the disk after each mail. Without, a power cut may lose mails that were reported as delivered."""

    add_return_path: bool = False
    """Put the envelope's sender in front, as a field Return-Path (RFC 5321 section 4.4)."""

    add_delivered_to: bool = False
    """Put each of the envelope's recipients in front, as a field Delivered-To."""


class MaildirSink(Sink[MaildirSinkOptions]):
    """Delivers into a Maildir, one file a mail."""

    name = "maildir"
    Options = MaildirSinkOptions

    def open(self) -> None:
        """Make the directories.

        Raises:
            OutputError: they cannot be made, or not written to.
        """
        try:
            make(self.options.path)
        except OSError as error:
            raise OutputError.from_os(str(self.options.path), error) from error
        for place in ("tmp", "new"):
            if not os.access(self.options.path / place, os.W_OK | os.X_OK):
                raise OutputError(f"{self.options.path}/{place}", "cannot write: change its permissions or its owner")

    def deliver(self, mail: Mail) -> Receipt:
        """Write the mail, wait for the disk, and give it its name.

        Raises:
            OutputError: it cannot be written; nothing is left of it.
        """
        name = unique_name()
        temporary, final = (f"{self.options.path}/{place}/{name}" for place in ("tmp", "new"))
        octets = bytes(mail.message)
        try:
            write_new(temporary, self._trace(mail, octets) + octets, sync=self.options.sync)
            try:
                publish(temporary, final, is_unique=True)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)  # noqa: PTH108 - paths are text here
                raise
            if self.options.sync:
                confirm(final)
        except OSError as error:
            raise OutputError.from_os(str(self.options.path), error) from error
        return Receipt.of_all(mail.envelope.forward_paths, Fate.DELIVERED, "2.0.0", f"saved as {name}", final)

    def _trace(self, mail: Mail, octets: bytes) -> bytes:
        """The fields that the options ask for, with the line end of the message."""
        fields = []
        if self.options.add_return_path:
            fields.append(f"Return-Path: <{mail.envelope.reverse_path}>")
        if self.options.add_delivered_to:
            fields += (f"Delivered-To: {address}" for address in mail.envelope.addresses)
        first = octets.find(b"\n")
        line_end = b"\r\n" if first > 0 and octets[first - 1 : first] == b"\r" else b"\n"
        # A line break in an address must not begin another field.
        return b"".join(_UNSAFE.sub("", field).encode("utf-8", "surrogateescape") + line_end for field in fields)
