"""Mechanisms by the examples of their RFCs, and against a server's side that believes nothing unproven."""

import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailpipe.errors import LocalProtocolError
from mailpipe.smtp.sasl import (
    NAMES,
    TOKEN_NAMES,
    CramMd5,
    Credentials,
    OAuthBearer,
    ScramSha256,
    XOAuth2,
    choose,
    saslprep,
)
from mailpipe.testing.sasl import exchange

ANN = Credentials("ann", "secret")
TOKEN = "vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg=="


def chance(count):
    return bytes(range(count))


def nonce_of_the_rfc(_count):
    return base64.b64decode("rOprNGfwEbeRWgbNEkqO")


SERVER_FIRST = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
SERVER_FINAL = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def test_scram_computes_the_example_of_rfc_7677_section_3():
    scram = ScramSha256(Credentials("user", "pencil"), nonce_of_the_rfc)
    assert scram.initial == b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    assert scram.respond(SERVER_FIRST) == (
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
        b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    )
    assert not scram.is_proven
    assert scram.respond(SERVER_FINAL) == b""
    assert scram.is_proven


@pytest.mark.parametrize(
    "final", [b"v=AAAATRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", b"", b"v=", b"nonsense", b"e=other-error", b"v=\xff"]
)
def test_scram_believes_no_peer_without_the_right_signature(final):
    scram = ScramSha256(Credentials("user", "pencil"), nonce_of_the_rfc)
    scram.respond(SERVER_FIRST)
    assert scram.respond(final) is None
    assert not scram.is_proven and scram.complaint


def test_a_second_signature_takes_the_first_one_back():
    scram = ScramSha256(Credentials("user", "pencil"), nonce_of_the_rfc)
    scram.respond(SERVER_FIRST)
    assert scram.respond(SERVER_FINAL) == b""
    assert scram.respond(SERVER_FINAL) is None and not scram.is_proven


@pytest.mark.parametrize(
    ("challenge", "words"),
    [
        (b"r=somebody-else,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", "none of SCRAM"),
        (b"r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", "none of SCRAM"),
        (SERVER_FIRST.replace(b"s=W22ZaJ0SNY7soEsUEjb6gQ==", b"s=*"), "none of SCRAM"),
        (b"m=must," + SERVER_FIRST, "none of SCRAM"),
        (b"nonsense", "none of SCRAM"),
        (SERVER_FIRST.replace(b"4096", b"4095"), "4095 iterations"),
        (SERVER_FIRST.replace(b"4096", b"1"), "1 iterations"),
        (SERVER_FIRST.replace(b"4096", b"1000001"), "1000001 iterations"),
        (SERVER_FIRST.replace(b"4096", b"9" * 5000), "0 iterations"),
        (SERVER_FIRST.replace(b"4096", b"-4096"), "0 iterations"),
    ],
)
def test_limit_scram_gives_no_proof_for_a_challenge_that_is_foreign_cheap_or_endless(challenge, words):
    scram = ScramSha256(Credentials("user", "pencil"), nonce_of_the_rfc)
    assert scram.respond(challenge) is None
    assert words in scram.complaint


@given(st.binary(max_size=80))
def test_no_challenge_breaks_a_mechanism(challenge):
    assert ScramSha256(ANN, chance).respond(challenge or b"x") is None
    for mechanism in (CramMd5(ANN), OAuthBearer(Credentials("ann", token="t")), XOAuth2(Credentials("ann", token="t"))):
        assert mechanism.respond(challenge) is not None


# the examples of RFC 4013 section 3
@pytest.mark.parametrize(
    ("text", "prepared"),
    [("I\u00adX", "IX"), ("user", "user"), ("USER", "USER"), ("\u00aa", "a"), ("\u2168", "IX"), ("a\u00a0b", "a b"),
     ("\U0001fae0", "\U0001fae0"), ("", ""), ("\u0627\u0628", "\u0627\u0628")],
)  # fmt: skip
def test_names_and_passwords_are_prepared(text, prepared):
    assert saslprep(text) == prepared


@pytest.mark.parametrize("text", ["\u0007", "\u0627\u0031", "a\u0627", "\ue000", "\ufffd", "\U000e0001", "\ud800"])
def test_what_cannot_be_prepared_is_refused_and_not_shown(text):
    with pytest.raises(LocalProtocolError) as caught:
        saslprep(text)
    assert text not in str(caught.value)


def test_cram_md5_computes_the_example_of_rfc_2195_section_2():
    cram = CramMd5(Credentials("tim", "tanstaaftanstaaf"))
    assert cram.respond(b"<1896.697170952@postoffice.reston.mci.net>") == b"tim b913a602c7eda7a495b4e6e7334d3890"


def test_oauthbearer_says_the_example_of_rfc_7628_section_4_1():
    bearer = OAuthBearer(Credentials("user@example.com", token=TOKEN), "server.example.com", 143)
    assert base64.b64encode(bearer.initial or b"") == (
        b"bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyIHZGOWRmdDRxbVRjMk52"
        b"YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0Q2c9PQEB"
    )


def test_a_comma_and_an_equals_sign_in_a_user_name_are_escaped():
    assert ScramSha256(Credentials("a,b=c", "x"), chance).initial.startswith(b"n,,n=a=2Cb=3Dc,r=")
    assert OAuthBearer(Credentials("a,b=c", token="t")).initial == b"n,a=a=2Cb=3Dc,\x01auth=Bearer t\x01\x01"


@pytest.mark.parametrize(("kind", "goodbye"), [(OAuthBearer, b"\x01"), (XOAuth2, b"")])
def test_the_error_of_a_token_is_answered_and_shown_without_the_token(kind, goodbye):
    bearer = kind(Credentials("ann", token=TOKEN))
    error = {"status": "invalid_token", "scope": f"\x1b[31m{TOKEN}", "more": "x" * 5000}
    assert bearer.respond(json.dumps(error).encode()) == goodbye
    assert "status invalid_token" in bearer.complaint
    assert TOKEN not in bearer.complaint and bearer.complaint.isprintable() and len(bearer.complaint) < 400


@pytest.mark.parametrize("token", ["", "a b", "a\x01b", "a\r\nb", "ä"])
def test_what_is_no_token_is_refused_and_not_shown(token):
    with pytest.raises(LocalProtocolError) as caught:
        XOAuth2(Credentials("ann", token=token))
    assert not token or token not in str(caught.value)


def test_a_name_that_would_end_the_field_is_refused_with_a_token():
    with pytest.raises(LocalProtocolError):
        OAuthBearer(Credentials("ann\x01auth=Bearer other", token="t"))


BINDING = ("tls-server-end-point", b"digest of the certificate")
ALL = ("LOGIN", "plain", "XOAUTH2", "CRAM-MD5", "OAUTHBEARER", "scram-sha-256", "GSSAPI")


def names(offered, credentials, **means):
    """What is chosen, then what is chosen without that, and so on."""
    tried = []
    while (mechanism := choose(offered, credentials, without=tried, **means)) is not None:
        tried.append(mechanism.name)
    return tuple(tried)


def test_the_strongest_comes_first():
    assert names((*ALL, "SCRAM-SHA-256-PLUS"), ANN, encrypted=True, chance=chance, binding=BINDING) == NAMES
    assert names((*ALL, "SCRAM-SHA-256-PLUS"), ANN, encrypted=True, chance=chance) == NAMES[1:]
    assert names(ALL, Credentials("ann", token="t"), encrypted=True) == TOKEN_NAMES
    assert names(ALL, ANN, encrypted=True) == NAMES[2:]
    assert names(("GSSAPI",), ANN, encrypted=True, chance=chance) == ()


def test_only_the_mechanisms_that_the_user_names_are_used():
    named = Credentials("ann", "secret", mechanisms=("LOGIN", "PLAIN"))
    assert names(ALL, named, encrypted=True, chance=chance) == ("PLAIN", "LOGIN")


def test_in_clear_only_what_shows_nothing_unless_told_to():
    assert names(ALL, ANN, encrypted=False, chance=chance) == ("SCRAM-SHA-256", "CRAM-MD5")
    assert names(ALL, Credentials("ann", token="t"), encrypted=False) == ()
    assert names(ALL, Credentials("ann", "secret", in_clear=True), encrypted=False, chance=chance) == NAMES[1:]
    assert names(ALL, Credentials("ann", in_clear=True, token="t"), encrypted=False) == TOKEN_NAMES


def test_a_password_that_scram_cannot_say_goes_by_another():
    tab = Credentials("ann", "se\tcret")
    assert choose(ALL, tab, encrypted=True, chance=chance).name == "CRAM-MD5"
    with pytest.raises(LocalProtocolError):
        choose(("SCRAM-SHA-256",), tab, encrypted=True, chance=chance)
    with pytest.raises(LocalProtocolError):
        choose(("PLAIN",), Credentials("ann", "se\0cret"), encrypted=True)


def test_credentials_are_not_shown():
    assert "secret" not in repr(ANN) and TOKEN not in repr(Credentials("ann", token=TOKEN))


def played(mechanism, initial, respond, users, bindings=None):
    """Play a mechanism against the server's side; whether the server is content."""
    steps = exchange(mechanism, initial, users, bindings)
    try:
        challenge = next(steps)
        while (answer := respond(challenge)) is not None:
            challenge = steps.send(answer)
    except StopIteration as done:
        return done.value
    return None


@settings(deadline=None, max_examples=20)
@given(st.sampled_from(NAMES), st.text("aä,= €", min_size=1), st.text("bß= \U0001fae0", min_size=1), st.booleans())
def test_every_mechanism_convinces_a_server_that_knows_the_password_and_no_other(name, user, password, early):
    def play(users):
        binding = BINDING if name.endswith("-PLUS") else None
        mechanism = choose([name], Credentials(user, password), encrypted=True, chance=chance, binding=binding)
        known = None if binding is None else dict([binding])
        good = played(name, mechanism.initial if early else None, mechanism.respond, users, known)
        return good and mechanism.is_proven

    prepared = {saslprep(user): saslprep(password)} if name.startswith("SCRAM") else {user: password}
    assert play(prepared)
    assert not play({name: f"{text}!" for name, text in prepared.items()})
    assert not play({})


@pytest.mark.parametrize("name", TOKEN_NAMES)
@pytest.mark.parametrize("early", [True, False])
def test_every_mechanism_for_tokens_convinces_a_server_that_knows_the_token_and_no_other(name, early):
    for users, good in (({"ann@x.test": "token-of-ann"}, True), ({"ann@x.test": "other"}, False), ({}, False)):
        mechanism = choose([name], Credentials("ann@x.test", token="token-of-ann"), encrypted=True, host="mx.test", port=25)
        assert played(name, mechanism.initial if early else None, mechanism.respond, users) is good
        assert ("invalid_token" in mechanism.complaint) is not good


PLUS = "SCRAM-SHA-256-PLUS"


def bound(offered, bindings, binding=BINDING, mechanisms=()):
    """What a server that knows these bindings makes of us; whether we may go on without."""
    credentials = Credentials("ann", "secret", mechanisms=mechanisms)
    mechanism = choose(offered, credentials, encrypted=True, chance=chance, binding=binding)
    good = played(mechanism.name, mechanism.initial, mechanism.respond, {"ann": "secret"}, bindings)
    return mechanism.name, bool(good and mechanism.is_proven), mechanism.may_do_without


def test_proofs_hold_for_one_connection_only():
    both, here = (PLUS, "SCRAM-SHA-256"), dict([BINDING])
    assert bound(both, here) == (PLUS, True, False)
    # somebody in the middle, with a certificate of his own, who passes everything on
    assert bound(both, {BINDING[0]: b"of another certificate"}) == (PLUS, False, False)
    # the same, who strikes the offer out
    assert bound(("SCRAM-SHA-256",), here) == ("SCRAM-SHA-256", False, False)


def test_a_server_without_bindings_is_what_it_was():
    assert bound(("SCRAM-SHA-256",), None) == ("SCRAM-SHA-256", True, False)
    assert bound(("SCRAM-SHA-256",), None, binding=None) == ("SCRAM-SHA-256", True, False)
    # whoever does not want to bind says so, and not that the server does not offer it
    assert bound((PLUS, "SCRAM-SHA-256"), dict([BINDING]), mechanisms=("SCRAM-SHA-256",)) == ("SCRAM-SHA-256", True, False)


def test_a_binding_that_the_server_does_not_know_may_be_done_without():
    assert bound((PLUS, "SCRAM-SHA-256"), {"tls-exporter": b"x"}) == (PLUS, False, True)


def test_in_clear_there_is_nothing_to_bind_to():
    mechanism = choose((PLUS, "SCRAM-SHA-256"), ANN, encrypted=False, chance=chance, binding=BINDING)
    assert mechanism.name == "SCRAM-SHA-256" and mechanism.initial.startswith(b"n,,")
