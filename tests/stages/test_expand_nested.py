"""Attached messages go on by themselves, or are opened where they stand."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mailpipe
from mailpipe import Access, Envelope, Mail
from mailpipe.pipeline.mail import Changed, Origin
from mailpipe.stages.expand_nested import ExpandNested

SAMPLES = sorted((Path(__file__).parents[2] / "samples" / "mail").glob("*.eml"))
DEEPEST = b"Subject: deepest\n\nd\xff\n"
INNER = (
    b"From: =?iso-8859-1?Q?Andr=E9?= <andre@example.org>\nSubject: inner\nContent-Type: multipart/mixed; boundary=i\n\n--i\n\ntext \n--i\nContent-Type: application/pdf; name=a.pdf\n\nPDF\n--i\n"
    b"Content-Type: message/rfc822\n\n" + DEEPEST + b"\n--i--\n"
)
PLAIN = b"Subject: plain\nContent-Type: text/plain; charset=iso-8859-1\n\nSch\xf6n\n"
HEAD = b"From: b@example.org\nSubject: outer\nContent-Type: multipart/mixed; boundary=m\n\npre\n--m\n\nsee below\n--m\n"
LETTER = HEAD + b"Content-Type: message/rfc822\n\n" + INNER + b"\n--m\nContent-Type: message/rfc822\n\n" + PLAIN + b"\n--m--\npost\n"


def test_they_are_lifted_octet_for_octet(mail, stage) -> None:
    before = mail(LETTER)
    outer, *lifted = stage(ExpandNested, how="lift").process(before)
    assert bytes(outer.message) == LETTER
    assert [bytes(one.message) for one in lifted] == [INNER, PLAIN]
    assert {one.envelope for one in lifted} == {before.envelope}
    assert [note.what for note in lifted[0].notes_of(Changed)] == ["lifted out of part 2"]


def test_what_brought_them_may_change_or_go(mail, stage) -> None:
    assert [bytes(one.message) for one in stage(ExpandNested, how="lift", then="alone").process(mail(LETTER))] == [INNER, PLAIN]
    outer = stage(ExpandNested, how="lift", then="detach").process(mail(LETTER))[0]
    assert bytes(outer.message) == HEAD.removesuffix(b"\n--m\n") + b"\n--m--\npost\n"
    outer = stage(ExpandNested, how="lift", then="note").process(mail(LETTER))[0]
    assert outer.message.part("2").text == "The attached message 'inner' goes on as a mail of its own.\n"
    assert bytes(outer.message).startswith(HEAD)


def test_a_mail_with_too_many_goes_on_as_it_is(mail, stage) -> None:
    before = mail(LETTER)
    assert stage(ExpandNested, how="lift", most=1).process(before) is before


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_they_are_opened_in_their_place(line_end, mail, stage) -> None:
    octets = LETTER.replace(b"\n", line_end)
    after = stage(ExpandNested).process(mail(octets))
    message = mailpipe.parse(bytes(after.message))
    assert bytes(message).startswith(HEAD.replace(b"\n", line_end))
    assert bytes(message).endswith(b"\n--m--\npost\n".replace(b"\n", line_end))
    assert bytes(message).count(b"\n") == bytes(message).count(line_end)
    assert not any(one.content_type.value == "message/rfc822" for _, one in message.walk())
    shape = [(path, one.content_type.value) for path, one in message.walk()]
    assert ("2.2.2", "application/pdf") in shape
    assert message.part("2.1").text.replace("\r\n", "\n") == "Attached message\nFrom: André <andre@example.org>\nSubject: inner\n"
    assert message.part("2.2.3.2").raw_body == DEEPEST.split(b"\n\n")[1].replace(b"\n", line_end)
    assert bytes(message.part("3.2")) == PLAIN.partition(b"\n")[2].replace(b"\n", line_end)
    assert next(note.what for note in after.notes_of(Changed)) == "the message in part 2 opened in its place"


def test_only_so_deep(mail, stage) -> None:
    message = stage(ExpandNested, depth=1).process(mail(LETTER)).message
    assert message.part("2.2.3").content_type.value == "message/rfc822"
    assert bytes(message.part("2.2.3").parts[0]) == DEEPEST


@pytest.mark.parametrize(
    "octets",
    [
        b"Subject: x\n\nplain\n",
        b"Content-Type: multipart/report; boundary=r; report-type=delivery-status\n\n--r\n\nfailed\n--r\nContent-Type: message/rfc822\n\n" + PLAIN + b"\n--r--\n",
        b"Content-Type: multipart/signed; boundary=s\n\n--s\nContent-Type: message/rfc822\n\n" + PLAIN + b"\n--s\nContent-Type: application/pgp-signature\n\nsig\n--s--\n",
    ],
)
def test_others_are_left(octets, mail, stage) -> None:
    before = mail(octets)
    assert stage(ExpandNested).process(before) is before
    assert stage(ExpandNested, how="lift").process(before) is before


def test_a_message_that_is_but_one_attached_is_opened(mail, stage) -> None:
    octets = b"From: a@example.org\nContent-Type: message/rfc822\n\n" + PLAIN
    after = stage(ExpandNested).process(mail(octets)).message
    assert [part.content_type.value for part in after.parts] == ["text/plain", "text/plain"]
    assert after.header["from"] == "a@example.org"


def test_it_says_what_it_touches() -> None:
    assert ExpandNested.accesses(ExpandNested.Options(how="lift"))[1].has_field("Subject")
    assert not ExpandNested.accesses(ExpandNested.Options())[1].has_field("Subject")
    assert isinstance(ExpandNested.accesses(ExpandNested.Options())[0], Access)


@given(st.tuples(st.sampled_from([*(path.read_bytes() for path in SAMPLES), LETTER, LETTER]), st.integers(0, 900), st.binary(max_size=20)),
    st.sampled_from([{"how": "flatten"}, {"how": "lift"}, {"how": "lift", "then": "note"}, {"how": "lift", "then": "detach"}]))  # fmt: skip
def test_no_octets_stop_it(given_octets, options) -> None:
    whole, place, junk = given_octets
    octets = whole[:place] + junk + whole[place + len(junk) :]
    mail = Mail(mailpipe.parse(octets), Envelope.of("a@example.org", "b@example.net"), Origin("eml", "x"))
    result = ExpandNested(ExpandNested.Options(**options)).process(mail)
    for one in result if isinstance(result, list) else [result]:
        after = bytes(one.message)
        assert bytes(mailpipe.parse(after)) == after
