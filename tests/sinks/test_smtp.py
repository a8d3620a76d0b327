"""The sinks `smtp` and `lmtp` against a server that misbehaves at every step."""

import socket
from dataclasses import replace

import pytest
from pydantic import ValidationError

import mailpipe
from mailpipe.errors import ConfigError, PermanentFailure, TransientFailure
from mailpipe.pipeline.mail import Mail, Origin
from mailpipe.pipeline.outcome import Fate
from mailpipe.sinks.smtp import LmtpSink, SmtpSink
from mailpipe.smtp.envelope import Envelope, ForwardPath, MailParameters
from mailpipe.smtp.state import Dialect
from mailpipe.testing.peer import EXTENSIONS, Fault, ScriptedPeer

PLAIN = b"From: ann@example.org\nSubject: one\n\n.dot\ntext\n"
LATIN = (
    b"From: ann@example.org\r\nSubject: one\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=iso-8859-1\r\n"
    b"Content-Transfer-Encoding: 8bit\r\n\r\ncaf\xe9\r\n"
)
UTF8 = "From: ann@example.org\r\nTo: zoë@example.net\r\nSubject: café\r\n\r\ntext\r\n".encode()
SIGNED = (
    b"Subject: one\r\nMIME-Version: 1.0\r\nContent-Type: multipart/signed; boundary=b; micalg=x; protocol=y\r\n\r\n"
    b"--b\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\ncaf\xe9\r\n"
    b"--b\r\nContent-Type: application/x\r\n\r\nsignature\r\n--b--\r\n"
)

DELIVERED, FAILED, DEFERRED, IN_DOUBT = Fate.DELIVERED, Fate.FAILED, Fate.DEFERRED, Fate.IN_DOUBT


def mail_of(octets=PLAIN, *addresses, sender="ann@example.org"):
    envelope = Envelope.of(sender, *(addresses or ("bob@example.net",)))
    return Mail(mailpipe.parse(octets), envelope, Origin("test", "-"))


def sink_for(peer, kind=SmtpSink, **options):
    sink = kind(kind.Options(host=peer.host, port=peer.port, helo_name="client.test", **options))
    sink.open()
    return sink


def fates(sink, mail):
    """The fate of each recipient; nothing handed over is deferred for all."""
    try:
        return [entry.fate for entry in sink.deliver(mail).recipients]
    except TransientFailure:
        return [DEFERRED] * len(mail.envelope.forward_paths)


REPLIES = {
    "421": "421 4.3.2 shutting down",
    "450": "450 4.2.0 later",
    "451": "451 4.3.0 later",
    "452": "452 4.3.1 full",
    "550": "550 5.7.1 no",
    "552": "552 5.3.4 too big",
    "554": "554 5.7.1 no",
}
BREAKS = ("drop", "reset", "garbage", "endless", "long-line", "hang")
ALL_DELIVERED, ALL_DEFERRED, ALL_FAILED, ALL_IN_DOUBT = (
    [fate, fate] for fate in (DELIVERED, DEFERRED, FAILED, IN_DOUBT)
)
# step → (fates after 4yz, after 5yz, after a break); a break at QUIT comes when all is settled
EXPECTED = {
    "connect": (ALL_DEFERRED, ALL_DEFERRED, ALL_DEFERRED),
    "EHLO": (ALL_DEFERRED, ALL_DELIVERED, ALL_DEFERRED),
    "MAIL": (ALL_DEFERRED, ALL_FAILED, ALL_DEFERRED),
    "RCPT": ([DELIVERED, DEFERRED], [DELIVERED, FAILED], ALL_DEFERRED),
    "DATA": (ALL_DEFERRED, ALL_FAILED, ALL_DEFERRED),
    "dot": (ALL_DEFERRED, ALL_FAILED, ALL_IN_DOUBT),
    "QUIT": (ALL_DELIVERED, ALL_DELIVERED, ALL_DELIVERED),
}
# 421 ends the connection for whoever has no answer yet; 552 to RCPT is 452 (RFC 5321 section 4.5.3.1.10)
EXCEPTIONS = {("RCPT", "421"): ALL_DEFERRED, ("RCPT", "552"): [DELIVERED, DEFERRED]}
CELLS = [(step, fault) for step in EXPECTED for fault in (*REPLIES, *BREAKS)]


def expected_fates(step, fault):
    transient, permanent, broken = EXPECTED[step]
    usual = broken if fault in BREAKS else transient if fault.startswith("4") else permanent
    return EXCEPTIONS.get((step, fault), usual)


@pytest.mark.parametrize("extensions", [EXTENSIONS, ()], ids=["pipelined", "plain"])
@pytest.mark.parametrize(("step", "fault"), CELLS, ids=lambda word: word)
def test_every_command_and_every_fault(step, fault, extensions):
    match = "bob" if step == "RCPT" else ""
    bad = Fault(step, fault, match=match) if fault in BREAKS else Fault(step, "reply", REPLIES[fault], match=match)
    with ScriptedPeer(bad, extensions=extensions) as peer:
        # Short only where somebody has to be waited for, so that a busy machine is not taken for a silent peer.
        sink = sink_for(peer, timeout={"hang": 1 if step == "QUIT" else 0.3}.get(fault, 30), retry_pause=0)
        mail = mail_of(PLAIN, "ann@example.net", "bob@example.net")
        first = fates(sink, mail)
        sink.close()
        peer.faults.clear()
        assert first == expected_fates(step, fault)
        told = {path for taken in peer.taken if taken.acknowledged for path in taken.forward_paths}
        assert told == {path.address for path, fate in zip(mail.envelope.forward_paths, first, strict=True)
                        if fate is DELIVERED}  # fmt: skip
        # What was deferred is delivered by the next attempt, once.
        later = [path for path, fate in zip(mail.envelope.forward_paths, first, strict=True) if fate is DEFERRED]
        if later:
            sink.open()
            again = mail.with_envelope(mail.envelope.with_forward_paths(*later))
            assert set(fates(sink, again)) == {DELIVERED}
            sink.close()
            paths = sorted(path for taken in peer.taken for path in taken.forward_paths)
            assert paths == sorted(set(paths))
        assert not peer.violations


@pytest.mark.parametrize("fault", BREAKS)
def test_lmtp_every_break_behind_the_dot_leaves_only_the_unanswered_in_doubt(fault):
    with ScriptedPeer(Fault("dot", fault, recipient=2), dialect=Dialect.LMTP) as peer:
        sink = sink_for(peer, LmtpSink, timeout=0.3 if fault == "hang" else 30)
        assert fates(sink, mail_of(PLAIN, "ann@example.net", "bob@example.net")) == [DELIVERED, IN_DOUBT]
        sink.close()
        assert [taken.forward_paths for taken in peer.taken] == [("ann@example.net",)]


def test_lmtp_gives_each_recipient_its_own_answer():
    faults = (Fault("dot", "reply", "552 5.2.2 full", recipient=2), Fault("dot", "reply", "450 4.2.1 busy", recipient=3))
    with ScriptedPeer(*faults, dialect=Dialect.LMTP) as peer:
        sink = sink_for(peer, LmtpSink)
        receipt = sink.deliver(mail_of(PLAIN, "a@x.test", "b@x.test", "c@x.test"))
        sink.close()
    assert [entry.fate for entry in receipt.recipients] == [DELIVERED, FAILED, DEFERRED]
    assert [str(entry.status) for entry in receipt.recipients] == ["2.0.0", "5.2.2", "4.2.1"]


def test_the_diagnostic_has_the_peers_words_and_where_they_were_said():
    with ScriptedPeer(Fault("RCPT", "reply", "550 5.1.1 no such\n550 5.1.1 user", match="bob")) as peer:
        sink = sink_for(peer)
        receipt = sink.deliver(mail_of(PLAIN, "ann@example.net", "bob@example.net"))
        sink.close()
    assert receipt.reference == "250 2.0.0 kept"
    entry = receipt.recipients[1]
    assert entry.recipient.address == "bob@example.net" and entry.fate is FAILED
    assert "127.0.0.1:" in entry.diagnostic and "(in reply to RCPT)" in entry.diagnostic


def test_one_connection_carries_mails_up_to_its_number():
    with ScriptedPeer() as peer:
        sink = sink_for(peer, messages_per_connection=2)
        for _ in range(5):
            assert fates(sink, mail_of()) == [DELIVERED]
        sink.close()
        assert [sum(line.startswith("MAIL") for line in session) for session in peer.sessions] == [2, 2, 1]
        assert all(session[-1] == "QUIT" for session in peer.sessions)
        assert peer.taken[0].octets == PLAIN.replace(b"\n", b"\r\n")


def test_octets_above_127_go_as_they_are_to_whoever_takes_them():
    with ScriptedPeer() as peer:
        sink = sink_for(peer)
        assert fates(sink, mail_of(LATIN)) == [DELIVERED]
        sink.close()
        assert peer.taken[0].octets == LATIN and ("BODY", "8BITMIME") in peer.taken[0].parameters


def test_octets_above_127_are_re_encoded_for_whoever_does_not():
    with ScriptedPeer(extensions=()) as peer:
        sink = sink_for(peer)
        assert fates(sink, mail_of(LATIN)) == [DELIVERED]
        sink.close()
        taken = mailpipe.parse(peer.taken[0].octets)
        assert peer.taken[0].octets.isascii() and taken.text.startswith("café")


def test_a_signed_part_is_not_broken_for_a_seven_bit_peer():
    with ScriptedPeer(extensions=()) as peer:
        sink = sink_for(peer)
        receipt = sink.deliver(mail_of(SIGNED))
        assert fates(sink, mail_of(SIGNED)) == [FAILED] and len(peer.sessions) == 1
        sink.close()
        assert [entry.fate for entry in receipt.recipients] == [FAILED]
        assert str(receipt.recipients[0].status) == "5.6.3" and "8BITMIME" in receipt.recipients[0].diagnostic
        assert not peer.taken


def test_a_utf8_header_is_declared_where_the_peer_takes_it():
    with ScriptedPeer() as peer:
        sink = sink_for(peer)
        assert fates(sink, mail_of(UTF8, "zoë@example.net")) == [DELIVERED]
        sink.close()
        assert ("SMTPUTF8", None) in peer.taken[0].parameters
        assert peer.taken[0].forward_paths == ("zoë@example.net",)


def test_a_utf8_address_fails_clearly_where_the_peer_does_not():
    with ScriptedPeer(extensions=("8BITMIME",)) as peer:
        sink = sink_for(peer)
        receipt = sink.deliver(mail_of(PLAIN, "zoë@example.net", "bob@example.net"))
        sink.close()
        assert [entry.fate for entry in receipt.recipients] == [FAILED, DELIVERED]
        assert str(receipt.recipients[0].status) == "5.6.7" and "SMTPUTF8" in receipt.recipients[0].diagnostic


def test_a_declared_utf8_header_becomes_ascii_for_whoever_does_not_take_it():
    octets = "From: ann@example.org\r\nSubject: café\r\n\r\ntext\r\n".encode()
    with ScriptedPeer(extensions=("8BITMIME",)) as peer:
        sink = sink_for(peer)
        plain = mail_of(octets, "bob@bücher.example", sender="ann@bücher.example")
        parameters = MailParameters(smtputf8=True)
        assert fates(sink, plain.with_envelope(replace(plain.envelope, parameters=parameters))) == [DELIVERED]
        assert fates(sink, plain) == [DELIVERED]
        receipt = sink.deliver(mail_of(UTF8).with_envelope(replace(mail_of().envelope, parameters=parameters)))
        sink.close()
        assert peer.taken[0].octets.isascii() and mailpipe.parse(peer.taken[0].octets).subject == "café"
        assert peer.taken[0].reverse_path == "ann@xn--bcher-kva.example"
        assert peer.taken[1].octets == octets
    assert receipt.recipients[0].fate is FAILED and str(receipt.recipients[0].status) == "5.6.7"


def test_an_address_that_would_smuggle_fails_alone():
    with ScriptedPeer() as peer:
        sink = sink_for(peer)
        receipt = sink.deliver(mail_of(PLAIN, "bob@example.net>\r\nDATA", "bob@example.net"))
        sink.close()
        assert [entry.fate for entry in receipt.recipients] == [FAILED, DELIVERED]
        assert not peer.violations and peer.taken[0].forward_paths == ("bob@example.net",)


def test_a_mail_without_recipients_fails_with_words():
    with ScriptedPeer() as peer:
        sink = sink_for(peer)
        mail = mail_of()
        with pytest.raises(PermanentFailure, match="no recipients"):
            sink.deliver(mail.with_envelope(mail.envelope.with_forward_paths()))
        assert not peer.sessions


def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_a_server_that_is_down_is_not_asked_again_for_every_mail():
    port = closed_port()
    sink = SmtpSink(SmtpSink.Options(host="127.0.0.1", port=port, retry_pause=60))
    now = [1000.0]
    sink._clock = lambda: now[0]
    sink.open()
    with pytest.raises(TransientFailure, match=rf"127.0.0.1:{port}: connection refused; is a server listening"):
        sink.deliver(mail_of())
    peer = ScriptedPeer()
    peer.start(port)
    for _ in range(100):
        with pytest.raises(TransientFailure, match=r"not asked again for the next (1m|\d\ds)"):
            sink.deliver(mail_of())
    assert not peer.sessions
    now[0] += 60
    assert fates(sink, mail_of()) == [DELIVERED]
    sink.close()
    peer.stop()


def test_a_server_that_welcomes_nobody_is_not_asked_again_for_every_mail():
    with ScriptedPeer(Fault("connect", "reply", "554 5.7.1 listed")) as peer:
        sink = sink_for(peer, retry_pause=60)
        for _ in range(20):
            with pytest.raises(TransientFailure, match=r"did not welcome the connection: 554 5\.7\.1 listed") as caught:
                sink.deliver(mail_of())
            assert str(caught.value.status) == "4.7.1"
        assert len(peer.sessions) == 1


def test_a_server_that_lets_every_transaction_time_out_is_left_alone_after_the_second():
    with ScriptedPeer(Fault("MAIL", "hang")) as peer:
        sink = sink_for(peer, timeout=0.4, retry_pause=60)
        assert [fates(sink, mail_of()) for _ in range(10)] == [[DEFERRED]] * 10
        assert len(peer.sessions) == 2


def test_a_server_that_was_restarted_once_is_asked_again_at_once():
    with ScriptedPeer(Fault("DATA", "drop", times=1)) as peer:
        sink = sink_for(peer, retry_pause=60)
        assert [fates(sink, mail_of()) for _ in range(3)] == [[DEFERRED], [DELIVERED], [DELIVERED]]
        sink.close()


def test_a_server_that_is_restarted_now_and_then_is_never_left_alone():
    with ScriptedPeer(Fault("DATA", "drop", nth=1), Fault("DATA", "drop", nth=3)) as peer:
        sink = sink_for(peer, retry_pause=60)
        assert [fates(sink, mail_of()) for _ in range(4)] == [[DEFERRED], [DELIVERED]] * 2
        sink.close()


def test_another_server_behind_the_name_gets_what_it_can_take():
    with ScriptedPeer(Fault("dot", "reply-drop", "250 kept", times=1)) as peer:
        sink = sink_for(peer)
        assert fates(sink, mail_of(LATIN)) == [DELIVERED]
        peer.extensions = ()
        assert fates(sink, mail_of(LATIN)) == [DELIVERED]
        sink.close()
        assert not peer.taken[0].octets.isascii() and peer.taken[1].octets.isascii()


def test_a_password_comes_from_a_file_and_is_never_shown(tmp_path):
    path = tmp_path / "password"
    path.write_text("secret\nsecond line\n")
    with ScriptedPeer(users={"ann": "secret"}, extensions=("AUTH PLAIN",)) as peer:
        sink = sink_for(peer, username="ann", password_file=path, password_in_clear=True)
        assert fates(sink, mail_of()) == [DELIVERED]
        sink.close()
    assert "secret" not in repr(SmtpSink.Options(host="x", username="ann", password="secret"))


def test_a_token_takes_the_place_of_a_password(tmp_path):
    path = tmp_path / "token"
    path.write_text("ya29.secret\n")
    with ScriptedPeer(users={"ann": "ya29.secret"}, extensions=("AUTH PLAIN XOAUTH2",)) as peer:
        sink = sink_for(peer, username="ann", token_file=path, password_in_clear=True)
        assert fates(sink, mail_of()) == [DELIVERED]
        sink.close()
        assert any("XOAUTH2" in line for line in peer.sessions[0])


def test_only_the_mechanisms_that_were_named_are_used():
    with ScriptedPeer(users={"ann": "secret"}, extensions=("AUTH PLAIN CRAM-MD5",)) as peer:
        sink = sink_for(peer, username="ann", password="secret", password_in_clear=True, auth_mechanisms=["plain"])
        assert fates(sink, mail_of()) == [DELIVERED]
        sink.close()
        assert [line for line in peer.sessions[0] if line.startswith("AUTH PLAIN")]


def test_a_password_file_that_is_missing_is_a_matter_of_configuration(tmp_path):
    sink = SmtpSink(SmtpSink.Options(host="x", username="ann", password_file=tmp_path / "missing"))
    with pytest.raises(ConfigError, match="missing"):
        sink.open()


@pytest.mark.parametrize("options", [{"tls_ca_file": "/nowhere/ca.pem"}, {"helo_name": "not a name"}])
def test_options_that_cannot_work_are_refused_before_mail_flows(options):
    with pytest.raises(ConfigError):
        SmtpSink(SmtpSink.Options(host="x", **options)).open()


@pytest.mark.parametrize(
    "options",
    [{}, {"host": ""}, {"host": "x", "port": 0}, {"host": "x", "tls": "sometimes"}, {"host": "x", "username": "ann"},
     {"host": "x", "username": "a", "password": "b", "password_file": "c"}, {"host": "x", "timeout": "soon"},
     {"host": "x", "username": "a", "password": "b", "token_file": "c"}, {"host": "x", "token_file": "c"},
     {"host": "x", "timeout": 0}, {"host": "x", "hots": "y"}, {"host": []}, {"host": ["x", ""]},
     {"host": "x:99999"}, {"host": ["x", "y:none"]}, {"host": "x", "direct": True}, {"direct": True, "tls": "implicit"},
     {"direct": True, "username": "a", "password": "b"}, {"direct": True, "dns": ["name.test"]},
     {"direct": True, "own_addresses": ["name.test"]}, {"host": "x", "messages_per_second": 0}],
)  # fmt: skip
def test_options_of_the_wrong_form_are_refused(options):
    with pytest.raises(ValidationError):
        SmtpSink.Options(**options)


def test_lmtp_is_never_direct():
    with pytest.raises(ValidationError):
        LmtpSink.Options(direct=True)


def test_a_host_may_have_a_port_of_its_own():
    options = SmtpSink.Options(host=["a.test", "b.test:2525", "[::1]:26", "::1"], port=587)
    assert [str(one) for one in options.endpoints] == ["a.test:587", "b.test:2525", "[::1]:26", "[::1]:587"]


def several(*peers, **options):
    hosts = [peer if isinstance(peer, str) else f"{peer.host}:{peer.port}" for peer in peers]
    sink = SmtpSink(SmtpSink.Options(host=hosts, helo_name="client.test", **options))
    sink.open()
    return sink


def test_the_first_of_several_servers_gets_everything_while_it_is_up():
    with ScriptedPeer() as first, ScriptedPeer() as second:
        sink = several(first, second)
        assert [fates(sink, mail_of()) for _ in range(3)] == [[DELIVERED]] * 3
        sink.close()
        assert len(first.taken) == 3 and not second.sessions


def test_the_next_server_is_asked_where_one_is_down_and_the_first_again_when_it_is_back():
    port, now = closed_port(), [1000.0]
    with ScriptedPeer() as second:
        sink = SmtpSink(SmtpSink.Options(host=[f"127.0.0.1:{port}", f"127.0.0.1:{second.port}"], retry_pause=10))
        sink._clock = lambda: now[0]
        sink.open()
        assert [fates(sink, mail_of()) for _ in range(2)] == [[DELIVERED]] * 2 and len(second.taken) == 2
        first = ScriptedPeer()
        first.start(port)
        assert fates(sink, mail_of()) == [DELIVERED] and not first.sessions
        now[0] += 10
        assert fates(sink, mail_of()) == [DELIVERED] and len(first.taken) == 1 and len(second.taken) == 3
        sink.close()
        first.stop()


def test_where_every_server_is_down_nothing_was_handed_over():
    one, two = closed_port(), closed_port()
    sink = several(f"127.0.0.1:{one}", f"127.0.0.1:{two}")
    with pytest.raises(TransientFailure, match=f"127.0.0.1:{one}: connection refused"):
        sink.deliver(mail_of())


REFUSALS = [("EHLO", "drop", ""), ("connect", "reply", "554 5.7.1 no"), ("MAIL", "reply", "451 4.3.0 later"),
            ("DATA", "drop", ""), ("dot", "reply", "452 4.3.1 full"), ("content", "reset", "")]  # fmt: skip


@pytest.mark.parametrize(("step", "do", "text"), REFUSALS)
def test_what_one_server_puts_off_the_next_is_asked_for(step, do, text):
    # content that no buffer takes whole: a reset in its midst leaves no doubt that the end has not left
    octets = PLAIN + b"a line of the message\r\n" * 600_000 if step == "content" else PLAIN
    with ScriptedPeer(Fault(step, do, text)) as first, ScriptedPeer() as second:
        sink = several(first, second)
        assert fates(sink, mail_of(octets, "a@x.test", "b@x.test")) == [DELIVERED, DELIVERED]
        sink.close()
        assert not first.taken and second.taken[0].forward_paths == ("a@x.test", "b@x.test")


def test_only_whom_the_first_server_put_off_goes_to_the_next():
    faults = (Fault("RCPT", "reply", "450 4.2.0 later", match="later@"), Fault("RCPT", "reply", "550 5.1.1 no", match="no@"))
    with ScriptedPeer(*faults) as first, ScriptedPeer() as second:
        sink = several(first, second)
        receipt = sink.deliver(mail_of(PLAIN, "yes@x.test", "later@x.test", "no@x.test"))
        sink.close()
        assert [entry.fate for entry in receipt.recipients] == [DELIVERED, DELIVERED, FAILED]
        assert [entry.recipient.address for entry in receipt.recipients] == ["yes@x.test", "later@x.test", "no@x.test"]
        assert first.taken[0].forward_paths == ("yes@x.test",) and second.taken[0].forward_paths == ("later@x.test",)


@pytest.mark.parametrize("accept", [True, False])
def test_who_is_in_doubt_is_never_given_to_the_next_server(accept):
    with ScriptedPeer(Fault("dot", "drop", accept=accept)) as first, ScriptedPeer() as second:
        sink = several(first, second)
        assert fates(sink, mail_of()) == [IN_DOUBT]
        sink.close()
        assert not second.sessions


def test_a_refusal_for_good_is_not_taken_to_the_next_server():
    with ScriptedPeer(Fault("dot", "reply", "554 5.7.1 spam")) as first, ScriptedPeer() as second:
        sink = several(first, second)
        assert fates(sink, mail_of()) == [FAILED]
        sink.close()
        assert not second.sessions


@pytest.mark.parametrize(("octets", "recipient"), [(SIGNED, "bob@example.net"), (PLAIN, "zoë@example.net")])
def test_that_a_stand_in_cannot_take_a_mail_is_no_reason_to_give_it_up(octets, recipient):
    with ScriptedPeer(extensions=()) as second:
        sink = several(f"127.0.0.1:{closed_port()}", second)
        assert fates(sink, mail_of(octets, recipient)) == [DEFERRED]
        sink.close()


def test_every_option_is_described():
    for kind in (SmtpSink, LmtpSink):
        assert all(field.description for field in kind.Options.model_fields.values())
    assert LmtpSink.Options(host="x").port == 24


@pytest.mark.parametrize(("extensions", "handover"), [(("DSN",), "reporting"), ((), "")])
def test_a_server_that_was_asked_to_report_is_said_to_do_so(extensions, handover):
    with ScriptedPeer(extensions=extensions) as peer:
        sink = sink_for(peer)
        asked, silent = ForwardPath("bob@example.net", notify=("SUCCESS",)), ForwardPath("cy@example.net")
        envelope = Envelope("ann@example.org", (asked, silent))
        receipt = sink.deliver(mail_of().with_envelope(envelope))
        sink.close()
    assert [one.handover for one in receipt.recipients] == [handover, ""]


@pytest.mark.parametrize(
    ("extensions", "notify", "handover"),
    [((), (), ""), (("DELIVERBY",), (), "reporting"), (("DELIVERBY",), ("SUCCESS",), ""), (("DSN",), ("SUCCESS",), ""),
     (("DSN", "DELIVERBY 30"), ("SUCCESS",), "reporting")],
)  # fmt: skip
def test_a_server_that_knows_the_time_of_a_mail_is_said_to_report_on_it(extensions, notify, handover):
    parameters = MailParameters(by_time=60, by_mode="N")
    with ScriptedPeer(extensions=extensions) as peer:
        sink = sink_for(peer)
        envelope = Envelope("ann@example.org", (ForwardPath("bob@example.net", notify),), parameters)
        receipt = sink.deliver(mail_of().with_envelope(envelope))
        sink.close()
    assert receipt.recipients[0].handover == handover
    assert (("BY", "60;N") in peer.taken[0].parameters) == any("DELIVERBY" in one for one in extensions)
