import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailpipe.fields import trace
from mailpipe.fields.date import read_moment
from mailpipe.fields.trace import parse_received, parse_return_path


def test_an_ordinary_hop() -> None:
    hop = parse_received(
        b" from a.example (b.example [192.0.2.1])\r\n\tby c.example (Postfix) with ESMTPS id 97A6\r\n"
        b"\tfor <ann@c.example>; Sun,  6 Oct 2002 22:52:55 +0100 (IST)\r\n"
    )
    assert (hop.from_, hop.from_comment, hop.ip) == ("a.example", "b.example [192.0.2.1]", "192.0.2.1")
    assert (hop.by, hop.by_comment, hop.with_, hop.id, hop.for_) == (
        "c.example", "Postfix", "ESMTPS", "97A6", "ann@c.example",
    )  # fmt: skip
    assert hop.date is not None
    assert hop.date.isoformat() == "2002-10-06T22:52:55+01:00"
    assert hop.defects == ()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("from a [192.0.2.1] by b with IMAP (fetchmail-5.9.0) for c@d (single-drop)", {"from_": "a", "ip": "192.0.2.1", "with_": "IMAP", "for_": "c@d"}),
        ("(from ann@localhost) by b (8.11.6/8.11.6) id g7", {"by": "b", "id": "g7", "from_": None, "comments": ("from ann@localhost",)}),
        ("(qmail 37713 invoked from network)", {"by": None, "comments": ("qmail 37713 invoked from network",)}),
        ("from u (HELO h) (192.0.2.7) by b with SMTP", {"from_comment": "HELO h", "ip": "192.0.2.7"}),
        ("from mail pickup service by b with Microsoft SMTPSVC(5.0)", {"from_": "mail pickup service", "with_": "Microsoft SMTPSVC"}),
        ("FROM a BY b WITH SMTP ID <x@y>", {"from_": "a", "by": "b", "with_": "SMTP", "id": "x@y"}),
        ("by b from a (router)", {"by": "b", "from_": "a"}),
        ("from a ([192.0.2.1] helo=h) by b with esmtp (Exim 3.31 #1 (Debian)) id 17-00", {"id": "17-00", "comments": ("Exim 3.31 #1 (Debian)",)}),
        ("from a (using TLSv1.3) (no cert) by b (Postfix) with ESMTPS id 1 for <c@d>", {"from_comment": "using TLSv1.3", "comments": ("no cert",)}),
        ("from [IPv6:2001:db8::1] by b", {"from_": "[IPv6:2001:db8::1]", "ip": "2001:db8::1"}),
        ("from a (2001:db8::7) by b (2001:db8::1) with Microsoft SMTP Server id 15.20.1.1 via F", {"ip": "2001:db8::7", "id": "15.20.1.1"}),
        ("from a (2001:db8:0:1:2:3:4:5) by b", {"ip": "2001:db8:0:1:2:3:4:5"}),
        ("from a ([192.0.2.1:5025]) by b", {"ip": "192.0.2.1"}),
        ("from a ([fe80::1%4]) by b ([fe80::2%5]) with mapi id 15.20.1", {"ip": "fe80::1", "id": "15.20.1"}),
        ("from a (fe80::1%4) by b", {"ip": "fe80::1"}),
        ("from a ([192.0.2.1.5025]) by b", {"ip": "192.0.2.1"}),
        ("from a ( 192.0.2.1:25) by b", {"ip": "192.0.2.1"}),
        ("from a (at 10:20:30) by b", {"ip": None}),
        ("from u (HELO [198.51.100.9]) ([192.0.2.7]) by b", {"from_comment": "HELO [198.51.100.9]", "ip": "192.0.2.7"}),
        ("from u (HELO [198.51.100.9]) by b", {"ip": None}),
        ("from [192.0.2.7] (account c@d EHLO [198.51.100.9]) by b", {"ip": "192.0.2.7"}),
        ("from helo.a.example (helo.a.example [192.0.2.7]) by b", {"ip": "192.0.2.7"}),
        ("from a (EHLO h) [192.0.2.7] by b (c) with SMTP", {"from_": "a", "from_comment": "EHLO h", "ip": "192.0.2.7", "by_comment": "c"}),
        ("from a by b with ESMTPA id C.1 envelope-from <c@d> (authenticated bits=0)", {"id": "C.1", "comments": ("authenticated bits=0",)}),
        ("from a by b with SMTP for <c@d> from <e@f>", {"for_": "c@d"}),
        ("from a by b for fork <c@d>", {"for_": "c@d"}),
        ("from a by b id 7;\r\n\tfor <c@d>", {"id": "7", "for_": "c@d"}),
        ("from 192.0.2.1 (w user c); by b with HTTP", {"from_": "192.0.2.1", "by": "b", "ip": "192.0.2.1"}),
        ("from a, claiming to be c via SMTP by b, id 7", {"from_": "a", "by": "b", "id": "7", "via": "SMTP"}),
    ],
)  # fmt: skip
def test_hops_as_real_servers_write_them(body: str, expected: dict[str, object]) -> None:
    hop = parse_received(f"{body}; Fri, 21 Nov 1997 09:55:06 -0600".encode())
    assert {name: getattr(hop, name) for name in expected} == expected
    assert hop.date is not None


def test_a_date_is_found_without_its_semicolon() -> None:
    hop = parse_received(b"from a by b id 0r Thu, 15 Aug 2002 10:37:19 -0700 (PDT)")
    assert hop.date is not None
    assert hop.id == "0r"
    hop = parse_received(b"from a by b with SMTP 2019-03-27 09:33:15.302381253 +0000 UTC m=+1234.5")
    assert hop.date is not None
    assert (hop.with_, hop.date.isoformat()) == ("SMTP", "2019-03-27T09:33:15+00:00")


def test_a_hop_without_a_date_has_a_defect() -> None:
    assert [defect.code for defect in parse_received(b"from a by b").defects] == ["invalid-received"]
    assert parse_received(b"").date is None


def test_a_rendered_hop_reads_back() -> None:
    hop = parse_received(b"from a (b [192.0.2.1]) by c (d) with SMTP id 1 for <e@f>; Fri, 21 Nov 1997 09:55:06 -0600")
    assert parse_received(hop.render()) == hop


@pytest.mark.parametrize(
    ("body", "expected"),
    [(b" <ann@a.example>", "ann@a.example"), (b"<>", ""), (b"ann@a.example", "ann@a.example"), (b"< ann@a.example >", "ann@a.example"), (b"", "")],
)  # fmt: skip
def test_a_return_path_is_one_address(body: bytes, expected: str) -> None:
    assert parse_return_path(body).address == expected


CLAUSES = st.sampled_from(
    ["from a.example", "from a b", " (b.example [192.0.2.1])", " [192.0.2.1]", " by c.example", " (Postfix)", " (x (y) z)", " via d", " with ESMTP", "\t",
     " id 97A6", " id <7-8@c.example>", "\tid\t7", " id", "  7", " for <ann@c.example>", "\tfor bob@d.example", " for", " ", ";", "; 6 Oct 2002 22:52:55 +0100",
     "; Fri, 21 Nov 1997\t09:55:06 -0600 (CST)", "; Fri, 21 Nov 97 09:55:06 EST", "; Fri, 21 Nov 1997 09:55:06 1997", "; Fri Nov 21 09:55:06 1997", "; 21 Nov 1997 09:55:06 BST", "; 21 Nov 1997 09:55:06 PM", "\v", "\x1c", "(", ")", "<", ">", ",", "x"]
)  # fmt: skip


@given(st.lists(CLAUSES, max_size=12).map("".join))
@example(" id 7; 6 Oct 2002 22:52:55 +0100")
@example("from a by b\tid 7 id 8; 6 Oct 2002 22:52:55 +0100")
@example("from a id; 6 Oct 2002 22:52:55 +0100")
@example("from a id 7\v for <b>; 6 Oct 2002 22:52:55 +0100")
@example("from a id 7for <b>; 6 Oct 2002 22:52:55 +0100")
@example("from a id 7 (x) for <b> (y) ; 6 Oct 2002 22:52:55 +0100 (z)")
def test_a_hop_means_the_same_however_quickly_it_is_read(text: str) -> None:
    thorough = _rare(text.encode())
    for _ in range(2):
        assert repr(trace.received_of_text(text)) == repr(thorough)


@pytest.mark.parametrize("unit", [";", "[::", "@ ", "(", "id ", "from a,", "1:", "helo "])
def test_every_repetition_takes_linear_time(unit: str) -> None:
    def cost(size: int) -> float:
        body = b"from a (" + (unit * (size // len(unit))).encode()
        start = time.process_time()
        parse_received(body)
        assert parse_received(body + b") by b").ip is None
        return time.process_time() - start

    small = min(cost(8_000) for _ in range(3))
    # Four times as much; a quadratic reader would take sixteen times as long.
    assert min(cost(32_000) for _ in range(3)) < max(small, 0.002) * 10


ODD_CLAUSES = st.sampled_from(
    ["from a.example", "from [192.0.2.1] (helo=h)", "[192.0\t.2.1]", " [1\n ", "]", "FROM a", " by c.example", "\tby", " via smtpd (for h [192.0.2.1])", " with esmtps (TLS1.3) tls AES", " with SMTP", " as user x",
     " (b; c)", " (Exim 4.96)", " id 17-3B", " id 15.20.22", " id a.by.c", " id <7>", " ID 7", " for ann@c.example", " for <ann@c.example>", " for a.for.b", " for",
     " via Frontend Transport", " via x by y", "\t", "  ", " ", '"', "\\", ")", "(", ";", "<", ">", "\x1b$B", "\v", "\r", "\n ", "\n"]
)  # fmt: skip


@given(st.lists(ODD_CLAUSES, max_size=9).map("".join), st.sampled_from(["; 6 Oct 2002 22:52:55 +0100 (x)", ";\tFri, 21 Nov 1997 09:55:06 GMT\r\n"]))
@example("from a by b with esmtps (TLS1.3) tls AES (Exim 4.96) id 17-3B for ann@c.example", "; 6 Oct 2002 22:52:55 +0100")
@example("FROM a BY b id 7 via Frontend Transport", "; 6 Oct 2002 22:52:55 +0100")
@example("from a by b with c (d; 1 Jan 2000 00:00:00 +0000", ";")
@example("by b from a\nb", "; 6 Oct 2002 22:52:55 +0100")
def test_a_hop_of_a_known_host_means_the_same_as_of_a_new_one(text: str, end: str) -> None:
    body = (text + end).encode()
    for _ in range(2):
        thorough = trace._parse_any(body)
        hop = _rare(body)
        assert repr(hop) == repr(thorough) or trace._read_head(_head(body)) is not None


def _rare(body: bytes) -> trace.Received:
    text = body.decode().replace("\r", "").replace("\n", "")
    dated = text.replace("\t", " ").rpartition(";")[2]
    return trace._parse_rare(text, body, dated, read_moment(dated))


def _head(body: bytes) -> str:
    """What the clauses in their usual order are looked for in."""
    text = body.decode().replace("\r", "").replace("\n", "").replace("\t", " ")
    return text.rpartition(";")[0].partition(" id ")[0]
