"""What the command line names is looked at, and told apart or refused with its reason."""

import gzip
import os
from pathlib import Path

import pytest

from mailpipe.errors import InputError, SettingsError
from mailpipe.pipeline.choose import sources_for
from mailpipe.pipeline.settings import parse_settings
from mailpipe.plugins import load_registry

MESSAGE = b"From: a@x.example\nTo: b@x.example\n\nhello\n"
ARCHIVE = b"From a@x.example Thu Jan  1 00:00:00 1970\n" + MESSAGE


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one.eml").write_bytes(MESSAGE)
    (tmp_path / "noname").write_bytes(MESSAGE)
    (tmp_path / "a.mbox").write_bytes(ARCHIVE)
    (tmp_path / "b.gz").write_bytes(gzip.compress(ARCHIVE))
    (tmp_path / "empty.mbox").write_bytes(b"")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(200))
    (tmp_path / "nul.eml").write_bytes(b"Subject: a\0b\n\nx\0\n")
    (tmp_path / "empty.eml").write_bytes(b"")
    for name in ("cur", "new", "tmp"):
        (tmp_path / "Mail" / name).mkdir(parents=True)
    (tmp_path / "Mail" / "new" / "1.M1.host").write_bytes(MESSAGE)
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "x.eml").write_bytes(MESSAGE)
    (tmp_path / "bare").mkdir()
    return tmp_path


def choose(*paths, text=""):
    registry = load_registry()
    return sources_for(paths, parse_settings(text, Path("p.toml"), registry), registry)


@pytest.mark.parametrize(
    ("path", "name", "count"),
    [("one.eml", "eml", 1), ("noname", "eml", 1), ("a.mbox", "mbox", 1), ("b.gz", "mbox", 1), ("empty.mbox", "mbox", 0),
     ("Mail", "maildir", 1), ("letters", "eml", 1), ("nul.eml", "eml", 1)],
)  # fmt: skip
def test_each_kind_is_known_by_its_looks(place, path, name, count):
    (source,) = choose(path)
    source.open()
    assert source.name == name
    mails = list(source)
    assert len(mails) == count
    # the location is told as the user gave it
    assert all(mail.origin.location == path for mail in mails)
    source.close()


def test_standard_input_is_a_dash(place):
    assert [source.name for source in choose("-", "a.mbox")] == ["stdin", "mbox"]


def test_neighbours_of_a_kind_share_a_source_and_nothing_is_read_twice(place):
    names = [source.name for source in choose("one.eml", "letters", "a.mbox", "noname", "./one.eml", str(place / "a.mbox"))]
    assert names == ["eml", "mbox", "eml"]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("nowhere", "No such file or directory|does not exist|is missing|not there"),
        ("picture.png", "is neither a message nor an archive: it begins with binary octets"),
        ("empty.eml", "is empty; there is no message in it"),
        ("bare", r"is a folder without messages: there is no \*.eml in it, and it is no Maildir"),
        ("/dev/null", "."),
    ],
)
def test_what_is_no_mail_is_refused_before_any_flows(place, path, reason):
    with pytest.raises(InputError, match=reason) as caught:
        choose("a.mbox", path)
    assert caught.value.exit_code == 66 and caught.value.path == path


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_what_cannot_be_read_is_refused(place):
    (place / "one.eml").chmod(0)
    with pytest.raises(InputError, match="Permission denied"):
        choose("one.eml")


def test_the_source_table_is_for_runs_without_paths_and_its_options_for_its_kind(place):
    text = '[source]\nuse = "eml"\npath = "letters"\npattern = "*.txt"\n'
    (source,) = choose(text=text)
    assert source.options.path == (place / "letters",)
    (source,) = choose("one.eml", text=text)
    assert (source.options.pattern, source.options.path) == ("*.txt", (Path("one.eml"),))
    assert choose("a.mbox", text=text)[0].name == "mbox"


def test_nothing_to_read_is_told(place):
    with pytest.raises(SettingsError, match=r"there is nothing to read; expected a \[source\], or an archive"):
        choose()
