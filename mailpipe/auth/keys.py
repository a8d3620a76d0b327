"""Keys of DKIM and ARC: private ones, and the records that publish them (RFC 6376 section 3.6.1, RFC 8463).

    key = load_private_key(Path("s1.pem").read_bytes())
    key.sign(octets), key.record                        # what to publish in the DNS
    find(lookup, "example.org", "s1")                   # a KeyRecord, or a KeyProblem

This file is the one door to `cryptography`, which is imported when the first key is; it is the extra `mailpipe[auth]`.

Never here: header fields.
"""

import binascii
import hashlib
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from mailpipe.auth.lookup import LookupFailed, TxtLookup
from mailpipe.errors import ConfigError
from mailpipe.fields.authentication import parse_tags

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

RSA, ED25519 = "rsa-sha256", "ed25519-sha256"
ALGORITHMS = (RSA, ED25519)
"""What is signed and verified; RFC 8301 section 3.1 rules rsa-sha1 out."""
MIN_RSA_BITS = 1024
"""LIMIT: shorter keys are not believed (RFC 8301 section 3.2)."""
MAX_RSA_BITS = 8192
"""LIMIT: longer keys cost a verifier too much."""
MAX_RECORD = 16_384
"""LIMIT: octets of a key record."""
MAX_RECORDS = 10
"""LIMIT: records of one name that are looked at."""


class KeyProblem(Exception):
    """A public key that cannot be had or used.

    Attributes:
        result: the word of RFC 8601 section 2.7.1: "temperror", "permerror" or "policy".
        reason: one line.
    """

    def __init__(self, result: str, reason: str) -> None:
        super().__init__(reason)
        self.result, self.reason = result, reason


def require() -> None:
    """See that `cryptography` is there.

    Raises:
        ConfigError: it is not.
    """
    try:
        # slow to import, and only signatures need it
        import cryptography  # noqa: F401
    except ImportError as error:
        words = 'signatures need the package cryptography: pip install "mailpipe[auth]"'
        raise ConfigError(words) from error


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A key to sign with.

    Attributes:
        algorithm: "rsa-sha256" or "ed25519-sha256".
        public: what p= of its record holds: a SubjectPublicKeyInfo of RSA, the 32 octets of Ed25519 (RFC 8463
            section 4).
    """

    algorithm: str
    public: bytes
    _signer: Callable[[bytes], bytes]

    def sign(self, octets: bytes) -> bytes:
        """The signature of octets. Ed25519 signs their SHA-256 digest (RFC 8463 section 3)."""
        return self._signer(octets)

    @property
    def record(self) -> bytes:
        """The TXT record that publishes it, to stand at SELECTOR._domainkey.DOMAIN."""
        return b"v=DKIM1; k=%b; p=%b" % (self.algorithm.partition("-")[0].encode(), b64encode(self.public))

    def __repr__(self) -> str:
        return f"PrivateKey({self.algorithm!r})"


def load_private_key(octets: bytes) -> PrivateKey:
    """Read a private key.

    Args:
        octets: PEM or DER of an RSA or Ed25519 key without a passphrase, or the base64 of the 32 octets of an Ed25519
            key, as dkimpy keeps them.

    Raises:
        ConfigError: it is none of these, an RSA key has less than 1,024 bits, or `cryptography` is not there.
    """
    require()
    # slow to import, and only signatures need it
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa

    try:
        if b"-----BEGIN" in octets:
            key = serialization.load_pem_private_key(octets, None)
        elif (seed := _seed(octets)) is not None:
            key = ed25519.Ed25519PrivateKey.from_private_bytes(seed)
        else:
            key = serialization.load_der_private_key(octets, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        words = "the private key cannot be read; give PEM of an RSA or Ed25519 key without a passphrase"
        raise ConfigError(f"{words} ({error})") from error
    if isinstance(key, rsa.RSAPrivateKey):
        if key.key_size < MIN_RSA_BITS:
            raise ConfigError(f"the RSA key has {key.key_size} bits; verifiers believe 1024 and more (RFC 8301)")
        pad, digest, private = padding.PKCS1v15(), hashes.SHA256(), key
        encoding, form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        public = key.public_key().public_bytes(encoding, form)
        return PrivateKey(RSA, public, lambda signed: private.sign(signed, pad, digest))
    if isinstance(key, ed25519.Ed25519PrivateKey):
        short = key
        return PrivateKey(
            ED25519, key.public_key().public_bytes_raw(), lambda signed: short.sign(hashlib.sha256(signed).digest())
        )
    raise ConfigError(f"a key for {type(key).__name__} does not sign mail; RSA and Ed25519 do (RFC 8463)")


def _seed(octets: bytes) -> bytes | None:
    """The 32 octets of an Ed25519 key that stand there in base64."""
    try:
        seed = b64decode(b"".join(octets.split()), validate=True)
    except (ValueError, binascii.Error):
        return None
    return seed if len(seed) == 32 else None


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A published key.

    Attributes:
        kind: "rsa" or "ed25519" (k=).
        public: the key (p=), b"" where it was revoked.
        hashes: the digests that it may be used with (h=), () for any.
        services: what it may be used for (s=).
        is_testing: the domain only tries (t=y).
        is_strict: the identity must be of this very domain (t=s).
    """

    kind: str
    public: bytes
    hashes: tuple[str, ...] = ()
    services: tuple[str, ...] = ("*",)
    is_testing: bool = False
    is_strict: bool = False

    @classmethod
    def parse(cls, octets: bytes) -> "KeyRecord":
        """Read a TXT record.

        Raises:
            KeyProblem: it is no key record (RFC 6376 section 3.6.1).
        """
        listed = parse_tags(octets[:MAX_RECORD])
        tags = listed.tags
        if any(defect.code == "duplicate-parameter" for defect in listed.defects):
            raise KeyProblem("permerror", "the key record has a tag twice")
        if tags.get("v", "DKIM1") != "DKIM1" or ("v" in tags and next(iter(tags)) != "v"):
            raise KeyProblem("permerror", "the record is none of DKIM1")
        if "p" not in tags:
            raise KeyProblem("permerror", "the key record holds no key")
        try:
            public = b64decode("".join(tags["p"].split()), validate=True)
        except ValueError as error:
            raise KeyProblem("permerror", "the key is not in base64") from error
        flags = _list(tags.get("t", ""))
        return cls(
            kind=tags.get("k", "rsa").lower(),
            public=public,
            hashes=_list(tags.get("h", "")),
            services=_list(tags.get("s", "*")),
            is_testing="y" in flags,
            is_strict="s" in flags,
        )

    def verify(self, algorithm: str, signature: bytes, octets: bytes) -> bool:
        """Whether the signature is this key's of these octets.

        Args:
            algorithm: one of `ALGORITHMS`.
            signature: of b=.
            octets: what was signed.

        Raises:
            KeyProblem: the key may not be used for that.
            ConfigError: `cryptography` is not there.
        """
        kind, _, digest = algorithm.partition("-")
        if not self.public:
            raise KeyProblem("permerror", "the key was revoked")
        if kind != self.kind:
            raise KeyProblem("permerror", f"the key is one of {self.kind}, the signature of {kind}")
        if self.hashes and digest not in self.hashes:
            raise KeyProblem("permerror", f"the key is not for {digest}")
        if not {"*", "email"} & set(self.services):
            raise KeyProblem("permerror", "the key is not for mail")
        require()
        # slow to import, and only signatures need it
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding, rsa

        key = _public_key(kind, self.public)
        try:
            if isinstance(key, rsa.RSAPublicKey):
                key.verify(signature, octets, padding.PKCS1v15(), hashes.SHA256())
            else:
                key.verify(signature, hashlib.sha256(octets).digest())
        except InvalidSignature:
            return False
        return True


def _list(text: str) -> tuple[str, ...]:
    return tuple(word.strip().lower() for word in text.split(":") if word.strip())


@lru_cache(256)
def _public_key(kind: str, public: bytes) -> "RSAPublicKey | Ed25519PublicKey":
    """The key of a record, read once.

    Raises:
        KeyProblem: it cannot be used.
    """
    # slow to import, and only signatures need it
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

    try:
        if kind == "ed25519":
            return ed25519.Ed25519PublicKey.from_public_bytes(public)
        key = serialization.load_der_public_key(public)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyProblem("permerror", "the key cannot be read") from error
    if not isinstance(key, rsa.RSAPublicKey):
        raise KeyProblem("permerror", "the key is none of RSA")
    if key.key_size < MIN_RSA_BITS:
        raise KeyProblem("policy", f"an RSA key of {key.key_size} bits is not believed (RFC 8301)")
    if key.key_size > MAX_RSA_BITS:
        raise KeyProblem("policy", f"an RSA key of {key.key_size} bits is too long")
    return key


def find(lookup: TxtLookup, domain: str, selector: str) -> KeyRecord:
    """The key of a domain and selector (RFC 6376 section 3.6.2); of several records the first that is a key.

    Raises:
        KeyProblem: there is none, or it cannot be asked for.
    """
    name = f"{selector}._domainkey.{domain}"
    try:
        records = lookup(name)
    except LookupFailed as error:
        raise KeyProblem("temperror" if error.is_temporary else "permerror", str(error)) from error
    problem = KeyProblem("permerror", f"no key at {name}")
    for record in records[:MAX_RECORDS]:
        try:
            return KeyRecord.parse(record)
        except KeyProblem as found:
            problem = found
    raise problem
