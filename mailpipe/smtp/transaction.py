"""One transaction from the client's side (RFC 5321 section 3.3, RFC 2033 section 4.2): what is sent, who is answered.

    transaction = Transaction(envelope, plan, dialect)
    while (step := transaction.next_step(may_run_ahead=True)) is not None: …
    transaction.take(step, reply)

Never here: the connection, other transactions, and what a fate follows from an answer.
"""

from mailpipe.errors import ConnectionLost, RemoteProtocolError
from mailpipe.smtp.command import Bdat, Command, Data, Mail, Rcpt
from mailpipe.smtp.envelope import Envelope
from mailpipe.smtp.events import RecipientAnswer, TransactionResult
from mailpipe.smtp.negotiation import TransactionPlan
from mailpipe.smtp.reply import Reply
from mailpipe.smtp.state import Dialect


class Transaction:
    """The bookkeeping of one transaction.

    Attributes:
        end_mark: octets handed out on the connection up to and including the end of data; None before that.
        mail_reply: the reply to MAIL, None before it.
    """

    def __init__(self, envelope: Envelope, plan: TransactionPlan, dialect: Dialect) -> None:
        self.envelope, self.plan, self.dialect = envelope, plan, dialect
        self.mail_reply: Reply | None = None
        self.end_mark: int | None = None
        self._answers: list[RecipientAnswer | None] = [None] * len(envelope.forward_paths)
        for place, reply in plan.refusals.items():
            self._settle(place, reply, "")
        self._accepted: list[int] = []
        self._mail_sent = False
        self._rcpts_sent = self._rcpts_answered = 0
        self._content_asked = False
        self._content_due = False
        self._ends_answered = self._ends_due = 0
        self._given_up = not plan.rcpts
        self._outstanding = 0

    @property
    def is_done(self) -> bool:
        """Every command has been answered and there is none to come."""
        if self._outstanding or self._content_due:
            return False
        return self._given_up or (self._ends_due > 0 and self._ends_answered == self._ends_due)

    def next_step(self, *, may_run_ahead: bool) -> Command | None:
        """The next command to send, None while a reply must be awaited first.

        Args:
            may_run_ahead: the peer takes several commands in flight (RFC 2920).
        """
        if self._given_up or self._content_due or (self._outstanding and not may_run_ahead):
            return None
        step: Command
        if not self._mail_sent:
            self._mail_sent = True
            step = self.plan.mail
        elif self._rcpts_sent < len(self.plan.rcpts):
            step = self.plan.rcpts[self._rcpts_sent][1]
            self._rcpts_sent += 1
        elif self._content_asked:
            return None
        elif not self.plan.is_chunked:
            self._content_asked = True
            step = Data()
        elif self._rcpts_answered == len(self.plan.rcpts):
            # BDAT brings the content along: never before somebody is known to want it
            self._content_asked = True
            self._ends_due = len(self._accepted) if self.dialect is Dialect.LMTP else 1
            self._outstanding += self._ends_due
            return Bdat(len(self.plan.content), last=True)
        else:
            return None
        self._outstanding += 1
        return step

    @property
    def ends_due(self) -> int:
        """How many replies the end of data will bring."""
        return self._ends_due

    def take_content(self) -> bytes | None:
        """What is to follow a 354 reply, once; None while there is nothing to follow."""
        if not self._content_due:
            return None
        self._content_due = False
        if not self._accepted:
            # RFC 2920 section 3.1: DATA ran ahead and nobody was accepted; a lone dot gets us out of it
            self._ends_due = 1
            self._outstanding += 1
            return b".\r\n"
        self._ends_due = len(self._accepted) if self.dialect is Dialect.LMTP else 1
        self._outstanding += self._ends_due
        return self.plan.content

    def take(self, command: Command, reply: Reply) -> None:
        """Note the reply to a command.

        Raises:
            RemoteProtocolError: the reply makes no sense there.
        """
        self._outstanding -= 1
        match command:
            case Mail():
                self._take_mail(reply)
            case Rcpt():
                self._take_rcpt(reply)
            case Data():
                self._take_data(reply)
            case _:
                self._take_end(command, reply)

    def _take_mail(self, reply: Reply) -> None:
        _refuse_intermediate("MAIL", reply)
        self.mail_reply = reply
        if not reply.is_positive:
            self._give_up(reply, "MAIL")

    def _take_rcpt(self, reply: Reply) -> None:
        _refuse_intermediate("RCPT", reply)
        place = self.plan.rcpts[self._rcpts_answered][0]
        self._rcpts_answered += 1
        if self._answers[place] is not None:
            return  # MAIL was refused, and this refusal only follows from it
        if reply.is_positive:
            self._accepted.append(place)
        else:
            self._settle(place, reply, "RCPT")
        if self._rcpts_answered == len(self.plan.rcpts) and not self._accepted:
            self._given_up = True

    def _take_data(self, reply: Reply) -> None:
        if reply.is_positive:
            raise RemoteProtocolError(f"answered DATA with {reply} where 354 or a refusal was due")
        if reply.is_intermediate:
            if not self._accepted and self.dialect is Dialect.LMTP:
                # RFC 2033 section 4.2: it must refuse; how many replies would follow the dot is anybody's guess
                raise RemoteProtocolError("took DATA in LMTP after it had refused every recipient")
            self._content_due = True
            return
        self._give_up(reply, "DATA")

    def _take_end(self, command: Command, reply: Reply) -> None:
        if reply.is_intermediate:
            self._outstanding += 1
            raise RemoteProtocolError(f"answered the {command.verb} with {reply}")
        if self._accepted:
            places = self._accepted if self.dialect is Dialect.SMTP else [self._accepted[self._ends_answered]]
            for place in places:
                self._settle(place, reply, command.verb)
        self._ends_answered += 1

    def _give_up(self, reply: Reply, verb: str) -> None:
        self._given_up = True
        for place, answer in enumerate(self._answers):
            if answer is None:
                self._settle(place, reply, verb)

    def _settle(self, place: int, reply: Reply, verb: str) -> None:
        self._answers[place] = RecipientAnswer(self.envelope.forward_paths[place], reply, verb)

    def closed_by(self, command: Command, reply: Reply) -> None:
        """The peer said 421: whoever has no answer yet is answered by that."""
        if isinstance(command, Mail):
            self.mail_reply = reply
        self._give_up(reply, command.verb)
        self._outstanding, self._content_due = 0, False

    def result(self, lost: str = "", octets_out: int = 0) -> TransactionResult:
        """How it ended.

        Args:
            lost: why the connection ended; "" where it did not end.
            octets_out: octets of the connection that have left us for sure or perhaps.
        """
        doubtful = self.end_mark is not None and octets_out >= self.end_mark
        answers = tuple(
            answer or RecipientAnswer(path, None, "end of data" if doubtful else "", in_doubt=doubtful)
            for path, answer in zip(self.envelope.forward_paths, self._answers, strict=True)
        )
        error = None
        if lost:
            in_doubt = any(answer.in_doubt for answer in answers)
            words = "; the end of data had been sent, the message may have been accepted" if in_doubt else ""
            error = ConnectionLost(lost + words, in_doubt=in_doubt)
        return TransactionResult(self.envelope, answers, error, self.mail_reply)


def _refuse_intermediate(verb: str, reply: Reply) -> None:
    if reply.is_intermediate:
        raise RemoteProtocolError(f"answered {verb} with {reply}")
