"""Delivery reports and disposition notifications."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mailpipe
from mailpipe.message.report import TypedText
from mailpipe.status import EnhancedStatus

SAMPLES = Path(__file__).parents[2] / "samples" / "mail"

STATUS = b"""\
Reporting-MTA: dns; mx.example.org
Original-Envelope-Id: QQ314159
Received-From-MTA: dns; out.example.net
Arrival-Date: Fri, 21 Nov 1997 09:55:06 -0600

Original-Recipient: rfc822; ann@example.org
Final-Recipient: rfc822; a.smith@example.com
Action: failed
Status: 5.1.1
Remote-MTA: dns; mail.example.com
Diagnostic-Code: smtp; 550 5.1.1 <a.smith@example.com>... User
 unknown
Last-Attempt-Date: Fri, 21 Nov 1997 10:00:00 -0600

Final-Recipient: rfc822; bob@example.com
Action: delayed
Status: 4.4.1 (no answer from host)
Will-Retry-Until: Tue, 25 Nov 1997 09:55:06 -0600

Final-Recipient: rfc822; carl@example.com
Action: relayed
Status: 2.0.0
Final-Log-ID: 4711
"""

RETURNED = b"""\
--=_x
Content-Type: message/rfc822

Subject: what had been sent
To: ann@example.org

Hello
"""


def report(status: bytes, *, kind: bytes = b"message/delivery-status", more: bytes = b"") -> mailpipe.Message:
    octets = (
        b"From: MAILER-DAEMON@example.org\nSubject: failure notice\nMIME-Version: 1.0\n"
        b"Content-Type: multipart/report; report-type=delivery-status; boundary=\"=_x\"\n\n"
        b"--=_x\nContent-Type: text/plain\n\nIt did not work.\n"
        b"--=_x\nContent-Type: " + kind + b"\n\n" + status + b"\n" + more + b"--=_x--\n"
    )
    return mailpipe.parse(octets)


def bounce(text: str, **fields: str) -> mailpipe.Message:
    header = {"From": "MAILER-DAEMON@mx.example.org", "Subject": "failure notice", "To": "list@example.net"} | fields
    return mailpipe.parse("".join(f"{name.replace('_', '-')}: {body}\n" for name, body in header.items()).encode()
                          + b"\n" + text.encode())


def summary(message: mailpipe.Message) -> list[tuple[str, str]]:
    found = message.delivery_report
    return [] if found is None else [(one.address, one.action) for one in found.recipients]


# -- the machine-readable part


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_every_field_of_a_report_is_typed(line_end):
    made = bytes(report(STATUS, more=RETURNED)).replace(b"\n", line_end)
    found = mailpipe.parse(made).delivery_report
    assert found is not None and found.is_machine_readable
    assert found.reporting_mta == TypedText("dns", "mx.example.org")
    assert found.received_from_mta == TypedText("dns", "out.example.net")
    assert found.original_envelope_id == "QQ314159"
    assert found.arrival_date is not None
    assert found.arrival_date.astimezone(UTC) == datetime(1997, 11, 21, 15, 55, 6, tzinfo=UTC)
    assert found.explanation.strip() == "It did not work."
    ann, bob, carl = found.recipients
    assert (ann.address, ann.action, ann.status) == ("ann@example.org", "failed", EnhancedStatus(5, 1, 1))
    assert ann.final_recipient == TypedText("rfc822", "a.smith@example.com")
    assert ann.remote_mta == TypedText("dns", "mail.example.com")
    assert ann.diagnostic_code == TypedText("smtp", "550 5.1.1 <a.smith@example.com>... User unknown")
    assert ann.last_attempt_date is not None and ann.is_permanent
    assert (bob.address, bob.status) == ("bob@example.com", EnhancedStatus(4, 4, 1))
    assert bob.is_temporary and bob.will_retry_until is not None
    assert carl.is_success and carl.final_log_id == "4711" and carl.header["Final-Log-ID"] == "4711"
    assert found.failed == (ann,) and found.delayed == (bob,)
    assert found.returned is not None and found.returned.header["Subject"] == "what had been sent"
    assert found.is_returned_whole


def test_returned_headers_are_a_message_without_a_body():
    headers = b"--=_x\nContent-Type: text/rfc822-headers\n\nSubject: only this\nTo: ann@example.org\n\n"
    found = report(STATUS, more=headers).delivery_report
    assert found is not None and found.returned is not None
    assert found.returned.header["Subject"] == "only this"
    assert not found.is_returned_whole


def test_the_sample_bounce_is_a_report():
    found = mailpipe.parse((SAMPLES / "bounce.eml").read_bytes()).delivery_report
    assert found is not None and found.recipients and found.is_machine_readable


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (b"Final-Recipient: <ann@example.org>\nAction: failure\nStatus: 553 too large", ("failed", "5.0.0")),
        (b"Final-Recipient: RFC822;ann@example.org\nAction: Failed (bad address)\nStatus: 5.1.1", ("failed", "5.1.1")),
        (b"Final-Recipient: ann@example.org\nDiagnostic-Code: smtp; 452 4.2.2 full", ("delayed", "4.2.2")),
        (b"Final-Recipient: rfc822; ann@example.org>\nAction: error", ("failed", "None")),
        (b"Action: failed\nStatus: 5.0.0\nFinal-Recipient: rfc822; ann@example.org", ("failed", "5.0.0")),
        (b"Original-Recipient: rfc822; ann@example.org\nFinal-Recipient: x400; /S=ann/C=GB/\nStatus: 5.0.0",
         ("failed", "5.0.0")),
        (b"Final-Recipient: utf-8; ann@example.org\nAction: delivered\nStatus: 2.1.5", ("delivered", "2.1.5")),
    ],
)  # fmt: skip
def test_blocks_of_real_servers_are_understood(block, expected):
    found = report(b"Reporting-MTA: dns; a.example\n\n" + block + b"\n").delivery_report
    assert found is not None
    (recipient,) = found.recipients
    assert (recipient.address, recipient.action, str(recipient.status)) == ("ann@example.org", *expected)


def test_a_report_in_one_block_is_taken_apart():
    found = report(
        b"Reporting-MTA: dns; a.example\nFinal-Recipient: rfc822; a@example.org\nAction: failed\n"
        b"Final-Recipient: rfc822; b@example.org\nAction: delayed\n"
    ).delivery_report
    assert found is not None and found.reporting_mta == TypedText("dns", "a.example")
    assert [(one.address, one.action) for one in found.recipients] == [
        ("a@example.org", "failed"), ("b@example.org", "delayed"),
    ]  # fmt: skip


def test_a_lonely_diagnostic_belongs_to_the_recipient_before_it():
    found = report(
        b"Reporting-MTA: dns; a.example\n\nFinal-Recipient: rfc822; a@example.org\nAction: failed\n\n"
        b"Diagnostic-Code: smtp; 550 no\n"
    ).delivery_report
    assert found is not None
    (recipient,) = found.recipients
    assert recipient.diagnostic_code == TypedText("smtp", "550 no")


def test_a_status_part_is_known_by_its_first_field_too():
    assert summary(report(STATUS, kind=b"text/plain"))[0] == ("ann@example.org", "failed")


def test_a_status_part_under_base64_is_decoded():
    import base64

    encoded = base64.encodebytes(STATUS)
    made = report(encoded, kind=b"message/delivery-status\nContent-Transfer-Encoding: base64")
    assert summary(made)[1] == ("bob@example.com", "delayed")


def test_an_international_address_is_decoded():
    assert TypedText("utf-8", r"m\x{FC}ller@example.org").address == "müller@example.org"
    assert TypedText("utf-8", r"m\x{110000}@example.org").address == "m\ufffd@example.org"


def test_an_ordinary_message_is_no_report():
    message = mailpipe.parse(b"From: ann@example.org\nSubject: your delivery failed me\n\nbob@example.org:\n no.\n")
    assert mailpipe.parse(b"Subject: hello\n\nHi").delivery_report is None
    assert mailpipe.parse(b"").delivery_report is None
    assert message.disposition_notification is None


# -- by the text


QMAIL = """\
Hi. This is the qmail-send program at mx.example.org.
I'm afraid I wasn't able to deliver your message to the following addresses.
This is a permanent error; I've given up. Sorry it didn't work out.

<ann@example.com>:
192.0.2.1 does not like recipient.
Remote host said: 550 5.1.1 <other@example.com>... User unknown

<bob@example.com>:
Mailbox full.

--- Below this line is a copy of the message.

Return-Path: <list@example.net>
Subject: the original

<nobody@example.invalid>:
"""


def test_a_bounce_of_qmail_is_read():
    found = bounce(QMAIL).delivery_report
    assert found is not None and not found.is_machine_readable
    ann, bob = found.recipients
    assert (ann.address, ann.action, ann.status) == ("ann@example.com", "failed", EnhancedStatus(5, 1, 1))
    assert ann.diagnostic_code is not None and "does not like recipient" in ann.diagnostic_code.text
    assert bob.address == "bob@example.com" and bob.status is None
    assert found.returned is not None and found.returned.header["Subject"] == "the original"


@pytest.mark.parametrize(
    ("fields", "text", "expected"),
    [
        ({"X_Failed_Recipients": "ann@example.com, bob@example.com"},
         "A message that you sent could not be delivered to all of its recipients.\n\n  ann@example.com\n    no route\n",
         [("ann@example.com", "failed"), ("bob@example.com", "failed")]),
        ({}, "The following address(es) failed:\n\n  an undisclosed address\n    (generated from ann@example.com)\n",
         [("ann@example.com", "failed")]),
        ({"Subject": "Undelivered Mail Returned to Sender"},
         ("This is the Postfix program at host mx.example.org.\n\nFor further assistance, please contact"
         " <postmaster@example.org>\n\n<ann@example.com>: host a.example[192.0.2.1] said: 550 5.1.1\n"
         "    <inner@example.com>... User unknown\n"),
         [("ann@example.com", "failed")]),
        ({"Subject": "Returned mail: User unknown"},
         ("   ----- The following addresses had permanent fatal errors -----\n<ann@example.com>\n\n"
         "   ----- The following addresses had transient non-fatal errors -----\n<bob@example.com>\n\n"
         "   ----- Transcript of session follows -----\n550 <ann@example.com>... User unknown\n"),
         [("ann@example.com", "failed"), ("bob@example.com", "delayed")]),
        ({"Subject": "Warning: could not send message for past 4 hours"},
         ("   ----- The following addresses had transient non-fatal errors -----\nann@example.com\n"
         "Warning: message still undelivered after 4 hours\nWill keep trying until message is 5 days old\n"),
         [("ann@example.com", "delayed")]),
        ({"From": "System Administrator <postmaster@example.org>", "Subject": "Undeliverable: hello"},
         ("Your message\n\n  To:      list@example.com\n  Subject: hello\n\ndid not reach the following recipient(s):\n\n"
         "c=US;a= ;p=X;dda:SMTP=ann@example.com; on Fri, 4 Oct 2002\n    The recipient name is not recognized\n"),
         [("ann@example.com", "failed")]),
        ({"Subject": "DELIVERY FAILURE: User ann not listed"},
         "Your message\n\n  Subject: hi\n\nwas not delivered to:\n\n  ann@example.com\n\nbecause:\n\n  not listed\n",
         [("ann@example.com", "failed")]),
        ({"Subject": "Message delayed"},
         "Your message to\n\tann@example.com\n\nhas not yet been delivered.\n",
         [("ann@example.com", "delayed")]),
        ({"Subject": "Undeliverable Mail"}, "Unknown user: ann@example.com\n\nRCPT TO generated 553\n",
         [("ann@example.com", "failed")]),
        ({}, "Unable to deliver message to <ann@example.com> (and others).\n", [("ann@example.com", "failed")]),
        ({"From": "MAILER-DAEMON@MX.example.org"},
         "Your mail to the following recipients could not be delivered:\n\tann\n", [("ann@mx.example.org", "failed")]),
        ({"Subject": "Returned mail"}, "I wasn't able to deliver this.\n\nSubject: hi\nTo: ann@example.com\n",
         [("ann@example.com", "failed")]),
        ({"Content_Type": "text/html"}, "<p>could not be delivered to<br>&lt;ann@example.com&gt;<br>sorry</p>",
         [("ann@example.com", "failed")]),
    ],
)  # fmt: skip
def test_bounces_of_other_systems_are_read(fields, text, expected):
    assert summary(bounce(text, **fields)) == expected


def test_a_bounce_that_names_nobody_is_still_a_report():
    found = bounce("A message that you sent could not be delivered.\n").delivery_report
    assert found is not None and found.recipients == ()


def test_an_expanded_address_keeps_the_one_that_was_written():
    found = bounce("could not be delivered:\n\nann@inner.example\n    (expanded from: ann@example.com)\n").delivery_report
    assert found is not None
    (recipient,) = found.recipients
    assert recipient.address == "ann@example.com"
    assert recipient.final_recipient == TypedText("rfc822", "ann@inner.example")


def test_a_report_that_a_gateway_has_wrapped_is_found():
    inner = bytes(report(STATUS))
    made = b"Subject: failure notice\nContent-Type: multipart/mixed; boundary=w\n\n--w\nContent-Type: message/rfc822\n\n"
    assert summary(mailpipe.parse(made + inner + b"\n--w--\n"))[0] == ("ann@example.org", "failed")
    assert summary(mailpipe.parse(made.replace(b"failure notice", b"look at this") + inner + b"\n--w--\n")) == []


def test_somebody_who_quotes_a_bounce_sends_none():
    assert bounce(QMAIL, From="ann@example.org", Subject="Re: failure notice").delivery_report is None


@pytest.mark.parametrize("piece", ["a!", "a@", "<", "a.", " (", "- ", "<a@b", "\n>", "delivered to ", "fail "])
def test_hostile_text_is_read_in_linear_time(piece):
    # the time limit of the suite is the measure: anything quadratic takes hours here
    bounce(piece * (4_000_000 // len(piece))).delivery_report
    bounce(piece * (4_000_000 // len(piece)), Content_Type="text/html").delivery_report
    bounce("x", X_Failed_Recipients=piece.strip() * 200_000).delivery_report


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_no_octets_make_a_report_raise(status, text):
    message = report(status, more=b"--=_x\nContent-Type: message/disposition-notification\n\n" + text + b"\n")
    found = message.delivery_report
    assert found is None or all(isinstance(one.address, str) for one in found.recipients)
    message.disposition_notification
    mailpipe.parse(b"From: mailer-daemon@x\nSubject: delivery failed\n\n" + text).delivery_report


# -- disposition notifications


MDN = b"""\
MIME-Version: 1.0
Content-Type: multipart/report; report-type=disposition-notification; boundary="=_y"

--=_y
Content-Type: text/plain

Ann has read it.
--=_y
Content-Type: message/disposition-notification

Reporting-UA: pc.example.org; Mailer 1.1
MDN-Gateway: dns; gate.example.org
Original-Recipient: rfc822;ann@example.org
Final-Recipient: rfc822;a.smith@example.org
Original-Message-ID: <199509192301.23456@example.org>
Disposition: manual-action/MDN-sent-automatically; displayed/error,Mailbox-Terminated
Error: something

--=_y
Content-Type: message/rfc822

Subject: read me

--=_y--
"""


def test_every_field_of_a_notification_is_typed():
    found = mailpipe.parse(MDN).disposition_notification
    assert found is not None
    assert (found.kind, found.action_mode, found.sending_mode) == (
        "displayed", "manual-action", "mdn-sent-automatically",
    )  # fmt: skip
    assert found.modifiers == ("error", "mailbox-terminated")
    assert found.address == "ann@example.org" and found.is_automatic
    assert found.final_recipient == TypedText("rfc822", "a.smith@example.org")
    assert found.original_message_id == "199509192301.23456@example.org"
    assert found.reporting_ua == "pc.example.org; Mailer 1.1"
    assert found.mdn_gateway == TypedText("dns", "gate.example.org")
    assert found.errors == ("something",)
    assert found.explanation.strip() == "Ann has read it."
    assert found.returned is not None and found.returned.header["Subject"] == "read me"
    assert found.header["Disposition"].startswith("manual-action")


def test_a_read_receipt_is_no_delivery_report():
    assert mailpipe.parse(MDN).delivery_report is None
