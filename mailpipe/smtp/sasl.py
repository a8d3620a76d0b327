"""Authentication mechanisms (RFC 4422): PLAIN (RFC 4616), LOGIN, CRAM-MD5 (RFC 2195).

    mechanism = choose(extensions.auth, Credentials("ann", "secret"), encrypted=True)
    mechanism.initial, mechanism.respond(challenge)

Never here: base64, which is the affair of the command, and when to authenticate, which is that of `opening`.
"""

import hmac
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from mailpipe.errors import LocalProtocolError


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who we are to the peer.

    Attributes:
        username: the authentication identity.
        password: never shown.
        in_clear: may be sent over a connection without TLS by a mechanism that shows the password. Only for a peer
            on the same machine or inside a tunnel.
    """

    username: str
    password: str = field(repr=False)
    in_clear: bool = False


class Mechanism:
    """One exchange: an initial response, then an answer to each challenge.

    Attributes:
        name: as in the AUTH command.
        shows_password: whoever reads the connection learns the password.
        initial: the initial response, None where the peer speaks first.
    """

    name = ""
    shows_password = True

    def __init__(self, credentials: Credentials) -> None:
        self.credentials = credentials
        self.initial: bytes | None = None

    def respond(self, challenge: bytes) -> bytes | None:
        """The answer to a challenge; None cancels the exchange, because it makes no sense."""
        return None


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


# Under TLS the simple ones come first: they work everywhere and leave the peer free to store digests.
_PREFERRED: tuple[Callable[[Credentials], Mechanism], ...] = (Plain, Login, CramMd5)
NAMES = ("PLAIN", "LOGIN", "CRAM-MD5")
"""What we can do, best first."""


def choose(offered: Iterable[str], credentials: Credentials, *, encrypted: bool) -> Mechanism | None:
    """The best mechanism that both sides know and that does not show the password to a listener; None for none.

    Raises:
        LocalProtocolError: the credentials cannot be said.
    """
    known = {name.upper() for name in offered}
    for name, make in zip(NAMES, _PREFERRED, strict=True):
        if name in known:
            mechanism = make(credentials)
            if encrypted or credentials.in_clear or not mechanism.shows_password:
                return mechanism
    return None
