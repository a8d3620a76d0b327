"""Writes docs/components.md: every built-in source, stage and sink with its options, from the components themselves.

It is what `make docs` runs.
"""

import json
import re
import sys
import typing
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from mailpipe.plugins import load_registry  # the checkout, installed or not

HEAD = """\
# Built-in sources, stages and sinks

Made by `make docs` from the components themselves; `mailpipe plugins` shows the same, and installed plugins beside
them. How they stand in a pipeline file: [pipeline-file.md](pipeline-file.md).
"""

# How an option is written in the file, where the Python type would not tell.
_DURATIONS = ("timeout", "pause", "expire", "interval", "_age")
_SIZES = ("_size",)


def _type(annotation: Any, name: str) -> str:
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if origin is typing.Annotated:
        return _type(arguments[0], name)
    if origin is typing.Literal:
        return " or ".join(f'"{each}"' if isinstance(each, str) else str(each).lower() for each in arguments)
    if origin in (typing.Union, UnionType):
        return " or ".join(dict.fromkeys(_type(each, name) for each in arguments if each is not NoneType))
    if origin in (tuple, list, frozenset, set):
        return f"list of {_type(arguments[0], name)}"
    if origin is dict:
        return f"table of {_type(arguments[1], name)}"
    if isinstance(annotation, type):
        if issubclass(annotation, Enum):
            return " or ".join(f'"{each.value}"' for each in annotation)
        if annotation is bool:
            return "true or false"
        if issubclass(annotation, int):
            return "size" if annotation.__name__ == "ByteSize" or name.endswith(_SIZES) else "number"
        if issubclass(annotation, float):
            return "duration" if name.endswith(_DURATIONS) else "number"
        if issubclass(annotation, Path):
            return "path"
        if issubclass(annotation, str | SecretStr):
            return "text"
        return annotation.__name__.lower()
    return str(annotation)


def _value(value: Any, kind: str) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Enum):
        return f'"{value.value}"'
    if isinstance(value, (list, tuple, set, frozenset)):
        return "[" + ", ".join(_value(each, kind) for each in value) + "]"
    if isinstance(value, int | float):
        return f'"{value:g}s"' if kind == "duration" else f"{value:g}" if isinstance(value, float) else str(value)
    return json.dumps(str(value), ensure_ascii=False) if isinstance(value, (str, Path)) else str(value)


def _rows(fields: dict[str, FieldInfo]) -> Iterator[str]:
    for name, field in fields.items():
        kind = _type(field.annotation, name)
        default = field.get_default(call_default_factory=True)
        shown = "*required*" if default is PydanticUndefined else f"`{_value(default, kind)}`"
        meaning = re.sub(r"\s+", " ", field.description or "").replace("|", "\\|")
        yield f"| `{name}` | {kind} | {'' if shown == '``' else shown} | {meaning} |".replace("  ", " ")


def text() -> str:
    """The whole document."""
    registry = load_registry(None)
    lines = [HEAD]
    for kind in ("source", "stage", "sink"):
        lines.append(f"## {kind.capitalize()}s\n")
        for entry in registry.entries(kind):  # type: ignore[arg-type]
            if entry.place and not entry.place.startswith("mailpipe."):
                continue
            component = entry.load()
            if not component.__module__.startswith("mailpipe."):
                continue
            summary = re.sub(r"\s+", " ", (component.__doc__ or "").strip().partition("\n\n")[0])
            lines.append(f"### {entry.name}\n\n{summary}\n")
            fields = component.Options.model_fields
            if fields:
                lines += ["| option | what | default | meaning |", "|---|---|---|---|", *_rows(fields), ""]
            else:
                lines.append("It has no options.\n")
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
