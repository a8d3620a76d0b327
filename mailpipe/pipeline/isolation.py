"""A stage in a process of its own: what goes wrong there costs one mail its turn, not the pipeline.

    stage = IsolatedStage(StageRecipe.of(registry, "my-stage", options, "stage.2"), Budget(time=5, memory=200_000_000))
    stage.open(services)
    stage(mail)                 # a Mail, a Verdict or a tuple of mails, or StageError
    stage.close()

The process is started once and serves mail after mail. When it ends, hangs beyond its budget, takes more memory than
that, or says what nobody understands, the mail in hand ends in a `StageError`, and the next one finds a new process.
The message, the envelope and the notes that the stage leaves alone are the same objects afterwards; a message that it
changed is read from the new octets.

This is a guard against accidents: a crash in a library, a loop without end, a leak. The process runs as the same user
with the same files; see `isolation_frames` for what is believed of its answers.

Never here: what the process does; see `isolated`.
"""

import logging
import pickle
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

from mailpipe.errors import BudgetExceeded, ConfigError, MailpipeError, StageError, StageLost
from mailpipe.limits import DEFAULT_LIMITS, Limits
from mailpipe.message import parse
from mailpipe.pipeline import isolation_frames as frames
from mailpipe.pipeline.access import Budget
from mailpipe.pipeline.child_process import ChildProcess, Gone, Late, TooLong
from mailpipe.pipeline.component import Options
from mailpipe.pipeline.isolation_frames import Answer, Begin, Failure, Garbled, MailBack
from mailpipe.pipeline.mail import Mail
from mailpipe.pipeline.registry import Registry
from mailpipe.pipeline.services import Services
from mailpipe.pipeline.verdict import Verdict
from mailpipe.units import duration_text

START_SECONDS = 120.0
"""LIMIT: how long a stage may take to open; one that never does would hold up the run."""
CLOSE_SECONDS = 30.0
"""LIMIT: how long it may take to close."""
STARTS = 2
"""How often a process is started for one mail when it ends before it is ready."""
ANSWER_LIMIT = 1 << 31
"""LIMIT: octets of an answer where the budget says nothing about expansion."""
GRACE_SECONDS = 1.0
"""How long a process that has closed its pipes may take to end by itself."""
_LOGGERS = "mailpipe.stage."


@dataclass(frozen=True, slots=True)
class StageRecipe:
    """What another process makes a stage from.

    Attributes:
        rebuild: makes the registry, pickled.
        name: of the stage.
        options: pickled.
        key: where it stands in the pipeline file.
    """

    rebuild: bytes
    name: str
    options: bytes
    key: str

    @classmethod
    def of(cls, registry: Registry, name: str, options: Options, key: str) -> Self:
        """The recipe of a stage of the registry.

        Raises:
            ConfigError: the registry or the options cannot be made in another process.
        """
        if registry.rebuild is None:
            raise ConfigError(
                f"{key}: an isolated stage needs a registry that can be made again: use load_registry(), or give "
                "Registry a function of a module as rebuild, or set isolate = false"
            )
        try:
            return cls(pickle.dumps(registry.rebuild, 5), name, pickle.dumps(options, 5), key)
        except Exception as error:
            words = f"{key}: it cannot be isolated, its registry or options cannot be pickled: {error}"
            raise ConfigError(f"{words}; define them at the top of a module, or set isolate = false") from error


class DoesNotOpen(MailpipeError):
    """What the stage said when it could not be opened in its process, with the words and exit code of its own error."""

    def __init__(self, words: str, exit_code: int) -> None:
        self.exit_code = exit_code
        super().__init__(words)


class IsolatedStage:
    """Asks a stage in another process; like `Step.call`, with a life of its own.

    Args:
        recipe: what the stage is made from.
        budget: of each mail.
        limits: of understanding, as the pipeline has them.
    """

    def __init__(self, recipe: StageRecipe, budget: Budget, limits: Limits = DEFAULT_LIMITS) -> None:
        self.name = recipe.name
        self._recipe, self._budget, self._limits = recipe, budget, limits
        self._label = recipe.name
        self._services: Services | None = None
        self._child: ChildProcess | None = None
        self._lock = threading.Lock()
        self._told: set[type] = set()

    def open(self, services: Services) -> None:
        """Start the process and open the stage in it.

        Raises:
            DoesNotOpen: the stage raised an error of mailpipe's.
            StageError: it raised another, or its process ended.
        """
        self._services = services
        # the step may be called otherwise than the stage, and whoever reads the log looks for that
        self._label = services.log.logger.name.removeprefix(_LOGGERS)
        self._child = self._started("")

    def close(self) -> None:
        """Close the stage and end the process.

        Raises:
            StageError: the stage could not be closed in good order.
        """
        child, self._child = self._child, None
        if child is None:
            return
        try:
            child.request_close()
            answer, _ = frames.read_answer(child.receive(frames.CLOSED, CLOSE_SECONDS, frames.META_LIMIT))
            self._count(answer)
            child.wait(CLOSE_SECONDS)
        except Late:
            words = f"its process did not close within {duration_text(CLOSE_SECONDS)} and was killed"
            raise StageError(self._label, words) from None
        except Gone:
            raise StageLost(self._label, f"its process {child.end(GRACE_SECONDS)} while it was closing") from None
        except Garbled as error:
            raise StageLost(self._label, f"its process said what cannot be understood: {error}") from error
        finally:
            child.end()
        if answer.failure is not None:
            raise self._failed(answer.failure, "")

    def __call__(self, mail: Mail) -> Mail | Verdict | tuple[Mail, ...]:
        """Ask the stage.

        Raises:
            BudgetExceeded: the mail took too long, too much memory, or grew too much.
            StageLost: the process ended.
            StageError: the stage raised, or answered what is no answer.
        """
        with self._lock:
            octets = bytes(mail.message)
            place = str(mail.origin)
            child = self._child = self._child or self._started(place)
            try:
                answer, blobs = self._asked(child, mail, octets)
                self._count(answer)
                if answer.failure is not None:
                    raise self._failed(answer.failure, place)
                return self._made(answer, blobs, mail, octets)
            except Garbled as error:
                self._end()
                raise StageLost(self._label, f"it said what cannot be understood: {error}", place) from error
            except BudgetExceeded:
                # what is left of it after that is nothing to build on
                self._end()
                raise
            except BaseException as error:
                if not isinstance(error, StageError):
                    self._end()  # an answer that is half read would be taken for that of the next mail
                raise

    # -- one mail

    def _asked(self, child: ChildProcess, mail: Mail, octets: bytes) -> tuple[Answer, Iterator[bytes]]:
        budget, place = self._budget, str(mail.origin)
        most = ANSWER_LIMIT if budget.expansion is None else int(budget.expansion * len(octets)) + frames.META_LIMIT
        packed = frames.pack_mail(mail, octets, [self._dumped(note) for note in mail.notes])
        child.expect_within(budget.time)
        try:
            child.send(frames.MAIL, packed)
            return frames.read_answer(child.receive(frames.ANSWER, None, most))
        except Late:
            self._end()
            words = f"was stopped after {duration_text(budget.time or 0)} (its budget.time)"
            raise BudgetExceeded(self._label, words, place, "time") from None
        except TooLong as error:
            raise self._grown(error.size, octets, place) from None
        except Gone:
            ended = self._end(GRACE_SECONDS)
            if ended == f"was killed by {signal.SIGXCPU.name}":
                words = f"took more processor time than {duration_text(budget.time or 0)} allow (its budget.time)"
                raise BudgetExceeded(self._label, words, place, "time") from None
            raise StageLost(self._label, f"its process {ended} before it had answered", place) from None

    def _made(
        self, answer: Answer, blobs: Iterator[bytes], mail: Mail, octets: bytes
    ) -> Mail | Verdict | tuple[Mail, ...]:
        size = sum(each.size or 0 for each in answer.mails)
        if self._budget.expansion is not None and size > self._budget.expansion * len(octets):
            raise self._grown(size, octets, str(mail.origin))
        mails = [self._mail(each, blobs, mail) for each in answer.mails]
        verdict = None
        if answer.verdict is not None:
            notes = _notes(answer.verdict.notes, blobs, mail)
            verdict = frames.verdict_back(answer.verdict, notes)
        for _ in blobs:
            raise Garbled("an answer holds more than it says")
        if verdict is not None:
            return verdict
        if answer.is_several:
            return tuple(mails)
        if len(mails) != 1:
            raise Garbled("an answer is neither a mail nor a verdict")
        return mails[0]

    def _mail(self, back: MailBack, blobs: Iterator[bytes], mail: Mail) -> Mail:
        message = mail.message
        if back.size is not None:
            message = parse(_next(blobs), limits=self._limits)
        notes = _notes(back.notes, blobs, mail)
        if len(notes) == len(mail.notes) and all(map(_is_same, notes, mail.notes)):
            notes = mail.notes
        if message is mail.message and back.envelope is None and notes is mail.notes:
            return mail
        return replace(mail, message=message, envelope=back.envelope or mail.envelope, notes=notes)

    def _dumped(self, note: object) -> bytes:
        try:
            return frames.dump_note(note)
        except Exception as error:  # noqa: BLE001 - another stage's note: this one does without it
            if type(note) not in self._told and self._services is not None:
                self._told.add(type(note))
                self._services.log.warning("a note %s stays behind: %s", type(note).__name__, error)
            return b""

    def _count(self, answer: Answer) -> None:
        if self._services is not None:
            for name, value in answer.metrics.items():
                self._services.metrics.count(name, value)

    def _grown(self, size: int, octets: bytes, place: str) -> BudgetExceeded:
        most = self._budget.expansion
        words = f"made {size} octets of {len(octets)}, more than "
        words += f"{ANSWER_LIMIT} in all" if most is None else f"{most:g} times as many (its budget.expansion)"
        return BudgetExceeded(self._label, words, place, "expansion")

    def _failed(self, failure: Failure, place: str) -> StageError:
        memory = self._budget.memory
        if failure.is_memory and memory is not None:
            words = f"took more than {memory} octets of memory (its budget.memory)"
            return BudgetExceeded(self._label, words, place, "memory")
        error = StageError(self._label, failure.words, place)
        if failure.trace:
            error.add_note(failure.trace)
        return error

    # -- the process

    def _started(self, place: str) -> ChildProcess:
        """A process that is ready.

        Raises:
            DoesNotOpen, StageError: there is none.
        """
        ended = ""
        for _ in range(STARTS):
            try:
                child = ChildProcess(_level_of(self._label))
            except OSError as error:
                ended = f"no process can be started for it: {error.strerror}"
                continue
            try:
                return self._opened(child, place)
            except Gone:
                ended = f"its process {child.end(GRACE_SECONDS)} before the stage was open"
            except Late:
                child.end()
                words = f"it did not open within {duration_text(START_SECONDS)}"
                raise StageError(self._label, words, place or self._recipe.key) from None
            except BaseException:
                child.end()
                raise
        raise StageLost(self._label, ended, place or self._recipe.key)

    def _opened(self, child: ChildProcess, place: str) -> ChildProcess:
        recipe = self._recipe
        is_rehearsal = self._services is not None and self._services.is_rehearsal
        begin = Begin(
            recipe.rebuild, recipe.name, recipe.options, self._budget, self._limits, self._label, child.level,
            is_rehearsal,
        )  # fmt: skip
        child.expect_within(START_SECONDS)
        child.send(frames.BEGIN, pickle.dumps(begin, 5))
        try:
            answer, _ = frames.read_answer(child.receive(frames.READY, None, frames.META_LIMIT))
        except (Garbled, TooLong) as error:
            raise StageLost(self._label, f"its process said what cannot be understood: {error}", place) from error
        if (failure := answer.failure) is None:
            return child
        words = f"it does not open: {failure.words}"
        if failure.is_ours and not place:
            raise DoesNotOpen(failure.words, failure.exit_code)
        raise StageError(self._label, words, place or self._recipe.key)

    def _end(self, grace: float = 0) -> str:
        child, self._child = self._child, None
        return "" if child is None else child.end(grace)


def _level_of(label: str) -> int:
    return logging.getLogger(f"{_LOGGERS}{label}").getEffectiveLevel()


def _is_same(one: object, other: object) -> bool:
    return one is other


def _next(blobs: Iterator[bytes]) -> bytes:
    for blob in blobs:
        return blob
    raise Garbled("an answer is shorter than it says")


def _notes(numbers: tuple[int, ...], blobs: Iterator[bytes], mail: Mail) -> tuple[object, ...]:
    notes = []
    for number in numbers:
        if number >= len(mail.notes):
            raise Garbled("an answer names a note that was never there")
        notes.append(mail.notes[number] if number >= 0 else frames.load_note(_next(blobs)))
    return tuple(notes)
