"""Each check finds what it names, and each policy does what it says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mailpipe
from mailpipe import Mail, Verdict
from mailpipe.pipeline.mail import Changed, DefectsFound
from mailpipe.pipeline.verdict import Decision
from mailpipe.stages.header_checks import CHECKS, find
from mailpipe.stages.validate_headers import ValidateHeaders

GOOD = (
    b"Date: Mon, 23 Nov 2026 10:00:00 +0100\r\nFrom: Ann <ann@example.org>\r\nTo: bob@example.net\r\n"
    b"Subject: hello\r\nMessage-ID: <1@example.org>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\nbody\r\n"
)

# check → a message that breaks it, the code that is found, what a repair leaves in the header
BROKEN: dict[str, tuple[bytes, str, list[bytes]]] = {
    "required_fields": (
        b"Received: from a by b; Mon, 23 Nov 2026 09:00:00 +0000\r\nSender: ann@example.org\r\nMessage-ID: <1@x.org>\r\n\r\nbody\r\n",
        "missing-field",
        [b"Date: Mon, 23 Nov 2026 09:00:00 +0000\r\n", b"From: ann@example.org\r\n"],
    ),
    "single_fields": (
        GOOD.replace(b"Subject:", b"Subject: first\r\nTo: carol@example.net\r\nSubject:"),
        "duplicate-field",
        [b"To: bob@example.net, carol@example.net\r\n", b"Subject: first\r\n", b"X-Repaired-Subject: hello\r\n"],
    ),
    "date_syntax": (
        GOOD.replace(b"Mon, 23 Nov 2026 10:00:00 +0100", b"23 Nov 26 10:00 CET"),
        "obsolete-date",
        [b"Date: Mon, 23 Nov 2026 10:00:00 ", b"X-Repaired-Date: 23 Nov 26 10:00 CET\r\n"],
    ),
    "address_syntax": (
        GOOD.replace(b"Ann <ann@example.org>", b"Ann ann@example.org"),
        "invalid-address",
        [b"From: ", b"ann@example.org", b"X-Repaired-From: Ann ann@example.org\r\n"],
    ),
    "message_id": (GOOD.replace(b"<1@example.org>", b"none at all"), "invalid-message-id", [b"@mailpipe.invalid>\r\n", b"X-Repaired-Message-ID: none at all"]),
    "line_length": (GOOD.replace(b"hello", b"word " * 300), "line-too-long", [b"Subject: word"]),
    "line_length_recommended": (GOOD.replace(b"hello", b"word " * 40), "line-over-78", [b"Subject: word"]),
    "seven_bit": (GOOD.replace(b"hello", b"h\xe9llo"), "eight-bit-header", [b"Subject: =?utf-8?"]),
    "folding": (GOOD.replace(b"hello", b"hello\r\n \r\n world"), "blank-continuation", [b"Subject: hello"]),
    "field_syntax": (GOOD.replace(b"Subject:", b"no field at all\r\nSubject:"), "malformed-field", [b"X-Malformed: no field at all\r\n"]),
    "mime_version": (GOOD.replace(b"MIME-Version: 1.0\r\n", b""), "missing-field", [b"MIME-Version: 1.0\r\n"]),
    "content_type": (
        GOOD.replace(b"text/plain\r\n", b"text/plain; charset=utf-8; charset=latin1\r\n"), "duplicate-parameter",
        [b"Content-Type: text/plain; charset=utf-8\r\n", b"X-Repaired-Content-Type:"],
    ),
}  # fmt: skip


def test_there_is_a_broken_message_for_every_check() -> None:
    assert set(BROKEN) == set(CHECKS) == set(ValidateHeaders.Options.model_fields) - {"tag_field"}


def test_a_good_message_passes_as_it_is(mail, stage) -> None:
    before = mail(GOOD)
    assert stage(ValidateHeaders).process(before) is before


@pytest.mark.parametrize("check", BROKEN)
def test_accept_counts_and_changes_nothing(check: str, mail, stage) -> None:
    octets, code, _ = BROKEN[check]
    after = stage(ValidateHeaders).process(mail(octets))
    assert bytes(after.message) == octets
    [found] = after.notes_of(DefectsFound)
    assert found.counts[code] >= 1
    assert code in {finding.code for finding in find(after.message) if finding.check == check}


@pytest.mark.parametrize("check", BROKEN)
def test_tag_adds_one_field_that_names_the_check(check: str, mail, stage) -> None:
    octets, _, _ = BROKEN[check]
    after = stage(ValidateHeaders, **{check: "tag"}).process(mail(octets))
    assert check.replace("_", "-") in after.message.header["X-Header-Defects"]
    again = stage(ValidateHeaders, **{check: "tag"}).process(after)
    assert len(again.message.header.all("X-Header-Defects")) == 1


@pytest.mark.parametrize("check", BROKEN)
def test_repair_mends_it_and_keeps_the_original(check: str, mail, stage) -> None:
    octets, code, expected = BROKEN[check]
    after = stage(ValidateHeaders, **{check: "repair"}).process(mail(octets))
    header = bytes(after.message.header)
    for piece in expected:
        assert piece in header
    assert code not in {finding.code for finding in find(after.message) if finding.check == check}
    assert list(after.notes_of(Changed))
    assert after.message.raw_body == b"body\r\n"


@pytest.mark.parametrize("check", BROKEN)
def test_reject_says_why_with_a_status(check: str, mail, stage) -> None:
    verdict = stage(ValidateHeaders, **{check: "reject"}).process(mail(BROKEN[check][0]))
    assert isinstance(verdict, Verdict)
    assert verdict.decision is Decision.REJECT
    assert verdict.status.is_permanent
    assert "RFC" in verdict.reason
    assert verdict.notes


@pytest.mark.parametrize("check", BROKEN)
def test_quarantine_keeps_it_aside(check: str, mail, stage) -> None:
    verdict = stage(ValidateHeaders, **{check: "quarantine"}).process(mail(BROKEN[check][0]))
    assert isinstance(verdict, Verdict)
    assert verdict.decision is Decision.QUARANTINE


def test_reject_wins_over_repair(mail, stage) -> None:
    octets = BROKEN["mime_version"][0].replace(b"hello", b"h\xe9llo")
    verdict = stage(ValidateHeaders, mime_version="repair", seven_bit="reject").process(mail(octets))
    assert isinstance(verdict, Verdict)


def test_a_date_that_nothing_tells_is_left_as_it_is(mail, stage) -> None:
    octets = GOOD.replace(b"Mon, 23 Nov 2026 10:00:00 +0100", b"yesterday")
    after = stage(ValidateHeaders, date_syntax="repair").process(mail(octets))
    assert bytes(after.message) == octets


@given(st.lists(st.sampled_from([*(octets.partition(b"\r\n\r\n")[0] + b"\r\n" for octets, _, _ in BROKEN.values()), b"\xff\0: x\n", b"A:\r\n", b" x\n"]), max_size=4), st.binary(max_size=60))
def test_repairing_everything_never_touches_the_body(blocks: list[bytes], noise: bytes) -> None:
    message = mailpipe.parse(b"".join(blocks) + noise + b"\r\n\r\nbody\r\n")
    one = ValidateHeaders(ValidateHeaders.Options.model_validate(dict.fromkeys(CHECKS, "repair")))
    before = Mail(message, mailpipe.Envelope(), mailpipe.pipeline.mail.Origin("eml", "x"))
    after = one.process(before)
    assert isinstance(after, Mail)
    assert after.message.raw_body == message.raw_body
    again = mailpipe.parse(bytes(after.message))
    assert again.raw_body == message.raw_body


_PIECES = st.sampled_from([
    b"Subject: a\n", b"To: a@b.example\n", b"To: a@b.example,\n\tc\n", b"X-Long: " + b"a" * 90 + b"\n", b"X: " + b"a" * 999 + b"\n", b"X: a\n \n b\n",
    b"X: \xe9\n", "X: \xe9\n".encode(), b"X: a\0b\n", b"X: a\rb\n", b"X : a\n", b"no field\n", b"Date: today\n", b"X: a\r\n", b"\xe9: a\n", b"X:\n\x0b\n",
])  # fmt: skip
# with this at its end no header is in order at a glance, so that each of its fields is looked at by itself
_DISORDER = b"no field\nX-Tail: \xff\0\rb" + b"a" * 90 + b"\n \n b\n"


@given(st.lists(_PIECES, min_size=1, max_size=6))
def test_a_header_that_is_in_order_at_a_glance_is_in_order(pieces) -> None:
    header = b"".join(pieces)
    alone, with_tail = mailpipe.parse(header + b"\n"), mailpipe.parse(header + _DISORDER + b"\n")
    places = range(len(alone.header.lines))
    assert [each for each in find(alone) if each.place in places] == [each for each in find(with_tail) if each.place in places]
