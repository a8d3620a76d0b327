"""The sink maildir: whole and on disk, or not there at all."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailpipe.errors import OutputError
from mailpipe.pipeline.outcome import Fate
from mailpipe.sinks.maildir import MaildirSink
from mailpipe.sources.maildir import MaildirSource


def sink(path: Path, **options: object) -> MaildirSink:
    made = MaildirSink(MaildirSink.Options.model_validate({"path": str(path), **options}))
    made.open()
    return made


def contents(path: Path) -> list[bytes]:
    return [file.read_bytes() for file in (path / "new").iterdir()]


def test_a_mail_arrives_in_new_octet_for_octet(tmp_path: Path, make_mail) -> None:
    octets = b"A: 1\r\n\r\nFrom x\n\0\xff no line end"
    receipt = sink(tmp_path / "Mail").deliver(make_mail(octets, "a@b", "c@d"))
    assert contents(tmp_path / "Mail") == [octets]
    assert [entry.fate for entry in receipt.recipients] == [Fate.DELIVERED] * 2
    assert Path(receipt.reference).read_bytes() == octets
    assert list((tmp_path / "Mail/tmp").iterdir()) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(written=st.lists(st.binary(max_size=80), max_size=4), sync=st.booleans())
def test_the_source_reads_back_what_the_sink_wrote(tmp_path_factory, make_mail, written, sync) -> None:
    path = tmp_path_factory.mktemp("maildir")
    target = sink(path, sync=sync)
    for octets in written:
        target.deliver(make_mail(octets))
    reader = MaildirSource(MaildirSource.Options.model_validate({"path": str(path)}))
    assert sorted(mail.octets for mail in reader) == sorted(written)


def test_trace_fields_come_from_the_envelope_and_hold_no_line_breaks(tmp_path: Path, make_mail) -> None:
    target = sink(tmp_path, add_return_path=True, add_delivered_to=True)
    target.deliver(make_mail(b"A: 1\r\n\r\n", "b@c\r\nX-Evil: yes", sender=""))
    assert contents(tmp_path) == [b"Return-Path: <>\r\nDelivered-To: b@cX-Evil: yes\r\nA: 1\r\n\r\n"]


def test_a_place_that_cannot_be_made_is_an_output_error(blocked: Path) -> None:
    with pytest.raises(OutputError, match="cannot write"):
        sink(blocked)


def test_a_directory_that_went_away_is_an_output_error_and_not_a_loss(tmp_path: Path, make_mail) -> None:
    target = sink(tmp_path)
    (tmp_path / "new").rmdir()
    with pytest.raises(OutputError):
        target.deliver(make_mail())
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, full_disk_script: str) -> None:
    arguments = ["mailpipe.sinks.maildir", "MaildirSink", "path", str(tmp_path / "Mail")]
    run = subprocess.run([sys.executable, "-c", full_disk_script, *arguments], capture_output=True, text=True)
    assert run.stdout.startswith("refused"), run.stderr
    assert contents(tmp_path / "Mail") == [b"A: 1\n\nsmall\n"]
    assert list((tmp_path / "Mail/tmp").iterdir()) == []
