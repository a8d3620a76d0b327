"""A soak of a few seconds, and the account that every soak is judged by."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from mailpipe.queue import Queue
from mailpipe.smtp.envelope import Envelope

PROGRAM = Path(__file__).with_name("soak.py")
SPEC = importlib.util.spec_from_file_location("soak", PROGRAM)
soak = importlib.util.module_from_spec(SPEC)
sys.modules["soak"] = soak  # dataclasses look for their module
SPEC.loader.exec_module(soak)

GIVEN = [["given", "1f", "d1"], ["acknowledged", "1f"], ["given", "20", "d2"], ["given", "31", "d3"], ["acknowledged", "31"]]
TAKEN = [["taken", "1f", "a@x.test", "d1"], ["taken", "31", "a@x.test", "d3"], ["taken", "31", "b@x.test", "d3"]]


def account_of(*lines):
    account = soak.Account()
    account.read([*GIVEN, *lines])
    return account


def verdict(account):
    return len(account.lost()), len(account.corrupt()), len(account.repeated())


def test_fifteen_kills_and_a_faulty_server_lose_nothing_and_repeat_only_what_is_in_doubt():
    command = [sys.executable, str(PROGRAM), "--kills", "15", "--messages", "300", "--seconds", "40", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert (report["lost"], report["corrupt"], report["repeated"], report["left_in_queue"]) == (0, 0, 0, 0)
    assert report["kills"] >= 15 and report["acknowledged"] >= 300, "the machine was too busy to get that far"
    assert report["kills_of_givers"] and report["kills_of_takers"] and report["recipients_taken"] >= 300
    assert report["findings_after"] == {}


def test_a_message_that_arrived_once_is_in_order_whether_it_was_acknowledged_or_not():
    assert verdict(account_of(*TAKEN)) == (0, 0, 0)
    assert verdict(account_of(*TAKEN, ["taken", "20", "a@x.test", "d2"])) == (0, 0, 0)


@pytest.mark.parametrize("missing", TAKEN, ids=" ".join)
def test_a_recipient_without_his_message_is_a_loss(missing):
    assert verdict(account_of(*(line for line in TAKEN if line != missing))) == (1, 0, 0)


def test_other_octets_and_octets_of_nobody_are_corrupt():
    assert verdict(account_of(*TAKEN[1:], ["taken", "1f", "a@x.test", "other"])) == (0, 1, 0)
    assert verdict(account_of(*TAKEN, ["taken", "?", "a@x.test", "d1"])) == (0, 1, 0)


def test_twice_is_a_repetition_unless_it_was_released_from_doubt():
    twice = [*TAKEN, TAKEN[0]]
    released = ["released", "1f", "a@x.test"]
    assert verdict(account_of(*twice)) == (0, 0, 1)
    assert verdict(account_of(*twice, released)) == (0, 0, 0)
    assert verdict(account_of(*twice, TAKEN[0], released)) == (0, 0, 1)
    assert verdict(account_of(*twice, ["released", "31", "a@x.test"])) == (0, 0, 1)


def test_a_torn_line_does_not_count_until_it_is_whole(tmp_path):
    book = soak.Book(tmp_path / "book")
    book.write("given", "1", "d")
    with book.path.open("ab") as file:
        file.write(b"acknowled")
    assert book.news() == [["given", "1", "d"]]
    book.write("ged", "1")
    assert book.news() == [["acknowledged", "1"]] and book.news() == []


def test_what_was_released_from_doubt_stays_released_when_another_process_opens_the_queue(tmp_path):
    with Queue(tmp_path / "queue", in_doubt="hold") as queue:
        identifier = queue.put(b"a\r\n", Envelope.of("", "b@x.test"), origin="test", in_doubt=["b@x.test"])
        queue.release(identifier)
        assert [entry.id for entry in queue.due()] == [identifier]
        with Queue(tmp_path / "queue", in_doubt="hold") as other:
            assert [entry.id for entry in other.due()] == [identifier]
