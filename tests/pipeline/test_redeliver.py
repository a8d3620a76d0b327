"""What waits in the queue goes through the sink once more."""

from pathlib import Path

import pytest

from mailpipe.errors import TransientFailure
from mailpipe.pipeline.assemble import assemble
from mailpipe.pipeline.outcome import Ending, Fate, Receipt
from mailpipe.pipeline.redeliver import open_queue, redeliver
from mailpipe.pipeline.settings import QueueSettings, load_settings
from mailpipe.plugins import load_registry
from mailpipe.queue import Queue
from mailpipe.smtp.envelope import Envelope

DOWN = '''
"""A sink that is down as long as a file is there."""
import os
import mailpipe
from mailpipe.errors import TransientFailure
from mailpipe.pipeline.outcome import Fate


class Flaky(mailpipe.Sink):
    """Is down as long as a file is there."""

    name = "flaky"

    class Options(mailpipe.Options):
        """Where."""

        file: str
        """The file."""
        kept: str
        """The folder for what is taken."""

    def deliver(self, mail):
        if os.path.exists(self.options.file):
            raise TransientFailure("it is down")
        name = mail.message.subject.replace(" ", "-")
        with open(os.path.join(self.options.kept, name), "ab") as file:
            file.write(bytes(mail.message))
        return mailpipe.Receipt.of_all(mail.envelope.forward_paths, Fate.DELIVERED, "2.0.0", "taken")


def register(registry):
    registry.add_sink(Flaky)
'''


@pytest.fixture
def queue(tmp_path):
    with Queue(tmp_path / "queue") as queue:
        yield queue


def test_what_is_due_is_delivered_byte_for_byte_with_its_envelope(kit, queue):
    octets = kit.octets_of("x") + b"\0\xff"
    queue.put(octets, Envelope.of("ann@example.org", "a@x.example", "b@x.example"), origin="mbox:a:7")
    sink = kit.memory_sink()
    counts = redeliver(queue, sink)
    assert (counts.delivered, queue.counts().messages) == (2, 0)
    (mail,) = sink.mails
    assert bytes(mail.message) == octets and mail.envelope == Envelope.of("ann@example.org", "a@x.example", "b@x.example")


def test_a_sink_that_is_down_leaves_it_where_it_is(kit, queue):
    queue.put(kit.octets_of("x"), Envelope.of("", "a@x.example"), origin="here")

    def down(mail):
        raise TransientFailure("refused")

    assert redeliver(queue, kit.memory_sink(down)).deferred == 1
    assert redeliver(queue, kit.memory_sink()).messages == 0  # it is not due again yet
    assert redeliver(queue, kit.memory_sink(), everything=True).delivered == 1


@pytest.mark.parametrize(("fate", "counted"), [(Fate.FAILED, "failed"), (Fate.IN_DOUBT, "in_doubt"), (Fate.QUEUED, "deferred")])
def test_every_fate_has_its_place(kit, queue, fate, counted):
    queue.put(kit.octets_of("x"), Envelope.of("", "a@x.example"), origin="here")
    sink = kit.memory_sink(lambda mail: Receipt.of_all(mail.envelope.forward_paths, fate, "4.0.0"))
    assert getattr(redeliver(queue, sink), counted) == 1
    assert queue.counts().messages == 1


def test_the_queue_of_the_settings_is_opened(tmp_path):
    settings = QueueSettings.model_validate({"directory": tmp_path / "q", "retry": "1m", "expire": "1d"})
    with open_queue(settings) as queue:
        assert queue.counts().messages == 0 and queue.schedule.expire == 86400.0


@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_that_was_down_gets_everything_once(folder: Path, workers):
    (folder / "plugins" / "down.py").write_text(DOWN)
    (folder / "down").touch()
    (folder / "kept").mkdir()
    (folder / "pipe.toml").write_text(
        '[source]\nuse = "mbox"\npath = "archive.mbox"\n'
        f'[sink]\nuse = "flaky"\nfile = "{folder}/down"\nkept = "{folder}/kept"\n'
        f'[queue]\ndirectory = "spool"\nretry = "1ms"\n[run]\nworkers = {workers}\n'
    )

    def run():
        registry = load_registry(folder)
        with assemble(load_settings(folder / "pipe.toml", registry), registry) as pipeline:
            return pipeline.run()

    report = run()
    assert (report.endings[Ending.QUEUED], report.exit_code, report.queue.waiting) == (12, 0, 12)
    (folder / "down").unlink()
    report = run()
    assert (report.skipped, report.queue.delivered, report.queue.waiting) == (12, 12, 0)
    contents = sorted(path.read_bytes() for path in (folder / "kept").iterdir())
    assert len(contents) == 12 and all(octets.count(b"Subject:") == 1 for octets in contents)
    assert run().queue.delivered == 0
