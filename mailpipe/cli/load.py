"""The argument and the option of every verb that takes a pipeline file; `load` reads the file.

    registry, settings = load("pipeline.toml", ["sink.port=2525"])

Never here: reading (`opening`), checking (`mailpipe.pipeline.settings`) and what to do with the settings.
"""

from typing import Annotated

import typer

from mailpipe.cli.opening import load, log_to_stderr

__all__ = ["PIPELINE_HELP", "OverridesOption", "PipelineArgument", "complete_overrides", "load", "log_to_stderr"]

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
