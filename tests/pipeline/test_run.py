"""The engine: whatever stages and sinks do, each mail ends in exactly one outcome."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailpipe.errors import ComposeError, ConnectionLost, OutputError, PermanentFailure, TransientFailure
from mailpipe.pipeline.envelope_rule import EnvelopeRule
from mailpipe.pipeline.journal import Journal
from mailpipe.pipeline.mail import AttachmentSaved, Changed, DefectsFound, Origin
from mailpipe.pipeline.outcome import Ending, Fate, Receipt, RecipientReceipt
from mailpipe.pipeline.quarantine import Quarantine
from mailpipe.pipeline.report import Tally
from mailpipe.pipeline.verdict import Verdict
from mailpipe.queue import Queue
from mailpipe.smtp.envelope import Envelope
from mailpipe.status import EnhancedStatus


def endings(taken):
    return [outcome.ending for outcome in taken.outcomes]


def test_a_mail_goes_through_the_stages_in_order_to_the_sink(kit, engine_of):
    def add(word):
        def change(mail):
            header = mail.message.header.with_field("Subject", f"{mail.message.subject} {word}")
            return mail.with_message(mail.message.with_header(header)).with_note(Changed("call", word))

        return change

    sink = kit.memory_sink()
    taken = engine_of(add("one"), add("two"), sink=sink).take(kit.raw_of("zero"))
    assert sink.mails[0].message.subject == "zero one two"
    assert sink.mails[0].envelope == Envelope.of("ann@example.org", "bob@example.net")
    own = taken.own
    assert (own.ending, str(own.status), own.reason) == (Ending.DELIVERED, "2.0.0", "remembered")
    assert own.changes == ("call: one", "call: two")
    assert own.size_out == len(bytes(sink.mails[0].message)) and own.size_in == len(kit.octets_of("zero"))


@pytest.mark.parametrize(
    ("verdict", "ending", "status"),
    [
        (Verdict.drop("enough"), Ending.DROPPED, "2.0.0"),
        (Verdict.reject("never", status="5.7.1"), Ending.REJECTED, "5.7.1"),
        (Verdict.defer("later"), Ending.DEFERRED, "4.7.1"),
        (Verdict.quarantine("odd"), Ending.QUARANTINED, "2.0.0"),
    ],
)
def test_a_verdict_ends_the_way(kit, engine_of, verdict, ending, status):
    sink = kit.memory_sink()
    own = engine_of(lambda mail: verdict, sink=sink).take(kit.raw_of("x")).own
    assert (own.ending, str(own.status), own.reason, own.stage) == (ending, status, verdict.reason, "call")
    assert not sink.mails


def test_accept_goes_straight_to_the_sink(kit, engine_of):
    sink = kit.memory_sink()
    engine = engine_of(lambda mail: Verdict.accept(), lambda mail: Verdict.drop("unseen"), sink=sink)
    assert engine.take(kit.raw_of("x")).own.ending is Ending.DELIVERED and len(sink.mails) == 1


def test_an_envelope_that_is_given_is_not_looked_for_in_the_header(kit, engine_of):
    sink = kit.memory_sink()
    raw = replace(kit.raw_of("x"), envelope=Envelope.of("", "carol@example.com"))
    engine_of(lambda mail: mail.with_envelope(mail.envelope.with_reverse_path("r@x")), sink=sink).take(raw)
    assert sink.mails[0].envelope == Envelope.of("r@x", "carol@example.com")


def boom(mail):
    raise RuntimeError("two\nlines")


def leave(mail):
    raise SystemExit(3)


def generate(mail):
    yield mail
    raise ValueError("halfway")


def forever(mail):
    while True:
        yield mail


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (boom, "stage 'call' at nowhere:0: RuntimeError: two lines"),
        (leave, "SystemExit: 3"),
        (generate, "ValueError: halfway"),
        (forever, "process made more than 10000 mails of one"),
        (lambda mail: None, "process returned None; it must return a Mail, a Verdict or several Mails"),
        (lambda mail: "text", "process returned a str"),
        (lambda mail: [mail, 7], "process emitted a int among the mails"),
        (lambda mail: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_a_stage_that_fails_defers_the_mail_and_only_it(kit, engine_of, function, words):
    sink = kit.memory_sink()
    engine = engine_of(lambda mail: function(mail) if mail.message.subject == "bad" else mail, sink=sink)
    assert engine.take(kit.raw_of("good")).own.ending is Ending.DELIVERED
    own = engine.take(kit.raw_of("bad")).own
    assert own.ending is Ending.DEFERRED and words in own.reason and str(own.status) == "4.3.0"
    assert engine.take(kit.raw_of("good")).own.ending is Ending.DELIVERED
    assert len(sink.mails) == 2


def test_a_stage_that_fails_can_put_the_mail_aside(kit, engine_of, tmp_path):
    own = engine_of(boom, on_stage_error="quarantine").take(kit.raw_of("x")).own
    assert own.ending is Ending.QUARANTINED and "RuntimeError" in own.reason
    (kept,) = (tmp_path / "quarantine").glob("*.eml")
    assert kept.read_bytes() == kit.octets_of("x")


def test_a_quarantine_that_cannot_be_written_defers(kit, engine_of, tmp_path):
    (tmp_path / "file").write_text("")
    engine = engine_of(lambda mail: Verdict.quarantine("odd"), quarantine=Quarantine(tmp_path / "file" / "q"))
    own = engine.take(kit.raw_of("x")).own
    assert own.ending is Ending.DEFERRED and "could not be quarantined" in own.reason and "odd" in own.reason


def test_several_mails_have_an_outcome_each(kit, engine_of):
    sink = kit.memory_sink()
    seen = AttachmentSaved("1", None, "out/x", "a/b", 1, "00")

    def note(mail):
        return mail.with_note(seen, DefectsFound({"bare-lf": 2}))

    taken = engine_of(note, lambda mail: [mail, mail.with_note(DefectsFound({"bare-cr": 1}))], sink=sink).take(kit.raw_of("x"))
    assert endings(taken) == [Ending.SPLIT, Ending.DELIVERED, Ending.DELIVERED]
    assert [mail.origin.ident for mail in sink.mails] == ["0/1", "0/2"]
    # what the parent has to tell is not told again by its children
    assert [dict(outcome.defects) for outcome in taken.outcomes] == [{"bare-lf": 2}, {}, {"bare-cr": 1}]
    assert [len(outcome.attachments) for outcome in taken.outcomes] == [1, 0, 0]


def test_a_mail_of_which_a_child_is_deferred_is_deferred_too(kit, engine_of):
    subjects = iter(["good", "bad"])

    def split(mail):
        for subject in subjects:
            yield mail.with_message(mail.message.with_header(mail.message.header.with_field("Subject", subject)))

    def fail(mail):
        return boom(mail) if mail.message.subject == "bad" else mail

    taken = engine_of(split, fail).take(kit.raw_of("x"))
    assert endings(taken) == [Ending.DEFERRED, Ending.DELIVERED, Ending.DEFERRED]
    assert taken.own.reason == "1 of the 2 mails made of it are deferred"


def test_no_mail_from_a_stage_is_a_drop_and_one_is_the_mail(kit, engine_of):
    sink = kit.memory_sink()
    assert endings(engine_of(lambda mail: []).take(kit.raw_of("x"))) == [Ending.DROPPED]
    engine = engine_of(lambda mail: iter([replace(mail, origin=Origin("other", "place"))]), sink=sink)
    assert endings(engine.take(kit.raw_of("x"))) == [Ending.DELIVERED]
    assert sink.mails[0].origin.source == "list"


def raising(error):
    def answer(mail):
        raise error

    return answer


@pytest.mark.parametrize(
    ("error", "ending", "status"),
    [
        (TransientFailure("refused", EnhancedStatus(4, 4, 1)), Ending.DEFERRED, "4.4.1"),
        (PermanentFailure("no such user", EnhancedStatus(5, 1, 1)), Ending.FAILED, "5.1.1"),
        (ConnectionLost("gone"), Ending.DEFERRED, "4.4.2"),
        (ConnectionLost("gone", in_doubt=True), Ending.DEFERRED, "4.4.2"),
        (OutputError("out", "cannot write: no space", is_full=True), Ending.DEFERRED, "4.3.1"),
        (ComposeError("needs SMTPUTF8"), Ending.FAILED, "5.6.0"),
        (RuntimeError("a bug"), Ending.DEFERRED, "4.3.0"),
        (SystemExit(1), Ending.DEFERRED, "4.3.0"),
    ],
)
def test_what_a_sink_raises_becomes_the_outcome(kit, engine_of, error, ending, status):
    taken = engine_of(sink=kit.memory_sink(raising(error))).take(kit.raw_of("x", to="a@x, b@x"))
    assert (taken.own.ending, str(taken.own.status)) == (ending, status)
    assert len(taken.own.receipt.recipients) == 2
    assert bool(taken.in_doubt) == (getattr(error, "in_doubt", False) is True)


@pytest.mark.parametrize("answer", [None, "ok", Receipt(()), []])
def test_a_sink_that_says_nothing_defers(kit, engine_of, answer):
    own = engine_of(sink=kit.memory_sink(lambda mail: answer)).take(kit.raw_of("x", to="a@x, b@x")).own
    assert own.ending is Ending.DEFERRED
    assert [entry.fate for entry in own.receipt.recipients] == [Fate.DEFERRED, Fate.DEFERRED]


def some(*fates):
    """A sink's answer with a fate for each recipient."""
    statuses = {Fate.DELIVERED: "2.1.5", Fate.FAILED: "5.1.1", Fate.DEFERRED: "4.2.2", Fate.IN_DOUBT: "4.4.2"}

    def answer(mail):
        pairs = zip(mail.envelope.forward_paths, fates, strict=False)
        return Receipt(tuple(
            RecipientReceipt(path, fate, EnhancedStatus.parse(statuses[fate]), fate.value) for path, fate in pairs
        ))  # fmt: skip

    return answer


@pytest.mark.parametrize(
    ("fates", "without", "with_queue"),
    [
        ((Fate.DELIVERED, Fate.DELIVERED), Ending.DELIVERED, Ending.DELIVERED),
        ((Fate.DELIVERED, Fate.FAILED), Ending.FAILED, Ending.FAILED),
        ((Fate.DELIVERED, Fate.DEFERRED), Ending.DEFERRED, Ending.QUEUED),
        ((Fate.FAILED, Fate.DEFERRED), Ending.DEFERRED, Ending.QUEUED),
        ((Fate.IN_DOUBT, Fate.DELIVERED), Ending.DEFERRED, Ending.QUEUED),
    ],
)
def test_each_recipient_has_its_fate_and_the_queue_takes_what_waits(kit, engine_of, tmp_path, fates, without, with_queue):
    raw = kit.raw_of("x", to="a@x.example, b@x.example")
    assert engine_of(sink=kit.memory_sink(some(*fates))).take(raw).own.ending is without
    with Queue(tmp_path / "queue") as queue:
        own = engine_of(sink=kit.memory_sink(some(*fates)), queue=queue).take(raw).own
        assert own.ending is with_queue
        waiting = [entry for entry in queue.list() if entry.envelope.forward_paths]
        open_fates = [path for path, fate in zip("ab", fates, strict=True) if fate in (Fate.DEFERRED, Fate.IN_DOUBT)]
        assert [entry.envelope.addresses for entry in waiting] == ([(f"{open_fates[0]}@x.example",)] if open_fates else [])
        assert all(entry.octets == kit.octets_of("x", "a@x.example, b@x.example") for entry in waiting)


def test_a_queue_that_fails_leaves_the_mail_with_its_source(kit, engine_of):
    class Full:
        def put(self, *_, **__):
            raise OutputError("queue", "cannot write: no space", is_full=True)

    own = engine_of(sink=kit.memory_sink(some(Fate.DEFERRED)), queue=Full()).take(kit.raw_of("x")).own
    assert own.ending is Ending.DEFERRED and "could not be queued: queue: cannot write: no space" in own.reason


@pytest.mark.parametrize(
    ("policy", "ending"), [("fail", Ending.FAILED), ("quarantine", Ending.QUARANTINED), ("defer", Ending.DEFERRED)]
)
def test_no_recipient_is_told_where_the_sink_needs_one(kit, engine_of, policy, ending):
    sink = kit.memory_sink()
    rule = EnvelopeRule(on_missing=policy)
    assert engine_of(sink=sink, rule=rule).take(kit.raw_of("x", to="")).own.ending is Ending.DELIVERED
    sink.needs_recipients = True
    own = engine_of(sink=sink, rule=rule).take(kit.raw_of("x", to="")).own
    assert own.ending is ending and own.reason.startswith("no recipient found in to, cc, bcc")
    assert len(sink.mails) == 1


def test_a_message_over_the_limit_is_rejected_unread(kit, engine_of):
    own = engine_of(message_size=50).take(kit.raw_of("x", body="x" * 100)).own
    assert own.ending is Ending.REJECTED and str(own.status) == "5.3.4" and "message_size of 50" in own.reason


def test_recipients_that_were_served_are_not_served_again(kit, engine_of, tmp_path):
    path, raw, digest = tmp_path / "j", kit.raw_of("x", to="a@x.example, b@x.example"), b"0123456789abcdef"
    first = kit.memory_sink(some(Fate.DELIVERED, Fate.DEFERRED))
    with Journal.open(path, {}) as journal:
        assert engine_of(sink=first, journal=journal).take(raw, digest).own.ending is Ending.DEFERRED
    second = kit.memory_sink()
    with Journal.open(path, {}) as journal:
        own = engine_of(sink=second, journal=journal).take(raw, digest, journal.history(digest)).own
    assert second.mails[0].envelope.addresses == ("b@x.example",)
    assert own.ending is Ending.DELIVERED and len(own.receipt.recipients) == 2
    with Journal.open(path, {}) as journal:
        assert digest in journal.done


def test_children_that_ended_are_not_made_again(kit, engine_of, tmp_path):
    path, raw, digest = tmp_path / "j", kit.raw_of("x"), b"0123456789abcdef"
    broken = [True]

    def split(mail):
        for subject in ("one", "two"):
            yield mail.with_message(mail.message.with_header(mail.message.header.with_field("Subject", subject)))

    def fail(mail):
        return boom(mail) if mail.message.subject == "two" and broken else mail

    with Journal.open(path, {}) as journal:
        taken = engine_of(split, fail, journal=journal).take(raw, digest)
        assert endings(taken) == [Ending.DEFERRED, Ending.DELIVERED, Ending.DEFERRED]
    broken.clear()
    sink = kit.memory_sink()
    with Journal.open(path, {}) as journal:
        taken = engine_of(split, fail, sink=sink, journal=journal).take(raw, digest, journal.history(digest))
    assert endings(taken) == [Ending.SPLIT, Ending.DELIVERED] and taken.skipped == 1
    assert [mail.message.subject for mail in sink.mails] == ["two"]


ACTIONS = st.sampled_from(["pass", "drop", "reject", "defer", "quarantine", "accept", "raise", "none", "two", "zero"])


def obey(mail, script, at):
    """What the script says at a stage, for the mail with that many ancestors and siblings."""
    action = script[(at + len(mail.origin.ident)) % len(script)] if script else "pass"
    match action:
        case "raise":
            raise RuntimeError("as it was told")
        case "drop" | "reject" | "defer" | "quarantine" | "accept":
            return getattr(Verdict, action)("as it was told")
        case "two":
            return [mail, mail]
        case "zero":
            return ()
        case "none":
            return None
    return mail


@given(
    scripts=st.lists(st.lists(ACTIONS, max_size=4), min_size=1, max_size=12),
    fates=st.lists(st.sampled_from(["delivered", "failed", "deferred", "raise", "nonsense"]), min_size=1, max_size=5),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_happens_the_counts_add_up(kit, engine_of, scripts, fates):
    turn = iter(range(10_000))

    def answer(mail):
        fate = fates[next(turn) % len(fates)]
        if fate == "raise":
            raise RuntimeError("as it was told")
        return 7 if fate == "nonsense" else Receipt.of_all(mail.envelope.forward_paths, Fate(fate), "2.0.0")

    sink, tally, current = kit.memory_sink(answer), Tally(), [()]
    stages = [lambda mail, at=at: obey(mail, current[0], at) for at in range(3)]
    engine = engine_of(*stages, sink=sink)
    for number, script in enumerate(scripts):
        current[0] = script
        taken = engine.take(kit.raw_of("x", number))
        tally.count(taken.outcomes)
        if any(not outcome.ending.is_settled for outcome in taken.outcomes):
            assert taken.own.ending is Ending.DEFERRED
        report = tally.report()
        assert report.is_balanced and report.entered == number + 1
        assert report.entered + report.emitted == sum(report.endings.values())


def test_a_split_mail_tells_what_became_of_its_children(kit, engine_of):
    reject = Verdict.reject("not this one")
    last = engine_of(lambda mail: [mail, mail], lambda mail: reject if mail.origin.ident.endswith("/2") else mail)
    own = last.take(kit.raw_of("x")).own
    assert own.ending is Ending.SPLIT
    assert [child.ending for child in own.children] == [Ending.DELIVERED, Ending.REJECTED]


def test_who_listens_is_told_each_outcome_once_it_is_on_record(kit, engine_of, tmp_path):
    heard = []

    def deaf(outcome):
        raise RuntimeError("cannot hear")

    def split(mail):
        return [mail, mail] if mail.message.subject == "two" else mail

    engine = engine_of(split, listeners=(deaf, heard.append))
    outcomes = [outcome for subject in ("one", "two") for outcome in engine.take(kit.raw_of(subject)).outcomes]
    assert sorted(outcome.origin.key for outcome in heard) == sorted(outcome.origin.key for outcome in outcomes)
    assert [outcome.ending for outcome in heard] == [Ending.DELIVERED, Ending.DELIVERED, Ending.DELIVERED, Ending.SPLIT]


def test_what_is_made_of_a_mail_knows_what_it_was_made_of():
    origin = Origin("mbox", "archive.mbox", 7)
    copy = origin.child(2).copy("archive")
    assert (copy.key, copy.root, copy.branch) == ("mbox:archive.mbox:7/2/archive", origin.key, "/archive")
    assert (origin.root, origin.child(2).root, origin.child(2).branch) == ("", origin.key, "")
