"""Files, folders, manifest; the same once more; and what a sender may try."""

import json
import multiprocessing
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from invoice_filer import InvoiceFiled, InvoiceFiler, InvoiceFilerOptions, Manifest, file_name, folder_name

from mailpipe import Envelope, Mail, Origin, Services, parse
from mailpipe.errors import OutputError
from mailpipe.testing import MessageBuilder, PipelineRunner, StageContract, StageRunner

PDF = b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n%%EOF\n"


class TestContract(StageContract):
    """What a pipeline takes for granted of every stage."""

    stage = InvoiceFiler
    options = {"directory": "invoices"}


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.*") if path.is_file()}


def manifest_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def test_a_pdf_is_filed_by_sender_and_month_and_the_mail_is_left_alone(
    build_message: MessageBuilder, run_stage: StageRunner, tmp_path: Path
) -> None:
    message = build_message(
        from_="Billing <Billing@Supplier.example>", subject="Rechnung für März", date=datetime(2026, 2, 28, tzinfo=UTC),
        attachments=[("Rechnung 4711.pdf", PDF), ("logo.png", b"\x89PNG")],
    )  # fmt: skip
    result = run_stage(InvoiceFiler, message, directory="invoices")
    result.assert_unchanged()
    files = files_in(tmp_path / "invoices")
    file = "billing@supplier.example/2026-02/Rechnung 4711.pdf"
    assert sorted(files) == [file, "manifest.jsonl"] and files[file] == PDF
    (line,) = manifest_of(tmp_path / "invoices")
    assert (line["file"], line["size"], line["subject"]) == (file, len(PDF), "Rechnung für März")
    assert line["message_id"] == message.message_id and line["part"] == "2"
    (note,) = result.notes
    assert note == InvoiceFiled("2", file, line["sha256"], len(PDF)) and result.metrics == {"filed": 1}


def test_the_same_mail_again_is_no_second_file_and_no_second_line(
    build_message: MessageBuilder, run_stage: StageRunner, tmp_path: Path
) -> None:
    message = build_message(attachments=[("a.pdf", PDF)])
    first = run_stage(InvoiceFiler, message, directory="invoices")
    before = files_in(tmp_path / "invoices")
    assert run_stage(InvoiceFiler, message, directory="invoices").notes == first.notes
    assert files_in(tmp_path / "invoices") == before and len(before) == 2


def test_another_content_under_the_same_name_gets_its_digest(
    build_message: MessageBuilder, run_stage: StageRunner, tmp_path: Path
) -> None:
    stage = run_stage.open(InvoiceFiler, directory="invoices")
    for number in range(3):
        stage.run(build_message(attachments=[("invoice.pdf", PDF + b"%d" % number)]))
    names = sorted(path.name for path in (tmp_path / "invoices").rglob("*.pdf"))
    assert len(names) == 3 and names[-1] == "invoice.pdf"
    assert all(name.startswith("invoice-") and len(name) == len("invoice-.pdf") + 12 for name in names[:-1])


def test_only_what_is_a_pdf_is_filed(build_message: MessageBuilder, run_stage: StageRunner) -> None:
    message = build_message(
        attachments=[
            ("invoice.pdf", b"MZ\x90\x00", "application/pdf"),
            ("scan", b"junk\n" + PDF, "application/pdf"),
            ("b.PDF", PDF, "application/octet-stream"),
            ("c.txt", PDF, "text/plain"),
        ]
    )
    assert [note.part for note in run_stage(InvoiceFiler, message, directory="x").notes] == ["3", "4"]


def test_only_the_senders_that_are_wanted(build_message: MessageBuilder, run_stage: StageRunner) -> None:
    message = build_message(from_="x@Other.example", attachments=[("a.pdf", PDF)])
    assert run_stage(InvoiceFiler, message, directory="x", senders=["*@supplier.example"]).notes == ()
    assert len(run_stage(InvoiceFiler, message, directory="x", senders=["*@other.EXAMPLE"]).notes) == 1


def test_a_mail_without_a_date_is_filed_without_one(build_message: MessageBuilder, run_stage: StageRunner) -> None:
    message = build_message(date=None, from_="ann@example.org", attachments=[("a.pdf", PDF)])
    assert run_stage(InvoiceFiler, message, directory="x").notes[0].file == "ann@example.org/undated/a.pdf"


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("../../etc/passwd.pdf", "passwd.pdf"),
        ("..", "invoice.pdf"),
        ("", "invoice.pdf"),
        (".pdf", "invoice.pdf"),
        ("-rf.pdf", "rf.pdf"),
        ("a\x00b\u202efdp.pdf", "abfdp.pdf"),
        ("C:\\TEMP\\nul.pdf", "_nul.pdf"),
        ("é" * 200 + ".pdf", "é" * 60 + ".pdf"),
        ("a:b?.pdf", "a_b_.pdf"),
    ],
)
def test_a_name_leads_nowhere_else(name: str, safe: str) -> None:
    assert file_name(name) == safe


def test_two_senders_never_share_a_folder() -> None:
    senders = ["a/b@x.example", "a_b@x.example", "../b@x.example", ".b@x.example", "b@x.example", "ä@x.example", "ö@x.example"]
    names = [folder_name(each) for each in senders]
    assert len(set(names)) == len(names)
    assert not any("/" in name or name.startswith(".") for name in names)


def test_a_directory_that_cannot_be_written_defers_the_mail(
    build_message: MessageBuilder, run_pipeline: PipelineRunner, run_stage: StageRunner, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OutputError):
        run_stage(InvoiceFiler, build_message(), directory="file/invoices")
    text = '[[stage]]\nuse = "invoice-filer"\ndirectory = "invoices"\n'
    place = tmp_path / "pipeline" / "invoices" / "ann@example.org"
    place.parent.mkdir(parents=True)
    place.write_text("in the way")
    run_pipeline(text, build_message(attachments=[("a.pdf", PDF)]), plugins=[InvoiceFiler]).assert_endings("deferred")


def test_a_line_that_was_cut_off_by_a_crash_does_not_swallow_the_next(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    path.write_bytes(b'{"file": "a.p')
    for _ in range(2):
        manifest = Manifest(path)
        manifest.add({"file": "b.pdf"})
        manifest.add({"file": "b.pdf"})
        manifest.close()
    assert path.read_bytes() == b'{"file": "a.p\n{"file": "b.pdf"}\n'


def _file_all(folder: str, octets: list[bytes]) -> None:
    stage = InvoiceFiler(InvoiceFilerOptions(directory=Path(folder)))
    stage.open(Services.for_tests(stage.name))
    for number, each in enumerate(octets):
        mail = Mail(parse(each), Envelope.of("ann@example.org", "b@example.net"), Origin("test", "x", number))
        assert len(list(stage.process(mail).notes_of(InvoiceFiled))) == 1
    stage.close()
    os._exit(0)


def test_several_workers_share_a_directory(build_message: MessageBuilder, tmp_path: Path) -> None:
    octets = [bytes(build_message(attachments=[("invoice.pdf", PDF + b"%d" % number)])) for number in range(10)]
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_file_all, args=(str(tmp_path), octets)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    lines = manifest_of(tmp_path)
    assert len({line["sha256"] for line in lines}) == 10
    names = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.pdf")]
    assert {line["file"] for line in lines} <= set(names) and not list(tmp_path.rglob("*.part"))
