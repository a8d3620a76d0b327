"""The client's side of SMTP and LMTP (RFC 5321, 2033, 2920, 3030) without sockets.

    protocol = ClientProtocol(Dialect.SMTP)
    protocol.receive_data(octets); protocol.next_event()       # an event, or NEED_DATA
    protocol.send(Ehlo("client.example.org")); protocol.begin(envelope, message)
    stream.write(protocol.octets_to_send())                    # whenever it is not empty

Commands wait for their replies in one line, first come first served, so that several may be in flight where the peer
offers PIPELINING. `opening` is the script for the beginning of a session; `extensions` must be set from its result.

Never here: sockets, clocks, and when to connect again.
"""

from collections import deque

from mailpipe.errors import ConnectionLost, LocalProtocolError, MailpipeError, RemoteProtocolError
from mailpipe.smtp.command import Bdat, Command, Data, EndOfData, Greeting, Rset
from mailpipe.smtp.envelope import Envelope
from mailpipe.smtp.events import NEED_DATA, ConnectionEnded, Event, ReplyReceived, TransactionEnded, Wait
from mailpipe.smtp.extension import Extensions
from mailpipe.smtp.negotiation import plan_transaction
from mailpipe.smtp.reply import Reply, ReplyParser
from mailpipe.smtp.state import Dialect, State, assumed_state, is_allowed, next_state
from mailpipe.smtp.transaction import Transaction

WINDOW = 100
"""LIMIT: commands in flight; their replies must fit into the peer's send buffer, or both sides block in a write."""

_Awaited = tuple[Command, Transaction | None]


class ClientProtocol:
    """One connection, seen from the client.

    Attributes:
        dialect: SMTP or LMTP.
        extensions: what the peer offers; set by the front end from the result of `opening`.
        state: where the session stands, as far as replies have told.
        encrypted: TLS is in use.
    """

    def __init__(self, dialect: Dialect = Dialect.SMTP, *, encrypted: bool = False, window: int = WINDOW) -> None:
        self.dialect = dialect
        self.extensions = Extensions()
        self.state = State.GREETING
        self.encrypted = encrypted
        self._window = window
        self._assumed = State.GREETING
        self._parser = ReplyParser()
        self._awaited: deque[_Awaited] = deque([(Greeting(), None)])
        self._events: deque[Event] = deque()
        self._out: list[bytes] = []
        self._handed_out = 0
        self._transaction: Transaction | None = None
        self._reset_due = False

    @property
    def is_idle(self) -> bool:
        """Nothing is awaited: a transaction may begin."""
        return not self._awaited and self._transaction is None and self.state not in (State.CLOSED, State.TLS)

    @property
    def awaited(self) -> Command | None:
        """The command whose reply comes next; a front end chooses its time-out by it."""
        return self._awaited[0][0] if self._awaited else None

    def send(self, command: Command) -> None:
        """Give one command that belongs to no transaction.

        Raises:
            LocalProtocolError: it is not allowed now, or an argument cannot be said.
        """
        if self._transaction is not None:
            raise LocalProtocolError(f"{command.verb} in the middle of a transaction")
        if self._awaited and (not self.extensions.pipelining or self._awaited[-1][0].ends_group):
            raise LocalProtocolError(f"{command.verb} before the reply to {self._awaited[-1][0].verb} has come")
        if not is_allowed(self._assumed, type(command)):
            raise LocalProtocolError(f"{command.verb} cannot be given now (state: {self._assumed.value})")
        self._emit(command, None)

    def begin(self, envelope: Envelope, octets: bytes) -> None:
        """Begin a transaction; its events end with `TransactionEnded`.

        Args:
            envelope: from whom, to whom.
            octets: the message, CRLF its only line end.

        Raises:
            LocalProtocolError: there is one already, no session yet, or the message holds a bare CR or LF.
        """
        if not self.is_idle or self.state in (State.GREETING, State.HELLO, State.AUTH):
            raise LocalProtocolError(f"a transaction cannot begin now (state: {self.state.value})")
        plan = plan_transaction(envelope, octets, self.extensions, encrypted=self.encrypted)
        transaction = Transaction(envelope, plan, self.dialect)
        if transaction.is_done:
            self._events.append(TransactionEnded(transaction.result()))
            return
        if self._reset_due:
            self._reset_due = False
            self._emit(Rset(), None)
        self._transaction = transaction
        self._advance()

    def octets_to_send(self) -> bytes:
        """What must go over the wire now; each octet is handed out once."""
        if not self._out:
            return b""
        octets = self._out[0] if len(self._out) == 1 else b"".join(self._out)
        self._out.clear()
        self._handed_out += len(octets)
        return octets

    def receive_data(self, octets: bytes) -> None:
        """Take in what the peer sent; b"" means that it closed the connection."""
        if self.state is State.TLS:
            return  # RFC 3207 section 4.2: what was sent in clear behind the 220 was not sent by the peer we will trust
        if octets:
            self._parser.feed(octets)
        else:
            instead = f" in place of a reply to {self.awaited.verb}" if self.awaited is not None else ""
            self.connection_lost(f"the peer closed the connection{instead}")

    def tls_started(self) -> None:
        """The handshake is done: all that was learnt in clear is forgotten (RFC 3207 section 4.2)."""
        if self.state is not State.TLS:
            raise LocalProtocolError("TLS without STARTTLS")
        self._parser.clear()
        self.extensions = Extensions()
        self.encrypted = True
        self.state = self._assumed = State.HELLO

    def connection_lost(self, reason: str, *, unsent: int = 0) -> None:
        """The connection has ended or is given up.

        Args:
            reason: why, one sentence without a stop.
            unsent: octets of the last `octets_to_send` that have certainly not left.
        """
        try:
            self._read_replies(to_the_end=True)  # the last words may still wait: a 421 says more than the end
        except RemoteProtocolError:
            self._parser.clear()
        if self.state is not State.CLOSED:
            self._end(ConnectionLost(reason), reason, unsent)

    def next_event(self) -> Event | Wait:
        """The next event; NEED_DATA when something must be read, and before that `octets_to_send` sent."""
        if not self._events and self.state is not State.CLOSED:
            try:
                self._read_replies()
            except RemoteProtocolError as error:
                self._end(error, str(error), 0)
        return self._events.popleft() if self._events else NEED_DATA

    def _read_replies(self, *, to_the_end: bool = False) -> None:
        """Take replies until there is an event, or until there are none.

        Raises:
            RemoteProtocolError: what came makes no sense.
        """
        while (to_the_end or not self._events) and self.state not in (State.CLOSED, State.TLS):
            if not self._awaited and self._parser.is_empty:
                return
            reply = self._parser.next_reply()
            if reply is None:
                return
            self._take(reply)

    def _take(self, reply: Reply) -> None:
        if not self._awaited:
            # Out of step: what follows would be taken for the answer to something else, and mail would be lost by it.
            self._end(RemoteProtocolError(f"the peer said {reply} without being asked"), "", 0)
            return
        command, transaction = self._awaited.popleft()
        if reply.code == 421:
            self._closed_by(command, transaction, reply)
            return
        self.state = next_state(self.state, command, reply)
        if self.state is State.TLS:
            self._parser.clear()
        if transaction is not None:
            self._take_for(transaction, command, reply)
        elif isinstance(command, Rset) and self._transaction is not None:
            if not reply.is_positive:
                raise RemoteProtocolError(f"the peer answered RSET with {reply}")
        else:
            self._events.append(ReplyReceived(command, reply))
        if not self._awaited:
            self._assumed = self.state
        if self._transaction is not None:
            self._advance()

    def _take_for(self, transaction: Transaction, command: Command, reply: Reply) -> None:
        transaction.take(command, reply)
        if not reply.is_positive and isinstance(command, Data | EndOfData | Bdat):
            self._reset_due = not reply.is_intermediate
        if transaction.is_done:
            # A peer that still holds a reverse-path would refuse the next MAIL; RSET goes out together with that.
            self._reset_due = self._reset_due or self.state in (State.MAIL, State.RCPT, State.BDAT)
            self._transaction = None
            self._events.append(TransactionEnded(transaction.result()))

    def _advance(self) -> None:
        """Send as much of the transaction as may be in flight."""
        transaction = self._transaction
        assert transaction is not None
        content = transaction.take_content()
        if content is not None:
            self._out.append(content)
            self._awaited.extend((EndOfData(), transaction) for _ in range(transaction.ends_due))
            self._mark_end(transaction)
            return
        ahead = self.extensions.pipelining
        while not self._awaited or (ahead and len(self._awaited) < self._window):
            step = transaction.next_step(may_run_ahead=ahead)
            if step is None:
                return
            if isinstance(step, Bdat):
                self._out += (step.octets, transaction.plan.content)
                self._awaited.extend((Bdat(step.size, step.last), transaction) for _ in range(transaction.ends_due))
                self._mark_end(transaction)
                return
            self._emit(step, transaction)

    def _mark_end(self, transaction: Transaction) -> None:
        transaction.end_mark = self._handed_out + sum(map(len, self._out))

    def _emit(self, command: Command, transaction: Transaction | None) -> None:
        self._out.append(command.octets)
        self._awaited.append((command, transaction))
        self._assumed = assumed_state(self._assumed, command)

    def _closed_by(self, command: Command, transaction: Transaction | None, reply: Reply) -> None:
        """421: the peer closes the connection after it (RFC 5321 section 3.8)."""
        if self._transaction is not None:
            self._transaction.closed_by(command if transaction is not None else self._transaction.plan.mail, reply)
        else:
            self._events.append(ReplyReceived(command, reply))
        self._end(ConnectionLost(f"the peer said {reply}"), "", 0)

    def _end(self, error: MailpipeError, lost: str, unsent: int) -> None:
        if self._transaction is not None:
            result = self._transaction.result(lost, self._handed_out - unsent)
            self._events.append(TransactionEnded(result))
            self._transaction = None
        self._out.clear()
        self._awaited.clear()
        self.state = self._assumed = State.CLOSED
        self._events.append(ConnectionEnded(error))
