"""What commands print: rich consoles made on demand, versioned JSON, and text that cannot harm a terminal.

    console().print(label(part.filename))          # a rich Text, never markup
    print_json("show", {"parts": []})              # {"version": 1, "verb": "show", "parts": []}

Data goes to standard output, everything else to standard error. Whatever comes from a message passes `safe` first:
a file name may hold terminal escapes, or characters that turn its letters round.

Never here: what to print; that is each verb's own.
"""

import contextlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # rich is slow to import and --version must not wait for it
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

JSON_VERSION = 1
WIDE = 200
"""Columns where the output is no terminal, so that nothing is cut off in a file or a pipe."""

# Escape sequences as a whole (ECMA-48: CSI, OSC and the like up to their end, two-character ones), at most so long
# that a hostile text cannot hide behind an unfinished one.
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]{0,64}+[ -/]{0,8}+[@-~]"
    r"|(?:\x1b[\]P^_X]|[\x9d\x90\x9e\x9f\x98])[^\x07\x1b\x9c\n]{0,512}+(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]{0,8}+[0-~]"
)
# What is left: C0 and C1 controls, DEL, line and paragraph separators, direction overrides (a name may hide its
# ending behind them), byte order marks, and lone surrogates, which no encoding can print.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
_SURROGATES = re.compile("[\ud800-\udfff]")
_HIDDEN = re.compile(f"{_CONTROLS.pattern[:-1]}\t\n\ud800-\udfff]")
_BLANKS = re.compile(r"[\t\n\r]")


def safe(text: str, *, lines: bool = False) -> str:
    r"""The text without terminal escapes and control characters.

    Args:
        text: anything a message holds.
        lines: keep tabs and line ends (CR LF becomes LF).

    >>> safe("a\x1b[31mb\x07.txt")
    'ab.txt'
    """
    if lines:
        text = text.replace("\r\n", "\n")
    text = _ESCAPES.sub("", text)
    if not lines:
        text = _BLANKS.sub(" ", text)
    return _SURROGATES.sub("\ufffd", _CONTROLS.sub("", text))


def visible(text: str) -> str:
    r"""The text in one line, with what `safe` takes away written as an escape: for those who look for just that.

    >>> visible("a\x1b[31mb\r\n\tc")
    'a\\x1b[31mb\\r\\n\\tc'
    """
    return _HIDDEN.sub(lambda found: ascii(found.group())[1:-1], text)


def shorten(text: str, width: int) -> str:
    """At most so many characters, an ellipsis in the middle: both ends of a file name matter."""
    if len(text) <= width:
        return text
    head = (width - 1) // 2
    return text[:head] + "…" + text[len(text) - (width - 1 - head) :]


def size_text(octets: int) -> str:
    """A size for a person.

    >>> size_text(999), size_text(20480), size_text(3_500_000)
    ('999 B', '20.5 kB', '3.5 MB')
    """
    if octets < 1000:
        return f"{octets} B"
    value = float(octets)
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if value < 999.95:
            return f"{value:.1f} {unit}"
    return f"{value / 1000:.1f} TB"


def toml_text(value: Any) -> str:
    """A plain value as a pipeline file would have it.

    >>> toml_text(True), toml_text(None), toml_text(["a", 1]), toml_text("x")
    ('true', 'none', '["a", 1]', '"x"')
    """
    if value is None:
        return "none"
    return json.dumps(value, ensure_ascii=False)


def count_text(number: int, noun: str) -> str:
    """A number with its noun: "1 message", "2 messages"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def seconds_text(seconds: float) -> str:
    """A stretch of time for a person: "0.4 s", "3 min", "2 h", "5 d"."""
    for limit, divisor, unit in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if abs(seconds) < limit:
            value = seconds / divisor
            return f"{value:.1f} {unit}" if unit == "s" and abs(value) < 10 else f"{value:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"


def console(*, stderr: bool = False) -> "Console":
    """A console on the present standard output or standard error; honours NO_COLOR, FORCE_COLOR and COLUMNS."""
    from rich.console import Console  # slow to import; errors and JSON do without

    stream = sys.stderr if stderr else sys.stdout
    is_terminal = stream is not None and stream.isatty()
    width = None if is_terminal or os.environ.get("COLUMNS", "").isdigit() else WIDE
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False, soft_wrap=False)


def label(text: object, style: str = "") -> "Text":
    """Text from a message as a rich `Text`: safe, and never read as markup."""
    from rich.text import Text  # slow to import

    return Text(safe(str(text)), style=style)


def table(*columns: str, title: str = "", right: Iterable[str] = ()) -> "Table":
    """A plain table with these column headings; those in `right` are aligned right."""
    from rich import box  # slow to import
    from rich.table import Table
    from rich.text import Text

    made = Table(
        box=box.SIMPLE_HEAD, title=Text(title, style="bold") if title else None, title_justify="left", pad_edge=False
    )
    right = frozenset(right)
    for column in columns:
        made.add_column(Text(column), justify="right" if column in right else "left", overflow="fold")
    return made


def print_json(verb: str, document: Mapping[str, Any], *, stderr: bool = False) -> None:
    """One JSON object with the version of its form; ASCII only, so that it is safe on a terminal too."""
    print_document({"version": JSON_VERSION, "verb": verb, **document}, stderr=stderr)


def stream_json(
    verb: str, name: str, rows: Iterable[Mapping[str, Any]], rest: Callable[[], Mapping[str, Any]]
) -> None:
    """The same object, of which one list is printed as it comes, a line each: it may be longer than the memory.

    Args:
        verb: of the document.
        name: of the list.
        rows: its values.
        rest: what follows behind the list; asked when that has ended.
    """
    write = sys.stdout.write
    write(f'{{\n  "version": {JSON_VERSION},\n  "verb": {json.dumps(verb)},\n  {json.dumps(name)}: [')
    mark = ""
    for row in rows:
        write(f"{mark}\n    {json.dumps(row, default=_plain)}")
        mark = ","
    write("\n  ]" if mark else "]")
    for key, value in rest().items():
        document = json.dumps(value, indent=2, default=_plain).replace("\n", "\n  ")
        write(f",\n  {json.dumps(key)}: {document}")
    write("\n}\n")


def print_document(document: Mapping[str, Any], *, stderr: bool = False) -> None:
    """One JSON object as it is, ASCII only."""
    stream = sys.stderr if stderr else sys.stdout
    stream.write(json.dumps(document, indent=2, default=_plain) + "\n")


def _plain(value: object) -> object:
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).decode("utf-8", "backslashreplace")
    if isinstance(value, (set, frozenset)):
        return sorted(str(item) for item in value)
    return str(value)


def complain(sentence: str, *, prefix: str = "mailpipe: ") -> None:
    """One line on standard error (several, where the sentence has several), each with our name before it."""
    lines = "".join(f"{prefix}{safe(line)}\n" for line in sentence.splitlines() or [""])
    with contextlib.suppress(OSError, ValueError):  # nobody listens; the exit code still speaks
        sys.stderr.write(lines)
        sys.stderr.flush()


def write_octets(octets: bytes | memoryview) -> None:
    """Octets as they are on standard output."""
    sys.stdout.flush()
    sys.stdout.buffer.write(octets)
    sys.stdout.buffer.flush()
