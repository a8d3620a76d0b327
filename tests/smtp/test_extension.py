from mailpipe.smtp.extension import KNOWN, Extensions
from mailpipe.smtp.reply import parse_reply


def read(*lines):
    octets = "".join(f"250-{line}\r\n" for line in ("mx.test at your service", *lines[:-1])) + f"250 {lines[-1]}\r\n"
    return Extensions.parse(parse_reply(octets.encode()))


def test_every_keyword_has_its_property():
    offered = read(*KNOWN)
    assert offered.domain == "mx.test"
    assert all(keyword in offered for keyword in KNOWN)
    assert offered.pipelining and offered.eightbitmime and offered.smtputf8 and offered.chunking and offered.binarymime
    assert offered.dsn and offered.enhanced_status_codes and offered.starttls and offered.requiretls
    assert not any((Extensions().pipelining, Extensions().starttls, Extensions().auth, Extensions().limits))


def test_size_is_none_zero_or_a_number():
    assert Extensions().size is None
    assert read("SIZE").size == 0
    assert read("size 1000").size == 1000
    assert read("SIZE lots").size == 0
    assert read("SIZE ²").size == 0


def test_mechanisms_are_read_in_both_notations():
    assert read("AUTH LOGIN plain", "AUTH=LOGIN XOAUTH2").auth == ("LOGIN", "PLAIN", "XOAUTH2")


def test_binarymime_without_chunking_is_none():
    assert not read("BINARYMIME").binarymime


def test_limits_are_numbers():
    assert read("LIMITS RCPTMAX=20 MAILMAX=x RCPTDOMAINMAX=0").limits == {"RCPTMAX": 20}


def test_an_empty_last_line_is_passed_over():
    assert read("PIPELINING", "").keywords == {"PIPELINING": ()}
