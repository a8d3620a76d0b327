"""`mailpipe tls-report`: how sessions with the servers of others began on a day, as RFC 8460 has it.

    mailpipe tls-report pipeline.toml                                # who has something to be told of yesterday
    mailpipe tls-report pipeline.toml --domain example.net > report.json

The counts are those of a sink `smtp` with `direct = true`, from its `state_directory`.

Never here: what is counted (`mailpipe.net.tls_policy`), and sending the report.
"""

import socket
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from mailpipe.cli import output
from mailpipe.cli.exit import EX_FINDINGS, EX_OK, UsageError
from mailpipe.cli.load import OverridesOption, PipelineArgument, load
from mailpipe.errors import ConfigError

NAME = "tls-report"
EXAMPLE = "mailpipe tls-report pipeline.toml --domain example.net"


def command(
    pipeline: PipelineArgument,
    day: Annotated[
        str | None, typer.Option("--day", metavar="DAY", help="2026-11-27, in UTC; yesterday by default.")
    ] = None,
    domain: Annotated[
        str | None, typer.Option("--domain", metavar="DOMAIN", help="Print the report to this domain, as it is sent.")
    ] = None,
    organization: Annotated[
        str | None, typer.Option("--organization", metavar="NAME", help="Who reports; helo_name by default.")
    ] = None,
    contact: Annotated[str, typer.Option("--contact", metavar="ADDRESS", help="Whom to ask about it.")] = "",
    overrides: OverridesOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object with all reports.")] = False,
) -> int:
    """Report how TLS came about with the servers of others (RFC 8460). Exit 1 when nothing was counted."""
    moment = _day(day)
    _, settings = load(pipeline, overrides)
    options: Any = None if settings.sink is None else settings.sink.options
    place: Path | None = getattr(options, "state_directory", None)
    if place is None or not options.keeps_state:
        words = "that is for smtp with direct = true, and state_directory = … or a [queue] with a directory"
        raise ConfigError(f"{pipeline}: its sink keeps no counts; {words}")

    from mailpipe.net.tls_report import reported_domains, tls_report  # slow to import
    from mailpipe.net.tls_state import TlsState

    with TlsState(place) as state:
        counts = state.counts(moment)
    who = organization or getattr(options, "helo_name", None) or socket.getfqdn()
    domains = (domain.lower(),) if domain is not None else reported_domains(counts)
    reports = [tls_report(one, moment, counts, organization=who, contact=contact) for one in domains]
    found = [one for one in reports if one["policies"]]
    if domain is not None and not as_json:
        if not found:
            output.complain(f"no session with {domain} was counted on {moment}", prefix="")
            return EX_FINDINGS
        output.print_document(found[0])
        return EX_OK
    if as_json:
        output.print_json(NAME, {"day": moment, "reports": found})
    elif found:
        _print(found)
    else:
        output.complain(f"nothing was counted on {moment}", prefix="")
    return EX_OK if found else EX_FINDINGS


def _day(text: str | None) -> str:
    if text is None:
        return (datetime.now(UTC).date() - timedelta(days=1)).isoformat()
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise UsageError(f"--day {text}: no day such as 2026-11-27") from error


def _print(reports: list[dict[str, Any]]) -> None:
    table = output.table("domain", "policy", "good", "failed", "why", right=("good", "failed"))
    for report in reports:
        for one in report["policies"]:
            why = sorted({each["result-type"] for each in one.get("failure-details", ())})
            summary = one["summary"]
            table.add_row(
                output.label(one["policy"]["policy-domain"]), one["policy"]["policy-type"],
                f"{summary['total-successful-session-count']:,}", f"{summary['total-failure-session-count']:,}",
                ", ".join(why),
            )  # fmt: skip
    output.console().print(table)
