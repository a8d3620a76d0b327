"""Rules, routes, copies and mistakes: which way a mail takes, and that each ends in an outcome of its own."""

import mailbox
from pathlib import Path

import pytest

import mailpipe
from mailpipe import Envelope, Mail, RawMail, Verdict
from mailpipe.errors import SettingsError
from mailpipe.pipeline.assemble import assemble
from mailpipe.pipeline.mail import Origin
from mailpipe.pipeline.outcome import Ending
from mailpipe.pipeline.registry import Registry
from mailpipe.pipeline.settings import parse_settings
from mailpipe.plugins import load_registry

OCTETS = b"From: ada@example.org\r\nTo: bo@example.net\r\nSubject: %s\r\n\r\nHello\r\n"


def registry_of(*functions) -> Registry:
    registry = load_registry()
    for each in functions:
        registry.add_stage(each)
    return registry


@mailpipe.stage()
def mark(mail: Mail) -> Mail:
    """Adds a field."""
    header = mail.message.header.with_added("X-Mark", "yes")
    return mail.with_message(mail.message.with_header(header))


@mailpipe.stage()
def break_down(mail: Mail) -> Mail:
    """Fails at every mail whose subject says so."""
    if "boom" in (mail.message.subject or ""):
        raise RuntimeError("it broke")
    return mail


@mailpipe.stage()
def refuse(mail: Mail) -> Verdict:
    """Rejects."""
    return Verdict.reject("not here")


@pytest.fixture
def pipeline(tmp_path):
    opened = []

    def make(text, *more):
        registry = registry_of(mark, break_down, refuse, *more)
        text += f'\n[sink]\nuse = "maildir"\npath = "{tmp_path}/inbox"\n'
        made = assemble(parse_settings(text, tmp_path / "p.toml", registry), registry)
        opened.append(made)
        return made

    yield make
    for each in opened:
        each.close()


def raw(subject="tides", *recipients, number=0):
    octets = OCTETS % subject.encode()
    envelope = Envelope.of("ada@example.org", *(recipients or ("bo@example.net",)))
    return RawMail(octets, Origin("test", "-", number), envelope)


def stored(folder: Path):
    return sorted(mailbox.Maildir(folder, create=False), key=lambda each: each["Subject"]) if folder.is_dir() else []


def test_a_rule_leaves_out_those_that_it_does_not_mean(pipeline, tmp_path):
    made = pipeline('[[stage]]\nuse = "mark"\nwhen.field = { name = "Subject", contains = "invoice" }\n')
    first, second = made.process(raw("tides")), made.process(raw("an invoice", number=1))
    assert [bool(each["X-Mark"]) for each in stored(tmp_path / "inbox")] == [True, False]
    assert first.trail == ("mark: not meant",)
    assert second.trail == ("mark: changed",)


def test_recipients_go_their_own_ways(pipeline, tmp_path):
    made = pipeline('[[stage]]\nuse = "refuse"\nwhen.recipient = { part = "domain", is = "closed.example" }\n')
    outcome = made.process(raw("x", "a@open.example", "b@closed.example", "c@open.example"))
    assert outcome.ending is Ending.SPLIT
    refused, delivered = outcome.children
    assert (refused.ending, refused.reason, refused.stage) == (Ending.REJECTED, "not here", "refuse")
    assert delivered.ending is Ending.DELIVERED
    assert [each.recipient.address for each in delivered.receipt.recipients] == ["a@open.example", "c@open.example"]
    assert len(stored(tmp_path / "inbox")) == 1


def test_a_mail_is_not_split_where_all_recipients_agree(pipeline):
    made = pipeline('[[stage]]\nuse = "mark"\nwhen.recipient = { like = "*@open.example" }\n')
    assert made.process(raw("x", "a@open.example", "b@open.example")).ending is Ending.DELIVERED


ROUTES = """
[[stage]]
goto = "spam"
when.field = { name = "Subject", contains = "spam" }

[[stage]]
use = "mark"

[[route.spam.stage]]
use = "break-down"

[route.spam.sink]
use = "maildir"
path = "{folder}/spam"
"""


def test_a_route_ends_in_its_own_sink(pipeline, tmp_path):
    made = pipeline(ROUTES.replace("{folder}", str(tmp_path)))
    assert made.process(raw("spam for you")).ending is Ending.DELIVERED
    assert made.process(raw("a letter", number=1)).trail == ("goto spam: not meant", "mark: changed")
    assert [each["Subject"] for each in stored(tmp_path / "spam")] == ["spam for you"]
    assert [each["Subject"] for each in stored(tmp_path / "inbox")] == ["a letter"]
    assert stored(tmp_path / "spam")[0]["X-Mark"] is None


def test_a_route_without_a_sink_ends_in_that_of_the_pipeline(pipeline, tmp_path):
    made = pipeline('[[stage]]\ngoto = "marked"\n[[stage]]\nuse = "refuse"\n[[route.marked.stage]]\nuse = "mark"\n')
    assert made.process(raw()).trail == ("goto marked: took the route marked", "mark: changed")
    assert stored(tmp_path / "inbox")[0]["X-Mark"] == "yes"


TEE = """
[[stage]]
tee = ["copies", "marks"]
[[stage]]
use = "mark"
[route.copies.sink]
use = "maildir"
path = "{folder}/copies"
[[route.marks.stage]]
use = "break-down"
[route.marks.sink]
use = "maildir"
path = "{folder}/marks"
"""


def test_copies_go_to_several_sinks_and_the_mail_goes_on(pipeline, tmp_path):
    outcome = pipeline(TEE.replace("{folder}", str(tmp_path))).process(raw())
    assert outcome.ending is Ending.DELIVERED
    found = {name: len(stored(tmp_path / name)) for name in ("copies", "marks", "inbox")}
    assert found == {"copies": 1, "marks": 1, "inbox": 1}
    assert stored(tmp_path / "copies")[0]["X-Mark"] is None


def test_a_mail_waits_for_its_copy(pipeline, tmp_path):
    outcome = pipeline(TEE.replace("{folder}", str(tmp_path))).process(raw("boom"))
    assert outcome.ending is Ending.DEFERRED
    assert "its copy on the route marks is deferred" in outcome.reason
    assert stored(tmp_path / "inbox") == []


def test_a_copy_that_was_made_is_not_made_again_in_the_next_run(tmp_path):
    fails = []

    @mailpipe.stage()
    def fail_once(mail: Mail) -> Mail:
        """Fails the first time."""
        if not fails:
            fails.append(1)
            raise RuntimeError("not yet")
        return mail

    text = TEE.replace("{folder}", str(tmp_path)).replace("break-down", "fail-once")
    text += f'[source]\nuse = "eml"\npath = "one.eml"\n[sink]\nuse = "maildir"\npath = "{tmp_path}/inbox"\n'
    (tmp_path / "one.eml").write_bytes(OCTETS % b"tides")
    for expected in ((1, 0, 0), (1, 1, 1)):
        registry = registry_of(mark, fail_once)
        with assemble(parse_settings(text, tmp_path / "p.toml", registry), registry) as made:
            made.run()
        assert tuple(len(stored(tmp_path / name)) for name in ("copies", "marks", "inbox")) == expected


@pytest.mark.parametrize(
    ("on_error", "ending", "where"),
    [
        ('"defer"', Ending.DEFERRED, ""),
        ('"skip"', Ending.DELIVERED, "inbox"),
        ('"quarantine"', Ending.QUARANTINED, ""),
        ('"reject"', Ending.REJECTED, ""),
        ('{ goto = "broken" }', Ending.DELIVERED, "broken"),
        ('{ retry = 2, wait = 0, then = "reject" }', Ending.REJECTED, ""),
    ],
)
def test_what_becomes_of_a_mail_at_which_a_stage_fails(pipeline, tmp_path, on_error, ending, where):
    made = pipeline(
        f'[[stage]]\nuse = "break-down"\non_error = {on_error}\n[[stage]]\nuse = "mark"\n'
        f'[quarantine]\ndirectory = "q"\n[[route.broken.stage]]\nuse = "mark"\n'
        f'[route.broken.sink]\nuse = "maildir"\npath = "{tmp_path}/broken"\n'
    )
    assert made.process(raw("boom")).ending is ending
    assert made.process(raw("calm", number=1)).ending is Ending.DELIVERED
    found = [name for name in ("inbox", "broken") if any(each["Subject"] == "boom" for each in stored(tmp_path / name))]
    assert found == ([where] if where else [])


def test_a_stage_is_asked_again(pipeline):
    asked = []

    @mailpipe.stage()
    def flaky(mail: Mail) -> Mail:
        """Fails twice."""
        asked.append(1)
        if len(asked) < 3:
            raise RuntimeError("not yet")
        return mail

    made = pipeline('[[stage]]\nuse = "flaky"\non_error = { retry = 2, wait = 0 }\n', flaky)
    assert made.process(raw()).ending is Ending.DELIVERED
    assert len(asked) == 3


def test_a_message_may_only_grow_so_much(pipeline):
    @mailpipe.stage()
    def swell(mail: Mail) -> Mail:
        """Makes a hundred of one."""
        return mail.with_message(mailpipe.parse(bytes(mail.message) * 100))

    made = pipeline('[[stage]]\nuse = "swell"\nbudget.expansion = 10\n', swell)
    outcome = made.process(raw())
    assert outcome.ending is Ending.DEFERRED
    assert "more than 10 times as many (its budget.expansion)" in outcome.reason


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[[stage]]\ngoto = "spam"\n', "p.toml:2:1: stage.1.goto: there is no route 'spam'; expected a table [route.spam]"),
        (
            '[[stage]]\ntee = "coppies"\n[[route.copies.stage]]\nuse = "mark"\n',
            "stage.1.tee: there is no route 'coppies', did you mean 'copies'?",
        ),
        ('[[stage]]\nuse = "mark"\non_error = { goto = "x" }\n', "stage.1.on_error.goto: there is no route 'x'"),
        ('[[stage]]\nuse = "mark"\non_error = "ignore"\n', "stage.1.on_error.then: found 'ignore'"),
        ('[[stage]]\nuse = "mark"\ngoto = "x"\n[route.x]\n', "either 'use' or 'goto'; make it two stages"),
        ('[[route.a.stage]]\ngoto = "b"\n[[route.b.stage]]\ntee = "a"\n', "leads back to itself: a → b → a"),
        ('[[stage]]\nuse = "mark"\nwhen = { subject = "x" }\n', "stage.1.when.subject: unknown key 'subject'"),
        (
            '[[stage]]\nuse = "mark"\n[stage.when.field]\nname = "x"\nmatches = "("\n',
            "p.toml:5:1: stage.1.when.field.matches: '(' is no regular expression",
        ),
        ('[route.a]\nstages = 1\n', "route.a.stages: unknown key 'stages', did you mean 'stage'?"),
        ('[route.A]\n', "'A' is no name for a route"),
        ('[route]\na = 1\n', "route.a: not a table"),
    ],
)  # fmt: skip
def test_mistakes_have_words_and_a_place(tmp_path, text, words):
    registry = registry_of(mark)
    with pytest.raises(SettingsError) as caught:
        parse_settings(text, Path("p.toml"), registry)
    assert words in str(caught.value)


def test_the_log_names_the_mail(pipeline, caplog):
    class Speaks(mailpipe.Stage):
        """Says something."""

        name = "speaks"

        def open(self, services):
            self.services = services

        def process(self, mail):
            self.services.log.warning("it is %s", mail.message.subject)
            return mail

    pipeline('[[stage]]\nuse = "speaks"\n', Speaks).process(raw("100% wool"))
    assert caplog.messages == ["-:0: speaks: it is 100% wool"]


COUNTER = '''
import mailpipe


class Tell(mailpipe.Stage):
    """Counts mails and octets."""

    name = "tell"
    touches = mailpipe.Access()

    def open(self, services):
        self.metrics = services.metrics

    def process(self, mail):
        self.metrics.count("mails")
        self.metrics.count("octets", len(mail.message))
        return mail


def register(registry):
    registry.add_stage(Tell)
'''


@pytest.mark.parametrize("workers", [1, 2])
def test_what_stages_count_is_in_the_report(tmp_path, workers):
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "tell.py").write_text(COUNTER, "utf-8")
    (tmp_path / "in").mkdir()
    for number in range(7):
        (tmp_path / "in" / f"{number}.eml").write_bytes(OCTETS % b"tides")
    text = f'[source]\nuse = "eml"\npath = "in"\n[[stage]]\nuse = "tell"\n[sink]\nuse = "discard"\n[run]\nworkers = {workers}\n'
    registry = load_registry(tmp_path)
    with assemble(parse_settings(text, tmp_path / "p.toml", registry), registry) as made:
        assert made.run().metrics == {"tell.mails": 7, "tell.octets": 7 * len(OCTETS % b"tides")}


FLAKY = '''
import pathlib

import mailpipe


class Flaky(mailpipe.Sink):
    """Takes mail once its gate is open."""

    name = "flaky"

    class Options(mailpipe.Options):
        """Where."""

        folder: mailpipe.LocalPath
        """The folder; it must be there."""

    def deliver(self, mail):
        if not self.options.folder.is_dir():
            raise mailpipe.errors.TransientFailure("the folder is not there")
        (self.options.folder / str(len(list(self.options.folder.iterdir())))).write_bytes(bytes(mail.message))
        return mailpipe.Receipt.of_all(mail.envelope.forward_paths, mailpipe.Fate.DELIVERED, "2.0.0")


def register(registry):
    registry.add_sink(Flaky)
'''


def test_what_the_sink_of_a_route_cannot_take_waits_for_that_sink(tmp_path):
    from mailpipe.pipeline.line import open_sinks
    from mailpipe.pipeline.redeliver import open_queue, redeliver

    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "flaky.py").write_text("import mailpipe.errors" + FLAKY, "utf-8")
    (tmp_path / "one.eml").write_bytes(OCTETS % b"spam")
    (tmp_path / "inbox").mkdir()
    text = (
        '[source]\nuse = "eml"\npath = "one.eml"\n[queue]\ndirectory = "queue"\n'
        '[[stage]]\ngoto = "spam"\n[route.spam.sink]\nuse = "flaky"\nfolder = "spam"\n'
        '[sink]\nuse = "flaky"\nfolder = "inbox"\n'
    )
    registry = load_registry(tmp_path)
    settings = parse_settings(text, tmp_path / "p.toml", registry)
    with assemble(settings, registry) as made:
        assert made.run().endings[Ending.QUEUED] == 1
    with open_queue(settings.queue) as queue:
        assert [(entry.route, entry.origin) for entry in queue.list()] == [("spam", f"eml:{tmp_path}/one.eml:0")]
        with open_sinks(settings, registry) as (sink, routes):
            gone = redeliver(queue, sink, everything=True)
            assert gone.deferred == 1
            assert "has no sink in the pipeline file any more" in next(queue.list()).recipients[0].diagnostic
            (tmp_path / "spam").mkdir()
            assert redeliver(queue, sink, everything=True, routes=routes).delivered == 1
    assert [path.read_bytes() for path in (tmp_path / "spam").iterdir()] == [OCTETS % b"spam"]
    assert list((tmp_path / "inbox").iterdir()) == []
