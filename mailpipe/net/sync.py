"""The blocking front end of the SMTP client: one peer, one connection at a time, many transactions.

    with SmtpConnection(Endpoint("mx.example.net"), Opening("client.example.org")) as connection:
        result = connection.transaction(Envelope.of("ann@example.org", "bob@example.net"), octets)
        result.answers[0].reply

It connects at the first transaction, introduces itself, takes up TLS and authentication as the `Opening` says, and
connects anew, once, where a connection that was used before turns out to be dead before the peer accepted MAIL.

With a `window` above 1 threads share it, each with a transaction of its own; one of them reads for all.

Never here: rules of SMTP (`mailpipe.smtp.client`), several connections, back-off: those belong to whoever holds this.
"""

import contextlib
import ssl
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType

from mailpipe.errors import ConnectionLost, LocalProtocolError, TransientFailure
from mailpipe.net.endpoint import Endpoint, Timeouts, connect_failure
from mailpipe.net.flying import Flying, words_of
from mailpipe.net.known import Lack
from mailpipe.net.session import Carrier, never_tried, peer_name, script, tls_failure
from mailpipe.net.stream import Stream
from mailpipe.net.tls import client_context, is_proof
from mailpipe.smtp.client import ClientProtocol
from mailpipe.smtp.command import Command, Greeting, Helo, Noop, Quit
from mailpipe.smtp.envelope import Envelope
from mailpipe.smtp.events import ConnectionEnded, Event, ReplyReceived, TransactionEnded, TransactionResult, Wait
from mailpipe.smtp.extension import Extensions
from mailpipe.smtp.opening import Handshake, Opening, TlsMode
from mailpipe.smtp.pipeline_batches import in_batches
from mailpipe.smtp.reply import Reply
from mailpipe.smtp.transcript import Transcript
from mailpipe.status import EnhancedStatus


class SmtpConnection(Carrier):
    """A connection that is made when it is needed.

    Attributes:
        endpoint: the peer.
        opening: how a session begins.
        timeouts: how long to wait for what.
        window: transactions in flight at most, each brought by a thread of its own.
        chunking: a window above 2 is used, by BDAT (RFC 3030).
        transaction_count: transactions on the present connection.
        last_peer: the peer of the present connection, or of the last: "mx.example.net[192.0.2.1]:25".
    """

    def __init__(
        self,
        endpoint: Endpoint,
        opening: Opening,
        timeouts: Timeouts | None = None,
        *,
        tls_verify: bool = True,
        tls_ca_file: Path | None = None,
        transcript: Transcript | None = None,
        window: int = 1,
        chunking: bool = False,
    ) -> None:
        """Nothing is connected yet.

        Args:
            endpoint: the peer.
            opening: how a session begins.
            timeouts: how long to wait for what; None for those of RFC 5321.
            tls_verify: with required and implicit TLS the certificate must be valid and name the host.
            tls_ca_file: certificates to believe instead of the system's.
            transcript: where to write down what goes over the wire, in clear.
            window: transactions in flight at most; one of them is in doubt when the connection breaks, with `chunking`
                all whose content was sent.
            chunking: send by BDAT where the peer offers it.
        """
        self.endpoint, self.opening, self.timeouts = endpoint, opening, timeouts or Timeouts()
        self.window, self.chunking = window, chunking
        self.begin_count()
        self.last_peer = str(endpoint)
        self._tls_verify, self._tls_ca_file = tls_verify, tls_ca_file
        self._transcript = transcript
        self._context: ssl.SSLContext | None = None
        self._stream: Stream | None = None
        self._protocol = ClientProtocol(opening.dialect)
        self._lock = threading.RLock()
        self._has_room = threading.Condition(self._lock)
        self._flying: deque[Flying] = deque()
        self._is_listening = False  # some thread waits at the socket, and has let go of the lock
        self._awaited: Command | None = None
        self._due = 0.0

    def __enter__(self) -> "SmtpConnection":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.quit()
        else:
            self.abort()

    @property
    def is_open(self) -> bool:
        """A session stands, as far as is known without asking."""
        return self._stream is not None

    @property
    def extensions(self) -> Extensions:
        """What the peer offers; none while there is no session."""
        return self._protocol.extensions

    @property
    def room(self) -> int:
        """How many transactions the present session can have in flight.

        Two where commands may go behind the end of data (RFC 2920), `window` where content may as well (RFC 3030).
        """
        if self._stream is None or not self.extensions.pipelining:
            return 1
        return self.window if self.chunking and self.extensions.chunking else min(self.window, 2)

    def open(self) -> Extensions:
        """Connect and introduce ourselves, unless a session stands already that may carry one more message.

        Raises:
            TransientFailure: the peer cannot be reached, does not want us, or cannot do what is required.
            ConfigError: the file of certificates cannot be used.
        """
        with self._lock:
            if self._stream is not None and (self._flying or not self._is_stale()):
                if self._flying or not self.is_used_up:
                    return self.extensions
                self.quit()
            return self._open_anew()

    def _open_anew(self) -> Extensions:
        self.abort()
        try:
            return self._open(self.planned())
        except ssl.SSLError as error:
            failure = tls_failure(self.endpoint, error)
            if self.opening.tls is not TlsMode.OPPORTUNISTIC:
                raise failure from error
            self.found_lacking(Lack.TLS)
        return self._open(replace(self.opening, tls=TlsMode.NEVER))  # in clear, as if it had never been offered

    def _open(self, plan: Opening) -> Extensions:
        try:
            self._stream = stream = Stream.connect(self.endpoint, self.timeouts.connect)
        except (OSError, UnicodeError, LocalProtocolError) as error:
            raise connect_failure(self.endpoint, error) from error
        self.begin_count()
        self.last_peer = peer_name(self.endpoint, stream.peer)
        if self._transcript is not None:
            self._transcript.connected(self.last_peer)
        try:
            if plan.tls is TlsMode.IMPLICIT:
                self._handshake(stream)
            encrypted = plan.tls is TlsMode.IMPLICIT
            self._protocol = ClientProtocol(plan.dialect, encrypted=encrypted)
            self._protocol.verified = encrypted and self._is_proven()
            self._protocol.extensions = self._run(plan, stream, encrypted)
            if not self.is_open:
                words = f"{self.last_peer}: the peer ended the session right behind its opening"
                raise TransientFailure(words, EnhancedStatus(4, 4, 2))
            self._protocol.window = self.room
        except BaseException:
            self.abort()
            raise
        return self.extensions

    def _run(self, plan: Opening, stream: Stream, encrypted: bool) -> Extensions:
        """Play the script of the session's beginning."""
        steps = script(self.endpoint, plan, self.last_peer, encrypted=encrypted, binding=stream.binding)
        reply: Reply | None = None
        try:
            step = next(steps)
            while True:
                if isinstance(step, Handshake):
                    self._handshake(stream)
                    self._protocol.tls_started(verified=self._is_proven())
                    reply = None
                else:
                    reply = self.command(step)
                    if isinstance(step, Helo) and not plan.says_helo:
                        self.found_lacking(Lack.EHLO)
                step = steps.send(reply)
        except StopIteration as done:
            extensions: Extensions = done.value
            return extensions

    def _handshake(self, stream: Stream) -> None:
        if self._context is None:
            verify = self._tls_verify and self.opening.tls is not TlsMode.OPPORTUNISTIC
            self._context = client_context(verify=verify, ca_file=self._tls_ca_file)
        try:
            stream.start_tls(self._context, self.endpoint.ascii_host, self.timeouts.handshake)
        except ssl.SSLError:
            raise
        except OSError as error:  # a peer that hangs up in the middle has failed at TLS, too
            raise ssl.SSLError(f"the peer did not go through with the handshake ({error})") from error
        if self._transcript is not None:
            self._transcript.note("TLS begins")

    def _is_proven(self) -> bool:
        return self._context is not None and is_proof(self._context)

    def transaction(self, envelope: Envelope, octets: bytes) -> TransactionResult:
        """Hand over one message to all recipients of an envelope.

        Args:
            envelope: from whom, to whom.
            octets: the message, CRLF its only line end.

        Returns:
            An answer for every recipient. Where the connection ended too early, `lost` says why, and each recipient
            whether it is in doubt; those without reply and not in doubt were certainly not served.

        Raises:
            TransientFailure: no session could be had; nothing was handed over.
            LocalProtocolError: the message holds a bare CR or LF.
        """
        with self._lock:
            one, result = self._transact(envelope, octets)
            # Nothing is lost or repeated by trying again: the peer has not even taken the reverse-path.
            if one.may_repeat and one.is_over and result.never_began:
                _, result = self._transact(envelope, octets)
            return result

    def deliver(self, envelope: Envelope, octets: bytes, *, recipients_per_transaction: int = 100) -> TransactionResult:
        """Hand over one message in as many transactions as the number of recipients asks for.

        A transaction has at most `recipients_per_transaction` recipients (RFC 5321 section 4.5.3.1.8 grants 100), fewer
        where the peer says so (RFC 9422). Whom the peer puts off as too many comes again at once, in another one.

        Args:
            envelope: from whom, to whom.
            octets: the message, CRLF its only line end.
            recipients_per_transaction: at most.

        Returns:
            The answers of all transactions, in the order of the envelope.

        Raises:
            TransientFailure: no session could be had; nothing was handed over.
            LocalProtocolError: the message holds a bare CR or LF.
        """
        self.open()
        extensions = self.extensions
        limit = min(recipients_per_transaction, extensions.rcpt_max or recipients_per_transaction)
        batches = in_batches(envelope, limit, extensions.rcpt_domain_max)
        is_first = True
        try:
            part = next(batches)
            while True:
                try:
                    result = self.transaction(part, octets)
                except TransientFailure as failure:
                    if is_first:
                        raise
                    result = never_tried(part, failure)
                is_first = False
                part = batches.send(result)
        except StopIteration as done:
            whole: TransactionResult = done.value
            return whole

    def _transact(self, envelope: Envelope, octets: bytes) -> tuple[Flying, TransactionResult]:
        """One transaction among those in flight; with the lock held, once."""
        self.open()
        while not self.takes(envelope) or (self._flying and not self._protocol.may_begin):
            if self._flying:
                self._has_room.wait()
            else:
                self.quit()
            self.open()
        one = Flying(self.last_peer, self.transaction_count > 0, threading.Condition(self._lock))
        try:
            self._introduce(envelope)
        except ConnectionLost as lost:
            one.is_over = True
            return one, never_tried(envelope, lost)
        self._protocol.begin(envelope, octets, chunking=self.chunking)
        self.note_begun(envelope)
        self._flying.append(one)
        try:
            while (result := one.result) is None:
                self._turn(one)
        except BaseException:  # an interrupt in the middle: the next command would be answered with an older reply
            self.abort()
            raise
        if self._flying and not self._is_listening:
            self._flying[0].changed.notify()  # somebody must take our place at the socket
        return one, result

    def _introduce(self, envelope: Envelope) -> None:
        """What is to be said before a transaction begins; only where the window is 1, and nothing else in flight.

        Raises:
            ConnectionLost: the session has ended over it.
        """

    def _turn(self, one: Flying) -> None:
        """Bring the session on by one step, or wait until somebody has."""
        self._advance()
        stream = self._stream
        if one.result is not None or stream is None:
            return
        if self._is_listening:
            one.changed.wait()
            return
        self._is_listening = True
        try:
            has_come = self._hear(stream)
        finally:
            self._is_listening = False
        if self._stream is not stream:  # somebody else's write has failed meanwhile
            stream.close()
        elif has_come:
            self._read(stream.read_now)
        elif stream.seconds_to(self._due) <= 0:
            self._read(partial(stream.read, self._due))
        self._advance()

    def _hear(self, stream: Stream) -> bool:
        """Wait at the socket, without the lock where others may come; whether there is something to read."""
        if self.room < 2:
            return stream.hear(self._due)
        interrupt: BaseException | None = None
        self._lock.release()
        try:
            return stream.hear(self._due)
        finally:
            while True:  # the lock is held again whatever comes
                try:
                    self._lock.acquire()
                    break
                except BaseException as error:  # noqa: BLE001 - raised below
                    interrupt = error
            if interrupt is not None:
                raise interrupt

    def _advance(self) -> None:
        """Send what is to be sent, and tell those whose transactions have ended."""
        protocol, stream = self._protocol, self._stream
        ended: list[Flying] = []
        is_over = False
        while stream is not None:
            event = protocol.next_event()
            if isinstance(event, TransactionEnded):
                one = self._flying.popleft()
                one.result = event.result.of_peer(one.peer)
                ended.append(one)
            elif isinstance(event, ConnectionEnded):
                is_over = True  # 421 and every other end of the connection stand right behind the results
                break
            elif isinstance(event, Wait) and not self._send(stream):
                break
        if is_over:
            self._drop()
        for one in ended:
            one.is_over = is_over
            one.changed.notify()
        if ended:
            self._has_room.notify_all()

    def command(self, command: Command) -> Reply:
        """Give one command that belongs to no transaction, and wait for its reply.

        Raises:
            ConnectionLost: there is no connection, or no longer; in doubt it cannot be.
            LocalProtocolError: the command is not allowed now.
        """
        if self._stream is None:
            raise ConnectionLost(f"{self.endpoint}: not connected")
        peer = self.last_peer
        if not isinstance(command, Greeting):
            self._protocol.send(command)
        while True:
            match self._next_event():
                case ReplyReceived(_, reply):
                    self._drop_if_ended()
                    return reply
                case ConnectionEnded(error):
                    where = "" if command.verb in str(error) else f" (in reply to {command.verb})"
                    raise ConnectionLost(f"{peer}: {error}{where}") from error

    def is_alive(self) -> bool:
        """Ask with NOOP whether the peer is still there."""
        if self._stream is None or self._is_stale():
            self.abort()
            return False
        try:
            return self.command(Noop()).is_positive
        except ConnectionLost:
            return False

    def quit(self) -> None:
        """Say QUIT and close; never fails and never waits long, since everything is settled by now."""
        with contextlib.suppress(ConnectionLost, LocalProtocolError):
            if self._stream is not None:
                self.command(Quit())
        self.abort()

    def abort(self) -> None:
        """Close without a word; what is in flight has ended as it stands."""
        with self._lock:
            if self._flying:
                self._protocol.connection_lost("the connection was given up")
                self._advance()
            self._drop()

    def _drop(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            if self._is_listening:
                stream.wake()  # whoever waits at the socket closes it
            else:
                stream.close()
            if self._transcript is not None:
                self._transcript.closed()
        self._protocol = ClientProtocol(self.opening.dialect)

    def _is_stale(self) -> bool:
        """A peer that hung up or spoke unasked while we were idle, which is how servers end idle connections."""
        return self._stream is None or self._stream.waiting() is not None

    def _drop_if_ended(self) -> None:
        event = self._protocol.next_event()
        if isinstance(event, ConnectionEnded):
            self._drop()

    def _next_event(self) -> Event:
        """Send what is to be sent and read until there is an event."""
        protocol, stream = self._protocol, self._stream
        assert stream is not None
        while isinstance(event := protocol.next_event(), Wait):
            if not self._send(stream):
                self._read(partial(stream.read, self._due))
        if isinstance(event, ConnectionEnded):
            self._drop()
        return event

    def _send(self, stream: Stream) -> bool:
        """Send what is to be sent, and reckon anew until when the peer may take; whether there was anything."""
        octets = self._protocol.octets_to_send()
        if octets:
            self._write(stream, octets)
        if octets or self._protocol.awaited is not self._awaited:
            self._awaited = self._protocol.awaited
            self._due = stream.deadline(self.timeouts.of(self._awaited))
        return bool(octets)

    def _write(self, stream: Stream, octets: bytes) -> None:
        try:
            stream.write(octets, self.timeouts.block)
        except OSError as error:
            self._note(octets[: len(octets) - stream.unsent], b"", words_of("sending", error))
            # The reply that explains it may be there already, such as 552 or 421 in the middle of the content.
            last_words = stream.waiting()
            if last_words:
                self._note(b"", last_words)
                self._protocol.receive_data(last_words)
            self._protocol.connection_lost(words_of("sending", error), unsent=stream.unsent)
        else:
            self._note(octets)

    def _note(self, sent: bytes, received: bytes = b"", failure: str = "") -> None:
        if self._transcript is None:
            return
        self._transcript.sent(sent)
        self._transcript.received(received)
        if failure:
            self._transcript.note(failure)

    def _read(self, read: Callable[[], bytes | None]) -> None:
        awaited = self._protocol.awaited
        try:
            octets = read()
        except OSError as error:
            verb = awaited.verb if awaited is not None else "connection"
            words = words_of(f"waiting for the reply to {verb}", error)
            self._note(b"", b"", words)
            self._protocol.connection_lost(words)
            return
        if octets is not None:
            self._note(b"", octets)
            self._protocol.receive_data(octets)
