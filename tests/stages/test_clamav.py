"""Clamd is asked over a real socket, and what it finds is refused, set aside, marked or stripped."""

import base64

import pytest
from pydantic import ValidationError

from mailpipe.errors import RemoteProtocolError, TransientFailure
from mailpipe.pipeline.mail import Changed
from mailpipe.pipeline.verdict import Decision
from mailpipe.stages.clamav import Clamav, ClamavOptions, VirusFound, VirusScan
from mailpipe.stages.clamav_session import CHUNK, TooLarge
from mailpipe.testing.clamd import EICAR, SIGNATURE, Clamd

CLEAN = b"From: Ann <ann@example.org>\r\nSubject: Lunch\r\n\r\nAt twelve?\r\n"
MIXED = (
    b"From: Ann <ann@example.org>\r\nSubject: the invoice\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\nContent-Type: text/plain\r\n\r\nsee below\r\n"
    b'--b\r\nContent-Type: application/octet-stream\r\nContent-Disposition: attachment; filename="invoice.com"\r\n'
    b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(EICAR).replace(b"\n", b"\r\n")
    + b"--b\r\nContent-Type: text/csv\r\nContent-Disposition: attachment; filename=list.csv\r\n\r\na,b\r\n--b--\r\n"
)  # fmt: skip
PLAIN = CLEAN + EICAR + b"\r\n"


@pytest.fixture
def clamd():
    with Clamd() as server:
        yield server


@pytest.fixture(params=["tcp", "unix"])
def either(request, tmp_path):
    with Clamd(path=str(tmp_path / "clamd.ctl") if request.param == "unix" else "") as server:
        yield server


def test_a_clean_message_passes_as_it_is(either, mail, stage):
    one = stage(Clamav, address=either.address)
    given = mail(CLEAN)
    passed = one.process(given)
    assert passed.message is given.message
    assert passed.notes == (VirusScan(),)
    assert either.scanned == [CLEAN]


def test_a_virus_is_refused(either, mail, stage):
    verdict = stage(Clamav, address=either.address).process(mail(PLAIN))
    assert (verdict.decision, verdict.code, str(verdict.status)) == (Decision.REJECT, 550, "5.7.1")
    assert verdict.reason == f"it holds a virus: {SIGNATURE}"
    assert verdict.notes == (VirusScan((VirusFound(SIGNATURE),)),)


@pytest.mark.parametrize(("action", "decision"), [("quarantine", Decision.QUARANTINE), ("drop", Decision.DROP)])
def test_a_virus_is_set_aside_or_thrown_away(clamd, mail, stage, action, decision):
    assert stage(Clamav, address=clamd.address, on_virus=action).process(mail(PLAIN)).decision is decision


def test_a_tag_changes_one_field_and_nothing_else(clamd, mail, stage):
    passed = stage(Clamav, address=clamd.address, on_virus="tag").process(mail(PLAIN))
    assert bytes(passed.message) == PLAIN.replace(b"\r\n\r\n", b"\r\nX-Virus: " + SIGNATURE.encode() + b"\r\n\r\n", 1)
    assert [note.what for note in passed.notes_of(Changed)] == [f"X-Virus added: {SIGNATURE}"]


def test_strip_replaces_the_part_and_keeps_every_other_octet(clamd, mail, stage):
    # the encoded content hides it from this clamd, as an unknown archive would from a real one
    one = stage(Clamav, address=clamd.address, on_virus="strip", parts=True)
    passed = one.process(mail(MIXED))
    begin, end = MIXED.index(b"--b\r\nContent-Type: application"), MIXED.index(b"--b\r\nContent-Type: text/csv")
    changed = bytes(passed.message)
    assert changed.startswith(MIXED[:begin] + b"--b\r\n")
    assert changed.endswith(MIXED[end:])
    part = passed.message.part("2")
    assert part.text.rstrip() == f"The attachment invoice.com was removed: it holds {SIGNATURE}."
    assert [note.what for note in passed.notes_of(Changed)] == [f"part 2 replaced by a note: {SIGNATURE}"]
    assert next(passed.notes_of(VirusScan)).found == (VirusFound(SIGNATURE, "2"),)
    assert EICAR not in b"".join(leaf.octets for _, leaf in passed.message.walk() if not leaf.parts)


def test_strip_looks_for_the_part_only_where_something_was_found(clamd, mail, stage):
    one = stage(Clamav, address=clamd.address, on_virus="strip")
    one.process(mail(CLEAN))
    assert len(clamd.scanned) == 1
    passed = one.process(mail(PLAIN))
    assert "removed" in passed.message.body_text
    assert passed.message.subject == "Lunch"


def test_what_cannot_be_stripped_is_set_aside(clamd, mail, stage):
    hidden = CLEAN.replace(b"Lunch", EICAR)
    verdict = stage(Clamav, address=clamd.address, on_virus="strip").process(mail(hidden))
    assert verdict.decision is Decision.QUARANTINE


def test_parts_find_what_their_encoding_hides(clamd, mail, stage):
    assert stage(Clamav, address=clamd.address).process(mail(MIXED)).notes == (VirusScan(),)
    verdict = stage(Clamav, address=clamd.address, parts=True).process(mail(MIXED))
    assert verdict.decision is Decision.REJECT
    assert clamd.scanned[-2] == EICAR


def test_a_message_of_several_chunks_arrives_whole(clamd, mail, stage):
    long = CLEAN + b"0123456789abcde\n" * (CHUNK // 4)
    stage(Clamav, address=clamd.address).process(mail(long))
    stage(Clamav, address=clamd.address).process(mail(b""))
    assert clamd.scanned == [long, b""]


def test_one_connection_serves_many_mails(clamd, mail, stage):
    one = stage(Clamav, address=clamd.address)
    for _ in range(20):
        one.process(mail(CLEAN))
    assert (len(clamd.scanned), clamd.connections) == (20, 1)


def test_a_connection_that_was_closed_meanwhile_is_opened_again(mail, stage):
    with Clamd(does="forget", times=3) as server:
        one = stage(Clamav, address=server.address)
        assert all(one.process(mail(CLEAN)).notes == (VirusScan(),) for _ in range(5))
        assert server.connections == 4


def test_a_message_that_is_too_large_is_not_sent(clamd, mail, stage):
    given = mail(PLAIN)
    passed = stage(Clamav, address=clamd.address, max_size=20).process(given)
    assert passed.notes == (VirusScan(is_complete=False),)
    for action in ("reject", "quarantine"):
        verdict = stage(Clamav, address=clamd.address, max_size=20, too_large=action).process(given)
        assert verdict.decision == action
    with pytest.raises(TooLarge):
        stage(Clamav, address=clamd.address, max_size=20, too_large="fail").process(given)
    assert clamd.scanned == []


def test_the_limit_of_clamd_is_that_of_the_stage_too(mail, stage, caplog):
    with Clamd(limit=1000) as server:
        one = stage(Clamav, address=server.address)
        assert one.process(mail(CLEAN + b"x" * 2000)).notes == (VirusScan(is_complete=False),)
        assert "no more octets than its StreamMaxLength; set max_size" in caplog.text
        assert one.process(mail(PLAIN)).decision is Decision.REJECT


@pytest.mark.parametrize(
    ("does", "kind", "words"),
    [
        ("hang", TransientFailure, "gave no answer within 200ms"),
        ("close", TransientFailure, "it closed the connection without an answer; is it running"),
        ("error", TransientFailure, r"could not scan: lstat\(\) failed: No such file or directory"),
        ("garbage", RemoteProtocolError, "answered"),
        ("endless", RemoteProtocolError, "sends an answer without end"),
    ],
)
def test_a_clamd_that_misbehaves_lets_nothing_through(mail, stage, does, kind, words):
    with Clamd(does=does, times=1) as server:
        one = stage(Clamav, address=server.address, timeout=0.2 if does == "hang" else 20)
        with pytest.raises(kind, match=words):
            one.process(mail(CLEAN))
    with Clamd() as server:
        good = stage(Clamav, address=server.address)
        assert good.process(mail(PLAIN)).decision is Decision.REJECT


def test_a_clamd_that_is_not_there_lets_nothing_through(mail, stage, tmp_path):
    with pytest.raises(TransientFailure, match=r"clamd at .*clamd.ctl.*is it running, and is the stage's address right"):
        stage(Clamav, address=str(tmp_path / "clamd.ctl")).process(mail(CLEAN))


def test_after_trouble_the_next_mail_is_scanned(mail, stage):
    with Clamd(does="close", times=1) as server:
        one = stage(Clamav, address=server.address)
        with pytest.raises(TransientFailure):
            one.process(mail(CLEAN))
        assert one.process(mail(PLAIN)).decision is Decision.REJECT


def test_the_options_say_what_it_may_do():
    assert Clamav.decisions(ClamavOptions()) == (Decision.REJECT,)
    assert Clamav.decisions(ClamavOptions(on_virus="strip", too_large="reject")) == (Decision.REJECT, Decision.QUARANTINE)
    assert Clamav.accesses(ClamavOptions())[1].message is False
    assert Clamav.accesses(ClamavOptions(on_virus="tag"))[1].fields == ("X-Virus",)
    assert Clamav.accesses(ClamavOptions(on_virus="strip"))[1].body is True
    with pytest.raises(ValidationError, match="no valid port"):
        ClamavOptions(address="127.0.0.1:none")
