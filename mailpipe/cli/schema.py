"""`mailpipe schema`: the JSON Schema of what `--json` prints of a message, for programs that read it.

    mailpipe schema message > message.schema.json

Never here: the models; they describe themselves.
"""

from enum import StrEnum
from typing import Annotated

import typer

from mailpipe.cli import output
from mailpipe.cli.exit import EX_OK

NAME = "schema"
EXAMPLE = "mailpipe schema message"


class Subject(StrEnum):
    """What has a schema."""

    MESSAGE = "message"


def command(
    subject: Annotated[Subject, typer.Argument(metavar="WHAT", help="message: what `message.snapshot()` holds.")],
) -> int:
    """Print a JSON Schema."""
    from mailpipe.message.snapshot import MessageSnapshot  # pydantic is slow to import

    assert subject is Subject.MESSAGE
    output.print_document(MessageSnapshot.model_json_schema(mode="serialization"))
    return EX_OK
