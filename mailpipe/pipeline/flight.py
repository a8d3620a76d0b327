"""Mails that are under way through one engine: one at the stages, several behind them, side by side, at the sink.

    flight = Flight(engine, ended)                      # ended(admitted, taken), in this thread
    flight.take(admitted, raw, digest, history)         # waits while there is no room
    flight.land()                                       # until all have ended

Mails of one lane of the sink are so many at a time at most. The others wait here, twice as many mails in all as may be
in flight; where these are in the way of mails of other lanes, they go to the queue, due at once. Without a queue they
are waited for.

Stages, sources and `ended` are called in the thread that calls `take`. What comes of a mail is in the queue and in the
journal by the hand of the thread that handed it over, however long the source then lets wait for the next.

Never here: what happens to a mail (`run`), which come and what is done when they have ended (`batch`, `worker`).
"""

from collections.abc import Callable
from typing import Generic, TypeVar

from mailpipe.crew import Crew
from mailpipe.errors import MailpipeError
from mailpipe.pipeline.journal import NO_HISTORY, History
from mailpipe.pipeline.mail import RawMail
from mailpipe.pipeline.run import Begun, Engine, Taken

OCTETS = 64 * 1024 * 1024
"""LIMIT: octets of the mails in flight, as they came, as long as there is more than one: memory stays flat."""

T = TypeVar("T")


class Flight(Generic[T]):
    """An engine with room for as many mails as its sink takes at a time.

    Args:
        engine: its line is open.
        ended: told each mail, by the word that `take` was given for it, and what became of it.
        most: mails at a time, where that is less than what the sink takes.
    """

    def __init__(self, engine: Engine, ended: Callable[[T, Taken], None], most: int | None = None) -> None:
        self._engine, self._ended = engine, ended
        self._sink = sink = engine.line.sink
        self._room = max(1, min(most or sink.in_flight, sink.in_flight))
        self._octets = 0
        self._crew: Crew[tuple[T, Begun], Taken] | None = None
        if self._room > 1:
            self._crew = Crew(lambda job: engine.finish(job[1]), self._room, sink.lane_width, "mailpipe-sink")

    def take(self, word: T, raw: RawMail, digest: bytes = b"", history: History = NO_HISTORY) -> None:
        """Take one mail through the stages, and send it on its way to the sink.

        Raises:
            MailpipeError: what `ended` raised, or the journal cannot be written.
        """
        if self._crew is None:
            self._ended(word, self._engine.take(raw, digest, history))
            return
        self._make_room(self._crew, len(raw.octets))
        begun = self._engine.begin(raw, digest, history)
        if isinstance(begun, Taken):
            self._ended(word, begun)
        else:
            self._octets += len(raw.octets)
            self._crew.give((word, begun), self._sink.lane(begun.mail.envelope))
        self.look()

    @property
    def is_empty(self) -> bool:
        """Nothing is under way."""
        return not self._crew

    def look(self) -> None:
        """Tell of those that have ended meanwhile.

        Raises:
            MailpipeError: what `ended` raised, or the journal cannot be written.
        """
        while self._crew is not None and self._tell(self._crew, 0):
            pass

    def _make_room(self, crew: Crew[tuple[T, Begun], Taken], size: int) -> None:
        """Wait until one more mail may be taken in, or put one that would wait for long where it can."""
        while len(crew):
            is_crowded = len(crew) >= 2 * self._room or self._octets + size > OCTETS
            if crew.has_hands and is_crowded and self._put_off(crew):
                continue
            if crew.has_hands and not is_crowded:
                return
            self._tell(crew)

    def _put_off(self, crew: Crew[tuple[T, Begun], Taken]) -> bool:
        """Put a mail of the longest lane into the queue, so that it holds up no other; whether that was possible."""
        job = crew.take_back()
        if job is None:
            return False
        taken = self._engine.put_off(job[1])
        if taken is None:
            crew.give(job, self._sink.lane(job[1].mail.envelope))
            return False
        self._octets -= len(job[1].trip.raw.octets)
        self._ended(job[0], taken)
        return True

    def land(self) -> None:
        """Wait until every mail has ended; the threads are let go.

        Raises:
            MailpipeError: the first that `ended` raised, or that the journal cannot be written.
        """
        if self._crew is None:
            return
        trouble: MailpipeError | None = None
        while len(self._crew):
            try:
                self._tell(self._crew)
            except MailpipeError as error:
                trouble = trouble or error
        self._crew.close()
        if trouble is not None:
            raise trouble

    def _tell(self, crew: Crew[tuple[T, Begun], Taken], seconds: float | None = None) -> bool:
        """Tell of one mail that has ended, awaited for so long; whether there was one."""
        ended = crew.ended(seconds)
        if ended is None:
            return False
        word, begun = ended.job
        self._octets -= len(begun.trip.raw.octets)
        if ended.error is not None:
            raise ended.error
        assert ended.answer is not None
        self._ended(word, ended.answer)
        return True
