"""A disk that is full in truth, a small one: the database's own calls, which Python does not see."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys

import pytest

from mailpipe.errors import OutputError
from mailpipe.queue import Queue, RecipientFate, RecipientResult, deliver_due
from mailpipe.smtp.envelope import Envelope
from mailpipe.status import EnhancedStatus

ENVELOPE = Envelope.of("ann@example.org", "bob@example.net")
NEXT = b"Subject: next\n\nthe next one\n"


@pytest.fixture
def small_disk(tmp_path):
    """A file system of three megabytes."""
    place = tmp_path / "small"
    place.mkdir()
    options = ["-t", "tmpfs", "-o", "size=3m", "none", str(place)]
    if os.geteuid() or shutil.which("mount") is None or subprocess.run(["mount", *options], capture_output=True).returncode:
        pytest.skip("only root may mount a small file system here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def put_until_full(queue, chance, acknowledged):
    while True:
        octets = chance.randbytes(chance.randrange(1, 20_000))
        acknowledged[queue.put(octets, ENVELOPE, origin="test")] = octets


def check_all_there(directory, acknowledged):
    with Queue(directory, in_doubt="hold") as queue:
        here = {entry.id: entry for entry in queue.list()}
        assert {name: entry.octets for name, entry in here.items() if name in acknowledged} == acknowledged
        return len(here)


def test_a_full_disk_keeps_everything_that_was_acknowledged_and_takes_mail_again_when_there_is_room(small_disk):
    chance, acknowledged = random.Random(1), {}
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 600_000)
    with Queue(small_disk / "queue", in_doubt="hold") as queue:
        for _ in range(5):
            with pytest.raises(OutputError) as caught:
                put_until_full(queue, chance, acknowledged)
            assert caught.value.is_full
        assert len(acknowledged) > 20
    ballast.unlink()
    assert check_all_there(small_disk / "queue", acknowledged) == len(acknowledged)
    with Queue(small_disk / "queue", in_doubt="hold") as queue:
        acknowledged[queue.put(NEXT, ENVELOPE, origin="test")] = NEXT
        assert queue.doctor(deep=True) == ()
    check_all_there(small_disk / "queue", acknowledged)


FILLER = """
import os, random, sys
from pathlib import Path
from mailpipe.errors import OutputError
from mailpipe.queue import Queue, RecipientFate, RecipientResult, deliver_due
from mailpipe.smtp.envelope import Envelope
from mailpipe.status import EnhancedStatus
chance = random.Random(int(sys.argv[2]))
with Queue(Path(sys.argv[1]), in_doubt="hold") as queue:
    while True:
        octets = chance.randbytes(chance.randrange(1, 20_000))
        try:
            name = queue.put(octets, Envelope.of("a@x.test", "b@x.test"), origin="test")
        except OutputError as error:
            assert error.is_full, error
            os.write(1, b"full\\n")
        else:
            os.write(1, f"{name} {octets.hex()}\\n".encode())
"""


def test_kill_9_on_a_full_disk_loses_nothing_that_was_acknowledged(small_disk):
    acknowledged, refusals = {}, 0
    for seed in range(4):
        with subprocess.Popen(
            [sys.executable, "-c", FILLER, str(small_disk / "queue"), str(seed)], stdout=subprocess.PIPE
        ) as filler:
            before, fullness = len(acknowledged), 0
            for line in filler.stdout:
                fullness += line == b"full\n"
                if fullness == 5 + seed or (seed < 2 and len(acknowledged) == before + 30):
                    filler.kill()  # and what it still said is read to its end
                if not line.endswith(b"\n"):
                    break
                if line != b"full\n":
                    name, octets = line.decode().split()
                    acknowledged[name] = bytes.fromhex(octets)
            refusals += fullness
            assert filler.wait() == -signal.SIGKILL
    assert refusals >= 15 and len(acknowledged) > 60
    copy = small_disk.parent / "copy"  # it has room for the repair
    shutil.copytree(small_disk / "queue", copy)
    assert check_all_there(copy, acknowledged) >= len(acknowledged)


def test_a_queue_that_has_filled_its_own_disk_is_still_delivered(small_disk):
    acknowledged, taken = {}, {}
    with Queue(small_disk / "queue", in_doubt="hold") as queue:
        with pytest.raises(OutputError):
            put_until_full(queue, random.Random(2), acknowledged)
        for chunk in (100, 1):  # to the last octet
            with contextlib.suppress(OSError), (small_disk / f"ballast{chunk}").open("ab", buffering=0) as ballast:
                while True:
                    ballast.write(b"x" * chunk * 1000)
        with pytest.raises(OutputError):
            queue.put(b"x" * 5000, ENVELOPE, origin="test")

        def transport(entry):
            taken[entry.id] = entry.octets
            return [
                RecipientResult(path, RecipientFate.DELIVERED, EnhancedStatus(2, 0, 0))
                for path in entry.envelope.forward_paths
            ]

        assert deliver_due(queue, transport).messages == len(acknowledged) > 20
        assert taken == acknowledged and list(queue.list()) == []
        assert queue.put(NEXT, ENVELOPE, origin="test")


def test_a_queue_that_has_filled_its_own_disk_can_be_opened_and_cleared_by_hand(small_disk):
    acknowledged = {}
    with Queue(small_disk / "queue", in_doubt="hold") as queue, pytest.raises(OutputError):
        put_until_full(queue, random.Random(3), acknowledged)
    with contextlib.suppress(OSError), (small_disk / "ballast").open("ab", buffering=0) as ballast:
        while True:
            ballast.write(b"x" * 1000)
    with Queue(small_disk / "queue", in_doubt="hold") as queue:
        first = next(queue.list())
        queue.remove(first.id)
        assert len(list(queue.list())) == len(acknowledged) - 1 and not first.content.exists()
