"""A condition as people write it: `when = { … }`, every key a question; where there are several, all must hold.

    [[stage]]
    use = "quarantine"
    when.any = [
        { attachment = { name = ["*.exe", "*.scr"] } },
        { all = [{ list_mail = false }, { not = { spf = "pass" } }] },
    ]

Never here: what the questions ask; see `subjects` and `moments`.
"""

from collections.abc import Callable, Iterator
from typing import Self

from pydantic import Field, model_validator

from mailpipe.pipeline.rules import subjects
from mailpipe.pipeline.rules.moments import ClientSubject, OriginSubject, TimeSubject, sample
from mailpipe.pipeline.rules.subjects import (
    AddressSubject,
    AttachmentSubject,
    AuthenticationSubject,
    Bounds,
    EnvelopeSubject,
    FieldSubject,
    NoteSubject,
    Question,
    Share,
    SizeSubject,
    check_result,
)
from mailpipe.pipeline.rules.texts import Table, Words
from mailpipe.pipeline.services import Clock

DEEPEST = 20
"""LIMIT: conditions inside conditions."""


class Condition(Table):
    """Questions about a mail; all of those that are given must hold."""

    all_: "tuple[Condition, ...] | None" = Field(default=None, alias="all", min_length=1)
    """Every one of these conditions."""
    any_: "tuple[Condition, ...] | None" = Field(default=None, alias="any", min_length=1)
    """One of these conditions."""
    not_: "Condition | None" = Field(default=None, alias="not")
    """Not this condition."""
    field: FieldSubject | None = None
    """A header field of the message."""
    address: AddressSubject | None = None
    """An address in the header."""
    size: SizeSubject | None = None
    """Octets of the message."""
    media_type: Words | None = None
    """A part of such a type, with wildcards: "image/*"."""
    attachment: AttachmentSubject | bool | None = None
    """An attachment of such a kind; true for any, false for none."""
    charset: Words | None = None
    """A text part that declares such a charset, with wildcards."""
    defect: Words | None = None
    """A defect with such a code, with wildcards: "limit-*"."""
    sender: EnvelopeSubject | None = None
    """The envelope's sender."""
    recipient: EnvelopeSubject | None = None
    """A recipient of the envelope. Where it holds for some of them only, the mail is split, and each half goes its own
    way."""
    recipients: Bounds | None = None
    """How many recipients the envelope has."""
    client: ClientSubject | None = None
    """The SMTP client that the mail came from."""
    list_mail: bool | None = None
    """Whether it came over a mailing list (RFC 2919), or says that it is bulk."""
    auto_submitted: bool | None = None
    """Whether a program sent it (RFC 3834): an automatic answer, or a report with the null sender."""
    authentication: AuthenticationSubject | None = None
    """A result of SPF, DKIM, DMARC, ARC or another check."""
    spf: Words | None = None
    """The result of the stage spf: "pass", "fail", "softfail", …; "none" where it was not checked."""
    dkim: Words | None = None
    """A result of the stage dkim-verify."""
    dmarc: Words | None = None
    """The result of the stage dmarc."""
    arc: Words | None = None
    """The result of the stage arc-verify."""
    note: NoteSubject | None = None
    """A note that an earlier stage left."""
    time: TimeSubject | None = None
    """The time at which the mail is processed."""
    sample: Share | None = None
    """A share of all mails, from 0 to 1; the same ones in every run."""
    origin: OriginSubject | None = None
    """Where the mail was read."""

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("nothing is asked; give one of " + ", ".join(keys()))
        if self._depth() > DEEPEST:
            raise ValueError(f"more than {DEEPEST} conditions inside one another")
        return self

    def _below(self) -> "tuple[Condition, ...]":
        inner = () if self.not_ is None else (self.not_,)
        return (*(self.all_ or ()), *(self.any_ or ()), *inner)

    def _depth(self) -> int:
        # each was checked when it was made, so that this never goes deeper
        return 1 + max((each._depth() for each in self._below()), default=0)

    def each(self) -> "Iterator[Condition]":
        """This condition and all those inside it."""
        waiting = [self]
        while waiting:
            one = waiting.pop()
            yield one
            waiting += one._below()

    @property
    def is_per_recipient(self) -> bool:
        """Whether the answer may differ between the recipients of a mail."""
        return any(one.recipient is not None for one in self.each())

    def question(self, clock: Clock) -> Question:
        """The condition as a function.

        Raises:
            OSError: a file of words cannot be read.
        """
        questions = list(self._questions(clock))
        if len(questions) == 1:
            return questions[0]
        return lambda mail, recipient: all(ask(mail, recipient) for ask in questions)

    def _questions(self, clock: Clock) -> Iterator[Question]:
        # the cheap ones first: what is false there spares the others
        if self.sample is not None:
            yield sample(self.sample)
        if self.time is not None:
            yield self.time.question(clock)
        for subject in (self.origin, self.client, self.sender, self.size):
            if subject is not None:
                yield subject.question()
        if self.recipient is not None:
            yield self.recipient.recipient_question()
        if (counted := self.recipients) is not None:
            yield lambda mail, _: counted.holds(len(mail.envelope.forward_paths))
        for asked in (self.field, self.address, self.authentication, self.note):
            if asked is not None:
                yield asked.question()
        for method in ("spf", "dkim", "dmarc", "arc"):
            if (results := getattr(self, method)) is not None:
                yield check_result(method, results)
        yield from self._of_the_message()
        yield from self._of_others(clock)

    def _of_the_message(self) -> Iterator[Question]:
        if self.list_mail is not None:
            yield subjects.list_mail(is_wanted=self.list_mail)
        if self.auto_submitted is not None:
            yield subjects.auto_submitted(is_wanted=self.auto_submitted)
        for words, make in (
            (self.media_type, subjects.media_type),
            (self.charset, subjects.charset),
            (self.defect, subjects.defect),
        ):
            if words is not None:
                yield make(words)
        if isinstance(self.attachment, AttachmentSubject):
            yield self.attachment.question()
        elif (is_wanted := self.attachment) is not None:
            yield lambda mail, _: bool(mail.message.attachments) is is_wanted

    def _of_others(self, clock: Clock) -> Iterator[Question]:
        if self.not_ is not None:
            yield _denied(self.not_.question(clock))
        if self.all_ is not None:
            yield _joined(all, [each.question(clock) for each in self.all_])
        if self.any_ is not None:
            yield _joined(any, [each.question(clock) for each in self.any_])


def _denied(ask: Question) -> Question:
    return lambda mail, recipient: not ask(mail, recipient)


def _joined(how: Callable[..., bool], questions: list[Question]) -> Question:
    return lambda mail, recipient: how(ask(mail, recipient) for ask in questions)


def keys() -> tuple[str, ...]:
    """What a condition can ask, as people write it."""
    return tuple(field.alias or name for name, field in Condition.model_fields.items())
