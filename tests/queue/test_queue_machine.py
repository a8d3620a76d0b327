"""Any sequence of putting, leasing, settling, crashing and tidying: an acknowledged message is here or was settled."""

import os
import random
import shutil
import tempfile
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from mailpipe.queue import Queue, RecipientFate, RecipientResult
from mailpipe.smtp.envelope import Envelope
from mailpipe.status import EnhancedStatus

BOOLEANS = st.booleans()
FATES = ["delivered", "failed", "deferred", "in-doubt"]
LIVE = {"waiting", "in-doubt", "held"}


class QueueMachine(RuleBasedStateMachine):
    names = Bundle("names")
    leases = Bundle("leases")

    @st.composite
    def _answers(draw):
        return draw(st.lists(st.sampled_from(FATES), min_size=3, max_size=3))

    def __init__(self):
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="queue-machine-"))
        self.now, self.policy = 1e9, "resend"
        self.octets: dict[str, bytes] = {}
        self.finished: dict[str, dict[int, str]] = {}  # what was said finally, by recipient
        self.open()

    def open(self):
        self.queue = Queue(
            self.directory / "queue", retry="1m, 1h", expire="1d", in_doubt=self.policy, clock=lambda: self.now,
            random=random.Random(1), lease_seconds=600,
        )

    def teardown(self):
        self.queue.close()
        shutil.rmtree(self.directory)

    @rule(target=names, octets=st.binary(max_size=50), count=st.integers(0, 3), doubt=BOOLEANS, tried=BOOLEANS)
    def put(self, octets, count, doubt, tried):
        addresses = [f"r{number}@x" for number in range(count)]
        name = self.queue.put(
            octets, Envelope.of("s@x", *addresses), origin="machine",
            reasons=[(EnhancedStatus(4, 0, 0), "")] if tried else [], in_doubt={"r0@x"} if doubt else (),
        )
        self.octets[name], self.finished[name] = octets, {}
        return name

    @rule(octets=st.binary(max_size=50), step=st.sampled_from(["fsync", "rename", "write"]), number=st.integers(1, 2))
    def put_into_a_fault(self, octets, step, number):
        real, calls = getattr(os, step), []

        def faulty(*arguments):
            calls.append(1)
            if len(calls) == number:
                raise OSError(28, "No space left on device")
            return real(*arguments)

        setattr(os, step, faulty)
        try:
            name = self.queue.put(octets, Envelope.of("s@x", "a@x"), origin="machine")
            self.octets[name], self.finished[name] = octets, {}
        except Exception:  # noqa: BLE001 the invariant shows whether anything is left
            pass
        finally:
            setattr(os, step, real)

    @rule(target=leases, is_attempt=st.booleans())
    def lease(self, is_attempt):
        return multiple(*self.queue.lease(is_attempt=is_attempt))

    @rule(entry=consumes(leases), answers=_answers())
    def settle(self, entry, answers):
        remaining = entry.remaining
        if not remaining[0].forward_path:
            return
        results = []
        for one, fate in zip(remaining, answers, strict=False):
            results.append(RecipientResult(one.forward_path, RecipientFate(fate), EnhancedStatus(4, 0, 0)))
            if fate in ("delivered", "failed"):
                self.finished[entry.id].setdefault(one.position, fate)
                if fate == "delivered":
                    self.finished[entry.id][one.position] = fate
        self.queue.settle(entry, results)

    @rule(entry=consumes(leases))
    def give_back(self, entry):
        self.queue.give_back(entry)

    @rule(seconds=st.sampled_from([1, 60, 700, 3700, 100_000]))
    def wait(self, seconds):
        self.now += seconds

    @rule(name=names, verb=st.sampled_from(["hold", "release", "requeue"]))
    def by_hand(self, name, verb):
        if name in {entry.id for entry in self.queue.list()}:
            getattr(self.queue, verb)(name)
            if verb == "requeue":
                done = self.finished[name]
                self.finished[name] = {place: fate for place, fate in done.items() if fate == "delivered"}

    @rule()
    def flush(self):
        self.queue.flush()

    @rule(policy=st.sampled_from(["resend", "hold"]))
    def crash_and_open(self, policy):
        self.queue._store.close()
        if self.queue._owner:
            self.queue._owner._let_go()
            self.queue._owner = None
        self.policy = policy
        self.open()

    @rule(repair=st.booleans())
    def examine(self, repair):
        for finding in self.queue.doctor(repair=repair, deep=True):
            raise AssertionError(finding)

    @invariant()
    def nothing_is_lost_or_changed(self):
        here = {entry.id: entry for entry in self.queue.list()}
        files = {path.stem for path in self.directory.rglob("*.mail")}
        assert set(here) == files and not list(self.directory.rglob("*.part"))
        assert set(here) <= set(self.octets)
        for name, octets in self.octets.items():
            done = self.finished[name]
            entry = here.get(name)
            if entry is None:
                assert done and set(done.values()) == {"delivered"}
                continue
            assert entry.octets == octets
            for one in entry.recipients:
                if done.get(one.position):
                    assert one.state == done[one.position]
                else:
                    assert one.state in LIVE | {"expired"}
                if one.state not in LIVE:
                    assert one.next_try is None


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(
    max_examples=20, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
