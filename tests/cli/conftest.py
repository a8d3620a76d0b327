"""Fixtures of the command line: run `mailpipe` in this process or in one of its own."""

import io
import os
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pytest

import mailpipe as package
from mailpipe.cli.main import main

PLAIN = (
    b"From: Ann <ann@example.org>\r\nTo: Bob <bob@example.net>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n"
    b"Date: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n\r\nHello.\r\n"
)
MULTIPART = (
    b"From: ann@example.org\r\nTo: bob@example.net\r\nSubject: two parts\r\n"
    b"Date: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <2@example.org>\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n'
    b"--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    b"Gr=C3=BC=C3=9Fe\r\n"
    b"--b\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n"
    b'Content-Disposition: attachment; filename="[red]\x1b[31mreport.pdf"\r\n\r\n'
    b"JVBERi0xLjQK\r\n--b--\r\n"
)
PIPELINE = """\
[source]
use = "mbox"
path = "archive.mbox"

[[stage]]
use = "decode-mime"

[sink]
use = "maildir"
path = "out"
"""


@dataclass
class Ended:
    """How a command ended."""

    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        return self.out.decode()


@pytest.fixture(autouse=True)
def _plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "MAILPIPE_DEBUG", "PY_COLORS", "GITHUB_ACTIONS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "500")
    monkeypatch.setenv("TERMINAL_WIDTH", "500")
    # a process of its own finds the package also where it was not installed
    root = str(Path(package.__file__).parent.parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH", "")))))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with message.eml, multipart.eml, archive.mbox and pipeline.toml; the present directory."""
    (tmp_path / "message.eml").write_bytes(PLAIN)
    (tmp_path / "multipart.eml").write_bytes(MULTIPART)
    (tmp_path / "archive.mbox").write_bytes(
        b"".join(
            b"From ann@example.org Mon Nov 23 10:00:00 2026\n" + each.replace(b"\r\n", b"\n") + b"\n"
            for each in (PLAIN, MULTIPART)
        )
    )
    (tmp_path / "pipeline.toml").write_text(PIPELINE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def mailpipe(capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ended]:
    """Run a command line in this process, `octets` as its standard input."""

    def run(*arguments: object, octets: bytes = b"") -> Ended:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(octets), encoding="utf-8"))
        capfdbinary.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capfdbinary.readouterr()
        return Ended(code, captured.out, captured.err.decode("utf-8", "replace"))

    return run


@pytest.fixture
def terminal() -> None:
    """The test needs a pseudo-terminal, which a bare container has not."""
    try:
        ours, theirs = os.openpty()
    except OSError as error:
        pytest.skip(f"no pseudo-terminal: {error}")
    os.close(ours)
    os.close(theirs)


@pytest.fixture
def process() -> Callable[..., Ended]:
    """Run a command line in a process of its own."""

    def run(*arguments: object, octets: bytes = b"", prefix: Sequence[str] = (), **options: object) -> Ended:
        command = [*prefix, sys.executable, "-m", "mailpipe", *(str(argument) for argument in arguments)]
        options.setdefault("stdout", subprocess.PIPE)
        done = subprocess.run(command, input=octets, stderr=subprocess.PIPE, timeout=60, check=False, **options)
        return Ended(done.returncode, done.stdout or b"", done.stderr.decode("utf-8", "replace"))

    return run


class Peer:
    """A small SMTP server on a free port of the loopback, with answers of the test's choice.

    Attributes:
        answers: verb → reply in place of the good one; "" is the greeting, "." the reply to the end of data.
        messages: what was accepted.
    """

    def __init__(self) -> None:
        self.answers: dict[str, str] = {}
        self.messages: list[bytes] = []
        peer = self

        class Conversation(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                peer.converse(self.rfile, self.wfile)

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Conversation)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()

    def converse(self, lines: BinaryIO, out: BinaryIO) -> None:
        out.write(self.answers.get("", "220 peer").encode() + b"\r\n")
        while line := lines.readline():
            verb = line.strip().decode("ascii", "replace").upper().partition(" ")[0]
            good = {"DATA": "354 go on", "QUIT": "221 bye"}.get(verb, "250 ok")
            reply = self.answers.get(verb, good)
            out.write(reply.encode() + b"\r\n")
            if verb == "DATA" and reply.startswith("354"):
                octets = b""
                while (line := lines.readline()) != b".\r\n":
                    octets += line.removeprefix(b".") if line.startswith(b"..") else line
                reply = self.answers.get(".", "250 taken")
                if reply.startswith("2"):
                    self.messages.append(octets)
                out.write(reply.encode() + b"\r\n")
            if verb == "QUIT":
                return

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def peer() -> Iterator[Peer]:
    made = Peer()
    yield made
    made.close()


@pytest.fixture
def closed_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
