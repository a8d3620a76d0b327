"""The quickstart, with only host and port changed, into a real Postfix: what arrives is what re-encode produced."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from difflib import get_close_matches
from pathlib import Path

import pytest

pytestmark = pytest.mark.lab

TOP = Path(__file__).resolve().parents[2]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(TOP)}

RECORDER = '''
"""A sink that writes down what it is given: octets and recipients."""

import base64
import json
from pathlib import Path

import mailpipe
from mailpipe.pipeline.component import LocalPath
from mailpipe.pipeline.outcome import Fate


class Recorder(mailpipe.Sink["Recorder.Options"]):
    """Writes a JSON line for each mail."""

    name = "recorder"
    needs_recipients = True

    class Options(mailpipe.Options):
        """Where to."""

        path: LocalPath = Path("recorded.jsonl")
        """The file."""

        host: str = ""
        """Not used; stands for the host of another sink."""

        port: int = 0
        """Not used; stands for the port of another sink."""

    def deliver(self, mail: mailpipe.Mail) -> mailpipe.Receipt:
        """Write it down."""
        record = {
            "octets": base64.b64encode(bytes(mail.message)).decode(),
            "sender": str(mail.envelope.reverse_path),
            "recipients": [path.address for path in mail.envelope.forward_paths],
            "origin": str(mail.origin),
        }
        with self.options.path.open("a") as file:
            file.write(json.dumps(record) + "\\n")
        return mailpipe.Receipt.of_all(mail.envelope.forward_paths, Fate.DELIVERED, "2.0.0")


def register(registry):
    registry.add_sink(Recorder)
'''

TRACE = ("received", "return-path", "delivered-to", "x-original-to")


def without_trace(octets: bytes) -> bytes:
    """The message with LF line ends, without the fields that a server adds, with a line end at its end."""
    octets = octets.replace(b"\r\n", b"\n")
    header, empty, body = octets.partition(b"\n\n")
    fields = re.split(rb"\n(?![ \t])", header)
    kept = [field for field in fields if field.partition(b":")[0].decode("latin-1").strip().lower() not in TRACE]
    whole = b"\n".join(kept) + empty + body
    return whole if whole.endswith(b"\n") else whole + b"\n"


CONNECTIONS = 5
"""That the sink opens to one server by default."""


def recipient_of(copy: bytes) -> str:
    """Who a copy in the Maildir was delivered to."""
    return re.search(rb"(?m)^X-Original-To: (.*)$", copy)[1].decode()


def assert_same(accepted: Counter, expected: Counter, spare: int = 0) -> None:
    """Both hold the same copies, but for so many that may be there once more; what differs is shown side by side."""
    arrived = sorted((accepted - expected).elements())
    missing = sorted((expected - accepted).elements())
    differences = []
    for recipient, octets in missing:
        near = get_close_matches(repr(octets), [repr(other) for to, other in arrived if to == recipient], 1, 0.1)
        differences.append(f"for {recipient} we wrote\n  {octets!r}\nand the nearest that arrived is\n  {''.join(near)}")
    assert not missing, f"{len(missing)} of {expected.total()}\n" + "\n".join(differences)
    assert len(arrived) <= spare and not set(arrived) - set(expected), f"{len(arrived)} copies too many: {arrived[:3]}"


def run(folder: Path, *overrides: str):
    """Run the quickstart of a folder and return its report."""
    command = [sys.executable, "-m", "mailpipe", "run", str(folder / "quickstart.toml"), "--json"]
    for override in overrides:
        command += ["--set", override]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100, env=ENVIRONMENT)
    assert result.stdout.startswith("{"), result.stderr
    return json.loads(result.stdout)


@pytest.fixture
def quickstart(tmp_path):
    """Makes a folder with a fresh copy of the quickstart."""

    def make(name: str) -> Path:
        folder = tmp_path / name
        (folder / "plugins").mkdir(parents=True)
        for sample in ("quickstart.toml", "archive.mbox"):
            shutil.copy(TOP / "samples" / sample, folder / sample)
        (folder / "plugins" / "recorder.py").write_text(RECORDER)
        return folder

    return make


def recorded(folder: Path) -> list[dict]:
    """What the recorder wrote down."""
    import base64

    records = [json.loads(line) for line in (folder / "recorded.jsonl").read_text().splitlines()]
    return [record | {"octets": base64.b64decode(record["octets"])} for record in records]


def test_what_postfix_accepts_is_what_re_encode_produced(postfix, quickstart):
    reference = quickstart("reference")
    run(reference, "sink.use=recorder")
    expected = Counter(
        (recipient, without_trace(record["octets"]))
        for record in recorded(reference)
        for recipient in record["recipients"]
    )
    assert len(expected) > 60

    report = run(quickstart("real"), "sink.host=127.0.0.1", f"sink.port={postfix.port}")
    assert report["endings"].get("delivered", 0) == len(recorded(reference)), report
    assert not report["endings"].get("queued"), report["notices"]
    accepted = Counter((recipient_of(copy), without_trace(copy)) for copy in postfix.accepted())

    assert_same(accepted, expected)


ASSASSIN = '''
"""A stage that stops the mail server when the mail with a certain number comes by."""

import subprocess

import mailpipe


class Assassin(mailpipe.Stage["Assassin.Options"]):
    """Ends Postfix abruptly."""

    name = "assassin"

    class Options(mailpipe.Options):
        """When and whom."""

        number: int = 20
        """The number of the mail, from 1."""

        conf: str
        """The configuration directory."""

    count = 0

    def process(self, mail: mailpipe.Mail) -> mailpipe.Mail:
        """Count, and act once."""
        self.count += 1
        if self.count == self.options.number:
            subprocess.run(["postfix", "-c", self.options.conf, "abort"], capture_output=True, check=False)
        return mail


def register(registry):
    registry.add_stage(Assassin)
'''


def test_a_server_killed_in_the_middle_of_a_run_loses_nothing_and_repeats_only_what_was_under_way(postfix, quickstart):
    reference = quickstart("reference")
    run(reference, "sink.use=recorder")
    expected = Counter(
        (recipient, without_trace(record["octets"]))
        for record in recorded(reference)
        for recipient in record["recipients"]
    )

    folder = quickstart("killed")
    (folder / "plugins" / "assassin.py").write_text(ASSASSIN)
    file = folder / "quickstart.toml"
    stage = f'[[stage]]\nuse = "assassin"\nnumber = 20\nconf = "{postfix.conf}"\n\n[sink]\n'
    file.write_text(file.read_text().replace("\n[sink]\n", "\n" + stage))
    target = ("sink.host=127.0.0.1", f"sink.port={postfix.port}")
    report = run(folder, *target)
    assert report["endings"].get("queued", 0) > 30, report
    assert report["endings"]["delivered"] < 20

    postfix.start()
    flush = [sys.executable, "-m", "mailpipe", "queue", "flush", str(file)]
    for override in target:
        flush += ["--set", override]
    result = subprocess.run(flush, cwd=folder, capture_output=True, text=True, timeout=100, env=ENVIRONMENT)
    assert result.returncode == 0, result.stdout + result.stderr
    accepted = Counter((recipient_of(copy), without_trace(copy)) for copy in postfix.accepted())
    # A server that is killed may have kept a mail and not said so, or have refused it with its last words: at most one
    # for each connection, and only of those that were not acknowledged.
    assert_same(accepted, expected, CONNECTIONS)


def test_the_smime_signature_still_verifies_behind_postfix(postfix, quickstart):
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    run(quickstart("real"), "sink.host=127.0.0.1", f"sink.port={postfix.port}")
    copy = next(each for each in postfix.accepted() if b"Subject: Signed: we buy the anchor" in each)
    signed = copy[copy.index(b"MIME-Version") :].replace(b"\n", b"\r\n")
    command = [openssl, "smime", "-verify", "-noverify", "-out", "/dev/null"]
    result = subprocess.run(command, input=signed, capture_output=True, check=False)
    assert b"Verification successful" in result.stderr, result.stderr
