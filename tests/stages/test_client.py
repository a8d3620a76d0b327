"""Only what a server of ours found out says who the client was."""

import pytest

from mailpipe.smtp.envelope import Client
from mailpipe.stages.client import client_of


def received(*bodies: bytes) -> bytes:
    return b"".join(b"Received: " + body + b"\r\n" for body in bodies) + b"From: a@example.org\r\n\r\n"


@pytest.mark.parametrize(
    ("body", "address", "helo"),
    [
        (b"from mx.a.example (rdns.a.example [192.0.2.3]) by mx.example.org (Postfix) with ESMTPS id 7; Fri, 21 Nov 1997 09:55:06 -0600", "192.0.2.3", "mx.a.example"),
        (b"from mx.a.example (unknown [IPv6:2001:db8::3])\r\n\tby mx.example.org with ESMTP id 7; Fri, 21 Nov 1997 09:55:06 -0600", "2001:db8::3", "mx.a.example"),
        (b"from [192.0.2.3] (helo=mx.a.example) by mx.example.org with esmtp (Exim 4.96) id 1; Fri, 21 Nov 1997 09:55:06 -0600", "192.0.2.3", "mx.a.example"),
        (b"from rdns.a.example ([192.0.2.3] helo=mx.a.example) by mx.example.org with esmtps id 1; Fri, 21 Nov 1997 09:55:06 -0600", "192.0.2.3", "mx.a.example"),
        (b"from [192.0.2.3] (helo=[203.0.113.66]) by mx.example.org with esmtp; Fri, 21 Nov 1997 09:55:06 -0600", "192.0.2.3", "[203.0.113.66]"),
        (b"from unknown (HELO mx.a.example) (192.0.2.3) by mx.example.org with SMTP; 21 Nov 1997 09:55:06 -0000", "192.0.2.3", "mx.a.example"),
        (b"from unknown (HELO [203.0.113.66]) (joe@192.0.2.3) by mx.example.org with SMTP; 21 Nov 1997 09:55:06 -0000", "192.0.2.3", "[203.0.113.66]"),
        (b"from x (203.0.113.66.a.example [192.0.2.3]) (using TLSv1.3) (Client CN \"[203.0.113.67]\") by mx.example.org; 21 Nov 1997 09:55:06 -0000", "192.0.2.3", "x"),
        (b"from [203.0.113.66] (203.0.113.67 [192.0.2.3]) by mx.example.org; 21 Nov 1997 09:55:06 -0000", "192.0.2.3", "[203.0.113.66]"),
    ],
)  # fmt: skip
def test_the_hop_of_a_server_of_ours(body, address, helo, mail) -> None:
    assert client_of(mail(received(body)), 1) == Client(address, helo=helo)


@pytest.mark.parametrize(
    "body",
    [b"from [203.0.113.66] by mx.example.org; 21 Nov 1997 09:55:06 -0000", b"by mx.example.org; 21 Nov 1997 09:55:06 -0000", b"from a (b [999.1.1.1]) by c; x",
     b"from a (unknown [unknown]) (Client CN \"[203.0.113.67]\") by mx.example.org; 21 Nov 1997 09:55:06 -0000", b"", b"(((("],
)  # fmt: skip
def test_what_the_client_says_of_itself_is_no_address(body, mail) -> None:
    assert client_of(mail(received(body)), 1) is None


def test_nothing_is_believed_that_is_not_said_to_be_ours(mail) -> None:
    hops = [f"from h{number}.example (h{number}.example [192.0.2.{number}]) by x; 21 Nov 1997 09:55:06 -0000".encode() for number in range(3)]
    one = mail(received(*hops))
    assert client_of(one) is None
    assert client_of(one, 2).address == "192.0.2.1"
    assert client_of(one, 4) is None


def test_the_envelope_counts_first(mail) -> None:
    from dataclasses import replace

    one = mail(received(b"from a (a [192.0.2.1]) by x; 21 Nov 1997 09:55:06 -0000"))
    told = one.with_envelope(replace(one.envelope, client=Client("[IPv6:2001:DB8::5]", "mx.a.example", helo="a.example")))
    assert client_of(told, 1) == Client("2001:db8::5", "mx.a.example", helo="a.example")
    nothing = one.with_envelope(replace(one.envelope, client=Client("unknown")))
    assert client_of(nothing, 1).address == "192.0.2.1"
