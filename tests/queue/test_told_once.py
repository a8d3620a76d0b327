"""kill -9 at every step of recording a result, in front of a server that changes its mind: each fate is told once.

Each step is walked in a child, in either kind of store: system calls on files, and the commands that begin and end a
transaction, each killed in front of it and behind it.
"""

import collections
import os
import signal
import sqlite3
import sys

import pytest

from mailpipe.queue import Letter, RecipientFate, RecipientResult, Schedule, deliver_due
from mailpipe.smtp.envelope import Envelope, ForwardPath
from mailpipe.status import EnhancedStatus

PATHS = [ForwardPath(f"{name}@x.example", notify) for name, notify in (
    ("a", ()), ("b", ()), ("c", ()), ("d", ("SUCCESS", "FAILURE")), ("e", ("SUCCESS",)),
)]  # fmt: skip
FIRST = {"a": "failed", "b": "failed", "c": "deferred", "d": "delivered", "e": "deferred"}
THEN = {"a": "delivered", "b": "failed", "c": "failed", "d": "failed", "e": "delivered"}


def report(notice):
    words = " ".join(f"{notice.told.value}:{one.address[0]}" for one in notice.recipients)
    return Letter(f"X-Told: {words}\r\n\r\n".encode(), Envelope.of("", notice.entry.sender.reverse_path))


def answers(fates):
    """A server that answers so; the next hop of the reports is away."""

    def transport(entry):
        results = []
        for path in entry.envelope.forward_paths:
            fate = RecipientFate(fates[path.address[0]] if entry.sender.reverse_path else "deferred")
            results.append(RecipientResult(path, fate, EnhancedStatus(5 if fate == "failed" else 4, 0, 0), "said"))
        return results

    return transport


def die_at_step(number):
    """Kill this process at the nth step; even ones in front of the call, odd ones behind it."""
    left = number

    def wrapped(real):
        def call(*arguments, **named):
            nonlocal left
            left -= 1
            if left == 0 and number % 2 == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            answer = real(*arguments, **named)
            if left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return answer

        return call

    def of_transactions(real):
        deadly = wrapped(real)

        def execute(self, statement, *values, **named):
            is_step = str(statement).startswith(("BEGIN", "COMMIT", "INSERT INTO message", "UPDATE message"))
            return (deadly if is_step else real)(self, statement, *values, **named)

        return execute

    for name in ("open", "write", "fsync", "rename", "unlink"):
        setattr(os, name, wrapped(getattr(os, name)))
    if "psycopg" in sys.modules:
        connection = sys.modules["psycopg"].Connection
        connection.execute = of_transactions(connection.execute)

    class Connection(sqlite3.Connection):
        execute = of_transactions(sqlite3.Connection.execute)

    real_connect = sqlite3.connect
    sqlite3.connect = lambda *arguments, **named: real_connect(*arguments, factory=Connection, **named)


def attempt_and_die(queue, number):
    """Whether the process was killed before it was done."""
    child = os.fork()
    if child == 0:
        try:
            die_at_step(number)
            deliver_due(queue, answers(FIRST))
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("place", ["files", "postgres"], indirect=True)
@pytest.mark.parametrize("in_doubt", ["resend", "ask"])
def test_killed_anywhere_every_fate_of_every_recipient_is_told_once_and_is_true(make_queue, clock, in_doubt):
    schedule, number, is_killed = Schedule.parse("5m", "5d", 0, None), 0, True
    while is_killed:
        number += 1
        queue = make_queue(retry=schedule, reporter=report, in_doubt=in_doubt)
        identifier = queue.put(b"Subject: x\r\n\r\n", Envelope("ann@example.org", tuple(PATHS)), origin="test")
        is_killed = attempt_and_die(queue, number)
        queue.close()
        queue = make_queue(retry=schedule, reporter=report, in_doubt=in_doubt)
        for _ in range(4):
            clock.sleep(7200)
            deliver_due(queue, answers(THEN))
            queue.release(*(entry.id for entry in queue.list("in-doubt")))  # the word of a person
        told = collections.Counter(
            word
            for entry in queue.list()
            if entry.origin == f"report on {identifier}: {entry.origin.rpartition(' ')[2]}"
            for word in entry.octets.split(b"\r\n")[0].decode().split()[1:]
        )
        became = {one.address[0]: one.state.value for one in queue.show(identifier).recipients}
        expected = {f"failed:{name}" for name in "abcd" if became[name] == "failed"}
        expected |= {f"relayed:{name}" for name in "de" if became[name] == "delivered"}
        assert told == dict.fromkeys(expected, 1), number
        assert set(became.values()) <= {"delivered", "failed"} and became["b"] == became["c"] == "failed"
        queue.remove(*(entry.id for entry in queue.list()))
        queue.close()
    assert number > 10
