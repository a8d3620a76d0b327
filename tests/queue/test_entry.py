import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from mailpipe.errors import InputError
from mailpipe.queue.entry import (
    RecipientFate,
    RecipientResult,
    forward_path_text,
    read_forward_path,
    read_sender,
    sender_text,
)
from mailpipe.smtp.envelope import Envelope, ForwardPath, MailParameters
from mailpipe.status import EnhancedStatus

TEXT = st.text(max_size=20) | st.just("\udcff@\x00\n\u2028")
OPTIONAL = st.none() | TEXT
PARAMETERS = st.lists(st.tuples(TEXT, OPTIONAL), max_size=3).map(tuple)


@given(TEXT, st.builds(MailParameters, OPTIONAL, OPTIONAL, OPTIONAL, st.booleans(), st.booleans(), PARAMETERS))
def test_any_sender_survives_its_text(reverse_path, parameters):
    sender = Envelope(reverse_path, (), parameters)
    text = sender_text(sender)
    assert read_sender(text) == sender and text.isascii()


@given(st.none() | st.builds(ForwardPath, TEXT, st.lists(TEXT, max_size=2).map(tuple), OPTIONAL, PARAMETERS))
def test_any_forward_path_survives_its_text(path):
    assert read_forward_path(forward_path_text(path)) == path


def test_parameters_of_a_later_version_are_left_out():
    assert read_sender('["a@b", {"body": "7BIT", "priority": 4}]').parameters == MailParameters("7BIT")


def test_a_fate_of_another_enumeration_is_taken_and_nonsense_is_not():
    status = EnhancedStatus(2, 0, 0)
    assert RecipientResult(ForwardPath("a"), "in-doubt", status).fate is RecipientFate.IN_DOUBT
    with pytest.raises(ValueError):
        RecipientResult(ForwardPath("a"), "lost", status)


def test_an_entry_becomes_json_by_itself_and_by_pydantic(queue):
    full = (EnhancedStatus(4, 2, 2), "full")
    identifier = queue.put(b"x", Envelope.of("a@b", "\udcffc@d"), origin="test", reasons=[full])
    entry = queue.show(identifier)
    told = json.loads(json.dumps(entry.to_json()))
    assert told["recipients"][0]["status"] == "4.2.2" and told["recipients"][0]["state"] == "waiting"
    assert told["attempts"] == 1 and told["next_try"] == entry.next_try
    assert TypeAdapter(type(entry)).dump_python(entry, mode="python")["id"] == identifier
    assert json.loads(json.dumps(queue.counts().to_json()))["recipients"]["waiting"] == 1


@pytest.mark.parametrize("octets", [b"", b"From: a\r\n\r\nbody"])
def test_octets_and_view_are_the_message_alone(queue, octets):
    entry = queue.show(queue.put(octets, Envelope.of("", "a@b"), origin="test"))
    with entry.view() as view:
        assert bytes(view) == octets == entry.octets


def test_content_that_is_missing_or_cut_is_an_input_error(queue):
    entry = queue.show(queue.put(b"x" * 9999, Envelope.of("", "a@b"), origin="test"))
    entry.content.write_bytes(b"short")
    with pytest.raises(InputError):
        assert entry.octets
    entry.content.unlink()
    with pytest.raises(InputError):
        assert entry.octets
