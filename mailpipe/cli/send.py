"""`mailpipe send`: hands one message to an SMTP server, the envelope given by options.

    mailpipe send message.eml --from ann@example.org --to bob@example.net --server mx.example.net:25

The message goes as it is; its header says nothing about the envelope. With --queue it is kept in a durable queue where
the server cannot take it now.

Never here: SMTP. It runs the `smtp` sink (or `lmtp`) of a pipeline without stages.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mailpipe.cli import output
from mailpipe.cli.exit import EX_OK, UsageError
from mailpipe.cli.load import EnvidOption, NotifyOption, OriginalRecipientsOption, RetOption
from mailpipe.cli.opening import bare
from mailpipe.cli.read import read_octets
from mailpipe.errors import EX_TEMPFAIL, EX_UNAVAILABLE, LocalProtocolError

if TYPE_CHECKING:  # slow to import; `mailpipe --help` must not wait for them
    from mailpipe.pipeline.outcome import Outcome

NAME = "send"
EXAMPLE = "mailpipe send message.eml -f a@example.org --to b@example.net -s localhost:25"

_STYLES = {
    "delivered": "green",
    "queued": "yellow",
    "failed": "bold red",
    "deferred": "yellow",
    "in-doubt": "bold yellow",
}


def command(
    message: Annotated[str, typer.Argument(metavar="MESSAGE", help="A message file; - is standard input.")],
    recipients: Annotated[list[str], typer.Option("--to", metavar="RCPT", help="A recipient; may be repeated.")],
    sender: Annotated[
        str, typer.Option("--from", "-f", metavar="SENDER", help="The envelope's sender; '' is the null one.")
    ],
    server: Annotated[str, typer.Option("--server", "-s", metavar="HOST[:PORT]", help="The server.")] = "localhost:25",
    lmtp: Annotated[bool, typer.Option("--lmtp", help="Speak LMTP.")] = False,
    queue: Annotated[
        Path | None,
        typer.Option("--queue", metavar="DIR", help="Keep it in this queue where the server cannot take it now."),
    ] = None,
    notify: NotifyOption = "",
    ret: RetOption = "",
    envid: EnvidOption = "",
    original_recipients: OriginalRecipientsOption = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="An option of the sink, such as sink.tls=required; may be repeated."
        ),
    ] = None,
    trace: Annotated[
        Path | None,
        typer.Option("--trace", metavar="FILE", help="Write down there what goes over the wire, secrets masked."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print nothing when all is well.")] = False,
) -> int:
    """Hand one message to an SMTP server. Exit 69 when it refuses, 75 when it may take it later."""
    host, port = split_server(server)
    octets = read_octets(message)

    from mailpipe.pipeline.assemble import assemble  # slow to import
    from mailpipe.pipeline.mail import Origin, RawMail
    from mailpipe.pipeline.settings import parse_settings
    from mailpipe.plugins import load_registry
    from mailpipe.smtp.dsn import asking
    from mailpipe.smtp.envelope import Envelope

    given = [f"sink.host={output.toml_text(host)}", f"sink.port={port}", *(overrides or ())]
    if trace is not None:
        given.append(f"sink.trace={output.toml_text(str(trace.absolute()))}")
    text = f'[sink]\nuse = "{"lmtp" if lmtp else "smtp"}"\n[run]\njournal = false\n'
    if queue is not None:
        text += f"[queue]\ndirectory = {output.toml_text(str(queue.absolute()))}\n"
    registry = load_registry(None)
    settings = parse_settings(text, Path("send"), registry, given)
    envelope = Envelope.of(bare(sender), *map(bare, recipients))
    try:
        originals = [bare(one) for one in original_recipients or ()]
        envelope = asking(envelope, notify=notify, ret=ret, envid=envid, original_recipients=originals)
    except LocalProtocolError as error:
        raise UsageError(str(error)) from error
    raw = RawMail(octets, Origin("eml", message, size=len(octets)), envelope)
    with assemble(settings, registry) as made:
        outcome = made.process(raw)
    if as_json:
        output.print_json(NAME, _document(outcome))
    else:
        _print(outcome, quiet=quiet)
    return {"failed": EX_UNAVAILABLE, "rejected": EX_UNAVAILABLE, "deferred": EX_TEMPFAIL}.get(
        outcome.ending.value, EX_OK
    )


def split_server(text: str) -> tuple[str, int]:
    """Host and port of "host", "host:25", "[::1]:25" or "::1".

    Raises:
        UsageError: the port is no port.
    """
    host, colon, port = text.rpartition(":")
    if (text.startswith("[") and text.endswith("]")) or not colon or (":" in host and not host.endswith("]")):
        host, port = text, "25"
    if not (port.isdecimal() and port.isascii() and 0 < int(port) < 65536):
        raise UsageError(f"{text!r} is no server; write host:port, such as mx.example.net:25")
    host = host.removeprefix("[").removesuffix("]")
    if not host:
        raise UsageError(f"{text!r} names no host; write host:port, such as mx.example.net:25")
    return host, int(port)


def _document(outcome: "Outcome") -> dict[str, object]:
    receipt = outcome.receipt
    return {
        "ending": outcome.ending.value,
        "status": str(outcome.status),
        "reason": outcome.reason,
        "reference": receipt.reference if receipt else "",
        "recipients": [
            {
                "address": one.recipient.address,
                "fate": one.fate.value,
                "status": str(one.status),
                "diagnostic": one.diagnostic,
            }
            for one in (receipt.recipients if receipt else ())
        ],
    }


def _print(outcome: "Outcome", *, quiet: bool) -> None:
    receipt = outcome.receipt
    if receipt is None:
        output.complain(f"{outcome.ending.value}: {outcome.status} {outcome.reason}")
        return
    if quiet and all(one.fate.value == "delivered" for one in receipt.recipients):
        return
    table = output.table("to", "", "reply")
    for one in receipt.recipients:
        reply = one.diagnostic if str(one.status) in one.diagnostic else f"{one.status} {one.diagnostic}"
        table.add_row(
            output.label(one.recipient.address),
            output.label(one.fate.value, _STYLES.get(one.fate.value, "")),
            output.label(reply.strip()),
        )
    output.console().print(table)
