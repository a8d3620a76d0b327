import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpipe.codec import encoded_word

_TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=120)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"plain", "plain"),
        (b"=?utf-8?q?=C3=A4?= b", "ä b"),
        (b"a =?UTF-8?B?w6Q=?=\t =?utf-8?b?w6Q?= b", "a ää b"),
        (b"=?utf-8?Q?=C3?= =?utf-8?Q?=A4?=", "ä"),
        (b"=?utf-8?B?w6?= =?utf-8?B?TDpA==?=", "ää"),
        (b"=?utf-8?B?w6Q?= =?utf-8?B?w6T?=", "ää"),
        (b"=?utf-8?Q?=C?= =?utf-8?Q?3=A4?=", "ä"),
        (b"=?iso-8859-1*en?q?x_y?=", "x y"),
        (b"x=?iso-8859-1?q?_y_?=z", "x y z"),
        (b"=?utf-8?q?a b c?=", "a b c"),
        (b"=?utf-8?Q?=20wie?.pdf?=", " wie?.pdf"),
        (b"=?utf-8?Q?ergangen??=", "ergangen?"),
        (b"=?utf-9?b?UMOkaXbDpMOk?=", "Päivää"),
        (b"=?utf-16le?b?UADkAA==?=", "Pä"),
        (b"=?iso-8859-1?q?open", "=?iso-8859-1?q?open"),
        (b"=?iso-8859-1?x?no?=", "=?iso-8859-1?x?no?="),
        (b"=??q?none?=", "=??q?none?="),
        (b"=?utf-8?q??=|", "|"),
        (b"=?utf-8?q?1+1=?=", "1+1="),
        (b"=?utf-8?q?1+1=?= =?utf-8?q?2?=", "1+1=2"),
        (b"=?utf-8?q?a==C3=A4===?=", "a=ä==="),
        (b"=?utf-8?q?a=zb=?= x", "a=zb= x"),
        (b"=?iso-8859-1?q?a?= =?iso-8859-2?q?b?= c", "ab c"),
        (b'"=?utf-8?q?=C3=A4?="', '"ä"'),
        ("roh: Grüße".encode(), "roh: Grüße"),
        ("Grüße =?utf-8?q?=C3=A4?=".encode("latin-1"), "Grüße ä"),
        (b"=?iso-2022-jp?B?GyRCRnxLXBsoQg==?= x", "日本 x"),
        (b"\x1b$BF|K\\\x1b(B", "日本"),
    ],
)
def test_words_as_mailers_write_them(raw, text):
    assert encoded_word.decode(raw, []) == text
    assert encoded_word.decode(raw) == text


def test_text_that_is_text_already_is_read_too():
    assert encoded_word.decode_text("ö =?iso-8859-1?Q?=E4?=") == "ö ä"
    assert encoded_word.decode_text("caf\udce9") == "café"


def test_characters_inside_a_word_are_those_of_its_charset():
    assert encoded_word.decode("=?iso-8859-1?Q?Fr\xf6sche?=".encode("latin-1")) == "Frösche"
    assert encoded_word.decode_text("ö =?iso-8859-1?Q?Fr\xf6sche=E4?= =?utf-8?q?\xf6?=") == "ö Fröscheäö"


@given(st.binary(max_size=200) | st.text(alphabet="=?utf-8Bbq _AZ", max_size=80).map(str.encode))
def test_decoding_never_raises(octets):
    defects = []
    assert isinstance(encoded_word.decode(octets, defects), str)


@given(_TEXT, st.booleans(), st.sampled_from(["utf-8", "iso-8859-1", "iso-2022-jp", "utf-16"]), st.integers(0, 80))
def test_what_was_encoded_comes_back(text, phrase, charset, first_width):
    words = encoded_word.words(text, charset=charset, phrase=phrase, first_width=first_width)
    assert encoded_word.decode(" ".join(words).encode("ascii")) == text
    for word in words:
        assert len(word) <= 75
        assert not set(word) & set(" \r\n\t")
        # No character is split: each word can be read by itself.
        assert "\ufffd" in text or "\ufffd" not in encoded_word.decode(word.encode())


@given(_TEXT)
def test_words_in_a_phrase_keep_to_its_alphabet(text):
    for word in encoded_word.words(text, phrase=True):
        assert not set(word.split("?", 3)[3].removesuffix("?=")) & set("\"(),.:;<>@[\\]?")


def test_defects_have_their_place():
    defects = []
    encoded_word.decode(b"abc =?utf-9?q?=C3=A4?= =?x?q?end", defects)
    assert [(defect.code, defect.offset) for defect in defects] == [("unknown-charset", 4), ("invalid-encoded-word", 23)]


@pytest.mark.parametrize(
    "piece",
    [b"=?utf-8?q?=C3=A4?= ", b"=?utf-8?q?", b"=?", b"=?a", b"?=", b"=?zz?q?=FF?= x ", b"=?utf-8?b?!?= ", b"\xff =?utf-8?q?a?= "],
)
def test_a_hostile_field_takes_linear_time(piece):
    started = time.process_time()
    encoded_word.decode(piece * 20_000, [])
    assert time.process_time() - started < 5


_PAYLOADS = [
    *[(b"B", one) for one in (b"w6k=", b"YWJj", b"w6nD", b"qQ==", b"YQ", b"YWI==", b"", b"YW-j", b"Y Q=", b"YQ==YQ==")],
    *[(b"q", one) for one in (b"=C3=A9", b"a_b", b"=C3", b"=A9", b"=", b"=C", b"3", b"x?y", b"", b"=3D")],
]


@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"utf-8", b"utf-8", b"UTF-8", b"iso-8859-1"]),
            st.sampled_from(_PAYLOADS),
            st.sampled_from([b" ", b"", b"\t ", b" x ", b" <a@example.org>, ", b"=?", b"?=", b"?"]),
        ),
        max_size=5,
    )
)
def test_words_are_the_same_in_a_field_that_is_all_ascii(words):
    octets = b"".join(b"=?%b?%b?%b?=%b" % (label, *payload, behind) for label, payload, behind in words)
    defects, others = [], []
    assert encoded_word.decode(octets, defects) + "é" == encoded_word.decode(octets + "é".encode(), others)
    assert defects == others
