"""The same share of the mail in every run."""

import pytest
from pydantic import ValidationError

from mailpipe import Verdict
from mailpipe.pipeline.verdict import Decision
from mailpipe.stages.sample import Sample, Sampled


def letter(number, ident=0):
    return b"Message-ID: <%d@example.org>\r\nSubject: letter %d\r\n\r\nHello\r\n" % (ident or number, number)


def chosen(one, mails):
    return [number for number, each in enumerate(mails) if not isinstance(one.process(each), Verdict)]


def test_a_share_is_kept_and_the_same_every_time(mail, stage):
    mails = [mail(letter(number)) for number in range(1000)]
    tenth = chosen(stage(Sample, share=0.1), mails)
    assert tenth == chosen(stage(Sample, share=0.1), mails)
    assert 70 <= len(tenth) <= 130
    assert set(chosen(stage(Sample, share=0.02), mails)) < set(tenth)
    assert set(chosen(stage(Sample, share=0.1, seed="other"), mails)) != set(tenth)
    assert chosen(stage(Sample, share=0), mails) == []
    assert len(chosen(stage(Sample, share=1), mails)) == 1000


def test_copies_share_their_fate(mail, stage):
    one = stage(Sample, share=0.5, by="message-id")
    for ident in range(1, 50):
        assert len({type(one.process(mail(letter(number, ident)))) for number in range(3)}) == 1


def test_all_mail_of_a_sender_shares_its_fate(mail, stage):
    one = stage(Sample, share=0.5, by="sender")
    assert len(chosen(one, [mail(letter(number)) for number in range(20)])) in (0, 20)


@pytest.mark.parametrize(("then", "decision"), [("drop", Decision.DROP), ("accept", Decision.ACCEPT)])
def test_what_becomes_of_the_others(then, decision, mail, stage):
    one = stage(Sample, share=0, then=then)
    verdict = one.process(mail(letter(1)))
    assert (verdict.decision, verdict.notes) == (decision, (Sampled(False, 0.0),))
    assert one.decisions(one.options) == (decision,)


def test_a_note_alone(mail, stage):
    before = mail(letter(1))
    after = stage(Sample, share=0, then="note").process(before)
    assert after.message is before.message
    assert after.notes == (Sampled(False, 0.0),)
    assert stage(Sample, share=1, then="note").process(before).notes == (Sampled(True, 1.0),)


def test_a_share_is_a_share():
    with pytest.raises(ValidationError):
        Sample.Options.model_validate({"share": 1.5})
