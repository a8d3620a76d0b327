"""The beginning of a session (RFC 5321 section 3.1 to 3.2, RFC 3207, RFC 4954) as a script without sockets.

    steps = opening(Opening(hello_name="client.example.org"), peer="mx.example.net:25")
    step = next(steps)              # a Command to send, Greeting to wait for, or HANDSHAKE to do
    step = steps.send(reply)        # its reply; None after the handshake; StopIteration at the end

Every front end runs the same script, so that none can forget to ask again after STARTTLS and XCLIENT.

Never here: sockets, time-outs, certificates.
"""

import base64
import binascii
from collections.abc import Callable, Collection, Generator
from dataclasses import dataclass
from enum import Enum, StrEnum

from mailpipe.errors import TransientFailure
from mailpipe.smtp.attribute import in_commands
from mailpipe.smtp.command import (
    Auth,
    AuthResponse,
    Command,
    Ehlo,
    Greeting,
    Helo,
    Lhlo,
    StartTls,
    Xclient,
    Xforward,
)
from mailpipe.smtp.envelope import Parameters
from mailpipe.smtp.extension import Extensions
from mailpipe.smtp.reply import Reply
from mailpipe.smtp.sasl import Binding, Chance, Credentials, Mechanism, ScramSha256Plus, choose
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
        xclient: whom we speak for, as attributes of XCLIENT; the peer must take it, or there is no session: it would
            trust the mail as if it were ours.
        xforward: what the peer is to log about the first message, as attributes of XFORWARD; where it does not take
            them, it goes without. Postfix forgets them after each transaction.
        says_helo: the peer is known not to know EHLO (RFC 5321 section 4.1.1.1): it is not asked.
    """

    hello_name: str = "localhost"
    dialect: Dialect = Dialect.SMTP
    tls: TlsMode = TlsMode.OPPORTUNISTIC
    credentials: Credentials | None = None
    xclient: Parameters = ()
    xforward: Parameters = ()
    says_helo: bool = False


Step = Command | Handshake


def opening(
    plan: Opening,
    peer: str,
    *,
    encrypted: bool = False,
    chance: Chance | None = None,
    host: str = "",
    port: int = 0,
    binding: Callable[[], Binding | None] | None = None,
) -> Generator[Step, Reply | None, Extensions]:
    """The steps of a session's beginning; returns the extensions that hold in the end.

    Args:
        plan: how it is to begin.
        peer: the peer's name for messages.
        encrypted: TLS is there already.
        chance: gives so many octets of chance, for SCRAM; without it SCRAM is not used.
        host: the peer's name as the user knows it, for OAUTHBEARER.
        port: its TCP port, likewise.
        binding: asked after the handshake for what only this connection has, for SCRAM-SHA-256-PLUS.

    Raises:
        TransientFailure: the peer does not want us, or cannot do what is required. Also for 5yz: a refusal of the
            connection says nothing about a message, and another attempt may meet another machine.
        LocalProtocolError: the credentials or an attribute cannot be said.
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
    if plan.xclient:
        extensions = yield from _speak_for(plan, peer, extensions)
    if plan.xforward:
        for attributes in in_commands(plan.xforward, extensions.xforward, "XFORWARD"):
            yield Xforward(attributes)  # only for the peer's log; a refusal changes nothing for the mail
    if plan.credentials is not None:
        bound = binding() if binding is not None and encrypted else None

        def pick(without: Collection[str]) -> Mechanism | None:
            assert plan.credentials is not None
            return choose(extensions.auth, plan.credentials, encrypted=encrypted, chance=chance, host=host, port=port,
                          binding=bound, without=without)  # fmt: skip

        yield from _authenticate(plan.credentials, peer, extensions, encrypted, pick)
    return extensions


def _speak_for(plan: Opening, peer: str, extensions: Extensions) -> Generator[Step, Reply | None, Extensions]:
    """XCLIENT, behind which the peer is as it was at its greeting."""
    commands = in_commands(plan.xclient, extensions.xclient, "XCLIENT")
    if not commands:
        listed = " ".join(extensions.xclient) or "none"
        remedy = "it must trust this host (Postfix: smtpd_authorized_xclient_hosts)"
        words = f"{peer} takes none of the attributes that XCLIENT is to say (it lists: {listed}); {remedy}"
        raise TransientFailure(words, EnhancedStatus(4, 3, 3))
    for attributes in commands:
        reply = yield Xclient(attributes)
        if reply is None or not reply.is_positive:
            raise _refused(peer, "did not take XCLIENT", reply)
    return (yield from _hello(plan, peer))


def _hello(plan: Opening, peer: str) -> Generator[Step, Reply | None, Extensions]:
    if plan.dialect is Dialect.LMTP:
        reply = yield Lhlo(plan.hello_name)
        if reply is not None and reply.is_positive:
            return Extensions.parse(reply)
        raise _refused(peer, "refused LHLO (does it speak LMTP?)", reply)
    reply = None
    if not plan.says_helo:
        reply = yield Ehlo(plan.hello_name)
        if reply is not None and reply.is_positive:
            return Extensions.parse(reply)
    if plan.says_helo or (reply is not None and reply.is_permanent):
        reply = yield Helo(plan.hello_name)
        if reply is not None and reply.is_positive:
            return Extensions("".join(reply.text.split()[:1]))
    raise _refused(peer, "did not take our EHLO", reply)


_MAX_COMMAND = 512  # octets of an ordinary command line (RFC 5321 section 4.5.3.1.4)
_ANOTHER_MAY_DO = (432, 504, 534)
"""To the AUTH command itself: not with this mechanism (RFC 4954 section 6)."""


def _authenticate(
    credentials: Credentials,
    peer: str,
    extensions: Extensions,
    encrypted: bool,
    pick: Callable[[Collection[str]], Mechanism | None],
) -> Generator[Step, Reply | None, None]:
    secret = "password" if credentials.token is None else "token"
    tried: set[str] = set()
    refusal: Reply | None = None
    while (mechanism := pick(tried)) is not None:
        reply = yield _auth(mechanism)
        is_refused_at_once = reply is not None and reply.code in _ANOTHER_MAY_DO
        while reply is not None and reply.code == 334:
            reply = yield AuthResponse(_response(mechanism, reply))
        if reply is not None and reply.is_positive:
            if not mechanism.is_proven:
                words = mechanism.complaint or f"it did not prove that it knows the {secret}"
                raise TransientFailure(f"{peer} accepted user {credentials.username!r}, but {words}",
                                       EnhancedStatus(4, 7, 0))  # fmt: skip
            return
        if not is_refused_at_once and not mechanism.may_do_without:
            # Never a weaker one behind an exchange that failed: whoever is in the middle would like that.
            why = f" ({mechanism.complaint})" if mechanism.complaint else ""
            what = f"did not accept user {credentials.username!r} and {secret}{why}"
            if mechanism.name == ScramSha256Plus.name:
                remedy = "where its TLS ends at another machine, name auth_mechanisms without it"
                what += f" by {mechanism.name} ({remedy})"
            raise _refused(peer, what, reply, EnhancedStatus(4, 7, 8))
        tried.add(mechanism.name)
        refusal = reply
    if refusal is not None:
        raise _refused(peer, f"did not accept {', '.join(sorted(tried))}", refusal, EnhancedStatus(4, 7, 4))
    offered = ", ".join(extensions.auth) or "none"
    remedy = "" if encrypted else f"; over a connection without TLS a {secret} is not sent, set tls = \"required\""
    words = f"{peer} offers no mechanism for authentication that we can use (offered: {offered}){remedy}"
    raise TransientFailure(words, EnhancedStatus(4, 7, 4))


def _auth(mechanism: Mechanism) -> Auth:
    """The AUTH command; an initial response too long for it is kept for an empty challenge (RFC 4954 section 4)."""
    whole = Auth(mechanism.name, mechanism.initial)
    return whole if len(whole.octets) <= _MAX_COMMAND else Auth(mechanism.name)


def _response(mechanism: Mechanism, reply: Reply) -> bytes | None:
    try:
        response = mechanism.respond(base64.b64decode(reply.text, validate=True))
    except binascii.Error:
        response = None
    # QUIRK: some servers ask for LOGIN in plain words instead of base64
    if response is None and mechanism.name == "LOGIN":
        response = mechanism.respond(b"")
    return response


def _refused(peer: str, what: str, reply: Reply | None, status: EnhancedStatus | None = None) -> TransientFailure:
    if status is None:
        given = reply.enhanced_status if reply is not None else EnhancedStatus(4, 3, 2)
        plain = given.subject == 0 and given.detail == 0
        status = EnhancedStatus(4, 3, 2) if plain else EnhancedStatus(4, given.subject, given.detail)
    return TransientFailure(f"{peer} {what}: {reply}", status)
