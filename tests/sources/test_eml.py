"""The source eml: files, folders, patterns, and what cannot be read."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailpipe.errors import InputError
from mailpipe.pipeline.mail import Origin
from mailpipe.sources.eml import EmlSource


def source(*paths: Path, **options: object) -> EmlSource:
    return EmlSource(EmlSource.Options.model_validate({"path": [str(path) for path in paths], **options}))


@pytest.fixture
def letters(tmp_path: Path) -> Path:
    folder = tmp_path / "letters"
    for name in ("b.eml", "a.eml", "notes.txt", "sub/c.eml", "sub/deep/d.eml"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


def test_a_folder_is_searched_for_messages_in_order_of_names(letters: Path) -> None:
    mails = list(source(letters))
    assert [mail.octets for mail in mails] == [b"a.eml", b"b.eml", b"sub/c.eml", b"sub/deep/d.eml"]
    assert mails[2].origin == Origin("eml", str(letters), 0, 9, "sub/c.eml")
    assert {mail.octets for mail in source(letters, order="directory")} == {mail.octets for mail in mails}


def test_pattern_and_depth_are_options(letters: Path) -> None:
    assert [mail.octets for mail in source(letters, pattern="*.txt")] == [b"notes.txt"]
    assert len(list(source(letters, recursive=False))) == 2


def test_a_file_that_is_named_may_have_any_name(letters: Path) -> None:
    (mail,) = source(letters / "notes.txt")
    assert (mail.octets, mail.origin.ident) == (b"notes.txt", "")


def test_another_source_reads_the_same_mails_again(letters: Path) -> None:
    mails = list(source(letters, letters / "notes.txt"))
    assert [source(letters).reread(origin) for origin in source(letters, letters / "notes.txt").origins()] == mails


@settings(deadline=None)
@given(st.binary(max_size=500))
def test_any_octets_are_a_mail(tmp_path_factory: pytest.TempPathFactory, octets: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.eml"
    path.write_bytes(octets)
    assert [mail.octets for mail in source(path)] == [octets]


def test_links_in_a_circle_end(letters: Path) -> None:
    (letters / "sub/again").symlink_to(letters, target_is_directory=True)
    assert len(list(source(letters))) == 4


def test_what_cannot_be_read_is_reported_after_all_others(letters: Path) -> None:
    (letters / "aa.eml").symlink_to(letters / "aa.eml")
    (letters / "ab.eml").symlink_to(letters / "absent")
    octets: list[bytes] = []
    with pytest.raises(InputError, match=r"aa\.eml.*\(and 1 more\)"):
        octets.extend(mail.octets for mail in source(letters))
    assert octets == [b"a.eml", b"b.eml", b"sub/c.eml", b"sub/deep/d.eml"]


def test_a_missing_file_is_refused_at_opening(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="check the path"):
        source(tmp_path / "absent.eml").open()


def test_no_path_is_refused() -> None:
    with pytest.raises(ValueError, match="path"):
        EmlSource.Options.model_validate({"path": []})
