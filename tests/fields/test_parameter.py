import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpipe.defect import Defect
from mailpipe.fields.parameter import Parameters, parse


def read(body: str | bytes) -> dict[str, str]:
    octets = body.encode() if isinstance(body, str) else body
    return dict(parse(octets.decode("latin-1")))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("; a=b", {"a": "b"}),
        (';A="b c";; d = e ;', {"a": "b c", "d": "e"}),
        ('; a="b\\"c"', {"a": 'b"c'}),
        ("; a (one) = (two) b (three); c=d", {"a": "b", "c": "d"}),
        ("; title*=us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A", {"title": "This is ***fun***"}),
        (';\r\n URL*0="ftp://";\r\n URL*1="a.example/b"', {"url": "ftp://a.example/b"}),
        (";t*2=c;t*1*=%62;t*0*=''a", {"t": "abc"}),
        ("; t*0*=utf-8''%C3; t*1*=%A4", {"t": "ä"}),
        ("; t*1=b", {"t": "b"}),
        ("; filename=plain.txt; filename*=utf-8''na%C3%AFve.txt", {"filename": "naïve.txt"}),
        ("; filename*=\"utf-8''na%C3%AFve.txt\"", {"filename": "naïve.txt"}),
        ("; filename*=a%20b", {"filename": "a b"}),
        ("; t*=us-ascii'en'%XX%2A", {"t": "%XX*"}),
        ("; t*=utf-8''whole; t*0=a; t*1=b", {"t": "whole"}),
        ("; t*1=b; t*0*=utf-8''a; t*=utf-8''whole; t=plain", {"t": "whole"}),
        ('; name="=?utf-8?B?w6Q=?=.txt"', {"name": "ä.txt"}),
        ("; name==?utf-8?B?w6Q=?=", {"name": "ä"}),
    ],
)
def test_parameters_are_read_by_rfc_2045_and_2231(body: str, expected: dict[str, str]) -> None:
    assert read(body) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("; filename=my file (1).txt; x=y", {"filename": "my file (1).txt", "x": "y"}),
        ('; name="a.p7m"\r\n smime-type=enveloped-data', {"name": "a.p7m", "smime-type": "enveloped-data"}),
        ("; a=b c=d", {"a": "b", "c": "d"}),
        (r'; filename="C:\\temp\\new.txt"', {"filename": r"C:\temp\new.txt"}),
        (r'; filename="C:\temp\new.txt"', {"filename": "C:tempnew.txt"}),  # a backslash quotes (RFC 2045 5.1)
        (r'; filename="\\\\server\\share\\a.txt"', {"filename": r"\\server\share\a.txt"}),
        ('; a="b; c=d', {"a": "b", "c": "d"}),
        ('; a=""b c.txt""; c=d', {"a": "b c.txt", "c": "d"}),
        ('; a=""b"', {"a": "b"}),
        ('; a=""b; c=""', {"a": "b", "c": ""}),
        ('; a="" ; c=d', {"a": "", "c": "d"}),
        ("; a=b; A=c", {"a": "b"}),
        ("; nonsense; a=b", {"a": "b"}),
        ("; a=", {"a": ""}),
        ("; t*=iso-8859-1'na%EFve", {"t": "naïve"}),
        ("; t*=Ann's%20file", {"t": "Ann's file"}),
        ("; t*=utf-8''a; t*1=b", {"t": "ab"}),
        ('; a="b" rubbish; c=d', {"a": "b", "c": "d"}),
        ("; =x; a=b", {"a": "b"}),
        ("", {}),
    ],
)
def test_what_real_mailers_write_is_read(body: str, expected: dict[str, str]) -> None:
    assert read(body) == expected


def test_raw_octets_in_a_value_are_read_as_utf_8_or_detected() -> None:
    assert read('; name="ä.txt"') == {"name": "ä.txt"}
    assert read(b'; name="\x1b$B$\x22\x1b(B.txt"') == {"name": "あ.txt"}


def test_the_language_is_kept() -> None:
    assert parse("; t*=us-ascii'en-us'x").languages == {"t": "en-us"}


def test_a_second_value_for_a_name_is_a_defect() -> None:
    defects: list[Defect] = []
    parse("; a=b; a=c", defects)
    assert [(defect.code, defect.offset) for defect in defects] == [("duplicate-parameter", 7)]


def test_too_many_parameters_are_left_alone() -> None:
    defects: list[Defect] = []
    found = parse("".join(f";p{number}=x" for number in range(200_000)), defects)
    assert len(found) == 1000
    assert [defect.code for defect in defects] == ["limit-parameter-count"]


def test_names_are_looked_up_in_any_case() -> None:
    params = parse("; Charset=utf-8")
    assert params["CHARSET"] == "utf-8"
    assert params.get("boundary") is None
    assert params.with_parameter("charset", None) == {}


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n", exclude_categories=("Cc", "Cs")), max_size=300))
def test_a_rendered_value_reads_back(value: str) -> None:
    octets = Parameters({"filename": value}).render()
    assert octets.isascii()
    # An encoded word is decoded wherever it stands, a path keeps its backslashes, a byte order mark is no text.
    if "=?" not in value and "\\" not in value and value[:1] != "\ufeff":
        assert parse(octets.decode("ascii"))["filename"] == value


def test_pydantic_takes_and_gives_a_plain_mapping() -> None:
    from pydantic import TypeAdapter

    adapter = TypeAdapter(Parameters)
    assert adapter.validate_python({"A": "b"}) == {"a": "b"}
    assert adapter.dump_python(Parameters({"a": "b"})) == {"a": "b"}
    assert adapter.validate_json('{"a": "b"}')["a"] == "b"


@pytest.mark.parametrize(
    "unit", [";", "(", "=", '"', '\\"', "a ", "x=( ", "x=(a) (b) ", 'a="b', "a(b) ", "=?", " ", "x*1=y;", "%41", "'"]
)
def test_every_repetition_takes_linear_time(unit: str) -> None:
    def cost(size: int) -> float:
        body = "; x=" + unit * (size // len(unit))
        start = time.process_time()
        parse(body)
        return time.process_time() - start

    small = min(cost(8_000) for _ in range(3))
    # Four times as much; a quadratic reader would take sixteen times as long.
    assert min(cost(32_000) for _ in range(2)) < max(small, 0.002) * 10
