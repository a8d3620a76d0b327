import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpipe.codec import transfer
from mailpipe.errors import ComposeError


@pytest.mark.parametrize(
    ("written", "token"),
    [
        ("BASE64", "base64"), (" base-64 ", "base64"), ("quoted-printable;", "quoted-printable"), ("7 bit", "7bit"),
        ("8-bit", "8bit"), ("quoted_printable", "quoted-printable"), ("x-uue", "x-uuencode"), ("", "7bit"),
        ("base64 (comment)", "base64"), ('"base64"', "base64"), ("x-gzip64", None), ("binary", "binary"),
    ],
)  # fmt: skip
def test_tokens_have_one_canonical_spelling(written, token):
    assert transfer.canonical(written) == token


def test_an_unknown_encoding_keeps_the_octets():
    defects = []
    assert transfer.decode(b"x=20", "x-rot", defects) == b"x=20"
    assert [(defect.code, defect.detail) for defect in defects] == [("unknown-transfer-encoding", "x-rot")]


@given(st.binary(max_size=400), st.sampled_from(["7bit", "8bit", "binary"]), st.booleans())
def test_the_encoding_that_is_chosen_fits_the_peer_and_loses_nothing(octets, domain, is_text):
    token = transfer.choose(octets, domain, is_text=is_text)
    encoded = transfer.encode(octets, token, is_text=False)
    assert transfer.decode(encoded, token) == octets
    if domain != "binary":
        assert token != "binary"
        assert b"\0" not in encoded
        assert all(len(line) <= 998 for line in encoded.replace(b"\r\n", b"\n").split(b"\n"))
    if domain == "7bit":
        assert encoded.isascii()


@pytest.mark.parametrize(
    ("octets", "domain", "is_text", "token"),
    [
        (b"plain\n", "7bit", True, "7bit"),
        (b"plain\n", "7bit", False, "base64"),
        (b"plain\r\n", "7bit", False, "7bit"),
        (b"x" * 998 + b"\r\n" + b"y" * 998, "7bit", True, "7bit"),
        (b"x" * 999, "8bit", True, "quoted-printable"),
        (b"x" * 999, "binary", True, "binary"),
        (b"a\rb", "7bit", True, "quoted-printable"),
        (b"a\0b" * 9, "8bit", True, "base64"),
        ("été à la mer".encode(), "8bit", True, "8bit"),
        ("日本語".encode(), "7bit", True, "base64"),
        (b"\x89PNG", "8bit", False, "base64"),
        (b"", "7bit", False, "7bit"),
    ],
)
def test_the_choice(octets, domain, is_text, token):
    assert transfer.choose(octets, domain, is_text=is_text) == token


@given(st.binary(max_size=300), st.sampled_from([*transfer.TOKENS, "x-unknown"]))
def test_an_open_file_gives_what_decode_gives(octets, token):
    with transfer.open_decoded(memoryview(octets), token) as opened:
        assert opened.read(3) + opened.read() == transfer.decode(octets, token)


def test_what_cannot_be_written_says_so():
    with pytest.raises(ComposeError, match="use base64"):
        transfer.encode(b"", "x-uuencode", is_text=True)
