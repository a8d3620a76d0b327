"""The client's core where a dialogue cannot reach: order, windows, and what a half-sent message leaves in doubt."""

import pytest

from mailpipe.errors import ConnectionLost, LocalProtocolError
from mailpipe.smtp.client import WINDOW, ClientProtocol
from mailpipe.smtp.command import Data, Ehlo, Mail, Noop, Quit, Rcpt, Rset
from mailpipe.smtp.envelope import Envelope
from mailpipe.smtp.events import NEED_DATA, ReplyReceived, TransactionEnded
from mailpipe.smtp.extension import Extensions
from mailpipe.smtp.reply import parse_reply
from mailpipe.smtp.state import Dialect, State, is_allowed, next_state

MESSAGE = b"Subject: one\r\n\r\ntext\r\n"


def ready(*extensions, dialect=Dialect.SMTP):
    protocol = ClientProtocol(dialect)
    protocol.receive_data(b"220 hi\r\n")
    assert isinstance(protocol.next_event(), ReplyReceived)
    protocol.send(Ehlo("client.test"))
    assert protocol.octets_to_send() == b"EHLO client.test\r\n"
    lines = [b"mx.test", *(extension.encode() for extension in extensions)]
    octets = b"".join(b"250-" + line + b"\r\n" for line in lines[:-1]) + b"250 " + lines[-1] + b"\r\n"
    protocol.receive_data(octets)
    protocol.next_event()
    protocol.extensions = Extensions.parse(parse_reply(octets))
    return protocol


def test_nothing_may_be_said_before_the_greeting():
    with pytest.raises(LocalProtocolError):
        ClientProtocol().send(Ehlo("client.test"))
    with pytest.raises(LocalProtocolError):
        ClientProtocol().begin(Envelope.of("a@x.test", "b@x.test"), MESSAGE)


def test_commands_keep_their_order():
    protocol = ready()
    for command in (Data(), Rcpt("b@x.test")):
        with pytest.raises(LocalProtocolError, match="cannot be given now"):
            protocol.send(command)
    protocol.send(Noop())
    with pytest.raises(LocalProtocolError, match="before the reply"):
        protocol.send(Quit())


def test_pipelining_allows_commands_behind_one_another_but_not_behind_data():
    protocol = ready("PIPELINING")
    for command in (Rset(), Mail("a@x.test"), Rcpt("b@x.test"), Data()):
        protocol.send(command)
    with pytest.raises(LocalProtocolError, match="before the reply to DATA"):
        protocol.send(Quit())


def test_a_second_transaction_waits_for_the_first():
    protocol = ready()
    protocol.begin(Envelope.of("a@x.test", "b@x.test"), MESSAGE)
    with pytest.raises(LocalProtocolError):
        protocol.begin(Envelope.of("a@x.test", "b@x.test"), MESSAGE)
    with pytest.raises(LocalProtocolError, match="middle of a transaction"):
        protocol.send(Noop())


def test_limit_window_bounds_the_commands_in_flight():
    protocol = ready("PIPELINING")
    protocol.begin(Envelope.of("a@x.test", *(f"b{number}@x.test" for number in range(1000))), MESSAGE)
    most = in_flight = 0
    while not (said := protocol.octets_to_send()).startswith(b"Subject"):
        in_flight += said.count(b"\r\n")
        most = max(most, in_flight)
        protocol.receive_data(b"354 go\r\n" if isinstance(protocol.awaited, Data) else b"250 ok\r\n")
        in_flight -= 1
        assert protocol.next_event() is NEED_DATA
    assert most == WINDOW


def sent_up_to_the_dot(dialect=Dialect.SMTP):
    protocol = ready("PIPELINING", dialect=dialect)
    protocol.begin(Envelope.of("a@x.test", "b@x.test", "c@x.test"), MESSAGE)
    protocol.octets_to_send()
    protocol.receive_data(b"250 ok\r\n250 ok\r\n550 no\r\n354 go\r\n")
    assert protocol.next_event() is NEED_DATA
    assert protocol.octets_to_send() == MESSAGE + b".\r\n"
    return protocol


@pytest.mark.parametrize("unsent", [1, 2, 3, len(MESSAGE) + 3])
def test_a_message_whose_dot_has_not_left_is_not_in_doubt(unsent):
    protocol = sent_up_to_the_dot()
    protocol.connection_lost("broken pipe", unsent=unsent)
    result = protocol.next_event().result
    assert not result.in_doubt and not result.lost.in_doubt
    assert result.answers[0].is_transient and result.answers[1].is_permanent


def test_a_message_whose_dot_has_left_is_in_doubt():
    protocol = sent_up_to_the_dot()
    protocol.connection_lost("timed out")
    result = protocol.next_event().result
    assert [answer.in_doubt for answer in result.answers] == [True, False]
    with pytest.raises(ConnectionLost, match="may have been accepted") as caught:
        result.raise_if_lost()
    assert caught.value.in_doubt


def test_content_that_was_never_handed_out_is_not_in_doubt():
    protocol = ready("PIPELINING")
    protocol.begin(Envelope.of("a@x.test", "b@x.test"), MESSAGE)
    protocol.octets_to_send()
    protocol.receive_data(b"250 ok\r\n250 ok\r\n354 go\r\n")
    protocol.connection_lost("reset")
    assert not protocol.next_event().result.in_doubt


def test_a_reply_that_came_before_the_end_counts():
    protocol = sent_up_to_the_dot()
    protocol.receive_data(b"250 kept\r\n")
    protocol.connection_lost("reset")
    result = protocol.next_event().result
    assert result.answers[0].is_accepted and result.lost is None


def test_a_refusal_in_the_middle_of_the_content_counts():
    protocol = sent_up_to_the_dot()
    protocol.receive_data(b"552 5.3.4 too big\r\n")
    protocol.connection_lost("broken pipe", unsent=20)
    result = protocol.next_event().result
    assert result.answers[0].reply.code == 552 and result.answers[0].is_permanent


def test_552_to_rcpt_means_too_many_recipients_and_is_transient():
    protocol = ready("PIPELINING")
    protocol.begin(Envelope.of("a@x.test", "b@x.test"), MESSAGE)
    protocol.receive_data(b"250 ok\r\n552 too many\r\n503 no\r\n")
    event = protocol.next_event()
    assert isinstance(event, TransactionEnded)
    assert event.result.answers[0].is_transient and not event.result.answers[0].is_permanent


@pytest.mark.parametrize(
    "replies",
    [b"354 what?\r\n", b"250 ok\r\n354 what?\r\n", b"250 ok\r\n250 ok\r\n250 what?\r\n"],
    ids=["MAIL", "RCPT", "DATA"],
)
def test_a_reply_of_the_wrong_kind_ends_the_connection(replies):
    protocol = ready("PIPELINING")
    protocol.begin(Envelope.of("a@x.test", "b@x.test"), MESSAGE)
    protocol.octets_to_send()
    protocol.receive_data(replies)
    result = protocol.next_event().result
    assert result.lost is not None and not result.in_doubt
    assert protocol.state is State.CLOSED


def test_lmtp_that_takes_data_for_nobody_is_left():
    protocol = ready("PIPELINING", dialect=Dialect.LMTP)
    protocol.begin(Envelope.of("a@x.test", "b@x.test"), MESSAGE)
    protocol.octets_to_send()
    protocol.receive_data(b"250 ok\r\n550 no\r\n354 go\r\n")
    result = protocol.next_event().result
    assert result.answers[0].reply.code == 550
    assert protocol.state is State.CLOSED


def test_an_envelope_without_recipients_ends_at_once():
    protocol = ready()
    protocol.begin(Envelope.of("a@x.test"), MESSAGE)
    assert protocol.next_event().result.answers == ()
    assert protocol.octets_to_send() == b""


def test_the_table_knows_no_side():
    assert is_allowed(State.READY, Mail) and not is_allowed(State.MAIL, Mail) and not is_allowed(State.MAIL, Data)
    assert next_state(State.MAIL, Rcpt("b@x.test"), parse_reply(b"550 no\r\n")) is State.MAIL
    assert next_state(State.RCPT, Data(), parse_reply(b"354 go\r\n")) is State.DATA
    assert next_state(State.HELLO, Rset(), parse_reply(b"250 ok\r\n")) is State.HELLO
    assert next_state(State.RCPT, Rset(), parse_reply(b"250 ok\r\n")) is State.READY
    assert next_state(State.RCPT, Noop(), parse_reply(b"421 bye\r\n")) is State.CLOSED
