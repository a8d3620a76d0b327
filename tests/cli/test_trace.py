"""--trace: what goes over the wire, in a file."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mailpipe.sinks.smtp import SmtpOptions

Run = Callable[..., object]

pytestmark = pytest.mark.skipif("trace" not in SmtpOptions.model_fields, reason="the sink has no option trace")


def test_send_writes_down_what_goes_over_the_wire(mailpipe: Run, folder: Path, peer: object) -> None:
    address = f"127.0.0.1:{peer.port}"
    for _ in range(2):
        ended = mailpipe("send", "message.eml", "-f", "a@example.org", "--to", "b@example.net", "-s", address,
                         "--trace", "smtp.trace")  # fmt: skip
        assert ended.code == 0, ended.err
    text = (folder / "smtp.trace").read_text("utf-8")
    assert text.count(f"* connected to {address}\n") == 2
    assert "> MAIL FROM:<a@example.org>" in text and " octets\n" in text and "Subject" not in text


def test_run_writes_down_what_goes_over_the_wire(mailpipe: Run, folder: Path, peer: object) -> None:
    (folder / "smtp.toml").write_text(
        f'[source]\nuse = "eml"\npath = "message.eml"\n'
        f'[sink]\nuse = "smtp"\nhost = "127.0.0.1"\nport = {peer.port}\n'
    )
    ended = mailpipe("run", "smtp.toml", "--trace", "smtp.trace")
    assert ended.code == 0, ended.err
    assert "> RCPT TO:<bob@example.net>" in (folder / "smtp.trace").read_text("utf-8")


def test_a_trace_that_cannot_be_written_is_said_before_anything_is_sent(mailpipe: Run, folder: Path, peer: object) -> None:
    ended = mailpipe("send", "message.eml", "-f", "a@example.org", "--to", "b@example.net", "-s",
                     f"127.0.0.1:{peer.port}", "--trace", "nowhere/smtp.trace")  # fmt: skip
    assert ended.code != 0 and "smtp.trace" in ended.err
    assert not peer.messages
