"""`mailpipe queue`: what lies in the durable queue, and what a person can do about it.

    mailpipe queue list pipeline.toml
    mailpipe queue flush pipeline.toml
    mailpipe queue hold --queue spool 01k8…

Every verb finds the queue by a pipeline file with a [queue] table, or by --queue DIR.

Never here: states and schedules (`mailpipe.queue`), and how mail is delivered (`mailpipe.pipeline`).
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mailpipe.cli import output
from mailpipe.cli.exit import EX_FINDINGS, EX_OK, UsageError
from mailpipe.cli.load import OverridesOption, load, log_to_stderr
from mailpipe.cli.signals import stopping
from mailpipe.errors import EX_TEMPFAIL, ConfigError, InputError

if TYPE_CHECKING:  # slow to import; `mailpipe --help` must not wait for them
    from rich.table import Table

    from mailpipe.pipeline.settings import Settings
    from mailpipe.queue import Entry, Queue, Recipient, Schedule

NAME = "queue"
HELP = "Look at the durable queue and work on it."
EXAMPLE = "mailpipe queue list pipeline.toml"


class NoQueue(InputError):
    """A directory that is no queue."""


_STATE_STYLES = {
    "waiting": "",
    "in-doubt": "bold yellow",
    "held": "magenta",
    "delivered": "green",
    "failed": "bold red",
    "expired": "red",
}

PipelineHere = Annotated[
    str | None, typer.Argument(metavar="PIPELINE", help="A pipeline file with a queue table; or use --queue.")
]
Directory = Annotated[Path | None, typer.Option("--queue", metavar="DIR", help="The directory of the queue.")]
Words = Annotated[
    list[str], typer.Argument(metavar="ID", help="Messages; before them a pipeline file, unless --queue is given.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def list_(
    pipeline: PipelineHere = None,
    directory: Directory = None,
    states: Annotated[
        list[str] | None, typer.Option("--state", help="Only with a recipient in this state, such as held; repeatable.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """List the messages: age, sender, recipients, state, next try, last reply."""
    from mailpipe.queue import RecipientState  # slow to import

    known = [state.value for state in RecipientState]
    if wrong := [state for state in states or () if state not in known]:
        raise UsageError(f"there is no state {wrong[0]!r}; there are: {', '.join(known)}")
    with _opened_or_empty(pipeline, directory) as queue:
        if queue is None:
            _say_empty("queue list", {"messages": [], "counts": {"messages": 0}}, as_json=as_json)
            return EX_OK
        if as_json:
            entries = [entry.to_json() for entry in queue.list(*(states or ()))]
            output.print_json("queue list", {"messages": entries, "counts": queue.counts().to_json()})
            return EX_OK
        table = output.table(
            "id", "age", "size", "from", "to", "state", "tries", "next", "last reply", right=["size", "tries"]
        )
        now = time.time()
        for entry in queue.list(*(states or ())):
            _add_row(table, entry, now)
        if table.row_count:
            output.console().print(table)
        counts = queue.counts()
        words = f"{output.count_text(counts.messages, 'message')}, {output.size_text(counts.octets)}"
        output.complain(f"{words}, {counts.due:,} due now", prefix="")
    return EX_OK


def show(
    words: Words,
    directory: Directory = None,
    content: Annotated[bool, typer.Option("--content", help="Write the message itself to standard output.")] = False,
    as_json: AsJson = False,
) -> int:
    """Show messages in full: every recipient with state, next try and last reply."""
    identifiers, queue = _split(words, directory)
    with queue:
        entries = [queue.show(identifier) for identifier in identifiers]
        if content:
            for entry in entries:
                output.write_octets(entry.octets)
        elif as_json:
            output.print_json("queue show", {"messages": [entry.to_json() for entry in entries]})
        else:
            for entry in entries:
                _print_entry(entry)
    return EX_OK


def flush(
    pipeline: Annotated[str, typer.Argument(metavar="PIPELINE", help="The pipeline file whose sink delivers.")],
    directory: Directory = None,
    overrides: OverridesOption = None,
    due: Annotated[bool, typer.Option("--due", help="Only what is due by its schedule.")] = False,
    as_json: AsJson = False,
) -> int:
    """Try everything that waits, now, through the pipeline's sink. Held mail stays held."""
    log_to_stderr(0)
    registry, settings = load(pipeline, [*(overrides or ()), *_queue_override(directory)])
    _directory_of(settings, pipeline)
    if settings.sink is None or settings.queue is None:
        raise ConfigError(f"{pipeline}: there is no [sink] table; say where mail goes")

    from mailpipe.pipeline.redeliver import open_queue, redeliver  # slow to import

    sink = registry.sink(settings.sink.use)(settings.sink.options)
    with open_queue(settings.queue) as queue, closing(sink), stopping() as signals:
        sink.open()
        counts = redeliver(queue, sink, settings.limits, everything=not due, should_stop=signals.has_come)
    if as_json:
        output.print_json("queue flush", {"counts": counts.to_json()})
    else:
        words = ", ".join(
            f"{count:,} {name.replace('_', ' ')}"
            for name, count in counts.to_json().items()
            if count and name != "messages"
        )
        output.complain(
            f"{output.count_text(counts.messages, 'message')} tried: {words or 'nothing was due'}", prefix=""
        )
    if signals.number:
        return 128 + signals.number
    if counts.deferred or counts.in_doubt:
        return EX_TEMPFAIL
    return EX_FINDINGS if counts.failed or counts.expired else EX_OK


def hold(words: Words, directory: Directory = None, as_json: AsJson = False) -> int:
    """Keep messages from being tried until they are released."""
    return _act("hold", "held", words, directory, as_json=as_json)


def release(words: Words, directory: Directory = None, as_json: AsJson = False) -> int:
    """Let held messages go, and send again what is in doubt: due now."""
    return _act("release", "released", words, directory, as_json=as_json)


def requeue(words: Words, directory: Directory = None, as_json: AsJson = False) -> int:
    """Begin anew for every recipient that is not delivered, failed and expired ones too."""
    return _act("requeue", "requeued", words, directory, as_json=as_json)


def remove(words: Words, directory: Directory = None, as_json: AsJson = False) -> int:
    """Delete messages for good. Nobody is told."""
    return _act("remove", "removed", words, directory, as_json=as_json)


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
    with _rebuilt(pipeline, directory) if rebuild else _opened_or_empty(pipeline, directory) as queue:
        repair = repair or rebuild
        if queue is None:
            _say_empty("queue doctor", {"findings": []}, as_json=as_json)
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


def _act(verb: str, done: str, words: list[str], directory: Path | None, *, as_json: bool) -> int:
    identifiers, queue = _split(words, directory)
    with queue:
        getattr(queue, verb)(*identifiers)
    if as_json:
        output.print_json(f"queue {verb}", {done: identifiers})
    else:
        output.complain(f"{done}: {', '.join(identifiers)}", prefix="")
    return EX_OK


def _split(words: list[str], directory: Path | None) -> "tuple[list[str], Queue]":
    """The messages meant, and the queue."""
    pipeline, identifiers = (None, words) if directory is not None else (words[0], words[1:])
    if not identifiers:
        raise UsageError("no message is named; `mailpipe queue list` shows their ids")
    return identifiers, _opened(pipeline, directory)


def _queue_override(directory: Path | None) -> list[str]:
    return [] if directory is None else [f"queue.directory={output.toml_text(str(directory.absolute()))}"]


def _opened(pipeline: str | None, directory: Path | None) -> "Queue":
    """The queue, which must be there already: looking must not make one.

    Raises:
        UsageError: neither a pipeline file nor a directory is named.
        NoQueue: there is none.
    """
    from mailpipe.queue import Queue  # slow to import

    directory, schedule = _located(pipeline, directory)
    if not (directory / "queue.db").exists():
        reason = "is no directory" if directory.exists() and not directory.is_dir() else "there is no queue here"
        remedy = "check the path" if pipeline is None else "`mailpipe run` makes it when it first needs it"
        raise NoQueue(str(directory), f"{reason}; {remedy}")
    return Queue(directory, retry=schedule)


def _located(pipeline: str | None, directory: Path | None) -> "tuple[Path, Schedule]":
    """Where the queue is meant to be, and its schedule.

    Raises:
        UsageError: neither a pipeline file nor a directory is named.
    """
    from mailpipe.queue import Schedule  # slow to import

    if pipeline is not None:
        _, settings = load(pipeline, _queue_override(directory))
        directory = _directory_of(settings, pipeline)
        assert settings.queue is not None
        return directory, Schedule.parse(settings.queue.retry, settings.queue.expire)
    if directory is not None:
        return directory, Schedule.parse()
    raise UsageError("which queue? name a pipeline file with a [queue] table, or --queue DIR")


def _rebuilt(pipeline: str | None, directory: Path | None) -> "Queue":
    """The queue with a new database; the damaged one is kept beside.

    Raises:
        NoQueue: there is no queue.
    """
    from mailpipe.queue import Queue, set_database_aside  # slow to import

    directory, schedule = _located(pipeline, directory)
    if not directory.is_dir():
        raise NoQueue(str(directory), "there is no queue here; check the path")
    set_database_aside(directory)
    return Queue(directory, retry=schedule)


def _opened_or_empty(pipeline: str | None, directory: Path | None) -> "AbstractContextManager[Queue | None]":
    """The queue, or None where a pipeline file names one that no run has needed yet."""
    try:
        return _opened(pipeline, directory)
    except NoQueue:
        if pipeline is None:
            raise
        return nullcontext()


def _say_empty(verb: str, document: dict[str, object], *, as_json: bool) -> None:
    if as_json:
        output.print_json(verb, document)
    else:
        output.complain("0 messages; no run has needed the queue yet", prefix="")


def _directory_of(settings: "Settings", pipeline: str) -> Path:
    if settings.queue is None:
        raise ConfigError(f'{pipeline}: there is no [queue] table; add one with directory = "queue"')
    return settings.queue.directory


def _add_row(table: "Table", entry: "Entry", now: float) -> None:
    live = [one for one in entry.recipients if one.state.value != "delivered"] or list(entry.recipients)
    first = live[0]
    more = f" +{len(live) - 1}" if len(live) > 1 else ""
    states = list(dict.fromkeys(one.state.value for one in live))
    table.add_row(
        output.label(entry.id),
        output.seconds_text(now - entry.created),
        output.size_text(entry.size),
        output.label(_shown(entry.sender.reverse_path)),
        output.label(_shown(first.address) + more),
        output.label(", ".join(states), _STATE_STYLES.get(states[0], "")),
        str(entry.attempts),
        _when(entry.next_try, now, is_leased=bool(entry.lease)),
        output.label(output.shorten(output.safe(_reply(first)), 80)),
    )


def _shown(address: str) -> str:
    return output.shorten(output.safe(address), 40) if address else "<>"


def _reply(recipient: "Recipient") -> str:
    status = str(recipient.status) if recipient.status else ""
    return recipient.diagnostic if status in recipient.diagnostic else f"{status} {recipient.diagnostic}".strip()


def _when(moment: float | None, now: float, *, is_leased: bool = False) -> str:
    if is_leased:
        return "being delivered"
    if moment is None:
        return "never"
    return "now" if moment <= now else f"in {output.seconds_text(moment - now)}"


def _print_entry(entry: "Entry") -> None:
    console, now = output.console(), time.time()
    console.print(output.label(entry.id, "bold"))
    arrived = time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(entry.created))
    for name, value in (
        ("from", _shown(entry.sender.reverse_path)),
        ("origin", entry.origin),
        ("arrived", arrived),
        ("size", output.size_text(entry.size)),
        ("digest", entry.digest),
        ("content", str(entry.content)),
    ):
        console.print(output.label(f"  {name:8}", "cyan") + output.label(value))
    table = output.table("to", "state", "tries", "next", "last reply", right=["tries"])
    for one in entry.recipients:
        table.add_row(
            output.label(_shown(one.address)),
            output.label(one.state.value, _STATE_STYLES.get(one.state.value, "")),
            str(one.attempts),
            _when(one.next_try, now, is_leased=bool(entry.lease)),
            output.label(_reply(one)),
        )
    console.print(table)


COMMANDS: dict[str, tuple[Callable[..., int], str]] = {
    "list": (list_, "mailpipe queue list pipeline.toml"),
    "show": (show, "mailpipe queue show --queue spool 0190abcd"),
    "flush": (flush, "mailpipe queue flush pipeline.toml"),
    "hold": (hold, "mailpipe queue hold --queue spool 0190abcd"),
    "release": (release, "mailpipe queue release --queue spool 0190abcd"),
    "requeue": (requeue, "mailpipe queue requeue --queue spool 0190abcd"),
    "remove": (remove, "mailpipe queue remove --queue spool 0190abcd"),
    "doctor": (doctor, "mailpipe queue doctor pipeline.toml"),
}
"""Name → command and an example that can be pasted."""
