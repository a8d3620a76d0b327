import pytest

from mailpipe import fields
from mailpipe.fields import authentication, keywords, mailing_list, message_id, mime, unstructured


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"<1@a.example>", ["1@a.example"]),
        (b"<1@a.example>\r\n <2@b.example><3@c.example>", ["1@a.example", "2@b.example", "3@c.example"]),
        (b'Your message of "Mon" <1@a.example>', ["1@a.example"]),
        (b"<1\r\n @a.example>", ["1@a.example"]),
        (b'<"1 2"@a.example> <"1\r\n 2"@b.example>', ['"1 2"@a.example', '"1 2"@b.example']),
        (b"< (c) 1 (c) @ (c) a . example (c) >", ["1@a.example"]),
        (b"<1(2)@a.example>", ["1(2)@a.example"]),
        (b"1@a.example, 2@b.example", ["1@a.example", "2@b.example"]),
        (b"", []),
        (b"<", []),
        (b"<<<>>>", []),
    ],
)
def test_identifiers_are_found_among_words(body: bytes, expected: list[str]) -> None:
    assert list(message_id.parse_list(body)) == expected


def test_one_identifier() -> None:
    value = message_id.parse(b" <1@a.example>\r\n")
    assert (value.id, str(value), value.defects) == ("1@a.example", "<1@a.example>", ())
    assert [defect.code for defect in message_id.parse(b"<a b c>").defects] == ["invalid-message-id"]
    assert message_id.parse(b"nonsense").id == "nonsense"


def test_text_is_unfolded_and_decoded() -> None:
    assert unstructured.parse(b" one\r\n two\r\n").text == "one two"
    assert unstructured.parse(b" =?utf-8?q?a=C3?=\r\n =?utf-8?q?=A4?=").text == "aä"
    assert unstructured.parse(b"=?UTF-8?Q?=20wie?=").text == " wie"


@pytest.mark.parametrize(
    ("body", "expected"), [(b" Base64\r\n", "base64"), (b"(a) 7bit (b)", "7bit"), (b'"8bit";', "8bit"), (b"", "")]
)
def test_a_token_is_read_without_its_comments(body: bytes, expected: str) -> None:
    assert mime.parse_transfer_encoding(body).text == expected


def test_the_version_is_one_dot_zero() -> None:
    assert mime.parse_version(b" 1.0").defects == ()
    assert str(mime.parse_version(b"(x) 1 (y) . (z) 0")) == "1.0"
    assert [defect.code for defect in mime.parse_version(b"2.0").defects] == ["invalid-mime-version"]
    assert str(mime.parse_version(b"none")) == "1.0"


def test_languages_locations_and_digests() -> None:
    assert mime.parse_language(b"de, en-GB (British)").tags == ("de", "en-gb")
    assert mime.parse_location(b" http://a.example/\r\n b").text == "http://a.example/b"
    assert mime.parse_digest(b"Q2hlY2sgSW50ZWdyaXR5IQ==").defects == ()
    assert mime.parse_digest(b"?").defects != ()


def test_urls_of_a_list() -> None:
    value = mailing_list.parse(b" (Use this) <mailto:a@b.example?subject=x>,\r\n <https://b.example/>")
    assert value.urls == ("mailto:a@b.example?subject=x", "https://b.example/")
    assert mailing_list.parse(b"NO (closed)").is_no
    assert mailing_list.parse(b"https://b.example/").urls == ("https://b.example/",)


@pytest.mark.parametrize(
    ("body", "id_", "description"),
    [
        (b" <list.example.org>", "list.example.org", None),
        (b' "A, list" <list.example.org>', "list.example.org", "A, list"),
        (b" =?utf-8?q?J=C3=B6rgs?= list <list.example.org>", "list.example.org", "Jörgs list"),
        (b" list.example.org", "list.example.org", None),
    ],
)
def test_the_identifier_of_a_list(body: bytes, id_: str, description: str | None) -> None:
    value = mailing_list.parse_id(body)
    assert (value.id, value.description) == (id_, description)


def test_authentication_results() -> None:
    value = authentication.parse(
        b' mx.example.org 1;\r\n spf=pass (sender ok) smtp.mailfrom=a@b.example;'
        b' dkim=fail reason="bad signature" header.d=b.example header.i=@b.example; dmarc=none'
    )
    assert value.server == "mx.example.org"
    assert [(each.method, each.result) for each in value.results] == [("spf", "pass"), ("dkim", "fail"), ("dmarc", "none")]
    assert value.results[0].properties == (("smtp", "mailfrom", "a@b.example"),)
    assert value.results[0].comments == ("sender ok",)
    assert value.results[1].reason == "bad signature"
    assert value.result("DKIM") == "fail"
    assert value.result("iprev") is None
    assert value.defects == ()
    assert authentication.parse(value.render()) == value


def test_blanks_and_comments_stand_between_all_pieces_of_a_result() -> None:
    # RFC 8601 appendix B.7
    value = authentication.parse(
        b"foo.example (x) 1 (y); dkim (a) / 1 (b) = (c) fail policy (d) . (e) expired (f) = (g) 1362471462 header.b=a/b"
    )
    result = value.results[0]
    assert (value.server, result.method, result.result) == ("foo.example", "dkim", "fail")
    assert result.properties == (("policy", "expired", "1362471462"), ("header", "b", "a/b"))
    assert value.defects == ()


def test_the_padding_of_a_signature_ties_nothing() -> None:
    value = authentication.parse(b'mx.example; dkim=pass header.b=Ab/c+d= header.s="x=" header.d= a.example')
    assert value.results[0].properties == (("header", "b", "Ab/c+d="), ("header", "s", "x="), ("header", "d", "a.example"))


def test_authentication_results_without_results_or_server() -> None:
    assert authentication.parse(b"mx.example; none").results == ()
    assert authentication.parse(b"spf=pass").results[0].result == "pass"
    assert authentication.parse(b"i=1; mx.example; spf=pass").instance == 1


def test_a_list_of_tags() -> None:
    value = authentication.parse_tags(b" v=1; d=a.example;\r\n b=abc\r\n def; d=again; ;")
    assert value.tags == {"v": "1", "d": "a.example", "b": "abc def"}
    assert [defect.code for defect in value.defects] == ["duplicate-parameter"]


def test_keywords() -> None:
    assert keywords.parse(b' one, "two, three",, =?utf-8?q?f=C3=BCnf?= (x)').phrases == ("one", "two, three", "fünf")


def test_the_room_names_everything_that_it_exports() -> None:
    assert all(hasattr(fields, name) for name in fields.__all__)
