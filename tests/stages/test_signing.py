"""Mail is signed by the key of its author's domain, once; chains are sealed with what was found when they came."""

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from pydantic import ValidationError

import mailpipe
from mailpipe import Mail, Services, Verdict
from mailpipe.auth.dkim import verify
from mailpipe.auth.keys import load_private_key
from mailpipe.errors import ConfigError
from mailpipe.pipeline.mail import Changed
from mailpipe.pipeline.notes import AuthResult
from mailpipe.stages.arc_seal import ArcSeal, ArcSealed
from mailpipe.stages.dkim_sign import DkimSign, DkimSigned

LETTER = (
    b"From: Ann Muster <ann@example.org>\nTo: bob@example.net\nSubject: Invoice 4711\n"
    b"Date: Sat, 28 Nov 2026 10:00:00 +0000\nMessage-ID: <4711@example.org>\n\nDear Bob,\n\nplease pay.\n"
)


def _pem(key) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


@pytest.fixture(scope="module")
def pems() -> dict[str, bytes]:
    return {"rsa": _pem(rsa.generate_private_key(65537, 1024)), "ed25519": _pem(ed25519.Ed25519PrivateKey.generate())}


@pytest.fixture
def files(pems, tmp_path) -> dict[str, str]:
    for kind, pem in pems.items():
        (tmp_path / f"{kind}.pem").write_bytes(pem)
    return {kind: str(tmp_path / f"{kind}.pem") for kind in pems}


def believed(octets: bytes, pem: bytes, name: str) -> bool:
    """Whether dkimpy believes the first signature, the key standing at a name."""
    record = load_private_key(pem).record
    return dkim.verify(octets, dnsfunc=lambda asked, timeout=5: record if asked.decode().rstrip(".") == name else None)


def test_the_domain_of_the_author_signs(mail, stage, pems, files) -> None:
    after = stage(DkimSign, selector="s1", key=files["rsa"]).process(mail(LETTER))
    assert believed(bytes(after.message), pems["rsa"], "s1._domainkey.example.org")
    assert bytes(after.message).endswith(LETTER)
    assert list(after.notes_of(DkimSigned)) == [DkimSigned("example.org", "s1")]
    assert [note.what for note in after.notes_of(Changed)] == ["signed by example.org with the key s1"]


def test_a_key_may_be_a_secret(mail, pems) -> None:
    one = DkimSign(DkimSign.Options.model_validate({"selector": "s1", "secret": "dkim-key", "domain": "mail.example"}))
    one.open(Services.for_tests(secrets={"dkim-key": pems["ed25519"].decode()}))
    after = one.process(mail(LETTER))
    assert believed(bytes(after.message), pems["ed25519"], "s1._domainkey.mail.example")


@pytest.mark.parametrize(
    ("author", "name"),
    [
        (b"ann@example.org", "n1._domainkey.example.org"), (b"ann@Sub.Example.org", "n1._domainkey.example.org"),
        (b"ann@example.com", "s1._domainkey.example.com"), ("ann@b\u00fccher.example".encode(), "s1._domainkey.xn--bcher-kva.example"),
    ],
)  # fmt: skip
def test_the_table_of_keys_serves_domains_and_those_below(author, name, mail, stage, pems, files) -> None:
    one = stage(DkimSign, selector="s1", key=files["rsa"], keys={"Example.org": {"selector": "n1", "key": files["ed25519"], "domain": "example.org"}})
    after = one.process(mail(LETTER.replace(b"ann@example.org", author)))
    assert believed(bytes(after.message), pems["ed25519" if name.startswith("n1") else "rsa"], name)


@pytest.mark.parametrize("octets", [LETTER.replace(b"ann@example.org", b"ann@example.com"), LETTER.replace(b"ann@example.org", b"ann@[192.0.2.1]"), LETTER.replace(b"From:", b"X:"), b"", b"From: \n\n"])
def test_mail_without_a_key_stays_unsigned_or_is_refused(octets, mail, stage, files) -> None:
    keys = {"example.org": {"selector": "n1", "key": files["rsa"]}}
    before = mail(octets)
    assert stage(DkimSign, keys=keys).process(before) is before
    verdict = stage(DkimSign, keys=keys, on_unknown="reject").process(before)
    assert isinstance(verdict, Verdict)
    assert verdict.code == 550
    assert isinstance(stage(DkimSign, keys=keys, on_unknown="quarantine").process(before), Verdict)


def test_mail_is_not_signed_twice_by_the_same_key(mail, stage, files) -> None:
    one = stage(DkimSign, selector="s1", key=files["rsa"])
    once = one.process(mail(LETTER))
    assert one.process(once) is once
    again = mail(bytes(once.message))  # it comes back without its notes
    assert one.process(again) is again
    broken = mail(bytes(once.message).replace(b"please", b"Please"))
    assert len(one.process(broken).message.header.all("DKIM-Signature")) == 2
    other = stage(DkimSign, selector="s2", key=files["ed25519"]).process(once)
    assert len(other.message.header.all("DKIM-Signature")) == 2


@pytest.mark.parametrize("name", [b"To", b"From", b"DKIM-Signature", b"List-Unsubscribe-Post"])
def test_thousands_of_fields_do_not_stop_a_signature(name, mail, stage, pems, files) -> None:
    before = mail(name + b": x@example.org\n" + LETTER.replace(b"Subject", (name + b": y@example.org\n") * 9000 + b"Subject"))
    after = stage(DkimSign, selector="s1", key=files["rsa"]).process(before)
    assert len(after.message.header.lines[0].raw) < 10_000
    record = load_private_key(pems["rsa"]).record
    found = verify(mailpipe.parse(bytes(after.message)), lambda asked: (record,) if asked == "s1._domainkey.example.org" else ())
    assert found[0].result == "pass"
    assert "cv=none" in stage(ArcSeal, **sealing(files)).process(before).message.header["ARC-Seal"]


@pytest.mark.parametrize("canonicalization", ["relaxed/relaxed", "simple/simple"])
def test_options_of_the_signature(canonicalization, mail, stage, pems, files) -> None:
    one = stage(DkimSign, selector="s1", key=files["rsa"], canonicalization=canonicalization, fields=["Subject"], oversign=["From"], expire="1h")
    after = one.process(mail(LETTER))
    text = after.message.header["DKIM-Signature"].replace(" ", "")
    assert f"c={canonicalization};" in text
    assert "h=From:From:Subject;" in text
    tags = dict(tag.split("=", 1) for tag in text.split(";"))
    assert int(tags["x"]) - int(tags["t"]) == 3600
    assert believed(bytes(after.message), pems["rsa"], "s1._domainkey.example.org")


@pytest.mark.parametrize(
    "options",
    [{}, {"selector": "s1"}, {"key": "x"}, {"selector": "s1", "key": "x", "secret": "y"}, {"keys": {"example.org": {"selector": "s1"}}},
     {"selector": "s1", "key": "x", "fields": ["a b"]}],
)  # fmt: skip
def test_options_that_make_no_sense_are_refused(options) -> None:
    with pytest.raises(ValidationError):
        DkimSign.Options.model_validate(options)


@pytest.mark.parametrize("content", [None, b"no key"])
def test_a_key_that_cannot_be_read_is_told_at_open(content, tmp_path) -> None:
    file = tmp_path / "s1.pem"
    if content is not None:
        file.write_bytes(content)
    one = DkimSign(DkimSign.Options.model_validate({"selector": "s1", "key": str(file)}))
    with pytest.raises(ConfigError, match=r"s1\.pem"):
        one.open(Services.for_tests())


# -- arc-seal


def sealing(files, **more):
    return {"server": "lists.example.net", "domain": "example.net", "selector": "s1", "key": files["rsa"], "nameservers": ["127.0.0.1:9"], **more}


def test_what_was_found_is_sealed(mail, stage, pems, files) -> None:
    found = AuthResult("spf", "pass", "example.org", "by\r\nthe book", (("smtp.mailfrom", "example.org"),))
    before = mail(LETTER).with_note(found, AuthResult("dkim", "none"))
    after = stage(ArcSeal, **sealing(files)).process(before)
    assert isinstance(after, Mail)
    assert after.message.header["ARC-Authentication-Results"] == 'i=1; lists.example.net; spf=pass reason="by the book" smtp.mailfrom=example.org; dkim=none; arc=none'
    record = load_private_key(pems["rsa"]).record
    assert dkim.arc_verify(bytes(after.message), dnsfunc=lambda name, timeout=5: record)[0] == dkim.CV_Pass
    assert list(after.notes_of(ArcSealed)) == [ArcSealed("example.net", "s1", 1)]
    assert stage(ArcSeal, **sealing(files)).process(after) is after


def test_without_notes_the_results_of_our_own_server_are_sealed(mail, stage, files) -> None:
    octets = b"Authentication-Results: lists.example.net; spf=fail\nAuthentication-Results: mx.example.com; dkim=pass\n" + LETTER
    after = stage(ArcSeal, **sealing(files)).process(mail(octets))
    assert after.message.header["ARC-Authentication-Results"] == "i=1; lists.example.net; spf=fail; arc=none"


@pytest.mark.parametrize("octets", [b"", LETTER.replace(b"From", b"X")])
def test_mail_without_an_author_is_not_sealed(octets, mail, stage, files) -> None:
    before = mail(octets)
    assert stage(ArcSeal, **sealing(files)).process(before) is before
