"""`mailpipe queue`: what lies in the durable queue, and what a person can do about it.

    mailpipe queue list pipeline.toml --state failed
    mailpipe queue run pipeline.toml
    mailpipe queue hold --queue spool 01k8…

Every verb finds the queue by a pipeline file with a [queue] table, or by --queue DIR.

Never here: states and schedules (`mailpipe.queue`), and how mail is delivered (`mailpipe.pipeline`).
"""

from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from mailpipe.cli import output, queue_act, queue_run
from mailpipe.cli.exit import EX_FINDINGS, EX_OK
from mailpipe.cli.queue_opening import (
    AsJson,
    Directory,
    Filters,
    InDoubt,
    Older,
    PipelineHere,
    States,
    To,
    Words,
    opened_or_empty,
    rebuilt,
    say_empty,
    split,
)
from mailpipe.cli.queue_table import by_domain, domains_table, print_entry, print_messages

if TYPE_CHECKING:  # slow to import; `mailpipe --help` must not wait for it
    from mailpipe.queue import Queue, QueueCounts

NAME = "queue"
HELP = "Look at the durable queue and work on it."
EXAMPLE = "mailpipe queue list pipeline.toml"

SHOWN = 1000
"""Messages that a list shows where nothing else is asked for; beyond that nobody reads on."""


def list_(
    pipeline: PipelineHere = None,
    directory: Directory = None,
    states: States = None,
    recipients: To = None,
    older: Older = None,
    in_doubt: InDoubt = False,
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=0, help="At most so many, the oldest first; 0 for all. Without --json: 1000."),
    ] = None,
    domains: Annotated[bool, typer.Option("--domains", help="A line for each domain instead of each message.")] = False,
    as_json: AsJson = False,
) -> int:
    """List the messages: age, sender, recipients, state, next try, last reply."""
    filters = Filters.of(states, recipients, older, is_question=in_doubt)
    with opened_or_empty(pipeline, directory) as queue:
        if queue is None:
            empty: dict[str, object] = {"domains": {}} if domains else {"messages": []}
            say_empty("queue list", {**empty, "counts": {"messages": 0}}, as_json=as_json)
            return EX_OK
        if domains:
            _list_domains(queue, filters, as_json=as_json)
            return EX_OK
        entries = filters.choose(queue)
        if as_json:
            rows = (entry.to_json() for entry in islice(entries, limit or None))
            output.stream_json("queue list", "messages", rows, lambda: {"counts": queue.counts().to_json()})
            return EX_OK
        most = SHOWN if limit is None else limit
        count = print_messages(islice(entries, most or None), queue.now())
        counts = queue.counts()
        is_cut = count == most and next(entries, None) is not None
        shown = f" ({count:,} shown)" if filters or is_cut else ""
        _say_counts(counts, shown, "; --limit 0 shows all, --domains sums them up" if is_cut else "")
    return EX_OK


def _list_domains(queue: "Queue", filters: Filters, *, as_json: bool) -> None:
    found = by_domain(filters.choose(queue), filters.takes)
    counts = queue.counts()
    if as_json:
        document = {name: domain.to_json() for name, domain in found.items()}
        output.print_json("queue list", {"domains": document, "counts": counts.to_json()})
        return
    if found:
        output.console().print(domains_table(found, queue.now()))
    _say_counts(counts)


def _say_counts(counts: "QueueCounts", shown: str = "", hint: str = "") -> None:
    messages, octets = output.count_text(counts.messages, "message"), output.size_text(counts.octets)
    states = ", ".join(f"{count:,} {state}" for state, count in counts.recipients.items() if count)
    recipients = f"; recipients: {states}" if states else ""
    output.complain(f"{messages}{shown}, {octets}, {counts.due:,} due now{recipients}{hint}", prefix="")


def show(
    words: Words = None,
    directory: Directory = None,
    content: Annotated[bool, typer.Option("--content", help="Write the message itself to standard output.")] = False,
    as_json: AsJson = False,
) -> int:
    """Show messages in full: every recipient with state, next try and last reply."""
    identifiers, queue = split(words or [], directory, is_all=False)
    with queue:
        entries = [queue.show(identifier) for identifier in identifiers]
        if content:
            for entry in entries:
                with entry.view() as octets:  # also of one that is not what was put in: a person wants to see it
                    output.write_octets(octets)
        elif as_json:
            output.print_json("queue show", {"messages": [entry.to_json() for entry in entries]})
        else:
            for entry in entries:
                print_entry(entry, queue.now())
    return EX_OK


def doctor(
    pipeline: PipelineHere = None,
    directory: Directory = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Put right what can be put right; no mail is deleted.")
    ] = False,
    deep: Annotated[bool, typer.Option("--deep", help="Read every message and compare its digest.")] = False,
    rebuild: Annotated[
        bool,
        typer.Option("--rebuild", help="Set a damaged database aside and make it anew from the messages, all held."),
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Look for what crashes and full disks left behind. Exit 1 when something is not repaired."""
    with rebuilt(pipeline, directory) if rebuild else opened_or_empty(pipeline, directory) as queue:
        repair = repair or rebuild
        if queue is None:
            say_empty("queue doctor", {"findings": []}, as_json=as_json)
            return EX_OK
        findings = queue.doctor(repair=repair, deep=deep)
    if as_json:
        output.print_json("queue doctor", {"findings": [finding.to_json() for finding in findings]})
    elif findings:
        table = output.table("kind", "where", "what", "repaired")
        for finding in findings:
            table.add_row(
                output.label(finding.kind, "yellow"),
                output.label(finding.place),
                output.label(finding.sentence),
                "yes" if finding.is_repaired else "no",
            )
        output.console().print(table)
        if not repair:
            output.complain("--repair puts right what can be put right", prefix="")
    else:
        output.complain("the queue is in good order", prefix="")
    return EX_FINDINGS if any(not finding.is_repaired for finding in findings) else EX_OK


COMMANDS: dict[str, tuple[Callable[..., int], str]] = {
    "list": (list_, "mailpipe queue list pipeline.toml --state failed --older 2d"),
    "show": (show, "mailpipe queue show --queue spool 0190abcd"),
    "run": (queue_run.run, "mailpipe queue run pipeline.toml --once"),
    "flush": (queue_run.flush, "mailpipe queue flush pipeline.toml"),
    "hold": (queue_act.hold, "mailpipe queue hold --queue spool 0190abcd"),
    "release": (queue_act.release, "mailpipe queue release --queue spool 0190abcd"),
    "requeue": (queue_act.requeue, "mailpipe queue requeue pipeline.toml --all --state expired"),
    "settle": (queue_act.settle, "mailpipe queue settle --queue spool 0190abcd delivered"),
    "bounce": (queue_act.bounce, "mailpipe queue bounce --queue spool 0190abcd"),
    "remove": (queue_act.remove, "mailpipe queue remove pipeline.toml --all --state failed --older 30d"),
    "doctor": (doctor, "mailpipe queue doctor pipeline.toml"),
}
"""Name → command and an example that can be pasted."""
