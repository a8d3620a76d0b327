"""Of several copies one goes on; what was seen and not delivered counts for nothing."""

import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

import mailpipe
from mailpipe import Envelope, Mail, Services, Verdict
from mailpipe.errors import ConfigError
from mailpipe.pipeline.assemble import assemble
from mailpipe.pipeline.mail import Changed, Origin
from mailpipe.pipeline.outcome import Ending, Fate, Outcome, Receipt, RecipientReceipt
from mailpipe.pipeline.settings import load_settings
from mailpipe.pipeline.verdict import Decision
from mailpipe.plugins import load_registry
from mailpipe.stages.deduplicate import Deduplicate
from mailpipe.status import EnhancedStatus

LETTER = b"Message-ID: <1@example.org>\r\nFrom: ann@example.org\r\nTo: bob@example.net\r\nSubject: Offer\r\n\r\nHello Bob\r\n"


class Clock:
    """Stands still until somebody sleeps."""

    def __init__(self):
        self.seconds, self.slept = 0.0, 0.0

    def monotonic(self):
        return self.seconds

    def now(self):
        return datetime(2026, 11, 28, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def sleep(self, seconds):
        self.seconds += seconds
        self.slept += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def opened(tmp_path, clock):
    made = []

    def make(**options):
        one = Deduplicate(Deduplicate.Options.model_validate({"state_directory": tmp_path / "state"} | options))
        one.open(Services.for_tests("deduplicate", clock=clock))
        made.append(one)
        return one

    yield make
    for one in made:
        one.close()


def mail(number, *recipients, octets=LETTER, location="archive.mbox"):
    return Mail(mailpipe.parse(octets), Envelope.of("ann@example.org", *(recipients or ("bob@example.net",))), Origin("mbox", location, number))


def outcome(mail, ending=Ending.DELIVERED, **fates):
    paths = mail.envelope.forward_paths
    fate = Fate.DELIVERED if ending is Ending.DELIVERED else Fate.DEFERRED
    entries = [RecipientReceipt(path, fates.get(path.address.partition("@")[0], fate), EnhancedStatus(2, 0, 0)) for path in paths]
    reached = ending in (Ending.DELIVERED, Ending.QUEUED, Ending.FAILED, Ending.DEFERRED)
    return Outcome(mail.origin, ending, EnhancedStatus(2, 0, 0), receipt=Receipt(tuple(entries)) if reached else None)


def passes(stage, one):
    return not isinstance(stage.process(one), Verdict)


def test_the_second_copy_is_dropped_once_the_first_is_delivered(opened):
    stage = opened()
    first, second = mail(0), mail(1)
    assert stage.process(first) is first
    stage.ended(outcome(first))
    verdict = stage.process(second)
    assert (verdict.decision, verdict.reason) == (Decision.DROP, "a copy of it was delivered before")


@pytest.mark.parametrize("ending", [Ending.DEFERRED, Ending.REJECTED, Ending.DROPPED, Ending.QUARANTINED, Ending.SPLIT])
def test_what_was_not_delivered_counts_for_nothing(ending, opened):
    stage = opened()
    stage.process(first := mail(0))
    stage.ended(outcome(first, ending))
    assert passes(stage, mail(1))


def test_the_same_mail_that_comes_again_goes_on(opened):
    stage = opened()
    for _ in range(3):
        stage.process(first := mail(0))
        stage.ended(outcome(first))
    assert not passes(stage, mail(1))


def test_after_a_crash_the_next_copy_goes_on(opened, clock):
    opened().process(mail(0))  # and nobody ever says how it ended
    stage = opened()
    assert passes(stage, mail(0))
    assert clock.slept == 0
    assert passes(stage, mail(1))
    assert 2 <= clock.slept < 2.1
    assert passes(stage, mail(2))
    assert clock.slept < 2.1  # it does not wait in vain for every mail
    stage.ended(outcome(mail(2)))
    assert not passes(stage, mail(0))


def test_a_copy_of_what_is_under_way_waits_for_its_outcome(opened, clock, monkeypatch):
    one, other = opened(), opened()
    one.process(first := mail(0))
    monkeypatch.setattr(clock, "sleep", lambda seconds: one.ended(outcome(first)))
    assert other.process(mail(1)).decision is Decision.DROP


def test_or_comes_again_where_that_is_wished_but_not_for_ever(opened, clock):
    stage = opened(unsettled="defer")
    stage.process(mail(0))
    assert stage.process(mail(1)).decision is Decision.DEFER
    clock.seconds += 3601
    assert passes(stage, mail(1))


def test_every_recipient_has_a_right_to_a_copy(opened):
    stage = opened()
    stage.process(first := mail(0, "bob@example.net", "cy@example.net"))
    stage.ended(outcome(first, Ending.QUEUED, bob=Fate.DELIVERED, cy=Fate.QUEUED))
    after = stage.process(mail(1, "bob@Example.NET", "dan@example.net", "cy@example.net"))
    assert after.envelope.addresses == ("dan@example.net",)
    assert [note.what for note in after.notes_of(Changed)] == ["2 of 3 recipients have a copy already"]
    assert not passes(stage, mail(2, "bob@example.net"))
    assert passes(stage, mail(3, "BOB@example.net"))  # only the host knows whether that is another one


def test_one_copy_for_all_the_world(opened):
    stage = opened(recipients=False)
    stage.process(first := mail(0, "bob@example.net"))
    stage.ended(outcome(first))
    assert not passes(stage, mail(1, "dan@example.net"))


def test_recipients_that_were_not_served_may_have_the_next_copy(opened):
    stage = opened()
    stage.process(first := mail(0, "bob@example.net", "cy@example.net", "dan@example.net"))
    stage.ended(outcome(first, Ending.FAILED, bob=Fate.DELIVERED, cy=Fate.FAILED, dan=Fate.IN_DOUBT))
    assert stage.process(mail(1, "bob@example.net", "cy@example.net", "dan@example.net")).envelope.addresses == ("cy@example.net", "dan@example.net")


def test_what_a_later_stage_redirected_counts_as_a_whole(opened):
    stage = opened()
    stage.process(first := mail(0))
    stage.ended(outcome(first.with_envelope(Envelope.of("", "archive@example.net"))))
    assert not passes(stage, mail(1))


def test_what_a_later_stage_split_counts_when_all_of_it_is_safe(opened):
    stage = opened()
    for number, endings in ((0, (Ending.DELIVERED, Ending.DEFERRED)), (1, (Ending.DELIVERED, Ending.QUEUED))):
        stage.process(first := mail(number))
        children = tuple(Outcome(first.origin.child(n), ending, EnhancedStatus(2, 0, 0)) for n, ending in enumerate(endings))
        stage.ended(Outcome(first.origin, Ending.SPLIT, EnhancedStatus(2, 0, 0), children=children))
        other = mail(number + 10)
        assert passes(stage, other) == (number == 0)
        if number == 0:
            stage.ended(outcome(other, Ending.DEFERRED))


def test_what_was_made_of_one_mail_is_no_copy_of_another_part_of_it(opened):
    stage = opened(recipients=False)
    one = mail(0)
    parts = [Mail(one.message, one.envelope, one.origin.child(number)) for number in (1, 2)]
    for part in parts:
        assert passes(stage, part)
        stage.ended(outcome(part))
    assert not passes(stage, mail(1))


def test_a_copy_on_a_route_takes_nothing_from_the_others(opened):
    stage = opened()
    copy = Mail(mail(0).message, mail(0).envelope, mail(0).origin.copy("archive"))
    stage.process(copy)
    stage.ended(outcome(copy))
    assert passes(stage, mail(0))
    assert passes(stage, mail(1))
    assert not passes(stage, Mail(copy.message, copy.envelope, mail(2).origin.copy("archive")))


@pytest.mark.parametrize(
    ("by", "change", "is_copy"),
    [
        ("message-id", (b"Hello", b"Bye"), True), ("message-id", (b"<1@", b"<2@"), False), ("message-id", (b"Message-ID: <1@example.org>\r\n", b""), False),
        ("content", (b"Hello", b"Bye"), False), ("content", (b"Offer", b"OFFER"), False), ("content", (b"\r\n", b"\n"), True),
        ("content", (b"Subject: Offer", b"Received: from x by y; today\r\nSubject:\r\n Offer"), True), ("both", (b"<1@", b"<2@"), False),
        ("both", (b"Hello", b"Bye"), False), ("both", (b"Bob\r\n", b"Bob\r\n\r\n"), True),
    ],
)  # fmt: skip
def test_what_makes_a_copy(by, change, is_copy, opened):
    stage = opened(by=by)
    stage.process(first := mail(0))
    stage.ended(outcome(first))
    assert passes(stage, mail(1, octets=LETTER.replace(*change))) != is_copy


def test_without_a_message_id_nothing_is_said_by_it(opened):
    stage = opened(by="message-id")
    bare = LETTER.partition(b"\r\n")[2]
    stage.process(first := mail(0, octets=bare))
    stage.ended(outcome(first))
    assert passes(stage, mail(1, octets=bare))


def test_from_a_pipe_the_octets_tell_what_comes_again(opened):
    stage = opened()
    for recipient in ("bob@example.net", "bob@example.net", "cy@example.net"):
        first = mail(0, recipient, location="-")
        assert passes(stage, first)
        stage.ended(outcome(first))
    assert not passes(stage, mail(0, octets=b"Received: from a by b; today\r\n" + LETTER, location="-"))


@pytest.mark.parametrize(("then", "decision"), [("reject", Decision.REJECT), ("quarantine", Decision.QUARANTINE)])
def test_other_ways_to_treat_a_copy(then, decision, opened):
    stage = opened(then=then)
    stage.process(first := mail(0))
    stage.ended(outcome(first))
    assert stage.process(mail(1)).decision is decision
    assert decision in stage.decisions(stage.options)


def test_a_tag_and_nothing_else(opened):
    stage = opened(then="tag")
    first = mail(0, octets=b"X-Duplicate: no\r\n" + LETTER)
    assert bytes(stage.process(first).message) == LETTER
    stage.ended(outcome(first))
    after = stage.process(mail(1))
    assert bytes(after.message) == LETTER.replace(b"\r\n\r\n", b"\r\nX-Duplicate: both\r\n\r\n")


def test_what_expired_is_forgotten_and_too_much_too(opened, clock):
    stage = opened(expire="1h", max_records=1000)
    stage.process(first := mail(0))
    stage.ended(outcome(first))
    clock.seconds += 3601
    assert passes(stage, mail(1))
    for number in range(2, 2500):
        stage.process(one := mail(number, f"r{number}@example.net"))
        stage.ended(outcome(one))
    assert passes(opened(expire="1h", max_records=1000), mail(9000, "r2@example.net"))
    assert not passes(stage, mail(9001, "r2499@example.net"))


def test_it_needs_a_place():
    with pytest.raises(ConfigError, match="state_directory"):
        Deduplicate(Deduplicate.Options()).open(Services.for_tests("deduplicate"))


# -- whole pipelines --------------------------------------------------------------------------------------------------

PIPELINE = """
[source]
use = "mbox"
path = "archive.mbox"

[[stage]]
use = "deduplicate"
state_directory = "state"
wait = "10s"

[sink]
use = "maildir"
path = "out"
"""


@pytest.fixture
def folder(tmp_path):
    archive = b"".join(
        b"From ann@example.org Thu Jan  1 00:00:00 1970\n" + LETTER.replace(b"\r\n", b"\n").replace(b"<1@", b"<%d@" % (number % 40)).replace(b"Hello", b"Hello %d" % (number % 40)) + b"\n"
        for number in range(120)
    )
    (tmp_path / "archive.mbox").write_bytes(archive)
    (tmp_path / "pipe.toml").write_text(PIPELINE)
    return tmp_path


def run(folder, **options):
    registry = load_registry(None)
    overrides = [f"run.{name}={value}" for name, value in options.items()]
    with assemble(load_settings(folder / "pipe.toml", registry, overrides), registry) as pipeline:
        return pipeline.run()


def delivered(folder):
    return sorted(mailpipe.parse(path.read_bytes()).message_id for path in (folder / "out").glob("*/*") if path.is_file())


def test_an_archive_has_each_message_once(folder):
    run(folder)
    assert delivered(folder) == sorted(f"{number}@example.org" for number in range(40))


def test_several_workers_share_what_they_know(folder):
    report = run(folder, workers=3)
    assert not report.error
    # none is lost; a copy that two had at once may have come through
    assert set(delivered(folder)) == {f"{number}@example.org" for number in range(40)}
    assert len(delivered(folder)) < 60


def plugin(folder, body):
    """A stage behind `deduplicate` with the given body of `process`."""
    (folder / "plugins").mkdir()
    (folder / "plugins" / "odd.py").write_text(
        f"import os, signal, mailpipe\n\n\nclass Odd(mailpipe.Stage):\n    'Odd.'\n\n    name = 'odd'\n\n    def process(self, mail):\n{body}"
        "        return mail\n\n\ndef register(registry):\n    registry.add_stage(Odd)\n"
    )
    (folder / "pipe.toml").write_text(PIPELINE.replace("[sink]", '[[stage]]\nuse = "odd"\n\n[sink]').replace("10s", "1ms"))
    return [sys.executable, "-m", "mailpipe", "run", "pipe.toml"]


def test_what_a_run_deferred_is_delivered_by_the_next(folder):
    command = plugin(folder, "        if os.path.exists('down'):\n            return mailpipe.Verdict.defer('later')\n")
    (folder / "down").touch()
    first = subprocess.run(command, cwd=folder, capture_output=True, timeout=60)
    assert first.returncode == 75
    assert not delivered(folder)
    (folder / "down").unlink()
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=60)
    assert delivered(folder) == sorted(f"{number}@example.org" for number in range(40))


def test_a_dry_run_marks_nothing_as_delivered(folder):
    command = [sys.executable, "-m", "mailpipe", "run", "pipe.toml", "--dry-run"]
    told = subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=60, text=True).stdout
    assert "80" in told  # it tells of the copies all the same
    assert not (folder / "state").exists()
    run(folder)
    assert delivered(folder) == sorted(f"{number}@example.org" for number in range(40))


def test_killed_at_any_place_nothing_is_lost(folder):
    command = plugin(
        folder,
        "        if mail.message.message_id == '7@example.org' and not os.path.exists('died'):\n            open('died', 'w').close()\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n",
    )
    first = subprocess.run(command, cwd=folder, capture_output=True, timeout=60)
    assert first.returncode == -signal.SIGKILL
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=60)
    assert set(delivered(folder)) == {f"{number}@example.org" for number in range(40)}


def test_what_it_remembers_lies_beside_the_queue(folder):
    text = (folder / "pipe.toml").read_text().replace('state_directory = "state"\n', "") + '\n[queue]\ndirectory = "queue"\n'
    (folder / "pipe.toml").write_text(text)
    run(folder)
    assert (folder / "queue" / "state" / "deduplicate.db").exists()
    assert len(delivered(folder)) == 40
