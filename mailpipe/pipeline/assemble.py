"""Settings and a registry become a `Pipeline`: something that runs over archives or takes one mail.

    registry = load_registry(file.parent)
    with assemble(load_settings(file, registry), registry) as pipeline:
        report = pipeline.run(["archive.mbox"])            # batch
        outcome = pipeline.process(raw)                    # or one mail, as a filter

Never here: how mail flows; see `run`, `batch` and `workers`.
"""

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

from mailpipe.errors import ConfigError, MailpipeError, SettingsError
from mailpipe.pipeline.component import Sink
from mailpipe.pipeline.line import open_line
from mailpipe.pipeline.mail import RawMail
from mailpipe.pipeline.outcome import Outcome
from mailpipe.pipeline.registry import Registry
from mailpipe.pipeline.run import Engine, Line
from mailpipe.pipeline.settings import Settings, parse_settings

if TYPE_CHECKING:  # slow to import; a filter, which takes one mail and ends, does without what only runs need
    from mailpipe.pipeline.batch import Batch, OnProgress
    from mailpipe.pipeline.report import RunReport, Tally
    from mailpipe.pipeline.worker import Recipe
    from mailpipe.queue import Queue

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Pipeline:
    """Stages and a sink, a source to feed them, and all that is between them.

    Attributes:
        settings: what it was made from.
        registry: where its components come from.
    """

    def __init__(self, settings: Settings, registry: Registry, sink: Sink[Any] | None = None) -> None:
        self.settings, self.registry = settings, registry
        self._given = sink
        self._line: Line | None = None
        self._close_line: Callable[[], list[str]] | None = None
        self._batch: Batch | None = None
        self._is_stopped = False

    def __enter__(self) -> "Pipeline":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> None:
        """Open the stages, the sink and the queue; done by the first use. With several workers they open their own.

        Raises:
            MailpipeError: one of them cannot be opened.
        """
        self._opened()

    def close(self) -> None:
        """Close what was opened."""
        if self._close_line is not None:
            close, self._close_line, self._line = self._close_line, None, None
            close()

    def _opened(self) -> Line:
        if self._line is None:
            self._line, self._close_line = open_line(self.settings, self.registry, self._given)
        return self._line

    def process(self, raw: RawMail) -> Outcome:
        """Take one mail through the pipeline; nothing is journalled, and no signal is caught.

        Raises:
            MailpipeError: a stage or the sink cannot be opened.
        """
        return Engine(self._opened()).take(raw).own

    def run(
        self,
        sources: Sequence[str] = (),
        on_progress: "OnProgress | None" = None,
        *,
        fresh: bool = False,
        limit: int | None = None,
    ) -> "RunReport":
        """Take every mail of the sources through the pipeline.

        SIGINT, SIGTERM and SIGHUP end the run after the mails in hand; a second one ends it at once.

        Args:
            sources: archives in place of those of the settings: paths of mbox files, Maildirs, message files and
                folders of them; "-" is standard input.
            on_progress: told the numbers so far, a few times a second.
            fresh: start over where an earlier run left a journal.
            limit: how many mails at most.

        Returns:
            the report; `error` says what ended the run before its end, when mail had begun to flow.

        Raises:
            InputError: an archive is missing or cannot be read.
            ConfigError: there is no source, or the journal belongs to another pipeline.
            OutputError: the journal or the queue cannot be opened.
            MailpipeError: anything else that must be mended before mail can flow.
        """
        # slow to import, and a filter does without them
        from mailpipe.pipeline.batch import Batch
        from mailpipe.pipeline.choose import sources_for
        from mailpipe.pipeline.journal import Journal
        from mailpipe.pipeline.report import Tally

        settings = self.settings
        chosen = sources_for(sources, settings, self.registry)
        # a dry run must not leave behind that everything is done
        path = settings.journal if self._given is None else None
        tally = Tally(settings.name, settings.run.workers, str(path) if path else None)
        journal = Journal.open(path, settings.digests, fresh=fresh) if path else None
        batch = Batch(chosen, journal, tally, on_progress, limit)
        self._batch = batch
        if self._is_stopped:
            batch.stop()
        try:
            with _signals(self.stop):
                try:
                    batch.open()
                    self._flow(batch, tally)
                finally:
                    batch.close()
        finally:
            self._batch = None
            if journal is not None:
                journal.close()
        if not (tally.entered or tally.skipped or tally.error or batch.is_stopped or limit == 0):
            where = ", ".join(sources) if sources else "the source"
            tally.warnings.append(f"no mail in {where}")
        report = tally.report()
        assert report.is_balanced, "every mail that entered or was emitted must have its ending"
        return report

    def stop(self, signum: int = 0) -> None:
        """End the run after the mails in hand; may be called from a signal handler or another thread."""
        self._is_stopped = True
        if self._batch is not None:
            self._batch.stop()
            self._batch.tally.signal = signum or self._batch.tally.signal

    def _flow(self, batch: "Batch", tally: "Tally") -> None:
        from mailpipe.pipeline.batch import run_alone  # see `run`

        count = self.settings.run.workers
        try:
            with self._queue() as queue:
                self._retry(queue, batch, tally)
                if count == 1:
                    line = self._opened()
                    line.metrics.values.clear()
                    try:
                        run_alone(batch, Engine(line, batch.journal))
                    finally:
                        tally.measure(line.metrics.values)
                else:
                    from mailpipe.pipeline.workers import Workers  # multiprocessing is slow to import

                    with Workers(open_from_recipe, self._recipe(), batch, count) as workers:
                        workers.run()
                batch.flush()
                self._retry(queue, batch, tally)
        except MailpipeError as error:
            self._settle_what_is_safe(batch, error)
            if not tally.entered:
                raise
            tally.error, tally.error_code = str(error), error.exit_code

    @staticmethod
    def _settle_what_is_safe(batch: "Batch", error: MailpipeError) -> None:
        try:
            batch.flush()
        except MailpipeError as another:
            if str(another) != str(error):
                batch.warn(str(another))

    @contextmanager
    def _queue(self) -> "Iterator[Queue | None]":
        """The queue, of the open line where there is one."""
        if self.settings.queue is None or self._given is not None:
            yield None
        elif self.settings.run.workers == 1:
            yield self._opened().queue
        else:
            from mailpipe.pipeline.redeliver import open_queue  # SQLite is slow to import

            with open_queue(self.settings.queue) as queue:
                yield queue

    def _retry(self, queue: "Queue | None", batch: "Batch", tally: "Tally") -> None:
        """What waits in the queue and is due goes through the sink."""
        if queue is None:
            return
        from mailpipe.pipeline.redeliver import redeliver  # see `_queue`
        from mailpipe.pipeline.report import QueueReport

        delivered, failed = (tally.queue.delivered, tally.queue.failed) if tally.queue else (0, 0)
        if not batch.is_stopped and queue.counts().due:
            line = self._opened()
            counts = redeliver(
                queue, line.sink, line.limits, loops=line.loops, routes=line.ways.sinks,
                should_stop=lambda: batch.is_stopped,
            )  # fmt: skip
            delivered, failed = delivered + counts.delivered, failed + counts.failed
        tally.queue = QueueReport(delivered=delivered, failed=failed, waiting=queue.counts().messages)

    def _recipe(self) -> "Recipe":
        # only a run with several workers needs them
        import pickle

        from mailpipe.pipeline.worker import Recipe  # multiprocessing is slow to import

        settings, rebuild = self.settings, self.registry.rebuild
        if rebuild is None:
            raise ConfigError(
                "several workers need a registry that each of them can make again: use load_registry(), "
                "or give Registry a function of a module as rebuild, or set [run] workers = 1"
            )
        given = self._given
        sink = None if given is None else (given.name, pickle.dumps(given.options))
        return Recipe(rebuild, settings.text, settings.file.absolute(), settings.overrides, sink)


def assemble(settings: Settings, registry: Registry, sink: Sink[Any] | None = None) -> Pipeline:
    """Make a pipeline.

    Args:
        settings: checked.
        registry: the one that the settings were checked with.
        sink: one to use in place of that of the settings (a filter's stdout, a dry run's discard); then there is no
            journal and no queue.

    Raises:
        SettingsError: there is no sink.
    """
    if settings.sink is None and sink is None:
        known = ", ".join(registry.names("sink"))
        raise SettingsError("there is no [sink]", file=str(settings.file), expected=f"[sink] with use = one of {known}")
    return Pipeline(settings, registry, sink)


def open_from_recipe(recipe: "Recipe") -> tuple[Line, Callable[[], list[str]]]:
    """The same in another process.

    Raises:
        MailpipeError: it cannot be made or opened.
    """
    registry = recipe.rebuild()
    settings = parse_settings(recipe.text, recipe.file, registry, recipe.overrides)
    sink = None
    if recipe.sink is not None:
        import pickle  # only a run with several workers needs it

        name, options = recipe.sink
        sink = registry.sink(name)(pickle.loads(options))  # our own parent's, by its own pipe
    return open_line(settings, registry, sink)


@contextmanager
def _signals(stop: Callable[[int], None]) -> Iterator[None]:
    """The first signal stops in good order; the second one does what it always does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def come(number: int, frame: FrameType | None) -> None:
        for each, old in before.items():
            signal.signal(each, old)
        stop(number)

    # nohup ignores SIGHUP, and so must we
    for number, old in before.items():
        if old is not signal.SIG_IGN:
            signal.signal(number, come)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


