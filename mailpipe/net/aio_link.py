"""One connection on an event loop: octets between a socket and the client's core, and time-outs.

    link = await Link.connect(endpoint, timeouts, dialect)
    link.core.begin(envelope, octets); link.flush(); event = await link.next_event()

It is an `asyncio.Protocol`, so that a reply is read and the next commands are written without waking a task.

Never here: when to connect, what a result is good for (`mailpipe.net.aio`).
"""

import asyncio
import contextlib
import math
import socket
import ssl
from collections import deque
from typing import cast

from mailpipe.net.endpoint import Endpoint, Timeouts
from mailpipe.net.tls import channel_binding
from mailpipe.smtp.client import ClientProtocol
from mailpipe.smtp.events import Event
from mailpipe.smtp.sasl import Binding
from mailpipe.smtp.state import Dialect, State
from mailpipe.smtp.transcript import Transcript

BLOCK = 64 * 1024
"""Octets of one write; what has not been written has certainly not left."""
_Address = tuple[int, int, int, object, str]
_QUICKACK = getattr(socket, "TCP_QUICKACK", None)


class Link(asyncio.Protocol):
    """One connected socket with its core.

    Attributes:
        core: the protocol.
        events: what the core has reported and nobody has taken.
        peer: the peer's address for messages: "192.0.2.1:25" or a path.
        is_closed: the transport has ended.
        patience: events to come together before a task is woken for them, as long as more replies are due.
    """

    def __init__(self, sock: socket.socket, peer: str, timeouts: Timeouts, transcript: Transcript | None) -> None:
        self.core = ClientProtocol()
        self.events: deque[Event] = deque()
        self.peer, self.timeouts = peer, timeouts
        self.is_closed = False
        self.patience = 1
        self._socket, self._transcript = sock, transcript
        self._is_tcp = sock.family != getattr(socket, "AF_UNIX", None)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._carrier: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._closed = self._loop.create_future()
        self._held = memoryview(b"")
        self._is_paused = self._is_encrypted = self._has_heard_last = False
        self._timer: asyncio.TimerHandle | None = None
        self._due = self._armed = math.inf
        self._watched: object = None

    @classmethod
    async def connect(
        cls, endpoint: Endpoint, timeouts: Timeouts, dialect: Dialect, transcript: Transcript | None = None
    ) -> "Link":
        """Connect to the first address that answers.

        Raises:
            OSError: no address answers, or there is none (`socket.gaierror`).
            LocalProtocolError: the host's name cannot be said in ASCII.
            UnicodeError: the name is none.
        """
        loop = asyncio.get_running_loop()
        if (path := endpoint.unix_path) is not None:
            found: list[_Address] = [(socket.AF_UNIX, socket.SOCK_STREAM, 0, path, endpoint.host)]
        else:
            looked_up = await loop.getaddrinfo(endpoint.connect_host, endpoint.port, type=socket.SOCK_STREAM)
            found = [(one[0], one[1], one[2], one[4], ":".join(map(str, one[4][:2]))) for one in looked_up]
        failure: OSError | None = None
        for family, kind, protocol, address, peer in found:
            try:
                sock = socket.socket(family, kind, protocol)
            except OSError as error:
                failure = failure or error
                continue
            try:
                sock.setblocking(False)
                async with asyncio.timeout(timeouts.connect):
                    await loop.sock_connect(sock, address)  # type: ignore[arg-type]  # as the family wants it
                link = cls(sock, peer, timeouts, transcript)
                link.core = ClientProtocol(dialect)
                await loop.create_connection(lambda made=link: made, sock=sock)  # type: ignore[misc]
                return link
            except OSError as error:  # TimeoutError is one
                sock.close()
                failure = failure or error
            except BaseException:
                sock.close()
                raise
        raise failure or OSError("the name has no address")

    # what the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The transport is there."""
        # uvloop's transports are none of asyncio's by descent
        self._transport = made = cast("asyncio.Transport", transport)
        made.set_write_buffer_limits(high=0)  # so that what we hold back has certainly not left
        if self._is_tcp:
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        """The peer has said something."""
        if self._transcript is not None:
            self._transcript.received(data)
        self.core.receive_data(data)
        if not self.pump() and self._is_tcp and _QUICKACK is not None and self.core.awaited is not None:
            # A peer that leaves Nagle's algorithm on waits 40 ms for a delayed acknowledgement; nothing of ours
            # goes out to carry it. The option does not last.
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)

    def eof_received(self) -> bool:
        """The peer has said its last."""
        self._lose("")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport has ended."""
        self.is_closed = True
        if self.core.state is not State.CLOSED:
            self._read_last_words()
            doing = "sending" if self._is_paused or self._held else f"waiting for the reply to {self._awaited_verb()}"
            why = (getattr(exc, "strerror", None) or exc) if exc is not None else "closed"
            self._lose(f"connection lost while {doing} ({why})")
        if self._timer is not None:
            self._timer.cancel()
        if not self._closed.done():
            self._closed.set_result(None)

    def pause_writing(self) -> None:
        """The transport holds octets that the system has not taken."""
        self._is_paused = True

    def resume_writing(self) -> None:
        """It holds none any more."""
        self._is_paused = False
        self.flush()

    # what the front end calls

    def pump(self) -> bool:
        """Take the core's events and send what it has to say; returns whether anything was sent."""
        core, waiter = self.core, self._waiter
        core.take_events(self.events)
        sent = self.flush()
        if waiter is not None and (here := len(self.events)) and not waiter.done():
            is_enough = here >= self.patience or core.awaited is None  # nothing is held back where nothing else is due
            if is_enough:
                waiter.set_result(None)
        return sent

    def flush(self) -> bool:
        """Send as much as the system takes; returns whether that was anything."""
        transport, sent = self._transport, False
        while not self._is_paused and transport is not None:
            if transport.is_closing():
                break  # it would swallow the rest, which then seemed to have left
            if self._carrier is not None and self._carrier.is_closing():
                self._read_last_words()  # TLS learns late that TCP broke; the socket is still open
                break
            if self._held:
                piece: bytes | memoryview = self._held[:BLOCK]
                self._held = self._held[BLOCK:]
            else:
                octets = self.core.octets_to_send()
                if not octets:
                    break
                if self._transcript is not None:
                    self._transcript.sent(octets)
                piece = octets
                if len(octets) > BLOCK:
                    view = memoryview(octets)
                    piece, self._held = view[:BLOCK], view[BLOCK:]
            transport.write(piece)
            sent = True
            if not self._held:
                break
        if sent or self.core.awaited is not self._watched:
            self._watch()
        return sent

    async def next_event(self) -> Event:
        """The next event, awaited.

        Raises:
            RuntimeError: another task waits already.
        """
        await self.wait()
        return self.events.popleft()

    async def wait(self) -> None:
        """Wait until there is an event; it is left where it is.

        Raises:
            RuntimeError: another task waits already.
        """
        if self._waiter is not None:
            raise RuntimeError("two tasks wait for one connection")
        while not self.events:
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    def is_stale(self) -> bool:
        """A peer that hung up or spoke unasked while we were idle, which is how servers end idle connections."""
        if self.is_closed or self.events or self._transport is None or self._transport.is_closing():
            return True
        if self._is_encrypted:
            return False  # what waits may be a ticket of TLS; a dead peer shows at MAIL
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    async def start_tls(self, context: ssl.SSLContext, host: str) -> None:
        """Do the TLS handshake.

        Raises:
            OSError: it failed; `ssl.SSLCertVerificationError` where the certificate is not believed.
        """
        if self._transport is None or self.is_closed or self._transport.is_closing():
            raise ConnectionResetError("the connection ended before the handshake")
        name = host if context.check_hostname or not _is_address(host) else None
        made = await self._loop.start_tls(
            self._transport, self, context, server_hostname=name, ssl_handshake_timeout=self.timeouts.handshake
        )
        if made is None:
            raise ConnectionResetError("the connection ended within the handshake")
        self._carrier, self._transport, self._is_encrypted = self._transport, made, True
        made.set_write_buffer_limits(high=BLOCK)  # with zero it would pause for ever
        if self._transcript is not None:
            self._transcript.note("TLS begins")

    def binding(self) -> Binding | None:
        """What only this connection has, None without TLS."""
        layer = None if self._transport is None else self._transport.get_extra_info("ssl_object")
        return None if layer is None else channel_binding(layer)

    def abort(self) -> None:
        """Close at once; what nobody has taken is forgotten."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._due = math.inf
        if self._transport is not None:
            self._transport.abort()

    async def wait_closed(self) -> None:
        """Wait until the socket is closed, which an `abort` does at the loop's next turn."""
        if self._transport is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.timeouts.quit):
                    await asyncio.shield(self._closed)

    # the end, and the time

    def _awaited_verb(self) -> str:
        awaited = self.core.awaited
        return awaited.verb if awaited is not None else "connection"

    def _unsent(self) -> int:
        """Octets handed out by the core that have certainly not left.

        What lies in a buffer of TLS counts as gone: it is longer there than it was, and has been put into records.
        """
        transport = self._transport
        waiting = 0
        if transport is not None and not self._is_encrypted and not self.is_closed:
            waiting = transport.get_write_buffer_size()
        return len(self._held) + waiting

    def _lose(self, words: str) -> None:
        """The connection is of no use any more; "" where the peer closed it."""
        if self._transcript is not None and words:
            self._transcript.note(words)
        if self.core.state is not State.CLOSED:
            if words or self._held or self._is_paused:
                words = words or "the peer closed the connection while sending"
                self.core.connection_lost(words, unsent=self._unsent())
            else:
                self.core.receive_data(b"")
        self.pump()

    def _read_last_words(self) -> None:
        """A write that failed ends the transport before the reply that explains it was read, such as 552 or 421."""
        # uvloop has closed the descriptor by now
        if self._has_heard_last or not isinstance(self._loop, asyncio.SelectorEventLoop):
            return
        self._has_heard_last = True
        with contextlib.suppress(OSError):
            if not (words := self._socket.recv(BLOCK)):
                return
            if self._carrier is None:
                self.core.receive_data(words)
                return
            layer = cast("asyncio.BufferedProtocol", self._carrier.get_protocol())
            room = memoryview(layer.get_buffer(len(words)))
            room[: len(words)] = words
            layer.buffer_updated(len(words))

    def _watch(self) -> None:
        """Reckon anew until when the peer may take."""
        self._watched = awaited = self.core.awaited
        if self._is_paused:
            self._due = self._loop.time() + self.timeouts.block
        elif awaited is None:
            self._due = math.inf
            return
        else:
            self._due = self._loop.time() + self.timeouts.of(awaited)
        if self._timer is None or self._due < self._armed:
            self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._armed = self._due
        self._timer = self._loop.call_at(self._due, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        if self._due == math.inf or self.is_closed:
            return
        if self._loop.time() < self._due:  # it was put off meanwhile: a timer is moved when it fires, not at each reply
            self._arm()
            return
        doing = "sending" if self._is_paused else f"waiting for the reply to {self._awaited_verb()}"
        self._lose(f"timed out while {doing}")
        self.abort()


def _is_address(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            socket.inet_pton(family, host)
            return True
    return False
