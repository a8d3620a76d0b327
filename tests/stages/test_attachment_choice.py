"""Many parts are found, covered and replaced in the time that few take."""

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mailpipe
from mailpipe.message import edit
from mailpipe.pipeline.mail import Changed
from mailpipe.stages.attachment_choice import Covered
from mailpipe.stages.decode_uuencode import DecodeUuencode
from mailpipe.stages.expand_nested import ExpandNested
from mailpipe.stages.strip_attachments import StripAttachments
from mailpipe.writer.downgrade import SIGNED, is_below

SAMPLES = [path.read_bytes() for path in sorted((Path(__file__).parents[2] / "samples" / "mail").glob("*.eml"))]
NESTED = (
    b"Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/signed; boundary=b\n\n--b\n\nx\n--b\nContent-Type: message/rfc822\n\n"
    b"Content-Type: multipart/signed; boundary=c\n\n--c\n\ny\n--c\n\nz\n--c--\n--b--\n--a\nContent-Type: message/rfc822\n\nContent-Type: multipart/signed; boundary=d\n\n--d\n\n1\n--d\n\n2\n--d--\n--a\n\nlast\n--a--\n"
)


@pytest.mark.parametrize("octets", [NESTED, b"Content-Type: message/rfc822\n\n" + NESTED, *SAMPLES])
def test_what_is_covered_is_what_lies_below(octets) -> None:
    message = mailpipe.parse(octets)
    paths = tuple(path for path, one in message.walk() if one.content_type.value in SIGNED)
    covered = Covered(message)
    assert covered.paths == paths
    assert [covered.holds(path) for path, _ in message.walk()] == [is_below(path, paths) for path, _ in message.walk()]


@given(st.sets(st.integers(1, 6)), st.sampled_from([b"\n", b"\r\n"]))
def test_removing_many_is_removing_one_after_the_other(numbers, line_end) -> None:
    parts = b"".join(b"--b\nX: %d\n\npart %d\n" % (number, number) for number in range(1, 7))
    message = mailpipe.parse((b"Content-Type: multipart/mixed; boundary=b\n\npre\n" + parts + b"--b--\npost").replace(b"\n", line_end))
    expected = message
    for number in sorted(numbers, reverse=True):
        if len(expected.parts) > 1:
            expected = expected.remove(str(number))
    if len(numbers) < 6:
        assert bytes(edit.remove_all(message, {str(number) for number in numbers})) == bytes(expected)
    else:
        assert [part.text.strip() for part in edit.remove_all(message, {str(number) for number in numbers}).parts] == [""]


def timed(kind, octets, mail, stage, **options) -> list[Changed]:
    one, start = stage(kind, **options), time.process_time()
    after = one.process(mail(octets))
    spent = time.process_time() - start
    assert spent < 20, spent
    return list(after.notes_of(Changed))


@pytest.mark.parametrize("then", ["note", "detach"])
def test_thousands_of_attachments_are_no_trouble(then, mail, stage) -> None:
    octets = b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\nContent-Type: image/png; name=a\n\nx\n" * 3_000 + b"--b--\n"
    assert len(timed(StripAttachments, octets, mail, stage, then=then)) == 3_000


def test_thousands_of_signed_parts_are_no_trouble(mail, stage) -> None:
    octets = b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\nContent-Type: multipart/signed; boundary=s\n\n--s\nContent-Type: a/b\n\nx\n--s--\n" * 3_000 + b"--b--\n"
    assert len(timed(StripAttachments, octets, mail, stage)) == 3_000


def test_thousands_of_messages_and_texts_are_no_trouble(mail, stage) -> None:
    octets = b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\nContent-Type: message/rfc822\n\nSubject: x\n\ny\n" * 3_000 + b"--b--\n"
    assert len(timed(ExpandNested, octets, mail, stage)) == 3_000
    octets = b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nbegin 644 a\n#0V%T\n`\nend\n" * 2_000 + b"--b--\n"
    assert len(timed(DecodeUuencode, octets, mail, stage)) == 2_000
