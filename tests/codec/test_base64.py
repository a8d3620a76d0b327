import binascii
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpipe.codec import base64

_NEARLY_BASE64 = st.text(alphabet="ABab01+/==\r\n *", max_size=200).map(str.encode)


def _plainly(octets: bytes) -> bytes:
    """The rules once more, octet by octet."""
    padding = re.search(rb"=[=\r\n \t]*", octets)
    if padding and base64._is_text(octets[padding.end() : padding.end() + 512]):
        octets = octets[: padding.end()]
    decoded, group, equals = b"", b"", 0
    for octet in octets:
        if octet == ord("="):
            equals += 1
            if len(group) >= 2 and len(group) + equals >= 4:
                decoded, group, equals = decoded + binascii.a2b_base64(group + b"=="), b"", 0
        elif octet in base64._ALPHABET:
            group, equals = group + bytes([octet]), 0
            if len(group) == 4:
                decoded, group = decoded + binascii.a2b_base64(group), b""
    last = binascii.a2b_base64(group + b"==") if len(group) > 1 else b""
    # a group that an encoder would not have written was cut off
    return decoded + (last if binascii.b2a_base64(last).rstrip(b"=\n") == group else b"")


@given(_NEARLY_BASE64)
def test_decoding_follows_the_rules_octet_by_octet(octets):
    # "=" after fewer than two symbols of a group counts for nothing, also not for a later one.
    assert base64.decode(octets) == _plainly(octets)


@given(_NEARLY_BASE64 | st.binary(max_size=300).map(base64.encode))
def test_pybase64_and_binascii_give_the_same(octets):
    pytest.importorskip("pybase64")
    found: list[object] = []
    with_pybase64 = base64.decode(octets, found)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base64, "_fast_decode", binascii.a2b_base64)
        patch.setattr(base64, "_SMALL", 0)
        again: list[object] = []
        assert (base64.decode(octets, again), again) == (with_pybase64, found)


@given(_NEARLY_BASE64, st.integers(1, 9))
def test_blocks_joined_are_what_decode_gives(octets, size):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base64, "_BLOCK", size)
        assert b"".join(base64.blocks(memoryview(octets))) == base64.decode(octets)


@given(st.binary(max_size=500), st.sampled_from([b"\n", b"\r\n"]))
def test_what_was_encoded_comes_back_without_defects(octets, line_end):
    encoded = base64.encode(octets, line_end)
    defects = []
    assert base64.decode(encoded, defects) == octets
    assert not defects
    assert all(len(line) <= 76 for line in encoded.split(line_end))
    assert encoded.endswith(line_end) or not octets
    assert base64._lines(octets) == encoded.replace(b"\r\n", b"\n")


@pytest.mark.parametrize(
    ("raw", "octets", "codes"),
    [
        (b"QUJD", b"ABC", []),
        (b"QUI", b"AB", ["truncated-base64"]),
        (b"QUJDR", b"ABC", ["truncated-base64"]),
        (b"QU*JD", b"ABC", ["invalid-base64"]),
        (b"Q=UJD", b"ABC", ["invalid-base64"]),
        (b"QUI=QUI=", b"ABAB", []),
        (b"QQ==\r\nQUJD\r\n", b"AABC", []),
        (b"QQ==\r\n_____\r\nlist footer, https://example.org\r\n", b"A", ["invalid-base64"]),
        (b"", b"", []),
        (b"====", b"", []),
    ],
)
def test_what_senders_do_is_read(raw, octets, codes):
    defects = []
    assert base64.decode(raw, defects) == octets
    assert [defect.code for defect in defects] == codes


@given(st.integers(0, 400), st.integers(0, 500), st.sampled_from([b"\n", b"\r\n"]), st.booleans())
def test_a_foreign_octet_is_found_among_equal_lines(size, place, line_end, is_added):
    encoded = base64.encode(bytes(size), line_end)
    place = min(place, encoded.find(b"=") if b"=" in encoded else len(encoded))
    encoded = encoded[:place] + b"!" + encoded[place + (not is_added) :]
    defects = []
    base64.decode(encoded, defects)
    assert ("invalid-base64", place) in [(defect.code, defect.offset) for defect in defects]


def test_a_body_of_padding_alone_takes_linear_time():
    assert base64.decode(b"QQ==" * 100_000) == b"A" * 100_000
    assert base64.decode(b"QQQQ=" * 50_000) == binascii.a2b_base64(b"QQQQ") * 50_000
