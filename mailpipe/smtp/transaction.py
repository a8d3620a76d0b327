"""One transaction from the client's side (RFC 5321 section 3.3, RFC 2033 section 4.2): what is sent, who is answered.

    transaction = Transaction(envelope, plan, dialect)
    while (step := transaction.next_step(may_run_ahead=True)) is not None: …
    transaction.take(step, reply)

Never here: the connection, other transactions, and what a fate follows from an answer.
"""

from mailpipe.errors import ConnectionLost, RemoteProtocolError
from mailpipe.frozen import quick_maker
from mailpipe.smtp.command import Bdat, Command, Data, EndOfData, Mail, Rcpt
from mailpipe.smtp.envelope import Envelope
from mailpipe.smtp.events import RecipientAnswer, TransactionResult
from mailpipe.smtp.negotiation import TransactionPlan
from mailpipe.smtp.reply import Reply
from mailpipe.smtp.state import Dialect

DATA = Data()
"""The one DATA command that is enough for all."""
_BAD_SEQUENCE = 503
_answer = quick_maker(RecipientAnswer)
_result = quick_maker(TransactionResult)


class Transaction:
    """The bookkeeping of one transaction.

    Attributes:
        end_mark: octets handed out on the connection up to and including the end of data; None before that.
        mail_reply: the reply to MAIL, None before it.
        is_ahead: MAIL was sent behind a transaction whose last reply had not come.
        has_begun: MAIL was sent.
        is_out_of_step: MAIL met a peer that was still busy with the transaction before.
        is_whole: and everything with it that needs no reply.
        leaves_unclear: the peer may hold on to the reverse-path behind the end of data, so that RSET must be said.
    """

    __slots__ = (
        "_accepted", "_answers", "_content_asked", "_content_due", "_contradicted", "_ends_answered", "_given_up",
        "_is_over", "_outstanding", "_rcpts_answered", "_rcpts_sent", "dialect", "end_mark", "envelope",
        "has_begun", "is_ahead", "is_out_of_step", "is_whole", "leaves_unclear", "mail_reply", "plan",
    )  # fmt: skip

    def __init__(self, envelope: Envelope, plan: TransactionPlan, dialect: Dialect) -> None:
        self.envelope, self.plan, self.dialect = envelope, plan, dialect
        self._answers: list[RecipientAnswer | None] = [None] * len(envelope.forward_paths)
        if plan.refusals:
            for place, reply in plan.refusals.items():
                self._settle(place, reply, "")
        self._begin()

    def _begin(self) -> None:
        self.mail_reply: Reply | None = None
        self.end_mark: int | None = None
        self.is_ahead = self.has_begun = self.is_whole = self.leaves_unclear = False
        self._accepted: list[int] = []
        self._rcpts_sent = self._rcpts_answered = 0
        self._content_asked = self._content_due = False
        self._ends_answered = 0
        self._is_over = self.is_out_of_step = self._contradicted = False
        self._given_up = not self.plan.rcpts
        self._outstanding = 0

    @property
    def is_done(self) -> bool:
        """Every command has been answered and there is none to come."""
        if self._outstanding or self._content_due or self.is_out_of_step:
            return False
        return self._given_up or self._is_over

    @property
    def only_waits(self) -> bool:
        """All that may go out has; what comes next depends on replies that have not come."""
        return self._content_asked and not (self._content_due or self._given_up or self._is_over or self.is_out_of_step)

    @property
    def must_begin_again(self) -> bool:
        """MAIL met a peer that was still busy with the transaction before; everything has been answered since."""
        return self.is_out_of_step and not self._outstanding and not self._content_due

    def begin_again(self) -> None:
        """Forget what was answered to a beginning that came too early."""
        self._begin()

    def send_whole(self) -> int:
        """Note that MAIL and every RCPT go out at once, with DATA or the content behind them.

        Returns:
            How many commands that is.
        """
        self.has_begun = self.is_whole = True
        self._rcpts_sent = len(self.plan.rcpts)
        self._content_asked = True
        self._outstanding = self._rcpts_sent + 2
        if self.plan.is_eager:
            self.leaves_unclear = True  # RFC 3030 does not say what is left of the MAIL before a refused BDAT
        return self._outstanding

    def next_step(self, *, may_run_ahead: bool) -> Command | None:
        """The next command to send, None while a reply must be awaited first.

        Args:
            may_run_ahead: the peer takes several commands in flight (RFC 2920).
        """
        if self._given_up or self._content_due or (self._outstanding and not may_run_ahead):
            return None
        plan = self.plan
        step: Command
        if not self.has_begun:
            self.has_begun = True
            step = plan.mail
        elif self._rcpts_sent < len(plan.rcpts):
            step = plan.rcpts[self._rcpts_sent][1]
            self._rcpts_sent += 1
        elif self._content_asked:
            return None
        elif not plan.is_chunked:
            self._content_asked = True
            step = DATA
        elif self._rcpts_answered == len(plan.rcpts) or (plan.is_eager and may_run_ahead):
            # BDAT brings the content along: unless asked to, never before somebody is known to want it
            self._content_asked = True
            self.leaves_unclear = self._rcpts_answered < len(plan.rcpts)
            step = Bdat(len(plan.content), last=True)
        else:
            return None
        self._outstanding += 1
        return step

    def take_content(self) -> bytes | None:
        """What is to follow a 354 reply, once; None while there is nothing to follow."""
        if not self._content_due:
            return None
        self._content_due = False
        self._outstanding += 1
        if not self._accepted:
            # RFC 2920 section 3.1: DATA ran ahead and nobody was accepted; a lone dot gets us out of it
            self.leaves_unclear = True
            return b".\r\n"
        return self.plan.content

    def goes_on(self, kind: type[Command], reply: Reply) -> bool:
        """Note the reply that was hoped for where all is as usual: a short way for nearly every reply.

        Args:
            kind: of the command.
            reply: 354 to DATA, positive to all others.

        Returns:
            Whether it was noted; where not, `take` is to be asked.
        """
        if kind is Rcpt:
            place = self.plan.rcpts[self._rcpts_answered][0]
            if self.is_out_of_step or self._answers[place] is not None:
                return False
            self._rcpts_answered += 1
            self._accepted.append(place)
        elif kind is Mail:
            self.mail_reply = reply
        elif kind is Data:
            if self.is_out_of_step or self._contradicted or not self._accepted:
                return False
            self._content_due = True
        elif kind is EndOfData and self.dialect is Dialect.SMTP:
            for place in self._accepted:
                self._settle(place, reply, EndOfData.verb)
            self._is_over = True
        else:
            return False
        self._outstanding -= 1
        return True

    def take(self, command: Command, reply: Reply) -> bool:
        """Note the reply to a command.

        Returns:
            Whether the command will be answered once more, as the end of data is in LMTP.

        Raises:
            RemoteProtocolError: the reply makes no sense there.
        """
        self._outstanding -= 1
        kind = type(command)
        if kind is Rcpt:
            self._take_rcpt(reply)
        elif kind is Mail:
            self._take_mail(reply)
        elif kind is Data:
            self._take_data(reply)
        else:
            return self._take_end(command, reply)
        return False

    def _take_mail(self, reply: Reply) -> None:
        _refuse_intermediate("MAIL", reply)
        self.mail_reply = reply
        if reply.is_positive:
            return
        if self.is_ahead and reply.code == _BAD_SEQUENCE and self.end_mark is None:
            self.is_out_of_step = self._given_up = True  # the peer's trouble with the one before, not with this one
        else:
            self._give_up(reply, "MAIL")

    def _take_rcpt(self, reply: Reply) -> None:
        _refuse_intermediate("RCPT", reply)
        place = self.plan.rcpts[self._rcpts_answered][0]
        self._rcpts_answered += 1
        if self._answers[place] is not None or self.is_out_of_step:
            if reply.is_positive:
                self._contradict()
            return  # MAIL was refused, and this refusal only follows from it
        if reply.is_positive:
            self._accepted.append(place)
        else:
            self._settle(place, reply, "RCPT")
        if self._rcpts_answered == len(self.plan.rcpts) and not self._accepted:
            self._given_up = True

    def _contradict(self) -> None:
        """MAIL was refused and RCPT was not: the recipients would be those of some other reverse-path.

        Raises:
            RemoteProtocolError: the content has been sent already; whom it went to is anybody's guess.
        """
        self._contradicted = True
        if self.end_mark is not None:
            for place, _ in self.plan.rcpts:
                self._answers[place] = None
            raise RemoteProtocolError("took RCPT after it had refused MAIL")

    def _take_data(self, reply: Reply) -> None:
        if reply.is_positive:
            raise RemoteProtocolError(f"answered DATA with {reply} where 354 or a refusal was due")
        if reply.is_intermediate:
            if self._contradicted or self.is_out_of_step:
                raise RemoteProtocolError("took DATA after it had refused MAIL")
            if not self._accepted and self.dialect is Dialect.LMTP:
                # RFC 2033 section 4.2: it must refuse; how many replies would follow the dot is anybody's guess
                raise RemoteProtocolError("took DATA in LMTP after it had refused every recipient")
            self._content_due = True
        elif not self.is_out_of_step:
            self._give_up(reply, "DATA")

    def _take_end(self, command: Command, reply: Reply) -> bool:
        if reply.is_intermediate:
            self._outstanding += 1
            raise RemoteProtocolError(f"answered the {command.verb} with {reply}")
        accepted = self._accepted
        if self.dialect is Dialect.LMTP and accepted:
            self._settle(accepted[self._ends_answered], reply, command.verb)
            self._ends_answered += 1
            if self._ends_answered < len(accepted):
                self._outstanding += 1
                return True
        else:
            for place in accepted:
                self._settle(place, reply, command.verb)
        self._is_over = True
        return False

    def _give_up(self, reply: Reply, verb: str) -> None:
        self._given_up = True
        for place, answer in enumerate(self._answers):
            if answer is None:
                self._settle(place, reply, verb)

    def _settle(self, place: int, reply: Reply, verb: str) -> None:
        self._answers[place] = _answer(self.envelope.forward_paths[place], reply, verb, False)

    def closed_by(self, command: Command, reply: Reply) -> None:
        """The peer said 421: whoever has no answer yet is answered by that.

        Not so behind a content that went out ahead of the replies to RCPT: a peer that says 421 to one recipient and
        does not leave has it for the others, who stay without an answer, in doubt.
        """
        if isinstance(command, Rcpt) and self.end_mark is not None:
            self._settle(self.plan.rcpts[self._rcpts_answered][0], reply, command.verb)
            return
        if isinstance(command, Mail):
            self.mail_reply = reply
        if self.dialect is Dialect.LMTP and isinstance(command, EndOfData | Bdat) and self._accepted:
            # One reply, one recipient (RFC 2033 section 4.2): those behind him may have been served, and are in doubt.
            self._settle(self._accepted[self._ends_answered], reply, command.verb)
            return
        self._give_up(reply, command.verb)

    @property
    def has_every_answer(self) -> bool:
        """No recipient is without an answer."""
        return None not in self._answers

    def result(self, lost: str = "", octets_out: int = 0) -> TransactionResult:
        """How it ended.

        Args:
            lost: why the connection ended; "" where it did not end.
            octets_out: octets of the connection that have left us for sure or perhaps.
        """
        if not lost and None not in self._answers:
            return _result(self.envelope, tuple(self._answers), None, self.mail_reply)
        answers: list[RecipientAnswer] = []
        doubtful = self.end_mark is not None and octets_out >= self.end_mark
        for path, answer in zip(self.envelope.forward_paths, self._answers, strict=True):
            answers.append(answer or RecipientAnswer(path, None, "end of data" if doubtful else "", in_doubt=doubtful))
        error = None
        if lost:
            in_doubt = any(answer.in_doubt for answer in answers)
            words = "; the end of data had been sent, the message may have been accepted" if in_doubt else ""
            error = ConnectionLost(lost + words, in_doubt=in_doubt)
        return TransactionResult(self.envelope, tuple(answers), error, self.mail_reply)


def _refuse_intermediate(verb: str, reply: Reply) -> None:
    if reply.is_intermediate:
        raise RemoteProtocolError(f"answered {verb} with {reply}")
