import binascii

from hypothesis import given
from hypothesis import strategies as st

from mailpipe.codec import uuencode


def _encode(octets, name=b"a.bin"):
    lines = [binascii.b2a_uu(octets[start : start + 45]) for start in range(0, len(octets), 45)]
    return b"begin 644 " + name + b"\n" + b"".join(lines) + b"`\nend\n"


@given(st.binary(max_size=300), st.booleans())
def test_a_file_comes_back(octets, is_crlf):
    encoded = _encode(octets).replace(b"\n", b"\r\n" if is_crlf else b"\n")
    defects = []
    assert uuencode.decode(encoded, defects) == octets
    assert not defects


def test_blocks_are_found_within_text():
    text = b"hello\nbegin of the story\n" + _encode(b"one", b"1.txt") + b"between\n" + _encode(b"two", b"\xc3\xa9") + b"bye\n"
    blocks = list(uuencode.find(text))
    assert [(block.filename, block.octets, block.mode) for block in blocks] == [
        ("1.txt", b"one", 0o644),
        ("é", b"two", 0o644),
    ]
    assert text[blocks[0].start :].startswith(b"begin 644")
    assert text[blocks[0].stop :].startswith(b"between")


def test_a_block_without_end_keeps_what_it_has():
    block = next(uuencode.find(_encode(b"x" * 100)[:-6]))
    assert block.octets == b"x" * 100
    assert block.defects[0].code == "invalid-uuencode"


def test_prose_after_a_begin_line_is_no_block():
    assert list(uuencode.find(b"begin 644 nothing\nJust a text about it.\n")) == []


def test_a_body_without_block_is_left_alone():
    defects = []
    assert uuencode.decode(b"plain", defects) == b"plain"
    assert defects[0].code == "invalid-uuencode"


def test_base64_blocks_are_read_too():
    assert uuencode.decode(b"begin-base64 600 x\nQUJD\n====\n") == b"ABC"


@given(st.binary(max_size=100).map(lambda octets: b"begin 644 x\n" + octets))
def test_damage_never_raises(octets):
    uuencode.decode(octets)


def test_many_begin_lines_take_linear_time():
    assert list(uuencode.find(b"begin 644 x\n" * 50_000)) == []
