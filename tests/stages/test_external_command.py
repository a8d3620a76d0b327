"""A program sees the message and decides by its exit code; whatever else it does costs the mail nothing but time."""

import os
import signal
import sys
import time
from dataclasses import replace

import pytest
from pydantic import ValidationError

from mailpipe.errors import TransientFailure
from mailpipe.pipeline.mail import Changed
from mailpipe.pipeline.verdict import Decision, Verdict
from mailpipe.smtp.envelope import Client, Envelope
from mailpipe.stages.external_command import CommandRan, ExternalCommand, ExternalCommandOptions

LETTER = b"From: Ann <ann@example.org>\r\nSubject: Lunch\r\n\r\nAt twelve?\r\n"
LARGE = LETTER + b"0123456789abcde\n" * 300_000


@pytest.fixture
def running(stage):
    """A stage that runs some Python, or a program."""

    def make(code, *arguments, **options):
        command = [sys.executable, "-c", code, *arguments] if isinstance(code, str) else list(code)
        return stage(ExternalCommand, command=command, **options)

    return make


def test_a_filter_gives_the_new_message(running, mail):
    passed = running(("sed", "s/Lunch/Dinner/"), result="message").process(mail(LETTER))
    assert bytes(passed.message) == LETTER.replace(b"Lunch", b"Dinner")
    assert [note.what for note in passed.notes_of(Changed)] == [f"{len(LETTER)} octets replaced by {len(LETTER) + 1} of sed"]


def test_a_filter_that_changes_nothing_leaves_the_message_itself(running, mail):
    given = mail(LETTER)
    passed = running(("cat",), result="message").process(given)
    assert passed.message is given.message
    assert passed.notes == (CommandRan("cat", 0),)


def test_output_that_nobody_asked_for_is_nothing(running, mail):
    given = mail(LETTER)
    assert running(("sed", "s/Lunch/Dinner/")).process(given).message is given.message


@pytest.mark.parametrize(
    "code",
    [
        "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())",
        # writes before it has read everything
        "import os\nwhile piece := os.read(0, 4096): os.write(1, piece)",
    ],
)
def test_a_large_message_goes_both_ways(running, mail, code):
    given = mail(LARGE)
    assert running(code, result="message").process(given).message is given.message


def test_a_filter_need_not_read(running, mail):
    passed = running(("echo", "Subject: new"), result="message").process(mail(LARGE))
    assert bytes(passed.message) == b"Subject: new\n"


def test_a_filter_that_writes_nothing_does_not_empty_the_mail(running, mail):
    with pytest.raises(TransientFailure, match=r"true ended with exit code 0 and wrote no message"):
        running(("true",), result="message").process(mail(LETTER))


@pytest.mark.parametrize(
    ("code", "decision", "status"),
    [
        (65, Decision.REJECT, "5.6.0"),
        (67, Decision.REJECT, "5.1.1"),
        (69, Decision.REJECT, "5.3.0"),
        (75, Decision.DEFER, "4.7.1"),
        (77, Decision.REJECT, "5.7.1"),
        (99, Decision.DROP, "2.0.0"),
        (111, Decision.DEFER, "4.7.1"),
    ],
)
def test_an_exit_code_decides(running, mail, code, decision, status):
    verdict = running(("sh", "-c", f"echo 'not today' >&2; echo more >&2; exit {code}")).process(mail(LETTER))
    assert (verdict.decision, str(verdict.status), verdict.reason) == (decision, status, "not today")
    assert verdict.notes == (CommandRan("sh", code, "not today"),)


def test_a_table_gives_codes_another_meaning(running, mail):
    one = running(("sh", "-c", "exit 1"), exit_codes={"1": "quarantine", "0": "drop"})
    assert one.process(mail(LETTER)).reason == "sh ended with exit code 1"
    assert Decision.QUARANTINE in ExternalCommand.decisions(one.options)
    with pytest.raises(ValidationError):
        ExternalCommandOptions(command=("true",), exit_codes={"x": "drop"})


def test_a_status_in_its_words_is_that_of_the_verdict(running, mail):
    verdict = running(("sh", "-c", "echo '5.2.2 mailbox full' >&2; exit 77")).process(mail(LETTER))
    assert verdict == Verdict.reject("mailbox full", status="5.2.2", notes=(CommandRan("sh", 77, "5.2.2 mailbox full"),))
    verdict = running(("sh", "-c", "echo '5.2.2 mailbox full' >&2; exit 75")).process(mail(LETTER))
    assert str(verdict.status) == "4.7.1"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("sh", "-c", "echo oh >&2; exit 3"), "sh ended with exit code 3: oh"),
        (("sh", "-c", "kill -9 $$"), "sh was killed by signal 9"),
        (("/nowhere/filter",), "cannot start /nowhere/filter: No such file or directory; check 'command'"),
        (("true", "a\0b"), "cannot start true: embedded null byte"),
        (("cat", "/dev/zero"), "cat wrote more than 1000000 octets and was killed"),
    ],
)
def test_whatever_else_it_does_is_a_failure_of_the_stage(running, mail, command, words):
    with pytest.raises(TransientFailure) as caught:
        running(command, max_output="1MB").process(mail(LETTER))
    assert str(caught.value).startswith(words)


def is_alive(number):
    try:
        with open(f"/proc/{number}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("ending", ["wait", "exit 0", "exec 0<&- 1>&- 2>&-; wait"])
def test_nothing_that_it_started_is_left(running, mail, tmp_path, ending):
    file = tmp_path / "number"
    one = running(("sh", "-c", f"sleep 1000 & echo $! >{file}.part; mv {file}.part {file}; {ending}"), timeout=1)
    began = time.monotonic()
    if ending == "exit 0":
        assert one.process(mail(LARGE)).notes == (CommandRan("sh", 0),)
    else:
        with pytest.raises(TransientFailure, match=r"sh did not end within 1s and was killed"):
            one.process(mail(LARGE))
    assert time.monotonic() - began < 100
    number = int(file.read_text())
    for _ in range(1000):
        if not is_alive(number):
            break
        os.sched_yield()
    else:
        os.kill(number, signal.SIGKILL)
        pytest.fail("it is alive")


def test_endless_complaints_are_cut(running, mail):
    verdict = running(("sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x >&2; exit 77")).process(mail(LETTER))
    assert verdict.reason == "x" * 500


def test_its_environment_tells_of_the_mail_and_of_nothing_else(running, mail, monkeypatch):
    monkeypatch.setenv("MAILPIPE_SECRET_KEY", "hush")
    given = mail(LETTER)
    client = Client(address="192.0.2.1", helo="mx.example.org")
    envelope = replace(Envelope.of("ann@example.org", "bob@example.net", "carol@example.net"), client=client)
    passed = running(("env",), result="message", environment={"COLOUR": "green"}).process(given.with_envelope(envelope))
    lines = bytes(passed.message).decode()
    assert "MAILPIPE_SENDER=ann@example.org\n" in lines
    assert "MAILPIPE_RECIPIENTS=bob@example.net\ncarol@example.net\n" in lines
    assert "MAILPIPE_RECIPIENT_COUNT=2\n" in lines
    assert "MAILPIPE_ORIGIN=test.eml:0\n" in lines
    assert f"MAILPIPE_SIZE={len(LETTER)}\n" in lines
    assert "MAILPIPE_CLIENT_ADDRESS=192.0.2.1\n" in lines
    assert "COLOUR=green\n" in lines
    assert "hush" not in lines


def test_a_hundred_thousand_recipients_fit(running, mail):
    many = mail(LETTER).with_envelope(Envelope.of("", *(f"r{number}@example.net" for number in range(100_000))))
    passed = running(("sh", "-c", 'echo "Count: $MAILPIPE_RECIPIENT_COUNT${MAILPIPE_RECIPIENTS+known}"'), result="message").process(many)
    assert bytes(passed.message) == b"Count: 100000\n"


def test_it_runs_where_it_is_told_to(running, mail, tmp_path):
    passed = running(("pwd",), result="message", directory=str(tmp_path)).process(mail(LETTER))
    assert bytes(passed.message).decode().strip() == str(tmp_path)


def test_the_options_say_what_it_may_do():
    options = ExternalCommandOptions(command=("true",))
    assert ExternalCommand.accesses(options)[1].message is False
    assert ExternalCommand.accesses(ExternalCommandOptions(command=("true",), result="message"))[1].body is True
    assert ExternalCommand.decisions(options) == (Decision.DROP, Decision.REJECT, Decision.DEFER)
