import pickle
import time

import pytest

from mailpipe.errors import ComposeError
from mailpipe.fields import content_disposition, content_type
from mailpipe.fields.content_disposition import ContentDisposition
from mailpipe.fields.content_type import ContentType, parse


@pytest.mark.parametrize(
    ("body", "value", "params"),
    [
        (b"text/plain", "text/plain", {}),
        (b' TEXT/HTML; Charset="utf-8"\r\n', "text/html", {"charset": "utf-8"}),
        (b"text/plain; charset=us-ascii (plain text)", "text/plain", {"charset": "us-ascii"}),
        (b"(x) text / plain (y) ; a=b", "text/plain", {"a": "b"}),
        (b"(x)image(y)/(z)png(x);(y)a(z)= (x) b", "image/png", {"a": "b"}),
        (b"text/plain charset=utf-8", "text/plain", {"charset": "utf-8"}),
        (b"text/plain; charset=utf-8; format=flowed", "text/plain", {"charset": "utf-8", "format": "flowed"}),
        (b'multipart/mixed;\r\n\tboundary="=_a b"', "multipart/mixed", {"boundary": "=_a b"}),
        (b"image/png; name==?utf-8?q?=C3=A4?=", "image/png", {"name": "ä"}),
        (b"text/html, charset=utf-8", "text/html", {"charset": "utf-8"}),
        (b"text/html: charset=utf-8; a=b", "text/html", {"charset": "utf-8", "a": "b"}),
        (b"text/html,; charset=utf-8", "text/html", {"charset": "utf-8"}),
        (b'"text/html"; name="a;b"', "text/html", {"name": "a;b"}),
        (b' (x) "text/html; charset=utf-8"', "text/html", {"charset": "utf-8"}),
    ],
)
def test_a_media_type_is_read(body: bytes, value: str, params: dict[str, str]) -> None:
    found = parse(body)
    assert (found.value, dict(found.params)) == (value, params)


@pytest.mark.parametrize("body", [b"", b"text", b"/plain", b"text/", b"charset=us-ascii", b"\xff/\xff", b"=?"])
def test_what_is_no_media_type_is_text_plain_with_a_defect(body: bytes) -> None:
    found = parse(body)
    assert found.value == "text/plain"
    assert found.defects[0].code == "invalid-content-type"


def test_parameters_survive_a_bad_media_type() -> None:
    assert parse(b"text; charset=utf-8").charset == "utf-8"
    assert parse(b"charset=utf-8").charset == "utf-8"


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"multipart; boundary=x", "multipart/mixed"),
        (b" Multipart/ ;boundary=x", "multipart/mixed"),
        (b"multipart", "text/plain"),
        (b"application/; name=a.pdf", "application/octet-stream"),
        (b"IMAGE", "application/octet-stream"),
        (b"imagery", "text/plain"),
    ],
)
def test_a_type_without_a_subtype_is_taken_for_a_general_one(body: bytes, value: str) -> None:
    found = parse(body)
    assert found.value == value
    assert found.defects[0].code == "invalid-content-type"


def test_what_has_no_parameter_answers_none() -> None:
    assert (parse(b"text/plain").charset, parse(b"text/plain").boundary) == (None, None)


def test_values_with_a_boundary_and_long_values_are_not_cached() -> None:
    content_type._read_cached.cache_clear()
    parse(b"multipart/mixed; boundary=x")
    parse(b"multipart/mixed; BOUNDARY=x")
    parse(b"text/plain; name=" + b"x" * 300)
    assert content_type._read_cached.cache_info().currsize == 0
    assert parse(b"text/plain; a=b") is parse(b"text/plain; a=b")


def test_a_value_is_frozen_and_can_be_pickled() -> None:
    value = parse(b"text/plain; charset=utf-8")
    assert pickle.loads(pickle.dumps(value)) == value
    assert value == ContentType.of("text/plain", charset="utf-8")
    assert hash(value) == hash(ContentType.of("text/plain", charset="utf-8"))
    with pytest.raises(AttributeError):
        value.type = "image"  # type: ignore[misc]


def test_a_composed_type_is_rendered_with_what_it_needs() -> None:
    value = ContentType.of("text/plain", charset="utf-8").with_param("name", "a b.txt")
    assert value.render() == b'text/plain; charset=utf-8; name="a b.txt"'
    assert value.with_param("charset", None).with_param("name", "ä").render() == b"text/plain; name*=utf-8''%C3%A4"
    with pytest.raises(ComposeError):
        ContentType.of("text")


def test_a_disposition_gives_the_name_the_size_and_the_dates() -> None:
    value = content_disposition.parse(
        b' Attachment; filename*=iso-8859-1\'\'na%EFve.txt; size=12; creation-date="Fri, 21 Nov 1997 09:55:06 -0600"'
    )
    assert (value.value, value.filename, value.size) == ("attachment", "naïve.txt", 12)
    assert value.creation_date is not None
    assert value.creation_date.isoformat() == "1997-11-21T09:55:06-06:00"
    assert value.read_date is None
    assert value.defects == ()


def test_a_disposition_without_a_token_is_an_attachment_with_a_defect() -> None:
    value = content_disposition.parse(b"; filename=a.txt")
    assert (value.value, value.filename, value.defects[0].code) == ("attachment", "a.txt", "invalid-disposition")
    assert content_disposition.parse(b"filename=a.txt").filename == "a.txt"


@pytest.mark.parametrize(
    "body",
    [b'"Inline"; filename="a.txt"', b'"inline; filename=a.txt"', b'inline,filename="a.txt"', b"inline: filename=a.txt"],
)
def test_a_disposition_may_be_quoted_and_its_semicolon_another_sign(body: bytes) -> None:
    value = content_disposition.parse(body)
    assert (value.value, value.filename, len(value.defects)) == ("inline", "a.txt", 1)


def test_a_composed_disposition_leaves_out_what_is_none() -> None:
    assert ContentDisposition.of("inline", filename=None).render() == b"inline"
    with pytest.raises(ComposeError):
        ContentDisposition.of("in line")


@pytest.mark.parametrize("unit", [b"(a) ", b"(", b"()", b"a/(", b"a(b)"])
def test_every_repetition_takes_linear_time(unit: bytes) -> None:
    def cost(size: int) -> float:
        body = unit * (size // len(unit)) + b"text/plain"
        start = time.process_time()
        parse(body)
        return time.process_time() - start

    small = min(cost(50_000) for _ in range(3))
    # Eight times as much; a quadratic reader would take 64 times as long.
    assert min(cost(400_000) for _ in range(2)) < max(small, 0.002) * 24
