"""A disk that refuses SQLite's own calls, which Python does not see: the kernel answers them so, by strace.

Each run is a process of its own that opens a queue with a message in it, does one thing, and says what came of it.
"""

import json
import shutil
import subprocess
import sys

import pytest

from mailpipe.queue import Queue
from mailpipe.smtp.envelope import Envelope

TO = Envelope.of("ann@example.org", "bob@example.net")

ACTOR = """
import json, os, sys
from pathlib import Path
from mailpipe.errors import OutputError
from mailpipe.queue import Queue, RecipientFate, RecipientResult
from mailpipe.smtp.envelope import Envelope
from mailpipe.status import EnhancedStatus

def settle(queue):
    (entry,) = list(queue.lease())
    (path,) = entry.envelope.forward_paths
    queue.settle(entry, [RecipientResult(path, RecipientFate.DELIVERED, EnhancedStatus(2, 0, 0))])

acts = {
    "put": lambda queue: queue.put(b"x" * 5000, Envelope.of("a@x.test", "b@x.test"), origin="new"),
    "settle": settle,
    "hold": lambda queue: queue.hold(*(entry.id for entry in queue.list())),
}
try:
    with Queue(Path(sys.argv[1]), in_doubt="hold") as queue:
        said = {"done": acts[sys.argv[2]](queue)}
except OutputError as error:
    said = {"words": str(error), "exit_code": error.exit_code, "status": str(error.status), "is_full": error.is_full}
os.write(1, json.dumps(said).encode())
"""


@pytest.fixture
def acted(tmp_path):
    """What an act came to while the kernel refuses a system call from the nth on, and the queue as it lies then."""
    if shutil.which("strace") is None:
        pytest.skip("there is no strace here; apt-get install strace")

    def run(act, call, code, onwards="1+"):
        place = tmp_path / "queue"
        with Queue(place) as queue:
            kept = queue.put(b"it was here before", TO, origin="before")
        command = ["strace", "-f", "-qq", "-o", tmp_path / "trace", "-e", f"trace={call}",
                   "-e", f"inject={call}:error={code}:when={onwards}"]  # fmt: skip
        done = subprocess.run(
            [*command, sys.executable, "-c", ACTOR, place, act], capture_output=True, text=True, timeout=60
        )
        if "PTRACE" in done.stderr or "ptrace" in done.stderr:
            pytest.skip("nobody may trace a process here")
        assert done.stdout, done.stderr
        with Queue(place) as queue:
            return json.loads(done.stdout), kept, {entry.id: entry for entry in queue.list()}, queue.doctor(deep=True)

    return run


SENTENCES = {
    "ENOSPC": "the disk is full: free some space",
    "EDQUOT": "the disk quota is used up: free some space",
    "EROFS": "mount it for writing",
}


@pytest.mark.parametrize("call", ["pwrite64", "fdatasync"])
@pytest.mark.parametrize("code", ["ENOSPC", "EDQUOT"])
@pytest.mark.parametrize("act", ["put", "settle", "hold"])
def test_a_full_disk_is_called_by_its_name_whichever_call_of_the_database_meets_it(acted, act, code, call):
    said, kept, here, findings = acted(act, call, code)
    assert SENTENCES[code] in said["words"], said
    assert said["exit_code"] == 75 and said["status"] == "4.3.1" and said["is_full"]
    assert list(here) == [kept] and here[kept].octets == b"it was here before" and findings == ()


@pytest.mark.parametrize(("call", "code", "words"), [
    ("pwrite64", "EIO", "Input/output error"),
    ("fdatasync", "EIO", "Input/output error"),
    ("pwrite64", "EROFS", "mount it for writing"),
])  # fmt: skip
def test_any_other_refusal_is_told_in_the_words_of_the_system(acted, call, code, words):
    said, kept, here, findings = acted("put", call, code)
    assert words in said["words"] and said["status"] == "4.3.0" and not said["is_full"]
    assert list(here) == [kept] and findings == ()


@pytest.mark.parametrize("call", ["pwrite64", "fdatasync"])
def test_a_refusal_that_has_passed_is_told_as_sqlite_names_it(acted, call):
    # The sixth write and the first sync are those of the commit.
    said, kept, here, findings = acted("put", call, "EIO", "6" if call == "pwrite64" else "1")
    assert "done" in said or "SQLITE_IOERR" in said["words"], said
    assert kept in here and len(here) == 1 + ("done" in said) and findings == ()
