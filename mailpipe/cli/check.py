"""`mailpipe check`: validates a pipeline file without running it.

    mailpipe check pipeline.toml
    mailpipe check pipeline.toml --json

Prints the pipeline as it would run, defaults filled in, and what is hardly meant by it; or every complaint with its
place. Ends with 78 where there is either.

Never here: the rules; those are the settings' and the components' own.
"""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mailpipe.cli import output
from mailpipe.cli.exit import EX_OK, explain
from mailpipe.cli.load import OverridesOption, PipelineArgument, load
from mailpipe.errors import ConfigError, PluginError, SettingsError

if TYPE_CHECKING:  # slow to import; `mailpipe --help` must not wait for them
    from pydantic import BaseModel
    from rich.tree import Tree

    from mailpipe.pipeline.checking import Finding
    from mailpipe.pipeline.settings import Settings, Use

NAME = "check"
EXAMPLE = "mailpipe check pipeline.toml"


def command(
    pipeline: PipelineArgument,
    overrides: OverridesOption = None,
    every: Annotated[bool, typer.Option("--all", "-a", help="Also show options that have their default.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Validate a pipeline file without running it, and show the pipeline it makes."""
    from mailpipe.pipeline.checking import findings_of  # slow to import

    try:
        registry, settings = load(pipeline, overrides)
        findings = findings_of(settings, registry)
    except ConfigError as error:
        if as_json:
            problems = _problems(error)
            output.print_json(NAME, {"file": pipeline, "valid": False, "problems": problems, "findings": []})
        else:
            _complain(error)
        return explain(error)[0]
    if as_json:
        told = [_plain_finding(each) for each in findings]
        output.print_json(
            NAME,
            {"file": pipeline, "valid": True, "problems": [], "findings": told, "pipeline": _document(settings)},
        )
    else:
        _print_tree(settings, findings, every=every)
        for finding in findings:
            output.complain(str(finding))
    return ConfigError.exit_code if findings else EX_OK


def _plain_finding(finding: "Finding") -> dict[str, Any]:
    return {name: getattr(finding, name) for name in ("code", "file", "line", "column", "key", "message", "remedy")}


def _problems(error: ConfigError) -> list[dict[str, Any]]:
    if isinstance(error, SettingsError):
        return [
            {
                "code": problem.code,
                "file": problem.file,
                "line": problem.line,
                "column": problem.column,
                "key": problem.key,
                "message": problem.message,
                "expected": problem.expected,
                "nearest": problem.nearest,
            }
            for problem in error.problems
        ]
    return [{"code": "plugin" if isinstance(error, PluginError) else "setting", "message": str(error)}]


def _complain(error: ConfigError) -> None:
    output.complain(str(error))
    if isinstance(error, SettingsError) and len(error.problems) > 1:
        output.complain(f"{output.count_text(len(error.problems), 'problem')}; mend them and check again")


def _document(settings: "Settings") -> dict[str, Any]:
    return {
        "source": _use(settings.source),
        "stages": [_use(use) for use in settings.stages],
        "routes": {
            name: {"stages": [_use(use) for use in route.stages], "sink": _use(route.sink)}
            for name, route in settings.routes.items()
        },
        "sink": _use(settings.sink),
        "envelope": _plain(settings.envelope),
        "limits": {"message_size": settings.message_size, **_limits(settings)},
        "run": {**_plain(settings.run), "journal": None if settings.journal is None else str(settings.journal)},
        "queue": None if settings.queue is None else _plain(settings.queue),
        "quarantine": _plain(settings.quarantine),
    }


def _use(use: "Use | None") -> dict[str, Any] | None:
    if use is None:
        return None
    step = use.step.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude={"use"})
    return {"use": use.use, "options": _plain(use.options), **step}


def _plain(model: "BaseModel") -> dict[str, Any]:
    return model.model_dump(mode="json", by_alias=True)


def _limits(settings: "Settings") -> dict[str, int]:
    limits = settings.limits
    return {name: getattr(limits, name) for name in type(limits).__dataclass_fields__}


def _print_tree(settings: "Settings", findings: "list[Finding]", *, every: bool) -> None:
    from rich.tree import Tree  # slow to import

    title = output.label(str(settings.file), "bold")
    if findings:
        title.append(f"  can be used, with {output.count_text(len(findings), 'finding')}", style="yellow")
    else:
        title.append("  is good", style="green")
    root = Tree(title, guide_style="dim")
    arrow = "↓ "
    if settings.source is None:
        root.add(output.label("source  none: name one on the command line of `mailpipe run`", "dim"))
    else:
        _add_use(root, "source", settings.source, every=every)
    for number, use in enumerate(settings.stages, start=1):
        _add_use(root, f"{arrow}stage {number}", use, every=every)
    if settings.sink is None:
        root.add(output.label(f"{arrow}sink  none", "dim"))
    else:
        _add_use(root, f"{arrow}sink", settings.sink, every=every)
    for route in settings.routes.values():
        branch = root.add(output.label("route ", "magenta") + output.label(route.name, "bold magenta"))
        for number, use in enumerate(route.stages, start=1):
            _add_use(branch, f"{arrow}stage {number}", use, every=every)
        if route.sink is not None:
            _add_use(branch, f"{arrow}sink", route.sink, every=every)
    for name, table in (
        ("envelope", settings.envelope),
        ("run", settings.run),
        ("queue", settings.queue),
        ("quarantine", settings.quarantine),
    ):
        if table is not None and (every or table.model_fields_set):
            _add_options(root.add(output.label(name, "magenta")), table, every=every)
    if settings.journal is not None:
        root.add(output.label("journal ", "magenta") + output.label(str(settings.journal)))
    output.console().print(root)


def _add_use(root: "Tree", role: str, use: "Use", *, every: bool) -> None:
    branch = root.add(output.label(f"{role}  ", "dim") + output.label(use.label, "bold cyan"))
    for name, value in use.step.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude={"use"}).items():
        branch.add(output.label(f"{name} = ", "yellow") + output.label(output.toml_text(value)))
    _add_options(branch, use.options, every=every)


def _add_options(branch: "Tree", model: "BaseModel", *, every: bool) -> None:
    for name, value in _plain(model).items():
        given = name in model.model_fields_set
        if given or every:
            branch.add(
                output.label(f"{name} = ", "green") + output.label(output.toml_text(value), "" if given else "dim")
            )
