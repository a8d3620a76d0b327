"""`mailpipe try`: takes mails through a pipeline without handing anything over, and shows what each stage did.

    mailpipe try pipeline.toml message.eml
    mailpipe try pipeline.toml archive.mbox --limit 5 --stage subject-tag
    mailpipe try --stage subject-tag --set prefix=[list] message.eml      # a stage by itself, without a pipeline file
    mailpipe try pipeline.toml message.eml --reload                       # again whenever a file changes, until Ctrl-C

Sinks, queue, quarantine and journal get nothing, and the source is not told. Stages that act beyond the mail are left
out; --really asks them. Exit code 0 whatever is decided about the mails; 66 when they cannot be read, 78 when the
pipeline cannot be used.

Never here: playing a pipeline (`mailpipe.pipeline.rehearsal`), and how it is printed (`played`).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mailpipe.cli import output
from mailpipe.cli.exit import EX_OK, UsageError, explain
from mailpipe.cli.load import OverridesOption, VerboseOption, loader, log_to_stderr
from mailpipe.cli.opening import bare
from mailpipe.errors import MailpipeError

if TYPE_CHECKING:  # slow to import; `mailpipe --help` must not wait for them
    from mailpipe.pipeline.registry import Registry
    from mailpipe.pipeline.rehearsal import Played, Rehearsal
    from mailpipe.pipeline.reload import Reloader
    from mailpipe.pipeline.settings import Settings

NAME = "try"
EXAMPLE = "mailpipe try pipeline.toml message.eml"
_ALONE = Path("stage.toml")


def command(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="PIPELINE [MESSAGE]…",
            help="The pipeline file, then messages or archives, - for standard input; with --stage the file may be "
            "missing. Without a message the file's own source is read.",
        ),
    ],
    stage: Annotated[
        str,
        typer.Option(
            "--stage", metavar="NAME|N", show_default=False, help="Take that step alone; or that stage, without a file."
        ),
    ] = "",
    sender: Annotated[
        str | None, typer.Option("-f", "--sender", metavar="ADDRESS", help="The envelope's sender; '' is the null one.")
    ] = None,
    recipients: Annotated[
        list[str] | None, typer.Option("-r", "--recipient", metavar="ADDRESS", help="A recipient; may be repeated.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many messages of an archive.")] = 20,
    write: Annotated[
        Path | None, typer.Option("--write", metavar="DIR", help="Write what the sinks would be given to this folder.")
    ] = None,
    really: Annotated[
        bool, typer.Option("--really", help="Also ask stages that act beyond the mail: write files, count, call out.")
    ] = False,
    reload: Annotated[
        bool,
        typer.Option("--reload", "--watch", help="Show it again whenever the pipeline, a plugin or a message changes."),
    ] = False,
    overrides: OverridesOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    verbose: VerboseOption = 0,
) -> int:
    """Show what each stage of a pipeline sees, decides and changes, without handing anything over."""
    log_to_stderr(verbose)
    if reload and (as_json or "-" in names):
        raise UsageError("--reload shows files again as text; leave --json and - away")
    trial = _Trial(names, stage, list(overrides or ()), really=really, limit=limit, write=write)
    trial.sender = None if sender is None else bare(sender)
    trial.recipients = [bare(each) for each in recipients or ()]
    if reload:
        return _keep_trying(trial)
    with trial.opened() as reloader:
        trial.print_json(reloader.current()) if as_json else trial.print(reloader.current())
    return EX_OK


class _Trial:
    """What is wanted."""

    sender: str | None = None
    recipients: Sequence[str] = ()

    def __init__(
        self, names: list[str], stage: str, overrides: list[str], *, really: bool, limit: int, write: Path | None
    ) -> None:
        self.is_alone = bool(stage) and not names[0].endswith(".toml")
        self.pipeline, self.paths = ("", names) if self.is_alone else (names[0], names[1:])
        self.stage, self.overrides, self.really, self.limit, self.write = stage, overrides, really, limit, write
        self.registry: Registry | None = None
        self._load = loader(self.pipeline, overrides)

    def load(self) -> "tuple[Registry, Settings]":
        if not self.is_alone:
            self.registry, settings = self._load()
            return self.registry, settings
        from mailpipe.pipeline.settings import parse_settings  # slow to import
        from mailpipe.pipeline.trial import alone, stage_alone
        from mailpipe.plugins import load_registry

        self.registry = load_registry(Path.cwd())
        return self.registry, parse_settings(stage_alone(self.stage), _ALONE, self.registry, alone(self.overrides))

    def opened(self) -> "Reloader[Rehearsal]":
        from mailpipe.pipeline.rehearsal import Rehearsal  # slow to import
        from mailpipe.pipeline.reload import Reloader

        really, only = self.really, "" if self.is_alone else self.stage
        return Reloader(
            self.load, lambda settings, registry, _: Rehearsal(settings, registry, really=really, only=only)
        )

    def played(self, rehearsal: "Rehearsal", more: list[bool]) -> "Iterator[Played]":
        """Each mail as it was played; `more` is filled where the limit left some out."""
        from mailpipe.pipeline.trial import mails_of, with_envelope, write_handed  # slow to import

        assert self.registry is not None
        mails = mails_of(self.paths, rehearsal.settings, self.registry, self.limit + 1)
        for number, raw in enumerate(mails, 1):
            if number > self.limit:
                more.append(True)
                return
            played = rehearsal.take(with_envelope(raw, rehearsal.settings, self.sender, self.recipients))
            if self.write is not None:
                write_handed(played, number, self.write)
            yield played

    def print(self, rehearsal: "Rehearsal") -> None:
        from mailpipe.cli.played import Printer  # rich is slow to import

        more: list[bool] = []
        printer = Printer()
        for played in self.played(rehearsal, more):
            printer.print(played)
        printer.end(is_cut=bool(more))

    def print_json(self, rehearsal: "Rehearsal") -> None:
        from mailpipe.pipeline.trial import played_fields  # slow to import

        more: list[bool] = []

        def rest() -> dict[str, Any]:
            return {"left_out": rehearsal.left_out, "more": bool(more)}

        rows = (played_fields(each) for each in self.played(rehearsal, more))
        output.stream_json(NAME, "messages", rows, rest)


def _keep_trying(trial: _Trial) -> int:
    from mailpipe.pipeline.reload import FileWatch  # slow to import
    from mailpipe.pipeline.services import SystemClock

    folder = Path(trial.pipeline).parent if trial.pipeline else Path()
    files = [trial.pipeline] if trial.pipeline else []
    watch = FileWatch([*files, folder / "plugins", *trial.paths], SystemClock())
    reloader: Reloader[Rehearsal] | None = None
    try:
        while True:
            with _complaining():
                if reloader is None:
                    reloader = trial.opened()
                elif (error := reloader.reload().error) is not None:
                    raise error
                trial.print(reloader.current())
            output.complain("waiting for a change; Ctrl-C ends", prefix="")
            changed = watch.wait()
            output.complain(f"── {', '.join(changed)} changed ──", prefix="\n")
    except KeyboardInterrupt:
        return EX_OK
    finally:
        with reloader if reloader is not None else nullcontext():
            pass  # close it


@contextmanager
def _complaining() -> Iterator[None]:
    """What is wrong is said, and waits for the next change."""
    try:
        yield
    except (MailpipeError, OSError) as error:
        output.complain(explain(error)[1])
