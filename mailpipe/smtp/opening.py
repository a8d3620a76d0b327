"""The beginning of a session (RFC 5321 section 3.1 to 3.2, RFC 3207, RFC 4954) as a script without sockets.

    steps = opening(Opening(hello_name="client.example.org"), peer="mx.example.net:25")
    step = next(steps)              # a Command to send, Greeting to wait for, or HANDSHAKE to do
    step = steps.send(reply)        # its reply; None after the handshake; StopIteration at the end

Every front end runs the same script, so that none can forget to ask again after STARTTLS.

Never here: sockets, time-outs, certificates.
"""

import base64
import binascii
from collections.abc import Generator
from dataclasses import dataclass
from enum import Enum, StrEnum

from mailpipe.errors import TransientFailure
from mailpipe.smtp.command import Auth, AuthResponse, Command, Ehlo, Greeting, Helo, Lhlo, StartTls
from mailpipe.smtp.extension import Extensions
from mailpipe.smtp.reply import Reply
from mailpipe.smtp.sasl import Credentials, choose
from mailpipe.smtp.state import Dialect
from mailpipe.status import EnhancedStatus


class Handshake(Enum):
    """The step at which the front end does the TLS handshake."""

    HANDSHAKE = "handshake"


HANDSHAKE = Handshake.HANDSHAKE


class TlsMode(StrEnum):
    """When to use TLS."""

    NEVER = "never"  # not even where it is offered
    OPPORTUNISTIC = "opportunistic"  # where it is offered, whoever the certificate names; in clear where it fails
    REQUIRED = "required"  # STARTTLS, with a certificate that is checked, or no mail
    IMPLICIT = "implicit"  # TLS from the first octet, as on port 465; the certificate is checked


@dataclass(frozen=True, slots=True)
class Opening:
    """How a session is to begin.

    Attributes:
        hello_name: how we introduce ourselves.
        dialect: SMTP or LMTP.
        tls: when to use TLS.
        credentials: who we are, None to stay anonymous.
    """

    hello_name: str = "localhost"
    dialect: Dialect = Dialect.SMTP
    tls: TlsMode = TlsMode.OPPORTUNISTIC
    credentials: Credentials | None = None


Step = Command | Handshake


def opening(plan: Opening, peer: str, *, encrypted: bool = False) -> Generator[Step, Reply | None, Extensions]:
    """The steps of a session's beginning; returns the extensions that hold in the end.

    Args:
        plan: how it is to begin.
        peer: the peer's name for messages.
        encrypted: TLS is there already.

    Raises:
        TransientFailure: the peer does not want us, or cannot do what is required. Also for 5yz: a refusal of the
            connection says nothing about a message, and another attempt may meet another machine.
    """
    greeting = yield Greeting()
    if greeting is None or not greeting.is_positive:
        raise _refused(peer, "did not welcome the connection", greeting)
    extensions = yield from _hello(plan, peer)
    if not encrypted and plan.tls in (TlsMode.OPPORTUNISTIC, TlsMode.REQUIRED):
        required = plan.tls is TlsMode.REQUIRED
        if extensions.starttls:
            reply = yield StartTls()
            if reply is not None and reply.code == 220:
                yield HANDSHAKE
                encrypted = True
                extensions = yield from _hello(plan, peer)
            elif required:
                raise _refused(peer, "offers STARTTLS and then refused it", reply, EnhancedStatus(4, 7, 4))
        elif required:
            words = f"{peer} does not offer STARTTLS, which tls = \"required\" asks for"
            raise TransientFailure(words, EnhancedStatus(4, 7, 4))
    if plan.credentials is not None:
        yield from _authenticate(plan.credentials, peer, extensions, encrypted)
    return extensions


def _hello(plan: Opening, peer: str) -> Generator[Step, Reply | None, Extensions]:
    if plan.dialect is Dialect.LMTP:
        reply = yield Lhlo(plan.hello_name)
        if reply is not None and reply.is_positive:
            return Extensions.parse(reply)
        raise _refused(peer, "refused LHLO (does it speak LMTP?)", reply)
    reply = yield Ehlo(plan.hello_name)
    if reply is not None and reply.is_positive:
        return Extensions.parse(reply)
    if reply is not None and reply.is_permanent:
        reply = yield Helo(plan.hello_name)
        if reply is not None and reply.is_positive:
            return Extensions("".join(reply.text.split()[:1]))
    raise _refused(peer, "did not take our EHLO", reply)


def _authenticate(
    credentials: Credentials, peer: str, extensions: Extensions, encrypted: bool
) -> Generator[Step, Reply | None, None]:
    mechanism = choose(extensions.auth, credentials, encrypted=encrypted)
    if mechanism is None:
        offered = ", ".join(extensions.auth) or "none"
        remedy = "" if encrypted else "; over a connection without TLS a password is not sent, set tls = \"required\""
        words = f"{peer} offers no mechanism for authentication that we can use (offered: {offered}){remedy}"
        raise TransientFailure(words, EnhancedStatus(4, 7, 4))
    reply = yield Auth(mechanism.name, mechanism.initial)
    while reply is not None and reply.code == 334:
        try:
            response = mechanism.respond(base64.b64decode(reply.text, validate=True))
        except binascii.Error:
            response = None
        # QUIRK: some servers ask for LOGIN in plain words instead of base64
        if response is None and mechanism.name == "LOGIN":
            response = mechanism.respond(b"")
        reply = yield AuthResponse(response)
    if reply is None or not reply.is_positive:
        user = credentials.username
        raise _refused(peer, f"did not accept user {user!r} and password", reply, EnhancedStatus(4, 7, 8))


def _refused(peer: str, what: str, reply: Reply | None, status: EnhancedStatus | None = None) -> TransientFailure:
    if status is None:
        given = reply.enhanced_status if reply is not None else EnhancedStatus(4, 3, 2)
        plain = given.subject == 0 and given.detail == 0
        status = EnhancedStatus(4, 3, 2) if plain else EnhancedStatus(4, given.subject, given.detail)
    return TransientFailure(f"{peer} {what}: {reply}", status)
