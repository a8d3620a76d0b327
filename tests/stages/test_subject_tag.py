"""A tag stands in the subject once, and the octets beside it are those that came."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import mailpipe
from mailpipe import Envelope, Mail
from mailpipe.pipeline.mail import Changed, Origin
from mailpipe.stages.subject_tag import SubjectTag

SAMPLES = sorted((Path(__file__).parents[2] / "samples" / "mail").glob("*.eml"))


def tagged(subject: bytes, mail, stage, **options) -> tuple[bytes, str]:
    octets = b"From: a@example.org\nSubject:" + subject + b"\nTo: b@example.net\n\nbody\xff\r\n"
    after = stage(SubjectTag, **{"tag": "[EXT]", **options}).process(mail(octets)).message
    before, _, rest = bytes(after).partition(b"Subject:")
    assert before == b"From: a@example.org\n"
    assert rest.endswith(b"\nTo: b@example.net\n\nbody\xff\r\n")
    return rest.removesuffix(b"\nTo: b@example.net\n\nbody\xff\r\n"), mailpipe.parse(bytes(after)).subject


@pytest.mark.parametrize(
    ("subject", "options", "expected"),
    [
        (b" lunch", {}, b" [EXT] lunch"),
        (b" lunch", {"position": "suffix"}, b" lunch [EXT]"),
        (b" Re: lunch", {}, b" [EXT] Re: lunch"),
        (b" Re: lunch", {"after_reply": True}, b" Re: [EXT] lunch"),
        (b"RE[2]: Fwd: lunch", {"after_reply": True}, b" RE[2]: Fwd: [EXT] lunch"),
        (b" Reflections: one", {"after_reply": True}, b" [EXT] Reflections: one"),
        (b" =?iso-2022-jp?B?GyRCRnxLXBsoQg==?=", {}, b" [EXT] =?iso-2022-jp?B?GyRCRnxLXBsoQg==?="),
        (b" AW: =?iso-8859-1?Q?Gr=FC=DFe?=", {"after_reply": True}, b" AW: [EXT] =?iso-8859-1?Q?Gr=FC=DFe?="),
        (b" =?iso-8859-1?Q?Gr=FC=DFe?=", {"position": "suffix"}, b" =?iso-8859-1?Q?Gr=FC=DFe?= [EXT]"),
        (b" =?iso-8859-1?Q?Gr=FC=DFe?=", {"tag": "\u00abext\u00bb"}, b" =?utf-8?b?wqtleHTCuyA=?= =?iso-8859-1?Q?Gr=FC=DFe?="),
        (b" lunch", {"tag": "\u00abext\u00bb"}, b" =?utf-8?b?wqtleHTCuw==?= lunch"),
        (b" [ext] lunch", {}, b" [ext] lunch"),
        (b" =?utf-8?q?=5BEXT=5D_lunch?=", {}, b" =?utf-8?q?=5BEXT=5D_lunch?="),
        (b"", {}, b" [EXT]"),
    ],
)
def test_only_the_tag_is_new(subject, options, expected, mail, stage) -> None:
    assert tagged(subject, mail, stage, **options)[0] == expected


def test_a_reply_mark_inside_an_encoded_word_is_seen(mail, stage) -> None:
    _, text = tagged(b" =?utf-8?q?Re=3A_Gr=C3=BC=C3=9Fe?=", mail, stage, after_reply=True)
    assert text == "Re: [EXT] Grüße"


def test_raw_octets_above_127_survive(mail, stage) -> None:
    assert tagged(" Grüße aus Köln".encode(), mail, stage)[1] == "[EXT] Grüße aus Köln"
    assert tagged(" Grüße aus Köln am Rhein".encode("latin-1"), mail, stage)[1] == "[EXT] Grüße aus Köln am Rhein"


def test_a_folded_subject_is_whole_afterwards(mail, stage) -> None:
    raw, text = tagged(b" one " + b"word " * 14 + b"\n\ttwo", mail, stage)
    assert text.split() == ["[EXT]", "one", *["word"] * 14, "two"]
    assert all(len(line) <= 78 for line in raw.split(b"\n"))


def test_it_is_not_done_twice(mail, stage) -> None:
    one = stage(SubjectTag, tag="[EXT]")
    after = one.process(mail(b"Subject: a\n\nb"))
    assert one.process(after) is after
    assert list(after.notes_of(Changed)) == [Changed("subject-tag", "Subject tagged [EXT]")]


def test_each_of_two_subjects_is_tagged(mail, stage) -> None:
    after = stage(SubjectTag, tag="[EXT]").process(mail(b"Subject: a\r\nsubject: b\r\n\r\nbody"))
    assert bytes(after.message) == b"Subject: [EXT] a\r\nsubject: [EXT] b\r\n\r\nbody"


def test_a_message_without_a_subject_gets_one_or_not(mail, stage) -> None:
    octets = b"From: a@example.org\n\nbody"
    assert bytes(stage(SubjectTag, tag="[EXT]").process(mail(octets)).message) == b"From: a@example.org\nSubject: [EXT]\n\nbody"
    assert bytes(stage(SubjectTag, tag="[EXT]", when_missing="keep").process(mail(octets)).message) == octets


@pytest.mark.parametrize("tag", ["", "  ", "a\nb", "a\0"])
def test_a_tag_is_a_line_of_text(tag) -> None:
    with pytest.raises(ValidationError):
        SubjectTag.Options(tag=tag)


@given(st.binary(max_size=300), st.booleans(), st.sampled_from(["prefix", "suffix"]), st.sampled_from(["[EXT]", "«ext»"]))
def test_no_subject_stops_it(subject, after_reply, position, tag) -> None:
    one = SubjectTag(SubjectTag.Options(tag=tag, after_reply=after_reply, position=position))
    octets = b"Subject: " + subject + b"\n\nbody"
    mail = Mail(mailpipe.parse(octets), Envelope.of("a@example.org", "b@example.net"), Origin("eml", "x"))
    after = bytes(one.process(mail).message)
    again = mailpipe.parse(after)
    assert bytes(again) == after
    assert tag in (again.subject or "")
    assert again.raw_body == mail.message.raw_body


@given(st.sampled_from(SAMPLES), st.integers(0, 3000), st.binary(max_size=30))
def test_no_mutated_sample_stops_it(path, place, junk) -> None:
    whole = path.read_bytes()
    octets = whole[:place] + junk + whole[place + len(junk) :]
    mail = Mail(mailpipe.parse(octets), Envelope.of("a@example.org", "b@example.net"), Origin("eml", "x"))
    after = bytes(SubjectTag(SubjectTag.Options(tag="[EXT]", after_reply=True)).process(mail).message)
    assert bytes(mailpipe.parse(after)) == after
