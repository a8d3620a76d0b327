"""The blocking front end against real sockets: aiosmtpd, and a peer that misbehaves."""

import os
import socket
import ssl
from dataclasses import replace

import pytest
import trustme
from aiosmtpd.controller import Controller

from mailpipe.errors import ConfigError, ConnectionLost, LocalProtocolError, OutputError, TransientFailure
from mailpipe.net.endpoint import Endpoint, Timeouts, connect_failure
from mailpipe.net.sync import SmtpConnection
from mailpipe.net.trace import TraceFile
from mailpipe.smtp.command import Noop
from mailpipe.smtp.envelope import Envelope
from mailpipe.smtp.opening import Opening, TlsMode
from mailpipe.smtp.sasl import Credentials
from mailpipe.smtp.state import Dialect
from mailpipe.smtp.transcript import Transcript
from mailpipe.testing.peer import EXTENSIONS, Fault, ScriptedPeer

MESSAGE = b"Subject: one\r\n\r\n.dot\r\n..\r\ntext\r\n"
ENVELOPE = Envelope.of("ann@example.org", "bob@example.net")
SHORT = Timeouts.within(0.4)


def connection(peer, plan=None, timeouts=None, **options):
    return SmtpConnection(Endpoint(peer.host, peer.port), plan or Opening("client.test"), timeouts, **options)


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


def server_context(authority, name="127.0.0.1"):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    return context


@pytest.fixture
def ca_file(authority, tmp_path):
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return path


class Keeper:
    def __init__(self):
        self.kept = []

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody"):
            return "550 5.1.1 no such user"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, server, session, envelope):
        self.kept.append((envelope.mail_from, envelope.rcpt_tos, envelope.content))
        return "250 2.0.0 kept"


def test_a_real_server_gets_every_message_as_it_was():
    keeper = Keeper()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    controller = Controller(keeper, hostname="127.0.0.1", port=port, ready_timeout=30)
    controller.start()
    try:
        large = b"Subject: large\r\n\r\n" + b".line of the large one\r\n" * 40_000
        with SmtpConnection(Endpoint("127.0.0.1", port), Opening("client.test")) as one:
            for octets in (MESSAGE, large, MESSAGE):
                result = one.transaction(Envelope.of("ann@example.org", "bob@example.net", "nobody@example.net"), octets)
                assert [answer.reply.code for answer in result.answers] == [250, 550]
            assert one.is_alive() and one.transaction_count == 3
    finally:
        controller.stop()
    assert [content for _, _, content in keeper.kept] == [MESSAGE, large, MESSAGE]
    assert keeper.kept[0][:2] == ("ann@example.org", ["bob@example.net"])


@pytest.mark.parametrize("extensions", [EXTENSIONS, (), ("CHUNKING", "BINARYMIME", "8BITMIME")])
def test_one_connection_carries_many_messages(extensions):
    with ScriptedPeer(extensions=extensions) as peer:
        with connection(peer) as one:
            for _ in range(5):
                assert one.transaction(ENVELOPE, MESSAGE).answers[0].is_accepted
        assert [taken.octets for taken in peer.taken] == [MESSAGE] * 5
        assert len(peer.sessions) == 1 and peer.sessions[0][-1] == "QUIT"
        assert not peer.violations


def test_binary_content_goes_by_bdat():
    with ScriptedPeer(extensions=("CHUNKING", "BINARYMIME", "8BITMIME")) as peer, connection(peer) as one:
        octets = MESSAGE + b"\0 bare \n and \r\n"
        assert one.transaction(ENVELOPE, octets).answers[0].command == "BDAT"
        assert peer.taken[0].octets == octets


def test_lmtp_answers_for_each_recipient():
    faults = Fault("dot", "reply", "552 5.2.2 full", recipient=2)
    with ScriptedPeer(faults, dialect=Dialect.LMTP) as peer:
        with connection(peer, Opening("client.test", Dialect.LMTP)) as one:
            result = one.transaction(Envelope.of("", "a@x.test", "b@x.test", "c@x.test"), MESSAGE)
        assert [answer.reply.code for answer in result.answers] == [250, 552, 250]
        assert [taken.forward_paths for taken in peer.taken] == [("a@x.test",), ("c@x.test",)]


def test_a_unix_socket_is_a_host(tmp_path):
    path = str(tmp_path / "lmtp")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        one = SmtpConnection(Endpoint(path), Opening("client.test"), SHORT)
        with pytest.raises(TransientFailure, match="timed out"):
            one.open()
        assert one.last_peer == path
    os.unlink(path)
    with pytest.raises(TransientFailure, match="no such socket"):
        one.open()


def test_an_idle_connection_that_the_peer_closed_is_made_anew():
    with ScriptedPeer(Fault("dot", "reply-drop", "250 2.0.0 kept", times=1)) as peer, connection(peer) as one:
        assert one.transaction(ENVELOPE, MESSAGE).answers[0].is_accepted
        assert one.transaction(ENVELOPE, MESSAGE).answers[0].is_accepted
        assert len(peer.sessions) == 2 and len(peer.taken) == 2


@pytest.mark.parametrize("fault", [Fault("MAIL", "drop", nth=2), Fault("MAIL", "reset", nth=2),
                                   Fault("MAIL", "reply", "421 4.4.2 idle too long", nth=2)])  # fmt: skip
def test_a_used_connection_that_dies_before_mail_was_taken_is_made_anew_once(fault):
    with ScriptedPeer(fault) as peer, connection(peer) as one:
        for _ in range(2):
            assert one.transaction(ENVELOPE, MESSAGE).answers[0].is_accepted
        assert len(peer.sessions) == 2 and len(peer.taken) == 2


def test_a_fresh_connection_that_dies_is_not_tried_again():
    with ScriptedPeer(Fault("MAIL", "drop")) as peer, connection(peer) as one:
        result = one.transaction(ENVELOPE, MESSAGE)
        assert result.lost is not None and not result.in_doubt
        assert len(peer.sessions) == 1


def test_no_reply_to_the_end_of_data_leaves_the_message_in_doubt_and_is_not_repeated():
    with ScriptedPeer(Fault("dot", "drop", accept=True)) as peer, connection(peer) as one:
        result = one.transaction(ENVELOPE, MESSAGE)
        assert result.in_doubt and "may have been accepted" in str(result.lost)
        assert str(result.lost).startswith(f"127.0.0.1:{peer.port}: ")
        with pytest.raises(ConnectionLost):
            result.raise_if_lost()
        assert len(peer.taken) == 1 and not peer.taken[0].acknowledged


def test_a_time_out_behind_the_dot_leaves_the_message_in_doubt():
    with ScriptedPeer(Fault("dot", "hang")) as peer, connection(peer, timeouts=SHORT) as one:
        result = one.transaction(ENVELOPE, MESSAGE)
        assert result.in_doubt and "timed out while waiting for the reply to end of data" in str(result.lost)


def test_a_peer_that_hangs_up_in_the_content_leaves_nothing_in_doubt():
    octets = b"Subject: large\r\n\r\n" + b"x" * 70 + b"\r\n" * 8_000_000
    with ScriptedPeer(Fault("content", "reset")) as peer, connection(peer) as one:
        result = one.transaction(ENVELOPE, octets)
        assert result.lost is not None and not result.in_doubt
        assert not peer.taken


def test_a_slow_peer_gains_nothing_by_single_octets():
    with ScriptedPeer(Fault("MAIL", "slow")) as peer, connection(peer, timeouts=SHORT) as one:
        result = one.transaction(ENVELOPE, MESSAGE)
        assert "timed out while waiting for the reply to MAIL" in str(result.lost)


@pytest.mark.parametrize("do", ["endless", "long-line", "garbage"])
def test_a_peer_that_talks_nonsense_is_left(do):
    with ScriptedPeer(Fault("connect", do)) as peer, pytest.raises(TransientFailure):
        connection(peer, timeouts=Timeouts.within(30)).open()


def test_many_recipients_go_in_several_transactions():
    paths = [f"b{number}@x.test" for number in range(25)]
    with ScriptedPeer(extensions=("LIMITS RCPTMAX=8", "PIPELINING")) as peer, connection(peer) as one:
        result = one.deliver(Envelope.of("a@x.test", *paths), MESSAGE, recipients_per_transaction=10)
    assert [answer.path.address for answer in result.answers] == paths
    assert all(answer.is_accepted for answer in result.answers)
    assert [len(taken.forward_paths) for taken in peer.taken] == [8, 8, 8, 1]


def test_whom_the_peer_puts_off_as_too_many_comes_again_at_once():
    with ScriptedPeer(Fault("RCPT", "reply", "452 4.5.3 too many", nth=2)) as peer, connection(peer) as one:
        result = one.deliver(Envelope.of("a@x.test", "b@x.test", "c@x.test", "d@x.test"), MESSAGE)
    assert all(answer.is_accepted for answer in result.answers)
    assert [taken.forward_paths for taken in peer.taken] == [("b@x.test", "d@x.test"), ("c@x.test",)]


def test_a_full_mailbox_is_not_asked_twice():
    with ScriptedPeer(Fault("RCPT", "reply", "452 4.2.2 full", match="c@")) as peer, connection(peer) as one:
        result = one.deliver(Envelope.of("a@x.test", "b@x.test", "c@x.test"), MESSAGE)
    assert [answer.is_transient for answer in result.answers] == [False, True]
    assert sum(line.startswith("RCPT") for line in peer.sessions[0]) == 2


def test_recipients_behind_a_lost_transaction_are_not_in_doubt():
    with ScriptedPeer(Fault("dot", "drop", nth=2)) as peer, connection(peer) as one:
        result = one.deliver(Envelope.of("a@x.test", "b@x.test", "c@x.test", "d@x.test"), MESSAGE,
                             recipients_per_transaction=1)  # fmt: skip
    assert [(answer.is_accepted, answer.in_doubt) for answer in result.answers] == [
        (True, False), (False, True), (False, False),
    ]  # fmt: skip


def test_starttls_with_a_certificate_that_is_checked(authority, ca_file):
    with ScriptedPeer(tls=server_context(authority), users={"ann": "secret"}, extensions=("AUTH PLAIN",)) as peer:
        plan = Opening("client.test", tls=TlsMode.REQUIRED, credentials=Credentials("ann", "secret"))
        with connection(peer, plan, tls_ca_file=ca_file) as one:
            for _ in range(2):
                assert one.transaction(ENVELOPE, MESSAGE).answers[0].is_accepted
            assert one.is_alive()
        assert all(taken.encrypted for taken in peer.taken) and len(peer.sessions) == 1


def test_implicit_tls_speaks_tls_from_the_first_octet(authority, ca_file):
    with ScriptedPeer(tls=server_context(authority), implicit_tls=True) as peer:
        with connection(peer, Opening("client.test", tls=TlsMode.IMPLICIT), tls_ca_file=ca_file) as one:
            assert one.transaction(ENVELOPE, MESSAGE).answers[0].is_accepted
        assert peer.taken[0].encrypted


def test_a_certificate_of_nobody_is_refused_where_tls_is_required(authority):
    with (
        ScriptedPeer(tls=server_context(authority)) as peer,
        pytest.raises(TransientFailure, match="certificate is not believed") as caught,
    ):
        connection(peer, Opening("client.test", tls=TlsMode.REQUIRED)).open()
    assert str(caught.value.status) == "4.7.5"


def test_a_certificate_for_another_name_is_refused_where_tls_is_required(authority, ca_file):
    with (
        ScriptedPeer(tls=server_context(authority, "other.test")) as peer,
        pytest.raises(TransientFailure, match="certificate is not believed"),
    ):
        connection(peer, Opening("client.test", tls=TlsMode.REQUIRED), tls_ca_file=ca_file).open()


def test_opportunistic_tls_takes_any_certificate(authority):
    with ScriptedPeer(tls=server_context(authority, "other.test")) as peer, connection(peer) as one:
        assert one.transaction(ENVELOPE, MESSAGE).answers[0].is_accepted
        assert peer.taken[0].encrypted


BAD_HANDSHAKES = (
    Fault("STARTTLS", "reply-drop", "220 go"),
    Fault("handshake", "drop"),
    Fault("handshake", "reset"),
    Fault("handshake", "garbage"),
    Fault("handshake", "reply"),
    Fault("handshake", "hang"),
)


@pytest.mark.parametrize("fault", BAD_HANDSHAKES)
def test_opportunistic_tls_goes_on_in_clear_where_the_handshake_fails(authority, fault):
    with ScriptedPeer(fault, tls=server_context(authority)) as peer:
        with connection(peer, timeouts=replace(Timeouts(), handshake=0.3 if fault.do == "hang" else 30)) as one:
            assert one.transaction(ENVELOPE, MESSAGE).answers[0].is_accepted
        assert not peer.taken[0].encrypted and len(peer.sessions) == 2


@pytest.mark.parametrize("fault", BAD_HANDSHAKES)
def test_required_tls_never_goes_on_in_clear(authority, ca_file, fault):
    timeouts = replace(Timeouts(), handshake=0.3 if fault.do == "hang" else 30)
    with (
        ScriptedPeer(fault, tls=server_context(authority)) as peer,
        pytest.raises(TransientFailure, match="handshake"),
    ):
        connection(peer, Opening("client.test", tls=TlsMode.REQUIRED), timeouts, tls_ca_file=ca_file).open()
    assert len(peer.sessions) == 1


def test_a_reply_injected_before_tls_is_not_believed(authority, ca_file):
    fault = Fault("STARTTLS", "inject", "250 AUTH PLAIN")
    plan = Opening("client.test", tls=TlsMode.REQUIRED)
    with (
        ScriptedPeer(fault, tls=server_context(authority), extensions=()) as peer,
        connection(peer, plan, tls_ca_file=ca_file) as one,
    ):
        one.open()
        assert "AUTH" not in one.extensions


def test_a_wrong_password_says_so_and_does_not_show_it():
    plan = Opening("client.test", credentials=Credentials("ann", "hunter2", in_clear=True))
    with (
        ScriptedPeer(users={"ann": "secret"}, extensions=("AUTH PLAIN",)) as peer,
        pytest.raises(TransientFailure, match="did not accept user 'ann'") as caught,
    ):
        connection(peer, plan).open()
    assert "hunter2" not in str(caught.value) and str(caught.value.status) == "4.7.8"


@pytest.mark.parametrize(
    ("host", "status", "words"),
    [
        ("no-such-host.invalid", "4.4.", "no-such-host.invalid:25"),
        ("a" * 70 + ".example", "4.4.4", "no valid host name"),
        ("a..b", "4.4.", "check the name"),
    ],
)
def test_a_wrong_host_name_is_transient_and_named(host, status, words):
    with pytest.raises(TransientFailure, match=words) as caught:
        SmtpConnection(Endpoint(host), Opening("client.test"), SHORT).open()
    assert str(caught.value.status).startswith(status)


def test_a_closed_port_is_transient_and_names_the_remedy():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(TransientFailure, match=rf"127.0.0.1:{port}: connection refused; is a server listening") as caught:
        SmtpConnection(Endpoint("127.0.0.1", port), Opening("client.test")).open()
    assert str(caught.value.status) == "4.4.1"


def test_every_failure_to_connect_has_words():
    endpoint = Endpoint("mx.test")
    for error in (socket.gaierror(socket.EAI_AGAIN, "again"), TimeoutError(), PermissionError(13, "denied"), OSError("x")):
        failure = connect_failure(endpoint, error)
        assert str(failure).startswith("mx.test:25: ") and failure.is_transient
    assert str(Endpoint("::1", 24)) == "[::1]:24"


def test_a_file_without_certificates_is_a_matter_of_configuration(authority, tmp_path):
    path = tmp_path / "empty.pem"
    path.write_text("")
    with ScriptedPeer(tls=server_context(authority)) as peer, pytest.raises(ConfigError, match=r"empty\.pem"):
        connection(peer, Opening("client.test", tls=TlsMode.REQUIRED), tls_ca_file=path).open()


def test_a_command_without_connection_is_refused():
    one = SmtpConnection(Endpoint("127.0.0.1"), Opening("client.test"))
    with pytest.raises(ConnectionLost, match="not connected"):
        one.command(Noop())
    assert not one.is_alive()


def test_a_message_that_cannot_be_said_leaves_the_connection_usable():
    with ScriptedPeer() as peer, connection(peer) as one:
        with pytest.raises(LocalProtocolError):
            one.transaction(ENVELOPE, b"a\nb")
        assert one.transaction(ENVELOPE, MESSAGE).answers[0].is_accepted


@pytest.mark.parametrize("name", ["SCRAM-SHA-256", "CRAM-MD5", "PLAIN", "LOGIN", "OAUTHBEARER", "XOAUTH2"])
def test_every_mechanism_lets_us_in_and_a_wrong_secret_does_not(name):
    def told(secret):
        token = secret if "OAUTH" in name.replace("BEARER", "") else None
        return Opening("client.test", credentials=Credentials("ann", "" if token else secret, True, token))

    with ScriptedPeer(users={"ann": "correct-horse"}, extensions=(f"AUTH {name}",)) as peer:
        with connection(peer, told("correct-horse")) as one:
            assert one.transaction(ENVELOPE, MESSAGE).answers[0].is_accepted
        with pytest.raises(TransientFailure, match="did not accept user 'ann'"):
            connection(peer, told("wrong-horse")).open()
        assert len(peer.taken) == 1 and not peer.violations


def test_a_transcript_tells_the_session_in_clear_text_and_no_secret(authority, ca_file):
    lines = []
    plan = Opening("client.test", tls=TlsMode.REQUIRED, credentials=Credentials("ann", "correct-horse"))
    with ScriptedPeer(tls=server_context(authority), users={"ann": "correct-horse"}, extensions=("AUTH PLAIN",)) as peer:
        with connection(peer, plan, tls_ca_file=ca_file, transcript=Transcript(lines.append)) as one:
            one.transaction(ENVELOPE, MESSAGE)
        assert "".join(lines) == (
            f"* connected to 127.0.0.1:{peer.port}\n"
            "< 220 peer.test SMTP ready\n> EHLO client.test\n< 250-peer.test\n< 250-AUTH PLAIN\n< 250 STARTTLS\n"
            "> STARTTLS\n< 220 2.0.0 go ahead\n* TLS begins\n"
            "> EHLO client.test\n< 250-peer.test\n< 250-AUTH PLAIN\n< 250 STARTTLS\n"
            "> AUTH PLAIN ***\n< 235 2.7.0 welcome\n"
            "> MAIL FROM:<ann@example.org>\n< 250 2.1.0 ok\n> RCPT TO:<bob@example.net>\n< 250 2.1.5 ok\n"
            "> DATA\n< 354 go ahead\n> … 34 octets\n> .\n< 250 2.0.0 kept\n> QUIT\n< 221 2.0.0 bye\n* closed\n"
        )


def test_a_transcript_says_how_a_connection_ended():
    lines = []
    with ScriptedPeer(Fault("MAIL", "hang")) as peer:
        with connection(peer, timeouts=SHORT, transcript=Transcript(lines.append)) as one:
            one.transaction(ENVELOPE, MESSAGE)
        assert lines[-2:] == ["* timed out while waiting for the reply to MAIL\n", "* closed\n"]


def test_a_trace_file_is_private_and_tells_its_connections_apart(tmp_path):
    path = tmp_path / "smtp.trace"
    with TraceFile(path) as trace, ScriptedPeer() as peer:
        for _ in range(2):
            with connection(peer, transcript=trace.transcript()) as one:
                one.transaction(ENVELOPE, MESSAGE)
    with TraceFile(path) as trace:
        trace.transcript().note("again")
    assert path.stat().st_mode & 0o777 == 0o600
    lines = path.read_text("utf-8").splitlines()
    assert [line.split()[0] for line in lines if "* closed" in line] == [f"{os.getpid()}.1", f"{os.getpid()}.2"]
    assert lines[-1].endswith("* again")
    trace.transcript().note("behind the end: nobody is stopped by it")
    with pytest.raises(OutputError):
        TraceFile(tmp_path / "nowhere" / "smtp.trace")
