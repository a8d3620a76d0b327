"""SMTP smuggling and command injection, each trick by name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpipe.errors import LocalProtocolError
from mailpipe.smtp.client import ClientProtocol
from mailpipe.smtp.command import Auth, Ehlo, Mail, Rcpt, StartTls
from mailpipe.smtp.envelope import Envelope
from mailpipe.smtp.events import NEED_DATA, ReplyReceived
from mailpipe.smtp.extension import Extensions
from mailpipe.smtp.negotiation import plan_transaction
from mailpipe.smtp.path import path_octets
from mailpipe.smtp.reply import Reply
from mailpipe.smtp.state import State
from mailpipe.smtp.transparency import DataReader, encode_content, to_crlf

SECOND = b"MAIL FROM:<evil@example.org>\r\nRCPT TO:<bob@example.net>\r\nDATA\r\nSubject: smuggled\r\n"


@pytest.mark.parametrize(
    "end",
    [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\n\n.\r\n", b"\r\r\n.\r\n"],
    ids=["LF.LF", "LF.CRLF", "CRLF.LF", "CR.CR", "CRLF.CR", "CR.CRLF", "LFLF.CRLF", "CRCRLF.CRLF"],
)
def test_a_false_end_of_data_never_reaches_the_wire(end):
    content = b"Subject: one\r\n\r\ntext" + end + SECOND
    with pytest.raises(LocalProtocolError, match="bare CR or LF"):
        encode_content(content)
    mended = encode_content(to_crlf(content))
    assert mended.count(b"\r\n.\r\n") == 1 and mended.endswith(b"\r\n.\r\n")


@pytest.mark.parametrize("content", [b".\r\n" + SECOND, b"a\r\n.\r\n" + SECOND, b"\r\n.\r\n.\r\n..\r\n" + SECOND])
def test_a_true_end_of_data_inside_the_message_is_stuffed(content):
    reader = DataReader()
    reader.receive_data(encode_content(content))
    assert reader.is_complete and reader.octets == content and reader.rest == b""


@given(st.lists(st.sampled_from([b".", b"\r", b"\n", b"\r\n", b"a", b"\0"])).map(b"".join))
def test_whatever_the_content_there_is_one_end_of_data_and_it_is_last(content):
    wire = encode_content(to_crlf(content))
    reader = DataReader()
    for at in range(len(wire)):
        assert not reader.is_complete
        reader.receive_data(wire[at : at + 1])
    assert reader.is_complete
    expected = to_crlf(content)
    assert reader.octets == (expected if not expected or expected.endswith(b"\r\n") else expected + b"\r\n")


@pytest.mark.parametrize(
    "address",
    [
        "ann@example.org>\r\nRCPT TO:<evil@example.org",
        "ann@example.org\nDATA",
        "ann\r@example.org",
        "ann\0@example.org",
        "ann@example.org> SIZE=1",
        '"a>b"@example.org',
        '"a\r\nDATA\r\n"@example.org',
        "ann\u2028@example.org",
        "ann\x85@example.org",
        "ann\udc0a@example.org",
        "=?utf-8?q?evil=40example.org=3e=00?=@example.net",
    ],
    ids=["CRLF", "LF", "CR", "NUL", "bracket", "quoted bracket", "quoted CRLF", "line separator", "NEL", "surrogate",
         "encoded word"],
)  # fmt: skip
def test_an_address_cannot_smuggle_a_command(address):
    for smtputf8 in (False, True):
        with pytest.raises(LocalProtocolError):
            path_octets(address, smtputf8)


@pytest.mark.parametrize("value", ["a\r\nDATA", "a b", "a=b", "", "é", "\0"])
def test_a_parameter_cannot_smuggle_a_command(value):
    with pytest.raises(LocalProtocolError):
        _ = Mail("ann@example.org", (("ENVID", value),)).octets
    with pytest.raises(LocalProtocolError):
        _ = Rcpt("ann@example.org", ((value, None),)).octets


def test_a_host_name_or_mechanism_cannot_smuggle_a_command():
    for name in ("a\r\nMAIL", "", "a b", "é.example", "<x>"):
        with pytest.raises(LocalProtocolError):
            _ = Ehlo(name).octets
    with pytest.raises(LocalProtocolError):
        _ = Auth("PLAIN\r\nMAIL").octets


def test_a_reply_line_cannot_smuggle_a_reply():
    with pytest.raises(LocalProtocolError):
        _ = Reply(250, ("ok\r\n250 also ok",)).octets


def test_replies_injected_before_tls_are_forgotten():
    protocol = ClientProtocol()
    for command, octets in (
        (None, b"220 hi\r\n"),
        (Ehlo("client.test"), b"250-mx\r\n250 STARTTLS\r\n"),
        (StartTls(), b"220 go\r\n250-evil\r\n250 AUTH PLAIN\r\n"),
    ):
        if command is not None:
            protocol.send(command)
            protocol.octets_to_send()
        protocol.receive_data(octets)
        assert isinstance(protocol.next_event(), ReplyReceived)
    protocol.receive_data(b"250 evil\r\n")
    protocol.tls_started()
    assert protocol.next_event() is NEED_DATA
    assert protocol.state is State.HELLO and protocol.extensions == Extensions()


def test_a_reply_that_comes_before_its_content_is_no_success():
    protocol = ClientProtocol()
    for command, octets in ((None, b"220 hi\r\n"), (Ehlo("client.test"), b"250 mx\r\n")):
        if command is not None:
            protocol.send(command)
            protocol.octets_to_send()
        protocol.receive_data(octets)
        protocol.next_event()
    protocol.begin(Envelope.of("a@x.test", "b@x.test"), b"Subject: x\r\n\r\ny\r\n")
    for octets in (b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n250 kept\r\n"):
        protocol.octets_to_send()
        protocol.receive_data(octets)
        event = protocol.next_event()
    assert not event.result.answers[0].is_accepted and not event.result.answers[0].in_doubt


def test_a_message_with_a_bare_line_feed_is_refused_before_mail_is_said():
    with pytest.raises(LocalProtocolError):
        plan_transaction(Envelope.of("ann@example.org", "bob@example.net"), b"a\n.\nb", Extensions())
