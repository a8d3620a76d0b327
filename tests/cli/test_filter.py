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

from mailpipe.cli.filtering import Wish, decision, understood
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


def outcome_of(ending: str, status: str = "2.0.0", reason: str = "", *children: Outcome) -> Outcome:
    return Outcome(
        Origin("stdin", "-"), Ending(ending), EnhancedStatus.parse(status), reason, children=tuple(children)
    )


@pytest.mark.parametrize(
    ("endings", "code", "line"),
    [
        ([("delivered", "2.0.0"), ("dropped", "2.0.0")], 0, ""),
        ([("delivered", "2.0.0"), ("rejected", "5.7.1"), ("delivered", "2.0.0")], 77, "5.7.1 why 1"),
        ([("failed", "5.1.1"), ("rejected", "5.7.1")], 69, "5.1.1 why 0"),
        ([("rejected", "5.7.1"), ("deferred", "4.4.1"), ("failed", "5.1.1")], 75, "4.4.1 why 1"),
        ([("rejected", "5.6.0"), ("quarantined", "2.0.0")], 65, "5.6.0 why 0"),
    ],
)
def test_the_worst_of_what_was_made_of_a_mail_decides(
    endings: list[tuple[str, str]], code: int, line: str
) -> None:
    children = [outcome_of(ending, status, f"why {number}") for number, (ending, status) in enumerate(endings)]
    assert decision(outcome_of("split", "2.0.0", "made", *children)) == (code, line)
    nested = outcome_of("split", "2.0.0", "", outcome_of("delivered"), outcome_of("split", "2.0.0", "", *children))
    assert decision(nested) == (code, line)


def test_a_part_of_a_split_mail_that_is_rejected_is_told(run_filter: Run, act: Callable[..., str]) -> None:
    split = "answer = [mail.with_envelope(mail.envelope.with_forward_paths(to)) for to in ('a@b.example', 'c@d.example')]"
    reject = "answer = Verdict.reject('not for c') if 'c@' in mail.envelope.addresses[0] else mail"
    file = Path(act(split))
    file.write_text(f'[[stage]]\nuse = "act"\ncode = """{split}"""\n' + file.read_text().replace(split, reject))
    ended = run_filter(file, *ENVELOPE)
    assert (ended.code, ended.err) == (77, "5.7.1 not for c\n")


# -- the quick way through the command line ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "wish"),
    [
        (["p"], Wish("p")),
        (["p", "-f", "", "--", "-odd@x", "--stdout"], Wish("p", ("-odd@x", "--stdout"), "")),
        (["--sendmail", "-f", "-a@x", "p", "b@x"], Wish("p", ("b@x",), "-a@x", sendmail=True)),
        (["p", "--set", "a.b=1", "--set", "c.d=-2", "-vv", "-v"], Wish("p", overrides=("a.b=1", "c.d=-2"), verbose=3)),
        (["p", "--sender", "--", "--", "b@x"], Wish("p", ("b@x",), "--")),
        (["p", "--time-limit", "9", "b@x"], Wish("p", ("b@x",))), (["p", "--time-limit", "x"], None),
        (["--stdout"], None), (["p", "--help"], None), (["p", "-f"], None), (["p", "--sender=a@x", "b@x"], None),
        (["p", "-fa@x", "b@x"], None), (["p", "--stdou"], None), (["p", "-vf", "a@x"], None), (["p", "--v"], None),
    ],
)  # fmt: skip
def test_plain_command_lines_are_understood_and_others_are_left_to_typer(
    arguments: list[str], wish: Wish | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert understood(arguments) == wish
    if wish is not None:  # and typer, asked for the same, understands the same
        from mailpipe.cli import filtering
        from mailpipe.cli.app import app

        seen = []
        monkeypatch.setattr(filtering, "run", lambda wish: seen.append(wish) or 0)
        app(args=["filter", *arguments], prog_name="mailpipe", standalone_mode=False)
        assert seen == [wish]


def test_a_message_waits_for_nothing_that_it_does_not_need(process: Run, act: Callable[..., str], folder: Path) -> None:
    slow = "typer rich chardet multiprocessing sqlite3 asyncio idna ssl difflib mailpipe.pipeline.batch"
    code = f"open('seen', 'w').write(' '.join(name for name in '{slow}'.split() if name in sys.modules))"
    ended = process("filter", act(code), "--stdout", *ENVELOPE, octets=(folder / "message.eml").read_bytes())
    assert ended.code == 0, ended.err
    assert (folder / "seen").read_text() == ""


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
        "os.write(2, b'5.7.1 no\\n'); 1 / 0", "os.system('echo 5.7.1 no; echo 5.7.1 no >&2'); 1 / 0",
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
    if module not in ("rich", "typer", "mailpipe.cli.app"):  # nothing is drawn here, and the command line is plain
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


@pytest.mark.parametrize(
    "code",
    [
        "os._exit(0)", "os._exit(77)", "os.kill(os.getpid(), 9)", "os.kill(os.getpid(), 11)",
        "os.execv('/bin/true', ['true'])", "import ctypes; ctypes.CDLL(None).exit(0)",
        "os._exit(0) if os.fork() else mail", "import atexit; atexit.register(os._exit, 0)",
    ],
)  # fmt: skip
def test_a_stage_that_ends_the_process_is_our_fault(process: Run, act: Callable[..., str], code: str) -> None:
    ended = process("filter", act(code), *ENVELOPE, octets=b"Subject: x\n\nx\n")
    must_be_our_fault(ended)


@pytest.mark.parametrize(
    "code",
    ["os.fork()", "os.fork() or 1 / 0", "os.fork() or sys.exit(0)", "import multiprocessing as m; m.Process().start()"],
)
def test_a_stage_that_forks_delivers_once(process: Run, act: Callable[..., str], folder: Path, code: str) -> None:
    ended = process("filter", act(code), *ENVELOPE, octets=b"Subject: x\n\nx\n")
    assert (ended.code, ended.err) == (0, "")
    assert len([path for path in (folder / "out").rglob("*") if path.is_file()]) == 1


@pytest.mark.parametrize(
    "code", ["open('never').read()", "import signal; signal.signal(15, signal.SIG_IGN); open('never').read()"]
)
def test_a_stage_that_never_ends_is_our_fault(
    process: Run, act: Callable[..., str], monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    # a mail server's own time limit may mean a bounce: ours must come first
    os.mkfifo("never")
    Path("quick.py").write_text("from mailpipe.cli import guard\nguard.GRACE = 0.1\n")
    code_of_process = "import quick, sys; from mailpipe.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", code_of_process, "filter", act(code), "--time-limit", "1", *ENVELOPE]
    done = subprocess.run(command, input=b"A: b\n\nx\n", capture_output=True, timeout=60, check=False)
    assert done.returncode == 75
    assert re.match(rb"4\.3\.[02] .", done.stderr) and b"the time limit of 1 s is over" in done.stderr


@pytest.mark.parametrize("limit", ["0", "-1", "1m", "", "99999999", "\u0661"])
def test_a_time_limit_that_is_none_is_our_fault(run_filter: Run, act: Callable[..., str], limit: str) -> None:
    must_be_our_fault(run_filter(act("pass"), "--time-limit", limit, *ENVELOPE))


def test_a_thread_that_a_stage_leaves_behind_is_not_waited_for(process: Run, act: Callable[..., str]) -> None:
    code = "import threading; threading.Thread(target=threading.Event().wait).start()"
    assert process("filter", act(code), *ENVELOPE, octets=b"Subject: x\n\nx\n").code == 0


def test_what_a_stage_leaves_running_does_not_hold_our_output(process: Run, act: Callable[..., str]) -> None:
    # whoever reads our output reads it to the end, which would come when the last of its writers has gone
    code = "import subprocess; child = subprocess.Popen(['sleep', '50']); open('child', 'w').write(str(child.pid))"
    try:
        assert process("filter", act(code), *ENVELOPE, octets=b"Subject: x\n\nx\n").code == 0
    finally:
        os.kill(int(Path("child").read_text()), signal.SIGKILL)


def test_a_temporary_folder_that_is_full_is_our_fault(process: Run, act: Callable[..., str], folder: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

    pipeline = act("pass", sink='use = "sendmail"\ncommand = ["/bin/sh", "-c", "cat > taken"]')
    ended = process("filter", pipeline, "--sendmail", *ENVELOPE, octets=b"A: b\n\n" + b"x" * 1000, preexec_fn=limit)
    must_be_our_fault(ended)
    assert not (folder / "taken").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_is_our_fault(act: Callable[..., str], folder: Path, number: signal.Signals) -> None:
    os.mkfifo("never")
    os.mkfifo("begun")
    pipeline = act("open('begun', 'w').close(); open('never').read()")
    child = subprocess.Popen(
        [sys.executable, "-m", "mailpipe", "filter", pipeline, *ENVELOPE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    child.stdin.write((folder / "message.eml").read_bytes())
    child.stdin.close()
    Path("begun").read_bytes()
    child.send_signal(number)
    err = child.stderr.read().decode()
    assert child.wait(timeout=60) == 75
    assert err.startswith("4.3.2 ")


def test_the_help_of_filter_can_be_read(mailpipe: Run) -> None:
    assert mailpipe("filter", "--help").code == 0
