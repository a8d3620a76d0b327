import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import mailpipe as package
from mailpipe.cli.main import main

Run = Callable[..., object]


def test_the_version_is_printed(mailpipe: Run) -> None:
    ended = mailpipe("--version")
    assert (ended.code, ended.text) == (0, f"mailpipe {package.__version__}\n")


def test_python_m_mailpipe_is_the_same_command(process: Run) -> None:
    ended = process("--version")
    assert (ended.code, ended.text) == (0, f"mailpipe {package.__version__}\n")


def test_the_version_comes_without_any_slow_import() -> None:
    code = (
        "import sys; from mailpipe.cli.main import main; main(['--version']); "
        "slow = {'typer', 'rich', 'pydantic', 'chardet', 'email', 'mailpipe.message', 'asyncio'} & set(sys.modules); "
        "sys.exit(f'imported: {slow}' if slow else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=30).returncode == 0


def test_the_help_comes_without_pydantic_and_the_model() -> None:
    code = (
        "import sys; from mailpipe.cli.main import main; main(['--help']); "
        "slow = {'pydantic', 'chardet', 'email.parser', 'mailpipe.message', 'asyncio'} & set(sys.modules); "
        "sys.exit(f'imported: {slow}' if slow else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=30, stdout=subprocess.DEVNULL)
    assert done.returncode == 0


def processor_seconds(*arguments: str) -> float:
    """The least that a process of these arguments needed of the processor, which others may be using too."""
    used = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *arguments], check=True, timeout=60, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(used)


def test_the_first_answer_comes_quickly() -> None:
    # A bare interpreter needs 15 to 20 ms: the version is to come within 150 ms, the help within 400 ms.
    bare = max(0.01, processor_seconds("-c", "pass"))
    assert processor_seconds("-m", "mailpipe", "--version") < 7.5 * bare
    assert processor_seconds("-m", "mailpipe", "--help") < 30 * bare


def test_without_a_verb_the_help_is_shown_and_it_is_a_usage_error(mailpipe: Run) -> None:
    ended = mailpipe()
    assert ended.code == 64
    assert "Usage: mailpipe" in ended.text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["shwo", "x"], "no such command 'shwo'"),
        (["show"], "missing argument 'MESSAGE'"),
        (["show", "x", "--nope"], "no such option: --nope"),
        (["run", "p.toml", "--workers", "many"], "--workers"),
        (["run", "p.toml", "--workers", "0"], "--workers"),
        (["queue", "nope"], "no such command 'nope'"),
        (["send", "x", "--from", "a@example.org"], "--to"),
        (["queue", "list"], "--queue DIR"),
        (["queue", "hold", "--queue", "x"], "ID"),
    ],
)
def test_a_usage_error_is_one_line_and_64(mailpipe: Run, arguments: list[str], words: str) -> None:
    ended = mailpipe(*arguments)
    assert ended.code == 64
    assert ended.err.startswith("mailpipe") and ended.err.count("\n") == 1
    assert words.lower() in ended.err.lower()
    assert ended.out == b""


def test_a_near_verb_is_named(mailpipe: Run) -> None:
    assert "validate" in mailpipe("valdate", "x").err


def test_a_bug_shows_no_traceback_unless_asked(mailpipe: Run, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    def boom(_name: str) -> bytes:
        raise ValueError("boom \x1b[31m")

    monkeypatch.setattr("mailpipe.cli.show.read_octets", boom)
    ended = mailpipe("show", "message.eml")
    assert ended.code == 70
    assert ended.err == "mailpipe: internal error: ValueError: boom ; MAILPIPE_DEBUG=1 shows where\n"
    monkeypatch.setenv("MAILPIPE_DEBUG", "1")
    assert "Traceback" in mailpipe("show", "message.eml").err


def test_ctrl_c_is_130(mailpipe: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_name: str) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr("mailpipe.cli.show.read_octets", interrupt)
    assert mailpipe("show", "message.eml").code == 130


def test_a_reader_that_goes_away_is_no_trouble(folder: Path) -> None:
    (folder / "long.eml").write_bytes(b"Subject: x\r\n" + b"X: y\r\n" * 200_000)
    reader, writer = os.pipe()
    child = subprocess.Popen(
        [sys.executable, "-m", "mailpipe", "show", "long.eml", "--raw"], stdout=writer, stderr=subprocess.PIPE
    )
    os.close(writer)
    os.close(reader)
    _, err = child.communicate(timeout=60)
    assert (child.returncode, err) == (141, b"")


@pytest.mark.parametrize(("verb", "code"), [("run", 141), ("filter", 75)])
def test_a_reader_that_goes_away_from_the_help_is_no_error_of_ours(verb: str, code: int) -> None:
    reader, writer = os.pipe()
    child = subprocess.Popen([sys.executable, "-m", "mailpipe", verb, "--help"], stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    os.close(reader)
    _, err = child.communicate(timeout=60)
    assert child.returncode == code and b"internal error" not in err


def test_a_full_standard_output_is_said(folder: Path, process: Run) -> None:
    with Path("/dev/full").open("wb") as full:
        ended = process("show", "message.eml", stdout=full)
    assert ended.code == 75
    assert "disk is full" in ended.err
    assert "Traceback" not in ended.err and "Exception ignored" not in ended.err


def test_a_closed_standard_output_is_said(folder: Path, process: Run) -> None:
    ended = process("show", "message.eml", preexec_fn=lambda: os.close(1))
    assert ended.code == 74
    assert "Traceback" not in ended.err and "Exception ignored" not in ended.err


def test_a_closed_standard_error_does_not_change_the_exit_code(folder: Path) -> None:
    code = (
        "import os, sys; os.close(2); os.execv(sys.executable, [sys.executable, '-m', 'mailpipe', 'show', 'none.eml'])"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 66


def test_completion_answers(monkeypatch: pytest.MonkeyPatch, process: Run) -> None:
    for words, number, expected in (("mailpipe va", 1, "validate"), ("mailpipe plugins decode", 2, "decode-mime")):
        environment = dict(
            os.environ,
            _MAILPIPE_COMPLETE="complete_bash",
            COMP_WORDS=words,
            COMP_CWORD=str(number),
        )
        assert expected in process(env=environment).text.split()


def test_completion_can_be_shown(process: Run) -> None:
    # --show-completion asks which shell called it, and under make that is sh
    environment = dict(os.environ, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert "_MAILPIPE_COMPLETE" in process("--show-completion", "bash", env=environment).text


def test_colours_are_for_terminals_and_no_color_is_honoured(mailpipe: Run, folder: Path) -> None:
    assert b"\x1b[" not in mailpipe("show", "message.eml").out


def test_main_returns_in_place_of_leaving() -> None:
    assert main(["show", "--nope"]) == 64
