"""Reading a pipeline file for a verb: the components that there are, then the settings.

    registry, settings = load("pipeline.toml", ["sink.port=2525"])

Never here: typer, which `filter` has no time for; checking (`mailpipe.pipeline.settings`).
"""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mailpipe.cli import output
from mailpipe.errors import ConfigError

if TYPE_CHECKING:  # slow to import; `mailpipe --help` must not wait for them
    from mailpipe.pipeline.registry import Registry
    from mailpipe.pipeline.settings import Settings


def load(pipeline: str, overrides: Sequence[str] | None = None) -> "tuple[Registry, Settings]":
    """The registry with the plugins beside the file, and the checked settings.

    Args:
        pipeline: a path; "-" is standard input, and its relative paths mean the present directory.
        overrides: "table.key=value", as --set gives them.

    Raises:
        ConfigError: the file or a plugin cannot be used.
    """
    from mailpipe.pipeline.settings import load_settings, parse_settings  # slow to import
    from mailpipe.plugins import load_registry

    if pipeline == "-":
        registry = load_registry(Path.cwd())
        return registry, parse_settings(sys.stdin.read(), Path("stdin.toml"), registry, list(overrides or ()))
    # a link to the file keeps its folder, as for relative paths in the file
    registry = load_registry(Path(os.path.abspath(pipeline)).parent)  # noqa: PTH100
    return registry, load_settings(pipeline, registry, list(overrides or ()))


def loader(
    pipeline: str, overrides: Sequence[str] | None = None
) -> "Callable[[], tuple[Registry, Settings]]":
    """The same as a function that reads the file each time, for those who do so more than once."""
    seen = 0

    def read() -> "tuple[Registry, Settings]":
        nonlocal seen
        seen += 1
        if pipeline == "-" and seen > 1:
            raise ConfigError("-: standard input cannot be read again; name the file in place of it")
        return load(pipeline, overrides)

    return read


def log_to_stderr(verbosity: int) -> None:
    """Let what the rooms below log come out on standard error: warnings, with -v also what happens, with -vv all."""
    import logging  # not needed for --version and --help

    class Lines(logging.Handler):
        """Prints a record as our one line."""

        def emit(self, record: logging.LogRecord) -> None:
            try:
                output.complain(record.getMessage())
            except Exception:  # noqa: BLE001 - logging must never end a run
                return

    root = logging.getLogger("mailpipe")
    root.handlers[:] = [Lines()]
    root.propagate = False
    root.setLevel(
        {0: logging.WARNING, 1: logging.INFO}.get(verbosity, logging.DEBUG) if verbosity >= 0 else logging.ERROR
    )


def bare(address: str) -> str:
    """An address without the angle brackets that people paste along with it."""
    return address[1:-1] if address.startswith("<") and address.endswith(">") else address
