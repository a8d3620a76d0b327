"""Real runs that are killed at any moment, told to stop, or lose their server: no mail is lost, none goes twice unsaid."""

import contextlib
import fcntl
import json
import os
import random
import select
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import mailpipe
from mailpipe.archive.mbox import render
from mailpipe.testing.peer import EXTENSIONS, Fault, ScriptedPeer

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(mailpipe.__file__).parent.parent)}

# Runs one command for each line that it reads, as `python -m mailpipe` would, in a process group of its own; what is
# slow to import is imported only once.
NURSERY = """
import json, os, sys
import mailpipe.bundled, mailpipe.cli.queue, mailpipe.cli.run, mailpipe.pipeline.assemble
from mailpipe.cli.main import main

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        code = 70
        try:
            os.setpgid(0, 0)
            os.write(1, f"{os.getpid()}\\n".encode())
            code = main(json.loads(line))
        finally:
            os._exit(code)
    status = os.waitpid(child, 0)[1]
    os.write(1, f"{os.waitstatus_to_exitcode(status)}\\n".encode())
"""

PIPELINE = """
[source]
use = "mbox"
path = "archive.mbox"
dialect = "mboxrd"

[[stage]]
use = "decode-mime"

[run]
journal = "pipe.journal"
workers = {workers}
"""
TO_MAILDIR = '[sink]\nuse = "maildir"\npath = "out"\nsync = false\n'
TO_SMTP = """
[sink]
use = "smtp"
host = "127.0.0.1"
port = {port}
tls = "never"
retry_pause = {pause}
window = {window}

[queue]
directory = "queue"
"""
COUNT = 250


class Nursery:
    """Runs commands, one at a time, and says what became of them."""

    def __init__(self, folder):
        self.folder = folder
        self.errors = (folder / "stderr").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-c", NURSERY], cwd=folder, env=ENVIRONMENT,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, bufsize=0,
        )

    def begin(self, *words):
        """The number of the process that runs a command."""
        self.process.stdin.write(json.dumps(words).encode() + b"\n")
        return int(self.process.stdout.readline())

    def has_ended(self, seconds):
        return bool(select.select([self.process.stdout], [], [], seconds)[0])

    def exit_code(self):
        return int(self.process.stdout.readline())

    def run(self, *words):
        self.begin(*words)
        return self.exit_code()

    def until(self, question):
        """Wait until something is so, or the command has ended."""
        while not question() and not self.has_ended(0.001):
            pass

    def close(self):
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()
        self.errors.close()


@pytest.fixture
def nursery(tmp_path):
    made = Nursery(tmp_path)
    yield made
    made.close()


@pytest.fixture
def mails(tmp_path):
    """An archive; gives the journal's key of each mail and its octets."""
    chance = random.Random(7)
    archive, made = b"", {}
    for number in range(COUNT):
        body = "\r\n".join(chance.choices(["From here on", ">From there", "a line", ".", "", "x" * 70], k=chance.randrange(60)))
        octets = f"From: ann@example.org\r\nTo: bob@example.net\r\nSubject: mail {number}\r\n\r\n{body}\r\n".encode()
        rendered = render(octets, b"From ann@example.org Thu Jan  1 00:00:00 1970")
        begin = len(archive) + rendered.find(b"\n") + 1
        made[f"mbox:{tmp_path}/archive.mbox:{begin}"] = octets
        archive += rendered
    (tmp_path / "archive.mbox").write_bytes(archive)
    return made


def size_of(path):
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def in_doubt(journal):
    """The keys that a journal says were begun and not ended."""
    begun = {}
    for line in journal.read_bytes().split(b"\n"):
        try:
            fields = json.loads(line)
        except ValueError:
            continue
        if "begin" in fields:
            begun[fields["begin"]] = fields["key"]
        else:
            begun.pop(fields.get("end"), None)
    return set(begun.values())


def killed_again_and_again(nursery, kills, seed, most):
    """Run, kill, run, kill; gives how often each key was in doubt when a run was dead."""
    chance, journal, doubts = random.Random(seed), nursery.folder / "pipe.journal", Counter()
    killed = 0
    for _ in range(kills):
        more = size_of(journal) + chance.randrange(12_000)
        child = nursery.begin("run", "pipe.toml", "-q")
        nursery.until(lambda: size_of(journal) > more)  # noqa: B023 - asked here and now
        # the parent alone, and its workers end by themselves, or all of them at once
        with contextlib.suppress(ProcessLookupError):  # it has come to its end before
            (os.kill if chance.random() < 0.5 else os.killpg)(child, signal.SIGKILL)
        killed += nursery.exit_code() == -signal.SIGKILL
        with journal.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # the last worker has let go of it
        now = in_doubt(journal)
        assert len(now) <= most, "more is in doubt than was under way"
        doubts.update(now)
    assert killed, "no run lived long enough to be killed"
    return doubts


def check(mails, arrived, doubts, unsaid=()):
    """Everything has arrived, octet for octet, and twice only what was in doubt."""
    assert set(arrived) == set(mails.values())
    allowed = Counter({mails[key]: count for key, count in doubts.items()})
    allowed.update(unsaid)
    assert {octets for octets, count in arrived.items() if count > 1 + allowed[octets]} == set()


def maildir_of(folder):
    return Counter(path.read_bytes() for path in (folder / "out" / "new").iterdir())


@pytest.mark.parametrize(("workers", "kills"), [(1, 8), (2, 3)])
def test_kill_9_loses_nothing_on_the_way_to_a_maildir(nursery, mails, tmp_path, workers, kills):
    (tmp_path / "pipe.toml").write_text(PIPELINE.format(workers=workers) + TO_MAILDIR)
    doubts = killed_again_and_again(nursery, kills, seed=workers, most=workers)
    assert nursery.run("run", "pipe.toml", "-q") == 0
    check(mails, maildir_of(tmp_path), doubts)
    assert nursery.run("run", "pipe.toml", "-q") == 0
    assert in_doubt(tmp_path / "pipe.journal") == set()


@pytest.mark.parametrize(("workers", "kills", "window"), [(1, 6, 1), (1, 4, 8), (2, 2, 1)])
def test_kill_9_loses_nothing_on_the_way_to_a_server_that_drops_connections(
    nursery, mails, tmp_path, workers, kills, window
):
    chance = random.Random(workers)
    faults = [
        Fault(at, how, nth=chance.randrange(1, COUNT), accept=chance.random() < 0.5)
        for at, how in [("dot", "drop"), ("content", "reset"), ("MAIL", "drop"), ("dot", "reset"), ("RCPT", "drop")] * 4
    ]
    later = [Fault("RCPT", "reply", "451 4.2.0 later", nth=chance.randrange(1, COUNT)) for _ in range(5)]
    with ScriptedPeer(*faults, *later, extensions=(*EXTENSIONS, "CHUNKING")) as peer:
        text = PIPELINE.format(workers=workers) + TO_SMTP.format(port=peer.port, pause=0, window=window)
        (tmp_path / "pipe.toml").write_text(text)
        doubts = killed_again_and_again(nursery, kills, seed=workers, most=workers * 5 * max(2, window))
        assert nursery.run("run", "pipe.toml", "-q") == 0
        peer.faults.clear()
        assert nursery.run("queue", "flush", "pipe.toml") == 0
    unsaid = [taken.octets for taken in peer.taken if not taken.acknowledged]
    check(mails, Counter(taken.octets for taken in peer.taken), doubts, unsaid)
    assert peer.violations == []


@pytest.mark.parametrize(("workers", "number"), [(1, signal.SIGINT), (2, signal.SIGINT), (1, signal.SIGTERM)])
def test_a_run_that_is_told_to_stop_goes_on_later_and_repeats_nothing(nursery, mails, tmp_path, workers, number):
    (tmp_path / "pipe.toml").write_text(PIPELINE.format(workers=workers) + TO_MAILDIR)
    journal = tmp_path / "pipe.journal"
    child = nursery.begin("run", "pipe.toml", "-q")
    nursery.until(lambda: size_of(journal) > 8_000)
    os.killpg(child, number)
    assert nursery.exit_code() == 128 + number
    assert in_doubt(journal) == set()
    assert 0 < maildir_of(tmp_path).total() < COUNT
    assert nursery.run("run", "pipe.toml", "-q") == 0
    assert maildir_of(tmp_path) == Counter(mails.values())


@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_that_dies_in_the_middle_gets_the_rest_from_the_queue(nursery, mails, tmp_path, workers):
    with ScriptedPeer() as peer:
        text = PIPELINE.format(workers=workers) + TO_SMTP.format(port=peer.port, pause=60, window=1)
        (tmp_path / "pipe.toml").write_text(text)
        nursery.begin("run", "pipe.toml", "-q")
        nursery.until(lambda: len(peer.taken) >= COUNT * 2 // 3)
        port = peer.port
        peer.stop()
        assert nursery.exit_code() == 0
        before = len(peer.taken)
        assert COUNT * 2 // 3 <= before < COUNT
        peer.start(port)
        assert nursery.run("queue", "flush", "pipe.toml") == 0
    arrived = Counter(taken.octets for taken in peer.taken)
    assert set(arrived) == set(mails.values())
    # one for each connection may have been taken while its reply was lost
    assert arrived.total() <= COUNT + 5 * workers


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_to_a_server_that_is_told_to_stop_ends_what_is_under_way_and_repeats_nothing(nursery, mails, tmp_path, number):
    with ScriptedPeer() as peer:
        (tmp_path / "pipe.toml").write_text(PIPELINE.format(workers=1) + TO_SMTP.format(port=peer.port, pause=60, window=1))
        child = nursery.begin("run", "pipe.toml", "-q")
        nursery.until(lambda: len(peer.taken) >= 20)
        os.killpg(child, number)
        assert nursery.exit_code() == 128 + number
        assert in_doubt(tmp_path / "pipe.journal") == set()
        assert 20 <= len(peer.taken) < COUNT
        assert nursery.run("run", "pipe.toml", "-q") == 0
    assert Counter(taken.octets for taken in peer.taken) == Counter(mails.values())


def test_a_second_signal_waits_for_no_server_and_what_was_under_way_is_in_doubt(nursery, mails, tmp_path):
    with ScriptedPeer(Fault("dot", "hang")) as peer:
        (tmp_path / "pipe.toml").write_text(PIPELINE.format(workers=1) + TO_SMTP.format(port=peer.port, pause=60, window=1))
        child = nursery.begin("run", "pipe.toml", "-q")
        nursery.until(lambda: peer.sessions and "DATA" in peer.sessions[0])
        for _ in range(100):
            os.killpg(child, signal.SIGINT)
            if nursery.has_ended(0.2):
                break
        assert nursery.exit_code() in (130, -signal.SIGINT)
        assert 1 <= len(in_doubt(tmp_path / "pipe.journal")) <= 10
        peer.faults.clear()
        assert nursery.run("run", "pipe.toml", "-q") == 0
    assert {taken.octets for taken in peer.taken} == set(mails.values())
