"""The stage `external-command`: a program reads the message, and its exit code decides (sysexits.h).

    [[stage]]
    use = "external-command"
    command = ["/usr/local/bin/my-filter", "--strict"]      # no shell
    result = "message"                                      # its output is the new message
    timeout = "30s"

    [stage.exit_codes]
    1 = "drop"                                              # beside the codes below

Codes: 0 the mail goes on; 65, 67, 68, 69, 77 and 100 it is rejected; 75 and 111 deferred; 99 dropped. Any other code,
a signal, too much output and a time-out are failures of the stage, of which `on_error` says what becomes of the mail;
deferred by default. The first line of its error output is the reason.

The program's environment holds PATH, LANG, what `environment` says, and about the mail: MAILPIPE_SENDER,
MAILPIPE_RECIPIENTS (one a line; left out where they are too long for an environment), MAILPIPE_RECIPIENT_COUNT,
MAILPIPE_ORIGIN, MAILPIPE_SIZE, and MAILPIPE_CLIENT_ADDRESS, MAILPIPE_CLIENT_NAME, MAILPIPE_CLIENT_HELO where they are
known. Nothing else of our own environment: it may hold secrets.

Never here: pipes and processes; see `command_run`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from mailpipe.errors import EX_DATAERR, EX_NOPERM, EX_OK, EX_TEMPFAIL, EX_UNAVAILABLE, TransientFailure
from mailpipe.message import parse
from mailpipe.pipeline.access import EVERYTHING, NOTHING, Access
from mailpipe.pipeline.component import LocalPath, Options, Stage
from mailpipe.pipeline.mail import Changed, Mail
from mailpipe.pipeline.verdict import Decision, Verdict
from mailpipe.stages.command_run import Ran, run_command
from mailpipe.status import EnhancedStatus
from mailpipe.units import ByteSize, Duration

Action = Literal["pass", "drop", "reject", "quarantine", "defer", "fail"]
_EX_NOUSER, _EX_NOHOST = 67, 68
# 99, 100 and 111 are what programs written for qmail end with
_CODES: Mapping[int, Action] = {
    EX_OK: "pass", EX_DATAERR: "reject", _EX_NOUSER: "reject", _EX_NOHOST: "reject", EX_UNAVAILABLE: "reject",
    EX_TEMPFAIL: "defer", EX_NOPERM: "reject", 99: "drop", 100: "reject", 111: "defer",
}  # fmt: skip
_STATUS = {EX_DATAERR: "5.6.0", _EX_NOUSER: "5.1.1", _EX_NOHOST: "5.1.2", EX_UNAVAILABLE: "5.3.0"}
_SAID = re.compile(r"(?P<status>[45]\.\d{1,3}\.\d{1,3})[ \t]+(?=\S)")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LONGEST = 100_000  # LIMIT: one variable of an environment holds 128 KiB on Linux


@dataclass(frozen=True, slots=True)
class CommandRan:
    """A note: a program saw the mail.

    Attributes:
        command: its name.
        code: its exit code.
        words: the first line of its error output.
    """

    command: str
    code: int
    words: str = ""


class ExternalCommandOptions(Options):
    """Which program, and what its answers mean."""

    command: Annotated[tuple[str, ...], Field(min_length=1)]
    """The program and its arguments; no shell reads them."""
    result: Literal["message", "nothing"] = "nothing"
    """What its standard output is when it ends with 0: the message from now on, or nothing that matters."""
    timeout: Annotated[Duration, Field(gt=0)] = 60.0
    """How long it may take; after that it is killed with all that it has started."""
    max_output: Annotated[ByteSize, Field(ge=1)] = ByteSize(100_000_000)
    """How much it may write to standard output."""
    exit_codes: dict[Annotated[int, Field(ge=0, le=255)], Action] = Field(default_factory=dict)
    """What exit codes mean, where it is something else than usual: pass, drop, reject, quarantine, defer, fail."""
    environment: dict[str, str] = Field(default_factory=dict)
    """More variables of its environment."""
    directory: LocalPath | None = None
    """The directory that it runs in; that of mailpipe by default."""

    @property
    def actions(self) -> dict[int, Action]:
        """What each known exit code means."""
        return {**_CODES, **self.exit_codes}


class ExternalCommand(Stage[ExternalCommandOptions]):
    """Gives the message to a program, and does what its exit code and its output say."""

    name = "external-command"
    Options = ExternalCommandOptions
    acts = True
    reads = EVERYTHING
    touches = EVERYTHING | Access(notes=(CommandRan, Changed))

    @classmethod
    def accesses(cls, options: ExternalCommandOptions) -> tuple[Access, Access]:
        """Without a result it changes nothing."""
        touched = Access(fields=("*",), body=True, notes=(Changed,)) if options.result == "message" else NOTHING
        return cls.reads, touched | Access(notes=(CommandRan,))

    @classmethod
    def decisions(cls, options: ExternalCommandOptions) -> tuple[Decision, ...]:
        """What its exit codes mean."""
        words = set(options.actions.values())
        return tuple(decision for decision in Decision if decision in words)

    def process(self, mail: Mail) -> Mail | Verdict:
        """Run the program and do what it says.

        Raises:
            TransientFailure: it fails, or ends with a code that means nothing.
        """
        options = self.options
        octets = bytes(mail.message)
        ran = run_command(
            options.command, octets,
            environment={"PATH": _PATH, "LANG": "C.UTF-8", **options.environment, **_facts(mail, len(octets))},
            timeout=options.timeout, most=options.max_output, directory=options.directory,
        )  # fmt: skip
        words = _first_line(ran.complaint)
        note = CommandRan(options.command[0], ran.code, words)
        action = options.actions.get(ran.code, "fail")
        if action == "pass":
            return self._passed(mail, octets, ran, note)
        if action == "fail":
            cause = f"was killed by signal {-ran.code}" if ran.code < 0 else f"ended with exit code {ran.code}"
            raise TransientFailure(f"{note.command} {cause}{f': {words}' if words else ''}", EnhancedStatus(4, 3, 0))
        return self._decided(action, words, note)

    def _passed(self, mail: Mail, octets: bytes, ran: Ran, note: CommandRan) -> Mail:
        if self.options.result == "nothing" or ran.output == octets:
            return mail.with_note(note)
        if not ran.output:
            # one that forgot to write would empty every mail
            words = f"{note.command} ended with exit code {ran.code} and wrote no message"
            raise TransientFailure(words, EnhancedStatus(4, 3, 0))
        changed = Changed(self.name, f"{len(octets):,} octets replaced by {len(ran.output):,} of {note.command}")
        return mail.with_message(parse(ran.output)).with_note(note, changed)

    def _decided(self, action: str, words: str, note: CommandRan) -> Verdict:
        said = _SAID.match(words)
        status = said["status"] if said else ""
        reason = (words[said.end() :] if said else words) or f"{note.command} ended with exit code {note.code}"
        match action:
            case "drop":
                return Verdict.drop(reason, notes=(note,))
            case "quarantine":
                return Verdict.quarantine(reason, notes=(note,))
            case "defer":
                return Verdict.defer(reason, status=status if status.startswith("4") else "4.7.1", notes=(note,))
        usual = _STATUS.get(note.code, "5.7.1")
        return Verdict.reject(reason, status=status if status.startswith("5") else usual, notes=(note,))


def _facts(mail: Mail, size: int) -> dict[str, str]:
    envelope = mail.envelope
    facts = {
        "MAILPIPE_SENDER": envelope.reverse_path,
        "MAILPIPE_RECIPIENT_COUNT": str(len(envelope.forward_paths)),
        "MAILPIPE_ORIGIN": str(mail.origin),
        "MAILPIPE_SIZE": str(size),
    }
    recipients = "\n".join(envelope.addresses)
    if len(recipients) <= _LONGEST // 4:
        facts["MAILPIPE_RECIPIENTS"] = recipients
    if client := envelope.client:
        given = {"ADDRESS": client.address, "NAME": client.name, "HELO": client.helo}
        facts.update({f"MAILPIPE_CLIENT_{name}": value for name, value in given.items() if value})
    # no variable can hold a NUL
    return {name: value.replace("\0", "")[:_LONGEST] for name, value in facts.items()}


def _first_line(complaint: bytes) -> str:
    text = complaint.decode("utf-8", "replace").strip()
    return " ".join(text.partition("\n")[0].split())[:500]
