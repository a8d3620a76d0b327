import os
import sqlite3
import threading

import pytest

from mailpipe.errors import ConfigError, OutputError
from mailpipe.queue.store import Store
from mailpipe.smtp.envelope import Envelope

TO = Envelope.of("a@example.org", "b@example.net")


def database(queue):
    return queue.directory / "queue.db"


def content_files(queue):
    return [path for path in (queue.directory / "content").rglob("*") if path.is_file()]


def test_the_database_is_as_durable_as_sqlite_can_be(queue):
    connection = queue._store._open()
    assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2


def test_a_database_of_a_later_version_is_refused_with_its_remedy(queue, make_queue):
    queue.close()
    with sqlite3.connect(database(queue)) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ConfigError, match="upgrade"):
        make_queue()


def test_a_damaged_database_is_told_with_its_remedy(queue, make_queue):
    queue.put(b"x", TO, origin="test")
    queue.close()
    database(queue).write_bytes(b"not a database at all" * 1000)
    with pytest.raises(OutputError, match="rebuild"):
        make_queue()


def test_due_messages_are_found_by_the_index(queue):
    connection = queue._store._open()
    plan = connection.execute(
        "EXPLAIN QUERY PLAN SELECT id FROM message WHERE next_try <= 1 AND next_try IS NOT NULL AND lease = ''"
        " AND (NULL IS NULL OR route = '') ORDER BY next_try, rowid LIMIT 1"
    ).fetchall()
    assert "message_due" in plan[0][3] and "TEMP B-TREE" not in str(plan)


def test_threads_that_put_at_once_share_commits_and_lose_nothing(queue):
    names, lock = [], threading.Lock()

    def work(number):
        for turn in range(20):
            name = queue.put(b"%d %d" % (number, turn), TO, origin="thread")
            with lock:
                names.append(name)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(names) == sorted(entry.id for entry in queue.list()) and len(names) == 120
    assert len({entry.octets for entry in queue.list()}) == 120


def full(connection):
    # The page count is capped at what is there: the next page that is needed answers SQLITE_FULL.
    connection.execute("PRAGMA max_page_count = 1")


def test_a_database_that_is_full_leaves_nothing_of_the_message(queue):
    full(queue._store._open())
    acknowledged = []
    with pytest.raises(OutputError) as trouble:
        while len(acknowledged) < 200:
            acknowledged += [queue.put(b"x", TO, origin="o" * 2000)]
    assert trouble.value.is_full and trouble.value.exit_code == 75
    assert [entry.id for entry in queue.list()] == acknowledged
    assert len(content_files(queue)) == len(acknowledged)
    assert queue.doctor(deep=True) == ()


def test_forgetting_always_writes_so_that_a_failed_commit_cannot_come_back_from_the_log(queue):
    log = queue.directory / "queue.db-wal"
    before = log.read_bytes()
    queue._store.forget("never-recorded")
    assert log.read_bytes() != before and queue._store.is_gone("never-recorded")


def test_every_thread_of_a_shared_commit_hears_of_its_failure(queue, monkeypatch):
    def fail(*arguments):
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(queue._store, "_insert", fail)
    failures = []

    def work():
        try:
            queue.put(b"x", TO, origin="thread")
        except OutputError as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(failures) == 8 and content_files(queue) == []


@pytest.mark.parametrize("place", ["files", "postgres"], indirect=True)
def test_a_second_message_of_an_id_is_refused_and_the_first_stays(queue):
    entry = queue.show(queue.put(b"first", TO, origin="test"))
    with pytest.raises(OutputError, match="already"):
        queue._store.add(entry)
    assert [one.octets for one in queue.list()] == [b"first"] and not queue._store.is_gone(entry.id)


def test_an_interrupted_commit_is_no_success_for_the_others(queue, monkeypatch):
    real, calls = Store._insert, []

    def interrupted(self, connection, entry, marks=()):
        real(self, connection, entry, marks)
        calls.append(entry.id)
        if len(calls) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(Store, "_insert", interrupted)
    with pytest.raises(KeyboardInterrupt):
        queue.put(b"x", TO, origin="test")
    assert list(queue.list()) == [] and content_files(queue) == []
    second = queue.put(b"y", TO, origin="test")
    assert [entry.id for entry in queue.list()] == [second]


def test_both_sides_of_a_fork_can_use_the_queue(queue):
    first = queue.put(b"before", TO, origin="parent")
    child = os.fork()
    if child == 0:
        status = 1
        try:
            queue.put(b"child", TO, origin="child")
            taken = [entry.origin for entry in queue.lease() if entry.origin == "child"]
            status = 0 if taken == ["child"] else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    queue.put(b"after", TO, origin="parent")
    assert [entry.origin for entry in queue.list()] == ["parent", "child", "parent"]
    # The child is dead: what it had leased is in doubt at once, the rest is free.
    assert [entry.origin for entry in queue.lease()] == ["parent"]
    assert queue.show(first).recipients[0].state == "in-doubt"
    assert queue.doctor(deep=True) == ()


def test_a_listing_is_read_page_by_page_and_complete(queue, monkeypatch):
    monkeypatch.setattr("mailpipe.queue.store._PAGE", 3)
    names = [queue.put(b"x", TO, origin=str(number)) for number in range(10)]
    assert [entry.id for entry in queue.list()] == names


@pytest.mark.parametrize("look", [lambda queue, identifier: next(iter(queue.list())), lambda queue, identifier: queue.show(identifier)])
def test_a_message_that_goes_while_it_is_looked_at_is_seen_whole(make_queue, look):
    queue, other = make_queue(), make_queue()
    identifier = queue.put(b"x", Envelope.of("ann@example.org", "bob@example.net"), origin="test")
    left = [identifier]

    def meddle(statement):
        if "FROM recipient" in statement and left:
            other.remove(left.pop())

    queue._store._open().set_trace_callback(meddle)
    assert [one.address for one in look(queue, identifier).recipients] == ["bob@example.net"]
    assert not left and not list(queue.list())
