"""A server that dies in the middle of a run: nothing is lost, and only a mail whose last reply was lost comes twice."""

import json
import re
import shutil
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[1]
LETTERS = 24
"""Of the archive; each of the first ones has recipients."""

SERVER = """
import os, sys, threading
sys.path.insert(0, {scripts!r})
from pathlib import Path
from demo import Keeper, ServerThread

class Mortal(Keeper):
    async def handle_DATA(self, server, session, envelope):
        if self.count + 1 == {number} and {before}:
            os._exit(9)                     # killed with the message read and not kept
        reply = await super().handle_DATA(server, session, envelope)
        if self.count == {number} and not {before}:
            os._exit(9)                     # killed with the message kept and the reply not sent
        return reply

server = ServerThread(Path({folder!r}), {port}, Mortal)
with server:
    print("ready", flush=True)
    sys.stdin.read()                        # until the test closes it
"""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _serve(folder: Path, port: int, number: int = 0, before: bool = True) -> subprocess.Popen:
    script = SERVER.format(
        scripts=str(TOP / "samples" / "scripts"), folder=str(folder), port=port, number=number, before=before
    )
    server = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=TOP)
    assert server.stdout.readline() == b"ready\n"
    return server


def _accepted(*folders: Path) -> Counter:
    found = Counter()
    for folder in folders:
        for path in (folder / "new").iterdir():
            octets = path.read_bytes()
            match = re.search(rb"(?mi)^message-id:\s*(\S+)", octets)
            found[match[1] if match else octets] += 1
    return found


@pytest.fixture
def quickstart(tmp_path):
    for sample in ("quickstart.toml", "archive.mbox"):
        shutil.copy(TOP / "samples" / sample, tmp_path / sample)
    return tmp_path / "quickstart.toml"


def _mailpipe(*arguments):
    if arguments[0] == "run":
        arguments = (*arguments, "--limit", LETTERS)
    command = [sys.executable, "-m", "mailpipe", *map(str, arguments)]
    return subprocess.run(command, cwd=TOP, capture_output=True, text=True, timeout=100)


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """What a server gets that does not die: Message-ID → times."""
    folder = tmp_path_factory.mktemp("whole")
    for sample in ("quickstart.toml", "archive.mbox"):
        shutil.copy(TOP / "samples" / sample, folder / sample)
    port = _free_port()
    server = _serve(folder / "kept", port)
    target = ("--set", "sink.host=127.0.0.1", "--set", f"sink.port={port}")
    report = json.loads(_mailpipe("run", folder / "quickstart.toml", *target, "--json").stdout)
    server.communicate()
    accepted = _accepted(folder / "kept")
    assert accepted.total() == report["endings"]["delivered"] == LETTERS
    return accepted


@pytest.mark.parametrize("before", [True, False], ids=["before-it-is-kept", "before-its-reply"])
def test_a_killed_server_loses_nothing(quickstart, tmp_path, expected, before):
    port = _free_port()
    target = ("--set", "sink.host=127.0.0.1", "--set", f"sink.port={port}")

    mortal = _serve(tmp_path / "first", port, number=15, before=before)
    report = json.loads(_mailpipe("run", quickstart, *target, "--json").stdout)
    assert mortal.wait(10) == 9
    assert report["endings"]["delivered"] == 14
    assert report["endings"]["delivered"] + report["endings"]["queued"] == expected.total()
    assert not report["endings"].get("deferred")

    again = _serve(tmp_path / "second", port)
    flush = _mailpipe("queue", "flush", quickstart, *target)
    assert flush.returncode == 0, flush.stdout + flush.stderr
    again.communicate()

    accepted = _accepted(tmp_path / "first", tmp_path / "second")
    twice = accepted - expected
    assert not expected - accepted, "mail was lost"
    assert twice.total() == (0 if before else 1), twice
    assert _accepted(tmp_path / "second").total() == expected.total() - 14


def test_a_server_that_is_down_loses_nothing(quickstart, tmp_path):
    port = _free_port()
    target = ("--set", "sink.host=127.0.0.1", "--set", f"sink.port={port}")
    report = json.loads(_mailpipe("run", quickstart, *target, "--json").stdout)
    queued = report["endings"]["queued"]
    assert queued == LETTERS
    assert report["exit_code"] == 0
    server = _serve(tmp_path / "kept", port)
    assert _mailpipe("queue", "flush", quickstart, *target).returncode == 0
    server.communicate()
    assert _accepted(tmp_path / "kept").total() == queued
