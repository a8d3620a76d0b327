import errno
import os

import pytest

from mailpipe.errors import OutputError
from mailpipe.queue.reserve import SIZE, Reserve
from mailpipe.smtp.envelope import Envelope

TO = Envelope.of("ann@example.org", "bob@example.net")


def refusing(code):
    def refuse(*_):
        raise OSError(code, os.strerror(code))

    return refuse


def test_it_is_made_once_and_again_where_it_is_short(tmp_path):
    reserve, path = Reserve(tmp_path / "queue.reserve"), tmp_path / "queue.reserve"
    assert reserve.fill() is None and path.stat().st_size == SIZE
    os.truncate(path, 10)
    assert reserve.fill() is None and path.stat().st_size == SIZE
    reserve.spend()
    reserve.spend()
    assert not path.exists()


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS])
def test_a_file_system_that_cannot_allocate_is_written_to(tmp_path, monkeypatch, code):
    monkeypatch.setattr(os, "posix_fallocate", refusing(code))
    assert Reserve(tmp_path / "r").fill() is None
    assert (tmp_path / "r").stat().st_blocks * 512 >= SIZE


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_no_mail_is_taken_while_it_cannot_be_made_and_some_leaves(queue, monkeypatch, code):
    identifier = queue.put(b"x", TO, origin="test")
    queue._store._reserve.spend()
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", refusing(code))
        with pytest.raises(OutputError, match="free some space") as trouble:
            queue.put(b"y", TO, origin="test")
        assert trouble.value.is_full and trouble.value.__cause__ is None
        assert [entry.id for entry in queue.lease()] == [identifier]
    assert queue.put(b"z", TO, origin="test")


def test_any_other_trouble_is_left_to_whoever_meets_it(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "open", refusing(errno.EROFS))
    assert Reserve(tmp_path / "r").fill() is None
