"""What a mail asks of the next hop: said where it can be, refused where it must be."""

import json
from dataclasses import asdict
from datetime import UTC, datetime

import pytest

from mailpipe.errors import LocalProtocolError
from mailpipe.smtp.demand import after_waiting, demand_parameters, demand_refusal
from mailpipe.smtp.envelope import Envelope, ForwardPath, MailParameters
from mailpipe.smtp.extension import Extensions
from mailpipe.smtp.negotiation import plan_transaction

OFFERED = {"AUTH": ("PLAIN",), "MT-PRIORITY": (), "DELIVERBY": ("120",),
           "FUTURERELEASE": ("86400", "2026-12-31T00:00:00Z")}  # fmt: skip
ALL = Extensions("mx.test", OFFERED)
NONE = Extensions("mx.test", {})


def refusal(extensions=ALL, **asked):
    reply = demand_refusal(MailParameters(**asked), extensions)
    return None if reply is None else f"{reply.code} {reply.status}"


def test_everything_that_the_peer_knows_is_said():
    asked = MailParameters(auth="a+b@example.org", mt_priority=-3, hold_for=60, by_time=120, by_mode="R", by_trace=True)
    assert demand_parameters(asked, ALL) == (
        ("AUTH", "a+2Bb@example.org"), ("MT-PRIORITY", "-3"), ("HOLDFOR", "60"), ("BY", "120;RT"),
    )  # fmt: skip
    assert demand_parameters(MailParameters(hold_until="2026-12-24T18:00:00Z"), ALL) == (
        ("HOLDUNTIL", "2026-12-24T18:00:00Z"),
    )
    assert demand_parameters(asked, NONE) == ()
    assert demand_parameters(MailParameters(), ALL) == ()


def test_what_the_caller_says_in_words_of_his_own_is_not_said_twice():
    asked = MailParameters(mt_priority=1, parameters=(("mt-priority", "2"),))
    assert demand_parameters(asked, ALL) == ()


def test_tls_everywhere_is_not_forgotten_where_it_is_asked_for_in_words():
    asked = MailParameters(parameters=(("requiretls", None),))
    envelope = Envelope("a@x.test", Envelope.of("", "b@x.test").forward_paths, asked)
    offers = Extensions("mx.test", {"REQUIRETLS": ()})
    for extensions, verified, status, words in [
        (ALL, True, "5.7.30", "does not offer"), (offers, False, "5.7.10", "not proven"),
    ]:  # fmt: skip
        plan = plan_transaction(envelope, b"Subject: x\r\n\r\n", extensions, verified=verified)
        assert str(plan.refusals[0].status) == status and words in plan.refusals[0].text and not plan.rcpts
    assert plan_transaction(envelope, b"Subject: x\r\n\r\n", offers, verified=True).rcpts


@pytest.mark.parametrize("asked", [MailParameters(requiretls=True), MailParameters(parameters=(("REQUIRETLS", None),))])
def test_a_report_is_not_lost_for_the_lack_of_tls(asked):
    envelope = Envelope("", Envelope.of("", "b@x.test").forward_paths, asked)
    offers = Extensions("mx.test", {"REQUIRETLS": ()})
    for extensions, verified, is_said in [(ALL, True, False), (offers, False, False), (offers, True, True)]:
        plan = plan_transaction(envelope, b"Subject: x\r\n\r\n", extensions, verified=verified)
        assert plan.rcpts and not plan.refusals and (b"REQUIRETLS" in plan.octets) is is_said


@pytest.mark.parametrize(
    ("notify", "time", "said"),
    [
        ((), {}, b""),
        ((), {"by_time": 60, "by_mode": "N"}, b" NOTIFY=FAILURE,DELAY"),
        (("SUCCESS",), {"by_time": 60, "by_mode": "N"}, b" NOTIFY=SUCCESS,DELAY"),
        (("FAILURE", "DELAY"), {"by_time": 60, "by_mode": "N"}, b" NOTIFY=FAILURE,DELAY"),
        (("NEVER",), {"by_time": 60, "by_mode": "N"}, b" NOTIFY=NEVER"),
        ((), {"by_time": -1, "by_mode": "N"}, b""),
        ((), {"parameters": (("BY", "60;N"),)}, b" NOTIFY=FAILURE,DELAY"),
    ],
)
def test_behind_a_peer_that_knows_no_time_a_delay_is_to_be_told(notify, time, said):
    envelope = Envelope("a@x.test", (ForwardPath("b@x.test", notify),), MailParameters(**time))
    plan = plan_transaction(envelope, b"Subject: x\r\n\r\n", Extensions("mx.test", {"DSN": ()}))
    assert plan.octets.endswith(b"RCPT TO:<b@x.test>%b\r\n" % said)
    without = b" NOTIFY=%b" % ",".join(notify).encode() if notify else b""
    known = Extensions("mx.test", {"DSN": (), "DELIVERBY": ()})
    assert plan_transaction(envelope, b"Subject: x\r\n\r\n", known).octets.endswith(b"<b@x.test>%b\r\n" % without)


def test_no_mail_is_to_be_held_for_longer_than_it_may_take():
    assert refusal(hold_for=600, by_time=300, by_mode="N") == "501 5.5.4"
    assert refusal(hold_for=600, by_time=601, by_mode="N") is None


@pytest.mark.parametrize("auth", ["", "zoë@example.org"])
def test_a_submitter_who_is_unknown_or_cannot_be_named_is_nobody(auth):
    assert demand_parameters(MailParameters(auth=auth), ALL) == (("AUTH", "<>"),)


def test_wishes_go_unsaid_where_the_peer_does_not_know_them():
    assert refusal(NONE, auth="ann@example.org", mt_priority=9, by_time=-5, by_mode="N") is None


@pytest.mark.parametrize(
    "asked",
    [{"hold_for": 60}, {"hold_until": "2026-12-24T18:00:00Z"}, {"by_time": 60}, {"parameters": (("HOLDFOR", "60"),)},
     {"parameters": (("HOLDUNTIL", "2026-12-24T18:00:00Z"),)}, {"parameters": (("BY", "60;r"),)}],
)  # fmt: skip
def test_conditions_are_refused_where_the_peer_does_not_know_them(asked):
    assert refusal(NONE, **asked) == "550 5.3.3"


def test_more_than_the_peer_holds_is_refused():
    assert refusal(hold_for=86400) is None
    assert refusal(hold_for=86401) == "501 5.5.4"
    assert refusal(hold_until="2026-12-31T00:00:00Z") is None
    assert refusal(hold_until="2026-12-31T00:00:00.5Z") == "501 5.5.4"
    unreadable = Extensions("mx.test", {"FUTURERELEASE": ("soon",)})
    assert refusal(unreadable, hold_for=999_999_999) is None


def test_less_time_than_the_peer_needs_is_refused_only_where_the_mail_would_be_returned():
    assert refusal(by_time=120) is None
    assert refusal(by_time=119) == "550 5.4.7"
    assert refusal(by_time=119, by_mode="N") is None


def left(waited, **asked):
    moment = datetime(2026, 12, 24, 18, 0, tzinfo=UTC)
    return after_waiting(MailParameters(**asked), waited, moment)


def test_what_is_left_of_a_time_is_what_is_said():
    assert left(60.2, by_time=120).by_time == 59
    assert left(119, by_time=120).by_time == 1
    assert left(120, by_time=120) is None and left(1e12, by_time=120) is None
    assert left(500, by_time=120, by_mode="N", by_trace=True).by_word == "-380;NT"
    assert left(1e12, by_time=120, by_mode="N").by_time == -999_999_999
    assert left(59.9, hold_for=60).hold_for == 1
    assert left(60, hold_for=60).hold_for is None
    assert left(0, hold_until="2026-12-24T18:00:01Z").hold_until == "2026-12-24T18:00:01Z"
    assert left(0, hold_until="2026-12-24T18:00:00Z").hold_until is None


def test_times_that_came_as_words_are_read():
    words = (("BY", "+120;nT"), ("HOLDFOR", "60"), ("X-A", None))
    read = left(10, parameters=words)
    assert (read.by_word, read.hold_for, read.parameters) == ("110;NT", 50, (("X-A", None),))
    assert left(10, parameters=(("HOLDUNTIL", "2026-12-24T20:00:00+01:00"),)).hold_until == "2026-12-24T19:00:00Z"
    for words in [(("BY", "0;R"),), (("BY", "1;X"),), (("HOLDFOR", "soon"),), (("HOLDFOR", "1"), ("HOLDUNTIL", "2026-12-24T20:00:00Z"))]:
        assert left(10, parameters=words).parameters == words


def test_no_time_to_hold_is_no_condition_and_is_not_said():
    assert refusal(NONE, hold_for=0) is None
    assert demand_parameters(MailParameters(hold_for=0), ALL) == ()


def test_a_refusal_reaches_every_recipient_and_nothing_is_sent():
    envelope = Envelope("a@x.test", Envelope.of("", "b@x.test", "c@x.test").forward_paths, MailParameters(hold_for=60))
    refused = plan_transaction(envelope, b"Subject: x\r\n\r\n", NONE)
    assert not refused.rcpts and [reply.code for reply in refused.refusals.values()] == [550, 550]
    assert b" HOLDFOR=60" in plan_transaction(envelope, b"Subject: x\r\n\r\n", ALL).mail.octets


@pytest.mark.parametrize(
    "asked",
    [
        {"auth": "ann"}, {"auth": "ann@x.test\r\nRSET"}, {"auth": "a\0b@x.test"}, {"auth": "=?utf-8?q?a?=@x.test"},
        {"mt_priority": 10}, {"mt_priority": -10},
        {"hold_for": -1}, {"hold_for": 10**9}, {"hold_for": 1, "hold_until": "2026-12-24T18:00:00Z"},
        {"hold_until": "tomorrow"}, {"hold_until": "2026-12-24T18:00:00+01:00"}, {"hold_until": "2026-13-24T18:00:00Z"},
        {"hold_until": "2026-12-24T18:00:00Z\r\n"},
        {"by_time": 0}, {"by_time": -1}, {"by_time": 10**9}, {"by_time": 1, "by_mode": "R;\r\n"}, {"by_time": 1, "by_mode": ""},
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused_at_once(asked):
    with pytest.raises(LocalProtocolError):
        MailParameters(**asked)


def test_the_values_survive_a_round_through_json_as_the_queue_makes_it():
    asked = MailParameters(auth="", mt_priority=1, hold_until="2026-12-24T18:00:00Z", by_time=60, by_mode="N")
    again = json.loads(json.dumps(asdict(asked)))
    assert MailParameters(**{**again, "parameters": ()}) == asked
