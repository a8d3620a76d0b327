import time

import pytest

from mailpipe.errors import LimitExceeded
from mailpipe.smtp.transparency import DataReader, encode_content, is_crlf_only, stuff, to_crlf, unstuff


def test_dots_are_doubled_at_the_beginning_of_lines_only():
    assert stuff(b".a\r\n..b\r\nc.d\r\n.") == b"..a\r\n...b\r\nc.d\r\n.."
    assert unstuff(b"..a\r\n...b\r\nc.d\r\n..") == b".a\r\n..b\r\nc.d\r\n."


def test_the_terminator_stands_on_a_line_of_its_own():
    assert encode_content(b"a\r\n") == b"a\r\n.\r\n"
    assert encode_content(b"a") == b"a\r\n.\r\n"
    assert encode_content(b"") == b".\r\n"
    assert encode_content(b".") == b"..\r\n.\r\n"


def test_line_ends_that_are_right_are_not_copied():
    octets = b"a\r\nb\r\n"
    assert to_crlf(octets) is octets
    assert is_crlf_only(octets) and not is_crlf_only(b"\n") and not is_crlf_only(b"\r") and not is_crlf_only(b"\n\r")


def test_stuffing_runs_at_memory_speed():
    octets = b".dots everywhere\r\n" * 1_000_000
    began = time.perf_counter()
    encode_content(octets)
    assert time.perf_counter() - began < 2


def test_limit_message_size_stops_content_without_end():
    reader = DataReader(limit=1000)
    with pytest.raises(LimitExceeded):
        for _ in range(10_000):
            reader.receive_data(b"x" * 100)


def test_what_follows_the_end_of_data_is_kept():
    reader = DataReader()
    reader.receive_data(b"a\r\n.\r\nMAIL")
    reader.receive_data(b" FROM")
    assert (reader.octets, reader.rest) == (b"a\r\n", b"MAIL FROM")
