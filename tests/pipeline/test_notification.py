"""What is written to senders: our own parser and the standard library read it back as it was meant."""

import email
import email.policy
import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mailpipe.errors import ComposeError
from mailpipe.message import parse
from mailpipe.pipeline.notification import FULL_LIMIT, Reports
from mailpipe.pipeline.redeliver import open_queue
from mailpipe.pipeline.settings import QueueSettings
from mailpipe.queue import Entry, Notice, Recipient, RecipientState, Told
from mailpipe.smtp.envelope import Envelope, ForwardPath, MailParameters
from mailpipe.status import EnhancedStatus

NOW = 1_700_000_000.0
OCTETS = b"From: ann@example.org\r\nTo: bob@example.net\r\nSubject: Hello\r\n\r\nThe body.\r\n"
SAID = "mx.example.net[192.0.2.1]:25 said: 550 5.1.1 no such user (in reply to RCPT TO)"
REPORTS = Reports("MAILER-DAEMON@mx.example.org")


@pytest.fixture
def notice(tmp_path: Path):
    def make(
        told="failed", octets=OCTETS, *, address="bob@example.net", sender="ann@example.org", orcpt=None,
        status="5.1.1", said=SAID, state=RecipientState.FAILED, count=1, **parameters,
    ):
        content = tmp_path / "content"
        content.write_bytes(octets)
        paths = [ForwardPath(address if not number else f"r{number}@example.net", (), orcpt) for number in range(count)]
        recipients = tuple(
            Recipient(number, path, state, 3, None, EnhancedStatus.parse(status), said, NOW - 60)
            for number, path in enumerate(paths)
        )
        envelope = Envelope(sender, (), MailParameters(**parameters))
        digest = hashlib.sha256(octets).hexdigest()
        entry = Entry("0190abcd", envelope, recipients, "test", "", NOW - 7200, NOW - 7200, len(octets), digest, content)
        return Notice(Told(told), entry, recipients, NOW, NOW + 432000)

    return make


def read(letter):
    """The report as our own parser has it; whatever the standard library finds wrong is an error."""
    assert letter is not None
    message = parse(letter.octets)
    other = email.message_from_bytes(letter.octets, policy=email.policy.default)
    assert not other.defects and other.get_content_type() == "multipart/report"
    assert other.get_param("report-type") == "delivery-status"
    for part in other.get_payload():  # what is returned is the sender's own
        assert not part.defects
    assert all(len(line) <= 998 for line in letter.octets.split(b"\r\n"))
    assert letter.envelope.reverse_path == "" and other["Auto-Submitted"] == "auto-replied"
    assert message.delivery_report is not None and message.delivery_report.is_machine_readable
    return message, message.delivery_report, other


def test_a_failure_is_read_back_by_our_own_parser_and_by_the_standard_library(notice):
    letter = REPORTS(notice(envid="QQ314+2B159", orcpt="rfc822;Bob+2Btag@old.example"))
    message, report, other = read(letter)
    assert letter.envelope == Envelope.of("", "ann@example.org")
    assert message.header["Subject"] == "Your message could not be delivered" and other["To"] == "ann@example.org"
    assert str(report.reporting_mta) == "dns; mx.example.org" and report.original_envelope_id == "QQ314+159"
    assert report.arrival_date.timestamp() == NOW - 7200
    (one,) = report.recipients
    assert (one.action, str(one.status), one.is_permanent) == ("failed", "5.1.1", True)
    assert one.final_recipient.address == "bob@example.net" and one.address == "Bob+tag@old.example"
    assert str(one.remote_mta) == "dns; mx.example.net" and str(one.diagnostic_code) == "smtp; 550 5.1.1 no such user"
    assert one.last_attempt_date.timestamp() == NOW - 60 and one.final_log_id == "0190abcd"
    assert report.is_returned_whole and bytes(report.returned) == OCTETS
    status = other.get_payload()[1].get_payload()
    assert status[0]["Reporting-MTA"] == "dns; mx.example.org" and status[1]["Action"] == "failed"


def test_the_person_reads_first_whom_it_is_about_what_was_said_and_what_to_do(notice):
    message, report, _ = read(REPORTS(notice()))
    assert message.parts[0].content_type.value == "text/plain"
    words = " ".join(report.explanation.split())
    assert words.index("<bob@example.net>") < words.index("550 5.1.1 no such user") < words.index("Check the address")
    assert all(len(line) <= 78 for line in report.explanation.splitlines())


def test_a_delay_says_until_when_it_is_tried_and_returns_the_header_only(notice):
    _, report, _ = read(
        REPORTS(notice("delayed", ret="FULL", state=RecipientState.WAITING, status="4.4.1", said="connection refused"))
    )
    (one,) = report.recipients
    assert (one.action, str(one.status), one.is_temporary) == ("delayed", "4.4.1", True)
    assert one.will_retry_until.timestamp() == NOW + 432000
    assert str(one.diagnostic_code) == "X-mailpipe; connection refused".replace("X-m", "x-m")
    assert "you need not send it again" in " ".join(report.explanation.split())
    assert report.returned.header["Subject"] == "Hello" and not report.is_returned_whole


@pytest.mark.parametrize("told", ["delivered", "relayed"])
def test_a_success_is_told_as_such(notice, told):
    _, report, _ = read(REPORTS(notice(told, state=RecipientState.DELIVERED, status="2.1.5", said="250 2.1.5 ok")))
    (one,) = report.recipients
    assert (one.action, str(one.status), one.is_success, report.is_returned_whole) == (told, "2.1.5", True, False)


def test_what_was_given_up_after_its_time_is_permanent(notice):
    _, report, _ = read(REPORTS(notice(state=RecipientState.EXPIRED, status="4.4.1", said="no route to host")))
    assert str(report.recipients[0].status) == "5.4.7" and "until its time was over" in report.explanation


@pytest.mark.parametrize(
    ("ret", "size", "is_whole"),
    [(None, 10, True), ("FULL", 10, True), ("HDRS", 10, False), (None, FULL_LIMIT, False), ("FULL", FULL_LIMIT, False)],
)
def test_ret_says_how_much_comes_back_and_a_large_message_never_does(notice, ret, size, is_whole):
    letter = REPORTS(notice(octets=OCTETS + b"x" * 70 + b"\r\n" * (size // 2), ret=ret))
    _, report, _ = read(letter)
    assert report.is_returned_whole == is_whole and report.returned.header["Subject"] == "Hello"
    assert len(letter.octets) < FULL_LIMIT


@pytest.mark.parametrize("smtputf8", [False, True])
def test_an_address_beyond_ascii_is_said_in_the_form_that_the_sender_can_read(notice, smtputf8):
    octets = "From: ann@example.org\r\nSubject: Grüße\r\n\r\nÄ\r\n".encode()
    letter = REPORTS(notice(octets=octets, address="zoë+x@bücher.example", smtputf8=smtputf8))
    message, report, _ = read(letter)
    assert report.recipients[0].final_recipient.address == "zoë+x@bücher.example"
    kind = "message/global-delivery-status" if smtputf8 else "message/delivery-status"
    assert message.parts[1].content_type.value == kind and letter.envelope.parameters.smtputf8 == smtputf8
    if not smtputf8:
        assert message.parts[1].octets.isascii() and rb"zo\x{EB}\x{2B}x@b\x{FC}cher.example" in letter.octets
    assert report.returned.header["Subject"] == "Grüße" and "zoë+x@bücher.example" in report.explanation


def test_a_sender_beyond_ascii_gets_its_report(notice):
    letter = REPORTS(notice(sender="zoë@example.org"))
    assert letter.envelope.parameters.smtputf8 and letter.envelope.addresses == ("zoë@example.org",)
    read(letter)


def test_several_recipients_have_a_block_each(notice):
    _, report, _ = read(REPORTS(notice(count=3)))
    assert [one.address for one in report.recipients] == ["bob@example.net", "r1@example.net", "r2@example.net"]


@pytest.mark.parametrize("octets", [b"", b"no header at all", b"\r\n\r\n\r\n", b"A: b\n\nLF only\n", b"X" * 200_000, b"A: b\r\n\r\n\0"])
def test_whatever_the_message_is_there_is_a_report_about_it(notice, octets):
    read(REPORTS(notice(octets=octets)))


def test_nothing_is_said_about_a_report_or_to_nobody(notice):
    own = REPORTS(notice()).octets
    assert REPORTS(notice(octets=own)) is None
    assert REPORTS(notice(sender="")) is None


def test_a_message_whose_content_is_gone_is_reported_without_it(notice):
    made = notice(status="5.6.6", said="the content file is missing")
    made.entry.content.unlink()
    _, report, _ = read(REPORTS(made))
    assert report.returned is None and report.failed


def test_the_same_notice_has_the_same_identifier(notice):
    one, two = (parse(REPORTS(notice()).octets).header["Message-ID"] for _ in range(2))
    assert one == two and one.endswith("@mx.example.org>")


def test_a_mailbox_that_is_none_is_refused():
    with pytest.raises(ComposeError):
        Reports("a@b.example\r\nBcc: everybody@example.net")


@given(said=st.text(max_size=300), orcpt=st.text(max_size=60), envid=st.text(max_size=60))
def test_no_words_of_a_stranger_make_another_field(said, orcpt, envid):
    recipient = Recipient(
        0, ForwardPath("bob@example.net", (), orcpt), RecipientState.FAILED, 1, None, EnhancedStatus(5, 0, 0), said, NOW
    )
    entry = Entry(
        "id", Envelope("ann@example.org", (), MailParameters(envid=envid)), (recipient,), "", "", NOW, NOW, 0, "",
        Path("/nowhere/content"),
    )
    _, report, _ = read(REPORTS(Notice(Told.FAILED, entry, (recipient,), NOW)))
    names = {"original-envelope-id", "reporting-mta", "arrival-date"}
    assert {field.name.lower() for field in report.header} <= names and len(report.recipients) == 1
    assert {field.name.lower() for field in report.recipients[0].header} <= {
        "original-recipient", "final-recipient", "action", "status", "remote-mta", "diagnostic-code",
        "last-attempt-date", "final-log-id",
    }


def test_the_queue_of_the_settings_sends_reports_only_where_they_are_asked_for(tmp_path):
    with open_queue(QueueSettings(directory=tmp_path / "a")) as queue:
        assert not queue.reports and queue.schedule.warn_after is None
    asked = QueueSettings(directory=tmp_path / "b", reports=True, warn_after="6h", in_doubt="ask")
    with open_queue(asked) as queue:
        assert queue.reports and queue.schedule.warn_after == 21600.0
    with open_queue(QueueSettings(directory=tmp_path / "c", reports=True, warn_after=False)) as queue:
        assert queue.reports and queue.schedule.warn_after is None


@pytest.mark.parametrize("wrong", [{"reports_from": "nobody"}, {"loop_mark": "a b"}, {"warn_after": -1}, {"in_doubt": "?"}])
def test_settings_that_cannot_be_meant_are_refused(tmp_path, wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        QueueSettings(directory=tmp_path, **wrong)


def test_a_report_on_a_mail_that_must_travel_over_tls_does_so_too_and_returns_the_header_alone(notice):
    for asked in ({"requiretls": True}, {"parameters": (("REQUIRETLS", None),)}):
        letter = REPORTS(notice(**asked))
        assert letter.envelope.parameters.requiretls and b"The body." not in letter.octets
        assert b"text/rfc822-headers" in letter.octets
    assert not REPORTS(notice()).envelope.parameters.requiretls


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        ({"by_time": 3600, "by_mode": "N"}, "Deliver-By-Date: Tue, 14 Nov 2023 21:13:20 +0000"),
        ({"parameters": (("BY", "7200;R"),)}, "Deliver-By-Date: Tue, 14 Nov 2023 22:13:20 +0000"),
        ({"hold_for": 60}, "Future-Release-Request: for;60"),
        ({"hold_until": "2026-12-24T18:00:00Z"}, "Future-Release-Request: until;2026-12-24T18:00:00Z"),
    ],
)
def test_a_report_names_the_time_that_was_asked_for(notice, asked, line):
    message, _, _ = read(REPORTS(notice(**asked)))
    fields = message.parts[1].raw_body.split(b"\r\n\r\n")[0].decode().split("\r\n")
    assert line in fields and any(field.startswith("Arrival-Date: ") for field in fields)
