"""So many messages in so much time, counted by a clock that the test turns."""

import multiprocessing
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

import mailpipe
from mailpipe import Envelope, Mail, Services, Verdict
from mailpipe.pipeline.mail import Origin
from mailpipe.pipeline.verdict import Decision
from mailpipe.smtp.envelope import Client, ForwardPath
from mailpipe.stages.rate_limit import RateExceeded, RateLimit

LETTER = mailpipe.parse(b"From: ann@example.org\r\nSubject: x\r\n\r\nHello\r\n")


class Clock:
    """One that the test turns."""

    def __init__(self):
        self.seconds = 0.0

    def monotonic(self):
        return self.seconds

    def now(self):
        return datetime(2026, 11, 28, tzinfo=UTC) + timedelta(seconds=self.seconds)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def opened(clock):
    made = []

    def make(**options):
        one = RateLimit(RateLimit.Options.model_validate(options))
        one.open(Services.for_tests("rate-limit", clock=clock))
        made.append(one)
        return one

    yield make
    for one in made:
        one.close()


def mail(sender="ann@example.org", *recipients, client=None):
    paths = tuple(ForwardPath(address) for address in recipients or ("bob@example.net",))
    return Mail(LETTER, Envelope(sender, paths, client=client), Origin("eml", "x"))


def passed(stage, *mails):
    return [not isinstance(stage.process(one), Verdict) for one in mails]


def test_what_is_over_the_limit_is_put_off_until_there_is_room(opened, clock):
    stage = opened(count=2, per="1m")
    assert passed(stage, mail(), mail(), mail()) == [True, True, False]
    verdict = stage.process(mail("Ann@Example.org"))
    assert (verdict.decision, str(verdict.status), verdict.code) == (Decision.DEFER, "4.7.1", 450)
    assert verdict.reason == "more than 2 messages in 1m for ann@example.org; again in 30 s"
    assert verdict.notes == (RateExceeded("ann@example.org", 30.0),)
    assert passed(stage, mail("bob@example.org")) == [True]
    clock.seconds = 29.9
    assert passed(stage, mail()) == [False]
    clock.seconds = 30.0
    assert passed(stage, mail(), mail()) == [True, False]
    clock.seconds = 1000.0
    assert passed(stage, mail(), mail(), mail()) == [True, True, False]


def test_a_burst_is_smaller_than_the_count(opened, clock):
    stage = opened(count=60, per="1m", burst=3)
    assert passed(stage, *[mail()] * 4) == [True, True, True, False]
    clock.seconds = 1.0
    assert passed(stage, mail(), mail()) == [True, False]


@pytest.mark.parametrize(
    ("key", "one", "same", "other"),
    [
        ("{sender_domain}", mail("a@example.org"), mail("b@Example.ORG"), mail("a@mail.example.org")),
        ("{sender_domain}", mail(""), mail(""), mail("a@example.org")),
        ("{recipient}", mail("a@a.example", "x@b.example"), mail("b@b.example", "x@b.example"), mail("a@a.example", "y@b.example")),
        ("{recipient_domain}", mail("a@a.example", "x@b.example"), mail("b@b.example", "y@b.example"), mail("a@a.example", "y@c.example")),
        ("{client}/{sender}", mail(client=Client("192.0.2.1")), mail(client=Client("192.0.2.1")), mail(client=Client("192.0.2.2"))),
        ("all", mail("a@a.example"), mail("b@b.example"), None),
    ],
)
def test_who_is_counted_together(key, one, same, other, opened):
    stage = opened(key=key, count=1, per="1h")
    assert passed(stage, one, same) == [True, False]
    assert other is None or passed(stage, other) == [True]


def test_where_one_recipient_has_enough_nothing_is_taken_from_the_others(opened):
    stage = opened(key="{recipient}", count=1, per="1h")
    assert passed(stage, mail("", "x@b.example"), mail("", "y@b.example", "x@b.example"), mail("", "y@b.example")) == [True, False, True]


def test_recipients_may_be_weighed(opened):
    stage = opened(count=5, per="1h", weigh="recipients")
    three = mail("a@a.example", *(f"r{number}@b.example" for number in range(3)))
    assert passed(stage, three, three, mail("a@a.example"), mail("a@a.example"), mail("a@a.example")) == [True, False, True, True, False]
    many = mail("b@a.example", *(f"r{number}@b.example" for number in range(30)))
    assert passed(stage, many, many) == [True, False]  # it would never pass otherwise


@pytest.mark.parametrize(("then", "decision"), [("reject", Decision.REJECT), ("quarantine", Decision.QUARANTINE), ("drop", Decision.DROP)])
def test_other_ways_to_treat_what_is_over_the_limit(then, decision, opened):
    stage = opened(count=1, per="1h", then=then)
    stage.process(mail())
    assert stage.process(mail()).decision is decision
    assert stage.decisions(stage.options) == (decision,)


def test_a_note_lets_it_go_on(opened):
    stage = opened(count=1, per="1h", then="note")
    stage.process(mail())
    assert [note.key for note in stage.process(mail()).notes_of(RateExceeded)] == ["ann@example.org"]


def test_a_clock_that_is_set_back_gives_nothing_and_takes_nothing(opened, clock):
    clock.seconds = 1000.0
    stage = opened(count=2, per="1m")
    stage.process(mail())
    clock.seconds = 0.0
    assert passed(stage, mail(), mail()) == [True, False]
    clock.seconds = 30.0
    assert passed(stage, mail(), mail()) == [True, False]


def _work(directory, results):
    stage = RateLimit(RateLimit.Options.model_validate({"count": 50, "per": "365d", "state_directory": directory}))
    stage.open(Services.for_tests("rate-limit"))
    results.put(sum(passed(stage, *[mail()] * 40)))
    stage.close()


def test_several_processes_share_the_buckets(tmp_path):
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    workers = [context.Process(target=_work, args=(tmp_path / "state", results)) for _ in range(3)]
    for worker in workers:
        worker.start()
    assert sum(results.get(timeout=60) for _ in workers) == 50
    for worker in workers:
        worker.join(60)


def test_whether_workers_may_share_follows_from_the_place(tmp_path):
    options = RateLimit.Options.model_validate
    assert not RateLimit.may_be_parallel(options({}))
    assert RateLimit.may_be_parallel(options({"state_directory": tmp_path}))


def test_full_buckets_are_forgotten_and_too_many_too(opened, clock):
    stage = opened(count=1, per="1h", max_keys=1000)
    for number in range(2500):
        stage.process(mail(f"s{number}@example.org"))
    count = stage._state.change(lambda rows: rows.execute("SELECT count(*) FROM bucket").fetchone()[0])
    assert count <= 2000
    clock.seconds = 4000.0
    for _ in range(1000):
        stage.process(mail("one@example.org"))
    assert stage._state.change(lambda rows: rows.execute("SELECT count(*) FROM bucket").fetchone()[0]) == 1


@pytest.mark.parametrize("options", [{"key": "{subject}"}, {"key": "{sender"}, {"key": "{sender.__class__}"}, {"key": "{sender!r}"}, {"key": "{}"}, {"per": 0}, {"count": 0}])
def test_what_is_no_limit_is_told(options):
    with pytest.raises(ValidationError):
        RateLimit.Options.model_validate(options)
