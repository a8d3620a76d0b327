"""The asyncio front end of the SMTP client: one peer, one connection, many transactions, several of them in flight.

    async with AsyncSmtpConnection(Endpoint("mx.example.net"), Opening("client.example.org")) as connection:
        result = await connection.transaction(Envelope.of("ann@example.org", "bob@example.net"), octets)
        async for result in connection.stream(pairs, window=8): …

It plays the same script as `mailpipe.net.sync` and comes to the same results; it runs under uvloop unchanged. One task
uses a connection at a time.

Never here: rules of SMTP (`mailpipe.smtp.client`), several connections, back-off: those belong to whoever holds this.
"""

import contextlib
import ssl
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from mailpipe.errors import ConnectionLost, LocalProtocolError, TransientFailure
from mailpipe.net.aio_link import Link
from mailpipe.net.aio_stream import Pairs, in_flight
from mailpipe.net.endpoint import Endpoint, Timeouts, connect_failure
from mailpipe.net.known import Lack
from mailpipe.net.session import Carrier, never_tried, peer_name, script, tls_failure
from mailpipe.net.tls import client_context, is_proof
from mailpipe.smtp.command import Command, Greeting, Helo, Noop, Quit
from mailpipe.smtp.envelope import Envelope
from mailpipe.smtp.events import ConnectionEnded, ReplyReceived, TransactionEnded, TransactionResult
from mailpipe.smtp.extension import Extensions
from mailpipe.smtp.opening import Handshake, Opening, TlsMode
from mailpipe.smtp.pipeline_batches import in_batches
from mailpipe.smtp.reply import Reply
from mailpipe.smtp.transcript import Transcript


class AsyncSmtpConnection(Carrier):
    """A connection that is made when it is needed.

    Attributes:
        endpoint: the peer.
        opening: how a session begins.
        timeouts: how long to wait for what.
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
        tls_context: ssl.SSLContext | None = None,
        transcript: Transcript | None = None,
    ) -> None:
        """Nothing is connected yet.

        Args:
            endpoint: the peer.
            opening: how a session begins.
            timeouts: how long to wait for what; None for those of RFC 5321.
            tls_verify: with required and implicit TLS the certificate must be valid and name the host.
            tls_ca_file: certificates to believe instead of the system's.
            tls_context: a context made already, in place of the two before.
            transcript: where to write down what goes over the wire, in clear.
        """
        self.endpoint, self.opening, self.timeouts = endpoint, opening, timeouts or Timeouts()
        self.begin_count()
        self.last_peer = str(endpoint)
        self._tls_verify, self._tls_ca_file, self._context = tls_verify, tls_ca_file, tls_context
        self._transcript = transcript
        self._link: Link | None = None

    async def __aenter__(self) -> "AsyncSmtpConnection":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            await self.quit()
        else:
            self.abort()

    @property
    def is_open(self) -> bool:
        """A session stands, as far as is known without asking."""
        return self._link is not None

    @property
    def extensions(self) -> Extensions:
        """What the peer offers; none while there is no session."""
        return self._link.core.extensions if self._link is not None else Extensions()

    async def open(self) -> Extensions:
        """Connect and introduce ourselves, unless a session stands already that may carry one more message.

        Raises:
            TransientFailure: the peer cannot be reached, does not want us, or cannot do what is required.
            ConfigError: the file of certificates cannot be used.
        """
        if self._link is not None and not self._link.is_stale():
            if not self.is_used_up:
                return self.extensions
            await self.quit()
        self.abort()
        try:
            return await self._open(self.planned())
        except ssl.SSLError as error:
            failure = tls_failure(self.endpoint, error)
            if self.opening.tls is not TlsMode.OPPORTUNISTIC:
                raise failure from error
            self.found_lacking(Lack.TLS)
        return await self._open(replace(self.opening, tls=TlsMode.NEVER))  # in clear, as if it had never been offered

    async def _open(self, plan: Opening) -> Extensions:
        try:
            link = await Link.connect(self.endpoint, self.timeouts, plan.dialect, self._transcript)
        except (OSError, UnicodeError, LocalProtocolError) as error:
            raise connect_failure(self.endpoint, error) from error
        self._link = link
        self.begin_count()
        self.last_peer = peer_name(self.endpoint, link.peer)
        if self._transcript is not None:
            self._transcript.connected(self.last_peer)
        try:
            if plan.tls is TlsMode.IMPLICIT:
                link.core.encrypted = True
                await self._handshake(link)
                link.core.verified = self._is_proven()
            link.core.extensions = await self._run(plan, link)
        except BaseException:
            self.abort()
            raise
        return self.extensions

    async def _run(self, plan: Opening, link: Link) -> Extensions:
        """Play the script of the session's beginning."""
        steps = script(self.endpoint, plan, self.last_peer, encrypted=link.core.encrypted, binding=link.binding)
        reply: Reply | None = None
        try:
            step = next(steps)
            while True:
                if isinstance(step, Handshake):
                    await self._handshake(link)
                    link.core.tls_started(verified=self._is_proven())
                    reply = None
                else:
                    reply = await self.command(step)
                    if isinstance(step, Helo) and not plan.says_helo:
                        self.found_lacking(Lack.EHLO)
                step = steps.send(reply)
        except StopIteration as done:
            extensions: Extensions = done.value
            return extensions

    async def _handshake(self, link: Link) -> None:
        if self._context is None:
            verify = self._tls_verify and self.opening.tls is not TlsMode.OPPORTUNISTIC
            self._context = client_context(verify=verify, ca_file=self._tls_ca_file)
        try:
            await link.start_tls(self._context, self.endpoint.ascii_host)
        except ssl.SSLError:
            raise
        except OSError as error:  # a peer that hangs up in the middle has failed at TLS, too
            raise ssl.SSLError(f"the peer did not go through with the handshake ({error})") from error

    def _is_proven(self) -> bool:
        return self._context is not None and is_proof(self._context)

    async def transaction(self, envelope: Envelope, octets: bytes, *, chunking: bool = False) -> TransactionResult:
        """Hand over one message to all recipients of an envelope.

        Args:
            envelope: from whom, to whom.
            octets: the message, CRLF its only line end.
            chunking: by BDAT where the peer offers it (RFC 3030).

        Returns:
            An answer for every recipient. Where the connection ended too early, `lost` says why, and each recipient
            whether it is in doubt; those without reply and not in doubt were certainly not served.

        Raises:
            TransientFailure: no session could be had; nothing was handed over.
            LocalProtocolError: the message holds a bare CR or LF.
        """
        await self.open()
        if not self.takes(envelope):
            await self.quit()
            await self.open()
        used = self.transaction_count > 0
        result = await self._transact(envelope, octets, chunking)
        # Nothing is lost or repeated by trying again: the peer has not even taken the reverse-path.
        if used and not self.is_open and result.never_began:
            await self.open()
            result = await self._transact(envelope, octets, chunking)
        return result

    async def deliver(
        self, envelope: Envelope, octets: bytes, *, recipients_per_transaction: int = 100, chunking: bool = False
    ) -> TransactionResult:
        """Hand over one message in as many transactions as the number of recipients asks for.

        A transaction has at most `recipients_per_transaction` recipients (RFC 5321 section 4.5.3.1.8 grants 100), fewer
        where the peer says so (RFC 9422). Whom the peer puts off as too many comes again at once, in another one.

        Args:
            envelope: from whom, to whom.
            octets: the message, CRLF its only line end.
            recipients_per_transaction: at most.
            chunking: by BDAT where the peer offers it (RFC 3030).

        Returns:
            The answers of all transactions, in the order of the envelope.

        Raises:
            TransientFailure: no session could be had; nothing was handed over.
            LocalProtocolError: the message holds a bare CR or LF.
        """
        await self.open()
        extensions = self.extensions
        limit = min(recipients_per_transaction, extensions.rcpt_max or recipients_per_transaction)
        batches = in_batches(envelope, limit, extensions.rcpt_domain_max)
        is_first = True
        try:
            part = next(batches)
            while True:
                try:
                    result = await self.transaction(part, octets, chunking=chunking)
                except TransientFailure as failure:
                    if is_first:
                        raise
                    result = never_tried(part, failure)
                is_first = False
                part = batches.send(result)
        except StopIteration as done:
            whole: TransactionResult = done.value
            return whole

    async def _transact(self, envelope: Envelope, octets: bytes, chunking: bool) -> TransactionResult:
        link, peer = self.session(), self.last_peer
        link.core.begin(envelope, octets, chunking=chunking)
        self.note_begun(envelope)
        try:
            link.pump()
            while not isinstance(event := await link.next_event(), TransactionEnded):
                pass
        except BaseException:  # an interrupt in the middle: the next command would be answered with an older reply
            self.abort()
            raise
        self._drop_if_ended()
        return event.result.of_peer(peer)

    def stream(
        self, pairs: Pairs, *, overlap: bool = True, window: int = 8, chunking: bool = False
    ) -> AsyncGenerator[TransactionResult, None]:
        """Hand over many messages on one connection, several in flight where the peer offers PIPELINING.

        With `overlap` the commands of the next transaction go behind the end of data of the one before; with `chunking`
        as well, where the peer offers that, up to `window` whole messages go without waiting for a reply. A pair is
        taken from `pairs` only when there is room for it, so that memory stays flat.

        A lost connection leaves in doubt exactly those whose last octet may have left us and that have no reply: one
        message at most, with `chunking` up to `window`. Those that the peer had not begun on a connection that was
        used before go once more, and whatever is left in `pairs`, over a new one. Whoever leaves the loop early closes
        the connection, and does not learn what became of the messages in flight.

        Args:
            pairs: envelope and message of each; any iterable.
            overlap: whether more than one may be in flight.
            window: how many.
            chunking: by BDAT where the peer offers it (RFC 3030).

        Yields:
            One result for each pair that was taken, in their order.

        Raises:
            TransientFailure: no session could be had. Each pair that had been taken has a result; those that were not
                sent have a `lost` that says why.
            LocalProtocolError: the message of the pair behind the last result holds a bare CR or LF.
        """
        return in_flight(self, pairs, window if overlap else 1, chunking)

    async def command(self, command: Command) -> Reply:
        """Give one command that belongs to no transaction, and wait for its reply.

        Raises:
            ConnectionLost: there is no connection, or no longer; in doubt it cannot be.
            LocalProtocolError: the command is not allowed now.
        """
        link, peer = self.session(), self.last_peer
        if not isinstance(command, Greeting):
            link.core.send(command)
        try:
            link.pump()
            event = await link.next_event()
        except BaseException:
            self.abort()
            raise
        if isinstance(event, ReplyReceived):
            self._drop_if_ended()
            return event.reply
        self.abort()
        error = event.error if isinstance(event, ConnectionEnded) else None
        where = "" if command.verb in str(error) else f" (in reply to {command.verb})"
        raise ConnectionLost(f"{peer}: {error}{where}") from error

    async def is_alive(self) -> bool:
        """Ask with NOOP whether the peer is still there."""
        if self._link is None or self._link.is_stale():
            self.abort()
            return False
        try:
            return (await self.command(Noop())).is_positive
        except ConnectionLost:
            return False

    async def quit(self) -> None:
        """Say QUIT and close; never fails and never waits long, since everything is settled by now."""
        link = self._link
        with contextlib.suppress(ConnectionLost, LocalProtocolError):
            if link is not None:
                await self.command(Quit())
        self.abort()
        if link is not None:
            await link.wait_closed()

    def abort(self) -> None:
        """Close without a word."""
        if self._link is not None:
            self._link.abort()
            if self._transcript is not None:
                self._transcript.closed()
        self._link = None

    def session(self) -> Link:
        """The present connection.

        Raises:
            ConnectionLost: there is none.
        """
        if self._link is None:
            raise ConnectionLost(f"{self.endpoint}: not connected")
        return self._link

    def _drop_if_ended(self) -> None:
        """421 and every other end of the connection stand right behind the result."""
        if self._link is not None and any(isinstance(event, ConnectionEnded) for event in self._link.events):
            self.abort()
