"""The option `path` of sources that read archives: one, or several.

Never here: what is at those paths.
"""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from mailpipe.pipeline.component import LocalPath


def _listed(value: Any) -> Any:
    """One path stands for a list of one."""
    return value if isinstance(value, list | tuple) else (value,)


LocalPaths = Annotated[
    tuple[LocalPath, ...],
    BeforeValidator(_listed, json_schema_input_type=str | tuple[LocalPath, ...]),
    Field(min_length=1),
]
"""One path or a list of paths; in a pipeline file relative ones are taken from the folder of that file."""
