"""The sinks `smtp` and `lmtp`: a mail goes to the next hop, and every recipient gets an answer (RFC 5321, RFC 2033).

    [sink]
    use  = "smtp"
    host = "mx.example.net"

One connection carries many mails. What the peer cannot take (octets above 127, UTF-8 in the header) is rewritten for
it, parts that it can take stay as they are. With `direct = true` the recipients' own servers are the next hop.

Never here: rules of SMTP, which are in `mailpipe.smtp`; keeping mail for later, which is the engine's and the queue's.
"""

import random
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from mailpipe.errors import ConfigError, PermanentFailure
from mailpipe.net.endpoint import Timeouts
from mailpipe.net.pool import ConnectionPool
from mailpipe.net.tls import client_context
from mailpipe.net.trace import TraceFile
from mailpipe.pipeline.component import Sink
from mailpipe.pipeline.mail import Mail
from mailpipe.pipeline.outcome import Receipt
from mailpipe.sinks.smtp_handover import Handover, Target
from mailpipe.sinks.smtp_options import HopOptions, LmtpOptions, SmtpOptions
from mailpipe.smtp.command import Ehlo
from mailpipe.smtp.demand import asks_for_tls, must_use_tls
from mailpipe.smtp.envelope import Envelope
from mailpipe.smtp.opening import Opening, TlsMode
from mailpipe.smtp.sasl import Credentials
from mailpipe.smtp.state import Dialect
from mailpipe.status import EnhancedStatus

if TYPE_CHECKING:  # needs dnspython, an extra
    from mailpipe.net.tls_policy import Fetch
    from mailpipe.net.tls_state import TlsCount
    from mailpipe.sinks.smtp_direct import DirectDelivery

_NO_RECIPIENTS = (
    "the mail has no recipients: neither its source nor the pipeline's [envelope] rule gave any; "
    "check recipients = … there"
)


class HopSink(Sink[HopOptions]):
    """What `smtp` and `lmtp` have in common: one next hop, or several that stand in for each other."""

    needs_recipients = True
    dialect: ClassVar[Dialect] = Dialect.SMTP

    def __init__(self, options: HopOptions) -> None:
        super().__init__(options)
        self._clock: Callable[[], float] = time.monotonic
        self._chance = random.Random()
        self._opening = threading.Lock()
        self._pool: ConnectionPool | None = None
        self._handover: Handover | None = None
        self._targets: tuple[Target, ...] = ()
        self._trace: TraceFile | None = None

    def open(self) -> None:
        """Read the password; connections wait for the first mail.

        Raises:
            ConfigError: the password or the certificates cannot be read, or helo_name is no host name.
        """
        with self._opening:
            if self._pool is None:
                self._open()

    def _open(self) -> None:
        options = self.options
        if options.tls_ca_file is not None:
            client_context(verify=True, ca_file=options.tls_ca_file)
        plan = Opening(options.helo_name or _own_name(), self.dialect, options.tls, self._credentials())
        if options.helo_name is not None:
            try:
                _ = Ehlo(options.helo_name).octets
            except ValueError as error:
                raise ConfigError(str(error)) from error
        pool = ConnectionPool(
            options.pool_limits, options.back_off, clock=self._clock, chance=self._chance, pause=time.sleep
        )
        timeouts = Timeouts.within(options.timeout)
        self._trace = None if options.trace is None else TraceFile(options.trace)
        self._handover = Handover(
            pool, timeouts, recipients_per_transaction=options.recipients_per_transaction, trace=self._trace,
            window=options.window, clock=self._clock,
        )  # fmt: skip
        self._targets = tuple(
            Target(
                endpoint, plan, options.tls_verify, options.tls_ca_file,
                forward_client=options.forward_client,
            )
            for endpoint in options.endpoints
        )
        self._open_more(plan, self._handover)
        self._pool = pool

    @property
    def in_flight(self) -> int:
        """How many mails it takes at a time; `deliver` may be called by so many threads."""
        return self.options.mails_in_flight

    def _open_more(self, plan: Opening, handover: Handover) -> None:
        """What one of the sinks needs beyond that."""

    def close(self) -> None:
        """Say goodbye to the servers."""
        if self._pool is not None:
            self._pool.close()
        if self._trace is not None:
            self._trace.close()
        self._pool = self._handover = self._trace = None

    def _credentials(self) -> Credentials | None:
        options = self.options
        if options.username is None:
            return None
        mechanisms = tuple(name.upper() for name in options.auth_mechanisms)
        if options.token_file is not None:
            token = _first_line("token_file", options.token_file)
            return Credentials(options.username, "", options.password_in_clear, token, mechanisms)
        if options.password_file is not None:
            password = _first_line("password_file", options.password_file)
        else:
            assert options.password is not None
            password = options.password.get_secret_value()
        return Credentials(options.username, password, options.password_in_clear, None, mechanisms)

    def deliver(self, mail: Mail) -> Receipt:
        """One transaction with the first server that takes the mail; an entry for each forward-path, in order.

        A receipt says DELIVERED where a server took the mail, FAILED for its 5yz, DEFERRED for its 4yz and for a
        connection that broke before the end of data, IN_DOUBT where it broke after that and before the reply.

        Raises:
            TransientFailure: no server can be reached or wants us now; nothing was handed over.
            PermanentFailure: the mail has no recipients.
        """
        if not mail.envelope.forward_paths:
            raise PermanentFailure(_NO_RECIPIENTS, EnhancedStatus(5, 1, 0))
        self.open()
        return self._deliver(mail)

    def _deliver(self, mail: Mail) -> Receipt:
        assert self._handover is not None
        targets = self._targets
        if asks_for_tls(mail.envelope.parameters):
            proven = tuple(map(_with_proof, targets))
            targets = proven if must_use_tls(mail.envelope) else (*proven, *targets)
        handed = self._handover.to(targets, mail, mail.envelope.forward_paths)
        if handed.failure is not None:
            raise handed.failure
        return Receipt(handed.receipts, handed.reference)


class SmtpSink(HopSink):
    """Hands mail to an SMTP server, or to each recipient's own, with an answer for each recipient.

    Example:
        ```toml
        [sink]
        use = "smtp"
        host = ["mx1.example.net", "mx2.example.net:2525"]
        timeout = "1m"
        ```
    """

    name = "smtp"
    Options = SmtpOptions

    def __init__(self, options: SmtpOptions) -> None:
        super().__init__(options)
        self._smtp_options = options
        self._direct: DirectDelivery | None = None
        self._fetch: Fetch | None = None

    @property
    def lane_width(self) -> int:
        """With direct, mails for one destination at a time."""
        return self.options.mails_per_host

    def lane(self, envelope: Envelope) -> str:
        """With direct, where a mail goes: the domains of its recipients."""
        if not self._smtp_options.direct:
            return ""
        domains = {path.address.rpartition("@")[2].lower() for path in envelope.forward_paths}
        return " ".join(sorted(domains))

    def _open_more(self, plan: Opening, handover: Handover) -> None:
        if not self._smtp_options.direct:
            return
        try:
            from mailpipe.sinks.smtp_direct import DirectDelivery  # needs dnspython, an extra
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != "dns":
                raise
            words = "direct = true needs dnspython; install it with: pip install 'mailpipe[direct]'"
            raise ConfigError(words) from error
        self._direct = DirectDelivery(
            self._smtp_options, plan, handover, clock=self._clock, chance=self._chance, fetch=self._fetch
        )

    @property
    def tls_counts(self) -> "tuple[TlsCount, ...]":
        """With direct: how sessions began since `open`, for reports to the destinations (TLSRPT, RFC 8460)."""
        return () if self._direct is None else self._direct.counters.values()

    def _deliver(self, mail: Mail) -> Receipt:
        return super()._deliver(mail) if self._direct is None else self._direct.deliver(mail)

    def close(self) -> None:
        """Say goodbye to the servers."""
        super().close()
        if self._direct is not None:
            self._direct.close()
        self._direct = None


class LmtpSink(HopSink):
    """Hands mail to a delivery agent over LMTP, which answers for each recipient after the message.

    Example:
        ```toml
        [sink]
        use = "lmtp"
        host = "/run/dovecot/lmtp"
        ```
    """

    name = "lmtp"
    Options = LmtpOptions
    dialect = Dialect.LMTP


def _with_proof(target: Target) -> Target:
    """The same server, which must now show its certificate (RFC 8689); never and implicit stay as they are."""
    if target.plan.tls is not TlsMode.OPPORTUNISTIC or target.endpoint.unix_path is not None:
        return target
    return replace(target, plan=replace(target.plan, tls=TlsMode.REQUIRED), tag="requiretls")


def _first_line(option: str, path: Path) -> str:
    try:
        return path.read_text("utf-8").partition("\n")[0].rstrip("\r")
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"{option} {path}: {error}") from error


def _own_name() -> str:
    """This machine's name where it can be said in a HELO, "localhost" where it cannot."""
    name = socket.getfqdn()
    try:
        _ = Ehlo(name).octets
    except ValueError:
        return "localhost"
    return name
