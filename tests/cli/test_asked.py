"""What the sender wants to be told, and where a mail came from: from the command line through the queue to the server."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mailpipe.cli.filtering import understood
from mailpipe.testing.peer import EXTENSIONS, Fault, ScriptedPeer

Run = Callable[..., object]
ASKED = ("-N", "failure,delay", "-R", "hdrs", "-V", "invoice 7", "--original-recipient", "<bo+b@example.net>")
SAID = (
    "MAIL FROM:<ann@example.org> SIZE={size} RET=HDRS ENVID=invoice+207",
    "RCPT TO:<bob@example.net> NOTIFY=FAILURE,DELAY ORCPT=rfc822;bo+2Bb@example.net",
)
CLIENT = (
    "--client-address", "2001:db8::7", "--client-name", "unknown", "--client-port", "4711",
    "--client-protocol", "ESMTP", "--client-helo", "mx one", "--client-ident", "3F2A",
)  # fmt: skip
ORIGIN = "XFORWARD NAME=[UNAVAILABLE] ADDR=IPV6:2001:db8::7 PORT=4711 PROTO=ESMTP HELO=mx+20one IDENT=3F2A SOURCE=REMOTE"
LISTS = "XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE"


@pytest.fixture
def server() -> Iterator[ScriptedPeer]:
    with ScriptedPeer(extensions=(*EXTENSIONS, "DSN", LISTS)) as made:
        yield made


def commands(server: ScriptedPeer, *verbs: str) -> list[str]:
    return [line for session in server.sessions for line in session if line.startswith(verbs)]


def said(folder: Path) -> list[str]:
    size = (folder / "message.eml").read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return [line.format(size=len(size)) for line in SAID]


def pipeline(folder: Path, server: ScriptedPeer, more: str = "") -> str:
    (folder / "filter.toml").write_text(
        f'[sink]\nuse = "smtp"\nhost = "{server.host}"\nport = {server.port}\nretry_pause = 0\n{more}\n'
        f'[queue]\ndirectory = "spool"\n[run]\njournal = false\n'
    )
    return "filter.toml"


def test_send_says_what_was_asked_for(mailpipe: Run, folder: Path, server: ScriptedPeer) -> None:
    ended = mailpipe("send", "message.eml", "-f", "ann@example.org", "--to", "bob@example.net",
                     "-s", f"{server.host}:{server.port}", *ASKED)  # fmt: skip
    assert ended.code == 0, ended.err
    assert commands(server, "MAIL", "RCPT") == said(folder)


def test_filter_says_it_at_once_and_after_a_time_in_the_queue(mailpipe: Run, folder: Path, server: ScriptedPeer) -> None:
    server.faults.append(Fault("MAIL", "reply", "451 4.3.2 not now", times=1))
    path = pipeline(folder, server, 'forward_client = "xforward"')
    message = (folder / "message.eml").read_bytes()
    words = ("filter", path, *ASKED, *CLIENT, "-f", "ann@example.org", "--", "bob@example.net")
    assert mailpipe(*words, octets=message).code == 0
    assert mailpipe("queue", "flush", path).code == 0
    expected = [ORIGIN, *said(folder)]
    assert commands(server, "MAIL", "RCPT", "XFORWARD") == [*expected, *expected]
    assert len(server.taken) == 1


def test_where_a_mail_came_from_is_for_servers_that_want_to_know(mailpipe: Run, folder: Path) -> None:
    message = (folder / "message.eml").read_bytes()
    for extensions, more in [((LISTS,), ""), ((), 'forward_client = "xforward"')]:
        with ScriptedPeer(extensions=extensions) as server:
            words = ("filter", pipeline(folder, server, more), *CLIENT, "-f", "", "--", "bob@example.net")
            assert mailpipe(*words, octets=message).code == 0
            assert len(server.taken) == 1 and commands(server, "XFORWARD") == []


TAKES = "XCLIENT NAME ADDR PORT PROTO HELO LOGIN"
NOBODY = "XCLIENT NAME=[UNAVAILABLE] ADDR=[UNAVAILABLE] PORT=[UNAVAILABLE] PROTO=[UNAVAILABLE] HELO=[UNAVAILABLE]"


def test_a_session_is_held_in_the_name_of_the_client(mailpipe: Run, folder: Path) -> None:
    message = (folder / "message.eml").read_bytes()
    with ScriptedPeer(Fault("MAIL", "reply", "451 4.3.2 not now", times=2), extensions=(TAKES,)) as server:
        path = pipeline(folder, server, 'forward_client = "xclient"')
        for words in (CLIENT, ()):
            assert mailpipe("filter", path, *words, "-f", "", "--", "bob@example.net", octets=message).code == 0
        assert mailpipe("queue", "flush", path).code == 0
        ours = ORIGIN.replace("XFORWARD", "XCLIENT").partition(" IDENT")[0]
        names = commands(server, "XCLIENT")
        assert names[:2] == [ours, NOBODY]
        assert sorted(names[2:]) == sorted([ours, NOBODY])  # the queue has both under way at a time
        assert [[line.split()[0] for line in session[:4]] for session in server.sessions] == [
            ["EHLO", "XCLIENT", "EHLO", "MAIL"]
        ] * 4
        assert len(server.taken) == 2


@pytest.mark.parametrize("refuses", [True, False])
def test_no_mail_goes_as_ours_where_xclient_is_not_taken(mailpipe: Run, folder: Path, refuses: bool) -> None:
    message = (folder / "message.eml").read_bytes()
    with ScriptedPeer(Fault("XCLIENT", "reply", "550 5.7.0 no"), extensions=(TAKES,) if refuses else ()) as server:
        path = pipeline(folder, server, 'forward_client = "xclient"')
        assert mailpipe("filter", path, *CLIENT, "-f", "", "--", "bob@example.net", octets=message).code == 0
        assert not server.taken and not commands(server, "MAIL")
        assert "waiting" in mailpipe("queue", "list", path).text


@pytest.mark.parametrize("do", ["drop", "reset", "garbage"])
def test_a_session_that_ends_at_xforward_costs_no_mail(mailpipe: Run, folder: Path, do: str) -> None:
    with ScriptedPeer(Fault("XFORWARD", do), extensions=(LISTS,)) as server:
        path = pipeline(folder, server, 'forward_client = "xforward"')
        words = ("filter", path, *CLIENT, "-f", "", "--", "bob@example.net")
        assert mailpipe(*words, octets=(folder / "message.eml").read_bytes()).code == 0
        assert not server.taken
        server.faults.clear()
        assert mailpipe("queue", "flush", path).code == 0
        assert len(server.taken) == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [(("-N", "always"), "never"), (("-R", "half"), "hdrs"), (("-V", "x" * 200), "100"),
     (("--original-recipient", "a@x.test", "--original-recipient", "b@x.test"), "one for each")],
)  # fmt: skip
def test_what_cannot_be_asked_for_is_a_usage_error(
    mailpipe: Run, folder: Path, server: ScriptedPeer, words: tuple[str, ...], told: str
) -> None:
    message = (folder / "message.eml").read_bytes()
    where = ("-s", f"{server.host}:{server.port}")
    ended = mailpipe("send", "message.eml", "-f", "a@x.test", "--to", "b@x.test", *where, *words)
    assert ended.code == 64 and told in ended.err
    ended = mailpipe("filter", pipeline(folder, server), *words, "-f", "a@x.test", "--", "b@x.test", octets=message)
    assert ended.code == 75 and told in ended.err
    assert not server.sessions


def test_what_is_asked_for_belongs_to_an_envelope(mailpipe: Run, folder: Path, server: ScriptedPeer) -> None:
    ended = mailpipe("filter", pipeline(folder, server), "-N", "never", octets=(folder / "message.eml").read_bytes())
    assert ended.code == 75 and "-f SENDER" in ended.err


def test_the_words_of_a_mail_server_are_understood_without_typer() -> None:
    wish = understood(["p.toml", *ASKED, *CLIENT, "-f", "", "--", "b@x.test"])
    assert wish is not None
    assert (wish.notify, wish.ret, wish.envid) == ("failure,delay", "hdrs", "invoice 7")
    assert (wish.client_address, wish.client_helo, wish.original_recipients) == (
        "2001:db8::7", "mx one", ("<bo+b@example.net>",)
    )  # fmt: skip
