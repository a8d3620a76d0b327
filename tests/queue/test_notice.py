"""Who is told what, and that it is told once however the process ends."""

import contextlib

import pytest

from mailpipe.errors import InputError, OutputError
from mailpipe.queue import Handover, Letter, RecipientFate, RecipientResult, Schedule, deliver_due
from mailpipe.smtp.envelope import Envelope, ForwardPath, MailParameters
from mailpipe.status import EnhancedStatus

HOUR = 3600.0
TO = Envelope.of("ann@example.org", "bob@example.net")


@pytest.fixture
def told():
    return []


@pytest.fixture
def reporting(make_queue, told):
    """A queue that sends reports; what it tells is noted in `told`, and again for each time it is written."""

    def report(notice):
        told.append((notice.told.value, [one.address for one in notice.recipients]))
        return Letter(b"Subject: %b\r\n\r\n" % notice.told.encode(), Envelope.of("", notice.entry.sender.reverse_path))

    def make(**options):
        retry = Schedule.parse("5m, 15m, 1h*3, 4h*10", "5d", 0, options.pop("warn_after", 4 * HOUR))
        return make_queue(retry=retry, reporter=report, **options)

    return make


def to(*notify, sender="ann@example.org"):
    return Envelope(sender, (ForwardPath("bob@example.net", notify),))


@pytest.mark.parametrize(
    ("asked", "notify", "handover", "expected"),
    [
        ({"by_mode": "N"}, (), Handover.RELAYED, ["relayed"]),  # the next hop knows nothing of the time
        ({"by_mode": "N"}, (), Handover.REPORTING, []),
        ({"by_mode": "R"}, (), Handover.REPORTING, []),
        ({"by_trace": True}, (), Handover.REPORTING, ["relayed"]),
        ({"by_trace": True}, ("NEVER",), Handover.REPORTING, []),
        ({"by_trace": True}, (), Handover.FINAL, []),
        ({"by_trace": True}, ("SUCCESS",), Handover.FINAL, ["delivered"]),
    ],
)
def test_a_mail_with_a_time_is_traced(reporting, told, asked, notify, handover, expected):
    queue, envelope = reporting(), to(*notify)
    envelope = Envelope(envelope.reverse_path, envelope.forward_paths, MailParameters(by_time=600, **asked))
    queue.put(b"", envelope, origin="test")

    def transport(entry):
        return [
            RecipientResult(path, RecipientFate.DELIVERED, EnhancedStatus(2, 0, 0), "", handover)
            for path in entry.envelope.forward_paths
        ]

    deliver_due(queue, transport)
    assert [kind for kind, _ in told] == expected


def reports_in(queue):
    return [entry for entry in queue.list() if entry.origin.startswith("report on ")]


@pytest.mark.parametrize(
    ("notify", "fate", "handover", "expected"),
    [
        ((), "failed", Handover.RELAYED, ["failed"]),
        (("FAILURE", "DELAY"), "failed", Handover.RELAYED, ["failed"]),
        (("SUCCESS",), "failed", Handover.RELAYED, []),
        (("DELAY",), "failed", Handover.RELAYED, []),
        (("NEVER",), "failed", Handover.RELAYED, []),
        ((), "delivered", Handover.RELAYED, []),
        (("SUCCESS",), "delivered", Handover.RELAYED, ["relayed"]),
        (("SUCCESS", "FAILURE"), "delivered", Handover.FINAL, ["delivered"]),
        (("SUCCESS",), "delivered", Handover.REPORTING, []),
        (("NEVER",), "delivered", Handover.FINAL, []),
        ((), "deferred", Handover.RELAYED, []),
        ((), "in-doubt", Handover.RELAYED, []),
    ],
)
def test_notify_is_honoured(reporting, told, notify, fate, handover, expected):
    queue = reporting()
    queue.put(b"", to(*notify), origin="test")
    (entry,) = queue.lease()
    queue.settle(
        entry,
        [RecipientResult(entry.envelope.forward_paths[0], RecipientFate(fate), EnhancedStatus(5, 0, 0), "", handover)],
    )
    assert [what for what, _ in told] == expected
    assert len(reports_in(queue)) == len(expected)


@pytest.mark.parametrize(("notify", "expected"), [((), 1), (("DELAY",), 1), (("FAILURE",), 0), (("NEVER",), 0)])
def test_a_delay_is_told_once(reporting, told, clock, answering, notify, expected):
    queue = reporting()
    queue.put(b"", to(*notify), origin="test")
    for _ in range(20):
        deliver_due(queue, lambda entry: answering("deferred" if entry.sender.reverse_path else "delivered")(entry))
        clock.timestamp = queue.next_try()
    assert [what for what, _ in told] == ["delayed"] * expected


def test_nothing_is_said_to_the_null_reverse_path_and_so_never_about_a_report(reporting, told, answering, clock):
    queue = reporting()
    queue.put(b"", to("SUCCESS", "FAILURE", "DELAY", sender=""), origin="test")
    queue.put(b"", to(), origin="test")
    deliver_due(queue, answering("failed"))
    deliver_due(queue, answering("failed"))  # the report itself
    assert told == [("failed", ["bob@example.net"])]
    (report,) = reports_in(queue)
    assert report.recipients[0].state.value == "failed" and report.sender.reverse_path == ""


def test_the_recipients_of_one_attempt_share_a_report(reporting, told, answering):
    queue = reporting()
    queue.put(b"", Envelope.of("ann@example.org", "a@x.example", "b@x.example", "c@x.example"), origin="test")
    deliver_due(queue, answering("failed", b="deferred"))
    assert told == [("failed", ["a@x.example", "c@x.example"])]


@pytest.fixture
def no_room(monkeypatch):
    """While it lasts, the queue can record what it has and take nothing new."""

    @contextlib.contextmanager
    def full(queue):
        def refuse(*arguments):
            raise OutputError("queue", "the disk is full", is_full=True)

        with monkeypatch.context() as patch:
            patch.setattr(queue._store, "_insert", refuse)
            yield

    return full


def test_a_failure_is_not_recorded_where_its_report_is_not_safe(reporting, answering, no_room):
    queue = reporting()
    identifier = queue.put(b"", TO, origin="test")
    (entry,) = queue.lease()
    with no_room(queue), pytest.raises(OutputError):
        queue.settle(entry, answering("failed")(entry))
    assert queue.show(identifier).recipients[0].state.value == "waiting" and reports_in(queue) == []
    queue.settle(entry, answering("failed")(entry))  # the same process goes on when there is room again
    assert queue.show(identifier).recipients[0].state.value == "failed" and len(reports_in(queue)) == 1
    assert queue.doctor(deep=True) == ()


def test_a_report_that_cannot_be_queued_does_not_send_a_delivered_message_again(
    reporting, answering, no_room, caplog
):
    queue = reporting()
    queue.put(b"", to("SUCCESS"), origin="test")
    (entry,) = queue.lease()
    with no_room(queue):
        queue.settle(entry, answering("delivered")(entry))
    assert list(queue.list()) == [] and queue.doctor(deep=True) == ()
    assert "could not be queued" in caplog.text


def test_a_success_that_cannot_be_told_does_not_keep_a_failure_from_being_told(reporting, answering, monkeypatch):
    queue, tried = reporting(), []
    both = Envelope("ann@example.org", (ForwardPath("a@x.example", ("SUCCESS",)), ForwardPath("b@x.example")))
    identifier = queue.put(b"", both, origin="test")
    (entry,) = queue.lease()
    real = queue._store._insert

    def narrow(connection, arrival, marks=()):
        tried.append(arrival.origin)
        if arrival.origin.endswith("relayed"):
            raise OutputError("queue", "the disk is full", is_full=True)
        real(connection, arrival, marks)

    monkeypatch.setattr(queue._store, "_insert", narrow)
    queue.settle(entry, answering("failed", a="delivered")(entry))
    assert [one.state.value for one in queue.show(identifier).recipients] == ["delivered", "failed"]
    assert [one.origin for one in reports_in(queue)] == [f"report on {identifier}: failed"] and len(tried) > 1


def test_what_somebody_else_did_meanwhile_is_told_as_it_is(reporting, make_queue, told, answering, monkeypatch):
    queue = reporting()
    both = Envelope.of("ann@example.org", "a@x.example", "b@x.example")
    identifier = queue.put(b"", both, origin="test", in_doubt={"b@x.example"})
    (entry,) = queue.lease()
    other = reporting()
    real, meddled = queue._store.change, []

    def change(*arguments):
        if not meddled:
            meddled.append(other.answer(identifier, "failed", "b@x.example"))
        return real(*arguments)

    monkeypatch.setattr(queue._store, "change", change)
    queue.settle(entry, answering("failed")(entry))
    assert [one.state.value for one in queue.show(identifier).recipients] == ["failed", "failed"]
    texts = sorted(one.octets for one in reports_in(queue))
    assert len(texts) == 2 and told[-1] == ("failed", ["a@x.example"]) and queue.doctor(deep=True) == ()


def test_a_warning_that_a_crash_prevented_is_given_at_the_next_attempt(reporting, told, clock, crash, answering):
    queue = reporting()
    queue.put(b"", TO, origin="test")
    deliver_due(queue, answering("deferred"))
    clock.sleep(5 * HOUR)
    assert len(list(queue.lease())) == 1
    crash(queue)
    queue = reporting()
    clock.sleep(HOUR)
    deliver_due(queue, answering("deferred"))
    assert told == [("delayed", ["bob@example.net"])]


def test_a_requeued_message_is_reported_anew(reporting, told, clock, answering):
    queue = reporting()
    identifier = queue.put(b"", TO, origin="test")
    for _ in range(2):
        queue.requeue(identifier)
        deliver_due(queue, lambda entry: answering("failed" if entry.sender.reverse_path else "deferred")(entry))
        clock.sleep(60)
    assert [what for what, _ in told] == ["failed", "failed"] and len(reports_in(queue)) == 2


def test_a_reporter_that_fails_does_not_have_the_message_sent_again(make_queue, answering, caplog):
    def broken(notice):
        raise ZeroDivisionError("a bug")

    queue = make_queue(reporter=broken)
    identifier = queue.put(b"", TO, origin="test")
    deliver_due(queue, answering("failed"))
    assert queue.show(identifier).recipients[0].state.value == "failed"
    assert "no report could be written" in caplog.text


def test_a_bounce_gives_up_what_is_not_settled_and_tells(reporting, told, answering):
    queue = reporting()
    identifier = queue.put(b"", Envelope.of("ann@example.org", "a@x.example", "b@x.example"), origin="test")
    deliver_due(queue, answering("deferred", a="delivered"))
    queue.hold(identifier)
    queue.bounce(identifier, reason="the domain is gone")
    one, two = queue.show(identifier).recipients
    assert (one.state.value, two.state.value) == ("delivered", "failed")
    assert two.diagnostic == "the domain is gone (before that: told so)" and str(two.status) == "5.0.0"
    assert told == [("failed", ["b@x.example"])] and queue.next_try() is not None  # the report


def test_what_was_in_doubt_is_settled_by_hand(reporting, told):
    queue = reporting(in_doubt="ask")
    both = Envelope.of("ann@example.org", "a@x.example", "b@x.example")
    identifier = queue.put(b"", both, origin="test", in_doubt={"a@x.example", "b@x.example"})
    assert [one.is_question for one in queue.show(identifier).recipients] == [True, True]
    assert "settle it" in queue.show(identifier).recipients[0].diagnostic
    assert [one.address for one in queue.answer(identifier, "failed", "b@x.example")] == ["b@x.example"]
    assert told == [("failed", ["b@x.example"])]
    queue.answer(identifier, "delivered")
    assert [one.state.value for one in queue.show(identifier).recipients] == ["delivered", "failed"]
    with pytest.raises(InputError, match="in doubt"):
        queue.answer(identifier, "delivered")
    with pytest.raises(ValueError, match="delivered or failed"):
        queue.answer(identifier, "deferred")


def test_a_message_that_was_delivered_after_all_leaves_the_queue(reporting, told):
    queue = reporting(in_doubt="ask")
    identifier = queue.put(b"", TO, origin="test", in_doubt={"bob@example.net"})
    content = queue.show(identifier).content
    queue.answer(identifier, "delivered")
    assert list(queue.list()) == [] and not content.exists() and told == []


def test_a_message_that_never_was_in_the_queue_is_reported_once(reporting, told):
    queue = reporting()
    results = [
        RecipientResult(ForwardPath("a@x.example"), RecipientFate.FAILED, EnhancedStatus(5, 1, 1), "550 no"),
        RecipientResult(ForwardPath("b@x.example", ("SUCCESS",)), RecipientFate.DELIVERED, EnhancedStatus(2, 0, 0)),
        RecipientResult(ForwardPath("c@x.example"), RecipientFate.DELIVERED, EnhancedStatus(2, 0, 0)),
    ]
    envelope = Envelope("ann@example.org", tuple(one.recipient for one in results))
    for _ in range(2):
        queue.report(b"Subject: x\r\n\r\n", envelope, results, origin="mbox:a:0")
    assert {(what, *them) for what, them in told} == {("failed", "a@x.example"), ("relayed", "b@x.example")}
    assert len(reports_in(queue)) == len(list(queue.list())) == 2


def test_it_is_reported_once_also_where_the_next_attempt_ends_otherwise(reporting, told, answering):
    queue = reporting()
    a, b, c = (ForwardPath(f"{name}@x.example") for name in "abc")
    failed = RecipientFate.FAILED, EnhancedStatus(5, 1, 1), "550 no"
    for paths in ((a, b), (b,), (b, c), (a, b, c)):  # a run that died before it could note what it had done
        envelope = Envelope("ann@example.org", paths)
        queue.report(b"Subject: x\r\n\r\n", envelope, [RecipientResult(one, *failed) for one in paths], origin="mbox:a:0")
        deliver_due(queue, answering("delivered"))
    assert told == [("failed", ["a@x.example", "b@x.example"]), ("failed", ["c@x.example"])]
    queue.report(b"Subject: y\r\n\r\n", Envelope("ann@example.org", (a,)), [RecipientResult(a, *failed)], origin="mbox:a:0")
    assert len(told) == 3


@pytest.mark.parametrize("place", ["files", "postgres"], indirect=True)
@pytest.mark.parametrize("error", [KeyboardInterrupt, OutputError])
def test_whoever_is_interrupted_behind_the_commit_has_told_and_recorded(reporting, answering, monkeypatch, error):
    queue = reporting()
    identifier = queue.put(b"", TO, origin="test")
    (entry,) = queue.lease()
    real = queue._store.change

    def change(*arguments):
        real(*arguments)
        raise error("queue", "the answer was lost")

    monkeypatch.setattr(queue._store, "change", change)
    if error is KeyboardInterrupt:
        with pytest.raises(KeyboardInterrupt):
            queue.settle(entry, answering("failed")(entry))
    else:
        queue.settle(entry, answering("failed")(entry))
    assert queue.show(identifier).recipients[0].state.value == "failed"
    (report,) = reports_in(queue)
    assert report.octets.startswith(b"Subject: failed") and queue.doctor(deep=True) == ()
