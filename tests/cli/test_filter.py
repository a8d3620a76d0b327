"""What `filter` promises a mail server: 75 for everything that is our own fault, and one line that begins with a status."""

import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mailpipe.cli.filter import decision
from mailpipe.pipeline.mail import Origin
from mailpipe.pipeline.outcome import Ending, Outcome
from mailpipe.status import EnhancedStatus

Run = Callable[..., object]
ENVELOPE = ("-f", "ann@example.org", "--", "bob@example.net")
STAGE = '''\
import os, sys
from mailpipe import Options, Stage, Verdict


class Weird(BaseException):
    pass


class Act(Stage):
    """Does what the test says."""

    name = "act"

    class Options(Options):
        """One."""

        code: str
        """Python."""

    def process(self, mail):
        scope = dict(globals(), mail=mail)
        exec(self.options.code, scope)
        return scope.get("answer", mail)


def register(registry):
    registry.add_stage(Act)
'''


@pytest.fixture
def act(folder: Path) -> Callable[[str], str]:
    """Make filter.toml with one stage that runs the given code."""
    (folder / "plugins").mkdir()
    (folder / "plugins" / "act.py").write_text(STAGE)

    def make(code: str, sink: str = 'use = "eml"\ndirectory = "out"', more: str = "") -> str:
        (folder / "filter.toml").write_text(
            f"[[stage]]\nuse = \"act\"\ncode = '''{code}'''\n[sink]\n{sink}\n[run]\njournal = false\n{more}"
        )
        return "filter.toml"

    return make


@pytest.fixture
def run_filter(mailpipe: Run, process: Run, folder: Path) -> Run:
    """Filter message.eml, in a process of its own where the test changes something about the process."""
    message = (folder / "message.eml").read_bytes()

    def run(*arguments: object, octets: bytes = message, **options: object) -> object:
        if options:
            return process("filter", *arguments, octets=octets, **options)
        return mailpipe("filter", *arguments, octets=octets)

    return run


def must_be_our_fault(ended: object) -> None:
    assert ended.code == 75, ended.err
    assert re.match(r"4\.\d+\.\d+ \S", ended.err), ended.err
    assert "Traceback" not in ended.err and "Exception ignored" not in ended.err


# -- decisions ---------------------------------------------------------------------------------------------------------


def test_a_message_that_passes_goes_to_the_sink(run_filter: Run, act: Callable[..., str], folder: Path) -> None:
    ended = run_filter(act("pass"), *ENVELOPE)
    assert (ended.code, ended.out, ended.err) == (0, b"", "")
    written = [path for path in (folder / "out").rglob("*") if path.is_file()]
    assert [path.read_bytes() for path in written] == [(folder / "message.eml").read_bytes()]


def test_stdout_gets_the_message_and_nothing_else(run_filter: Run, act: Callable[..., str], folder: Path) -> None:
    ended = run_filter(act("print('chatter'); print('more', file=sys.stderr)"), "--stdout", *ENVELOPE)
    assert (ended.code, ended.out, ended.err) == (0, (folder / "message.eml").read_bytes(), "")


def test_a_from_line_of_the_delivery_agent_is_no_part_of_the_message(
    mailpipe: Run, act: Callable[..., str], folder: Path
) -> None:
    octets = (folder / "message.eml").read_bytes()
    line = b"From ann@example.org  Mon Nov 23 10:00:00 2026\n"
    assert mailpipe("filter", act("pass"), "--stdout", *ENVELOPE, octets=line + octets).out == octets


def test_a_dropped_message_is_taken(run_filter: Run, act: Callable[..., str]) -> None:
    ended = run_filter(act("answer = Verdict.drop('seen before')"), *ENVELOPE)
    assert (ended.code, ended.err) == (0, "")


def test_a_quarantined_message_is_taken(run_filter: Run, act: Callable[..., str], folder: Path) -> None:
    ended = run_filter(act("answer = Verdict.quarantine('look at it')"), *ENVELOPE)
    assert (ended.code, ended.err) == (0, "")
    assert any((folder / "quarantine").rglob("*"))


def test_a_rejected_message_is_77_with_its_status(run_filter: Run, act: Callable[..., str]) -> None:
    ended = run_filter(act("answer = Verdict.reject('no executables, please')"), *ENVELOPE)
    assert (ended.code, ended.err) == (77, "5.7.1 no executables, please\n")


def test_a_message_that_is_none_is_65(run_filter: Run, act: Callable[..., str]) -> None:
    ended = run_filter(act("answer = Verdict.reject('not MIME', status='5.6.0')"), *ENVELOPE)
    assert (ended.code, ended.err) == (65, "5.6.0 not MIME\n")


def test_a_message_beyond_the_limit_is_65(run_filter: Run, act: Callable[..., str]) -> None:
    ended = run_filter(act("pass", more="[limits]\nmessage_size = 10\n"), *ENVELOPE)
    assert ended.code == 65
    assert ended.err.startswith("5.3.4 ")


def test_a_deferred_message_is_75_with_its_status(run_filter: Run, act: Callable[..., str]) -> None:
    ended = run_filter(act("answer = Verdict.defer('come again')"), *ENVELOPE)
    assert (ended.code, ended.err) == (75, "4.7.1 come again\n")


def test_a_refusal_of_the_next_hop_is_69(run_filter: Run, act: Callable[..., str], peer: object) -> None:
    peer.answers["RCPT"] = "550 5.1.1 no such user"
    ended = run_filter(act("pass", sink=f'use = "smtp"\nhost = "127.0.0.1"\nport = {peer.port}'), *ENVELOPE)
    assert ended.code == 69
    assert ended.err.startswith("5.1.1 ") and "no such user" in ended.err


def test_a_transient_refusal_of_the_next_hop_is_75(run_filter: Run, act: Callable[..., str], peer: object) -> None:
    peer.answers["RCPT"] = "451 4.3.2 not now"
    must_be_our_fault(run_filter(act("pass", sink=f'use = "smtp"\nhost = "127.0.0.1"\nport = {peer.port}'), *ENVELOPE))


def test_a_queue_takes_what_the_next_hop_cannot_take_now(
    run_filter: Run, act: Callable[..., str], closed_port: int
) -> None:
    sink = f'use = "smtp"\nhost = "127.0.0.1"\nport = {closed_port}'
    pipeline = act("pass", sink=sink, more='[queue]\ndirectory = "queue"\n')
    assert run_filter(pipeline, *ENVELOPE).code == 0


def test_sendmail_gets_the_message_with_its_envelope(run_filter: Run, act: Callable[..., str], folder: Path) -> None:
    script = folder / "sendmail"
    script.write_text('#!/bin/sh\nprintf "%s\\n" "$@" > args\ncat > taken\n')
    script.chmod(0o755)
    pipeline = act("pass", sink=f'use = "sendmail"\ncommand = ["{script}", "-G", "-i"]')
    ended = run_filter(pipeline, "--sendmail", "-f", "", "--", "bob@example.net", "-odd@example.net")
    assert ended.code == 0, ended.err
    assert (folder / "taken").read_bytes() == (folder / "message.eml").read_bytes()
    assert (folder / "args").read_text().split("\n")[:2] == ["-G", "-i"]
    assert (folder / "args").read_text().split("\n")[-3:-1] == ["bob@example.net", "-odd@example.net"]


def test_the_reason_cannot_bring_a_second_line_or_another_status(run_filter: Run, act: Callable[..., str]) -> None:
    ended = run_filter(act("answer = Verdict.reject('2.0.0 fine\\n5.0.0 or not \\x1b[31m')"), *ENVELOPE)
    assert ended.code == 77
    assert ended.err.startswith("5.7.1 2.0.0 fine 5.0.0 or not") and ended.err.count("\n") == 1


@pytest.mark.parametrize("ending", list(Ending))
def test_the_status_never_says_anything_else_than_the_code(ending: Ending) -> None:
    for status in (EnhancedStatus(2, 0, 0), EnhancedStatus(4, 4, 1), EnhancedStatus(5, 1, 1), EnhancedStatus(5, 6, 0)):
        code, line = decision(Outcome(Origin("stdin", "-"), ending, status, "why"))
        assert code in (0, 65, 69, 75, 77)
        if code == 0:
            assert line == ""
        else:
            assert line.startswith("4." if code == 75 else "5.")


# -- our own faults ----------------------------------------------------------------------------------------------------


def test_a_missing_pipeline_file_is_our_fault(run_filter: Run) -> None:
    must_be_our_fault(run_filter("none.toml", *ENVELOPE))


def test_a_pipeline_file_that_is_no_toml_is_our_fault(run_filter: Run, folder: Path) -> None:
    (folder / "bad.toml").write_text("[sink\n")
    must_be_our_fault(run_filter("bad.toml", *ENVELOPE))


def test_a_wrong_option_is_our_fault(run_filter: Run, act: Callable[..., str]) -> None:
    must_be_our_fault(run_filter(act("pass", sink='use = "smtp"\nhost = "x"\nport = "many"'), *ENVELOPE))


def test_an_unknown_stage_is_our_fault(run_filter: Run, folder: Path) -> None:
    (folder / "bad.toml").write_text('[[stage]]\nuse = "nope"\n[sink]\nuse = "discard"\n')
    must_be_our_fault(run_filter("bad.toml", *ENVELOPE))


def test_a_plugin_that_cannot_be_loaded_is_our_fault(run_filter: Run, act: Callable[..., str], folder: Path) -> None:
    pipeline = act("pass")
    for words in ("1 / 0", "import sys; sys.exit(0)", "raise KeyboardInterrupt", "def broken(", "import nowhere"):
        (folder / "plugins" / "other.py").write_text(words + "\n")
        must_be_our_fault(run_filter(pipeline, *ENVELOPE))


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("p.toml",),
        ("--nope",),
        ("p.toml", "--nope"),
        ("p.toml", "-f"),
        ("p.toml", "bob@example.net"),
        ("p.toml", "-f", "a@example.org"),
        ("p.toml", "--stdout", "--sendmail", *ENVELOPE),
        ("-", *ENVELOPE),
        ("p.toml", "--set", "nope", *ENVELOPE),
        ("p.toml", "-v", "many"),
    ],
    ids=" ".join,
)
def test_a_usage_error_is_our_fault(run_filter: Run, folder: Path, arguments: tuple[str, ...]) -> None:
    (folder / "p.toml").write_text('[sink]\nuse = "stdout"\n' if arguments != ("p.toml",) else "")
    must_be_our_fault(run_filter(*arguments))


def test_global_options_before_the_verb_do_not_hide_it(mailpipe: Run, folder: Path) -> None:
    must_be_our_fault(mailpipe("--nope", "filter", "p.toml"))


@pytest.mark.parametrize(
    "code",
    [
        "1 / 0", "raise SystemExit(0)", "raise SystemExit('5.7.1 gone')", "raise Weird('5.7.1 gone')",
        "raise KeyboardInterrupt", "raise MemoryError", "raise BrokenPipeError", "raise RecursionError",
        "def down(): down()\ndown()", "answer = 42", "answer = None", "sys.stderr.write('5.0.0 no\\n'); 1 / 0",
        "os.write(1, b'') ; raise OSError(28, 'No space left on device', 'x')",
    ],
)  # fmt: skip
def test_a_stage_that_fails_in_any_way_is_our_fault(run_filter: Run, act: Callable[..., str], code: str) -> None:
    must_be_our_fault(run_filter(act(code), *ENVELOPE))


def test_no_input_is_our_fault(run_filter: Run, act: Callable[..., str]) -> None:
    must_be_our_fault(run_filter(act("pass"), *ENVELOPE, octets=b""))


def test_a_closed_standard_input_is_our_fault(run_filter: Run, act: Callable[..., str]) -> None:
    must_be_our_fault(run_filter(act("pass"), *ENVELOPE, preexec_fn=lambda: os.close(0)))


def test_a_closed_standard_output_is_our_fault(run_filter: Run, act: Callable[..., str]) -> None:
    must_be_our_fault(run_filter(act("pass"), "--stdout", *ENVELOPE, preexec_fn=lambda: os.close(1)))


def test_a_full_standard_output_is_our_fault(run_filter: Run, act: Callable[..., str]) -> None:
    with Path("/dev/full").open("wb") as full:
        must_be_our_fault(run_filter(act("pass"), "--stdout", *ENVELOPE, stdout=full))


def test_a_reader_that_went_away_is_our_fault(run_filter: Run, act: Callable[..., str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    must_be_our_fault(run_filter(act("pass"), "--stdout", *ENVELOPE, stdout=writer))
    os.close(writer)


def test_a_closed_standard_error_changes_nothing(run_filter: Run, act: Callable[..., str]) -> None:
    assert run_filter(act("pass"), *ENVELOPE, preexec_fn=lambda: os.close(2)).code == 0
    assert run_filter("none.toml", *ENVELOPE, preexec_fn=lambda: os.close(2)).code == 75
    assert run_filter(act("answer = Verdict.reject('no')"), *ENVELOPE, preexec_fn=lambda: os.close(2)).code == 77


def test_a_closed_port_is_our_fault(run_filter: Run, act: Callable[..., str], closed_port: int) -> None:
    sink = f'use = "smtp"\nhost = "127.0.0.1"\nport = {closed_port}'
    must_be_our_fault(run_filter(act("pass", sink=sink), *ENVELOPE))


def test_a_missing_sendmail_is_our_fault(run_filter: Run, act: Callable[..., str]) -> None:
    pipeline = act("pass", sink='use = "sendmail"\ncommand = ["/nonexistent/sendmail"]')
    must_be_our_fault(run_filter(pipeline, "--sendmail", *ENVELOPE))


@pytest.mark.parametrize(
    "module",
    [
        "typer",
        "rich",
        "pydantic",
        "mailpipe.cli.app",
        "mailpipe.pipeline.assemble",
        "mailpipe.message",
        "mailpipe.cli.output",
    ],
)
def test_a_package_that_cannot_be_imported_is_our_fault(act: Callable[..., str], module: str, folder: Path) -> None:
    code = (
        f"import sys; sys.modules[{module!r}] = None\n"
        f"from mailpipe.cli.main import main\nsys.exit(main(['filter', {act('pass')!r}, *{ENVELOPE!r}]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=b"Subject: x\n\nx", capture_output=True, timeout=60, check=False
    )
    if module != "rich":  # nothing is drawn here
        assert done.returncode == 75, done.stderr
        assert done.stderr.startswith(b"4."), done.stderr


def test_out_of_memory_is_our_fault(run_filter: Run, act: Callable[..., str]) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (400 << 20, 400 << 20))

    ended = run_filter(act("pass"), "--stdout", *ENVELOPE, octets=b"x" * (300 << 20), preexec_fn=limit)
    must_be_our_fault(ended)
    assert "out of memory" in ended.err


def test_out_of_memory_in_a_stage_is_our_fault(run_filter: Run, act: Callable[..., str]) -> None:
    must_be_our_fault(run_filter(act("bytearray(1 << 60)"), *ENVELOPE))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_is_our_fault(act: Callable[..., str], folder: Path, number: signal.Signals) -> None:
    os.mkfifo("never")
    pipeline = act("os.write(1, b'begun'); open('never').read()")
    child = subprocess.Popen(
        [sys.executable, "-m", "mailpipe", "filter", pipeline, *ENVELOPE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    child.stdin.write((folder / "message.eml").read_bytes())
    child.stdin.close()
    assert child.stdout.read(5) == b"begun"
    child.send_signal(number)
    err = child.stderr.read().decode()
    assert child.wait(timeout=60) == 75
    assert err.startswith("4.3.2 ")


def test_the_help_of_filter_can_be_read(mailpipe: Run) -> None:
    assert mailpipe("filter", "--help").code == 0
