"""`mailpipe plugins`: every source, stage and sink that is installed, with its options.

    mailpipe plugins
    mailpipe plugins extract-attachments --json

Never here: where components are found (`mailpipe.plugins`) and what makes a good one (`mailpipe.pipeline.registry`).
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mailpipe.cli import output
from mailpipe.cli.describing import conditions, default_text, describe
from mailpipe.cli.exit import EX_OK
from mailpipe.errors import ConfigError, MailpipeError, PluginError, UnknownComponent

if TYPE_CHECKING:  # slow to import; `mailpipe --help` must not wait for them
    from mailpipe.pipeline.registry import Registry

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
        document = {"components": documents, "broken": [_complaint(each) for each in broken]}
        output.print_json(NAME, document if name else document | {"conditions": conditions()})
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
    if in_full and document["kind"] == "stage":
        console.print(output.label(f"  reads {document['reads']}; touches {document['touches']}", "dim"))
    if in_full and document["example"]:
        console.print(output.label("  In a pipeline file:", "dim"))
        for line in document["example"].splitlines():
            console.print(output.label(f"    {line}"))
    elif in_full:
        table_name = f"[[{document['kind']}]]" if document["kind"] == "stage" else f"[{document['kind']}]"
        console.print(output.label("  In a pipeline file:", "dim"))
        console.print(output.label(f"    {table_name}"))
        console.print(output.label(f'    use = "{document["name"]}"'))
        for option in document["options"]:
            if option["required"]:
                console.print(output.label(f"    {option['name']} = …"))
    console.print()
