import os
import sqlite3

import pytest

from mailpipe.queue import set_database_aside
from mailpipe.smtp.envelope import Envelope, ForwardPath

TO = Envelope("ann@example.org", (ForwardPath("bob@example.net", ("NEVER",)), ForwardPath("\udcff@x")))


def kinds(findings):
    return [finding.kind for finding in findings]


def lose_row(queue, identifier):
    with queue._store._writing() as connection:
        connection.execute("DELETE FROM message WHERE id = ?", (identifier,))


def test_a_healthy_queue_has_no_findings(queue):
    for number in range(5):
        queue.put(os.urandom(number * 100), TO, origin="test")
    assert queue.doctor(deep=True) == ()


def test_an_orphan_is_told_and_with_repair_it_is_held(queue):
    identifier = queue.put(b"octets", TO, origin="archive:1", route="relay")
    before = queue.show(identifier)
    lose_row(queue, identifier)
    assert kinds(queue.doctor()) == ["orphan"] and list(queue.list()) == []
    (finding,) = queue.doctor(repair=True)
    assert finding.is_repaired and finding.to_json()["kind"] == "orphan"
    after = queue.show(identifier)
    assert after.envelope == before.envelope and after.octets == b"octets"
    assert (after.origin, after.route, after.created) == (before.origin, before.route, before.created)
    assert [one.state.value for one in after.recipients] == ["held", "held"]
    assert list(queue.lease()) == [] and queue.doctor(deep=True) == ()
    queue.release(identifier)
    assert len(list(queue.lease())) == 1


def test_a_message_that_is_being_put_in_is_left_alone(queue, make_queue):
    doctor = make_queue()
    seen = []

    def pieces():
        yield b"half"
        seen.append(doctor.doctor(repair=True))
        yield b"whole"

    real = queue._store.add
    queue._store.add = lambda entry: (seen.append(doctor.doctor(repair=True)), real(entry))
    identifier = queue.put(pieces(), TO, origin="test")
    assert seen == [(), ()] and queue.show(identifier).octets == b"halfwhole"


def test_what_a_crash_left_unfinished_is_taken_away(queue):
    (queue.directory / "content" / "z" / "0000z.part").write_bytes(b"half a mess")
    assert kinds(queue.doctor()) == ["unfinished"]
    assert kinds(queue.doctor(repair=True)) == ["unfinished"]
    assert queue.doctor() == ()


def test_a_file_that_nobody_can_read_is_set_aside_not_deleted(queue):
    (queue.directory / "content" / "z" / "0000z.mail").write_bytes(b"precious")
    assert kinds(queue.doctor(repair=True)) == ["unreadable"]
    assert (queue.directory / "damaged" / "0000z.mail").read_bytes() == b"precious"
    assert queue.doctor() == ()


def test_content_that_is_missing_holds_the_message_for_a_person(queue):
    identifier = queue.put(b"x", TO, origin="test")
    queue.show(identifier).content.unlink()
    assert kinds(queue.doctor()) == ["missing-content"]
    queue.doctor(repair=True)
    assert {one.state.value for one in queue.show(identifier).recipients} == {"held"}
    assert "an old database was put back" in queue.show(identifier).recipients[0].diagnostic


@pytest.mark.parametrize("deep", [True, False])
def test_content_that_was_changed_is_held(queue, deep):
    identifier = queue.put(b"x" * 100, TO, origin="test")
    with queue.show(identifier).content.open("r+b") as file:
        file.write(b"y") if deep else file.truncate(50)
    assert kinds(queue.doctor(deep=deep, repair=True)) == ["changed-content"]
    assert {one.state.value for one in queue.show(identifier).recipients} == {"held"}
    assert list(queue.lease()) == []


def test_the_owners_of_killed_processes_are_swept(queue):
    (queue.directory / "owners" / "feedbeef").touch()
    queue.doctor(repair=True)
    assert list((queue.directory / "owners").iterdir()) == []


def test_a_damaged_database_is_built_again_from_the_content_files(queue, make_queue):
    names = [queue.put(b"%d" % number, TO, origin="test") for number in range(50)]
    queue.close()
    (queue.directory / "queue.db").write_bytes(b"rubbish" * 5000)
    set_database_aside(queue.directory)
    queue = make_queue()
    assert kinds(queue.doctor(repair=True)) == ["orphan"] * 50
    assert {entry.id: entry.octets for entry in queue.list("held")} == {
        name: b"%d" % number for number, name in enumerate(names)
    }
    assert len(list((queue.directory / "damaged").iterdir())) >= 1


def test_damage_inside_the_database_is_found(queue):
    for _ in range(200):
        queue.put(b"", TO, origin="o" * 500)
    queue._store._open().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    queue.close()
    with sqlite3.connect(queue.directory / "queue.db") as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'message_due'").fetchone()
    connection.close()
    with (queue.directory / "queue.db").open("r+b") as file:
        file.seek((page - 1) * 4096 + 8)
        file.write(b"\xff" * 64)
    try:
        assert kinds(queue.doctor())[0] == "database"
    except Exception as error:  # noqa: BLE001 either way it is told, and with its remedy
        assert "rebuild" in str(error)
