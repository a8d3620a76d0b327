"""A copy of each mail is on disk before the mail goes on, once, whatever happens on the way."""

import itertools
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from mailpipe import Services
from mailpipe.archive.mbox import split, unquote
from mailpipe.errors import OutputError, TransientFailure
from mailpipe.pipeline.services import SystemClock
from mailpipe.stages.archive_copy import ArchiveCopy, ArchiveCopyOptions, CopyArchived
from mailpipe.testing.storage import walk

LETTER = b"From: Ann <ann@example.org>\nSubject: Lunch\nDate: Wed, 31 Dec 2025 23:30:00 -0200\n\nFrom me to you:\nat twelve?\n"


class Clock(SystemClock):
    def __init__(self, *moment: int) -> None:
        self.moment = moment

    def now(self) -> datetime:
        return datetime(*self.moment, tzinfo=UTC)


@pytest.fixture
def archiving(tmp_path):
    """An open stage over a folder."""

    def make(clock=None, **options):
        one = ArchiveCopy(ArchiveCopyOptions(directory=tmp_path / "archive", **options))
        one.open(Services.for_tests(clock=clock or Clock(2026, 10, 3)))
        return one

    return make


def copies(folder) -> Iterator[bytes]:
    """Every message in the archives of a folder."""
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".mbox":
            octets = path.read_bytes()
            for span in split(octets):
                yield unquote(octets[span.begin : span.end], "mboxrd")
        elif path.is_file() and (path.suffix == ".eml" or path.parent.name in ("new", "cur")):
            yield path.read_bytes()


def test_a_copy_goes_into_the_mbox_of_the_month(archiving, mail, tmp_path):
    given = mail(LETTER)
    passed = archiving().process(given)
    file = tmp_path / "archive/2026-10.mbox"
    assert passed.message is given.message
    assert passed.notes == (CopyArchived(f"{file}:0"),)
    assert file.read_bytes() == b"From ann@example.org Sat Oct  3 00:00:00 2026\n" + LETTER.replace(b"\nFrom me", b"\n>From me") + b"\n"


@pytest.mark.parametrize("kind", ["mbox", "maildir", "eml"])
def test_a_mail_that_comes_again_finds_its_copy(archiving, mail, tmp_path, kind):
    first = next(archiving(format=kind).process(mail(LETTER)).notes_of(CopyArchived))
    again = next(archiving(format=kind).process(mail(LETTER)).notes_of(CopyArchived))
    assert (first.is_new, again.is_new, again.path) == (True, False, first.path)
    other = mail(LETTER.replace(b"twelve", b"one"))
    archiving(format=kind).process(other)
    assert sorted(copies(tmp_path)) == sorted([LETTER, bytes(other.message)])


@pytest.mark.parametrize("flags", ["", ":2,", ":2,S", ":2,FRS"])
def test_a_copy_that_was_read_is_still_there(archiving, mail, tmp_path, flags):
    one = archiving(format="maildir")
    path = tmp_path / "archive/2026-10"
    one.process(mail(LETTER))
    (file,) = (path / "new").iterdir()
    file.rename(path / "cur" / f"{file.name}{flags}")
    assert not next(one.process(mail(LETTER)).notes_of(CopyArchived)).is_new
    assert list(copies(tmp_path)) == [LETTER]


def test_an_index_that_promises_what_is_not_there_is_not_believed(archiving, mail, tmp_path):
    one = archiving()
    one.process(mail(LETTER))
    file = tmp_path / "archive/2026-10.mbox"
    # as if it had been killed behind the index, or somebody had moved the mbox away
    file.write_bytes(file.read_bytes()[:40])
    assert next(one.process(mail(LETTER)).notes_of(CopyArchived)).is_new
    assert list(copies(tmp_path))[-1] == LETTER
    (tmp_path / "archive/2026-10.mbox.index").unlink()
    assert next(one.process(mail(LETTER)).notes_of(CopyArchived)).is_new


def test_an_index_that_is_broken_is_named(archiving, mail, tmp_path):
    one = archiving()
    (tmp_path / "archive/2026-10.mbox.index").write_bytes(b"no database at all, " * 100)
    with pytest.raises(OutputError, match=r"2026-10\.mbox\.index: cannot write: file is not a database"):
        one.process(mail(LETTER))


@pytest.mark.parametrize(
    ("name", "date", "place"),
    [
        ("%Y/%m-%d", "now", "2026/10-03.mbox"),
        ("all", "now", "all.mbox"),
        ("%Y", "message", "2026.mbox"),  # in UTC it was past midnight
        ("%Y-%m-%d.old", "message", "2026-01-01.old.mbox"),
    ],
)
def test_the_name_is_that_of_the_date(archiving, mail, tmp_path, name, date, place):
    archiving(name=name, date=date).process(mail(LETTER))
    assert (tmp_path / "archive" / place).exists()


def test_a_message_without_a_date_is_of_today(archiving, mail, tmp_path):
    for octets in (b"Subject: none\n\n", b"Date: Mon, 1 Jan 0001 00:00:00 +1400\n\n", b"Date: soon\n\n"):
        archiving(date="message", format="eml").process(mail(octets))
    assert len(list(copies(tmp_path))) == 3


@pytest.mark.parametrize("name", ["", "/tmp/x", "../x", "a/../../b", "%Y/"])
def test_a_name_stays_below_the_directory(tmp_path, name):
    with pytest.raises(ValidationError, match="no name below the directory"):
        ArchiveCopyOptions(directory=tmp_path, name=name)


@pytest.mark.parametrize("kind", ["maildir", "eml"])
def test_whatever_happens_there_is_one_copy_in_the_end(tmp_path, mail, kind):
    """Each call is killed or refused in turn; the mail comes again, and what was promised is there."""
    numbers = itertools.count()
    folders = {}

    def options(number):
        return ArchiveCopyOptions(directory=tmp_path / str(number), format=kind)

    def opened(number):
        one = ArchiveCopy(options(number))
        one.open(Services.for_tests(clock=Clock(2026, 10, 3)))
        return one

    def prepare():
        folders["now"] = next(numbers)

    def act(faulty):
        one = opened(folders["now"])
        with faulty:
            return next(one.process(mail(LETTER)).notes_of(CopyArchived)).path

    seen = 0
    for fault, ending in walk(prepare, act):
        seen += 1
        place = tmp_path / str(folders["now"])
        if ending.kind == "done":
            assert list(copies(place)) == [LETTER], fault
        opened(folders["now"]).process(mail(LETTER))
        assert list(copies(place)) == [LETTER], (fault, ending)
    assert seen > 20


def test_a_lock_of_another_program_makes_the_stage_fail(archiving, mail, tmp_path):
    one = archiving(lock="dot", lock_timeout=0)
    one.process(mail(LETTER))
    (tmp_path / "archive/2026-10.mbox.lock").touch()
    with pytest.raises(TransientFailure, match=r"is locked by the file .*2026-10\.mbox\.lock"):
        one.process(mail(LETTER + b"more"))


def test_an_mbox_index_grows_by_what_it_holds(archiving, mail, tmp_path):
    one = archiving()
    for number in range(5):
        one.process(mail(b"Subject: %d\n\n" % number))
    with sqlite3.connect(tmp_path / "archive/2026-10.mbox.index") as index:
        assert index.execute("SELECT count(*) FROM copy").fetchone() == (5,)
    index.close()
    assert len(list(copies(tmp_path))) == 5


def test_a_rehearsal_writes_nothing(mail, tmp_path):
    one = ArchiveCopy(ArchiveCopyOptions(directory=tmp_path / "archive"))
    one.open(replace(Services.for_tests(), is_rehearsal=True))
    given = mail(LETTER)
    assert one.process(given) is given
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    one = ArchiveCopy(ArchiveCopyOptions(directory=tmp_path / "file" / "archive"))
    with pytest.raises(OutputError, match="archive: cannot write"):
        one.open(Services.for_tests())
