"""Messages that others have collected: what the interpreter tests its own mail package with, and our samples."""

import importlib.util
from pathlib import Path

import pytest

import mailpipe
from mailpipe import Message, WritePolicy, write
from mailpipe.errors import MailpipeError

SAMPLES = Path(__file__).parents[2] / "samples" / "mail"


def _of_the_interpreter() -> list[Path]:
    try:
        spec = importlib.util.find_spec("test.test_email")
    except ModuleNotFoundError:
        return []
    if spec is None or not spec.submodule_search_locations:
        return []
    return sorted((Path(spec.submodule_search_locations[0]) / "data").glob("*.txt"))


FILES = [*sorted(SAMPLES.glob("*.eml")), *_of_the_interpreter()]


def look_at_everything(message: Message) -> None:
    """Ask every view of every entity; none may raise."""
    for path, entity in message.walk():
        assert message.part(path) is entity or path == ""
        if isinstance(entity, Message):
            for name in ("subject", "from_", "sender", "reply_to", "to", "cc", "bcc", "date", "message_id",
                         "in_reply_to", "references", "received", "body_text", "body_html", "attachments",
                         "delivery_report", "disposition_notification"):  # fmt: skip
                getattr(entity, name)
        for name in ("content_type", "disposition", "filename", "transfer_encoding", "content_id", "octets", "text",
                     "decoded_text", "raw", "raw_body", "span", "body_span", "preamble", "epilogue", "flowed",
                     "embedded_files", "partial", "external_body", "is_attachment"):  # fmt: skip
            getattr(entity, name)
        with entity.open() as stream:
            assert stream.read() == entity.octets
        for field in entity.header:
            assert field.value is not None
            assert isinstance(field.text, str) and isinstance(field.body, bytes)
            assert all(one.offset >= 0 for one in field.defects)
    for defect in message.defects:
        assert defect.sentence and defect.rfc and 0 <= defect.offset <= len(message)
    assert message.snapshot().model_dump_json()


@pytest.mark.skipif(not _of_the_interpreter(), reason="this interpreter does not ship its test data")
def test_the_interpreter_ships_its_messages():
    assert len(_of_the_interpreter()) > 30


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_message_comes_back_and_answers_every_question(path, line_end):
    octets = path.read_bytes()
    if line_end != b"\n":
        octets = octets.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", line_end)
    message = mailpipe.parse(octets)
    assert bytes(message) == octets
    look_at_everything(message)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_an_edited_message_differs_in_its_field_alone(path):
    octets = path.read_bytes()
    message = mailpipe.parse(octets)
    edited = message.with_header("X-Edited", "yes")
    made = bytes(edited)
    assert b"X-Edited: yes" in made
    again = mailpipe.parse(made)
    if message.body_span is not None and b"\n" in octets[: message.body_span[0]]:
        assert [one.content_type.value for _, one in again.walk()] == [one.content_type.value for _, one in message.walk()]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_message_can_be_written_for_a_lesser_peer(path):
    message = mailpipe.parse(path.read_bytes())
    try:
        octets = write(message, WritePolicy(line_end=b"\r\n", encoding="7bit"))
    except MailpipeError:
        return  # what cannot be said is refused, in one way
    assert octets.count(b"\n") == octets.count(b"\r\n")
    look_at_everything(mailpipe.parse(octets))
