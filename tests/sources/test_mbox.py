"""The source mbox: what it yields, reads again, and refuses."""

import gzip
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailpipe.archive.mbox import render
from mailpipe.errors import InputError
from mailpipe.pipeline.mail import Origin
from mailpipe.sources.mbox import MboxSource

LINE = b"From ann@example.org Thu Nov 29 23:33:09 1973"
TWO = render(b"A: 1\n\n>From x\n", LINE) + render(b"A: 2\n\ny\n", LINE)


def source(*paths: Path, **options: object) -> MboxSource:
    return MboxSource(MboxSource.Options.model_validate({"path": [str(path) for path in paths], **options}))


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "two.mbox"
    path.write_bytes(TWO)
    return path


def test_mails_come_with_origin_and_from_line(archive: Path) -> None:
    first, second = source(archive)
    assert first.octets == b"A: 1\n\n>>From x\n"
    assert first.from_line == second.from_line == LINE
    assert first.envelope is None
    assert second.origin == Origin("mbox", str(archive), TWO.index(b"A: 2"), len(b"A: 2\n\ny\n"))


def test_one_path_may_stand_for_a_list_of_one(archive: Path) -> None:
    assert len(list(MboxSource(MboxSource.Options.model_validate({"path": str(archive)})))) == 2


def test_relative_paths_are_beside_the_pipeline_file(archive: Path) -> None:
    options = MboxSource.Options.model_validate({"path": archive.name}, context={"base": archive.parent})
    assert options.path == (archive,)


def test_another_source_reads_the_same_mails_again_from_their_origins(archive: Path, tmp_path: Path) -> None:
    packed = tmp_path / "two.mbox.gz"
    packed.write_bytes(gzip.compress(TWO))
    for dialect in ("auto", "mboxrd"):
        here, worker = source(archive, packed, dialect=dialect), source(archive, packed, dialect=dialect)
        mails = list(here)
        assert [worker.reread(origin) for origin in here.origins()] == mails
        worker.close()
        assert [worker.reread(mail.origin) for mail in reversed(mails)] == mails[::-1]
        here.close()
        worker.close()


@settings(deadline=None)
@given(st.lists(st.binary(max_size=60).map(lambda octets: octets + b"\n"), min_size=1, max_size=6))
def test_mboxrd_gives_back_what_was_written(tmp_path_factory: pytest.TempPathFactory, written: list[bytes]) -> None:
    path = tmp_path_factory.getbasetemp() / "round.mbox"
    path.write_bytes(b"".join(render(octets, LINE) for octets in written))
    reader = source(path, dialect="mboxrd")
    mails = list(reader)
    assert [mail.octets for mail in mails] == written
    assert [reader.reread(mail.origin) for mail in mails] == mails
    reader.close()


def test_an_empty_archive_has_no_mails(tmp_path: Path) -> None:
    path = tmp_path / "empty.mbox"
    path.touch()
    reader = source(path)
    reader.open()
    assert list(reader) == []


def test_a_binary_file_is_refused_with_a_remedy(tmp_path: Path) -> None:
    path = tmp_path / "picture.mbox"
    path.write_bytes(b"\x89PNG\r\n" + bytes(range(256)) * 40)
    with pytest.raises(InputError, match=r"picture\.mbox: is no mbox.* source eml"):
        list(source(path))


@pytest.mark.parametrize("name", ["absent.mbox", "."])
def test_missing_files_and_directories_are_refused_at_opening(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError):
        source(tmp_path / name).open()


def test_an_archive_that_became_shorter_is_an_error_and_not_half_a_mail(archive: Path) -> None:
    reader = source(archive)
    *_, last = reader.origins()
    os.truncate(archive, last.offset + 2)
    with pytest.raises(InputError, match="shorter"):
        reader.reread(last)
    reader.close()


def test_breaking_off_leaves_no_file_open(archive: Path) -> None:
    reader = source(archive)
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else 0
    for _ in reader:
        break
    reader.close()
    if before:
        assert len(os.listdir("/proc/self/fd")) <= before + 1
