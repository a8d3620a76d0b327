"""The fixtures, a plugin of pytest. pytest finds it by its entry point wherever mailpipe is installed.

    build_message   a message in one line
    make_mail       a mail of a message, with envelope and origin
    run_stage       one stage, asked
    run_pipeline    a pipeline in a folder of its own
    smtp_server     a mail server that misbehaves on script; `scripted_peer` is its other name
    virtual_clock   time that stands still; what `run_stage` gives to stages
    golden          a comparison with a file beside the test; --update-golden

What is imported at the top is imported by every run of pytest there is; the rest waits until a fixture is used.

Never here: what the fixtures give; each has its module.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from mailpipe.testing.clock import VirtualClock
    from mailpipe.testing.golden import Golden
    from mailpipe.testing.messages import MailMaker, MessageBuilder
    from mailpipe.testing.peer import ScriptedPeer
    from mailpipe.testing.pipelines import PipelineRunner
    from mailpipe.testing.script import Fault
    from mailpipe.testing.stages import StageRunner

MakePeer = Callable[..., "ScriptedPeer"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --update-golden."""
    group = parser.getgroup("mailpipe", "testing of mail filters")
    words = "write the files that golden() compares with, instead of comparing"
    group.addoption("--update-golden", action="store_true", default=False, help=words)


@pytest.fixture
def build_message() -> "MessageBuilder":
    """Makes messages; what a test does not name looks like real mail."""
    from mailpipe.testing.messages import MessageBuilder  # slow to import, and not every project needs it

    return MessageBuilder()


@pytest.fixture
def make_mail(build_message: "MessageBuilder") -> "MailMaker":
    """Makes mails of messages, octets or text."""
    from mailpipe.testing.messages import MailMaker  # as above

    return MailMaker(build_message)


@pytest.fixture
def virtual_clock() -> "VirtualClock":
    """A clock that stands at 2026-03-05 09:30 UTC until it is turned."""
    from mailpipe.testing.clock import VirtualClock  # as above

    return VirtualClock()


@pytest.fixture
def run_stage(tmp_path: "Path", virtual_clock: "VirtualClock", make_mail: "MailMaker") -> "Iterator[StageRunner]":
    """Opens a stage, asks it about a mail, closes it."""
    from mailpipe.testing.stages import StageRunner  # as above

    runner = StageRunner(tmp_path, virtual_clock, make_mail)
    yield runner
    runner.close()


@pytest.fixture
def run_pipeline(tmp_path: "Path", make_mail: "MailMaker", monkeypatch: pytest.MonkeyPatch) -> "PipelineRunner":
    """Takes mails through a pipeline in a folder of its own."""
    from mailpipe.errors import secret_variable  # as above
    from mailpipe.testing.pipelines import PipelineRunner

    def set_secret(name: str, value: str) -> None:
        monkeypatch.setenv(secret_variable(name), value)

    return PipelineRunner(tmp_path / "pipeline", make_mail, set_secret)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> "Golden":
    """Compares a value with a file in the folder "golden" beside the test."""
    from mailpipe.testing.golden import Golden  # as above

    return Golden(request.path, request.node.name, is_updating=bool(request.config.getoption("--update-golden")))


@pytest.fixture
def smtp_server() -> Iterator[MakePeer]:
    """Makes mail servers that listen until the test ends; takes what `ScriptedPeer` takes.

    A test in which a client did what no client should do fails at its end, with the words of `peer.violations`. A test
    that provokes it empties that list.
    """
    from mailpipe.testing.peer import ScriptedPeer  # as above

    made: list[ScriptedPeer] = []

    def make(*faults: "Fault", **options: Any) -> "ScriptedPeer":
        peer = ScriptedPeer(*faults, **options)
        peer.start()
        made.append(peer)
        return peer

    yield make
    for peer in made:
        peer.stop()
    violations = [words for peer in made for words in peer.violations]
    assert not violations, f"what no client should do: {'; '.join(violations)}"


@pytest.fixture
def scripted_peer(smtp_server: MakePeer) -> MakePeer:
    """The same as `smtp_server`."""
    return smtp_server
