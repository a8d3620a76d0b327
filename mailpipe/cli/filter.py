"""`mailpipe filter`: one message from standard input through the stages, for a mail server's pipe transport.

In Postfix' master.cf (pipe(8); one recipient at a time, because one exit code must answer for all of them):

    mailpipe  unix  -  n  n  -  10  pipe
      flags=q user=mailpipe null_sender=
      argv=/usr/local/bin/mailpipe filter /etc/mailpipe/filter.toml -f ${sender} -- ${recipient}

and in main.cf `mailpipe_destination_recipient_limit = 1`. The result goes to the pipeline's own sink, with --sendmail
back into the mail server, with --stdout to standard output.

Never here: how it is done (`filtering`, which `main` asks without this file where the command line is plain).
"""

from typing import Annotated

import typer

from mailpipe.cli import filtering
from mailpipe.cli.exit import TIME_LIMIT, TIME_LIMIT_MOST
from mailpipe.cli.load import (
    EnvidOption,
    NotifyOption,
    OriginalRecipientsOption,
    OverridesOption,
    PipelineArgument,
    RetOption,
)

NAME = "filter"
EXAMPLE = "mailpipe filter pipeline.toml -f a@example.org -- b@example.net < message.eml"
_Client = Annotated[
    str,
    typer.Option(metavar="WORD", show_default=False, help="Where it came from before, for forward_client of a sink."),
]


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
    notify: NotifyOption = "",
    ret: RetOption = "",
    envid: EnvidOption = "",
    original_recipients: OriginalRecipientsOption = None,
    client_address: _Client = "",
    client_name: _Client = "",
    client_port: _Client = "",
    client_protocol: _Client = "",
    client_helo: _Client = "",
    client_ident: _Client = "",
    time_limit: Annotated[
        int,
        typer.Option(
            "--time-limit", metavar="SECONDS", min=1, max=TIME_LIMIT_MOST,
            help="Give up then and ask to be tried again; less than the mail server's own limit.",
        ),
    ] = TIME_LIMIT,
    overrides: OverridesOption = None,
    verbose: Annotated[
        int, typer.Option("-v", "--verbose", count=True, show_default=False, help="Say more, after the first line.")
    ] = 0,
) -> int:
    """Take one message from standard input through the stages, to the pipeline's sink. For mail servers.

    Ends with 0, 65, 69 or 77 when that is the decision about the message, else with 75: try again.
    """
    del time_limit  # `main` has kept it from before anything else was imported
    return filtering.run(
        filtering.Wish(
            pipeline, tuple(recipients or ()), sender, stdout, sendmail, tuple(overrides or ()), verbose,
            notify, ret, envid, tuple(original_recipients or ()),
            client_address, client_name, client_port, client_protocol, client_helo, client_ident,
        )
    )
