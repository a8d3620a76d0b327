"""The asyncio front end against real sockets: the same results as the blocking one, and many messages in flight."""

import asyncio
import ssl
from dataclasses import replace

import pytest
import trustme

from mailpipe.errors import ConnectionLost, LocalProtocolError, TransientFailure
from mailpipe.net.aio import AsyncSmtpConnection
from mailpipe.net.endpoint import Endpoint, Timeouts
from mailpipe.net.sync import SmtpConnection
from mailpipe.smtp.command import Noop
from mailpipe.smtp.envelope import Envelope
from mailpipe.smtp.opening import Opening, TlsMode
from mailpipe.smtp.state import Dialect
from mailpipe.testing.peer import EXTENSIONS, Fault, ScriptedPeer

MESSAGE = b"Subject: one\r\n\r\n.dot\r\n..\r\ntext\r\n"
ENVELOPE = Envelope.of("ann@example.org", "bob@example.net")
SHORT = Timeouts.within(0.4)
CHUNKING = (*EXTENSIONS, "CHUNKING")


def connection(peer, plan=None, timeouts=None, **options):
    return AsyncSmtpConnection(Endpoint(peer.host, peer.port), plan or Opening("client.test"), timeouts, **options)


def pairs(count):
    return [(Envelope.of(f"s{number}@x.test", f"b{number}@x.test"), MESSAGE) for number in range(count)]


async def slowly(given):
    for one in given:
        await asyncio.sleep(0)
        yield one


def streamed(peer, source, timeouts=None, **options):
    async def run():
        async with connection(peer, timeouts=timeouts) as one:
            return [result async for result in one.stream(source, **options)]

    return asyncio.run(run())


def transacted(peer, count=1, timeouts=None, **options):
    async def run():
        async with connection(peer, timeouts=timeouts, **options) as one:
            return [await one.transaction(ENVELOPE, MESSAGE) for _ in range(count)]

    return asyncio.run(run())


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


@pytest.mark.parametrize("extensions", [EXTENSIONS, (), CHUNKING])
@pytest.mark.parametrize("chunking", [False, True])
@pytest.mark.parametrize("window", [1, 8])
def test_every_message_of_a_stream_arrives_once_and_in_order(extensions, chunking, window):
    with ScriptedPeer(extensions=extensions) as peer:
        results = streamed(peer, pairs(30), window=window, chunking=chunking)
        assert [result.envelope.reverse_path for result in results] == [f"s{number}@x.test" for number in range(30)]
        assert all(result.answers[0].is_accepted for result in results)
        assert [taken.reverse_path for taken in peer.taken] == [f"s{number}@x.test" for number in range(30)]
        assert all(taken.octets == MESSAGE for taken in peer.taken)
        assert len(peer.sessions) == 1 and peer.sessions[0][-1] == "QUIT" and not peer.violations


FAULTS = (
    Fault("MAIL", "reply", "550 5.7.1 no"), Fault("RCPT", "reply", "451 4.7.1 later", match="bob"),
    Fault("DATA", "reply", "554 5.5.1 no"), Fault("dot", "reply", "552 5.3.4 too big"), Fault("dot", "drop", accept=True),
    Fault("dot", "reset"), Fault("MAIL", "drop"), Fault("RCPT", "reply", "421 4.3.2 bye"), Fault("DATA", "garbage"),
    Fault("dot", "hang"),
)  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_both_front_ends_come_to_the_same_result(fault):
    envelope = Envelope.of("ann@example.org", "bob@example.net", "carol@example.net")
    outcomes = []
    with ScriptedPeer(fault) as peer, SmtpConnection(Endpoint(peer.host, peer.port), Opening("client.test"), SHORT) as one:
        outcomes.append(one.deliver(envelope, MESSAGE))

    async def run():
        async with connection(peer, timeouts=SHORT) as one:
            return await one.deliver(envelope, MESSAGE)

    with ScriptedPeer(fault) as peer:
        outcomes.append(asyncio.run(run()))
    first, second = outcomes
    assert first.answers == second.answers and (first.lost is None) == (second.lost is None)


def test_many_recipients_go_in_several_transactions():
    async def run(peer):
        async with connection(peer) as one:
            return await one.deliver(Envelope.of("a@x.test", *(f"b{number}@x.test" for number in range(25))), MESSAGE)

    with ScriptedPeer(extensions=("LIMITS RCPTMAX=8", "PIPELINING")) as peer:
        assert len(asyncio.run(run(peer)).accepted) == 25
        assert [len(taken.forward_paths) for taken in peer.taken] == [8, 8, 8, 1]


@pytest.mark.parametrize("front", [SmtpConnection, AsyncSmtpConnection])
def test_a_transaction_names_no_more_domains_and_a_session_has_no_more_transactions_than_the_peer_allows(front):
    addresses = ["a@one.test", "b@two.test", "c@One.test", "d@three.test", "e@two.test"]

    async def run(peer):
        async with connection(peer) as one:
            return await one.deliver(Envelope.of("ann@x.test", *addresses), MESSAGE)

    def block(peer):
        with SmtpConnection(Endpoint(peer.host, peer.port), Opening("client.test")) as one:
            return one.deliver(Envelope.of("ann@x.test", *addresses), MESSAGE)

    with ScriptedPeer(extensions=("LIMITS RCPTDOMAINMAX=1 MAILMAX=2", "PIPELINING")) as peer:
        result = block(peer) if front is SmtpConnection else asyncio.run(run(peer))
        assert [answer.path.address for answer in result.answers] == addresses and len(result.accepted) == 5
        assert [taken.forward_paths for taken in peer.taken] == [
            ("a@one.test", "c@One.test"), ("b@two.test", "e@two.test"), ("d@three.test",)
        ]  # fmt: skip
        assert [taken.session for taken in peer.taken] == [1, 2, 3]
    with ScriptedPeer(extensions=("LIMITS RCPTDOMAINMAX=2 MAILMAX=2", "PIPELINING")) as peer:
        result = block(peer) if front is SmtpConnection else asyncio.run(run(peer))
        assert len(result.accepted) == 5
        assert [(taken.session, taken.forward_paths) for taken in peer.taken] == [
            (1, ("a@one.test", "b@two.test", "c@One.test", "e@two.test")), (2, ("d@three.test",))
        ]  # fmt: skip


@pytest.mark.parametrize("is_slow", [False, True])
def test_a_stream_goes_on_over_another_session_where_one_has_named_enough_domains(is_slow):
    mails = [(Envelope.of(f"s{number}@x.test", f"b@d{number // 2}.test"), MESSAGE) for number in range(8)]
    with ScriptedPeer(extensions=(*CHUNKING, "LIMITS RCPTDOMAINMAX=1")) as peer:
        results = streamed(peer, slowly(mails) if is_slow else mails, window=4, chunking=True)
        assert [result.accepted != () for result in results] == [True] * 8
        assert [taken.session for taken in peer.taken] == [1, 1, 2, 2, 3, 3, 4, 4]
        assert all(session[-1] == "QUIT" for session in peer.sessions)


@pytest.mark.parametrize("source", [pairs, lambda count: slowly(pairs(count))])
@pytest.mark.parametrize("most", [1, 3])
def test_a_stream_goes_on_over_another_session_where_one_may_carry_no_more(most, source):
    with ScriptedPeer(extensions=(*CHUNKING, f"LIMITS MAILMAX={most}")) as peer:
        results = streamed(peer, source(7), window=4, chunking=True)
        assert [result.accepted != () for result in results] == [True] * 7
        assert [taken.session for taken in peer.taken] == [1 + number // most for number in range(7)]
        assert all(session[-1] == "QUIT" for session in peer.sessions)


def test_lmtp_answers_for_each_recipient():
    async def run(peer):
        async with connection(peer, Opening("client.test", Dialect.LMTP)) as one:
            return await one.transaction(Envelope.of("", "a@x.test", "b@x.test"), MESSAGE)

    with ScriptedPeer(Fault("dot", "reply", "552 5.2.2 full", recipient=2), dialect=Dialect.LMTP) as peer:
        assert [answer.reply.code for answer in asyncio.run(run(peer)).answers] == [250, 552]


@pytest.mark.parametrize("fault", [Fault("dot", "reply-drop", "250 2.0.0 kept", times=1), Fault("MAIL", "drop", nth=2)])
def test_a_used_connection_that_dies_before_mail_was_taken_is_made_anew(fault):
    with ScriptedPeer(fault) as peer:
        assert all(result.answers[0].is_accepted for result in transacted(peer, 2))
        assert len(peer.sessions) == 2 and len(peer.taken) == 2


def test_a_stream_goes_on_where_the_peer_has_enough_of_a_connection():
    with ScriptedPeer(Fault("MAIL", "reply", "421 4.7.0 enough", nth=4)) as peer:
        results = streamed(peer, pairs(10))
        assert all(result.answers[0].is_accepted for result in results)
        assert [taken.reverse_path for taken in peer.taken] == [f"s{number}@x.test" for number in range(10)]
        assert len(peer.sessions) == 2


def test_a_lost_connection_leaves_what_had_left_in_doubt_and_the_rest_goes_on():
    with ScriptedPeer(Fault("dot", "drop", nth=3, accept=True), extensions=CHUNKING) as peer:
        results = streamed(peer, pairs(12), window=4, chunking=True)
    taken = {taken.reverse_path for taken in peer.taken}
    for result in results:
        assert (result.envelope.reverse_path in taken) == (result.answers[0].is_accepted or result is results[2])
    doubtful = [number for number, result in enumerate(results) if result.in_doubt]
    assert 2 in doubtful and set(doubtful) <= {2, 3, 4, 5} and len(results) == 12
    assert len(peer.taken) == len(taken)


def test_back_pressure_takes_no_more_pairs_than_there_is_room_for():
    taken = []

    def source():
        for pair in pairs(40):
            taken.append(pair)
            yield pair

    async def run(peer):
        async with connection(peer) as one:
            count = 0
            async for _ in one.stream(source(), window=4):
                count += 1
                assert len(taken) <= count + 8

    with ScriptedPeer() as peer:
        asyncio.run(run(peer))
    assert len(taken) == 40


def test_an_asynchronous_source_that_waits_for_results_gets_them():
    async def run(peer):
        done = asyncio.Event()

        async def source():
            for pair in pairs(5):
                yield pair
                await done.wait()
                done.clear()

        async with connection(peer) as one:
            count = 0
            async for result in one.stream(source(), window=8):
                count += result.answers[0].is_accepted
                done.set()
            return count

    with ScriptedPeer() as peer:
        assert asyncio.run(asyncio.wait_for(run(peer), 20)) == 5


def test_a_message_that_cannot_be_said_is_raised_behind_the_results_before_it():
    found = []

    async def run(peer):
        async with connection(peer) as one:
            with pytest.raises(LocalProtocolError):
                async for result in one.stream([*pairs(3), (ENVELOPE, b"a\nb"), *pairs(1)]):
                    found.append(result.answers[0].is_accepted)  # noqa: PERF401  # kept when it raises
            return await one.transaction(ENVELOPE, MESSAGE)

    with ScriptedPeer() as peer:
        assert asyncio.run(run(peer)).answers[0].is_accepted
    assert found == [True] * 3


def test_an_empty_stream_does_not_connect():
    with ScriptedPeer() as peer:
        assert streamed(peer, []) == []
        assert not peer.sessions


def test_whoever_leaves_a_stream_early_closes_the_connection():
    async def run(peer):
        one = connection(peer)
        results = one.stream(pairs(20))
        await anext(results)
        await results.aclose()
        assert not one.is_open

    with ScriptedPeer() as peer:
        asyncio.run(run(peer))


def test_a_peer_that_cannot_be_reached_again_leaves_a_result_for_what_was_taken():
    found = []

    async def run(peer):
        one = connection(peer, timeouts=SHORT)
        with pytest.raises(TransientFailure):
            async for result in one.stream(pairs(4), overlap=False):
                found.append((result.answers[0].is_accepted, result.lost is not None, result.in_doubt))
                peer.stop()

    with ScriptedPeer() as peer:
        asyncio.run(run(peer))
    assert found == [(True, False, False), (False, True, False)]


@pytest.mark.parametrize("mode", [TlsMode.REQUIRED, TlsMode.IMPLICIT])
def test_tls_with_a_certificate_that_is_checked(authority, ca_file, mode):
    with ScriptedPeer(tls=server_context(authority), implicit_tls=mode is TlsMode.IMPLICIT) as peer:
        async def run():
            async with connection(peer, Opening("client.test", tls=mode), tls_ca_file=ca_file) as one:
                return [result async for result in one.stream(pairs(10))]

        assert all(result.answers[0].is_accepted for result in asyncio.run(run()))
        assert all(taken.encrypted for taken in peer.taken) and len(peer.sessions) == 1


def test_a_certificate_of_nobody_is_refused_where_tls_is_required(authority):
    refused = pytest.raises(TransientFailure, match="certificate is not believed")
    with ScriptedPeer(tls=server_context(authority)) as peer, refused:
        asyncio.run(connection(peer, Opening("client.test", tls=TlsMode.REQUIRED)).open())


@pytest.mark.parametrize("do", ["drop", "reset", "garbage", "reply", "hang"])
def test_opportunistic_tls_goes_on_in_clear_where_the_handshake_fails(authority, do):
    timeouts = replace(Timeouts(), handshake=0.3 if do == "hang" else 30)
    with ScriptedPeer(Fault("handshake", do), tls=server_context(authority)) as peer:
        assert transacted(peer, timeouts=timeouts)[0].answers[0].is_accepted
        assert not peer.taken[0].encrypted and len(peer.sessions) == 2


def test_a_reply_injected_before_tls_is_not_believed(authority, ca_file):
    async def run(peer):
        async with connection(peer, Opening("client.test", tls=TlsMode.REQUIRED), tls_ca_file=ca_file) as one:
            return await one.open()

    with ScriptedPeer(Fault("STARTTLS", "inject", "250 AUTH PLAIN"), tls=server_context(authority), extensions=()) as peer:
        assert "AUTH" not in asyncio.run(run(peer))


@pytest.mark.parametrize(("step", "words"), [("connect", "connecting"), ("EHLO", "EHLO")])
def test_each_phase_has_its_time_out(step, words):
    late = pytest.raises(TransientFailure, match=f"timed out while waiting for the reply to {words}")
    with ScriptedPeer(Fault(step, "hang")) as peer, late:
        asyncio.run(connection(peer, timeouts=SHORT).open())


def test_a_peer_that_hangs_up_in_the_content_leaves_nothing_in_doubt():
    async def run(peer):
        async with connection(peer) as one:
            return await one.transaction(ENVELOPE, b"Subject: large\r\n\r\n" + b"\r\n" * 8_000_000)

    with ScriptedPeer(Fault("content", "reset")) as peer:
        result = asyncio.run(run(peer))
        assert result.lost is not None and not result.in_doubt


def test_a_cancelled_transaction_leaves_no_connection_behind():
    async def run(peer):
        one = connection(peer)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(one.transaction(ENVELOPE, MESSAGE), 0.3)
        assert not one.is_open

    with ScriptedPeer(Fault("dot", "hang")) as peer:
        asyncio.run(run(peer))


def test_a_command_needs_a_connection():
    async def run(peer):
        one = connection(peer)
        with pytest.raises(ConnectionLost, match="not connected"):
            await one.command(Noop())
        assert not await one.is_alive()
        await one.open()
        assert await one.is_alive()
        await one.quit()

    with ScriptedPeer() as peer:
        asyncio.run(run(peer))
