"""The sink mbox: appended under a lock, or not at all."""

import mailbox
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailpipe.archive.from_line import parse as parse_from_line
from mailpipe.errors import OutputError, TransientFailure
from mailpipe.sinks.mbox import MboxSink
from mailpipe.sources.mbox import MboxSource


def sink(path: Path, **options: object) -> MboxSink:
    made = MboxSink(MboxSink.Options.model_validate({"path": str(path), "lock_timeout": 0, **options}))
    made.open()
    return made


def read(path: Path, dialect: str = "mboxrd") -> list[bytes]:
    reader = MboxSource(MboxSource.Options.model_validate({"path": str(path), "dialect": dialect}))
    octets = [mail.octets for mail in reader]
    reader.close()
    return octets


def test_a_mail_is_appended_behind_a_from_line_of_its_envelope(tmp_path: Path, make_mail) -> None:
    path = tmp_path / "out" / "a.mbox"
    target = sink(path)
    target.deliver(make_mail(b"A: 1\n\nx\n"))
    receipt = target.deliver(make_mail(b"A: 2\n\ny\n", sender=""))
    assert read(path) == [b"A: 1\n\nx\n", b"A: 2\n\ny\n"]
    lines = [line for line in path.read_bytes().splitlines() if line.startswith(b"From ")]
    assert [parsed.sender for line in lines if (parsed := parse_from_line(line))] == ["ann@example.org", "MAILER-DAEMON"]
    assert receipt.reference == f"{path}:{path.read_bytes().rindex(b'From MAILER')}"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(written=st.lists(st.binary(max_size=60) | st.sampled_from([b"From x", b">From y\n\nFrom z\n"]), max_size=5))
def test_the_source_reads_back_what_the_sink_wrote(tmp_path_factory, make_mail, written) -> None:
    path = tmp_path_factory.mktemp("mbox") / "a.mbox"
    target = sink(path, sync=False)
    for octets in written:
        target.deliver(make_mail(octets))
    ended = [octets if octets.endswith(b"\n") else octets + (b"\r\n" if b"\r\n" in octets else b"\n") for octets in written]
    assert read(path) == ended


def test_others_read_it_too(tmp_path: Path, make_mail) -> None:
    target = sink(tmp_path / "a.mbox", dialect="mboxo")
    for number in range(3):
        target.deliver(make_mail(b"Subject: %d\n\nFrom here\n" % number))
    assert [message["Subject"] for message in mailbox.mbox(tmp_path / "a.mbox")] == ["0", "1", "2"]


def test_half_a_message_at_the_end_does_not_swallow_the_next(tmp_path: Path, make_mail) -> None:
    path = tmp_path / "a.mbox"
    for rest in (b"From a Thu Nov 29 23:33:09 1973\nA: 1\n\nhal", b"From a Thu Nov 29 23:33:09 1973\nA: 1\n\nhalf\n"):
        path.write_bytes(rest)
        sink(path).deliver(make_mail(b"A: 2\n\ny\n"))
        assert read(path)[1:] == [b"A: 2\n\ny\n"]


def test_threads_do_not_mix_their_mails(tmp_path: Path, make_mail) -> None:
    path = tmp_path / "a.mbox"
    written = [b"A: %d\n\n" % number + b"%d\n" % number * 2000 for number in range(24)]
    with ThreadPoolExecutor(6) as pool:
        for receipt in pool.map(lambda octets: sink(path, lock_timeout=30, lock="both").deliver(make_mail(octets)), written):
            assert receipt.reference
    assert sorted(read(path)) == sorted(written)
    assert not (tmp_path / "a.mbox.lock").exists()


def test_the_lock_of_another_program_defers_the_mail(tmp_path: Path, make_mail) -> None:
    path = tmp_path / "a.mbox"
    script = "import fcntl, sys; f = open(sys.argv[1], 'a'); fcntl.lockf(f, fcntl.LOCK_EX); print('ready', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None and holder.stdin is not None
        holder.stdout.readline()
        with pytest.raises(TransientFailure, match="locked by another program"):
            sink(path).deliver(make_mail())
        holder.stdin.close()
    assert path.read_bytes() == b""
    (tmp_path / "a.mbox.lock").touch()
    with pytest.raises(TransientFailure, match=r"a\.mbox\.lock"):
        sink(path, lock="dot").deliver(make_mail())
    sink(path, lock="fcntl").deliver(make_mail())
    assert len(read(path)) == 1


def test_a_full_disk_leaves_the_archive_as_it_was(tmp_path: Path, full_disk_script: str) -> None:
    path = tmp_path / "a.mbox"
    arguments = ["mailpipe.sinks.mbox", "MboxSink", "path", str(path)]
    run = subprocess.run([sys.executable, "-c", full_disk_script, *arguments], capture_output=True, text=True)
    assert run.stdout.startswith("refused"), run.stderr
    assert read(path) == [b"A: 1\n\nsmall\n"]
    assert path.read_bytes().endswith(b"small\n\n")


def test_a_device_that_is_full_is_transient(make_mail) -> None:
    target = MboxSink(MboxSink.Options.model_validate({"path": "/dev/full", "lock": "fcntl"}))
    with pytest.raises(OutputError) as caught:
        target.deliver(make_mail())
    assert caught.value.is_full and caught.value.is_transient


def test_a_place_that_cannot_be_made_is_an_output_error(blocked: Path, tmp_path: Path) -> None:
    for path in (blocked, tmp_path):
        with pytest.raises(OutputError, match="cannot write"):
            sink(path)
