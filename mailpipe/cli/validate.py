"""`mailpipe validate`: everything that is wrong with messages, one line a defect, with its place and RFC section.

    mailpipe validate message.eml
    message.eml:3:1: warning: A required field is absent. [Date] (missing-field, RFC 5322 3.6)

Ends with 1 when there is a warning or an error; notes alone are what tolerant readers expect, and end with 0.

Never here: the rules; a defect is found by whoever reads the octets.
"""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mailpipe.cli import output
from mailpipe.cli.exit import EX_FINDINGS, EX_OK, explain
from mailpipe.cli.read import read_octets
from mailpipe.cli.show import SEVERITY_STYLES, defect_fields
from mailpipe.defect import Defect, Severity

if TYPE_CHECKING:  # slow to import; `mailpipe --help` must not wait for it
    from rich.text import Text

NAME = "validate"
EXAMPLE = "mailpipe validate message.eml"

_RANKS = {Severity.NOTE: 0, Severity.WARNING: 1, Severity.ERROR: 2}


class Places:
    """Offsets as line and column, from 1; asked in ascending order, so that a file is counted through once."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._line_end = b"\n" if b"\n" in octets else b"\r"
        self._counted = self._line_start = 0
        self._line = 1

    def of(self, offset: int) -> tuple[int, int]:
        """Line and column (in octets) of an offset that is not before the last one asked for."""
        offset = min(offset, len(self._octets))
        self._line += self._octets.count(self._line_end, self._counted, offset)
        last = self._octets.rfind(self._line_end, self._counted, offset)
        if last >= 0:
            self._line_start = last + 1
        self._counted = max(self._counted, offset)
        return self._line, offset - self._line_start + 1


def command(
    messages: Annotated[list[str], typer.Argument(metavar="MESSAGE", help="Message files; - is standard input.")],
    level: Annotated[Severity, typer.Option("--level", help="Leave out what matters less than this.")] = Severity.NOTE,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print nothing; the exit code says it.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """List every defect of messages, with its place, a sentence and the RFC section. Exit 1 for errors and warnings."""
    documents: list[dict[str, Any]] = []
    counts = dict.fromkeys(Severity, 0)
    failure, console = EX_OK, None
    for name in messages:
        try:
            octets = read_octets(name)
        except Exception as error:  # noqa: BLE001 - the other files are still to be looked at
            failure, sentence = explain(error)
            output.complain(sentence)
            documents.append({"file": name, "error": sentence})
            continue
        found = []
        places = Places(octets)
        for defect in _defects(octets):
            counts[defect.severity] += 1
            line, column = places.of(defect.offset)
            if _RANKS[defect.severity] < _RANKS[level]:
                continue
            if as_json:
                found.append({**defect_fields(defect), "line": line, "column": column})
            elif not quiet:
                console = console or output.console()
                console.print(_line(name, line, column, defect), soft_wrap=True)
        documents.append({"file": name, "defects": found})
    if as_json:
        output.print_json(NAME, {"files": documents, "counts": {kind.value: count for kind, count in counts.items()}})
    elif not quiet:
        _print_sum(len(messages), counts)
    if failure != EX_OK:
        return failure
    return EX_FINDINGS if counts[Severity.ERROR] or counts[Severity.WARNING] else EX_OK


def _defects(octets: bytes) -> list[Defect]:
    """All defects, by place."""
    from mailpipe import parse  # slow to import

    return sorted(parse(octets).defects, key=lambda defect: defect.offset)


def _line(name: str, line: int, column: int, defect: Defect) -> "Text":
    from rich.text import Text  # slow to import

    text = Text(output.safe(f"{name}:{line}:{column}: "), style="bold")
    text.append(f"{defect.severity.value}: ", style=SEVERITY_STYLES[defect.severity.value])
    pieces = [defect.sentence]
    if subject := ": ".join(piece for piece in (defect.field, defect.detail) if piece):
        pieces.append(f"[{subject}]")
    where = f"part {defect.path}, " if defect.path else ""
    pieces.append(f"({defect.code}, {where}offset {defect.offset}, {defect.rfc})")
    text.append(output.safe(" ".join(pieces)), style="not bold")
    return text


def _print_sum(files: int, counts: dict[Severity, int]) -> None:
    found = ", ".join(output.count_text(counts[kind], kind.value) for kind in reversed(Severity) if counts[kind])
    output.complain(f"{output.count_text(files, 'message')}: {found or 'no defects'}")
