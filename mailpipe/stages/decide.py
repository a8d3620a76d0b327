"""The stages `accept`, `reject`, `defer`, `drop`, `quarantine` and `redirect`: what a rule decides, without a plugin.

    [[stage]]
    use = "reject"
    reason = "no mail from there, please"
    when.sender = { in_file = "blocked.txt" }

    [[stage]]
    use = "redirect"
    to = ["archive@example.org"]
    when.recipient = { is = "office@example.org" }

Never here: when; that is the rule's.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from mailpipe.fields import is_address
from mailpipe.pipeline.access import Access
from mailpipe.pipeline.component import O, Options, Stage
from mailpipe.pipeline.mail import Changed, Mail
from mailpipe.pipeline.verdict import Decision, Verdict
from mailpipe.smtp.envelope import ForwardPath


class _Decider(Stage[O]):
    """Decides about every mail that meets it, and looks at none."""

    reads = touches = Access()
    always_decides = True


class AcceptOptions(Options):
    """Why."""

    reason: str = "accepted"
    """What the outcome says."""


class Accept(_Decider[AcceptOptions]):
    """Sends mail straight to the sink, past the remaining stages."""

    name = "accept"
    Options = AcceptOptions
    decides = (Decision.ACCEPT,)

    def process(self, mail: Mail) -> Verdict:
        """Decide."""
        return Verdict.accept(self.options.reason)


class RejectOptions(Options):
    """What the sender is told."""

    reason: str = "not accepted here"
    """One line for the sender."""
    status: str = Field(default="5.7.1", pattern=r"^5\.\d{1,3}\.\d{1,3}$")
    """The enhanced status code, of class 5 (RFC 3463)."""
    code: Annotated[int, Field(ge=500, le=599)] | None = None
    """The reply code; by default the one that goes with the status."""


class Reject(_Decider[RejectOptions]):
    """Refuses mail for good."""

    name = "reject"
    Options = RejectOptions
    decides = (Decision.REJECT,)

    def process(self, mail: Mail) -> Verdict:
        """Decide."""
        return Verdict.reject(self.options.reason, status=self.options.status, code=self.options.code)


class DeferOptions(Options):
    """What the sender is told."""

    reason: str = "try again later"
    """One line for the sender."""
    status: str = Field(default="4.7.1", pattern=r"^4\.\d{1,3}\.\d{1,3}$")
    """The enhanced status code, of class 4 (RFC 3463)."""
    code: Annotated[int, Field(ge=400, le=499)] | None = None
    """The reply code; by default the one that goes with the status."""


class Defer(_Decider[DeferOptions]):
    """Has mail come again later."""

    name = "defer"
    Options = DeferOptions
    decides = (Decision.DEFER,)

    def process(self, mail: Mail) -> Verdict:
        """Decide."""
        return Verdict.defer(self.options.reason, status=self.options.status, code=self.options.code)


class DropOptions(Options):
    """Why."""

    reason: str = "dropped by a rule"
    """What the outcome says; the sender believes that the mail arrived."""


class Drop(_Decider[DropOptions]):
    """Has mail end here, while its sender believes that it arrived."""

    name = "drop"
    Options = DropOptions
    decides = (Decision.DROP,)

    def process(self, mail: Mail) -> Verdict:
        """Decide."""
        return Verdict.drop(self.options.reason)


class QuarantineOptions(Options):
    """Why."""

    reason: str = "set aside by a rule"
    """What the person who looks at it reads."""


class SetAside(_Decider[QuarantineOptions]):
    """Sets mail aside for a person to look at."""

    name = "quarantine"
    Options = QuarantineOptions
    decides = (Decision.QUARANTINE,)

    def process(self, mail: Mail) -> Verdict:
        """Decide."""
        return Verdict.quarantine(self.options.reason)


def _address(address: str) -> str:
    if not is_address(address):
        raise ValueError(f"{address!r} is no address such as office@example.org")
    return address


Address = Annotated[str, AfterValidator(_address)]


class RedirectOptions(Options):
    """Whom the mail goes to."""

    to: tuple[Address, ...] = ()
    """The recipients."""
    mode: Literal["replace", "add"] = "replace"
    """Whether they take the place of the envelope's recipients, or come to them."""
    sender: Address | Literal[""] | None = None
    """The envelope's sender from now on; "" for the null sender; by default it stays."""

    @model_validator(mode="after")
    def _does_something(self) -> "RedirectOptions":
        if not self.to and self.sender is None:
            raise ValueError("give recipients (to) or a sender")
        return self


class Redirect(Stage[RedirectOptions]):
    """Gives the envelope other recipients, or another sender; the message stays as it is."""

    name = "redirect"
    Options = RedirectOptions
    reads = Access(envelope=True)
    touches = Access(envelope=True, notes=(Changed,))
    decides = ()

    def process(self, mail: Mail) -> Mail:
        """Redirect."""
        options, envelope = self.options, mail.envelope
        if options.to:
            kept = envelope.forward_paths if options.mode == "add" else ()
            there = {path.address.casefold() for path in kept}
            new = (ForwardPath(address) for address in dict.fromkeys(options.to) if address.casefold() not in there)
            envelope = envelope.with_forward_paths(*kept, *new)
        if options.sender is not None:
            envelope = envelope.with_reverse_path(options.sender)
        if envelope == mail.envelope:
            return mail
        what = f"goes from <{envelope.reverse_path}> to {', '.join(f'<{each}>' for each in envelope.addresses)}"
        return mail.with_envelope(envelope).with_note(Changed(self.name, what))
