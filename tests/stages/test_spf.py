"""Mail of a host that may not send it is refused, tagged or noted, by the answers of a real name server."""

from dataclasses import replace

import pytest

from mailpipe import Verdict
from mailpipe.errors import ConfigError
from mailpipe.pipeline.mail import Changed
from mailpipe.pipeline.notes import AuthResult
from mailpipe.pipeline.verdict import Decision
from mailpipe.smtp.envelope import Client
from mailpipe.stages.spf import Spf

LETTER = (
    b"Received: from mx.a.example (mx.a.example [198.51.100.7])\r\n\tby mx.example.net (Postfix) with ESMTPS id 4Xyz;\r\n"
    b"\tFri, 21 Nov 1997 09:55:06 -0600\r\nFrom: Ann <ann@example.org>\r\nTo: bob@example.net\r\nSubject: Offer\r\n\r\nHello Bob\r\n"
)


@pytest.fixture
def letter(mail):
    def make(address="192.0.2.3", helo="mx.example.org", sender="ann@example.org"):
        one = mail(LETTER)
        client = Client(address, helo=helo) if address else None
        return one.with_envelope(replace(one.envelope, client=client, reverse_path=sender))

    return make


@pytest.fixture
def names(dns_server):
    dns_server.add("example.org", "TXT", '"v=spf1 ip4:192.0.2.0/24 -all exp=why.example.org"')
    dns_server.add("why.example.org", "TXT", '"%{i} is none of ours"')
    dns_server.add("mx.example.org", "TXT", '"v=spf1 ip4:192.0.2.3 -all"')
    dns_server.add("soft.example.org", "TXT", '"v=spf1 ~all"')
    dns_server.add("broken.example.org", "TXT", '"v=spf1 ip4:nonsense -all"')
    dns_server.failing.add("failing.example.org")
    return (dns_server.address,)


def notes(answer):
    return [(note.result, note.domain, dict(note.properties)) for note in (answer.notes if isinstance(answer, Verdict) else answer.notes_of(AuthResult))]


def test_a_host_that_may_send_leaves_a_note(letter, stage, names) -> None:
    before = letter()
    assert notes(stage(Spf, nameservers=names).process(before)) == [("pass", "example.org", {"smtp.mailfrom": "ann@example.org"})]
    after = stage(Spf, nameservers=names, fail="reject", helo=True).process(before)
    assert after.message is before.message
    assert notes(after) == [
        ("pass", "example.org", {"smtp.mailfrom": "ann@example.org"}), ("pass", "mx.example.org", {"smtp.helo": "mx.example.org"}),
    ]  # fmt: skip


def test_a_host_that_may_not_is_refused_in_the_words_of_the_domain(letter, stage, names) -> None:
    verdict = stage(Spf, nameservers=names, fail="reject").process(letter("203.0.113.9"))
    assert (verdict.decision, str(verdict.status)) == (Decision.REJECT, "5.7.23")
    assert verdict.reason.endswith("example.org says: 203.0.113.9 is none of ours")
    assert notes(verdict)[0][0] == "fail"


@pytest.mark.parametrize(
    ("domain", "options", "decision", "status"),
    [
        ("example.org", {"fail": "quarantine"}, Decision.QUARANTINE, "2.0.0"),
        ("soft.example.org", {"softfail": "reject"}, Decision.REJECT, "5.7.23"),
        ("broken.example.org", {"permerror": "reject"}, Decision.REJECT, "5.7.24"),
        ("failing.example.org", {"temperror": "defer"}, Decision.DEFER, "4.7.24"),
    ],
)
def test_each_result_has_a_policy(domain, options, decision, status, letter, stage, names) -> None:
    one = stage(Spf, nameservers=names, **options)
    verdict = one.process(letter("203.0.113.9", sender=f"ann@{domain}"))
    assert (verdict.decision, str(verdict.status)) == (decision, status)
    assert one.decisions(one.options) == (decision,)
    relaxed = stage(Spf, nameservers=names)
    assert not isinstance(relaxed.process(letter("203.0.113.9", sender=f"ann@{domain}")), Verdict)
    assert relaxed.decisions(relaxed.options) == ()


def test_a_tag_stands_on_top_and_changes_nothing_else(letter, stage, names) -> None:
    before = letter("203.0.113.9", helo='odd "helo"\\')
    one = stage(Spf, nameservers=names, fail="tag")
    after = one.process(before)
    octets = bytes(after.message)
    assert octets.endswith(LETTER)
    field = after.message.header.fields[0]
    assert field.name == "Received-SPF"
    assert field.text.startswith('fail receiver=unknown; identity=mailfrom; client-ip=203.0.113.9; envelope-from="ann@example.org"; helo="odd \\"helo\\"\\\\"')
    assert [note.stage for note in after.notes_of(Changed)] == ["spf"]
    assert one.accesses(one.options)[1].has_field("received-spf")


def test_a_null_sender_is_the_name_of_helo(letter, stage, names) -> None:
    after = stage(Spf, nameservers=names).process(letter(sender=""))
    assert notes(after) == [("pass", "mx.example.org", {"smtp.helo": "mx.example.org"})]


def test_archives_tell_by_their_topmost_fields(letter, stage, names, dns_server) -> None:
    assert notes(stage(Spf, nameservers=names, fail="reject").process(letter(address=""))) == [("none", "", {})]
    assert not dns_server.asked
    assert stage(Spf, nameservers=names, fail="reject", trust_received=1).process(letter(address="")).decision is Decision.REJECT


def test_a_name_server_that_is_none_is_told_at_once(stage) -> None:
    with pytest.raises(ConfigError, match="nameservers"):
        stage(Spf, nameservers=("nowhere",))
