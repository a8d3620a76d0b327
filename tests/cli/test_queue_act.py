"""What a person decides about messages, by name or all that options leave."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mailpipe.errors import PermanentFailure
from mailpipe.queue import Entry, Queue, RecipientFate, RecipientResult, deliver_due
from mailpipe.smtp.envelope import Envelope
from mailpipe.status import EnhancedStatus

Run = Callable[..., object]


@pytest.fixture
def names(folder: Path) -> dict[str, str]:
    """Three messages: to bob, which failed; to carol, which waits; to dora, which is in doubt. name → id."""
    (folder / "queued.toml").write_text(
        '[sink]\nuse = "discard"\n[queue]\ndirectory = "spool"\nin_doubt = "ask"\nreports = true\n'
        'reports_from = "postmaster@mx.example.org"\n'
    )
    octets = (folder / "message.eml").read_bytes()

    def refuse(entry: object) -> list[object]:
        raise PermanentFailure("550 no")

    with Queue(folder / "spool", in_doubt="ask") as queue:
        made = {"bob": queue.put(octets, Envelope.of("ann@example.org", "bob@example.net"), origin="test")}
        deliver_due(queue, refuse)  # type: ignore[arg-type]
        made["carol"] = queue.put(octets, Envelope.of("ann@example.org", "carol@example.org"), origin="test")
        dora = "dora@example.net"
        made["dora"] = queue.put(octets, Envelope.of("ann@example.org", dora), origin="test", in_doubt={dora})
    return made


def listed(mailpipe: Run, *options: str) -> set[str]:
    messages = json.loads(mailpipe("queue", "list", "queued.toml", "--json", *options).text)["messages"]
    return {one["recipients"][0]["address"].partition("@")[0] for message in messages for one in [message]}


def states(mailpipe: Run) -> dict[str, str]:
    messages = json.loads(mailpipe("queue", "list", "queued.toml", "--json").text)["messages"]
    return {one["address"].partition("@")[0]: one["state"] for message in messages for one in message["recipients"]}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), {"bob", "carol", "dora"}),
        (("--state", "failed"), {"bob"}),
        (("--state", "failed", "--state", "waiting"), {"bob", "carol"}),
        (("--recipient", "Carol@Example.org"), {"carol"}),
        (("--recipient", "@example.net"), {"bob", "dora"}),
        (("--recipient", "@example.net", "--state", "failed"), {"bob"}),
        (("--in-doubt",), {"dora"}),
        (("--older", "1h"), set()),
        (("--older", "0s"), {"bob", "carol", "dora"}),
    ],
)
def test_the_list_is_limited_by_its_options(mailpipe: Run, names: dict[str, str], options: tuple[str, ...], expected: set[str]) -> None:
    assert listed(mailpipe, *options) == expected


def test_a_question_is_shown_with_its_words(mailpipe: Run, names: dict[str, str]) -> None:
    ended = mailpipe("queue", "list", "queued.toml", "--in-doubt")
    assert "was it delivered?" in ended.text and ended.err.startswith("3 messages (1 shown), ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("list", "queued.toml", "--older", "soon"), "no duration"),
        (("hold", "queued.toml"), "no message is named"),
        (("hold",), "no message is named"),
        (("hold", "queued.toml", "x", "--all"), "not both"),
        (("hold", "queued.toml", "x", "--state", "held"), "go with --all"),
        (("remove", "--all"), "which queue?"),
        (("settle", "queued.toml", "x"), "delivered or failed"),
    ],
)
def test_what_does_not_fit_together_is_said(mailpipe: Run, names: dict[str, str], arguments: tuple[str, ...], words: str) -> None:
    ended = mailpipe("queue", *arguments)
    assert ended.code == 64 and words in ended.err


def test_several_are_named_at_once_and_one_that_is_not_there_stops_all(mailpipe: Run, names: dict[str, str]) -> None:
    ended = mailpipe("queue", "requeue", "queued.toml", names["bob"], "nope")
    assert ended.code == 66 and states(mailpipe)["bob"] == "failed"
    assert mailpipe("queue", "requeue", "queued.toml", names["bob"], names["dora"]).code == 0
    assert states(mailpipe) == {"bob": "waiting", "carol": "waiting", "dora": "waiting"}


def test_all_means_all_that_the_options_leave(mailpipe: Run, names: dict[str, str]) -> None:
    ended = mailpipe("queue", "remove", "queued.toml", "--all", "--recipient", "@example.net")
    assert (ended.code, ended.err) == (0, "removed: 2 messages\n")
    assert states(mailpipe) == {"carol": "waiting"}
    assert mailpipe("queue", "hold", "--queue", "spool", "--all").code == 0
    assert states(mailpipe) == {"carol": "held"}
    assert mailpipe("queue", "release", "queued.toml", "--all", "--older", "1d").err == "released: 0 messages\n"


def test_a_bounce_tells_the_sender_by_a_report_in_the_queue(mailpipe: Run, names: dict[str, str]) -> None:
    ended = mailpipe("queue", "bounce", "queued.toml", names["carol"], "--reason", "the domain\nis gone")
    assert (ended.code, ended.err) == (0, f"bounced: {names['carol']}\n")
    assert states(mailpipe) == {"bob": "failed", "carol": "failed", "dora": "in-doubt", "ann": "waiting"}
    messages = json.loads(mailpipe("queue", "list", "queued.toml", "--json", "--recipient", "ann@example.org").text)
    (report,) = messages["messages"]
    content = mailpipe("queue", "show", "queued.toml", report["id"], "--content").out
    assert report["sender"] == "" and b"the domain is gone" in content and b"Final-Recipient: rfc822; carol@" in content
    mailpipe("queue", "bounce", "queued.toml", names["carol"])
    assert len(json.loads(mailpipe("queue", "list", "queued.toml", "--json").text)["messages"]) == 4  # told once


def test_a_bounce_that_nobody_hears_of_says_so(mailpipe: Run, names: dict[str, str]) -> None:
    ended = mailpipe("queue", "bounce", "--queue", "spool", names["carol"])
    assert ended.code == 0 and "nobody is told" in ended.err


def test_a_question_is_settled(mailpipe: Run, names: dict[str, str]) -> None:
    ended = mailpipe("queue", "settle", "queued.toml", names["dora"], "delivered")
    assert (ended.code, ended.err) == (0, f"settled: {names['dora']}\n")
    assert "dora" not in states(mailpipe)
    ended = mailpipe("queue", "settle", "queued.toml", names["carol"], "failed")
    assert ended.code == 66 and "in doubt" in ended.err


def test_a_question_that_is_settled_as_failed_is_reported(mailpipe: Run, names: dict[str, str]) -> None:
    assert mailpipe("queue", "settle", "queued.toml", names["dora"], "failed", "--recipient", "<dora@example.net>").code == 0
    assert states(mailpipe) == {"bob": "failed", "carol": "waiting", "dora": "failed", "ann": "waiting"}


def test_all_of_a_queue_that_no_run_has_needed_yet_is_nothing(mailpipe: Run, folder: Path) -> None:
    (folder / "queued.toml").write_text('[sink]\nuse = "discard"\n[queue]\ndirectory = "never"\n')
    assert mailpipe("queue", "remove", "queued.toml", "--all").code == 0
    assert mailpipe("queue", "remove", "--queue", "never", "--all").code == 66
    assert not (folder / "never").exists()


@pytest.fixture
def mixed(folder: Path, names: dict[str, str]) -> str:
    """A message of which bob was refused, carol waits, and dora is in doubt."""
    fates = {"bob": "failed", "carol": "deferred", "dora": "in-doubt"}
    envelope = Envelope.of("ann@example.org", "bob@example.net", "carol@example.org", "dora@example.net")

    def transport(entry: Entry) -> list[RecipientResult]:
        return [
            RecipientResult(path, RecipientFate(fates[path.address.partition("@")[0]]), EnhancedStatus(4, 0, 0), "said")
            for path in entry.envelope.forward_paths
        ]

    with Queue(folder / "spool", in_doubt="ask") as queue:
        queue.remove(*names.values())
        identifier = queue.put(b"Subject: x\r\n\r\n", envelope, origin="test")
        deliver_due(queue, transport)
    return identifier


def test_options_mean_recipients_and_not_whoever_shares_their_message(mailpipe: Run, mixed: str) -> None:
    assert mailpipe("queue", "requeue", "queued.toml", "--all", "--state", "failed").code == 0
    assert states(mailpipe) == {"bob": "waiting", "carol": "waiting", "dora": "in-doubt"}
    assert mailpipe("queue", "hold", "queued.toml", "--all", "--recipient", "bob@example.net").code == 0
    assert states(mailpipe) == {"bob": "held", "carol": "waiting", "dora": "in-doubt"}
    assert mailpipe("queue", "bounce", "queued.toml", "--all", "--state", "held").code == 0
    assert states(mailpipe) == {"bob": "failed", "carol": "waiting", "dora": "in-doubt", "ann": "waiting"}


def test_removing_what_failed_keeps_what_others_wait_for(mailpipe: Run, mixed: str) -> None:
    ended = mailpipe("queue", "remove", "queued.toml", "--all", "--state", "failed")
    assert "left as they are: 1 message with other recipients" in ended.err and "removed: 0 messages" in ended.err
    assert states(mailpipe) == {"bob": "failed", "carol": "waiting", "dora": "in-doubt"}
    assert "removed: " in mailpipe("queue", "remove", "queued.toml", mixed).err and states(mailpipe) == {}


def test_what_is_in_doubt_is_sent_again_only_where_it_is_named(mailpipe: Run, mixed: str) -> None:
    assert mailpipe("queue", "requeue", "queued.toml", "--all").code == 0
    assert states(mailpipe) == {"bob": "waiting", "carol": "waiting", "dora": "in-doubt"}
    assert mailpipe("queue", "requeue", "queued.toml", "--all", "--state", "in-doubt").code == 0
    assert states(mailpipe) == {"bob": "waiting", "carol": "waiting", "dora": "waiting"}


def test_what_is_being_delivered_is_said_to_be(mailpipe: Run, folder: Path, names: dict[str, str]) -> None:
    with Queue(folder / "spool", in_doubt="ask") as queue:
        (entry,) = queue.lease()
        assert entry.id == names["carol"]
        ended = mailpipe("queue", "remove", "queued.toml", names["carol"])
        assert ended.code == 0 and "it may arrive all the same" in ended.err
        assert queue.settle(entry, []) == ()


def test_a_message_that_is_not_what_was_put_in_can_be_looked_at(mailpipe: Run, folder: Path, mixed: str) -> None:
    (file,) = (folder / "spool" / "content").rglob(f"{mixed}.mail")
    with file.open("r+b") as octets:
        octets.write(b"SUBJECT")
    assert mailpipe("queue", "show", "queued.toml", mixed, "--content").out == b"SUBJECT: x\r\n\r\n"
    # its sender gets the header as it is now, and the reason
    assert mailpipe("queue", "bounce", "queued.toml", mixed).code == 0
    assert states(mailpipe)["ann"] == "waiting"


def test_a_verb_that_changes_nothing_does_not_claim_so(mailpipe: Run, names: dict[str, str]) -> None:
    for verb, done in (("hold", "held"), ("release", "released"), ("bounce", "bounced")):
        ended = mailpipe("queue", verb, "queued.toml", names["bob"])
        assert ended.code == 0 and f"{done}: 0 messages" in ended.err and "no recipient is in a state for that" in ended.err
    ended = mailpipe("queue", "hold", "queued.toml", "--all")
    assert "held: 1 message" in ended.err and "left as they are: 2 messages" in ended.err
