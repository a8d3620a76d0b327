"""Mail that goes round in circles, and reports on what the sink settled at the first attempt."""

import pytest

from mailpipe.message import parse
from mailpipe.pipeline.loop import LoopRule
from mailpipe.pipeline.mail import Mail, Origin, RawMail
from mailpipe.pipeline.notification import Reports
from mailpipe.pipeline.outcome import Ending, Fate, Receipt, RecipientReceipt
from mailpipe.pipeline.redeliver import loop_rule
from mailpipe.pipeline.settings import QueueSettings
from mailpipe.queue import Queue
from mailpipe.smtp.envelope import Envelope, ForwardPath
from mailpipe.status import EnhancedStatus

HERE = "here@mx.example.org"
ENVELOPE = Envelope("ann@example.org", (ForwardPath("bob@example.net"), ForwardPath("c@example.net", ("SUCCESS",))))


def mail_of(octets):
    return Mail(parse(octets), ENVELOPE, Origin("test", "here"))


def test_a_hundred_hops_are_enough():
    hops = [b"Received: by h%d.example\r\n" % number for number in range(101)]
    assert LoopRule().complaint(mail_of(b"".join(hops[:100]) + b"\r\n")) == ""
    assert "101 Received fields, more than the 100" in LoopRule().complaint(mail_of(b"".join(hops) + b"\r\n"))


@pytest.mark.parametrize("value", [b"here@mx.example.org", b" <Here@MX.example.org>"])
def test_our_mark_is_known_again_however_it_is_written(value):
    mail = mail_of(b"Subject: x\r\nDelivered-To: other@example.net\r\nDelivered-To:" + value + b"\r\n\r\n")
    assert HERE in LoopRule(mark=HERE).complaint(mail) and LoopRule().complaint(mail) == ""
    assert LoopRule(mark="there@mx.example.org").complaint(mail) == ""


def test_the_mark_is_put_on_top_once_and_the_rest_stays_as_it_was():
    octets = b"Received: by a.example\r\nSubject: x\r\n\r\nbody\r\n"
    rule = LoopRule(mark=HERE)
    marked = rule.marked(mail_of(octets))
    assert bytes(marked.message) == b"Delivered-To: here@mx.example.org\r\n" + octets
    assert rule.complaint(mail_of(octets)) == "" and rule.complaint(marked)
    assert bytes(LoopRule().marked(mail_of(octets)).message) == octets


def test_only_sinks_that_mail_can_come_back_from_are_guarded(kit, tmp_path):
    settings = QueueSettings(directory=tmp_path, max_received=7, loop_mark=HERE)
    sink = kit.memory_sink()
    assert loop_rule(settings, sink) is None
    type(sink).needs_recipients, before = True, type(sink).needs_recipients
    try:
        assert loop_rule(settings, sink) == LoopRule(7, HERE) and loop_rule(None, sink) is None
    finally:
        type(sink).needs_recipients = before


@pytest.mark.parametrize("reports", [False, True])
def test_the_sender_is_told_of_what_was_settled_at_the_first_attempt(kit, engine_of, tmp_path, reports):
    def answer(mail):
        bob, carol = mail.envelope.forward_paths
        return Receipt((
            RecipientReceipt(bob, Fate.FAILED, EnhancedStatus(5, 1, 1), "mx.example.net said: 550 5.1.1 no"),
            RecipientReceipt(carol, Fate.DELIVERED, EnhancedStatus(2, 0, 0), "250 ok", "relayed"),
        ))

    with Queue(tmp_path / "queue", reporter=Reports("postmaster@mx.example.org") if reports else None) as queue:
        engine = engine_of(sink=kit.memory_sink(answer), queue=queue, reports=reports)
        for _ in range(2):  # as after a crash that lost the journal's last line
            taken = engine.take(RawMail(kit.octets_of("x"), Origin("mbox", "a", 7), ENVELOPE))
            assert taken.own.ending is Ending.FAILED
        told = {
            one.address: one.action
            for entry in queue.list()
            for one in parse(entry.octets).delivery_report.recipients
        }
    assert told == ({"bob@example.net": "failed", "c@example.net": "relayed"} if reports else {})


def test_a_loop_is_found_at_the_first_attempt_too(kit, engine_of):
    sink = kit.memory_sink()
    octets = b"Delivered-To: here@mx.example.org\r\n" + kit.octets_of("x")
    own = engine_of(sink=sink, loops=LoopRule(mark=HERE)).take(RawMail(octets, Origin("t", "h"), ENVELOPE)).own
    assert own.ending is Ending.FAILED and str(own.status) == "5.4.6" and sink.mails == []
