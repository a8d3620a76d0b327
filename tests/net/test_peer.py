"""The misbehaving peer itself, asked by a client that is not ours."""

import smtplib

import pytest

from mailpipe.smtp.state import Dialect
from mailpipe.testing.peer import Fault, ScriptedPeer

MESSAGE = "Subject: one\r\n\r\n.text\r\n"


def test_without_faults_it_takes_everything():
    with ScriptedPeer() as peer:
        with smtplib.SMTP(peer.host, peer.port, local_hostname="client.test") as client:
            assert client.sendmail("ann@example.org", ["bob@example.net"], MESSAGE) == {}
        taken = peer.taken[0]
        assert (taken.reverse_path, taken.forward_paths) == ("ann@example.org", ("bob@example.net",))
        assert taken.octets == MESSAGE.encode() and taken.acknowledged and taken.session == 1
        assert peer.sessions[0][0] == "ehlo client.test"
        assert not peer.violations


def test_it_speaks_lmtp():
    with ScriptedPeer(dialect=Dialect.LMTP) as peer, smtplib.LMTP(peer.host, peer.port) as client:
        client.sendmail("ann@example.org", ["bob@example.net"], MESSAGE)
        assert peer.taken[0].forward_paths == ("bob@example.net",)


def test_a_fault_fires_at_its_turn_and_for_whom_it_matches():
    faults = (Fault("RCPT", "reply", "450 4.2.0 later", nth=2), Fault("RCPT", "reply", "550 5.1.1 no", match="carol"))
    with ScriptedPeer(*faults) as peer, smtplib.SMTP(peer.host, peer.port) as client:
        refused = client.sendmail("ann@example.org", ["a@x.test", "b@x.test", "carol@x.test"], MESSAGE)
        assert {address: code for address, (code, _) in refused.items()} == {"b@x.test": 450, "carol@x.test": 550}
        assert peer.taken[0].forward_paths == ("a@x.test",)


def test_what_it_refuses_it_does_not_keep():
    with ScriptedPeer(Fault("dot", "reply", "554 5.6.0 no")) as peer, smtplib.SMTP(peer.host, peer.port) as client:
        with pytest.raises(smtplib.SMTPDataError):
            client.sendmail("ann@example.org", ["bob@example.net"], MESSAGE)
        assert not peer.taken


def test_it_asks_for_a_password():
    with ScriptedPeer(users={"ann": "secret"}, extensions=("AUTH PLAIN",)) as peer:
        with smtplib.SMTP(peer.host, peer.port) as client:
            assert client.login("ann", "secret")[0] == 235
        with smtplib.SMTP(peer.host, peer.port) as client, pytest.raises(smtplib.SMTPAuthenticationError):
            client.login("ann", "wrong")


def test_it_stops_while_a_session_hangs_and_comes_back_on_the_same_port():
    peer = ScriptedPeer(Fault("NOOP", "hang"))
    with peer:
        port = peer.port
        client = smtplib.SMTP(peer.host, port)
        client.send(b"NOOP\r\n")
    with pytest.raises(ConnectionRefusedError):
        smtplib.SMTP("127.0.0.1", port)
    client.close()
    peer.start(port)
    with smtplib.SMTP("127.0.0.1", port) as again:
        assert again.ehlo()[0] == 250
    peer.stop()


def test_it_notices_what_no_client_should_do():
    with ScriptedPeer(extensions=()) as peer, smtplib.SMTP(peer.host, peer.port) as client:
        client.send(b"EHLO a\r\nNOOP\n")
        client.getreply(), client.getreply()
        assert len(peer.violations) == 2


def test_it_answers_out_of_order_and_forgets_what_was_sent_ahead():
    with ScriptedPeer(Fault("EHLO", "swap"), Fault("RSET", "forget")) as peer:
        with smtplib.SMTP(peer.host, peer.port) as client:
            client.send(b"EHLO a\r\nMAIL FROM:<>\r\n")
            assert [client.getreply()[1][:5] for _ in range(2)] == [b"2.1.0", b"peer."]
            client.send(b"RSET\r\nNOOP\r\n")
            assert client.getreply()[0] == 250
            client.send(b"VRFY a\r\n")
            assert client.getreply()[0] == 500  # and no answer to NOOP in between
        assert "NOOP" not in peer.sessions[0]


@pytest.mark.parametrize("seed", [1, 2])
def test_chance_is_the_seeds(seed):
    def rolls():
        fault = Fault("NOOP", "reply", "450 4.0.0 no", chance=0.5)
        with ScriptedPeer(fault, seed=seed) as peer, smtplib.SMTP(peer.host, peer.port) as client:
            return [client.noop()[0] for _ in range(40)]

    first = rolls()
    assert first == rolls() and {250, 450} == set(first)


def test_it_tells_what_it_takes_before_the_client_is_told():
    told = []
    with ScriptedPeer(Fault("dot", "drop", accept=True, times=1), Fault("dot", "reply-reset"), on_taken=told.append) as peer:
        client = smtplib.SMTP(peer.host, peer.port)
        with pytest.raises(smtplib.SMTPServerDisconnected):
            client.sendmail("ann@example.org", ["bob@example.net"], MESSAGE)
        assert [taken.acknowledged for taken in told] == [False]
        client = smtplib.SMTP(peer.host, peer.port)
        assert client.sendmail("ann@example.org", ["bob@example.net"], MESSAGE) == {}
        client.close()
    assert [taken.acknowledged for taken in told] == [False, True] and not peer.taken
