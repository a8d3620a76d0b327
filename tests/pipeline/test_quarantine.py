"""Mail that is set aside for a person."""

import json

import pytest

from mailpipe.errors import OutputError
from mailpipe.pipeline.mail import Origin
from mailpipe.pipeline.quarantine import Quarantine
from mailpipe.smtp.envelope import Envelope
from mailpipe.status import EnhancedStatus

ORIGIN = Origin("mbox", "a.mbox", 3)


def keep(directory, octets=b"Subject: x\r\n\r\nbody", origin=ORIGIN):
    return Quarantine(directory).keep(
        octets, origin, Envelope.of("a@x", "b@x"), reason="odd", status=EnhancedStatus(2, 0, 0), stage="look"
    )


def test_the_message_lies_beside_the_reason(tmp_path):
    path = keep(tmp_path / "q")
    assert path.read_bytes() == b"Subject: x\r\n\r\nbody"
    about = json.loads(path.with_suffix(".json").read_text())
    assert (about["reason"], about["stage"], about["origin"]["location"]) == ("odd", "look", "a.mbox")
    assert about["envelope"]["forward_paths"][0]["address"] == "b@x"
    assert path.stat().st_mode & 0o077 == 0 and (tmp_path / "q").stat().st_mode & 0o077 == 0


def test_the_same_mail_again_is_the_same_file_and_another_is_another(tmp_path):
    first = keep(tmp_path)
    assert keep(tmp_path) == first
    assert keep(tmp_path, octets=b"other") != first != keep(tmp_path, origin=Origin("mbox", "b.mbox", 3))
    assert len(list(tmp_path.iterdir())) == 6


def test_what_cannot_be_written_is_told_and_leaves_nothing(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        keep(tmp_path / "file")
    (tmp_path / "q").mkdir()

    def fail(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OutputError) as caught:
        keep(tmp_path / "q")
    assert caught.value.is_full and not list((tmp_path / "q").iterdir())
