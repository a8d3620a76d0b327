"""A hook is told of the mail, signed, and what it answers is done, or nothing at all."""

import hashlib
import hmac
import json
import ssl

import pytest
import trustme

from mailpipe import Services
from mailpipe.errors import ConfigError, LimitExceeded, RemoteProtocolError, TransientFailure
from mailpipe.pipeline.mail import Changed
from mailpipe.pipeline.verdict import Decision
from mailpipe.smtp.envelope import Envelope, ForwardPath
from mailpipe.stages.http_hook import HttpHook, HttpHookOptions
from mailpipe.testing.web import WebServer

LETTER = (
    b"From: Ann <ann@example.org>\r\nX-Old: 1\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nMessage-ID: <1@example.org>\r\n"
    b"Date: Thu, 1 Oct 2026 12:00:00 +0200\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\n\r\nAt twelve?\r\n--b\r\nContent-Type: application/pdf\r\n"
    b'Content-Disposition: attachment; filename="a.pdf"\r\n\r\n%PDF\r\n--b--\r\n'
)
NOTHING = (204, "text/plain", b"")


def said(**answer):
    return 200, "application/json", json.dumps(answer).encode()


@pytest.fixture
def asked(mail, stage):
    """What comes of a letter for a given answer."""

    def ask(answer, given=None, **options):
        with WebServer(answer) as web:
            return stage(HttpHook, url=f"{web.url}/mail?x=1", **options).process(given or mail(LETTER))

    return ask


def test_facts_are_posted(mail, stage):
    with WebServer(NOTHING) as web:
        given = mail(LETTER)
        assert stage(HttpHook, url=f"{web.url}/mail?x=1").process(given) is given
    told = web.told[0]
    assert (told.path, told.all("Content-Type")) == ("/mail?x=1", ["application/json"])
    facts = json.loads(told.body)
    assert facts["envelope"] == {"sender": "ann@example.org", "recipients": ["bob@example.net"]}
    assert (facts["subject"], facts["message_id"], facts["size"]) == ("Grüße", "1@example.org", len(LETTER))
    assert facts["date"] == "2026-10-01T12:00:00+02:00"
    assert ["X-Old", "1"] in facts["fields"]
    assert [(part["path"], part["type"], part["filename"]) for part in facts["parts"]] == [
        ("1", "text/plain", None),
        ("2", "application/pdf", "a.pdf"),
    ]
    assert told.all("X-Mailpipe-Signature") == []


def test_the_message_is_posted_with_its_envelope(mail, stage):
    envelope = Envelope.of("", "bob@example.net", "carol@example.net\r\nX-Evil: 1")
    with WebServer(NOTHING) as web:
        stage(HttpHook, url=web.url, content="message").process(mail(LETTER).with_envelope(envelope))
    told = web.told[0]
    assert (told.body, told.all("Content-Type")) == (LETTER, ["message/rfc822"])
    assert told.all("X-Mailpipe-Sender") == [""]
    assert told.all("X-Mailpipe-Recipient") == ["bob@example.net", "carol@example.netX-Evil: 1"]
    assert told.all("X-Evil") == []


def test_what_is_posted_is_signed_and_has_the_same_name_again(mail):
    with WebServer(NOTHING) as web:
        one = HttpHook(HttpHookOptions(url=web.url, secret="hook-key", token="hook-token"))
        one.open(Services.for_tests(secrets={"hook-key": "hush", "hook-token": "t0k3n"}))
        for _ in range(2):
            one.process(mail(LETTER))
        one.close()
    told = web.told[0]
    time, _, signature = told.all("X-Mailpipe-Signature")[0].partition(",")
    seconds = time.removeprefix("t=")
    expected = hmac.new(b"hush", seconds.encode() + b"." + told.body, hashlib.sha256).hexdigest()
    assert signature == f"v1={expected}"
    assert told.all("Authorization") == ["Bearer t0k3n"]
    assert told.all("X-Mailpipe-Delivery") == web.told[1].all("X-Mailpipe-Delivery")


@pytest.mark.parametrize("answer", [NOTHING, (200, "text/plain", b""), said(), said(verdict="pass")])
def test_nothing_to_say_passes_the_mail_as_it_is(asked, mail, answer):
    given = mail(LETTER)
    assert asked(answer, given) is given


@pytest.mark.parametrize(
    ("answer", "decision", "status", "reason"),
    [
        (said(verdict="reject", reason="no\r\ninvoices"), Decision.REJECT, "5.7.1", "no invoices"),
        (said(verdict="reject", status="5.2.2"), Decision.REJECT, "5.2.2", "so the hook decided"),
        (said(verdict="defer", reason="later"), Decision.DEFER, "4.7.1", "later"),
        (said(verdict="drop", reason="seen"), Decision.DROP, "2.0.0", "seen"),
        (said(verdict="quarantine", reason="odd"), Decision.QUARANTINE, "2.0.0", "odd"),
        (said(verdict="accept", reason="fine"), Decision.ACCEPT, "2.0.0", "fine"),
    ],
)
def test_a_verdict_is_that_of_the_stage(asked, answer, decision, status, reason):
    verdict = asked(answer)
    assert (verdict.decision, str(verdict.status), verdict.reason) == (decision, status, reason)


def test_fields_are_added_and_removed_and_nothing_else_changes(asked):
    passed = asked(said(add_fields=[["X-Checked", "yes"], ["X-Checked", "twice"]], remove_fields=["x-old", "X-None"]))
    head, _, body = LETTER.replace(b"X-Old: 1\r\n", b"").partition(b"\r\n\r\n")
    assert bytes(passed.message) == head + b"\r\nX-Checked: yes\r\nX-Checked: twice\r\n\r\n" + body
    assert [note.what for note in passed.notes_of(Changed)] == ["x-old removed", "X-Checked added", "X-Checked added"]


def test_recipients_keep_their_parameters(asked, mail):
    bob = ForwardPath("bob@example.net", ("NEVER",))
    given = mail(LETTER).with_envelope(Envelope("ann@example.org", (bob, ForwardPath("dora@example.net"))))
    passed = asked(said(recipients=["carol@example.net", "bob@example.net"]), given)
    assert passed.envelope.forward_paths == (ForwardPath("carol@example.net"), bob)
    assert passed.message is given.message


def test_a_new_message_is_taken_where_it_may_be(asked, mail):
    new = LETTER.replace(b"twelve", b"one")
    answer = (200, "message/rfc822", new)
    assert bytes(asked(answer, replace=True).message) == new
    given = mail(LETTER)
    assert asked((200, "message/rfc822; charset=x", LETTER), given, replace=True) is given
    with pytest.raises(RemoteProtocolError, match="set replace = true"):
        asked(answer)


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        ((503, "text/plain", b"too\nbusy"), TransientFailure, "answered 503: too busy"),
        ((404, "text/html", b""), TransientFailure, "answered 404: nothing"),
        ((302, "text/html", b""), TransientFailure, "answered 302"),
        ((200, "text/html", b"<p>hello"), RemoteProtocolError, "it must be application/json or message/rfc822"),
        ((200, "application/json", b"{"), RemoteProtocolError, "the whole of its answer: Invalid JSON"),
        (said(verdct="reject"), RemoteProtocolError, "verdct of its answer: Extra inputs"),
        (said(verdict="explode"), RemoteProtocolError, "verdict of its answer"),
        (said(verdict="reject", status="4.0.0"), RemoteProtocolError, "cannot be followed: a rejection has"),
        (said(verdict="accept", recipients=["a@example.net"]), RemoteProtocolError, "accept changes nothing"),
        (said(recipients=[]), RemoteProtocolError, "recipients is empty"),
        (said(recipients=["no address"]), RemoteProtocolError, "'no address' is no address"),
        (said(add_fields=[["X-A", "1\r\nBcc: x@example.net"]]), RemoteProtocolError, "cannot be followed"),
        (b'HTTP/1.1 200 OK\r\nContent-Type: message/rfc822\r\nContent-Length: 999\r\n\r\nSubject: half', RemoteProtocolError, "IncompleteRead"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhal", RemoteProtocolError, "IncompleteRead"),
        ((200, "message/rfc822", b"x" * 2000), RemoteProtocolError, "answers with more than 1000 octets"),
        ("hang", TransientFailure, "gave no answer within 300ms"),
        ("drip", TransientFailure, "gave no answer within 300ms"),
    ],
)
def test_any_other_answer_is_a_failure_of_the_stage(asked, answer, kind, words):
    with pytest.raises(kind, match=words):
        asked(answer, replace=True, max_answer=1000, timeout=0.3 if isinstance(answer, str) else 30)


def test_a_message_that_is_too_large_is_not_posted(mail, stage):
    with WebServer(NOTHING) as web:
        with pytest.raises(LimitExceeded, match=r"max_size is \d+, more than the limit of 100"):
            stage(HttpHook, url=web.url, max_size=100).process(mail(LETTER))
        assert web.told == []


def test_a_connection_that_was_closed_meanwhile_is_opened_again(mail, stage):
    with WebServer("forget") as web:
        one = stage(HttpHook, url=web.url)
        for _ in range(5):
            one.process(mail(LETTER))
        assert (len(web.told), web.connections) == (5, 5)


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


def test_a_certificate_is_verified(mail, stage, authority, tmp_path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    believed = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(believed))
    with WebServer(said(verdict="reject"), tls=context) as web:
        one = stage(HttpHook, url=web.url, ca_file=str(believed))
        assert [one.process(mail(LETTER)).decision for _ in range(2)] == [Decision.REJECT] * 2
        assert web.connections == 1
        with pytest.raises(TransientFailure, match="CERTIFICATE_VERIFY_FAILED"):
            stage(HttpHook, url=web.url).process(mail(LETTER))
        with pytest.raises(TransientFailure, match="CERTIFICATE_VERIFY_FAILED"):
            stage(HttpHook, url=web.url.replace("127.0.0.1", "localhost"), ca_file=str(believed)).process(mail(LETTER))
    with pytest.raises(ConfigError, match="no certificates can be read"):
        stage(HttpHook, url="https://hook.example.org", ca_file=str(tmp_path / "none.pem"))


def test_the_options_say_what_it_may_do():
    assert HttpHook.accesses(HttpHookOptions(url="http://x"))[1].body is False
    assert HttpHook.accesses(HttpHookOptions(url="http://x", replace=True))[1].body is True
