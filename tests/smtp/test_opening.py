"""The script of a session's beginning where a dialogue does not reach: XCLIENT, and mechanisms one after the other."""

import base64

import pytest

from mailpipe.errors import LocalProtocolError, TransientFailure
from mailpipe.smtp.command import Greeting
from mailpipe.smtp.opening import HANDSHAKE, Opening, TlsMode, opening
from mailpipe.smtp.reply import parse_reply
from mailpipe.smtp.sasl import Credentials
from mailpipe.smtp.state import State, is_allowed, next_state
from mailpipe.testing.sasl import exchange

ANN = Credentials("ann", "secret", in_clear=True)


def ehlo(*keywords):
    lines = ["mx.test", *keywords]
    return "\r\n".join(f"250{' ' if number == len(lines) - 1 else '-'}{line}" for number, line in enumerate(lines))


def chance(count):
    return b"c" * count


class Session:
    """Plays the script against replies, or functions of the command that give them; keeps to the order of the table."""

    def __init__(self, plan, *replies, **means):
        self.said, self.extensions = [], None
        state = State.GREETING
        steps = opening(plan, "mx.test:25", **means)
        step = next(steps)
        try:
            for given in ("220 mx.test ready", *replies):
                assert is_allowed(state, type(step)), (state, step)
                if not isinstance(step, Greeting):
                    self.said.append(step.octets.decode().removesuffix("\r\n"))
                text = given(self.said[-1]) if callable(given) else given
                reply = parse_reply(text.encode() + b"\r\n")
                state = next_state(state, step, reply)
                step = steps.send(reply)
                if step is HANDSHAKE:
                    state = State.HELLO
                    step = steps.send(None)
            raise AssertionError(f"no reply is left for {step}")
        except StopIteration as done:
            self.extensions = done.value
        assert state is State.READY


XCLIENT = (("NAME", "spike.example.org"), ("ADDR", "2001:db8::7"), ("HELO", None), ("LOGIN", "a b"))
XFORWARD = (("NAME", "spike.example.org"), ("ADDR", "192.0.2.7"), ("IDENT", "1.2"), ("SOURCE", "REMOTE"))


def test_behind_xclient_the_session_greets_again():
    session = Session(
        Opening("client.test", xclient=XCLIENT),
        ehlo("XCLIENT NAME ADDR PROTO HELO LOGIN", "SIZE 1"), "220 mx.test ready", ehlo("SIZE 2"),
    )  # fmt: skip
    assert session.said == [
        "EHLO client.test",
        "XCLIENT NAME=spike.example.org ADDR=IPV6:2001:db8::7 HELO=[UNAVAILABLE] LOGIN=a+20b",
        "EHLO client.test",
    ]
    assert session.extensions.size == 2


def test_xclient_says_only_what_the_peer_lists():
    session = Session(Opening("client.test", xclient=XCLIENT), ehlo("XCLIENT addr"), "220 hi", ehlo("PIPELINING"))
    assert session.said[1] == "XCLIENT ADDR=IPV6:2001:db8::7"


def test_a_long_xclient_goes_in_several_commands():
    attributes = (("NAME", "n" * 250), ("HELO", "h" * 250), ("PROTO", "ESMTP"))
    session = Session(Opening("client.test", xclient=attributes), ehlo("XCLIENT NAME HELO PROTO"), "220 hi", "220 hi", ehlo())
    assert [line[:12] for line in session.said[1:3]] == ["XCLIENT NAME", "XCLIENT HELO"]
    assert session.said[2].endswith(" PROTO=ESMTP") and max(map(len, session.said)) <= 510


@pytest.mark.parametrize("offered", [("PIPELINING",), ("XCLIENT",), ("XCLIENT PORT",)])
def test_a_peer_that_does_not_take_xclient_gets_no_mail_as_if_it_were_ours(offered):
    with pytest.raises(TransientFailure, match="XCLIENT") as caught:
        Session(Opening("client.test", xclient=XCLIENT), ehlo(*offered))
    assert str(caught.value.status) == "4.3.3"


def test_a_refused_xclient_ends_the_session():
    with pytest.raises(TransientFailure, match="did not take XCLIENT: 550"):
        Session(Opening("client.test", xclient=XCLIENT), ehlo("XCLIENT NAME"), "550 5.7.0 no")


@pytest.mark.parametrize("reply", ["250 ok", "501 no"])
def test_xforward_is_for_the_log_and_its_refusal_changes_nothing(reply):
    session = Session(Opening("client.test", xforward=XFORWARD), ehlo("XFORWARD NAME ADDR SOURCE"), reply)
    assert session.said[1] == "XFORWARD NAME=spike.example.org ADDR=192.0.2.7 SOURCE=REMOTE"
    assert Session(Opening("client.test", xforward=XFORWARD), ehlo()).said == ["EHLO client.test"]


def test_the_order_is_tls_then_xclient_then_xforward_then_auth():
    session = Session(
        Opening("client.test", tls=TlsMode.REQUIRED, credentials=Credentials("ann", "secret"), xclient=(("PORT", "25"),),
                xforward=(("PORT", "25"),)),
        ehlo("STARTTLS", "XCLIENT PORT"), "220 go", ehlo("XCLIENT PORT"), "220 hi", ehlo("XFORWARD PORT", "AUTH PLAIN"),
        "250 ok", "235 ok",
    )  # fmt: skip
    assert [line.split()[0] for line in session.said] == ["EHLO", "STARTTLS", "EHLO", "XCLIENT", "EHLO", "XFORWARD", "AUTH"]


@pytest.mark.parametrize(
    "attribute",
    [("NAME", "a\r\nRSET"), ("NAME", "a\0"), ("NAME", ""), ("NAME", "x" * 256), ("ADDR", "mx.test"), ("PORT", "65536"),
     ("PORT", "²"), ("PROTO", "LMTP"), ("NA ME", "x"), ("NAME=x", "y")],
)  # fmt: skip
def test_an_attribute_that_could_smuggle_or_mislead_is_refused(attribute):
    with pytest.raises(LocalProtocolError):
        Session(Opening("client.test", xclient=(attribute,)), ehlo("XCLIENT NAME ADDR PORT PROTO"))


def server(mechanism, users):
    """A function of the AUTH line, and then one of each answer, that gives the peer's replies."""
    steps = None

    def reply(line):
        nonlocal steps
        try:
            if steps is None:
                _, name, *initial = line.split()
                assert name == mechanism
                steps = exchange(name, base64.b64decode(initial[0]) if initial else None, users)
                challenge = next(steps)
            else:
                challenge = steps.send(base64.b64decode(line))
        except StopIteration as done:
            return "235 welcome" if done.value else "535 5.7.8 wrong"
        return "334 " + base64.b64encode(challenge).decode()

    return reply


def test_scram_is_used_before_anything_that_shows_the_password():
    reply = server("SCRAM-SHA-256", {"ann": "secret"})
    offered = ehlo("AUTH PLAIN LOGIN SCRAM-SHA-256")
    session = Session(Opening("client.test", credentials=ANN), offered, reply, reply, reply, chance=chance)
    assert len(session.said) == 4 and session.said[-1] == ""


def test_without_chance_there_is_no_scram():
    session = Session(Opening("client.test", credentials=ANN), ehlo("AUTH PLAIN SCRAM-SHA-256"), "235 ok")
    assert session.said[1].startswith("AUTH PLAIN ")


def test_a_peer_that_accepts_before_it_has_proven_itself_is_left():
    with pytest.raises(TransientFailure, match="accepted user 'ann', but it did not prove") as caught:
        Session(Opening("client.test", credentials=ANN), ehlo("AUTH SCRAM-SHA-256"), "235 come in", chance=chance)
    assert str(caught.value.status) == "4.7.0"


def test_a_peer_with_a_wrong_signature_gets_neither_mail_nor_the_password():
    reply = server("SCRAM-SHA-256", {"ann": "secret"})

    def forged(_line):
        return "334 " + base64.b64encode(b"v=" + base64.b64encode(b"0" * 32)).decode()

    plan = Opening("client.test", credentials=ANN)
    for last in ("235 come in", "501 cancelled"):
        with pytest.raises(TransientFailure, match="its signature is wrong"):
            Session(plan, ehlo("AUTH PLAIN SCRAM-SHA-256"), server("SCRAM-SHA-256", {"ann": "secret"}), forged, last,
                    chance=chance)  # fmt: skip
    assert reply("AUTH SCRAM-SHA-256").startswith("334")


def test_a_peer_that_cannot_do_a_mechanism_after_all_is_asked_for_the_next():
    session = Session(
        Opening("client.test", credentials=ANN), ehlo("AUTH PLAIN CRAM-MD5 SCRAM-SHA-256"),
        "504 5.5.4 not today", "534 5.7.9 too weak", "235 ok", chance=chance,
    )  # fmt: skip
    assert [line.split()[1] for line in session.said[1:]] == ["SCRAM-SHA-256", "CRAM-MD5", "PLAIN"]


def test_where_all_mechanisms_are_refused_the_last_words_are_kept():
    with pytest.raises(TransientFailure, match=r"did not accept PLAIN: 504 5\.5\.4 no") as caught:
        Session(Opening("client.test", credentials=ANN), ehlo("AUTH PLAIN"), "504 5.5.4 no")
    assert str(caught.value.status) == "4.7.4"


def test_a_failed_exchange_is_not_followed_by_a_weaker_one():
    reply = server("SCRAM-SHA-256", {"ann": "other"})
    with pytest.raises(TransientFailure, match="did not accept user 'ann' and password: 535"):
        Session(Opening("client.test", credentials=ANN), ehlo("AUTH PLAIN SCRAM-SHA-256"), reply, reply, chance=chance)


@pytest.mark.parametrize("name", ["XOAUTH2", "OAUTHBEARER"])
def test_the_error_of_a_token_is_shown_and_the_token_is_not(name):
    reply = server(name, {"ann": "another-token"})
    plan = Opening("client.test", credentials=Credentials("ann", token="token-of-ann"))
    words = r"did not accept user 'ann' and token \(it said status invalid_token, .*scope mail\): 535"
    with pytest.raises(TransientFailure, match=words) as caught:
        Session(plan, ehlo(f"AUTH PLAIN {name}"), reply, reply, encrypted=True)
    assert "token-of-ann" not in str(caught.value)


def test_a_token_is_not_sent_in_clear():
    plan = Opening("client.test", credentials=Credentials("ann", token="t"))
    with pytest.raises(TransientFailure, match="a token is not sent"):
        Session(plan, ehlo("AUTH XOAUTH2 OAUTHBEARER"))


@pytest.mark.parametrize("name", ["XOAUTH2", "OAUTHBEARER"])
def test_a_token_that_is_too_long_for_a_command_waits_for_the_challenge(name):
    plan = Opening("client.test", credentials=Credentials("ann", token="t" * 4000))
    reply = server(name, {"ann": "t" * 4000})
    session = Session(plan, ehlo(f"AUTH {name}"), reply, reply, encrypted=True)
    assert session.said[1] == f"AUTH {name}" and len(session.said[2]) > 4000


def test_oauthbearer_names_the_host_as_the_user_knows_it():
    plan = Opening("client.test", credentials=Credentials("ann", token="t"))
    session = Session(plan, ehlo("AUTH OAUTHBEARER"), "235 ok", encrypted=True, host="mx.test", port=587)
    assert b"\x01host=mx.test\x01port=587\x01" in base64.b64decode(session.said[1].split()[2])
