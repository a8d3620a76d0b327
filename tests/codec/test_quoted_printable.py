import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpipe.codec import quoted_printable

_NEARLY = st.text(alphabet="=AF0ag \t\r\n.", max_size=120).map(str.encode)
_TEXT = st.text(alphabet="From .=é\n\t ab\r\x00", max_size=300).map(str.encode)


@pytest.mark.parametrize(
    ("raw", "octets"),
    [
        (b"a=\nb", b"ab"),
        (b"a=\r\nb", b"ab"),
        (b"a= \t\r\nb", b"ab"),
        (b"a=\rb\n", b"ab\n"),
        (b"a \t\r\nb  \r\nc ", b"a\r\nb\r\nc"),
        (b"a \t\nb  \nc\t", b"a\nb\nc"),
        (b"a= \nb\r\n", b"ab\r\n"),
        (b"=e4=E4", b"\xe4\xe4"),
        (b"1=2", b"1=2"),
        (b"==41", b"=A"),
        (b"a==b", b"a==b"),
        (b"a=3D=3d", b"a=="),
        (b"=C", b"=C"),
        (b"last=", b"last"),
    ],
)
def test_every_form_is_read(raw, octets):
    assert quoted_printable.decode(raw) == octets
    assert quoted_printable.decode(memoryview(raw)) == octets


def test_a_stray_sign_is_a_defect_at_its_place():
    defects = []
    assert quoted_printable.decode(b"caf=E9 1 =? 2", defects) == b"caf\xe9 1 =? 2"
    assert [(defect.code, defect.offset) for defect in defects] == [("invalid-quoted-printable", 9)]


@given(_NEARLY, st.integers(1, 9))
def test_blocks_joined_are_what_decode_gives(octets, size):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quoted_printable, "_BLOCK", size)
        assert b"".join(quoted_printable.blocks(octets)) == quoted_printable.decode(octets)


@given(st.binary(max_size=300) | _TEXT, st.sampled_from([b"\n", b"\r\n"]))
def test_octets_come_back(octets, line_end):
    encoded = quoted_printable.encode(octets, is_text=False, line_end=line_end)
    defects = []
    assert quoted_printable.decode(encoded, defects) == octets
    assert not defects
    _check_lines(encoded, line_end)


@given(_TEXT, st.sampled_from([b"\n", b"\r\n"]))
def test_text_comes_back_with_the_line_ends_asked_for(octets, line_end):
    encoded = quoted_printable.encode(octets, is_text=True, line_end=line_end)
    assert quoted_printable.decode(encoded) == octets.replace(b"\r\n", b"\n").replace(b"\n", line_end)
    _check_lines(encoded, line_end)


def _check_lines(encoded, line_end):
    assert encoded.isascii()
    for line in encoded.split(line_end):
        assert len(line) <= 76
        assert b"\r" not in line
        assert b"\n" not in line
        assert not line.endswith((b" ", b"\t"))
        assert not line.startswith(b"From ")
        assert line != b"."


def test_blanks_without_a_line_end_take_linear_time():
    assert quoted_printable.decode(b" " * 500_000 + b"x") == b" " * 500_000 + b"x"
    assert len(quoted_printable.decode(b"=" * 300_000)) == 299_999
    assert quoted_printable.decode(b" \t" * 200_000 + b"\n") == b"\n"


@given(st.lists(st.lists(st.sampled_from([b"a", b" ", b"\t", b"=41", b"=20", b"=", b"\r"]), max_size=4).map(b"".join), max_size=5))
def test_blanks_before_line_ends_are_as_good_as_none(lines):
    for line_end in (b"\r\n", b"\n"):
        bare = [line.replace(b"\r", b"") if line_end == b"\n" else line for line in lines]
        stripped = [line.rstrip(b" \t") for line in bare]
        assert quoted_printable.decode(line_end.join(bare)) == quoted_printable.decode(line_end.join(stripped))
