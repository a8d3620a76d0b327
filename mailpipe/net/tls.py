"""TLS contexts for the client (RFC 3207, RFC 8314, RFC 7672): which certificates are believed.

    client_context(verify=True, ca_file=Path("ca.pem"))
    dane_context(records, ("mx.example.net",))

Never here: when to use TLS; that is decided in `mailpipe.smtp.opening` and `mailpipe.net.tls_policy`.
"""

import hashlib
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mailpipe.errors import ConfigError
from mailpipe.smtp.sasl import Binding

DANE_TA, DANE_EE = 2, 3
"""The usages of TLSA records that mail knows (RFC 7672 section 3.1): an authority, the server's own certificate."""
_DIGESTS = {1: hashlib.sha256, 2: hashlib.sha512}
DANE_NO_MATCH = 65
"""The `verify_code` of a certificate that is not the one announced, OpenSSL's X509_V_ERR_DANE_NO_MATCH."""
MAX_CHAIN = 10
"""LIMIT: certificates of a chain that are looked at."""


def client_context(*, verify: bool, ca_file: Path | None = None) -> ssl.SSLContext:
    """A context for connections to a peer.

    Args:
        verify: the certificate must be valid and name the host. Without it anybody in the middle can read along; that
            is what opportunistic TLS offers, because the other choice there is no TLS at all.
        ca_file: certificates to believe instead of those of the system, PEM.

    Raises:
        ConfigError: the file cannot be read or holds no certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    try:
        if ca_file is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"tls_ca_file {ca_file}: {error.strerror or error}; it must hold PEM certificates") from error
    return context


@dataclass(frozen=True, slots=True)
class TlsaRecord:
    """What the DNS says of a certificate (RFC 6698 section 2.1).

    Attributes:
        usage: 2 an authority that signs the server's certificate, 3 the server's certificate; 0 and 1 mean nothing to
            mail (RFC 7672 section 3.1.3).
        selector: 0 the whole certificate, 1 its public key.
        matching: 0 the octets themselves, 1 their SHA-256, 2 their SHA-512.
        association: what it must be.
    """

    usage: int
    selector: int
    matching: int
    association: bytes

    @property
    def is_usable(self) -> bool:
        """Whether the record can be used for mail, and here: an authority is followed with `cryptography` only."""
        digest = _DIGESTS.get(self.matching)
        fits = digest is None or len(self.association) == digest().digest_size
        known = self.selector in (0, 1) and self.matching in (0, 1, 2) and fits and self.association
        return bool(known) and (self.usage == DANE_EE or (self.usage == DANE_TA and _can_follow()))

    def __str__(self) -> str:
        return f"{self.usage} {self.selector} {self.matching} {self.association.hex()}"

    def matches(self, certificate: bytes) -> bool:
        """Whether a certificate is the one that is meant.

        Args:
            certificate: DER.
        """
        try:
            selected = public_key_info(certificate) if self.selector == 1 else certificate
        except ValueError:
            return False
        digest = _DIGESTS.get(self.matching)
        return (digest(selected).digest() if digest is not None else selected) == self.association


def dane_context(
    records: Sequence[TlsaRecord], names: Sequence[str], *, clock: Callable[[], datetime] | None = None
) -> ssl.SSLContext:
    """A context that believes only what TLSA records name (RFC 7672 section 3.1); no authority of the system counts.

    The check is part of the handshake, for blocking sockets and asyncio alike, and fails it with
    `ssl.SSLCertVerificationError`.

    Args:
        records: the usable ones; of none, any certificate will do (RFC 7672 section 2.2).
        names: what the certificate may name; asked for with usage 2 only.
        clock: tells whether a certificate has expired, for usage 2 only; None for the system's.
    """
    context = _DaneContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.sslsocket_class, context.sslobject_class = _DaneSocket, _DaneObject
    context.records, context.names = tuple(records), tuple(names)
    context.clock = clock or (lambda: datetime.now(UTC))
    return context


def is_proof(context: ssl.SSLContext) -> bool:
    """Whether a handshake with this context shows who the peer is: by a name in a believed certificate, or by DANE."""
    if isinstance(context, _DaneContext):
        return bool(context.records)
    return context.verify_mode is ssl.CERT_REQUIRED and context.check_hostname


class _DaneContext(ssl.SSLContext):
    records: tuple[TlsaRecord, ...] = ()
    names: tuple[str, ...] = ()
    clock: Callable[[], datetime]

    def check(self, connection: "ssl.SSLSocket | ssl.SSLObject") -> None:
        if not self.records:
            return
        own = connection.getpeercert(binary_form=True)
        if own is None:
            raise _unbelieved("the peer showed none")
        if any(record.usage == DANE_EE and record.matches(own) for record in self.records):
            return  # neither name nor expiry counts here (RFC 7672 section 3.1.1)
        why = "it matches none of the TLSA records"
        anchors = [record for record in self.records if record.usage == DANE_TA]
        if anchors:
            why = _follow(_chain(connection) or [own], anchors, self.names, self.clock()) or ""
        if why:
            raise _unbelieved(why)


class _DaneSocket(ssl.SSLSocket):
    def do_handshake(self, block: bool = False) -> None:
        super().do_handshake(block)
        assert isinstance(self.context, _DaneContext)
        self.context.check(self)


class _DaneObject(ssl.SSLObject):
    def do_handshake(self) -> None:
        super().do_handshake()
        assert isinstance(self.context, _DaneContext)
        self.context.check(self)


def _unbelieved(why: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, f"the certificate is not the one that the DNS announces: {why}")
    error.verify_message, error.verify_code = f"DANE: {why}", DANE_NO_MATCH
    return error


def _chain(connection: "ssl.SSLSocket | ssl.SSLObject") -> list[bytes]:
    """What the peer showed, its own certificate first, DER."""
    public = getattr(connection, "get_unverified_chain", None)
    if public is not None:  # from Python 3.13
        return list(public())
    found = connection._sslobj.get_unverified_chain() or ()  # type: ignore[union-attr]  # the same under its older name
    return [ssl.PEM_cert_to_DER_cert(one.public_bytes()) for one in found]


def _can_follow() -> bool:
    try:
        import cryptography.x509  # noqa: F401 - optional, and slow to import: only for authorities of the DNS
    except ImportError:
        return False
    return True


def _follow(chain: list[bytes], anchors: list[TlsaRecord], names: tuple[str, ...], now: datetime) -> str | None:
    """Go from the server's certificate upward to an authority that a record names; why there is no way, or None."""
    from cryptography import x509  # optional, and slow to import: only for authorities of the DNS
    from cryptography.exceptions import InvalidSignature

    try:
        loaded = [x509.load_der_x509_certificate(one) for one in chain[:MAX_CHAIN]]
        alternative = loaded[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        shown = alternative.get_values_for_type(x509.DNSName)
    except (ValueError, x509.ExtensionNotFound):
        return "it has no host name in it, or cannot be read"
    if not any(name_fits(pattern, name) for pattern in shown for name in names):
        return f"it names {', '.join(shown[:3]) or 'nobody'} and not {names[0]}"
    for place, one in enumerate(loaded):
        if not one.not_valid_before_utc <= now <= one.not_valid_after_utc:
            return "it, or one that signed it, has expired or is not valid yet"
        if place > 0:
            if not _may_sign(one):
                return "one that signed it is no authority"
            try:
                loaded[place - 1].verify_directly_issued_by(one)
            except (ValueError, TypeError, InvalidSignature):
                return "one of its chain is not signed by the next"
        if place > 0 and any(anchor.matches(chain[place]) for anchor in anchors):
            return None
    full = [x509.load_der_x509_certificate(anchor.association) for anchor in anchors if _is_whole(anchor)]
    for one in full:  # an authority that the DNS holds in full needs not be shown
        try:
            loaded[-1].verify_directly_issued_by(one)
        except (ValueError, TypeError, InvalidSignature):
            continue
        if _may_sign(one) and one.not_valid_before_utc <= now <= one.not_valid_after_utc:
            return None
    return "no authority that the TLSA records name has signed it"


def _may_sign(certificate: Any) -> bool:
    from cryptography import x509  # optional; it is there, for the certificate is one of its own

    try:
        return bool(certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except (ValueError, x509.ExtensionNotFound):
        return False


def _is_whole(record: TlsaRecord) -> bool:
    if record.selector != 0 or record.matching != 0:
        return False
    try:
        public_key_info(record.association)
    except ValueError:
        return False
    return True


def name_fits(pattern: str, name: str) -> bool:
    """Whether a host's name fits one of a certificate or a policy (RFC 6125 section 6.4, RFC 8461 section 4.1).

    A star stands for exactly one label, the first.

    >>> name_fits("*.example.net", "mx.example.net"), name_fits("*.example.net", "a.b.example.net")
    (True, False)
    """
    pattern, name = pattern.lower().rstrip("."), name.lower().rstrip(".")
    if pattern.startswith("*."):
        label, dot, rest = name.partition(".")
        return bool(label and dot) and rest == pattern[2:] and "." in rest
    return pattern == name


def channel_binding(connection: "ssl.SSLSocket | ssl.SSLObject") -> Binding | None:
    """What only this connection has: tls-exporter (RFC 9266) where Python's ssl knows it, else tls-server-end-point."""
    if _EXPORTER in ssl.CHANNEL_BINDING_TYPES and (exported := connection.get_channel_binding(_EXPORTER)):
        return _EXPORTER, exported
    certificate = connection.getpeercert(binary_form=True)
    digest = None if certificate is None else end_point(certificate)
    return None if digest is None else ("tls-server-end-point", digest)


def end_point(certificate: bytes) -> bytes | None:
    """The digest of a server's certificate that stands for it (tls-server-end-point, RFC 5929 section 4.1).

    It is by the algorithm of the certificate's own signature, in place of MD5 and SHA-1 by SHA-256; None where that
    has no single one, as with Ed25519, or is not known.

    Args:
        certificate: DER.
    """
    try:
        _, content, _ = next(_elements(certificate))
        elements = _elements(content)
        next(elements)
        _, algorithm, _ = next(elements)
        inside = _elements(algorithm)
        _, identifier, _ = next(inside)
        if identifier == _PSS:  # the digest is in its parameters; SHA-1 where there are none
            parameters = next((inner for tag, inner, _ in inside if tag == 0x30), b"")
            chosen = next((inner for tag, inner, _ in _elements(parameters) if tag == 0xA0), b"") if parameters else b""
            if not chosen:
                return hashlib.sha256(certificate).digest()
            _, wanted, _ = next(_elements(chosen))
            _, identifier, _ = next(_elements(wanted))
        name = _SIGNED_WITH.get(identifier.hex())
    except (ValueError, StopIteration):
        return None
    return None if name is None else hashlib.new(name, certificate).digest()


_EXPORTER = "tls-exporter"
_PSS = bytes.fromhex("2a864886f70d01010a")
# Object identifiers in DER: of RSA, ECDSA and DSA signatures, and of digests for RSASSA-PSS.
_SIGNED_WITH = {
    "2a864886f70d010104": "sha256", "2a864886f70d010105": "sha256",  # MD5 and SHA-1
    "2a864886f70d01010e": "sha224", "2a864886f70d01010b": "sha256",
    "2a864886f70d01010c": "sha384", "2a864886f70d01010d": "sha512",
    "2a8648ce3d0401": "sha256",
    "2a8648ce3d040301": "sha224", "2a8648ce3d040302": "sha256",
    "2a8648ce3d040303": "sha384", "2a8648ce3d040304": "sha512",
    "2a8648ce380403": "sha256", "608648016503040301": "sha224", "608648016503040302": "sha256",
    "2b0e03021a": "sha256", "608648016503040204": "sha224", "608648016503040201": "sha256",
    "608648016503040202": "sha384", "608648016503040203": "sha512",
}  # fmt: skip


def public_key_info(certificate: bytes) -> bytes:
    """The SubjectPublicKeyInfo of a certificate (RFC 5280 section 4.1), DER to DER.

    Raises:
        ValueError: it is no certificate.
    """
    _, content, _ = next(_elements(certificate))
    _, to_be_signed, _ = next(_elements(content))
    fields = [(tag, whole) for tag, _, whole in _elements(to_be_signed)]
    if fields and fields[0][0] == 0xA0:  # the version is optional
        fields = fields[1:]
    # serial number, signature, issuer, validity, subject, the key
    if len(fields) < 6 or fields[5][0] != 0x30:
        raise ValueError("no X.509 certificate")
    return fields[5][1]


def _elements(octets: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """The elements of DER, one behind the other: tag, content, the element as a whole."""
    position = 0
    while True:
        start = position
        head = octets[position : position + 2]
        if len(head) < 2:
            if head or start == 0:
                raise ValueError("no X.509 certificate: it breaks off")
            return
        tag, length = head
        position += 2
        if length & 0x80:
            size = length & 0x7F
            length = int.from_bytes(octets[position : position + size])
            if not 1 <= size <= 4:
                raise ValueError("no X.509 certificate: a length of another form")
            position += size
        end = position + length
        if end > len(octets):
            raise ValueError("no X.509 certificate: it breaks off")
        yield tag, octets[position:end], octets[start:end]
        position = end
