"""What people get wrong: each with its message and its exit code, and never a traceback."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., object]


def must_be(ended: object, code: int, *words: str) -> None:
    assert ended.code == code, (ended.code, ended.err, ended.out)
    said = ended.err + ended.text
    for word in words:
        assert word in said, said
    assert "Traceback" not in said
    assert ended.err == "" or ended.err.startswith("mailpipe")


def pipeline(folder: Path, sink: str = 'use = "discard"', stages: str = "", source: str = "archive.mbox") -> str:
    (folder / "p.toml").write_text(f'[source]\nuse = "mbox"\npath = "{source}"\n{stages}\n[sink]\n{sink}\n')
    return "p.toml"


@pytest.mark.parametrize("verb", [("show",), ("validate",), ("check",), ("run", "pipeline.toml"), ("run",),
                                  ("send", "-f", "", "--to", "b@example.net")])  # fmt: skip
def test_a_missing_file(mailpipe: Run, folder: Path, verb: tuple[str, ...]) -> None:
    is_pipeline = verb in (("check",), ("run",))
    must_be(mailpipe(*verb, "missing"), 78 if is_pipeline else 66, "missing", "o such file")


def test_a_missing_archive_in_the_pipeline_file(mailpipe: Run, folder: Path) -> None:
    must_be(mailpipe("run", pipeline(folder, source="missing.mbox")), 66, "missing.mbox", "No such file")


def unreadable(folder: Path, name: str) -> None:
    (folder / name).chmod(0)
    if os.geteuid() == 0:
        pytest.skip("root can read everything")


@pytest.mark.parametrize(
    ("verb", "name", "code"),
    [(("show",), "message.eml", 66), (("validate",), "message.eml", 66), (("run", "pipeline.toml"), "archive.mbox", 66),
     (("check",), "pipeline.toml", 78)],
)  # fmt: skip
def test_an_unreadable_file(mailpipe: Run, folder: Path, verb: tuple[str, ...], name: str, code: int) -> None:
    unreadable(folder, name)
    must_be(mailpipe(*verb, name), code, name)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize(
    ("verb", "name", "code"),
    [("show", "message.eml", 66), ("validate", "message.eml", 66), ("check", "pipeline.toml", 78)],
)
def test_an_unreadable_file_for_somebody_else(
    mailpipe: Run, folder: Path, verb: str, name: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory() as open_to_all:
        Path(open_to_all).chmod(0o755)
        for file in ("message.eml", "pipeline.toml"):
            shutil.copy(folder / file, open_to_all)
        monkeypatch.chdir(open_to_all)
        must_be_unreadable_for_others(mailpipe, Path(open_to_all), verb, name, code)
        monkeypatch.chdir(folder)


def must_be_unreadable_for_others(mailpipe: Run, folder: Path, verb: str, name: str, code: int) -> None:
    assert mailpipe(verb, name).code == 0  # everything is imported now; the package may be unreadable for others too
    (folder / name).chmod(0)
    os.seteuid(65534)
    try:
        ended = mailpipe(verb, name)
    finally:
        os.seteuid(0)
    must_be(ended, code, name, "ermission")


@pytest.mark.parametrize("verb", [("show",), ("validate",), ("check",)])
def test_a_directory(mailpipe: Run, folder: Path, verb: tuple[str, ...]) -> None:
    (folder / "folder").mkdir()
    must_be(mailpipe(*verb, "folder"), 78 if verb == ("check",) else 66, "folder", "irectory")


def test_a_directory_without_messages_as_a_source(mailpipe: Run, folder: Path) -> None:
    (folder / "folder").mkdir()
    must_be(mailpipe("run", "pipeline.toml", "folder"), 66, "folder", "without messages")


def test_an_empty_mbox(mailpipe: Run, folder: Path) -> None:
    (folder / "archive.mbox").write_bytes(b"")
    ended = mailpipe("run", pipeline(folder))
    must_be(ended, ended.code, "archive.mbox" if ended.code else "no mail")
    assert ended.code in (0, 66)


def test_an_empty_message(mailpipe: Run, folder: Path) -> None:
    (folder / "empty.eml").write_bytes(b"")
    must_be(mailpipe("show", "empty.eml"), 66, "empty.eml", "the file is empty")
    must_be(mailpipe("run", "pipeline.toml", "empty.eml"), 66, "empty.eml", "is empty")


BINARY = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)) * 40


def test_a_binary_file(mailpipe: Run, folder: Path) -> None:
    (folder / "picture.png").write_bytes(BINARY)
    must_be(mailpipe("show", "picture.png"), 65, "picture.png", "this is no message")
    must_be(mailpipe("run", "pipeline.toml", "picture.png"), 66, "picture.png", "neither a message nor an archive")
    must_be(mailpipe("check", "picture.png"), 78, "picture.png", "no UTF-8 text")
    must_be(mailpipe("validate", "picture.png"), 1)


def test_a_binary_file_as_an_mbox(mailpipe: Run, folder: Path) -> None:
    (folder / "archive.mbox").write_bytes(BINARY)
    must_be(mailpipe("run", pipeline(folder)), 66, "archive.mbox")


@pytest.mark.parametrize("verb", ["check", "run"])
def test_an_unknown_stage(mailpipe: Run, folder: Path, verb: str) -> None:
    file = pipeline(folder, stages='[[stage]]\nuse = "extract-atachments"\n')
    words = "stage.1.use: unknown stage 'extract-atachments', did you mean 'extract-attachments'?"
    must_be(mailpipe(verb, file), 78, "p.toml:5:", words)


@pytest.mark.parametrize("verb", ["check", "run"])
def test_a_wrong_option_type(mailpipe: Run, folder: Path, verb: str) -> None:
    file = pipeline(folder, sink='use = "smtp"\nhost = "127.0.0.1"\nport = "many"')
    must_be(mailpipe(verb, file), 78, "p.toml:8:", "sink.port")


@pytest.mark.parametrize("verb", ["check", "run"])
def test_an_unknown_option(mailpipe: Run, folder: Path, verb: str) -> None:
    file = pipeline(folder, sink='use = "smtp"\nhst = "127.0.0.1"')
    must_be(mailpipe(verb, file), 78, "sink.hst", "did you mean 'host'?")


def test_a_wrong_host_name(mailpipe: Run, folder: Path) -> None:
    file = pipeline(folder, sink='use = "smtp"\nhost = "no-such-host.invalid"')
    must_be(mailpipe("run", file), 75, "no-such-host.invalid", "deferred")
    ended = mailpipe("send", "message.eml", "-f", "", "--to", "b@example.net", "-s", "no-such-host.invalid:25")
    must_be(ended, 75, "no-such-host.invalid")


def test_a_closed_port(mailpipe: Run, folder: Path, closed_port: int) -> None:
    file = pipeline(folder, sink=f'use = "smtp"\nhost = "127.0.0.1"\nport = {closed_port}')
    must_be(mailpipe("run", file), 75, "connection refused", "deferred")
    ended = mailpipe("send", "message.eml", "-f", "", "--to", "b@example.net", "-s", f"127.0.0.1:{closed_port}")
    must_be(ended, 75, "connection refused")


def test_a_server_that_answers_5yz_to_everything(mailpipe: Run, folder: Path, peer: object) -> None:
    peer.answers.update(
        dict.fromkeys(("EHLO", "HELO", "MAIL", "RCPT", "DATA", "RSET", "QUIT", ""), "554 5.7.0 go away")
    )
    file = pipeline(folder, sink=f'use = "smtp"\nhost = "127.0.0.1"\nport = {peer.port}')
    ended = mailpipe("run", file)
    assert ended.code in (1, 75)
    must_be(ended, ended.code, "go away")
    assert peer.messages == []


def test_a_server_that_answers_5yz_after_its_greeting(mailpipe: Run, folder: Path, peer: object) -> None:
    peer.answers.update(dict.fromkeys(("MAIL", "RCPT", "DATA"), "550 5.7.1 go away"))
    file = pipeline(folder, sink=f'use = "smtp"\nhost = "127.0.0.1"\nport = {peer.port}')
    must_be(mailpipe("run", file), 1, "go away", "failed")
    ended = mailpipe("send", "message.eml", "-f", "", "--to", "b@example.net", "-s", f"127.0.0.1:{peer.port}")
    must_be(ended, 69, "go away")


@pytest.fixture
def full_disk(folder: Path) -> object:
    """A folder on a file system that has no room left."""
    full = folder / "full"
    full.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(full)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root can mount a small file system")
    (full / "filler").write_bytes(b"x" * 4096)
    yield full
    subprocess.run(["umount", str(full)], check=False)


def test_a_full_disk_for_attachments(mailpipe: Run, folder: Path, full_disk: Path) -> None:
    stages = f'[[stage]]\nuse = "extract-attachments"\ndirectory = "{full_disk}"\n'
    file = pipeline(folder, sink='use = "maildir"\npath = "out"', stages=stages)
    must_be(mailpipe("run", file), 75, "deferred", "No space left on device")


def test_a_full_disk_for_a_maildir(mailpipe: Run, folder: Path, full_disk: Path) -> None:
    ended = mailpipe("run", pipeline(folder, sink=f'use = "maildir"\npath = "{full_disk}/box"'))
    must_be(ended, 75, "No space left on device")


def test_a_folder_that_cannot_be_made(mailpipe: Run, folder: Path) -> None:
    ended = mailpipe("run", pipeline(folder, sink='use = "maildir"\npath = "message.eml/box"'))
    assert ended.code in (73, 75)
    must_be(ended, ended.code, "message.eml")


def test_a_journal_that_cannot_be_written(mailpipe: Run, folder: Path) -> None:
    must_be(mailpipe("run", pipeline(folder), "--journal", "message.eml/j"), 73, "message.eml")
