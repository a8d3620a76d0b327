"""The certificates that the DNS announces (DANE): records, and what a handshake makes of them."""

import asyncio
import datetime
import socket
import ssl
import threading
from hashlib import sha256, sha512

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from mailpipe.net.mx import MxRoutes
from mailpipe.net.resolver import Resolver
from mailpipe.net.tls import TlsaRecord, dane_context, public_key_info
from mailpipe.net.tls_policy import DaneRecords, dane_names, dane_records


def no_time():
    """A clock that stands still."""
    return 1000.0


@pytest.fixture
def resolver(dns_server):
    return Resolver([dns_server.address], clock=no_time, timeout=0.5, validates=True)


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


def der_of(issued):
    return ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())


def test_the_public_key_is_found_in_every_certificate(authority):
    for name in ("mx.example.test", "192.0.2.1", "bücher.example"):
        der = der_of(authority.issue_cert(name))
        key = x509.load_der_x509_certificate(der).public_key()
        assert public_key_info(der) == key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@given(st.binary(max_size=200))
def test_no_octets_break_the_reader_of_certificates(octets):
    with pytest.raises(ValueError):
        public_key_info(octets)


@given(st.data())
def test_a_certificate_that_breaks_off_is_none(data):
    der = _CERTIFICATE
    with pytest.raises(ValueError):
        public_key_info(der[: data.draw(st.integers(0, len(der) - 1))])


_CERTIFICATE = der_of(trustme.CA().issue_cert("mx.example.test"))


@pytest.mark.parametrize("selector", [0, 1])
@pytest.mark.parametrize(("matching", "shown"), [(0, bytes), (1, lambda o: sha256(o).digest()), (2, lambda o: sha512(o).digest())])
def test_each_selector_and_matching_type(selector, matching, shown):
    whole = public_key_info(_CERTIFICATE) if selector else _CERTIFICATE
    record = TlsaRecord(3, selector, matching, shown(whole))
    assert record.is_usable and record.matches(_CERTIFICATE)
    assert not TlsaRecord(3, selector, matching, shown(whole + b"x")).matches(_CERTIFICATE)
    assert not TlsaRecord(3, 1 - selector, matching, shown(whole)).matches(_CERTIFICATE)


@pytest.mark.parametrize(
    ("record", "usable"),
    [((3, 1, 1, bytes(32)), True), ((2, 0, 2, bytes(64)), True), ((0, 1, 1, bytes(32)), False),
     ((1, 1, 1, bytes(32)), False), ((3, 2, 1, bytes(32)), False), ((3, 1, 3, bytes(32)), False),
     ((3, 1, 1, bytes(31)), False), ((3, 1, 2, bytes(32)), False), ((3, 0, 0, b""), False)],
)  # fmt: skip
def test_only_records_that_mean_something_to_mail_are_used(record, usable):
    assert TlsaRecord(*record).is_usable is usable


def anchor(authority):
    return TlsaRecord(2, 0, 1, sha256(ssl.PEM_cert_to_DER_cert(authority.cert_pem.bytes().decode())).digest())


def handshake(issued, context, *shown):
    """Why a client with that context does not believe the certificate, and what is shown behind it; None where it does."""
    ours, theirs = socket.socketpair()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    chain = b"".join(pem.bytes() for pem in (issued.private_key_pem, *issued.cert_chain_pems, *shown))
    with trustme.Blob(chain).tempfile() as path:
        server.load_cert_chain(path)

    def serve():
        try:
            server.wrap_socket(theirs, server_side=True).close()
        except OSError:
            theirs.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        context.wrap_socket(ours, server_hostname="mx.example.test").close()
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    finally:
        ours.close()
        thread.join(10)
    return None


def long_chain(name="mx.example.test"):
    """An authority, one below it, and a certificate of that."""
    root = trustme.CA()
    middle = root.create_child_ca()
    return root, middle, middle.issue_cert(name)


def test_the_certificate_itself_is_believed_whatever_it_names_and_however_old(authority):
    past = datetime.datetime(2021, 1, 1, tzinfo=datetime.UTC)
    issued = authority.issue_cert("other.test", not_before=past, not_after=past + datetime.timedelta(days=1))
    record = TlsaRecord(3, 1, 1, sha256(public_key_info(der_of(issued))).digest())
    assert handshake(issued, dane_context([record], ["mx.example.test"])) is None
    wrong = TlsaRecord(3, 1, 1, bytes(32))
    assert "matches none" in handshake(issued, dane_context([wrong], ["mx.example.test"]))
    assert handshake(issued, dane_context([wrong, record], ["mx.example.test"])) is None


def test_an_authority_that_is_shown_is_believed_for_the_names_of_the_host():
    root, middle, issued = long_chain()
    for one in (root, middle):
        assert handshake(issued, dane_context([anchor(one)], ["mx.example.test"]), root.cert_pem) is None
        assert "and not another.test" in handshake(issued, dane_context([anchor(one)], ["another.test"]), root.cert_pem)
    assert "no authority" in handshake(issued, dane_context([anchor(trustme.CA())], ["mx.example.test"]), root.cert_pem)


def test_what_has_expired_is_not_believed_below_an_authority():
    before = datetime.datetime(1990, 1, 1, tzinfo=datetime.UTC)
    root, _, issued = long_chain()
    context = dane_context([anchor(root)], ["mx.example.test"], clock=lambda: before)
    assert "expired" in handshake(issued, context, root.cert_pem)


def test_an_authority_that_has_signed_nothing_is_of_no_use_in_the_chain():
    """Somebody shows the announced authority behind a certificate of their own making."""
    root = trustme.CA()
    forged = trustme.CA().issue_cert("mx.example.test")
    context = dane_context([anchor(root)], ["mx.example.test"])
    assert "not signed by the next" in handshake(forged, context, root.cert_pem)


def test_a_certificate_that_is_no_authority_signs_nothing():
    root = trustme.CA()
    ordinary = root.issue_cert("mx.example.test")
    forged = trustme.CA().issue_cert("mx.example.test")
    record = TlsaRecord(2, 0, 1, sha256(der_of(ordinary)).digest())
    context = dane_context([record], ["mx.example.test"])
    assert "one that signed it is no authority" in handshake(forged, context, ordinary.cert_chain_pems[0])


def test_no_usable_record_means_any_certificate(authority):
    assert handshake(authority.issue_cert("other.test"), dane_context([], ["mx.example.test"])) is None


def test_the_check_is_part_of_the_handshake_of_asyncio_as_well(authority):
    issued = authority.issue_cert("mx.example.test")
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    issued.configure_cert(server)

    async def connect(record):
        listening = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=server)
        async with listening:
            port = listening.sockets[0].getsockname()[1]
            context = dane_context([record], ["mx.example.test"])
            _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="mx.example.test")
            writer.close()

    asyncio.run(connect(TlsaRecord(3, 0, 0, der_of(issued))))
    with pytest.raises(ssl.SSLCertVerificationError):
        asyncio.run(connect(TlsaRecord(3, 1, 1, bytes(32))))


def signed_host(dns_server, name="mx.example.test", alias=None):
    dns_server.add("example.test", "MX", f"10 {alias or name}.", signed=True)
    if alias:
        dns_server.add(alias, "CNAME", f"{name}.", signed=True)
    dns_server.add_host(name, "192.0.2.1", signed=True)


def records_of(resolver):
    destination = MxRoutes(resolver).find("example.test")
    return dane_records(resolver, destination, destination.exchangers[0], 25)


def test_records_are_found_beside_the_host(dns_server, resolver):
    signed_host(dns_server)
    assert records_of(resolver) is None
    dns_server.add("_25._tcp.mx.example.test", "TLSA", f"3 1 1 {bytes(32).hex()}", signed=True)
    fresh = Resolver([dns_server.address], clock=no_time, timeout=0.5, validates=True)
    assert records_of(fresh) == DaneRecords("mx.example.test", (TlsaRecord(3, 1, 1, bytes(32)),))


@pytest.mark.parametrize("at", ["mx.example.test", "alias.test"])
def test_records_of_an_alias_are_looked_for_at_both_its_names(dns_server, resolver, at):
    signed_host(dns_server, alias="alias.test")
    dns_server.add(f"_25._tcp.{at}", "TLSA", f"3 1 1 {bytes(32).hex()}", signed=True)
    assert records_of(resolver) == DaneRecords(at, (TlsaRecord(3, 1, 1, bytes(32)),))
    destination = MxRoutes(resolver).find("example.test")
    assert dane_names(destination, destination.exchangers[0]) == ("alias.test", "mx.example.test", "example.test")
