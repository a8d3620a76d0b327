"""One mail to one of several servers that stand in for each other: each recipient's fate, exactly (RFC 5321 section 5).

    handover = Handover(pool, Timeouts(), recipients_per_transaction=100)
    handed = handover.to(targets, mail, mail.envelope.forward_paths)
    handed.receipts, handed.failure

Whom a server puts off, the next is asked for; whom it took, refused or left in doubt, never again.

Never here: which servers those are; options.
"""

import ssl
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from mailpipe.errors import ComposeError, ConnectionLost, MailpipeError, TransientFailure
from mailpipe.net.endpoint import Endpoint, Timeouts
from mailpipe.net.known import KnownPeers, Lack
from mailpipe.net.pool import ConnectionPool
from mailpipe.net.sync import SmtpConnection
from mailpipe.net.trace import TraceFile
from mailpipe.pipeline.mail import Mail
from mailpipe.pipeline.outcome import Fate, RecipientReceipt
from mailpipe.smtp.attribute import client_attributes, in_commands
from mailpipe.smtp.command import Xforward
from mailpipe.smtp.demand import ENCRYPTION_NEEDED, REQUIRETLS_NEEDED, in_fields
from mailpipe.smtp.envelope import Client, Envelope, ForwardPath
from mailpipe.smtp.events import RecipientAnswer, TransactionResult
from mailpipe.smtp.extension import Extensions
from mailpipe.smtp.opening import Opening
from mailpipe.status import EnhancedStatus
from mailpipe.writer import WritePolicy, write

NOT_SENT = "not sent to "
_FOR_LOGS_ONLY = ("IDENT", "SOURCE")  # XFORWARD knows them, XCLIENT does not
MAX_DIAGNOSTIC = 1000
"""LIMIT: characters of one recipient's diagnostic."""
_TRIES = 5
"""LIMIT: connections that a server may refuse to one mail while it keeps others."""
_NO_TLS = (REQUIRETLS_NEEDED, ENCRYPTION_NEEDED)


class _EnoughConnections(Exception):
    """A server wants no further connection and keeps those that there are."""

    def __init__(self, failure: TransientFailure) -> None:
        self.failure = failure
        super().__init__(str(failure))


class TlsWatcher:
    """Told how sessions begin; the base does nothing with it."""

    def opened(self, *, encrypted: bool) -> None:
        """A session stands."""

    def answered(self) -> None:
        """A transaction took place, whatever its answers."""

    def failed(self, failure: TransientFailure) -> None:
        """A session did not come about."""


@dataclass(frozen=True, slots=True)
class Target:
    """One server, and how to begin a session with it.

    Attributes:
        endpoint: where it is.
        plan: how the session begins.
        verify: with required and implicit TLS the certificate must be valid and name the host.
        ca_file: certificates to believe instead of the system's.
        context: a TLS context of its own, None for the one that `verify` and `ca_file` ask for.
        tag: tells ways of using TLS at one server apart, so that they do not share connections.
        watcher: is told how sessions begin.
        forward_client: how the server is told where each mail came from: "never", "xforward" or "xclient".
    """

    endpoint: Endpoint
    plan: Opening
    verify: bool = True
    ca_file: Path | None = None
    context: ssl.SSLContext | None = None
    tag: str = ""
    watcher: TlsWatcher = TlsWatcher()  # noqa: RUF009 - it has no state
    forward_client: str = "never"

    @property
    def key(self) -> str:
        """What connections and back-off are kept by."""
        return f"{self.endpoint} {self.tag}".rstrip()


class _TargetConnection(SmtpConnection):
    """A connection that tells how its sessions begin, and may have a TLS context of its own."""

    def __init__(
        self, target: Target, timeouts: Timeouts, trace: TraceFile | None, window: int, known: KnownPeers
    ) -> None:
        super().__init__(
            target.endpoint, target.plan, timeouts, tls_verify=target.verify, tls_ca_file=target.ca_file,
            transcript=None if trace is None else trace.transcript(),
            # Without BDAT the next mail's commands go behind the end of data, which leaves no more in doubt; XFORWARD
            # and XCLIENT must not stand between those of another mail.
            window=1 if target.forward_client != "never" else max(2, window), chunking=window > 1,
        )  # fmt: skip
        if target.context is not None:
            self._context = target.context
        self._watcher, self._forward_client, self._known = target.watcher, target.forward_client, known

    def planned(self) -> Opening:
        """How the next session is to begin, without what the peer was found to lack not long ago."""
        return self._known.adjusted(self.endpoint, super().planned())

    def found_lacking(self, lack: Lack) -> None:
        """Remember it for the other connections too."""
        self._known.note(self.endpoint, lack)

    def _open(self, plan: Opening) -> Extensions:
        extensions = super()._open(plan)
        self._watcher.opened(encrypted=self._protocol.encrypted)
        return extensions

    def speak_for(self, client: Client | None) -> None:
        """Have a session in the name of a mail's client, where XCLIENT is wanted; an unknown one has no name at all.

        It is part of the opening, so that no session that has to be made anew is trusted as if it were our own.
        """
        if self._forward_client != "xclient":
            return
        told = tuple(pair for pair in client_attributes(client or Client()) if pair[0] not in _FOR_LOGS_ONLY)
        if told != self.opening.xclient:
            self.quit()
            self.opening = replace(self.opening, xclient=told)

    def _introduce(self, envelope: Envelope) -> None:
        """Say where the next mail came from; the peer forgets it after each transaction, and a refusal is no matter."""
        if self._forward_client != "xforward" or envelope.client is None:
            return
        for attributes in in_commands(client_attributes(envelope.client), self.extensions.xforward, "XFORWARD"):
            self.command(Xforward(attributes))
            if not self.is_open:
                raise ConnectionLost(f"{self.last_peer}: the peer ended the session at XFORWARD")


@dataclass(frozen=True, slots=True)
class Handed:
    """What became of a mail's recipients.

    Attributes:
        receipts: one for each forward-path, in order.
        failure: why nothing was handed over to anybody, None where a server was spoken to.
        reference: the first positive reply.
    """

    receipts: tuple[RecipientReceipt, ...]
    failure: TransientFailure | None = None
    reference: str = ""


class Handover:
    """Hands mails over; may be used by several threads."""

    def __init__(
        self,
        pool: ConnectionPool,
        timeouts: Timeouts,
        *,
        recipients_per_transaction: int,
        trace: TraceFile | None = None,
        window: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is connected.

        Args:
            pool: lends the connections.
            timeouts: how long to wait for what.
            recipients_per_transaction: at most.
            trace: where to write down what goes over the wire.
            window: mails in flight on one connection by BDAT; 1 is for none by BDAT.
        """
        self._pool, self._timeouts, self._recipients = pool, timeouts, recipients_per_transaction
        self._trace, self._window = trace, window
        self._writing = threading.Lock()
        self._known = KnownPeers(clock)

    def to(
        self,
        targets: Iterable[Target | TransientFailure],
        mail: Mail,
        paths: Sequence[ForwardPath],
        *,
        most_sessions: int | None = None,
    ) -> Handed:
        """Hand a mail over for some of its recipients.

        Args:
            targets: the servers, in the order in which to ask them; taken one by one, as they are needed. A failure
                stands for a server that may not be asked.
            mail: the mail.
            paths: the recipients.
            most_sessions: servers that may put it off before it is deferred; None for all.

        Returns:
            DELIVERED where a server took the mail, FAILED for a 5yz, DEFERRED for 4yz everywhere and for connections
            that broke before the end of data, IN_DOUBT where one broke after that and before the reply.
        """
        entries: dict[int, RecipientReceipt] = {}
        pending = list(range(len(paths)))
        failure: TransientFailure | None = None
        reference, sessions = "", 0
        for target in targets:
            if isinstance(target, TransientFailure):
                failure = failure or target
                continue
            stands_in = failure is not None or sessions > 0
            if len(pending) < len(paths) or paths != mail.envelope.forward_paths:
                mail = mail.with_envelope(mail.envelope.with_forward_paths(*(paths[place] for place in pending)))
            try:
                result, peer, offers = self._one(target, mail)
            except TransientFailure as error:
                failure = failure or error
                continue
            if isinstance(result, ComposeError):
                # For good where it is the first server; one that only stands in for another decides nothing.
                for place in pending:
                    if stands_in:
                        entries.setdefault(place, _of_error(paths[place], result, Fate.DEFERRED))
                    else:
                        entries[place] = _of_error(paths[place], result, Fate.FAILED)
                if not stands_in:
                    break
                continue
            sessions += 1
            for place, answer in zip(pending, result.answers, strict=True):
                entries[place] = _entry(answer, result, peer, stands_in=stands_in, offers=offers)
                if answer.is_accepted and not reference:
                    reference = str(answer.reply)
            pending = [place for place in pending if entries[place].fate is Fate.DEFERRED or _lacks_tls(entries[place])]
            if not pending or sessions == most_sessions:
                break
        if failure is None and len(entries) < len(paths):
            failure = TransientFailure("no server is left to ask; it is tried again later", EnhancedStatus(4, 4, 4))
        if failure is not None:  # who cannot be asked now may offer what those who were asked do not
            for place, entry in entries.items():
                if _lacks_tls(entry):
                    status = replace(entry.status, status_class=4)
                    entries[place] = replace(entry, fate=Fate.DEFERRED, status=status)
        receipts = tuple(
            entries[place] if place in entries else deferred(path, failure) for place, path in enumerate(paths)
        )
        return Handed(receipts, None if entries else failure, reference)

    def _one(self, target: Target, mail: Mail) -> tuple[TransactionResult | ComposeError, str, Extensions]:
        """A transaction with one server, or why the mail cannot be said to it; its name; what it offers.

        Raises:
            TransientFailure: nothing was handed over.
        """
        for _ in range(_TRIES):
            try:
                return self._try(target, mail)
            except _EnoughConnections as refused:
                failure = refused.failure
        raise failure

    def _try(self, target: Target, mail: Mail) -> tuple[TransactionResult | ComposeError, str, Extensions]:
        """The same once.

        Raises:
            TransientFailure: nothing was handed over.
            _EnoughConnections: nor was it, but there are other connections to wait for.
        """
        key = target.key
        make = partial(_TargetConnection, target, self._timeouts, self._trace, self._window, self._known)
        with self._pool.lease(key, make) as connection:
            result: TransactionResult | ComposeError
            offers = Extensions()
            try:
                result, offers = self._converse(connection, mail)
            except TransientFailure as failure:
                target.watcher.failed(failure)
                if self._pool.note_down(key, failure):
                    raise
                raise _EnoughConnections(failure) from failure
            except ComposeError as error:  # before a word of the transaction; the session goes on
                result = error
            target.watcher.answered()
            peer = connection.last_peer
            if isinstance(result, ComposeError) or result.lost is None:
                self._pool.note_up(key)
            else:
                lost = TransientFailure(result.lost.diagnostic, result.lost.status)
                self._pool.note_lost(key, lost, connection)
        return result, peer, offers

    def _converse(self, connection: SmtpConnection, mail: Mail) -> tuple[TransactionResult, Extensions]:
        assert isinstance(connection, _TargetConnection)
        connection.speak_for(mail.envelope.client)
        while True:
            extensions = connection.open()
            policy = _policy(extensions, mail)
            with self._writing:  # a message makes its parts at the first touch
                octets = write(mail.message, policy)
            try:
                result = connection.deliver(mail.envelope, octets, recipients_per_transaction=self._recipients)
            except MailpipeError:
                raise
            except Exception as error:  # noqa: BLE001 - a fault of ours, and nobody knows how far it came
                connection.abort()
                return _broken_off(mail.envelope, error), extensions
            refused_by_us = all(not answer.command and answer.reply is not None for answer in result.answers)
            # A connection that had to be made anew may have found another server behind the name.
            if not (refused_by_us and connection.is_open and _policy(connection.extensions, mail) != policy):
                return result, extensions


def _broken_off(envelope: Envelope, error: Exception) -> TransactionResult:
    """The result of a transaction in the middle of which our own code failed."""
    words = " ".join(f"mailpipe failed in the middle of the transaction: {type(error).__name__}: {error}".split())
    answers = tuple(RecipientAnswer(path, None, in_doubt=True) for path in envelope.forward_paths)
    return TransactionResult(envelope, answers, ConnectionLost(words, EnhancedStatus(4, 3, 0), in_doubt=True))


def deferred(path: ForwardPath, failure: TransientFailure | None) -> RecipientReceipt:
    """The receipt of a recipient for whom nobody could be asked."""
    words = failure.diagnostic if failure is not None else ""
    status = failure.status if failure is not None else EnhancedStatus(4, 4, 0)
    return RecipientReceipt(path, Fate.DEFERRED, status, words[:MAX_DIAGNOSTIC])


def _policy(extensions: Extensions, mail: Mail) -> WritePolicy:
    """What the peer can take.

    A mail that is declared to need SMTPUTF8 is written in ASCII for a peer without it (RFC 6531 section 3.2); the raw
    8-bit header of an undeclared one is passed on as it always was.

    Content without lines is not sent even where BINARYMIME would allow it: the writer gives CRLF to every line, and the
    next hop but one may not take it.
    """
    must_be_ascii = not extensions.eightbitmime or (mail.envelope.parameters.smtputf8 and not extensions.smtputf8)
    return WritePolicy(b"\r\n", "7bit" if must_be_ascii else "8bit", extensions.smtputf8)


def _lacks_tls(entry: RecipientReceipt) -> bool:
    """Whether a server was passed over because it does not do what REQUIRETLS asks (RFC 8689 section 4.2)."""
    return entry.fate is Fate.FAILED and entry.status in _NO_TLS and entry.diagnostic.startswith(NOT_SENT)


def _of_error(path: ForwardPath, error: ComposeError, fate: Fate) -> RecipientReceipt:
    status = error.status if fate is Fate.FAILED else replace(error.status, status_class=4)
    return RecipientReceipt(path, fate, status, str(error)[:MAX_DIAGNOSTIC])


def _entry(
    answer: RecipientAnswer, result: TransactionResult, peer: str, *, stands_in: bool = False,
    offers: Extensions | None = None,
) -> RecipientReceipt:  # fmt: skip
    """One recipient's receipt.

    Args:
        answer: of the peer, or our own.
        result: the transaction that it belongs to.
        peer: who was spoken to.
        stands_in: another server is the better one; that this one could not take the mail is no reason to give up.
        offers: what the peer offers.
    """
    reply = answer.reply
    if reply is None:
        lost = result.lost
        words = lost.diagnostic if lost is not None else "the connection ended before the reply came"
        fate = Fate.IN_DOUBT if answer.in_doubt else Fate.DEFERRED
        return RecipientReceipt(answer.path, fate, lost.status if lost is not None else EnhancedStatus(4, 4, 2), words)
    status = reply.enhanced_status
    if answer.is_accepted:
        fate = Fate.DELIVERED
    elif answer.is_permanent and (answer.command or not stands_in or status in _NO_TLS):
        fate = Fate.FAILED
    else:
        fate = Fate.DEFERRED
        status = replace(status, status_class=4)
    if not answer.command:
        return RecipientReceipt(answer.path, fate, status, f"{NOT_SENT}{peer}: {reply.text}"[:MAX_DIAGNOSTIC])
    words = f"{peer} said: {reply} (in reply to {answer.command})"
    handover = "reporting" if offers is not None and answer.is_accepted and _reports(answer, result, offers) else ""
    return RecipientReceipt(answer.path, fate, status, words[:MAX_DIAGNOSTIC], handover)


def _reports(answer: RecipientAnswer, result: TransactionResult, offers: Extensions) -> bool:
    """Whether the peer was told what the sender wants to know, and tells it (RFC 3461 section 5.2.3, RFC 2852)."""
    notify, has_time = answer.path.notify, in_fields(result.envelope.parameters).by_time is not None
    if (notify and not offers.dsn) or (has_time and offers.deliver_by is None):
        return False
    return bool(notify) or has_time
