"""What a run remembers, whatever stopped it."""

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpipe.errors import EX_TEMPFAIL, ConfigError, OutputError
from mailpipe.pipeline.journal import NO_HISTORY, DigestSet, Journal, digest_of, outcome_from
from mailpipe.pipeline.mail import AttachmentSaved, Origin
from mailpipe.pipeline.outcome import Ending, Fate, Outcome, Receipt, RecipientReceipt
from mailpipe.smtp.envelope import ForwardPath
from mailpipe.status import EnhancedStatus

SETTINGS = {"stage": "s", "sink": "t", "envelope": "e", "limits": "l"}
ORIGIN = Origin("mbox", "archive.mbox", 42, 7)
OK = EnhancedStatus(2, 0, 0)


def outcome(ending=Ending.DELIVERED, origin=ORIGIN, **more):
    return Outcome(origin, ending, OK, "as it is", **more)


def digest(number):
    return digest_of(Origin("mbox", "a", number), b"octets")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.journal"


def reopened(path):
    return Journal.open(path, SETTINGS)


def test_what_ended_is_done_and_what_was_begun_is_in_doubt(path):
    with reopened(path) as journal:
        journal.begin(digest(1), ORIGIN)
        journal.end(digest(1), outcome())
        journal.begin(digest(2), Origin("mbox", "b", 9))
    with reopened(path) as journal:
        assert digest(1) in journal.done and digest(2) not in journal.done
        assert journal.in_doubt == {digest(2): ["mbox:b:9"]}
        assert journal.history(digest(2)) is NO_HISTORY


def test_a_deferred_mail_is_not_done_and_its_settled_recipients_are_known(path):
    entries = (
        RecipientReceipt(ForwardPath("a@x"), Fate.DELIVERED, OK),
        RecipientReceipt(ForwardPath("b@x"), Fate.DEFERRED, EnhancedStatus(4, 2, 2)),
        RecipientReceipt(ForwardPath("c@x"), Fate.FAILED, EnhancedStatus(5, 1, 1)),
    )
    with reopened(path) as journal:
        journal.begin(digest(1), ORIGIN)
        journal.end(digest(1), outcome(Ending.DEFERRED, receipt=Receipt(entries)))
    with reopened(path) as journal:
        assert digest(1) not in journal.done and not journal.in_doubt
        assert journal.history(digest(1)).recipients == {digest(1): frozenset({"a@x", "c@x"})}


def test_the_settled_children_of_an_unfinished_mail_are_known(path):
    with reopened(path) as journal:
        for root in (1, 2):
            for child in (10, 20):
                journal.end(digest(root * child), outcome(), digest(root))
        journal.end(digest(2), outcome(Ending.SPLIT))
    with reopened(path) as journal:
        assert journal.history(digest(1)).children == frozenset({digest(10), digest(20)})
        assert journal.history(digest(2)) is NO_HISTORY
        assert digest(2) in journal.done and digest(20) not in journal.done


@pytest.mark.parametrize("cut", [1, 5, 30, 60, 120])
def test_a_torn_last_line_says_nothing_and_the_next_line_is_whole(path, cut):
    with reopened(path) as journal:
        journal.end(digest(1), outcome())
        journal.begin(digest(2), ORIGIN)
        whole = path.stat().st_size
        journal.end(digest(2), outcome())
    os.truncate(path, whole + cut)
    with reopened(path) as journal:
        assert digest(1) in journal.done
        # a line that got as far as its root had its receipt: the mail did end
        assert (digest(2) in journal.done) == (digest(2) not in journal.in_doubt)
        journal.end(digest(3), outcome())
    with reopened(path) as journal:
        assert digest(1) in journal.done and digest(3) in journal.done


@pytest.mark.parametrize("size", [0, 1, 10, 25, 60])
def test_a_journal_whose_first_line_is_torn_begins_anew(path, size):
    reopened(path).close()
    os.truncate(path, size)
    with reopened(path) as journal:
        journal.end(digest(1), outcome())
    with reopened(path) as journal:
        assert digest(1) in journal.done


@given(st.binary(max_size=200))
def test_octets_in_the_middle_lose_nothing_behind_them(tmp_path_factory, noise):
    path = tmp_path_factory.mktemp("journal") / "j"
    with reopened(path) as journal:
        journal.end(digest(1), outcome())
    with path.open("ab") as file:
        file.write(noise + b"\n")
    with reopened(path) as journal:
        journal.end(digest(2), outcome())
    with reopened(path) as journal:
        assert digest(1) in journal.done and digest(2) in journal.done
        assert len(journal.done) <= 3


def test_a_journal_of_another_pipeline_is_refused_with_the_table_that_changed(path):
    with reopened(path) as journal:
        journal.begin(digest(1), ORIGIN)
    with pytest.raises(ConfigError, match=r"\[\[stage\]\] and \[sink\] changed since this journal was begun.*--fresh"):
        Journal.open(path, SETTINGS | {"stage": "other", "sink": "other"})
    with Journal.open(path, SETTINGS | {"stage": "other"}, fresh=True) as journal:
        journal.end(digest(1), outcome())
    assert path.with_name("run.journal.old").exists()
    with Journal.open(path, SETTINGS | {"stage": "other"}) as journal:
        assert digest(1) in journal.done


def test_a_journal_in_which_nothing_was_begun_takes_new_settings(path):
    reopened(path).close()
    with Journal.open(path, SETTINGS | {"stage": "other"}) as journal:
        journal.end(digest(1), outcome())
    with pytest.raises(ConfigError):
        reopened(path)


@pytest.mark.parametrize("content", [b"my notes\n", b"\x00" * 5000, b'{"other": 1}\n', b"notes without an end"])
@pytest.mark.parametrize("fresh", [False, True])
def test_a_file_that_is_no_journal_is_left_alone(path, content, fresh):
    path.write_bytes(content)
    with pytest.raises(OutputError, match="no journal; name another one"):
        Journal.open(path, SETTINGS, fresh=fresh)
    assert path.read_bytes() == content


def test_a_second_run_is_refused_while_the_first_one_goes_on(path):
    with reopened(path) as journal:
        for fresh in (False, True):
            with pytest.raises(OutputError, match="another run of this pipeline is using this journal") as caught:
                Journal.open(path, SETTINGS, fresh=fresh)
            assert caught.value.exit_code == EX_TEMPFAIL
        shared = Journal(os.dup(journal.fileno()), path)
    with pytest.raises(OutputError):
        reopened(path)  # a worker still has it
    shared.close()
    reopened(path).close()


def test_a_journal_that_cannot_be_made_says_how_to_do_without(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"set \[run\] journal to another file, or to false"):
        Journal.open(tmp_path / "file" / "j", SETTINGS)


def test_a_full_disk_is_told_and_is_transient():
    with pytest.raises(OutputError, match="No space left on device") as caught:
        Journal(os.open("/dev/full", os.O_WRONLY), ORIGIN).begin(digest(1), ORIGIN)
    assert caught.value.is_full and caught.value.exit_code == EX_TEMPFAIL


def test_outcomes_share_a_sync(path):
    with reopened(path) as journal:
        assert not journal.is_due
        for number in range(256):
            assert not journal.is_due or number
            journal.end(digest(number), outcome())
        assert journal.is_due
        journal.sync()
        assert not journal.is_due


def test_a_line_tells_the_whole_story(path):
    attachment = AttachmentSaved("2", "a.pdf", "out/a.pdf", "application/pdf", 5, "abc")
    receipt = Receipt.of_all((ForwardPath("b@x"),), Fate.DELIVERED, "2.0.0", "250 ok", "Q1")
    told = outcome(receipt=receipt, defects={"bare-lf": 2}, attachments=(attachment,), changes=("x: y",), size_in=3)
    with reopened(path) as journal:
        journal.end(digest(1), told)
        written = journal.written_for({digest(1)})[digest(1)]
    fields = json.loads(path.read_bytes().splitlines()[-1])
    assert fields["recipients"] == [["b@x", "delivered", "2.0.0", "250 ok"]] and fields["reference"] == "Q1"
    assert fields["attachments"] == [{"part": "2", "filename": "a.pdf", "path": "out/a.pdf", "sha256": "abc"}]
    assert (fields["defects"], fields["changes"], fields["key"]) == ({"bare-lf": 2}, ["x: y"], ORIGIN.key)
    again = outcome_from(written.own, ORIGIN)
    assert (again.ending, again.reason, again.defects, again.size_in) == (told.ending, told.reason, told.defects, 3)


def test_a_mail_is_known_by_its_place_and_its_octets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path)
    base = digest_of(Origin("mbox", "a.mbox", 7), b"x")
    assert digest_of(Origin("mbox", str(tmp_path / "a.mbox"), 7, 99), b"x") == base
    assert digest_of(Origin("mbox", "link/a.mbox", 7), b"x") == base
    others = [
        digest_of(Origin("mbox", "a.mbox", 8), b"x"), digest_of(Origin("mbox", "a.mbox", 7), b"y"),
        digest_of(Origin("mbox", "b.mbox", 7), b"x"), digest_of(Origin("eml", "a.mbox", 7), b"x"),
        digest_of(Origin("mbox", "a.mbox", 7, ident="7/1"), b"x"), digest_of(Origin("stdin", "-"), b"x"),
    ]  # fmt: skip
    assert len({base, *others}) == 7


@given(st.lists(st.binary(min_size=16, max_size=16) | st.sampled_from([b"\0" * 16, b"\0" * 15 + b"\1", b"ab" * 8])))
def test_a_digest_set_is_a_set(digests):
    compact, plain = DigestSet(), set()
    for each in digests:
        assert (each in compact) == (each in plain)
        compact.add(each)
        plain.add(each)
    assert len(compact) == len(plain) and all(each in compact for each in plain)
