"""Who is told what, and that it is told once however the process ends."""

import os
import signal

import pytest

from mailpipe.errors import InputError, OutputError
from mailpipe.queue import Handover, Letter, RecipientFate, RecipientResult, Schedule, deliver_due
from mailpipe.queue.notice import identifier_for
from mailpipe.smtp.envelope import Envelope, ForwardPath
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
        clock.now = queue.next_try()
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


def test_the_report_is_safe_before_the_failure_is_recorded(reporting, answering, monkeypatch):
    queue = reporting()
    identifier = queue.put(b"", TO, origin="test")
    (entry,) = queue.lease()

    def full(*arguments, **named):
        raise OutputError("queue", "the disk is full", is_full=True)

    with monkeypatch.context() as patch:
        patch.setattr(queue._store, "add", full)
        with pytest.raises(OutputError):
            queue.settle(entry, answering("failed")(entry))
    assert queue.show(identifier).recipients[0].state.value == "waiting"
    queue.settle(entry, answering("failed")(entry))  # the same process goes on when there is room again
    assert queue.show(identifier).recipients[0].state.value == "failed" and len(reports_in(queue)) == 1


def test_a_report_that_cannot_be_queued_does_not_send_a_delivered_message_again(reporting, answering, monkeypatch):
    queue = reporting()
    queue.put(b"", to("SUCCESS"), origin="test")
    (entry,) = queue.lease()

    def full(*arguments, **named):
        raise OutputError("queue", "the disk is full", is_full=True)

    with monkeypatch.context() as patch:
        patch.setattr(queue._store, "add", full)
        queue.settle(entry, answering("delivered")(entry))
    assert list(queue.list()) == []


@pytest.mark.parametrize("is_sent", [False, True], ids=["waiting", "sent"])
def test_a_crash_between_report_and_record_tells_nobody_twice(
    reporting, clock, crash, answering, monkeypatch, is_sent
):
    queue = reporting()
    identifier = queue.put(b"", TO, origin="test")
    (entry,) = queue.lease()

    def die(*arguments, **named):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(queue._store, "change", die)
        with pytest.raises(KeyboardInterrupt):
            queue.settle(entry, answering("failed")(entry))
    crash(queue)
    queue = reporting()
    assert queue.show(identifier).recipients[0].state.value == "in-doubt" and len(reports_in(queue)) == 1
    sent = []

    def transport(entry):
        sent.append(entry.sender.reverse_path)
        return answering("failed" if entry.sender.reverse_path else "delivered")(entry)

    if is_sent:
        deliver_due(queue, transport)
        assert sent == [""]
    clock.wait(HOUR)
    deliver_due(queue, transport)
    deliver_due(queue, transport)
    assert queue.show(identifier).recipients[0].state.value == "failed"
    assert sorted(sent) == ["", "ann@example.org"]  # one report, whichever came first
    assert reports_in(queue) == []


def test_what_a_crash_left_of_a_half_written_report_does_not_stand_in_its_way(queue, tmp_path):
    identifier = identifier_for("the name", 0)
    half = tmp_path / "queue" / "content" / identifier[-1] / f"{identifier}.part"
    if half.parent.exists():  # a database leaves nothing behind
        half.write_bytes(b"Subj")
    assert queue.put(b"whole", TO, origin="test", name="the name") == identifier
    assert queue.show(identifier).octets == b"whole" and not half.exists()


def test_a_warning_that_a_crash_prevented_is_given_at_the_next_attempt(reporting, told, clock, crash, answering):
    queue = reporting()
    queue.put(b"", TO, origin="test")
    deliver_due(queue, answering("deferred"))
    clock.wait(5 * HOUR)
    assert len(list(queue.lease())) == 1
    crash(queue)
    queue = reporting()
    clock.wait(HOUR)
    deliver_due(queue, answering("deferred"))
    assert told == [("delayed", ["bob@example.net"])]


def test_a_requeued_message_is_reported_anew(reporting, told, clock, answering):
    queue = reporting()
    identifier = queue.put(b"", TO, origin="test")
    for _ in range(2):
        queue.requeue(identifier)
        deliver_due(queue, lambda entry: answering("failed" if entry.sender.reverse_path else "deferred")(entry))
        clock.wait(60)
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


def test_a_name_is_taken_once_also_after_it_was_delivered(queue, answering):
    first = queue.put(b"one", TO, origin="test", name="the same")
    assert queue.put(b"two", TO, origin="test", name="the same") == first
    assert queue.show(first).octets == b"one"
    deliver_due(queue, answering())
    assert queue.put(b"three", TO, origin="test", name="the same") == first and list(queue.list()) == []
    assert queue.put(b"", TO, origin="test", name="another") != first


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


POINTS = [
    (module, name, number, when)
    for module, name, most in (("os", "fsync", 2), ("os", "rename", 1), ("store", "add", 1), ("store", "change", 1))
    for number in range(1, most + 1)
    for when in ("before", "after")
]


@pytest.mark.parametrize(("module", "name", "number", "when"), POINTS)
def test_a_process_that_is_killed_anywhere_leaves_one_report(
    reporting, clock, answering, module, name, number, when
):
    queue = reporting()
    identifier = queue.put(b"Subject: x\r\n\r\n", TO, origin="test")
    child = os.fork()
    if child == 0:
        calls = []
        owner = os if module == "os" else queue._store
        real = getattr(owner, name)

        def deadly(*arguments, **named):
            calls.append(name)
            if len(calls) == number and when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            result = real(*arguments, **named)
            if len(calls) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        setattr(owner, name, deadly)
        deliver_due(queue, answering("failed"))
        os._exit(0)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    taken = []

    def transport(entry):
        if not entry.sender.reverse_path:
            taken.append(entry.id)
        return answering("failed" if entry.sender.reverse_path else "delivered")(entry)

    queue = reporting()
    for _ in range(4):
        deliver_due(queue, transport)
        clock.wait(HOUR)
    assert queue.show(identifier).recipients[0].state.value == "failed"
    # The child may have delivered its own report where it was not killed; then it lies here as failed.
    assert len(taken) + len(reports_in(queue)) == 1
