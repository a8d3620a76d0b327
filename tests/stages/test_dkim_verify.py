"""A real name server is asked for keys; what it says, or does not say, becomes notes and verdicts."""

import importlib.util
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from mailpipe import Mail, Verdict
from mailpipe.auth.arc import Chain
from mailpipe.auth.keys import load_private_key
from mailpipe.pipeline.mail import Changed
from mailpipe.pipeline.notes import AuthResult
from mailpipe.stages.arc_seal import ArcSeal
from mailpipe.stages.arc_verify import ArcVerify
from mailpipe.stages.dkim_sign import DkimSign
from mailpipe.stages.dkim_verify import DkimVerify

_spec = importlib.util.spec_from_file_location("dns_server", Path(__file__).parents[1] / "net" / "dns_server.py")
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)

LETTER = b"From: Ann Muster <ann@example.org>\nTo: bob@example.net\nSubject: Invoice 4711\n\nDear Bob,\n\nplease pay.\n"


@pytest.fixture(scope="module")
def pem() -> bytes:
    key = rsa.generate_private_key(65537, 2048)
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


@pytest.fixture
def dns(pem):
    """A name server that knows the key, in several strings as it has to."""
    record = load_private_key(pem).record.decode()
    with _module.DnsServer() as server:
        for name in ("s1._domainkey.example.org", "s1._domainkey.example.net"):
            server.add(name, "TXT", f'"{record[:200]}" "{record[200:]}"')
        server.add("t1._domainkey.example.org", "TXT", f'"{record[:200]}" "{record[200:]}; t=y"')
        yield server


@pytest.fixture
def signed(mail, stage, pem, tmp_path):
    """The letter, signed."""
    (tmp_path / "s1.pem").write_bytes(pem)

    def make(selector="s1") -> bytes:
        return bytes(stage(DkimSign, selector=selector, key=str(tmp_path / "s1.pem")).process(mail(LETTER)).message)

    return make


@pytest.fixture
def verifying(stage, dns):
    return lambda **options: stage(DkimVerify, nameservers=[dns.address], **options)


def results(after: Mail | Verdict) -> list[tuple[str, str]]:
    return [(note.result, note.domain) for note in after.notes if isinstance(note, AuthResult)]


def test_a_signature_that_passes_is_noted_with_its_properties(mail, verifying, signed) -> None:
    before = mail(signed())
    after = verifying(on_fail="reject", on_temperror="defer").process(before)
    assert after.message is before.message
    (note,) = after.notes_of(AuthResult)
    assert (note.method, note.result, note.domain, note.reason) == ("dkim", "pass", "example.org", "")
    properties = dict(note.properties)
    assert (properties["header.d"], properties["header.s"], properties["header.a"]) == ("example.org", "s1", "rsa-sha256")
    assert properties["header.b"] in bytes(before.message).decode().replace("\n ", "")


def test_a_message_without_a_signature_is_none(mail, verifying, dns) -> None:
    after = verifying(on_fail="reject").process(mail(LETTER))
    assert results(after) == [("none", "")]
    assert dns.asked == []


def test_what_fails_is_dealt_with_as_configured(mail, verifying, signed) -> None:
    before = mail(signed().replace(b"please", b"do not"))
    assert results(verifying().process(before)) == [("fail", "example.org")]
    rejected = verifying(on_fail="reject").process(before)
    assert isinstance(rejected, Verdict)
    assert (rejected.code, str(rejected.status)) == (550, "5.7.20")
    assert "example.org: the body has changed" in rejected.reason
    assert results(rejected) == [("fail", "example.org")]
    assert isinstance(verifying(on_fail="quarantine").process(before), Verdict)
    tagged = verifying(on_fail="tag").process(before)
    assert tagged.message.header["X-DKIM-Result"] == "fail (example.org: the body has changed)"
    assert list(tagged.notes_of(Changed))


@pytest.mark.parametrize("tags", [b"a=rsa\x00\x0b\xe2\x80\xa8; d=a.example; s=s; h=from; bh=AA; b=AA", b"d=\x00; i=\x00@x", b"c=\x00/\xff", b"\xff=\xfe", b"a=rsa-sha256; d=b\xc3\xbccher.example; s=\xe2\x80\xa8; h=from; bh=AA; b=AA"])
def test_no_tags_of_a_sender_stop_a_tag_of_ours(tags, mail, verifying) -> None:
    before = mail(b"DKIM-Signature: v=1; " + tags + b"\n" + LETTER)
    after = verifying(on_fail="tag").process(before)
    assert after.message.header["X-DKIM-Result"]
    assert bytes(after.message).endswith(b"\n\n" + LETTER.partition(b"\n\n")[2])
    assert all(value.isprintable() for note in after.notes_of(AuthResult) for value in (note.reason, *dict(note.properties).values()))
    assert isinstance(verifying(on_fail="reject").process(before), Verdict)


def test_a_tag_from_outside_goes(mail, verifying, signed) -> None:
    after = verifying(on_fail="tag").process(mail(b"X-DKIM-Result: pass\n" + signed()))
    assert "X-DKIM-Result" not in after.message.header
    assert results(after) == [("pass", "example.org")]


def test_one_signature_that_passes_is_enough(mail, verifying, signed) -> None:
    broken = b"DKIM-Signature: v=1; a=rsa-sha256; d=example.com; s=gone; h=from; bh=AAAA; b=AAAA\n"
    after = verifying(on_fail="reject").process(mail(broken + signed()))
    assert results(after) == [("fail", "example.com"), ("pass", "example.org")]


def test_a_name_server_without_an_answer_is_no_failure(mail, verifying, signed, dns) -> None:
    dns.failing.add("s1._domainkey.example.org")
    before = mail(signed())
    assert results(verifying(on_fail="reject").process(before)) == [("temperror", "example.org")]
    verdict = verifying(on_fail="reject", on_temperror="defer").process(before)
    assert isinstance(verdict, Verdict)
    assert str(verdict.status) == "4.7.5"


def test_a_key_that_is_not_there_is_permanent(mail, verifying, signed) -> None:
    after = verifying().process(mail(signed("gone")))
    assert results(after) == [("permerror", "example.org")]


def test_a_domain_that_only_tries_is_left_alone(mail, verifying, signed) -> None:
    after = verifying(on_fail="reject").process(mail(signed("t1").replace(b"Subject: Invoice", b"Subject: invoice")))
    assert results(after) == [("fail", "example.org")]


def test_a_chain_is_validated_when_it_comes_and_sealed_when_it_goes(mail, stage, dns, pem, tmp_path) -> None:
    (tmp_path / "s1.pem").write_bytes(pem)
    options = {"server": "lists.example.net", "domain": "example.net", "selector": "s1", "key": str(tmp_path / "s1.pem"), "nameservers": [dns.address]}
    verifying, sealing = stage(ArcVerify, nameservers=[dns.address]), stage(ArcSeal, **options)
    once = sealing.process(verifying.process(mail(LETTER)))
    arrived = verifying.process(mail(bytes(once.message)))
    assert results(arrived) == [("pass", "example.net")]
    changed = arrived.with_message(arrived.message.with_header(arrived.message.header.with_field("Subject", "[list] Invoice 4711")))
    twice = sealing.process(changed)
    assert "cv=pass" in twice.message.header["ARC-Seal"]
    end = verifying.process(mail(bytes(twice.message)))
    assert [(chain.status, chain.instance) for chain in end.notes_of(Chain)] == [("pass", 2)]
    # without the note the change would have been taken for somebody else's
    late = sealing.process(mail(bytes(changed.message)))
    assert "cv=fail" in late.message.header["ARC-Seal"]


def test_a_seal_waits_for_a_name_server(mail, stage, dns, pem, tmp_path) -> None:
    (tmp_path / "s1.pem").write_bytes(pem)
    options = {"server": "lists.example.net", "domain": "example.net", "selector": "s1", "key": str(tmp_path / "s1.pem"), "nameservers": [dns.address]}
    once = stage(ArcSeal, **options).process(mail(LETTER))
    dns.failing.add("s1._domainkey.example.net")
    verdict = stage(ArcSeal, **options).process(mail(bytes(once.message)))
    assert isinstance(verdict, Verdict)
    before = mail(bytes(once.message))
    assert stage(ArcSeal, **options, on_temperror="accept").process(before) is before
