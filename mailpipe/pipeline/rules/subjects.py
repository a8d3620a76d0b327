"""What a condition can ask about: one model for each subject, which makes a question of itself.

    FieldSubject(name="Subject", contains="invoice").question()(mail, None)      # True

A question gets the mail, and the recipient where one is asked about. It never raises because of what the mail says.

Never here: how questions are put together; see `condition`.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import fields as fields_of
from dataclasses import is_dataclass
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from mailpipe.fields import Group, Mailbox
from mailpipe.fields.address import AddressList
from mailpipe.fields.authentication import AuthenticationResults
from mailpipe.message import Entity, Message
from mailpipe.pipeline.mail import Mail
from mailpipe.pipeline.notes import AuthResult
from mailpipe.pipeline.rules.texts import SomeTextTest, Table, Test, TextTest, Words, wildcard
from mailpipe.units import ByteSize

Question = Callable[[Mail, str | None], bool]
"""Whether it is so of a mail, and of the recipient where one is given."""

Part = Literal["address", "local-part", "domain"]


def likes(patterns: Words) -> Test:
    """Whether a text is like one of some patterns with wildcards."""
    tests = [wildcard(each) for each in ((patterns,) if isinstance(patterns, str) else patterns)]
    return lambda text: any(test(text) for test in tests)


class Bounds(Table):
    """Limits of a number; both where both are given."""

    above: float | None = None
    """More than this."""
    below: float | None = None
    """Less than this."""

    def holds(self, number: float) -> bool:
        """Whether a number is between them."""
        return (self.above is None or number > self.above) and (self.below is None or number < self.below)


class SizeSubject(Bounds):
    """Octets of the message."""

    above: ByteSize | None = None
    """Larger than this: "10MB"."""
    below: ByteSize | None = None
    """Smaller than this."""

    def question(self) -> Question:
        """The question."""
        return lambda mail, _: self.holds(len(mail.message))


class FieldSubject(TextTest):
    """A header field of the message; where it stands several times, one of them is enough."""

    name: str
    """The field's name."""
    exists: bool = True
    """false: there is none."""

    @model_validator(mode="after")
    def _is_one_question(self) -> Self:
        if not self.exists and not self.is_empty:
            raise ValueError("a field that does not exist has no text to compare")
        return self

    def question(self) -> Question:
        """The question."""
        name, is_wanted = self.name, self.exists
        if self.is_empty:
            return lambda mail, _: (mail.message.header.first(name) is not None) is is_wanted
        test = self.test()
        return lambda mail, _: any(test(field.text) for field in mail.message.header.all(name))


class AddressSubject(SomeTextTest):
    """An address in the header; one of them is enough."""

    of: Literal["from", "sender", "reply-to", "to", "cc", "bcc", "recipients", "any"] = "any"
    """In which fields; recipients are To, Cc and Bcc."""
    part: Literal["address", "local-part", "domain", "display-name"] = "address"
    """Which part of it."""

    def question(self) -> Question:
        """The question."""
        test, part = self.test(), self.part.replace("-", "_")
        names = {
            "recipients": ("to", "cc", "bcc"),
            "any": ("from_", "sender", "reply_to", "to", "cc", "bcc"),
            "from": ("from_",),
        }.get(self.of, (self.of.replace("-", "_"),))

        def ask(mail: Mail, _: str | None) -> bool:
            boxes = (box for name in names for box in _mailboxes(getattr(mail.message, name)))
            return any(test(getattr(box, part) or "") for box in boxes)

        return ask


def _mailboxes(value: AddressList | Mailbox | Group | None) -> Iterable[Mailbox]:
    if isinstance(value, Mailbox):
        return (value,)
    return value.mailboxes if value is not None else ()


class EnvelopeSubject(SomeTextTest):
    """An address of the envelope."""

    part: Part = "address"
    """Which part of it."""

    def tested(self) -> Callable[[str], bool]:
        """The comparison of one address."""
        test = self.test()
        if self.part == "address":
            return test
        if self.part == "domain":
            return lambda address: test(address.rpartition("@")[2])
        return lambda address: test(address.rpartition("@")[0])

    def question(self) -> Question:
        """The question about the sender; `is = ""` is the null sender of a report."""
        tested = self.tested()
        return lambda mail, _: tested(mail.envelope.reverse_path)

    def recipient_question(self) -> Question:
        """The question about the recipient that is given, or about any."""
        tested = self.tested()

        def ask(mail: Mail, recipient: str | None) -> bool:
            return any(map(tested, mail.envelope.addresses)) if recipient is None else tested(recipient)

        return ask


class AttachmentSubject(Table):
    """An attachment for which everything that is asked is so."""

    type: Words | None = None
    """Its declared media type, with wildcards: "application/*"."""
    name: Words | None = None
    """Its file name, with wildcards: "*.exe"."""
    above: ByteSize | None = None
    """Decoded, larger than this."""
    below: ByteSize | None = None
    """Decoded, smaller than this."""

    def question(self) -> Question:
        """The question."""
        tests: list[Callable[[Entity], bool]] = []
        if self.type is not None:
            kind = likes(self.type)
            tests.append(lambda part: kind(part.content_type.value))
        if self.name is not None:
            name = likes(self.name)
            tests.append(lambda part: name(part.filename or ""))
        if self.above is not None or self.below is not None:
            size = SizeSubject(above=self.above, below=self.below)
            tests.append(lambda part: size.holds(len(part.octets)))
        return lambda mail, _: any(all(test(part) for test in tests) for part in mail.message.attachments)


class NoteSubject(TextTest):
    """A note that a stage left; one of them is enough."""

    name: str
    """Its type in lower case with hyphens: "defects-found"; "spam-score.score" means one of its values."""
    above: float | None = None
    """The value is a number larger than this."""
    below: float | None = None
    """The value is a number smaller than this."""
    exists: bool = True
    """false: there is none."""

    def question(self) -> Question:
        """The question."""
        kind, _, attribute = self.name.partition(".")
        test = None if self.is_empty else self.test()
        bounds = None if self.above is None and self.below is None else Bounds(above=self.above, below=self.below)
        attribute = attribute.replace("-", "_")

        def holds(note: object) -> bool:
            if note_name(type(note)) != kind:
                return False
            value = getattr(note, attribute, None) if attribute else note
            if bounds is not None and not (isinstance(value, int | float) and bounds.holds(value)):
                return False
            return test is None or any(test(str(each)) for each in _each(value))

        return lambda mail, _: any(map(holds, mail.notes)) is self.exists


def _each(value: object) -> Iterable[object]:
    if is_dataclass(value) and not isinstance(value, type):
        return [getattr(value, each.name) for each in fields_of(value)]
    return value if isinstance(value, tuple | list | set | frozenset) else (value,)


def note_name(kind: type) -> str:
    """What a condition calls notes of a type.

    >>> note_name(AuthResult)
    'auth-result'
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", kind.__name__).lower()


class AuthenticationSubject(Table):
    """A result of a check of who sent the mail: from the notes of earlier stages, or from a server that is trusted."""

    method: str
    """ "spf", "dkim", "dmarc", "arc", …"""
    result: Words = "pass"
    """Which result; "none" where nothing was checked."""
    domain: SomeTextTest | None = None
    """Whose domain was checked; not for what a field says."""
    by: str | None = None
    """The authserv-id of the server whose Authentication-Results fields are believed; by default notes are asked."""

    @field_validator("method")
    @classmethod
    def _lower(cls, method: str) -> str:
        return method.lower()

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if self.by is not None and self.domain is not None:
            raise ValueError("domain is asked of notes; leave out 'by'")
        return self

    def question(self) -> Question:
        """The question."""
        wanted = {self.result.lower()} if isinstance(self.result, str) else {each.lower() for each in self.result}
        domain = self.domain.test() if self.domain is not None else None

        def ask(mail: Mail, _: str | None) -> bool:
            if self.by is not None:
                found = _said(mail.message, self.by, self.method)
            else:
                notes = [note for note in mail.notes_of(AuthResult) if note.method == self.method]
                found = [note.result for note in notes if domain is None or domain(note.domain)]
                if domain is not None:
                    return not wanted.isdisjoint(found)
            return not wanted.isdisjoint(found or ["none"])

        return ask


def _said(message: Message, server: str, method: str) -> list[str]:
    found = []
    for value in message.header.values_of("Authentication-Results"):
        if isinstance(value, AuthenticationResults) and value.server.casefold() == server.casefold():
            found += [each.result for each in value.results if each.method == method]
    return found


def check_result(method: str, results: Words) -> Question:
    """The short form of `authentication`: `spf = "fail"`."""
    return AuthenticationSubject(method=method, result=results).question()


Share = Annotated[float, Field(ge=0, le=1)]


def media_type(patterns: Words) -> Question:
    """Whether any entity of the message is of such a type."""
    test = likes(patterns)
    return lambda mail, _: any(test(entity.content_type.value) for _, entity in mail.message.walk())


def charset(patterns: Words) -> Question:
    """Whether any text part declares such a charset."""
    test = likes(patterns)

    def ask(mail: Mail, _: str | None) -> bool:
        kinds = (entity.content_type for _, entity in mail.message.walk())
        return any(test(kind.charset or "") for kind in kinds if kind.type == "text")

    return ask


def defect(patterns: Words) -> Question:
    """Whether the message has such a defect; every part is looked at."""
    test = likes(patterns)
    return lambda mail, _: any(test(str(each.code)) for each in mail.message.defects)


_LIST_FIELDS = ("List-Id", "List-Post", "List-Unsubscribe", "List-Help", "Mailing-List", "X-Mailing-List")


def list_mail(*, is_wanted: bool) -> Question:
    """Whether it came over a list (RFC 2919, RFC 2369), or says that it is bulk."""

    def ask(mail: Mail, _: str | None) -> bool:
        header = mail.message.header
        precedence = (header.get("Precedence") or "").strip().lower()
        found = precedence in ("list", "bulk") or any(name in header for name in _LIST_FIELDS)
        return found is is_wanted

    return ask


def auto_submitted(*, is_wanted: bool) -> Question:
    """Whether a program sent it (RFC 3834): by its field, or by the null sender of a report."""

    def ask(mail: Mail, _: str | None) -> bool:
        word = (mail.message.header.get("Auto-Submitted") or "no").split(";")[0].strip().lower()
        return (word != "no" or mail.envelope.reverse_path == "") is is_wanted

    return ask
