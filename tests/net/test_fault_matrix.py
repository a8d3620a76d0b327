"""Every command × every fault, and what becomes of each recipient; by the connection, blocking and on asyncio, and through the sink.

The expectations are rules. The first rule that fits a cell holds, and says why. Whatever a rule says, three things
hold in every cell: who was delivered to was taken by the peer once; who failed or was put off was not taken; and who
was put off is delivered by the next attempt, once.
"""

import asyncio
import ssl
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import pytest
import trustme

import mailpipe
from mailpipe.errors import TransientFailure
from mailpipe.net.aio import AsyncSmtpConnection
from mailpipe.net.endpoint import Endpoint, Timeouts
from mailpipe.net.sync import SmtpConnection
from mailpipe.pipeline.mail import Mail, Origin
from mailpipe.sinks.smtp import LmtpSink, SmtpSink
from mailpipe.smtp.envelope import Envelope
from mailpipe.smtp.opening import Opening, TlsMode
from mailpipe.smtp.sasl import Credentials
from mailpipe.smtp.state import Dialect
from mailpipe.testing.peer import EXTENSIONS, Fault, ScriptedPeer

SMALL = b"From: ann@example.org\r\nSubject: one\r\n\r\n.dot\r\ntext\r\n"
LARGE = SMALL + (b"x" * 70 + b"\r\n") * 200_000  # more than all the buffers between us and the peer hold
BINARY = SMALL + b"\0 bare \n and\r\n"
WHOM = ("a@x.test", "b@x.test", "c@x.test")
SHORT, LONG = 0.8, 30.0

DELIVERED, FAILED, DEFERRED, IN_DOUBT = "delivered", "failed", "deferred", "in doubt"


# -- the two axes -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """How a session comes to the step where the fault waits.

    Attributes:
        at: the peer's name of the step.
        place: of the one recipient that is concerned, 0 where all are.
        before: faults that lead there.
        usual: what a peer would answer, for those that answer twice.
        prelude: what the client does first: nothing, "refused" (a message that nobody takes), "alive" (a message that
            is taken, then NOOP).
    """

    at: str
    place: int = 0
    dialect: Dialect = Dialect.SMTP
    tls: TlsMode = TlsMode.NEVER
    octets: bytes = SMALL
    extensions: tuple[str, ...] = EXTENSIONS
    before: tuple[Fault, ...] = ()
    usual: str = "250 2.0.0 ok"
    prelude: str = ""
    fronts: tuple[str, ...] = ("connection", "asyncio", "sink")

    @property
    def has_password(self):
        return self.at == "AUTH"


LMTP = Dialect.LMTP
STEPS = {
    "connect": Step("connect", usual="220 peer.test ready"),
    "EHLO": Step("EHLO"),
    "HELO": Step("HELO", before=(Fault("EHLO", "reply", "502 5.5.1 no such command"),)),
    "LHLO": Step("LHLO", dialect=LMTP),
    "STARTTLS required": Step("STARTTLS", tls=TlsMode.REQUIRED, usual="220 2.0.0 go ahead"),
    "STARTTLS opportunistic": Step("STARTTLS", tls=TlsMode.OPPORTUNISTIC, usual="220 2.0.0 go ahead"),
    "handshake required": Step("handshake", tls=TlsMode.REQUIRED),
    "handshake opportunistic": Step("handshake", tls=TlsMode.OPPORTUNISTIC),
    "AUTH": Step("AUTH", extensions=(*EXTENSIONS, "AUTH PLAIN"), usual="235 2.7.0 welcome"),
    "MAIL": Step("MAIL"),
    **{f"RCPT {place}": Step("RCPT", place) for place in (1, 2, 3)},
    "DATA": Step("DATA", usual="354 go ahead"),
    "content": Step("content", octets=LARGE),
    "dot": Step("dot"),
    "BDAT": Step("dot", octets=BINARY, extensions=(*EXTENSIONS, "CHUNKING", "BINARYMIME"), fronts=("connection", "asyncio")),
    "MAIL plain": Step("MAIL", extensions=()),
    "RCPT 2 plain": Step("RCPT", 2, extensions=()),
    "DATA plain": Step("DATA", extensions=(), usual="354 go ahead"),
    "MAIL lmtp": Step("MAIL", dialect=LMTP),
    "RCPT 2 lmtp": Step("RCPT", 2, dialect=LMTP),
    "DATA lmtp": Step("DATA", dialect=LMTP, usual="354 go ahead"),
    **{f"dot {place} lmtp": Step("dot", place, dialect=LMTP) for place in (1, 2, 3)},
    "MAIL tls": Step("MAIL", tls=TlsMode.REQUIRED),
    "DATA tls": Step("DATA", tls=TlsMode.REQUIRED, usual="354 go ahead"),
    "content tls": Step("content", octets=LARGE, tls=TlsMode.REQUIRED),
    "dot tls": Step("dot", tls=TlsMode.REQUIRED),
    "RSET": Step("RSET", prelude="refused"),
    "NOOP": Step("NOOP", prelude="alive", fronts=("connection", "asyncio")),
    "QUIT": Step("QUIT", usual="221 2.0.0 bye"),
}

BEFORE_MAIL = ("connect", "EHLO", "HELO", "LHLO", "STARTTLS required", "handshake required", "AUTH")
AFTER_MAIL = ("MAIL", "RCPT 1", "RCPT 2", "RCPT 3", "DATA", "MAIL plain", "RCPT 2 plain", "DATA plain",
              "MAIL lmtp", "RCPT 2 lmtp", "DATA lmtp", "MAIL tls", "DATA tls")  # fmt: skip
FALL_BACK = ("STARTTLS opportunistic", "handshake opportunistic")

FAULTS = {
    "refuse": Fault("", "reply", "550 5.7.1 no"),
    "put off": Fault("", "reply", "450 4.2.0 later"),
    "421": Fault("", "reply", "421 4.3.2 closing"),
    "drop": Fault("", "drop"),
    "reset": Fault("", "reset"),
    "answer, drop": Fault("", "reply-drop"),
    "answer, reset": Fault("", "reply-reset"),
    "silence": Fault("", "hang"),
    "slow": Fault("", "slow", seconds=0.3),
    "garbage": Fault("", "garbage"),
    "wrong code": Fault("", "reply", "354 go on"),
    "long line": Fault("", "long-line"),
    "endless": Fault("", "endless"),
    "twice": Fault("", "inject"),
    "swap": Fault("", "swap"),
    "forget": Fault("", "forget"),
    "early 250": Fault("", "inject", "250 2.0.0 kept"),
    "refuse, drop": Fault("", "reply-drop", "552 5.3.4 too big"),
    "keep, drop": Fault("", "drop", accept=True),
    "keep, reset": Fault("", "reset", accept=True),
    "keep, silence": Fault("", "hang", accept=True),
    "keep, garbage": Fault("", "garbage", accept=True),
}
EVERYWHERE = ("refuse", "put off", "421", "drop", "reset", "answer, drop", "silence", "slow", "garbage", "wrong code",
              "long line", "endless", "twice")  # fmt: skip
WAITS = ("silence", "slow", "forget", "keep, silence")
ONLY_AT = {
    # The peer does not answer here, it shakes hands or reads.
    "handshake": ("refuse", "drop", "reset", "silence", "garbage"),
    "content": ("421", "drop", "reset", "silence", "refuse, drop"),
    # Out of order, and all that needs a group of commands.
    "MAIL": (*EVERYWHERE, "swap", "forget"),
    "RCPT": (*EVERYWHERE, "swap", "forget"),
    "RSET": (*EVERYWHERE, "forget"),
    "DATA": (*EVERYWHERE, "answer, reset", "early 250"),
    "dot": (*EVERYWHERE, "answer, reset", "keep, drop", "keep, reset", "keep, silence", "keep, garbage"),
}


def faults_at(step):
    names = ONLY_AT.get(STEPS[step].at, EVERYWHERE)
    grouped = STEPS[step].extensions != ()
    return [name for name in names if grouped or name not in ("swap", "forget")]


CELLS = [(step, fault) for step in STEPS for fault in faults_at(step)]


# -- the rules ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rule:
    """What follows for recipients in front of the concerned one, for him, and for those behind him."""

    steps: tuple[str, ...]
    faults: tuple[str, ...]
    fates: tuple[str, ...]
    why: str

    def fits(self, step, fault):
        return (not self.steps or step in self.steps) and (not self.faults or fault in self.faults)


def rule(steps, faults, fates, why):
    return Rule(*((one,) if isinstance(one, str) else tuple(one) for one in (steps, faults, fates)), why)


ANY = ()
BROKEN = ("drop", "reset", "silence", "slow", "garbage", "wrong code", "long line", "endless")
RCPTS = tuple(step for step in STEPS if step.startswith("RCPT"))
DATAS = tuple(step for step in STEPS if step.startswith("DATA"))
DOTS = ("dot", "BDAT", "dot tls")
LMTP_DOTS = tuple(step for step in STEPS if step.startswith("dot ") and step.endswith("lmtp"))

RULES = (
    # The end, and what lies between two messages.
    rule("QUIT", ANY, DELIVERED, "everything is settled before the farewell"),
    rule("NOOP", ANY, DELIVERED, "a connection that fails its health check is replaced before a message is risked"),
    rule("RSET", "twice", DEFERRED, "replies are out of step by one: 250 to DATA makes no sense"),
    rule("RSET", ANY, DELIVERED, "MAIL was not accepted, so that another connection may begin anew: nothing is repeated"),
    # The beginning.
    rule("EHLO", "refuse", DELIVERED, "who does not know EHLO is asked with HELO (RFC 5321 section 3.2)"),
    rule("STARTTLS opportunistic", ("refuse", "put off", "wrong code"), DELIVERED, "in clear where TLS is refused"),
    rule("STARTTLS opportunistic", "answer, drop", DELIVERED, "a handshake that fails is made up for in clear"),
    rule(("STARTTLS opportunistic", "STARTTLS required"), "twice", DELIVERED,
         "what was said in clear behind the 220 is thrown away (RFC 3207 section 4.2)"),
    rule("handshake opportunistic", ANY, DELIVERED, "a handshake that fails is made up for in clear"),
    rule("STARTTLS opportunistic", ANY, DEFERRED, "the connection is gone before MAIL"),
    rule(BEFORE_MAIL, ANY, DEFERRED, "a refusal of the session says nothing about a message, and nothing was sent"),
    # The envelope.
    rule(RCPTS, "refuse", (DELIVERED, FAILED, DELIVERED), "each recipient has his own answer"),
    rule(RCPTS, "put off", (DELIVERED, DEFERRED, DELIVERED), "each recipient has his own answer"),
    rule(("MAIL", "MAIL lmtp", "MAIL tls", "RCPT 1", "RCPT 2", "RCPT 2 lmtp"), "swap", DELIVERED,
         "two equal replies in the wrong order are two replies"),
    rule("RCPT 3", "swap", DEFERRED, "354 to RCPT makes no sense"),
    # DATA.
    rule(("MAIL", "MAIL plain", "MAIL lmtp", "MAIL tls", *DATAS), "refuse", FAILED, "5yz is final for whoever has no answer yet"),
    rule(DATAS, "wrong code", DEFERRED, "250 to DATA says nothing: no content was sent that could be taken"),
    rule(DATAS, "answer, drop", IN_DOUBT, "354 was the go-ahead: the content has left us before the end is seen"),
    rule(DATAS, "answer, reset", f"{DEFERRED} or {IN_DOUBT}", "whether the content can still leave us is a race"),
    rule(DATAS, "early 250", DEFERRED, "a reply to a dot that has not been sent is no reply to it"),
    rule(AFTER_MAIL, ANY, DEFERRED, "no end of data, no message"),
    # The content.
    rule(("content", "content tls"), "refuse, drop", FAILED, "a last word that explains the end is believed"),
    rule(("content", "content tls"), ANY, DEFERRED, "octets of the content are still here, so that its end cannot be there"),
    # Its end.
    rule(DOTS, "refuse", FAILED, "the answer holds for all"),
    rule(DOTS, ("put off", "421"), DEFERRED, "the answer holds for all: it is not taken"),
    rule(LMTP_DOTS, "refuse", (DELIVERED, FAILED, DELIVERED), "each recipient has his own answer (RFC 2033)"),
    rule(LMTP_DOTS, "put off", (DELIVERED, DEFERRED, DELIVERED), "each recipient has his own answer (RFC 2033)"),
    rule(LMTP_DOTS, "421", (DELIVERED, DEFERRED, IN_DOUBT), "421 answers for one; the others may have been served"),
    rule(DOTS, ("answer, drop", "answer, reset", "twice"), DELIVERED, "the answer has come"),
    rule(LMTP_DOTS, ("answer, drop", "answer, reset"), (DELIVERED, DELIVERED, IN_DOUBT), "the answers end with one"),
    rule(LMTP_DOTS, "twice", DELIVERED, "there are as many good answers as recipients, and one more"),
    rule(LMTP_DOTS, ANY, (DELIVERED, IN_DOUBT, IN_DOUBT), "the dot is out and no answer came for him and the others"),
    rule(DOTS, ANY, IN_DOUBT, "the dot is out and no answer came"),
)  # fmt: skip


def expected(step, fault):
    """For each recipient the fates that are right; mostly one."""
    fates = next(rule for rule in RULES if rule.fits(step, fault)).fates
    place = STEPS[step].place
    if len(fates) == 1:
        fates = fates * 3
    # in front of him, he, behind him
    return [fates[(number > place) - (number < place) + 1].split(" or ") for number in (1, 2, 3)]


# -- the peer and the clients -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def server_context(authority):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture(scope="module")
def ca_file(authority, tmp_path_factory):
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return path


def peer_for(step, fault, context):
    here, bad = STEPS[step], FAULTS[fault]
    text = here.usual if fault == "twice" else "250 2.0.0 ok" if (here.at, fault) == ("DATA", "wrong code") else bad.text
    match = WHOM[here.place - 1] if here.at == "RCPT" else ""
    bad = replace(bad, at=here.at, text=text, match=match, recipient=here.place if here.at == "dot" else 0)
    nobody = (Fault("RCPT", "reply", "550 5.1.1 no such user", match="nobody@"),) if here.prelude == "refused" else ()
    return ScriptedPeer(
        *here.before, *nobody, bad, dialect=here.dialect, extensions=here.extensions,
        tls=context if here.tls is not TlsMode.NEVER else None, users={"ann": "secret"},
    )  # fmt: skip


class ByConnection:
    """The connection itself."""

    kind = SmtpConnection

    def __init__(self, peer, step, seconds, ca_file):
        credentials = Credentials("ann", "secret", in_clear=True) if step.has_password else None
        plan = Opening("client.test", step.dialect, step.tls, credentials)
        self.step = step
        self.connection = self.kind(
            Endpoint(peer.host, peer.port), plan, Timeouts.within(seconds), tls_ca_file=ca_file
        )

    def do(self, answer):
        return answer

    def send(self, octets, *addresses):
        try:
            result = self.do(self.connection.deliver(Envelope.of("ann@example.org", *addresses), octets))
        except TransientFailure:
            return [DEFERRED] * len(addresses)
        return [
            DELIVERED if one.is_accepted else FAILED if one.is_permanent else IN_DOUBT if one.in_doubt else DEFERRED
            for one in result.answers
        ]

    def ask(self):
        self.do(self.connection.is_alive())

    def close(self):
        self.do(self.connection.quit())


class BySink:
    """The sink `smtp` or `lmtp`, as a pipeline has it."""

    def __init__(self, peer, step, seconds, ca_file):
        kind = LmtpSink if step.dialect is LMTP else SmtpSink
        secret = {"username": "ann", "password": "secret", "password_in_clear": True} if step.has_password else {}
        options = kind.Options(host=peer.host, port=peer.port, helo_name="client.test", timeout=seconds,
                               retry_pause=0, tls=step.tls, tls_ca_file=ca_file, **secret)  # fmt: skip
        self.sink = kind(options)
        self.sink.open()

    def send(self, octets, *addresses):
        mail = Mail(mailpipe.parse(octets), Envelope.of("ann@example.org", *addresses), Origin("test", "-"))
        try:
            return [entry.fate.value.replace("-", " ") for entry in self.sink.deliver(mail).recipients]
        except TransientFailure:
            return [DEFERRED] * len(addresses)

    def ask(self):
        raise NotImplementedError

    def close(self):
        self.sink.close()


class ByAsyncio(ByConnection):
    """The connection on an event loop."""

    kind = AsyncSmtpConnection

    def __init__(self, *arguments):
        self.runner = asyncio.Runner()
        super().__init__(*arguments)

    def do(self, answer):
        async def wait():
            return await answer

        return self.runner.run(wait())

    def close(self):
        super().close()
        self.runner.close()


FRONTS = {"connection": ByConnection, "asyncio": ByAsyncio, "sink": BySink}


def play(front, step, fault, context, ca_file):
    """One cell; returns the fates and what is wrong beyond them."""
    here, wrong = STEPS[step], []
    with peer_for(step, fault, context) as peer:
        client = FRONTS[front](peer, here, SHORT if fault in WAITS else LONG, ca_file)
        if here.prelude == "refused":
            wrong += ["the prelude was taken"] * (client.send(SMALL, "nobody@x.test") != [FAILED])
        elif here.prelude == "alive":
            wrong += ["the prelude was not taken"] * (client.send(SMALL, "first@x.test") != [DELIVERED])
            client.ask()
        fates = client.send(here.octets, *WHOM)
        client.close()
        taken = [path for one in peer.taken for path in one.forward_paths]
        for path, fate in zip(WHOM, fates, strict=True):
            if fate == DELIVERED and taken.count(path) != 1:
                wrong.append(f"{path} is said to be delivered and was taken {taken.count(path)} times")
            if fate in (FAILED, DEFERRED) and path in taken:
                wrong.append(f"{path} is said to be {fate} and was taken")
        peer.faults.clear()
        if later := [path for path, fate in zip(WHOM, fates, strict=True) if fate == DEFERRED]:
            again = FRONTS[front](peer, here, LONG, ca_file)
            wrong += ["the next attempt failed"] * (again.send(here.octets, *later) != [DELIVERED] * len(later))
            again.close()
            taken = [path for one in peer.taken for path in one.forward_paths]
            wrong += [f"{path} came {taken.count(path)} times" for path in later if taken.count(path) != 1]
        wrong += [f"{one.forward_paths} got other octets" for one in peer.taken
                  if one.octets not in (SMALL, here.octets)]  # fmt: skip
    return fates, wrong + peer.violations


def is_right(step, fault, fates):
    return all(fate in right for fate, right in zip(fates, expected(step, fault), strict=True))


def cells(*, waiting):
    return [
        (front, step, fault) for step, fault in CELLS for front in STEPS[step].fronts if (fault in WAITS) == waiting
    ]


def marked(front, step, fault):
    return pytest.param(front, step, fault, id=f"{front}-{step}-{fault}".replace(" ", "-").replace(",", ""))


@pytest.mark.parametrize(("front", "step", "fault"), [marked(*cell) for cell in cells(waiting=False)])
def test_a_fault_leads_to_what_its_rule_says(front, step, fault, server_context, ca_file):
    fates, wrong = play(front, step, fault, server_context, ca_file)
    assert is_right(step, fault, fates), f"{fates}, expected {expected(step, fault)}"
    assert not wrong


def test_a_fault_that_has_to_be_waited_for_leads_to_what_its_rule_says(server_context, ca_file):
    def one(cell):
        front, step, fault = cell
        fates, wrong = play(front, step, fault, server_context, ca_file)
        return None if is_right(step, fault, fates) and not wrong else (*cell, fates, expected(step, fault), wrong)

    with ThreadPoolExecutor(40) as pool:  # they only wait, so all of them wait together
        assert [failed for failed in pool.map(one, cells(waiting=True)) if failed] == []


def test_the_matrix_is_whole_and_every_rule_is_needed():
    assert len(CELLS) >= 300
    used = {next(number for number, rule in enumerate(RULES) if rule.fits(*cell)) for cell in CELLS}
    assert [RULES[number].why for number in range(len(RULES)) if number not in used] == []


@pytest.mark.parametrize(("tls", "fate"), [(TlsMode.REQUIRED, DEFERRED), (TlsMode.OPPORTUNISTIC, DELIVERED)])
@pytest.mark.parametrize("front", list(FRONTS))
def test_a_certificate_for_another_name_ends_what_must_be_safe_and_nothing_else(front, tls, fate, authority, ca_file):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("other.test").configure_cert(context)
    with ScriptedPeer(tls=context) as peer:
        client = FRONTS[front](peer, Step("handshake", tls=tls), LONG, ca_file)
        assert client.send(SMALL, *WHOM) == [fate] * 3
        client.close()
        assert all(one.encrypted for one in peer.taken) and len(peer.taken) == (fate == DELIVERED)
