"""The options of the sinks `smtp` and `lmtp`.

    SmtpOptions(host=["mx1.example.net", "mx2.example.net:2525"], tls="required")
    SmtpOptions(direct=True)

Never here: connections.
"""

from ipaddress import ip_address
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from mailpipe.net.endpoint import Endpoint, split_host
from mailpipe.net.pool import BackOff, PoolLimits
from mailpipe.pipeline.component import LocalPath, Options
from mailpipe.smtp.opening import TlsMode
from mailpipe.units import Duration


def _host(text: str) -> str:
    Endpoint.parse(text)
    return text


def _name_server(text: str) -> str:
    ip_address(split_host(text, 53)[0])
    return text


def _address(text: str) -> str:
    return str(ip_address(text))


Host = Annotated[str, Field(min_length=1), AfterValidator(_host)]
"""A server as people write it: "mx.example.net", "mx.example.net:2525", "[2001:db8::1]:25", "/run/lmtp"."""

MOST_IN_FLIGHT = 1000
"""LIMIT: mails under way at a time; each has a thread."""
DIRECT_IN_FLIGHT = 50


class HopOptions(Options):
    """Where the next hop is and how it is to be spoken to."""

    host: Host | tuple[Host, ...] = ()
    """The server's name or address, with a port of its own where needed ("mx.example.net:2525"), or the path of a UNIX
    socket. Of a list, the next is asked where one is down or puts the mail off."""

    port: int = Field(default=25, ge=1, le=65535)
    """Its TCP port."""

    helo_name: str | None = None
    """How we introduce ourselves; by default the name of this machine."""

    tls: TlsMode = TlsMode.OPPORTUNISTIC
    """When to use TLS: never; opportunistic, where offered; required, by STARTTLS; implicit, from the first octet."""

    tls_verify: bool = True
    """With required and implicit TLS: the certificate must be valid and name the host."""

    tls_ca_file: LocalPath | None = None
    """Certificates to believe instead of the system's, a PEM file."""

    username: str | None = None
    """Whom to authenticate as; nobody by default."""

    password: SecretStr | None = None
    """The password; better kept in a file of its own, see password_file."""

    password_file: LocalPath | None = None
    """A file whose first line is the password."""

    password_in_clear: bool = False
    """Send the password even without TLS; only for a server on this machine or inside a tunnel."""

    token_file: LocalPath | None = None
    """A file whose first line is an OAuth access token, in place of a password; read when the sink is opened."""

    auth_mechanisms: tuple[str, ...] = ()
    """The only mechanisms to authenticate by, such as ["PLAIN"]; by default the strongest that the server offers."""

    forward_client: Literal["never", "xforward", "xclient"] = "never"
    """Tell the server where each mail came from (see `mailpipe filter`): by XFORWARD for its log, where it lets us and
    that is known (Postfix: smtpd_authorized_xforward_hosts); or by XCLIENT for all that it decides, in a session for
    each client; then it must let us (smtpd_authorized_xclient_hosts)."""

    trace: LocalPath | None = None
    """A file to which what goes over the wire is appended, line by line; secrets are masked, content is counted."""

    timeout: Duration = Field(default=300.0, gt=0)
    """How long to wait for a reply; twice as long for the last one, after the message (RFC 5321 section 4.5.3.2)."""

    retry_pause: Duration = Field(default=5.0, ge=0)
    """How long a server that is down is not asked again; mails that come meanwhile are deferred at once."""

    max_retry_pause: Duration = Field(default=300.0, ge=0)
    """The pause doubles with each failure in a row, up to this."""

    messages_per_connection: int = Field(default=100, ge=1)
    """Mails that one connection carries before a new one is made."""

    connection_age: Duration = Field(default=300.0, gt=0)
    """How old a connection may become before a new one is made."""

    connections_per_host: int = Field(default=5, ge=1, le=1000)
    """Connections to one server at a time, for each worker. The first mails have one; with each mail that was handed
    over it may be one more, and no more than the server wants."""

    window: int = Field(default=1, ge=1, le=64)
    """Mails that one connection carries without waiting for a reply, where the server offers that (CHUNKING and
    PIPELINING). A connection that breaks leaves all of them in doubt; with 1, one at most."""

    in_flight: int | None = Field(default=None, ge=1, le=MOST_IN_FLIGHT)
    """Mails under way at a time, for each worker; 1 keeps their order. By default, and at most, as many as the
    connections to one server carry; with direct = true fifty, and no more than that of them to one destination."""

    messages_per_second: float | None = Field(default=None, gt=0)
    """Mails that one server gets in a second at most; no limit by default."""

    recipients_per_transaction: int = Field(default=100, ge=1)
    """Recipients who are told at once; a mail with more goes in several transactions."""

    @model_validator(mode="after")
    def _one_password(self) -> Self:
        given = sum(one is not None for one in (self.password, self.password_file, self.token_file))
        if given > 1:
            raise ValueError("give one of password, password_file and token_file")
        if (given == 1) != (self.username is not None):
            raise ValueError("username goes together with password, password_file or token_file")
        return self

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        self._check_host()
        return self

    def _check_host(self) -> None:
        if not self.host:
            raise ValueError("host is missing: name the server, or several in the order in which to ask them")

    @property
    def mails_per_host(self) -> int:
        """Mails that the connections to one server carry at a time."""
        # where BDAT is not asked for, the commands of a second mail go behind the end of data of the first
        carried = self.connections_per_host * max(2, self.window)
        # the last of them must not wait for its turn until it is deferred
        rate = MOST_IN_FLIGHT if self.messages_per_second is None else max(1, int(self.messages_per_second * 20))
        return min(self.in_flight or MOST_IN_FLIGHT, carried, rate)

    @property
    def mails_in_flight(self) -> int:
        """Mails under way at a time."""
        return self.mails_per_host

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """The servers of `host`, in order."""
        hosts = (self.host,) if isinstance(self.host, str) else self.host
        return tuple(Endpoint.parse(host, self.port) for host in hosts)

    @property
    def pool_limits(self) -> PoolLimits:
        """What the pool of connections is to keep to."""
        return PoolLimits(
            messages_per_connection=self.messages_per_connection,
            age=self.connection_age,
            connections_per_destination=self.connections_per_host,
            messages_per_second=self.messages_per_second,
        )

    @property
    def back_off(self) -> BackOff:
        """How long a server that failed is left alone."""
        return BackOff(self.retry_pause, most=self.max_retry_pause)


class SmtpOptions(HopOptions):
    """Where the next hop is, or that each recipient's own server is it, and how it is to be spoken to."""

    direct: bool = False
    """Deliver to the recipients' own servers, found by MX records, instead of to host; needs the extra
    mailpipe[direct]."""

    dns: tuple[Annotated[str, AfterValidator(_name_server)], ...] = ()
    """With direct: the name servers to ask, "192.0.2.53" or "127.0.0.1:5353"; those of the system by default."""

    dns_timeout: Duration = Field(default=10.0, gt=0)
    """With direct: how long the name servers may take for one answer."""

    dns_validates: bool = False
    """With direct: the name servers check DNSSEC and the way to them is safe, as with one on this machine. Only then
    certificates that the DNS announces (DANE, RFC 7672) are asked for and insisted on."""

    mta_sts: bool = True
    """With direct: follow the policies that domains publish on their web servers about TLS (MTA-STS, RFC 8461)."""

    state_directory: LocalPath | None = None
    """With direct: the directory in which policies (MTA-STS) and counts for reports (`mailpipe tls-report`) outlive the
    process; by default the folder "state" in the directory of the queue, and without a queue nowhere."""

    own_addresses: tuple[Annotated[str, AfterValidator(_address)], ...] = ()
    """With direct: our own addresses as others see them. A mail whose MX records lead to them, or to helo_name, would
    come back, and fails."""

    allow_loopback: bool = False
    """With direct: deliver to 127.0.0.1 and ::1 where MX records lead there, as in a test. Otherwise those are
    ourselves."""

    @property
    def mails_in_flight(self) -> int:
        """Mails under way at a time."""
        if self.direct:
            return self.in_flight or max(DIRECT_IN_FLIGHT, self.mails_per_host)
        return super().mails_in_flight

    @property
    def keeps_state(self) -> bool:
        """With direct: what is known and counted of the TLS of others."""
        return self.direct

    def _check_host(self) -> None:
        if not self.direct:
            super()._check_host()
            return
        if self.host:
            raise ValueError("give either host or direct = true")
        if self.username is not None:
            raise ValueError("with direct = true nobody may be given a password: take username away, or name a host")
        if self.forward_client != "never":
            raise ValueError("forward_client is for a server of ours: take it away, or name a host")
        if self.tls is TlsMode.IMPLICIT:
            raise ValueError('tls = "implicit" is not for direct = true: servers of others offer STARTTLS, on port 25')


class LmtpOptions(HopOptions):
    """Where the delivery agent is and how it is to be spoken to."""

    port: int = Field(default=24, ge=1, le=65535)
    """Its TCP port."""

    in_flight: int | None = Field(default=1, ge=1, le=MOST_IN_FLIGHT)
    """Mails under way at a time, for each worker; with 1 they arrive in the order of the source."""
