"""Attachments land in files, safely named, once; the manifest ties them to their messages."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mailpipe.errors import OutputError
from mailpipe.pipeline.mail import AttachmentSaved, Changed
from mailpipe.stages.extract_attachments import ExtractAttachments
from mailpipe.stages.file_names import safe_name

PDF = b"%PDF-1.4 tiny"
MIXED = (
    b"From: Ann <ann@example.org>\nMessage-ID: <1@example.org>\nSubject: two files\nContent-Type: multipart/mixed; boundary=b\n\n--b\n"
    b"Content-Type: text/plain\n\nsee below\n--b\nContent-Type: application/pdf\nContent-Disposition: attachment; filename=\"../../a b.pdf\"\n\n"
    + PDF + b"\n--b\nContent-Type: text/csv; name=list.csv\nContent-Disposition: attachment\nContent-Transfer-Encoding: base64\n\nYSxiCg==\n--b--\n"
)  # fmt: skip


def files(directory: Path) -> set[str]:
    return {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()}


def manifest(directory: Path) -> list[dict]:
    return [json.loads(line) for line in (directory / "manifest.jsonl").read_text().splitlines()]


def test_files_are_written_under_safe_names_and_listed(tmp_path: Path, mail, stage) -> None:
    after = stage(ExtractAttachments, directory=str(tmp_path)).process(mail(MIXED))
    assert files(tmp_path) == {"a b.pdf", "list.csv", "manifest.jsonl"}
    assert (tmp_path / "a b.pdf").read_bytes() == PDF
    assert (tmp_path / "list.csv").read_bytes() == b"a,b\n"
    assert bytes(after.message) == MIXED
    saved = list(after.notes_of(AttachmentSaved))
    assert [(one.part, one.filename, one.size) for one in saved] == [("2", "../../a b.pdf", 13), ("3", "list.csv", 4)]
    first, second = manifest(tmp_path)
    assert (first["message_id"], first["part"], first["path"]) == ("1@example.org", "2", "a b.pdf")
    assert first["sha256"] == hashlib.sha256(PDF).hexdigest()
    assert second["from"] == ["ann@example.org"]


def test_the_same_message_again_changes_nothing(tmp_path: Path, mail, stage) -> None:
    one = stage(ExtractAttachments, directory=str(tmp_path))
    one.process(mail(MIXED))
    before = files(tmp_path), manifest(tmp_path)
    one.process(mail(MIXED))
    stage(ExtractAttachments, directory=str(tmp_path)).process(mail(MIXED))
    assert (files(tmp_path), manifest(tmp_path)) == before


def test_other_content_of_the_same_name_gets_a_name_of_its_own(tmp_path: Path, mail, stage) -> None:
    one = stage(ExtractAttachments, directory=str(tmp_path))
    one.process(mail(MIXED))
    one.process(mail(MIXED.replace(PDF, b"%PDF-1.4 other")))
    digest = hashlib.sha256(b"%PDF-1.4 other").hexdigest()
    assert files(tmp_path) == {"a b.pdf", f"a b-{digest[:12]}.pdf", "list.csv", "manifest.jsonl"}


def test_a_store_by_content_keeps_each_content_once(tmp_path: Path, mail, stage) -> None:
    one = stage(ExtractAttachments, directory=str(tmp_path), store="content")
    one.process(mail(MIXED))
    one.process(mail(MIXED.replace(b"a b.pdf", b"other.PDF")))
    digest = hashlib.sha256(PDF).hexdigest()
    assert f"{digest[:2]}/{digest}" in files(tmp_path)
    assert len(files(tmp_path)) == 3
    assert len(manifest(tmp_path)) == 3  # the other file name is another entry


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"types": ["application/*"]}, {"a b.pdf"}),
        ({"except_types": ["*/pdf"]}, {"list.csv"}),
        ({"names": ["*.csv"]}, {"list.csv"}),
        ({"min_size": "5"}, {"a b.pdf"}),
        ({"max_size": "5"}, {"list.csv"}),
        ({"types": ["image/*"]}, set()),
    ],
)
def test_which_attachments_is_the_users_choice(options, expected, tmp_path: Path, mail, stage) -> None:
    stage(ExtractAttachments, directory=str(tmp_path), **options).process(mail(MIXED))
    assert files(tmp_path) - {"manifest.jsonl"} == expected


def test_a_note_takes_the_place_of_a_part(tmp_path: Path, mail, stage) -> None:
    after = stage(ExtractAttachments, directory=str(tmp_path), then="note").process(mail(MIXED))
    note = after.message.part("2")
    assert note.content_type.value == "text/plain"
    assert hashlib.sha256(PDF).hexdigest() in note.text
    assert "a b.pdf" in note.text
    assert PDF not in bytes(after.message)
    assert after.message.part("1").text == "see below"
    assert len(list(after.notes_of(Changed))) == 2


def test_detached_parts_are_gone(tmp_path: Path, mail, stage) -> None:
    after = stage(ExtractAttachments, directory=str(tmp_path), then="detach").process(mail(MIXED))
    assert [part.text for part in after.message.parts] == ["see below"]


def test_the_only_part_becomes_a_note_even_when_detached(tmp_path: Path, mail, stage) -> None:
    octets = b"From: a@example.org\nContent-Type: application/pdf; name=x.pdf\n\n" + PDF
    after = stage(ExtractAttachments, directory=str(tmp_path), then="detach").process(mail(octets))
    assert "x.pdf" in after.message.text
    assert after.message.header["from"] == "a@example.org"


def test_signed_parts_are_copied_and_kept(tmp_path: Path, mail, stage) -> None:
    octets = b"Content-Type: multipart/signed; boundary=s; protocol=\"application/pgp-signature\"\n\n--s\n" + MIXED + b"\n--s\nContent-Type: application/pgp-signature\n\nsig\n--s--\n"
    after = stage(ExtractAttachments, directory=str(tmp_path), then="detach", types=["*/pdf"]).process(mail(octets))
    assert bytes(after.message) == octets
    assert files(tmp_path) == {"a b.pdf", "manifest.jsonl"}
    assert "signed" in next(iter(after.notes_of(Changed))).what


def test_pictures_of_an_html_text_are_attachments_only_on_request(tmp_path: Path, mail, stage) -> None:
    octets = (
        b"Content-Type: multipart/related; boundary=b\n\n--b\nContent-Type: text/html\n\n<img src=cid:1>\n--b\nContent-Type: image/png; name=a.png\n"
        b"Content-ID: <1>\nContent-Disposition: inline\n\nPNG\n--b--\n"
    )
    stage(ExtractAttachments, directory=str(tmp_path)).process(mail(octets))
    assert files(tmp_path) - {"manifest.jsonl"} == set()
    stage(ExtractAttachments, directory=str(tmp_path), inline=True).process(mail(octets))
    assert "a.png" in files(tmp_path)


def test_a_directory_that_cannot_be_made_is_a_clear_error(tmp_path: Path, stage) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="file"):
        stage(ExtractAttachments, directory=str(tmp_path / "file" / "sub"))


def test_a_full_disk_leaves_no_half_file(tmp_path: Path) -> None:
    # a limit on the size of files makes every large write fail, as a full disk does
    script = f"""
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from mailpipe.stages.attachment_store import AttachmentStore
from mailpipe.errors import OutputError
from pathlib import Path
store = AttachmentStore(Path({str(tmp_path)!r}), by_content=False)
store.open()
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    store.save(b"x" * 5000, "a.bin")
except OutputError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=os.getcwd())
    assert "a.bin: cannot write" in done.stdout, done.stderr
    assert files(tmp_path) == set()


def test_a_note_that_cannot_be_filled_is_refused_at_once(tmp_path: Path, stage) -> None:
    with pytest.raises(ValidationError, match="filename"):
        stage(ExtractAttachments, directory=str(tmp_path), note="{nonsense}")


@pytest.mark.parametrize(
    ("suggested", "expected"),
    [
        ("../../etc/passwd", "passwd"), ("C:\\TEMP\\a.png", "a.png"), ("/", "attachment.bin"), ("", "attachment.bin"), (None, "attachment.bin"),
        ("..", "attachment.bin"), (".hidden", "hidden"), ("a\0b\x1b[31m.txt", "a_b_[31m.txt"), ("con.txt", "_con.txt"), ("-rf", "_-rf"), ("gpj.\u202eexe", "gpj.exe"),
        ("  spaced   name .txt ", "spaced name .txt"), ("x" * 300 + ".pdf", "x" * 196 + ".pdf"), ("é" * 300, "é" * 100), ("a:b*c?.txt", "a_b_c_.txt"),
    ],
)  # fmt: skip
def test_names_are_made_safe(suggested: str | None, expected: str) -> None:
    assert safe_name(suggested) == expected


@given(st.text())
def test_any_name_is_one_plain_file_name(suggested: str) -> None:
    name = safe_name(suggested)
    assert name
    assert name not in (".", "..")
    assert not name.startswith((".", "-"))
    assert "/" not in name
    assert "\0" not in name
    assert len(name.encode()) <= 255
    assert name.isprintable() or name
