from datetime import UTC, datetime, timedelta

from mailpipe.smtp.extension import KNOWN, Extensions, parse_moment
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
    offered = read("LIMITS MAILMAX=5 RCPTDOMAINMAX=1")
    assert (offered.mail_max, offered.rcpt_max, offered.rcpt_domain_max) == (5, None, 1)


def test_future_release_says_how_long_and_until_when():
    release = read("FUTURERELEASE 604800 2026-12-31T23:59:59Z").future_release
    assert release.longest == timedelta(days=7)
    assert release.latest == datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)
    for line in ("FUTURERELEASE", "FUTURERELEASE soon later", "FUTURERELEASE 1000000000 2026-99-31T23:59:59Z"):
        assert (read(line).future_release.longest, read(line).future_release.latest) == (None, None)
    assert Extensions().future_release is None


def test_deliver_by_says_the_shortest_time():
    assert Extensions().deliver_by is None
    assert read("DELIVERBY").deliver_by == read("DELIVERBY x").deliver_by == timedelta()
    assert read("DELIVERBY 240,more").deliver_by == timedelta(minutes=4)


def test_priorities_and_attributes_are_read_in_any_case():
    offered = read("MT-PRIORITY mixer", "XCLIENT name addr", "XFORWARD SOURCE")
    assert offered.mt_priority and offered.priority_profile == "MIXER"
    assert offered.xclient == ("NAME", "ADDR") and offered.xforward == ("SOURCE",)
    assert not Extensions().mt_priority and Extensions().priority_profile == "" == read("MT-PRIORITY").priority_profile


def test_moments_are_those_of_rfc_3339():
    assert parse_moment("2026-12-24t18:00:00.25z") == datetime(2026, 12, 24, 18, 0, 0, 250_000, tzinfo=UTC)
    assert parse_moment("2026-12-24T18:00:00+01:00").utcoffset() == timedelta(hours=1)
    for text in ("2026-12-24", "2026-12-24T18:00:00", "20261224T180000Z", "2026-12-24T25:00:00Z", "", "x"):
        assert parse_moment(text) is None


def test_an_empty_last_line_is_passed_over():
    assert read("PIPELINING", "").keywords == {"PIPELINING": ()}
