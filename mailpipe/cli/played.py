"""Played mails for a person: what each stage saw, decided and changed, and what would become of the mail.

    printer = Printer()
    printer.print(played)
    printer.end(is_cut=False)

Whatever comes from a message has its control characters written out, and is never read as markup.

Never here: playing; see `mailpipe.pipeline.rehearsal`.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from mailpipe.cli import output
from mailpipe.pipeline.differences import Differences, EnvelopeChange, PartChange, PartFacts
from mailpipe.pipeline.outcome import Ending, Outcome
from mailpipe.pipeline.rehearsal import Played, Seen
from mailpipe.pipeline.trial import note_text
from mailpipe.smtp.envelope import Envelope

if TYPE_CHECKING:
    from rich.console import Console

_MOST = 100
"""LIMIT: lines of one kind for one step; --json has all."""
_WIDTH = 300
_WORDS = {
    "changed": "bold", "passed": "dim", "not met": "dim", "not asked": "yellow", "failed": "bold red",
    "goto": "", "tee": "",
    "reject": "bold red", "drop": "red", "defer": "yellow", "quarantine": "magenta", "accept": "green",
}  # fmt: skip
_SAID = {"goto": "taken", "tee": "copied", "reject": "rejects", "drop": "drops", "defer": "defers", "accept": "accepts"}
_ENDINGS = {
    Ending.DELIVERED: ("green", "would go"), Ending.FAILED: ("bold red", "would fail"),
    Ending.DROPPED: ("red", "would be dropped"), Ending.REJECTED: ("bold red", "would be rejected"),
    Ending.QUARANTINED: ("magenta", "would be quarantined"), Ending.DEFERRED: ("yellow", "would be deferred"),
    Ending.SPLIT: ("bold", "is split"), Ending.QUEUED: ("yellow", "would be queued"),
}  # fmt: skip


def shown(text: str, style: str = "") -> Text:
    """Text of a message: one line, its control characters written out, not too long."""
    return Text(output.shorten(output.visible(text), _WIDTH), style=style)


class Printer:
    """Prints one played mail after the other, and counts them."""

    def __init__(self) -> None:
        self._console: Console = output.console()
        self._endings: Counter[Ending] = Counter()

    def print(self, played: Played) -> None:
        """One mail with its steps."""
        if self._endings:
            self._say("")
        self._endings[played.own.ending] += 1
        head = shown(str(played.raw.origin), "bold") + Text(f"  {output.size_text(len(played.raw.octets))}  ", "dim")
        self._say(head + _envelope(played.envelope))
        branch = ""
        for seen in played.seen:
            if (own := played.branch(seen.mail.origin)) != branch:
                branch = own
                self._say(Text(f"  ┄ {_named(branch)}: ", "cyan") + _envelope(seen.mail.envelope))
            self._step(seen)
        for outcome in played.outcomes:
            self._say(_outcome(played, outcome))

    def end(self, *, is_cut: bool) -> None:
        """What they came to, where there were several."""
        count = sum(self._endings.values())
        if count != 1:
            endings = ", ".join(f"{number:,} {ending.value}" for ending, number in self._endings.items())
            self._say(Text(f"\n{output.count_text(count, 'message')}: {endings}" if count else "no message was found"))
        if is_cut:
            self._say(Text("there are more; --limit shows them", "dim"))

    def _say(self, line: "Text | str") -> None:
        self._console.print(line, soft_wrap=True)

    def _step(self, seen: Seen) -> None:
        step, word = seen.step, seen.word
        head = Text(f"  {step.way + ' ' if step.way else ''}{step.number} ", "dim") + shown(step.label, "bold cyan")
        head.append_text(Text(f"  {_SAID.get(word, word)}", _WORDS.get(word, "bold")))
        if verdict := seen.verdict:
            head.append_text(Text(f" {verdict.code} {verdict.status} ") + shown(verdict.reason))
        if seen.apart is not None:
            head.append_text(Text(": met for ") + _addresses(seen.apart[0]) + ", not for " + _addresses(seen.apart[1]))
        elif not seen.is_meant:
            head.append_text(Text(": ", "dim") + shown(seen.why_not, "dim"))
        elif step.is_left_out:
            head.append(": it acts beyond the mail; --really asks it")
        elif seen.times and len(seen.mails) != 1 and not seen.error and seen.verdict is None:
            head.append(f" into {output.count_text(len(seen.mails), 'mail')}")
        if seen.times:
            head.append(f"  {seen.seconds * 1000:.1f} ms", "dim")
        if seen.times > 1:
            head.append(f", asked {seen.times} times", "dim")
        self._say(head)
        if seen.error:
            self._say(Text("      ") + shown(seen.error, "red"))
        if seen.times:
            self._changes(seen.changes, seen.exceeded)

    def _changes(self, changes: Differences, exceeded: Sequence[str]) -> None:
        self._lines(
            _marked("-" if each.what == "removed" else "+", f"{each.name}: {each.text}" if each.name else each.text)
            for each in changes.fields
        )
        if changes.order:
            self._say(_marked("~", "the same fields in another order, or otherwise written"))
        self._lines(_part(each) for each in changes.parts)
        if changes.body and not changes.parts:
            self._say(_marked("~", "octets between the parts"))
        self._lines(_envelope_lines(changes.envelope))
        self._lines(
            Text("      note ", "dim") + Text(type(note).__name__, "blue") + " " + shown(note_text(note), "dim")
            for note in changes.notes
        )
        if exceeded:
            names = ", ".join(exceeded)
            self._say(Text("      ! ", "bold yellow") + shown(f"touches what it does not declare: {names}", "yellow"))

    def _lines(self, lines: Iterable[Text]) -> None:
        for number, line in enumerate(lines):
            if number == _MOST:
                self._say(Text("      … and more; --json has all", "dim"))
                return
            self._say(line)


_STYLES = {"-": "red", "+": "green", "~": "yellow"}


def _marked(mark: str, text: str) -> Text:
    return Text(f"      {mark} ", _STYLES[mark]) + shown(text, _STYLES[mark])


def _part(change: PartChange) -> Text:
    before, after = change.before, change.after
    if change.what == "moved" and before is not None and after is not None:
        return _marked("~", f"part {_path(before)} is now {_path(after)}")
    if before is not None and after is not None:
        old, new = _facts(before), _facts(after)
        return _marked("~", f"part {_path(after)}  " + (f"{old} → {new}" if old != new else f"{new}, other octets"))
    if after is not None:
        return _marked("+", f"part {_path(after)}  {_facts(after)}")
    assert before is not None
    return _marked("-", f"part {_path(before)}  {_facts(before)}")


def _path(part: PartFacts) -> str:
    return part.path or "TEXT"


def _facts(part: PartFacts) -> str:
    size = f", {output.size_text(part.size)}" if part.size else ""
    return f"{part.type} {part.encoding}{size}{f', {part.name}' if part.name else ''}"


def _envelope_lines(change: EnvelopeChange) -> Iterable[Text]:
    if change.sender is not None:
        yield _marked("-", f"sender <{change.sender[0]}>")
        yield _marked("+", f"sender <{change.sender[1]}>")
    for address in change.removed:
        yield _marked("-", f"recipient <{address}>")
    for address in change.added:
        yield _marked("+", f"recipient <{address}>")
    for other in change.others:
        yield _marked("~", f"envelope: {other}")


def _envelope(envelope: Envelope | None) -> Text:
    if envelope is None:
        return Text()
    return shown(f"<{envelope.reverse_path}>", "dim") + Text(" → ", "dim") + _addresses(envelope.addresses)


def _addresses(addresses: Sequence[str]) -> Text:
    words = ", ".join(f"<{address}>" for address in addresses[:5]) or "nobody"
    return shown(f"{words} and {len(addresses) - 5} more" if len(addresses) > 5 else words)


def _named(branch: str) -> str:
    last = branch.rpartition("/")[2]
    return "the mail itself" if not branch else f"mail {branch}" if last.isdecimal() else f"copy {branch}"


def _outcome(played: Played, outcome: Outcome) -> Text:
    branch, handed = played.branch(outcome.origin), played.handed_of(outcome)
    style, word = _ENDINGS[outcome.ending]
    line = Text("→ ", "bold") + Text(f"{_named(branch)}: " if branch else "", "cyan") + Text(word, style)
    if handed is not None:
        where = f"to {handed.sink}" if handed.sink else "through"
        way = f" at the end of the route {handed.way}" if handed.way else ""
        line.append(f" {where}{way}, {output.size_text(len(handed.mail.message))}, for ")
        return line + _addresses(handed.mail.envelope.addresses)
    line.append(f": {outcome.status} ")
    by = Text(" by ", "dim") + shown(outcome.stage, "cyan") if outcome.stage else Text()
    return line + shown(outcome.reason) + by
