"""Chains that we seal dkimpy validates, chains that dkimpy seals we validate, and so on in turns."""

import time

import dkim
import pytest

import mailpipe
from mailpipe.auth.arc import Chain, instance_of, seal, validate
from mailpipe.auth.lookup import LookupFailed

MESSAGE = (
    b"Authentication-Results: lists.example.net; spf=pass smtp.mailfrom=example.org; dkim=none\r\n"
    b"From: Ann Muster <ann@example.org>\r\nTo: list@example.net\r\nSubject: [list] Harbour\r\n"
    b"Date: Sat, 28 Nov 2026 10:00:00 +0000\r\nMessage-ID: <4711@example.org>\r\n\r\nDear all,  \r\n\tsee below\r\n\r\n"
)
RESULTS = b"lists.example.net; spf=pass smtp.mailfrom=example.org; dkim=none"


def sealed(octets, keys, lookup, *, results=RESULTS, domain="example.net"):
    """The message with a set of ours on top."""
    message = mailpipe.parse(octets)
    chain = validate(message, lookup)
    fields = seal(message, chain, keys.rsa, domain, "s1", results=results, timestamp=int(time.time()))
    return bytes(message.with_header(message.header.with_fields([*fields, *message.header.lines])))


def sealed_by_dkimpy(octets, keys):
    """The message with a set of dkimpy's on top; it takes the state of the chain from Authentication-Results."""
    pytest.importorskip("authres")  # dkimpy reads Authentication-Results with it
    if b"ARC-Seal" in octets:
        octets = octets.replace(b"dkim=none\r\nFrom", b"dkim=none; arc=pass\r\nFrom")
    return b"".join(dkim.arc_sign(octets, b"s1", b"example.org", keys.rsa_pem, b"lists.example.net")) + octets


def dns(keys):
    """The records, as dkimpy asks for them."""
    return lambda name, timeout=5: keys.records.get(name.decode().rstrip("."))


def dkimpy_says(octets, keys):
    status, _, reason = dkim.arc_verify(octets, dnsfunc=dns(keys))
    # None: the body has changed, and it looks no further
    return {dkim.CV_Pass: "pass", dkim.CV_Fail: "fail", dkim.CV_None: "none", None: "fail"}[status], reason


def test_a_message_without_a_set_has_no_chain(keys, lookup) -> None:
    assert validate(mailpipe.parse(MESSAGE), lookup) == Chain("none")
    assert dkimpy_says(MESSAGE, keys)[0] == "none"


@pytest.mark.parametrize("hands", ["o", "d", "oo", "od", "do", "dd", "odod"])
def test_chains_of_both_hands_pass_at_both(hands: str, keys, lookup) -> None:
    octets = MESSAGE
    for hand in hands:
        octets = sealed(octets, keys, lookup) if hand == "o" else sealed_by_dkimpy(octets, keys)
    chain = validate(mailpipe.parse(octets), lookup)
    assert (chain.status, chain.instance, chain.reason) == ("pass", len(hands), "")
    assert chain.domains == tuple("example.net" if hand == "o" else "example.org" for hand in hands)
    assert dkimpy_says(octets, keys)[0] == "pass", dkimpy_says(octets, keys)


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_a_set_has_the_line_ends_of_its_message(line_end: bytes, keys, lookup) -> None:
    octets = sealed(MESSAGE.replace(b"\r\n", line_end), keys, lookup)
    assert octets.count(b"\n") == octets.count(line_end)
    assert validate(mailpipe.parse(octets), lookup).status == "pass"


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"see below", b"see above", "message signature 2: the body"), (b"Harbour", b"Bridge", "message signature 2: the header"),
        (b"i=1; lists", b"i=1; other", "seal 2"), (b"cv=none", b"cv=pass", "seal 1 says cv=pass"),
        (b"i=1; lists", b"i=3; lists", "belong to no set"), (b"ARC-Seal: i=1", b"X-Seal: i=1", "set 1 is not complete"),
        (b"ARC-Seal: i=1", b"ARC-Seal: i=2", "stands twice"), (b"ARC-Seal: i=1", b"ARC-Seal: i=1; h=from", "names no fields"),
        (b"ARC-Seal: i=1", b"ARC-Seal: i=51", "instance"),
    ],
)  # fmt: skip
def test_tampering_breaks_the_chain(old, new, reason, keys, lookup) -> None:
    octets = sealed(sealed(MESSAGE, keys, lookup), keys, lookup)
    assert octets.count(old) == 1
    octets = octets.replace(old, new)
    chain = validate(mailpipe.parse(octets), lookup)
    assert chain.status == "fail"
    assert reason in chain.reason
    assert dkimpy_says(octets, keys)[0] == "fail"


def test_a_chain_that_fails_is_sealed_once_and_never_again(keys, lookup) -> None:
    octets = sealed(MESSAGE, keys, lookup).replace(b"see below", b"see above")
    octets = sealed(octets, keys, lookup)
    assert b"cv=fail" in octets
    chain = validate(mailpipe.parse(octets), lookup)
    assert (chain.status, chain.reason) == ("fail", "the chain had failed before")
    assert sealed(octets, keys, lookup) == octets
    assert dkimpy_says(octets, keys)[0] == "fail"


def test_a_name_server_that_does_not_answer_is_not_for_ever(keys, lookup) -> None:
    def silent(name):
        raise LookupFailed("no answer within 5 s")

    chain = validate(mailpipe.parse(sealed(MESSAGE, keys, lookup)), silent)
    assert (chain.status, chain.is_temporary) == ("fail", True)
    assert "no answer" in chain.reason


def test_a_chain_has_fifty_sets_at_most(keys, lookup) -> None:
    message = mailpipe.parse(MESSAGE)
    assert seal(message, Chain("pass", 50), keys.rsa, "example.net", "s1", results=RESULTS) == ()
    octets = b"ARC-Seal: i=1; a=rsa-sha256\r\n" * 151 + MESSAGE
    assert "more than 50" in validate(mailpipe.parse(octets), lookup).reason
    octets = b"ARC-Authentication-Results: i=1; " + b"x" * 1_000_000 + b"\r\n" + MESSAGE
    assert "too long" in validate(mailpipe.parse(octets), lookup).reason


@pytest.mark.parametrize("junk", [b"ARC-Seal:\r\n", b"ARC-Message-Signature: i=1\r\n", b"ARC-Authentication-Results: i=1; x\r\n", b"ARC-Seal: i=0; b=\r\n"])
def test_junk_is_a_chain_that_fails(junk: bytes, lookup) -> None:
    chain = validate(mailpipe.parse(junk + MESSAGE), lookup)
    assert chain.status == "fail"
    assert chain.reason


def test_the_instance_of_results() -> None:
    assert instance_of(b"ARC-Authentication-Results: i = 12 ; mx.example.net; none\r\n") == 12
    assert instance_of(b"ARC-Authentication-Results: mx.example.net; i=1\r\n") == 0
