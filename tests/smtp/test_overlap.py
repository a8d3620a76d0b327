"""Several transactions in flight: what is sent ahead, and what becomes of each recipient when it goes wrong."""

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpipe.errors import LocalProtocolError
from mailpipe.smtp.client import ClientProtocol
from mailpipe.smtp.command import Ehlo
from mailpipe.smtp.envelope import Envelope
from mailpipe.smtp.events import ConnectionEnded, TransactionEnded, Wait
from mailpipe.smtp.extension import Extensions
from mailpipe.smtp.negotiation import EAGER_SIZE
from mailpipe.smtp.state import Dialect, State
from mailpipe.smtp.transaction import Transaction
from mailpipe.smtp.transparency import is_crlf_only, to_crlf

TEXT = b"Subject: one\r\n\r\ntext\r\n"
GROUP = b"MAIL FROM:<a@x.test>\r\nRCPT TO:<%b@x.test>\r\nDATA\r\n"
CHUNK = b"MAIL FROM:<a@x.test>\r\nRCPT TO:<%b@x.test>\r\nBDAT 22 LAST\r\n" + TEXT
OK, GO = b"250 ok\r\n", b"354 go\r\n"


def session(*keywords, window=8, dialect=Dialect.SMTP):
    protocol = ClientProtocol(dialect, window=window)
    protocol.receive_data(b"220 hi\r\n")
    protocol.next_event()
    protocol.send(Ehlo("client.test"))
    protocol.octets_to_send()
    protocol.receive_data(OK)
    protocol.next_event()
    protocol.extensions = Extensions("x", dict.fromkeys(keywords, ()))
    return protocol


def events(protocol, octets=b""):
    if octets:
        protocol.receive_data(octets)
    found = []
    while not isinstance(event := protocol.next_event(), Wait):
        found.append(event)
    return found


def results(protocol, octets=b""):
    return [event.result for event in events(protocol, octets) if isinstance(event, TransactionEnded)]


def begin(protocol, *names, **options):
    for name in names:
        protocol.begin(Envelope.of("a@x.test", *(f"{one}@x.test" for one in name.split())), TEXT, **options)


def codes(result):
    return [(answer.reply.code if answer.reply else None, answer.in_doubt) for answer in result.answers]


def test_the_next_commands_go_behind_the_dot():
    protocol = session("PIPELINING")
    begin(protocol, "b", "c")
    assert protocol.octets_to_send() == GROUP % b"b"
    assert not events(protocol, OK + OK + GO)
    assert protocol.octets_to_send() == TEXT + b".\r\n" + GROUP % b"c"
    ended = results(protocol, OK + OK + OK + GO)
    assert [codes(result) for result in ended] == [[(250, False)]]
    assert protocol.octets_to_send() == TEXT + b".\r\n"
    assert [codes(result) for result in results(protocol, OK)] == [[(250, False)]]
    assert protocol.is_idle and protocol.state is State.READY


@pytest.mark.parametrize(("keywords", "window"), [((), 8), (("PIPELINING",), 1)])
def test_nothing_overlaps_unless_it_is_offered_and_asked_for(keywords, window):
    protocol = session(*keywords, window=window)
    begin(protocol, "b")
    with pytest.raises(LocalProtocolError):
        begin(protocol, "c")


def test_the_window_bounds_the_transactions_in_flight():
    protocol = session("PIPELINING", "CHUNKING", window=3)
    begin(protocol, "b", "c", "d", chunking=True)
    assert not protocol.may_begin
    with pytest.raises(LocalProtocolError):
        begin(protocol, "e", chunking=True)


def test_a_refused_dot_says_nothing_about_the_next_transaction():
    protocol = session("PIPELINING")
    begin(protocol, "b", "c")
    protocol.octets_to_send()
    events(protocol, OK + OK + GO)
    protocol.octets_to_send()
    (first,) = results(protocol, b"554 no\r\n" + OK + OK + GO)
    protocol.octets_to_send()
    (second,) = results(protocol, OK)
    assert codes(first) == [(554, False)] and codes(second) == [(250, False)]
    protocol.octets_to_send()
    begin(protocol, "d")
    assert protocol.octets_to_send() == GROUP % b"d"  # its MAIL was taken: there is nothing to forget


def test_data_that_is_refused_behind_an_accepted_mail_is_that_transactions_own_affair():
    protocol = session("PIPELINING")
    begin(protocol, "b", "c", "d")
    protocol.octets_to_send()
    events(protocol, OK + OK + GO)
    protocol.octets_to_send()
    first, second = results(protocol, OK + OK + OK + b"451 later\r\n")
    assert codes(first) == [(250, False)]
    assert codes(second) == [(451, False)] and second.answers[0].command == "DATA"
    assert protocol.octets_to_send() == b"RSET\r\n" + GROUP % b"d"


def test_a_peer_that_is_out_of_step_gets_the_transaction_again_behind_rset():
    protocol = session("PIPELINING")
    begin(protocol, "b", "c")
    protocol.octets_to_send()
    events(protocol, OK + OK + GO)
    protocol.octets_to_send()
    (first,) = results(protocol, b"554 no\r\n" + b"503 nested MAIL\r\n" + OK + b"503 no\r\n")
    assert codes(first) == [(554, False)]
    assert protocol.octets_to_send() == b"RSET\r\n" + GROUP % b"c"
    assert not results(protocol, OK + OK + OK + GO)
    protocol.octets_to_send()
    (second,) = results(protocol, OK)
    assert codes(second) == [(250, False)]


def test_content_is_never_given_to_a_peer_that_refused_mail_and_took_the_recipient():
    protocol = session("PIPELINING")
    begin(protocol, "b", "c")
    protocol.octets_to_send()
    events(protocol, OK + OK + GO)
    protocol.octets_to_send()
    first, second = results(protocol, OK + b"503 nested MAIL\r\n" + OK + GO)
    assert codes(first) == [(250, False)]
    assert codes(second) == [(None, False)] and second.lost is not None
    assert protocol.octets_to_send() == b""


def test_a_lost_connection_leaves_only_the_dot_in_doubt():
    protocol = session("PIPELINING")
    begin(protocol, "b", "c", "d")
    protocol.octets_to_send()
    events(protocol, OK + OK + GO)
    protocol.octets_to_send()
    protocol.connection_lost("reset")
    *ended, last = events(protocol)
    assert [codes(event.result) for event in ended] == [[(None, True)], [(None, False)], [(None, False)]]
    assert all(event.result.lost is not None for event in ended) and isinstance(last, ConnectionEnded)


def test_the_dot_of_the_first_has_left_when_only_the_next_commands_have_not():
    for unsent, doubt in ((len(GROUP % b"c"), True), (len(GROUP % b"c") + 1, False)):
        protocol = session("PIPELINING")
        begin(protocol, "b", "c")
        protocol.octets_to_send()
        events(protocol, OK + OK + GO)
        protocol.octets_to_send()
        protocol.connection_lost("reset", unsent=unsent)
        assert [codes(result) for result in results(protocol)] == [[(None, doubt)], [(None, False)]]


def test_421_to_the_dot_answers_the_first_and_leaves_the_second_untried():
    protocol = session("PIPELINING")
    begin(protocol, "b", "c")
    protocol.octets_to_send()
    events(protocol, OK + OK + GO)
    protocol.octets_to_send()
    first, second = results(protocol, b"421 bye\r\n")
    assert codes(first) == [(421, False)] and first.lost is None
    assert codes(second) == [(None, False)] and second.never_began and "421" in str(second.lost)


def test_421_to_the_second_mail_comes_behind_the_answer_to_the_first():
    protocol = session("PIPELINING")
    begin(protocol, "b", "c")
    protocol.octets_to_send()
    events(protocol, OK + OK + GO)
    protocol.octets_to_send()
    first, second = results(protocol, OK + b"421 enough\r\n")
    assert codes(first) == [(250, False)] and codes(second) == [(421, False)] and second.never_began


def test_bdat_goes_behind_rcpt_with_rset_between_transactions():
    protocol = session("PIPELINING", "CHUNKING")
    begin(protocol, "b", "c", chunking=True)
    assert protocol.octets_to_send() == CHUNK % b"b" + b"RSET\r\n" + CHUNK % b"c"
    assert [codes(one) for one in results(protocol, OK * 7)] == [[(250, False)], [(250, False)]]
    assert protocol.is_idle


def test_bdat_is_not_used_unless_it_is_offered_and_asked_for():
    for keywords, chunking in ((("PIPELINING",), True), (("PIPELINING", "CHUNKING"), False)):
        protocol = session(*keywords)
        begin(protocol, "b", chunking=chunking)
        assert protocol.octets_to_send() == GROUP % b"b"


def test_bdat_without_pipelining_waits_for_each_reply():
    protocol = session("CHUNKING")
    begin(protocol, "b", chunking=True)
    assert protocol.octets_to_send() == b"MAIL FROM:<a@x.test>\r\n"
    events(protocol, OK)
    assert protocol.octets_to_send() == b"RCPT TO:<b@x.test>\r\n"
    events(protocol, OK)
    assert protocol.octets_to_send() == b"BDAT 22 LAST\r\n" + TEXT
    assert codes(results(protocol, OK)[0]) == [(250, False)]


def test_limit_eager_size_a_large_message_waits_until_somebody_wants_it():
    protocol = session("PIPELINING", "CHUNKING")
    protocol.begin(Envelope.of("a@x.test", "b@x.test"), b"x\r\n" * (EAGER_SIZE // 3 + 1), chunking=True)
    assert b"BDAT" not in protocol.octets_to_send()
    events(protocol, OK + OK)
    assert protocol.octets_to_send().startswith(b"BDAT")


def test_bdat_for_nobody_is_refused_and_nothing_is_in_doubt():
    protocol = session("PIPELINING", "CHUNKING")
    begin(protocol, "b", "c", chunking=True)
    protocol.octets_to_send()
    first, second = results(protocol, OK + b"550 no\r\n" + b"503 nobody\r\n" + OK * 4)
    assert codes(first) == [(550, False)] and first.answers[0].command == "RCPT"
    assert codes(second) == [(250, False)]
    begin(protocol, "d", chunking=True)
    assert protocol.octets_to_send() == CHUNK % b"d"


def test_one_refused_recipient_of_several_is_refused_alone():
    protocol = session("PIPELINING", "CHUNKING")
    begin(protocol, "b c", chunking=True)
    protocol.octets_to_send()
    (result,) = results(protocol, OK + b"550 no\r\n" + OK + OK)
    assert codes(result) == [(550, False), (250, False)]


def test_lmtp_answers_bdat_once_for_each_that_was_taken():
    protocol = session("PIPELINING", "CHUNKING", dialect=Dialect.LMTP)
    begin(protocol, "b c d", "e", chunking=True)
    protocol.octets_to_send()
    octets = OK + OK + b"550 no\r\n" + OK + OK + b"452 full\r\n" + OK + OK + OK + OK
    first, second = results(protocol, octets)
    assert codes(first) == [(250, False), (550, False), (452, False)] and codes(second) == [(250, False)]


def test_421_in_the_middle_of_a_window_leaves_in_doubt_what_had_left():
    protocol = session("PIPELINING", "CHUNKING")
    begin(protocol, "b", "c", "d", chunking=True)
    protocol.octets_to_send()
    first, second, third = results(protocol, OK * 3 + OK + b"421 enough\r\n")
    assert codes(first) == [(250, False)] and codes(second) == [(421, False)]
    assert codes(third) == [(None, True)] and third.lost.in_doubt


def test_421_to_one_recipient_whose_content_has_left_leaves_the_others_in_doubt():
    protocol = session("PIPELINING", "CHUNKING")
    begin(protocol, "b c", chunking=True)
    protocol.octets_to_send()
    (result,) = results(protocol, OK + OK + b"421 bye\r\n")
    assert codes(result) == [(None, True), (421, False)]


def test_refused_rset_ends_the_connection():
    protocol = session("PIPELINING", "CHUNKING")
    begin(protocol, "b", "c", chunking=True)
    protocol.octets_to_send()
    first, second = results(protocol, OK * 3 + b"500 what?\r\n")
    assert codes(first) == [(250, False)] and codes(second) == [(None, True)]
    assert protocol.state is State.CLOSED


def test_a_peer_that_refuses_mail_and_takes_the_recipient_of_a_message_that_has_left_is_in_doubt():
    protocol = session("PIPELINING", "CHUNKING")
    begin(protocol, "b", chunking=True)
    protocol.octets_to_send()
    (result,) = results(protocol, b"550 no\r\n" + OK)
    assert codes(result) == [(None, True)]


def test_refusals_of_our_own_keep_their_place():
    protocol = session("PIPELINING", "CHUNKING")
    begin(protocol, "b", chunking=True)
    protocol.begin(Envelope.of("a@x.test", "bad\r\n@x.test"), TEXT, chunking=True)
    assert not events(protocol)
    protocol.octets_to_send()
    first, second = results(protocol, OK * 3)
    assert codes(first) == [(250, False)] and codes(second) == [(553, False)]


class Server:
    """A peer that knows the truth: reads what comes, answers as told, keeps what it took."""

    def __init__(self, choices, clears):
        self.choices, self.clears = choices, clears
        self.buffer, self.kept = b"", []
        self.mail, self.rcpts = None, []

    def refuses(self):
        return bool(self.choices) and self.choices.pop()

    def reads(self, octets):
        """The replies to all that can be understood by now."""
        self.buffer += octets
        said = []
        while True:
            line, end, rest = self.buffer.partition(b"\r\n")
            if not end:
                return said
            word = line[:4]
            if word == b"BDAT":
                size = int(line.split()[1])
                if len(rest) < size:
                    return said
                content, rest = rest[:size], rest[size:]
                if self.mail is None or not self.rcpts:
                    said.append(b"503 nobody\r\n")
                    if self.clears:
                        self.mail = None
                elif self.refuses():
                    said.append(b"452 no\r\n")
                    self.mail, self.rcpts = None, []
                else:
                    self.kept.append((self.mail, tuple(self.rcpts), content))
                    self.mail, self.rcpts = None, []
                    said.append(OK)
            elif word == b"RSET":
                self.mail, self.rcpts = None, []
                said.append(OK)
            elif word == b"MAIL":
                bad = self.mail is not None
                bad or (refused := self.refuses())
                said.append(b"503 nested\r\n" if bad else b"451 no\r\n" if refused else OK)
                if not bad and not refused:
                    self.mail = line.split(b"<")[1].split(b">")[0]
            else:
                assert word == b"RCPT"
                if self.mail is None:
                    said.append(b"503 no MAIL\r\n")
                elif self.refuses():
                    said.append(b"550 no\r\n")
                else:
                    self.rcpts.append(line.split(b"<")[1].split(b">")[0])
                    said.append(OK)
            self.buffer = rest


@given(
    st.lists(st.booleans(), max_size=40), st.booleans(), st.integers(1, 8), st.integers(0, 60), st.integers(0, 400)
)
def test_whatever_happens_each_fate_is_what_the_peer_did(choices, clears, window, replies, unread):
    server = Server(choices, clears)
    protocol = session("PIPELINING", "CHUNKING", window=window)
    ended, number = [], 0
    pending = []
    while len(ended) < 12 and protocol.state is not State.CLOSED:
        while protocol.may_begin and number < 12:
            paths = [f"{number}-{one}@x.test" for one in range(1 + number % 3)]
            protocol.begin(Envelope.of(f"s{number}@x.test", *paths), TEXT, chunking=True)
            number += 1
        octets = protocol.octets_to_send()
        if replies < 20:  # the peer goes away: it read some of it, and some of what it read it answered
            read = max(0, len(octets) - unread)
            pending += server.reads(octets[:read])
            for reply in pending[:replies]:
                protocol.receive_data(reply)
                ended += results(protocol)
            protocol.octets_to_send()
            protocol.connection_lost("reset")
        else:
            pending += server.reads(octets)
            for reply in pending:
                protocol.receive_data(reply)
                ended += results(protocol)
            pending = []
        ended += results(protocol)
    kept = {(mail.decode(), path.decode()) for mail, paths, _ in server.kept for path in paths}
    assert [result.envelope.reverse_path for result in ended] == [f"s{one}@x.test" for one in range(number)]
    for result in ended:
        for answer in result.answers:
            took = (result.envelope.reverse_path, answer.path.address) in kept
            assert took or not answer.is_accepted
            assert not took or answer.is_accepted or answer.in_doubt
    assert all(mail.startswith(f"s{path.split('-')[0]}@") for mail, path in kept)


class _Thorough(Transaction):
    """Takes every reply the long way."""

    __slots__ = ()

    def goes_on(self, kind, reply):
        return False


RIGHT = None
REPLIES = st.sampled_from([RIGHT] * 12 + [OK, GO, b"250-more\r\n250 ok\r\n", b"450 later\r\n", b"550 no\r\n",
                                          b"503 order\r\n", b"452 many\r\n", b"421 bye\r\n", b"what\r\n"])  # fmt: skip


def answered(protocol, batch):
    """The octets of a batch; what is right depends on the command that waits for it."""
    waiting = [command.verb for command, _ in protocol._awaited]
    right = (GO if verb == "DATA" else OK for verb in waiting)
    return b"".join(next(right, b"") if one is RIGHT else (next(right, b""), one)[1] for one in batch)


@given(
    st.lists(st.lists(REPLIES, max_size=6), max_size=16),
    st.booleans(),
    st.booleans(),
    st.sampled_from(list(Dialect)),
    st.lists(st.sampled_from(["b", "b c", "b c d"]), min_size=2, max_size=6),
)
def test_the_short_way_and_the_long_way_are_one(batches, chunking, pipelining, dialect, names):
    words = ["PIPELINING"] * pipelining + ["CHUNKING"]
    told = []
    for kind, takes in ((Transaction, True), (_Thorough, False)):
        protocol, waiting, story = session(*words, window=3, dialect=dialect), list(names), []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("mailpipe.smtp.client.Transaction", kind)
            for batch in [[], *batches]:
                found = deque()
                if octets := answered(protocol, batch):
                    protocol.receive_data(octets)
                if takes:
                    protocol.take_events(found)
                else:
                    found += events(protocol)
                while waiting and protocol.may_begin:
                    begin(protocol, waiting.pop(0), chunking=chunking)
                story += [list(map(str, found)), protocol.octets_to_send(), protocol.state, str(protocol.awaited)]
        told.append(story)
    assert told[0] == told[1]


@given(st.lists(st.sampled_from([b"\r\n", b"\r", b"\n", b".", b"a", b"\x0b", b"\x85"]), max_size=9).map(b"".join))
def test_line_ends_are_told_alike_in_small_and_large_messages(octets):
    large = octets + b"x" * (1 << 18)
    assert is_crlf_only(octets + b"x") == is_crlf_only(large) == (to_crlf(octets + b"x") == octets + b"x")
