"""Whatever is done to a queue in a directory and to one on PostgreSQL, both are in the same state after each step."""

import random
import shutil
import tempfile
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import HealthCheck, given, settings

from mailpipe.queue import Queue, RecipientFate, RecipientResult
from mailpipe.smtp.envelope import Envelope
from mailpipe.status import EnhancedStatus

FATE = st.sampled_from(list(RecipientFate))
FATES = st.lists(FATE, min_size=3, max_size=3) | FATE.map(lambda fate: [fate] * 3)
WHICH = st.integers(0, 3)
STEPS = st.one_of(
    st.tuples(st.just("put"), st.integers(0, 3), st.sampled_from(["", "other"])),
    st.tuples(st.just("settle"), st.booleans(), FATES),
    st.tuples(st.just("lease"), st.booleans(), st.sampled_from([None, "other"])),
    st.tuples(st.just("journal")),
    st.tuples(st.just("give_back")),
    st.tuples(st.just("renew")),
    st.tuples(st.just("wait"), st.sampled_from([1, 60, 700, 3700, 100_000])),
    st.tuples(st.just("flush"), st.sampled_from([None, "other"])),
    st.tuples(st.sampled_from(["hold", "release", "requeue", "remove"]), WHICH),
    st.tuples(st.just("reopen"), st.sampled_from(["resend", "hold"])),
)


class Side:
    """One of the two queues, and what is out on lease there."""

    def __init__(self, place) -> None:
        self.place, self.now, self.names, self.leased = place, 1e9, [], []
        self.open("resend")

    def open(self, policy) -> None:
        self.queue = Queue(
            **self.place, retry="1m, 1h", expire="1d", in_doubt=policy, clock=lambda: self.now, random=random.Random(1),
            lease_seconds=600,
        )

    def do(self, step, *rest) -> object:
        queue = self.queue
        if step == "put":
            count, route = rest
            envelope = Envelope.of("s@x", *(f"r{number}@x" for number in range(count)))
            self.names.append(queue.put(b"%d" % len(self.names), envelope, origin="both", route=route))
        elif step == "lease":
            self.leased += (out := list(queue.lease(is_attempt=rest[0], route=rest[1])))
            return [self.seen(entry) for entry in out]
        elif step == "settle":
            is_attempt, fates = rest
            for entry in queue.lease(is_attempt=is_attempt):
                paths = entry.envelope.forward_paths
                results = [RecipientResult(path, fate, EnhancedStatus(4, 0, 0), "said") for path, fate in zip(paths, fates, strict=False)]
                return [one.state for one in queue.settle(entry, results)]
        elif step in ("journal", "give_back", "renew") and self.leased:
            entry = self.leased[0] if step == "journal" else self.leased.pop()
            try:
                return getattr(queue, step)(entry)
            except Exception as error:  # noqa: BLE001 both must say the same
                return type(error).__name__
        elif step == "wait":
            self.now += rest[0]
        elif step == "flush":
            return queue.flush(route=rest[0])
        elif step in ("hold", "release", "requeue", "remove") and rest[0] < len(self.names):
            try:
                getattr(queue, step)(self.names[rest[0]])
            except Exception as error:  # noqa: BLE001 both must say the same
                return type(error).__name__
        elif step == "reopen":
            queue.close()
            self.leased.clear()
            self.open(rest[0])
        return None

    def seen(self, entry) -> tuple:
        people = [(one.address, one.state, one.attempts, one.next_try, one.status, one.diagnostic, one.is_attempted) for one in entry.recipients]
        number = self.names.index(entry.id)
        return number, people, entry.route, bool(entry.lease), entry.leased_until, entry.leased, entry.next_try, entry.octets

    def state(self) -> tuple:
        queue = self.queue
        gone = [queue._store.is_gone(name) for name in self.names]
        waiting = [self.names.index(entry.id) for entry in queue.due()]
        doubtful = [self.names.index(entry.id) for entry in queue.list("in-doubt")]
        return [self.seen(entry) for entry in queue.list()], queue.counts(), queue.next_try(), gone, waiting, doubtful, queue.doctor()


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(counts=st.lists(st.integers(1, 3), min_size=2, max_size=4), steps=st.lists(STEPS, min_size=10, max_size=25))
def test_both_stores_come_to_the_same_states_by_any_steps(postgres_server, counts, steps):
    steps = [*(("put", count, "") for count in counts), *steps]
    directory = Path(tempfile.mkdtemp(prefix="two-queues-"))
    sides = [Side({"directory": directory / "queue"}), Side({"database": postgres_server.new_database()})]
    try:
        for step in steps:
            said = [side.do(*step) for side in sides]
            assert said[0] == said[1], step
            files, tables = (side.state() for side in sides)
            assert files == tables, step
    finally:
        for side in sides:
            side.queue.close()
        shutil.rmtree(directory)
