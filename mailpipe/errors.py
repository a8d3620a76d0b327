"""What stops us: every exception that mailpipe raises, in one tree.

    MailpipeError                 .status  .is_transient  .exit_code  on every one
    ├── ConfigError               before any mail flows                           78
    │   ├── SettingsError         file, place, key, expected, nearest name
    │   ├── UnknownComponent      a name that nothing is registered under
    │   ├── PluginError           a plugin that cannot be used: plugin, origin, reason
    │   └── SecretMissing         a stage asked for a secret that nobody gave: name
    ├── InputError                an archive or message that cannot be read        66
    ├── OutputError               a file or directory that cannot be written       73, 75 when the disk is full
    ├── MessageError              the octets or the model
    │   ├── LimitExceeded         a policy refused: limit, value                   65  5.3.4
    │   ├── DecodeError           asked for strictly: encoding or charset unknown  65  5.6.0
    │   ├── FieldError            asked for strictly: field absent or of another form
    │   └── ComposeError          cannot be said: bare CR or LF, NUL, overlong     65  5.6.0
    ├── ProtocolError             SMTP
    │   ├── LocalProtocolError    we were about to break the rules                 70
    │   └── RemoteProtocolError   the peer did                                     75  4.5.0
    ├── DeliveryError             a sink handed nothing over
    │   ├── TransientFailure      4yz, time-out, refused, TLS                      75
    │   │   └── ConnectionLost    also a ConnectionError
    │   └── PermanentFailure      5yz                                              69
    └── ComponentError            a component's own exception, raised `from` it    75  4.3.0
        ├── SourceError
        ├── StageError
        │   ├── BudgetExceeded  a mail took too much of it: budget
        │   └── StageLost       its process ended, or said what nobody understands
        └── SinkError

Never here: anything but plain values, so that every room may import this file. Decisions about a message are
verdicts, not exceptions; what is wrong with octets is a defect, not an exception.
"""

import errno
from collections.abc import Sequence

from mailpipe.status import EnhancedStatus

# sysexits.h; the numbers that shells and mail servers understand.
EX_OK, EX_USAGE, EX_DATAERR, EX_NOINPUT = 0, 64, 65, 66
EX_UNAVAILABLE, EX_SOFTWARE, EX_CANTCREAT, EX_TEMPFAIL, EX_NOPERM, EX_CONFIG = 69, 70, 73, 75, 77, 78


class MailpipeError(Exception):
    """The root of every exception that mailpipe raises.

    Attributes:
        status: the enhanced status code that a mail server would be told (RFC 3463).
        exit_code: the code of sysexits.h that a command ends with.
    """

    status: EnhancedStatus = EnhancedStatus(4, 3, 0)
    exit_code: int = EX_SOFTWARE

    @property
    def is_transient(self) -> bool:
        """Whether the same thing may succeed later without anybody's doing."""
        return self.status.is_transient


class ConfigError(MailpipeError):
    """Something that must be mended before mail can flow."""

    status = EnhancedStatus(4, 3, 5)
    exit_code = EX_CONFIG


class SettingsError(ConfigError):
    """A pipeline file that cannot be used.

    Attributes:
        file: the file's path as the user gave it.
        key: dotted key such as "stage.1.directory", "" for the file as a whole.
        line, column: place in the file, from 1; 0 where it is not known.
        expected: what would have been right, "" where the message says it all.
        nearest: the nearest valid name, None where nothing is near.
        problems: every complaint about the file, one error each; this one alone where there is no other.
        code: "setting", "unknown-component" or "missing-route".
    """

    code = "setting"

    def __init__(
        self, message: str, *, file: str = "", key: str = "", line: int = 0, column: int = 0, expected: str = "",
        nearest: str | None = None,
    ) -> None:
        self.message, self.file, self.key, self.line, self.column = message, file, key, line, column
        self.expected, self.nearest = expected, nearest
        self.problems: tuple[SettingsError, ...] = (self,)
        place = file + (f":{line}:{column}" if line else "")
        text = ": ".join(piece for piece in (place, key, message) if piece)
        if expected:
            text += f"; expected {expected}"
        if nearest:
            text += f", did you mean {nearest!r}?"
        super().__init__(text)

    @classmethod
    def of_all(cls, problems: "Sequence[SettingsError]") -> "SettingsError":
        """One error that says all of them, a line each, in the order of the file."""
        ordered = sorted(problems, key=lambda problem: (problem.line, problem.column))
        if len(ordered) == 1:
            return ordered[0]
        first = ordered[0]
        whole = cls(first.message, file=first.file, key=first.key, line=first.line, column=first.column,
                    expected=first.expected, nearest=first.nearest)
        whole.problems = tuple(ordered)
        whole.args = ("\n".join(str(problem) for problem in ordered),)
        return whole


class UnknownComponent(ConfigError):
    """A name that no source, stage or sink is registered under.

    Attributes:
        kind: "source", "stage" or "sink".
        name: the name asked for.
        nearest: the nearest registered name, or None.
        known: every registered name of that kind.
    """

    def __init__(self, kind: str, name: str, known: tuple[str, ...] = (), nearest: str | None = None) -> None:
        self.kind, self.name, self.known, self.nearest = kind, name, known, nearest
        hint = f", did you mean {nearest!r}?" if nearest else f"; there are: {', '.join(known) or 'none'}"
        super().__init__(f"unknown {kind} {name!r}{hint}")


class PluginError(ConfigError):
    """A plugin that cannot be loaded or does not keep its contract.

    Attributes:
        plugin: its name.
        origin: the file or the distribution that it came from.
        reason: one sentence.
    """

    def __init__(self, plugin: str, origin: str, reason: str) -> None:
        self.plugin, self.origin, self.reason = plugin, origin, reason
        super().__init__(f"plugin {plugin!r} from {origin}: {reason}")


class SecretMissing(ConfigError):
    """A stage asked for a secret that nobody gave.

    Attributes:
        name: what it was called.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(
            f"there is no secret {name!r}: set the variable {secret_variable(name)}, or put a file {name!r} into the "
            "directory that CREDENTIALS_DIRECTORY names"
        )


def secret_variable(name: str) -> str:
    """The variable of the environment that a secret may stand in.

    >>> secret_variable("dkim-key")
    'MAILPIPE_SECRET_DKIM_KEY'
    """
    return "MAILPIPE_SECRET_" + name.upper().replace("-", "_")


class InputError(MailpipeError):
    """An archive or a message that cannot be opened or read.

    Attributes:
        path: what was to be read.
        reason: one sentence.
    """

    status = EnhancedStatus(4, 3, 0)
    exit_code = EX_NOINPUT

    def __init__(self, path: str, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"{path}: {reason}")

    @classmethod
    def from_os(cls, path: str, error: OSError) -> "InputError":
        """The same trouble with the path and the remedy in its words."""
        remedy = {
            errno.ENOENT: "; check the path",
            errno.ENOTDIR: "; check the path",
            errno.EACCES: "; run as a user who may read it, or change its permissions",
            errno.EPERM: "; run as a user who may read it, or change its permissions",
        }.get(error.errno or 0, "")
        return cls(path, f"cannot read: {error.strerror or error}{remedy}")


class OutputError(MailpipeError):
    """A file or a directory that cannot be made or written.

    Attributes:
        path: what was to be written.
        reason: one sentence.
        is_full: the disk or the quota is full; the same may succeed later.
    """

    exit_code = EX_CANTCREAT

    def __init__(self, path: str, reason: str, *, is_full: bool = False) -> None:
        self.path, self.reason, self.is_full = path, reason, is_full
        self.status = EnhancedStatus(4, 3, 1) if is_full else EnhancedStatus(4, 3, 0)
        self.exit_code = EX_TEMPFAIL if is_full else EX_CANTCREAT
        super().__init__(f"{path}: {reason}")

    @classmethod
    def from_os(cls, path: str, error: OSError) -> "OutputError":
        """The same trouble with the path and the remedy in its words."""
        remedy = {
            errno.ENOSPC: "; the disk is full: free some space and run the same command again",
            errno.EDQUOT: "; the disk quota is used up: free some space and run the same command again",
            errno.EROFS: "; mount it for writing, or use another directory",
            errno.EACCES: "; run as a user who may write it, or change its permissions",
        }.get(error.errno or 0, "")
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return cls(path, f"cannot write: {error.strerror or error}{remedy}", is_full=is_full)


class MessageError(MailpipeError):
    """Trouble with one message, where strictness was asked for."""

    status = EnhancedStatus(5, 6, 0)
    exit_code = EX_DATAERR


class LimitExceeded(MessageError):
    """A limit that a policy made binding.

    Attributes:
        limit: the name of the limit, as in `mailpipe.Limits`.
        value: what was found.
        maximum: what is allowed.
    """

    status = EnhancedStatus(5, 3, 4)

    def __init__(self, limit: str, value: int, maximum: int) -> None:
        self.limit, self.value, self.maximum = limit, value, maximum
        super().__init__(f"{limit} is {value}, more than the limit of {maximum}")


class DecodeError(MessageError):
    """An encoding or a charset that cannot be undone, asked for strictly."""


class FieldError(MessageError):
    """A header field that is absent or of another form, asked for strictly.

    Attributes:
        name: the field's name.
        expected: what it should have been.
    """

    def __init__(self, name: str, expected: str) -> None:
        self.name, self.expected = name, expected
        super().__init__(f"field {name!r}: expected {expected}")


class ComposeError(MessageError, ValueError):
    """Something that cannot be said in a message: a bare CR or LF, a NUL, an overlong name."""


class ProtocolError(MailpipeError):
    """SMTP rules were broken."""


class LocalProtocolError(ProtocolError, ValueError):
    """We were about to break the rules: a bug of the caller, or an address that would smuggle a command."""

    status = EnhancedStatus(5, 5, 2)
    exit_code = EX_SOFTWARE


class RemoteProtocolError(ProtocolError):
    """The peer broke the rules."""

    status = EnhancedStatus(4, 5, 0)
    exit_code = EX_TEMPFAIL


class DeliveryError(MailpipeError):
    """A sink handed nothing over.

    Attributes:
        status: why, as an enhanced status code.
        diagnostic: the peer's reply or the system's words.
    """

    def __init__(self, diagnostic: str, status: EnhancedStatus | None = None) -> None:
        self.diagnostic = diagnostic
        if status is not None:
            self.status = status
        super().__init__(diagnostic)


class TransientFailure(DeliveryError):
    """Try again later: 4yz, a time-out, a refused connection, a failed TLS handshake."""

    status = EnhancedStatus(4, 4, 0)
    exit_code = EX_TEMPFAIL


class ConnectionLost(TransientFailure, ConnectionError):
    """The connection ended before the reply came.

    Attributes:
        in_doubt: the end of data had been sent; the peer may have accepted the message.
    """

    status = EnhancedStatus(4, 4, 2)

    def __init__(self, diagnostic: str, status: EnhancedStatus | None = None, *, in_doubt: bool = False) -> None:
        super().__init__(diagnostic, status)
        self.in_doubt = in_doubt


class PermanentFailure(DeliveryError):
    """It will be refused again: 5yz."""

    status = EnhancedStatus(5, 0, 0)
    exit_code = EX_UNAVAILABLE


class ComponentError(MailpipeError):
    """An exception of a component's own, raised `from` it: it never loses the mail.

    Attributes:
        component: the component's name.
        mail: which mail, "" where none was at hand.
        reason: the exception's type and words.
    """

    status = EnhancedStatus(4, 3, 0)
    exit_code = EX_TEMPFAIL
    kind = "component"

    def __init__(self, component: str, reason: str, mail: str = "") -> None:
        self.component, self.reason, self.mail = component, reason, mail
        super().__init__(f"{self.kind} {component!r}{f' at {mail}' if mail else ''}: {reason}")


class SourceError(ComponentError):
    """A source's own exception."""

    kind = "source"


class StageError(ComponentError):
    """A stage's own exception."""

    kind = "stage"


class BudgetExceeded(StageError):
    """One mail took more of a stage than its budget allows.

    Attributes:
        budget: "time", "memory" or "expansion".
    """

    def __init__(self, component: str, reason: str, mail: str, budget: str) -> None:
        self.budget = budget
        super().__init__(component, reason, mail)


class StageLost(StageError):
    """The process of a stage ended at a mail, or said what cannot be understood."""


class SinkError(ComponentError):
    """A sink's own exception."""

    kind = "sink"
