import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpipe.errors import LocalProtocolError
from mailpipe.smtp.path import AddressSpec, parse_path, path_octets


@pytest.mark.parametrize(
    ("address", "octets"),
    [
        ("", b"<>"),
        ("ann@example.org", b"<ann@example.org>"),
        ("postmaster", b"<postmaster>"),
        ('"ann smith"@example.org', b'<"ann smith"@example.org>'),
        (r'"a\"b@c"@example.org', rb'<"a\"b@c"@example.org>'),
        ("a..b.@example.org", b'<"a..b."@example.org>'),
        ("ann+tag=x@a_b.example.org", b"<ann+tag=x@a_b.example.org>"),
        ("ann@[192.0.2.1]", b"<ann@[192.0.2.1]>"),
        ("ann@[IPv6:2001:db8::1]", b"<ann@[IPv6:2001:db8::1]>"),
        ("ann@[x400:something]", b"<ann@[x400:something]>"),
        ("ann@bücher.example", b"<ann@xn--bcher-kva.example>"),
        ("ann@localhost", b"<ann@localhost>"),
    ],
)
def test_an_address_is_written_as_a_path(address, octets):
    assert path_octets(address) == octets


@pytest.mark.parametrize(
    "address",
    [
        "ann", "@example.org", "ann@", "a@b@c", "ann smith@example.org", "ann@example.org.", "ann@-x.org", "ann@x-.org",
        "ann@[192.0.2]", "ann@[192.0.2.1", "ann@[IPv6:zz]", '"ann@example.org', '"ann"x@example.org', "ann@exa mple.org",
        "ann@" + "a" * 64 + ".org", "a" * 1000 + "@example.org", "ann@a..b", "ann(comment)@example.org",
        "zoë@example.org", "ann@a＞b.org", "ann@\u200d.org",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(address):
    with pytest.raises(LocalProtocolError) as caught:
        path_octets(address)
    assert caught.value.status.is_permanent


def test_utf8_is_written_where_the_peer_takes_it():
    assert path_octets("zoë@bücher.example", True) == "<zoë@bücher.example>".encode()


def test_an_ascii_local_part_needs_no_smtputf8_even_with_a_utf8_domain():
    assert not AddressSpec.parse("ann@bücher.example").needs_smtputf8


def test_a_source_route_is_dropped():
    assert parse_path(b"<@a.example,@b.example:bob@example.net>") == "bob@example.net"
    assert parse_path(b"<>") == ""
    with pytest.raises(LocalProtocolError):
        parse_path(b"<@a.example>")
    with pytest.raises(LocalProtocolError):
        parse_path(b"bob@example.net")


@given(st.text())
def test_no_text_becomes_a_path_that_could_end_a_command(text):
    try:
        octets = path_octets(text, True)
    except LocalProtocolError:
        return
    assert octets.startswith(b"<") and octets.endswith(b">")
    assert not set(octets[1:-1]) & set(b"\r\n\0<>")
    assert parse_path(octets) == str(AddressSpec.parse(octets[1:-1].decode())) if text else octets == b"<>"
