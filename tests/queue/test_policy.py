import random
from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from mailpipe.queue.entry import Entry, Recipient, RecipientFate, RecipientResult, RecipientState
from mailpipe.queue.policy import Policy
from mailpipe.queue.schedule import Schedule
from mailpipe.smtp.envelope import Envelope, ForwardPath
from mailpipe.status import EnhancedStatus

STATUS = EnhancedStatus(4, 0, 0)
LIVE = [state for state in RecipientState if state.is_live]
recipients = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(LIVE)), min_size=1, max_size=5).map(
    lambda pairs: tuple(
        Recipient(number, ForwardPath(name), state, 1, 100.0, is_attempted=True)
        for number, (name, state) in enumerate(pairs)
    )
)
results = st.lists(st.tuples(st.sampled_from("abcx"), st.sampled_from(RecipientFate)), max_size=6).map(
    lambda pairs: [RecipientResult(ForwardPath(name), fate, STATUS, "") for name, fate in pairs]
)


@given(recipients, results, st.booleans(), st.booleans(), st.floats(0, 1e6))
def test_no_recipient_is_delivered_or_failed_unless_the_transport_said_so(them, answers, resends, is_ours, now):
    policy = Policy(Schedule.parse("1h", "1d"), resends, random.Random(1))
    entry = Entry(
        "id", Envelope(), them, "", "", 0, 0, 0, "", Path("x"), "me/1", 10.0, tuple(range(len(them)))
    )
    after = policy.settle(entry if is_ours else replace(entry, lease="you/2"), entry, answers, now)
    assert after.lease == ("" if is_ours else "you/2")
    said = {(result.recipient, result.fate.value) for result in answers}
    for old, new in zip(them, after.recipients, strict=True):
        if new.state in (RecipientState.DELIVERED, RecipientState.FAILED):
            assert (new.forward_path, new.state.value) in said and new.next_try is None
        elif new.state is RecipientState.EXPIRED:
            assert now >= 86400 and is_ours
        elif not is_ours:
            assert new == old
        else:
            assert not new.is_attempted and new.attempts == 2
            waits = new.state is RecipientState.WAITING or (new.state is RecipientState.IN_DOUBT and resends)
            held = old.state is RecipientState.HELD
            assert (new.next_try is not None) == (waits and not held and now < 86400)


@given(recipients, st.booleans(), st.floats(0, 1e6))
def test_what_was_cut_short_is_in_doubt_and_nothing_else(them, resends, now):
    policy = Policy(Schedule.parse("1h", "1d"), resends, random.Random(1))
    them = (replace(them[0], is_attempted=False), *them[1:])
    after = policy.cut_short(Entry("id", Envelope(), them, "", "", 0, 0, 0, "", Path("x"), "me/1", 10.0), now)
    assert after.recipients[0] == them[0] and after.lease == ""
    assert {one.state for one in after.recipients[1:]} <= {RecipientState.IN_DOUBT}
