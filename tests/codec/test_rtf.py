"""RTF is unpacked and gives its text or its HTML."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpipe.codec import rtf

# the examples of MS-OXRTFCP section 4
HELLO = bytes.fromhex("2d0000002b0000004c5a4675f1c5c7a703000a007263706731323542320af32068656c090020627705b06c647d0a800fa0")
CROSSING = bytes.fromhex("1a0000001c0000004c5a4675e2d44b51410004205758595a0d6e7d010eb0")


def test_the_examples_of_the_standard_are_unpacked() -> None:
    assert rtf.decompress(HELLO) == b"{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n"
    assert rtf.decompress(CROSSING) == b"{\\rtf1 WXYZWXYZWXYZWXYZWXYZ}"


def test_what_is_not_packed_is_taken_as_it_is() -> None:
    assert rtf.decompress(struct.pack("<IIII", 17, 5, 0x414C454D, 0) + b"{abc}") == b"{abc}"
    assert rtf.decompress(b"") == rtf.decompress(bytes(40)) == b""


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (rb"{\rtf1\ansi\ansicpg1252{\fonttbl{\f0\fswiss Arial;}}{\*\generator x}Gr\'fc\'dfe\par {\b bold} \tab x}", "Grüße\nbold \tx"),
        (rb"{\rtf1\ansi\ansicpg1251 \'cf\'f0\'e8\'e2\'e5\'f2}", "Привет"),
        (rb"{\rtf1\uc1 \u8364?\u-3913\'3f a\\b\{c\}}", "€\uf0b7 a\\b{c}"),
        (rb"{\rtf1\uc2\u8364 ab{\uc0\u8364 x}\u8364 abc}", "€€x€c"),
        (rb"{\rtf1 a\~b\_c\line d\emdash e}", "a\u00a0b-c\nd—e"),
        (rb"{\rtf1{\pict 0102abcd}x{\*\unknown y}z}", "xz"),
        (b"{\\rtf1 one\r\n two}", "one two"),
        (b"}}}{{{ x", " x"),
    ],
)  # fmt: skip
def test_its_text_is(raw, text) -> None:
    assert rtf.text_of(raw) == text


def test_its_html_is_taken_out() -> None:
    raw = (
        rb"{\rtf1\ansi\ansicpg1252\fromhtml1 \deff0{\fonttbl{\f0 Arial;}}{\*\htmltag18 <html>}{\*\htmltag64 <p>}\htmlrtf {\htmlrtf0 "
        rb"Gr\'fc\'dfe {\*\htmltag84 <b>}\htmlrtf {\b \htmlrtf0 fett{\*\htmltag92 </b>}\htmlrtf }\htmlrtf0 {\*\htmltag84 &amp;}\htmlrtf \par \htmlrtf0 {\*\htmltag72 </p>}{\*\mhtmltag x}{\*\htmltag27 </html>}}}"
    )
    assert rtf.html_of(raw) == "<html><p>Grüße <b>fett</b>&amp;</p></html>"
    assert rtf.html_of(rb"{\rtf1 x}") is None


@given(st.binary(max_size=300))
def test_no_octets_stop_it(octets) -> None:
    rtf.text_of(octets)
    rtf.html_of(b"{\\fromhtml1" + octets)
    rtf.decompress(octets)
    rtf.decompress(struct.pack("<IIII", len(octets) + 12, 0, 0x75465A4C, 0) + octets)


@pytest.mark.parametrize("piece", [b"{", b"}", b"\\", b"\\u1", b"\\'", b"{\\*\\htmltag ", b"\\par", b"x\n", b"\\uc8\\u1 "])
def test_a_long_text_is_no_trouble(piece) -> None:
    rtf.text_of(piece * (300_000 // len(piece)))
    rtf.html_of(b"{\\fromhtml1 " + piece * (300_000 // len(piece)))
