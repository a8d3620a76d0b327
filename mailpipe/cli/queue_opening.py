"""Which queue a `mailpipe queue` verb means, and which of its messages.

    with opened("pipeline.toml", None) as queue: ...
    identifiers = chosen(queue, filters)

Never here: what is done to them.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mailpipe.cli import output
from mailpipe.cli.exit import UsageError
from mailpipe.cli.load import load
from mailpipe.errors import ConfigError, InputError

if TYPE_CHECKING:  # slow to import; `mailpipe --help` must not wait for them
    from mailpipe.pipeline.settings import Settings
    from mailpipe.queue import Entry, Queue, Recipient, Schedule


class NoQueue(InputError):
    """A directory that is no queue."""


PipelineHere = Annotated[
    str | None, typer.Argument(metavar="PIPELINE", help="A pipeline file with a queue table; or use --queue.")
]
Directory = Annotated[Path | None, typer.Option("--queue", metavar="DIR", help="The directory of the queue.")]
Words = Annotated[
    list[str] | None,
    typer.Argument(metavar="ID", help="Messages; before them a pipeline file, unless --queue is given."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


States = Annotated[
    list[str] | None, typer.Option("--state", help="Only with a recipient in this state, such as held; repeatable.")
]
To = Annotated[
    list[str] | None,
    typer.Option("--recipient", metavar="ADDRESS", help="Only to this address, or domain: @example.net; repeatable."),
]
Older = Annotated[str | None, typer.Option("--older", metavar="AGE", help="Only what came longer ago, such as 2d.")]
InDoubt = Annotated[
    bool, typer.Option("--in-doubt", help="Only what may have been delivered and waits for your word.")
]
All = Annotated[bool, typer.Option("--all", help="All messages, or all that the other options leave.")]


@dataclass(frozen=True)
class Filters:
    """Which messages are meant.

    Attributes:
        states: with a recipient in one of them; () for any.
        recipients: to one of these addresses, or of these domains ("@example.net"); () for any.
        older: that came this many seconds ago or earlier.
        is_question: with a recipient that is in doubt and waits for a human.

    All that are given hold for one and the same recipient.
    """

    states: tuple[str, ...] = ()
    recipients: tuple[str, ...] = ()
    older: float = 0.0
    is_question: bool = False

    @classmethod
    def of(
        cls, states: list[str] | None, recipients: list[str] | None, older: str | None, *, is_question: bool = False
    ) -> "Filters":
        """The options as they were given.

        Raises:
            UsageError: there is no such state, or the age is none.
        """
        from mailpipe.queue import RecipientState  # slow to import
        from mailpipe.units import parse_duration  # as slow

        known = [state.value for state in RecipientState]
        if wrong := [state for state in states or () if state not in known]:
            raise UsageError(f"there is no state {wrong[0]!r}; there are: {', '.join(known)}")
        try:
            age = float(parse_duration(older)) if older is not None else 0.0
        except ValueError as error:
            raise UsageError(f"--older: {error}") from error
        return cls(
            tuple(states or ()), tuple(one.lower().strip("<>") for one in recipients or ()), age,
            is_question=is_question,
        )

    def __bool__(self) -> bool:
        return self != Filters()

    def choose(self, queue: "Queue") -> "Iterator[Entry]":
        """The messages, by arrival."""
        latest = queue.now() - self.older
        states = self.states or (("in-doubt",) if self.is_question else ())
        for entry in queue.list(*states):
            if entry.created <= latest and any(self.takes(one) for one in entry.recipients):
                yield entry

    def takes(self, one: "Recipient") -> bool:
        """Whether a recipient is meant."""
        address = one.address.lower()
        return (
            (not self.states or one.state.value in self.states)
            and (not self.is_question or one.is_question)
            and (not self.recipients or any(
                address.endswith(each) if each.startswith("@") else address == each for each in self.recipients
            ))
        )  # fmt: skip


def split(words: list[str], directory: Path | None, *, is_all: bool) -> "tuple[list[str], Queue]":
    """The messages that are named, and the queue.

    Raises:
        UsageError: none is named, or some are though all are meant.
    """
    pipeline, identifiers = (None, words) if directory is not None else (next(iter(words), None), words[1:])
    if is_all and identifiers:
        raise UsageError("give the ids of messages or --all, not both")
    if not identifiers and not is_all:
        raise UsageError("no message is named; `mailpipe queue list` shows their ids, --all means all of them")
    return identifiers, opened(pipeline, directory)


def queue_override(directory: Path | None) -> list[str]:
    """What --queue DIR stands for as a line of the pipeline file."""
    return [] if directory is None else [f"queue.directory={output.toml_text(str(directory.absolute()))}"]


def opened(pipeline: str | None, directory: Path | None) -> "Queue":
    """The queue, which must be there already: looking must not make one.

    Raises:
        UsageError: neither a pipeline file nor a directory is named.
        NoQueue: there is none.
    """
    from mailpipe.pipeline.redeliver import open_queue  # slow to import
    from mailpipe.queue import Queue

    settings = None
    if pipeline is not None:
        _, loaded = load(pipeline, queue_override(directory))
        settings = loaded.queue
        if settings is not None and settings.database is not None:
            return open_queue(settings)
    directory, schedule = _located(pipeline, directory)
    if not (directory / "queue.db").exists():
        reason = "is no directory" if directory.exists() and not directory.is_dir() else "there is no queue here"
        remedy = "check the path" if pipeline is None else "`mailpipe run` makes it when it first needs it"
        raise NoQueue(str(directory), f"{reason}; {remedy}")
    return Queue(directory, retry=schedule) if settings is None else open_queue(settings)


def _located(pipeline: str | None, directory: Path | None) -> "tuple[Path, Schedule]":
    """Where the queue is meant to be, and its schedule.

    Raises:
        UsageError: neither a pipeline file nor a directory is named.
    """
    from mailpipe.queue import Schedule  # slow to import

    if pipeline is not None:
        _, settings = load(pipeline, queue_override(directory))
        directory = directory_of(settings, pipeline)
        assert settings.queue is not None
        return directory, Schedule.parse(settings.queue.retry, settings.queue.expire)
    if directory is not None:
        return directory, Schedule.parse()
    raise UsageError("which queue? name a pipeline file with a [queue] table, or --queue DIR")


def rebuilt(pipeline: str | None, directory: Path | None) -> "Queue":
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


def opened_or_empty(pipeline: str | None, directory: Path | None) -> "AbstractContextManager[Queue | None]":
    """The queue, or None where a pipeline file names one that no run has needed yet."""
    try:
        return opened(pipeline, directory)
    except NoQueue:
        if pipeline is None:
            raise
        return nullcontext()


def say_empty(verb: str, document: dict[str, object], *, as_json: bool) -> None:
    """Tell that there is nothing to look at."""
    if as_json:
        output.print_json(verb, document)
    else:
        output.complain("0 messages; no run has needed the queue yet", prefix="")


def directory_of(settings: "Settings", pipeline: str) -> Path:
    """The directory of a pipeline's queue.

    Raises:
        ConfigError: it has no queue, or one in a database.
    """
    if settings.queue is None:
        raise ConfigError(f'{pipeline}: there is no [queue] table; add one with directory = "queue"')
    if settings.queue.database is not None or settings.queue.directory is None:
        raise ConfigError(f"{pipeline}: the queue is in a database, which its own backup restores; see PostgreSQL's")
    return settings.queue.directory
