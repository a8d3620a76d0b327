"""Archive files: compressed, damaged, of the wrong kind."""

import bz2
import gzip
import lzma
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mailpipe.archive.kind import detect
from mailpipe.archive.opened import open_mapped, open_regular, read_head
from mailpipe.errors import InputError

MBOX = b"From ann@example.org Thu Nov 29 23:33:09 1973\nA: 1\n\nx\n"


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, bytes])
def test_compressed_archives_are_known_by_their_octets(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "archive"
    path.write_bytes(pack(MBOX))
    with open_mapped(path) as octets:
        assert octets[:] == MBOX
    assert read_head(str(path)) == MBOX
    assert detect(path) == "mbox"


def test_an_empty_file_is_empty_octets(tmp_path: Path) -> None:
    path = tmp_path / "empty.mbox"
    path.touch()
    with open_mapped(path) as octets:
        assert octets == b""


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_damaged_archive_is_named_with_its_compression(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "archive"
    path.write_bytes(pack(os.urandom(9000))[:-40])
    with pytest.raises(InputError, match="damaged"), open_mapped(path):
        pass


def test_missing_files_directories_and_pipes_are_named_with_a_remedy(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, words in (("absent", "check the path"), ("", "is a directory"), ("pipe", "stdin")):
        with pytest.raises(InputError, match=words) as caught:
            open_regular(str(tmp_path / path))
        assert caught.value.path == str(tmp_path / path)


def test_the_kind_of_an_archive_is_seen(tmp_path: Path) -> None:
    for place in ("box/new", "box/cur", "folder"):
        (tmp_path / place).mkdir(parents=True)
    for name, octets in (("a", MBOX), ("b", b"\n\n" + MBOX), ("c", b"A: 1\n"), ("d", b""), ("e.eml", b""), ("f", b"\x89PNG")):
        (tmp_path / name).write_bytes(octets)
    kinds = {path.name: detect(path) for path in tmp_path.iterdir()}
    assert kinds == {
        "box": "maildir", "folder": "eml-folder", "a": "mbox", "b": "mbox", "c": "eml", "d": "mbox", "e.eml": "eml", "f": "eml",
    }  # fmt: skip
    with pytest.raises(InputError):
        detect(tmp_path / "absent")
