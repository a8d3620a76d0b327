"""What `broken_by` predicts is what a real verifier finds: each built-in stage × samples by dkimpy, openssl and gpg.

A stage that may touch the message has a row in ROWS; the test of that name fails for one without.
"""

import asyncio
import contextlib
import importlib.util
import inspect
import json
import random
import shutil
from dataclasses import replace
from pathlib import Path

import dkim
import pytest
from dkim.util import InvalidTagValueList

import mailpipe
from mailpipe import Envelope, Mail, Services, Verdict
from mailpipe.auth.signatures import State, survival
from mailpipe.pipeline.mail import Origin
from mailpipe.pipeline.notes import AuthResult
from mailpipe.plugins import load_registry
from mailpipe.smtp.envelope import Client
from mailpipe.testing.clamd import Clamd
from mailpipe.testing.web import WebServer

# stage → options of which each is tried; in texts names in braces are filled in: {folder}, files of keys, servers.
# A text in the place of the list says why a stage is not tried.
ROWS = {
    "add-header": [{"name": "X-List", "value": "harbour"}, {"name": "To", "value": "list@example.net", "position": "top"}],
    "arc-seal": [{"server": "mx.example.net", "domain": "example.net", "selector": "s1", "key": "{rsa}", "nameservers": ["{dns}"]}],
    "arc-verify": [{"nameservers": ["{dns}"]}],
    "authentication-results": [{"server": "mx.example.org"}, {"remove": "all", "add": False}, {"remove": "all", "methods": ["dmarc"]}],
    "block-types": [{"deny_types": ["application/pdf"], "then": "strip"}, {"deny_types": ["application/pdf"], "then": "tag"}],
    "clamav": [{"address": "{clamd}", "parts": True, "on_virus": "tag"}, {"address": "{clamd}", "parts": True, "on_virus": "strip"}],
    "decode-mime": [{}, {"on_lossy": "tag"}],
    "decode-uuencode": [{}],
    "deduplicate": "it waits for the outcomes of other mails; what it writes is a tag, as dkim-verify does",
    "dkim-sign": [{"selector": "s1", "key": "{rsa}"}, {"selector": "s2", "key": "{ed25519}", "canonicalization": "simple/simple"}],
    "dkim-verify": [{"nameservers": ["{dns}"]}, {"nameservers": ["{dns}"], "on_fail": "tag"}],
    "dmarc": [{"nameservers": ["{dns}"]}, {"nameservers": ["{dns}"], "on_none": "tag"}],
    "expand-nested": [{}],
    "external-command": [{"command": ["cat"], "result": "message"}, {"command": ["sed", "s/pay/give/"], "result": "message"}],
    "extract-attachments": [{"directory": "{folder}", "then": then} for then in ("keep", "note", "detach")],
    "footer": [{"text": "-- \nlist@example.net"}, {"text": "Schöne Grüße", "html": "<p>Sch&ouml;ne Gr&uuml;&szlig;e</p>"}],
    "html-to-text": [{}, {"keep_html": False}],
    "http-hook": [{"url": "{hook}/add"}, {"url": "{hook_removing}/remove"}],
    "loop-check": [{"mark": "mx.example.net"}],
    "normalize-charset": [{}],
    "re-encode": [
        {"on_signed": "keep"}, {"on_signed": "keep", "domain": "7bit", "utf8_header": False}, {"on_signed": "keep", "charset": "utf-8"},
        {"on_signed": "keep", "parts": "all"}, {"on_signed": "keep", "parts": "all", "domain": "7bit", "charset": "ascii"},
    ],
    "redact": [{"patterns": ["email"], "custom": {"number": "4711"}, "on_unreadable": "keep"}],
    "remove-header": [{"names": ["To", "X-*"]}, {"names": ["Received"]}],
    "rename-header": [{"name": "Subject", "to": "X-Subject"}, {"name": "Received", "to": "X-Received"}],
    "rspamd": [{"url": "{rspamd}"}, {"url": "{rspamd_rewriting}"}],
    "sanitize-html": [{"on_refused": "keep"}],
    "script": [{"expression": "mail.with_message(message.with_header(header.without('Received')))"}, {"expression": "mail.with_message(message.wrap())"}],
    "set-header": [{"name": "Subject", "value": "Invoice 4711"}, {"name": "X-Spam", "value": "no"}],
    "spf": [{"nameservers": ["{dns}"]}, {"nameservers": ["{dns}"], "fail": "tag"}],
    "strip-attachments": [{}, {"then": "detach"}],
    "subject-tag": [{"tag": "[list]"}],
    "unwrap-tnef": [{}],
    "validate-headers": [{}, dict.fromkeys(
        ["required_fields", "single_fields", "date_syntax", "address_syntax", "message_id", "line_length", "seven_bit", "folding", "field_syntax", "mime_version", "content_type"],
        "repair",
    ), {"date_syntax": "tag"}],
}  # fmt: skip


SCANNED = {"is_skipped": False, "score": 7.0, "required_score": 15.0, "symbols": {}, "time_real": 0.02}
ANSWERS = {
    "hook": {"add_fields": [["X-Checked", "yes"]]},
    "hook_removing": {"add_fields": [["Reply-To", "list@example.net"]], "remove_fields": ["To"]},
    "rspamd": {**SCANNED, "action": "add header"},
    "rspamd_rewriting": {**SCANNED, "action": "rewrite subject", "subject": "[spam] Invoice"},
}
"""What the servers say that some stages ask."""


def _module(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


signers = _module(Path(__file__).with_name("signers.py"))
STAGES = {entry.name: entry for entry in load_registry(None).entries("stage") if entry.load().__module__.startswith("mailpipe.")}
TRIED = [(name, number) for name, rows in ROWS.items() if name in STAGES and not isinstance(rows, str) for number in range(len(rows))]
EDITS = signers.edits()
DKIM = [f"dkimpy {name} {form}" for name in signers.BODIES for form in ("simple", "relaxed")]
DKIM += ["dkimpy plain l=", "dkimpy plain l=, longer", "dkimpy plain some fields", "dkimpy plain LF", "dkimpy arc", "dkimpy ed25519"]
OPENSSL = ["openssl detached", "openssl detached plain", "openssl opaque"]
GPG = ["gpg mime multipart", "gpg mime plain", "gpg text ascii", "gpg text umlauts"]
SAMPLES = [
    *DKIM,
    *(pytest.param(name, marks=pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")) for name in OPENSSL),
    *(pytest.param(name, marks=pytest.mark.skipif(shutil.which("gpg") is None, reason="gpg is not installed")) for name in GPG),
]


@pytest.fixture(scope="session")
def samples(keys, tmp_path_factory):
    """Every sample by name, of the programs that are there."""
    made = signers.dkim_samples(keys)
    if shutil.which("openssl"):
        made |= signers.Openssl(tmp_path_factory.mktemp("openssl")).samples()
    if not shutil.which("gpg"):
        yield made
        return
    with signers.Gpg() as gpg:
        yield made | gpg.samples()


@pytest.fixture(scope="session")
def filled(keys, tmp_path_factory):
    """Options with what only this run knows filled in; behind {dns} is a name server that has the keys."""
    folder = tmp_path_factory.mktemp("survival")
    for kind in ("rsa", "ed25519"):
        (folder / f"{kind}.pem").write_bytes(getattr(keys, f"{kind}_pem"))
    server = _module(Path(__file__).parents[1] / "net" / "dns_server.py").DnsServer()
    for name, record in keys.records.items():
        text = record.decode()
        server.add(name, "TXT", " ".join(f'"{text[at : at + 200]}"' for at in range(0, len(text), 200)))
    server.add("example.org", "TXT", '"v=spf1 -all"')
    server.add("_dmarc.example.org", "TXT", '"v=DMARC1; p=none"')
    names = {"folder": folder / "files", "rsa": folder / "rsa.pem", "ed25519": folder / "ed25519.pem", "dns": server.address}

    def fill(options):
        text = json.dumps(options)
        for name, value in names.items():
            text = text.replace("{" + name + "}", str(value))
        return json.loads(text)

    with contextlib.ExitStack() as stack:
        stack.enter_context(server)
        for name, answer in ANSWERS.items():
            names[name] = stack.enter_context(WebServer((200, "application/json", json.dumps(answer).encode()))).url
        names["clamd"] = stack.enter_context(Clamd()).address
        yield fill


def messages_of(answer):
    """The messages that a stage lets pass."""
    if inspect.isawaitable(answer):
        answer = asyncio.run(answer)
    if isinstance(answer, Verdict):
        return []
    return [answer.message] if isinstance(answer, Mail) else [each.message for each in answer]


def predicted(sample, before, after):
    """Whether the signature of a sample is said to survive."""
    states = [state for one, state in survival(before, after) if one.kind == sample.kind or one.kind.startswith("ARC")]
    assert states, "the signature is not seen"
    assert State.BROKEN_BEFORE not in states
    return all(state == State.KEPT for state in states)


@pytest.mark.parametrize("name", sorted(STAGES))
def test_a_stage_that_may_touch_the_message_has_a_row(name: str) -> None:
    kind = STAGES[name].load()
    if name not in ROWS:
        assert not kind.touches.message, f"{name} may change the message: give it a row in ROWS, with options that make it do so"


@pytest.mark.parametrize("stage", TRIED, ids=lambda tried: f"{tried[0]}-{tried[1]}")
@pytest.mark.parametrize("name", SAMPLES)
def test_predicted_survival_is_what_a_verifier_finds(name, stage, samples, filled) -> None:
    sample = samples[name]
    before = mailpipe.parse(sample.octets)
    assert sample.believes(before), "the verifier does not believe the sample itself"
    kind = STAGES[stage[0]].load()
    one = kind(kind.Options.model_validate(filled(ROWS[stage[0]][stage[1]])))
    one.open(Services.for_tests(stage[0]))
    try:
        envelope = replace(Envelope.of("ann@example.org", "bob@example.net"), client=Client("192.0.2.3", helo="mx.example.net"))
        mail = Mail(before, envelope, Origin("eml", "sample.eml"), (AuthResult("spf", "pass"),))
        after = messages_of(one.process(mail))
    finally:
        one.close()
    for message in after:
        believed = sample.believes(message)
        assert predicted(sample, before, message) == believed
        assert predicted(sample, before, mailpipe.parse(bytes(message))) == believed


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("name", SAMPLES)
def test_what_an_edit_breaks_is_what_a_verifier_does_not_believe(name, edit, samples) -> None:
    sample = samples[name]
    before = mailpipe.parse(sample.octets)
    after = EDITS[edit](before)
    assert predicted(sample, before, after) == sample.believes(after)


PUTS = [b"", b" ", b"\t", b"\r\n", b"\r\n ", b"\r\n\t", b"x", b";", b":", b"=", b"X-A: b\r\n", b"From: e@example.com\r\n", b"\r\n\r\n", b"\n"]


@pytest.mark.parametrize("name", DKIM[:13])
def test_any_change_of_a_few_octets_is_foretold(name: str, samples) -> None:
    chance = random.Random(name)
    sample = samples[name]
    before = mailpipe.parse(sample.octets)
    for _ in range(60):
        at, put = chance.randrange(len(sample.octets)), chance.choice(PUTS)
        octets = sample.octets[:at] + put + sample.octets[at + chance.choice([0, 0, 1, 2, 3]) :]
        after = mailpipe.parse(octets)
        if octets.count(b"\r") != octets.count(b"\r\n"):
            continue  # dkimpy takes a bare CR for white space at the end of a field
        try:
            fields, _ = dkim.rfc822_parse(octets)
            believed = sample.believes(after)
        except (dkim.DKIMException, InvalidTagValueList, IndexError, KeyError, ValueError):
            continue  # dkimpy does not read it
        if [name.decode() for name, _ in fields] == list(after.header.keys()):
            assert predicted(sample, before, after) == believed, octets


def test_the_edits_break_some_and_keep_some(samples) -> None:
    for name, sample in samples.items():
        before = mailpipe.parse(sample.octets)
        found = {predicted(sample, before, edit(before)) for edit in EDITS.values()}
        # base64 holds no words to change
        assert found == ({True} if name == "openssl opaque" else {True, False}), name
