import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., object]


def pipeline(folder: Path, sink: str, more: str = "", stages: str = "") -> str:
    (folder / "p.toml").write_text(f'[source]\nuse = "mbox"\npath = "archive.mbox"\n{stages}\n[sink]\n{sink}\n{more}')
    return "p.toml"


def smtp(port: int) -> str:
    return f'use = "smtp"\nhost = "127.0.0.1"\nport = {port}'


def test_a_run_ends_with_a_summary_and_0(mailpipe: Run, folder: Path, peer: object) -> None:
    ended = mailpipe("run", pipeline(folder, smtp(peer.port)))
    assert ended.code == 0, ended.err
    assert len(peer.messages) == 2
    for words in ("in ", "out (delivered)", "dropped", "rejected", "quarantined", "deferred", "queued", "failed",
                  "messages per second", "octets per second"):  # fmt: skip
        assert words in ended.text
    assert ended.err == ""


def test_a_second_run_repeats_nothing_unless_asked(mailpipe: Run, folder: Path, peer: object) -> None:
    file = pipeline(folder, smtp(peer.port))
    mailpipe("run", file)
    ended = mailpipe("run", file)
    assert "done by an earlier run" in ended.text
    assert len(peer.messages) == 2
    mailpipe("run", file, "--fresh")
    assert len(peer.messages) == 4


def test_json_is_the_report(mailpipe: Run, folder: Path) -> None:
    document = json.loads(mailpipe("run", pipeline(folder, 'use = "discard"'), "--json").text)
    assert (document["version"], document["entered"], document["endings"]["delivered"]) == (1, 2, 2)


def test_quiet_prints_nothing(mailpipe: Run, folder: Path) -> None:
    ended = mailpipe("run", pipeline(folder, 'use = "discard"'), "-q")
    assert (ended.code, ended.out, ended.err) == (0, b"", "")


def test_a_dry_run_delivers_and_journals_nothing(mailpipe: Run, folder: Path, peer: object) -> None:
    ended = mailpipe("run", pipeline(folder, smtp(peer.port), '[queue]\ndirectory = "queue"\n'), "--dry-run")
    assert ended.code == 0
    assert "(dry run)" in ended.text
    assert peer.messages == []
    assert not (folder / "p.journal").exists() and not (folder / "queue").exists()


def test_the_command_line_sets_keys_sources_journal_limit_and_workers(mailpipe: Run, folder: Path) -> None:
    (folder / "elsewhere").mkdir()
    file = pipeline(folder, 'use = "smtp"\nhost = "nowhere.invalid"')
    ended = mailpipe("run", file, "message.eml", "multipart.eml", "--set", "sink.port=1", "--set", "run.workers=1",
                     "--journal", "elsewhere/j", "--limit", "1", "--json", "--dry-run")  # fmt: skip
    document = json.loads(ended.text)
    assert document["entered"] == 1
    ended = mailpipe(
        "run", pipeline(folder, 'use = "discard"'), "message.eml", "--journal", "elsewhere/j", "-j", "2", "--json"
    )
    assert json.loads(ended.text)["workers"] == 2
    assert (folder / "elsewhere" / "j").exists()


def test_a_message_comes_from_standard_input(mailpipe: Run, folder: Path) -> None:
    ended = mailpipe("run", pipeline(folder, 'use = "stdout"'), "-", octets=(folder / "message.eml").read_bytes())
    assert ended.code == 0
    assert ended.out == (folder / "message.eml").read_bytes()
    assert "out (delivered)" in ended.err


def test_the_summary_does_not_get_between_messages_on_standard_output(mailpipe: Run, folder: Path) -> None:
    ended = mailpipe("run", pipeline(folder, 'use = "stdout"\nformat = "mbox"'), "--json")
    assert ended.out.startswith(b"From ") and b'"version"' not in ended.out
    assert json.loads(ended.err)["entered"] == 2


def test_rejected_messages_are_listed_with_their_reason(mailpipe: Run, folder: Path, peer: object) -> None:
    peer.answers["RCPT"] = "550 5.1.1 no such user \x1b[31m"
    ended = mailpipe("run", pipeline(folder, smtp(peer.port)))
    assert ended.code == 1
    assert "not delivered" in ended.text and "5.1.1" in ended.text and "no such user" in ended.text
    assert "\x1b" not in ended.text


def test_what_cannot_be_delivered_now_waits_in_the_queue_and_a_flush_delivers_it(
    mailpipe: Run, folder: Path, peer: object
) -> None:
    peer.answers["MAIL"] = "451 4.3.2 not now"
    file = pipeline(folder, smtp(peer.port), '[queue]\ndirectory = "queue"\n')
    ended = mailpipe("run", file)
    assert ended.code == 0
    assert "2 messages waiting" in ended.text and "mailpipe queue flush" in ended.text
    peer.answers.clear()
    ended = mailpipe("queue", "flush", file)
    assert ended.code == 0, ended.err
    assert len(peer.messages) == 2
    assert mailpipe("queue", "list", file, "--json").text.count('"id"') == 0


def test_attachments_and_defects_are_in_the_summary(mailpipe: Run, folder: Path) -> None:
    stages = '[[stage]]\nuse = "validate-headers"\n[[stage]]\nuse = "extract-attachments"\ndirectory = "attachments"\n'
    octets = (folder / "archive.mbox").read_bytes()
    (folder / "archive.mbox").write_bytes(octets.replace(b"Date: Mon, 23 Nov 2026 10:00:00 +0000\n", b"", 1))
    ended = mailpipe("run", pipeline(folder, 'use = "discard"', stages=stages))
    assert "1 attachment, 9 B, in" in ended.text
    assert str(folder / "attachments") in ended.text
    assert "missing-field" in ended.text and "A required field is absent. (RFC 5322 3.6)" in ended.text


def test_ctrl_c_ends_in_good_order_with_130(folder: Path) -> None:
    (folder / "plugins").mkdir()
    (folder / "plugins" / "slow.py").write_text(
        "import os, signal\nfrom mailpipe import Mail, Options, Stage\n\n\n"
        'class Slow(Stage):\n    """Interrupts itself."""\n\n    name = "slow"\n\n'
        "    def process(self, mail: Mail) -> Mail:\n        os.kill(os.getpid(), signal.SIGINT)\n        return mail\n\n\n"
        "def register(registry):\n    registry.add_stage(Slow)\n"
    )
    file = pipeline(folder, 'use = "maildir"\npath = "out"', stages='[[stage]]\nuse = "slow"\n')
    done = subprocess.run([sys.executable, "-m", "mailpipe", "run", file], capture_output=True, timeout=60, check=False)
    assert done.returncode == 128 + signal.SIGINT
    assert b"goes on where it stopped" in done.stdout
    assert b"Traceback" not in done.stderr
    assert len(list((folder / "out" / "new").iterdir())) == 1


def test_a_bar_is_drawn_on_a_terminal_alone(folder: Path, terminal: None) -> None:
    pipeline(folder, 'use = "discard"')
    code = (
        "import os, pty, sys; pty.spawn([sys.executable, '-m', 'mailpipe', 'run', 'p.toml'],"
        " lambda number: os.read(number, 65536))"
    )
    environment = {**os.environ, "TERM": "xterm-256color"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, timeout=60, check=False)
    assert "━" in done.stdout.decode("utf-8", "replace")
    assert b"out (delivered)" in done.stdout


@pytest.mark.parametrize("verbose", [(), ("-v",)])
def test_long_tables_are_shortened_unless_more_is_asked_for(
    mailpipe: Run, folder: Path, peer: object, verbose: tuple[str, ...]
) -> None:
    peer.answers["RCPT"] = "550 5.1.1 no such user"
    one = b"From a@example.org Mon Nov 23 10:00:00 2026\nFrom: a@example.org\nTo: b@example.net\nSubject: %d\n\nx\n\n"
    (folder / "archive.mbox").write_bytes(b"".join(one % number for number in range(30)))
    ended = mailpipe("run", pipeline(folder, smtp(peer.port)), *verbose)
    assert ended.code == 1
    assert ("… and 18 more" in ended.text) is not bool(verbose)
