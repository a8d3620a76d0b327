"""A plugin for the tests of isolation: stages that do what the subject says."""
import os
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import mailpipe
from mailpipe.pipeline.mail import Changed


@dataclass(frozen=True)
class Weight:
    """A note."""

    grams: int
    where: Path


class Local:
    """No dataclass."""


def subject_of(mail):
    return mail.message.subject or ""


class Misbehave(mailpipe.Stage):
    """Does what the subject says."""

    name = "misbehave"

    class Options(mailpipe.Options):
        """What it does at its beginning and end."""

        at_open: str = ""
        """What it does when it is opened."""
        at_close: str = ""
        """What it does when it is closed."""

    def open(self, services):
        self.services = services
        self.seen = 0
        self.act(self.options.at_open)

    def close(self):
        self.act(self.options.at_close)

    def act(self, word):
        if word == "raise":
            raise RuntimeError("as it was told")
        if word == "config":
            raise mailpipe.errors.ConfigError("set the option at_open to something else")
        if word == "secret":
            self.services.secrets.get("test-token")
        if word == "exit":
            os._exit(0)
        if word == "hang":
            time.sleep(1000)
        if word == "spin":
            while True:
                pass
        if word == "sys.exit":
            sys.exit("bye")
        if word == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if word == "eat":
            self.eaten = bytearray(1 << 40)
        if word == "eat slowly":
            self.eaten = []
            while True:
                self.eaten.append(bytes(100_000))
        if word == "recurse":
            self.act(word)
        if word == "print":
            print("garbage " * 1000, flush=True)
            os.write(1, bytes(range(256)))
        if word == "close everything":
            os.closerange(0, 1000)
        if word == "close everything and open another":
            os.closerange(0, 1000)
            self.files = [os.open("/dev/null", os.O_WRONLY) for _ in range(20)]
        if word == "close everything and hang":
            os.closerange(0, 1000)
            time.sleep(1000)
        if word == "garble":
            for number in map(int, os.listdir("/proc/self/fd")):
                with suppress(OSError):
                    os.write(number, b"nonsense" * 100 if number > 2 else b"")
        if word == "fork":
            os.fork()
        if word == "leave a child and die":
            if os.fork() == 0:
                time.sleep(1000)
            os._exit(3)

    def process(self, mail):
        word = subject_of(mail)
        self.seen += 1
        self.act(word)
        if word == "return a number":
            return 7
        if word == "return nothing":
            return None
        if word == "return text among mails":
            return [mail, "text"]
        if word == "without end":
            return iter(lambda: mail, None)
        if word == "a note that is none":
            return mail.with_note(Local())
        if word == "a function as a note":
            return mail.with_note(lambda: 1)
        if word == "grow":
            return mail.with_message(mailpipe.parse(bytes(mail.message) + bytes(1000)))
        if word == "drop":
            return mailpipe.Verdict.drop("\udc80 unwanted", notes=(Changed("misbehave", "nothing"),))
        if word == "reject":
            return mailpipe.Verdict.reject("no", code=554, status="5.7.1")
        if word == "split":
            return [mail, mail.with_message(mail.message.with_header(mail.message.header.with_field("Subject", "second")))]
        if word == "none of it":
            return []
        if word == "header":
            return mail.with_message(mail.message.with_header(mail.message.header.with_field("X-Seen", "yes")))
        if word == "parse again":
            return mail.with_message(mailpipe.parse(bytes(mail.message)))
        if word == "redirect":
            return mail.with_envelope(mail.envelope.with_forward_paths("carol@example.net"))
        if word == "notes":
            kept = [note for note in mail.notes if not isinstance(note, Changed)]
            return mailpipe.Mail(mail.message, mail.envelope, mail.origin, (*kept, Weight(7, Path("a"))))
        if word == "is it a rehearsal":
            return mailpipe.Verdict.drop("yes" if self.services.is_rehearsal else "no")
        if word == "log":
            self.services.log.info("100%% sure of %s", "this")
            self.services.log.debug("nobody listens")
            self.services.metrics.count("looked", 3)
        return mail


@mailpipe.stage()
async def tag(mail):
    """Tags, and is async."""
    return mail.with_message(mail.message.with_header(mail.message.header.with_field("X-Tag", "yes")))


@mailpipe.stage()
async def twice(mail):
    """Makes two of one."""
    yield mail
    yield mail


def register(registry):
    registry.add_stage(Misbehave)
    registry.add_stage(tag)
    registry.add_stage(twice)
