"""The plugin decides by name and type, and lets everything else pass untouched."""

import pytest
from block_attachments import BlockAttachments

from mailpipe.testing import MessageBuilder, StageContract, StageRunner


class TestContract(StageContract):
    """What a pipeline takes for granted of every stage."""

    stage = BlockAttachments


@pytest.mark.parametrize("filename", ["tool.exe", "TOOL.EXE", "letter.pdf.js", "tool.exe. "])
def test_a_program_is_rejected(filename: str, build_message: MessageBuilder, run_stage: StageRunner) -> None:
    message = build_message(attachments=[(filename, b"MZ", "application/octet-stream")])
    verdict = run_stage(BlockAttachments, message).assert_verdict("reject", status="5.7.1", reason="part 2")
    assert verdict.code == 550


def test_a_type_is_enough(build_message: MessageBuilder, run_stage: StageRunner) -> None:
    message = build_message(attachments=[("letter.pdf", b"MZ", "application/x-msdownload")])
    run_stage(BlockAttachments, message).assert_verdict("reject")


def test_the_mail_is_set_aside_on_request(build_message: MessageBuilder, run_stage: StageRunner) -> None:
    message = build_message(attachments=[("tool.exe", b"MZ")])
    run_stage(BlockAttachments, message, on_match="quarantine").assert_verdict("quarantine")


def test_anything_else_passes_untouched(build_message: MessageBuilder, run_stage: StageRunner) -> None:
    run_stage(BlockAttachments, build_message(attachments=[("letter.pdf", b"%PDF-1.7")])).assert_unchanged()
