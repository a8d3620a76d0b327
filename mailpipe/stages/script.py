"""The stage `script`: one Python expression, or a file with a function, in place of a plugin.

    [[stage]]
    use = "script"
    expression = "mail.envelope.reverse_path != '' or message.subject"

    [[stage]]
    use = "script"
    file = "filter.py"                  # def process(mail): …

An expression sees `mail`, `message`, `header`, `envelope`, `origin` and `Verdict`. What it comes to decides: True or
None passes the mail, False drops it, and a `Verdict`, a `Mail` or several mails are what they are. The function of a
file may give the same, and may be async; the file sees what it imports. Both are Python with all that it can do: they
belong to whoever may write the pipeline file.

Anything else that they come to, and whatever they raise, is a failure of the stage.

Never here: plugins; a stage with options and tests of its own is one.
"""

import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from types import CodeType
from typing import Annotated, Any, Self

from pydantic import AfterValidator, model_validator

from mailpipe.errors import ConfigError, InputError
from mailpipe.pipeline.async_stage import run_to_its_end
from mailpipe.pipeline.component import Answer, LocalPath, Options, Stage
from mailpipe.pipeline.mail import Mail
from mailpipe.pipeline.services import Services
from mailpipe.pipeline.verdict import Verdict

_EXPRESSION = "<expression>"


def _compiled(text: str) -> CodeType:
    """The code of an expression.

    Raises:
        ValueError: it is none; it says where.
    """
    if not text.strip():
        raise ValueError("it is no Python expression: it is empty")
    try:
        # in brackets, so that it may go on in the next line
        return compile(f"({text}\n)", _EXPRESSION, "eval")
    except SyntaxError as error:
        line, column = error.lineno or 1, error.offset or 1
        where = f"line {line}, column {max(1, column - (line == 1))}"
        raise ValueError(f"it is no Python expression: {error.msg} at {where}") from error
    except ValueError as error:
        raise ValueError(f"it is no Python expression: {error}") from error


def _is_expression(text: str) -> str:
    _compiled(text)
    return text


class ScriptOptions(Options):
    """The expression or the file."""

    expression: Annotated[str, AfterValidator(_is_expression)] | None = None
    """A Python expression of mail, message, header, envelope, origin and Verdict."""
    file: LocalPath | None = None
    """A Python file with a function process(mail)."""
    reason: str = "the script said no"
    """What is told of a mail that False drops."""

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.expression is None) == (self.file is None):
            raise ValueError("give either 'expression' or 'file'")
        return self


class Script(Stage[ScriptOptions]):
    """Runs one Python expression, or the function of a file, for each mail."""

    name = "script"
    Options = ScriptOptions

    def open(self, services: Services) -> None:
        """Compile the script.

        Raises:
            InputError: the file cannot be read.
            ConfigError: it cannot be compiled or run, or has no function process(mail).
        """
        if self.options.file is not None:
            self._ask: Callable[[Mail], Any] = _function_of(self.options.file)
        else:
            assert self.options.expression is not None
            code = _compiled(self.options.expression)
            # of whoever wrote the pipeline file
            self._ask = lambda mail: eval(code, _names(mail))

    def process(self, mail: Mail) -> Answer:
        """Ask the script.

        Raises:
            ScriptFailed: it raised.
            TypeError: it came to what is no answer.
        """
        try:
            result = run_to_its_end(self._ask(mail))
        except Exception as error:
            place = self._place(error)
            raise ScriptFailed(f"{place}: {type(error).__name__}: {error}") from error
        if result is None or result is True:
            return mail
        if result is False:
            return Verdict.drop(self.options.reason)
        if isinstance(result, Mail | Verdict) or (isinstance(result, Iterable) and not isinstance(result, str | bytes)):
            answer: Answer = result
            return answer
        kind = f"{type(result).__name__} {result!r}"[:100]
        raise TypeError(f"the script came to {kind}; it must be True, False, None, a Verdict, a Mail or several mails")

    def _place(self, error: Exception) -> str:
        """The line of the script that the error passed."""
        name = _EXPRESSION if self.options.file is None else str(self.options.file)
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == name]
        shown = "the expression" if self.options.file is None else name
        return f"{shown}:{lines[-1]}" if lines and self.options.file is not None else shown


class ScriptFailed(Exception):
    """A script raised; the words say where."""


def _names(mail: Mail) -> dict[str, Any]:
    return {
        "mail": mail, "message": mail.message, "header": mail.message.header, "envelope": mail.envelope,
        "origin": mail.origin, "Verdict": Verdict,
    }  # fmt: skip


def _function_of(path: Path) -> Callable[[Mail], Any]:
    try:
        source = path.read_bytes()
    except OSError as error:
        raise InputError.from_os(str(path), error) from error
    names: dict[str, Any] = {"__name__": f"mailpipe_script_{path.stem}", "__file__": str(path)}
    try:
        exec(compile(source, str(path), "exec"), names)  # noqa: S102 - of whoever wrote the pipeline file
    except SyntaxError as error:
        raise ConfigError(f"{path}:{error.lineno or 1}:{error.offset or 1}: {error.msg}") from error
    except (Exception, SystemExit) as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        place = f"{path}:{lines[-1]}" if lines else str(path)
        raise ConfigError(f"{place}: {type(error).__name__}: {error}") from error
    function = names.get("process")
    if not callable(function):
        raise ConfigError(f"{path}: it has no function process(mail)")
    made: Callable[[Mail], Any] = function
    return made
