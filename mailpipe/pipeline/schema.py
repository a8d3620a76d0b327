"""The JSON Schema of a pipeline file, with every component of a registry, for editors that complete and check TOML.

    schema = pipeline_schema(load_registry(folder))

Never here: the models; they describe themselves.
"""

from typing import Any

from pydantic import BaseModel

from mailpipe.errors import PluginError
from mailpipe.pipeline.envelope_rule import EnvelopeRule
from mailpipe.pipeline.registry import Entry, Kind, Registry
from mailpipe.pipeline.rules import Condition
from mailpipe.pipeline.tables import (
    CheckSettings,
    LimitSettings,
    QuarantineSettings,
    QueueSettings,
    RunSettings,
    StepSettings,
)

_TABLES: dict[str, type[BaseModel]] = {
    "envelope": EnvelopeRule,
    "queue": QueueSettings,
    "quarantine": QuarantineSettings,
    "run": RunSettings,
    "limits": LimitSettings,
    "check": CheckSettings,
}


def pipeline_schema(registry: Registry) -> dict[str, Any]:
    """The schema; a component that cannot be loaded is left out.

    Raises:
        PluginError: an installed plugin cannot be used.
    """
    definitions: dict[str, Any] = {}
    steps = _definition(StepSettings, "step", definitions)
    definitions["condition"] = _definition(Condition, "condition", definitions)
    step_keys = {key: value for key, value in steps["properties"].items() if key != "use"}
    step_keys["when"] = {"$ref": "#/$defs/condition", "description": steps["properties"]["when"].get("description", "")}
    policy = step_keys["on_error"]
    words = definitions["step.ErrorPolicy"]["properties"]["then"]["enum"]
    step_keys["on_error"] = policy | {"anyOf": [{"enum": words}, *policy["anyOf"]]}
    step_keys["tee"] = step_keys["tee"] | {"type": ["array", "string"]}
    stages = [_component(entry, definitions, step_keys) for entry in _usable(registry, "stage")]
    stages.append(_lead(step_keys))
    definitions["stages"] = {"type": "array", "items": {"oneOf": stages}}
    sink = {"oneOf": [_component(entry, definitions) for entry in _usable(registry, "sink")]}
    definitions["sink"] = sink
    ends = {"stage": {"$ref": "#/$defs/stages"}, "sink": {"$ref": "#/$defs/sink"}}
    definitions["route"] = _object(ends, "A route: stages, and a sink of its own.")
    properties: dict[str, Any] = {
        "source": {"oneOf": [_component(entry, definitions) for entry in _usable(registry, "source")]},
        "stage": {"$ref": "#/$defs/stages"},
        "route": {"type": "object", "additionalProperties": {"$ref": "#/$defs/route"}},
        "sink": {"$ref": "#/$defs/sink"},
    }
    for name, model in _TABLES.items():
        properties[name] = _definition(model, name, definitions)
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "A pipeline file of mailpipe",
        **_object(properties, "Where mail comes from, what happens to it, and where it goes."),
        "$defs": definitions,
    }


def _usable(registry: Registry, kind: Kind) -> list[Entry]:
    usable = []
    for entry in registry.entries(kind):
        try:
            entry.load()
        except PluginError:
            continue
        usable.append(entry)
    return usable


def _object(properties: dict[str, Any], description: str) -> dict[str, Any]:
    return {"type": "object", "description": description, "properties": properties, "additionalProperties": False}


def _component(entry: Entry, definitions: dict[str, Any], more: dict[str, Any] | None = None) -> dict[str, Any]:
    """A table with the options of one component."""
    schema = _definition(entry.options, f"{entry.kind}-{entry.name}", definitions)
    use = {"const": entry.name, "type": "string", "description": entry.summary}
    properties = {"use": use, **schema.get("properties", {}), **(more or {})}
    properties = {key: value for key, value in properties.items() if key not in ("goto", "tee")}
    return _object(properties, entry.summary) | {"title": entry.name, "required": ["use", *schema.get("required", [])]}


def _lead(step_keys: dict[str, Any]) -> dict[str, Any]:
    """A step that only leads into routes."""
    lead = _object({key: step_keys[key] for key in ("goto", "tee", "when", "on_error", "label")}, "Leads into a route.")
    return lead | {"title": "goto or tee", "anyOf": [{"required": ["goto"]}, {"required": ["tee"]}]}


def _definition(model: type[BaseModel], name: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """A model's schema; what it refers to stands among the definitions under names of its own."""
    schema = model.model_json_schema(by_alias=True, ref_template=f"#/$defs/{name}.{{model}}")
    for each, inner in schema.pop("$defs", {}).items():
        definitions[f"{name}.{each}"] = inner
    if "$ref" in schema:  # a model that refers to itself
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    return schema
