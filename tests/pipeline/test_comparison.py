"""Two pipelines with the same mails: what counts as different, and which step is named."""

import itertools
from dataclasses import replace

import pytest

import mailpipe
from mailpipe import Envelope, Mail, Options, RawMail, Verdict
from mailpipe.errors import ConfigError
from mailpipe.pipeline.comparison import Comparison, SharedClock, forbidden, is_forbidden
from mailpipe.pipeline.mail import Origin
from mailpipe.pipeline.rehearsal import Rehearsal
from mailpipe.pipeline.settings import parse_settings
from mailpipe.plugins import load_registry

numbers = itertools.count()


class WordOptions(Options):
    """What is said."""

    word: str = "yes"
    """The word."""


@mailpipe.stage()
def mark(mail: Mail, options: WordOptions) -> Mail:
    """Adds a field."""
    return mail.with_message(mail.message.with_header(mail.message.header.with_added("X-Mark", options.word)))


@mailpipe.stage()
def refuse(mail: Mail, options: WordOptions) -> Verdict:
    """Rejects."""
    return Verdict.reject(options.word)


@mailpipe.stage()
def toss(mail: Mail) -> Verdict:
    """Drops."""
    return Verdict.drop("away")


@mailpipe.stage("send-elsewhere")
def redirect(mail: Mail) -> Mail:
    """Sends it to somebody else."""
    return mail.with_envelope(mail.envelope.with_forward_paths("else@example.com"))


@mailpipe.stage()
def roll(mail: Mail) -> Mail:
    """Adds a number that is another one each time."""
    header = mail.message.header.with_added("X-Number", str(next(numbers)))
    return mail.with_message(mail.message.with_header(header))


class Stamp(mailpipe.Stage[Options]):
    """Adds the time."""

    name = "stamp"

    def open(self, services):
        self._clock = services.clock

    def process(self, mail):
        header = mail.message.header.with_added("X-Time", self._clock.now().isoformat())
        return mail.with_message(mail.message.with_header(header))


SINK = '[sink]\nuse = "discard"\n'


@pytest.fixture
def compare(tmp_path):
    opened = []

    def make(old, new):
        registry = load_registry()
        for each in (mark, refuse, toss, redirect, roll, Stamp):
            registry.add_stage(each)
        clock = SharedClock()
        for text in (old, new):
            text = text if "[sink]" in text else text + SINK
            opened.append(Rehearsal(parse_settings(text, tmp_path / "p.toml", registry), registry, clock=clock))
        return Comparison(opened[-2], opened[-1], clock)

    yield make
    for each in opened:
        each.close()


def raw(subject="tides", *to):
    octets = f"From: ada@example.org\r\nSubject: {subject}\r\n\r\nHello\r\n".encode()
    return RawMail(octets, Origin("eml", "m.eml"), Envelope.of("ada@example.org", *(to or ("bo@example.net",))))


def steps(*names, extra=""):
    return "".join(f'[[stage]]\nuse = "{name}"\n' for name in names) + extra


def test_what_is_the_same_is_none(compare):
    for old, new in (
        (steps("mark"), steps("mark")),
        (steps("mark"), steps("decode-mime", "mark", "re-encode")),  # more steps that do nothing
        (steps("refuse"), steps("refuse", extra='word = "for another reason"\n')),
        (steps("stamp"), steps("stamp")),  # at the same moment
        # recipients who part ways and meet the same
        (steps("mark"), steps("mark", extra='[[stage]]\nuse = "decode-mime"\nwhen.recipient = { like = "bo@*" }\n')),
    ):
        comparison = compare(old, new)
        assert comparison.take(raw("x", "bo@example.net", "cy@example.net")) is None, new
        assert (comparison.messages, comparison.changed, comparison.unsteady) == (1, 0, 0)


@pytest.mark.parametrize(
    ("old", "new", "what", "step", "is_of_old", "transitions"),
    [
        (steps("mark"), steps("mark", "toss"), ("ending",), "toss", False, {("delivered", "dropped")}),
        (steps("toss"), steps("mark"), ("ending",), "mark", False, {("dropped", "delivered")}),
        (steps("mark", "send-elsewhere"), steps("send-elsewhere"), ("octets",), "mark", True, set()),
        (steps("mark"), steps("mark", extra='word = "no"\n'), ("octets",), "mark", False, set()),
        (steps(), steps("send-elsewhere"), ("recipients",), "send-elsewhere", False, {("delivered", "gone")}),
        (steps(), '[sink]\nuse = "maildir"\npath = "x"\n', ("sink",), "", False, set()),
        (steps(), '[[stage]]\ngoto = "r"\n[route.r]\n[route.r.sink]\nuse = "discard"\n' + SINK, ("sink",), "goto r", False, set()),
        (steps(), "[limits]\nmessage_size = 5\n", ("ending",), "", False, {("delivered", "rejected")}),
        (
            steps(),
            '[[stage]]\nuse = "refuse"\nwhen.recipient = { like = "bo@*" }\n',
            ("ending",), "refuse", False, {("delivered", "rejected")},
        ),
    ],
)  # fmt: skip
def test_what_is_different_and_since_which_step(compare, old, new, what, step, is_of_old, transitions):
    comparison = compare(old, new)
    change = comparison.take(raw("x", "bo@example.net", "cy@example.net"))
    assert (change.what, change.step, change.is_of_old) == (what, step, is_of_old)
    assert set(change.transitions) == transitions
    assert (change.subject, change.sender, comparison.changed) == ("x", "ada@example.org", 1)


def test_what_rolls_dice_is_compared_without_its_octets(compare):
    comparison = compare(steps("roll"), steps("roll"))
    assert comparison.take(raw()) is None and comparison.unsteady == 1
    assert compare(steps("roll"), steps("roll", "toss")).take(raw()).what == ("ending",)


def test_a_stage_that_remembers_mails_meets_each_once(compare, tmp_path):
    once = '[[stage]]\nuse = "deduplicate"\nstate_directory = "state"\n'
    comparison = compare(once, once + steps("mark"))
    changes = [comparison.take(replace(raw(), origin=Origin("eml", "m.eml", number))) for number in (1, 2)]
    assert [change and change.what for change in changes] == [("octets",), None]
    assert comparison.endings == {("delivered", "delivered"): 1, ("dropped", "dropped"): 1}
    assert list(tmp_path.iterdir()) == []


def test_the_counts_add_up(compare):
    comparison = compare(steps(), '[[stage]]\nuse = "toss"\nwhen.field = { name = "Subject", is = "x" }\n')
    assert [comparison.take(raw(subject)) is None for subject in ("a", "x", "b", "x")] == [True, False, True, False]
    assert comparison.endings == {("delivered", "delivered"): 2, ("delivered", "dropped"): 2}
    assert comparison.steps == {"toss": 2} and comparison.kinds == {"ending": 2}
    assert comparison.forbidden_by(forbidden(["deliver→drop"])) == {("delivered", "dropped"): 2}
    assert comparison.forbidden_by(forbidden(["deliver -> reject", "drop->any"])) == {}
    assert comparison.forbidden_by(forbidden(["*->dropped"])) == {("delivered", "dropped"): 2}


def test_a_rule_never_forbids_what_stays():
    assert forbidden(["any->gone", "Defer => quarantine"]) == [("*", "gone"), ("deferred", "quarantined")]
    assert not is_forbidden(("dropped", "dropped"), ("*", "*"))


@pytest.mark.parametrize("rule", ["deliver", "deliver->", "deliver->drop->defer", "deliver->lost", ""])
def test_a_rule_that_says_nothing_is_refused(rule):
    with pytest.raises(ConfigError, match="write it as deliver->drop"):
        forbidden([rule])
