"""Reading a pipeline file for a verb: the components that there are, then the settings.

    registry, settings = load("pipeline.toml", ["sink.port=2525"])

Never here: checking (`mailpipe.pipeline.settings`) and what to do with the settings.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mailpipe.cli import output

if TYPE_CHECKING:  # slow to import; `mailpipe --help` must not wait for them
    from mailpipe.pipeline.registry import Registry
    from mailpipe.pipeline.settings import Settings

PIPELINE_HELP = "The pipeline file (TOML); - reads it from standard input."

PipelineArgument = Annotated[str, typer.Argument(metavar="PIPELINE", help=PIPELINE_HELP)]
"""The argument of every verb that takes a pipeline file."""


def complete_overrides(incomplete: str) -> list[tuple[str, str]]:
    """What the shell offers for --set: the keys of the tables that every pipeline file may have, and stages' names."""
    if "=" in incomplete:
        return []
    from mailpipe.plugins import load_registry  # slow to import

    keys = [
        ("run.workers=", "processes"),
        ("run.journal=", "a file or false"),
        ("limits.message_size=", "such as 50MB"),
    ]
    keys += [(f"{kind}.use=", f"another {kind}") for kind in ("source", "sink")]
    keys += [(f"stage.{entry.name}.", entry.origin) for entry in load_registry(None).entries("stage")]
    return [(key, meaning) for key, meaning in keys if key.startswith(incomplete)]


OverridesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        autocompletion=complete_overrides,
        help="Set one key in place of the file, such as sink.port=2525; may be repeated.",
    ),
]
"""The option --set."""


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
