"""Which source reads what the command line names: looked at, not guessed from its name.

    sources_for(["inbox", "old.mbox", "letters/", "-"], settings, registry)

A Maildir, a folder of messages, an mbox (also compressed), standard input, or else a file with one message. Options
of the [source] table are kept for archives of its own kind.

Never here: reading; the sources do.
"""

import os
import re
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mailpipe.archive.kind import detect
from mailpipe.archive.opened import read_head
from mailpipe.errors import InputError, SettingsError
from mailpipe.pipeline.component import Source
from mailpipe.pipeline.registry import Registry
from mailpipe.pipeline.settings import Settings

_FIELD = re.compile(rb"(?:\xef\xbb\xbf)?[\r\n]*+[!-9;-~]++[ \t]*+:")
_STDIN = "-"


def sources_for(paths: Sequence[str], settings: Settings, registry: Registry) -> list[Source[Any]]:
    """The sources of a run, constructed and not opened.

    Args:
        paths: from the command line; none means the [source] of the settings.
        settings: for the [source] table.
        registry: where the sources come from.

    Raises:
        InputError: a path is missing, unreadable, a folder without messages or no mail at all.
        SettingsError: there are neither paths nor a [source].
    """
    if not paths:
        if settings.source is None:
            expected = "a [source], or an archive on the command line"
            raise SettingsError("there is nothing to read", file=str(settings.file), expected=expected)
        return [registry.source(settings.source.use)(settings.source.options)]
    chosen: list[Source[Any]] = []
    seen: set[str] = set()
    kinds = []
    for path in paths:
        # the same archive by two names would be sent twice
        real = path if path == _STDIN else os.path.realpath(path)
        if real not in seen:
            seen.add(real)
            kinds.append((_kind(path), path))
    for name, group in groupby(kinds, key=lambda pair: pair[0]):
        chosen.append(_made(name, [path for _, path in group], settings, registry))
    return chosen


def _kind(path: str) -> str:
    if path == _STDIN:
        return "stdin"
    kind = detect(path)
    if kind == "eml":
        _refuse_binary(path)
    return "eml" if kind == "eml-folder" else kind


def _refuse_binary(path: str) -> None:
    head = read_head(path)
    if not head:
        raise InputError(path, "is empty; there is no message in it")
    if b"\0" in head and not _FIELD.match(head):
        raise InputError(path, "is neither a message nor an archive: it begins with binary octets")


def _made(name: str, paths: list[str], settings: Settings, registry: Registry) -> Source[Any]:
    component = registry.source(name)
    own = settings.source
    keep = own.options.model_dump(exclude={"path"}, exclude_unset=True) if own is not None and own.use == name else {}
    located = {} if name == "stdin" else {"path": paths}
    try:
        source = component(component.Options.model_validate(keep | located))
    except ValidationError as error:
        raise InputError(", ".join(paths), f"the source {name!r} cannot read it: {error.errors()[0]['msg']}") from error
    if name == "eml":
        _refuse_empty_folders(source, paths)
    return source


def _refuse_empty_folders(source: Source[Any], paths: list[str]) -> None:
    for path in paths:
        if os.path.isdir(path):  # noqa: PTH112 - it is text as the user gave it
            alone = type(source)(source.options.model_copy(update={"path": (Path(path),)}))
            if next(iter(getattr(alone, "origins", lambda: iter((1,)))()), None) is None:
                pattern = getattr(source.options, "pattern", "*.eml")
                reason = f"is a folder without messages: there is no {pattern} in it, and it is no Maildir"
                raise InputError(path, reason)
