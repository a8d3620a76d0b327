"""Every built-in stage keeps the contract that authors of plugins are asked to keep."""

import pytest

from mailpipe.plugins import load_registry
from mailpipe.testing import StageContract

KEPT = {
    "accept": [{}],
    "add-header": [{"name": "X-Note", "value": "Grüße"}],
    "archive-copy": [{"directory": "copies"}, {"directory": "copies", "format": "eml"}],
    "authentication-results": [{"server": "mx.example.net"}],
    "block-types": [{}, {"deny_types": ["application/*"]}],
    "decode-mime": [{}, {"on_lossy": "tag", "on_damage": "quarantine"}],
    "decode-uuencode": [{}, {"damaged": True}],
    "deduplicate": [{"state_directory": "state"}],
    "defer": [{}],
    "drop": [{}],
    "expand-nested": [{}, {"how": "lift", "then": "note"}, {"how": "lift", "then": "detach"}],
    "extract-attachments": [{"directory": "files", "then": "note"}, {"directory": "files", "then": "detach", "inline": True}],
    "footer": [{"text": "Sent by mailpipe", "html": "<p>Sent by <b>mailpipe</b></p>"}],
    "html-to-text": [{}, {"keep_html": False}],
    "loop-check": [{}],
    "normalize-charset": [{}],
    "quarantine": [{}],
    "rate-limit": [{"count": 1000, "state_directory": "state"}],
    "re-encode": [{}, {"charset": "utf-8", "parts": "all"}],
    "redact": [{"patterns": ["email"]}],
    "redirect": [{"to": ["desk@example.net"]}],
    "reject": [{}],
    "remove-header": [{"names": ["Received", "X-*"]}],
    "rename-header": [{"name": "Subject", "to": "X-Subject"}],
    "sample": [{"share": 0.5}],
    "sanitize-html": [{}],
    "script": [{"expression": "mail.message.subject != 'x'"}],
    "set-header": [{"name": "Subject", "value": "[{subject}]"}],
    "strip-attachments": [{}, {"then": "detach", "inline": True}],
    "subject-tag": [{"tag": "[list]"}],
    "unwrap-tnef": [{}, {"keep": True}],
    "validate-headers": [{}],
}
"""Name → options to try."""

ASK_OTHERS = {"arc-seal", "arc-verify", "clamav", "dkim-sign", "dkim-verify", "dmarc", "external-command", "http-hook", "rspamd", "spf"}
"""Those that ask a server or a program, or need a key; their own tests bring one."""

TESTS = [name for name in vars(StageContract) if name.startswith("test_")]
CASES = [pytest.param(name, options, id=f"{name}-{number}") for name, every in KEPT.items() for number, options in enumerate(every, 1)]


def test_every_stage_is_held_to_it_or_asks_others():
    assert set(KEPT) | ASK_OTHERS == set(load_registry().names("stage")) and not set(KEPT) & ASK_OTHERS


@pytest.mark.parametrize("test", TESTS)
@pytest.mark.parametrize(("name", "options"), CASES)
def test_a_stage_keeps_the_contract(tmp_path, name, options, test):
    kept = type("Kept", (StageContract,), {"stage": name, "options": options})()
    method = getattr(kept, test)
    method(tmp_path) if method.__func__.__code__.co_argcount > 1 else method()
