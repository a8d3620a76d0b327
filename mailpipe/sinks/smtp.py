"""The sinks `smtp` and `lmtp`: a mail goes to the next hop, and every recipient gets an answer (RFC 5321, RFC 2033).

    [sink]
    use  = "smtp"
    host = "mx.example.net"

One connection carries many mails. What the peer cannot take (octets above 127, UTF-8 in the header) is rewritten for
it, parts that it can take stay as they are.

Never here: rules of SMTP, which are in `mailpipe.smtp`; keeping mail for later, which is the engine's and the queue's.
"""

import socket
import time
from dataclasses import replace
from typing import ClassVar, Self

from pydantic import Field, SecretStr, model_validator

from mailpipe.errors import ComposeError, ConfigError, PermanentFailure, TransientFailure
from mailpipe.net.endpoint import Endpoint, Timeouts
from mailpipe.net.sync import SmtpConnection
from mailpipe.net.tls import client_context
from mailpipe.pipeline.component import LocalPath, Options, Sink
from mailpipe.pipeline.mail import Mail
from mailpipe.pipeline.outcome import Fate, Receipt, RecipientReceipt
from mailpipe.smtp.command import Ehlo
from mailpipe.smtp.events import RecipientAnswer, TransactionResult
from mailpipe.smtp.extension import Extensions
from mailpipe.smtp.opening import Opening, TlsMode
from mailpipe.smtp.sasl import Credentials
from mailpipe.smtp.state import Dialect
from mailpipe.status import EnhancedStatus
from mailpipe.units import Duration, duration_text
from mailpipe.writer import WritePolicy, write

_MAX_DIAGNOSTIC = 1000
_NO_RECIPIENTS = (
    "the mail has no recipients: neither its source nor the pipeline's [envelope] rule gave any; "
    "check recipients = … there"
)


class SmtpOptions(Options):
    """Where the next hop is and how it is to be spoken to."""

    host: str = Field(min_length=1)
    """The server's name or address, or the path of a UNIX socket."""

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

    timeout: Duration = Field(default=300.0, gt=0)
    """How long to wait for a reply; twice as long for the last one, after the message (RFC 5321 section 4.5.3.2)."""

    retry_pause: Duration = Field(default=5.0, ge=0)
    """How long a server that is down is not asked again; mails that come meanwhile are deferred at once."""

    messages_per_connection: int = Field(default=100, ge=1)
    """Mails that one connection carries before a new one is made."""

    recipients_per_transaction: int = Field(default=100, ge=1)
    """Recipients who are told at once; a mail with more goes in several transactions."""

    @model_validator(mode="after")
    def _one_password(self) -> Self:
        if self.password is not None and self.password_file is not None:
            raise ValueError("give either password or password_file")
        given = self.password is not None or self.password_file is not None
        if given != (self.username is not None):
            raise ValueError("username goes together with password or password_file")
        return self


class LmtpOptions(SmtpOptions):
    """Where the delivery agent is and how it is to be spoken to."""

    port: int = Field(default=24, ge=1, le=65535)
    """Its TCP port."""


class SmtpSink(Sink[SmtpOptions]):
    """Hands mail to an SMTP server, with an answer for each recipient.

    Example:
        ```toml
        [sink]
        use = "smtp"
        host = "127.0.0.1"
        port = 10026
        timeout = "1m"
        ```
    """

    name = "smtp"
    needs_recipients = True
    Options = SmtpOptions
    dialect: ClassVar[Dialect] = Dialect.SMTP

    def __init__(self, options: SmtpOptions) -> None:
        super().__init__(options)
        self._connection: SmtpConnection | None = None
        self._failure: TransientFailure | None = None
        self._down_until = 0.0
        self._losses = 0

    def open(self) -> None:
        """Read the password; the connection itself waits for the first mail.

        Raises:
            ConfigError: the password or the certificates cannot be read, or helo_name is no host name.
        """
        if self._connection is not None:
            return
        options = self.options
        if options.tls_ca_file is not None:
            client_context(verify=True, ca_file=options.tls_ca_file)
        plan = Opening(options.helo_name or _own_name(), self.dialect, options.tls, self._credentials())
        if options.helo_name is not None:
            try:
                _ = Ehlo(options.helo_name).octets
            except ValueError as error:
                raise ConfigError(str(error)) from error
        self._connection = SmtpConnection(
            Endpoint(options.host, options.port), plan, Timeouts.within(options.timeout),
            tls_verify=options.tls_verify, tls_ca_file=options.tls_ca_file,
        )  # fmt: skip

    def close(self) -> None:
        """Say goodbye to the server."""
        if self._connection is not None:
            self._connection.quit()
        self._connection = None

    def _credentials(self) -> Credentials | None:
        options = self.options
        if options.username is None:
            return None
        if options.password_file is not None:
            try:
                password = options.password_file.read_text("utf-8").partition("\n")[0].rstrip("\r")
            except (OSError, UnicodeError) as error:
                raise ConfigError(f"password_file {options.password_file}: {error}") from error
        else:
            assert options.password is not None
            password = options.password.get_secret_value()
        return Credentials(options.username, password, options.password_in_clear)

    def deliver(self, mail: Mail) -> Receipt:
        """One transaction with the server; an entry for each forward-path, in order.

        A receipt says DELIVERED where the server took the mail, FAILED for its 5yz, DEFERRED for its 4yz and for a
        connection that broke before the end of data, IN_DOUBT where it broke after that and before the reply.

        Raises:
            TransientFailure: the server cannot be reached or does not want us now; nothing was handed over.
            PermanentFailure: the mail has no recipients.
        """
        if not mail.envelope.forward_paths:
            raise PermanentFailure(_NO_RECIPIENTS, EnhancedStatus(5, 1, 0))
        self._refuse_while_down()
        self.open()
        connection = self._connection
        assert connection is not None
        if connection.transaction_count >= self._messages_per_connection(connection.extensions):
            connection.quit()
        try:
            result = self._hand_over(connection, mail)
        except ComposeError as error:
            return Receipt.of_all(mail.envelope.forward_paths, Fate.FAILED, str(error.status), str(error))
        except TransientFailure as failure:
            self._note_down(failure)
            raise
        self._losses = 0 if result.lost is None else self._losses + 1
        if result.lost is not None and self._losses >= 2:
            # Once is a server that was restarted; twice in a row it would be a time-out for every mail of the batch.
            self._note_down(TransientFailure(result.lost.diagnostic, result.lost.status))
        return self._receipt(result, connection)

    def _hand_over(self, connection: SmtpConnection, mail: Mail) -> TransactionResult:
        limit = self.options.recipients_per_transaction
        while True:
            extensions = connection.open()
            policy = _policy(extensions, mail)
            octets = write(mail.message, policy)
            result = connection.deliver(mail.envelope, octets, recipients_per_transaction=limit)
            refused_by_us = all(not answer.command and answer.reply is not None for answer in result.answers)
            # A connection that had to be made anew may have found another server behind the name.
            if not (refused_by_us and connection.is_open and _policy(connection.extensions, mail) != policy):
                return result

    def _messages_per_connection(self, extensions: Extensions) -> int:
        most = self.options.messages_per_connection
        return min(most, extensions.limits.get("MAILMAX", most))

    def _refuse_while_down(self) -> None:
        if self._failure is not None and time.monotonic() < self._down_until:
            pause = duration_text(self.options.retry_pause)
            words = f"{self._failure.diagnostic} (not asked again within retry_pause = {pause})"
            raise TransientFailure(words, self._failure.status)
        self._failure = None

    def _note_down(self, failure: TransientFailure) -> None:
        self._failure = failure
        self._down_until = time.monotonic() + self.options.retry_pause

    def _receipt(self, result: TransactionResult, connection: SmtpConnection) -> Receipt:
        entries = tuple(_entry(answer, result, connection.last_peer) for answer in result.answers)
        accepted = (str(answer.reply) for answer in result.answers if answer.is_accepted)
        return Receipt(entries, next(accepted, ""))


class LmtpSink(SmtpSink):
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


def _policy(extensions: Extensions, mail: Mail) -> WritePolicy:
    """What the peer can take.

    A mail that is declared to need SMTPUTF8 is written in ASCII for a peer without it (RFC 6531 section 3.2); the raw
    8-bit header of an undeclared one is passed on as it always was.

    Content without lines is not sent even where BINARYMIME would allow it: the writer gives CRLF to every line, and the
    next hop but one may not take it.
    """
    must_be_ascii = not extensions.eightbitmime or (mail.envelope.parameters.smtputf8 and not extensions.smtputf8)
    return WritePolicy(b"\r\n", "7bit" if must_be_ascii else "8bit", extensions.smtputf8)


def _own_name() -> str:
    """This machine's name where it can be said in a HELO, "localhost" where it cannot."""
    name = socket.getfqdn()
    try:
        _ = Ehlo(name).octets
    except ValueError:
        return "localhost"
    return name


def _entry(answer: RecipientAnswer, result: TransactionResult, peer: str) -> RecipientReceipt:
    reply = answer.reply
    if reply is None:
        lost = result.lost
        words = lost.diagnostic if lost is not None else "the connection ended before the reply came"
        fate = Fate.IN_DOUBT if answer.in_doubt else Fate.DEFERRED
        return RecipientReceipt(answer.path, fate, lost.status if lost is not None else EnhancedStatus(4, 4, 2), words)
    status = reply.enhanced_status
    if answer.is_accepted:
        fate = Fate.DELIVERED
    elif answer.is_permanent:
        fate = Fate.FAILED
    else:
        fate = Fate.DEFERRED
        status = replace(status, status_class=4)
    if not answer.command:
        return RecipientReceipt(answer.path, fate, status, f"not sent to {peer}: {reply.text}"[:_MAX_DIAGNOSTIC])
    words = f"{peer} said: {reply} (in reply to {answer.command})"
    return RecipientReceipt(answer.path, fate, status, words[:_MAX_DIAGNOSTIC])
