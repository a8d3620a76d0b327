import gc
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpipe.fields import address, is_address
from mailpipe.fields.address import AddressList, Group, Mailbox, parse

ANN = Mailbox("Ann", "ann@a.example")


def pairs(body: str | bytes) -> list[tuple[str | None, str]]:
    octets = body.encode() if isinstance(body, str) else body
    return [(each.display_name, each.address) for each in parse(octets).mailboxes]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("ann@a.example", [(None, "ann@a.example")]),
        ("<ann@a.example>", [(None, "ann@a.example")]),
        ("Ann Lee <ann@a.example>", [("Ann Lee", "ann@a.example")]),
        ('"Lee, Ann" <ann@a.example>', [("Lee, Ann", "ann@a.example")]),
        (r'"Ann \"A\" Lee" <ann@a.example>', [('Ann "A" Lee', "ann@a.example")]),
        ("ann@a.example (Ann Lee)", [("Ann Lee", "ann@a.example")]),
        ("<ann@a.example> (Ann Lee)", [("Ann Lee", "ann@a.example")]),
        ("(Ann Lee) ann@a.example", [("Ann Lee", "ann@a.example")]),
        ("A. B. Lee <ann@a.example>", [("A. B. Lee", "ann@a.example")]),
        ("Ann\r\n\tLee <ann@a.example>,\r\n b@b.example", [("Ann Lee", "ann@a.example"), (None, "b@b.example")]),
        ("a@x.example,,b@y.example,", [(None, "a@x.example"), (None, "b@y.example")]),
        ("ann (one) . (two) lee @ (three) a . example", [("one", "ann.lee@a.example")]),
        ("<ann (one) @ (two) a.example>", [(None, "ann@a.example")]),
        ("<(one) @r.example: ann@a.example> (Ann)", [("Ann", "ann@a.example")]),
        ("(Ann) <ann (one) @a.example>", [("Ann", "ann@a.example")]),
        ("Ann <@r1.example,@r2.example:ann@a.example>", [("Ann", "ann@a.example")]),
        ('"ann lee"@a.example', [(None, '"ann lee"@a.example')]),
        ('"ann"@a.example', [(None, "ann@a.example")]),
        ('""@a.example', [(None, '""@a.example')]),
        ("ann@[192.0.2.1]", [(None, "ann@[192.0.2.1]")]),
        ("Änne <änne@müller.example>", [("Änne", "änne@müller.example")]),
    ],
)
def test_the_syntax_of_rfc_5322_is_read_with_its_obsolete_forms(body: str, expected: list[tuple[str | None, str]]) -> None:
    assert pairs(body) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("=?iso-8859-1?Q?J=F6rg?= <j@a.example>", [("Jörg", "j@a.example")]),
        ('"=?iso-8859-1?Q?J=F6rg?=" <j@a.example>', [("Jörg", "j@a.example")]),
        ("Kai =?utf-8?q?Gro=C3=9F?= <j@a.example>", [("Kai Groß", "j@a.example")]),
        ("=?utf-8?Q?Gro=C3=9F,_Kai?= <j@a.example>, b@b.example", [("Groß, Kai", "j@a.example"), (None, "b@b.example")]),
        ("=?utf-8?q?a,b?= <j@a.example>", [("a,b", "j@a.example")]),
        ("=?utf-8?q?a@b.example,?= <j@a.example>", [("a@b.example,", "j@a.example")]),
        ("=?utf-8?q?a=40b.example?=", [("a@b.example", "")]),
        ("=?utf-8?q?a=40b.example?=, j@a.example", [("a@b.example", ""), (None, "j@a.example")]),
        ("root, =?utf-8?q?Gro=C3=9F?=", [(None, "root"), ("Groß", "")]),
    ],
)
def test_encoded_words_are_read_wherever_mailers_put_them(body: str, expected: list[tuple[str | None, str]]) -> None:
    assert pairs(body) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("Lee, Ann <ann@a.example>", [("Lee, Ann", "ann@a.example")]),
        ("a@x.example; b@y.example", [(None, "a@x.example"), (None, "b@y.example")]),
        ("Ann <ann@a.example", [("Ann", "ann@a.example")]),
        ("Ann <<ann@a.example>>", [("Ann", "ann@a.example")]),
        ("<a@x.example> <b@y.example>", [(None, "a@x.example"), (None, "b@y.example")]),
        ("<a@x.example, b@y.example>", [(None, "a@x.example"), (None, "b@y.example")]),
        ('"Ann <ann@a.example>', [("Ann", "ann@a.example")]),
        ("(Ann <ann@a.example>", [("(Ann", "ann@a.example")]),
        ("Ann) <ann@a.example>", [("Ann)", "ann@a.example")]),
        ("a@x.example (It will take", [("It will take", "a@x.example")]),
        ("mailto:ann@a.example", [(None, "ann@a.example")]),
        ("ann@a.example <ann@a.example>", [("ann@a.example", "ann@a.example")]),
        ("Ann Lee ann@a.example", [("Ann Lee", "ann@a.example")]),
        ('"Ann"ann@a.example', [("Ann", "ann@a.example")]),
        (r'Ann \"Annie\" Lee <ann@a.example>', [('Ann "Annie" Lee', "ann@a.example")]),
        (r'Ann \"Annie <ann@a.example>, "Bob" <b@b.example>', [('Ann "Annie', "ann@a.example"), ("Bob", "b@b.example")]),
        (r"Ann\Lee <ann@a.example>", [(r"Ann\Lee", "ann@a.example")]),
        ("root", [(None, "root")]),
        ("root (Cron Daemon)", [("Cron Daemon", "root")]),
        ("root (Cron), operator (On Duty), ann@a.example", [("Cron", "root"), ("On Duty", "operator"), (None, "ann@a.example")]),
        ("Lee (née Kim), Ann <ann@a.example>", [("Lee, Ann", "ann@a.example")]),
        ("Ann,, Lee <lee@a.example>", [(None, "Ann"), ("Lee", "lee@a.example")]),
        ("Ann, , Lee <lee@a.example>", [(None, "Ann"), ("Lee", "lee@a.example")]),
        ("Ann <root>", [("Ann", "root")]),
        ("ann@a.example.", [(None, "ann@a.example")]),
        ("(", []),
        (" , ; ", []),
        ("", []),
    ],
)
def test_what_real_mailers_write_is_read_with_a_defect(body: str, expected: list[tuple[str | None, str]]) -> None:
    assert pairs(body) == expected


def test_a_group_keeps_its_name_and_its_members() -> None:
    found = parse(b"Team: Ann <ann@a.example>, b@b.example;, c@c.example")
    assert found[0] == Group("Team", (ANN, Mailbox(None, "b@b.example")))
    assert found[1] == Mailbox(None, "c@c.example")
    assert found.addresses == ("ann@a.example", "b@b.example", "c@c.example")
    assert found.defects == ()


@pytest.mark.parametrize("body", [b"undisclosed-recipients:;", b"<undisclosed-recipients:;>"])
def test_an_empty_group_has_a_name_and_nobody(body: bytes) -> None:
    assert parse(body).members == (Group("undisclosed-recipients", ()),)


def test_octets_above_127_without_a_charset_are_detected_with_a_defect() -> None:
    found = parse("Björn Åström från Göteborg <b@a.example>".encode("latin-1"))
    assert found.mailboxes[0].address == "b@a.example"
    assert [defect.code for defect in found.defects] == ["eight-bit-header"]


def test_a_defect_knows_where_it_is() -> None:
    found = parse("Änne <a@b.example> >".encode())
    assert [(defect.code, defect.offset) for defect in found.defects] == [("invalid-address", 20)]


def test_a_mailbox_has_two_halves() -> None:
    assert (ANN.local_part, ANN.domain) == ("ann", "a.example")
    assert (Mailbox(None, "root").local_part, Mailbox(None, "root").domain) == ("root", "")


@pytest.mark.parametrize(
    ("mailbox", "octets"),
    [
        (ANN, b"Ann <ann@a.example>"),
        (Mailbox(None, "a@b.example"), b"a@b.example"),
        (Mailbox("Lee, Ann", "a@b.example"), b'"Lee, Ann" <a@b.example>'),
        (Mailbox('say "hi"\\', "a@b.example"), b'"say \\"hi\\"\\\\" <a@b.example>'),
    ],
)
def test_a_composed_mailbox_is_quoted_where_it_must_be(mailbox: Mailbox, octets: bytes) -> None:
    assert mailbox.render() == octets


def test_nothing_in_a_mailbox_can_begin_another_field_or_another_address() -> None:
    octets = AddressList((Mailbox("a\r\nBcc: x", "a@b.example>\r\nBcc: <c@d.example"),)).render()
    assert b"\r" not in octets
    assert b"\n" not in octets
    assert len(parse(octets)) == 1


@given(st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), max_size=120))
def test_a_rendered_name_reads_back(name: str) -> None:
    octets = Mailbox(name or None, "a@b.example").render()
    (mailbox,) = parse(octets).mailboxes
    assert octets.isascii()
    assert mailbox.address == "a@b.example"
    assert (mailbox.display_name or "").split() == name.split()


@pytest.mark.parametrize(
    "text",
    [
        "a@b", "a.b@c.example", '"a b"@c.example', '"a\\"b"@c.example', '""@c.example', "a@[192.0.2.1]",
        "a@[IPv6:2001:db8::1]", "a@123.example", "x" * 64 + "@c.example", "änne@müller.example", "!#$%&`*+/=?^_`{|}~@c.example",
    ],
)  # fmt: skip
def test_an_address_is_one(text: str) -> None:
    assert is_address(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "a", "@", "a@", "@b", ".a@b", "a.@b", "a..b@c", "a@.b", "a@b.", "a@b..c", "a b@c", '"a@b', 'a"b"@c', "a@b c",
        "a@[1.2.3]", "a@[IPv6:::g]", "a@[fe80::1%eth0]", "a@b\r\n", "a\n@b", "a@-b.example", "a@b-.example", "a@b_c",
        "x" * 65 + "@c.example", "a@" + "x" * 64, "a@" + "abcdefgh." * 32, '"a\\©"@b', "(c)a@b", "a@b (c)", "a@b\0", "a\\@b@c",
    ],
)  # fmt: skip
def test_an_address_is_none(text: str) -> None:
    assert not is_address(text)


def test_a_pydantic_model_takes_an_address_as_text() -> None:
    from pydantic import BaseModel, ValidationError

    class Row(BaseModel):
        who: Mailbox

    assert Row.model_validate({"who": "Ann <ann@a.example>"}).who == ANN
    assert Row.model_validate_json('{"who": {"display_name": "Ann", "address": "ann@a.example"}}').who == ANN
    assert Row(who=ANN).model_dump() == {"who": {"display_name": "Ann", "address": "ann@a.example"}}
    with pytest.raises(ValidationError, match="expected one address"):
        Row.model_validate({"who": "a@b, c@d"})


def test_raw_octets_inside_an_encoded_word_are_those_of_its_charset() -> None:
    assert pairs("=?iso-8859-1?Q?M\xfcller?= <m@a.example>".encode("latin-1")) == [("Müller", "m@a.example")]
    assert pairs(b"Kai =?koi8-r?Q?\xe4=C1?= <m@a.example>") == [("Kai Да", "m@a.example")]


@pytest.mark.parametrize(
    "unit", ["(", ")", "<", ">", ",", ";", ":", '"', '\\"', "@", "[", "a ", "<a", "<a@b,", "a@b ", "a:b;", "(()", "::", "=?a?q?", "=?a?q?ö"]
)
def test_every_repetition_takes_linear_time(unit: str) -> None:
    def cost(size: int) -> float:
        body = (unit * (size // len(unit))).encode()
        gc.disable()  # what it costs depends on all that other tests have left
        start = time.process_time()
        parse(body)
        spent = time.process_time() - start
        gc.enable()
        return spent

    small = min(cost(8_000) for _ in range(3))
    # Four times as much; a quadratic reader would take sixteen times as long.
    assert min(cost(32_000) for _ in range(3)) < max(small, 0.002) * 10


MEMBERS = st.sampled_from(
    ["a@b.example", "<a@b.example>", "Ann <a@b.example>", '"Lee, Ann" <a@b.example>', '"Ann" <a@b.example>', "a@b.example (Ann)", "a@b.example (A, B)",
     ",", ", ", ",\t", " ", "", "\v", "x", "=?utf-8?q?=C3=A4?= <a@b.example>", '"\\"A\\"" <a@b.example>', "A  B <a@b.example>", "<>", "a@b", ";"]
)  # fmt: skip


@given(st.lists(MEMBERS, max_size=9).map("".join))
def test_a_list_means_the_same_however_its_members_were_met(text: str) -> None:
    in_one_pass = address._ordinary(text)
    for _ in range(2):
        assert address.members_in_python(text) == in_one_pass
    assert in_one_pass is None or address.of_text(text).members == in_one_pass
