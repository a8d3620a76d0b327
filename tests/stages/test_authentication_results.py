"""What was found out is written on top, what was forged goes, and everything else stays as it came."""

import os
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

import mailpipe
from mailpipe import Envelope, Origin, RawMail
from mailpipe.auth.keys import load_private_key
from mailpipe.pipeline.assemble import assemble
from mailpipe.pipeline.mail import Changed
from mailpipe.pipeline.notes import AuthResult
from mailpipe.pipeline.outcome import Ending
from mailpipe.pipeline.settings import parse_settings
from mailpipe.plugins import load_registry
from mailpipe.smtp.envelope import Client
from mailpipe.stages.authentication_results import AuthenticationResultsStage
from mailpipe.stages.dkim_sign import DkimSign

NOTES = (
    AuthResult("spf", "pass", "example.org", "", (("smtp.mailfrom", "ann@example.org"),)),
    AuthResult("dkim", "fail", "a.example", 'the body is "not" what\r\nwas signed', (("header.d", "a.example"), ("header.s", "sél"))),
    AuthResult("dmarc", "pass", "example.org", "", (("header.from", "example.org"),)),
)
REST = b"Received: from a (a [192.0.2.1]) by mx.example.org; Fri, 21 Nov 1997 09:55:06 -0600\r\nFrom: ann@example.org\r\nSubject: x\r\n"
FORGED = b"AUTHENTICATION-results: MX.example.org;\r\n dkim=pass header.d=bank.example\r\n"
OTHER = b"Authentication-Results: mx.elsewhere.example; spf=fail\r\n"


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_results_are_written_and_forgeries_go(end, mail, stage) -> None:
    octets = (FORGED + REST + OTHER + FORGED + b"\r\nHello\r\n").replace(b"\r\n", end)
    after = stage(AuthenticationResultsStage, server="mx.example.org").process(mail(octets).with_note(*NOTES))
    made = bytes(after.message)
    assert made.endswith((REST + OTHER + b"\r\nHello\r\n").replace(b"\r\n", end))
    assert made.count(b"\n") == made.count(end)
    value = mailpipe.parse(made).header.fields[0].value
    assert value.server == "mx.example.org"
    assert [(each.method, each.result) for each in value.results] == [("spf", "pass"), ("dkim", "fail"), ("dmarc", "pass")]
    assert value.results[1].reason == 'the body is "not" what was signed'
    assert [note.what for note in after.notes_of(Changed)] == ["2 Authentication-Results removed, which were not ours", "Authentication-Results added"]


def test_nothing_known_is_said_too(mail, stage) -> None:
    after = stage(AuthenticationResultsStage).process(mail(REST + b"\r\n"))
    assert bytes(after.message) == f"Authentication-Results: {os.uname().nodename}; none\r\n".encode() + REST + b"\r\n"


def test_only_removing_leaves_a_clean_mail_untouched(mail, stage) -> None:
    one = stage(AuthenticationResultsStage, server="mx.example.org", add=False, former_servers=["old.example.org"])
    before = mail(OTHER + REST + b"\r\n")
    assert one.process(before) is before
    assert bytes(one.process(mail(b"Authentication-Results: old.example.org; none\r\n" + REST + b"\r\n")).message) == REST + b"\r\n"


def test_all_go_where_that_is_wished(mail, stage) -> None:
    one = stage(AuthenticationResultsStage, server="mx.example.org", remove="all", methods=["dmarc"])
    after = one.process(mail(OTHER + FORGED + REST + b"\r\n").with_note(*NOTES))
    assert bytes(after.message) == b"Authentication-Results: mx.example.org; dmarc=pass header.from=example.org\r\n" + REST + b"\r\n"


def test_twice_is_once(mail, stage) -> None:
    one = stage(AuthenticationResultsStage, server="mx.example.org")
    once = one.process(mail(REST + b"\r\n").with_note(*NOTES))
    assert bytes(one.process(once).message) == bytes(once.message)


def test_a_message_that_is_only_a_forgery(mail, stage) -> None:
    after = stage(AuthenticationResultsStage, server="mx.example.org").process(mail(FORGED.rstrip(b"\r\n")))
    assert mailpipe.parse(bytes(after.message)).header.get("Authentication-Results") == "mx.example.org; none"


PIPELINE = """
[[stage]]
use = "dkim-verify"
nameservers = ["{server}"]

[[stage]]
use = "spf"
nameservers = ["{server}"]

[[stage]]
use = "dmarc"
nameservers = ["{server}"]

[[stage]]
use = "authentication-results"
server = "mx.example.net"

[sink]
use = "maildir"
path = "out"
"""


@pytest.fixture
def pipeline(dns_server, tmp_path, mail, stage):
    """A pipeline that checks everything, and a letter that its domain has signed."""
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "s1.pem").write_bytes(pem)
    record = load_private_key(pem).record.decode()
    dns_server.add("s1._domainkey.example.org", "TXT", f'"{record[:200]}" "{record[200:]}"')
    dns_server.add("_dmarc.example.org", "TXT", '"v=DMARC1; p=reject"')
    dns_server.add("example.org", "TXT", '"v=spf1 ip4:192.0.2.0/24 -all"')
    letter = mail(b"From: ann@mail.example.org\r\nTo: bob@example.net\r\nSubject: Offer\r\nDate: Fri, 21 Nov 1997 09:55:06 -0600\r\n\r\nHello Bob\r\n")
    signed = bytes(stage(DkimSign, selector="s1", domain="example.org", key=str(tmp_path / "s1.pem")).process(letter).message)
    registry = load_registry(None)
    with assemble(parse_settings(PIPELINE.format(server=dns_server.address), tmp_path / "pipe.toml", registry), registry) as made:
        yield made, signed


def taken(made, octets, address):
    envelope = replace(Envelope.of("ann@example.org", "bob@example.net"), client=Client(address, helo="mx.example.org"))
    return made.process(RawMail(octets, Origin("smtp", "test", size=len(octets)), envelope))


@pytest.mark.parametrize(
    ("address", "change", "results"),
    [
        ("192.0.2.7", (b"", b""), {"dkim": "pass", "spf": "pass", "dmarc": "pass"}),
        ("203.0.113.9", (b"", b""), {"dkim": "pass", "spf": "fail", "dmarc": "pass"}),
        ("192.0.2.7", (b"Hello", b"Bye"), {"dkim": "fail", "spf": "pass", "dmarc": "pass"}),
        ("203.0.113.9", (b"Hello", b"Bye"), None),
    ],
)
def test_a_whole_pipeline_with_a_real_name_server(address, change, results, pipeline, tmp_path) -> None:
    made, signed = pipeline
    octets = b"Authentication-Results: mx.example.net; dmarc=pass header.from=mail.example.org\r\n" + signed.replace(*change)
    outcome = taken(made, octets, address)
    if results is None:
        assert (outcome.ending, str(outcome.status), outcome.stage) == (Ending.REJECTED, "5.7.26", "dmarc")
        return
    (file,) = (tmp_path / "out" / "new").iterdir()
    message = mailpipe.parse(file.read_bytes())
    (field,) = message.header.all("Authentication-Results")
    assert {each.method: each.result for each in field.value.results} == results
    assert file.read_bytes().replace(b"\r\n", b"\n").endswith(signed.replace(*change).replace(b"\r\n", b"\n"))
