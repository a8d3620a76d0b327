"""How far a verb has come, on standard error where that is a terminal.

    with advancing(size_of(paths)) as advance:
        advance(len(raw.octets), "12 messages")

Never here: what is done meanwhile.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mailpipe.cli import output

Advance = Callable[[int, str], None]
"""Told so many octets more, and what to say beside the bar."""


@contextmanager
def advancing(total: int | None) -> Iterator[Advance]:
    """A bar, as long as it lasts.

    Args:
        total: octets in all, None where that is not known.
    """
    if not sys.stderr.isatty():
        yield lambda _octets, _words: None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn  # slow to import

    columns = [BarColumn(), TextColumn("{task.fields[words]}"), TimeElapsedColumn()]
    if total:
        columns.append(TimeRemainingColumn())
    with Progress(*columns, console=output.console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total, words="")
        yield lambda octets, words: progress.update(task, advance=octets, words=words)


def size_of(paths: list[str]) -> int | None:
    """Octets of plain files; None where a folder, a stream or a compressed archive makes it unknown."""
    from mailpipe.archive.opened import compression_of  # slow to import

    total = 0
    for path in map(Path, paths):
        try:
            if not path.is_file():
                return None
            with path.open("rb") as file:
                if compression_of(file.read(8)):
                    return None
            total += path.stat().st_size
        except OSError:
            return None  # the run itself says what is wrong with it
    return total or None
