"""Every signature of a message is found, with what it covers; what an edit does to it is told without a key."""

import dkim
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mailpipe
from mailpipe.auth.preserve import strip, wrap
from mailpipe.auth.signatures import Kind, State, broken_by, signatures_of, survival

PLAIN = (
    b"From: Ann Muster <ann@example.org>\r\nTo: bob@example.net\r\nSubject: Invoice 4711\r\n"
    b"Date: Sat, 28 Nov 2026 10:00:00 +0000\r\nMessage-ID: <4711@example.org>\r\n\r\nDear Bob,\r\n\r\nplease pay.\r\n"
)
PGP_MIME = (
    b"From: ann@example.org\r\nSubject: x\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: multipart/signed; boundary=s; micalg=pgp-sha256;\r\n protocol="application/pgp-signature"\r\n\r\n'
    b"--s\r\nContent-Type: text/plain\r\n\r\nhello\r\n--s\r\nContent-Type: application/pgp-signature\r\n\r\n"
    b"-----BEGIN PGP SIGNATURE-----\r\n\r\nabc\r\n-----END PGP SIGNATURE-----\r\n--s--\r\n"
)
CLEAR = (
    b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\npay 5 euros  \n- -- \nAnn\n-----BEGIN PGP SIGNATURE-----\n\nabcd\n"
    b"-----END PGP SIGNATURE-----\n"
)


def with_body(body, *fields):
    return mailpipe.parse(b"From: ann@example.org\nSubject: x\n" + b"".join(fields) + b"\n" + body)


@pytest.fixture(scope="session")
def dkim_signed(keys):
    """PLAIN, signed by dkimpy."""
    return mailpipe.parse(dkim.sign(PLAIN, b"s1", b"example.org", keys.rsa_pem, canonicalize=(b"relaxed", b"relaxed")) + PLAIN)


def names(message):
    return [str(one) for one in signatures_of(message)]


def test_a_message_without_any_has_none() -> None:
    assert signatures_of(mailpipe.parse(PLAIN)) == ()


def test_a_dkim_signature_says_what_it_covers(dkim_signed) -> None:
    (one,) = signatures_of(dkim_signed)
    assert (one.kind, str(one), one.path, one.place) == (Kind.DKIM, "DKIM example.org selector s1", "", 0)
    assert {"from", "subject"} <= {name.lower() for name in one.fields}
    assert (one.body, one.is_field, one.is_whole(dkim_signed)) == (True, True, True)
    assert one.covers(["SUBJECT"])
    assert one.covers(body=True)
    assert one.covers(["*"])
    assert not one.covers(["X-Spam"])


def test_signatures_of_parts_are_named_by_their_paths() -> None:
    inner = PGP_MIME.partition(b"MIME-Version: 1.0\r\n")[2]
    octets = (
        b"From: ann@example.org\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\n\r\nfooter\r\n--m\r\n" + inner
        + b"--m\r\nContent-Type: message/rfc822\r\n\r\n" + PGP_MIME + b"\r\n--m\r\nContent-Type: application/pkcs7-mime; smime-type=signed-data\r\n"
        b"Content-Transfer-Encoding: base64\r\n\r\nMIIB\r\n--m\r\nContent-Type: multipart/encrypted; boundary=e; protocol=\"application/pgp-encrypted\"\r\n\r\n"
        b"--e\r\nContent-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n--e\r\nContent-Type: application/octet-stream\r\n\r\nabc\r\n--e--\r\n--m--\r\n"
    )  # fmt: skip
    message = mailpipe.parse(octets)
    found = signatures_of(message)
    assert [(str(one), one.path, one.parts) for one in found] == [
        ("PGP/MIME part 2.1", "2", ("2.1",)),
        ("PGP/MIME part 3.1", "3.TEXT", ("3.1",)),
        ("S/MIME signed-data part 4", "4", ("4",)),
        ("PGP/MIME encrypted part 5.2", "5", ("5.2",)),
    ]
    for one in found:
        assert all(message.part(path) is not None for path in one.parts)
        assert one.digest(message)


@pytest.mark.parametrize(
    ("encoding", "encode"),
    [(b"7bit", lambda octets: octets), (b"base64", lambda octets: __import__("base64").encodebytes(octets)), (b"quoted-printable", lambda octets: octets.replace(b"=", b"=3D"))],
)
def test_pgp_in_a_text_is_found_under_its_transfer_encoding(encoding, encode) -> None:
    message = with_body(encode(b"Hello,\n\n" + CLEAR + b"bye\n"), b"Content-Transfer-Encoding: " + encoding + b"\n")
    assert names(message) == ["PGP in part 1"]
    plain = with_body(CLEAR)
    assert signatures_of(message)[0].digest(message) == signatures_of(plain)[0].digest(plain)
    assert broken_by(message, plain) == ()


def test_blanks_at_the_ends_of_signed_lines_do_not_count_and_words_do() -> None:
    before = with_body(CLEAR)
    assert broken_by(before, with_body(CLEAR.replace(b"euros  ", b"euros"))) == ()
    assert broken_by(before, with_body(b"seen\n" + CLEAR)) == ()
    (state,) = survival(before, with_body(CLEAR.replace(b"5", b"500")))
    assert state[1] == State.BROKEN


def test_an_edit_of_what_is_covered_breaks_and_another_does_not(dkim_signed) -> None:
    header = dkim_signed.header
    assert broken_by(dkim_signed, dkim_signed) == ()
    for other, state in [
        (header.with_field("Subject", "[list] Invoice 4711"), State.BROKEN),
        (header.with_field("Subject", b"Invoice   4711"), State.KEPT),
        (header.with_added("X-Seen", "yes", first=True), State.KEPT),
        (header.with_added("Reply-To", "list@example.net"), State.KEPT),
        (header.without("DKIM-Signature"), State.REMOVED),
        (header.with_field("DKIM-Signature", header["DKIM-Signature"]), State.KEPT),  # folded anew
    ]:
        ((_, found),) = survival(dkim_signed, dkim_signed.with_header(other))
        assert found == state, other
    longer = mailpipe.parse(bytes(dkim_signed) + b"-- \r\nfooter\r\n")
    assert [str(one) for one in broken_by(dkim_signed, longer)] == ["DKIM example.org selector s1"]
    assert survival(dkim_signed, mailpipe.parse(bytes(dkim_signed) + b"\r\n\r\n"))[0][1] == State.KEPT


def test_what_was_broken_before_is_not_our_doing(dkim_signed) -> None:
    before = mailpipe.parse(bytes(dkim_signed).replace(b"please", b"do not"))
    after = mailpipe.parse(bytes(before) + b"footer\r\n")
    ((one, state),) = survival(before, after)
    assert state == State.BROKEN_BEFORE
    assert not one.is_whole(before)
    assert broken_by(before, after) == ()


def test_line_ends_do_not_matter(dkim_signed) -> None:
    assert broken_by(dkim_signed, mailpipe.parse(bytes(dkim_signed).replace(b"\r\n", b"\n"))) == ()
    assert broken_by(mailpipe.parse(PGP_MIME), mailpipe.parse(PGP_MIME.replace(b"\r\n", b"\n"))) == ()


def test_a_signed_part_survives_elsewhere_in_the_message() -> None:
    before = mailpipe.parse(PGP_MIME)
    after = before.attach(mailpipe.message.compose.text("footer"))
    assert after.part("1").content_type.value == "multipart/signed"
    assert broken_by(before, after) == ()
    (one,) = broken_by(before, mailpipe.parse(PGP_MIME.replace(b"hello", b"Hello")))
    assert one.kind == Kind.PGP_MIME


@pytest.mark.parametrize(
    "value", [b"\x30\x03abc", b"\x30\x81\x80" + b"x" * 128, b"\x30\x80\x06\x01a\xa0\x80\x04\x82\x01\x00" + b"y" * 256 + b"\0\0\0\0", b"\0\0", b"\x30\x00"]
)
def test_what_stands_behind_opaque_content_does_not_count(value: bytes) -> None:
    base64 = __import__("base64").encodebytes
    fields = b"Content-Type: application/pkcs7-mime; smime-type=signed-data\nContent-Transfer-Encoding: base64\n"
    assert broken_by(with_body(base64(value), fields), with_body(base64(value + b"behind"), fields)) == ()
    assert broken_by(with_body(base64(value + b"a"), fields), with_body(base64(b"\x31" + value[1:]), fields))


@pytest.mark.parametrize("value", [b"", b"\x30", b"\x30\xff", b"\x30\x80" * 500_000, b"\x30\x80" + b"\x01\x00" * 500_000, b"\x1f\x00"])
def test_opaque_content_of_any_form_ends_somewhere(value: bytes) -> None:
    message = with_body(value, b"Content-Type: application/pkcs7-mime\n")
    assert len(signatures_of(message)) == 1


@given(st.binary(max_size=400))
def test_signatures_are_looked_for_in_anything(octets: bytes) -> None:
    for head in (b"", b"DKIM-Signature: ", b"ARC-Seal: i=1;", b"Content-Type: multipart/signed; boundary=a\n\n--a\n", b"A: b\n\n-----BEGIN PGP SIGNED MESSAGE-----"):
        message = mailpipe.parse(head + octets)
        for one in signatures_of(message):
            assert one.digest(message)
            assert "\n" not in str(one)
        assert broken_by(message, mailpipe.parse(head + octets)) == ()


# -- what an edit may leave behind


def test_wrapping_keeps_the_original_untouched_inside(dkim_signed) -> None:
    after = dkim_signed.with_header(dkim_signed.header.with_field("Subject", "[list] Invoice 4711"))
    made = wrap(dkim_signed, after, notice="The subject was tagged.\n")
    again = mailpipe.parse(bytes(made))
    assert [(path, one.content_type.value) for path, one in again.walk()][:3] == [("", "multipart/mixed"), ("1", "text/plain"), ("2", "message/rfc822")]
    assert bytes(again.part("2.1")) == bytes(dkim_signed)
    assert again.subject == "[list] Invoice 4711"
    assert again.header.get("DKIM-Signature") is None
    assert [one.address for one in again.from_.mailboxes] == ["ann@example.org"]


@pytest.mark.parametrize("octets", [b"From ann@example.org Sat Nov 28 10:00:00 2026\n" + PLAIN, PLAIN.replace(b"pay", b"bezahlen f\xc3\xbcr"), PGP_MIME])
def test_wrapping_whatever_comes(octets: bytes) -> None:
    before = mailpipe.parse(octets)
    again = mailpipe.parse(bytes(wrap(before, before, notice="unverändert")))
    (inner,) = again.parts[1].parts
    assert bytes(inner) == octets[octets.find(b"\n") + 1 :] if octets.startswith(b"From ") else octets
    assert again.header.envelope_line == before.header.envelope_line
    assert broken_by(before, again) == ()


def test_stripping_takes_broken_fields_and_says_so(dkim_signed) -> None:
    after = dkim_signed.with_header(dkim_signed.header.with_field("Subject", "[list] Invoice 4711"))
    made = strip(after, broken_by(dkim_signed, after))
    assert made.header.get("DKIM-Signature") is None
    assert made.header["X-Broken-Signature"] == "DKIM example.org selector s1"
    assert strip(after, ()) is after


def test_stripping_unwraps_what_was_signed() -> None:
    before = mailpipe.parse(PGP_MIME)
    after = before.replace("1", mailpipe.message.compose.text("hello, tagged\n"))
    made = mailpipe.parse(bytes(strip(after, broken_by(before, after))))
    assert made.content_type.value == "text/plain"
    assert made.text == "hello, tagged\r\n"
    assert made.header["X-Broken-Signature"] == "PGP/MIME part 1"
    assert made.header["MIME-Version"] == "1.0"
    outer = before.attach(mailpipe.message.compose.text("footer"))
    edited = outer.replace("1.1", mailpipe.message.compose.text("changed\n"))
    made = mailpipe.parse(bytes(strip(edited, broken_by(outer, edited))))
    assert [one.content_type.value for _, one in made.walk()] == ["multipart/mixed", "text/plain", "text/plain"]


def test_a_chain_goes_whole(keys, lookup) -> None:
    from mailpipe.auth.arc import seal, validate

    message = mailpipe.parse(PLAIN)
    fields = seal(message, validate(message, lookup), keys.rsa, "example.net", "s1", results=b"mx.example.net; none")
    before = message.with_header(message.header.with_fields([*fields, *message.header.lines]))
    assert names(before) == ["ARC seal 1 example.net selector s1", "ARC message signature 1 example.net selector s1"]
    after = before.with_header(before.header.with_field("Subject", "[list]"))
    broken = broken_by(before, after)
    assert [one.kind for one in broken] == [Kind.ARC_MESSAGE]
    assert not any(field.key.startswith("arc-") for field in strip(after, broken).header)
    other = before.with_header(before.header.with_field("ARC-Authentication-Results", "i=1; mx.example.net; spf=pass"))
    assert [one.kind for one in broken_by(before, other)] == [Kind.ARC_SEAL]
