"""A sink that gives each mail to a command with the manners of sendmail(8), such as that of Postfix or Exim.

    [sink]
    use     = "sendmail"
    command = ["/usr/sbin/sendmail", "-G", "-i"]     # then: -f SENDER -- RECIPIENT…

The command's exit code (sysexits.h) decides: 0 delivered; 65 67 68 69 refused for good; everything else, and a signal,
deferred. 77 may mean that the user we run as may not send mail, which is our fault and not the message's: it is for
good only with an enhanced status of class 5 beside it. What the command wrote to standard error is the diagnostic.

Never here: a shell. Addresses are arguments of their own, and nothing in them is interpreted.
"""

import contextlib
import os
import re
import signal
import subprocess
import tempfile
from dataclasses import replace
from typing import IO

from mailpipe.errors import (
    EX_DATAERR,
    EX_NOPERM,
    EX_OK,
    EX_UNAVAILABLE,
    MailpipeError,
    OutputError,
    PermanentFailure,
    TransientFailure,
)
from mailpipe.pipeline.component import Options, Sink
from mailpipe.pipeline.mail import Mail
from mailpipe.pipeline.outcome import Fate, Receipt
from mailpipe.smtp.envelope import ForwardPath, MailParameters
from mailpipe.smtp.xtext import decode_xtext
from mailpipe.status import EnhancedStatus
from mailpipe.units import Duration, duration_text

_EX_NOUSER, _EX_NOHOST = 67, 68
_PERMANENT = {
    EX_DATAERR: EnhancedStatus(5, 6, 0),
    _EX_NOUSER: EnhancedStatus(5, 1, 1),
    _EX_NOHOST: EnhancedStatus(5, 1, 2),
    EX_UNAVAILABLE: EnhancedStatus(5, 3, 0),
    EX_NOPERM: EnhancedStatus(5, 7, 1),
}
_STATUS = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.])")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
_LONGEST = 4096


class SendmailOptions(Options):
    """Options of the sink `sendmail`."""

    command: tuple[str, ...] = ("/usr/sbin/sendmail", "-G", "-i")
    """The program and its first arguments; "-f SENDER -- RECIPIENT…" is added. No shell reads it."""

    dsn: bool = False
    """Pass on what the sender wants to be told (-N, -R and -V, RFC 3461). The command must know them as Postfix and
    Sendmail do; to Exim -N means not to deliver at all."""

    timeout: Duration = 300.0
    """How long one mail may take; after that the command and all its children are killed."""


class SendmailSink(Sink[SendmailOptions]):
    """Gives each mail to a command such as /usr/sbin/sendmail."""

    name = "sendmail"
    needs_recipients = True
    Options = SendmailOptions

    def deliver(self, mail: Mail) -> Receipt:
        """Run the command, with the mail as its standard input.

        Raises:
            PermanentFailure: the envelope has no recipients, or an address cannot be an argument.
            TransientFailure: the command cannot be started.
            OutputError: the mail cannot be put aside for the command to read.
        """
        if not mail.envelope.addresses:
            reason = "the envelope has no recipients; give some, or set a rule in [envelope]"
            raise PermanentFailure(reason, EnhancedStatus(5, 5, 4))
        groups: dict[tuple[str, ...], list[ForwardPath]] = {}
        for path in mail.envelope.forward_paths:
            groups.setdefault(path.notify if self.options.dsn else (), []).append(path)
        if len(groups) == 1:
            return self._hand_over(mail, list(mail.envelope.forward_paths), next(iter(groups)))
        entries = {notify: iter(self._part(mail, paths, notify).recipients) for notify, paths in groups.items()}
        return Receipt(tuple(next(entries[path.notify]) for path in mail.envelope.forward_paths))

    def _part(self, mail: Mail, paths: list[ForwardPath], notify: tuple[str, ...]) -> Receipt:
        """The same, of several: what becomes of one must not be forgotten because another raises."""
        try:
            return self._hand_over(mail, paths, notify)
        except MailpipeError as error:
            fate = Fate.FAILED if isinstance(error, PermanentFailure) else Fate.DEFERRED
            return Receipt.of_all(tuple(paths), fate, str(error.status), str(error))

    def _hand_over(self, mail: Mail, paths: list[ForwardPath], notify: tuple[str, ...]) -> Receipt:
        """One run of the command, for recipients who want the same."""
        mail = mail.with_envelope(mail.envelope.with_forward_paths(*paths))
        asked = self._asked(mail.envelope.parameters, notify) if self.options.dsn else []
        arguments = [
            *self.options.command, *asked, "-f", mail.envelope.reverse_path or "<>", "--", *mail.envelope.addresses
        ]  # fmt: skip
        if any("\0" in argument or not argument for argument in arguments):
            raise PermanentFailure("an address is empty or holds a NUL octet", EnhancedStatus(5, 1, 3))
        # A file, not a pipe: no deadlock, and its position tells how much the command has read.
        with tempfile.TemporaryFile() as content, tempfile.TemporaryFile() as output:
            octets = bytes(mail.message)
            try:
                content.write(octets)
                content.seek(0)
            except OSError as error:
                raise OutputError.from_os(tempfile.gettempdir(), error) from error
            code = self._run(arguments, content, output)
            words = _diagnostic(output)
            has_read = os.lseek(content.fileno(), 0, os.SEEK_CUR) >= len(octets)
        receipt = self._receipt(mail, code, words, has_read)
        if notify and self.options.dsn:  # whoever took it reports by itself
            taken = "reporting" if code == EX_OK else ""
            receipt = replace(receipt, recipients=tuple(replace(one, handover=taken) for one in receipt.recipients))
        return receipt

    @staticmethod
    def _asked(given: MailParameters, notify: tuple[str, ...]) -> list[str]:
        """The options of sendmail(1) for DSN; ORCPT has none."""
        asked = ["-N", ",".join(notify).lower()] if notify else []
        asked += ["-R", given.ret.lower()] if given.ret else []
        if given.envid:
            with contextlib.suppress(ValueError):
                asked += ["-V", decode_xtext(given.envid)]
        return asked

    def _run(self, arguments: list[str], content: IO[bytes], output: IO[bytes]) -> int | None:
        """The exit code; negative for a signal, None for a time-out."""
        try:
            process = subprocess.Popen(
                arguments, stdin=content, stdout=output, stderr=output, start_new_session=True
            )
        except (OSError, ValueError) as error:
            words = getattr(error, "strerror", None) or str(error)
            reason = f"cannot start {arguments[0]}: {words}; check command in [sink]"
            raise TransientFailure(reason, EnhancedStatus(4, 3, 5)) from error
        try:
            return process.wait(self.options.timeout)
        except subprocess.TimeoutExpired:
            return None
        finally:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _receipt(self, mail: Mail, code: int | None, words: str, has_read: bool) -> Receipt:
        recipients = mail.envelope.forward_paths
        if code is None:
            # A command that has read everything may have taken the mail before it was killed.
            fate = Fate.IN_DOUBT if has_read else Fate.DEFERRED
            reason = f"{self.options.command[0]} did not end within {duration_text(self.options.timeout)}"
            return Receipt.of_all(recipients, fate, "4.4.7", f"{reason}: {words}" if words else reason)
        if code == EX_OK:
            return Receipt.of_all(recipients, Fate.DELIVERED, "2.0.0", words or "accepted")
        permanent, match = _PERMANENT.get(code), _STATUS.search(words)
        if code == EX_NOPERM and not (match and match[1].startswith("5.")):
            permanent = None
        status = permanent or EnhancedStatus(4, 3, 0)
        if match and match[1].startswith(f"{status.status_class}."):
            status = EnhancedStatus.parse(match[1])
        cause = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        diagnostic = f"{self.options.command[0]}: {words or cause}"
        return Receipt.of_all(recipients, Fate.FAILED if permanent else Fate.DEFERRED, str(status), diagnostic)


def _diagnostic(output: IO[bytes]) -> str:
    """The first lines that the command wrote, as one line of printable text."""
    output.seek(0)
    return _CONTROL.sub(" ", output.read(_LONGEST).decode("utf-8", "replace")).strip()
