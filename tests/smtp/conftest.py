"""The reader and the player of dialogues; see dialogues/README.md for how one is written."""

import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mailpipe.errors import TransientFailure
from mailpipe.smtp.client import ClientProtocol
from mailpipe.smtp.command import Greeting, Quit
from mailpipe.smtp.envelope import Envelope, ForwardPath, MailParameters
from mailpipe.smtp.events import ConnectionEnded, ReplyReceived, TransactionEnded, TransactionResult, Wait
from mailpipe.smtp.opening import Handshake, Opening, TlsMode, opening
from mailpipe.smtp.sasl import Credentials
from mailpipe.smtp.state import Dialect


def _octets(text):
    octets = re.sub(rb"\\x([0-9a-f]{2})", lambda match: bytes([int(match[1], 16)]), text.encode())
    return octets[:-1] if octets.endswith(b"\\") else octets + b"\r\n"


@dataclass
class Player:
    """Plays one dialogue against a ClientProtocol; `octet_by_octet` cuts what the server says into single octets."""

    lines: list[str]
    octet_by_octet: bool = False
    settings: dict[str, str] = field(default_factory=dict)
    message: bytes = b""
    said: bytes = b""
    results: list[TransactionResult] = field(default_factory=list)
    ended: ConnectionEnded | None = None
    failure: TransientFailure | None = None

    def play(self):
        body = []
        for line in self.lines:
            if line.startswith("#") or not line.strip():
                continue
            if line[:2] in ("S:", "C:", "> ", "= ", "* "):
                body.append(line)
            elif line.startswith("message: "):
                self.message += _octets(line.removeprefix("message: "))
            elif line == "message:":
                self.message += b"\r\n"
            else:
                key, _, value = line.partition(":")
                self.settings[key.strip()] = value.strip()
        dialect = Dialect(self.settings.get("dialect", "smtp"))
        user, _, password = self.settings.get("user", "").partition(" ")
        credentials = Credentials(user, password, "in clear" in self.settings) if user else None
        tls = TlsMode(self.settings.get("tls", "opportunistic"))
        self.protocol = ClientProtocol(dialect)
        self.steps = opening(Opening("client.test", dialect, tls, credentials), "mx.test:25")
        self.step = next(self.steps)
        assert isinstance(self.step, Greeting)
        server = b""
        for number, line in enumerate([*body, "end"], 1):
            if line[:2] == "S:":
                assert not self.said, f"line {number}: the client said {self.said!r} before {line!r}"
                server += _octets(line[2:].removeprefix(" "))
                continue
            if server:
                self.feed(server)
                server = b""
            if line[:2] == "C:":
                expected = _octets(line[2:].removeprefix(" "))
                assert self.said[: len(expected)] == expected, f"line {number}"
                self.said = self.said[len(expected) :]
            elif line[:2] == "> ":
                self.act(line[2:])
            elif line[:2] == "= ":
                self.check(line[2:])
            elif line[:2] == "* ":
                assert isinstance(self.step, Handshake), f"line {number}: no handshake is due"
                self.protocol.tls_started()
                self.go_on(None)
        assert not self.said, f"the client said {self.said!r} at the end"

    def feed(self, octets):
        for piece in [octets[at : at + 1] for at in range(len(octets))] if self.octet_by_octet else [octets]:
            self.protocol.receive_data(piece)
            self.pump()

    def go_on(self, reply):
        try:
            self.step = self.steps.send(reply)
        except StopIteration as done:
            self.protocol.extensions = done.value
            self.step = None
        except TransientFailure as failure:
            self.failure, self.step = failure, None
        else:
            if not isinstance(self.step, Handshake):
                self.protocol.send(self.step)
                self.pump()

    def pump(self):
        self.said += self.protocol.octets_to_send()
        while not isinstance(event := self.protocol.next_event(), Wait):
            match event:
                case ReplyReceived(_, reply):
                    if self.step is not None:
                        self.go_on(reply)
                case TransactionEnded(result):
                    self.results.append(result)
                case ConnectionEnded():
                    self.ended = event
        self.said += self.protocol.octets_to_send()

    def act(self, words):
        verb, _, rest = words.partition(" ")
        if verb == "mail":
            sender, _, recipients = rest.partition(" -> ")
            sender, *sender_words = sender.split()
            keys = {word.partition("=")[0]: word.partition("=")[2] for word in sender_words}
            parameters = MailParameters(
                ret=keys.get("ret"), envid=keys.get("envid"), smtputf8="smtputf8" in keys, requiretls="requiretls" in keys
            )
            paths = []
            for recipient in recipients.split(", "):
                address, *path_words = recipient.split()
                more = dict(word.split("=", 1) for word in path_words)
                notify = tuple(more["notify"].split("+")) if "notify" in more else ()
                paths.append(ForwardPath(address, notify, more.get("orcpt")))
            sender = "" if sender == "<>" else sender
            self.protocol.begin(Envelope(sender, tuple(paths), parameters), self.message)
            self.pump()
        elif verb == "quit":
            self.protocol.send(Quit())
            self.pump()
        elif verb == "hang-up":
            self.protocol.receive_data(b"")
            self.pump()
        else:
            raise AssertionError(words)

    def check(self, words):
        first, *rest = words.split(" ", 2)
        if first == "failed":
            assert self.failure is not None and " ".join(rest) in str(self.failure), self.failure
            return
        if first == "ended":
            assert self.ended is not None and " ".join(rest) in str(self.ended.error), self.ended
            return
        assert self.results, "no transaction has ended"
        answer = next(one for one in self.results[-1].answers if one.path.address == first)
        if rest[0] == "in-doubt":
            assert answer.in_doubt and answer.reply is None
        elif rest[0] == "no-reply":
            assert not answer.in_doubt and answer.reply is None
        else:
            assert answer.reply is not None and answer.reply.code == int(rest[0])
            assert answer.command == (rest[1] if len(rest) > 1 else "")


@pytest.fixture
def dialogue():
    """A function that reads a dialogue of a name and gives its player."""

    def read(name, octet_by_octet=False):
        text = (Path(__file__).parent / "dialogues" / f"{name}.txt").read_text("utf-8")
        return Player(text.splitlines(), octet_by_octet)

    return read
