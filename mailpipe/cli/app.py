"""The typer application: which verbs there are, in the order in which a newcomer needs them.

    app(args=["show", "message.eml"], prog_name="mailpipe", standalone_mode=False)

Never here: what a verb does, and how the process ends (`main`).
"""

import functools
from collections.abc import Callable
from typing import Annotated, ParamSpec

import typer

from mailpipe.cli import (
    check,
    diff,
    explain,
    new,
    plugins,
    queue,
    run,
    schema,
    send,
    show,
    tls_report,
    trying,
    validate,
)
from mailpipe.cli import filter as filter_verb
from mailpipe.cli.exit import Escaped

app = typer.Typer(
    name="mailpipe",
    help="Read, filter, rewrite and deliver Internet mail without losing a byte or a message.",
    epilog="Example:\n\nmailpipe show message.eml",
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        from mailpipe import __version__  # only --version needs it, and `main` answers that before it comes here

        typer.echo(f"mailpipe {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and leave.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """What holds for every verb."""


P = ParamSpec("P")


def passing(command: Callable[P, int]) -> Callable[P, int]:
    """The same command; a closed pipe and Ctrl-C come out of typer as they are, not as exit codes of its own."""

    @functools.wraps(command)
    def guarded(*arguments: P.args, **options: P.kwargs) -> int:
        try:
            return command(*arguments, **options)
        except (OSError, EOFError, KeyboardInterrupt) as error:
            raise Escaped(error) from error

    return guarded


for _verb in (run, check, trying, diff, explain, filter_verb, show, validate, plugins, send, tls_report, schema):
    app.command(_verb.NAME, epilog=f"Example:\n\n{_verb.EXAMPLE}")(passing(_verb.command))
for _group in (new, queue):
    _verbs = typer.Typer(help=_group.HELP, rich_markup_mode="rich", epilog=f"Example:\n\n{_group.EXAMPLE}")
    for _name, (_command, _example) in _group.COMMANDS.items():
        _verbs.command(_name, epilog=f"Example:\n\n{_example}")(passing(_command))
    app.add_typer(_verbs, name=_group.NAME)
