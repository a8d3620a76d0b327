"""Rspamd is asked over HTTP, and its actions become verdicts, fields and notes."""

import json
import socket
from dataclasses import replace

import pytest
from pydantic import ValidationError

from mailpipe import Services
from mailpipe.errors import RemoteProtocolError, SecretMissing, TransientFailure
from mailpipe.pipeline.mail import Changed
from mailpipe.pipeline.notes import SpamScore
from mailpipe.pipeline.verdict import Decision
from mailpipe.smtp.envelope import Client, Envelope
from mailpipe.stages.rspamd import Rspamd, RspamdOptions
from mailpipe.testing.web import WebServer

LETTER = (
    b"Received: from mx.example.org by mx.example.net; Thu, 1 Oct 2026 12:00:00 +0000\r\nX-Spam: no, trust me\r\n"
    b"X-Old: one\r\nX-Old: two\r\nX-Old: three\r\nFrom: Ann <ann@example.org>\r\nSubject: Lunch\r\n\r\nAt twelve?\r\n"
)
SYMBOLS = {
    "R_SPF_ALLOW": {"name": "R_SPF_ALLOW", "score": -0.2, "options": ["+mx"]},
    "BAYES_SPAM": {"name": "BAYES_SPAM", "score": 5.1, "metric_score": 5.1},
}


def said(action="no action", score=1.5, **more):
    answer = {"is_skipped": False, "score": score, "required_score": 15.0, "action": action, "symbols": SYMBOLS, "time_real": 0.02}
    return 200, "application/json", json.dumps(answer | more).encode()


def test_the_message_and_its_envelope_are_posted(mail, stage):
    client = Client(address="192.0.2.1", name="mx.example.org", helo="mx")
    envelope = replace(Envelope.of("ann@example.org", "bob@example.net", "grüße@example.net"), client=client)
    given = mail(LETTER).with_envelope(envelope)
    with WebServer(said()) as web:
        passed = stage(Rspamd, url=web.url).process(given)
        told = web.told[0]
    assert (told.path, told.body) == ("/checkv2", LETTER)
    assert told.all("From") == ["ann@example.org"]
    assert [value.encode("latin-1").decode() for value in told.all("Rcpt")] == ["bob@example.net", "grüße@example.net"]
    assert (told.all("IP"), told.all("Helo"), told.all("Hostname")) == (["192.0.2.1"], ["mx"], ["mx.example.org"])
    assert told.all("Queue-Id") == ["eml:test.eml:0"]
    assert told.all("Password") == []
    assert passed.message is given.message
    score = SpamScore("rspamd", 1.5, 15.0, "no action", (("BAYES_SPAM", 5.1), ("R_SPF_ALLOW", -0.2)))
    assert passed.notes == (score,)


@pytest.mark.parametrize(
    ("action", "decision", "status"),
    [
        ("reject", Decision.REJECT, "5.7.1"),
        ("soft reject", Decision.DEFER, "4.7.1"),
        ("greylist", Decision.DEFER, "4.7.1"),
        ("discard", Decision.DROP, "2.0.0"),
        ("quarantine", Decision.QUARANTINE, "2.0.0"),
    ],
)
def test_an_action_becomes_a_verdict(mail, stage, action, decision, status):
    with WebServer(said(action, 17)) as web:
        verdict = stage(Rspamd, url=web.url).process(mail(LETTER))
    assert (verdict.decision, str(verdict.status)) == (decision, status)
    assert verdict.notes[0].action == action


def test_the_words_of_rspamd_are_those_of_the_verdict(mail, stage):
    with WebServer(said("reject", 17, messages={"smtp_message": "Gtube\r\npattern"}), said("reject", 17)) as web:
        one = stage(Rspamd, url=web.url)
        assert one.process(mail(LETTER)).reason == "Gtube pattern"
        assert one.process(mail(LETTER)).reason == "it looks like spam: score 17 of 15"


def test_add_header_replaces_what_the_sender_wrote(mail, stage):
    with WebServer(said("add header")) as web:
        passed = stage(Rspamd, url=web.url).process(mail(LETTER))
    assert bytes(passed.message) == LETTER.replace(b"X-Spam: no, trust me", b"X-Spam: Yes")


def test_rewrite_subject_changes_the_subject_alone(mail, stage):
    with WebServer(said("rewrite subject", subject="[SPAM] Lunch"), said("rewrite subject")) as web:
        one = stage(Rspamd, url=web.url)
        assert bytes(one.process(mail(LETTER)).message) == LETTER.replace(b"Subject: Lunch", b"Subject: [SPAM] Lunch")
        assert one.process(mail(LETTER)).message.subject == "*** SPAM *** Lunch"


def test_the_fields_of_its_milter_part_are_added_and_removed(mail, stage):
    milter = {
        "add_headers": {
            "X-Spamd-Bar": {"value": "+++", "order": 0},
            "X-Spamd-Result": [{"value": "default: False [1.50 / 15.00];\r\n\tBAYES(5)", "order": 1}, "again"],
            "X-Rspamd-Server": "rspamd",
            "Bad Name:": "x",
        },
        "remove_headers": {"X-Old": 2, "X-Spam": 0, "X-Missing": -1},
    }
    with WebServer(said(milter=milter)) as web:
        passed = stage(Rspamd, url=web.url).process(mail(LETTER))
    assert bytes(passed.message) == (
        b"X-Spamd-Bar: +++\r\nX-Spamd-Result: default: False [1.50 / 15.00]; BAYES(5)\r\n"
        + LETTER.replace(b"X-Spam: no, trust me\r\n", b"").replace(b"X-Old: two\r\n", b"").replace(
            b"\r\n\r\n", b"\r\nX-Spamd-Result: again\r\nX-Rspamd-Server: rspamd\r\n\r\n"
        )
    )
    changes = [note.what for note in passed.notes_of(Changed)]
    assert changes[:2] == ["X-Spam removed", "X-Old removed"]
    assert len(changes) == 6


@pytest.mark.parametrize(("numbers", "left"), [(-1, ["one", "two"]), ([1, 3], ["two"]), (0, []), (9, ["one", "two", "three"])])
def test_fields_are_removed_by_their_number(mail, stage, numbers, left):
    with WebServer(said(milter={"remove_headers": {"X-Old": numbers}})) as web:
        passed = stage(Rspamd, url=web.url).process(mail(LETTER))
        kept = stage(Rspamd, url=web.url, milter_headers=False).process(mail(LETTER))
    assert [field.text for field in passed.message.header.all("X-Old")] == left
    assert bytes(kept.message) == LETTER


def test_a_table_gives_actions_another_meaning(mail, stage):
    with WebServer(said("greylist"), said("reject")) as web:
        one = stage(Rspamd, url=web.url, actions={"greylist": "pass", "reject": "tag"})
        assert bytes(one.process(mail(LETTER)).message) == LETTER
        assert one.process(mail(LETTER)).message.header["X-Spam"] == "Yes"
    with pytest.raises(ValidationError):
        RspamdOptions(actions={"grey list": "pass"})


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        ((500, "application/json", b'{"error": "no\\nway"}'), TransientFailure, r'answered 500: {"error": "no\\nway"}'),
        ((200, "application/json", b"[]"), RemoteProtocolError, r"answered \[\]"),
        ((200, "application/json", b""), RemoteProtocolError, "answered nothing"),
        ((200, "application/json", b"[" * 100_000), RemoteProtocolError, "answered"),
        (said("explode"), RemoteProtocolError, "says 'explode', an action that is not known"),
        ((200, "application/json", b"x" * 5_000_000), RemoteProtocolError, "answers with more than 4000000 octets"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", RemoteProtocolError, "says what is not HTTP"),
        (b"", TransientFailure, "closed connection without response"),
        (b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"action": "no action"}', RemoteProtocolError, "IncompleteRead"),
        ("hang", TransientFailure, "gave no answer within 300ms"),
        ("drip", TransientFailure, "gave no answer within 300ms"),
    ],
)
def test_an_answer_that_is_none_lets_nothing_through(mail, stage, answer, kind, words):
    with WebServer(answer, said("reject")) as web:
        one = stage(Rspamd, url=web.url, timeout=0.3 if isinstance(answer, str) else 30)
        with pytest.raises(kind, match=words):
            one.process(mail(LETTER))
        if not isinstance(answer, str):
            assert one.process(mail(LETTER)).decision is Decision.REJECT


def test_a_rspamd_that_is_not_there_lets_nothing_through(mail, stage):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(TransientFailure, match="refused"):
        stage(Rspamd, url=f"http://127.0.0.1:{port}").process(mail(LETTER))


def test_one_connection_serves_many_mails(mail, stage):
    with WebServer(said()) as web:
        one = stage(Rspamd, url=web.url)
        for _ in range(10):
            one.process(mail(LETTER))
        assert web.connections == 1


def test_the_password_is_a_secret(mail):
    with WebServer(said()) as web:
        one = Rspamd(RspamdOptions(url=web.url, password="rspamd"))
        with pytest.raises(SecretMissing):
            one.open(Services.for_tests())
        one.open(Services.for_tests(secrets={"rspamd": "hush"}))
        one.process(mail(LETTER))
        one.close()
        assert web.told[0].all("Password") == ["hush"]


def test_the_options_say_what_it_may_do():
    assert Rspamd.accesses(RspamdOptions())[1].fields == ("*",)
    assert Rspamd.accesses(RspamdOptions(milter_headers=False))[1].fields == ("X-Spam", "Subject")
    assert set(Rspamd.decisions(RspamdOptions())) == {Decision.REJECT, Decision.DEFER, Decision.DROP, Decision.QUARANTINE}
    for url in ("ftp://x", "http://", "http://user:pass@x", "http://x:port", "x"):
        with pytest.raises(ValidationError):
            RspamdOptions(url=url)
