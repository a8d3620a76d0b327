"""The client's side of SMTP and LMTP (RFC 5321, 2033, 2920, 3030) without sockets.

    protocol = ClientProtocol(Dialect.SMTP)
    protocol.receive_data(octets); protocol.next_event()       # an event, or NEED_DATA
    protocol.send(Ehlo("client.example.org")); protocol.begin(envelope, message)
    stream.write(protocol.octets_to_send())                    # whenever it is not empty

Commands wait for their replies in one line, first come first served, so that several may be in flight where the peer
offers PIPELINING. `opening` is the script for the beginning of a session; `extensions` must be set from its result.

With `window` above 1 several transactions are in flight: the next MAIL goes behind the end of data of the one before
(RFC 2920 section 3.1), with `chunking` content and all (RFC 3030), RSET between them, since the peer may hold on to
a reverse-path whose BDAT it refused. What a lost connection then leaves in doubt: every transaction whose last octet
may have left us and that has no reply. Without BDAT that is one at most, with it up to a whole window.

Never here: sockets, clocks, and when to connect again.
"""

from collections import deque
from dataclasses import replace

from mailpipe.errors import ConnectionLost, LocalProtocolError, MailpipeError, RemoteProtocolError
from mailpipe.frozen import quick_maker
from mailpipe.smtp.command import Bdat, Command, Data, EndOfData, Greeting, Mail, Rcpt, Rset
from mailpipe.smtp.envelope import Envelope
from mailpipe.smtp.events import NEED_DATA, ConnectionEnded, Event, ReplyReceived, TransactionEnded, Wait
from mailpipe.smtp.extension import Extensions
from mailpipe.smtp.negotiation import Planner
from mailpipe.smtp.reply import Reply, ReplyParser
from mailpipe.smtp.state import Dialect, State, assumed_state, is_allowed, next_state
from mailpipe.smtp.transaction import DATA, Transaction

WINDOW = 100
"""LIMIT: commands in flight; their replies must fit into the peer's send buffer, or both sides block in a write. Where
several transactions are in flight, the front end reads while it writes, and the limit grows with their number."""

_END, _RESET = EndOfData(), Rset()
_ended = quick_maker(TransactionEnded)
_USUAL: dict[type[Command], State] = {
    Mail: State.MAIL, Rcpt: State.RCPT, Data: State.DATA, EndOfData: State.READY,
}  # fmt: skip
"""What the reply that is hoped for leads to, in short: `next_state` is asked for each of a million replies."""
_CLOSED, _TLS = State.CLOSED, State.TLS  # to look into an enumeration takes longer than all else that is done per reply
_NO_SESSION = (State.GREETING, State.HELLO, State.AUTH)
_Awaited = tuple[Command, Transaction | None]


class ClientProtocol:
    """One connection, seen from the client.

    Attributes:
        dialect: SMTP or LMTP.
        state: where the session stands, as far as replies have told.
        encrypted: TLS is in use.
        verified: and the peer has proven to be who it should be; set by the front end.
        window: transactions in flight at most; more than one only where the peer offers PIPELINING, and only for a
            front end that reads while it writes.
    """

    def __init__(self, dialect: Dialect = Dialect.SMTP, *, encrypted: bool = False, window: int = 1) -> None:
        self.dialect = dialect
        self.state = State.GREETING
        self.encrypted = encrypted
        self.verified = False
        self.window = window
        self.extensions = Extensions()
        self._assumed = State.GREETING
        self._parser = ReplyParser()
        self._awaited: deque[_Awaited] = deque([(Greeting(), None)])
        self._events: deque[Event] = deque()
        self._out: list[bytes] = []
        self._handed_out = 0
        self._answerable = 1  # of the commands awaited, those that were handed out; a reply to another came too early
        self._transactions: deque[Transaction] = deque()
        self._to_send: deque[Transaction] = deque()  # those of them that have not sent all they will
        self._last_begun: Transaction | None = None
        self._reset_due = False

    @property
    def extensions(self) -> Extensions:
        """What the peer offers; set by the front end from the result of `opening`."""
        return self._extensions

    @extensions.setter
    def extensions(self, extensions: Extensions) -> None:
        self._extensions = extensions
        self._planner: Planner | None = None
        self._pipelining = extensions.pipelining

    @property
    def is_idle(self) -> bool:
        """Nothing is awaited: a transaction may begin."""
        return not self._awaited and not self._transactions and self.state not in (State.CLOSED, State.TLS)

    @property
    def may_begin(self) -> bool:
        """One more transaction may be in flight."""
        in_flight = len(self._transactions)
        if in_flight and self._pipelining:
            return in_flight < self.window and self.state is not _CLOSED
        return self.is_idle and self.state not in _NO_SESSION

    @property
    def awaited(self) -> Command | None:
        """The command whose reply comes next; a front end chooses its time-out by it."""
        return self._awaited[0][0] if self._awaited else None

    def send(self, command: Command) -> None:
        """Give one command that belongs to no transaction.

        Raises:
            LocalProtocolError: it is not allowed now, or an argument cannot be said.
        """
        if self._transactions:
            raise LocalProtocolError(f"{command.verb} in the middle of a transaction")
        if self._awaited and (not self._pipelining or self._awaited[-1][0].ends_group):
            raise LocalProtocolError(f"{command.verb} before the reply to {self._awaited[-1][0].verb} has come")
        if not is_allowed(self._assumed, type(command)):
            raise LocalProtocolError(f"{command.verb} cannot be given now (state: {self._assumed.value})")
        self._emit(command, None)

    def begin(self, envelope: Envelope, octets: bytes, *, chunking: bool = False) -> None:
        """Begin a transaction; its events end with `TransactionEnded`, in the order in which they were begun.

        Args:
            envelope: from whom, to whom.
            octets: the message, CRLF its only line end.
            chunking: send it by BDAT where that is offered, and then behind RCPT at once where several commands may be
                in flight.

        Raises:
            LocalProtocolError: there are `window` already, no session yet, or the message holds a bare CR or LF.
        """
        if not self.may_begin:
            raise LocalProtocolError(f"a transaction cannot begin now (state: {self.state.value})")
        if self._planner is None or self._planner.verified is not self.verified:
            self._planner = Planner(self._extensions, verified=self.verified)
        plan = self._planner.plan(envelope, octets, chunking=chunking)
        transaction = Transaction(envelope, plan, self.dialect)
        self._transactions.append(transaction)
        if transaction.is_done:
            self._report()
            return
        self._to_send.append(transaction)
        if self._to_send[0] is transaction or not self._to_send[0].only_waits:
            self._advance()

    def octets_to_send(self) -> bytes:
        """What must go over the wire now; each octet is handed out once."""
        if not self._out:
            return b""
        octets = self._out[0] if len(self._out) == 1 else b"".join(self._out)
        self._out.clear()
        self._handed_out += len(octets)
        self._answerable = len(self._awaited)
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

    def tls_started(self, *, verified: bool = False) -> None:
        """The handshake is done: all that was learnt in clear is forgotten (RFC 3207 section 4.2).

        Args:
            verified: the peer has proven to be who it should be.

        Raises:
            LocalProtocolError: nobody asked for TLS.
        """
        if self.state is not State.TLS:
            raise LocalProtocolError("TLS without STARTTLS")
        self._parser.clear()
        self.extensions = Extensions()
        self.encrypted, self.verified = True, verified
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

    def take_events(self, into: deque[Event]) -> None:
        """Take every event that there is; then something must be read, and before that `octets_to_send` sent."""
        try:
            self._read_replies(to_the_end=True)
        except RemoteProtocolError as error:
            self._end(error, str(error), 0)
        into += self._events
        self._events.clear()

    def _read_replies(self, *, to_the_end: bool = False) -> None:
        """Take replies until there is an event, or until there are none.

        Raises:
            RemoteProtocolError: what came makes no sense.
        """
        awaited, parser = self._awaited, self._parser
        while (to_the_end or not self._events) and self.state is not _CLOSED and self.state is not _TLS:
            if not awaited and parser.is_empty:
                return
            reply = parser.next_reply()
            if reply is None:
                return
            if not awaited or self._answerable <= 0 or not self._goes_on(reply):
                self._take(reply)

    def _goes_on(self, reply: Reply) -> bool:
        """Take the reply that was hoped for in a transaction that went out whole; False where it is another."""
        awaited = self._awaited
        command, transaction = awaited[0]
        kind = type(command)
        if transaction is None or not transaction.is_whole or not _is_hoped_for(kind, reply.code):
            return False
        if not transaction.goes_on(kind, reply):
            return False
        awaited.popleft()
        self._answerable -= 1
        self.state = _USUAL[kind]
        if kind is Mail:
            self._reset_due = False
        elif kind is not Rcpt:  # behind RCPT nothing is to be sent that does not wait for a later reply
            if kind is EndOfData:
                self._report()
                if not awaited:
                    self._assumed = self.state
            if self._to_send and not self._to_send[0].only_waits:
                self._advance()
        return True

    def _take(self, reply: Reply) -> None:
        if not self._awaited:
            # Out of step: what follows would be taken for the answer to something else, and mail would be lost by it.
            words = f"the peer said {reply} without being asked"
            self._end(RemoteProtocolError(words), words, 0)
            return
        if self._answerable <= 0 and reply.code < 400:
            raise RemoteProtocolError(f"the peer said {reply} before {self._awaited[0][0].verb} was sent")
        command, transaction = self._awaited.popleft()
        self._answerable -= 1
        if reply.code == 421:
            self._closed_by(command, transaction, reply)
            return
        usual = _USUAL.get(type(command)) if _is_hoped_for(type(command), reply.code) else None
        self.state = usual or next_state(self.state, command, reply)
        if transaction is not None:
            self._take_for(transaction, command, reply)
        else:
            if self.state is State.TLS:
                self._parser.clear()
            self._events.append(ReplyReceived(command, reply))
        if not self._awaited:
            self._assumed = self.state
        if self._to_send and not self._to_send[0].only_waits:
            self._advance()

    def _take_for(self, transaction: Transaction, command: Command, reply: Reply) -> None:
        if command is _RESET:
            if not reply.is_positive:
                raise RemoteProtocolError(f"the peer answered RSET with {reply}")
            self._reset_due = False
            return
        kind = type(command)
        if transaction.take(command, reply):
            # another object for each reply: whoever watches `awaited` has a time-out for each
            self._awaited.appendleft((replace(command) if isinstance(command, Bdat) else EndOfData(), transaction))
            self._answerable += 1
            return
        if kind is Mail:
            self._reset_due = self._reset_due and not reply.is_positive
        elif reply.code >= 400 and (command is DATA or kind is EndOfData or kind is Bdat):
            self._reset_due = True
        if transaction.is_done:
            # A peer that still holds a reverse-path would refuse the next MAIL; RSET goes out together with that.
            self._reset_due = self._reset_due or self.state in (State.MAIL, State.RCPT, State.BDAT)
            self._report()

    def _report(self) -> None:
        """Say of those in front how they ended."""
        transactions = self._transactions
        while transactions and transactions[0].is_done:
            self._events.append(_ended(transactions.popleft().result()))

    def _advance(self) -> None:
        """Send as much of the transactions as may be in flight."""
        while self._to_send:
            transaction = self._to_send[0]
            if transaction.is_out_of_step and transaction.must_begin_again:
                transaction.begin_again()
                self._reset_due, self._last_begun = True, None
            is_done = transaction.has_begun and transaction.is_done
            if transaction.end_mark is None and not is_done and not self._push(transaction):
                return
            self._to_send.popleft()

    def _push(self, transaction: Transaction) -> bool:
        """Send as much of one transaction as may be in flight; returns whether that is all of it."""
        if transaction.has_begun and (content := transaction.take_content()) is not None:
            self._out.append(content)
            self._awaited.append((_END, transaction))
            self._mark_end(transaction)
            return True
        ahead, awaited, plan = self._pipelining, self._awaited, transaction.plan
        limit = max(WINDOW, 8 * self.window)
        if not transaction.has_begun:
            if awaited and (not ahead or awaited[-1][0].ends_group):
                return False
            if self._last_begun is not transaction:
                self._prepare(transaction)
            if ahead and len(awaited) + len(plan.rcpts) + 2 <= limit and (plan.is_eager or not plan.is_chunked):
                return self._push_whole(transaction)
        while not awaited or (ahead and len(awaited) < limit):
            step = transaction.next_step(may_run_ahead=ahead)
            if step is None:
                return False
            if isinstance(step, Bdat):
                self._push_chunk(transaction, step)
                return True
            self._emit(step, transaction)
        return False

    def _prepare(self, transaction: Transaction) -> None:
        """What must stand before MAIL."""
        before, self._last_begun = self._last_begun, transaction
        transaction.is_ahead = before is not None and not before.is_done
        if self._reset_due or (transaction.is_ahead and before is not None and before.leaves_unclear):
            self._reset_due = False
            self._emit(_RESET, transaction)

    def _push_whole(self, transaction: Transaction) -> bool:
        """Send everything that needs no reply in one group."""
        plan, awaited = transaction.plan, self._awaited
        transaction.send_whole()
        self._out.append(plan.octets)
        awaited.append((plan.mail, transaction))
        for _, rcpt in plan.rcpts:
            awaited.append((rcpt, transaction))
        if plan.is_eager:
            self._push_chunk(transaction, Bdat(len(plan.content), last=True))
            return True
        self._out.append(b"DATA\r\n")
        awaited.append((DATA, transaction))
        return False

    def _push_chunk(self, transaction: Transaction, step: Bdat) -> None:
        self._out += (step.octets, transaction.plan.content)
        self._awaited.append((step, transaction))
        self._mark_end(transaction)

    def _mark_end(self, transaction: Transaction) -> None:
        transaction.end_mark = self._handed_out + sum(map(len, self._out))

    def _emit(self, command: Command, transaction: Transaction | None) -> None:
        self._out.append(command.octets)
        self._awaited.append((command, transaction))
        self._assumed = assumed_state(self._assumed, command)

    def _closed_by(self, command: Command, transaction: Transaction | None, reply: Reply) -> None:
        """421: the peer closes the connection after it (RFC 5321 section 3.8)."""
        words = f"the peer said {reply}"
        if transaction is not None:
            transaction.closed_by(transaction.plan.mail if command is _RESET else command, reply)
            if transaction.has_every_answer:
                self._transactions.popleft()
                self._events.append(TransactionEnded(transaction.result()))
        else:
            self._events.append(ReplyReceived(command, reply))
        self._end(ConnectionLost(words), words, 0)

    def _end(self, error: MailpipeError, lost: str, unsent: int) -> None:
        for transaction in self._transactions:
            whole = transaction.is_done and transaction.has_every_answer
            result = transaction.result("" if whole else lost, self._handed_out - unsent)
            self._events.append(TransactionEnded(result))
        self._transactions.clear()
        self._to_send.clear()
        self._last_begun = None
        self._out.clear()
        self._awaited.clear()
        self.state = self._assumed = State.CLOSED
        self._events.append(ConnectionEnded(error))


def _is_hoped_for(kind: type[Command], code: int) -> bool:
    """354 to DATA, positive to all others."""
    return code == 354 if kind is Data else 200 <= code < 300
