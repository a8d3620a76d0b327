"""What a stage changed: fields, parts, envelope, notes; and what of that it had not declared."""

import time
from dataclasses import replace
from pathlib import Path

import mailpipe
from mailpipe import Access, Envelope, Mail, Origin
from mailpipe.message import compose
from mailpipe.pipeline.access import EVERYTHING
from mailpipe.pipeline.differences import differences, envelope_change, exceeded, field_changes
from mailpipe.pipeline.mail import Changed, Skipped
from mailpipe.smtp.envelope import ForwardPath, MailParameters

SAMPLES = sorted((Path(__file__).parents[2] / "samples" / "mail").glob("*.eml"))
LETTER = (
    b"From: ann@example.org\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nReceived: by a.example\r\nReceived: by b.example\r\n"
    b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n'
    b"--b\r\nContent-Type: text/plain\r\n\r\nHello\r\n"
    b"--b\r\nContent-Type: image/png; name=a.png\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA\r\n"
    b"--b\r\nContent-Type: application/pdf; name=b.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nJVBERi0xLjQK\r\n--b--\r\n"
)


def mail(octets=LETTER, *recipients):
    return Mail(mailpipe.parse(octets), Envelope.of("ann@example.org", *recipients), Origin("test", "-"))


def with_header(before, header):
    return before.with_message(before.message.with_header(header))


def words(found):
    return [(each.what, each.name, each.text) for each in found.fields]


def tree(found):
    return [(each.what, each.before and each.before.path, each.after and each.after.path) for each in found.parts]


def test_nothing_is_different_from_itself():
    for path in SAMPLES:
        before = mail(path.read_bytes())
        assert not differences(before, before)
        assert not differences(before, mail(path.read_bytes()).with_note())


def test_a_field_that_took_the_place_of_another_follows_it():
    before = mail()
    found = differences(before, with_header(before, before.message.header.with_field("Subject", "[list] Grüße")))
    assert words(found) == [("removed", "Subject", "Grüße"), ("added", "Subject", "[list] Grüße")]
    assert not found.body and not found.parts and not found.order


def test_of_fields_of_one_name_only_the_one_that_went_is_told():
    before = mail()
    gone = before.message.header.all("received")[1]
    found = differences(before, with_header(before, before.message.header.without_field(gone)))
    assert words(found) == [("removed", "Received", "by b.example")]


def test_a_field_that_says_the_same_in_other_octets_is_shown_in_octets():
    old, new = mailpipe.parse(b"Subject: =?utf-8?q?=C3=BC?=\r\n\r\n"), mailpipe.parse(b"Subject: =?utf-8?b?w7w=?=\r\n\r\n")
    assert [each.text.strip() for each in field_changes(old.header.lines, new.header.lines)] == [
        "=?utf-8?q?=C3=BC?=", "=?utf-8?b?w7w=?=",
    ]  # fmt: skip
    old, new = mailpipe.parse(b"Subject: a b\r\n\r\n"), mailpipe.parse(b"Subject: a\r\n b\r\n\r\n")
    assert [each.text for each in field_changes(old.header.lines, new.header.lines)] == [
        "Subject: a b\r\n", "Subject: a\r\n b\r\n",
    ]  # fmt: skip


def test_another_order_is_told_where_no_field_came_or_went():
    before = mail()
    header = before.message.header.with_fields(reversed(before.message.header.lines))
    found = differences(before, with_header(before, header))
    assert found.order and not found.fields


def test_a_part_that_went_and_those_behind_it_that_moved():
    before = mail()
    found = differences(before, before.with_message(before.message.remove("2")))
    assert tree(found) == [("moved", "3", "2"), ("removed", "2", None)]
    assert found.body
    assert (found.parts[1].before.type, found.parts[1].before.name, found.parts[1].before.size) == ("image/png", "a.png", 4)


def test_a_part_that_was_replaced_and_one_that_was_added():
    before = mail()
    message = before.message.replace("2", compose.text("gone\r\n"))
    found = differences(before, before.with_message(message))
    assert tree(found) == [("changed", "2", "2")]
    found = differences(before, before.with_message(before.message.attach(compose.text("more\r\n"))))
    assert tree(found) == [("added", None, "4")]


def test_what_became_of_the_envelope():
    old = Envelope.of("a@example.org", "b@example.net", "c@example.net")
    found = envelope_change(old, replace(old.with_forward_paths("c@example.net", "d@example.net"), reverse_path=""))
    assert (found.sender, found.removed, found.added) == (("a@example.org", ""), ("b@example.net",), ("d@example.net",))
    assert envelope_change(old, replace(old, parameters=MailParameters(envid="x"))).others == ("parameter envid",)
    noted = old.with_forward_paths(ForwardPath("b@example.net", notify=("NEVER",)), "c@example.net")
    assert envelope_change(old, noted).others == ("parameters of recipients",)
    assert not envelope_change(old, old)


def test_what_was_touched_without_being_declared():
    before = mail()
    header = before.message.header.with_field("subject", "x").with_added("X-Mark", "y")
    after = with_header(before, header).with_note(Changed("s", "x"), Skipped("s", "y"))
    after = after.with_envelope(Envelope.of("", "x@example.org"))
    after = after.with_message(after.message.remove("2"))
    found = differences(before, after)
    assert exceeded(Access(fields=("SUBJECT",)), found) == ("X-Mark", "body", "envelope", "note Changed")
    assert exceeded(Access(fields=("*",), body=True, notes=(Changed,)), found) == ("envelope",)
    assert exceeded(EVERYTHING, found) == ()


def test_a_header_of_a_hundred_thousand_fields_takes_its_time_but_no_more():
    lines = b"".join(b"X-%d: %d\r\n" % (number % 7, number) for number in range(30_000))
    before, after = mail(lines + b"\r\nx"), mail(lines.replace(b": 1", b": 2") + b"\r\nx")
    begun = time.perf_counter()
    assert differences(before, after).fields
    assert time.perf_counter() - begun < 20  # seconds where it is linear, hours where it is not
