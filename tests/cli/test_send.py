import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mailpipe.cli.exit import UsageError
from mailpipe.cli.send import split_server

Run = Callable[..., object]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mx.example.net", ("mx.example.net", 25)),
        ("mx.example.net:2525", ("mx.example.net", 2525)),
        ("127.0.0.1:1", ("127.0.0.1", 1)),
        ("[::1]:26", ("::1", 26)),
        ("[::1]", ("::1", 25)),
        ("::1", ("::1", 25)),
    ],
)
def test_a_server_has_a_host_and_a_port(text: str, expected: tuple[str, int]) -> None:
    assert split_server(text) == expected


@pytest.mark.parametrize("text", ["", ":25", "x:", "x:many", "x:0", "x:65536", "x:٢٥", "[]:25"])
def test_what_is_no_server_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="host:port"):
        split_server(text)


def send(peer: object, *more: object) -> tuple[object, ...]:
    return (
        "send",
        "message.eml",
        "-f",
        "a@example.org",
        "--to",
        "<b@example.net>",
        "-s",
        f"127.0.0.1:{peer.port}",
        *more,
    )


def test_a_message_is_handed_over_as_it_is(mailpipe: Run, folder: Path, peer: object) -> None:
    ended = mailpipe(*send(peer))
    assert ended.code == 0, ended.err
    assert peer.messages == [(folder / "message.eml").read_bytes()]
    assert "b@example.net" in ended.text and "delivered" in ended.text


def test_each_recipient_has_its_answer(mailpipe: Run, folder: Path, peer: object) -> None:
    peer.answers["RCPT"] = "550 5.1.1 no such user"
    ended = mailpipe(*send(peer, "--to", "c@example.net", "--json"))
    document = json.loads(ended.text)
    assert (ended.code, document["version"], document["ending"]) == (69, 1, "failed")
    assert [one["address"] for one in document["recipients"]] == ["b@example.net", "c@example.net"]
    assert all(one["status"] == "5.1.1" for one in document["recipients"])


def test_a_server_that_cannot_take_it_now_is_75(mailpipe: Run, folder: Path, peer: object) -> None:
    peer.answers["MAIL"] = "451 4.3.2 not now"
    assert mailpipe(*send(peer)).code == 75


def test_a_queue_keeps_it(mailpipe: Run, folder: Path, peer: object) -> None:
    peer.answers["MAIL"] = "451 4.3.2 not now"
    assert mailpipe(*send(peer, "--queue", "spool")).code == 0
    assert "b@example.net" in mailpipe("queue", "list", "--queue", "spool").text


def test_an_address_that_would_smuggle_a_command_is_refused(mailpipe: Run, folder: Path, peer: object) -> None:
    ended = mailpipe("send", "message.eml", "-f", "a@example.org", "--to", "b@example.net>\r\nDATA",
                     "-s", f"127.0.0.1:{peer.port}")  # fmt: skip
    assert ended.code != 0
    assert peer.messages == []
    assert "Traceback" not in ended.err


def test_a_message_comes_from_standard_input(mailpipe: Run, folder: Path, peer: object) -> None:
    arguments = ("send", "-", "-f", "", "--to", "b@example.net", "-s", f"127.0.0.1:{peer.port}", "-q")
    ended = mailpipe(*arguments, octets=(folder / "message.eml").read_bytes())
    assert (ended.code, ended.out) == (0, b"")
    assert len(peer.messages) == 1
