"""How far a verb has come is drawn on a terminal, and only there."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., object]
_AT_A_TERMINAL = (
    "import os, pty, sys; "
    "pty.spawn([sys.executable, '-m', 'mailpipe', *sys.argv[1:]], lambda number: os.read(number, 65536))"
)


@pytest.fixture
def long_journal(folder: Path) -> Path:
    """A journal of 17 MB, about a hundred messages, one of which was rejected."""
    with (folder / "long.journal").open("w") as file:
        file.write('{"mailpipe_journal":1,"settings":{},"begun":"x"}\n')
        for number in range(100):
            fields = {
                "end": f"{number:032x}", "settled": 1, "root": f"{number:032x}", "key": f"mbox:a:{number}", "at": 1.0,
                "ending": "delivered" if number else "rejected", "status": "2.0.0", "reason": "x" * 170_000,
            }  # fmt: skip
            file.write(json.dumps(fields, separators=(",", ":")) + "\n")
    return folder / "long.journal"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["diff", "pipeline.toml", "pipeline.toml", "archive.mbox"], "0 of 2 messages different"),
        (["explain", "long.journal"], "mbox:a:0"),
    ],
)
def test_a_bar_is_drawn_on_a_terminal_alone(
    mailpipe: Run, folder: Path, terminal: None, long_journal: Path, arguments: list[str], words: str
) -> None:
    environment = {**os.environ, "TERM": "xterm-256color"}
    command = [sys.executable, "-c", _AT_A_TERMINAL, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, timeout=120, check=False)
    shown = done.stdout.decode("utf-8", "replace")
    assert "━" in shown and words in shown
    ended = mailpipe(*arguments)
    assert "━" not in ended.text + ended.err and words in ended.text
