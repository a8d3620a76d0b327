"""kill -9, again and again, on processes that fill and empty one queue in front of a server with faults.

    make soak                                                     # 1,000 kills, 20,000 messages
    python tests/soak/soak.py --kills 100 --messages 2000 --seconds 60

Givers put messages into the queue and write down what was acknowledged; takers deliver to a `ScriptedPeer` in a
process of its own, which writes down what it took. Half of them are killed at a random moment, half at a boundary: in
front of or behind a write, a sync, a rename, a send, a receive, a commit. The queue holds what is in doubt; the driver
writes down each recipient that it releases, so that it is known who may come twice. In the end the queue is drained,
and the two books are compared by digest:

    lost      acknowledged and not taken by the server
    corrupt   taken with other octets than were put in
    repeated  taken more often than once, and once more for each release

The exit code is 1 where any of them is not 0.
"""

import argparse
import contextlib
import hashlib
import itertools
import json
import os
import random
import select
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from mailpipe.net.endpoint import Endpoint, Timeouts
from mailpipe.net.sync import SmtpConnection
from mailpipe.queue import Lanes, Queue, RecipientFate, RecipientResult, deliver_due, deliver_side_by_side
from mailpipe.smtp.envelope import Envelope
from mailpipe.smtp.opening import Opening
from mailpipe.status import EnhancedStatus
from mailpipe.testing.peer import EXTENSIONS, Fault, ScriptedPeer
from mailpipe.testing.storage import die

RETRY = "1s*100000"
RECIPIENTS = ("a@x.test", "b@x.test", "c@x.test")
MISDEEDS = (
    Fault("connect", "drop"), Fault("connect", "reply", "421 4.3.2 busy"), Fault("EHLO", "reset"),
    Fault("MAIL", "drop"), Fault("MAIL", "reply", "451 4.3.0 later"), Fault("RCPT", "reply", "450 4.2.1 later"),
    Fault("RCPT", "reset"), Fault("RCPT", "reply", "421 4.3.2 closing"), Fault("DATA", "drop"),
    Fault("DATA", "reply", "452 4.3.1 full"), Fault("content", "reset"), Fault("dot", "drop"),
    Fault("dot", "drop", accept=True), Fault("dot", "reset", accept=True), Fault("dot", "garbage", accept=True),
    Fault("dot", "reply", "451 4.3.0 later"), Fault("dot", "reply", "421 4.3.2 closing"), Fault("dot", "reply-drop"),
)  # fmt: skip
"""What the server does wrong; all of them together as often as `--fault-rate` says."""


# -- the books ----------------------------------------------------------------------------------------------------


class Book:
    """A file of lines that several processes append to; a line is one write, and a torn one does not count."""

    def __init__(self, path: Path) -> None:
        self.path, self._seen = path, 0
        self._file = path.open("ab", buffering=0)  # past the functions that are counted

    def write(self, *words: str) -> None:
        self._file.write((" ".join(words) + "\n").encode())

    def news(self) -> list[list[str]]:
        """The lines since the last question."""
        with self.path.open("rb") as file:
            file.seek(self._seen)
            whole = file.read().rpartition(b"\n")[0]
        self._seen += len(whole) + bool(whole)
        return [line.split() for line in whole.decode().splitlines()]


@dataclass
class Account:
    """What the books say.

    Attributes:
        given: id → digest of everything that a giver began to put in.
        acknowledged: ids whose `put` returned.
        taken: (id, recipient) → digests that the server took.
        released: (id, recipient) → how often it was released from doubt.
    """

    given: dict[str, str] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)
    taken: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    released: Counter = field(default_factory=Counter)

    def read(self, lines: list[list[str]]) -> None:
        for word, identifier, *rest in lines:
            match word:
                case "given":
                    self.given[identifier] = rest[0]
                case "acknowledged":
                    self.acknowledged.add(identifier)
                case "taken":
                    self.taken.setdefault((identifier, rest[0]), []).append(rest[1])
                case "released":
                    self.released[identifier, rest[0]] += 1

    def lost(self) -> list:
        pairs = ((one, path) for one in sorted(self.acknowledged) for path in recipients_of(one))
        return [pair for pair in pairs if pair not in self.taken]

    def corrupt(self) -> list:
        return [pair for pair, digests in self.taken.items() if set(digests) != {self.given.get(pair[0])}]

    def repeated(self) -> list:
        return [pair for pair, digests in self.taken.items() if len(digests) > 1 + self.released[pair]]

    def twice_in_doubt(self) -> list:
        return [pair for pair, digests in self.taken.items() if 1 < len(digests) <= 1 + self.released[pair]]


def recipients_of(identifier: str) -> tuple[str, ...]:
    """One to three, as the identifier's last digit says."""
    return RECIPIENTS[: 1 + int(identifier[-1], 16) % 3]


# -- the processes ------------------------------------------------------------------------------------------------


def server(folder: Path, rate: float, seed: int) -> None:
    """The next hop; says its port, becomes well-behaved at a line, ends at the end of its input."""
    book = Book(folder / "taken")

    def note(taken):
        identifier = taken.octets.partition(b"\r\n")[0].partition(b": ")[2].decode("ascii", "replace") or "?"
        digest = hashlib.sha256(taken.octets).hexdigest()
        for path in taken.forward_paths:
            book.write("taken", identifier, path, digest)

    faults = [Fault(one.at, one.do, one.text, accept=one.accept, chance=rate / len(MISDEEDS)) for one in MISDEEDS]
    with ScriptedPeer(*faults, extensions=(*EXTENSIONS, "CHUNKING"), seed=seed, on_taken=note) as peer:
        print(peer.port, flush=True)
        sys.stdin.readline()
        peer.faults.clear()
        sys.stdin.read()


def open_queue(folder: Path) -> Queue:
    return Queue(folder / "queue", retry=RETRY, in_doubt="hold")


def give(folder: Path, chance: random.Random) -> None:
    """Put messages into the queue, for ever."""
    book, queue = Book(folder / "given"), open_queue(folder)
    while True:
        identifier = chance.randbytes(8).hex()
        body = b"".join(b".%d %s\r\n" % (number, chance.randbytes(20).hex().encode())
                        for number in range(chance.randrange(40)))  # fmt: skip
        octets = b"X-Soak: %s\r\nSubject: soak\r\n\r\n%s" % (identifier.encode(), body)
        book.write("given", identifier, hashlib.sha256(octets).hexdigest())
        queue.put(octets, Envelope.of("ann@example.org", *recipients_of(identifier)), origin=identifier)
        book.write("acknowledged", identifier)


def take(folder: Path, port: int, chance: random.Random) -> None:
    """Deliver what is due, for ever: one after the other, or several at a time on a connection that they share."""
    queue, window = open_queue(folder), chance.choice((1, 2, 8))
    transport = transport_to(port, window)
    lanes = Lanes(window + 2, chance.choice((2, window + 2)), lambda entry: len(entry.recipients))
    while True:
        done = deliver_due(queue, transport) if window == 1 else deliver_side_by_side(queue, transport, lanes)
        if not done.messages:
            select.select([], [], [], 0.02)


def transport_to(port: int, window: int = 1):
    connection = SmtpConnection(Endpoint("127.0.0.1", port), Opening("soak.test"), Timeouts.within(20), window=window,
                                chunking=window > 2)  # fmt: skip

    def transport(entry):
        answers = connection.deliver(entry.envelope, entry.octets).answers
        return [RecipientResult(one.path, *outcome(one)) for one in answers]

    return transport


def outcome(answer):
    if answer.reply is None:
        fate = RecipientFate.IN_DOUBT if answer.in_doubt else RecipientFate.DEFERRED
        return fate, EnhancedStatus(4, 4, 2), "the connection ended"
    if answer.is_accepted:
        fate = RecipientFate.DELIVERED
    else:
        fate = RecipientFate.FAILED if answer.is_permanent else RecipientFate.DEFERRED
    return fate, answer.reply.enhanced_status, str(answer.reply)


def die_at_boundary(number: int) -> None:
    """Kill this process at the nth boundary; even numbers in front of the call, odd ones behind it."""
    left = number

    def wrapped(real):
        def call(*arguments, **named):
            nonlocal left
            left -= 1
            if left == 0 and number % 2 == 0:
                die()
            answer = real(*arguments, **named)
            if left <= 0:
                die()
            return answer

        return call

    for name in ("open", "write", "fsync", "rename", "link", "unlink", "close"):
        setattr(os, name, wrapped(getattr(os, name)))
    for name in ("send", "sendall", "recv", "connect"):
        setattr(socket.socket, name, wrapped(getattr(socket.socket, name)))

    class Connection(sqlite3.Connection):
        def execute(self, sql, *values):
            run = super().execute
            return (wrapped(run) if sql.startswith(("BEGIN", "COMMIT")) else run)(sql, *values)

    real_connect = sqlite3.connect
    sqlite3.connect = lambda *arguments, **named: real_connect(*arguments, factory=Connection, **named)


# -- the driver ---------------------------------------------------------------------------------------------------


@dataclass
class Child:
    role: str
    is_mortal: bool
    dies_at: float


class Soak:
    """Keeps the processes going, kills them, and counts."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options, self.folder, self.chance = options, folder, random.Random(options.seed)
        self.began = time.monotonic()
        self.kills: Counter = Counter()
        self.children: dict[int, Child] = {}
        self.failures: list[str] = []
        self.account = Account()
        self.books = [Book(folder / name) for name in ("given", "taken", "released")]
        command = [sys.executable, __file__, "--serve", str(folder), "--fault-rate", str(options.fault_rate)]
        self.server = subprocess.Popen([*command, "--seed", str(options.seed)], stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE)  # fmt: skip
        self.port = int(self.server.stdout.readline())
        open_queue(folder).close()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    @property
    def killed(self) -> int:
        return self.kills.total()

    def is_over(self) -> bool:
        options = self.options
        is_reached = self.killed >= options.kills and len(self.account.acknowledged) >= options.messages
        return is_reached or bool(self.failures) or bool(options.seconds and self.seconds > options.seconds)

    def is_behind(self) -> bool:
        """Whether more ought to have been killed by now, seen from the number of messages."""
        progress = len(self.account.acknowledged) / self.options.messages
        return self.killed < self.options.kills * min(1, progress + 0.02) or progress >= 1

    def bear(self) -> None:
        roles = Counter(child.role for child in self.children.values())
        role = min(("giver", "taker"), key=lambda one: roles[one])
        seed, is_mortal = self.chance.getrandbits(64), self.is_behind()
        # a message is put in with about twelve of these calls, and delivered with about twenty
        boundary = self.chance.randrange(1, 400) if is_mortal and self.chance.random() < 0.5 else 0
        dies_at = time.monotonic() + self.chance.random() * 0.5 + (5 if boundary else 0)
        pid = os.fork()
        if pid == 0:
            with contextlib.suppress(BaseException):
                if boundary:
                    die_at_boundary(boundary)
                try:
                    give(self.folder, random.Random(seed)) if role == "giver" else take(self.folder, self.port, random.Random(seed))
                except BaseException as error:  # noqa: BLE001 - it is told, and the process ends
                    os.write(2, f"a {role} failed: {error!r}\n".encode())
            os._exit(3)
        self.children[pid] = Child(role, is_mortal, dies_at)

    def kill_who_is_due(self) -> None:
        now = time.monotonic()
        for pid, child in self.children.items():
            if now >= child.dies_at and (child.is_mortal or self.is_behind()):
                os.kill(pid, signal.SIGKILL)
                child.dies_at = now + 60

    def bury(self) -> None:
        while self.children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            child = self.children.pop(pid, None)
            if child is None:
                continue
            if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
                self.kills[child.role] += 1
            else:
                self.failures.append(f"a {child.role} ended by itself (status {status})")

    def release(self, queue: Queue) -> int:
        """Write down who is in doubt, then have it sent again; nobody else may be at work on the queue."""
        count = 0
        for entry in list(queue.list("in-doubt")):
            for one in entry.recipients:
                if one.state == "in-doubt":
                    self.books[2].write("released", entry.origin, one.address)
                    count += 1
            queue.release(entry.id)
        return count

    def read_books(self) -> None:
        for book in self.books:
            self.account.read(book.news())

    def run(self) -> None:
        shown = 0.0
        while not self.is_over():
            while len(self.children) < self.options.workers:
                self.bear()
            select.select([], [], [], 0.003)
            self.kill_who_is_due()
            self.bury()
            self.read_books()
            if self.seconds - shown > self.options.every:
                shown = self.seconds
                self.show()
        for pid in self.children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def drain(self) -> int:
        """Deliver the rest, first with faults, then without; how many messages are left all the same."""
        with open_queue(self.folder) as queue:
            self.findings = Counter(one.kind for one in queue.doctor(repair=True, deep=True))
            # What a giver wrote and did not live to record is held by the doctor; nobody was told that it is here.
            queue.release(*(entry.id for entry in queue.list("held")))
            for turn in range(13):
                if turn == 3:
                    self.server.stdin.write(b"behave\n")
                    self.server.stdin.flush()
                self.release(queue)
                deliver_due(queue, transport_to(self.port), everything=True)
                self.read_books()
                self.show()
                if not (left := queue.counts().messages) and turn > 3:
                    break
            self.findings_after = Counter(one.kind for one in queue.doctor(deep=True))
            for entry in itertools.islice(queue.list(), 3):
                words = (f"{one.address} {one.state}: {one.diagnostic}" for one in entry.recipients)
                print("left", entry.origin, *words, file=sys.stderr)
        self.server.stdin.close()
        self.server.wait(60)
        self.server.stdout.close()
        self.read_books()
        return left

    def show(self) -> None:
        if not self.options.json:
            account = self.account
            taken, released = sum(map(len, account.taken.values())), account.released.total()
            print(f"{self.seconds:6.0f} s  kills {self.killed:5}  acknowledged {len(account.acknowledged):6}  "
                  f"recipients taken {taken:6}  released from doubt {released:5}", flush=True)  # fmt: skip

    def report(self, left: int) -> dict:
        account = self.account
        return {
            "kills": self.killed, "kills_of_givers": self.kills["giver"], "kills_of_takers": self.kills["taker"],
            "acknowledged": len(account.acknowledged), "given": len(account.given),
            "recipients_taken": sum(map(len, account.taken.values())),
            "released_from_doubt": account.released.total(), "twice_within_doubt": len(account.twice_in_doubt()),
            "findings": dict(self.findings), "findings_after": dict(self.findings_after),
            "left_in_queue": left, "seconds": round(self.seconds, 1), "failures": self.failures,
            "lost": len(account.lost()), "corrupt": len(account.corrupt()), "repeated": len(account.repeated()),
        }  # fmt: skip


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=1000, help="so many at least")
    parser.add_argument("--messages", type=int, default=20_000, help="so many acknowledged ones at least")
    parser.add_argument("--seconds", type=float, default=0, help="stop killing after that long; 0 for never")
    parser.add_argument("--fault-rate", type=float, default=0.05, help="of the server, from 0 to 1")
    parser.add_argument("--workers", type=int, default=4, help="processes on the queue at the same time")
    parser.add_argument("--every", type=float, default=2, help="seconds between two lines of progress")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    parser.add_argument("--json", action="store_true", help="print the account as JSON and nothing else")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve:
        server(options.serve, options.fault_rate, options.seed)
        return 0
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        soak = Soak(options, Path(folder))
        soak.run()
        report = soak.report(soak.drain())
        if any(report[name] for name in ("lost", "corrupt", "repeated", "left_in_queue")):
            for name in ("lost", "corrupt", "repeated"):
                print(name, *getattr(soak.account, name)()[:20], file=sys.stderr)
    if options.json:
        print(json.dumps({**report, "seed": options.seed}))
    else:
        print(f"\nseed {options.seed}")
        for name, value in report.items():
            print(f"{name.replace('_', ' '):22}{value if value or isinstance(value, int) else '-':>10}"
                  if not isinstance(value, dict | list) else f"{name.replace('_', ' '):22}{value or '-'}")  # fmt: skip
    bad = [name for name in ("lost", "corrupt", "repeated", "left_in_queue", "failures") if report[name]]
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
