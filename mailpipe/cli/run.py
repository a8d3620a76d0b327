"""`mailpipe run`: takes every message of a source through the stages into the sink.

    mailpipe run pipeline.toml archive.mbox --workers 4

Ends with a summary. Exit code 0; 1 when some messages failed or were rejected; 75 when some must come again; 130 after
Ctrl-C, which first finishes the messages in hand: the same command goes on where it was stopped.

Never here: what happens to messages (`mailpipe.pipeline.run`), or what the numbers are (`mailpipe.pipeline.report`).
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mailpipe.cli import output
from mailpipe.cli.load import OverridesOption, PipelineArgument, VerboseOption, load, log_to_stderr
from mailpipe.cli.progress import size_of
from mailpipe.cli.summary import print_summary

if TYPE_CHECKING:  # slow to import; `mailpipe --help` must not wait for them
    from collections.abc import Callable

    from mailpipe.pipeline.report import RunReport
    from mailpipe.pipeline.settings import Settings

NAME = "run"
EXAMPLE = "mailpipe run pipeline.toml archive.mbox --dry-run"


def command(
    pipeline: PipelineArgument,
    sources: Annotated[
        list[str] | None,
        typer.Argument(metavar="SOURCE", help="Archives in place of the file's own source; - is standard input."),
    ] = None,
    overrides: OverridesOption = None,
    workers: Annotated[int | None, typer.Option("--workers", "-j", min=1, help="Processes that work at once.")] = None,
    journal: Annotated[
        Path | None, typer.Option("--journal", metavar="PATH", help="Where to remember what is done.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget what an earlier run has done; begin anew.")] = False,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Stop after so many messages.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Deliver, queue and journal nothing; stages run, and write their files.")
    ] = False,
    trace: Annotated[
        Path | None,
        typer.Option("--trace", metavar="FILE", help="Where an smtp or lmtp sink writes down what goes over the wire."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as one JSON object.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print no summary and no progress.")] = False,
    verbose: VerboseOption = 0,
) -> int:
    """Take every message of a source through the stages into the sink."""
    log_to_stderr(-1 if quiet else verbose)
    registry, settings = load(pipeline, _all_overrides(overrides, workers, journal, trace))

    from mailpipe.pipeline.assemble import assemble  # slow to import

    sink = None
    if dry_run:
        discard = registry.sink("discard")
        sink = discard(discard.Options())
    # What a stdout sink writes is the data; the summary must not come between.
    is_taken = sink is None and settings.sink is not None and settings.sink.use == "stdout"
    with assemble(settings, registry, sink) as made, _progress(settings, sources or [], quiet=quiet) as on_progress:
        report = made.run(sources or [], on_progress, fresh=fresh, limit=limit)
    if as_json:
        output.print_json(NAME, report.model_dump(mode="json"), stderr=is_taken)
    elif not quiet:
        print_summary(report, stderr=is_taken, verbose=verbose, dry_run=dry_run)
    if report.error:
        output.complain(report.error)
    return report.exit_code


def _all_overrides(
    overrides: list[str] | None, workers: int | None, journal: Path | None, trace: Path | None
) -> list[str]:
    made = list(overrides or ())
    if workers is not None:
        made.append(f"run.workers={workers}")
    if journal is not None:
        # given on the command line it means the present directory, in the file it would mean beside the file
        made.append(f"run.journal={output.toml_text(str(journal.absolute()))}")
    if trace is not None:
        made.append(f"sink.trace={output.toml_text(str(trace.absolute()))}")
    return made


@contextmanager
def _progress(
    settings: "Settings", sources: list[str], *, quiet: bool
) -> "Iterator[Callable[[RunReport], None] | None]":
    """A bar with octets, messages and rate on standard error, where that is a terminal."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn  # slow to import

    total = size_of(sources or _own_paths(settings))
    columns = [
        BarColumn(),
        TextColumn("{task.fields[octets]}"),
        TextColumn("{task.fields[messages]}"),
        TextColumn("{task.fields[rate]}", style="dim"),
        TimeElapsedColumn(),
    ]
    if total:
        columns.append(TimeRemainingColumn())
    with Progress(*columns, console=output.console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total, octets="", messages="", rate="")

        def on_progress(report: "RunReport") -> None:
            progress.update(
                task,
                completed=report.octets_in + report.octets_skipped,
                octets=output.size_text(report.octets_in),
                messages=output.count_text(report.entered, "message"),
                rate=f"{report.messages_per_second:,.0f}/s  {output.size_text(int(report.octets_per_second))}/s",
            )

        yield on_progress


def _own_paths(settings: "Settings") -> list[str]:
    options = settings.source.options if settings.source is not None else None
    path = getattr(options, "path", None) or getattr(options, "paths", None)
    if path is None:
        return []
    return [str(each) for each in path] if isinstance(path, (list, tuple)) else [str(path)]
