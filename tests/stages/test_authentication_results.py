"""What was found out is written on top, what was forged goes, and everything else stays as it came."""

import os

import pytest

import mailpipe
from mailpipe.pipeline.mail import Changed
from mailpipe.pipeline.notes import AuthResult
from mailpipe.stages.authentication_results import AuthenticationResultsStage

NOTES = (
    AuthResult("spf", "pass", "example.org", "", (("smtp.mailfrom", "ann@example.org"),)),
    AuthResult("dkim", "fail", "a.example", 'the body is "not" what\r\nwas signed', (("header.d", "a.example"), ("header.s", "sél"))),
    AuthResult("dmarc", "pass", "example.org", "", (("header.from", "example.org"),)),
)
REST = b"Received: from a (a [192.0.2.1]) by mx.example.org; Fri, 21 Nov 1997 09:55:06 -0600\r\nFrom: ann@example.org\r\nSubject: x\r\n"
FORGED = b"AUTHENTICATION-results: MX.example.org;\r\n dkim=pass header.d=bank.example\r\n"
OTHER = b"Authentication-Results: mx.elsewhere.example; spf=fail\r\n"


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_results_are_written_and_forgeries_go(end, mail, stage) -> None:
    octets = (FORGED + REST + OTHER + FORGED + b"\r\nHello\r\n").replace(b"\r\n", end)
    after = stage(AuthenticationResultsStage, server="mx.example.org").process(mail(octets).with_note(*NOTES))
    made = bytes(after.message)
    assert made.endswith((REST + OTHER + b"\r\nHello\r\n").replace(b"\r\n", end))
    assert made.count(b"\n") == made.count(end)
    value = mailpipe.parse(made).header.fields[0].value
    assert value.server == "mx.example.org"
    assert [(each.method, each.result) for each in value.results] == [("spf", "pass"), ("dkim", "fail"), ("dmarc", "pass")]
    assert value.results[1].reason == 'the body is "not" what was signed'
    assert [note.what for note in after.notes_of(Changed)] == ["2 Authentication-Results removed, which were not ours", "Authentication-Results added"]


def test_nothing_known_is_said_too(mail, stage) -> None:
    after = stage(AuthenticationResultsStage).process(mail(REST + b"\r\n"))
    assert bytes(after.message) == f"Authentication-Results: {os.uname().nodename}; none\r\n".encode() + REST + b"\r\n"


def test_only_removing_leaves_a_clean_mail_untouched(mail, stage) -> None:
    one = stage(AuthenticationResultsStage, server="mx.example.org", add=False, former_servers=["old.example.org"])
    before = mail(OTHER + REST + b"\r\n")
    assert one.process(before) is before
    assert bytes(one.process(mail(b"Authentication-Results: old.example.org; none\r\n" + REST + b"\r\n")).message) == REST + b"\r\n"


def test_all_go_where_that_is_wished(mail, stage) -> None:
    one = stage(AuthenticationResultsStage, server="mx.example.org", remove="all", methods=["dmarc"])
    after = one.process(mail(OTHER + FORGED + REST + b"\r\n").with_note(*NOTES))
    assert bytes(after.message) == b"Authentication-Results: mx.example.org; dmarc=pass header.from=example.org\r\n" + REST + b"\r\n"


def test_twice_is_once(mail, stage) -> None:
    one = stage(AuthenticationResultsStage, server="mx.example.org")
    once = one.process(mail(REST + b"\r\n").with_note(*NOTES))
    assert bytes(one.process(once).message) == bytes(once.message)


def test_a_message_that_is_only_a_forgery(mail, stage) -> None:
    after = stage(AuthenticationResultsStage, server="mx.example.org").process(mail(FORGED.rstrip(b"\r\n")))
    assert mailpipe.parse(bytes(after.message)).header.get("Authentication-Results") == "mx.example.org; none"
