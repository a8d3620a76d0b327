"""Where a peer is, how long to wait for it (RFC 5321 section 4.5.3.2), and what its absence is called (RFC 3463).

    endpoint = Endpoint("mx.example.net", 25)          # or Endpoint("/run/dovecot/lmtp")
    Timeouts.within(30).end_of_data                    # 60.0 seconds

Never here: sockets; both front ends share these values.
"""

import socket
from dataclasses import dataclass

from mailpipe.errors import LocalProtocolError, TransientFailure
from mailpipe.smtp.command import Bdat, Command, Data, EndOfData, Greeting, Quit
from mailpipe.smtp.path import ascii_host
from mailpipe.status import EnhancedStatus


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One peer.

    Attributes:
        host: a name, an address, or the path of a UNIX socket ("/run/lmtp", "unix:/run/lmtp"). It is the name that a
            certificate must have.
        port: TCP port; nothing for a UNIX socket.
        address: the address to connect to where it is known already; "" to have the host looked up.
    """

    host: str
    port: int = 25
    address: str = ""

    @property
    def unix_path(self) -> str | None:
        """The path of the UNIX socket, None for TCP."""
        if self.host.startswith("unix:"):
            return self.host.removeprefix("unix:")
        return self.host if self.host.startswith("/") else None

    @property
    def ascii_host(self) -> str:
        """The host as a resolver wants it: A-labels, no brackets round an address.

        Raises:
            LocalProtocolError: the name has no such form.
        """
        return ascii_host(self.host.removeprefix("[").removesuffix("]"))

    @property
    def connect_host(self) -> str:
        """What to look up or to connect to: the address where it is known, else the host.

        Raises:
            LocalProtocolError: the host's name cannot be said in ASCII.
        """
        return self.address or self.ascii_host

    @classmethod
    def parse(cls, text: str, port: int = 25) -> "Endpoint":
        """Read "mx.example.net", "mx.example.net:2525", "192.0.2.1", "[2001:db8::1]:25" or the path of a UNIX socket.

        Args:
            text: where the peer is.
            port: where the text names none.

        Raises:
            ValueError: the text is empty or its port is no port.
        """
        if text.startswith(("/", "unix:")):
            return cls(text, port)
        return cls(*split_host(text, port))

    def __str__(self) -> str:
        if self.unix_path is not None:
            return self.host
        place = f"[{self.host}]:{self.port}" if ":" in self.host and self.host[0] != "[" else f"{self.host}:{self.port}"
        if not self.address or self.address == self.host.strip("[]"):
            return place
        return f"{self.host}[{self.address}]:{self.port}"


def split_host(text: str, port: int) -> tuple[str, int]:
    """Host and port of "host", "host:25", "[::1]:25" or "::1"; brackets are taken off.

    Args:
        text: as people write it.
        port: where the text names none.

    Raises:
        ValueError: there is no host, or the port is none.

    >>> split_host("[::1]:2525", 25), split_host("::1", 25), split_host("mx.example.net", 25)
    (('::1', 2525), ('::1', 25), ('mx.example.net', 25))
    """
    host, colon, number = text.rpartition(":")
    if not colon or text.endswith("]") or (":" in host and not host.endswith("]")):
        host, number = text, str(port)
    if not (number.isdecimal() and number.isascii() and 0 < int(number) < 65536):
        raise ValueError(f"{text!r} has no valid port; write host:port, such as mx.example.net:25")
    host = host.removeprefix("[").removesuffix("]")
    if not host:
        raise ValueError(f"{text!r} names no host; write host or host:port")
    return host, int(number)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds to wait for each thing; the defaults are those of RFC 5321 section 4.5.3.2.

    Attributes:
        connect: one address to answer; RFC 5321 names none.
        handshake: TLS to be agreed.
        greeting: the peer's first reply.
        reply: the reply to any command without a time of its own: EHLO, MAIL, RCPT, RSET, AUTH.
        data: the 354 reply.
        block: the peer to take 64 KiB.
        end_of_data: the reply that says whether the message is taken; too short means in doubt.
        quit: the farewell.
    """

    connect: float = 30.0
    handshake: float = 60.0
    greeting: float = 300.0
    reply: float = 300.0
    data: float = 120.0
    block: float = 180.0
    end_of_data: float = 600.0
    quit: float = 2.0

    @classmethod
    def within(cls, seconds: float) -> "Timeouts":
        """The same proportions for another reply time: twice as long after the end of data, connecting in 30 s."""
        short = min(seconds, 30.0)
        return cls(short, min(seconds, 60.0), seconds, seconds, seconds, seconds, 2 * seconds, min(seconds, 2.0))

    def of(self, awaited: Command | None) -> float:
        """How long the reply to a command may take."""
        match awaited:
            case Greeting():
                return self.greeting
            case Data():
                return self.data
            case EndOfData() | Bdat():
                return self.end_of_data
            case Quit():
                return self.quit
        return self.reply


def connect_failure(endpoint: Endpoint, error: Exception) -> TransientFailure:
    """Why no connection came about, in words that name the remedy; raise it `from` the error.

    Never permanent: a name server that is wrong today must not bounce a year's mail (statuses 4.4.1, 4.4.3, 4.4.4).
    """
    if isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN:
        words = f"{endpoint}: the name server did not answer for {endpoint.host!r}; try again when it does"
        return TransientFailure(words, EnhancedStatus(4, 4, 3))
    if isinstance(error, socket.gaierror | UnicodeError | LocalProtocolError):
        why = error.strerror if isinstance(error, socket.gaierror) else "no valid host name"
        words = f"{endpoint}: no address for host {endpoint.host!r} ({why}); check the name in host = …"
        return TransientFailure(words, EnhancedStatus(4, 4, 4))
    if isinstance(error, ConnectionRefusedError):
        words = f"{endpoint}: connection refused; is a server listening there? check host and port, or start it"
    elif isinstance(error, TimeoutError):
        words = f"{endpoint}: no answer in time; is the host up, and does a firewall let the port through?"
    elif isinstance(error, FileNotFoundError):
        words = f"{endpoint}: there is no such socket; check the path, or start the server"
    elif isinstance(error, PermissionError):
        words = f"{endpoint}: not allowed to connect ({error.strerror})"
    else:
        words = f"{endpoint}: cannot connect: {getattr(error, 'strerror', None) or error}"
    return TransientFailure(words, EnhancedStatus(4, 4, 1))
