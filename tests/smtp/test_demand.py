"""What a mail asks of the next hop: said where it can be, refused where it must be."""

import json
from dataclasses import asdict

import pytest

from mailpipe.errors import LocalProtocolError
from mailpipe.smtp.demand import demand_parameters, demand_refusal
from mailpipe.smtp.envelope import Envelope, MailParameters
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
    assert refusal(ALL, parameters=(("requiretls", None),)) == "550 5.7.30"
    assert refusal(Extensions("mx.test", {"REQUIRETLS": ()}), parameters=(("REQUIRETLS", None),)) is None


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
