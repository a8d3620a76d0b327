"""`mailpipe plugins`: every source, stage and sink that is installed, with its options.

    mailpipe plugins
    mailpipe plugins extract-attachments --json

Never here: where components are found (`mailpipe.plugins`) and what makes a good one (`mailpipe.pipeline.registry`).
"""

import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mailpipe.cli import output
from mailpipe.cli.exit import EX_OK
from mailpipe.errors import ConfigError, MailpipeError, PluginError, UnknownComponent

if TYPE_CHECKING:  # slow to import; `mailpipe --help` must not wait for them
    from pydantic.fields import FieldInfo

    from mailpipe.pipeline.registry import Entry, Registry

NAME = "plugins"
EXAMPLE = "mailpipe plugins extract-attachments"


def complete_names(incomplete: str) -> list[tuple[str, str]]:
    """What the shell offers for NAME: the names of all components with their first line."""
    from mailpipe.plugins import load_registry  # slow to import

    found = []
    registry = load_registry(None)
    _load_all(registry)
    for entry in registry.entries():
        if entry.name.startswith(incomplete):
            try:
                found.append((entry.name, entry.summary))
            except MailpipeError:
                continue
    return found


def command(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="Only the components of this name, in full.", autocompletion=complete_names
        ),
    ] = "",
    pipeline: Annotated[
        Path | None,
        typer.Option("--pipeline", "-p", metavar="PIPELINE", help="Also those in plugins/ beside this pipeline file."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """List every source, stage and sink: where it comes from, and each option's type, default and meaning."""
    from mailpipe.pipeline.registry import nearest  # slow to import
    from mailpipe.plugins import load_registry

    registry = load_registry(pipeline.parent if pipeline is not None else None)
    broken = _load_all(registry)
    entries = [entry for entry in registry.entries() if not name or entry.name == name]
    if not entries:
        known = tuple(sorted({entry.name for entry in registry.entries()}))
        raise UnknownComponent("component", name, known, nearest(name, known))
    documents = []
    for entry in entries:
        try:
            documents.append(describe(entry))
        except PluginError as error:
            broken.append(error)
    if as_json:
        output.print_json(NAME, {"components": documents, "broken": [_complaint(each) for each in broken]})
    else:
        for document in documents:
            _print(document, in_full=bool(name))
    for each in broken:
        output.complain(str(each))
    return ConfigError.exit_code if broken else EX_OK


def _load_all(registry: "Registry") -> list[PluginError]:
    """Load every installed plugin; one that is broken does not hide the others."""
    broken = []
    while True:
        try:
            registry.load_all()
        except PluginError as error:
            broken.append(error)
        else:
            return broken


def _complaint(error: PluginError) -> dict[str, str]:
    return {"plugin": error.plugin, "origin": error.origin, "reason": error.reason}


def describe(entry: "Entry") -> dict[str, Any]:
    """A component as JSON has it.

    Raises:
        PluginError: it cannot be imported or does not keep its contract.
    """
    schema = entry.options.model_json_schema()
    return {
        "kind": entry.kind,
        "name": entry.name,
        "origin": entry.origin,
        "summary": entry.summary,
        "documentation": inspect.cleandoc(entry.load().__doc__ or ""),
        "options": [_option(name, field) for name, field in entry.options.model_fields.items()],
        "schema": schema,
    }


def _option(name: str, field: "FieldInfo") -> dict[str, Any]:
    required = field.is_required()
    default = None if required else field.get_default(call_default_factory=True, validated_data={})
    return {
        "name": field.alias or name,
        "type": type_text(field),
        "required": required,
        "default": None if required else _plain(default),
        "meaning": " ".join((field.description or "").split()),
    }


def _plain(value: Any) -> Any:
    """A default as TOML and JSON could hold it."""
    from pydantic_core import to_jsonable_python  # slow to import

    return to_jsonable_python(value, fallback=str)


def type_text(field: "FieldInfo") -> str:
    """The type of an option in the words of a configuration file: "size", "list of text", '"7bit" or "8bit"'."""
    from pydantic import TypeAdapter  # slow to import

    annotated: Any = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
    schema = TypeAdapter(annotated).json_schema()
    return _schema_text(schema, schema.get("$defs", {}))


_SIZE_PATTERN = re.compile(r"\\d.*\\w")
_SIMPLE = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "null": "nothing",
}


def _schema_text(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    if "$ref" in schema:
        return _schema_text(definitions.get(schema["$ref"].rpartition("/")[2], {}), definitions)
    if "const" in schema:
        return f'"{schema["const"]}"'
    if "enum" in schema:
        return " | ".join(f'"{value}"' if isinstance(value, str) else str(value) for value in schema["enum"])
    for union in ("anyOf", "oneOf"):
        if union in schema:
            return _union_text(schema[union], definitions)
    kind = schema.get("type")
    if isinstance(kind, list):
        return "duration" if schema.get("examples") == ["30s", "5m", "1h30m"] else " or ".join(_SIMPLE[k] for k in kind)
    if kind == "array":
        inner = schema.get("items")
        return f"list of {_schema_text(inner, definitions)}" if isinstance(inner, dict) else "list"
    if kind == "object":
        inner = schema.get("additionalProperties")
        return f"table of {_schema_text(inner, definitions)}" if isinstance(inner, dict) else "table"
    if kind == "string" and schema.get("format") in ("path", "file-path", "directory-path"):
        return "path"
    return _SIMPLE.get(kind or "", "anything") + _bounds(schema)


def _union_text(members: list[dict[str, Any]], definitions: dict[str, Any]) -> str:
    kinds = [member.get("type") for member in members]
    if (
        "string" in kinds
        and "integer" in kinds
        and any(_SIZE_PATTERN.search(member.get("pattern", "")) for member in members)
    ):
        return "size"
    words = [_schema_text(member, definitions) for member in members if member.get("type") != "null"]
    return " or ".join(dict.fromkeys(words))


def _bounds(schema: dict[str, Any]) -> str:
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    if low is not None and high is not None:
        return f" from {low} to {high}"
    if low is not None:
        return f" above {low}" if "exclusiveMinimum" in schema else f" from {low}"
    return "" if high is None else f" up to {high}"


def default_text(option: dict[str, Any]) -> str:
    """The default as it would be written in a pipeline file."""
    if option["required"]:
        return "required"
    value = option["default"]
    if option["type"] == "duration" and isinstance(value, (int, float)):
        from mailpipe.units import duration_text  # slow to import

        return f'"{duration_text(value)}"'
    if option["type"] == "size" and isinstance(value, int) and value >= 1000:
        return f'"{output.size_text(value).replace(" ", "").replace(".0", "").replace("kB", "KB")}"'
    return output.toml_text(value)


def _print(document: dict[str, Any], *, in_full: bool) -> None:
    from rich.padding import Padding  # slow to import

    console = output.console()
    title = output.label(f"{document['kind']} ", "dim")
    title.append_text(output.label(document["name"], "bold cyan"))
    title.append_text(output.label(f"  {document['origin']}", "dim"))
    console.print(title)
    words = document["documentation"] if in_full else document["summary"]
    for line in words.splitlines():
        console.print(Padding(output.label(line), (0, 0, 0, 2)))
    if document["options"]:
        table = output.table("option", "type", "default", "meaning")
        for option in document["options"]:
            style = "bold" if option["required"] else ""
            table.add_row(
                output.label(option["name"], "green"),
                output.label(option["type"]),
                output.label(default_text(option), style),
                output.label(option["meaning"]),
            )
        console.print(Padding(table, (0, 0, 0, 2)))
    if in_full:
        table_name = f"[[{document['kind']}]]" if document["kind"] == "stage" else f"[{document['kind']}]"
        console.print(output.label("  In a pipeline file:", "dim"))
        console.print(output.label(f"    {table_name}"))
        console.print(output.label(f'    use = "{document["name"]}"'))
        for option in document["options"]:
            if option["required"]:
                console.print(output.label(f"    {option['name']} = …"))
    console.print()
