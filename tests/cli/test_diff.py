"""`mailpipe diff`: which messages end otherwise in another pipeline file."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., object]
PLUGIN = '''
"""Stages for the tests."""
import mailpipe
from mailpipe import Mail, Verdict


@mailpipe.stage()
def toss(mail: Mail) -> Verdict:
    """Drops."""
    return Verdict.drop("[red]away")


@mailpipe.stage()
def mark(mail: Mail) -> Mail:
    """Adds a field."""
    return mail.with_message(mail.message.with_header(mail.message.header.with_added("X-Mark", "yes")))


def register(registry):
    registry.add_stage(toss)
    registry.add_stage(mark)
'''
NEW = """\
[[stage]]
use = "toss"
when.attachment = true
[[stage]]
use = "mark"
[[stage]]
use = "extract-attachments"
directory = "saved"
[sink]
use = "maildir"
path = "out"
"""


@pytest.fixture
def two(folder: Path) -> Path:
    (folder / "plugins").mkdir()
    (folder / "plugins" / "tags.py").write_text(PLUGIN)
    (folder / "new.toml").write_text(NEW)
    return folder


def test_the_differences_are_shown(mailpipe: Run, two: Path) -> None:
    before = sorted(two.iterdir())
    ended = mailpipe("diff", "pipeline.toml", "new.toml", "archive.mbox")
    assert (ended.code, ended.err) == (0, "")
    lines = [" ".join(line.split()) for line in ended.text.splitlines() if line.strip()]
    assert lines[:2] == ["pipeline.toml → new.toml: 2 of 2 messages different", "old \\ new delivered dropped"]
    assert lines[3:] == [
        "delivered 1 (1 different) 1",
        "different in: octets 1, ending 1",
        "since the step: mark 1, toss 1",
        "left out, for they act beyond the mail: extract-attachments",
        "archive.mbox:46 Grüße from ann@example.org",
        "octets: by mark",
        f"- delivered to maildir, <ann@example.org> → <bob@example.net>, octets {lines[9][-8:]}",
        f"+ delivered to maildir, <ann@example.org> → <bob@example.net>, octets {lines[10][-8:]}",
        f"{lines[11].split()[0]} two parts from ann@example.org",
        "ending: by toss",
        f"- delivered to maildir, <ann@example.org> → <bob@example.net>, octets {lines[13][-8:]}",
        "+ dropped 2.0.0, <ann@example.org> → <bob@example.net>: [red]away",
    ]
    assert lines[9] != lines[10]
    assert sorted(each for each in two.iterdir()) == before


def test_the_same_file_makes_no_difference(mailpipe: Run, two: Path) -> None:
    ended = mailpipe("diff", "new.toml", "new.toml", "archive.mbox", "multipart.eml", "--allow-changed", "0")
    assert ended.code == 0 and ": 0 of 3 messages different" in ended.text


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--allow-changed", "2"], 0, ""),
        (["--allow-changed", "1"], 1, "2 of 2 messages are different, and 1 are allowed"),
        (["--forbid", "deliver→drop"], 1, "delivered → dropped is forbidden, and happens to 1 message"),
        (["--forbid", "deliver->reject", "--forbid", "drop->any"], 0, ""),
        (["--forbid", "deliver->reject", "--forbid", "any->drop", "--allow-changed", "5"], 1, "delivered → dropped"),
        (["--forbid", "deliver->dorp"], 78, "'deliver->dorp' forbids nothing"),
        (["--limit", "1", "--forbid", "deliver->drop"], 0, ""),
        (["--set", "stage.1.when.attachment=false", "--forbid", "deliver->drop", "--limit", "1"], 1, "happens to 1 message"),
    ],
)
def test_what_is_forbidden_or_too_much_ends_with_1(
    mailpipe: Run, two: Path, arguments: list[str], code: int, words: str
) -> None:
    ended = mailpipe("diff", "pipeline.toml", "new.toml", "archive.mbox", *arguments)
    assert ended.code == code, ended.err
    assert words in ended.err
    assert bool(words) == bool(ended.err)


def test_json_has_everything(mailpipe: Run, two: Path) -> None:
    document = json.loads(
        mailpipe("diff", "pipeline.toml", "new.toml", "--json", "--forbid", "deliver->drop", "--allow-changed", "7").text
    )
    assert {key: document[key] for key in ("version", "verb", "messages", "different", "unsteady", "allowed")} == {
        "version": 1, "verb": "diff", "messages": 2, "different": 2, "unsteady": 0, "allowed": 7,
    }  # fmt: skip
    assert document["forbidden"] == [{"old": "delivered", "new": "dropped", "messages": 1}]
    assert document["steps"] == {"mark": 1, "toss": 1} and document["left_out"] == ["extract-attachments"]
    first, second = document["changed"]
    assert set(first) == {"mail", "key", "subject", "from", "what", "step", "step_of", "old", "new"}
    assert (second["what"], second["step"], second["new"]["ending"]) == (["ending"], "toss", "dropped")
    assert second["new"]["reason"] == "[red]away"
    assert set(first["old"]["mails"][0]) == {
        "is_copy", "ending", "status", "sink", "sender", "recipients", "sha256",
    }  # fmt: skip


def test_twenty_are_listed_and_all_on_request(mailpipe: Run, two: Path) -> None:
    many = b"".join(
        b"From ann@example.org Mon Nov 23 10:00:00 2026\nFrom: ann@example.org\nTo: bob@example.net\nSubject: no. %d\n\nx\n\n" % number
        for number in range(25)
    )
    (two / "many.mbox").write_bytes(many)
    ended = mailpipe("diff", "pipeline.toml", "new.toml", "many.mbox")
    assert ended.text.count("octets: by mark") == 20 and "… and 5 more (--all lists them)" in ended.text
    ended = mailpipe("diff", "pipeline.toml", "new.toml", "many.mbox", "--all")
    assert ended.text.count("octets: by mark") == 25 and "more" not in ended.text


def test_trouble_is_said(mailpipe: Run, two: Path) -> None:
    assert mailpipe("diff", "pipeline.toml", "gone.toml", "archive.mbox").code == 78
    assert mailpipe("diff", "pipeline.toml", "new.toml", "gone.mbox").code == 66
