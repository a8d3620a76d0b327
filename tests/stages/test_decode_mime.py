"""Every part is opened; what is damaged or wrongly declared is reported, and the policy decides."""

import pytest

from mailpipe import Verdict
from mailpipe.pipeline.mail import DefectsFound
from mailpipe.stages.decode_mime import DecodedPart, DecodeMime


def text(charset: bytes, body: bytes, encoding: bytes = b"8bit") -> bytes:
    kind = b"Content-Type: text/plain" + (b"; charset=" + charset if charset else b"")
    return b"From: a@example.org\n" + kind + b"\nContent-Transfer-Encoding: " + encoding + b"\n\n" + body


def test_nothing_changes_and_every_leaf_is_noted(mail, stage) -> None:
    octets = (
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain; charset=iso-8859-1\n\nna\xefve\n--b\n"
        b"Content-Type: application/pdf; name*=utf-8''%e2%82%ac.pdf\nContent-Transfer-Encoding: base64\n\naGVsbG8=\n--b--\n"
    )
    after = stage(DecodeMime, keep_text=True).process(mail(octets))
    assert bytes(after.message) == octets
    one, two = after.notes_of(DecodedPart)
    assert (one.path, one.declared_charset, one.known_by, one.text) == ("1", "iso-8859-1", "declared", "naïve")
    assert (two.path, two.content_type, two.filename, two.size, two.text) == ("2", "application/pdf", "€.pdf", 5, None)


@pytest.mark.parametrize(
    ("charset", "body", "code", "known_by", "expected"),
    [
        (b"", "Grüße aus Köln, schöne Grüße".encode(), "undeclared-charset", "utf-8", "Grüße aus Köln, schöne Grüße"),
        (b"utf-8", "Viele Grüße aus Köln und München, schöne Ferien wünscht Jürgen".encode("latin-1"), "wrong-charset", "detected", "Viele Grüße"),
        (b"x-no-such", "Привет, как дела? Всё хорошо.".encode(), "unknown-charset", "utf-8", "Привет, как дела? Всё хорошо."),
    ],
)
def test_charsets_that_are_not_what_they_say_are_detected_and_reported(charset, body, code, known_by, expected, mail, stage) -> None:
    after = stage(DecodeMime, keep_text=True).process(mail(text(charset, body)))
    [part] = after.notes_of(DecodedPart)
    assert part.known_by == known_by
    assert part.text.startswith(expected)
    [found] = after.notes_of(DefectsFound)
    assert code in found.counts


@pytest.mark.parametrize(
    ("octets", "option", "status"),
    [
        (text(b"utf-8", b"aGV$$sbG8=", b"base64"), "on_damage", "5.6.0"),
        (text(b"x-no-such", b"caf\xe9"), "on_wrong_charset", "5.6.0"),
    ],
)
def test_the_policy_decides(octets, option, status, mail, stage) -> None:
    verdict = stage(DecodeMime, **{option: "reject"}).process(mail(octets))
    assert isinstance(verdict, Verdict)
    assert str(verdict.status) == status
    assert isinstance(stage(DecodeMime, **{option: "quarantine"}).process(mail(octets)), Verdict)
    tagged = stage(DecodeMime, **{option: "tag"}).process(mail(octets))
    assert tagged.message.header["X-Content-Defects"]


def test_a_message_whose_parts_grow_too_large_is_kept_aside(mail, stage) -> None:
    octets = text(b"utf-8", b"x" * 1000)
    verdict = stage(DecodeMime, decoded_size="999").process(mail(octets))
    assert isinstance(verdict, Verdict)
    assert not isinstance(stage(DecodeMime, decoded_size="999", on_oversize="accept").process(mail(octets)), Verdict)
