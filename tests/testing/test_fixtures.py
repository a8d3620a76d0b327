"""The fixture `scripted_peer`, in a test run of its own."""

import os
import subprocess
import sys
from pathlib import Path

import mailpipe

CONFTEST = 'pytest_plugins = ["mailpipe.testing.fixtures"]\n'
TESTS = """
import smtplib
from mailpipe.testing import Fault

def deliver(peer, line_end=b"\\r\\n"):
    with smtplib.SMTP(peer.host, peer.port) as client:
        client.sock.sendall(b"NOOP" + line_end)
        client.getreply()
        return client.sendmail("a@x.test", ["b@x.test"], b"Subject: one\\r\\n\\r\\n")

def test_good(scripted_peer):
    first, second = scripted_peer(), scripted_peer(extensions=())
    assert deliver(first) == deliver(second) == {}
    assert len(first.taken) == len(second.taken) == 1

def test_bad(scripted_peer):
    deliver(scripted_peer(), b"\\n")

def test_known(scripted_peer):
    peer = scripted_peer()
    deliver(peer, b"\\n")
    assert peer.violations
    peer.violations.clear()
"""


def test_the_fixture_makes_peers_and_fails_a_test_whose_client_misbehaves(tmp_path):
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_it.py").write_text(TESTS)
    environment = {**os.environ, "PYTHONPATH": str(Path(mailpipe.__file__).parent.parent)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, cwd=tmp_path)
    assert "3 passed, 1 error" in done.stdout, done.stdout + done.stderr
    assert "bare LF behind b'NOOP\\n'" in done.stdout
