"""`mailpipe explain`: why an earlier message ended as it did, from the journal of the runs that had it in hand.

    mailpipe explain pipeline.toml mbox:archive.mbox:592
    mailpipe explain pipeline.journal --ending rejected
    mailpipe explain pipeline.toml --message-id 1@example.org
    mailpipe explain pipeline.toml                          # all that did not end well

Where the archive is still there, Subject, From and Date are read from it. Exit code 0; 1 when the journal does not have
the message that is asked for, and then the nearest keys are named.

Never here: reading journals (`mailpipe.pipeline.inquiry`) and archives (`mailpipe.pipeline.recognise`).
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mailpipe.cli import output
from mailpipe.cli.exit import EX_FINDINGS, EX_OK, UsageError
from mailpipe.cli.load import OverridesOption, load, log_to_stderr
from mailpipe.cli.opening import bare
from mailpipe.cli.progress import advancing
from mailpipe.errors import ConfigError

if TYPE_CHECKING:  # slow to import; `mailpipe --help` must not wait for them
    from rich.text import Text

    from mailpipe.message import Header
    from mailpipe.pipeline.inquiry import Attempt, Found, OnProgress, Story, Wanted
    from mailpipe.pipeline.recognise import Archives

NAME = "explain"
EXAMPLE = "mailpipe explain pipeline.toml"

ENDINGS = ("delivered", "queued", "failed", "dropped", "rejected", "quarantined", "deferred", "split", "in-doubt")
_STYLES = {
    "delivered": "green", "split": "bold", "queued": "yellow", "deferred": "yellow", "in-doubt": "bold yellow",
    "quarantined": "magenta", "dropped": "red", "rejected": "bold red", "failed": "bold red",
}  # fmt: skip
_BIG = 16 * 1024 * 1024
_MOST = 50
"""LIMIT: lines of one kind for one message; --json has all."""


def command(
    journal: Annotated[str, typer.Argument(metavar="JOURNAL|PIPELINE", help="A journal, or the pipeline file of one.")],
    key: Annotated[
        str, typer.Argument(metavar="[KEY]", show_default=False, help="A message, such as archive.mbox:592.")
    ] = "",
    message_id: Annotated[
        str,
        typer.Option("--message-id", metavar="ID", show_default=False, help="By its Message-ID; reads the archives."),
    ] = "",
    ending: Annotated[
        str, typer.Option("--ending", metavar="WORD", show_default=False, help="That ended so: rejected, in-doubt, ….")
    ] = "",
    recipient: Annotated[
        str,
        typer.Option("--recipient", metavar="ADDRESS", show_default=False, help="That a sink was given for this one."),
    ] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many messages.")] = 20,
    overrides: OverridesOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Tell why an earlier message ended as it did; without a choice, of all that did not end well."""
    log_to_stderr(0)
    if ending and ending not in ENDINGS:
        raise UsageError(f"no message ends {ending!r}; it is one of {', '.join(ENDINGS)}")
    if key and message_id:
        raise UsageError("give a key or a Message-ID, not both")
    from mailpipe.pipeline.inquiry import Wanted, inquire  # slow to import
    from mailpipe.pipeline.recognise import Archives

    path = _journal(journal, overrides)
    keys = _keys(path, message_id) if message_id else frozenset()
    wanted = Wanted(key, keys, ending, bare(recipient))
    with _telling(path) as on_progress:
        found = inquire(path, wanted, limit, on_progress)
    with Archives() as archives:
        if as_json:
            output.print_json(NAME, _document(path, found, archives))
        else:
            _print(path, found, archives, wanted)
    return EX_OK if found.matched or wanted.is_everything_bad else EX_FINDINGS


def _journal(given: str, overrides: list[str] | None) -> Path:
    """The journal that is meant.

    Raises:
        ConfigError: the pipeline file has none.
    """
    from mailpipe.pipeline.inquiry import is_journal  # slow to import

    if not given.endswith(".toml") and is_journal(given):
        return Path(given)
    _, settings = load(given, overrides)
    if settings.journal is None:
        raise ConfigError(f"{given}: [run] journal = false, so nothing was written down that could be told")
    return settings.journal


def _keys(path: Path, message_id: str) -> frozenset[str]:
    from mailpipe.pipeline.inquiry import keys_of  # slow to import
    from mailpipe.pipeline.recognise import keys_with, locations_of
    from mailpipe.plugins import load_registry

    keys = keys_with(message_id, locations_of(keys_of(path)), load_registry(), output.complain)
    # what no key has finds nothing
    return keys or frozenset({""})


class _telling:
    """A bar for a journal that takes a while; it is read twice."""

    def __init__(self, path: Path) -> None:
        size = path.stat().st_size if path.exists() else 0
        self._bar = advancing(2 * size) if size > _BIG else None

    def __enter__(self) -> "OnProgress | None":
        if self._bar is None:
            return None
        advance = self._bar.__enter__()
        seen = 0

        def tell(position: int) -> None:
            nonlocal seen
            advance(position - seen if position >= seen else position, output.size_text(position))
            seen = position

        return tell

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)


# -- for a person


def _print(path: Path, found: "Found", archives: "Archives", wanted: "Wanted") -> None:
    console = output.console()
    for number, story in enumerate(found.stories):
        if number:
            console.print("")
        for line in _story(story, archives.header(story.key)):
            console.print(line, soft_wrap=True)
    left = found.matched - len(found.stories)
    if left or found.is_cut:
        words = f"… and {'at least ' if found.is_cut else ''}{left:,} more; --limit shows them"
        console.print(output.label(f"\n{words}", "dim"))
    if found.matched:
        return
    if wanted.is_everything_bad:
        output.complain(f"{path}: nothing ended badly in {output.count_text(found.lines, 'line')}", prefix="")
        return
    output.complain(f"{path}: there is no such message in {output.count_text(found.lines, 'line')}")
    if found.nearest:
        output.complain(f"the nearest are: {', '.join(found.nearest)}")


def _story(story: "Story", header: "Header | None") -> "list[Text]":
    lines = [output.label(story.key, "bold")]
    if header is not None:
        lines += [
            output.label(f"  {name}: ", "dim") + output.label(output.shorten(output.safe(text), 200))
            for name in ("Subject", "From", "Date")
            if (text := header.get(name))
        ]
    attempts = story.attempts
    if attempts:
        lines += _attempt(attempts[-1])
        if len(attempts) > 1:
            lines.append(output.label(f"  in hand {len(attempts)} times:", "dim"))
            lines += [_short(each, "    ") for each in attempts[-_MOST:]]
    elif not story.made:
        lines.append(output.label("  nothing is known of its end", "yellow"))
    for number, (key, made) in enumerate(story.made.items()):
        if number == _MOST:
            lines.append(output.label("  … and more; --json has all", "dim"))
            break
        lines.append(output.label("  made of it: ", "dim") + output.label(key, "bold"))
        lines += [output.label("  ") + line for line in _attempt(made[-1])]
        lines += [_short(each, "      ") for each in made[-_MOST:-1]]
    if story.lines_left_out:
        lines.append(output.label(f"  {story.lines_left_out:,} more lines of the journal are not shown", "yellow"))
    return lines


def _moment(fields: dict[str, Any]) -> str:
    try:
        return datetime.fromtimestamp(float(fields["at"]), UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        return ""


def _short(attempt: "Attempt", indent: str) -> "Text":
    fields = attempt.fields or {}
    line = output.label(f"{indent}{_moment(fields) or 'no end on record'}  ", "dim")
    line.append_text(output.label(attempt.ending, _STYLES.get(attempt.ending, "")))
    return line + output.label(output.shorten(f" {fields.get('status', '')} {fields.get('reason', '')}".rstrip(), 200))


def _attempt(attempt: "Attempt") -> "list[Text]":
    fields = attempt.fields
    head = output.label("  ") + output.label(attempt.ending, _STYLES.get(attempt.ending, ""))
    if fields is None:
        why = "the sink was asked, and no run knows the answer: it may have been handed over, and will be sent again"
        return [head + output.label(f": {why}")]
    head.append_text(output.label(f" {fields.get('status', '')} {output.shorten(str(fields.get('reason', '')), 400)}"))
    if stage := fields.get("stage"):
        head.append_text(output.label(" by ", "dim") + output.label(stage, "cyan"))
    head.append_text(output.label(f"  {_moment(fields)}", "dim"))
    lines = [head]
    size_in, size_out = int(fields.get("size_in", 0)), int(fields.get("size_out", 0))
    sizes = f"  {output.size_text(size_in)} read" + (f", {output.size_text(size_out)} handed over" if size_out else "")
    if reference := fields.get("reference"):
        sizes += f", known there as {output.shorten(str(reference), 100)}"
    lines.append(output.label(sizes, "dim"))
    if trail := fields.get("trail"):
        lines.append(output.label("  steps: ", "dim") + output.label(" → ".join(map(str, trail[:_MOST]))))
    lines += [output.label("  changed: ", "dim") + output.label(change) for change in fields.get("changes", ())[:_MOST]]
    if defects := fields.get("defects"):
        counts = ", ".join(f"{code} {count}" for code, count in sorted(defects.items())[:_MOST])
        lines.append(output.label("  defects: ", "dim") + output.label(counts))
    for each in fields.get("attachments", ())[:_MOST]:
        words = f"part {each.get('part')} {each.get('filename') or ''} → {each.get('path')}"
        lines.append(output.label("  saved: ", "dim") + output.label(words))
    for address, fate, status, diagnostic in fields.get("recipients", ())[:_MOST]:
        line = output.label(f"  <{address}> ") + output.label(fate, _STYLES.get(fate, ""))
        lines.append(line + output.label(output.shorten(f" {status} {diagnostic}".rstrip(), 300)))
    return lines


# -- plain values


def _document(path: Path, found: "Found", archives: "Archives") -> dict[str, Any]:
    return {
        "journal": str(path),
        "begun": found.begun,
        "matched": found.matched,
        "is_cut": found.is_cut,
        "nearest": found.nearest,
        "stories": [_plain(story, archives.header(story.key)) for story in found.stories],
    }


def _plain(story: "Story", header: "Header | None") -> dict[str, Any]:
    names = {"subject": "Subject", "from": "From", "date": "Date", "message_id": "Message-ID"}
    return {
        "key": story.key,
        "digest": story.root,
        "ending": story.ending,
        "mail": None if header is None else {name: header.get(field) for name, field in names.items()},
        "attempts": [_attempt_fields(each) for each in story.attempts],
        "made": {key: [_attempt_fields(each) for each in attempts] for key, attempts in story.made.items()},
        "lines_left_out": story.lines_left_out,
    }


def _attempt_fields(attempt: "Attempt") -> dict[str, Any]:
    fields = {name: value for name, value in (attempt.fields or {}).items() if name not in ("end", "root", "settled")}
    return {"ending": attempt.ending, "is_begun": attempt.is_begun, **fields}
