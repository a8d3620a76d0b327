import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpipe.errors import LocalProtocolError, RemoteProtocolError
from mailpipe.smtp.reply import MAX_REPLY, Reply, ReplyParser, parse_reply
from mailpipe.status import EnhancedStatus


@pytest.mark.parametrize(
    ("octets", "reply"),
    [
        (b"250 ok\r\n", Reply(250, ("ok",))),
        (b"250 ok\n", Reply(250, ("ok",))),
        (b"250\r\n", Reply(250, ("",))),
        (b"250-\r\n250\r\n", Reply(250, ("", ""))),
        (b"250-a\r\n250-b\r\n250 c\r\n", Reply(250, ("a", "b", "c"))),
        (b"250   wide   \r\n", Reply(250, ("wide",))),
        (b"250\ttab\r\n", Reply(250, ("tab",))),
        (b"250ok\r\n", Reply(250, ("ok",))),
        (b"\r\n\n250 ok\r\n", Reply(250, ("ok",))),
        (b"550 5.1.1 no\r\n", Reply(550, ("no",), EnhancedStatus(5, 1, 1))),
        (b"550-5.1.1 no\r\n550 5.1.1 way\r\n", Reply(550, ("no", "way"), EnhancedStatus(5, 1, 1))),
        (b"550-no\r\n550 5.7.1 way\r\n", Reply(550, ("no", "way"), EnhancedStatus(5, 7, 1))),
        (b"250 2.0.0\r\n", Reply(250, ("",), EnhancedStatus(2, 0, 0))),
        (b"550 2.0.0 of another class\r\n", Reply(550, ("2.0.0 of another class",))),
        (b"220 10.0.0.1 ready\r\n", Reply(220, ("10.0.0.1 ready",))),
        (b"250-a\r\n550 b\r\n", Reply(550, ("a", "b"))),
        (b"250 caf\xc3\xa9 \xff\x1b[31m\r\n", Reply(250, ("café \\xff [31m",))),
        (b"450 a\rb\r\n", Reply(450, ("a b",))),
    ],
)
def test_what_servers_say_is_understood(octets, reply):
    assert parse_reply(octets) == reply
    parser = ReplyParser()
    for at in range(len(octets)):
        assert parser.next_reply() is None
        parser.feed(octets[at : at + 1])
    assert parser.next_reply() == reply
    assert parser.is_empty


@pytest.mark.parametrize("octets", [b"hello\r\n", b"99 x\r\n", b"150 x\r\n", b"600 x\r\n", b"2500\r\n", b"\xff\xfe\r\n",
                                    b"HTTP/1.1 400 Bad\r\n", b"250 a\0b\r\n", b"+OK\r\n"])  # fmt: skip
def test_what_is_no_reply_is_an_error_of_the_peer(octets):
    with pytest.raises(RemoteProtocolError, match="does not speak SMTP"):
        parse_reply(octets)


def test_limit_reply_size_stops_a_line_without_end():
    parser = ReplyParser()
    parser.feed(b"250 " + b"x" * MAX_REPLY)
    with pytest.raises(RemoteProtocolError, match="octets"):
        parser.next_reply()


def test_limit_reply_size_stops_lines_without_end():
    parser = ReplyParser()
    with pytest.raises(RemoteProtocolError, match="octets"):
        for _ in range(MAX_REPLY):
            parser.feed(b"250-x\r\n" * 10)
            parser.next_reply()


def test_limit_reply_size_stops_empty_lines_without_end():
    parser = ReplyParser()
    parser.feed(b"\r\n" * MAX_REPLY)
    with pytest.raises(RemoteProtocolError, match="octets"):
        parser.next_reply()


def test_two_replies_in_one_packet_stay_two():
    parser = ReplyParser()
    parser.feed(b"250 a\r\n354 b\r\n22")
    assert [parser.next_reply(), parser.next_reply(), parser.next_reply()] == [Reply(250, ("a",)), Reply(354, ("b",)), None]
    parser.feed(b"0 c\r\n")
    assert parser.next_reply() == Reply(220, ("c",))
    with pytest.raises(RemoteProtocolError):
        parse_reply(b"250 a\r\n250 b\r\n")


lines = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20).filter(
    lambda text: not text[0].isdigit()
)


@given(st.integers(2, 5), st.integers(0, 99), st.lists(lines, min_size=1, max_size=4), st.booleans())
def test_a_rendered_reply_reads_back(first, rest, texts, with_status):
    status = EnhancedStatus({3: 2}.get(first, first), 1, 2) if with_status else None
    reply = Reply(first * 100 + rest, tuple(texts), status)
    assert parse_reply(reply.octets) == reply


@given(st.binary(max_size=200))
def test_nothing_that_a_peer_sends_breaks_the_parser(octets):
    parser = ReplyParser()
    parser.feed(octets)
    try:
        while reply := parser.next_reply():
            assert str(reply).isprintable()
    except RemoteProtocolError:
        pass


def test_a_reply_with_a_control_character_cannot_be_sent():
    with pytest.raises(LocalProtocolError):
        _ = Reply(250, ("a\x1bb",)).octets
