"""Every `--help` ends with an example that can be pasted; here they are pasted."""

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from mailpipe.cli import check, diff, explain, new, plugins, queue, run, schema, send, show, trying, validate
from mailpipe.cli import filter as filter_verb
from mailpipe.queue import Queue
from mailpipe.smtp.envelope import Envelope

Run = Callable[..., object]
_VERBS = (run, check, trying, diff, explain, filter_verb, show, validate, plugins, send, schema)
EXAMPLES = {(): "mailpipe show message.eml", ("queue",): queue.EXAMPLE, ("new",): new.EXAMPLE}
EXAMPLES |= {(verb.NAME,): verb.EXAMPLE for verb in _VERBS}
EXAMPLES |= {("new", name): example for name, (_, example) in new.COMMANDS.items()}
EXAMPLES |= {("queue", name): example for name, (_, example) in queue.COMMANDS.items()}


@pytest.mark.parametrize("verb", EXAMPLES, ids=" ".join)
def test_the_help_ends_with_the_example_on_one_line(
    mailpipe: Run, monkeypatch: pytest.MonkeyPatch, verb: tuple[str, ...]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    lines = [line.strip() for line in mailpipe(*verb, "--help").text.splitlines() if line.strip()]
    assert lines[-2:] == ["Example:", EXAMPLES[verb]]


@pytest.mark.parametrize("example", sorted(set(EXAMPLES.values())))
def test_the_example_runs(mailpipe: Run, folder: Path, peer: object, example: str) -> None:
    words, octets = shlex.split(example), b""
    with (folder / "pipeline.toml").open("a") as file:
        file.write('[queue]\ndirectory = "spool"\n')
    (folder / "new.toml").write_bytes((folder / "pipeline.toml").read_bytes())
    if "--queue" in words:
        with Queue(folder / "spool") as made:
            to = Envelope.of("a@example.org", "b@example.net")
            name = made.put(b"Subject: x\r\n\r\nx", to, origin="test", in_doubt={"b@example.net"})
            words = [name if word == "0190abcd" else word for word in words]
    if "<" in words:
        at = words.index("<")
        octets = (folder / words[at + 1]).read_bytes()
        words[at:] = []
    if ">" in words:
        words[words.index(">") :] = []
    if words[1] == "explain":
        assert mailpipe("run", "pipeline.toml", "-q").code == 0
    words = [word.replace("localhost:25", f"127.0.0.1:{peer.port}") for word in words]
    assert words[0] == "mailpipe"
    ended = mailpipe(*words[1:], octets=octets)
    assert ended.code == 0, (ended.err, ended.text)
