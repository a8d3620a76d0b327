"""The sink discard."""

from mailpipe.pipeline.outcome import Fate
from mailpipe.sinks.discard import DiscardSink


def test_every_recipient_is_delivered_and_nothing_kept(make_mail) -> None:
    receipt = DiscardSink(DiscardSink.Options()).deliver(make_mail(b"A: 1\n", "a@b", "c@d"))
    assert [entry.fate for entry in receipt.recipients] == [Fate.DELIVERED] * 2
