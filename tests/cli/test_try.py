"""`mailpipe try`: what each stage saw, decided and changed, and nothing leaves."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Run = Callable[..., object]
PLUGIN = '''
"""Stages for the tests."""
import mailpipe
from mailpipe import Access, Mail, Options, Verdict


class TagOptions(Options):
    """How it is tagged."""

    prefix: str = "[list]"
    """What is put before the subject."""


@mailpipe.stage(touches=Access(fields=("Subject",)))
def tag(mail: Mail, options: TagOptions) -> Mail:
    """Puts a word before the subject, and a field that it does not declare."""
    header = mail.message.header.with_field("Subject", f"{options.prefix} {mail.message.subject}")
    return mail.with_message(mail.message.with_header(header.with_added("X-Tag", "[bold]y\\x1b[31m")))


@mailpipe.stage()
def detach(mail: Mail) -> Mail:
    """Takes the second part away, and sends the mail elsewhere."""
    made = mail.with_envelope(mail.envelope.with_forward_paths("carol@example.com"))
    return made.with_message(mail.message.remove("2")) if mail.message.parts else made


@mailpipe.stage()
def refuse(mail: Mail) -> Verdict:
    """Refuses."""
    return Verdict.reject("not [red]here", status="5.7.13")


def register(registry):
    for each in (tag, detach, refuse):
        registry.add_stage(each)
'''
PIPELINE = """\
[[stage]]
use = "tag"
[[stage]]
use = "detach"
[[stage]]
use = "extract-attachments"
directory = "saved"
[[stage]]
use = "refuse"
when.all = [{ size = { above = 1 } }, { list_mail = true }]
[sink]
use = "maildir"
path = "out"
[queue]
directory = "spool"
"""


@pytest.fixture
def tried(folder: Path) -> Path:
    (folder / "plugins").mkdir()
    (folder / "plugins" / "tags.py").write_text(PLUGIN)
    (folder / "tried.toml").write_text(PIPELINE)
    return folder


def without_times(text: str) -> list[str]:
    lines = text.splitlines()
    return [line[: line.rindex("  ")] if line.endswith(" ms") else line for line in lines]


def test_every_step_is_shown_with_what_it_changed(mailpipe: Run, tried: Path) -> None:
    before = sorted(each.name for each in tried.rglob("*") if "__pycache__" not in each.parts and each.suffix != ".pyc")
    ended = mailpipe("try", "tried.toml", "multipart.eml")
    assert (ended.code, ended.err) == (0, "")
    assert without_times(ended.text) == [
        "multipart.eml:0  468 B  <ann@example.org> → <bob@example.net>",
        "  1 tag  changed",
        "      - Subject: two parts",
        "      + Subject: [list] two parts",
        r"      + X-Tag: [bold]y\x1b[31m",
        "      ! touches what it does not declare: X-Tag",
        "  2 detach  changed",
        r"      - part 2  application/pdf base64, 12 B, [red]\x1b[31mreport.pdf",
        "      - recipient <bob@example.net>",
        "      + recipient <carol@example.com>",
        "  3 extract-attachments  not asked: it acts beyond the mail; --really asks it",
        "  4 refuse  not met: all: list_mail = true",
        "→ would go to maildir, 360 B, for <carol@example.com>",
    ]
    after = sorted(each.name for each in tried.rglob("*") if "__pycache__" not in each.parts and each.suffix != ".pyc")
    assert after == before


def test_it_is_coloured_on_a_terminal(mailpipe: Run, tried: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("FORCE_COLOR", "1")
    text = mailpipe("try", "tried.toml", "multipart.eml").text
    assert "\x1b[31mSubject: two parts" in text and "\x1b[32mSubject: [list] two parts" in text
    assert "y\x1b[31m\x1b" not in text and r"y\x1b[31m" in text  # the mail's own escape is written out


def test_stages_that_act_are_asked_on_request(mailpipe: Run, tried: Path) -> None:
    ended = mailpipe("try", "tried.toml", "multipart.eml", "--really", "--stage", "3")
    assert "3 extract-attachments  passed" in ended.text and "note AttachmentSaved part '2'" in ended.text
    assert len(list((tried / "saved").iterdir())) == 2  # a file and the manifest


def test_one_stage_alone_and_without_a_pipeline_file(mailpipe: Run, tried: Path) -> None:
    met = "stage.4.when.all=[{size.above=1}]"
    lines = without_times(mailpipe("try", "tried.toml", "message.eml", "--stage", "refuse", "--set", met).text)
    assert lines[1:] == [
        "  4 refuse  rejects 550 5.7.13 not [red]here", "→ would be rejected: 5.7.13 not [red]here by refuse",
    ]  # fmt: skip
    ended = mailpipe("try", "--stage", "tag", "--set", "prefix=[announce]", "message.eml", "multipart.eml")
    assert ended.code == 0
    assert "+ Subject: [announce] Grüße" in ended.text and "+ Subject: [announce] two parts" in ended.text
    assert ended.text.splitlines()[-1] == "2 messages: 2 delivered"
    ended = mailpipe("try", "--stage", "tag", "--set", "prefx=x", "message.eml")
    assert ended.code == 78 and "stage.1.prefx: unknown key 'prefx', did you mean 'prefix'?" in ended.err
    ended = mailpipe("try", "tried.toml", "message.eml", "--stage", "tagg")
    assert ended.code == 78 and "there is no step 'tagg', did you mean 'tag'?" in ended.err


ROUTES = """\
[[stage]]
tee = "copies"
[[stage]]
use = "refuse"
when.recipient = { like = "bob@*" }
[[stage]]
goto = "spam"
[[route.copies.stage]]
use = "tag"
[route.copies.sink]
use = "mbox"
path = "copies.mbox"
[route.spam.sink]
use = "maildir"
path = "spam"
[sink]
use = "discard"
"""


def test_copies_routes_and_recipients_are_followed(mailpipe: Run, tried: Path) -> None:
    (tried / "routes.toml").write_text(ROUTES)
    ended = mailpipe(
        "try", "routes.toml", "message.eml", "-f", "", "-r", "bob@example.net", "-r", "<dan@example.net>", "--write", "kept"
    )
    assert without_times(ended.text) == [
        "message.eml:0  172 B  <> → <bob@example.net>, <dan@example.net>",
        "  1 tee copies  copied",
        "  ┄ copy copies: <> → <bob@example.net>, <dan@example.net>",
        "  copies 1 tag  changed",
        "      - Subject: Grüße",
        "      + Subject: [list] Grüße",
        r"      + X-Tag: [bold]y\x1b[31m",
        "      ! touches what it does not declare: X-Tag",
        "  ┄ the mail itself: <> → <bob@example.net>, <dan@example.net>",
        "  2 refuse  recipients part: met for <bob@example.net>, not for <dan@example.net>",
        "  ┄ mail 1: <> → <bob@example.net>",
        "  2 refuse  rejects 550 5.7.13 not [red]here",
        "  ┄ mail 2: <> → <dan@example.net>",
        "  3 goto spam  taken",
        "→ is split: 2.0.0 2 mails go their own ways for different recipients by refuse",
        "→ copy copies: would go to mbox at the end of the route copies, 215 B, for <bob@example.net>, <dan@example.net>",
        "→ mail 1: would be rejected: 5.7.13 not [red]here by refuse",
        "→ mail 2: would go to maildir at the end of the route spam, 172 B, for <dan@example.net>",
    ]
    assert sorted(each.name for each in (tried / "kept").iterdir()) == ["0001-2.eml", "0001-copies.eml"]
    assert (tried / "kept" / "0001-2.eml").read_bytes() == (tried / "message.eml").read_bytes()


def test_json_has_everything(mailpipe: Run, tried: Path) -> None:
    document = json.loads(mailpipe("try", "tried.toml", "archive.mbox", "--limit", "1", "--json").text)
    assert (document["version"], document["verb"], document["more"]) == (1, "try", True)
    assert document["left_out"] == ["extract-attachments"]
    message = document["messages"][0]
    assert set(message) == {"mail", "key", "size", "envelope", "steps", "outcomes"}
    assert [each["result"] for each in message["steps"]] == ["changed", "changed", "not asked", "not met"]
    first = message["steps"][0]
    assert set(first) == {
        "branch", "route", "number", "label", "use", "goto", "tee", "result", "why_not", "recipients_apart", "status",
        "code", "reason", "error", "ms", "asked", "made", "changes", "exceeded",
    }  # fmt: skip
    assert first["changes"]["fields"][0] == {"what": "removed", "name": "Subject", "text": "Grüße"}
    assert first["exceeded"] == ["X-Tag"] and first["ms"] >= 0
    assert message["outcomes"][0]["sink"] == "maildir"


def test_what_cannot_be_used_or_read_is_said(mailpipe: Run, tried: Path) -> None:
    assert mailpipe("try", "tried.toml", "gone.eml").code == 66
    (tried / "picture.eml").write_bytes(b"\x89PNG\0\0\0")
    assert mailpipe("try", "tried.toml", "picture.eml").code == 66
    assert mailpipe("try", "gone.toml", "message.eml").code == 78
    assert mailpipe("try", "tried.toml").code == 78  # nothing to read
    assert mailpipe("try", "tried.toml", "-", "--reload").code == 64
    ended = mailpipe("try", "tried.toml", "-", octets=(tried / "message.eml").read_bytes())
    assert ended.code == 0 and "+ Subject: [list] Grüße" in ended.text


@pytest.fixture
def watching(tried: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "mailpipe", "try", "tried.toml", "message.eml", "--reload"]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        command, cwd=tried, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )
    yield process
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def until(process: subprocess.Popen[str], words: str) -> str:
    """What it says up to the line with these words."""
    said = ""
    assert process.stdout is not None
    while words not in said:
        line = process.stdout.readline()
        assert line, said
        said += line
    return said


def test_it_shows_again_what_changed_until_it_is_interrupted(tried: Path, watching: subprocess.Popen[str]) -> None:
    assert "Subject: [list] Grüße" in until(watching, "waiting for a change")
    (tried / "plugins" / "tags.py").write_text(PLUGIN.replace('"[list]"', '"[note]"'))
    assert "Subject: [note] Grüße" in until(watching, "waiting for a change")
    (tried / "tried.toml").write_text(PIPELINE.replace('"tag"', '"tga"'))
    said = until(watching, "waiting for a change")
    assert "tried.toml changed ──" in said and "unknown stage 'tga'" in said and "Grüße" not in said
    (tried / "tried.toml").write_text(PIPELINE.replace('use = "tag"', 'use = "tag"\nprefix = "[new]"'))
    assert "Subject: [new] Grüße" in until(watching, "waiting for a change")
    (tried / "message.eml").write_bytes((tried / "multipart.eml").read_bytes())
    assert "Subject: [new] two parts" in until(watching, "waiting for a change")
    watching.send_signal(signal.SIGINT)
    assert watching.wait(20) == 0
