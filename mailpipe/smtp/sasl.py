"""Authentication mechanisms (RFC 4422) as exchanges of octets, and the choice among those that a peer offers.

    mechanism = choose(extensions.auth, Credentials("ann", "secret"), encrypted=True, chance=secrets.token_bytes)
    mechanism.initial, mechanism.respond(challenge), mechanism.is_proven

With a password SCRAM-SHA-256-PLUS and SCRAM-SHA-256 (RFC 5802, 7677), CRAM-MD5 (RFC 2195), PLAIN (RFC 4616) and LOGIN;
with a token OAUTHBEARER (RFC 7628) and XOAUTH2 (Google's and Microsoft's own).

Never here: base64 of the command line, which is the affair of `command`; when to authenticate, which is that of
`opening`; chance, which is given.

LIMIT: SCRAM's iterations: fewer than 4,096 would give the password away to whoever guesses (RFC 7677 section 4), more
than a million would have us compute for a peer's pleasure.
"""

import base64
import binascii
import hashlib
import hmac
import json
import re
import stringprep
import unicodedata
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from mailpipe.errors import LocalProtocolError

Chance = Callable[[int], bytes]
"""Gives so many octets that nobody can foretell, as `secrets.token_bytes` does."""

Binding = tuple[str, bytes]
"""A channel binding (RFC 5056): its name, such as "tls-server-end-point", and octets that only this connection has."""

MIN_ITERATIONS, MAX_ITERATIONS = 4096, 1_000_000
_NONCE = 18  # octets, 24 letters in base64
_SHOWN = 300
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who we are to the peer.

    Attributes:
        username: the authentication identity.
        password: never shown.
        in_clear: may be sent over a connection without TLS by a mechanism that shows the password. Only for a peer
            on the same machine or inside a tunnel.
        token: an OAuth access token; where it is given there is no password, and only mechanisms for tokens are used.
            Never shown.
        mechanisms: the only ones that may be used, in capitals; () for all. For a peer that offers what it cannot do,
            such as CRAM-MD5 over hashed passwords.
    """

    username: str
    password: str = field(default="", repr=False)
    in_clear: bool = False
    token: str | None = field(default=None, repr=False)
    mechanisms: tuple[str, ...] = ()


def saslprep(text: str) -> str:
    """A user name or password in the form in which both sides compute with it (RFC 4013).

    Unassigned code points pass, as in a query (RFC 3454 section 7): they are newer than the tables.

    Raises:
        LocalProtocolError: it holds a character that is not allowed, or mixes directions; it is not repeated.

    >>> saslprep("I\u00adX \u2168")
    'IX IX'
    """
    mapped = "".join(
        " " if stringprep.in_table_c12(letter) else letter for letter in text if not stringprep.in_table_b1(letter)
    )
    prepared = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    if any(prohibits(letter) for letter in prepared for prohibits in _PROHIBITED):
        raise LocalProtocolError("user name or password holds a control character or another that RFC 4013 forbids")
    right_to_left = [stringprep.in_table_d1(letter) for letter in prepared]
    if any(right_to_left) and not (
        right_to_left[0] and right_to_left[-1] and not any(map(stringprep.in_table_d2, prepared))
    ):
        raise LocalProtocolError("user name or password mixes directions of writing in a way that RFC 4013 forbids")
    return prepared


_PROHIBITED = (
    stringprep.in_table_c12, stringprep.in_table_c21_c22, stringprep.in_table_c3, stringprep.in_table_c4,
    stringprep.in_table_c5, stringprep.in_table_c6, stringprep.in_table_c7, stringprep.in_table_c8,
    stringprep.in_table_c9,
)  # fmt: skip


class Mechanism:
    """One exchange: an initial response, then an answer to each challenge.

    Attributes:
        name: as in the AUTH command.
        shows_password: whoever reads the connection learns the password, or a token that is as good.
        initial: the initial response, None where the peer speaks first.
        complaint: what the peer said within the exchange about a failure, or we about the peer; "" for nothing.
    """

    name = ""
    shows_password = True

    def __init__(self, credentials: Credentials) -> None:
        self.credentials = credentials
        self.initial: bytes | None = None
        self.complaint = ""

    @property
    def may_do_without(self) -> bool:
        """It failed for want of something that is a gain and no need: the next weaker one may be tried."""
        return False

    def respond(self, challenge: bytes) -> bytes | None:
        """The answer to a challenge; None cancels the exchange, because it makes no sense."""
        return None

    @property
    def is_proven(self) -> bool:
        """The peer has done its part; without that its acceptance is worth nothing."""
        return True


class Plain(Mechanism):
    """PLAIN: identity and password at once."""

    name = "PLAIN"

    def __init__(self, credentials: Credentials) -> None:
        super().__init__(credentials)
        if "\0" in credentials.username + credentials.password:
            raise LocalProtocolError("user name and password cannot hold a NUL")
        self.initial = f"\0{credentials.username}\0{credentials.password}".encode()

    def respond(self, challenge: bytes) -> bytes | None:
        """The same once more, for a peer that ignores the initial response."""
        return None if challenge else self.initial


class Login(Mechanism):
    """LOGIN: user name, then password; never standardised, understood everywhere."""

    name = "LOGIN"

    def __init__(self, credentials: Credentials) -> None:
        super().__init__(credentials)
        self._answers = [credentials.username.encode(), credentials.password.encode()]

    def respond(self, challenge: bytes) -> bytes | None:
        """User name, then password; the words of the question are not reliable and not read."""
        return self._answers.pop(0) if self._answers else None


class CramMd5(Mechanism):
    """CRAM-MD5: a keyed digest of the peer's challenge."""

    name = "CRAM-MD5"
    shows_password = False

    def respond(self, challenge: bytes) -> bytes | None:
        """User name and digest."""
        digest = hmac.new(self.credentials.password.encode(), challenge, "md5").hexdigest()
        return f"{self.credentials.username} {digest}".encode()


class ScramSha256(Mechanism):
    """SCRAM-SHA-256: each side proves that it knows the password, or what was made of it, and neither shows it."""

    name = "SCRAM-SHA-256"
    shows_password = False

    def __init__(
        self, credentials: Credentials, chance: Chance, *, binding: Binding | None = None, could_bind: bool = False
    ) -> None:
        """Begin an exchange.

        Args:
            credentials: who we are.
            chance: for the nonce.
            binding: for SCRAM-SHA-256-PLUS.
            could_bind: we would bind the exchange to the connection, but the peer does not offer that; it can tell then
                whether somebody in the middle has struck its offer out (RFC 5802 section 6).
        """
        super().__init__(credentials)
        self._header = b"y,," if could_bind else b"n,,"
        self._bound = b""
        if binding is not None:
            self._header, self._bound = f"p={binding[0]},,".encode(), binding[1]
        self._password = saslprep(credentials.password).encode()
        username = saslprep(credentials.username)
        if not username:
            raise LocalProtocolError("an empty user name")
        self._nonce = base64.b64encode(chance(_NONCE))
        self._bare = b"n=" + _saslname(username) + b",r=" + self._nonce
        self.initial = self._header + self._bare
        self._signature: bytes | None = None
        self._is_proven = False
        self._reason = b""

    @property
    def is_proven(self) -> bool:
        """The peer's signature was there, and right (RFC 5802 section 3)."""
        return self._is_proven

    def respond(self, challenge: bytes) -> bytes | None:
        """The proof for the peer's first message, nothing for its last, which must hold the right signature."""
        if not challenge and self._signature is None:
            return self.initial
        return self._prove(challenge) if self._signature is None else self._verify(challenge)

    def _prove(self, challenge: bytes) -> bytes | None:
        said = _attributes(challenge)
        if b"e" in said:
            self._refuse(said[b"e"])
            return None
        nonce, rounds = said.get(b"r", b""), said.get(b"i", b"")
        try:
            salt = base64.b64decode(said.get(b"s", b""), validate=True)
        except binascii.Error:
            salt = b""
        if not (nonce.startswith(self._nonce) and len(nonce) > len(self._nonce) and salt) or b"m" in said:
            self.complaint = "its challenge is none of SCRAM (RFC 5802 section 5)"
            return None
        iterations = int(rounds) if rounds.isdigit() and len(rounds) <= 10 else 0
        if not MIN_ITERATIONS <= iterations <= MAX_ITERATIONS:
            self.complaint = f"it asks for {iterations} iterations; {MIN_ITERATIONS} to {MAX_ITERATIONS} are done"
            return None
        salted = hashlib.pbkdf2_hmac("sha256", self._password, salt, iterations)
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        without_proof = b"c=" + base64.b64encode(self._header + self._bound) + b",r=" + nonce
        auth_message = self._bare + b"," + challenge + b"," + without_proof
        stored_key = hashlib.sha256(client_key).digest()
        proof = _xor(client_key, hmac.digest(stored_key, auth_message, "sha256"))
        self._signature = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), auth_message, "sha256")
        return without_proof + b",p=" + base64.b64encode(proof)

    def _refuse(self, reason: bytes) -> None:
        self._reason = reason
        self.complaint = f"it said {_shown(reason)}"

    def _verify(self, challenge: bytes) -> bytes | None:
        assert self._signature is not None
        said = _attributes(challenge)
        if b"e" in said:
            self._refuse(said[b"e"])
            return None
        if self._is_proven or not hmac.compare_digest(said.get(b"v", b""), base64.b64encode(self._signature)):
            self.complaint = "its signature is wrong: it does not know the password, and may be somebody else"
            self._is_proven = False
            return None
        self._is_proven = True
        return b""


class ScramSha256Plus(ScramSha256):
    """SCRAM-SHA-256-PLUS: the proofs hold for this TLS connection only; whoever passes them on gains nothing by it."""

    name = "SCRAM-SHA-256-PLUS"

    def __init__(self, credentials: Credentials, chance: Chance, binding: Binding) -> None:
        super().__init__(credentials, chance, binding=binding)

    @property
    def may_do_without(self) -> bool:
        """The peer knows this binding not; without any it is as it was before there were such (RFC 5802 section 6)."""
        return self._reason == b"unsupported-channel-binding-type"


def _saslname(name: str) -> bytes:
    return name.replace("=", "=3D").replace(",", "=2C").encode()


def _attributes(message: bytes) -> dict[bytes, bytes]:
    return {piece[:1]: piece[2:] for piece in message.split(b",") if piece[1:2] == b"="}


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


def _shown(octets: bytes) -> str:
    return _UNPRINTABLE.sub(" ", octets.decode("utf-8", "backslashreplace")).strip()[:_SHOWN]


class _Bearer(Mechanism):
    """What both mechanisms for tokens share: on failure the peer says why in JSON and wants an answer to that."""

    goodbye = b""

    def __init__(self, credentials: Credentials) -> None:
        super().__init__(credentials)
        token = credentials.token or ""
        if not re.fullmatch(r"[A-Za-z0-9\-._~+/]++=*+", token):
            raise LocalProtocolError("the token is none of RFC 6750 section 2.1: only letters, digits and -._~+/=")
        if _UNPRINTABLE.search(credentials.username):
            raise LocalProtocolError("the user name holds a control character")
        self._token = token

    def respond(self, challenge: bytes) -> bytes | None:
        """The initial response once more to an empty challenge; to an error the answer that ends the exchange."""
        if not challenge:
            return self.initial
        try:
            said = json.loads(challenge)
        except ValueError:
            said = None
        words = ", ".join(f"{key} {value}" for key, value in said.items()) if isinstance(said, dict) else ""
        shown = _UNPRINTABLE.sub(" ", words) or _shown(challenge)
        self.complaint = "it said " + shown.replace(self._token, "…")[:_SHOWN]
        return self.goodbye


class OAuthBearer(_Bearer):
    """OAUTHBEARER: an access token (RFC 7628)."""

    name = "OAUTHBEARER"
    goodbye = b"\x01"  # RFC 7628 section 3.2.3

    def __init__(self, credentials: Credentials, host: str = "", port: int = 0) -> None:
        super().__init__(credentials)
        where = (f"host={host}\x01" if host else "") + (f"port={port}\x01" if port else "")
        if _UNPRINTABLE.search(host):
            raise LocalProtocolError("the host name holds a control character")
        authzid = _saslname(credentials.username)
        self.initial = b"n,a=" + authzid + b",\x01" + where.encode() + f"auth=Bearer {self._token}\x01\x01".encode()


class XOAuth2(_Bearer):
    """XOAUTH2: the same before it was a standard; the only one that some large providers know."""

    name = "XOAUTH2"

    def __init__(self, credentials: Credentials) -> None:
        super().__init__(credentials)
        self.initial = f"user={credentials.username}\x01auth=Bearer {self._token}\x01\x01".encode()


_PLUS = ScramSha256Plus.name
NAMES = (_PLUS, "SCRAM-SHA-256", "CRAM-MD5", "PLAIN", "LOGIN")
"""What we can do with a password, strongest first: what does not show it before what does, TLS or not, because TLS
without a believed certificate hides it from listeners only."""
TOKEN_NAMES = ("OAUTHBEARER", "XOAUTH2")
"""What we can do with a token, best first."""


def choose(
    offered: Iterable[str],
    credentials: Credentials,
    *,
    encrypted: bool,
    chance: Chance | None = None,
    host: str = "",
    port: int = 0,
    binding: Binding | None = None,
    without: Collection[str] = (),
) -> Mechanism | None:
    """The strongest mechanism that both sides know and that does not show the password to a listener; None for none.

    Args:
        offered: the names that the peer offers.
        credentials: who we are.
        encrypted: the connection has TLS.
        chance: for SCRAM's nonce; without it there is no SCRAM.
        host: the peer's name as the user knows it, for OAUTHBEARER; "" to leave it out.
        port: its port, likewise; 0 to leave it out.
        binding: what only this connection has; without it there is no SCRAM-SHA-256-PLUS.
        without: names that are out of the question.

    Raises:
        LocalProtocolError: the credentials cannot be said in any mechanism that the peer offers.
    """
    all_offered = {name.upper() for name in offered}
    known = all_offered - set(without)
    if credentials.mechanisms:
        known &= set(credentials.mechanisms)
    may_bind = encrypted and binding is not None and (not credentials.mechanisms or _PLUS in credentials.mechanisms)
    makers: dict[str, Callable[[], Mechanism]] = {
        "CRAM-MD5": lambda: CramMd5(credentials),
        "PLAIN": lambda: Plain(credentials),
        "LOGIN": lambda: Login(credentials),
        "OAUTHBEARER": lambda: OAuthBearer(credentials, host, port),
        "XOAUTH2": lambda: XOAuth2(credentials),
    }
    if chance is not None:
        could_bind = may_bind and _PLUS not in all_offered
        makers["SCRAM-SHA-256"] = lambda: ScramSha256(credentials, chance, could_bind=could_bind)
        if may_bind and binding is not None:
            makers[_PLUS] = lambda: ScramSha256Plus(credentials, chance, binding)
    trouble: LocalProtocolError | None = None
    for name in NAMES if credentials.token is None else TOKEN_NAMES:
        if name not in known or name not in makers:
            continue
        try:
            mechanism = makers[name]()
        except LocalProtocolError as error:
            trouble = trouble or error
            continue
        if encrypted or credentials.in_clear or not mechanism.shows_password:
            return mechanism
    if trouble is not None:
        raise trouble
    return None
