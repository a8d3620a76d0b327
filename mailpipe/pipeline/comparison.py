"""Two pipelines played with the same mails: which end otherwise, in other octets or elsewhere, and since which step.

    comparison = Comparison(old, new)                    # two rehearsals
    for raw in mails: changed = comparison.take(raw)     # None where both come to the same
    comparison.endings["delivered", "dropped"]
    comparison.forbidden_by(forbidden(["deliver→drop"]))

Reasons and times do not count as different, nor does the order of recipients. What differs from itself when it is
played again (a stage that rolls dice) is compared without its octets; where a stage remembers mails, nothing is played
again.

Never here: playing one pipeline; see `rehearsal`.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from mailpipe.errors import ConfigError
from mailpipe.pipeline.mail import Mail, RawMail
from mailpipe.pipeline.outcome import Ending
from mailpipe.pipeline.rehearsal import Played, Rehearsal, Seen
from mailpipe.pipeline.services import SystemClock

GONE = "gone"
"""In place of an ending: the recipient is no longer among those of the mail."""
_VERBS = {
    "deliver": "delivered", "drop": "dropped", "reject": "rejected", "quarantine": "quarantined", "defer": "deferred",
    "fail": "failed", "split": "split", "queue": "queued", "gone": GONE, "any": "*", "*": "*",
}  # fmt: skip
_ARROW = re.compile(r"\s*(?:→|->|=>)\s*")


class SharedClock(SystemClock):
    """The same moment for both pipelines, until it is told to go on; nobody waits."""

    def __init__(self) -> None:
        self._moment = super().now()

    def tick(self) -> None:
        """The time of the next mail."""
        self._moment = super().now()

    def now(self) -> datetime:
        """The moment."""
        return self._moment

    def sleep(self, seconds: float) -> None:
        """No time passes."""


@dataclass(frozen=True, slots=True, order=True)
class Leaf:
    """What became of one mail in the end.

    Attributes:
        is_copy: whether it is a copy that a `tee` made.
        ending: as a word.
        status: enhanced status code.
        place: the route and the sink, "" where none was reached.
        sender, recipients: of the envelope; sorted.
        digest: of the octets that the sink or the quarantine would be given, b"" where neither was reached.
    """

    is_copy: bool
    ending: str
    status: str
    place: str
    sender: str
    recipients: tuple[str, ...]
    digest: bytes


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a mail that entered.

    Attributes:
        ending: of the whole: "split" where it went several ways.
        leaves: what became of each, sorted.
    """

    ending: str
    leaves: tuple[Leaf, ...]

    @property
    def without_octets(self) -> "Result":
        """The same, whatever the octets."""
        return Result(self.ending, tuple(replace(leaf, digest=b"") for leaf in self.leaves))

    def endings_of(self, address: str) -> set[str]:
        """How a recipient ended, copies aside."""
        return {leaf.ending for leaf in self.leaves if address in leaf.recipients and not leaf.is_copy}


@dataclass(frozen=True, slots=True)
class Change:
    """A mail with which the two come to different results.

    Attributes:
        mail, key: which.
        subject, sender: for a person, as the mail has them.
        old, new: the results.
        what: "ending", "status", "sink", "sender", "recipients", "octets".
        step: the first one that did something else; "" where that was none of the steps.
        is_of_old: whether that step is one of the old pipeline, and the new one has nothing in its place.
        reasons: of the two, in words.
        transitions: ending → ending, of the whole and of each recipient.
    """

    mail: str
    key: str
    subject: str
    sender: str
    old: Result
    new: Result
    what: tuple[str, ...]
    step: str
    is_of_old: bool
    reasons: tuple[str, str]
    transitions: frozenset[tuple[str, str]]


@dataclass(slots=True)
class Comparison:
    """Two pipelines side by side.

    Attributes:
        old, new: open.
        clock: the one that both were given, where it is shared.
        messages, changed: how many.
        unsteady: how many differ from themselves, and were compared without their octets.
        endings: (old, new) → messages, of all.
        different: (old, new) → messages that differ in something.
        kinds: what is different → messages.
        steps: the first step that did something else → messages.
        transitions: (old, new) → messages, of those that differ; counted once where several recipients share it.
    """

    old: Rehearsal
    new: Rehearsal
    clock: SharedClock | None = None
    messages: int = 0
    changed: int = 0
    unsteady: int = 0
    endings: "Counter[tuple[str, str]]" = field(default_factory=Counter)
    different: "Counter[tuple[str, str]]" = field(default_factory=Counter)
    kinds: "Counter[str]" = field(default_factory=Counter)
    steps: "Counter[str]" = field(default_factory=Counter)
    transitions: "Counter[tuple[str, str]]" = field(default_factory=Counter)

    def take(self, raw: RawMail) -> Change | None:
        """Play one mail with both; None where they come to the same."""
        if self.clock is not None:
            self.clock.tick()
        self.messages += 1
        old, new = self.old.take(raw), self.new.take(raw)
        before, after = result_of(old), result_of(new)
        if before != after and not (self.old.remembers or self.new.remembers):
            again = result_of(self.old.take(raw)), result_of(self.new.take(raw))
            if again != (before, after):
                self.unsteady += 1
                before, after = before.without_octets, after.without_octets
        pair = before.ending, after.ending
        self.endings[pair] += 1
        if before == after:
            return None
        step, is_of_old = first_step(old, new)
        change = Change(
            str(raw.origin), raw.origin.key, *_who(old, new), before, after, kinds_of(before, after), step, is_of_old,
            (_reason(old), _reason(new)), frozenset(transitions_of(before, after)),
        )  # fmt: skip
        self.changed += 1
        self.different[pair] += 1
        self.kinds.update(change.what)
        self.steps[step] += 1
        self.transitions.update(change.transitions)
        return change

    def forbidden_by(self, rules: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
        """The transitions that occur and are forbidden → messages."""
        return {
            pair: count
            for pair, count in sorted(self.transitions.items())
            if any(is_forbidden(pair, rule) for rule in rules)
        }


def forbidden(written: Iterable[str]) -> list[tuple[str, str]]:
    """Rules as people write them: "deliver→drop", "delivered -> *", "*→gone".

    Raises:
        ConfigError: one cannot be understood.
    """
    rules = []
    for rule in written:
        sides = _ARROW.split(rule.strip().lower())
        words = [_VERBS.get(side, side) for side in sides]
        if len(words) != 2 or not set(words) <= set(_VERBS.values()):
            known = ", ".join(_VERBS)
            raise ConfigError(f"{rule!r} forbids nothing; write it as deliver->drop, with two of: {known}")
        rules.append((words[0], words[1]))
    return rules


def is_forbidden(pair: tuple[str, str], rule: tuple[str, str]) -> bool:
    """Whether a transition is one that a rule forbids."""
    return pair[0] != pair[1] and all(side in ("*", is_) for side, is_ in zip(rule, pair, strict=True))


def result_of(played: Played) -> Result:
    """What became of a mail, without what does not count."""
    leaves: dict[Leaf, list[str]] = {}
    for outcome in played.leaves:
        handed, envelope = played.handed_of(outcome), played.envelope_of(outcome)
        octets = bytes(handed.mail.message) if handed else played.set_aside.get(outcome.origin.key)
        leaf = Leaf(
            is_copy=any(not piece.isdecimal() for piece in played.branch(outcome.origin).split("/") if piece),
            ending=outcome.ending.value,
            status=str(outcome.status),
            place=": ".join(filter(None, (handed.way, handed.sink))) if handed else "",
            sender=envelope.reverse_path if envelope else "",
            recipients=(),
            digest=b"" if octets is None else hashlib.sha256(octets).digest(),
        )
        # recipients who part ways and meet the same are as if they had not parted
        leaves.setdefault(leaf, []).extend(envelope.addresses if envelope else ())
    made = sorted(replace(leaf, recipients=tuple(sorted(addresses))) for leaf, addresses in leaves.items())
    endings = [leaf.ending for leaf in made if not leaf.is_copy]
    return Result(endings[0] if len(endings) == 1 else Ending.SPLIT.value, tuple(made))


def kinds_of(old: Result, new: Result) -> tuple[str, ...]:
    """What is different: "ending", "status", "sink", "sender", "recipients", "octets"."""
    kinds = []
    for name, attribute in (
        ("ending", "ending"), ("status", "status"), ("sink", "place"), ("sender", "sender"),
        ("recipients", "recipients"), ("octets", "digest"),
    ):  # fmt: skip
        first, second = ([(leaf.is_copy, getattr(leaf, attribute)) for leaf in each.leaves] for each in (old, new))
        if sorted(first) != sorted(second):
            kinds.append(name)
            if name == "ending":
                break  # the rest follows from it
    # the same endings, recipients and octets may belong together otherwise
    return tuple(kinds) or ("recipients",)


def transitions_of(old: Result, new: Result) -> set[tuple[str, str]]:
    """Ending → ending, of the whole and of each recipient, as far as they are different."""
    pairs = {(old.ending, new.ending)} if Ending.SPLIT.value not in (old.ending, new.ending) else set()
    for address in {address for leaf in old.leaves if not leaf.is_copy for address in leaf.recipients}:
        before, after = old.endings_of(address), new.endings_of(address) or {GONE}
        pairs |= {(first, second) for first in before - after for second in after - before}
    return {pair for pair in pairs if pair[0] != pair[1]}


def first_step(old: Played, new: Played) -> tuple[str, bool]:
    """The label of the first step that did something else, and whether it is one of the old pipeline."""
    first, second = _effects(old), _effects(new)
    at = next((at for at, (a, b) in enumerate(zip(first, second, strict=False)) if a[0] != b[0]), None)
    if at is None:
        at = min(len(first), len(second))
    if at >= len(second):
        return (first[at][1], True) if at < len(first) else ("", False)
    label = second[at][1]
    # where the new one's step comes later in the old one, the old one did something before it
    is_later = at < len(first) and label != first[at][1] and any(each == label for _, each in first[at + 1 :])
    return (first[at][1], True) if is_later else (label, False)


def _effects(played: Played) -> list[tuple[object, str]]:
    """What the steps did, in order, without those that did nothing."""
    effects: list[tuple[object, str]] = []
    for seen in played.seen:
        effect = _effect(seen)
        if effect is not None:
            effects.append(((played.branch(seen.mail.origin), effect), seen.step.label))
    return effects


def _effect(seen: Seen) -> object:
    if seen.apart is not None:
        return seen.apart
    if not seen.is_meant or seen.step.is_left_out:
        return None
    if seen.step.goto or seen.step.tee:
        return seen.step.goto, seen.step.tee
    if seen.error:
        return "failed"
    if seen.verdict is not None:
        return seen.verdict.decision, str(seen.verdict.status)
    made = tuple(map(_digested, seen.mails))
    return None if made == (_digested(seen.mail),) else made


def _digested(mail: Mail) -> object:
    return hashlib.sha256(bytes(mail.message)).digest(), mail.envelope.reverse_path, mail.envelope.addresses


def _who(old: Played, new: Played) -> tuple[str, str]:
    for played in (old, new):
        if played.seen or played.handed:
            message = (played.seen[0].mail if played.seen else played.handed[0].mail).message
            return message.subject or "", ", ".join(box.address for box in message.from_.mailboxes[:3])
    return "", ""


def _reason(played: Played) -> str:
    reasons = dict.fromkeys(outcome.reason for outcome in played.leaves if outcome.ending is not Ending.DELIVERED)
    return "; ".join(filter(None, reasons))
