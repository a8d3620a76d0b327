"""What a pipeline and a stage in a process of its own say to each other: frames, and what stands in them.

    frame(MAIL, pack_mail(mail))                     # to the stage: pickled, for it comes from us
    answer = read_answer(octets)                     # back: JSON with the types of `Answer`, octets behind it
    note = load_note(octets)                         # a note: a dataclass of a module that is imported already

What comes back was made by a process that runs other people's code. It is typed and bounded so that an *accident* there
(memory overwritten, something else written into the pipe, an object that cannot travel) ends in an error here and in
nothing else. It is no wall against an attacker: who can run code in that process can do so as the same user.

Never here: processes and clocks.
"""

import importlib
import io
import json
import pickle
import struct
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, is_dataclass
from enum import Enum
from typing import Any

from pydantic import TypeAdapter, ValidationError

from mailpipe.limits import Limits
from mailpipe.pipeline.access import Budget
from mailpipe.pipeline.mail import Mail, Origin
from mailpipe.pipeline.verdict import Decision, Verdict
from mailpipe.smtp.envelope import Envelope
from mailpipe.status import EnhancedStatus

BEGIN, MAIL, READY, LOG, ANSWER, CLOSED = b"B", b"M", b"R", b"L", b"A", b"C"
"""The kinds of frame: the first two go to the stage, the others come back."""
HEAD = struct.Struct(">cQ")
"""Kind, and octets that follow."""
META_LIMIT = 64 << 20
"""LIMIT: octets of an answer beside the messages in it; a stage that leaves endless notes would fill our memory."""

_META = struct.Struct(">I")
_PLAIN = {
    "builtins": {"set", "frozenset", "bytearray", "complex"},
    "datetime": {"datetime", "date", "time", "timedelta", "timezone"},
    "decimal": {"Decimal"},
    "fractions": {"Fraction"},
    "pathlib": {"Path", "PosixPath", "PurePath", "PurePosixPath"},
    "pathlib._local": {"Path", "PosixPath", "PurePath", "PurePosixPath"},  # their name for themselves in Python 3.13
    "ipaddress": {"IPv4Address", "IPv6Address", "IPv4Network", "IPv6Network"},
    "uuid": {"UUID"},
    "collections": {"OrderedDict"},
}


class Garbled(Exception):
    """What came is no frame, or not what may stand in one."""


@dataclass(frozen=True, slots=True)
class Begin:
    """The first frame, pickled.

    Attributes:
        rebuild: makes the registry, pickled.
        name: of the stage.
        options: pickled.
        budget: of each mail.
        limits: of understanding.
        label: what the step is called in its log.
        level: below this nobody listens to the log.
        is_rehearsal: see `Services`.
    """

    rebuild: bytes
    name: str
    options: bytes
    budget: Budget
    limits: Limits
    label: str
    level: int
    is_rehearsal: bool = False


@dataclass(frozen=True, slots=True)
class MailBack:
    """A mail in an answer.

    Attributes:
        size: octets of its message among those behind the answer; None where it is the one that was sent.
        envelope: None where it is the one that was sent.
        notes: numbers of notes that were sent (from 0), or minus the octets of a new one behind the answer.
    """

    size: int | None = None
    envelope: Envelope | None = None
    notes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class VerdictBack:
    """A verdict in an answer; notes as in `MailBack`."""

    decision: Decision
    reason: str
    status: str
    code: int
    notes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """What the stage raised.

    Attributes:
        words: type and words of the exception.
        is_memory: the memory was used up.
        is_ours: it is a `MailpipeError`, whose words say it all.
        exit_code: that of the error, 0 for another.
        trace: where, for a person.
    """

    words: str
    is_memory: bool = False
    is_ours: bool = False
    exit_code: int = 0
    trace: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a stage says: mails, a verdict or a failure.

    Attributes:
        mails: in order; () may also be an answer.
        verdict, failure: None for none.
        metrics: what was counted since the last one.
        is_several: the mails are several, however many there are.
    """

    mails: tuple[MailBack, ...] = ()
    verdict: VerdictBack | None = None
    failure: Failure | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    is_several: bool = False


_ANSWERS = TypeAdapter(Answer)
_LOGS = TypeAdapter(tuple[str, int, str])


def frame(kind: bytes, *pieces: bytes) -> list[bytes]:
    """The pieces of a frame, to be written one after the other."""
    return [HEAD.pack(kind, sum(map(len, pieces))), *pieces]


# -- to the stage


def pack_mail(mail: Mail, octets: bytes, notes: Sequence[bytes]) -> bytes:
    """A mail for the stage, with notes that `dump_note` made; b"" stands for one that cannot travel."""
    return pickle.dumps((octets, mail.envelope, mail.origin, tuple(notes)), 5)


def unpack_mail(packed: bytes | bytearray) -> tuple[bytes, Envelope, Origin, tuple[bytes, ...]]:
    """The same, in the process of the stage."""
    octets, envelope, origin, notes = pickle.loads(packed)  # our own parent's, by its own pipe
    return octets, envelope, origin, notes


def dump_note(note: object) -> bytes:
    """A note by itself.

    Raises:
        Exception: it cannot travel; whatever its `__reduce__` raises.
    """
    return pickle.dumps(note, 5)


# -- and back


def write_answer(answer: Answer, blobs: Sequence[bytes] = ()) -> list[bytes]:
    """The pieces of an answer: the octets of each mail, then of its new notes, in the order of the answer."""
    meta = _ANSWERS.dump_json(answer, exclude_defaults=True)
    return [_META.pack(len(meta)), meta, *blobs]


def read_answer(octets: bytes) -> tuple[Answer, Iterator[bytes]]:
    """An answer, and its blobs by their sizes.

    Raises:
        Garbled: it is none; also while the blobs are taken.
    """
    view = memoryview(octets)
    try:
        (length,) = _META.unpack_from(view)
        answer = _ANSWERS.validate_json(view[_META.size : _META.size + length].tobytes())
    except (struct.error, ValidationError, UnicodeDecodeError) as error:
        raise Garbled(str(error)) from error
    return answer, _blobs(answer, view[_META.size + length :])


def _sizes(answer: Answer) -> Iterator[int]:
    for mail in answer.mails:
        yield from () if mail.size is None else (mail.size,)
        yield from (-number for number in mail.notes if number < 0)
    if answer.verdict is not None:
        yield from (-number for number in answer.verdict.notes if number < 0)


def _blobs(answer: Answer, rest: memoryview) -> Iterator[bytes]:
    at = 0
    for size in _sizes(answer):
        if not 0 <= size <= len(rest) - at:
            raise Garbled("an answer is shorter than it says")
        yield rest[at : at + size].tobytes()
        at += size
    if at != len(rest):
        raise Garbled("an answer is longer than it says")


def verdict_back(verdict: VerdictBack, notes: tuple[object, ...]) -> Verdict:
    """The verdict itself.

    Raises:
        Garbled: it says two things.
    """
    try:
        status = EnhancedStatus.parse(verdict.status)
    except ValueError as error:
        raise Garbled(str(error)) from error
    if verdict.code // 100 != status.status_class:
        raise Garbled(f"a verdict has reply code {verdict.code} and status {status}")
    return Verdict(verdict.decision, verdict.reason, status, verdict.code, notes)


def log_line(name: str, level: int, text: str) -> bytes:
    """One line of a log."""
    return json.dumps((name, level, text)).encode()


def read_log_line(octets: bytes) -> tuple[str, int, str]:
    """Logger, level and text.

    Raises:
        Garbled: it is none.
    """
    try:
        return _LOGS.validate_json(octets)
    except ValidationError as error:
        raise Garbled(str(error)) from error


class _Notes(pickle.Unpickler):
    """Makes dataclasses and enumerations of modules that are here already, and plain values; nothing is called else."""

    def find_class(self, module: str, name: str) -> Any:
        if name in _PLAIN.get(module, ()):
            return getattr(importlib.import_module(module), name)
        if module not in sys.modules and module.startswith("mailpipe."):
            importlib.import_module(module)  # ours do nothing when they are imported
        found: Any = sys.modules.get(module)
        for step in name.split("."):
            found = getattr(found, step, None)
        if isinstance(found, type) and (is_dataclass(found) or issubclass(found, Enum)):
            return found
        raise pickle.UnpicklingError(f"{module}.{name} is no dataclass of a module that the pipeline has imported")


def load_note(octets: bytes) -> object:
    """A note that `dump_note` made.

    Raises:
        Garbled: it is something else than a dataclass or an enumeration made of such and of plain values.
    """
    try:
        return _Notes(io.BytesIO(octets)).load()
    except Exception as error:
        # a constructor may raise anything, too
        raise Garbled(f"a note cannot be taken over: {error}") from error
