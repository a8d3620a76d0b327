"""The stage `sample`: a share of the mail, the same messages in every run.

    [[stage]]
    use = "sample"
    share = 0.01                    # one of a hundred
    then = "drop"                   # what becomes of the others: drop | accept | note

The digest of what `by` names decides, not chance: the same message is chosen again, by every worker, and whatever is in
a sample of 1 % is in one of 10 % too.

Never here: which mails are looked at; a rule (`when`) says that.
"""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

from pydantic import Field as OptionField

from mailpipe.pipeline.access import Access
from mailpipe.pipeline.component import Options, Stage
from mailpipe.pipeline.mail import Mail
from mailpipe.pipeline.verdict import Decision, Verdict


@dataclass(frozen=True, slots=True)
class Sampled:
    """A note: whether a mail is in the sample.

    Attributes:
        is_chosen: it is.
        share: of how many: 0.01 is one of a hundred.
    """

    is_chosen: bool
    share: float


class SampleOptions(Options):
    """How much mail, and what becomes of the rest."""

    share: float = OptionField(ge=0, le=1)
    """How much of it is kept: 0.01 is one of a hundred."""
    then: Literal["drop", "accept", "note"] = "drop"
    """What becomes of the others: they end here, go to the sink past the remaining stages, or go on like all, with a
    note Sampled that says which they are."""
    by: Literal["content", "message-id", "sender", "origin"] = "content"
    """What decides: all octets; the Message-ID, so that copies of a message share their fate; the sender's address, so
    that all of his mail does; or the place in the archive."""
    seed: str = ""
    """Any text; another one chooses other messages."""


class Sample(Stage[SampleOptions]):
    """Keeps a share of the mail, chosen by digest, and drops or passes by the rest."""

    name = "sample"
    Options = SampleOptions
    reads = Access(fields=("*",), body=True, envelope=True)
    touches = Access(notes=(Sampled,))

    @classmethod
    def accesses(cls, options: SampleOptions) -> tuple[Access, Access]:
        """Only what decides is read."""
        reads = {
            "content": Access(fields=("*",), body=True), "message-id": Access(fields=("Message-ID",)),
            "sender": Access(envelope=True), "origin": Access(),
        }[options.by]  # fmt: skip
        return reads, cls.touches

    @classmethod
    def decisions(cls, options: SampleOptions) -> tuple[Decision, ...]:
        """What becomes of the others."""
        return () if options.then == "note" else (Decision(options.then),)

    def process(self, mail: Mail) -> Mail | Verdict:
        """Choose."""
        options = self.options
        key = options.seed.encode("utf-8", "surrogatepass") + b"\0" + _DECIDES[options.by](mail)
        number = int.from_bytes(blake2b(key, digest_size=8).digest())
        is_chosen = number < options.share * 2**64
        note = Sampled(is_chosen, options.share)
        if is_chosen or options.then == "note":
            return mail.with_note(note)
        if options.then == "accept":
            return Verdict.accept("not in the sample", notes=(note,))
        return Verdict.drop("not in the sample", notes=(note,))


def _message_id(mail: Mail) -> bytes:
    ident = mail.message.message_id
    return ident.encode("utf-8", "surrogatepass") if ident else bytes(mail.message)


_DECIDES: dict[str, Callable[[Mail], bytes]] = {
    "content": lambda mail: bytes(mail.message),
    "message-id": _message_id,
    "sender": lambda mail: mail.envelope.reverse_path.casefold().encode("utf-8", "surrogatepass"),
    "origin": lambda mail: (mail.origin.root or mail.origin.key).encode("utf-8", "surrogatepass"),
}
