"""The entry point: `mailpipe …` ends here, whatever happens, with a code of `mailpipe.cli.exit`.

    sys.exit(main())
    main(["check", "pipeline.toml"])       # 78, and a complaint on standard error

Never here: the verbs (`app` lists them), and anything at the top that is slow or may fail to import: `--version` is
quick, and `filter` must end with 75 even when the rest of the package is broken.
"""

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TextIO

from mailpipe.cli.exit import (
    EX_OK,
    EX_PIPE,
    EX_SOFTWARE,
    EX_TEMPFAIL,
    EX_USAGE,
    FILTER_CODES,
    TIME_LIMIT,
    TIME_LIMIT_MOST,
    Escaped,
    Terminated,
    explain,
    filter_status,
)
from mailpipe.cli.guard import guarded

DEBUG = "MAILPIPE_DEBUG"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the arguments after the program's name; by default those of the process.

    Returns:
        The exit code.
    """
    _open_standard_streams()
    arguments = list(sys.argv[1:] if argv is None else argv)
    is_completing = "_MAILPIPE_COMPLETE" in os.environ
    verb = "" if is_completing else next((argument for argument in arguments if not argument.startswith("-")), "")
    if verb != "filter":
        return _ended(arguments, is_filter=False)
    if argv is not None:  # a program that runs us as a part of itself has its own processes
        return _filtered(arguments, is_last=False)
    return guarded(
        lambda: _filtered(arguments, is_last=True),
        seconds=_time_limit(arguments),
        silent=EX_TEMPFAIL,
        say=lambda words: _complain(f"4.3.0 mailpipe: {words}"),
    )


def _time_limit(arguments: list[str]) -> int:
    """The value of --time-limit; the default where it is missing or wrong, which is complained about later."""
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    for number, argument in enumerate(own):
        name, equals, value = argument.partition("=")
        if name == "--time-limit":
            value = value if equals else "".join(own[number + 1 : number + 2])
            if value.isdecimal() and value.isascii() and 0 < int(value) <= TIME_LIMIT_MOST:
                return int(value)
    return TIME_LIMIT


def _filtered(arguments: list[str], *, is_last: bool) -> int:
    code = EX_TEMPFAIL
    try:
        with _signals_raise(is_last=is_last):
            code = _ended(arguments, is_filter=True)
    except Terminated:
        pass  # it came while we were ending; nothing can be said any more
    return code if code in FILTER_CODES else EX_TEMPFAIL


def _ended(arguments: list[str], *, is_filter: bool) -> int:
    """The exit code, also where an exception or a closed output ends the command."""
    try:
        code = _invoke(arguments, is_filter=is_filter)
        # At the interpreter's own end a failed flush would be exit code 120, and the mail server would bounce.
        sys.stdout.flush()
        _silence_output(sys.stderr)
    except BaseException as error:  # noqa: BLE001 - the last door: no traceback reaches a user
        cause = error.error if isinstance(error, Escaped) else error
        if isinstance(error, SystemExit):
            if isinstance(error.__context__, BrokenPipeError):  # so rich tells that nobody reads on
                cause = error.__context__
            elif not is_filter:  # completion ends so
                return error.code if isinstance(error.code, int) else EX_OK if error.code is None else EX_SOFTWARE
        _silence_output()
        if not isinstance(cause, BrokenPipeError):
            return _report(cause, is_filter=is_filter)
        if is_filter:
            _complain("4.3.0 mailpipe: standard output was closed before the end")
        return EX_PIPE
    return code


def _invoke(arguments: list[str], *, is_filter: bool) -> int:
    if arguments == ["--version"]:
        from mailpipe import __version__  # the quick way: neither typer nor a verb is imported

        print(f"mailpipe {__version__}")
        return EX_OK
    if arguments[:1] == ["filter"]:
        from mailpipe.cli import filtering  # slow to import, and where it cannot be `filter` must still end with 75

        if (wish := filtering.understood(arguments[1:])) is not None:
            return filtering.run(wish)
    import typer  # slow to import, and where it cannot be imported `filter` must still end with 75

    from mailpipe.cli.app import app  # the same

    try:
        code = app(args=arguments or ["--help"], prog_name="mailpipe", standalone_mode=False)
    except typer.TyperException as error:
        return _report_usage(error, is_filter=is_filter)
    if not arguments:
        return EX_USAGE
    return code if isinstance(code, int) else EX_OK


@contextmanager
def _signals_raise(*, is_last: bool) -> Iterator[None]:
    """While it lasts, signals raise `Terminated`: at some servers, to die of a signal is to bounce.

    Args:
        is_last: the process ends after it; then signals are ignored, so that none can change the exit code any more.
    """

    def stop(number: int, _frame: object) -> None:
        raise Terminated(signal.Signals(number).name)

    before = {}
    try:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            before[number] = signal.signal(number, stop)
    except ValueError:
        pass  # only the main thread may; a program that runs us in another one has its own way
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, signal.SIG_IGN if is_last else old if old is not None else signal.SIG_DFL)


def _report_usage(error: Exception, *, is_filter: bool) -> int:
    context = getattr(error, "ctx", None)
    command = getattr(context, "command_path", "") or "mailpipe"
    words = str(getattr(error, "format_message", lambda: error)()).strip().rstrip(".")
    words = words[:1].lower() + words[1:] if words[1:2].islower() else words
    verb = command.removeprefix("mailpipe").strip()
    _complain(
        f"{'4.3.5 ' if is_filter else ''}mailpipe{' ' + verb if verb else ''}: {words or 'wrong arguments'}; "
        f"see {command} --help"
    )
    return EX_USAGE


def _report(error: BaseException, *, is_filter: bool) -> int:
    code, sentence = explain(error)
    lines = sentence.splitlines() or [""]
    status = f"{filter_status(error)} " if is_filter else ""
    for number, line in enumerate(lines):
        _complain(f"{status if number == 0 else ''}mailpipe: {line}")
    if os.environ.get(DEBUG, "") not in ("", "0"):
        import traceback  # only where somebody looks for a bug

        traceback.print_exception(error, file=sys.stderr)
    return code


def _complain(line: str) -> None:
    try:
        try:
            from mailpipe.cli.output import safe  # the last door must work when this cannot be imported

            line = safe(line)
        except Exception:  # noqa: BLE001
            line = ascii(line)[1:-1]
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        _silence_output()  # nobody listens; the exit code still speaks


def _open_standard_streams() -> None:
    """Standard streams that were closed before we started become ones that fail when used.

    Otherwise the first file that we open would get their number, and what is printed would land in it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, os.O_WRONLY if number == 0 else os.O_RDONLY)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            setattr(sys, name, open(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _silence_output(*streams: TextIO) -> None:
    """Point streams that cannot be written at nothing, so that the interpreter's last flush does not fail once more."""
    for stream in streams or (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)
