"""`mailpipe show`: one message as a tree of its parts, or its header, or the content of a part.

    mailpipe show message.eml
    mailpipe show message.eml --part 1.2 > report.pdf

Never here: judging; `validate` lists what is wrong.
"""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mailpipe.cli import output
from mailpipe.cli.exit import UsageError
from mailpipe.cli.read import must_look_like_a_message, read_octets
from mailpipe.defect import Defect

if TYPE_CHECKING:  # slow to import; `mailpipe --help` must not wait for them
    from rich.text import Text
    from rich.tree import Tree

    from mailpipe.message import Entity, Message

NAME = "show"
EXAMPLE = "mailpipe show message.eml"

SEVERITY_STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}
_MOST_DEFECTS = 20
_MOST_PARTS = 1000


def command(
    message: Annotated[str, typer.Argument(metavar="MESSAGE", help="A message file; - is standard input.")],
    header: Annotated[
        bool, typer.Option("--header", help="Print the decoded header fields instead of the tree.")
    ] = False,
    part: Annotated[
        str,
        typer.Option("--part", metavar="PATH", help="Write the decoded content of one part, such as 1.2, to stdout."),
    ] = "",
    raw: Annotated[
        bool, typer.Option("--raw", help="With --part or --header, or alone: the octets as they stand in the file.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as one JSON object.")] = False,
) -> int:
    """Show one message: its MIME structure with types, sizes, encodings, file names and defects."""
    if as_json and (part or raw):
        raise UsageError("--json shows the whole message; leave --part and --raw away")
    octets = read_octets(message)
    must_look_like_a_message(message, octets)
    from mailpipe import parse  # slow to import

    parsed = parse(octets)
    if part:
        entity = _find(parsed, part, message)
        output.write_octets(bytes(entity) if raw else _header_octets(entity) if header else entity.octets)
    elif raw:
        output.write_octets(_header_octets(parsed) if header else octets)
    elif as_json:
        output.print_json(NAME, {"file": message, "message": parsed.snapshot().model_dump(mode="json", by_alias=True)})
    elif header:
        _print_header(parsed)
    else:
        _print_tree(parsed, message, octets)
    return 0


def _find(parsed: "Message", path: str, name: str) -> "Entity":
    try:
        return parsed.part(path)
    except KeyError:
        known = [at for at, _ in parsed.walk() if at] or ["1"]
        more = ", …" if len(known) > 12 else ""
        raise UsageError(f"{name}: there is no part {path!r}; its parts are: {', '.join(known[:12])}{more}") from None


def _header_octets(entity: "Entity") -> bytes:
    return b"".join(field.raw for field in entity.header)


def _print_header(parsed: "Message") -> None:
    table = output.table("field", "value")
    for field in parsed.header:
        table.add_row(output.label(field.name, "cyan"), output.label(field.text))
    output.console().print(table)


def _print_tree(parsed: "Message", name: str, octets: bytes) -> None:
    from rich.tree import Tree  # slow to import

    title = output.label(name, "bold")
    title.append(f"  {output.size_text(len(octets))}", style="dim")
    root = Tree(title, guide_style="dim")
    for heading in ("From", "To", "Date", "Subject"):
        text = parsed.header.get(heading)
        if text:
            root.add(output.label(f"{heading}: ", "cyan") + output.label(output.shorten(output.safe(text), 300)))
    branches: dict[str, Tree] = {}
    for number, (path, entity) in enumerate(parsed.walk()):
        if number == _MOST_PARTS:
            root.add(output.label("… and more parts; --json has them all", "dim"))
            break
        branches[path] = _parent(path, branches, root).add(_describe(path, entity))
    _add_defects(root, branches, parsed)
    output.console().print(root)


def _parent(path: str, branches: "dict[str, Tree]", root: "Tree") -> "Tree":
    """Where a path hangs: under "2.TEXT" where the message inside part 2 is a multipart, else under "2"."""
    above = path.rpartition(".")[0]
    inside = f"{above}.TEXT" if above else "TEXT"
    if path != inside and inside in branches:
        return branches[inside]
    return branches.get(above) or root if path else root


def _describe(path: str, entity: "Entity") -> "Text":
    """One line: path, type, sizes, transfer encoding, charset, disposition, file name."""
    content_type = entity.content_type
    text = output.label(f"{path} " if path else "", "bold")
    text.append_text(output.label(content_type.value, "green"))
    if content_type.charset:
        text.append_text(output.label(f" {content_type.charset}", "blue"))
    if not entity.parts:
        encoding = str(entity.transfer_encoding or "7bit")
        decoded = len(entity.octets)
        text.append_text(output.label(f"  {encoding}, {output.size_text(decoded)}", "dim"))
    disposition = entity.disposition
    if disposition is not None:
        text.append_text(output.label(f"  {disposition.value}", "magenta"))
    if entity.filename:
        text.append_text(output.label(f"  {output.safe(entity.filename)}", "bold cyan"))
    return text


def _add_defects(root: "Tree", branches: "dict[str, Tree]", parsed: "Message") -> None:
    for number, defect in enumerate(parsed.defects):
        if number == _MOST_DEFECTS:
            more = len(parsed.defects) - number
            root.add(
                output.label(f"… and {output.count_text(more, 'defect')} more; `mailpipe validate` lists them", "dim")
            )
            return
        line = output.label(f"{defect.severity.value}: ", SEVERITY_STYLES[defect.severity.value])
        line.append_text(output.label(defect.sentence))
        for piece in (defect.field, defect.detail):
            if piece:
                line.append_text(output.label(f" [{piece}]", "dim"))
        line.append_text(output.label(f" at {defect.offset}", "dim"))
        (branches.get(defect.path) or root).add(line)


def defect_fields(defect: Defect) -> dict[str, Any]:
    """A defect as JSON has it."""
    return {
        "code": defect.code,
        "severity": defect.severity.value,
        "offset": defect.offset,
        "path": defect.path,
        "field": defect.field,
        "detail": defect.detail,
        "sentence": defect.sentence,
        "rfc": defect.rfc,
    }
