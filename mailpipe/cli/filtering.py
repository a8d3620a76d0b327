"""What `mailpipe filter` does: one message through the stages, and one exit code that a mail server understands.

    wish = understood(["pipeline.toml", "-f", "ann@example.org", "--", "bob@example.net"])
    code = run(wish)

A mail server turns the exit code into a bounce, so this verb is stricter than the others. Only a decision about the
message ends with something else than 75:

    0   delivered, queued, dropped, or set aside          69  refused for good by the next hop
    65  not acceptable as a message, beyond a limit       77  rejected by a stage

and the first line on standard error is then the enhanced status and the reason: "5.7.1 no executables". All that is
our own fault (configuration, usage, a failing plugin, a signal, no memory, a closed output) ends with 75 and a status
of class 4, and the mail server tries again. `main` keeps that promise even where this file cannot be imported, and
`guard` where the process ends without having decided.

Never here: typer, rich and all else that a message would have to wait for; what happens to the message.
"""

import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from mailpipe.cli import output
from mailpipe.cli.exit import (
    EX_DATAERR,
    EX_NOPERM,
    EX_OK,
    EX_TEMPFAIL,
    EX_UNAVAILABLE,
    TIME_LIMIT_MOST,
    UsageError,
)
from mailpipe.cli.opening import bare, load, log_to_stderr
from mailpipe.cli.signals import ignore_signals
from mailpipe.errors import LocalProtocolError
from mailpipe.status import EnhancedStatus

if TYPE_CHECKING:  # slow to import; a usage error must not wait for them
    from mailpipe.pipeline.component import Sink
    from mailpipe.pipeline.outcome import Outcome
    from mailpipe.pipeline.registry import Registry
    from mailpipe.pipeline.settings import Settings
    from mailpipe.smtp.envelope import Envelope


class Wish(NamedTuple):
    """A command line that was understood.

    Attributes:
        pipeline: the pipeline file.
        recipients: of the envelope.
        sender: of the envelope, None for none.
        stdout, sendmail: what takes the place of the pipeline's sink.
        overrides: "table.key=value", as --set gives them.
        verbose: how much more is said.
        notify, ret, envid, original_recipients: what the sender wants to be told, see `mailpipe.smtp.dsn`.
        client_address, client_name, client_port, client_protocol, client_helo, client_ident: where the mail came from
            before it came to the mail server.
    """

    pipeline: str
    recipients: tuple[str, ...] = ()
    sender: str | None = None
    stdout: bool = False
    sendmail: bool = False
    overrides: tuple[str, ...] = ()
    verbose: int = 0
    notify: str = ""
    ret: str = ""
    envid: str = ""
    original_recipients: tuple[str, ...] = ()
    client_address: str = ""
    client_name: str = ""
    client_port: str = ""
    client_protocol: str = ""
    client_helo: str = ""
    client_ident: str = ""


_FLAGS = {"--stdout": "stdout", "--sendmail": "sendmail"}
_VALUES = {
    "-f": "sender", "--sender": "sender", "--set": "overrides", "-N": "notify", "--notify": "notify", "-R": "ret",
    "--ret": "ret", "-V": "envid", "--envid": "envid", "--original-recipient": "original_recipients",
    "--client-address": "client_address", "--client-name": "client_name", "--client-port": "client_port",
    "--client-protocol": "client_protocol", "--client-helo": "client_helo", "--client-ident": "client_ident",
}  # fmt: skip
_LISTS = ("overrides", "original_recipients")


def understood(arguments: Sequence[str]) -> Wish | None:
    """What a plain command line asks for; None where only typer can tell (help, abbreviations, mistakes).

    A mail server calls us with the same few words for every message, and typer takes as long as all the rest.

    >>> understood(["p.toml", "--stdout", "-f", "", "--", "-odd@example.net"]).recipients
    ('-odd@example.net',)
    """
    words: list[str] = []
    given: dict[str, Any] = dict.fromkeys(_LISTS, ())
    rest = iter(arguments)
    for argument in rest:
        if argument == "--":
            words += rest
        elif not argument.startswith("-") or argument == "-":
            words.append(argument)
        elif argument in _FLAGS:
            given[_FLAGS[argument]] = True
        elif argument in _VALUES:
            if (value := next(rest, None)) is None:
                return None
            name = _VALUES[argument]
            given[name] = (*given[name], value) if name in _LISTS else value
        elif argument == "--time-limit":  # `main` keeps it; here only its form is of interest
            value = next(rest, "")
            if not (value.isdecimal() and value.isascii() and 0 < int(value) <= TIME_LIMIT_MOST):
                return None
        elif not argument.strip("v-") and not argument.startswith("--"):
            given["verbose"] = given.get("verbose", 0) + len(argument) - 1
        else:
            return None
    return Wish(words[0], tuple(words[1:]), **given) if words else None


def run(wish: Wish) -> int:
    """Take the message on standard input through the pipeline and say on standard error why, where it is not taken.

    Returns:
        the exit code: 0, 65, 69, 75 or 77.

    Raises:
        MailpipeError: something is our own fault.
    """
    _check(wish)
    chatter = _Chatter()
    with chatter.kept():
        outcome = _process(wish)
    code, line = decision(outcome)
    if line:
        output.complain(line, prefix="")
    if wish.verbose:
        for each in _with_children(outcome):
            for change in each.changes:
                output.complain(change)
    if wish.verbose or code == EX_TEMPFAIL:
        for said in chatter.text.splitlines():
            output.complain(said)
    return code


class _Chatter(io.StringIO):
    """Keeps what stages, libraries and the commands that they run print.

    It may not get between the octets of the message on standard output, nor before the first line on standard error:
    Postfix believes a status there more than the exit code. Its number is that of the true stream, for the sink
    `stdout`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._true = -1
        self._below = b""

    def fileno(self) -> int:
        return self._true

    @property
    def text(self) -> str:
        """What was printed."""
        return self._below.decode("utf-8", "backslashreplace") + self.getvalue()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """While it lasts, nothing that is printed comes out."""
        self._true = os.dup(sys.stdout.fileno())
        kept = _nameless()
        before = [(number, os.dup(number)) for number in (1, 2)]
        try:
            for number, _ in before:
                os.dup2(kept, number)
            with redirect_stdout(self), redirect_stderr(self):
                yield
        finally:
            for number, old in before:
                os.dup2(old, number)
                os.close(old)
            with suppress(OSError):  # /dev/null has nothing to tell
                self._below = os.pread(kept, 1 << 16, 0)
            os.close(kept)
            os.close(self._true)


def _nameless() -> int:
    """A file in memory; nothing at all on systems that have none."""
    try:
        return os.memfd_create("mailpipe")
    except (AttributeError, OSError):
        return os.open(os.devnull, os.O_RDWR)


def _process(wish: Wish) -> "Outcome":
    log_to_stderr(0)
    registry, settings = load(wish.pipeline, wish.overrides)
    name = "stdout" if wish.stdout else "sendmail" if wish.sendmail else ""
    sink = _sink(registry, settings, name) if name else None

    from mailpipe.pipeline.assemble import assemble  # slow to import
    from mailpipe.sources.stdio import StdinOptions, StdinSource

    given = tuple(bare(recipient) for recipient in wish.recipients)
    sender = None if wish.sender is None else bare(wish.sender)
    raw = next(iter(StdinSource(StdinOptions(sender=sender, recipients=given, format="message"))))
    if raw.envelope is not None:
        raw = replace(raw, envelope=_asking(raw.envelope, wish))
    with assemble(settings, registry, sink) as made:
        outcome = made.process(raw)
        # The sink has taken the mail: to say "try again" because a signal comes now would deliver it twice.
        ignore_signals()
        return outcome


def _asking(envelope: "Envelope", wish: Wish) -> "Envelope":
    """The envelope with what else the command line says of it.

    Raises:
        UsageError: a value is none.
    """
    from mailpipe.smtp.dsn import asking  # most calls need neither
    from mailpipe.smtp.envelope import Client

    client = Client(
        wish.client_address, wish.client_name, wish.client_port, wish.client_protocol, wish.client_helo,
        wish.client_ident,
    )  # fmt: skip
    try:
        asked = asking(
            envelope, notify=wish.notify, ret=wish.ret, envid=wish.envid,
            original_recipients=[bare(one) for one in wish.original_recipients],
        )  # fmt: skip
    except LocalProtocolError as error:
        raise UsageError(str(error)) from error
    return replace(asked, client=client or None)


def _check(wish: Wish) -> None:
    """Both halves of the envelope or none; without any the pipeline's rule makes one from the header."""
    if wish.sender is None and wish.recipients:
        raise UsageError("the envelope's sender is missing; add -f SENDER (-f '' for the null sender)")
    if wish.sender is not None and not wish.recipients:
        raise UsageError("the envelope's recipients are missing; add -- RCPT…")
    if wish.sender is None and (wish.notify or wish.ret or wish.envid or wish.original_recipients):
        raise UsageError("-N, -R, -V and --original-recipient belong to an envelope; add -f SENDER and -- RCPT…")
    if wish.stdout and wish.sendmail:
        raise UsageError("--stdout and --sendmail exclude each other")
    if wish.pipeline == "-":
        raise UsageError("standard input is the message; name the pipeline file")


def _sink(registry: "Registry", settings: "Settings", name: str) -> "Sink[Any]":
    """The sink of that name: with the options of [sink] where that is the same one, else with its defaults."""
    component = registry.sink(name)
    if settings.sink is not None and settings.sink.use == name:
        return component(settings.sink.options)
    return component(component.Options())


def decision(outcome: "Outcome") -> tuple[int, str]:
    """The exit code for an outcome and the line for standard error, "" where all is well.

    Of a mail that was split, the worst of what was made of it decides: what is to be tried again before what is
    refused, and that before what is delivered. What was delivered already is then delivered once more; the mail
    server knows one mail only, and none may be lost.
    """
    if outcome.children:
        decisions = [decision(child) for child in outcome.children]
        worst = max(decisions, key=lambda each: (each[0] == EX_TEMPFAIL, each[0] != EX_OK))
        if worst[0] != EX_OK:
            return worst
    ending = outcome.ending.value
    if ending == "rejected":
        is_about_content = outcome.status.subject == 6 or (outcome.status.subject, outcome.status.detail) == (3, 4)
        code, status_class = EX_DATAERR if is_about_content else EX_NOPERM, 5
    elif ending == "failed":
        code, status_class = EX_UNAVAILABLE, 5
    elif ending == "deferred":
        code, status_class = EX_TEMPFAIL, 4
    else:
        return EX_OK, ""
    # The mail server believes the status more than the code: both must say the same.
    status = EnhancedStatus(status_class, outcome.status.subject, outcome.status.detail)
    reason = output.safe(outcome.reason) or status.meaning
    own = reason.removeprefix(f"{outcome.status} ")
    return code, f"{status} {own}"


def _with_children(outcome: "Outcome") -> "Iterator[Outcome]":
    yield outcome
    for child in outcome.children:
        yield from _with_children(child)
