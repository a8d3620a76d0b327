"""A batch: the mails of the sources that are still to be done, and what is done when each of them has ended.

    batch = Batch(sources, journal, tally)
    for admitted in batch.mails():
        batch.record(admitted, engine.take(admitted.raw, admitted.digest, admitted.history))
    batch.close()

The order that keeps mail safe: the outcome is in the journal, the journal is synced, the source is told.

Never here: what happens to a mail between the two.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from mailpipe.errors import EX_TEMPFAIL, MailpipeError, SourceError
from mailpipe.pipeline.component import Source
from mailpipe.pipeline.flight import Flight
from mailpipe.pipeline.journal import NO_HISTORY, History, Journal, digest_of
from mailpipe.pipeline.mail import RawMail
from mailpipe.pipeline.outcome import Ending, Outcome
from mailpipe.pipeline.report import RunReport, Tally
from mailpipe.pipeline.run import Engine, Taken

OnProgress = Callable[[RunReport], None]
"""Told the numbers so far, a few times a second."""

HOPELESS = 1000
"""LIMIT: mails deferred in a row because of the system or the network (RFC 3463 section 3.4, 3.5), before the run ends.

A full disk or a server that is down would otherwise let all the rest of a large archive be read for nothing, and make
the journal grow by a line for each mail.
"""
_NOT_ABOUT_THE_MAIL = (3, 4)
_PROGRESS_SECONDS = 0.1
_WARNINGS = 20
_GROUP = 256


class Hopeless(MailpipeError):
    """So many mails in a row were deferred that the next would be as well; what it takes comes from outside."""

    exit_code = EX_TEMPFAIL


@dataclass(slots=True)
class Admitted:
    """A mail that is to be done.

    Attributes:
        source: where it came from.
        raw: the mail.
        digest: what the journal knows it by, b"" without a journal.
        history: what earlier runs did with it.
    """

    source: Source[Any]
    raw: RawMail
    digest: bytes = b""
    history: History = NO_HISTORY


@contextmanager
def _named(source: Source[Any]) -> Iterator[None]:
    """A source's own exceptions name it."""
    try:
        yield
    except MailpipeError:
        raise
    except Exception as error:
        raise SourceError(source.name, f"{type(error).__name__}: {error}") from error


class Batch:
    """Mails in, outcomes on record, sources told.

    Args:
        sources: in order.
        journal: None for none.
        tally: where everything is counted.
        on_progress: told the numbers so far.
        limit: how many mails at most, None for all.
    """

    def __init__(
        self,
        sources: Sequence[Source[Any]],
        journal: Journal | None,
        tally: Tally,
        on_progress: OnProgress | None = None,
        limit: int | None = None,
    ) -> None:
        self.journal, self.tally = journal, tally
        self.is_stopped = False
        self._sources = sources
        self._opened: list[Source[Any]] = []
        self._on_progress, self._limit = on_progress, limit
        self._told = 0.0
        self._unsettled: list[tuple[Source[Any], Outcome]] = []
        self._deferred_in_a_row = 0

    def stop(self) -> None:
        """Admit no more mails."""
        self.is_stopped = True

    def open(self) -> None:
        """Open every source, so that a missing archive is found before any mail flows.

        Raises:
            MailpipeError: a source cannot be opened.
        """
        for source in self._sources:
            self._opened.append(source)
            with _named(source):
                source.open()

    def mails(self) -> Iterator[Admitted]:
        """The mails that no earlier run has settled.

        Raises:
            MailpipeError: a source could not be read to its end; the others were.
        """
        admitted = 0
        troubles: list[MailpipeError] = []
        for source in self._sources:
            try:
                for raw in self._read(source):
                    if self.is_stopped or admitted == self._limit:
                        return
                    found = self._admit(source, raw)
                    if found is not None:
                        admitted += 1
                        yield found
            except MailpipeError as error:
                troubles.append(error)
        for trouble in troubles[1:]:
            self.warn(str(trouble))
        if troubles:
            raise troubles[0]

    def _read(self, source: Source[Any]) -> Iterator[RawMail]:
        with _named(source):
            yield from source

    def _admit(self, source: Source[Any], raw: RawMail) -> Admitted | None:
        if self.journal is None:
            return Admitted(source, raw)
        digest = digest_of(raw.origin, raw.octets)
        if digest in self.journal.done:
            self.tally.skipped += 1
            self.tally.octets_skipped += len(raw.octets)
            self._progress()
            return None
        self.tally.in_doubt += self.journal.in_doubt.pop(digest, ())
        return Admitted(source, raw, digest, self.journal.history(digest))

    def record(self, admitted: Admitted, taken: Taken) -> None:
        """Count what became of a mail; its outcomes are in the journal already.

        Raises:
            OutputError: the journal cannot be synced.
            Hopeless: it is time to give up.
        """
        self.tally.count(taken.outcomes, taken.skipped)
        self.tally.in_doubt += taken.in_doubt
        if taken.own.ending.is_settled:
            self._unsettled.append((admitted.source, taken.own))
        if self.journal is None or self.journal.is_due or len(self._unsettled) >= _GROUP:
            self.flush()
        self._progress()
        self._look_for_hope(taken.own)

    def _look_for_hope(self, outcome: Outcome) -> None:
        if outcome.ending is not Ending.DEFERRED or outcome.status.subject not in _NOT_ABOUT_THE_MAIL:
            self._deferred_in_a_row = 0
            return
        self._deferred_in_a_row += 1
        if self._deferred_in_a_row >= HOPELESS:
            raise Hopeless(f"{HOPELESS:,} mails in a row had to be deferred, the last because: {outcome.reason}")

    def flush(self) -> None:
        """Sync the journal, then tell the sources what they may forget.

        Raises:
            OutputError: the journal cannot be synced; the sources were not told.
        """
        if self.journal is not None:
            self.journal.sync()
        waiting, self._unsettled = self._unsettled, []
        for source, outcome in waiting:
            try:
                source.settle(outcome)
            except Exception as error:  # noqa: BLE001 - the outcome is on record; the mail is not lost, only still there
                words = str(error) if isinstance(error, MailpipeError) else f"{type(error).__name__}: {error}"
                self.warn(f"source {source.name!r} could not let go of {outcome.origin}: {words}")

    def warn(self, sentence: str) -> None:
        """Note something that a person should know."""
        if len(self.tally.warnings) < _WARNINGS:
            self.tally.warnings.append(sentence)

    def close(self) -> None:
        """Close the sources."""
        opened, self._opened = self._opened, []
        for source in opened:
            try:
                source.close()
            except Exception as error:  # noqa: BLE001 - everything is settled; the others must be closed too
                self.warn(f"source {source.name!r} did not close: {type(error).__name__}: {error}")
        self._progress(is_last=True)

    def _progress(self, *, is_last: bool = False) -> None:
        if self._on_progress is None:
            return
        now = time.monotonic()
        if is_last or now - self._told >= _PROGRESS_SECONDS:
            self._told = now
            self._on_progress(self.tally.report())


def run_alone(batch: Batch, engine: Engine) -> None:
    """Take every mail of a batch through one engine, in this process.

    Raises:
        MailpipeError: a source cannot be read, or the journal not be written; what was in flight has ended.
    """
    flight = Flight(engine, batch.record)
    try:
        for admitted in batch.mails():
            flight.take(admitted, admitted.raw, admitted.digest, admitted.history)
    except MailpipeError:
        with suppress(MailpipeError):  # the first one says why
            flight.land()
        raise
    flight.land()
