"""Mail that goes round is stopped, mail of programs is known."""

import pytest

from mailpipe import Verdict
from mailpipe.pipeline.verdict import Decision
from mailpipe.stages.loop_check import LoopCheck, LoopHints

LETTER = b"Received: from a by b; Fri, 21 Nov 1997 09:55:06 -0600\r\nFrom: ann@example.org\r\nSubject: x\r\n\r\nHello\r\n"


def test_a_letter_of_a_person_passes_as_it_came(mail, stage):
    before = mail(LETTER)
    assert stage(LoopCheck).process(before) is before


def test_too_many_hops_are_a_loop(mail, stage):
    hop = b"Received: from a by b; Fri, 21 Nov 1997 09:55:06 -0600\r\n"
    one = stage(LoopCheck, max_received=3)
    assert not isinstance(one.process(mail(hop * 2 + LETTER)), Verdict)
    verdict = one.process(mail(hop * 3 + LETTER))
    assert (verdict.decision, str(verdict.status)) == (Decision.REJECT, "5.4.6")
    assert "4 Received fields" in verdict.reason
    assert verdict.notes == (LoopHints((), 4),)


@pytest.mark.parametrize(("then", "status"), [("drop", "2.0.0"), ("defer", "4.4.6"), ("quarantine", "2.0.0")])
def test_what_passed_here_before_is_a_loop(then, status, mail, stage):
    one = stage(LoopCheck, mark="filter.example.org", then=then)
    passed = one.process(mail(LETTER))
    assert bytes(passed.message) == b"Delivered-To: filter.example.org\r\n" + LETTER
    verdict = one.process(mail(b"Delivered-To: Bob@example.net\r\n" + bytes(passed.message).replace(b"filter", b"FILTER")))
    assert (verdict.decision, str(verdict.status)) == (Decision(then), status)
    assert one.decisions(one.options) == (Decision(then),)
    assert one.accesses(one.options)[1].has_field("delivered-to")


@pytest.mark.parametrize(
    ("field", "hint"),
    [
        (b"Auto-Submitted: auto-replied", "auto-submitted"), (b"Auto-Submitted: (by vacation) auto-generated; x=y", "auto-submitted"), (b"Auto-Submitted:", "auto-submitted"),
        (b"Auto-Submitted: no", ""), (b"Auto-Submitted: No (a person)", ""), (b"List-Id: <dev.example.org>", "list"), (b"X-Loop: ann@example.org", "list"),
        (b"Precedence: bulk", "precedence"), (b"Precedence: first-class", ""),
    ],
)  # fmt: skip
def test_hints_of_programs(field, hint, mail, stage):
    letter = mail(field + b"\r\n" + LETTER)
    after = stage(LoopCheck).process(letter)
    assert [note.hints for note in after.notes_of(LoopHints)] == ([(hint,)] if hint else [])
    strict = stage(LoopCheck, stop=["auto-submitted", "list", "precedence", "null-sender"], then_stop="reject")
    assert isinstance(strict.process(letter), Verdict) == bool(hint)


def test_a_bounce_is_known_by_its_sender(mail, stage):
    bounce = mail(LETTER)
    bounce = bounce.with_envelope(bounce.envelope.with_reverse_path(""))
    assert stage(LoopCheck).process(bounce).notes == (LoopHints(("null-sender",), 1),)
    assert stage(LoopCheck, stop=["null-sender"]).process(bounce).decision is Decision.DROP
