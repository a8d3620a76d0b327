"""Mails from standard input: one message, or an mbox.

    mailpipe run pipeline.toml - < message.eml
    mailpipe filter pipeline.toml -f ann@example.org -- bob@example.net < message.eml

One message unless it begins with "From " and nobody gave an envelope. With an envelope it is always one message, even
when a delivery agent put a From_ line in front: a line of its body must not begin another one.

Never here: the octets of a terminal's line editing; what comes is taken as it comes, to the end.
"""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from typing import IO, Literal

from mailpipe.archive.from_line import MAX_LENGTH
from mailpipe.archive.mbox import Dialect, split, unquote
from mailpipe.archive.opened import map_file
from mailpipe.errors import InputError
from mailpipe.pipeline.component import Options, Source
from mailpipe.pipeline.mail import Origin, RawMail
from mailpipe.smtp.envelope import Envelope

LOCATION = "-"


class StdinOptions(Options):
    """Options of the source `stdin`."""

    sender: str | None = None
    """The envelope's sender (reverse-path) without angle brackets; "" for the null sender of a bounce. Where neither
    sender nor recipients are given, the pipeline's envelope rule makes the envelope."""

    recipients: tuple[str, ...] = ()
    """The envelope's recipients."""

    format: Literal["auto", "message", "mbox"] = "auto"
    """What comes: one message, an mbox, or an mbox when it begins with "From " and no envelope is given."""

    dialect: Dialect = "auto"
    """The dialect of an mbox, as for the source mbox."""


class StdinSource(Source[StdinOptions]):
    """Reads one message, or an mbox, from standard input. It can be read only once, and not by workers."""

    name = "stdin"
    Options = StdinOptions

    def __init__(self, options: StdinOptions, stream: IO[bytes] | None = None) -> None:
        super().__init__(options)
        self._stream = stream

    @property
    def envelope(self) -> Envelope | None:
        """The envelope that the options give; None where they give none."""
        if self.options.sender is None and not self.options.recipients:
            return None
        return Envelope.of(self.options.sender or "", *self.options.recipients)

    def __iter__(self) -> Iterator[RawMail]:
        """The message, or the messages of the mbox.

        Raises:
            InputError: nothing came, or it cannot be read.
        """
        stream = self._stream if self._stream is not None else sys.stdin.buffer
        try:
            head = stream.read(1 << 16)
            if not head:
                raise InputError(LOCATION, "nothing came on standard input; pipe a message into it")
            if self._is_archive(head):
                with tempfile.TemporaryFile(prefix="mailpipe-") as spool:
                    spool.write(head)
                    shutil.copyfileobj(stream, spool, 1 << 20)
                    spool.flush()
                    with map_file(spool) as octets:
                        for span in split(octets, self.options.dialect):
                            message = unquote(octets[span.begin : span.end], self.options.dialect)
                            line = octets[span.from_offset : min(span.begin, span.from_offset + MAX_LENGTH)]
                            origin = Origin("stdin", LOCATION, span.begin, span.end - span.begin)
                            yield RawMail(message, origin, self.envelope, line.rstrip(b"\r\n"))
                return
            octets = head + stream.read()
        except OSError as error:
            raise InputError.from_os(LOCATION, error) from error
        line, offset = b"", 0
        if octets.startswith(b"From ") and (end := octets.find(b"\n", 0, MAX_LENGTH)) >= 0:
            # QUIRK: delivery agents can be told to put a From_ line before a message that they pipe.
            line, octets, offset = octets[:end].rstrip(b"\r"), octets[end + 1 :], end + 1
        origin = Origin("stdin", LOCATION, offset, len(octets))
        yield RawMail(octets, origin, self.envelope, line)

    def _is_archive(self, head: bytes) -> bool:
        if self.options.format != "auto":
            return self.options.format == "mbox"
        return self.envelope is None and head.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n").startswith(b"From ")
