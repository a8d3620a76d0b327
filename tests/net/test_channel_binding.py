"""SCRAM-SHA-256-PLUS over real TLS, blocking and on asyncio; the digest of every kind of certificate (RFC 5929)."""

import asyncio
import hashlib
import ssl
import warnings
from datetime import UTC, datetime, timedelta

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from mailpipe.errors import TransientFailure
from mailpipe.net.aio import AsyncSmtpConnection
from mailpipe.net.endpoint import Endpoint
from mailpipe.net.sync import SmtpConnection
from mailpipe.net.tls import end_point
from mailpipe.smtp.opening import Opening, TlsMode
from mailpipe.smtp.sasl import Credentials
from mailpipe.testing.peer import ScriptedPeer

PLUS = "SCRAM-SHA-256-PLUS"


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def served(authority):
    """A server's context, and the binding of its certificate as somebody else reckons it."""
    issued = authority.issue_cert("127.0.0.1")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    issued.configure_cert(context)
    certificate = x509.load_pem_x509_certificate(issued.cert_chain_pems[0].bytes())
    digest = hashlib.new(certificate.signature_hash_algorithm.name, certificate.public_bytes(Encoding.DER)).digest()
    return context, {"tls-server-end-point": digest}


@pytest.fixture(scope="module")
def ca_file(authority, tmp_path_factory):
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return path


def opened(front, peer, ca_file, mode=TlsMode.REQUIRED, mechanisms=()):
    plan = Opening("client.test", tls=mode, credentials=Credentials("ann", "secret", mechanisms=mechanisms))
    connection = front(Endpoint(peer.host, peer.port), plan, tls_ca_file=ca_file)

    async def run():
        async with connection as one:
            await one.open()

    if front is SmtpConnection:
        with connection as one:
            one.open()
    else:
        asyncio.run(run())


FRONTS = pytest.mark.parametrize("front", [SmtpConnection, AsyncSmtpConnection])


def mechanisms_tried(peer):
    return [line.split()[1] for session in peer.sessions for line in session if line.startswith("AUTH ")]


@FRONTS
@pytest.mark.parametrize("mode", [TlsMode.REQUIRED, TlsMode.OPPORTUNISTIC, TlsMode.IMPLICIT])
def test_the_exchange_is_bound_to_the_connection(front, served, ca_file, mode):
    context, bindings = served
    offers = (f"AUTH {PLUS} SCRAM-SHA-256",)
    implicit = mode is TlsMode.IMPLICIT
    with ScriptedPeer(extensions=offers, tls=context, implicit_tls=implicit, users={"ann": "secret"}, bindings=bindings) as peer:
        opened(front, peer, ca_file, mode)
        assert mechanisms_tried(peer) == [PLUS] and not peer.violations


@FRONTS
def test_what_is_bound_to_another_connection_is_worth_nothing(front, served, ca_file):
    context, _ = served
    elsewhere = {"tls-server-end-point": b"of the server behind the one in the middle"}
    offers = (f"AUTH {PLUS} SCRAM-SHA-256",)
    with ScriptedPeer(extensions=offers, tls=context, users={"ann": "secret"}, bindings=elsewhere) as peer:
        with pytest.raises(TransientFailure, match="name auth_mechanisms without it"):
            opened(front, peer, ca_file)
        assert mechanisms_tried(peer) == [PLUS]  # and never a weaker one behind it


@FRONTS
def test_a_server_with_other_bindings_is_asked_without_one_unless_that_is_insisted_on(front, served, ca_file):
    context, _ = served
    offers = (f"AUTH {PLUS} SCRAM-SHA-256",)
    with ScriptedPeer(extensions=offers, tls=context, users={"ann": "secret"}, bindings={"tls-unique": b"x"}) as peer:
        opened(front, peer, ca_file)
        assert mechanisms_tried(peer) == [PLUS, "SCRAM-SHA-256"]
        with pytest.raises(TransientFailure, match=PLUS):
            opened(front, peer, ca_file, mechanisms=(PLUS,))
        assert mechanisms_tried(peer)[2:] == [PLUS]


def certificate(key, algorithm, **options):
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mx.test")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return builder.sign(key, algorithm, **options).public_bytes(Encoding.DER)


@pytest.mark.parametrize("digest", [hashes.SHA224(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512()])
def test_the_digest_is_that_of_the_signature(digest):
    wanted = lambda der: hashlib.new(digest.name, der).digest()  # noqa: E731
    curve = certificate(ec.generate_private_key(ec.SECP256R1()), digest)
    assert end_point(curve) == wanted(curve)
    key = rsa.generate_private_key(65537, 2048)
    for options in ({}, {"rsa_padding": padding.PSS(padding.MGF1(digest), digest.digest_size)}):
        made = certificate(key, digest, **options)
        assert end_point(made) == wanted(made)


def test_a_signature_without_a_single_digest_gives_no_binding():
    assert end_point(certificate(ed25519.Ed25519PrivateKey.generate(), None)) is None
    made = certificate(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    assert all(end_point(made[:length]) is None for length in range(0, len(made), 7))


@given(st.binary(max_size=60))
def test_what_is_no_certificate_gives_no_binding(octets):
    assert end_point(octets) is None or isinstance(end_point(octets), bytes)
