"""Arguments and options that several verbs share: the pipeline file, --set, what a sender wants to be told.

    registry, settings = load("pipeline.toml", ["sink.port=2525"])

Never here: reading (`opening`), checking (`mailpipe.pipeline.settings`) and what to do with the settings.
"""

from typing import Annotated

import typer

from mailpipe.cli.opening import load, loader, log_to_stderr

__all__ = [
    "PIPELINE_HELP", "EnvidOption", "NotifyOption", "OriginalRecipientsOption", "OverridesOption", "PipelineArgument",
    "RetOption", "VerboseOption", "complete_overrides", "load", "loader", "log_to_stderr",
]  # fmt: skip

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

VerboseOption = Annotated[
    int, typer.Option("-v", "--verbose", count=True, show_default=False, help="Say more; -vv everything.")
]
"""The option -v of the verbs that log."""

NotifyOption = Annotated[
    str,
    typer.Option(
        "-N", "--notify", metavar="WORDS", show_default=False,
        help="What the sender is to be told: never, or some of success,failure,delay.",
    ),
]
"""NOTIFY (RFC 3461), named as sendmail(1) names it; so the next two."""

RetOption = Annotated[
    str,
    typer.Option("-R", "--ret", metavar="full|hdrs", show_default=False, help="What comes back with a failure."),
]
"""RET."""

EnvidOption = Annotated[
    str,
    typer.Option("-V", "--envid", metavar="ID", show_default=False, help="What the sender knows the mail by."),
]
"""ENVID."""

OriginalRecipientsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--original-recipient", metavar="ADDRESS", show_default=False,
        help="What the recipient was called at first; once for each, in order.",
    ),
]
"""ORCPT."""
