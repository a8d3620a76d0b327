"""What a client's protocol core reports upward.

    match protocol.next_event():
        case ReplyReceived(command, reply): …
        case TransactionEnded(result): …
        case ConnectionEnded(error): …
        case Wait.NEED_DATA: read more and give it to receive_data()

Never here: what to do about an event.
"""

from dataclasses import dataclass, replace
from enum import Enum

from mailpipe.errors import ConnectionLost, MailpipeError
from mailpipe.smtp.command import Command
from mailpipe.smtp.envelope import Envelope, ForwardPath
from mailpipe.smtp.reply import Reply


class Wait(Enum):
    """There is no event yet."""

    NEED_DATA = "need data"


NEED_DATA = Wait.NEED_DATA


@dataclass(frozen=True, slots=True)
class RecipientAnswer:
    """What one recipient of one transaction was answered.

    Attributes:
        path: the recipient.
        reply: the reply that settled it; None where the connection ended first.
        command: the verb that was answered: "MAIL", "RCPT", "DATA", "end of data", "BDAT"; "" where the refusal is
            our own, because the peer could not have taken it.
        in_doubt: the end of data was sent and no reply came: the peer may have accepted the message.
    """

    path: ForwardPath
    reply: Reply | None
    command: str = ""
    in_doubt: bool = False

    @property
    def is_accepted(self) -> bool:
        """The peer has taken the message for this recipient."""
        return self.reply is not None and self.reply.is_positive

    @property
    def is_permanent(self) -> bool:
        """Refused for good.

        QUIRK: 552 to RCPT means "too many recipients" and is to be taken for 452 (RFC 5321 section 4.5.3.1.10).
        """
        if self.reply is None or (self.reply.code == 552 and self.command == "RCPT"):
            return False
        return self.reply.is_permanent

    @property
    def is_transient(self) -> bool:
        """Neither accepted nor refused for good nor in doubt: to be tried again."""
        return not (self.is_accepted or self.is_permanent or self.in_doubt)

    @property
    def is_one_too_many(self) -> bool:
        """452 or 552 to RCPT: enough recipients for one transaction (RFC 5321 section 4.5.3.1.10)."""
        reply = self.reply
        if reply is None or self.command != "RCPT" or reply.code not in (452, 552):
            return False
        return reply.status is None or (reply.status.subject, reply.status.detail) == (5, 3)


@dataclass(frozen=True, slots=True)
class TransactionResult:
    """How a transaction ended.

    Attributes:
        envelope: from whom, to whom.
        answers: one for each forward-path, in order.
        lost: why the connection ended before the last reply; None where it did not.
        mail_reply: the reply to MAIL; None where none came.
    """

    envelope: Envelope
    answers: tuple[RecipientAnswer, ...]
    lost: ConnectionLost | None = None
    mail_reply: Reply | None = None

    @property
    def in_doubt(self) -> bool:
        """Whether any recipient is."""
        return any(answer.in_doubt for answer in self.answers)

    @property
    def accepted(self) -> tuple[ForwardPath, ...]:
        """The recipients for whom the peer took the message."""
        return tuple(answer.path for answer in self.answers if answer.is_accepted)

    @property
    def never_began(self) -> bool:
        """The peer has not even taken the reverse-path: another attempt repeats nothing."""
        return not self.in_doubt and (self.mail_reply is None or self.mail_reply.code == 421)

    def of_peer(self, peer: str) -> "TransactionResult":
        """The same with the peer's name in front of why the connection ended."""
        if self.lost is None:
            return self
        return replace(self, lost=ConnectionLost(f"{peer}: {self.lost}", self.lost.status, in_doubt=self.lost.in_doubt))

    def raise_if_lost(self) -> None:
        """For whoever prefers an exception.

        Raises:
            ConnectionLost: the connection ended before the last reply; `in_doubt` says whether the end of data was out.
        """
        if self.lost is not None:
            raise self.lost


@dataclass(frozen=True, slots=True)
class ReplyReceived:
    """A command that belongs to no transaction was answered."""

    command: Command
    reply: Reply


@dataclass(frozen=True, slots=True)
class TransactionEnded:
    """A transaction has an answer for every recipient."""

    result: TransactionResult


@dataclass(frozen=True, slots=True)
class ConnectionEnded:
    """The connection is of no use any more; close it.

    Attributes:
        error: why.
    """

    error: MailpipeError


Event = ReplyReceived | TransactionEnded | ConnectionEnded
