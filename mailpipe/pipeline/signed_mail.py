"""What becomes of a signature that a stage breaks: `on_broken_signature` on a stage.

    guard = guard_of("skip", "footer")
    guard(before, after)         # what goes on in the place of `after`: a Mail or a Verdict

What each signature covers is compared before and after, without a key and without the DNS. A mail without signatures
costs a look at its field names and its structure, and one that the stage left alone costs nothing.

Never here: what a signature covers; see `mailpipe.auth.signatures`.
"""

from collections.abc import Callable
from dataclasses import dataclass

from mailpipe.pipeline.mail import Mail
from mailpipe.pipeline.verdict import Verdict

Guard = Callable[[Mail, Mail], Mail | Verdict]


@dataclass(frozen=True, slots=True)
class SignatureBroken:
    """A note: an edit broke a signature, or would have.

    Attributes:
        stage: the stage's name.
        signature: "DKIM example.org selector s1".
        done: what became of it: "accept", "skip", "wrap", "strip".
    """

    stage: str
    signature: str
    done: str


def guard_of(policy: str, label: str) -> Guard:
    """What is to be done about the answers of one stage.

    Args:
        policy: "accept", "skip", "wrap", "strip" or "quarantine".
        label: the stage.
    """

    def guard(before: Mail, after: Mail) -> Mail | Verdict:
        from mailpipe.auth.signatures import broken_by  # slow to import, and only edits need it

        broken = broken_by(before.message, after.message)
        if not broken:
            return after
        notes = tuple(SignatureBroken(label, one.description, policy) for one in broken)
        named = ", ".join(dict.fromkeys(one.description for one in broken))
        if policy == "quarantine":
            return Verdict.quarantine(f"{label} would break a signature: {named}", notes=notes)
        if policy == "skip":
            return before.with_note(*notes)
        if policy == "accept":
            return after.with_note(*notes)
        from mailpipe.auth.preserve import strip, wrap  # the same

        if policy == "strip":
            return after.with_message(strip(after.message, broken)).with_note(*notes)
        notice = f"The message enclosed here came signed ({named}) and was left as it is.\n"
        return after.with_message(wrap(before.message, after.message, notice=notice)).with_note(*notes)

    return guard
