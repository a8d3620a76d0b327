"""The disk that fails to order."""

import json
import os
import subprocess
import sys

import pytest

from mailpipe.testing.storage import StorageFault, faulty_storage

# Forking is for a process without threads, which the one that runs the tests may not be.
WALK = """
import json, os, sys
from mailpipe.testing.storage import walk
path = sys.argv[1]

def prepare():
    if os.path.exists(path):
        os.unlink(path)

def act(faulty):
    with faulty:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.write(descriptor, b"0123456789")
        os.close(descriptor)
    return "written"

def there():
    return open(path).read() if os.path.exists(path) else None

print(json.dumps([[str(fault), ending.kind, ending.value, there()] for fault, ending in walk(prepare, act)]))
"""


@pytest.fixture(scope="module")
def walked(tmp_path_factory):
    path = tmp_path_factory.mktemp("walk") / "file"
    done = subprocess.run([sys.executable, "-c", WALK, str(path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return {fault: rest for fault, *rest in json.loads(done.stdout)}


def test_every_call_is_walked_with_every_fault(walked):
    assert len(walked) == 1 + 2 * 5 + 6
    assert walked["None"] == ["done", "written", "0123456789"]


def test_kills_come_before_within_and_after_a_call(walked):
    assert walked["open#1/kill-before"] == ["killed", "", None]
    assert walked["open#1/kill-after"] == walked["write#1/kill-before"] == ["killed", "", ""]
    assert walked["write#1/kill-within"] == ["killed", "", "01234"]
    assert walked["write#1/kill-after"] == ["killed", "", "0123456789"]


def test_a_refused_call_raises_and_does_nothing_but_a_refused_close_closes(walked):
    assert walked["write#1/ENOSPC"] == ["raised", "OSError: [Errno 28] No space left on device", ""]
    assert walked["close#1/EIO"] == ["raised", "OSError: [Errno 5] Input/output error", "0123456789"]


def test_the_functions_are_put_back_and_a_fault_comes_once_or_from_then_on(tmp_path):
    real = os.mkdir
    with faulty_storage(StorageFault("mkdir", 2, "EDQUOT")) as calls:
        os.mkdir(tmp_path / "a")
        with pytest.raises(OSError, match="quota"):
            os.mkdir(tmp_path / "b")
        os.mkdir(tmp_path / "c")
    assert os.mkdir is real and calls == {"mkdir": 3}
    with faulty_storage(StorageFault("mkdir", 1, "EIO", onwards=True)):
        for _ in range(2):
            with pytest.raises(OSError):
                os.mkdir(tmp_path / "d")
