import os
import random

import pytest

from mailpipe.errors import InputError, OutputError
from mailpipe.queue import Queue, RecipientState
from mailpipe.smtp.envelope import Envelope, ForwardPath, MailParameters
from mailpipe.status import EnhancedStatus

TO = Envelope.of("ann@example.org", "bob@example.net")
BOTH = Envelope.of("ann@example.org", "bob@example.net", "carol@example.net")
REFUSED = (EnhancedStatus(4, 4, 1), "connection refused")
DAY = 86400


def states(queue, identifier):
    return [one.state.value for one in queue.show(identifier).recipients]


def content_files(queue):
    return [path for path in (queue.directory / "content").rglob("*") if path.is_file()]


def test_opening_makes_a_private_directory(tmp_path):
    with Queue(tmp_path / "a" / "b") as queue:
        assert queue.directory.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("options", [{"retry": "often"}, {"expire": "never"}, {"in_doubt": "ignore"}])
def test_options_of_another_form_are_refused(tmp_path, options):
    with pytest.raises(ValueError):
        Queue(tmp_path / "queue", **options)


def test_a_directory_that_is_a_file_is_told(tmp_path):
    (tmp_path / "queue").touch()
    with pytest.raises(OutputError):
        Queue(tmp_path / "queue")


def test_what_was_put_in_comes_out_with_its_envelope(queue, clock):
    envelope = Envelope(
        "ann@example.org",
        (ForwardPath("bob@example.net", ("FAILURE", "DELAY"), "rfc822;bob", (("X", None),)), ForwardPath("c@d")),
        MailParameters("8BITMIME", "HDRS", "id+2B1", smtputf8=True, parameters=(("MT-PRIORITY", "3"),)),
    )
    identifier = queue.put(b"Subject: x\r\n\r\n\x80", envelope, origin="archive.mbox:120", route="relay")
    (entry,) = queue.lease()
    assert (entry.id, entry.envelope, entry.octets) == (identifier, envelope, b"Subject: x\r\n\r\n\x80")
    assert (entry.origin, entry.route, entry.created, entry.attempts) == ("archive.mbox:120", "relay", clock.timestamp, 0)


def test_a_new_message_is_due_at_once_and_a_deferred_one_after_the_first_delay(make_queue, clock):
    queue = make_queue(retry="5m", random=random.Random(1))
    queue.schedule = queue._policy.schedule
    fresh = queue.put(b"", TO, origin="test")
    again = queue.put(b"", TO, origin="test", reasons=[REFUSED])
    assert [entry.id for entry in queue.due()] == [fresh]
    waiting = queue.show(again).recipients[0]
    assert (waiting.attempts, waiting.status, waiting.diagnostic) == (1, *REFUSED)
    assert 270 <= waiting.next_try - clock.timestamp <= 330
    assert queue.next_try() == clock.timestamp


def test_reasons_are_given_to_all_to_each_or_by_address(queue):
    full = (EnhancedStatus(4, 2, 2), "full")

    def words(**options):
        return [one.diagnostic for one in queue.show(queue.put(b"", BOTH, origin="test", **options)).recipients]

    assert words(reasons=[full]) == ["full", "full"]
    assert words(reasons=[full, REFUSED]) == ["full", "connection refused"]
    assert words(reasons={"carol@example.net": full}) == ["", "full"]
    with pytest.raises(ValueError, match="3 reasons for 2 recipients"):
        queue.put(b"", BOTH, origin="test", reasons=[full] * 3)
    assert len(content_files(queue)) == 3


def test_words_that_are_no_utf8_are_kept_readable(queue):
    reason = (EnhancedStatus(4, 0, 0), "b\udcff\x00d")
    entry = queue.show(queue.put(b"", TO, origin="/mail/\udce4", reasons=[reason]))
    assert entry.origin == "/mail/\\udce4" and entry.recipients[0].diagnostic == "b\\udcff\x00d"


def test_an_envelope_without_recipients_is_kept_too(queue, answering):
    identifier = queue.put(b"x", Envelope.of("ann@example.org"), origin="test")
    (entry,) = queue.lease()
    assert entry.envelope.forward_paths == () and entry.id == identifier
    queue.settle(entry, answering("deferred")(entry))
    assert states(queue, identifier) == ["waiting"] and queue.show(identifier).recipients[0].diagnostic == "told so"
    queue.flush()
    (entry,) = queue.lease()
    queue.settle(entry, answering("delivered")(entry))
    assert list(queue.list()) == []


def test_a_delivered_message_leaves_nothing(queue, answering):
    queue.put(b"x", BOTH, origin="test")
    (entry,) = queue.lease()
    settled = queue.settle(entry, answering()(entry))
    assert [one.state for one in settled] == [RecipientState.DELIVERED] * 2
    assert list(queue.list()) == [] and content_files(queue) == [] and queue.counts().messages == 0


def test_each_recipient_goes_its_own_way(queue, clock, answering):
    identifier = queue.put(b"x", Envelope.of("", "a@x", "b@x", "c@x", "d@x"), origin="test")
    (entry,) = queue.lease()
    queue.settle(entry, answering(a="delivered", b="failed", c="deferred", d="in-doubt")(entry))
    assert states(queue, identifier) == ["delivered", "failed", "waiting", "in-doubt"]
    assert list(queue.lease()) == []
    clock.sleep(DAY)
    (entry,) = queue.lease()
    assert entry.envelope.addresses == ("c@x", "d@x") and entry.attempts == 1
    queue.settle(entry, answering()(entry))
    assert states(queue, identifier) == ["delivered", "failed", "delivered", "delivered"]
    assert [one.id for one in queue.list("failed")] == [identifier]
    assert list(queue.list("waiting", RecipientState.IN_DOUBT)) == []
    assert queue.show(identifier).recipients[1].diagnostic == "told so"
    queue.remove(identifier)
    assert list(queue.list()) == [] and content_files(queue) == []


def test_equal_recipients_take_their_results_in_order(queue, result):
    identifier = queue.put(b"", Envelope.of("", "a@x", "b@x", "a@x"), origin="test")
    (entry,) = queue.lease()
    queue.settle(entry, [result("a@x", "delivered"), result("b@x", "delivered"), result("a@x", "failed")])
    assert states(queue, identifier) == ["delivered", "delivered", "failed"]


def test_a_recipient_without_a_result_is_deferred_and_a_stranger_is_ignored(queue, result):
    identifier = queue.put(b"", BOTH, origin="test")
    (entry,) = queue.lease()
    queue.settle(entry, [result("bob@example.net", "delivered"), result("stranger@x", "delivered")])
    assert states(queue, identifier) == ["delivered", "waiting"]
    assert "no result" in queue.show(identifier).recipients[1].diagnostic


def test_only_what_was_leased_can_be_settled(queue, answering):
    entry = queue.show(queue.put(b"", TO, origin="test"))
    with pytest.raises(ValueError, match="not leased"):
        queue.settle(entry, answering()(entry))


def test_failed_and_expired_recipients_stay_with_their_reason(make_queue, clock, answering):
    queue = make_queue(retry="1h", expire="2h")
    identifier = queue.put(b"", TO, origin="test")
    for _ in range(2):
        (entry,) = queue.lease()
        queue.settle(entry, answering("deferred")(entry))
        clock.sleep(2 * 3600)
    assert states(queue, identifier) == ["expired"]
    assert queue.show(identifier).recipients[0].diagnostic == "told so"
    assert list(queue.lease()) == [] and queue.next_try() is None
    queue.requeue(identifier)
    (entry,) = queue.lease()
    queue.settle(entry, answering("deferred")(entry))
    assert states(queue, identifier) == ["waiting"] and queue.show(identifier).since == clock.timestamp


def test_a_message_that_nobody_tried_for_a_month_is_tried_before_it_expires(queue, clock, answering):
    identifier = queue.put(b"", TO, origin="test", reasons=[REFUSED])
    clock.sleep(30 * DAY)
    (entry,) = queue.lease()
    queue.settle(entry, answering("deferred")(entry))
    assert states(queue, identifier) == ["expired"]


def test_a_leased_message_is_given_to_nobody_else(queue, make_queue):
    queue.put(b"", TO, origin="test")
    other = make_queue()
    (entry,) = queue.lease()
    assert list(other.lease()) == [] and list(queue.lease()) == [] and list(other.due()) == []
    assert other.counts().leased == 1 and entry.leased_until is not None
    queue.give_back(entry)
    (entry,) = other.lease()
    assert entry.attempts == 0 and entry.recipients[0].state == "waiting"


def test_an_expired_lease_is_in_doubt_and_its_late_result_counts_where_it_is_final(queue, make_queue, clock, answering):
    identifier = queue.put(b"", BOTH, origin="test")
    other = make_queue()
    (slow,) = queue.lease()
    clock.sleep(3601)
    assert list(other.lease()) == []
    assert states(queue, identifier) == ["in-doubt", "in-doubt"]
    clock.sleep(DAY)
    (taken,) = other.lease()
    queue.settle(slow, answering(bob="delivered", carol="deferred")(slow))
    assert states(queue, identifier) == ["delivered", "in-doubt"]
    other.settle(taken, answering(bob="failed", carol="failed")(taken))
    assert states(queue, identifier) == ["delivered", "failed"]


def test_a_renewed_lease_lasts_longer_and_a_lost_one_cannot_be_renewed(queue, make_queue, clock):
    queue.put(b"", TO, origin="test")
    (entry,) = queue.lease()
    clock.sleep(3000)
    assert queue.renew(entry)
    clock.sleep(3000)
    assert list(make_queue().lease()) == []
    clock.sleep(DAY)
    make_queue()
    assert not queue.renew(entry)


def test_the_leases_of_a_dead_process_are_free_at_once_and_in_doubt(queue, make_queue, clock, crash):
    identifier = queue.put(b"", TO, origin="test")
    list(queue.lease())
    crash(queue)
    other = make_queue()
    assert states(other, identifier) == ["in-doubt"] and other.counts().leased == 0
    assert other.show(identifier).attempts == 1 and "ended before" in other.show(identifier).recipients[0].diagnostic
    assert list(other.lease()) == []  # by the schedule: it may be what the process died of
    clock.sleep(DAY)
    assert len(list(other.lease())) == 1


def test_in_doubt_with_hold_waits_for_a_human(make_queue, clock, crash, answering):
    queue = make_queue(in_doubt="hold")
    crashed, told = (queue.put(b"", TO, origin="test") for _ in range(2))
    given = queue.put(b"", TO, origin="test", in_doubt={"bob@example.net"})
    leases = queue.lease()
    next(leases)
    entry = next(leases)
    queue.settle(entry, answering("in-doubt")(entry))
    crash(queue)
    queue = make_queue(in_doubt="hold")
    clock.sleep(30 * DAY)
    queue.flush()
    assert list(queue.lease()) == []
    assert [states(queue, one) for one in (crashed, told, given)] == [["in-doubt"]] * 3
    queue.release(told)
    assert [entry.id for entry in queue.lease()] == [told]


def test_in_doubt_that_was_to_be_resent_waits_once_hold_is_chosen(make_queue, clock):
    identifier = make_queue().put(b"", TO, origin="test", in_doubt=[ForwardPath("bob@example.net")])
    queue = make_queue(in_doubt="hold")
    clock.sleep(DAY)
    assert list(queue.lease()) == [] and states(queue, identifier) == ["in-doubt"]


def test_in_doubt_never_expires(queue, clock, answering):
    identifier = queue.put(b"", TO, origin="test")
    clock.sleep(30 * DAY)
    (entry,) = queue.lease()
    queue.settle(entry, answering("in-doubt")(entry))
    assert states(queue, identifier) == ["in-doubt"] and queue.next_try() is None


def test_only_what_was_journalled_is_in_doubt(queue, make_queue, crash):
    journalled, untouched = (queue.put(b"", BOTH, origin="test") for _ in range(2))
    leases = queue.lease(is_attempt=False)
    entry = next(leases)
    assert entry.id == journalled and next(leases).id == untouched
    queue.journal(entry, ForwardPath("bob@example.net"))
    crash(queue)
    queue = make_queue()
    assert states(queue, journalled) == ["in-doubt", "waiting"] and states(queue, untouched) == ["waiting", "waiting"]
    assert [(one.id, one.envelope.addresses) for one in queue.lease()] == [
        (journalled, ("carol@example.net",)), (untouched, BOTH.addresses),
    ]  # fmt: skip


def test_nothing_is_sent_on_a_lease_that_has_ended(queue, make_queue, clock):
    queue.put(b"", TO, origin="test")
    (entry,) = queue.lease(is_attempt=False)
    clock.sleep(3601)
    assert len(list(make_queue().lease())) == 1
    with pytest.raises(OutputError, match="must not be sent"):
        queue.journal(entry)


def test_flush_brings_everything_forward_but_what_is_held(queue, clock):
    waiting, held = (queue.put(b"", TO, origin="test", reasons=[REFUSED]) for _ in range(2))
    queue.hold(held)
    assert list(queue.due()) == [] and queue.flush() == 1
    assert [entry.id for entry in queue.lease()] == [waiting]
    clock.sleep(30 * DAY)
    queue.release(held)
    assert held in [entry.id for entry in queue.lease()]


def test_routes_are_kept_apart(queue):
    relay = queue.put(b"", TO, origin="test", route="relay", reasons=[REFUSED])
    direct = queue.put(b"", TO, origin="test", route="direct", reasons=[REFUSED])
    assert queue.flush(route="relay") == 1
    assert list(queue.lease(route="direct")) == []
    assert [entry.id for entry in queue.lease()] == [relay]
    queue.flush()
    assert [entry.id for entry in queue.lease(route="direct")] == [direct]


def test_a_message_held_during_its_attempt_stays_held_unless_it_was_settled(queue, answering):
    deferred, delivered = (queue.put(b"", TO, origin="test") for _ in range(2))
    leased = {entry.id: entry for entry in queue.lease()}
    queue.hold(deferred, delivered)
    queue.settle(leased[deferred], answering("deferred")(leased[deferred]))
    queue.settle(leased[delivered], answering("delivered")(leased[delivered]))
    assert [(entry.id, entry.recipients[0].state) for entry in queue.list()] == [(deferred, "held")]


def test_a_message_removed_during_its_attempt_stays_removed(queue, answering):
    identifier = queue.put(b"", TO, origin="test")
    (entry,) = queue.lease()
    queue.remove(identifier)
    assert queue.settle(entry, answering("deferred")(entry)) == ()
    assert list(queue.list()) == [] and content_files(queue) == []


@pytest.mark.parametrize("verb", ["show", "hold", "release", "requeue", "remove"])
def test_an_unknown_id_is_told_before_anything_is_changed(queue, verb):
    identifier = queue.put(b"", TO, origin="test")
    names = ["../../etc/passwd"] if verb == "show" else [identifier, "nonsense"]
    with pytest.raises(InputError, match="queue list"):
        getattr(queue, verb)(*names)
    assert states(queue, identifier) == ["waiting"]


def test_a_message_whose_content_is_missing_is_held_and_does_not_stop_the_others(queue):
    broken, whole = (queue.put(b"", TO, origin="test") for _ in range(2))
    queue.show(broken).content.unlink()
    assert [entry.id for entry in queue.lease()] == [whole]
    assert states(queue, broken) == ["held"] and "missing" in queue.show(broken).recipients[0].diagnostic
    assert queue.counts().leased == 1  # the whole one


def test_counts_add_up(queue, answering):
    for fates in ("delivered failed", "failed failed", "deferred in-doubt", "deferred deferred"):
        bob, carol = fates.split()
        queue.put(b"four", BOTH, origin="test")
        (entry,) = queue.lease()
        queue.settle(entry, answering(bob=bob, carol=carol)(entry))
    queue.put(b"four", TO, origin="test")
    counts = queue.counts()
    assert (counts.messages, counts.octets, counts.due, counts.leased) == (5, 20, 1, 0)
    assert counts.recipients == {
        "waiting": 4, "in-doubt": 1, "held": 0, "delivered": 1, "failed": 3, "expired": 0,
    }  # fmt: skip


@pytest.mark.parametrize("name", ["open", "write", "fsync", "rename"])
def test_put_either_succeeds_or_leaves_nothing(queue, faults, code, name):
    octets, number = os.urandom(1_500_000), 0
    while True:
        number += 1
        faults.arm(name, number, code)
        try:
            identifier = queue.put(octets, TO, origin="test")
            break
        except OutputError:
            pass
        finally:
            faults.disarm()
        assert list(queue.list()) == [] and content_files(queue) == []
    assert number > 1 and queue.show(identifier).octets == octets
    assert queue.doctor(deep=True) == ()


def test_a_settled_message_whose_file_cannot_be_removed_is_settled_all_the_same(queue, faults, code, answering):
    queue.put(b"x", TO, origin="test")
    (entry,) = queue.lease()
    faults.arm("unlink", 1, code, then_all=True)
    queue.settle(entry, answering()(entry))
    faults.disarm()
    assert list(queue.list()) == [] and len(content_files(queue)) == 1
    assert [finding.kind for finding in queue.doctor(repair=True)] == ["settled-content"]
    assert content_files(queue) == [] and queue.doctor() == ()
