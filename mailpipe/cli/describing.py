"""What components and conditions are, for people and programs: summary, example, options with type and default.

    describe(registry.entry("stage", "re-encode"))["options"][0]["type"]       # '"7bit" | "8bit" | "binary"'
    conditions()[0]["name"]                                                     # "all"

Never here: how it is shown; see `plugins`, and what makes the reference of the documentation.
"""

import inspect
import re
import sys
from typing import TYPE_CHECKING, Annotated, Any, cast

from mailpipe.cli import output

if TYPE_CHECKING:  # slow to import; `mailpipe --help` must not wait for them
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

    from mailpipe.pipeline.component import Stage
    from mailpipe.pipeline.registry import Entry


def describe(entry: "Entry") -> dict[str, Any]:
    """A component as JSON has it.

    Raises:
        PluginError: it cannot be imported or does not keep its contract.
    """
    schema = entry.options.model_json_schema()
    document: dict[str, Any] = {
        "kind": entry.kind,
        "name": entry.name,
        "origin": entry.origin,
        "summary": entry.summary,
        "documentation": inspect.cleandoc(entry.load().__doc__ or ""),
        "example": example_of(entry.load()),
        "options": _options(entry.options),
        "schema": schema,
    }
    if entry.kind == "stage":
        stage = cast("type[Stage[Any]]", entry.load())
        decides = stage.decides
        document |= {
            "reads": str(stage.reads),
            "touches": str(stage.touches),
            "decides": None if decides is None else [each.value for each in decides],
            "is_parallel": stage.is_parallel,
        }
    return document


def _options(model: "type[BaseModel]") -> list[dict[str, Any]]:
    return [_option(name, field) for name, field in model.model_fields.items()]


def example_of(component: type) -> str:
    """The lines of a pipeline file that the module of a component begins with, "" where there are none."""
    text = inspect.cleandoc(getattr(sys.modules.get(component.__module__), "__doc__", None) or "")
    blocks = re.findall(r"(?m)(?:^    .*\n|^\n(?=    ))+", text + "\n")
    table = next((block for block in blocks if re.search(r"(?m)^    \[+(stage|source|sink)\]+", block)), "")
    return inspect.cleandoc(table)


def conditions() -> list[dict[str, Any]]:
    """What `when = …` can ask: name, meaning, type, and the keys of those that are tables."""
    from mailpipe.pipeline.rules import Condition  # slow to import

    documents = []
    for name, field in Condition.model_fields.items():
        table = _table_of(field.annotation)
        is_condition = table is Condition
        kind = "condition" if name == "not_" else "list of condition" if is_condition else type_text(field)
        documents.append({
            "name": field.alias or name,
            "type": kind,
            "meaning": " ".join((field.description or "").split()),
            "options": _options(table) if table is not None and not is_condition else [],
        })  # fmt: skip
    return documents


def _table_of(annotation: Any) -> "type[BaseModel] | None":
    from pydantic import BaseModel  # slow to import

    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_table_of(each) for each in getattr(annotation, "__args__", ()))
    return next((each for each in found if each is not None), None)


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
