import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpipe.errors import LocalProtocolError
from mailpipe.smtp.xtext import decode_xtext, encode_xtext


def test_the_example_of_rfc_3461_section_4_2():
    assert encode_xtext("rfc822;Bob+x=y@example.net") == "rfc822;Bob+2Bx+3Dy@example.net"
    assert decode_xtext("rfc822;Bob+2bx+3Dy@example.net") == "rfc822;Bob+x=y@example.net"


@given(st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"))))
def test_what_is_encoded_is_one_printable_word_and_reads_back(text):
    word = encode_xtext(text)
    assert word.isascii() and (not word or word.isprintable()) and not set(word) & set(" =")
    assert decode_xtext(word) == text


@pytest.mark.parametrize("text", ["a\rb", "a\nb", "a\0b", "a\x7fb", "a\x85b", "a\u2028b", "\ud800"])
def test_controls_are_refused(text):
    with pytest.raises(LocalProtocolError):
        encode_xtext(text)


@pytest.mark.parametrize("word", ["a b", "a=b", "a+", "a+2", "a+GG", "ä", "a\n"])
def test_what_is_no_xtext_is_refused(word):
    with pytest.raises(ValueError, match="no xtext"):
        decode_xtext(word)
