"""The queue on a real PostgreSQL: what it has in common with the other is in `CONTRACT` of conftest.py."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from queue import SimpleQueue

import pytest

import mailpipe
from mailpipe.errors import ConfigError, OutputError
from mailpipe.queue import Queue, RecipientState, deliver_due, deliver_forever
from mailpipe.smtp.envelope import Envelope

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(mailpipe.__file__).parent.parent)}
TO = Envelope.of("a@example.org", "b@example.net")
MEBIBYTE = 1 << 20
MESSAGE = b"From: ann@example.org\r\nTo: bob@example.net\r\n\r\nHello.\r\n"

on_postgres = pytest.mark.parametrize("place", ["postgres"], indirect=True)
on_both = pytest.mark.parametrize("place", ["postgres", "postgres-and-files"], indirect=True)


def rows(queue, statement, *values):
    return queue._store.query(statement, values)


@on_postgres
def test_a_commit_is_on_disk_even_where_the_server_would_not_wait_for_it(queue):
    # The server of these tests has synchronous_commit = off.
    assert rows(queue, "SHOW synchronous_commit") == [("on",)]


@on_postgres
def test_a_large_message_is_kept_in_pieces_and_comes_back_whole(queue):
    octets = os.urandom(3 * MEBIBYTE + 5)
    name = queue.put((octets[start : start + 70_001] for start in range(0, len(octets), 70_001)), TO, origin="test")
    assert rows(queue, "SELECT count(*) FROM content") == [(4,)]
    (entry,) = queue.lease()
    assert entry.octets == octets and entry.digest == hashlib.sha256(octets).hexdigest()
    with entry.view() as view:
        assert view.nbytes == entry.size == len(octets)
    assert queue.doctor(deep=True) == () and queue.show(name).size == len(octets)


@on_postgres
@pytest.mark.parametrize("size", [0, 1, MEBIBYTE - 1, MEBIBYTE, MEBIBYTE + 1])
def test_every_size_comes_back(queue, size):
    octets = b"x" * size
    assert queue.show(queue.put(octets, TO, origin="test")).octets == octets
    assert queue.doctor(deep=True) == ()


@on_postgres
def test_pieces_of_a_message_that_breaks_off_are_taken_away(queue):
    def pieces():
        yield b"x" * (2 * MEBIBYTE)
        yield b"y"
        raise ValueError("the source broke")

    with pytest.raises(ValueError, match="the source broke"):
        queue.put(pieces(), TO, origin="test")
    assert rows(queue, "SELECT count(*) FROM content") == [(0,)] and list(queue.list()) == []


@on_postgres
def test_what_a_killed_put_left_is_found_a_day_later_and_not_before(queue):
    queue._store.add_piece("0123456789", 0, b"half a mess")
    assert queue.doctor(repair=True) == ()
    queue._store.query("UPDATE content SET written = written - 90000", writes=True)
    (finding,) = queue.doctor(repair=True)
    assert finding.kind == "unfinished" and finding.is_repaired
    assert rows(queue, "SELECT count(*) FROM content") == [(0,)]


@on_postgres
def test_a_changed_and_a_missing_message_are_found(queue):
    changed, missing = (queue.put(b"precious", TO, origin="test") for _ in range(2))
    queue._store.query("UPDATE content SET octets = 'rubbish!' WHERE message = %s", (changed,), writes=True)
    queue._store.query("DELETE FROM content WHERE message = %s", (missing,), writes=True)
    assert {(finding.kind, finding.is_repaired) for finding in queue.doctor(repair=True, deep=True)} == {
        ("changed-content", True), ("missing-content", True),
    }  # fmt: skip
    assert queue.show(changed).recipients[0].state is RecipientState.HELD
    assert queue.show(missing).recipients[0].state is RecipientState.HELD


@on_both
def test_what_was_delivered_leaves_nothing(queue, answering, tmp_path):
    queue.put(b"x", TO, origin="test")
    assert deliver_due(queue, answering("delivered")).delivered == 1
    assert rows(queue, "SELECT (SELECT count(*) FROM content) + (SELECT count(*) FROM message)") == [(0,)]
    assert not list(tmp_path.rglob("*.mail"))


@pytest.mark.parametrize("place", ["postgres-and-files"], indirect=True)
def test_messages_may_lie_in_a_folder_that_all_machines_see(queue, tmp_path, answering):
    queue.put(b"x" * 10, TO, origin="test")
    (file,) = tmp_path.rglob("*.mail")
    assert file.read_bytes().startswith(b"x" * 10) and rows(queue, "SELECT count(*) FROM content") == [(0,)]
    file.rename(file.with_name("0" * 20 + ".mail"))
    kinds = {finding.kind for finding in queue.doctor(repair=True)}
    assert "missing-content" in kinds and not (tmp_path / "queue" / "queue.db").exists()


@on_postgres
def test_words_that_the_database_cannot_keep_stay_readable(queue, result):
    queue.put(b"x", TO, origin="/mail/\udce4\0")
    (entry,) = queue.lease()
    queue.settle(entry, [result("b@example.net", "deferred", "no\0t now \udcff")])
    (entry,) = queue.list()
    assert entry.origin == "/mail/\\udce4\\x00" and entry.recipients[0].diagnostic == "no\\x00t now \\udcff"


@on_postgres
def test_due_messages_are_found_by_the_index(queue):
    store = queue._store
    with store._reading() as connection:
        connection.execute("SET LOCAL enable_seqscan = off")
        plan = connection.execute(
            """EXPLAIN SELECT id FROM message WHERE next_try <= 1 AND lease = ''
               ORDER BY next_try, number LIMIT 1 FOR UPDATE SKIP LOCKED"""
        ).fetchall()
    assert "message_due" in str(plan) and "Sort" not in str(plan)


@on_postgres
def test_the_clock_is_that_of_the_database_and_is_not_asked_at_each_question(queue, monkeypatch):
    store, asked = queue._store, []
    real = store._reading
    monkeypatch.setattr(store, "_reading", lambda: (asked.append(1), real())[1])
    first, second = store.clock(), store.clock()
    (moment,) = rows(queue, "SELECT extract(epoch FROM clock_timestamp())::float8")[0]
    assert first <= second and abs(moment - second) < 5.0 and len(asked) == 2
    monkeypatch.setattr("time.time", lambda: 0.0)
    assert abs(store.clock() - moment) < 5.0


@on_postgres
def test_who_goes_in_good_order_leaves_no_lease(make_queue):
    first, heir = make_queue(), make_queue()
    first.put(b"x", TO, origin="test")
    (_entry,) = first.lease(is_attempt=False)
    first.close()
    assert len(list(heir.lease())) == 1


@on_postgres
def test_threads_that_put_at_once_lose_nothing(queue):
    names = []

    def work(number):
        names.extend(queue.put(b"%d %d" % (number, turn), TO, origin="thread") for turn in range(15))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(names) == sorted(entry.id for entry in queue.list()) and len(names) == 60
    assert len({entry.octets for entry in queue.list()}) == 60


@on_postgres
def test_both_sides_of_a_fork_can_use_the_queue(queue):
    queue.put(b"before", TO, origin="parent")
    child = os.fork()
    if child == 0:
        status = 1
        try:
            queue.put(b"child", TO, origin="child")
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    queue.put(b"after", TO, origin="parent")
    assert [entry.octets for entry in queue.list()] == [b"before", b"child", b"after"]


@on_postgres
def test_a_listing_is_read_page_by_page_and_complete(queue, monkeypatch):
    monkeypatch.setattr("mailpipe.queue.postgres._PAGE", 3)
    names = [queue.put(b"x", TO, origin=str(number)) for number in range(10)]
    assert [entry.id for entry in queue.list()] == names


@on_postgres
def test_tables_of_a_later_version_are_refused_with_the_remedy(queue, make_queue):
    queue._store.query("UPDATE version SET number = 99", writes=True)
    with pytest.raises(ConfigError, match="upgrade"):
        make_queue()


def test_several_that_open_a_new_queue_at_once_make_its_tables_once(postgres_server):
    database, opened, troubles = postgres_server.new_database(), [], []

    def work():
        try:
            opened.append(Queue(database=database))
        except Exception as error:  # noqa: BLE001 shown below
            troubles.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for queue in opened:
        queue.close()
    assert not troubles and len(opened) == 6


def test_without_psycopg_the_extra_is_named():
    program = "import sys; sys.modules['psycopg'] = None; from mailpipe.queue import Queue; Queue(database='postgresql:///x')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=ENVIRONMENT)
    assert "ConfigError" in done.stderr and "pip install 'mailpipe[postgres]'" in done.stderr


def test_a_string_that_is_none_is_told_without_its_password():
    pytest.importorskip("psycopg")
    with pytest.raises(ConfigError, match="postgresql://") as trouble:
        Queue(database="password=geheim nonsense")
    assert "geheim" not in str(trouble.value)


def test_a_server_that_is_not_there_is_something_for_later_and_its_password_stays_here(tmp_path):
    pytest.importorskip("psycopg")
    with pytest.raises(OutputError, match="try again later") as trouble:
        Queue(database=f"postgresql://mail:geheim@/mail?host={tmp_path}")
    assert trouble.value.exit_code == 75 and "geheim" not in str(trouble.value)


# Delivers until nothing is due and writes down what it delivered.
DELIVERER = """
import os, sys
from mailpipe.queue import Queue, RecipientFate, RecipientResult, deliver_due
from mailpipe.status import EnhancedStatus

queue = Queue(database=sys.argv[1], lease_seconds=float(sys.argv[2]))
os.write(1, b"ready\\n")
sys.stdin.readline()

def transport(entry):
    assert entry.octets == entry.origin.encode()
    os.write(1, (entry.id + "\\n").encode())
    if len(sys.argv) > 3:
        sys.stdin.readline()
    done = RecipientFate.DELIVERED, EnhancedStatus(2, 0, 0)
    return [RecipientResult(path, *done) for path in entry.envelope.forward_paths]

deliver_due(queue, transport)
"""


def start(*arguments):
    command = [sys.executable, "-c", DELIVERER, *map(str, arguments)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENVIRONMENT, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def test_two_processes_share_a_queue_and_no_message_goes_twice(postgres_server):
    database = postgres_server.new_database()
    with Queue(database=database) as queue:
        names = [queue.put(str(number).encode(), TO, origin=str(number)) for number in range(120)]
        workers = [start(database, 3600) for _ in range(2)]
        for worker in workers:
            worker.stdin.write("go\n")
            worker.stdin.flush()
        shares = [worker.communicate()[0].split() for worker in workers]
        assert [worker.returncode for worker in workers] == [0, 0]
        assert sorted(shares[0] + shares[1]) == sorted(names) and all(shares)
        assert queue.counts().messages == 0 and queue.doctor(deep=True) == ()


def test_a_database_that_is_restarted_in_the_middle_is_waited_for_and_nothing_is_in_doubt(server_of_its_own, answering):
    with Queue(database=server_of_its_own.new_database(), in_doubt="hold") as queue:
        for number in range(3):
            queue.put(b"%d" % number, TO, origin="test")
        sent, waits = [], []

        def transport(entry):
            sent.append(entry.octets)
            if len(sent) == 2:
                server_of_its_own.stop("immediate")
            return answering("delivered")(entry)

        def wait(seconds):
            waits.append(seconds)
            if len(waits) == 2:
                server_of_its_own.start()

        counts = deliver_forever(queue, transport, wait, should_stop=lambda: len(sent) == 3)
        assert counts.delivered == 3 and sent == [b"0", b"1", b"2"] and waits == [2.0, 5.0]
        assert list(queue.list()) == []


PIPELINE = """\
[source]
use = "stdin"

[envelope]
recipients = ["bob@example.net"]

[sink]
use = "smtp"
host = "127.0.0.1"
port = 1

[queue]
database = "{database}"
"""


def test_a_pipeline_file_names_the_database(postgres_server, tmp_path):
    (tmp_path / "p.toml").write_text(PIPELINE.format(database=postgres_server.new_database()))

    def mailpipe_says(*words):
        command = [sys.executable, "-m", "mailpipe", *words, "--json"]
        done = subprocess.run(command, cwd=tmp_path, input=MESSAGE, capture_output=True, env=ENVIRONMENT)
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    assert mailpipe_says("run", "p.toml")["endings"]["queued"] == 1
    (listed,) = mailpipe_says("queue", "list", "p.toml")["messages"]
    assert listed["recipients"][0]["address"] == "bob@example.net" and listed["attempts"] == 1
    assert not (tmp_path / "queue").exists()


@pytest.fixture
def server_of_its_own(postgres_server):
    server = type(postgres_server)(postgres_server._programs)
    server.start()
    yield server
    server.close()


def test_a_server_that_falls_loses_nothing_and_is_used_again_when_it_is_back(server_of_its_own, answering):
    with Queue(database=server_of_its_own.new_database()) as queue:
        names = [queue.put(str(number).encode(), TO, origin=str(number)) for number in range(20)]
        (first, *_) = queue.lease()
        server_of_its_own.stop("immediate")
        for act in (
            lambda: queue.put(b"x", TO, origin="meanwhile"),
            lambda: queue.settle(first, answering("delivered")(first)),
            lambda: list(queue.lease()),
            queue.counts,
        ):
            with pytest.raises(OutputError, match="try again later") as trouble:
                act()
            assert trouble.value.exit_code == 75
        server_of_its_own.start()
        assert [entry.id for entry in queue.list()] == names
        queue.settle(first, answering("delivered")(first))
        assert queue.put(b"after", TO, origin="after") in {entry.id for entry in queue.list()}
        assert len(list(queue.list())) == 20 and queue.doctor(deep=True) == ()


def test_a_commit_whose_answer_was_lost_is_taken_back_because_put_said_no(server_of_its_own, monkeypatch):
    with Queue(database=server_of_its_own.new_database()) as queue:
        kept = queue.put(b"before", TO, origin="before")
        store, real = queue._store, queue._store._insert

        def insert_and_fall(connection, entry, marks):
            real(connection, entry, marks)
            connection.execute("COMMIT")  # reached the disk, and then the answer is lost
            server_of_its_own.stop("immediate")

        monkeypatch.setattr(store, "_insert", insert_and_fall)
        with pytest.raises(OutputError, match="try again later"):
            queue.put(b"x", TO, origin="lost")
        monkeypatch.undo()
        server_of_its_own.start()
        assert [entry.id for entry in queue.list()] == [kept]
        assert rows(queue, "SELECT count(*) FROM content") == [(1,)] and queue.doctor(deep=True) == ()


def test_servers_that_fall_again_and_again_lose_no_acknowledged_message(server_of_its_own):
    with Queue(database=server_of_its_own.new_database()) as queue:
        acknowledged, refused, done, heard = {}, 0, threading.Event(), SimpleQueue()

        def work():
            nonlocal refused
            while not done.is_set():
                octets = os.urandom(2000)
                try:
                    acknowledged[queue.put(octets, TO, origin="restless")] = octets
                    heard.put(None)
                except OutputError:
                    refused += 1

        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for _ in range(3):
            for _ in range(20):
                heard.get(timeout=60)
            server_of_its_own.stop("immediate")
            server_of_its_own.start()
        done.set()
        for thread in threads:
            thread.join()
        assert refused and {entry.id: entry.octets for entry in queue.list()} == acknowledged
        assert queue.doctor(deep=True) == ()


def end_sessions(queue, database):
    """What a server does that is restarted, or an administrator: every connection to the queue but this one ends."""
    with queue._store._writing() as connection:
        connection.execute(
            """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE application_name = 'mailpipe' AND pid <> pg_backend_pid()"""
        )


def test_a_deliverer_whose_connections_were_cut_takes_its_name_anew_before_it_goes_on(postgres_server, answering):
    database = postgres_server.new_database()
    with Queue(database=database) as cut, Queue(database=database) as other:
        names = [cut.put(b"x", TO, origin="test") for _ in range(3)]
        leasing = cut.lease()
        first = next(leasing)
        name = cut._owner.name
        end_sessions(other, database)
        cut.settle(first, answering("delivered")(first))
        second = next(leasing)
        assert cut._owner.name == name and other._store.is_alive(name)
        assert [entry.id for entry in other.lease(is_attempt=False)] == names[2:]
        cut.settle(second, answering("delivered")(second))
        assert [entry.id for entry in other.list()] == names[2:]


def test_what_was_in_hand_when_the_connections_were_cut_is_taken_over_and_not_sent_again(postgres_server, answering):
    database = postgres_server.new_database()
    with Queue(database=database, in_doubt="hold") as cut, Queue(database=database, in_doubt="hold") as other:
        identifier = cut.put(b"x", TO, origin="test")

        def transport(entry):
            end_sessions(other, database)
            assert deliver_due(other, answering("delivered")).messages == 0
            assert other.show(identifier).recipients[0].state is RecipientState.IN_DOUBT
            return answering("deferred")(entry)

        assert deliver_due(cut, transport).deferred == 1
        (one,) = other.show(identifier).recipients
        assert (one.state, one.attempts) == (RecipientState.WAITING, 1)


def test_a_deliverer_without_a_database_takes_nothing_more(server_of_its_own, answering):
    database = server_of_its_own.new_database()
    with Queue(database=database, in_doubt="hold") as queue:
        for number in range(3):
            queue.put(b"%d" % number, TO, origin="test")
        sent = []

        def transport(entry):
            sent.append(entry.octets)
            server_of_its_own.stop("immediate")
            return answering("delivered")(entry)

        with pytest.raises(OutputError, match="try again later"):
            deliver_due(queue, transport)
        assert sent == [b"0"]
        server_of_its_own.start()
        assert deliver_due(queue, lambda entry: sent.append(entry.octets) or answering("delivered")(entry)).messages == 2
    with Queue(database=database, in_doubt="hold") as queue:
        assert sent == [b"0", b"1", b"2"] and [one.recipients[0].state.value for one in queue.list()] == ["in-doubt"]
