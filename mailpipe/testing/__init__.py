"""The test kit for authors of plugins. Its fixtures are there wherever pytest runs and mailpipe is installed.

    def test_the_subject_is_tagged(build_message, run_stage):
        result = run_stage(TagSubject, build_message(subject="Tides"), word="list")
        assert result.mail.message.subject == "[list] Tides"
        result.assert_only_touched_what_it_declared()

    class TestTagSubject(StageContract):
        stage = TagSubject

docs/testing.md has the whole of it. What is named here is imported when it is first asked for: a project that has
mailpipe installed and tests something else pays for none of it.

Never here: pytest, outside of `fixtures`.
"""

import importlib
from typing import TYPE_CHECKING, Any

_HOMES = {
    "MessageBuilder": "mailpipe.testing.messages",
    "MailMaker": "mailpipe.testing.messages",
    "StageRunner": "mailpipe.testing.stages",
    "OpenStage": "mailpipe.testing.stages",
    "StageResult": "mailpipe.testing.stages",
    "Changes": "mailpipe.testing.changes",
    "PipelineRunner": "mailpipe.testing.pipelines",
    "PipelineResult": "mailpipe.testing.pipelines",
    "StageContract": "mailpipe.testing.contract",
    "hostile_messages": "mailpipe.testing.specimens",
    "ordinary_messages": "mailpipe.testing.specimens",
    "VirtualClock": "mailpipe.testing.clock",
    "Golden": "mailpipe.testing.golden",
    "ScriptedPeer": "mailpipe.testing.peer",
    "Fault": "mailpipe.testing.script",
    "Taken": "mailpipe.testing.script",
}

if TYPE_CHECKING:
    from mailpipe.testing.changes import Changes as Changes
    from mailpipe.testing.clock import VirtualClock as VirtualClock
    from mailpipe.testing.contract import StageContract as StageContract
    from mailpipe.testing.golden import Golden as Golden
    from mailpipe.testing.messages import MailMaker as MailMaker
    from mailpipe.testing.messages import MessageBuilder as MessageBuilder
    from mailpipe.testing.peer import ScriptedPeer as ScriptedPeer
    from mailpipe.testing.pipelines import PipelineResult as PipelineResult
    from mailpipe.testing.pipelines import PipelineRunner as PipelineRunner
    from mailpipe.testing.script import Fault as Fault
    from mailpipe.testing.script import Taken as Taken
    from mailpipe.testing.specimens import hostile_messages as hostile_messages
    from mailpipe.testing.specimens import ordinary_messages as ordinary_messages
    from mailpipe.testing.stages import OpenStage as OpenStage
    from mailpipe.testing.stages import StageResult as StageResult
    from mailpipe.testing.stages import StageRunner as StageRunner

__all__ = [
    "MessageBuilder",
    "MailMaker",
    "StageRunner",
    "OpenStage",
    "StageResult",
    "Changes",
    "PipelineRunner",
    "PipelineResult",
    "StageContract",
    "hostile_messages",
    "ordinary_messages",
    "VirtualClock",
    "Golden",
    "ScriptedPeer",
    "Fault",
    "Taken",
]


def __getattr__(name: str) -> Any:
    if (home := _HOMES.get(name)) is None:
        raise AttributeError(f"module 'mailpipe.testing' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
