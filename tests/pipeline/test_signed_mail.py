"""What becomes of signed mail that a stage edits, in a pipeline; real signatures, verified afterwards."""

from datetime import UTC, datetime

import pytest

pytest.importorskip("cryptography")

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

import mailpipe
from mailpipe import Access, Envelope, Mail, RawMail
from mailpipe.auth import dkim
from mailpipe.auth.keys import load_private_key
from mailpipe.pipeline.assemble import assemble
from mailpipe.pipeline.mail import Origin
from mailpipe.pipeline.outcome import Ending
from mailpipe.pipeline.settings import parse_settings
from mailpipe.pipeline.signed_mail import SignatureBroken
from mailpipe.plugins import load_registry

PLAIN = (
    b"From: Ada <ada@example.org>\r\nTo: bo@example.net\r\nSubject: tides\r\nDate: Mon, 2 Mar 2026 10:00:00 +0000\r\n"
    b"Message-ID: <1@example.org>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nHigh water at ten.\r\n"
)
KEY = load_private_key(
    ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
)
NOTES = []


def is_valid(octets):
    now = int(datetime.now(UTC).timestamp())
    found = dkim.verify(mailpipe.parse(octets), lambda name: (KEY.record,) if name == "s1._domainkey.example.org" else (), now=now)
    return [str(each.result) for each in found]


@pytest.fixture(scope="module")
def signed():
    message = mailpipe.parse(PLAIN)
    field = dkim.sign(message, KEY, "example.org", "s1")
    octets = bytes(message.with_header(message.header.with_fields([field, *message.header.lines])))
    assert is_valid(octets) == ["pass"]
    return octets


@mailpipe.stage(touches=Access(fields=("Subject",)))
def tag(mail: Mail) -> Mail:
    """Tags the subject, which is signed."""
    return mail.with_message(mail.message.with_header("Subject", f"[list] {mail.message.subject}"))


@mailpipe.stage(touches=Access(fields=("X-Seen",)))
def mark(mail: Mail) -> Mail:
    """Adds a field that nobody signed."""
    return mail.with_message(mail.message.with_header("X-Seen", "yes"))


@mailpipe.stage(touches=Access())
def watch(mail: Mail) -> Mail:
    """Keeps the notes."""
    NOTES[:] = list(mail.notes_of(SignatureBroken))
    return mail


@pytest.fixture
def run(tmp_path, signed):
    def run(stage, policy, octets=signed):
        NOTES.clear()
        registry = load_registry()
        for each in (tag, mark, watch):
            registry.add_stage(each)
        asked = f'on_broken_signature = "{policy}"\n' if policy else ""
        text = (
            f'[[stage]]\nuse = "{stage}"\n{asked}[[stage]]\nuse = "watch"\n[quarantine]\ndirectory = "aside"\n'
            f'[sink]\nuse = "eml"\ndirectory = "{tmp_path}/out"\n'
        )
        with assemble(parse_settings(text, tmp_path / "p.toml", registry), registry) as made:
            outcome = made.process(RawMail(octets, Origin("test", "-"), Envelope.of("ada@example.org", "bo@example.net")))
        files = list((tmp_path / "out").rglob("*.eml")) if (tmp_path / "out").is_dir() else []
        return outcome, files[0].read_bytes() if files else b""

    return run


@pytest.mark.parametrize("policy", ["", "accept"])
def test_an_edit_stands_and_is_noted(run, policy):
    outcome, octets = run("tag", policy)
    assert (outcome.ending, is_valid(octets)) == (Ending.DELIVERED, ["fail"])
    assert [SignatureBroken("tag", "DKIM example.org selector s1", "accept")] == NOTES


def test_an_edit_is_left_out(run, signed):
    outcome, octets = run("tag", "skip")
    assert (outcome.ending, octets) == (Ending.DELIVERED, signed)
    assert [note.done for note in NOTES] == ["skip"]


def test_the_signed_message_is_enclosed_in_the_edited_one(run, signed):
    _, octets = run("tag", "wrap")
    message = mailpipe.parse(octets)
    assert message.subject == "[list] tides"
    notice, enclosed = message.parts
    assert "came signed (DKIM example.org selector s1)" in notice.text
    assert bytes(enclosed.parts[0]) == signed
    assert is_valid(octets) == []


def test_a_broken_signature_is_removed_and_noted(run):
    _, octets = run("tag", "strip")
    message = mailpipe.parse(octets)
    assert (message.subject, is_valid(octets)) == ("[list] tides", [])
    assert message.header["X-Broken-Signature"] == "DKIM example.org selector s1"


def test_the_mail_is_set_aside(run):
    outcome, octets = run("tag", "quarantine")
    assert (outcome.ending, octets) == (Ending.QUARANTINED, b"")
    assert outcome.reason == "tag would break a signature: DKIM example.org selector s1"


@pytest.mark.parametrize("policy", ["accept", "skip", "wrap", "strip", "quarantine"])
def test_an_edit_of_what_is_not_signed_passes(run, policy):
    outcome, octets = run("mark", policy)
    assert (outcome.ending, is_valid(octets)) == (Ending.DELIVERED, ["pass"])
    assert mailpipe.parse(octets).header["X-Seen"] == "yes"
    assert NOTES == []


@pytest.mark.parametrize("policy", ["skip", "wrap", "strip", "quarantine"])
def test_unsigned_mail_is_edited(run, policy):
    _, octets = run("tag", policy, PLAIN)
    assert octets == PLAIN.replace(b"tides", b"[list] tides")


def test_a_stage_learns_what_is_signed(signed):
    mail = Mail(mailpipe.parse(signed), Envelope.of("ada@example.org"), Origin("test", "-"))
    (one,) = mail.signatures
    assert one.covers(("Subject",))
    assert one.covers(body=True)
    assert not one.covers(("X-Seen",))
