"""What a server was found to lack is not tried anew for each connection, and not believed for ever."""

import ssl

import pytest
import trustme

import mailpipe
from mailpipe.errors import TransientFailure
from mailpipe.net.known import REMEMBERED
from mailpipe.pipeline.mail import Mail, Origin
from mailpipe.pipeline.outcome import Fate
from mailpipe.sinks.smtp import SmtpSink
from mailpipe.smtp.envelope import Envelope
from mailpipe.testing.peer import Fault, ScriptedPeer

OLD = Fault("EHLO", "reply", "502 5.5.1 what?")


@pytest.fixture(scope="module")
def certified():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    return context


def mail():
    return Mail(mailpipe.parse(b"Subject: x\r\n\r\ntext\r\n"), Envelope.of("a@example.org", "b@example.net"), Origin("test", "-"))


def sink_of(peer, now, **options):
    """A sink that makes a connection for each mail."""
    sink = SmtpSink(SmtpSink.Options(host=f"{peer.host}:{peer.port}", messages_per_connection=1, **options))
    sink._clock = lambda: now[0]
    sink.open()
    return sink


def verbs(session):
    return [line.split()[0].upper() for line in session]


def test_a_server_without_ehlo_is_not_asked_for_it_again_and_after_a_while_once_more():
    now = [1000.0]
    with ScriptedPeer(OLD) as peer:
        sink = sink_of(peer, now)
        for wait in (0, 1, REMEMBERED):
            now[0] += wait
            assert [entry.fate for entry in sink.deliver(mail()).recipients] == [Fate.DELIVERED]
        sink.close()
        first, second, third = (verbs(session)[:2] for session in peer.sessions)
        assert (first, second[:1], third) == (["EHLO", "HELO"], ["HELO"], ["EHLO", "HELO"])


def test_a_handshake_that_fails_is_not_tried_for_each_connection(certified):
    now = [1000.0]
    with ScriptedPeer(Fault("handshake", "drop"), tls=certified) as peer:
        sink = sink_of(peer, now, timeout=5)
        for wait in (0, 1, REMEMBERED):
            now[0] += wait
            assert [entry.fate for entry in sink.deliver(mail()).recipients] == [Fate.DELIVERED]
        sink.close()
        assert ["STARTTLS" in verbs(session) for session in peer.sessions] == [True, False, False, True, False]


def test_what_is_required_is_tried_each_time(certified):
    now = [1000.0]
    with ScriptedPeer(Fault("handshake", "drop"), tls=certified) as peer:
        sink = sink_of(peer, now, tls="required", retry_pause=0)
        for _ in range(2):
            with pytest.raises(TransientFailure, match="handshake"):
                sink.deliver(mail())
        sink.close()
        assert all("STARTTLS" in verbs(session) for session in peer.sessions) and not peer.taken
