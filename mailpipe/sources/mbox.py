"""Mails from mbox archives (RFC 4155), plain or compressed (.gz .bz2 .xz .zst).

    [source]
    use  = "mbox"
    path = "archive.mbox"        # or several: ["2023.mbox.gz", "2024.mbox.gz"]

For workers: `origins()` finds the messages without reading them, at the speed of a search; each worker opens a source
of its own and asks it for `reread(origin)`. An origin is plain values: location, offset, size.

Never here: where a message begins and ends; see `mailpipe.archive.mbox`. An archive is only read, never changed.

A file that another program cuts short while it is mapped ends the process (SIGBUS); do not run on a mailbox that is
being expunged.
"""

import os
from collections.abc import Iterator
from itertools import chain
from typing import IO

from mailpipe.archive.from_line import MAX_LENGTH
from mailpipe.archive.mbox import Archive, Dialect, MboxSpan, split, unquote
from mailpipe.archive.opened import map_file, open_regular, open_unpacked
from mailpipe.errors import InputError
from mailpipe.pipeline.component import Options, Source
from mailpipe.pipeline.mail import Origin, RawMail
from mailpipe.sources.paths import LocalPaths


class MboxOptions(Options):
    """Options of the source `mbox`."""

    path: LocalPaths
    """The archive, or a list of archives, read one after the other."""

    dialect: Dialect = "auto"
    """How messages are told apart, and whether ">From " is unquoted: auto and mboxo keep every octet as it stands,
    mboxrd removes one ">" from ">From " lines, mboxcl and mboxcl2 follow Content-Length where it fits."""


class MboxSource(Source[MboxOptions]):
    """Reads mbox archives of any size: mapped, split at the speed of a search, one message in memory at a time."""

    name = "mbox"
    Options = MboxOptions

    def __init__(self, options: MboxOptions) -> None:
        super().__init__(options)
        self._files: dict[str, IO[bytes]] = {}

    def open(self) -> None:
        """Look whether every archive can be read.

        Raises:
            InputError: one is missing, unreadable, a directory or a device.
        """
        for path in self.options.path:
            open_regular(str(path)).close()

    def close(self) -> None:
        """Close the archives."""
        while self._files:
            self._files.popitem()[1].close()

    def __iter__(self) -> Iterator[RawMail]:
        """The messages of every archive, in order.

        Raises:
            InputError: an archive cannot be read or unpacked, or holds no From_ line.
        """
        for path in self.options.path:
            location = str(path)
            with map_file(self._file(location)) as octets:
                for span in self._split(location, octets):
                    line = octets[span.from_offset : span.begin]
                    yield self._mail(octets[span.begin : span.end], self._origin(location, span), line)

    def origins(self) -> Iterator[Origin]:
        """Where the messages are, without reading them; `reread` gives the mail.

        Raises:
            InputError: as for iteration.
        """
        for path in self.options.path:
            location = str(path)
            with map_file(self._file(location)) as octets:
                for span in self._split(location, octets):
                    yield self._origin(location, span)

    def reread(self, origin: Origin) -> RawMail:
        """The mail of an origin that this source, or another one with the same options, gave.

        Raises:
            InputError: the archive cannot be read, or is shorter than it was.
        """
        descriptor = self._file(origin.location).fileno()
        try:
            octets = os.pread(descriptor, origin.size, origin.offset)
            before = max(origin.offset - MAX_LENGTH, 0)
            lines = os.pread(descriptor, origin.offset - before, before)
        except OSError as error:
            raise InputError.from_os(origin.location, error) from error
        if len(octets) != origin.size:
            raise InputError(origin.location, "has become shorter since it was split; run again")
        line = lines[lines.rfind(b"\n", 0, len(lines) - 1) + 1 :]
        return self._mail(octets, origin, line if line.startswith(b"From ") else b"")

    def _file(self, location: str) -> IO[bytes]:
        if location not in self._files:
            self._files[location] = open_unpacked(location)
        return self._files[location]

    def _split(self, location: str, octets: Archive) -> Iterator[MboxSpan]:
        spans = split(octets, self.options.dialect)
        first = next(spans, None)
        if first is None:
            return iter(())
        if first.begin > first.from_offset:
            return chain((first,), spans)
        second = next(spans, None)
        if second is None:
            reason = 'is no mbox: no line of it begins with "From "; read a single message with the source eml'
            raise InputError(location, reason)
        return chain((first, second), spans)

    @staticmethod
    def _origin(location: str, span: MboxSpan) -> Origin:
        return Origin("mbox", location, span.begin, span.end - span.begin)

    def _mail(self, octets: bytes, origin: Origin, from_line: bytes) -> RawMail:
        line = from_line.rstrip(b"\r\n") if len(from_line) <= MAX_LENGTH else b""
        return RawMail(unquote(octets, self.options.dialect), origin, from_line=line)
