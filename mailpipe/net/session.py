"""What both front ends of the SMTP client do alike around a session: its script, its peer's name, a failure of TLS.

    steps = script(endpoint, plan, peer, encrypted=False)      # what to send, wait for, or shake hands on
    peer = peer_name(endpoint, "192.0.2.1:25")                 # "mx.example.net[192.0.2.1]:25"

Never here: sockets and waiting; each front end has its own.
"""

import secrets
import ssl
from collections.abc import Callable, Generator
from dataclasses import replace

from mailpipe.errors import ConnectionLost, TransientFailure
from mailpipe.net.endpoint import Endpoint
from mailpipe.net.known import Lack
from mailpipe.smtp.envelope import Envelope
from mailpipe.smtp.events import RecipientAnswer, TransactionResult
from mailpipe.smtp.extension import Extensions
from mailpipe.smtp.opening import Opening, Step, TlsMode, opening
from mailpipe.smtp.pipeline_batches import domains_of, exceeds
from mailpipe.smtp.reply import Reply
from mailpipe.smtp.sasl import Binding
from mailpipe.status import EnhancedStatus


class Carrier:
    """What a session has carried so far, against what its peer allows (RFC 9422), and how the next is to begin.

    Attributes:
        endpoint: the peer.
        opening: how a session begins.
        transaction_count: transactions on the present connection.
    """

    endpoint: Endpoint
    opening: Opening
    transaction_count: int
    _domains: set[str]

    def planned(self) -> Opening:
        """How the next session is to begin."""
        return plan_for(self.endpoint, self.opening)

    def found_lacking(self, lack: Lack) -> None:
        """The peer cannot do something that can be done without; whoever remembers it says so in `planned`."""

    def begin_count(self) -> None:
        """A session begins that has carried nothing."""
        self.transaction_count, self._domains = 0, set()

    @property
    def extensions(self) -> Extensions:
        """What the peer offers; none while there is no session."""
        raise NotImplementedError

    @property
    def is_used_up(self) -> bool:
        """The session has carried as many transactions as the peer allows (MAILMAX, RFC 9422 section 4.1)."""
        most = self.extensions.mail_max
        return most is not None and self.transaction_count >= most

    def takes(self, envelope: Envelope) -> bool:
        """Whether the session may carry one more transaction, to these recipients (RFC 9422)."""
        return not exceeds(self.extensions, self.transaction_count, self._domains, envelope)

    def note_begun(self, envelope: Envelope) -> None:
        """One more transaction of this session."""
        self.transaction_count += 1
        if self.extensions.rcpt_domain_max is not None:
            self._domains |= domains_of(envelope)


def plan_for(endpoint: Endpoint, plan: Opening) -> Opening:
    """How a session with this peer is to begin."""
    if endpoint.unix_path is not None and plan.tls is TlsMode.OPPORTUNISTIC:
        return replace(plan, tls=TlsMode.NEVER)  # nobody listens inside one machine, and a path has no certificate
    return plan


def script(
    endpoint: Endpoint,
    plan: Opening,
    peer: str,
    *,
    encrypted: bool,
    binding: Callable[[], Binding | None] | None = None,
) -> Generator[Step, Reply | None, Extensions]:
    """The steps of the session's beginning, see `mailpipe.smtp.opening`."""
    host = "" if endpoint.unix_path is not None else endpoint.host
    return opening(
        plan, peer, encrypted=encrypted, chance=secrets.token_bytes, host=host, port=endpoint.port if host else 0,
        binding=binding,
    )  # fmt: skip


def peer_name(endpoint: Endpoint, connected: str) -> str:
    """The peer for messages: by its name, and by its address where that says more.

    Args:
        endpoint: who was to be connected.
        connected: "address:port" of the connection.
    """
    address, _, port = connected.rpartition(":")
    named = endpoint.unix_path is not None or address == endpoint.host
    return str(endpoint) if named else f"{endpoint.host}[{address}]:{port}"


def tls_failure(endpoint: Endpoint, error: ssl.SSLError) -> TransientFailure:
    """What to say of a handshake that failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        remedy = "set host to a name in its certificate, or tls_ca_file to whom signed it"
        words = f"{endpoint}: the certificate is not believed ({error.verify_message}); {remedy}"
    else:
        why = getattr(error, "reason", None) or error  # an error that we raised ourselves has none
        words = f"{endpoint}: the TLS handshake failed ({why}); does the port speak TLS so?"
    return TransientFailure(words, EnhancedStatus(4, 7, 5))


def never_tried(envelope: Envelope, failure: TransientFailure) -> TransactionResult:
    """The result of a transaction for which no session could be had."""
    answers = tuple(RecipientAnswer(path, None) for path in envelope.forward_paths)
    return TransactionResult(envelope, answers, ConnectionLost(failure.diagnostic, failure.status))
