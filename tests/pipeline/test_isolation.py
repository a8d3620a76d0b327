"""A stage in a process of its own: whatever it does there costs the mail in hand its turn, and no other mail anything."""

import logging
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from mailpipe.errors import BudgetExceeded, ConfigError, StageError, StageLost
from mailpipe.message import parse
from mailpipe.pipeline.access import Budget
from mailpipe.pipeline.assemble import assemble
from mailpipe.pipeline.envelope_rule import EnvelopeRule
from mailpipe.pipeline.isolation import DoesNotOpen, IsolatedStage, StageRecipe
from mailpipe.pipeline.mail import Changed, DefectsFound, Mail, Origin
from mailpipe.pipeline.outcome import Ending
from mailpipe.pipeline.quarantine import Quarantine
from mailpipe.pipeline.registry import Registry
from mailpipe.pipeline.run import Engine, Line
from mailpipe.pipeline.services import Services
from mailpipe.pipeline.settings import load_settings
from mailpipe.pipeline.step import Step, Way, Ways
from mailpipe.pipeline.verdict import Decision, Verdict
from mailpipe.plugins import load_registry
from mailpipe.smtp.envelope import Envelope, ForwardPath

PLUGIN = Path(__file__).with_name("misbehave.py").read_text()

GENEROUS = Budget(time=60, memory=500_000_000, expansion=10)


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    place = tmp_path_factory.mktemp("a place")
    (place / "plugins").mkdir()
    (place / "plugins" / "misbehave.py").write_text(PLUGIN)
    return load_registry(place)


@pytest.fixture(scope="module")
def isolated(registry):
    """Makes isolated stages, and closes them."""
    made = []

    def make(budget=GENEROUS, name="misbehave", **options):
        stage = unopened(registry, budget, name, **options)
        stage.open(Services.for_tests(name))
        made.append(stage)
        return stage

    yield make
    for stage in made:
        stage.close()


@pytest.fixture(scope="module")
def stage(isolated):
    """One with a generous budget, for all tests of this file."""
    return isolated()


def unopened(registry, budget=GENEROUS, name="misbehave", **options):
    given = registry.stage(name).Options(**options)
    return IsolatedStage(StageRecipe.of(registry, name, given, "stage.1"), budget)


def mail_of(subject, *notes, body=b"Dear Bob,\r\n\r\nit rains.\r\n"):
    octets = b"From: ann@example.org\r\nSubject: " + subject.encode() + b"\r\n\r\n" + body
    envelope = Envelope("ann@example.org", (ForwardPath("bob@example.net", ("NEVER",)),))
    return Mail(parse(octets), envelope, Origin("mbox", "archive.mbox", 7), notes)


# -- what it gives back


def test_a_mail_that_it_leaves_alone_comes_back_itself(stage):
    mail = mail_of("hello", Changed("other", "something"))
    assert stage(mail) is mail


def test_a_mail_that_it_only_parsed_again_keeps_its_message(stage):
    mail = mail_of("parse again")
    assert stage(mail).message is mail.message


def test_a_changed_message_comes_back_octet_for_octet(stage):
    mail = mail_of("header")
    changed = stage(mail)
    expected = mail.message.with_header(mail.message.header.with_field("X-Seen", "yes"))
    assert bytes(changed.message) == bytes(expected)
    assert changed.envelope is mail.envelope
    assert changed.origin is mail.origin
    assert bytes(mail.message) == bytes(mail_of("header").message)


def test_a_large_message_travels_both_ways(stage):
    body = b"0123456789abcdef\r\n" * 500_000
    changed = stage(mail_of("header", body=body))
    assert changed.message.raw_body == body
    assert changed.message.header["X-Seen"] == "yes"


def test_a_mail_without_octets_travels(stage):
    mail = Mail(parse(b""), Envelope(), Origin("mbox", "empty"))
    assert stage(mail) is mail


def test_another_envelope_comes_back_with_its_types(stage):
    mail = mail_of("redirect")
    changed = stage(mail)
    assert changed.envelope == mail.envelope.with_forward_paths("carol@example.net")
    assert changed.message is mail.message


def test_notes_come_back_the_old_ones_themselves(stage, registry):
    old = DefectsFound({"bare-lf": 3})
    changed = stage(mail_of("notes", old, Changed("other", "is taken away")))
    assert changed.notes[0] is old
    weight = changed.notes[1]
    assert (type(weight).__name__, weight.grams, weight.where, len(changed.notes)) == ("Weight", 7, Path("a"), 2)


def test_a_note_that_cannot_travel_stays_where_it_was(stage, caplog):
    kept = lambda: None  # noqa: E731 - a note that nobody can pickle
    first, last = DefectsFound({}), Changed("other", "something")
    mail = mail_of("header", first, kept, last)
    assert stage(mail).notes == (first, kept, last)
    assert "a note function stays behind" in caplog.text


def test_a_verdict_comes_back(stage):
    dropped = stage(mail_of("drop"))
    assert (dropped.decision, dropped.reason) == (Decision.DROP, "? unwanted")
    assert dropped.notes == (Changed("misbehave", "nothing"),)
    assert stage(mail_of("reject")) == Verdict.reject("no", code=554)


def test_several_mails_come_back(stage):
    mail = mail_of("split")
    first, second = stage(mail)
    assert first is mail
    assert second.message.subject == "second"
    assert stage(mail_of("none of it")) == ()


def test_async_and_function_stages_may_be_isolated(isolated):
    assert isolated(name="tag")(mail_of("x")).message.header["X-Tag"] == "yes"
    mail = mail_of("x")
    assert isolated(name="twice")(mail) == (mail, mail)


def test_its_log_and_its_metrics_come_back(registry, caplog):
    caplog.set_level(logging.INFO, "mailpipe.stage.second look")
    services = Services.for_tests("second look")
    stage = unopened(registry)
    stage.open(services)
    try:
        stage(mail_of("log"))
        stage(mail_of("log"))
    finally:
        stage.close()
    assert [record.getMessage() for record in caplog.records] == ["archive.mbox:7: second look: 100% sure of this"] * 2
    assert services.metrics.values == {"second look.looked": 6}


# -- what it does wrong


@pytest.mark.parametrize(
    ("subject", "kind", "words"),
    [
        ("raise", StageError, "RuntimeError: as it was told"),
        ("sys.exit", StageError, "SystemExit: bye"),
        ("recurse", StageError, "RecursionError"),
        ("return a number", StageError, "process returned a int; it must return a Mail, a Verdict or several Mails"),
        ("return nothing", StageError, "process returned None"),
        ("return text among mails", StageError, "process emitted a str among the mails"),
        ("without end", StageError, "process made more than 10000 mails of one"),
        ("a note that is none", StageError, "a Local as a note cannot leave an isolated stage"),
        ("a function as a note", StageError, "a function as a note cannot leave an isolated stage"),
        ("exit", StageLost, "its process ended with exit code 0 before it had answered"),
        ("killed", StageLost, "its process was killed by SIGKILL before it had answered"),
        ("close everything", StageLost, "its process ended with exit code"),
        ("close everything and open another", StageLost, "its process ended with exit code"),
        ("close everything and hang", StageLost, "its process was killed by SIGKILL"),
        ("leave a child and die", StageLost, "its process ended with exit code 3 before it had answered"),
        ("garble", StageLost, "it said what cannot be understood"),
        ("eat", BudgetExceeded, "took more than 500000000 octets of memory (its budget.memory)"),
        ("grow", BudgetExceeded, "more than 10 times as many (its budget.expansion)"),
    ],
)
def test_it_costs_one_mail_its_turn(stage, subject, kind, words):
    before, after = mail_of("header"), mail_of("header")
    expected = bytes(stage(before).message)
    with pytest.raises(kind) as caught:
        stage(mail_of(subject))
    assert type(caught.value) is kind
    assert str(caught.value).startswith("stage 'misbehave' at archive.mbox:7: ")
    assert words in str(caught.value)
    assert bytes(stage(after).message) == expected


@pytest.mark.parametrize("subject", ["hang", "spin"])
def test_a_hang_is_stopped_by_the_time_of_the_budget(isolated, subject):
    stage = isolated(Budget(time=1))
    with pytest.raises(BudgetExceeded, match=r"was stopped after 1s \(its budget.time\)") as caught:
        stage(mail_of(subject))
    assert caught.value.budget == "time"
    # opening it again does not count for the next mail
    assert stage(mail_of("reject")).code == 554


@pytest.mark.parametrize("subject", ["print", "fork"])
def test_what_disturbs_nobody_is_no_error(stage, subject, capfd):
    mail = mail_of(subject)
    assert stage(mail) is mail
    assert stage(mail_of("reject")).code == 554
    assert capfd.readouterr().out == ""


def test_a_stage_that_raises_is_not_started_anew(isolated):
    stage = isolated()
    with pytest.raises(StageError) as caught:
        stage(mail_of("raise"))
    assert 'raise RuntimeError("as it was told")' in "".join(caught.value.__notes__)
    assert stage._child is not None


def test_the_memory_of_a_large_message_is_not_that_of_the_stage(isolated):
    stage = isolated(Budget(memory=10_000_000))
    mail = mail_of("hello", body=b"x" * 30_000_000)
    assert stage(mail) is mail
    with pytest.raises(BudgetExceeded):
        stage(mail_of("eat slowly"))


# -- its beginning and its end


def test_a_stage_that_does_not_open_says_why(registry):
    with pytest.raises(StageError, match=r"stage 'second look' at stage.1: it does not open: RuntimeError: as it was told"):
        unopened(registry, at_open="raise").open(Services.for_tests("second look"))
    with pytest.raises(DoesNotOpen, match=r"^set the option at_open") as caught:
        unopened(registry, at_open="config").open(Services.for_tests())
    assert caught.value.exit_code == ConfigError.exit_code
    with pytest.raises(StageLost, match=r"its process ended with exit code 0 before the stage was open"):
        unopened(registry, at_open="exit").open(Services.for_tests())


def test_a_secret_is_there_as_in_the_pipeline(registry, monkeypatch):
    with pytest.raises(DoesNotOpen, match=r"there is no secret 'test-token'"):
        unopened(registry, at_open="secret").open(Services.for_tests())
    monkeypatch.setenv("MAILPIPE_SECRET_TEST_TOKEN", "hush")
    stage = unopened(registry, at_open="secret")
    stage.open(Services.for_tests())
    stage.close()


def test_it_knows_whether_all_is_a_rehearsal(registry, stage):
    assert stage(mail_of("is it a rehearsal")).reason == "no"
    rehearsing = unopened(registry)
    rehearsing.open(replace(Services.for_tests(), is_rehearsal=True))
    assert rehearsing(mail_of("is it a rehearsal")).reason == "yes"
    rehearsing.close()


def test_a_stage_that_does_not_close_says_why(registry):
    for word, words in (("raise", "RuntimeError: as it was told"), ("exit", "its process ended with exit code 0")):
        stage = unopened(registry, at_close=word)
        stage.open(Services.for_tests())
        with pytest.raises(StageError, match=words):
            stage.close()
        stage.close()


def test_a_process_that_cannot_be_started_again_costs_each_mail_its_turn(registry, monkeypatch):
    monkeypatch.setenv("MAILPIPE_SECRET_TEST_TOKEN", "hush")
    stage = unopened(registry, at_open="secret")
    stage.open(Services.for_tests())
    monkeypatch.delenv("MAILPIPE_SECRET_TEST_TOKEN")
    with pytest.raises(StageLost):
        stage(mail_of("exit"))
    for _ in range(2):
        with pytest.raises(StageError, match=r"at archive.mbox:7: it does not open: there is no secret"):
            stage(mail_of("hello"))
    monkeypatch.setenv("MAILPIPE_SECRET_TEST_TOKEN", "hush")
    assert stage(mail_of("reject")).code == 554
    stage.close()


def test_a_registry_that_nobody_can_make_again_is_refused(registry):
    with pytest.raises(ConfigError, match=r"stage.3: an isolated stage needs a registry that can be made again"):
        StageRecipe.of(Registry(), "misbehave", registry.stage("misbehave").Options(), "stage.3")
    with pytest.raises(ConfigError, match=r"cannot be pickled"):
        StageRecipe.of(Registry(lambda: registry), "misbehave", registry.stage("misbehave").Options(), "stage.3")


ORPHAN = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = [{tests!r}]
from test_isolation import *
registry = load_registry(Path({place!r}))
stage = unopened(registry)
stage.open(Services.for_tests())
threading.Thread(target=stage, args=(mail_of({word!r}),)).start()
print(stage._child._process.pid, flush=True)
sys.stdin.readline()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("word", ["hello", "hang", "spin"])
def test_the_process_ends_when_the_pipeline_is_killed(registry, tmp_path, word):
    place = str(Path(registry.entry("stage", "misbehave").origin).parent.parent)
    code = ORPHAN.format(tests=str(Path(__file__).parent), place=place, word=word)
    # what it leaves behind would hold this pipe open
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as parent:
        number = int(parent.stdout.readline())
        os.kill(number, 0)
        parent.stdin.write(b"\n")
        parent.stdin.close()
        assert parent.stdout.read() == b""
        assert parent.wait() == -signal.SIGKILL


def test_several_threads_may_ask(stage):
    asked = [mail_of("header", Changed("x", str(number))) for number in range(40)]
    got = {}

    def ask(numbers):
        for number in numbers:
            got[number] = stage(asked[number])

    threads = [threading.Thread(target=ask, args=(range(first, 40, 4),)) for first in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert all(got[number].notes == asked[number].notes for number in range(40))


def test_no_descriptor_is_left_behind(registry):
    def count():
        return len(os.listdir("/proc/self/fd"))

    before = count()
    stage = unopened(registry)
    stage.open(Services.for_tests())
    for _ in range(2):
        with pytest.raises(StageLost):
            stage(mail_of("killed"))
    stage.close()
    assert count() == before


# -- in a line


def test_each_mail_of_a_run_has_its_declared_outcome_and_the_others_are_unchanged(isolated, kit, tmp_path):
    stage = isolated(Budget(time=5, memory=200_000_000, expansion=10))
    words = ["header", "raise", "header", "killed", "split", "eat", "return nothing", "garble", "header", "drop"]

    def outcomes(call):
        sink = kit.memory_sink()
        ways = Ways(Way("", (Step("misbehave", call),), sink))
        engine = Engine(Line(ways, EnvelopeRule(), Quarantine(tmp_path / "quarantine")))
        endings = [engine.take(kit.raw_of(word, number)).own for number, word in enumerate(words)]
        return endings, [bytes(mail.message) for mail in sink.mails]

    endings, delivered = outcomes(stage)
    good, bad = (Ending.DELIVERED, Ending.DEFERRED)
    assert [each.ending for each in endings] == [good, bad, good, bad, Ending.SPLIT, bad, bad, bad, good, Ending.DROPPED]
    assert endings[3].reason == "stage 'misbehave' at nowhere:3: its process was killed by SIGKILL before it had answered"
    assert len(delivered) == 5
    assert all(b"X-Seen: yes\r\n" in octets for octets in (delivered[0], delivered[1], delivered[4]))


FILE = """
[source]
use = "mbox"
path = "archive.mbox"

[run]
workers = 2
journal = false

[[stage]]
use = "misbehave"
budget = {time = "20s", memory = "200MB"}

[sink]
use = "eml"
directory = "out"
"""


def test_each_of_several_workers_has_a_process_of_its_own_for_it(tmp_path):
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "misbehave.py").write_text(PLUGIN)
    (tmp_path / "p.toml").write_text(FILE)
    words = ["header", "killed", "drop", "header", "eat", "exit", "header", "raise"] * 2
    (tmp_path / "archive.mbox").write_bytes(
        b"".join(
            b"From ann@example.org Thu Jan  1 00:00:00 1970\nFrom: ann@example.org\nTo: bob@example.net\nSubject: %s\n\n%d\n\n"
            % (word.encode(), number)
            for number, word in enumerate(words)
        )
    )
    registry = load_registry(tmp_path)
    with assemble(load_settings(tmp_path / "p.toml", registry), registry) as pipeline:
        report = pipeline.run()
    endings = report.endings
    assert (endings["delivered"], endings["dropped"], endings["deferred"], report.error) == (6, 2, 8, "")
    assert all(b"X-Seen: yes\n" in path.read_bytes() for path in (tmp_path / "out").iterdir())
