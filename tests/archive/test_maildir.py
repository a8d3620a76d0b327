"""Maildir names, flags, folders, and finding a message again."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpipe.archive.maildir import (
    Locator,
    MaildirEntry,
    flags_of,
    folders,
    is_maildir,
    make,
    mark_seen,
    remove,
    scan,
    unique_name,
    with_flags,
)  # fmt: skip
from mailpipe.errors import InputError


@pytest.mark.parametrize(
    ("name", "flags"),
    [("1.M1.host", ""), ("1.M1.host:2,", ""), ("1.M1.host:2,SF", "FS"), ("1.M1.host,S=9:2,RDF,", "DFR"), ("1:2,STab", "STab")],
)
def test_flags_are_read_sorted(name: str, flags: str) -> None:
    assert flags_of(name) == flags


@given(st.sets(st.sampled_from("DFPRSTab")))
def test_flags_that_are_written_read_back(letters: set[str]) -> None:
    name = with_flags("1.M1.host:2,P", "".join(letters))
    assert set(flags_of(name)) == letters
    assert name.startswith("1.M1.host:2,")


def test_unique_names_are_unique_and_safe() -> None:
    names = {unique_name() for _ in range(1000)}
    assert len(names) == 1000
    assert not any("/" in name or ":" in name or name.startswith(".") for name in names)


def test_new_comes_before_cur_and_hidden_files_are_no_messages(tmp_path: Path) -> None:
    make(tmp_path)
    for path in ("new/2", "new/1", "cur/3:2,S", "cur/.hidden", "tmp/4"):
        (tmp_path / path).touch()
    assert [f"{entry.place}/{entry.file_name}" for entry in scan(tmp_path, by_name=True)] == ["new/1", "new/2", "cur/3:2,S"]
    assert is_maildir(tmp_path)


def test_folders_are_maildirs_with_a_dot(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / ".Sent", tmp_path / ".Lists.python"):
        make(path)
    (tmp_path / ".other").mkdir()
    assert [name for name, _ in folders(tmp_path)] == ["INBOX", "Lists.python", "Sent"]


def test_a_message_is_found_wherever_it_went(tmp_path: Path) -> None:
    make(tmp_path)
    locator = Locator()
    for path in ("new/a", "cur/b:2,FS", "cur/c:2,Sxyz"):
        (tmp_path / path).touch()
    found = [locator.find(tmp_path, unique) for unique in "abc"]
    assert [f"{entry.place}/{entry.file_name}" for entry in found if entry] == ["new/a", "cur/b:2,FS", "cur/c:2,Sxyz"]
    os.rename(tmp_path / "cur/c:2,Sxyz", tmp_path / "cur/c:2,STxyz")
    moved = locator.find(tmp_path, "c")
    assert moved is not None and moved.flags == "STxyz"
    assert [locator.find(tmp_path, unique) for unique in ("d", "", "../a", "x/y")] == [None] * 4
    assert locator.find(tmp_path / "absent", "a") is None


def test_marking_seen_moves_to_cur_and_keeps_other_flags(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "new/a").write_bytes(b"x")
    (tmp_path / "cur/b:2,F").write_bytes(b"y")
    mark_seen(MaildirEntry(str(tmp_path), "new", "a"))
    mark_seen(MaildirEntry(str(tmp_path), "cur", "b:2,F"))
    mark_seen(MaildirEntry(str(tmp_path), "cur", "b:2,FS"))
    assert sorted(path.name for path in (tmp_path / "cur").iterdir()) == ["a:2,S", "b:2,FS"]


def test_marking_seen_never_replaces_another_message(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "new/a").write_bytes(b"x")
    (tmp_path / "cur/a:2,S").write_bytes(b"y")
    with pytest.raises(FileExistsError):
        mark_seen(MaildirEntry(str(tmp_path), "new", "a"))
    assert (tmp_path / "new/a").read_bytes() == b"x"


def test_removing_twice_is_no_trouble(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "new/a").touch()
    for _ in range(2):
        remove(MaildirEntry(str(tmp_path), "new", "a"))
    assert not list(scan(tmp_path))


def test_a_missing_maildir_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        list(scan(tmp_path / "absent"))
    with pytest.raises(InputError):
        list(folders(tmp_path / "absent"))
