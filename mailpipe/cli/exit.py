"""How commands end: the table of exit codes (sysexits.h) and the one place where an exception becomes one of them.

    code, sentence = explain(error)      # 66, "archive.mbox: there is no such file; check the path"

`filter` is stricter than every other verb, because a mail server turns its exit code into a bounce: see `FILTER_CODES`.

Never here: printing. What is imported here must also work when nothing else of the package can be imported.
"""

import errno

from mailpipe.errors import (
    EX_CANTCREAT,
    EX_CONFIG,
    EX_DATAERR,
    EX_NOINPUT,
    EX_NOPERM,
    EX_OK,
    EX_SOFTWARE,
    EX_TEMPFAIL,
    EX_UNAVAILABLE,
    EX_USAGE,
    MailpipeError,
)
from mailpipe.status import EnhancedStatus

__all__ = [
    "CODES",
    "FILTER_CODES",
    "TIME_LIMIT",
    "TIME_LIMIT_MOST",
    "EX_OK",
    "EX_FINDINGS",
    "EX_USAGE",
    "EX_DATAERR",
    "EX_NOINPUT",
    "EX_UNAVAILABLE",
    "EX_SOFTWARE",
    "EX_CANTCREAT",
    "EX_IOERR",
    "EX_TEMPFAIL",
    "EX_NOPERM",
    "EX_CONFIG",
    "EX_INTERRUPTED",
    "EX_PIPE",
    "Terminated",
    "Escaped",
    "UsageError",
    "UnreadableMessage",
    "explain",
    "filter_status",
]

EX_FINDINGS = 1
EX_IOERR = 74
EX_INTERRUPTED = 130
EX_PIPE = 141

CODES: dict[int, str] = {
    EX_OK: "everything went as asked",
    EX_FINDINGS: "done, but some messages failed or were deferred, or defects were found",
    EX_USAGE: "the command line cannot be understood",
    EX_DATAERR: "a message cannot be read as one, or is beyond a limit",
    EX_NOINPUT: "an input does not exist or cannot be read",
    EX_UNAVAILABLE: "a server refused for good",
    EX_SOFTWARE: "a bug of mailpipe or of a plugin",
    EX_CANTCREAT: "an output cannot be made",
    EX_IOERR: "reading or writing failed half-way",
    EX_TEMPFAIL: "the same may succeed later: server down, disk full, out of memory",
    EX_NOPERM: "a stage rejected the message",
    EX_CONFIG: "the pipeline file or a plugin must be mended",
    EX_INTERRUPTED: "stopped by Ctrl-C",
    EX_PIPE: "whoever read our output went away",
}
"""The one table: exit code → meaning."""

FILTER_CODES = frozenset({EX_OK, EX_DATAERR, EX_UNAVAILABLE, EX_TEMPFAIL, EX_NOPERM})
"""The only codes that `filter` ends with. 75 makes a mail server try again; it bounces on most others, so nothing
that is our own fault may end with anything else."""

TIME_LIMIT, TIME_LIMIT_MOST = 240, 86400
"""Seconds after which `filter` gives up with 75, by default and at most. Postfix ends a call that takes longer than its
own limit and bounces the message, so ours must be the shorter one."""

_FULL = (errno.ENOSPC, errno.EDQUOT)
_OS_WORDS = {
    errno.ENOENT: (EX_NOINPUT, "there is no such file; check the path"),
    errno.ENOTDIR: (EX_NOINPUT, "a part of the path is no directory; check the path"),
    errno.EISDIR: (EX_NOINPUT, "is a directory, not a file; name a file in it"),
    errno.EACCES: (EX_NOINPUT, "no permission; change the mode of the file or run as its owner"),
    errno.EPERM: (EX_NOINPUT, "not permitted; run as the owner of the file"),
    errno.ELOOP: (EX_NOINPUT, "too many symbolic links; check the path"),
    errno.ENAMETOOLONG: (EX_NOINPUT, "the path is too long"),
    errno.ENOSPC: (EX_TEMPFAIL, "the disk is full; free some space and run the same command again"),
    errno.EDQUOT: (EX_TEMPFAIL, "the disk quota is used up; free some space and run the same command again"),
    errno.EMFILE: (EX_TEMPFAIL, "too many open files; raise the limit (ulimit -n)"),
    errno.ENOMEM: (EX_TEMPFAIL, "out of memory; lower [run] workers or [limits]"),
    errno.EBADF: (EX_IOERR, "standard input or output is closed; open it or redirect it"),
    errno.EROFS: (EX_CANTCREAT, "the file system is read-only"),
}


class Terminated(BaseException):
    """SIGTERM or SIGHUP came; no broad `except Exception` may swallow it.

    Attributes:
        signal_name: "SIGTERM".
    """

    def __init__(self, signal_name: str) -> None:
        self.signal_name = signal_name
        super().__init__(signal_name)


class Escaped(Exception):
    """What the library of the command line would end the process on in a way of its own: wrapped, to pass through it.

    Attributes:
        error: what it was.
    """

    def __init__(self, error: BaseException) -> None:
        self.error = error
        super().__init__(str(error))


class UsageError(MailpipeError):
    """Arguments that the parser of the command line let through but that do not fit together."""

    status = EnhancedStatus(4, 3, 5)
    exit_code = EX_USAGE


class UnreadableMessage(MailpipeError):
    """A file that has nothing of a message in it."""

    exit_code = EX_DATAERR


def explain(error: BaseException) -> tuple[int, str]:
    """The exit code of an exception and what to print about it, without "mailpipe: " and line end."""
    match error:
        case MailpipeError():
            return error.exit_code, str(error)
        case Escaped():
            return explain(error.error)
        case KeyboardInterrupt():
            return EX_INTERRUPTED, "interrupted"
        case Terminated():
            return EX_TEMPFAIL, f"stopped by {error.signal_name}"
        case MemoryError():
            return EX_TEMPFAIL, "out of memory; lower [run] workers or [limits]"
        case RecursionError():
            return EX_SOFTWARE, "too deeply nested for the interpreter; this is a bug, MAILPIPE_DEBUG=1 shows where"
        case OSError():
            return _explain_os(error)
        case ImportError():
            return EX_SOFTWARE, f"cannot be imported: {error}; is mailpipe installed completely? (pip install mailpipe)"
        case _:
            words = str(error)
            kind = type(error).__name__ + (f": {words}" if words else "")
            return EX_SOFTWARE, f"internal error: {kind}; MAILPIPE_DEBUG=1 shows where"


def _explain_os(error: OSError) -> tuple[int, str]:
    code, words = _OS_WORDS.get(error.errno or 0, (EX_IOERR, error.strerror or str(error) or type(error).__name__))
    name = error.filename
    path = name.decode("utf-8", "replace") if isinstance(name, bytes) else "" if name is None else str(name)
    return code, f"{path}: {words}" if path else words


def filter_status(error: BaseException) -> EnhancedStatus:
    """The enhanced status of what is our own fault: always of class 4, so that no mail server bounces on it."""
    if isinstance(error, MailpipeError):
        return EnhancedStatus(4, error.status.subject, error.status.detail)
    if isinstance(error, OSError) and error.errno in _FULL:
        return EnhancedStatus(4, 3, 1)
    return EnhancedStatus(4, 3, 2) if isinstance(error, (KeyboardInterrupt, Terminated)) else EnhancedStatus(4, 3, 0)
