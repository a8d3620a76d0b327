"""Files in texts, pieces of messages, bodies elsewhere."""

import binascii
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mailpipe
from mailpipe.errors import ComposeError
from mailpipe.message import partial
from mailpipe.message.embedded import Partial, without_embedded_files


def block(octets: bytes, name: str = "a.bin") -> bytes:
    lines = [binascii.b2a_uu(octets[start : start + 45]) for start in range(0, len(octets), 45)]
    return f"begin 644 {name}\n".encode() + b"".join(lines) + b"`\nend\n"


# -- uuencode


@given(st.lists(st.binary(min_size=1, max_size=120), max_size=3))
def test_the_files_in_a_text_are_found(files):
    body = b"Look:\n" + b"and\n".join(block(octets, f"{number}.bin") for number, octets in enumerate(files)) + b"Bye\n"
    message = mailpipe.parse(b"Subject: files\n\n" + body)
    assert [(one.filename, one.octets, one.mode) for one in message.embedded_files] == [
        (f"{number}.bin", octets, 0o644) for number, octets in enumerate(files)
    ]
    assert all(message.octets[one.start : one.stop].startswith(b"begin") for one in message.embedded_files)
    assert b"begin" not in without_embedded_files(message.octets)
    assert without_embedded_files(message.octets).endswith(b"Bye\n")


def test_only_texts_have_files_in_them():
    message = mailpipe.parse(b"Content-Type: application/octet-stream\n\n" + block(b"Cat"))
    assert message.embedded_files == ()


def test_a_damaged_block_says_so():
    message = mailpipe.parse(b"\n" + block(b"x" * 100)[:-5])
    (file,) = message.embedded_files
    assert file.defects and file.defects[0].code == "invalid-uuencode"


# -- message/partial


OUTER = (
    b"From: ann@example.org\nTo: bob@example.net\nDate: Fri, 26 Mar 1993 12:59:38 -0500\nSubject: piece %d\n"
    b"Message-ID: <%d@example.org>\nMIME-Version: 1.0\n"
    b"Content-Type: message/partial; id=\"abc@example.org\"; number=%d%b\n\n"
)
WHOLE = (
    b"X-Weird: inside\nSubject: the whole\nMessage-ID: <whole@example.org>\nMIME-Version: 1.0\n"
    b"Content-Type: audio/basic\nContent-Transfer-Encoding: base64\n\nAAEC\nAwQF\nBgcI\n"
)


def pieces(*stops: int) -> list[mailpipe.Message]:
    edges = [0, *stops, len(WHOLE)]
    total = len(edges) - 1
    return [
        mailpipe.parse(OUTER % (number, number, number, b"; total=%d" % total if number == total else b"")
                       + WHOLE[edges[number - 1] : edges[number]])
        for number in range(1, total + 1)
    ]  # fmt: skip


def test_pieces_in_any_order_make_the_message():
    first, second, third = pieces(165, 170)
    assert first.partial == Partial("abc@example.org", 1, None)
    assert third.partial == Partial("abc@example.org", 3, 3)
    whole = partial.assemble([third, first, second, first])
    assert whole.octets == bytes(range(9))
    assert whole.subject == "the whole" and whole.message_id == "whole@example.org"
    assert [one.name for one in whole.header] == [
        "From", "To", "Date", "Subject", "Message-ID", "MIME-Version", "Content-Type", "Content-Transfer-Encoding",
    ]  # fmt: skip
    assert "x-weird" not in whole.header
    assert bytes(mailpipe.parse(bytes(whole))) == bytes(whole)


@given(st.lists(st.integers(150, len(WHOLE) - 1), max_size=4).map(sorted))
def test_wherever_a_message_is_cut_it_comes_back(stops):
    assert partial.assemble(pieces(*stops)[::-1]).octets == bytes(range(9))


def test_what_is_missing_is_named():
    first, second, third = pieces(165, 170)
    assert partial.missing([first, third]) == (2,)
    assert partial.missing([second]) == (1,)
    with pytest.raises(ComposeError, match="piece 2 of 3 is missing"):
        partial.assemble([first, third])
    with pytest.raises(ComposeError, match="how many there are"):
        partial.assemble([first, second])


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (b"abc@", b"xyz@", "of two messages"),
        (b"message/partial", b"text/plain", "no numbered message/partial"),
        (b"number=2", b"number=9", "beyond the total"),
        (b"number=2", b"number=2; total=7", "do not agree"),
        (b"number=2", b"number=99999999999", "no numbered"),
    ],
)
def test_pieces_that_do_not_fit_are_refused(old, new, sentence):
    first, second, third = pieces(165, 170)
    with pytest.raises(ComposeError, match=sentence):
        partial.assemble([first, mailpipe.parse(bytes(second).replace(old, new)), third])
    with pytest.raises(ComposeError, match="no pieces"):
        partial.assemble([])


def test_a_piece_without_a_number_is_none():
    assert mailpipe.parse(b"Content-Type: message/partial; id=a\n\n").partial is None
    assert mailpipe.parse(b"Content-Type: message/partial; number=x\n\n").partial is None
    assert mailpipe.parse(b"\n").partial is None


# -- message/external-body


def test_an_external_body_is_described():
    message = mailpipe.parse(
        b"Content-Type: message/external-body; access-type=Mail-Server;\n server=\"listserv@example.org\";"
        b" size=12; permission=read-write;\n expiration=\"Fri, 14 Jun 1991 19:13:14 -0400\"\n\n"
        b"Content-Type: application/postscript\nContent-ID: <id42@example.org>\n\nget RFC-MIME.DOC\n"
    )
    found = message.external_body
    assert found is not None
    assert (found.access_type, found.params["server"], found.size) == ("mail-server", "listserv@example.org", 12)
    assert found.content_type.value == "application/postscript"
    assert found.header["Content-ID"] == "<id42@example.org>"
    assert found.phantom_body == b"get RFC-MIME.DOC\n"
    assert found.is_writable and found.url is None
    assert found.expiration is not None
    assert found.expiration.astimezone(UTC) == datetime(1991, 6, 14, 23, 13, 14, tzinfo=UTC)


def test_a_folded_url_is_put_together():
    message = mailpipe.parse(
        b"Content-Type: message/external-body; access-type=URL;\r\n URL=\"http://example.org/\r\n  a/b\"\r\n\r\n\r\n"
    )
    found = message.external_body
    assert found is not None and found.url == "http://example.org/a/b"
    assert found.content_type.value == "text/plain" and found.size is None and found.expiration is None


@given(st.binary(max_size=200), st.text(max_size=40))
def test_no_octets_make_these_views_raise(body, param):
    for kind in ("partial; id=a; number=", "external-body; access-type=url; url="):
        header = f"Content-Type: message/{kind}{param}\n".encode("utf-8", "replace")
        for message in (mailpipe.parse(header + b"\n" + body), mailpipe.parse(b"\nbegin 644 x\n" + body)):
            external = message.external_body
            if external is not None:
                assert external.content_type.value
                assert external.url is None or " " not in external.url
                assert external.size is None or external.size >= 0
                assert external.expiration is None or external.expiration
            assert message.partial is None or message.partial.number > 0
            assert isinstance(message.embedded_files, tuple)
