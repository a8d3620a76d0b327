import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpipe.errors import LocalProtocolError, RemoteProtocolError
from mailpipe.smtp.command import (
    Auth,
    AuthResponse,
    Bdat,
    Data,
    Ehlo,
    Helo,
    Lhlo,
    Mail,
    Noop,
    Quit,
    Rcpt,
    Rset,
    StartTls,
    Unknown,
    Xclient,
    Xforward,
    parse_command,
)  # fmt: skip

COMMANDS = [
    (Ehlo("client.example.org"), b"EHLO client.example.org\r\n"),
    (Ehlo("[192.0.2.1]"), b"EHLO [192.0.2.1]\r\n"),
    (Helo("client"), b"HELO client\r\n"),
    (Lhlo("client"), b"LHLO client\r\n"),
    (Mail(""), b"MAIL FROM:<>\r\n"),
    (Mail("ann@example.org", (("SIZE", "12"), ("SMTPUTF8", None))), b"MAIL FROM:<ann@example.org> SIZE=12 SMTPUTF8\r\n"),
    (Rcpt("bob@example.net", (("NOTIFY", "NEVER"),)), b"RCPT TO:<bob@example.net> NOTIFY=NEVER\r\n"),
    (Rcpt("zoë@example.net", smtputf8=True), "RCPT TO:<zoë@example.net>\r\n".encode()),
    (Data(), b"DATA\r\n"),
    (Bdat(12), b"BDAT 12\r\n"),
    (Bdat(0, last=True), b"BDAT 0 LAST\r\n"),
    (Rset(), b"RSET\r\n"),
    (Noop(), b"NOOP\r\n"),
    (Quit(), b"QUIT\r\n"),
    (StartTls(), b"STARTTLS\r\n"),
    (Auth("LOGIN"), b"AUTH LOGIN\r\n"),
    (Auth("PLAIN", b"\0ann\0secret"), b"AUTH PLAIN AGFubgBzZWNyZXQ=\r\n"),
    (Auth("EXTERNAL", b""), b"AUTH EXTERNAL =\r\n"),
    (Xclient((("NAME", None), ("ADDR", "2001:db8::7"), ("LOGIN", "a+b c"))),
     b"XCLIENT NAME=[UNAVAILABLE] ADDR=IPV6:2001:db8::7 LOGIN=a+2Bb+20c\r\n"),
    (Xforward((("ADDR", "192.0.2.7"), ("PROTO", "ESMTP"), ("SOURCE", "LOCAL"), ("NAME", "[TEMPUNAVAIL]"))),
     b"XFORWARD ADDR=192.0.2.7 PROTO=ESMTP SOURCE=LOCAL NAME=[TEMPUNAVAIL]\r\n"),
]  # fmt: skip


@pytest.mark.parametrize(("command", "octets"), COMMANDS)
def test_a_command_is_rendered_and_reads_back(command, octets):
    assert command.octets == octets
    assert parse_command(octets) == command
    assert parse_command(octets.swapcase() if command.verb in ("DATA", "RSET", "BDAT") else octets) == command


def test_odd_spacing_and_case_are_taken():
    assert parse_command(b"mail from: <ann@example.org>  size=1 ") == Mail("ann@example.org", (("SIZE", "1"),))
    assert parse_command(b"NOOP whatever\r\n") == Noop()
    assert parse_command(b"VRFY ann\r\n") == Unknown("VRFY", "ann")


@pytest.mark.parametrize(
    "line",
    [b"MAIL", b"MAIL TO:<a@b>", b"MAIL FROM:a@b", b"MAIL FROM:<a@b", b"RCPT TO:<>", b"RCPT TO:<a b@c>", b"DATA now",
     b"BDAT", b"BDAT x", b"BDAT 1 2", b"EHLO", b"AUTH", b"AUTH PLAIN ***", b"MAIL FROM:<a@b> =x", b"x" * 20_000,
     b"MAIL FROM:<a@b> \xff", b"XCLIENT", b"XCLIENT NAME", b"XFORWARD NAME=a+zz", b"XCLIENT N+41ME=x"],
)  # fmt: skip
def test_arguments_that_cannot_be_are_an_error_of_the_peer(line):
    with pytest.raises(RemoteProtocolError):
        parse_command(line)


@given(st.binary(max_size=100))
def test_no_line_breaks_the_parser(line):
    with contextlib.suppress(RemoteProtocolError):
        parse_command(line)


def test_secrets_are_not_shown():
    assert "secret" not in repr(Auth("PLAIN", b"secret")) + repr(AuthResponse(b"secret"))
    assert AuthResponse(None).octets == b"*\r\n"


def test_what_a_client_does_not_send_cannot_be_rendered():
    for command in (Rcpt(""), Unknown("EXPN", "x"), Rcpt("zoë@example.net"), Xclient(()), Xforward((("NAME", "a\n"),))):
        with pytest.raises(LocalProtocolError):
            _ = command.octets
