"""Several mails at the sink at a time: the stages and the source do not notice, and no outcome is late or missing."""

import gc
import json
import threading

import pytest

from mailpipe.errors import EX_TEMPFAIL, InputError, OutputError, TransientFailure
from mailpipe.pipeline import flight
from mailpipe.pipeline.batch import HOPELESS, Batch, Hopeless, run_alone
from mailpipe.pipeline.journal import Journal
from mailpipe.pipeline.mail import Mail
from mailpipe.pipeline.outcome import Ending, Fate, Receipt
from mailpipe.pipeline.report import Tally
from mailpipe.queue import Queue
from mailpipe.status import EnhancedStatus


@pytest.fixture
def wide(kit):
    """A sink for several mails at a time; `answer` is called in its threads."""

    class Wide(kit.memory_sink):
        def __init__(self, count, answer=None, width=None, lane=lambda envelope: ""):
            super().__init__(answer)
            self.count, self.width, self.lane = count, width, lane

        in_flight = property(lambda self: self.count)
        lane_width = property(lambda self: self.width or self.count)

    return Wide


def delivered(mail):
    return Receipt.of_all(mail.envelope.forward_paths, Fate.DELIVERED, "2.0.0")


def run(batch, engine):
    batch.open()
    try:
        run_alone(batch, engine)
        batch.flush()
    finally:
        batch.close()
    return batch.tally.report()


def journal_lines(path):
    # the last line may be under way
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[1:-1]]


def test_so_many_mails_as_the_sink_takes_are_with_it_at_a_time(kit, engine_of, wide):
    together = threading.Barrier(4)

    def answer(mail):
        together.wait(30)  # passes only when four are here
        return delivered(mail)

    source = kit.list_source([kit.raw_of("x", number) for number in range(40)])
    report = run(Batch([source], None, Tally()), engine_of(sink=wide(4, answer)))
    assert report.endings[Ending.DELIVERED] == 40 and report.is_balanced and len(source.settled) == 40


def test_a_sink_of_one_is_called_by_the_thread_of_the_stages_in_order(kit, engine_of):
    threads = []
    sink = kit.memory_sink(lambda mail: threads.append(threading.current_thread()) or delivered(mail))
    run(Batch([kit.list_source([kit.raw_of("x", number) for number in range(9)])], None, Tally()), engine_of(sink=sink))
    assert set(threads) == {threading.current_thread()}
    assert [mail.origin.offset for mail in sink.mails] == list(range(9))


def test_stages_and_sources_stay_in_the_thread_that_opened_them(kit, engine_of, wide):
    threads = set()

    def look(mail):
        threads.add(threading.current_thread())
        return [mail, mail] if mail.message.subject == "two" else mail

    class Watched(kit.list_source):
        def settle(self, outcome):
            threads.add(threading.current_thread())
            super().settle(outcome)

    source = Watched([kit.raw_of("two" if number % 5 == 0 else "x", number) for number in range(40)])
    report = run(Batch([source], None, Tally()), engine_of(look, look, sink=wide(4)))
    assert threads == {threading.current_thread()}
    # of one mail the first stage makes two, and the second four of these
    assert report.entered == 40 and report.endings[Ending.DELIVERED] == 32 + 8 * 4 and report.is_balanced
    assert len(source.settled) == 40


def test_an_outcome_is_in_the_journal_though_the_source_lets_wait(kit, engine_of, wide, tmp_path):
    with Journal.open(tmp_path / "j", {}) as journal:

        class Slow(kit.list_source):
            def __iter__(self):
                yield kit.raw_of("first", 1)
                for _ in range(20_000):
                    if any("end" in line for line in journal_lines(tmp_path / "j")):
                        break
                    threading.Event().wait(0.001)
                else:
                    raise AssertionError("the outcome waits for the source")
                yield kit.raw_of("second", 2)

        report = run(Batch([Slow()], journal, Tally()), engine_of(sink=wide(4), journal=journal))
    assert report.endings[Ending.DELIVERED] == 2


def test_each_mail_is_begun_before_it_goes_out_and_only_what_is_out_is_begun(kit, engine_of, wide, tmp_path):
    gate, out = threading.Event(), []
    with Journal.open(tmp_path / "j", {}) as journal:

        def answer(mail):
            begun = {line["key"] for line in journal_lines(tmp_path / "j") if "begin" in line}
            out.append((mail.origin.key, begun))
            if len(out) == 3:
                gate.set()
            assert gate.wait(30)
            return delivered(mail)

        source = kit.list_source([kit.raw_of("x", number) for number in range(30)])
        run(Batch([source], journal, Tally()), engine_of(sink=wide(3, answer), journal=journal))
    assert all(key in begun for key, begun in out)
    assert [(number, len(begun)) for number, (_, begun) in enumerate(out) if len(begun) > number + 3] == []


def test_whatever_the_sink_does_to_one_the_others_have_their_outcomes(kit, engine_of, wide):
    def answer(mail):
        subject = mail.message.subject
        if subject == "raise":
            raise RuntimeError("a bug")
        if subject == "exit":
            raise SystemExit(3)
        if subject == "later":
            raise TransientFailure("not now", EnhancedStatus(4, 7, 1))
        return delivered(mail) if subject == "go" else None

    subjects = ["go", "raise", "later", "exit", "nothing"] * 20
    source = kit.list_source([kit.raw_of(subject, number) for number, subject in enumerate(subjects)])
    report = run(Batch([source], None, Tally()), engine_of(sink=wide(8, answer)))
    assert report.endings[Ending.DELIVERED] == 20 and report.endings[Ending.DEFERRED] == 80
    assert {outcome.origin.offset for outcome in source.settled} == set(range(0, 100, 5))


def test_a_source_that_fails_is_told_of_when_what_is_in_flight_has_ended(kit, engine_of, wide, tmp_path):
    mails = [kit.raw_of("x", number) for number in range(5)]
    tally = Tally()
    with Journal.open(tmp_path / "j", {}) as journal, pytest.raises(InputError):
        run(Batch([kit.list_source(mails, InputError("a", "torn"))], journal, tally),
            engine_of(sink=wide(8), journal=journal))  # fmt: skip
    assert tally.endings[Ending.DELIVERED] == 5
    lines = journal_lines(tmp_path / "j")
    assert sum("begin" in line for line in lines) == sum("end" in line for line in lines) == 5


def test_a_run_that_is_told_to_stop_ends_what_is_in_flight(kit, engine_of, wide):
    batch = Batch([kit.list_source([kit.raw_of("x", number) for number in range(100)])], None, Tally())
    together = threading.Barrier(4)

    def answer(mail):
        together.wait(30)
        batch.stop()
        return delivered(mail)

    report = run(batch, engine_of(sink=wide(4, answer)))
    assert 4 <= report.entered <= 8 and report.endings[Ending.DELIVERED] == report.entered


def test_a_limit_counts_what_was_admitted(kit, engine_of, wide):
    source = kit.list_source([kit.raw_of("x", number) for number in range(100)])
    assert run(Batch([source], None, Tally(), limit=7), engine_of(sink=wide(4))).entered == 7


def test_a_journal_that_cannot_be_written_ends_the_run(kit, engine_of, wide, tmp_path, monkeypatch):
    journal = Journal.open(tmp_path / "j", {})
    sink = wide(4)

    def fail(digest, outcome, root=None):
        raise OutputError("j", "cannot write", is_full=True)

    monkeypatch.setattr(journal, "end", fail)
    source = kit.list_source([kit.raw_of("x", number) for number in range(100)])
    with pytest.raises(OutputError):
        run(Batch([source], journal, Tally()), engine_of(sink=sink, journal=journal))
    assert not source.settled and len(sink.mails) <= 8


def test_a_server_that_is_down_ends_the_run_before_the_whole_archive_is_read_for_nothing(kit, engine_of, wide):
    def down(mail):
        raise TransientFailure("connection refused", EnhancedStatus(4, 4, 1))

    batch = Batch([kit.list_source([kit.raw_of("x", number) for number in range(2 * HOPELESS)])], None, Tally())
    with pytest.raises(Hopeless) as caught:
        run(batch, engine_of(sink=wide(8, down)))
    assert caught.value.exit_code == EX_TEMPFAIL and HOPELESS <= batch.tally.entered <= HOPELESS + 9


def test_memory_stays_flat_however_long_the_archive(kit, engine_of, wide):
    alive, most = [], []

    class Long(kit.list_source):
        def __iter__(self):
            for number in range(3000):
                if number % 500 == 499:
                    gc.collect()
                    most.append(sum(isinstance(one, Mail) for one in gc.get_objects()))
                yield kit.raw_of("x", number)

    sink = wide(8, delivered)
    sink.mails = type("Forgetful", (list,), {"append": lambda self, mail: alive.append(1)})()
    assert run(Batch([Long()], None, Tally()), engine_of(sink=sink)).entered == len(alive) == 3000
    assert max(most) <= 40


def test_large_mails_are_fewer_at_a_time(kit, engine_of, wide, monkeypatch):
    monkeypatch.setattr(flight, "OCTETS", 3 * 10_000)
    under_way, most = [], []

    def answer(mail):
        under_way.append(mail)
        most.append(len(under_way))
        threading.Event().wait(0.001)
        under_way.remove(mail)
        return delivered(mail)

    source = kit.list_source([kit.raw_of("x", number, body="x" * 9_500) for number in range(60)])
    assert run(Batch([source], None, Tally()), engine_of(sink=wide(8, answer))).entered == 60
    assert max(most) <= 3


# -- lanes ----------------------------------------------------------------------------------------------------------


def to(kit, number, domain):
    return kit.raw_of("x", number, to=f"bob@{domain}.test")


def lane(envelope):
    return envelope.forward_paths[0].address.rpartition("@")[2]


def test_a_slow_lane_holds_up_no_other_and_its_mail_waits_in_the_queue(kit, engine_of, wide, tmp_path):
    gate, fast = threading.Event(), []

    def answer(mail):
        if lane(mail.envelope) == "slow.test":
            assert gate.wait(30)
        else:
            fast.append(mail.origin.offset)
            if len(fast) == 50:
                gate.set()  # only when all the others have gone
        return delivered(mail)

    mails = [to(kit, number, "slow" if number < 50 else "fast") for number in range(100)]
    with Queue(tmp_path / "queue") as queue:
        sink = wide(4, answer, 2, lane)
        report = run(Batch([kit.list_source(mails)], None, Tally()), engine_of(sink=sink, queue=queue))
        assert report.endings[Ending.DELIVERED] + report.endings[Ending.QUEUED] == 100 and report.is_balanced
        assert len(fast) == 50
        assert queue.counts().due == report.endings[Ending.QUEUED] >= 42  # at once, and as if never tried
        assert all(entry.attempts == 0 for entry in queue.list())


def test_without_a_queue_a_slow_lane_is_waited_for(kit, engine_of, wide):
    mails = [to(kit, number, "slow" if number < 20 else "fast") for number in range(40)]
    report = run(Batch([kit.list_source(mails)], None, Tally()), engine_of(sink=wide(4, delivered, 2, lane)))
    assert report.endings[Ending.DELIVERED] == 40


def test_a_mail_that_cannot_be_queued_waits(kit, engine_of, wide, tmp_path, monkeypatch):
    gate, number_out = threading.Event(), []

    def answer(mail):
        number_out.append(1)
        assert gate.wait(30)
        return delivered(mail)

    def full(*_, **__):
        gate.set()
        raise OutputError("queue", "cannot write", is_full=True)

    with Queue(tmp_path / "queue") as queue:
        monkeypatch.setattr(queue, "put", full)
        mails = [to(kit, number, "slow") for number in range(40)]
        sink = wide(4, answer, 2, lane)
        report = run(Batch([kit.list_source(mails)], None, Tally()), engine_of(sink=sink, queue=queue))
    assert report.endings[Ending.DELIVERED] == 40
