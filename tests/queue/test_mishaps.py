"""What people, clocks and other programs do to a queue behind its back: nothing is lost, nothing is sent unasked twice."""

import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mailpipe
from mailpipe.errors import OutputError
from mailpipe.queue import Letter, Queue, Schedule, deliver_due, deliver_forever, set_database_aside
from mailpipe.smtp.envelope import Envelope

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(mailpipe.__file__).parent.parent)}
TO = Envelope.of("ann@example.org", "bob@example.net")
BOTH = Envelope.of("ann@example.org", "bob@example.net", "carol@example.net")
DATABASE = ("queue.db", "queue.db-wal", "queue.db-shm")
YEAR = 365 * 86400.0


def states(queue, identifier):
    return [one.state.value for one in queue.show(identifier).recipients]


def content_files(queue):
    return [path for path in (queue.directory / "content").rglob("*") if path.is_file()]


def delete_database(queue):
    for name in DATABASE:
        (queue.directory / name).unlink(missing_ok=True)


@pytest.fixture
def told():
    return []


@pytest.fixture
def reporter(told):
    def report(notice):
        told.append((notice.told.value, notice.entry.id))
        return Letter(b"Subject: report\r\n\r\n", Envelope.of("", notice.entry.sender.reverse_path))

    return report


# -- the database -------------------------------------------------------------------------------------------------


def test_nothing_is_acknowledged_into_a_database_that_somebody_deleted(queue, make_queue, answering):
    kept = queue.put(b"kept", TO, origin="test")
    (entry,) = queue.lease()
    delete_database(queue)
    for act in (
        lambda: queue.put(b"new", TO, origin="test"),
        lambda: queue.settle(entry, answering("delivered")(entry)),
        lambda: next(queue.lease()),
        make_queue,
    ):
        with pytest.raises(OutputError, match=r"deleted or replaced|is missing"):
            act()
    assert [path.stem for path in content_files(queue)] == [kept]
    set_database_aside(queue.directory)
    heir = make_queue()
    assert [one.kind for one in heir.doctor(repair=True)] == ["orphan"]
    assert states(heir, kept) == ["held"] and heir.show(kept).octets == b"kept"


def test_a_commit_is_not_acknowledged_where_the_database_goes_in_the_middle_of_it(queue, monkeypatch):
    queue.put(b"kept", TO, origin="test")
    real = queue._store._insert

    def insert(*arguments):
        real(*arguments)
        delete_database(queue)

    monkeypatch.setattr(queue._store, "_insert", insert)
    with pytest.raises(OutputError, match="deleted or replaced"):
        queue.put(b"new", TO, origin="test")
    assert len(content_files(queue)) == 1


USER = """
import os, sys
from pathlib import Path
from mailpipe.errors import OutputError
from mailpipe.queue import Queue
from mailpipe.smtp.envelope import Envelope

queue = Queue(Path(sys.argv[1]))
queue.put(b"first", Envelope.of("a@x.test", "b@x.test"), origin="user")
os.write(1, b"ready\\n")
sys.stdin.readline()
try:
    queue.put(b"second", Envelope.of("a@x.test", "b@x.test"), origin="user")
except OutputError as error:
    print("replaced" if "replaced" in str(error) else error)
"""


def test_whoever_has_the_old_database_open_does_not_harm_the_one_that_was_put_in_its_place(tmp_path):
    place, other = tmp_path / "queue", tmp_path / "other"
    with subprocess.Popen(
        [sys.executable, "-c", USER, place], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENVIRONMENT, text=True
    ) as user:
        assert user.stdout.readline() == "ready\n"
        Queue(other).close()
        for name in DATABASE[1:]:
            (place / name).unlink()
        (other / "queue.db").rename(place / "queue.db")
        with Queue(place) as queue:
            names = [queue.put(b"third", TO, origin="test") for _ in range(3)]  # in its log, not in its file
            assert user.communicate("go\n")[0] == "replaced\n"
            copy = tmp_path / "copy"
            shutil.copytree(place, copy)  # as after a power cut
    with Queue(copy) as queue:
        assert [entry.id for entry in queue.list()] == names


def test_a_database_that_is_missing_beside_messages_is_not_silently_made_anew(queue, make_queue):
    names = [queue.put(b"x", TO, origin="test") for _ in range(3)]
    queue.close()
    delete_database(queue)
    with pytest.raises(OutputError, match=r"put it back from a backup.*--rebuild"):
        make_queue()
    assert len(content_files(queue)) == 3
    set_database_aside(queue.directory)
    heir = make_queue()
    assert [finding.kind for finding in heir.doctor(repair=True)] == ["orphan"] * 3
    assert sorted(entry.id for entry in heir.list("held")) == sorted(names) and list(heir.lease()) == []


def test_an_older_database_sends_no_failure_of_what_was_delivered_since_and_loses_nothing(
    make_queue, answering, reporter, told, tmp_path
):
    queue = make_queue(reporter=reporter)
    delivered, waiting = (queue.put(b"x", TO, origin="test") for _ in range(2))
    queue.hold(waiting)
    queue.close()
    shutil.copy(queue.directory / "queue.db", tmp_path / "backup")
    queue = make_queue(reporter=reporter)
    assert deliver_due(queue, answering("delivered")).delivered == 1
    later = queue.put(b"later", TO, origin="test")
    queue.close()
    delete_database(queue)
    shutil.copy(tmp_path / "backup", queue.directory / "queue.db")
    queue = make_queue(reporter=reporter)
    assert deliver_due(queue, answering("delivered")).messages == 0 and told == []
    assert states(queue, delivered) == ["held"] and "old database" in queue.show(delivered).recipients[0].diagnostic
    assert [finding.kind for finding in queue.doctor(repair=True)] == ["orphan", "missing-content"]
    assert states(queue, later) == ["held"] and queue.show(later).octets == b"later" and told == []
    queue.bounce(delivered)
    assert told == [("failed", delivered)]  # by the word of a person


# -- the contents -------------------------------------------------------------------------------------------------


def test_a_folder_of_contents_that_is_away_stops_the_deliverer_and_fails_nobody(queue, answering):
    identifier = queue.put(b"x", TO, origin="test")
    folder = queue.show(identifier).content.parent
    away = folder.with_name("away")
    folder.rename(away)
    with pytest.raises(OutputError, match="mounted"):
        deliver_due(queue, answering("delivered"))
    with pytest.raises(OutputError, match="mounted"):
        queue.doctor(repair=True)
    assert states(queue, identifier) == ["waiting"] and queue.counts().leased == 0
    away.rename(folder)
    assert deliver_due(queue, answering("delivered")).delivered == 1


def test_a_message_that_was_changed_on_disk_is_not_sent(queue):
    identifier = queue.put(b"pay 100 to ann", TO, origin="test")
    with queue.show(identifier).content.open("r+b") as file:
        file.write(b"pay 900")

    def transport(entry):
        raise AssertionError(f"sent {entry.octets}")

    counts = deliver_due(queue, transport)
    assert counts.deferred == 1 and "not what was put in" in queue.show(identifier).recipients[0].diagnostic


def test_a_second_name_of_a_content_file_outlives_the_message_and_stays_as_it_was(queue, answering, tmp_path):
    identifier = queue.put(b"x" * 5000, TO, origin="test")
    link = tmp_path / "backup.mail"
    link.hardlink_to(queue.show(identifier).content)
    before = link.read_bytes()
    assert deliver_due(queue, answering("delivered")).delivered == 1
    assert link.read_bytes() == before and queue.doctor(deep=True) == ()


def test_the_folder_of_owners_may_be_emptied_under_a_deliverer(queue, make_queue, answering):
    for _ in range(2):
        queue.put(b"x", TO, origin="test")
    leasing = queue.lease()
    first, second = next(leasing), next(leasing)
    shutil.rmtree(queue.directory / "owners")
    assert queue.stay(first)  # as a long attempt does every few seconds
    other = make_queue()
    assert list(other.lease()) == [] and other.counts().leased == 2
    for entry in (first, second):
        queue.settle(entry, answering("delivered")(entry))
    assert list(other.list()) == []


# -- the disk -----------------------------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path):
    """A file system of its own, and what mounts it in another way. What becomes read-only in use: `test_system_faults`."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(options):
        return subprocess.run(["mount", "-o", options, "none", str(place)], capture_output=True).returncode

    if os.geteuid() or shutil.which("mount") is None or subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "none", str(place)], capture_output=True
    ).returncode:
        pytest.skip("only root may mount a file system here")
    yield place, mount
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_read_only_spool_cannot_be_opened_and_says_why(disk):
    place, mount = disk
    with Queue(place / "queue") as queue:
        identifier = queue.put(b"x", TO, origin="test")
    assert mount("remount,ro") == 0
    try:
        with pytest.raises(OutputError, match="mount it for writing"):
            Queue(place / "queue")
    finally:
        mount("remount,rw")
    with Queue(place / "queue") as queue:
        assert queue.show(identifier).octets == b"x"


class Trouble:
    """A store whose `change` fails while it is told to."""

    def __init__(self, queue, monkeypatch, error):
        self.is_on, self.real, self.error = False, queue._store.change, error
        monkeypatch.setattr(queue._store, "change", self)

    def __call__(self, *arguments):
        if self.is_on:
            raise self.error
        return self.real(*arguments)


def test_a_result_that_cannot_be_recorded_is_kept_until_it_can_be_and_nothing_is_sent_meanwhile(
    queue, clock, answering, monkeypatch
):
    trouble = Trouble(queue, monkeypatch, OutputError("queue.db", "the disk is full", is_full=True))
    first, second = (queue.put(b"x", TO, origin="test") for _ in range(2))
    begun, sent = clock.timestamp, []

    def transport(entry):
        sent.append((entry.id, clock.timestamp - begun))
        trouble.is_on = len(sent) == 1
        return answering("delivered")(entry)

    def wait(seconds):
        clock.sleep(seconds)
        trouble.is_on = clock.timestamp < begun + 60

    counts = deliver_forever(queue, transport, wait, should_stop=lambda: len(sent) == 2)
    assert counts.delivered == 2 and [name for name, _ in sent] == [first, second] and sent[1][1] >= 60
    assert list(queue.list()) == []


def test_who_is_told_to_stop_meanwhile_leaves_it_in_doubt(make_queue, clock, answering, monkeypatch):
    queue = make_queue(in_doubt="hold")
    trouble = Trouble(queue, monkeypatch, OutputError("queue.db", "the disk is full", is_full=True))
    trouble.is_on, waits = True, []
    identifier = queue.put(b"x", TO, origin="test")
    with pytest.raises(OutputError, match="full"):
        deliver_forever(
            queue, answering("delivered"), lambda seconds: waits.append(seconds), should_stop=lambda: len(waits) > 5
        )
    trouble.is_on = False
    queue.close()
    assert states(make_queue(in_doubt="hold"), identifier) == ["in-doubt"]


def test_a_database_that_is_away_is_waited_for_and_one_that_is_damaged_is_not(queue, clock, answering, monkeypatch):
    queue.put(b"x", TO, origin="test")
    real, busy, calls = queue._store.take, OutputError("queue.db", "does not answer", is_full=True), []

    def take(*arguments, **named):
        calls.append(clock.timestamp)
        if len(calls) < 4:
            raise busy
        return real(*arguments, **named)

    monkeypatch.setattr(queue._store, "take", take)
    counts = deliver_forever(queue, answering("delivered"), clock.sleep, should_stop=lambda: len(calls) > 5)
    assert counts.delivered == 1
    assert [round(after - before) for before, after in itertools.pairwise(calls[:4])] == [2, 5, 10]
    busy.exit_code, calls[:] = 73, []
    with pytest.raises(OutputError, match="does not answer"):
        deliver_forever(queue, answering("delivered"), clock.sleep)


# -- clocks and people --------------------------------------------------------------------------------------------


def test_mail_from_a_time_when_the_clock_was_ahead_is_found_and_made_due(make_queue, clock, answering):
    queue = make_queue(retry=Schedule.parse("5m", "5d", 0))
    clock.timestamp += 70 * YEAR
    late = queue.put(b"x", TO, origin="test")
    deliver_due(queue, answering("deferred"))
    clock.timestamp -= 70 * YEAR
    fine = queue.put(b"x", TO, origin="test")
    assert [entry.id for entry in queue.due()] == [fine]
    (finding,) = queue.doctor()
    assert finding.kind == "clock" and "ahead" in finding.sentence
    queue.doctor(repair=True)
    assert queue.doctor() == () and {entry.id for entry in queue.due()} == {late, fine}
    assert queue.show(late).since == clock.timestamp


def test_removing_while_it_is_delivered_ends_in_peace(queue, answering):
    for journals in (False, True):
        identifier = queue.put(b"x", BOTH, origin="test")

        def transport(entry, journals=journals, identifier=identifier):
            if journals:
                queue.journal(entry)
            queue.remove(identifier)
            raise ConnectionError("it broke") if journals else OSError("it broke")

        counts = deliver_due(queue, transport, journals=journals)
        assert counts.messages == 1 and list(queue.list()) == [] and content_files(queue) == []


@pytest.mark.parametrize("verb", ["hold", "release", "requeue", "bounce"])
def test_a_verb_for_some_recipients_leaves_the_others_as_they_are(queue, answering, verb):
    identifier = queue.put(b"x", BOTH, origin="test")
    deliver_due(queue, answering("deferred"))
    before = queue.show(identifier).recipients[1]
    getattr(queue, verb)(identifier, only=lambda one: one.address == "bob@example.net")
    assert queue.show(identifier).recipients[1] == before
    assert verb == "release" or queue.show(identifier).recipients[0] != before


def test_removing_for_some_recipients_keeps_what_others_wait_for(queue, answering):
    identifier = queue.put(b"x", BOTH, origin="test")
    deliver_due(queue, answering("failed", carol="deferred"))

    def is_failed(one):
        return one.state.value == "failed"

    assert queue.remove(identifier, only=is_failed) == () and queue.show(identifier).octets == b"x"
    queue.flush()
    deliver_due(queue, answering("delivered"))
    assert queue.remove(identifier, only=is_failed) == (identifier,) and content_files(queue) == []


def test_the_json_of_every_state_is_plain(queue, answering):
    queue.put(b"x", BOTH, origin="test\x1b[31m", in_doubt={"bob@example.net"})
    assert json.dumps([entry.to_json() for entry in queue.list()]).isascii()
