"""A name that is none ends the header for other programs; validate-headers finds it and can mend it."""

import mailpipe
from mailpipe.pipeline.mail import DefectsFound, Origin
from mailpipe.stages.validate_headers import ValidateHeaders


def _repaired(header: bytes) -> tuple[bytes, dict[str, int]]:
    octets = b"From: a@example.org\r\nDate: Mon, 2 Nov 2026 08:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n" + header
    envelope = mailpipe.Envelope.of("a@example.org", "b@example.net")
    mail = mailpipe.Mail(mailpipe.parse(octets + b"\r\nbody\r\n"), envelope, Origin("test", "-"))
    passed = ValidateHeaders(ValidateHeaders.Options(field_syntax="repair")).process(mail)
    counts = next(passed.notes_of(DefectsFound)).counts
    return bytes(passed.message).partition(b"1@example.org>\r\n")[2].partition(b"\r\n\r\n")[0], dict(counts)


def test_a_name_with_blanks_is_made_a_field():
    assert _repaired(b"X Broken: y\r\nTo: c@example.org\r\n") == (
        b"X-Malformed: X Broken: y\r\nTo: c@example.org",
        {"malformed-field": 1},
    )


def test_a_blank_before_the_colon_goes_and_nothing_else():
    assert _repaired(b"To : c@example.org\r\n") == (b"To: c@example.org", {"space-before-colon": 1})


def test_a_name_with_octets_above_127_is_made_a_field():
    header, counts = _repaired("Größe: y\r\n".encode())
    assert header.startswith(b"X-Malformed: ")
    assert counts == {"malformed-field": 1}
