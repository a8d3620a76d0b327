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


@pytest.fixture
def many(folder: Path) -> list[str]:
    """Twelve messages in the queue `spool`, some with words of strangers that would harm a terminal."""
    evil = "\x1b]0;owned\x07\x1b[2J\u202e\x9b31m\n"
    (folder / "queued.toml").write_text('[sink]\nuse = "discard"\n[queue]\ndirectory = "spool"\n')
    with Queue(folder / "spool", in_doubt="hold") as queue:
        return [
            queue.put(
                b"Subject: x\r\n\r\n",
                Envelope.of(f"s{number}@example.org", f"r{number}{evil}@{evil}host{number % 3}.example", "carol@x.example"),
                origin=f"archive{evil}.mbox:{number}",
                reasons=[(EnhancedStatus(4, 4, 1), f"host said: 451 no{evil} {number} " + "word " * 60)],
            )
            for number in range(12)
        ]


@pytest.mark.parametrize("columns", ["60", "100", "149", "150", "220"])
def test_a_list_fits_its_terminal_and_keeps_ids_whole(
    mailpipe: Run, many: list[str], monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    ended = mailpipe("queue", "list", "queued.toml")
    lines = ended.text.splitlines()
    assert max(map(len, lines)) <= int(columns)
    assert [line.split()[0] for line in lines if line.startswith("0")] == many
    assert "in 5 min" in ended.text or "in 4 min" in ended.text or "in 6 min" in ended.text
    assert "451 no" in ended.text and "4.4.1" in ended.text


def test_no_words_of_strangers_reach_a_terminal_as_they_are(mailpipe: Run, many: list[str]) -> None:
    for words in (
        ("list", "queued.toml"), ("list", "queued.toml", "--domains"), ("show", "queued.toml", many[0]),
        ("list", "queued.toml", "--json"), ("show", "queued.toml", many[0], "--json"), ("hold", "queued.toml", many[0]),
        ("list", "queued.toml", "--domains", "--json"), ("bounce", "queued.toml", many[1]), ("doctor", "queued.toml"),
    ):  # fmt: skip
        ended = mailpipe("queue", *words)
        assert ended.code == 0
        for text in (ended.text, ended.err):
            assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", text), words


def test_a_list_is_cut_where_nobody_reads_on_and_says_so(
    mailpipe: Run, many: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = mailpipe("queue", "list", "queued.toml", "--limit", "5")
    assert [name for name in many if name in ended.text] == many[:5]
    assert ended.err.startswith("12 messages (5 shown), ") and "--limit 0 shows all" in ended.err
    assert "recipients: 24 waiting" in ended.err
    monkeypatch.setattr("mailpipe.cli.queue.SHOWN", 3)
    assert [name for name in many if name in mailpipe("queue", "list", "queued.toml").text] == many[:3]
    ended = mailpipe("queue", "list", "queued.toml", "--limit", "0")
    assert [name for name in many if name in ended.text] == many and "shown" not in ended.err
    assert "shows all" not in mailpipe("queue", "list", "queued.toml", "--limit", "12").err
    assert len(json.loads(mailpipe("queue", "list", "queued.toml", "--json").text)["messages"]) == 12
    assert len(json.loads(mailpipe("queue", "list", "queued.toml", "--json", "--limit", "2").text)["messages"]) == 2


def test_domains_sum_up_what_waits(mailpipe: Run, folder: Path, many: list[str]) -> None:
    mailpipe("queue", "hold", "queued.toml", "--all", "--recipient", "@x.example")
    text = mailpipe("queue", "list", "queued.toml", "--domains").text
    assert re.search(r"x\.example +12 +12 ", text) and text.index("x.example") < text.index("host0.example")
    document = json.loads(mailpipe("queue", "list", "queued.toml", "--domains", "--json").text)
    assert document["domains"]["x.example"]["recipients"] == {"held": 12}
    assert document["domains"]["x.example"]["next_try"] is None and document["counts"]["messages"] == 12
    only = json.loads(mailpipe("queue", "list", "queued.toml", "--domains", "--state", "waiting", "--json").text)
    assert len(only["domains"]) == 3 and {one["messages"] for one in only["domains"].values()} == {4}


def test_who_is_tried_next_speaks_for_a_message(mailpipe: Run, folder: Path) -> None:
    (folder / "queued.toml").write_text('[sink]\nuse = "discard"\n[queue]\ndirectory = "spool"\n')
    with Queue(folder / "spool", in_doubt="hold") as queue:
        envelope = Envelope.of("ann@example.org", "bob@example.net", "carol@example.net")
        reasons = [(EnhancedStatus(5, 1, 1), "550 nobody"), (EnhancedStatus(4, 2, 2), "452 full")]
        queue.put(b"", envelope, origin="test", reasons=reasons, in_doubt={"bob@example.net"})
    text = mailpipe("queue", "list", "queued.toml").text
    assert "carol@example.net +1" in text and "452 full" in text and "waiting, in-doubt" in text
