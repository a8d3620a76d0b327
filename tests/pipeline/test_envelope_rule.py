"""Envelopes that are made from header fields."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mailpipe.message import parse
from mailpipe.pipeline.envelope_rule import EnvelopeRule


def envelope(header: str, separator: bytes = b"", **rule):
    message = parse(header.encode() + b"\r\n\r\nbody\r\n")
    before = bytes(message)
    made = EnvelopeRule(**rule).envelope_of(message, separator)
    assert bytes(message) == before
    return made


def test_recipients_are_those_of_all_named_fields_once_each():
    made = envelope(
        "From: a@x.example\r\nTo: Bob <b@y.example>, Team: c@z.example, b@Y.EXAMPLE;\r\n"
        "Cc: d@z.example (Dora),\r\n\tb@y.example\r\nTo: e@z.example\r\nBcc: undisclosed:;"
    )
    assert made.reverse_path == "a@x.example"
    assert made.addresses == ("b@y.example", "c@z.example", "e@z.example", "d@z.example")


def test_local_parts_that_differ_in_case_are_different():
    assert envelope("To: Bob@x.example, bob@x.example").addresses == ("Bob@x.example", "bob@x.example")


@pytest.mark.parametrize(
    ("header", "rule", "reverse_path"),
    [
        ("Return-Path: <r@x.example>\r\nFrom: a@x.example", {}, "r@x.example"),
        ("Return-Path: <>\r\nFrom: a@x.example", {}, ""),
        ("Sender: s@x.example\r\nFrom: a@x.example, b@x.example", {}, "s@x.example"),
        ("From: a@x.example, b@x.example", {}, "a@x.example"),
        ("Subject: none", {}, ""),
        ("From: a@x.example", {"reverse_path": "null"}, ""),
        ("From: a@x.example", {"reverse_path": ["return-path", "null"]}, ""),
        ("From: a@x.example", {"reverse_path": "bounces@x.example"}, "bounces@x.example"),
        ("From: a@x.example", {"reverse_path": ["from-line", "from"]}, "line@x.example"),
    ],
)
def test_the_reverse_path_is_the_first_that_is_there(header, rule, reverse_path):
    separator = b"From line@x.example Thu Jan  1 00:00:00 1970"
    assert envelope(header, separator, **rule).reverse_path == reverse_path


def test_the_null_sender_of_an_mbox_is_null():
    made = envelope("From: a@x.example", b"From MAILER-DAEMON Thu Jan  1 00:00:00 1970", reverse_path=["from-line", "from"])
    assert made.reverse_path == ""


def test_any_field_and_any_address_can_be_named():
    header = "To: list@x.example\r\nDelivered-To: me@x.example\r\nX-Original-To: you@x.example"
    assert envelope(header, recipients=["Delivered-To", "x-original-to"]).addresses == ("me@x.example", "you@x.example")
    assert envelope(header, recipients="all@x.example").addresses == ("all@x.example",)


def test_the_fallback_is_for_messages_without_any():
    assert envelope("Subject: none", fallback_recipient="f@x.example").addresses == ("f@x.example",)
    assert envelope("To: b@x.example", fallback_recipient="f@x.example").addresses == ("b@x.example",)
    assert envelope("Subject: none").addresses == ()


def test_an_address_outside_ascii_needs_smtputf8():
    assert envelope("To: jürgen@x.example").parameters.smtputf8
    assert not envelope("To: j@x.example").parameters.smtputf8
    # a domain has an ASCII form
    assert not envelope("To: j@bücher.example").parameters.smtputf8


@pytest.mark.parametrize("rule", [{"recipients": ["a b"]}, {"recipients": ["@"]}, {"recipients": ["<a@b>"]},
                                  {"recipients": ["a b@c"]}, {"fallback_recipient": "x"}, {"on_missing": "ignore"}])  # fmt: skip
def test_a_rule_that_makes_no_sense_is_refused(rule):
    with pytest.raises(ValidationError):
        EnvelopeRule(**rule)


@given(st.text(alphabet='ab@<>,;:"\\ \t\r\n()=?', max_size=60))
def test_no_header_can_put_a_command_into_the_envelope(text):
    made = envelope(f"To: {text}\r\nFrom: {text}\r\nReturn-Path: {text}")
    for address in (made.reverse_path, *made.addresses):
        assert not set(address) & set("\r\n<>\0")


def test_what_senders_are_to_be_told_goes_with_every_envelope():
    made = envelope("From: a@x.test\r\nTo: b@x.test, c@x.test", notify=["failure", "delay"], ret="hdrs")
    assert [path.notify for path in made.forward_paths] == [("FAILURE", "DELAY")] * 2 and made.parameters.ret == "HDRS"
    assert envelope("To: b@x.test", notify="never").forward_paths[0].notify == ("NEVER",)
    for wrong in (["never", "success"], ["sometimes"], 7, [7]):
        with pytest.raises(ValidationError):
            EnvelopeRule(notify=wrong)
