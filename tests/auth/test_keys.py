"""Private keys as people keep them, key records as people publish them."""

import base64
import contextlib

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from mailpipe.auth.keys import KeyProblem, KeyRecord, find, load_private_key
from mailpipe.auth.lookup import LookupFailed
from mailpipe.errors import ConfigError


def _octets(key, encoding="PEM", form="PKCS8", password=None):
    lock = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(getattr(serialization.Encoding, encoding), getattr(serialization.PrivateFormat, form), lock)


@pytest.mark.parametrize(("encoding", "form"), [("PEM", "PKCS8"), ("PEM", "TraditionalOpenSSL"), ("DER", "PKCS8"), ("DER", "TraditionalOpenSSL")])
def test_an_rsa_key_in_every_dress(encoding: str, form: str) -> None:
    key = load_private_key(_octets(rsa.generate_private_key(65537, 1024), encoding, form))
    record = KeyRecord.parse(key.record)
    assert record.verify("rsa-sha256", key.sign(b"x"), b"x")
    assert not record.verify("rsa-sha256", key.sign(b"x"), b"y")


def test_an_ed25519_key_as_pem_and_as_dkimpy_keeps_it() -> None:
    private = ed25519.Ed25519PrivateKey.generate()
    for octets in (_octets(private), base64.b64encode(private.private_bytes_raw()) + b"\n"):
        key = load_private_key(octets)
        assert KeyRecord.parse(key.record).verify("ed25519-sha256", key.sign(b"x"), b"x")


@pytest.mark.parametrize(
    "octets",
    [
        b"", b"secret", b"-----BEGIN PRIVATE KEY-----\n!!\n-----END PRIVATE KEY-----\n",
        _octets(ec.generate_private_key(ec.SECP256R1())), _octets(ed25519.Ed25519PrivateKey.generate(), password=b"x"),
    ],
)  # fmt: skip
def test_what_is_no_key_for_mail_is_refused_with_a_word(octets: bytes) -> None:
    with pytest.raises(ConfigError, match="key"):
        load_private_key(octets)


def test_a_private_key_does_not_show_itself(keys) -> None:
    assert repr(keys.rsa) == "PrivateKey('rsa-sha256')"


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (b"v=DKIM2; p=AAAA", "DKIM1"), (b"p=AAAA; v=DKIM1", "DKIM1"), (b"v=DKIM1; k=rsa", "no key"), (b"", "no key"),
        (b"p=AAAA; p=BBBB", "twice"), (b"p=A", "base64"),
    ],
)  # fmt: skip
def test_records_that_are_none(record: bytes, words: str) -> None:
    with pytest.raises(KeyProblem, match=words):
        KeyRecord.parse(record)


@pytest.mark.parametrize(
    ("record", "result", "words"),
    [
        (b"p=", "permerror", "revoked"), (b"k=ed25519; p=AAAA", "permerror", "one of ed25519"),
        (b"h=sha1; p=AAAA", "permerror", "sha256"), (b"s=tlsrpt; p=AAAA", "permerror", "mail"), (b"p=AAAA", "permerror", "read"),
    ],
)  # fmt: skip
def test_keys_that_may_not_be_used(record: bytes, result: str, words: str) -> None:
    with pytest.raises(KeyProblem, match=words) as caught:
        KeyRecord.parse(record).verify("rsa-sha256", b"", b"")
    assert caught.value.result == result


def test_a_short_rsa_key_is_not_believed() -> None:
    # as published by somebody whose key is from 2010
    n = int.from_bytes(b"\xc1" + b"\x55" * 62 + b"\x57")
    public = rsa.RSAPublicNumbers(65537, n).public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(KeyProblem, match=r"of 51\d bits") as caught:
        KeyRecord.parse(b"p=" + base64.b64encode(public)).verify("rsa-sha256", b"x", b"x")
    assert caught.value.result == "policy"


def test_a_record_may_be_folded_and_flagged(keys) -> None:
    record = KeyRecord.parse(b"v=DKIM1; k=rsa; t=y:s; h=sha1 : sha256; n=hello; p=" + b" ".join(base64.b64encode(keys.rsa.public)[at : at + 70] for at in range(0, 400, 70)))
    assert record.is_testing
    assert record.is_strict
    assert record.public == keys.rsa.public


def test_of_several_records_the_first_key_counts(keys) -> None:
    assert find(lambda name: (b"v=spf1 -all", keys.rsa.record), "example.org", "s1").public == keys.rsa.public


@pytest.mark.parametrize(("is_temporary", "result"), [(True, "temperror"), (False, "permerror")])
def test_a_lookup_that_fails_says_how(is_temporary: bool, result: str) -> None:
    def lookup(name):
        raise LookupFailed("no answer", is_temporary=is_temporary)

    with pytest.raises(KeyProblem) as caught:
        find(lookup, "example.org", "s1")
    assert caught.value.result == result


def test_no_record_is_no_key() -> None:
    with pytest.raises(KeyProblem, match="no key at s1"):
        find(lambda name: (), "example.org", "s1")


@given(st.binary(max_size=200))
def test_no_record_stops_us(octets: bytes) -> None:
    with contextlib.suppress(KeyProblem):
        KeyRecord.parse(b"p=" + octets).verify("ed25519-sha256", octets, octets)
