"""A blocking connection of octets with a deadline for every read and every write.

    stream = Stream.connect(Endpoint("127.0.0.1", 25), timeout=30)
    stream.write(octets, timeout=180); stream.read(deadline=stream.deadline(300))

A deadline bounds the whole wait and not each packet, so that a peer that sends an octet a minute gains nothing.

Never here: lines, replies, commands.
"""

import contextlib
import math
import select
import socket
import ssl
import time

from mailpipe.net.endpoint import Endpoint
from mailpipe.net.tls import channel_binding
from mailpipe.smtp.sasl import Binding

BLOCK = 64 * 1024
"""Octets of one write, and of one read."""
_QUICKACK = getattr(socket, "TCP_QUICKACK", None)


class Stream:
    """One connected socket, with or without TLS.

    Attributes:
        peer: the peer's address for messages: "192.0.2.1:25" or a path.
        unsent: octets of the last `write` that the system did not take.
    """

    def __init__(self, sock: socket.socket, peer: str) -> None:
        self._socket = sock
        self.peer = peer
        self.unsent = 0
        self._is_tcp = sock.family != getattr(socket, "AF_UNIX", None)
        if self._is_tcp:
            # Small writes leave at once: the peer's reply is all that we wait for.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._quicken()

    @classmethod
    def connect(cls, endpoint: Endpoint, timeout: float) -> "Stream":
        """Connect to the first address that answers.

        Args:
            endpoint: where to.
            timeout: seconds for each address.

        Raises:
            OSError: no address answers, or there is none (`socket.gaierror`).
            LocalProtocolError: the host's name cannot be said in ASCII.
            UnicodeError: the name is none.
        """
        if (path := endpoint.unix_path) is not None:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            return cls._connected(sock, path, endpoint.host, timeout)
        found = socket.getaddrinfo(endpoint.connect_host, endpoint.port, type=socket.SOCK_STREAM)
        failure: OSError | None = None
        for family, kind, protocol, _, address in found:
            try:
                sock = socket.socket(family, kind, protocol)
                return cls._connected(sock, address, ":".join(map(str, address[:2])), timeout)
            except OSError as error:
                failure = failure or error
        raise failure or OSError("the name has no address")

    @classmethod
    def _connected(cls, sock: socket.socket, address: object, peer: str, timeout: float) -> "Stream":
        try:
            sock.settimeout(timeout)
            sock.connect(address)  # type: ignore[arg-type]  # a pair, a quadruple or a path, as the family wants it
            return cls(sock, peer)
        except BaseException:
            sock.close()
            raise

    @staticmethod
    def deadline(seconds: float) -> float:
        """The moment that many seconds from now, on the monotonic clock."""
        return time.monotonic() + seconds

    @staticmethod
    def seconds_to(deadline: float) -> float:
        """How long it is until a deadline; negative behind it."""
        return deadline - time.monotonic()

    def _quicken(self) -> None:
        """Acknowledge at once: a peer that leaves Nagle's algorithm on waits 40 ms for a delayed acknowledgement.

        The option does not last; it is set again after every read.
        """
        if self._is_tcp and _QUICKACK is not None:
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)

    def read(self, deadline: float) -> bytes:
        """What has come, b"" at the peer's end.

        Raises:
            TimeoutError: nothing came before the deadline.
            OSError: the connection broke.
        """
        seconds = self.seconds_to(deadline)
        if seconds <= 0:
            raise TimeoutError("timed out")
        self._socket.settimeout(seconds)
        octets = self._socket.recv(BLOCK)
        self._quicken()
        return octets

    def hear(self, deadline: float) -> bool:
        """Wait until something has come, or the end; False where nothing has before the deadline.

        Nothing is read, so that another thread may write meanwhile.
        """
        if isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
            return True
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(max(0, math.ceil(1000 * self.seconds_to(deadline)))))

    def wake(self) -> None:
        """End a `hear` of another thread; the connection is of no use any more, and is that thread's to close."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def read_now(self) -> bytes | None:
        """What has come already, b"" at the peer's end, None where nothing has; never waits.

        Raises:
            OSError: the connection broke.
        """
        self._socket.settimeout(0)
        try:
            octets = self._socket.recv(BLOCK)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        self._quicken()
        return octets

    def waiting(self) -> bytes | None:
        """The same; a connection that broke has ended."""
        try:
            return self.read_now()
        except OSError:
            return b""

    def write(self, octets: bytes, timeout: float) -> None:
        """Send all.

        Args:
            octets: what to send.
            timeout: seconds for each block of 64 KiB.

        Raises:
            TimeoutError: a block was not taken in time; `unsent` says how much is left.
            OSError: the connection broke; likewise.
        """
        view = memoryview(octets)
        self.unsent = len(view)
        while self.unsent:
            start = len(view) - self.unsent
            deadline = time.monotonic() + timeout
            end = min(start + BLOCK, len(view))
            while start < end:
                seconds = deadline - time.monotonic()
                if seconds <= 0:
                    raise TimeoutError("timed out")
                self._socket.settimeout(seconds)
                start += self._socket.send(view[start:end])
                self.unsent = len(view) - start

    def start_tls(self, context: ssl.SSLContext, host: str, timeout: float) -> None:
        """Do the TLS handshake on the connection.

        Raises:
            OSError: it failed; `ssl.SSLCertVerificationError` where the certificate is not believed.
        """
        self._socket.settimeout(timeout)
        name = host if context.check_hostname or not _is_address(host) else None
        wrapped = context.wrap_socket(self._socket, server_hostname=name)
        self._socket = wrapped
        # A socket whose peer is gone already is wrapped without a handshake, and would go on in clear.
        if wrapped.version() is None:
            raise ConnectionResetError("the connection ended before the handshake")

    def binding(self) -> Binding | None:
        """What only this connection has, None without TLS."""
        return channel_binding(self._socket) if isinstance(self._socket, ssl.SSLSocket) else None

    def close(self) -> None:
        """Close the connection at once; never fails."""
        with contextlib.suppress(OSError):
            self._socket.close()


def _is_address(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            socket.inet_pton(family, host)
            return True
    return False
