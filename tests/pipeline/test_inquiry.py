"""A journal is asked about mails: how they ended, in every run that had them in hand."""

import json
import tracemalloc

import pytest

from mailpipe import Origin
from mailpipe.errors import InputError
from mailpipe.pipeline.inquiry import Wanted, inquire, is_journal, root_key
from mailpipe.pipeline.journal import Journal, digest_of
from mailpipe.pipeline.outcome import Ending, Fate, Outcome, Receipt
from mailpipe.smtp.envelope import ForwardPath
from mailpipe.status import EnhancedStatus


def outcome(origin, ending, status="2.0.0", reason="", *recipients):
    fates = {"delivered": Fate.DELIVERED, "failed": Fate.FAILED, "deferred": Fate.DEFERRED}
    receipt = None
    if recipients:
        paths = tuple(ForwardPath(each) for each in recipients)
        receipt = Receipt.of_all(paths, fates[ending.value], status, reason)
    return Outcome(origin, ending, EnhancedStatus.parse(status), reason, stage="" if receipt else "check", receipt=receipt)


@pytest.fixture
def path(tmp_path):
    """Four mails: delivered at the second try, rejected, split in two of which one failed, begun and not ended."""
    origins = [Origin("mbox", "folder/a.mbox", offset) for offset in (10, 200, 300, 400)]
    digests = [digest_of(each, b"octets") for each in origins]
    place = tmp_path / "p.journal"
    with Journal.open(place, {"stage": "x"}) as journal:
        journal.begin(digests[0], origins[0])
        journal.end(digests[0], outcome(origins[0], Ending.DEFERRED, "4.4.1", "refused", "Bo@example.net"))
        journal.end(digests[1], outcome(origins[1], Ending.REJECTED, "5.7.1", "not here"))
    with Journal.open(place, {"stage": "x"}) as journal:
        journal.begin(digests[0], origins[0])
        journal.end(digests[0], outcome(origins[0], Ending.DELIVERED, "2.0.0", "ok", "Bo@example.net"))
        for number, ending, status in ((1, Ending.DELIVERED, "2.0.0"), (2, Ending.FAILED, "5.1.1")):
            child = origins[2].child(number)
            digest = digest_of(child, digests[2])
            journal.begin(digest, child, digests[2])
            journal.end(digest, outcome(child, ending, status, "", f"{number}@example.net"), digests[2])
        journal.end(digests[2], outcome(origins[2], Ending.SPLIT, "2.0.0", "2 mails"))
        journal.begin(digests[3], origins[3])
    with place.open("ab") as file:
        file.write(b'{"end":"0123\n{"begin":"\xff\n\n{"other":1}\n{"end":"' + digests[3].hex().encode())  # cut short
    return place


def keys(found):
    return [story.key for story in found.stories]


def test_what_did_not_end_well_is_told_where_nothing_is_asked(path):
    found = inquire(path, Wanted())
    assert keys(found) == ["mbox:folder/a.mbox:200", "mbox:folder/a.mbox:300", "mbox:folder/a.mbox:400"]
    assert [story.ending for story in found.stories] == ["rejected", "split", "in-doubt"]
    assert found.matched == 3 and not found.is_cut and found.begun


@pytest.mark.parametrize("key", ["mbox:folder/a.mbox:10", "folder/a.mbox:10", "a.mbox:10"])
def test_every_attempt_is_told(path, key):
    (story,) = inquire(path, Wanted(key)).stories
    assert [each.ending for each in story.attempts] == ["deferred", "delivered"]
    assert story.attempts[0].fields["reason"] == "refused" and story.attempts[0].is_begun
    assert story.last.fields["recipients"] == [["Bo@example.net", "delivered", "2.0.0", "ok"]]


@pytest.mark.parametrize("key", ["a.mbox:300", "a.mbox:300/2"])
def test_what_was_made_of_a_mail_is_told_with_it(path, key):
    (story,) = inquire(path, Wanted(key)).stories
    assert (story.key, story.ending) == ("mbox:folder/a.mbox:300", "split")
    assert {name: [each.ending for each in made] for name, made in story.made.items()} == {
        "mbox:folder/a.mbox:300/1": ["delivered"], "mbox:folder/a.mbox:300/2": ["failed"],
    }  # fmt: skip


def test_a_digest_names_a_mail_too(path):
    (story,) = inquire(path, Wanted("a.mbox:200")).stories
    assert keys(inquire(path, Wanted(story.root))) == [story.key]


@pytest.mark.parametrize(
    ("wanted", "marks"),
    [
        (Wanted(ending="deferred"), []),  # its later ending counts
        (Wanted(ending="delivered"), ["10", "300"]),
        (Wanted(ending="rejected"), ["200"]),
        (Wanted(ending="failed"), ["300"]),
        (Wanted(ending="in-doubt"), ["400"]),
        (Wanted(recipient="bo@EXAMPLE.net"), ["10"]),
        (Wanted(recipient="2@example.net", ending="failed"), ["300"]),
        (Wanted(recipient="2@example.net", ending="delivered"), []),
        (Wanted(keys=frozenset({"mbox:folder/a.mbox:200", "x"})), ["200"]),
        (Wanted(key="a.mbox:400"), ["400"]),
    ],
)
def test_what_is_asked_for(path, wanted, marks):
    assert [key.rpartition(":")[2] for key in keys(inquire(path, wanted))] == marks


def test_the_nearest_are_named_where_none_fits(path):
    assert inquire(path, Wanted("folder/a.mbox:210")).nearest[0] == "mbox:folder/a.mbox:200"
    assert inquire(path, Wanted("mbox:folder/a.mbox:399")).nearest[0] == "mbox:folder/a.mbox:400"
    assert inquire(path, Wanted("folder/b.mbox:10")).nearest[0].startswith("mbox:folder/a.mbox:")
    assert inquire(path, Wanted("folder/a.mbox:200")).nearest == []


def test_only_so_many_stories_are_made(path):
    found = inquire(path, Wanted(), limit=1)
    assert (found.matched, len(found.stories)) == (3, 1)


def test_a_file_that_is_no_journal_is_refused(tmp_path):
    (tmp_path / "x").write_text("From ann\n")
    with pytest.raises(InputError, match="is no journal"):
        inquire(tmp_path / "x", Wanted())
    (tmp_path / "x").write_text('{"mailpipe_journal": 99}\n')
    with pytest.raises(InputError, match="another version"):
        inquire(tmp_path / "x", Wanted())
    with pytest.raises(InputError):
        is_journal(tmp_path / "gone")


def test_the_root_of_a_key():
    assert root_key("mbox:a:b.mbox:592/1/2") == "mbox:a:b.mbox:592"
    assert root_key("eml:letters:sub/x.eml") == "eml:letters:sub/x.eml"


def test_a_long_journal_is_never_held_in_memory(tmp_path):
    path = tmp_path / "long.journal"
    line = {"settled": 1, "key": "", "at": 1.0, "ending": "delivered", "status": "2.0.0", "reason": "x" * 200}
    with path.open("w") as file:
        file.write('{"mailpipe_journal":1,"settings":{},"begun":"x"}\n')
        for number in range(20_000):
            digest = f"{number:032x}"
            fields = {"end": digest, "root": digest} | line | {"key": f"mbox:a:{number}"}
            if number % 5000 == 0:
                fields["ending"] = "rejected"
            file.write(json.dumps(fields, separators=(",", ":")) + "\n")
    told = []
    tracemalloc.start()
    found = inquire(path, Wanted(), on_progress=told.append)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found.stories) == 4 and peak < path.stat().st_size / 4
    assert told[-1] == path.stat().st_size and len(told) > 4
