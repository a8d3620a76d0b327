"""No forged Authentication-Results stays, and what is written can be read."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mailpipe
from mailpipe.auth.results import NAME, result_of, without_claiming
from mailpipe.fields import authentication
from mailpipe.fields.authentication import AuthenticationResults

FORGED = [
    b"mx.example.org; spf=pass smtp.mailfrom=bank.example",
    b"MX.Example.ORG; dmarc=pass",
    b"mx.example.org. 1; dkim=pass header.d=bank.example",
    b"mx.example.org/1; dkim=pass",
    b"(a comment (nested)) mx.example.org (really) ; spf=pass",
    b'"mx.example.org"; spf=pass',
    b"\r\n\tmx.example.org;\r\n spf=pass",
    b"i=1; mx.example.org; spf=pass",
    b"mx.example.org",
    b"spf=pass smtp.mailfrom=bank.example",
    b"; spf=pass",
    b"",
]
OTHERS = [b"mx.example.net; spf=pass", b"mail.mx.example.org; spf=fail", b"example.org; none"]


@pytest.mark.parametrize("body", FORGED)
def test_a_field_that_claims_to_be_ours_is_found(body) -> None:
    message = mailpipe.parse(b"Subject: x\r\nauthentication-RESULTS: " + body + b"\r\n\r\n")
    header, count = without_claiming(message.header, ["mx.example.org"])
    assert count == 1
    assert NAME not in header


@pytest.mark.parametrize("body", OTHERS)
def test_a_field_of_another_server_is_not(body) -> None:
    message = mailpipe.parse(b"Authentication-Results: " + body + b"\r\n\r\n")
    assert without_claiming(message.header, ["mx.example.org"]) == (message.header, 0)
    assert without_claiming(message.header, None)[1] == 1


def test_blanks_before_the_colon_hide_nothing() -> None:
    message = mailpipe.parse(b"Authentication-Results : mx.example.org; spf=pass\r\n\r\n")
    header, count = without_claiming(message.header, ["mx.example.org"])
    assert count == 1
    assert NAME not in header


def test_an_international_name_is_the_same_in_either_script() -> None:
    message = mailpipe.parse("Authentication-Results: mx.Müller.example; spf=pass\r\n\r\n".encode())
    assert without_claiming(message.header, ["mx.xn--mller-kva.example"])[1] == 1


@given(st.text(max_size=400), st.text(max_size=400))
def test_whatever_a_sender_wrote_it_stays_one_value(value, reason) -> None:
    one = result_of("spf", "fail", reason, (("smtp.mailfrom", value),))
    body = AuthenticationResults("mx.example.org", (one,))
    raw = mailpipe.Field.compose(NAME, body).raw
    again = authentication.parse(raw.partition(b":")[2])
    assert again.server == "mx.example.org"
    assert [(each.method, each.result) for each in again.results] == [("spf", "fail")]
    assert raw.count(b"\n") == raw.count(b"\r\n ") + raw.count(b"\r\n\t") + 1


def test_no_keyword_no_result() -> None:
    assert result_of("spf; dkim", "pass") is None
    assert result_of("spf", "pass (") is None
    assert result_of("spf", "pass", properties=(("smtp mailfrom", "x"), ("smtp.helo", "")))


def test_a_header_of_a_hundred_thousand_forgeries_takes_no_time() -> None:
    message = mailpipe.parse(b"Authentication-Results: mx.example.org; spf=pass\r\n" * 100_000 + b"Subject: x\r\n\r\n")
    begin = time.perf_counter()
    header, count = without_claiming(message.header, ["mx.example.org"])
    assert time.perf_counter() - begin < 30
    assert bytes(header)[-12:] == b"Subject: x\r\n"
    assert count + len(header.all(NAME)) == 100_000
