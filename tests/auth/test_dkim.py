"""What we sign dkimpy verifies, what dkimpy signs we verify; what was tampered with neither believes."""

import time

import dkim
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mailpipe
from mailpipe.auth.dkim import Result, sign, verify
from mailpipe.auth.lookup import LookupFailed
from mailpipe.auth.signature_field import DKIM, SignatureField
from mailpipe.errors import ComposeError

MESSAGE = (
    b"Received: from mx.example.net by mail.example.org; Sat, 28 Nov 2026 10:00:01 +0000\r\n"
    b"From: Ann Muster <ann@example.org>\r\nTo: bob@example.net,\r\n\tcarol@example.net\r\nSubject:  Invoice  4711 \r\n"
    b"Date: Sat, 28 Nov 2026 10:00:00 +0000\r\nMessage-ID: <4711@example.org>\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n\r\nDear Bob,  \r\n\r\n\tplease find  below:\r\n\r\n.\r\nAnn\r\n\r\n\r\n"
)
FORMS = [(header, body) for header in ("simple", "relaxed") for body in ("simple", "relaxed")]


def signed(message, field):
    """The message with a field on top."""
    return message.with_header(message.header.with_fields([field, *message.header.lines]))


def dkimpy_believes(octets, keys):
    return dkim.verify(octets, dnsfunc=lambda name, timeout=5: keys.records.get(name.decode().rstrip(".")))


def by_dkimpy(octets, keys, kind="rsa", **more):
    """The octets, signed by dkimpy."""
    if kind == "rsa":
        return dkim.sign(octets, b"s1", b"example.org", keys.rsa_pem, **more) + octets
    # dkimpy wants the bare key
    from base64 import b64encode

    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    private = b64encode(load_pem_private_key(keys.ed25519_pem, None).private_bytes_raw())
    return dkim.sign(octets, b"s2", b"example.org", private, signature_algorithm=b"ed25519-sha256", **more) + octets


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
@pytest.mark.parametrize("forms", FORMS)
@pytest.mark.parametrize("length", [None, 20])
@pytest.mark.parametrize("line_end", [b"\r\n", b"\n"])
def test_dkimpy_believes_what_we_sign(kind, forms, length, line_end, keys, lookup) -> None:
    message = mailpipe.parse(MESSAGE.replace(b"\r\n", line_end))
    now = int(time.time())
    field = sign(
        message, getattr(keys, kind), "example.org", "s1" if kind == "rsa" else "s2",
        header_form=forms[0], body_form=forms[1], length=length, timestamp=now, lifetime=3600,
    )  # fmt: skip
    octets = bytes(signed(message, field))
    assert octets.endswith(bytes(message))
    assert b"\n" not in field.raw.replace(line_end, b"")
    assert max(map(len, field.raw.splitlines())) <= 78
    assert dkimpy_believes(octets, keys)
    (found,) = verify(mailpipe.parse(octets), lookup, now=now)
    assert (found.result, found.domain, found.length) == (Result.PASS, "example.org", length)


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
@pytest.mark.parametrize("forms", FORMS)
@pytest.mark.parametrize("length", [False, True])
def test_we_believe_what_dkimpy_signs(kind, forms, length, keys, lookup) -> None:
    octets = by_dkimpy(MESSAGE, keys, kind, canonicalize=tuple(form.encode() for form in forms), length=length)
    (found,) = verify(mailpipe.parse(octets), lookup)
    assert (found.result, found.reason, found.selector) == (Result.PASS, "", "s1" if kind == "rsa" else "s2")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"4711 \r\n", b"4712 \r\n", "header"), (b"please", b"pleasE", "body"), (b"From: Ann", b"From: Bob", "header"),
        (b"\r\n\r\nDear", b"\r\nFrom: eve@example.com\r\n\r\nDear", "header"), (b"c=relaxed", b"c=simple", "header"),
    ],
)  # fmt: skip
def test_tampering_is_found(old, new, reason, keys, lookup) -> None:
    message = mailpipe.parse(MESSAGE)
    octets = bytes(signed(message, sign(message, keys.rsa, "example.org", "s1")))
    assert octets.count(old) == 1
    (found,) = verify(mailpipe.parse(octets.replace(old, new)), lookup)
    assert found.result == Result.FAIL
    assert reason in found.reason


def test_what_does_not_matter_may_change(keys, lookup) -> None:
    message = mailpipe.parse(MESSAGE)
    octets = bytes(signed(message, sign(message, keys.rsa, "example.org", "s1")))
    octets = octets.replace(b"Subject:  Invoice  4711 ", b"SUBJECT: Invoice\r\n 4711").replace(b"\tplease", b" please")
    octets = b"X-New: field\r\n" + octets + b"\r\n\r\n"
    assert [each.result for each in verify(mailpipe.parse(octets), lookup)] == [Result.PASS]


def test_a_second_from_breaks_a_signature_that_names_it_once_more(keys, lookup) -> None:
    message = mailpipe.parse(MESSAGE)
    for oversign, result in (((), Result.PASS), (("From",), Result.FAIL)):
        octets = bytes(signed(message, sign(message, keys.rsa, "example.org", "s1", oversign=oversign)))
        (found,) = verify(mailpipe.parse(b"From: eve@example.com\r\n" + octets), lookup)
        assert found.result == result


@pytest.mark.parametrize(
    ("change", "result", "reason"),
    [
        ((b"v=1;", b"v=2;"), "neutral", "version"), ((b"v=1;", b""), "neutral", "version"), ((b"b=", b"b=!"), "neutral", "base64"),
        ((b"s=s1;", b"s=s1; s=s2;"), "neutral", "twice"), ((b"d=example.org;", b""), "neutral", "d= is missing"),
        ((b"rsa-sha256", b"rsa-sha1"), "policy", "RFC 8301"), ((b"rsa-sha256", b"dsa-md5"), "permerror", "not known"),
        ((b"h=From", b"h=X-From"), "permerror", "From is not signed"), ((b"s=s1;", b"s=gone;"), "permerror", "no key"),
        ((b"v=1;", b"v=1; l=999999;"), "permerror", "larger"), ((b"v=1;", b"v=1; i=ann@example.com;"), "permerror", "below"),
        ((b"c=relaxed/", b"c=lax/"), "neutral", "canonicalization"), ((b"v=1;", b"v=1; x=soon;"), "neutral", "number"),
    ],
)  # fmt: skip
def test_what_cannot_be_verified_says_why(change, result, reason, keys, lookup) -> None:
    message = mailpipe.parse(MESSAGE)
    octets = bytes(signed(message, sign(message, keys.rsa, "example.org", "s1", oversign=())))
    (found,) = verify(mailpipe.parse(octets.replace(*change, 1)), lookup)
    assert (str(found.result), reason in found.reason) == (result, True), found


def test_signatures_expire_by_the_clock_that_is_given(keys, lookup) -> None:
    message = mailpipe.parse(MESSAGE)
    octets = signed(message, sign(message, keys.rsa, "example.org", "s1", timestamp=10_000, lifetime=100))
    results = [verify(octets, lookup, now=now)[0].result for now in (None, 9_000, 10_000, 10_100, 10_101)]
    assert results == [Result.PASS, Result.POLICY, Result.PASS, Result.PASS, Result.POLICY]


def test_a_name_server_that_does_not_answer_is_a_temporary_error(keys) -> None:
    def lookup(name):
        raise LookupFailed("no answer within 5 s")

    message = mailpipe.parse(MESSAGE)
    (found,) = verify(signed(message, sign(message, keys.rsa, "example.org", "s1")), lookup)
    assert (found.result, found.reason) == (Result.TEMPERROR, "no answer within 5 s")


def test_nobody_is_asked_where_the_body_does_not_fit(keys) -> None:
    message = mailpipe.parse(MESSAGE)
    field = sign(message, keys.rsa, "example.org", "s1")
    other = mailpipe.parse(MESSAGE.replace(b"Bob", b"Eve"))
    assert verify(signed(other, field), lambda name: pytest.fail("asked"))[0].result == Result.FAIL


def test_a_strict_key_is_for_its_own_domain_alone(keys) -> None:
    message = mailpipe.parse(MESSAGE)
    record = keys.rsa.record + b"; t=s:y"
    own = signed(message, sign(message, keys.rsa, "example.org", "s1", identity="ann@example.org"))
    below = signed(message, sign(message, keys.rsa, "example.org", "s1", identity="ann@mail.example.org"))
    (found,) = verify(own, lambda name: (record,))
    assert (found.result, found.is_testing) == (Result.PASS, True)
    assert verify(below, lambda name: (record,))[0].result == Result.PERMERROR


def test_every_signature_is_verified_up_to_a_limit(keys, lookup) -> None:
    message = mailpipe.parse(MESSAGE)
    octets = bytes(message)
    for _ in range(3):
        octets = bytes(sign(message, keys.rsa, "example.org", "s1").raw) + octets
    found = verify(mailpipe.parse(octets), lookup, limit=2)
    assert [each.result for each in found] == [Result.PASS, Result.PASS, Result.POLICY]


def test_a_message_without_from_is_not_signed(keys) -> None:
    with pytest.raises(ComposeError, match="From"):
        sign(mailpipe.parse(b"Subject: x\r\n\r\n"), keys.rsa, "example.org", "s1")


@pytest.mark.parametrize("arguments", [("example.org;", "s1"), ("", "s1"), ("example.org", "s\r\nX: y")])
def test_what_cannot_be_said_is_not_signed(arguments, keys) -> None:
    with pytest.raises(ComposeError):
        sign(mailpipe.parse(MESSAGE), keys.rsa, *arguments)


@given(st.lists(st.sampled_from([*b"abdhsvxtcli=;: \t", *b"1.@/"]), max_size=80).map(bytes))
def test_tags_are_read_whatever_they_are(body: bytes) -> None:
    for raw in (b"DKIM-Signature: " + body, b"DKIM-Signature: v=1; a=rsa-sha256; b=AA; bh=AA; d=a.example; h=from; s=s;" + body):
        one = SignatureField.parse(raw, DKIM)
        assert str(one)
        message = mailpipe.parse(raw + b"\r\nFrom: a@example.org\r\n\r\n")
        assert len(verify(message, lambda name: ())) == len(message.header.all("dkim-signature"))


@given(st.binary(max_size=300), st.sampled_from(FORMS))
def test_any_body_is_signed_as_dkimpy_verifies_it(keys, octets: bytes, forms: tuple[str, str]) -> None:
    message = mailpipe.parse(b"From: a@example.org\nSubject: x\n\n" + octets + b"\n")
    field = sign(message, keys.ed25519, "example.org", "s2", header_form=forms[0], body_form=forms[1])
    assert dkimpy_believes(bytes(signed(message, field)), keys)
