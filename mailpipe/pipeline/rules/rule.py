"""A condition as the engine asks it: for a mail as a whole, or for each of its recipients.

    rule = Rule.of(condition, clock)
    meant, others = rule.halves(mail)          # the mail, None; None, the mail; or a mail for each half

Never here: what a condition asks.
"""

from dataclasses import dataclass

from mailpipe.pipeline.mail import Mail
from mailpipe.pipeline.rules.condition import Condition
from mailpipe.pipeline.rules.subjects import Question
from mailpipe.pipeline.services import Clock


@dataclass(frozen=True, slots=True)
class Rule:
    """A condition that can be asked.

    Attributes:
        ask: the question.
        is_per_recipient: whether each recipient is asked about.
    """

    ask: Question
    is_per_recipient: bool

    @classmethod
    def of(cls, condition: Condition, clock: Clock) -> "Rule":
        """The rule of a condition.

        Raises:
            OSError: a file of words cannot be read.
        """
        return cls(condition.question(clock), condition.is_per_recipient)

    def halves(self, mail: Mail) -> tuple[Mail | None, Mail | None]:
        """The mail for those recipients of whom it is so, and for those of whom it is not."""
        paths = mail.envelope.forward_paths
        if not self.is_per_recipient or not paths:
            return (mail, None) if self.ask(mail, None) else (None, mail)
        answers = [self.ask(mail, path.address) for path in paths]
        if all(answers):
            return mail, None
        if not any(answers):
            return None, mail
        envelope = mail.envelope
        meant = (path for path, answer in zip(paths, answers, strict=True) if answer)
        others = (path for path, answer in zip(paths, answers, strict=True) if not answer)
        return (
            mail.with_envelope(envelope.with_forward_paths(*meant)),
            mail.with_envelope(envelope.with_forward_paths(*others)),
        )
