"""docs/tutorial.md, typed as it stands: every command runs, and says what the page says it does."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parent.parent / "docs" / "tutorial.md"
MARK = "-- the next command --"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# (\S+)(, at its end)?\n")


@dataclass(frozen=True)
class Command:
    """What is typed, and what is said to come of it."""

    line: str
    says: tuple[str, ...]


@dataclass(frozen=True)
class File:
    """What is written into a file."""

    path: str
    text: str
    at_end: bool


def steps_of(page: str) -> list[Command | File]:
    """What a reader does, in order."""
    steps: list[Command | File] = []
    for language, block in _BLOCK.findall(page):
        if language == "console":
            for typed in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
                line, *says = typed.splitlines()
                steps.append(Command(line, tuple(says)))
        else:
            found = _FILE.match(block)
            assert found, f"a block of {language} that says no file: {block[:60]}"
            steps.append(File(found[1], block[found.end() :], bool(found[2])))
    return steps


def script_of(steps: list[Command | File], hidden: str) -> str:
    """All of it as one script of the shell; `hidden` is done behind the first command."""
    lines = ["set -e"]
    for number, step in enumerate(steps):
        if isinstance(step, File):
            lines += [f"cat {'>>' if step.at_end else '>'} {shlex.quote(step.path)} <<'END-OF-FILE'", f"{step.text}END-OF-FILE"]
        else:
            lines += [f"echo {shlex.quote(MARK)}", step.line]
        if number == 0:
            lines.append(hidden)
    return "\n".join(lines) + "\n"


def pattern_of(says: tuple[str, ...]) -> str:
    """A regular expression for what is said, blanks at the ends of lines aside."""
    pieces = [".*?".join(map(re.escape, line.split("…"))) for line in says]
    return r"\s*\n".join(pieces) + r"\s*"


STEPS = steps_of(PAGE.read_text("utf-8"))


def test_it_takes_at_most_fifteen_commands():
    commands = [step for step in STEPS if isinstance(step, Command)]
    assert len(commands) == 13, "say the number at the top of the page"
    assert len(commands) <= 15
    assert not any(sign in step.line for step in commands for sign in (";", "&&", "|"))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_command_runs_and_says_what_the_page_says(tmp_path: Path):
    pytest.importorskip("hatchling")
    place = tmp_path / "an empty directory"
    place.mkdir()
    # the new environment sees what this one has, in place of the network; the programs that pip would bring are made
    helper = tmp_path / "helper.py"
    helper.write_text(
        "import site, stat, sys\nfrom pathlib import Path\n"
        f"outer = {[p for p in sys.path if p.endswith('site-packages')] + [str(PAGE.parent.parent)]!r}\n"
        "own = next(Path('.venv').glob('lib/python*/site-packages'))\n"
        "own.joinpath('outer.pth').write_text(''.join(f'import site; site.addsitedir({each!r})\\n' for each in outer))\n"
        "for name in ('mailpipe', 'pytest'):\n"
        "    path = Path('.venv/bin', name)\n"
        "    path.write_text(f'#!/bin/sh\\nexec python -m {name} \"$@\"\\n')\n"
        "    path.chmod(0o755)\n"
    )
    script = script_of(STEPS, f"{shlex.quote(sys.executable)} {shlex.quote(str(helper))}")
    dropped = ("PIP_", "PYTHON", "PYTEST", "VIRTUAL_ENV", "MAILPIPE")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    environment |= {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1",
        "PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "NO_COLOR": "1", "COLUMNS": "200",
    }  # fmt: skip
    shell = shutil.which("sh") or "/bin/sh"
    done = subprocess.run([shell], input=script, env=environment, cwd=place, capture_output=True, text=True, timeout=280)
    commands = [step for step in STEPS if isinstance(step, Command)]
    outputs = done.stdout.split(f"{MARK}\n")[1:]
    last = commands[len(outputs) - 1].line if outputs else "nothing"
    assert done.returncode == 0, f"$ {last}\n{outputs[-1:]}\n{done.stderr}"
    assert len(outputs) == len(commands)
    for command, output in zip(commands, outputs, strict=True):
        if command.says:
            plain = re.sub(r"[ \t]+$", "", output, flags=re.MULTILINE)
            assert re.fullmatch(pattern_of(command.says), plain, re.DOTALL), f"$ {command.line}\n{output}"
