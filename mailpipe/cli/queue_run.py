"""The verbs of `mailpipe queue` that deliver: once, or for as long as it is wanted.

    mailpipe queue flush pipeline.toml              # whatever waits, now
    mailpipe queue run pipeline.toml                # what is due, when it is due, until SIGTERM
    mailpipe queue run pipeline.toml --once         # what is due now

SIGTERM and SIGINT end `run` after the messages in hand. SIGHUP has the pipeline file read again, for the messages that
come after those in hand, and brings forward whatever waits; a file that cannot be used is complained about, and the old
one goes on.

Never here: when a message is due (`mailpipe.queue`), and how it is delivered (`mailpipe.pipeline.redeliver`).
"""

import os
import select
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mailpipe.cli import output
from mailpipe.cli.exit import EX_FINDINGS, EX_OK
from mailpipe.cli.load import OverridesOption, VerboseOption, load, loader, log_to_stderr
from mailpipe.cli.queue_opening import AsJson, Directory, queue_override
from mailpipe.cli.queue_table import reply
from mailpipe.cli.signals import Signals, stopping
from mailpipe.errors import EX_TEMPFAIL, ConfigError

if TYPE_CHECKING:  # slow to import; `mailpipe --help` must not wait for them
    from mailpipe.pipeline.component import Sink
    from mailpipe.pipeline.delivery import OpenedSink
    from mailpipe.pipeline.loop import LoopRule
    from mailpipe.pipeline.reload import Reloader
    from mailpipe.pipeline.settings import Settings
    from mailpipe.queue import DeliveryCounts, Entry, Queue, Recipient

_QUESTIONS = "may have been delivered, which waits for your word: `mailpipe queue list --in-doubt`, then `queue settle`"

PipelineThere = Annotated[str, typer.Argument(metavar="PIPELINE", help="The pipeline file whose sink delivers.")]


def flush(
    pipeline: PipelineThere,
    directory: Directory = None,
    overrides: OverridesOption = None,
    due: Annotated[bool, typer.Option("--due", help="Only what is due by its schedule.")] = False,
    as_json: AsJson = False,
) -> int:
    """Try everything that waits, now, through the pipeline's sink. Held mail stays held."""
    from mailpipe.pipeline.redeliver import redeliver  # slow to import

    log_to_stderr(0)
    with _opened_line(pipeline, [*(overrides or ()), *queue_override(directory)]) as line, stopping() as signals:
        queue, sink, loops, routes, settings = line
        counts = redeliver(
            queue, sink, settings.limits, everything=not due, loops=loops, routes=routes, should_stop=signals.has_come
        )
    _say("queue flush", counts, as_json=as_json)
    return 128 + signals.number if signals.number else _code(counts)


def run(
    pipeline: PipelineThere,
    directory: Directory = None,
    overrides: OverridesOption = None,
    once: Annotated[bool, typer.Option("--once", help="Try what is due now, and leave.")] = False,
    verbose: VerboseOption = 0,
    as_json: AsJson = False,
) -> int:
    """Deliver what is due whenever it is due, until SIGTERM or Ctrl-C.

    SIGHUP reads the pipeline file again, and tries everything now.
    """
    from mailpipe.pipeline.redeliver import keep_redelivering, redeliver  # slow to import

    log_to_stderr(verbose)

    def on_progress(entry: "Entry", recipients: "tuple[Recipient, ...]") -> None:
        alarm.look()
        for one in recipients:
            if one.is_question:
                output.complain(f"{entry.id} to <{one.address}> {_QUESTIONS}")
            elif verbose:
                output.complain(f"{entry.id} to <{one.address}> {one.state.value}: {reply(one)}", prefix="")

    opened = _kept_line(pipeline, [*(overrides or ()), *queue_override(directory)])
    with opened as (queue, reloader, loops), _waking(reloader) as alarm:
        sink, routes, settings = alarm.sink, alarm.routes, reloader.settings
        waiting = sum(one.is_question for entry in queue.list("in-doubt") for one in entry.recipients)
        if waiting:
            output.complain(f"{output.count_text(waiting, 'recipient')} {_QUESTIONS}")
        if once:
            counts = redeliver(
                queue, sink, settings.limits, loops=loops, routes=routes, on_progress=on_progress,
                should_stop=alarm.signals.has_come,
            )
        else:
            counts = keep_redelivering(
                queue, sink, alarm.wait, settings.limits, loops=loops, routes=routes, on_progress=on_progress,
                should_flush=alarm.should_flush, should_stop=alarm.signals.has_come,
            )
    _say("queue run", counts, as_json=as_json)
    if not once:
        return EX_OK  # that it was told to stop is no failure
    return 128 + alarm.signals.number if alarm.signals.number else _code(counts)


@contextmanager
def _opened_line(
    pipeline: str, overrides: list[str]
) -> "Iterator[tuple[Queue, Sink[Any], LoopRule | None, dict[str, Sink[Any]], Settings]]":
    """The queue and the open sinks of a pipeline file.

    Raises:
        ConfigError: the file has no queue or no sink.
    """
    from mailpipe.pipeline.line import open_sinks  # slow to import
    from mailpipe.pipeline.redeliver import loop_rule, open_queue

    registry, settings = load(pipeline, overrides)
    if settings.queue is None:
        raise ConfigError(f'{pipeline}: there is no [queue] table; add one with directory = "queue"')
    if settings.sink is None:
        raise ConfigError(f"{pipeline}: there is no [sink] table; say where mail goes")
    with open_queue(settings.queue) as queue, open_sinks(settings, registry) as (sink, routes):
        yield queue, sink, loop_rule(settings.queue, sink), routes, settings


@contextmanager
def _kept_line(
    pipeline: str, overrides: list[str]
) -> "Iterator[tuple[Queue, Reloader[OpenedSink], LoopRule | None]]":
    """The queue of a pipeline file, and its sink as it is at the moment.

    Raises:
        ConfigError: the file has no queue or no sink.
    """
    from mailpipe.pipeline.delivery import opened_sink  # slow to import
    from mailpipe.pipeline.redeliver import loop_rule, open_queue
    from mailpipe.pipeline.reload import Reloader

    with Reloader(loader(pipeline, overrides), opened_sink) as reloader:
        settings = reloader.settings
        assert settings.queue is not None
        with open_queue(settings.queue) as queue:
            yield queue, reloader, loop_rule(settings.queue, reloader.current().sink)


class _Alarm:
    """Waits that a signal ends, and what is done about it.

    Attributes:
        signals: those that ask to stop.
        sink, routes: those in force.
    """

    def __init__(self, reloader: "Reloader[OpenedSink]") -> None:
        from mailpipe.pipeline.delivery import SwappedSink, swapped_routes  # slow to import

        self.signals, self.sink, self.routes = Signals(), SwappedSink(reloader), swapped_routes(reloader)
        self._reloader, self._flush = reloader, False
        self._ear, self._bell = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def ring(self) -> None:
        with suppress(BlockingIOError):  # it rings already
            os.write(self._bell, b"!")

    def look(self) -> None:
        """Read the file again where that was asked for."""
        if (result := self._reloader.reload_if_asked()) is not None:
            output.complain(result.words)
            self._flush = True

    def should_flush(self) -> bool:
        self.look()
        asked, self._flush = self._flush, False
        return asked

    def wait(self, seconds: float) -> None:
        if select.select([self._ear], [], [], seconds)[0]:
            os.read(self._ear, 4096)

    def close(self) -> None:
        os.close(self._ear)
        os.close(self._bell)


@contextmanager
def _waking(reloader: "Reloader[OpenedSink]") -> Iterator[_Alarm]:
    """While it lasts, SIGTERM and SIGINT ask to stop and SIGHUP to read the file again; each ends a wait."""
    alarm = _Alarm(reloader)
    with (
        closing(alarm),
        stopping(lambda _: alarm.ring()) as alarm.signals,
        # also under nohup: a deliverer has no terminal to lose
        reloader.watch_signal(alarm.ring, also_ignored=True),
    ):
        yield alarm


def _say(verb: str, counts: "DeliveryCounts", *, as_json: bool) -> None:
    if as_json:
        output.print_json(verb, {"counts": counts.to_json()})
        return
    words = ", ".join(
        f"{count:,} {name.replace('_', ' ')}"
        for name, count in counts.to_json().items()
        if count and name != "messages"
    )
    output.complain(f"{output.count_text(counts.messages, 'message')} tried: {words or 'nothing was due'}", prefix="")


def _code(counts: "DeliveryCounts") -> int:
    if counts.deferred or counts.in_doubt:
        return EX_TEMPFAIL
    return EX_FINDINGS if counts.failed or counts.expired else EX_OK
