"""`mailpipe queue run`: a process that delivers when something is due, and that signals speak to."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mailpipe.queue import Queue
from mailpipe.smtp.envelope import Envelope
from mailpipe.status import EnhancedStatus

Run = Callable[..., object]
TO = Envelope.of("ann@example.org", "bob@example.net")
REASON = [(EnhancedStatus(4, 4, 1), "connection refused")]


@pytest.fixture
def queue(folder: Path) -> Iterator[Queue]:
    (folder / "queued.toml").write_text('[sink]\nuse = "maildir"\npath = "out"\n[queue]\ndirectory = "spool"\n')
    with Queue(folder / "spool") as made:
        yield made


@pytest.fixture
def deliverer(folder: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts `mailpipe queue run queued.toml` in a process of its own, and ends it whatever happens."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "mailpipe", "queue", "run", "queued.toml", "-v", *arguments]
        process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


def line(process: subprocess.Popen[str]) -> str:
    """The next line that it says; blocks until there is one."""
    assert process.stderr is not None
    return process.stderr.readline()


def test_once_tries_what_is_due_and_leaves(mailpipe: Run, folder: Path, queue: Queue) -> None:
    queue.put(b"Subject: now\r\n\r\n", TO, origin="test")
    queue.put(b"Subject: later\r\n\r\n", TO, origin="test", reasons=REASON)
    ended = mailpipe("queue", "run", "queued.toml", "--once", "--json")
    assert (ended.code, json.loads(ended.text)["counts"]["delivered"]) == (0, 1)
    assert len(list((folder / "out" / "new").iterdir())) == 1 and queue.counts().messages == 1


def test_once_says_by_its_code_what_is_left(mailpipe: Run, folder: Path, queue: Queue, closed_port: int) -> None:
    (folder / "queued.toml").write_text(
        f'[sink]\nuse = "smtp"\nhost = "127.0.0.1"\nport = {closed_port}\n[queue]\ndirectory = "spool"\n'
    )
    queue.put(b"Subject: now\r\n\r\n", TO, origin="test")
    assert mailpipe("queue", "run", "queued.toml", "--once").code == 75
    assert mailpipe("queue", "run", "queued.toml", "--once").code == 0  # nothing was due


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_delivers_what_comes_and_a_signal_ends_it_in_good_order(
    folder: Path, queue: Queue, deliverer: Callable[..., subprocess.Popen[str]], number: signal.Signals
) -> None:
    queue.put(b"Subject: first\r\n\r\n", TO, origin="test")
    process = deliverer()
    assert "<bob@example.net> delivered" in line(process)
    queue.put(b"Subject: second\r\n\r\n", TO, origin="test")  # while it waits
    assert "<bob@example.net> delivered" in line(process)
    process.send_signal(number)
    assert process.wait(20) == 0
    assert process.stderr is not None and process.stderr.read().endswith("2 messages tried: 2 delivered\n")
    assert queue.counts().messages == queue.counts().leased == 0


def test_sighup_brings_forward_what_waits(
    queue: Queue, deliverer: Callable[..., subprocess.Popen[str]]
) -> None:
    queue.put(b"Subject: now\r\n\r\n", TO, origin="test")
    queue.put(b"Subject: later\r\n\r\n", Envelope.of("", "carol@example.net"), origin="test", reasons=REASON)
    process = deliverer()
    assert "<bob@example.net> delivered" in line(process)
    process.send_signal(signal.SIGHUP)
    assert line(process) == "mailpipe: queued.toml was read again: no table changed\n"
    assert "<carol@example.net> delivered" in line(process)


def test_sighup_has_the_file_read_again(
    folder: Path, queue: Queue, deliverer: Callable[..., subprocess.Popen[str]]
) -> None:
    queue.put(b"Subject: one\r\n\r\n", TO, origin="test")
    process = deliverer()
    assert "<bob@example.net> delivered" in line(process)
    good = (folder / "queued.toml").read_text()
    (folder / "queued.toml").write_text(good.replace('"out"', '"elsewhere"'))
    queue.put(b"Subject: later\r\n\r\n", Envelope.of("", "carol@example.net"), origin="test", reasons=REASON)
    process.send_signal(signal.SIGHUP)
    assert line(process) == "mailpipe: queued.toml was read again: [sink] changed\n"
    assert "<carol@example.net> delivered" in line(process)
    assert len(list((folder / "elsewhere" / "new").iterdir())) == len(list((folder / "out" / "new").iterdir())) == 1


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('"maildir"', '"maildirs"', "queued.toml:2:1: sink.use: unknown sink 'maildirs', did you mean 'maildir'?"),
        ('path = "out"', 'path = "out', "queued.toml:3:"),
        ('path = "out"', 'path = "queued.toml"', "queued.toml"),
        ('"spool"', '"spool2"', "queued.toml: [queue] changed, which needs a restart"),
        ('"maildir"', '"mbox"', "[sink] is 'mbox' in place of 'maildir', which needs a restart"),
    ],
)
def test_a_file_that_cannot_be_used_is_said_and_the_old_one_goes_on(
    folder: Path, queue: Queue, deliverer: Callable[..., subprocess.Popen[str]], old: str, new: str, why: str
) -> None:
    queue.put(b"Subject: one\r\n\r\n", TO, origin="test")
    process = deliverer()
    assert "<bob@example.net> delivered" in line(process)
    good = (folder / "queued.toml").read_text()
    (folder / "queued.toml").write_text(good.replace(old, new))
    queue.put(b"Subject: later\r\n\r\n", Envelope.of("", "carol@example.net"), origin="test", reasons=REASON)
    process.send_signal(signal.SIGHUP)
    assert line(process) == "mailpipe: queued.toml was read again and is not taken, the old one goes on:\n"
    assert why in line(process)
    assert "<carol@example.net> delivered" in line(process)
    assert len(list((folder / "out" / "new").iterdir())) == 2
    (folder / "queued.toml").write_text(good)
    process.send_signal(signal.SIGHUP)
    assert line(process) == "mailpipe: queued.toml was read again: no table changed\n"


def test_sighup_is_taken_under_nohup_too(
    folder: Path, queue: Queue, deliverer: Callable[..., subprocess.Popen[str]]
) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a child inherits it, as of nohup
    try:
        process = deliverer()
    finally:
        signal.signal(signal.SIGHUP, before)
    queue.put(b"Subject: one\r\n\r\n", TO, origin="test")
    assert "<bob@example.net> delivered" in line(process)
    process.send_signal(signal.SIGHUP)
    assert line(process) == "mailpipe: queued.toml was read again: no table changed\n"


def test_questions_are_said_at_the_start(mailpipe: Run, folder: Path, queue: Queue) -> None:
    (folder / "queued.toml").write_text(
        '[sink]\nuse = "maildir"\npath = "out"\n[queue]\ndirectory = "spool"\nin_doubt = "ask"\n'
    )
    queue.put(b"Subject: x\r\n\r\n", TO, origin="test", in_doubt={"bob@example.net"})
    ended = mailpipe("queue", "run", "queued.toml", "--once")
    assert ended.code == 0 and "1 recipient may have been delivered, which waits for your word" in ended.err
    assert not (folder / "out" / "new").exists() or not list((folder / "out" / "new").iterdir())


def test_a_pipeline_without_queue_or_sink_is_said(mailpipe: Run, folder: Path) -> None:
    ended = mailpipe("queue", "run", "pipeline.toml", "--once")
    assert ended.code == 78 and "there is no [queue] table" in ended.err
    (folder / "queued.toml").write_text('[queue]\ndirectory = "spool"\n')
    ended = mailpipe("queue", "run", "queued.toml", "--once")
    assert ended.code == 78 and "there is no [sink] table" in ended.err


def test_mail_that_goes_round_in_circles_is_stopped_and_its_sender_told(
    mailpipe: Run, folder: Path, queue: Queue, closed_port: int
) -> None:
    (folder / "queued.toml").write_text(
        f'[sink]\nuse = "smtp"\nhost = "127.0.0.1"\nport = {closed_port}\n'
        '[queue]\ndirectory = "spool"\nreports = true\nreports_from = "postmaster@mx.example.org"\n'
        'loop_mark = "here@mx.example.org"\n'
    )
    hops = b"".join(b"Received: by h%d.example; Mon, 23 Nov 2026 10:00:00 +0000\r\n" % number for number in range(101))
    queue.put(hops + b"Subject: round\r\n\r\n", TO, origin="hops")
    queue.put(b"Delivered-To: Here@mx.example.org\r\nSubject: again\r\n\r\n", TO, origin="mark")
    queue.put(hops[:-58] + b"Subject: far\r\n\r\n", TO, origin="fewer")
    begun = time.time()
    mailpipe("queue", "run", "queued.toml", "--once")
    states = {entry.origin: entry.recipients[0] for entry in queue.list()}
    assert str(states["hops"].status) == str(states["mark"].status) == "5.4.6"
    assert states["fewer"].state.value == "waiting" and (states["fewer"].next_try or 0) > begun
    reports = [entry for entry in queue.list() if entry.origin.startswith("report on")]
    assert len(reports) == 2 and b"From: Mail Delivery System <postmaster@mx.example.org>" in reports[0].octets
