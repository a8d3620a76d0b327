"""The stage `loop-check`: mail that goes round in circles is stopped, and programs are not answered by programs.

    [[stage]]
    use = "loop-check"
    max_received = 50
    mark = "filter.example.org"     # our own Delivered-To, put on what passes

Too many Received fields are a loop (RFC 5321 section 6.3), and so is our own mark. Hints are what programs write on
their mail: Auto-Submitted (RFC 3834), List-Id or List-Loop, a null sender; they become a note, and can stop mail.

Never here: answers. Whoever writes a stage that answers mail asks for the note.
"""

import re
from dataclasses import dataclass
from typing import Literal

from pydantic import Field as OptionField

from mailpipe.pipeline.access import Access
from mailpipe.pipeline.component import Options, Stage
from mailpipe.pipeline.loop import LOOP_STATUS, LoopRule
from mailpipe.pipeline.mail import Changed, Mail
from mailpipe.pipeline.verdict import Decision, Verdict

Hint = Literal["auto-submitted", "list", "null-sender", "precedence"]
_Then = Literal["reject", "drop", "defer", "quarantine"]
_COMMENT = re.compile(rb"\([^()]{0,200}\)")  # may stand before and behind the keyword (RFC 3834 section 5)
_LISTS = ("list-id", "list-loop", "x-loop", "mailing-list", "x-mailing-list")
_BULK = ("bulk", "junk", "list", "auto_reply")


@dataclass(frozen=True, slots=True)
class LoopHints:
    """A note: what says that a program wrote the mail; an answer to it might be answered by another one.

    Attributes:
        hints: any of "auto-submitted", "list", "null-sender", "precedence".
        received: how many Received fields it has.
    """

    hints: tuple[str, ...]
    received: int


class LoopCheckOptions(Options):
    """What is a loop, and what becomes of it."""

    max_received: int = OptionField(default=100, ge=1)
    """Received fields at most; RFC 5321 section 6.3 asks for no less than 100 where nothing else is known."""
    mark: str = OptionField(default="", pattern=r"^[!-~]{0,255}$")
    """Our name: mail that bears it in Delivered-To was here before, and mail that passes gets it. "" for no mark."""
    then: _Then = "reject"
    """What becomes of mail in a loop."""
    stop: tuple[Hint, ...] = ()
    """Hints that stop a mail as well: "auto-submitted" (RFC 3834), "list" (List-Id, List-Loop, X-Loop and the like),
    "null-sender", "precedence" (bulk, junk, list)."""
    then_stop: _Then = "drop"
    """What becomes of such mail."""


class LoopCheck(Stage[LoopCheckOptions]):
    """Stops mail that goes round in circles, marks what passes, and notes which mail programs wrote."""

    name = "loop-check"
    Options = LoopCheckOptions
    reads = Access(
        fields=(
            "Received", "Delivered-To", "Auto-Submitted", "List-Id", "List-Loop", "X-Loop", "Mailing-List",
            "X-Mailing-List", "Precedence",
        ),
        envelope=True,
    )  # fmt: skip
    touches = Access(fields=("Delivered-To",), notes=(LoopHints, Changed))

    @classmethod
    def accesses(cls, options: LoopCheckOptions) -> tuple[Access, Access]:
        """The header is touched only where there is a mark."""
        return cls.reads, cls.touches if options.mark else Access(notes=(LoopHints,))

    @classmethod
    def decisions(cls, options: LoopCheckOptions) -> tuple[Decision, ...]:
        """Those that the options name."""
        named = [options.then, *([options.then_stop] if options.stop else [])]
        return tuple(Decision(one) for one in dict.fromkeys(named))

    def process(self, mail: Mail) -> Mail | Verdict:
        """Look, and decide."""
        options = self.options
        rule = LoopRule(options.max_received, options.mark)
        found = LoopHints(_hints(mail), len(mail.message.header.all("received")))
        if complaint := rule.complaint(mail):
            return _verdict(options.then, complaint, LOOP_STATUS, found)
        if stopping := [hint for hint in found.hints if hint in options.stop]:
            words = f"a program wrote it ({', '.join(stopping)})"
            return _verdict(options.then_stop, words, "5.7.1", found)
        if found.hints:
            mail = mail.with_note(found)
        if options.mark:
            mail = rule.marked(mail).with_note(Changed(self.name, f"marked Delivered-To: {options.mark}"))
        return mail


def _verdict(then: str, words: str, status: str, note: LoopHints) -> Verdict:
    if then == "reject":
        return Verdict.reject(words, status=status, notes=(note,))
    if then == "defer":
        return Verdict.defer(words, status="4" + status[1:], notes=(note,))
    if then == "quarantine":
        return Verdict.quarantine(words, notes=(note,))
    return Verdict.drop(words, notes=(note,))


def _hints(mail: Mail) -> tuple[str, ...]:
    header = mail.message.header
    automatic = _COMMENT.sub(b" ", header.body_of("auto-submitted") or b"").partition(b";")[0].strip().lower()
    precedence = (header.body_of("precedence") or b"").strip().lower().decode("ascii", "replace")
    found = {
        "auto-submitted": bool(header.first("auto-submitted")) and automatic != b"no",
        "list": any(header.first(name) for name in _LISTS),
        "null-sender": not mail.envelope.reverse_path,
        "precedence": precedence in _BULK,
    }
    return tuple(name for name, holds in found.items() if holds)
