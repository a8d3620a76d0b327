"""Every storage call × {kill -9, ENOSPC, EIO, EDQUOT}, of the queue, the file sinks and the journal.

Each scenario is walked by this file run as a program, since it forks for every fault. After each fault it looks at the
disk: nothing partial is visible, nothing is said to be there that is not, nothing that was there before is harmed.
"""

import contextlib
import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mailpipe
from mailpipe.archive.mbox import split, unquote
from mailpipe.pipeline.journal import Journal, digest_of
from mailpipe.pipeline.mail import Mail, Origin
from mailpipe.pipeline.outcome import Ending as Ended
from mailpipe.pipeline.outcome import Outcome
from mailpipe.queue import Queue, RecipientFate, RecipientResult
from mailpipe.sinks.eml import EmlSink
from mailpipe.sinks.maildir import MaildirSink
from mailpipe.sinks.mbox import MboxSink
from mailpipe.smtp.envelope import Envelope
from mailpipe.status import EnhancedStatus
from mailpipe.testing.storage import walk

BEFORE = b"Subject: before\n\nit was here before\n"
MESSAGE = b"Subject: new\n\n" + b"a line of the new one\n" * 400
NEXT = b"Subject: next\n\nthe next one\n"
ENVELOPE = Envelope.of("ann@example.org", "bob@example.net")
FULL = ("ENOSPC", "EDQUOT")


def mail(octets):
    return Mail(mailpipe.parse(octets), ENVELOPE, Origin("eml", "test.eml", 0, len(octets)))


class Scenario:
    """One piece of code that writes, in a folder that is made anew for each run."""

    own_error = "OutputError"
    most = 0

    def __init__(self, folder):
        self.top, self.folder = folder, folder / "run"

    def prepare(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()

    def trouble(self, fault, ending):
        """What is wrong after a fault, in words."""
        if ending.kind == "raised" and not ending.value.startswith(self.own_error):
            yield f"raised {ending.value}"
        if ending.kind == "raised" and fault and fault.do in FULL and "full" not in ending.value.lower() and (
            "quota" not in ending.value.lower() and "space" not in ending.value.lower()
        ):  # fmt: skip
            yield f"does not say that the disk is full: {ending.value}"
        if fault is None and ending.kind != "done":
            yield f"the undisturbed run: {ending}"


class QueueScenario(Scenario):
    def open(self):
        return Queue(self.folder / "queue", in_doubt="hold")

    def prepare(self):
        super().prepare()
        with self.open() as queue:
            self.before = queue.put(BEFORE, ENVELOPE, origin="before")

    def trouble(self, fault, ending):
        yield from super().trouble(fault, ending)
        for path in (self.folder / "queue" / "content").rglob("*.mail"):
            octets = path.read_bytes()
            if not octets.endswith(b"mailpipe1\n") or not octets.startswith((BEFORE, MESSAGE)):
                yield f"a partial file {path.name}"
        with self.open() as queue:
            here = {entry.id: entry for entry in queue.list()}
            yield from self.look(here, ending)
            queue.doctor(repair=True, deep=True)
            if findings := queue.doctor(deep=True):
                yield f"the doctor is not done: {findings}"
            for entry in queue.list():
                if entry.octets not in (BEFORE, MESSAGE):
                    yield "a message is not what it was"
            yield from self.look_again({entry.id: entry for entry in queue.list()}, ending)

    def look(self, here, ending):
        yield from ()

    def look_again(self, here, ending):
        yield from ()


class QueueMade(QueueScenario):
    """A queue directory comes about."""

    most = 4

    def prepare(self):
        Scenario.prepare(self)

    def act(self, faulty):
        with faulty:
            self.open().close()
        return ""

    def look(self, here, ending):
        if here:
            yield "a message out of nothing"


class QueuePut(QueueScenario):
    """A message is taken over."""

    def act(self, faulty):
        with self.open() as queue, faulty:
            return queue.put(MESSAGE, ENVELOPE, origin="new")

    def look(self, here, ending):
        if self.before not in here or here[self.before].octets != BEFORE:
            yield "what was acknowledged before is gone"
        if ending.kind == "done" and (ending.value not in here or here[ending.value].octets != MESSAGE):
            yield "acknowledged and not there"
        if ending.kind == "raised" and len(here) > 1:
            yield "not acknowledged and there all the same"

    def look_again(self, here, ending):
        if ending.kind == "done" and ending.value not in here:
            yield "the doctor took away what was acknowledged"


class QueueSettled(QueueScenario):
    """A message is delivered and leaves."""

    def act(self, faulty):
        with self.open() as queue:
            [entry] = queue.lease()
            [path] = entry.envelope.forward_paths
            with faulty:
                queue.settle(entry, [RecipientResult(path, RecipientFate.DELIVERED, EnhancedStatus(2, 0, 0))])
        return entry.id

    def look_again(self, here, ending):
        waiting = [one.state for entry in here.values() for one in entry.recipients if one.next_try is not None]
        if waiting:
            yield f"it will be sent again by itself: {waiting}"
        if ending.kind == "done" and here:
            yield "settled and still there"


class QueuePutOff(QueueScenario):
    """A message is put off and stays."""

    def act(self, faulty):
        with self.open() as queue:
            [entry] = queue.lease()
            [path] = entry.envelope.forward_paths
            with faulty:
                queue.settle(entry, [RecipientResult(path, RecipientFate.DEFERRED, EnhancedStatus(4, 0, 0))])
        return entry.id

    def look_again(self, here, ending):
        if self.before not in here or here[self.before].octets != BEFORE:
            yield "a message that was put off is gone"


class FileSink(Scenario):
    """A sink that makes one file a mail, under a temporary name first."""

    def deliver(self, octets, faulty):
        sink = self.sink()
        sink.open()
        with faulty:
            return sink.deliver(mail(octets)).reference

    def prepare(self):
        super().prepare()
        self.deliver(BEFORE, contextlib.nullcontext())

    def act(self, faulty):
        return self.deliver(MESSAGE, faulty)

    def trouble(self, fault, ending):
        yield from super().trouble(fault, ending)
        files = [path.read_bytes() for path in self.visible()]
        if any(octets not in (BEFORE, MESSAGE) for octets in files):
            yield "a partial file"
        if files.count(BEFORE) != 1:
            yield "what was there before is harmed"
        if ending.kind == "done" and files.count(MESSAGE) != 1:
            yield f"delivered and there {files.count(MESSAGE)} times"
        if ending.kind == "raised" and MESSAGE in files:
            yield "not delivered and there all the same: it will come twice"
        if ending.kind == "raised" and not fault.onwards and (left := list(self.temporary())):
            yield f"left behind: {left}"
        if ending.kind != "done":
            self.deliver(NEXT, contextlib.nullcontext())
            if [path.read_bytes() for path in self.visible()].count(NEXT) != 1:
                yield "the next mail does not arrive"


class ToMaildir(FileSink):
    """A mail goes into a Maildir."""

    def sink(self):
        return MaildirSink(MaildirSink.Options(path=self.folder / "mail"))

    def visible(self):
        return [path for place in ("new", "cur") for path in (self.folder / "mail" / place).iterdir()]

    def temporary(self):
        return (self.folder / "mail" / "tmp").iterdir()


class ToEml(FileSink):
    """A mail goes into a file of its own."""

    def sink(self):
        return EmlSink(EmlSink.Options(directory=self.folder / "out"))

    def visible(self):
        return [path for path in (self.folder / "out").iterdir() if not path.name.startswith(".")]

    def temporary(self):
        return [path for path in (self.folder / "out").iterdir() if path.name.startswith(".")]


class NoLinks(ToMaildir):
    """The same on a file system that has no links."""

    def deliver(self, octets, faulty):
        def refused(*_):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

        real, os.link = os.link, refused
        try:
            return super().deliver(octets, faulty)
        finally:
            os.link = real


class Opened(Scenario):
    """The place of a file sink comes about, and what is already there stays."""

    def act(self, faulty):
        sink = ToMaildir(self.top).sink()
        with faulty:
            sink.open()
        return sink.deliver(mail(MESSAGE)).reference

    def trouble(self, fault, ending):
        yield from super().trouble(fault, ending)
        sink = ToMaildir(self.top).sink()
        sink.open()
        sink.deliver(mail(NEXT))
        files = [path.read_bytes() for path in (self.folder / "mail" / "new").iterdir()]
        if files.count(NEXT) != 1 or (ending.kind == "done") != (MESSAGE in files):
            yield "opened and not usable"


class ToMbox(Scenario):
    """A mail is appended to an mbox."""

    lock = "both"

    def sink(self):
        return MboxSink(MboxSink.Options(path=self.folder / "a.mbox", lock=self.lock, lock_timeout=0))

    def deliver(self, octets, faulty):
        sink = self.sink()
        sink.open()
        with faulty:
            return sink.deliver(mail(octets)).reference

    def prepare(self):
        super().prepare()
        self.deliver(BEFORE, contextlib.nullcontext())
        self.octets = (self.folder / "a.mbox").read_bytes()

    def act(self, faulty):
        return self.deliver(MESSAGE, faulty)

    def messages(self):
        octets = (self.folder / "a.mbox").read_bytes()
        return [unquote(octets[one.begin : one.end], "mboxrd") for one in split(octets, "mboxrd")]

    def trouble(self, fault, ending):
        yield from super().trouble(fault, ending)
        octets = (self.folder / "a.mbox").read_bytes()
        if not octets.startswith(self.octets):
            yield "what was there before is harmed"
        if ending.kind == "done" and self.messages() != [BEFORE, MESSAGE]:
            yield "delivered and not there"
        if ending.kind == "raised" and octets != self.octets:
            yield "not delivered, and the archive is not as it was"
        lock = self.folder / "a.mbox.lock"
        if ending.kind == "killed":
            lock.unlink(missing_ok=True)  # by hand, as the error message says
        if lock.exists() and fault.call == "unlink":
            lock.unlink()  # it could not be taken away; the log says so
        if lock.exists():
            yield "the lock is left behind"
            lock.unlink()
        if ending.kind != "done":
            self.deliver(NEXT, contextlib.nullcontext())
            found = self.messages()
            if found[0] != BEFORE or found[-1] != NEXT or len(found) > 3:
                yield f"the next mail is not by itself: {found}"


class Journalled(Scenario):
    """A mail is begun, handed over, ended."""

    origin = Origin("mbox", "x.mbox", 120, 10)
    digest = digest_of(origin, MESSAGE)

    def open(self):
        return Journal.open(self.folder / "a.journal", {"sink": "1"})

    def prepare(self):
        super().prepare()
        with self.open() as journal:
            journal.begin(b"b" * 16, self.origin)
            journal.end(b"b" * 16, self.outcome())
            journal.sync()

    def outcome(self):
        return Outcome(self.origin, Ended.DELIVERED, EnhancedStatus(2, 0, 0), size_in=1, size_out=1)

    def act(self, faulty):
        with faulty, self.open() as journal:
            journal.begin(self.digest, self.origin)
            open(self.folder / "handed-over", "w").close()  # past the functions that are counted
            journal.end(self.digest, self.outcome())
            journal.sync()
        return "told the source"

    def trouble(self, fault, ending):
        yield from super().trouble(fault, ending)
        with self.open() as journal:
            is_done, is_in_doubt = self.digest in journal.done, self.digest in journal.in_doubt
            if b"b" * 16 not in journal.done:
                yield "what was journalled before is gone"
            if ending.kind == "done" and not is_done:
                yield "the source was told, and the journal does not know"
            if (self.folder / "handed-over").exists() and not (is_done or is_in_doubt):
                yield "it was handed over, and the journal does not know that it was begun"
            if is_done and not (self.folder / "handed-over").exists():
                yield "done, though it was never handed over"
            journal.begin(b"n" * 16, self.origin)
            journal.end(b"n" * 16, self.outcome())
        with self.open() as journal:
            if b"n" * 16 not in journal.done:
                yield "the next mail is not journalled"


class JournalMade(Journalled):
    """A journal comes about."""

    def prepare(self):
        Scenario.prepare(self)

    def act(self, faulty):
        with faulty:
            self.open().close()
        return "made"

    def trouble(self, fault, ending):
        yield from Scenario.trouble(self, fault, ending)
        with self.open() as journal:
            journal.begin(self.digest, self.origin)
            journal.end(self.digest, self.outcome())
        with self.open() as journal:
            if self.digest not in journal.done:
                yield "a journal that came about in trouble is not usable"


SCENARIOS = {
    "queue-made": (QueueMade, {"mkdir", "open", "fsync"}),
    "queue-put": (QueuePut, {"open", "write", "fsync", "rename"}),
    "queue-settled": (QueueSettled, {"unlink"}),
    "queue-put-off": (QueuePutOff, set()),
    "maildir": (ToMaildir, {"open", "write", "fsync", "link", "unlink"}),
    "maildir-without-links": (NoLinks, {"open", "write", "fsync", "rename"}),
    "maildir-made": (Opened, {"mkdir"}),
    "eml": (ToEml, {"open", "write", "fsync", "link", "unlink"}),
    "mbox": (ToMbox, {"open", "write", "fsync"}),
    "journal-made": (JournalMade, {"open", "write", "fsync"}),
    "journal": (Journalled, {"open", "write"}),
}


def main(name, folder):
    """Walk one scenario and say what came of it."""
    scenario = SCENARIOS[name][0](Path(folder))
    walked, trouble = [], []
    for fault, ending in walk(scenario.prepare, scenario.act, most=scenario.most):
        walked.append([str(fault), ending.kind, sorted(ending.calls)])
        try:
            trouble += [f"{fault} {ending.kind}: {words}" for words in scenario.trouble(fault, ending)]
        except Exception as error:  # noqa: BLE001 - goes into the report
            trouble.append(f"{fault} {ending.kind}: the look at the disk failed: {error!r}")
    print(json.dumps({"walked": walked, "trouble": trouble}))


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_storage_fault_leaves_anything_partial_or_false(name, tmp_path):
    done = subprocess.run([sys.executable, __file__, name, str(tmp_path)], capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    calls = set(report["walked"][0][2])
    assert calls >= SCENARIOS[name][1]
    assert report["trouble"] == []
    kinds = {kind for _, kind, _ in report["walked"]}
    assert kinds >= {"done", "killed"} or not calls


if __name__ == "__main__":
    main(*sys.argv[1:])
