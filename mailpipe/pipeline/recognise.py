"""The mail behind a key of the journal, as far as its archive is still there: who wrote it, and about what.

    with Archives() as archives:
        archives.header("mbox:archive.mbox:592")        # a Header, None where it cannot be had
    keys_with("<1@example.org>", locations, registry)   # the other way round, by the Message-ID

It is what lies there now: an archive that was changed since shows something else.

Never here: the journal; see `inquiry`.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO

from mailpipe.archive.maildir import Locator
from mailpipe.archive.opened import open_regular, open_unpacked
from mailpipe.errors import InputError, SettingsError
from mailpipe.message import Header, parse
from mailpipe.pipeline.registry import Registry
from mailpipe.pipeline.settings import parse_settings
from mailpipe.pipeline.trial import mails_of

HEADER = 1 << 16
"""LIMIT: octets that are read of a message."""


class Archives:
    """Archives that are opened when a mail of theirs is asked for."""

    def __init__(self) -> None:
        self._files: dict[str, IO[bytes] | None] = {}
        self._locator = Locator()

    def __enter__(self) -> "Archives":
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            if file is not None:
                file.close()
        self._files.clear()

    def header(self, key: str) -> Header | None:
        """The header of the mail with a key, None where it cannot be had."""
        source, _, rest = key.partition(":")
        location, _, mark = rest.rpartition(":")
        try:
            octets = self._octets(source, location, mark)
        except (OSError, InputError, ValueError):
            return None
        return parse(octets).header if octets else None

    def _octets(self, source: str, location: str, mark: str) -> bytes | None:
        if source == "mbox":
            if location not in self._files:
                self._files[location] = None
                self._files[location] = open_unpacked(location)
            file = self._files[location]
            return os.pread(file.fileno(), HEADER, int(mark)) if file is not None else None
        if source == "eml":
            path = os.path.join(location, mark) if Path(location).is_dir() else location  # noqa: PTH118 - text
            with open_regular(path) as one:
                return one.read(HEADER)
        if source == "maildir":
            folder, slash, unique = mark.rpartition("/")
            entry = self._locator.find(f"{location}/{folder}" if slash else location, unique)
            if entry is None:
                return None
            with open_regular(entry.path) as one:
                return one.read(HEADER)
        return None


def locations_of(keys: Iterable[str]) -> list[str]:
    """The archives that keys name, each once."""
    found: dict[str, None] = {}
    for key in keys:
        source, _, rest = key.partition(":")
        if source in ("mbox", "eml", "maildir"):
            found.setdefault(rest.rpartition(":")[0])
    return list(found)


def keys_with(
    message_id: str, locations: Iterable[str], registry: Registry, on_missing: Callable[[str], None] | None = None
) -> frozenset[str]:
    """The keys of the mails with a Message-ID, with or without its angle brackets.

    Args:
        message_id: as the header has it.
        locations: archives, which are read whole.
        registry: where the sources come from.
        on_missing: told of an archive that cannot be read.
    """
    wanted = message_id.strip().strip("<>")
    octets = wanted.encode("utf-8", "surrogateescape")
    settings = parse_settings("", Path("none.toml"), registry)
    found = set()
    for location in locations:
        try:
            for raw in mails_of([location], settings, registry):
                # nearly all are another, and need not be parsed
                if octets in raw.octets[:HEADER] and parse(raw.octets).message_id == wanted:
                    found.add(raw.origin.key)
        except (InputError, SettingsError) as error:
            if on_missing is not None:
                on_missing(str(error))
    return frozenset(found)
