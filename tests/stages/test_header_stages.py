"""Fields are added, set, removed and renamed, and no other octet of a message moves."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import mailpipe
from mailpipe import Access, Envelope, Mail, Services
from mailpipe.pipeline.mail import Changed, Origin
from mailpipe.stages import templates
from mailpipe.stages.add_header import AddHeader
from mailpipe.stages.remove_header import RemoveHeader
from mailpipe.stages.rename_header import RenameHeader
from mailpipe.stages.set_header import SetHeader

SAMPLES = sorted((Path(__file__).parents[2] / "samples" / "mail").glob("*.eml"))
LETTER = (
    b"Received: from a.example by b.example;\n\tTue, 3 Nov 2026 10:00:00 +0100\nFROM:   =?iso-8859-1?Q?Andr=E9?= <andre@example.org>\n"
    b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= an alle\nMessage-Id: <1@example.org>\nx-spam-Level: ***\nX-Spam-Status: Yes,\n  score=7\n"
    b"Content-Type: text/plain; charset=iso-8859-1\n\nSch\xf6n\r\nund gut\n"
)  # fmt: skip
HEAD, BODY = LETTER.split(b"\n\n")


def test_a_field_is_added_below_or_above(mail, stage) -> None:
    after = stage(AddHeader, name="X-Seen", value="by {from_address}").process(mail(LETTER))
    assert bytes(after.message) == HEAD + b"\nX-Seen: by andre@example.org\n\n" + BODY
    after = stage(AddHeader, name="X-Seen", value="yes", position="top").process(mail(LETTER))
    assert bytes(after.message) == b"X-Seen: yes\n" + LETTER
    assert list(after.notes_of(Changed)) == [Changed("add-header", "X-Seen added")]


def test_lines_end_as_those_of_the_message(mail, stage) -> None:
    octets = b"From: a@example.org\r\nSubject: hi\r\n\r\nbody\r\n"
    after = stage(AddHeader, name="X-Long", value="word " * 30).process(mail(octets))
    assert bytes(after.message).startswith(b"From: a@example.org\r\nSubject: hi\r\nX-Long: word ")
    assert bytes(after.message).count(b"\n") == bytes(after.message).count(b"\r\n")


def test_every_fact_can_be_told(mail, stage) -> None:
    value = "{subject}|{message_id}|{sender}|{recipients}|{size}|{origin}|{{}}"
    after = stage(AddHeader, name="X-Facts", value=value).process(mail(LETTER))
    expected = f"Grüße an alle|1@example.org|ann@example.org|bob@example.net|{len(LETTER)}|test.eml:0|{{}}"
    assert after.message.header["X-Facts"] == expected


def test_a_subject_cannot_smuggle_a_field_in(mail, stage) -> None:
    octets = b"Subject: =?utf-8?q?hi=0D=0ABcc:_evil@example.com=00?=\n\nbody\n"
    after = stage(AddHeader, name="X-Old-Subject", value="{subject}").process(mail(octets))
    message = mailpipe.parse(bytes(after.message))
    assert message.header.keys() == ("Subject", "X-Old-Subject")
    assert message.header["X-Old-Subject"] == "hi Bcc: evil@example.com"


@pytest.mark.parametrize("kind", [AddHeader, SetHeader])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-A", "one\r\nBcc: two"), ("X-A", "one\ntwo"), ("X-A", "nul\0"), ("X A", "v"), ("X-A:", "v"), ("", "v"), ("X-Ä", "v"),
        ("X-A", "{nonsense}"), ("X-A", "{subject.__class__}"), ("X-A", "{subject!r}"), ("X-A", "{size:>99999999}"), ("X-A", "{"), ("X-A", "{}"), ("X-A", "{0}"),
    ],
)  # fmt: skip
def test_what_would_break_a_header_is_refused_in_the_options(kind, name, value) -> None:
    with pytest.raises(ValidationError):
        kind.Options.model_validate({"name": name, "value": value})


def test_a_field_is_set_in_its_place_and_stands_once(mail, stage) -> None:
    octets = b"A: 1\nSubject: old\n folded\nB: 2\nsubject: again\nC: 3\n\nbody"
    after = stage(SetHeader, name="Subject", value="new").process(mail(octets))
    assert bytes(after.message) == b"A: 1\nSubject: new\nB: 2\nC: 3\n\nbody"
    again = stage(SetHeader, name="Subject", value="new").process(after)
    assert again is after


@pytest.mark.parametrize(("when", "subject", "changes"), [("absent", b"S: x\n", True), ("absent", b"Subject: x\n", False),
    ("present", b"S: x\n", False), ("present", b"Subject: x\n", True), ("always", b"S: x\n", True)])  # fmt: skip
def test_setting_may_depend_on_what_is_there(when, subject, changes, mail, stage) -> None:
    octets = subject + b"\nbody"
    after = stage(SetHeader, name="subject", value="new", only_if=when).process(mail(octets))
    assert (bytes(after.message) != octets) is changes


def test_fields_are_removed_by_name_with_wildcards(mail, stage) -> None:
    after = stage(RemoveHeader, names=["X-SPAM-*"], except_names=["*-level"]).process(mail(LETTER))
    assert bytes(after.message) == LETTER.replace(b"X-Spam-Status: Yes,\n  score=7\n", b"")
    assert [note.what for note in after.notes_of(Changed)] == ["X-Spam-Status removed"]
    after = stage(RemoveHeader, names=["x-spam-level", "received"]).process(mail(LETTER))
    assert bytes(after.message) == LETTER[LETTER.index(b"FROM") :].replace(b"x-spam-Level: ***\n", b"")


def test_fields_are_removed_by_text_and_place(mail, stage) -> None:
    octets = b"X: one\nX: two\nY: one\nX: three\n\nbody"
    assert bytes(stage(RemoveHeader, names=["X"], values=["T*"]).process(mail(octets)).message) == b"X: one\nY: one\n\nbody"
    assert bytes(stage(RemoveHeader, names=["*"], which="first").process(mail(octets)).message) == b"X: two\nX: three\n\nbody"
    assert bytes(stage(RemoveHeader, names=["x"], which="last").process(mail(octets)).message) == b"X: one\nX: two\nY: one\n\nbody"
    unchanged = mail(octets)
    assert stage(RemoveHeader, names=["Z"]).process(unchanged) is unchanged


def test_a_field_keeps_its_body_under_another_name(mail, stage) -> None:
    after = stage(RenameHeader, name="x-spam-status", to="X-Old-Spam-Status").process(mail(LETTER))
    assert bytes(after.message) == LETTER.replace(b"X-Spam-Status", b"X-Old-Spam-Status")
    after = stage(RenameHeader, name="message-id", to="Message-ID").process(mail(LETTER))
    assert bytes(after.message) == LETTER.replace(b"Message-Id", b"Message-ID")
    same = mail(LETTER)
    assert stage(RenameHeader, name="Subject", to="From", when_taken="keep").process(same) is same


def test_they_say_which_fields_they_touch() -> None:
    def accesses(kind, **options):
        return kind.accesses(kind.Options.model_validate(options))

    assert accesses(AddHeader, name="X-A", value="{subject} {sender}") == (
        Access(fields=("Subject",), envelope=True), Access(fields=("X-A",), notes=(Changed,)))  # fmt: skip
    assert accesses(SetHeader, name="X-A", value="v")[0] == Access(fields=("X-A",))
    assert accesses(RemoveHeader, names=["A", "B"])[1].fields == ("A", "B")
    assert accesses(RemoveHeader, names=["A", "X-*"])[1].fields == ("*",)
    assert accesses(RenameHeader, name="A", to="B")[1].fields == ("A", "B")


def test_a_word_of_a_thousand_octets_is_said_in_encoded_words() -> None:
    field = templates.composed("References", "x" * 5000, b"\n")
    assert max(map(len, field.raw.split(b"\n"))) <= 998


STAGES = [
    (AddHeader, {"name": "X-A", "value": "{subject} {from_address} {message_id} {size} ä"}), (SetHeader, {"name": "To", "value": "{subject}"}),
    (RemoveHeader, {"names": ["*"], "values": ["*e*"]}), (RenameHeader, {"name": "From", "to": "X-From"}),
]  # fmt: skip


@given(st.one_of(st.binary(max_size=400), st.tuples(st.sampled_from(SAMPLES), st.integers(0, 5000), st.binary(max_size=20))), st.sampled_from(STAGES))
def test_no_octets_stop_them(given_octets, chosen) -> None:
    octets = given_octets
    if isinstance(octets, tuple):
        path, place, junk = octets
        whole = path.read_bytes()
        octets = whole[: place % (len(whole) + 1)] + junk + whole[place % (len(whole) + 1) + len(junk) :]
    kind, options = chosen
    one = kind(kind.Options.model_validate(options))
    one.open(Services.for_tests())
    mail = Mail(mailpipe.parse(octets), Envelope.of("a@example.org", "b@example.net"), Origin("eml", "x"))
    after = bytes(one.process(mail).message)
    assert bytes(mailpipe.parse(after)) == after


@given(st.binary(max_size=200), st.sampled_from(["top", "bottom"]))
def test_an_added_field_is_there_and_the_body_is_what_it_was(octets, position) -> None:
    one = AddHeader(AddHeader.Options(name="X-A", value="v", position=position))
    before = mailpipe.parse(octets)
    after = one.process(Mail(before, Envelope.of("a@example.org", "b@example.net"), Origin("eml", "x"))).message
    again = mailpipe.parse(bytes(after))
    assert [field.text for field in again.header.all("X-A")].count("v") == 1
    assert again.raw_body == before.raw_body
