"""Real processes: two that share a queue, and kill -9 at any moment."""

import json
import os
import random
import select
import subprocess
import sys
from pathlib import Path

import mailpipe
from mailpipe.queue import Queue
from mailpipe.smtp.envelope import Envelope

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(mailpipe.__file__).parent.parent)}

# Bears one child at a time for each line that it reads and kills it -9 at the next line; imports only once.
NURSERY = """
import hashlib, os, random, signal, sys
from pathlib import Path
from mailpipe.queue import Queue, RecipientFate, RecipientResult, deliver_due
from mailpipe.smtp.envelope import Envelope
from mailpipe.status import EnhancedStatus

directory = Path(sys.argv[1])

def say(*words):
    os.write(1, (" ".join(words) + "\\n").encode())

def transport(entry):
    with open(directory / "delivered", "ab", buffering=0) as ledger:
        ledger.write(f"{entry.id} {hashlib.sha256(entry.octets).hexdigest()}\\n".encode())
    done = RecipientFate.DELIVERED, EnhancedStatus(2, 0, 0)
    return [RecipientResult(path, *done) for path in entry.envelope.forward_paths]

def live(seed):
    queue, chance = Queue(directory / "queue", in_doubt="hold"), random.Random(seed)
    while True:
        octets = chance.randbytes(chance.randrange(20_000))
        name = queue.put(octets, Envelope.of("a@x", "b@x"), origin="crash")
        say("put", name, hashlib.sha256(octets).hexdigest())
        if seed % 2:
            deliver_due(queue, transport, should_stop=lambda: chance.random() < 0.3)

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        try:
            live(int(line))
        finally:
            say("failed", repr(sys.exc_info()[1]))
            os._exit(1)
    sys.stdin.readline()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    say("dead")
"""

# Delivers until nothing is due and prints what it delivered.
DELIVERER = """
import sys
from pathlib import Path
from mailpipe.queue import Queue, RecipientFate, RecipientResult, deliver_due
from mailpipe.status import EnhancedStatus

queue, mine = Queue(Path(sys.argv[1])), []
sys.stdin.readline()

def transport(entry):
    mine.append(entry.id)
    assert entry.octets == entry.origin.encode()
    done = RecipientFate.DELIVERED, EnhancedStatus(2, 0, 0)
    return [RecipientResult(path, *done) for path in entry.envelope.forward_paths]

counts = deliver_due(queue, transport)
assert counts.messages == counts.delivered == len(mine)
print(*mine)
"""


def start(program, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env=ENVIRONMENT,
    )


def test_two_processes_share_a_queue_and_no_message_goes_twice(tmp_path):
    with Queue(tmp_path / "queue") as queue:
        names = [queue.put(str(number).encode(), Envelope.of("", "b@x"), origin=str(number)) for number in range(150)]
        workers = [start(DELIVERER, tmp_path / "queue") for _ in range(2)]
        for worker in workers:
            worker.stdin.write(b"go\n")
            worker.stdin.flush()
        shares = [worker.communicate()[0].decode().split() for worker in workers]
        assert [worker.returncode for worker in workers] == [0, 0]
        assert sorted(shares[0] + shares[1]) == sorted(names)
        assert queue.counts().messages == 0 and queue.doctor(deep=True) == ()


def tell(process, word):
    process.stdin.write(f"{word}\n".encode())
    process.stdin.flush()


def test_forty_kills_lose_no_acknowledged_message_and_repeat_none(tmp_path):
    chance, acknowledged = random.Random(7), {}

    def hear(process):
        word, *rest = process.stdout.readline().decode().split()
        assert word != "failed", rest
        acknowledged.update([rest] if word == "put" else [])
        return word

    nurseries = [start(NURSERY, tmp_path) for _ in range(2)]
    for turn in range(20):
        for number, nursery in enumerate(nurseries):
            tell(nursery, turn * 2 + (number + turn) % 2)
        for nursery in nurseries:
            # Hears a few messages, then waits a moment more, whatever the child is doing by then.
            for _ in range(chance.randrange(5)):
                hear(nursery)
            select.select([], [], [], chance.random() * 0.02)
            tell(nursery, "kill")
            while hear(nursery) != "dead":
                pass
    for nursery in nurseries:
        nursery.communicate()

    ledger = tmp_path / "delivered"
    delivered = [line.split() for line in ledger.read_text().splitlines()] if ledger.exists() else []
    sent = dict(delivered)
    with Queue(tmp_path / "queue", in_doubt="hold") as queue:
        findings = queue.doctor(repair=True, deep=True)
        assert {finding.kind for finding in findings} <= {"unfinished", "orphan", "settled-content"}
        here = {entry.id: entry for entry in queue.list()}
        assert len(acknowledged) > 20 and len(sent) == len(delivered) > 0
        for name, digest in acknowledged.items():
            assert name in here or name in sent
            assert sent.get(name, digest) == digest
        for name, entry in here.items():
            assert entry.digest == acknowledged.get(name, entry.digest)
            # Delivered and still here: its result was lost with the process, and it waits for a human.
            assert name not in sent or entry.recipients[0].state == "in-doubt"
        assert queue.doctor(deep=True) == () and queue.counts().leased == 0
        assert json.dumps([entry.to_json() for entry in here.values()])
