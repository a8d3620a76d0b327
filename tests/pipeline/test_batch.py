"""The order that keeps mail safe: on record, synced, then told."""

import pytest

from mailpipe.errors import EX_TEMPFAIL, InputError, OutputError, SourceError
from mailpipe.pipeline.batch import HOPELESS, Batch, Hopeless, run_alone
from mailpipe.pipeline.journal import Journal
from mailpipe.pipeline.outcome import Ending
from mailpipe.pipeline.report import Tally
from mailpipe.pipeline.verdict import Verdict


def run(batch, engine):
    batch.open()
    try:
        run_alone(batch, engine)
        batch.flush()
    finally:
        batch.close()
    return batch.tally.report()


def test_sources_are_told_after_the_sync_and_only_what_is_settled(kit, engine_of, tmp_path, monkeypatch):
    source = kit.list_source([kit.raw_of("keep" if number % 2 else "go", number) for number in range(6)])
    journal = Journal.open(tmp_path / "j", {})
    engine = engine_of(lambda mail: Verdict.defer("no") if mail.message.subject == "keep" else mail, journal=journal)
    events = []
    monkeypatch.setattr(journal, "sync", lambda: events.append(("sync", len(source.settled))))
    report = run(Batch([source], journal, Tally()), engine)
    assert events == [("sync", 0)]
    assert [outcome.origin.offset for outcome in source.settled] == [0, 2, 4]
    assert report.endings[Ending.DEFERRED] == 3 and report.is_balanced


def test_a_second_run_skips_what_is_done(kit, engine_of, tmp_path):
    sink = kit.memory_sink()
    for skipped in (0, 5):
        with Journal.open(tmp_path / "j", {}) as journal:
            source = kit.list_source([kit.raw_of("x", number) for number in range(5)])
            report = run(Batch([source], journal, Tally()), engine_of(sink=sink, journal=journal))
            assert (report.skipped, report.entered) == (skipped, 5 - skipped)
    assert len(sink.mails) == 5


def test_what_was_begun_and_not_ended_is_sent_again_and_reported(kit, engine_of, tmp_path):
    class Killed(BaseException):
        pass

    def die(mail):
        raise Killed

    mails = [kit.raw_of("x", number) for number in range(3)]
    with Journal.open(tmp_path / "j", {}) as journal, pytest.raises(Killed):
        run(Batch([kit.list_source(mails)], journal, Tally()), engine_of(sink=kit.memory_sink(die), journal=journal))
    with Journal.open(tmp_path / "j", {}) as journal:
        report = run(Batch([kit.list_source(mails)], journal, Tally()), engine_of(journal=journal))
    assert report.in_doubt == ("list:nowhere:0",) and report.entered == 3


def test_a_journal_that_cannot_be_synced_tells_no_source(kit, engine_of, tmp_path, monkeypatch):
    source = kit.list_source([kit.raw_of("x")])
    journal = Journal.open(tmp_path / "j", {})

    def fail():
        raise OutputError("j", "cannot write", is_full=True)

    monkeypatch.setattr(journal, "sync", fail)
    with pytest.raises(OutputError):
        run(Batch([source], journal, Tally()), engine_of(journal=journal))
    assert not source.settled


def test_a_source_that_fails_does_not_stop_the_others(kit, engine_of):
    sink = kit.memory_sink()
    sources = [
        kit.list_source([kit.raw_of("one", 1)], InputError("a", "cannot be read to its end")),
        kit.list_source([kit.raw_of("two", 2)], RuntimeError("a bug")),
        kit.list_source([kit.raw_of("three", 3)]),
    ]
    tally = Tally()
    with pytest.raises(InputError, match="cannot be read to its end"):
        run(Batch(sources, None, tally), engine_of(sink=sink))
    assert [mail.message.subject for mail in sink.mails] == ["one", "two", "three"]
    assert tally.warnings == ["source 'list': RuntimeError: a bug"]


def test_a_source_that_does_not_open_stops_the_run_before_any_mail(kit, engine_of):
    class Closed(kit.list_source):
        def open(self):
            raise RuntimeError("locked")

    sink = kit.memory_sink()
    batch = Batch([kit.list_source([kit.raw_of("x")]), Closed()], None, Tally())
    with pytest.raises(SourceError, match="source 'list': RuntimeError: locked"):
        batch.open()
    assert not sink.mails


def test_a_source_that_cannot_let_go_is_a_warning(kit, engine_of):
    class Sticky(kit.list_source):
        def settle(self, outcome):
            raise PermissionError("not yours")

    report = run(Batch([Sticky([kit.raw_of("x")])], None, Tally()), engine_of())
    assert report.endings[Ending.DELIVERED] == 1
    assert report.warnings == ("source 'list' could not let go of nowhere:0: PermissionError: not yours",)


def test_a_limit_and_a_stop_end_the_batch(kit, engine_of):
    mails = [kit.raw_of("x", number) for number in range(9)]
    assert run(Batch([kit.list_source(mails)], None, Tally(), limit=4), engine_of()).entered == 4
    batch = Batch([kit.list_source(mails)], None, Tally())

    def stop(mail):
        batch.stop()
        return mail

    assert run(batch, engine_of(stop)).entered == 1


def test_progress_is_told_at_the_end_at_least(kit, engine_of):
    told = []
    mails = [kit.raw_of("x", number) for number in range(9)]
    run(Batch([kit.list_source(mails)], None, Tally(), told.append), engine_of())
    assert told[-1].entered == 9 and all(report.is_balanced for report in told)


def test_a_full_disk_ends_the_run_before_the_whole_archive_is_read_for_nothing(kit, engine_of):
    def full(mail):
        raise OutputError("/out", "cannot write: No space left on device", is_full=True)

    source = kit.list_source([kit.raw_of("x", number) for number in range(2 * HOPELESS)])
    batch = Batch([source], None, Tally())
    with pytest.raises(Hopeless, match=r"1,000 mails in a row .* No space left") as caught:
        run(batch, engine_of(sink=kit.memory_sink(full)))
    assert caught.value.exit_code == EX_TEMPFAIL
    assert batch.tally.entered == HOPELESS and source.settled == []


def test_mails_that_are_deferred_for_their_own_sake_end_no_run(kit, engine_of):
    source = kit.list_source([kit.raw_of("x", number) for number in range(HOPELESS + 1)])
    greylisting = engine_of(lambda mail: Verdict.defer("come again", status="4.7.1"))
    assert run(Batch([source], None, Tally()), greylisting).entered == HOPELESS + 1
