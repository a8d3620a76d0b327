"""Every condition, with a real message that meets it and one that does not."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

import mailpipe
from mailpipe import Envelope, Mail, Origin
from mailpipe.pipeline.mail import DefectsFound
from mailpipe.pipeline.notes import AuthResult
from mailpipe.pipeline.rules import Condition, Rule
from mailpipe.pipeline.rules.condition import keys
from mailpipe.pipeline.services import SystemClock
from mailpipe.smtp.envelope import Client

SAMPLES = Path(__file__).parents[3] / "samples" / "mail"

LETTER = (
    b"From: Ada Keller <ada@shop.example.org>\r\nTo: Team: bo@example.net, cy@example.com;\r\n"
    b"Cc: =?utf-8?q?J=C3=BCrgen?= <jk@example.net>\r\nSubject: =?utf-8?q?Your_invoice_f=C3=BCr_M=C3=A4rz?=\r\n"
    b"Date: Mon, 2 Mar 2026 10:00:00 +0100\r\nMIME-Version: 1.0\r\n"
    b"Authentication-Results: mx.example.net; spf=pass smtp.mailfrom=shop.example.org; dkim=fail\r\n"
    b"Authentication-Results: forged.example; dkim=pass\r\n"
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; charset=windows-1252\r\n\r\n"
    b"Gr\xfc\xdfe\r\n--b\r\nContent-Type: application/pdf; name=\"March.PDF\"\r\nContent-Disposition: attachment\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\n" + b"AAAA" * 400 + b"\r\n--b--\r\n"
)
LIST = b"From: a@example.org\r\nList-Id: <tides.example.org>\r\nSubject: re\r\n\r\nx\r\n"
VACATION = b"From: a@example.org\r\nAuto-Submitted: auto-replied (vacation)\r\nSubject: away\r\n\r\nx\r\n"
PLAIN = b"From: a@example.org\r\nAuto-Submitted: no\r\nSubject: plain\r\n\r\nx\r\n"


class At(SystemClock):
    def __init__(self, moment):
        self.moment = moment

    def now(self):
        return self.moment


def mail_of(octets=LETTER, sender="ada@shop.example.org", recipients=("bo@example.net", "cy@example.com"), notes=(), **more):
    envelope = Envelope(sender, Envelope.of("", *recipients).forward_paths, **more)
    return Mail(mailpipe.parse(octets), envelope, Origin("mbox", "2026/march.mbox", 17), tuple(notes))


def holds(when, mail=None, clock=None):
    meant, others = Rule.of(Condition.model_validate(when), clock or SystemClock()).halves(mail or mail_of())
    assert (meant is None) != (others is None), "it holds for a part of the recipients"
    return meant is not None


FIELD = {"name": "subject"}


@pytest.mark.parametrize(
    ("when", "meets"),
    [
        ({"field": FIELD}, True),
        ({"field": {"name": "X-None"}}, False),
        ({"field": {"name": "X-None", "exists": False}}, True),
        ({"field": FIELD | {"contains": "INVOICE"}}, True),
        ({"field": FIELD | {"contains": "INVOICE", "ignore_case": False}}, False),
        ({"field": FIELD | {"contains": ["order", "für März"]}}, True),
        ({"field": FIELD | {"is": "your invoice FÜR märz"}}, True),
        ({"field": FIELD | {"begins": "your", "ends": "april"}}, False),
        ({"field": FIELD | {"begins": "your", "ends": "märz"}}, True),
        ({"field": FIELD | {"like": "*invoice*m?rz"}}, True),
        ({"field": FIELD | {"like": "invoice*"}}, False),
        ({"field": FIELD | {"matches": r"^your\s+\w+ce\b"}}, True),
        ({"field": FIELD | {"matches": r"^invoice"}}, False),
        ({"field": {"name": "Authentication-Results", "contains": "forged"}}, True),
        ({"address": {"of": "from", "is": "ADA@shop.example.org"}}, True),
        ({"address": {"of": "from", "part": "domain", "like": "*.example.org"}}, True),
        ({"address": {"of": "to", "part": "local-part", "is": "cy"}}, True),
        ({"address": {"of": "to", "is": "jk@example.net"}}, False),
        ({"address": {"of": "recipients", "is": "jk@example.net"}}, True),
        ({"address": {"part": "display-name", "contains": "jürgen"}}, True),
        ({"address": {"of": "reply-to", "like": "*"}}, False),
        ({"size": {"above": "1KB"}}, True),
        ({"size": {"above": "1KB", "below": "1500"}}, False),
        ({"media_type": "application/*"}, True),
        ({"media_type": ["image/*", "video/*"]}, False),
        ({"attachment": True}, True),
        ({"attachment": False}, False),
        ({"attachment": {"name": "*.pdf"}}, True),
        ({"attachment": {"name": "*.pdf", "type": "image/*"}}, False),
        ({"attachment": {"type": "application/pdf", "above": "1KB"}}, True),
        ({"attachment": {"above": "2KB"}}, False),
        ({"charset": "windows-*"}, True),
        ({"charset": "utf-8"}, False),
        ({"defect": "limit-*"}, False),
        ({"sender": {"is": "ada@shop.example.org"}}, True),
        ({"sender": {"part": "domain", "is": "example.org"}}, False),
        ({"sender": {"is": ""}}, False),
        ({"recipient": {"like": "*@example.*"}}, True),
        ({"recipient": {"is": "jk@example.net"}}, False),
        ({"recipients": {"above": 1}}, True),
        ({"recipients": {"above": 1, "below": 2}}, False),
        ({"list_mail": True}, False),
        ({"auto_submitted": True}, False),
        ({"authentication": {"method": "spf", "by": "MX.example.net"}}, True),
        ({"authentication": {"method": "dkim", "by": "mx.example.net"}}, False),
        ({"authentication": {"method": "dmarc", "result": "none", "by": "mx.example.net"}}, True),
        ({"spf": "none"}, True),
        ({"dkim": ["pass", "fail"]}, False),
        ({"note": {"name": "defects-found"}}, False),
        ({"note": {"name": "defects-found", "exists": False}}, True),
        ({"sample": 0}, False),
        ({"sample": 1}, True),
        ({"origin": {"source": "mbox", "location": "2026/*"}}, True),
        ({"origin": {"location": "2025/*"}}, False),
        ({"client": {"network": "192.0.2.0/24"}}, False),
        ({"not": {"list_mail": True}}, True),
        ({"all": [{"attachment": True}, {"list_mail": False}]}, True),
        ({"all": [{"attachment": True}, {"list_mail": True}]}, False),
        ({"any": [{"list_mail": True}, {"size": {"above": "1KB"}}]}, True),
        ({"any": [{"list_mail": True}, {"size": {"above": "1MB"}}]}, False),
        ({"attachment": True, "list_mail": True}, False),
    ],
)  # fmt: skip
def test_of_a_letter(when, meets):
    assert holds(when) is meets
    assert holds({"not": when}) is not meets


def test_every_condition_has_a_test_here():
    source = Path(__file__).read_text(encoding="utf-8")
    assert [key for key in keys() if f'"{key}"' not in source] == []


def test_lists_and_automatic_answers():
    assert holds({"list_mail": True}, mail_of(LIST))
    assert holds({"list_mail": True}, mail_of(b"Precedence: Bulk\r\n\r\n"))
    assert holds({"auto_submitted": True}, mail_of(VACATION))
    assert holds({"auto_submitted": False}, mail_of(PLAIN))
    assert holds({"auto_submitted": True}, mail_of(PLAIN, sender=""))
    assert holds({"sender": {"is": ""}}, mail_of(PLAIN, sender=""))


@pytest.mark.parametrize("name", ["bare-carriage-return.eml", "no-close-delimiter.eml"])
def test_defects_of_real_messages(name):
    mail = mail_of((SAMPLES / name).read_bytes())
    code = mail.message.defects[0].code
    assert holds({"defect": code}, mail)
    assert holds({"defect": code[:5] + "*"}, mail)
    assert not holds({"defect": "limit-*"}, mail)


def test_notes_by_name_and_by_value():
    mail = mail_of(notes=[DefectsFound({"long-line": 3}), AuthResult("spf", "softfail", "shop.example.org", "~all")])
    assert holds({"note": {"name": "auth-result.result", "is": "softfail"}}, mail)
    assert holds({"note": {"name": "auth-result", "contains": "shop"}}, mail)
    assert not holds({"note": {"name": "auth-result.result", "is": "pass"}}, mail)
    assert holds({"note": {"name": "defects-found.counts", "contains": "long-line"}}, mail)
    assert not holds({"note": {"name": "auth-result.missing", "above": 1}}, mail)


def test_results_of_checks():
    mail = mail_of(notes=[AuthResult("dkim", "fail", "list.example"), AuthResult("dkim", "pass", "shop.example.org")])
    assert holds({"dkim": "pass"}, mail)
    assert holds({"spf": "none", "dmarc": "none", "arc": "none"}, mail)
    assert holds({"authentication": {"method": "DKIM", "domain": {"like": "*.example.org"}}}, mail)
    assert not holds({"authentication": {"method": "dkim", "domain": {"is": "list.example"}}}, mail)


@pytest.mark.parametrize(
    ("when", "at", "meets"),
    [
        ({"after": "22:00", "before": "06:00"}, "2026-03-02T23:00:00", True),
        ({"after": "22:00", "before": "06:00"}, "2026-03-02T05:59:59", True),
        ({"after": "22:00", "before": "06:00"}, "2026-03-02T06:00:00", False),
        ({"after": "09:00"}, "2026-03-02T08:30:00", False),
        ({"after": "09:00", "zone": "Europe/Berlin"}, "2026-03-02T08:30:00", True),
        ({"before": "09:00"}, "2026-03-02T08:30:00", True),
        ({"days": ["sat", "sun"]}, "2026-03-02T08:30:00", False),
        ({"days": ["mon"]}, "2026-03-02T08:30:00", True),
    ],
)
def test_the_time(when, at, meets):
    clock = At(datetime.fromisoformat(at).replace(tzinfo=UTC))
    assert holds({"time": when}, clock=clock) is meets


def test_the_client():
    mail = mail_of(client=Client(address="2001:db8::25"))
    assert holds({"client": {"network": ["192.0.2.0/24", "2001:db8::/32"]}}, mail)
    assert not holds({"client": {"network": ["192.0.2.0/24"]}}, mail)


def test_a_sample_is_the_same_in_every_run_and_about_as_large_as_asked():
    rule = Rule.of(Condition.model_validate({"sample": 0.25}), SystemClock())
    mails = [Mail(mailpipe.parse(b"\r\n"), Envelope.of("a@example.org"), Origin("mbox", "x", n)) for n in range(2000)]
    chosen = [mail.origin for mail in mails if rule.halves(mail)[0]]
    assert 400 < len(chosen) < 600
    assert chosen == [mail.origin for mail in mails if rule.halves(mail)[0]]


def test_recipients_of_whom_it_holds_are_told_apart():
    rule = Rule.of(Condition.model_validate({"recipient": {"part": "domain", "is": "example.net"}}), SystemClock())
    meant, others = rule.halves(mail_of(recipients=("bo@example.net", "cy@example.com", "di@EXAMPLE.net")))
    assert meant.envelope.addresses == ("bo@example.net", "di@EXAMPLE.net")
    assert others.envelope.addresses == ("cy@example.com",)
    assert meant.message is others.message


def test_words_from_a_file(tmp_path):
    words = tmp_path / "blocked"
    words.write_text("# senders\n\nADA@shop.example.org\n", "utf-8")
    assert holds({"sender": {"in_file": str(words)}})
    assert not holds({"sender": {"in_file": str(words), "ignore_case": False}})


@pytest.mark.parametrize(
    ("when", "words"),
    [
        ({}, "nothing is asked; give one of all, any, not, field"),
        ({"field": {"name": "x", "matches": "(a"}}, "'(a' is no regular expression: unclosed group"),
        ({"field": {"name": "x", "matches": r"(a)\1"}}, "look-around and back-references are not there"),
        ({"field": {"name": "x", "exists": False, "is": "y"}}, "has no text to compare"),
        ({"address": {"of": "to"}}, "nothing is asked: give one of is, contains"),
        ({"sender": {"in_file": "/nowhere/words"}}, "there is no file /nowhere/words"),
        ({"time": {"zone": "Europe/Atlantis"}}, "'Europe/Atlantis' is no time zone"),
        ({"client": {"network": ["example.org"]}}, "does not appear to be an IPv4 or IPv6 network"),
        ({"sample": 2}, "less than or equal to 1"),
        ({"authentication": {"method": "dkim", "by": "mx", "domain": {"is": "x"}}}, "leave out 'by'"),
    ],
)
def test_what_makes_no_sense_is_refused(when, words):
    with pytest.raises(ValidationError) as caught:
        Condition.model_validate(when)
    assert words in str(caught.value)


def test_conditions_nest_only_so_deep():
    when = {"list_mail": True}
    for _ in range(30):
        when = {"not": when}
    with pytest.raises(ValidationError, match="more than 20 conditions inside one another"):
        Condition.model_validate(when)


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+$", "(.*)*b$", "([a-z]+)*1"])
def test_no_expression_can_hang(pattern):
    # each of these takes a backtracking engine longer than the universe has
    octets = b"Subject: " + b"a" * 50_000 + b"!\r\n\r\n"
    assert not holds({"field": {"name": "Subject", "matches": pattern}}, mail_of(octets))
    assert not holds({"field": {"name": "Subject", "like": "*a" * 40 + "b"}}, mail_of(octets))
