"""`mailpipe explain`: why an earlier message ended as it did."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mailpipe.pipeline.journal import Journal
from mailpipe.pipeline.mail import Origin

Run = Callable[..., object]
PIPELINE = """\
[source]
use = "mbox"
path = "archive.mbox"
[[stage]]
use = "validate-headers"
date_syntax = "reject"
when.recipient = { like = "bob@*" }
[sink]
use = "maildir"
path = "out"
"""


@pytest.fixture
def told(mailpipe: Run, folder: Path) -> Path:
    """Two messages that were delivered, and one that was rejected."""
    (folder / "told.toml").write_text(PIPELINE)
    with (folder / "archive.mbox").open("ab") as file:
        file.write(
            b"From ann@example.org Mon Nov 23 10:00:00 2026\nFrom: ann@example.org\nTo: bob@example.net, dan@example.net\n"
            b"Subject: odd [red]one\x1b[31m\nDate: never\nMessage-ID: <3@example.org>\n\nx\n"
        )
    assert mailpipe("run", "told.toml", "-q").code == 1
    return folder


def without_moments(text: str) -> list[str]:
    lines = []
    for line in text.splitlines():
        head, gap, last = line.rpartition("  ")
        lines.append(head if gap and last.endswith("Z") and last[:2] == "20" else line)
    return lines


def key_of(folder: Path, number: int) -> str:
    keys = [
        json.loads(line)["key"] for line in (folder / "told.journal").read_text().splitlines() if '"end"' in line
    ]
    return [key for key in keys if "/" not in key.rpartition(":")[2]][number]


def test_what_did_not_end_well_is_explained(mailpipe: Run, told: Path) -> None:
    ended = mailpipe("explain", "told.toml")
    assert (ended.code, ended.err) == (0, "")
    lines = without_moments(ended.text)
    key = key_of(told, 2)
    assert lines[:6] == [
        key,
        "  Subject: odd [red]one",
        "  From: ann@example.org",
        "  Date: never",
        "  split 2.0.0 2 mails go their own ways for different recipients by validate-headers",
        "  129 B read",
    ]
    assert f"  made of it: {key}/1" in lines and f"  made of it: {key}/2" in lines
    assert any(line.startswith("    rejected 5.6.0 Date: ") and "by validate-headers" in line for line in lines)
    assert any(line.startswith("    <dan@example.net> delivered 2.0.0 saved as ") for line in lines)
    assert any(line == "    steps: validate-headers: reject" for line in lines)


def test_a_key_a_message_id_an_ending_or_a_recipient(mailpipe: Run, told: Path) -> None:
    key = key_of(told, 0)
    for arguments in (
        [key], [key.partition(":")[2]], ["archive.mbox:" + key.rpartition(":")[2]], ["--message-id", "<1@example.org>"],
        ["--message-id", "1@example.org", "--recipient", "bob@example.net"],
    ):  # fmt: skip
        ended = mailpipe("explain", "told.journal", *arguments)
        assert ended.code == 0 and ended.text.splitlines()[:2] == [key, "  Subject: Grüße"], arguments
        assert ended.text.count("Subject") == 1
    assert mailpipe("explain", "told.toml", "--ending", "rejected").text.splitlines()[0] == key_of(told, 2)
    assert mailpipe("explain", "told.toml", "--recipient", "<dan@example.net>").text.count("Subject") == 1
    assert mailpipe("explain", "told.toml", "--recipient", "bob@example.net").text.count("Subject") == 2


def test_it_recognises_no_mail_whose_archive_is_gone(mailpipe: Run, told: Path) -> None:
    (told / "archive.mbox").unlink()
    ended = mailpipe("explain", "told.toml", key_of(told, 0))
    assert ended.code == 0 and "Subject" not in ended.text and "  delivered 2.0.0" in ended.text
    ended = mailpipe("explain", "told.toml", "--message-id", "1@example.org")
    assert ended.code == 1 and "archive.mbox" in ended.err


def test_messages_of_files_and_maildirs_are_recognised(mailpipe: Run, folder: Path) -> None:
    (folder / "p.toml").write_text('[sink]\nuse = "maildir"\npath = "out"\n')
    (folder / "letters").mkdir()
    (folder / "letters" / "a.eml").write_bytes((folder / "multipart.eml").read_bytes())
    assert mailpipe("run", "p.toml", "message.eml", "letters", "-q").code == 0
    assert mailpipe("run", "p.toml", "out", "-q", "--set", "sink.path=copies", "--journal", "second.journal").code == 0
    for path in ("p.toml", "second.journal"):
        ended = mailpipe("explain", path, "--ending", "delivered")
        assert ended.text.count("  Subject: Grüße") == ended.text.count("  Subject: two parts") == 1
    assert mailpipe("explain", "p.toml", "--message-id", "2@example.org").text.startswith("eml:letters:a.eml\n")


def test_what_was_begun_and_never_ended_is_in_doubt(mailpipe: Run, told: Path) -> None:
    with Journal.open(told / "doubt.journal", {}) as journal:
        journal.begin(b"x" * 16, Origin("mbox", "gone.mbox", 7))
    ended = mailpipe("explain", "doubt.journal")
    assert ended.code == 0
    assert ended.text.splitlines() == [
        "mbox:gone.mbox:7",
        "  in-doubt: the sink was asked, and no run knows the answer: it may have been handed over, and will be sent again",
    ]


def test_the_nearest_are_named(mailpipe: Run, told: Path) -> None:
    key = key_of(told, 1)
    ended = mailpipe("explain", "told.toml", f"{key[:-1]}{(int(key[-1]) + 1) % 10}")
    assert (ended.code, ended.text) == (1, "")
    assert "there is no such message" in ended.err and key in ended.err.splitlines()[1]


def test_json_has_everything(mailpipe: Run, told: Path) -> None:
    document = json.loads(mailpipe("explain", "told.toml", "--json").text)
    assert {key: document[key] for key in ("version", "verb", "matched", "is_cut", "nearest")} == {
        "version": 1, "verb": "explain", "matched": 1, "is_cut": False, "nearest": [],
    }  # fmt: skip
    (story,) = document["stories"]
    assert set(story) == {"key", "digest", "ending", "mail", "attempts", "made", "lines_left_out"}
    assert story["mail"]["message_id"].strip() == "<3@example.org>" and story["ending"] == "split"
    first, second = story["made"].values()
    assert (first[0]["ending"], first[0]["is_begun"], second[0]["ending"], second[0]["is_begun"]) == (
        "rejected", False, "delivered", True,
    )  # fmt: skip
    assert second[0]["recipients"][0][0] == "dan@example.net" and second[0]["at"] > 0


def test_what_cannot_be_asked_is_said(mailpipe: Run, told: Path) -> None:
    assert mailpipe("explain", "gone.journal").code == 66
    assert mailpipe("explain", "gone.toml").code == 78
    assert mailpipe("explain", "message.eml").code == 78  # neither a journal nor a pipeline file
    assert mailpipe("explain", "told.toml", "--ending", "lost").code == 64
    assert mailpipe("explain", "told.toml", "x", "--message-id", "y").code == 64
    ended = mailpipe("explain", "told.toml", "--set", "run.journal=false")
    assert ended.code == 78 and "nothing was written down" in ended.err
    ended = mailpipe("explain", "told.toml", "--set", "run.journal=none.journal")
    assert ended.code == 66


def test_nothing_bad_is_said_too(mailpipe: Run, folder: Path) -> None:
    assert mailpipe("run", "pipeline.toml", "-q").code == 0
    ended = mailpipe("explain", "pipeline.toml")
    assert ended.code == 0 and "nothing ended badly" in ended.err
