"""`mailpipe schema`: the JSON Schema of a pipeline file, for editors; or of what `--json` prints of a message.

    mailpipe schema > pipeline.schema.json
    mailpipe schema message > message.schema.json

Never here: the models; they describe themselves.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mailpipe.cli import output
from mailpipe.cli.exit import EX_OK

NAME = "schema"
EXAMPLE = "mailpipe schema > pipeline.schema.json"


class Subject(StrEnum):
    """What has a schema."""

    PIPELINE = "pipeline"
    MESSAGE = "message"


def command(
    subject: Annotated[
        Subject,
        typer.Argument(metavar="WHAT", help="pipeline: a pipeline file; message: what `message.snapshot()` holds."),
    ] = Subject.PIPELINE,
    pipeline: Annotated[
        Path | None,
        typer.Option("--pipeline", "-p", metavar="PIPELINE", help="Also those in plugins/ beside this pipeline file."),
    ] = None,
) -> int:
    """Print a JSON Schema."""
    if subject is Subject.MESSAGE:
        from mailpipe.message.snapshot import MessageSnapshot  # pydantic is slow to import

        output.print_document(MessageSnapshot.model_json_schema(mode="serialization"))
        return EX_OK
    from mailpipe.pipeline.schema import pipeline_schema  # the same
    from mailpipe.plugins import load_registry

    output.print_document(pipeline_schema(load_registry(pipeline.parent if pipeline is not None else None)))
    return EX_OK
