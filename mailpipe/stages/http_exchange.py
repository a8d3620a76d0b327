"""One HTTP server that a stage asks (RFC 9110, 9112): a POST, an answer, all within one deadline.

    peer = HttpPeer("https://hook.example.org/mail", timeout=10, most=1_000_000)
    answer = peer.post("", octets, [("Content-Type", "message/rfc822")])
    answer.status, answer.content_type, answer.body

The connection is kept for the next mail. The deadline bounds the whole exchange and not each packet, so that a server
that sends an octet a second gains nothing. Certificates are verified, redirects are not followed, proxies not asked.

Never here: what is posted, and what an answer means.
"""

import http.client
import io
import re
import socket
import ssl
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mailpipe.errors import ConfigError, RemoteProtocolError, TransientFailure
from mailpipe.status import EnhancedStatus
from mailpipe.units import duration_text

_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
_STALE = (
    http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError, ssl.SSLEOFError, ssl.SSLZeroReturnError
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What the server said.

    Attributes:
        status: 200, 404, …
        content_type: the media type in small letters, without parameters; "" where there is none.
        body: all of it.
    """

    status: int
    content_type: str
    body: bytes

    @property
    def beginning(self) -> str:
        """What it says that is no answer, in a line for a complaint."""
        return " ".join(self.body[:300].decode("utf-8", "replace").split()) or "nothing"


def checked_url(text: str) -> str:
    """The URL itself, where it is one to post to.

    Raises:
        ValueError: it is not http or https, names no host, or holds a password.
    """
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{text!r} is no URL such as https://hook.example.org/mail")
    if parts.username is not None or parts.fragment:
        raise ValueError("a URL here holds neither a name with a password nor a fragment; passwords are secrets")
    parts.port  # noqa: B018 - raises ValueError where it is none
    return text


class HttpPeer:
    """Posts to one server.

    Args:
        url: where to; see `checked_url`.
        timeout: seconds for one exchange, connecting included.
        most: octets of an answer.
        ca_file: certificates to believe in place of those of the system.

    Raises:
        ConfigError: the file of certificates cannot be read.
    """

    def __init__(self, url: str, *, timeout: float, most: int, ca_file: Path | None = None) -> None:
        parts = urlsplit(url)
        self._url, self._timeout, self._most = url, timeout, most
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._host, self._port = parts.hostname or "", parts.port
        self._context: ssl.SSLContext | None = None
        if parts.scheme == "https":
            try:
                self._context = ssl.create_default_context(cafile=ca_file)
            except OSError as error:
                words = f"{ca_file}: no certificates can be read from it: {error.strerror or error}"
                raise ConfigError(words) from error
        self._connection: _Connection | None = None

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def post(self, path: str, body: bytes, fields: Sequence[tuple[str, str]]) -> HttpAnswer:
        """Post octets.

        Args:
            path: what follows the URL's own path.
            body: the octets.
            fields: header fields; control characters in them are left out.

        Raises:
            TransientFailure: no answer can be had, or not in time.
            RemoteProtocolError: what comes is no answer, or a larger one than is wanted.
        """
        deadline = time.monotonic() + self._timeout
        is_kept = self._connection is not None
        try:
            try:
                return self._exchange(path, body, fields, deadline)
            except _STALE:
                self.close()
                if not is_kept:
                    raise
                # the server had closed the old connection while nothing was said
                return self._exchange(path, body, fields, deadline)
        except TimeoutError as error:
            self.close()
            words = f"{self._url} gave no answer within {duration_text(self._timeout)}"
            raise TransientFailure(words, EnhancedStatus(4, 4, 1)) from error
        except http.client.HTTPException as error:
            self.close()
            if isinstance(error, http.client.RemoteDisconnected):
                raise TransientFailure(f"{self._url}: {error}", EnhancedStatus(4, 4, 2)) from error
            words = f"{self._url} says what is not HTTP: {type(error).__name__} {error}"[:500]
            raise RemoteProtocolError(words) from error
        except (OSError, UnicodeError) as error:
            self.close()
            raise TransientFailure(f"{self._url}: {error}", EnhancedStatus(4, 4, 1)) from error
        except BaseException:
            self.close()
            raise

    def _exchange(
        self, path: str, body: bytes, fields: Sequence[tuple[str, str]], deadline: float
    ) -> HttpAnswer:
        connection = self._connection
        if connection is None:
            connection = self._connection = _Connection(self._host, self._port, self._context)
        connection.deadline = deadline
        target = self._path.rstrip("/") + path if path else self._path
        connection.putrequest("POST", target, skip_accept_encoding=True)
        for name, value in (*fields, ("Content-Length", str(len(body)))):
            # an address may be of any characters (RFC 6531), and must not begin a field of its own
            connection.putheader(name, _CONTROL.sub("", value).encode("utf-8", "replace"))
        with suppress(BrokenPipeError, ConnectionResetError):
            # one that answers before it has read everything may have said why
            connection.endheaders(body)
        response = connection.getresponse()
        octets = response.read(self._most + 1)
        if len(octets) > self._most:
            self.close()
            raise RemoteProtocolError(f"{self._url} answers with more than {self._most} octets")
        if response.length:
            # http.client is silent about it, and half a message would be taken for the whole
            raise http.client.IncompleteRead(octets, response.length)
        if response.will_close or not response.isclosed():
            self.close()
        kind = (response.getheader("Content-Type") or "").partition(";")[0].strip().lower()
        return HttpAnswer(response.status, kind, octets)


class _Connection(http.client.HTTPConnection):
    """A connection of which each wait ends at a deadline.

    Attributes:
        deadline: on the monotonic clock.
    """

    def __init__(self, host: str, port: int | None, context: ssl.SSLContext | None) -> None:
        if context is not None:
            self.default_port = 443
        super().__init__(host, port)
        self._context = context
        self.deadline = 0.0

    def seconds_left(self) -> float:
        """How long there is.

        Raises:
            TimeoutError: there is no time left.
        """
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return left

    def connect(self) -> None:
        """Connect, and do the TLS handshake."""
        sock = socket.create_connection((self.host, self.port), self.seconds_left())
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._context is not None:
                sock.settimeout(self.seconds_left())
                sock = self._context.wrap_socket(sock, server_hostname=self.host)
        except BaseException:
            sock.close()
            raise
        self.sock: Any = _Timed(sock, self)


class _Timed(io.RawIOBase):
    """As much of a socket as http.client needs, and a file to read from it."""

    def __init__(self, sock: socket.socket, owner: _Connection) -> None:
        self._socket, self._owner = sock, owner

    def sendall(self, octets: bytes) -> None:
        rest = memoryview(octets)
        while rest:
            self._socket.settimeout(self._owner.seconds_left())
            rest = rest[self._socket.send(rest[: 1 << 16]) :]

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._socket.settimeout(self._owner.seconds_left())
        return self._socket.recv_into(buffer)

    def makefile(self, _mode: str) -> io.BufferedReader:
        # closing the file of one answer must not close the connection
        return io.BufferedReader(_Reader(self))

    def close(self) -> None:
        self._socket.close()
        super().close()


class _Reader(io.RawIOBase):
    def __init__(self, timed: _Timed) -> None:
        self._timed = timed

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._timed.readinto(buffer)
