import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from mailpipe.queue import Queue
from mailpipe.smtp.envelope import Envelope
from mailpipe.status import EnhancedStatus

Run = Callable[..., object]


@pytest.fixture
def identifier(folder: Path) -> str:
    """The id of the one message in the queue `spool`; also the [queue] of queued.toml."""
    (folder / "queued.toml").write_text('[sink]\nuse = "discard"\n[queue]\ndirectory = "spool"\n')
    with Queue(folder / "spool") as queue:
        return queue.put(
            (folder / "message.eml").read_bytes(),
            Envelope.of("ann@example.org", "bob@example.net", "carol@example.net\x1b[31m"),
            origin="archive.mbox:0",
            reasons=[(EnhancedStatus(4, 4, 1), "connection refused")],
        )


def states(mailpipe: Run) -> list[str]:
    messages = json.loads(mailpipe("queue", "list", "queued.toml", "--json").text)["messages"]
    return [one["state"] for message in messages for one in message["recipients"]]


def test_the_list_shows_next_try_and_last_reply(mailpipe: Run, identifier: str) -> None:
    for arguments in (("queued.toml",), ("--queue", "spool")):
        ended = mailpipe("queue", "list", *arguments)
        assert ended.code == 0
        assert re.search(r"in [456] min", ended.text)  # five, give or take the jitter
        for words in (identifier, "ann@example.org", "bob@example.net +1", "waiting", "connection refused"):
            assert words in ended.text
        assert ended.err.startswith("1 message")


def test_the_list_can_be_limited_to_a_state(mailpipe: Run, identifier: str) -> None:
    assert identifier in mailpipe("queue", "list", "queued.toml", "--state", "waiting").text
    assert identifier not in mailpipe("queue", "list", "queued.toml", "--state", "held").text
    assert mailpipe("queue", "list", "queued.toml", "--state", "nope").code == 64


def test_one_is_shown_in_full_and_its_content_comes_out(mailpipe: Run, folder: Path, identifier: str) -> None:
    ended = mailpipe("queue", "show", "queued.toml", identifier)
    assert "carol@example.net" in ended.text and "\x1b" not in ended.text and "archive.mbox:0" in ended.text
    content = mailpipe("queue", "show", "queued.toml", identifier, "--content").out
    assert content == (folder / "message.eml").read_bytes()
    assert (
        json.loads(mailpipe("queue", "show", "queued.toml", identifier, "--json").text)["messages"][0]["id"]
        == identifier
    )


def test_hold_release_requeue_and_remove(mailpipe: Run, identifier: str) -> None:
    assert mailpipe("queue", "hold", "queued.toml", identifier).code == 0
    assert states(mailpipe) == ["held", "held"]
    assert mailpipe("queue", "flush", "queued.toml").code == 0
    assert states(mailpipe) == ["held", "held"]
    assert mailpipe("queue", "release", "--queue", "spool", identifier).code == 0
    assert states(mailpipe) == ["waiting", "waiting"]
    assert mailpipe("queue", "requeue", "queued.toml", identifier).code == 0
    assert json.loads(mailpipe("queue", "remove", "queued.toml", identifier, "--json").text)["removed"] == [identifier]
    assert states(mailpipe) == []


def test_a_flush_delivers_through_the_sink_of_the_pipeline(mailpipe: Run, identifier: str) -> None:
    ended = mailpipe("queue", "flush", "queued.toml")
    assert (ended.code, ended.err) == (0, "1 message tried: 2 delivered\n")
    assert states(mailpipe) == []


def test_a_flush_can_be_limited_to_what_is_due(mailpipe: Run, identifier: str) -> None:
    assert mailpipe("queue", "flush", "queued.toml", "--due", "--json").code == 0
    assert states(mailpipe) == ["waiting", "waiting"]


def test_a_flush_that_does_not_succeed_is_75(mailpipe: Run, folder: Path, identifier: str, closed_port: int) -> None:
    (folder / "queued.toml").write_text(
        f'[sink]\nuse = "smtp"\nhost = "127.0.0.1"\nport = {closed_port}\n[queue]\ndirectory = "spool"\n'
    )
    assert mailpipe("queue", "flush", "queued.toml").code == 75


def test_an_unknown_message_is_said(mailpipe: Run, identifier: str) -> None:
    ended = mailpipe("queue", "hold", "queued.toml", "nope")
    assert ended.code == 66
    assert "there is no message 'nope'" in ended.err


def test_a_queue_that_is_not_there_is_not_made_by_looking(mailpipe: Run, folder: Path) -> None:
    ended = mailpipe("queue", "list", "--queue", "nowhere")
    assert ended.code == 66
    assert "nowhere: there is no queue here" in ended.err
    assert not (folder / "nowhere").exists()


def test_a_pipeline_whose_queue_was_never_needed_has_an_empty_one(mailpipe: Run, folder: Path) -> None:
    (folder / "queued.toml").write_text('[sink]\nuse = "discard"\n[queue]\ndirectory = "spool"\n')
    assert mailpipe("queue", "list", "queued.toml").code == 0
    assert json.loads(mailpipe("queue", "list", "queued.toml", "--json").text)["messages"] == []
    assert mailpipe("queue", "doctor", "queued.toml").code == 0
    assert not (folder / "spool").exists()


def test_a_pipeline_without_a_queue_is_said(mailpipe: Run, folder: Path) -> None:
    ended = mailpipe("queue", "list", "pipeline.toml")
    assert ended.code == 78
    assert "there is no [queue] table" in ended.err


def test_the_doctor_finds_and_repairs(mailpipe: Run, folder: Path, identifier: str) -> None:
    assert mailpipe("queue", "doctor", "queued.toml", "--deep").code == 0
    next((folder / "spool" / "content").rglob("*.mail")).write_bytes(b"changed")
    ended = mailpipe("queue", "doctor", "queued.toml")
    assert ended.code == 1
    assert "changed-content" in ended.text
    assert mailpipe("queue", "doctor", "queued.toml", "--repair", "--json").code == 0


def test_a_damaged_database_is_made_anew_from_the_messages(mailpipe: Run, folder: Path, identifier: str) -> None:
    database = folder / "spool" / "queue.db"
    for name in ("queue.db-wal", "queue.db-shm"):
        (folder / "spool" / name).unlink(missing_ok=True)
    database.write_bytes(b"this is no database" * 100)
    ended = mailpipe("queue", "list", "queued.toml")
    assert ended.code != 0
    assert "--rebuild" in ended.err
    assert mailpipe("queue", "doctor", "queued.toml", "--rebuild").code == 0
    assert identifier.encode() in mailpipe("queue", "list", "queued.toml").out
    assert (folder / "spool" / "damaged").is_dir()
