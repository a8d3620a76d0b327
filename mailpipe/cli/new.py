"""`mailpipe new`: makes the beginnings of a plugin or of a pipeline file.

    mailpipe new plugin tag-subject --kind function
    mailpipe new pipeline letters --template filter

What is made works as it is: a plugin's tests pass, a pipeline file is good. Nothing that is there already is touched.

Never here: the texts; they are in `templates/`, with $name, $module and the like to be filled in (string.Template).
"""

import keyword
import re
import sys
from collections.abc import Callable, Mapping
from enum import StrEnum
from importlib import resources
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from mailpipe.cli import output
from mailpipe.cli.exit import EX_OK, UsageError
from mailpipe.errors import ConfigError, OutputError

NAME = "new"
HELP = "Make the beginnings of a plugin or of a pipeline file."
EXAMPLE = "mailpipe new plugin tag-subject"

LONGEST = 40
"""LIMIT: characters of a name; it becomes a part of file names."""
_KEBAB = re.compile(r"[a-z][a-z0-9]*+(?>(?:-[a-z0-9]++)*)")


class Kind(StrEnum):
    """What a plugin brings."""

    STAGE = "stage"
    FUNCTION = "function"
    SOURCE = "source"
    SINK = "sink"


class Form(StrEnum):
    """What a pipeline is for."""

    MINIMAL = "minimal"
    BATCH = "batch"
    FILTER = "filter"
    ARCHIVE = "archive"


_WORD = "| option | type | default | what it is |\n|---|---|---|---|\n| `word` | text | `\"list\"` | the word |"
_TAG = ("puts a word in brackets before the subject", '[[stage]]\nuse  = "{name}"\nword = "list"', _WORD)
_FOLDER = "| option | type | default | what it is |\n|---|---|---|---|\n| `folder` | path | | {what} |"
_ABOUT: dict[Kind, tuple[str, str, str]] = {
    Kind.STAGE: _TAG,
    Kind.FUNCTION: _TAG,
    Kind.SOURCE: (
        "reads a folder of messages",
        '[source]\nuse    = "{name}"\nfolder = "incoming"',
        _FOLDER.format(what="where they lie") + '\n| `pattern` | text | `"*.eml"` | which files are messages |',
    ),
    Kind.SINK: (
        "writes messages to a folder",
        '[sink]\nuse    = "{name}"\nfolder = "kept"',
        _FOLDER.format(what="where they go; made when it is not there"),
    ),
}
"""Kind → what it does, how a pipeline uses it, its options."""

Directory = Annotated[
    Path | None,
    typer.Option("--directory", "-d", metavar="DIR", help="Where to make it; by default in the present directory."),
]


def plugin(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Lower-case words joined by hyphens: tag-subject.")],
    kind: Annotated[Kind, typer.Option("--kind", "-k", help="What the plugin brings.")] = Kind.STAGE,
    directory: Directory = None,
) -> int:
    """Make an installable package with one component, its options, its tests and a sample message."""
    module = _checked(name).replace("-", "_")
    if keyword.iskeyword(module) or module in sys.stdlib_module_names or module in ("mailpipe", "tests", "samples"):
        raise UsageError(f"{name!r} would be a module {module!r}, and there is another of that name; say more in it")
    component = "stage" if kind is Kind.FUNCTION else kind.value
    _check_free(component, name)
    summary, usage, options = _ABOUT[kind]
    words = {
        "name": name,
        "module": module,
        "class_name": "".join(word.capitalize() for word in name.split("-")),
        "kind": component,
        "summary": summary,
        "usage": usage.format(name=name),
        "options": options,
    }
    files = {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        ".gitignore": "gitignore",
        f"{module}/__init__.py": f"{kind.value}.py",
        f"{module}/py.typed": "",
        f"tests/test_{module}.py": f"{kind.value}_test.py",
        "samples/message.eml": "message.eml",
    }
    folder = (directory or Path()) / name
    _make_folder(folder)
    for path, template in files.items():
        _write(folder / path, _filled("plugin", template, words) if template else "")
    _tell(folder, len(files), [f"cd {_quoted(folder)}", "pip install -e .", "pytest"])
    return EX_OK


def pipeline(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Lower-case words joined by hyphens; the file's name.")],
    template: Annotated[Form, typer.Option("--template", "-t", help="What it is for.")] = Form.BATCH,
    directory: Directory = None,
) -> int:
    """Make a pipeline file with a comment at each choice."""
    file = (directory or Path()) / f"{_checked(name.removesuffix('.toml'))}.toml"
    text = _filled("pipeline", f"{template.value}.toml", {"name": file.stem, "file": file.name})
    _make_folder(file.parent, is_new=False)
    _write(file, text)
    run = f"mailpipe run {_quoted(file)}"
    if template is Form.FILTER:
        run = f"mailpipe filter {_quoted(file)} --stdout < message.eml"
    _tell(file, 1, [f"mailpipe check {_quoted(file)}", run])
    return EX_OK


def _checked(name: str) -> str:
    if not _KEBAB.fullmatch(name) or len(name) > LONGEST:
        near = re.sub(r"[^a-z0-9]+", "-", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()).strip("-0123456789")
        hint = f"lower-case words joined by hyphens, at most {LONGEST} characters"
        raise UsageError(f"{name!r} is no name: {hint}, such as {near[:LONGEST].strip('-') or 'tag-subject'!r}")
    return name


def _check_free(kind: str, name: str) -> None:
    """A component of that name could not be loaded beside the one that is there."""
    from mailpipe.plugins import load_registry  # slow to import

    registry = load_registry()
    try:
        taken = [entry for entry in registry.entries() if entry.kind == kind and entry.name == name]
    except ConfigError:  # a broken plugin of somebody's is no reason not to make a new one
        return
    if taken:
        raise UsageError(f"there is a {kind} {name!r} already, from {taken[0].origin}; choose another name")


def _filled(room: str, template: str, words: Mapping[str, str]) -> str:
    text = (resources.files("mailpipe.cli") / "templates" / room / f"{template}.tmpl").read_text("utf-8")
    return Template(text).substitute(words)


def _make_folder(folder: Path, *, is_new: bool = True) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=not is_new)
    except FileExistsError as error:
        words = "is there already, and nothing in it was touched; choose another name or --directory"
        raise OutputError(str(folder), words) from error
    except OSError as error:
        raise OutputError.from_os(str(folder), error) from error


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(exist_ok=True)
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError as error:
        raise OutputError(str(path), "is there already and was not touched; choose another name") from error
    except OSError as error:
        raise OutputError.from_os(str(path), error) from error


def _quoted(path: Path) -> str:
    import shlex  # only what is printed needs it

    return shlex.quote(str(path))


def _tell(made: Path, count: int, commands: list[str]) -> None:
    files = "" if made.suffix == ".toml" and count == 1 else f", {output.count_text(count, 'file')}"
    lines = [f"made {made}{files}", "next:", *(f"    {command}" for command in commands)]
    sys.stdout.write(output.safe("\n".join(lines), lines=True) + "\n")


COMMANDS: dict[str, tuple[Callable[..., int], str]] = {
    "plugin": (plugin, "mailpipe new plugin tag-subject --kind stage"),
    "pipeline": (pipeline, "mailpipe new pipeline letters --template filter"),
}
"""Name → command and an example that can be pasted."""
