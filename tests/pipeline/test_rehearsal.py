"""A pipeline that is played: everything is seen, nothing leaves."""

from pathlib import Path

import pytest

import mailpipe
from mailpipe import Access, Envelope, Mail, Options, RawMail, Stage, Verdict
from mailpipe.errors import SettingsError
from mailpipe.pipeline.mail import Origin
from mailpipe.pipeline.outcome import Ending
from mailpipe.pipeline.rehearsal import Rehearsal
from mailpipe.pipeline.settings import parse_settings
from mailpipe.plugins import load_registry

OCTETS = b"From: ada@example.org\r\nTo: bo@example.net\r\nSubject: %s\r\n\r\nHello\r\n"


@mailpipe.stage(touches=Access(fields=("X-Mark",)))
def mark(mail: Mail) -> Mail:
    """Adds a field and puts the subject in capitals, which it does not say."""
    header = mail.message.header.with_added("X-Mark", "yes").with_field("Subject", mail.message.subject.upper())
    return mail.with_message(mail.message.with_header(header))


@mailpipe.stage()
def refuse(mail: Mail) -> Verdict:
    """Rejects."""
    return Verdict.reject("not here", status="5.7.13")


@mailpipe.stage()
def break_down(mail: Mail) -> Mail:
    """Fails."""
    raise RuntimeError("it broke")


@mailpipe.stage()
def set_aside(mail: Mail) -> Verdict:
    """Quarantines."""
    return Verdict.quarantine("look at it")


class Write(Stage[Options]):
    """Writes a file when it is opened, and one when it is asked."""

    name = "write"
    acts = True
    folder: Path

    def open(self, services):
        (self.folder / "opened").touch()

    def process(self, mail):
        (self.folder / "asked").touch()
        return mail


@pytest.fixture
def play(tmp_path):
    opened = []

    def make(text, **arguments):
        registry = load_registry()
        for each in (mark, refuse, break_down, set_aside, type("Write", (Write,), {"folder": tmp_path, "__doc__": "x"})):
            registry.add_stage(each)
        made = Rehearsal(parse_settings(text, tmp_path / "p.toml", registry), registry, **arguments)
        opened.append(made)
        return made

    yield make
    for each in opened:
        each.close()


def raw(subject="tides", *recipients):
    return RawMail(
        OCTETS % subject.encode(), Origin("eml", "m.eml"), Envelope.of("ada@example.org", *(recipients or ("bo@example.net",)))
    )


def told(played):
    return [(played.branch(each.mail.origin), each.step.label, each.word) for each in played.seen]


def test_each_step_is_seen_with_what_it_changed(play):
    played = play('[[stage]]\nuse = "mark"\n[[stage]]\nuse = "decode-mime"\n').take(raw())
    assert told(played) == [("", "mark", "changed"), ("", "decode-mime", "passed")]
    first = played.seen[0]
    assert [(each.what, each.name) for each in first.changes.fields] == [
        ("removed", "Subject"), ("added", "Subject"), ("added", "X-Mark"),
    ]  # fmt: skip
    assert first.exceeded == ("Subject",)
    assert played.own.ending is Ending.DELIVERED
    assert b"Subject: TIDES" in bytes(played.handed[0].mail.message)


def test_nothing_leaves_and_nothing_is_written(play, tmp_path):
    text = (
        '[[stage]]\nuse = "write"\n[[stage]]\nuse = "set-aside"\nwhen.field = { name = "Subject", is = "odd" }\n'
        '[[stage]]\ntee = "copies"\n[route.copies.sink]\nuse = "mbox"\npath = "copies.mbox"\n'
        '[sink]\nuse = "maildir"\npath = "inbox"\n[queue]\ndirectory = "spool"\n[source]\nuse = "eml"\npath = "m.eml"\n'
    )
    rehearsal = play(text)
    assert rehearsal.left_out == ["write"]
    played = rehearsal.take(raw())
    assert [(each.way, each.sink) for each in played.handed] == [("copies", "mbox"), ("", "maildir")]
    assert told(played) == [("", "write", "not asked"), ("", "set-aside", "not met"), ("", "tee copies", "tee")]
    aside = rehearsal.take(raw("odd"))
    assert (aside.own.ending, list(aside.set_aside)) == (Ending.QUARANTINED, ["eml:m.eml:0"])
    assert list(tmp_path.iterdir()) == []


def test_stages_that_act_are_asked_where_that_is_wished(play, tmp_path):
    assert told(play('[[stage]]\nuse = "write"\n', really=True).take(raw())) == [("", "write", "passed")]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["asked", "opened"]


def test_recipients_that_part_ways_are_followed(play):
    text = (
        '[[stage]]\nuse = "refuse"\nwhen.recipient = { like = "b@*" }\n[[stage]]\ngoto = "spam"\n'
        '[[route.spam.stage]]\nuse = "mark"\n[route.spam.sink]\nuse = "maildir"\npath = "spam"\n'
    )
    played = play(text).take(raw("x", "a@example.net", "b@example.net"))
    assert told(played) == [
        ("", "refuse", "recipients part"), ("1", "refuse", "reject"), ("2", "goto spam", "goto"), ("2", "mark", "changed"),
    ]  # fmt: skip
    assert played.seen[0].apart == (("b@example.net",), ("a@example.net",))
    assert [(played.branch(each.origin), each.ending.value) for each in played.leaves] == [
        ("1", "rejected"), ("2", "delivered"),
    ]  # fmt: skip
    assert played.envelope_of(played.leaves[0]).addresses == ("b@example.net",)
    assert (played.handed_of(played.leaves[1]).way, played.handed_of(played.leaves[1]).sink) == ("spam", "maildir")


@pytest.mark.parametrize(
    ("when", "why"),
    [
        ('when.field = { name = "Subject", is = "x" }', 'field = { is = "x", name = "Subject" }'),
        (
            'when.all = [{ size = { above = 1 } }, { list_mail = true }, { size = { above = 9 } }]',
            "all: list_mail = true",
        ),
        ('when.any = [{ list_mail = true }, { size = { above = "1MB" } }]', "any: none of 2 holds"),
        ('when.not = { sender = { like = "*@example.org" } }', 'not: sender = { like = "*@example.org" } holds'),
        ('when = { size = { above = 1 }, attachment = true }', "attachment = true"),
        ('when.recipient = { is = "nobody@example.net" }', 'recipient = { is = "nobody@example.net" }'),
    ],
)
def test_the_part_of_a_condition_that_failed_is_named(play, when, why):
    played = play(f'[[stage]]\nuse = "mark"\n{when}\n').take(raw())
    assert (played.seen[0].word, played.seen[0].why_not) == ("not met", why)


def test_a_stage_that_fails_is_asked_as_often_as_it_would_be(play):
    played = play('[[stage]]\nuse = "break-down"\non_error = { retry = 2, wait = 60, then = "reject" }\n').take(raw())
    assert (played.seen[0].times, played.seen[0].word, played.own.ending) == (3, "failed", Ending.REJECTED)
    assert "it broke" in played.seen[0].error


def test_what_a_sink_that_needs_recipients_would_not_get(play):
    played = play('[sink]\nuse = "smtp"\nhost = "mx.example.net"\n').take(
        RawMail(b"Subject: x\r\n\r\n", Origin("eml", "m.eml"))
    )
    assert (played.own.ending, played.handed) == (Ending.FAILED, [])


TWO = '[[stage]]\nuse = "mark"\nlabel = "first"\n[[stage]]\nuse = "mark"\n[[stage]]\nuse = "refuse"\n'


@pytest.mark.parametrize(("only", "label"), [("2", "mark"), ("first", "first"), ("refuse", "refuse"), ("stage.1", "first")])
def test_one_step_alone(play, only, label):
    assert [step for _, step, _ in told(play(TWO, only=only).take(raw()))] == [label]


@pytest.mark.parametrize(
    ("only", "words"),
    [
        ("mark", "there are several steps 'mark'; expected one of stage.1, stage.2"),
        ("refuze", "there is no step 'refuze', did you mean 'refuse'?"),
        ("9", "there is no step '9'; expected a number from 1 to 3, or one of first, mark, refuse"),
    ],
)
def test_a_step_that_is_not_there(play, only, words):
    text = TWO.replace('label = "first"\n', "") if only == "mark" else TWO
    with pytest.raises(SettingsError) as caught:
        play(text, only=only)
    assert words in str(caught.value)


def test_a_message_that_is_refused_at_the_door(play):
    played = play("[limits]\nmessage_size = 10\n").take(raw())
    assert (played.own.ending, played.seen) == (Ending.REJECTED, [])


SAMPLES = Path(__file__).parents[2] / "samples" / "mail"


@pytest.mark.parametrize("name", ["validate-headers", "decode-mime"])
def test_stages_in_a_process_of_their_own_are_seen_alike(play, name):
    beside, apart = (play(f'[[stage]]\nuse = "{name}"\nisolate = {word}\n') for word in ("false", "true"))
    for path in sorted(SAMPLES.glob("*.eml")):
        raw = RawMail(path.read_bytes(), Origin("eml", str(path)))
        one, other = beside.take(raw).seen[0], apart.take(raw).seen[0]
        assert (one.word, one.error, one.changes.notes) == (other.word, other.error, other.changes.notes)
