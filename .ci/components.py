"""Writes the reference: docs/components.md and docs/conditions.md, from the components themselves.

It is what `make docs` runs; with a name as argument it prints that document.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOP))
from mailpipe.cli.describing import conditions, default_text, describe  # noqa: E402 - the checkout, installed or not
from mailpipe.plugins import load_registry  # noqa: E402

COMPONENTS = """\
# Built-in sources, stages and sinks

Made by `make docs` from the components themselves; `mailpipe plugins` shows the same, and installed plugins beside
them. How they stand in a pipeline file: [pipeline-file.md](pipeline-file.md). What every stage may have beside its
options, and when it is asked at all: [rules-and-routes.md](rules-and-routes.md), [conditions.md](conditions.md).
"""
CONDITIONS = """\
# Conditions

Made by `make docs`; `mailpipe plugins --json` has the same. They stand in `when` of a stage; how they are put
together: [rules-and-routes.md](rules-and-routes.md).
"""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _rows(options: list[dict[str, Any]]) -> Iterator[str]:
    yield "| option | what | default | meaning |"
    yield "|---|---|---|---|"
    for option in options:
        default = default_text(option)
        default = "*required*" if option["required"] else "" if option["default"] is None else f"`{_cell(default)}`"
        kind = _cell(option["type"].replace(" | ", " or "))
        yield f"| `{option['name']}` | {kind} | {default} | {_cell(option['meaning'])} |".replace("|  |", "| |")


def components() -> str:
    """docs/components.md."""
    registry = load_registry(None)
    lines = [COMPONENTS]
    for kind in ("source", "stage", "sink"):
        entries = [entry for entry in registry.entries(kind) if entry.load().__module__.startswith("mailpipe.")]
        lines.append(f"## {kind.capitalize()}s\n")
        lines.append(", ".join(f"[{entry.name}](#{entry.name})" for entry in entries) + "\n")
        for entry in entries:
            document = describe(entry)
            lines.append(f"### {entry.name}\n\n{_cell(document['summary'])}\n")
            if document["example"]:
                lines.append(f"```toml\n{document['example']}\n```\n")
            if kind == "stage":
                lines.append(_declared(document))
            lines += [*_rows(document["options"]), ""] if document["options"] else ["It has no options.\n"]
    return "\n".join(lines).rstrip() + "\n"


def _declared(document: dict[str, Any]) -> str:
    words = [f"Reads {document['reads']}; touches {document['touches']}."]
    if document["decides"]:
        words.append(f"May {', '.join(document['decides'])}.")
    if not document["is_parallel"]:
        words.append("Counts across mails: for one worker.")
    return " ".join(words) + "\n"


def _conditions() -> str:
    """docs/conditions.md."""
    lines = [CONDITIONS, "| condition | what | meaning |", "|---|---|---|"]
    listed = conditions()
    for each in listed:
        name = f"[`{each['name']}`](#{each['name']})" if each["options"] else f"`{each['name']}`"
        kind = _cell(each["type"].replace(" | ", " or "))
        lines.append(f"| {name} | {kind} | {_cell(each['meaning'])} |")
    for each in listed:
        if each["options"]:
            lines += [f"\n## {each['name']}\n", f"{_cell(each['meaning'])}\n", *_rows(each["options"])]
    return "\n".join(lines).rstrip() + "\n"


DOCUMENTS = {"components": components, "conditions": _conditions}


if __name__ == "__main__":
    if names := sys.argv[1:]:
        sys.stdout.write("".join(DOCUMENTS[name]() for name in names))
    else:
        for name, make in DOCUMENTS.items():
            (TOP / "docs" / f"{name}.md").write_text(make(), encoding="utf-8")
