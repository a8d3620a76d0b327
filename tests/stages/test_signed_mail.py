"""What docs/signed-mail.md tells is true: its pipelines, its commands and its example."""

import contextlib
import io
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from mailpipe.auth.keys import load_private_key
from mailpipe.pipeline.checking import findings_of
from mailpipe.pipeline.settings import parse_settings
from mailpipe.plugins import load_registry

TEXT = (Path(__file__).parents[2] / "docs" / "signed-mail.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("text", blocks("toml"), ids=["send", "receive", "pass on"])
def test_the_pipelines_are_right_and_leave_nothing_to_be_said(text: str) -> None:
    registry = load_registry()
    assert [str(finding) for finding in findings_of(parse_settings(text, Path("pipeline.toml"), registry), registry)] == []


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_the_commands_make_a_key_and_its_record(tmp_path: Path) -> None:
    (commands,) = blocks("sh")
    done = subprocess.run(["sh", "-ec", commands], cwd=tmp_path, capture_output=True, timeout=60, check=True)
    assert done.stdout.strip() == load_private_key((tmp_path / "s1.pem").read_bytes()).record
    short = "openssl genpkey -algorithm ED25519 -out e.pem; openssl pkey -in e.pem -pubout -outform DER | tail -c 32 | openssl base64 -A"
    done = subprocess.run(["sh", "-ec", short], cwd=tmp_path, capture_output=True, timeout=60, check=True)
    assert load_private_key((tmp_path / "e.pem").read_bytes()).record == b"v=DKIM1; k=ed25519; p=" + done.stdout.strip()


def test_the_example_prints_what_it_says() -> None:
    (code,) = blocks("python")
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        exec(compile(code, "signed-mail.md", "exec"), {})
    assert told.getvalue().splitlines() == [line.partition("# ")[2] for line in code.splitlines() if "# " in line]
