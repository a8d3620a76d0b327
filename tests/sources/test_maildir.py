"""The source maildir: what it yields, and what becomes of a message when its outcome is on record."""

from pathlib import Path

import pytest

from mailpipe.archive.maildir import make
from mailpipe.errors import InputError
from mailpipe.pipeline.mail import Origin
from mailpipe.pipeline.outcome import Ending, Outcome
from mailpipe.sources.maildir import MaildirSource
from mailpipe.status import EnhancedStatus


def source(path: Path, **options: object) -> MaildirSource:
    reader = MaildirSource(MaildirSource.Options.model_validate({"path": str(path), "order": "name", **options}))
    reader.open()
    return reader


def outcome(origin: Origin, ending: Ending = Ending.DELIVERED) -> Outcome:
    return Outcome(origin, ending, EnhancedStatus(2, 0, 0))


def names(directory: Path) -> list[str]:
    return sorted(f"{path.parent.name}/{path.name}" for path in directory.rglob("*") if path.is_file())


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    for folder in ("", ".Sent"):
        make(tmp_path / folder)
    for name, octets in (("new/1", b"A: 1\n"), ("cur/2:2,S", b"A: 2\n"), ("cur/3:2,Fx", b"A: 3\n"), (".Sent/cur/4:2,S", b"A: 4\n")):
        (tmp_path / name).write_bytes(octets)
    (tmp_path / "tmp/5").write_bytes(b"half")
    return tmp_path


def test_new_and_cur_are_read_and_tmp_is_not(maildir: Path) -> None:
    mails = list(source(maildir))
    assert [mail.octets for mail in mails] == [b"A: 1\n", b"A: 2\n", b"A: 3\n"]
    assert [mail.origin.ident for mail in mails] == ["1", "2", "3"]
    assert mails[0].origin == Origin("maildir", str(maildir), 0, 5, "1")


def test_folders_and_unseen_are_options(maildir: Path) -> None:
    assert [mail.origin.ident for mail in source(maildir, folders=True)] == ["1", "2", "3", ".Sent/4"]
    assert [mail.origin.ident for mail in source(maildir, which="unseen")] == ["1", "3"]
    assert len(list(source(maildir, order="directory"))) == 3


def test_the_key_of_a_mail_outlives_its_flags(maildir: Path) -> None:
    reader = source(maildir, folders=True, after="seen")
    before = {mail.origin.key: mail.octets for mail in reader}
    for mail in list(reader):
        reader.settle(outcome(mail.origin))
    assert {mail.origin.key: mail.octets for mail in source(maildir, folders=True)} == before


def test_another_source_reads_a_mail_again_after_it_moved(maildir: Path) -> None:
    origins = list(source(maildir, folders=True).origins())
    (maildir / "new/1").rename(maildir / "cur/1:2,RSab")
    worker = source(maildir, folders=True)
    assert [worker.reread(origin).octets for origin in origins] == [b"A: 1\n", b"A: 2\n", b"A: 3\n", b"A: 4\n"]
    (maildir / "cur/1:2,RSab").unlink()
    with pytest.raises(InputError, match="not there any more"):
        worker.reread(origins[0])


def test_keep_changes_nothing(maildir: Path) -> None:
    before = names(maildir)
    reader = source(maildir)
    for mail in reader:
        reader.settle(outcome(mail.origin))
    assert names(maildir) == before


def test_seen_moves_and_remove_removes_while_the_directory_is_read(maildir: Path) -> None:
    reader = source(maildir, after="seen", order="directory")
    seen = []
    for mail in reader:
        seen.append(mail.origin.ident)
        reader.settle(outcome(mail.origin))
    assert sorted(seen) == ["1", "2", "3"]
    assert names(maildir) == ["cur/1:2,S", "cur/2:2,S", "cur/3:2,FSx", "cur/4:2,S", "tmp/5"]
    reader = source(maildir, after="remove", folders=True)
    for mail in reader:
        reader.settle(outcome(mail.origin))
    assert names(maildir) == ["tmp/5"]


@pytest.mark.parametrize("ending", [Ending.FAILED, Ending.REJECTED, Ending.DEFERRED])
def test_a_mail_that_is_safe_nowhere_else_is_kept(maildir: Path, ending: Ending) -> None:
    before = names(maildir)
    reader = source(maildir, after="remove")
    for mail in reader:
        reader.settle(outcome(mail.origin, ending))
    assert names(maildir) == before


def test_settling_a_mail_made_of_another_leaves_the_file_alone(maildir: Path) -> None:
    reader = source(maildir, after="remove")
    first = next(iter(reader)).origin
    reader.settle(outcome(first.child(1)))
    reader.settle(outcome(Origin("maildir", str(maildir), ident="../../etc/passwd")))
    assert "new/1" in names(maildir)


def test_what_cannot_be_read_is_reported_after_all_others(maildir: Path) -> None:
    (maildir / "new/0").symlink_to(maildir / "new/0")
    reader, octets = source(maildir), list[bytes]()
    with pytest.raises(InputError, match="new/0"):
        octets.extend(mail.octets for mail in reader)
    assert octets == [b"A: 1\n", b"A: 2\n", b"A: 3\n"]


@pytest.mark.parametrize("name", ["absent", "file", "folder"])
def test_what_is_no_maildir_is_refused_at_opening(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError):
        source(tmp_path / name)
