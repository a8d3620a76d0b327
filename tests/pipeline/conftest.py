"""Tiny components for the tests of the pipeline: a source of given mails, a stage that follows a script, a sink that remembers."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from mailpipe.message import parse
from mailpipe.pipeline.component import Options, Sink, Source, Stage
from mailpipe.pipeline.envelope_rule import EnvelopeRule
from mailpipe.pipeline.mail import Mail, Origin, RawMail
from mailpipe.pipeline.outcome import Fate, Outcome, Receipt
from mailpipe.pipeline.quarantine import Quarantine
from mailpipe.pipeline.run import Engine, Line
from mailpipe.pipeline.step import OnError, Step, Way, Ways
from mailpipe.smtp.envelope import Envelope

PLUGIN = '''
"""A stage for the tests."""
import os
import signal
import mailpipe


class Script(mailpipe.Stage):
    """Does what the subject says."""

    name = "as-told"

    class Options(mailpipe.Options):
        """What it is told beside."""

        killer: str = ""
        """The subject at which the process kills itself."""
        flag: str = ""
        """A file that must not be there for it to do so."""

    def process(self, mail):
        subject = mail.message.subject or ""
        if self.options.killer and subject == self.options.killer and not os.path.exists(self.options.flag or "/nowhere"):
            if self.options.flag:
                open(self.options.flag, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        if subject.startswith("raise"):
            raise RuntimeError("as it was told")
        if subject.startswith("drop"):
            return mailpipe.Verdict.drop("as it was told")
        return mail


def register(registry):
    registry.add_stage(Script)
'''


def octets_of(subject: str, to: str = "bob@example.net", body: str = "hello") -> bytes:
    recipients = f"To: {to}\r\n" if to else ""
    return f"From: ann@example.org\r\n{recipients}Subject: {subject}\r\n\r\n{body}\r\n".encode()


def raw_of(subject: str, number: int = 0, **more: str) -> RawMail:
    octets = octets_of(subject, **more)
    return RawMail(octets, Origin("list", "nowhere", number, len(octets)))


class ListSource(Source[Options]):
    """Yields what it was given."""

    name = "list"

    def __init__(self, mails: Sequence[RawMail] = (), trouble: Exception | None = None) -> None:
        super().__init__(Options())
        self.mails, self.trouble = mails, trouble
        self.settled: list[Outcome] = []
        self.is_open = False

    def open(self) -> None:
        self.is_open = True

    def close(self) -> None:
        self.is_open = False

    def __iter__(self) -> Iterator[RawMail]:
        yield from self.mails
        if self.trouble:
            raise self.trouble

    def settle(self, outcome: Outcome) -> None:
        assert self.is_open
        self.settled.append(outcome)


class CallStage(Stage[Options]):
    """Calls a function."""

    name = "call"

    def __init__(self, function: Callable[[Mail], Any]) -> None:
        super().__init__(Options())
        self.function = function

    def process(self, mail: Mail) -> Any:
        return self.function(mail)


class MemorySink(Sink[Options]):
    """Remembers what it was given, and answers what it is told to."""

    name = "memory"

    def __init__(self, answer: Callable[[Mail], Any] | None = None) -> None:
        super().__init__(Options())
        self.mails: list[Mail] = []
        self.answer = answer

    def deliver(self, mail: Mail) -> Any:
        self.mails.append(mail)
        if self.answer is not None:
            return self.answer(mail)
        return Receipt.of_all(mail.envelope.forward_paths, Fate.DELIVERED, "2.0.0", "remembered")


@pytest.fixture
def kit() -> Any:
    """The tiny components, for tests to take from."""

    class Kit:
        list_source, call_stage, memory_sink = ListSource, CallStage, MemorySink
        raw_of, octets_of = staticmethod(raw_of), staticmethod(octets_of)

        @staticmethod
        def mail_of(subject: str, *recipients: str) -> Mail:
            return Mail(parse(octets_of(subject)), Envelope.of("ann@example.org", *recipients), Origin("list", "x"))

    return Kit


@pytest.fixture
def engine_of(tmp_path: Path) -> Callable[..., Engine]:
    """An engine of some functions and a sink."""

    def make(*functions: Callable[[Mail], Any], sink: Sink[Any] | None = None, journal: Any = None, **more: Any) -> Engine:
        stages = tuple(CallStage(function) for function in functions)
        settings = {"rule": EnvelopeRule(), "quarantine": Quarantine(tmp_path / "quarantine")} | more
        ways = Ways(Way("", tuple(map(Step.of, stages)), sink or MemorySink()))
        if "on_stage_error" in settings:
            settings["on_stage_error"] = OnError(settings["on_stage_error"])
        return Engine(Line(ways, **settings), journal)

    return make


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a plugin, an archive of twelve mails and a pipeline file with a space in its path."""
    place = tmp_path / "a place"
    (place / "plugins").mkdir(parents=True)
    (place / "plugins" / "script.py").write_text(PLUGIN)
    archive = b"".join(
        b"From ann@example.org Thu Jan  1 00:00:00 1970\n"
        + octets_of(f"mail {number}", f"r{number}@example.net").replace(b"\r\n", b"\n")
        + b"\n"
        for number in range(12)
    )
    (place / "archive.mbox").write_bytes(archive)
    (place / "pipe.toml").write_text(
        '[source]\nuse = "mbox"\npath = "archive.mbox"\n\n[[stage]]\nuse = "as-told"\n\n'
        '[sink]\nuse = "maildir"\npath = "out"\nsync = false\n'
    )
    return place
