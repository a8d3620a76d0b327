"""The plugin decides by name and type, and lets everything else pass untouched."""

import sys
from pathlib import Path

import pytest

import mailpipe

sys.path.insert(0, str(Path(__file__).parent))
from block_attachments import BlockAttachments


def _mail(filename: str, content_type: str = "application/octet-stream") -> mailpipe.Mail:
    from mailpipe.pipeline.mail import Origin

    octets = (
        b"Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
        b"--b\r\n\r\ntext\r\n--b\r\nContent-Type: " + content_type.encode() + b"\r\nContent-Disposition: attachment; "
        b'filename="' + filename.encode() + b'"\r\n\r\nMZ\r\n--b--\r\n'
    )
    envelope = mailpipe.Envelope.of("ada@example.org", "bruno@example.net")
    return mailpipe.Mail(mailpipe.parse(octets), envelope, Origin("test", "-"))


@pytest.mark.parametrize("filename", ["tool.exe", "TOOL.EXE", "letter.pdf.js", "tool.exe. "])
def test_a_program_is_rejected(filename):
    verdict = BlockAttachments(BlockAttachments.Options()).process(_mail(filename))
    assert isinstance(verdict, mailpipe.Verdict)
    assert (verdict.code, str(verdict.status)) == (550, "5.7.1")


def test_a_type_is_enough():
    verdict = BlockAttachments(BlockAttachments.Options()).process(_mail("letter.pdf", "application/x-msdownload"))
    assert isinstance(verdict, mailpipe.Verdict)


def test_the_mail_is_set_aside_on_request():
    options = BlockAttachments.Options(on_match="quarantine")
    verdict = BlockAttachments(options).process(_mail("tool.exe"))
    assert isinstance(verdict, mailpipe.Verdict)
    assert verdict.decision.value == "quarantine"


def test_anything_else_passes_untouched():
    mail = _mail("letter.pdf")
    assert BlockAttachments(BlockAttachments.Options()).process(mail) is mail
