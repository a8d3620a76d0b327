"""The domain in From has its way, by the notes of other stages and a real name server."""

import pytest

from mailpipe import Verdict
from mailpipe.pipeline.mail import Changed
from mailpipe.pipeline.notes import AuthResult
from mailpipe.pipeline.verdict import Decision
from mailpipe.stages.dmarc import Dmarc

LETTER = b"From: Ann <ann@mail.example.org>\r\nTo: bob@example.net\r\nDate: Fri, 21 Nov 1997 09:55:06 -0600\r\nSubject: Offer\r\n\r\nHello Bob\r\n"
SPF = AuthResult("spf", "pass", "bounces.example.org", "", (("smtp.mailfrom", "x@bounces.example.org"),))
HELO = AuthResult("spf", "pass", "mx.example.org", "", (("smtp.helo", "mx.example.org"),))
DKIM = AuthResult("dkim", "pass", "example.org", "", (("header.d", "example.org"),))


@pytest.fixture
def names(dns_server):
    dns_server.add("_dmarc.example.org", "TXT", '"v=DMARC1; p=reject; sp=quarantine"')
    dns_server.add("_dmarc.strict.example", "TXT", '"v=DMARC1; p=reject"')
    dns_server.add("_dmarc.watch.example", "TXT", '"v=DMARC1; p=none; rua=mailto:a@watch.example"')
    dns_server.failing.add("_dmarc.failing.example")
    return (dns_server.address,)


def from_(*domains):
    return LETTER.replace(b"Ann <ann@mail.example.org>", b", ".join(b"a@" + domain.encode() for domain in domains))


@pytest.mark.parametrize("note", [SPF, DKIM])
@pytest.mark.parametrize("organization", ["public-suffix", "tree-walk"])
def test_what_passed_for_the_domain_passes(note, organization, mail, stage, names) -> None:
    before = mail(LETTER).with_note(note)
    after = stage(Dmarc, nameservers=names, organization=organization).process(before)
    assert after.message is before.message
    found = after.notes[-1]
    assert (found.method, found.result, found.domain) == ("dmarc", "pass", "mail.example.org")
    assert dict(found.properties) == {"header.from": "mail.example.org", "policy.dmarc": "quarantine"}


@pytest.mark.parametrize(
    ("domain", "decision", "status"),
    [("strict.example", Decision.REJECT, "5.7.26"), ("mail.example.org", Decision.QUARANTINE, "2.0.0"), ("watch.example", None, ""), ("else.example", None, "")],
)
def test_the_domain_has_its_way(domain, decision, status, mail, stage, names) -> None:
    answer = stage(Dmarc, nameservers=names).process(mail(from_(domain)).with_note(HELO))
    if decision is None:
        assert not isinstance(answer, Verdict)
    else:
        assert (answer.decision, str(answer.status)) == (decision, status)
        assert [note.result for note in answer.notes] == ["fail"]


def test_helo_counts_only_where_there_is_no_other_sender(mail, stage, names) -> None:
    one = mail(from_("example.org")).with_note(HELO)
    assert isinstance(stage(Dmarc, nameservers=names).process(one), Verdict)
    bounce = one.with_envelope(one.envelope.with_reverse_path(""))
    assert stage(Dmarc, nameservers=names).process(bounce).notes[-1].result == "pass"


def test_policies_of_ours_come_before_theirs(mail, stage, names) -> None:
    one = stage(Dmarc, nameservers=names, on_reject="tag", on_quarantine="reject", on_temperror="defer")
    after = one.process(mail(from_("strict.example")))
    assert after.message.header["X-DMARC-Result"] == "fail; domain=strict.example; policy=reject"
    assert bytes(after.message).replace(b"X-DMARC-Result: fail; domain=strict.example; policy=reject\r\n", b"") == from_("strict.example")
    assert [note.what for note in after.notes_of(Changed)] == ["X-DMARC-Result added"]
    assert one.process(mail(LETTER)).decision is Decision.REJECT
    assert one.process(mail(from_("failing.example"))).decision is Decision.DEFER
    assert one.decisions(one.options) == (Decision.REJECT, Decision.DEFER)
    assert stage(Dmarc, nameservers=names).process(mail(from_("failing.example"))).notes[-1].result == "temperror"


@pytest.mark.parametrize(
    "octets",
    [from_("else.example", "strict.example"), b"From: a@else.example\r\n" + from_("strict.example"), from_("strict.example") .replace(b"\r\n\r\n", b"\r\nFrom: a@else.example\r\n\r\n")],
)
def test_a_second_author_hides_nothing(octets, mail, stage, names) -> None:
    assert stage(Dmarc, nameservers=names).process(mail(octets)).decision is Decision.REJECT


@pytest.mark.parametrize("octets", [b"Subject: x\r\n\r\n", b"From: \r\n\r\n", b"From: a@[192.0.2.1]\r\n\r\n", b"From: undisclosed:;\r\n\r\n"])
def test_without_an_author_nothing_can_be_said(octets, mail, stage, names) -> None:
    assert stage(Dmarc, nameservers=names).process(mail(octets)).notes[-1].result == "permerror"
    assert stage(Dmarc, nameservers=names, on_unusable="reject").process(mail(octets)).decision is Decision.REJECT


def test_a_hundred_authors_ask_for_ten_domains(mail, stage, names, dns_server) -> None:
    stage(Dmarc, nameservers=names).process(mail(from_(*(f"d{number}.example" for number in range(100)))))
    assert len(dns_server.asked) <= 20


def test_a_tag_from_outside_goes(mail, stage, names):
    one = stage(Dmarc, nameservers=names, on_reject="tag")
    assert bytes(one.process(mail(b"X-DMARC-Result: pass\r\n" + from_("else.example"))).message) == from_("else.example")
