"""`mailpipe filter`: one message from standard input through the stages, for a mail server's pipe transport.

In Postfix' master.cf (pipe(8); one recipient at a time, because one exit code must answer for all of them):

    mailpipe  unix  -  n  n  -  10  pipe
      flags=q user=mailpipe null_sender=
      argv=/usr/local/bin/mailpipe filter /etc/mailpipe/filter.toml -f ${sender} -- ${recipient}

and in main.cf `mailpipe_destination_recipient_limit = 1`. The result goes to the pipeline's own sink, with --sendmail
back into the mail server, with --stdout to standard output.

A mail server turns the exit code into a bounce, so this verb is stricter than the others. Only a decision about the
message ends with something else than 75:

    0   delivered, queued, dropped, or set aside          69  refused for good by the next hop
    65  not acceptable as a message, beyond a limit       77  rejected by a stage

and the first line on standard error is then the enhanced status and the reason: "5.7.1 no executables". All that is
our own fault (configuration, usage, a failing plugin, a signal, no memory, a closed output) ends with 75 and a status
of class 4, and the mail server tries again. `main` keeps that promise even where this file cannot be imported.

Never here: what happens to the message.
"""

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mailpipe.cli import output
from mailpipe.cli.exit import (
    EX_DATAERR,
    EX_NOPERM,
    EX_OK,
    EX_TEMPFAIL,
    EX_UNAVAILABLE,
    UsageError,
)
from mailpipe.cli.load import OverridesOption, PipelineArgument, load, log_to_stderr
from mailpipe.cli.send import bare
from mailpipe.cli.signals import ignore_signals
from mailpipe.status import EnhancedStatus

if TYPE_CHECKING:  # slow to import; `mailpipe --help` must not wait for them
    from mailpipe.pipeline.component import Sink
    from mailpipe.pipeline.outcome import Outcome
    from mailpipe.pipeline.registry import Registry
    from mailpipe.pipeline.settings import Settings

NAME = "filter"
EXAMPLE = "mailpipe filter pipeline.toml -f a@example.org -- b@example.net < message.eml"


def command(
    pipeline: PipelineArgument,
    recipients: Annotated[
        list[str] | None, typer.Argument(metavar="RCPT", help="The envelope's recipients, after --.")
    ] = None,
    sender: Annotated[
        str | None,
        typer.Option("-f", "--sender", metavar="SENDER", help="The envelope's sender; '' or <> is the null one."),
    ] = None,
    stdout: Annotated[bool, typer.Option("--stdout", help="Write the result to standard output.")] = False,
    sendmail: Annotated[
        bool, typer.Option("--sendmail", help="Hand the result to sendmail -G -i, the mail server's own door.")
    ] = False,
    overrides: OverridesOption = None,
    verbose: Annotated[
        int, typer.Option("-v", "--verbose", count=True, show_default=False, help="Say more, after the first line.")
    ] = 0,
) -> int:
    """Take one message from standard input through the stages, to the pipeline's sink. For mail servers.

    Ends with 0, 65, 69 or 77 when that is the decision about the message, else with 75: try again.
    """
    _check_envelope(sender, recipients or [])
    if stdout and sendmail:
        raise UsageError("--stdout and --sendmail exclude each other")
    if pipeline == "-":
        raise UsageError("standard input is the message; name the pipeline file")
    chatter = _Chatter(sys.stdout.fileno())
    with redirect_stdout(chatter), redirect_stderr(chatter):
        outcome = _process(
            pipeline, overrides, sender, recipients or [], "stdout" if stdout else "sendmail" if sendmail else ""
        )
    code, line = decision(outcome)
    if line:
        output.complain(line, prefix="")
    if verbose:
        for change in outcome.changes:
            output.complain(change)
    if verbose or code == EX_TEMPFAIL:
        for said in chatter.getvalue().splitlines():
            output.complain(said)
    return code


class _Chatter(io.StringIO):
    """Keeps what stages and libraries print.

    It may not get between the octets of the message on standard output, nor before the first line on standard error.
    Its number is that of the true stream, for the sink `stdout`.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def fileno(self) -> int:
        return self._number


def _process(
    pipeline: str, overrides: list[str] | None, sender: str | None, recipients: list[str], sink: str
) -> "Outcome":
    log_to_stderr(0)
    registry, settings = load(pipeline, overrides)
    made_sink = _sink(registry, settings, sink) if sink else None

    from mailpipe.pipeline.assemble import assemble  # slow to import
    from mailpipe.sources.stdio import StdinOptions, StdinSource

    given = tuple(bare(recipient) for recipient in recipients)
    options = StdinOptions(sender=None if sender is None else bare(sender), recipients=given, format="message")
    raw = next(iter(StdinSource(options)))
    with assemble(settings, registry, made_sink) as made:
        outcome = made.process(raw)
        # The sink has taken the mail: to say "try again" because a signal comes now would deliver it twice.
        ignore_signals()
        return outcome


def _check_envelope(sender: str | None, recipients: list[str]) -> None:
    """Both halves or none; without any the pipeline's envelope rule makes one from the header."""
    if sender is None and recipients:
        raise UsageError("the envelope's sender is missing; add -f SENDER (-f '' for the null sender)")
    if sender is not None and not recipients:
        raise UsageError("the envelope's recipients are missing; add -- RCPT…")


def _sink(registry: "Registry", settings: "Settings", name: str) -> "Sink[Any]":
    """The sink of that name: with the options of [sink] where that is the same one, else with its defaults."""
    component = registry.sink(name)
    if settings.sink is not None and settings.sink.use == name:
        return component(settings.sink.options)
    return component(component.Options())


def decision(outcome: "Outcome") -> tuple[int, str]:
    """The exit code for an outcome and the line for standard error, "" where all is well."""
    ending = outcome.ending.value
    if ending == "rejected":
        is_about_content = outcome.status.subject == 6 or (outcome.status.subject, outcome.status.detail) == (3, 4)
        code, status_class = EX_DATAERR if is_about_content else EX_NOPERM, 5
    elif ending == "failed":
        code, status_class = EX_UNAVAILABLE, 5
    elif ending == "deferred":
        code, status_class = EX_TEMPFAIL, 4
    else:
        return EX_OK, ""
    # The mail server believes the status more than the code: both must say the same.
    status = EnhancedStatus(status_class, outcome.status.subject, outcome.status.detail)
    reason = output.safe(outcome.reason) or status.meaning
    own = reason.removeprefix(f"{outcome.status} ")
    return code, f"{status} {own}"
