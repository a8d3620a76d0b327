"""`mailpipe diff`: which messages of an archive end otherwise in another pipeline file, and since which step.

    mailpipe diff old.toml new.toml archive.mbox
    mailpipe diff old.toml new.toml archive.mbox --forbid 'deliver->drop' --allow-changed 10

Both pipelines are played with every message: nothing is handed over, queued, journalled or set aside, and stages that
act beyond the mail are left out in both. Exit code 0; 1 when a forbidden change occurred, or more messages changed than
--allow-changed says.

Never here: playing and comparing (`mailpipe.pipeline.comparison`).
"""

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mailpipe.cli import output
from mailpipe.cli.exit import EX_FINDINGS, EX_OK
from mailpipe.cli.load import OverridesOption, VerboseOption, load, log_to_stderr
from mailpipe.cli.progress import advancing, size_of

if TYPE_CHECKING:  # slow to import; `mailpipe --help` must not wait for them
    from rich.text import Text

    from mailpipe.pipeline.comparison import Change, Comparison, Leaf, Result

NAME = "diff"
EXAMPLE = "mailpipe diff pipeline.toml new.toml archive.mbox"
_MOST = 20


def command(
    old: Annotated[str, typer.Argument(metavar="OLD", help="The pipeline file as it was.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The pipeline file as it shall be.")],
    sources: Annotated[
        list[str] | None,
        typer.Argument(metavar="ARCHIVE", help="Archives and messages; by default the source of the old file."),
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Compare at most so many messages.")] = None,
    forbid: Annotated[
        list[str] | None,
        typer.Option("--forbid", metavar="A->B", help="End with 1 on such a change, deliver->drop; may be repeated."),
    ] = None,
    allow_changed: Annotated[
        int | None,
        typer.Option("--allow-changed", metavar="N", min=0, help="End with 1 when more messages are different."),
    ] = None,
    overrides: OverridesOption = None,
    every: Annotated[bool, typer.Option("--all", "-a", help="List all different messages, not the first 20.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    verbose: VerboseOption = 0,
) -> int:
    """Show which messages end otherwise in another pipeline file. --set is for the new one."""
    log_to_stderr(verbose)
    from mailpipe.pipeline.comparison import Comparison, SharedClock, forbidden  # slow to import
    from mailpipe.pipeline.rehearsal import Rehearsal
    from mailpipe.pipeline.trial import mails_of

    rules = forbidden(forbid or ())
    registry, settings = load(old)
    newer, other = load(new, overrides)
    clock = SharedClock()
    with Rehearsal(settings, registry, clock=clock) as first, Rehearsal(other, newer, clock=clock) as second:
        comparison = Comparison(first, second, clock)
        changes: list[Change] = []
        with advancing(size_of(sources or [])) as advance:
            for raw in mails_of(sources or [], settings, registry, limit):
                change = comparison.take(raw)
                if change is not None and (every or as_json or len(changes) < _MOST):
                    changes.append(change)
                words = f"{output.count_text(comparison.messages, 'message')}, {comparison.changed:,} different"
                advance(len(raw.octets), words)
        left_out = sorted({*first.left_out, *second.left_out})
    broken = comparison.forbidden_by(rules)
    is_too_much = allow_changed is not None and comparison.changed > allow_changed
    if as_json:
        rest = _summary(comparison, broken, left_out, allow_changed)
        output.stream_json(NAME, "changed", (_change(each) for each in changes), lambda: rest)
    else:
        _print(comparison, changes, f"{old} → {new}", left_out)
        for (before, after), count in broken.items():
            output.complain(f"{before} → {after} is forbidden, and happens to {output.count_text(count, 'message')}")
        if is_too_much:
            words = f"{comparison.changed:,} of {output.count_text(comparison.messages, 'message')} are different"
            output.complain(f"{words}, and {allow_changed:,} are allowed")
    return EX_FINDINGS if broken or is_too_much else EX_OK


def _print(comparison: "Comparison", changes: "list[Change]", heading: str, left_out: list[str]) -> None:
    console = output.console()
    words = f": {comparison.changed:,} of {output.count_text(comparison.messages, 'message')} different"
    console.print(output.label(heading, "bold") + output.label(words))
    if comparison.messages:
        console.print(_matrix(comparison))
    for title, counts in (("different in", comparison.kinds), ("since the step", comparison.steps)):
        if counts:
            listed = ", ".join(f"{name or 'none of them'} {count:,}" for name, count in counts.most_common(10))
            console.print(output.label(f"{title}: ", "dim") + output.label(listed))
    if comparison.unsteady:
        sentence = f"{output.count_text(comparison.unsteady, 'message')} came out otherwise when played again"
        console.print(output.label(f"{sentence}; their octets were not compared", "yellow"))
    if left_out:
        console.print(output.label(f"left out, for they act beyond the mail: {', '.join(left_out)}", "yellow"))
    for change in changes:
        console.print("")
        _print_change(change)
    if len(changes) < comparison.changed:
        console.print(output.label(f"\n… and {comparison.changed - len(changes):,} more (--all lists them)", "dim"))


def _matrix(comparison: "Comparison") -> Any:
    """Old endings down, new endings across; behind a count how many of them are different."""
    downs = sorted({old for old, _ in comparison.endings})
    across = sorted({new for _, new in comparison.endings})
    table = output.table("old \\ new", *across, right=across)
    for old in downs:
        cells: list[Text] = []
        for new in across:
            count, changed = comparison.endings[old, new], comparison.different[old, new]
            text = f"{count:,}" + (f" ({changed:,} different)" if changed and old == new else "") if count else ""
            cells.append(output.label(text, "" if old == new else "bold yellow"))
        table.add_row(output.label(old, "cyan"), *cells)
    return table


def _print_change(change: "Change") -> None:
    console = output.console()
    line = output.label(change.mail, "bold") + "  " + output.label(output.shorten(output.safe(change.subject), 80))
    console.print(line + output.label(f"  from {change.sender}" if change.sender else "", "dim"), soft_wrap=True)
    by = f"{'no longer ' if change.is_of_old else ''}by {change.step}" if change.step else "by none of the steps"
    console.print(output.label(f"  {', '.join(change.what)}: {by}", "yellow"), soft_wrap=True)
    for mark, style, result, reason in (
        ("-", "red", change.old, change.reasons[0]), ("+", "green", change.new, change.reasons[1]),
    ):  # fmt: skip
        same = Counter((change.new if mark == "-" else change.old).leaves)
        for leaf in result.leaves:
            if same[leaf]:
                same[leaf] -= 1
                continue
            words = _leaf_words(leaf) + (f": {reason}" if reason and leaf.ending != "delivered" else "")
            console.print(output.label(f"  {mark} {output.shorten(output.safe(words), 300)}", style), soft_wrap=True)


def _leaf_words(leaf: "Leaf") -> str:
    to = ", ".join(f"<{address}>" for address in leaf.recipients[:5]) + (" …" if len(leaf.recipients) > 5 else "")
    where = f" to {leaf.place}" if leaf.place else f" {leaf.status}"
    octets = f", octets {leaf.digest.hex()[:8]}" if leaf.digest else ""
    return f"{'copy ' if leaf.is_copy else ''}{leaf.ending}{where}, <{leaf.sender}> → {to or 'nobody'}{octets}"


# -- plain values


def _summary(
    comparison: "Comparison", broken: dict[tuple[str, str], int], left_out: list[str], allowed: int | None
) -> dict[str, Any]:
    return {
        "messages": comparison.messages,
        "different": comparison.changed,
        "unsteady": comparison.unsteady,
        "endings": _pairs(comparison.endings),
        "different_endings": _pairs(comparison.different),
        "transitions": _pairs(comparison.transitions),
        "kinds": dict(comparison.kinds),
        "steps": dict(comparison.steps),
        "forbidden": _pairs(broken),
        "allowed": allowed,
        "left_out": left_out,
    }


def _pairs(counts: "dict[tuple[str, str], int]") -> list[dict[str, Any]]:
    return [{"old": old, "new": new, "messages": count} for (old, new), count in sorted(counts.items())]


def _change(change: "Change") -> dict[str, Any]:
    return {
        "mail": change.mail,
        "key": change.key,
        "subject": change.subject,
        "from": change.sender,
        "what": list(change.what),
        "step": change.step,
        "step_of": "old" if change.is_of_old else "new",
        "old": _result(change.old, change.reasons[0]),
        "new": _result(change.new, change.reasons[1]),
    }


def _result(result: "Result", reason: str) -> dict[str, Any]:
    leaves = [
        {
            "is_copy": leaf.is_copy,
            "ending": leaf.ending,
            "status": leaf.status,
            "sink": leaf.place,
            "sender": leaf.sender,
            "recipients": list(leaf.recipients),
            "sha256": leaf.digest.hex(),
        }
        for leaf in result.leaves
    ]
    return {"ending": result.ending, "reason": reason, "mails": leaves}
