"""The source stdin: one message, or an mbox."""

import io

import pytest

from mailpipe.errors import InputError
from mailpipe.pipeline.mail import RawMail
from mailpipe.smtp.envelope import Envelope
from mailpipe.sources.stdio import StdinSource

LINE = b"From ann@example.org Thu Nov 29 23:33:09 1973"
TWO = LINE + b"\nA: 1\n\nx\n\n" + LINE + b"\nA: 2\n\ny\n"


def read(octets: bytes, **options: object) -> list[RawMail]:
    return list(StdinSource(StdinSource.Options.model_validate(options), io.BytesIO(octets)))


def test_one_message_is_taken_as_it_is() -> None:
    (mail,) = read(b"A: 1\r\n\r\n\0\xff")
    assert (mail.octets, mail.envelope, mail.origin.location) == (b"A: 1\r\n\r\n\0\xff", None, "-")


def test_the_options_give_the_envelope() -> None:
    (mail,) = read(b"A: 1\n", sender="", recipients=["bob@example.net"])
    assert mail.envelope == Envelope.of("", "bob@example.net")


def test_an_mbox_is_split() -> None:
    assert [mail.octets for mail in read(TWO)] == [b"A: 1\n\nx\n", b"A: 2\n\ny\n"]
    assert [mail.from_line for mail in read(TWO)] == [LINE, LINE]


@pytest.mark.parametrize("options", [{"format": "message"}, {"sender": "ann@example.org"}])
def test_a_from_line_before_a_single_message_cannot_begin_another_one(options: dict[str, object]) -> None:
    (mail,) = read(TWO, **options)
    assert mail.octets == TWO[len(LINE) + 1 :]
    assert mail.from_line == LINE
    assert mail.origin.offset == len(LINE) + 1


def test_nothing_is_an_error_with_a_remedy() -> None:
    with pytest.raises(InputError, match="pipe a message"):
        read(b"")
