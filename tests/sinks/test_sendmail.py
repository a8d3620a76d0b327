"""The sink sendmail: arguments, exit codes, time-outs; the command is a small program of the test."""

import json
import os
import sys
import time
from pathlib import Path

import pytest

from mailpipe.errors import PermanentFailure, TransientFailure
from mailpipe.pipeline.outcome import Fate
from mailpipe.sinks.sendmail import SendmailSink
from mailpipe.smtp.envelope import Envelope, ForwardPath, MailParameters


@pytest.fixture
def command(tmp_path: Path):
    """Make a sink whose command runs the given Python lines."""

    def make(lines: str, **options: object) -> SendmailSink:
        script = tmp_path / "sendmail.py"
        script.write_text(f"import os, signal, sys\n{lines}\n")
        return SendmailSink(
            SendmailSink.Options.model_validate({"command": [sys.executable, "-S", "-I", str(script), "-i"], **options})
        )

    return make


def test_sender_recipients_and_octets_reach_the_command_without_a_shell(tmp_path: Path, command, make_mail) -> None:
    target = command(f"open({str(tmp_path / 'seen')!r}, 'wb').write(repr(sys.argv[1:]).encode() + sys.stdin.buffer.read())")
    octets = b"A: 1\r\n\r\n.\n\0\xff" * 20_000
    receipt = target.deliver(make_mail(octets, "-b@c", "$(id)@d e"))
    assert [entry.fate for entry in receipt.recipients] == [Fate.DELIVERED] * 2
    arguments = repr(["-i", "-f", "ann@example.org", "--", "-b@c", "$(id)@d e"]).encode()
    assert (tmp_path / "seen").read_bytes() == arguments + octets


def test_the_null_sender_is_written_in_brackets(tmp_path: Path, command, make_mail) -> None:
    command(f"open({str(tmp_path / 'seen')!r}, 'w').write(sys.argv[3])").deliver(make_mail(sender=""))
    assert (tmp_path / "seen").read_text() == "<>"


@pytest.mark.parametrize(
    ("code", "fate", "status"),
    [
        (65, Fate.FAILED, "5.6.0"), (67, Fate.FAILED, "5.1.1"), (68, Fate.FAILED, "5.1.2"), (69, Fate.FAILED, "5.3.0"),
        (77, Fate.DEFERRED, "4.3.0"), (75, Fate.DEFERRED, "4.3.0"), (64, Fate.DEFERRED, "4.3.0"), (1, Fate.DEFERRED, "4.3.0"),
        (78, Fate.DEFERRED, "4.3.0"), (127, Fate.DEFERRED, "4.3.0"),
    ],
)  # fmt: skip
def test_the_exit_code_decides(command, make_mail, code: int, fate: Fate, status: str) -> None:
    (entry,) = command(f"sys.exit({code})").deliver(make_mail()).recipients
    assert (entry.fate, str(entry.status)) == (fate, status)
    assert f"exit code {code}" in entry.diagnostic


def test_standard_error_is_the_diagnostic_and_may_name_the_status(command, make_mail) -> None:
    (entry,) = command("sys.stderr.write('5.2.2 mailbox\\nfull'); sys.exit(69)").deliver(make_mail()).recipients
    assert str(entry.status) == "5.2.2"
    assert entry.diagnostic.endswith("5.2.2 mailbox full")
    (entry,) = command("sys.stderr.write('5.2.2 full'); sys.exit(75)").deliver(make_mail()).recipients
    assert (entry.fate, str(entry.status)) == (Fate.DEFERRED, "4.3.0")


def test_a_signal_defers(command, make_mail) -> None:
    (entry,) = command("os.kill(os.getpid(), signal.SIGKILL)").deliver(make_mail()).recipients
    assert entry.fate is Fate.DEFERRED
    assert "signal 9" in entry.diagnostic


def is_over(state: Path) -> bool:
    # a killed child may still wait for somebody to ask how it ended
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] in "ZX"


def test_a_command_that_hangs_is_killed_with_its_children(tmp_path: Path, command, make_mail) -> None:
    pids = tmp_path / "pids"
    lines = f"child = os.fork()\nif child: open({str(pids)!r}, 'w').write(str(child))\nwhile True: signal.pause()"
    (entry,) = command(lines, timeout=0.7).deliver(make_mail(b"A: 1\n")).recipients
    assert entry.fate is Fate.DEFERRED
    state = Path(f"/proc/{pids.read_text()}/stat")
    deadline = time.monotonic() + 10
    while not is_over(state) and time.monotonic() < deadline:
        os.sched_yield()  # it dies when the system next lets it run
    assert is_over(state)


def test_a_command_that_hangs_after_reading_everything_leaves_doubt(command, make_mail) -> None:
    (entry,) = command("sys.stdin.buffer.read()\nsignal.pause()", timeout=0.7).deliver(make_mail()).recipients
    assert (entry.fate, str(entry.status)) == (Fate.IN_DOUBT, "4.4.7")


def test_a_command_that_reads_nothing_and_succeeds_has_decided(command, make_mail) -> None:
    octets = b"A: 1\n\n" + os.urandom(300_000)
    assert command("sys.exit(0)").deliver(make_mail(octets)).fates == {Fate.DELIVERED}


def test_a_missing_command_is_transient_and_says_what_to_check(make_mail) -> None:
    target = SendmailSink(SendmailSink.Options.model_validate({"command": ["/nonexistent/sendmail"]}))
    with pytest.raises(TransientFailure, match="check command"):
        target.deliver(make_mail())


def test_a_mail_without_recipients_is_refused(command, make_mail) -> None:
    mail = make_mail()
    with pytest.raises(PermanentFailure, match="no recipients"):
        command("").deliver(mail.with_envelope(mail.envelope.with_forward_paths()))
    with pytest.raises(PermanentFailure, match="NUL"):
        command("").deliver(make_mail(b"A: 1\n", "a\0b"))


def test_no_permission_is_for_good_only_where_the_command_says_so(command, make_mail) -> None:
    (entry,) = command("sys.stderr.write('5.7.1 no programs'); sys.exit(77)").deliver(make_mail()).recipients
    assert (entry.fate, str(entry.status)) == (Fate.FAILED, "5.7.1")
    (entry,) = command("sys.stderr.write('you may not submit mail'); sys.exit(77)").deliver(make_mail()).recipients
    assert (entry.fate, str(entry.status)) == (Fate.DEFERRED, "4.3.0")


def test_what_the_sender_wants_to_be_told_is_passed_on_where_the_command_knows_how(tmp_path: Path, make_mail) -> None:
    script = tmp_path / "sendmail.py"
    said = tmp_path / "said"
    script.write_text(f"import json, sys; open({str(said)!r}, 'a').write(json.dumps(sys.argv[1:]) + '\\n'); sys.exit(0)")
    paths = (
        ForwardPath("a@x.test", ("FAILURE", "DELAY")), ForwardPath("b@x.test"), ForwardPath("c@x.test", ("FAILURE", "DELAY"))
    )  # fmt: skip
    envelope = Envelope("ann@example.org", paths, MailParameters(ret="HDRS", envid="a+20b"))
    mail = make_mail().with_envelope(envelope)
    for dsn in (False, True):
        sink = SendmailSink(SendmailSink.Options.model_validate({"command": [sys.executable, str(script)], "dsn": dsn}))
        receipt = sink.deliver(mail)
        assert [one.recipient for one in receipt.recipients] == list(paths)
        assert [one.handover for one in receipt.recipients] == (["reporting", "", "reporting"] if dsn else [""] * 3)
    ends = ["-f", "ann@example.org", "--"]
    asked = ["-R", "hdrs", "-V", "a b"]
    assert [json.loads(line) for line in said.read_text().splitlines()] == [
        [*ends, "a@x.test", "b@x.test", "c@x.test"],
        ["-N", "failure,delay", *asked, *ends, "a@x.test", "c@x.test"],
        [*asked, *ends, "b@x.test"],
    ]


def test_a_part_that_fails_does_not_make_another_forgotten(tmp_path: Path, make_mail) -> None:
    script = tmp_path / "sendmail.py"
    script.write_text("import sys; sys.exit(75 if '-N' in sys.argv else 0)")
    paths = (ForwardPath("a@x.test"), ForwardPath("b@x.test", ("NEVER",)), ForwardPath("c\0@x.test", ("SUCCESS",)))
    sink = SendmailSink(SendmailSink.Options.model_validate({"command": [sys.executable, str(script)], "dsn": True}))
    receipt = sink.deliver(make_mail().with_envelope(Envelope("", paths)))
    assert [one.fate for one in receipt.recipients] == [Fate.DELIVERED, Fate.DEFERRED, Fate.FAILED]
