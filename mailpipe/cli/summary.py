"""The summary that a run ends with: messages, attachments, defects, speed, and what a person should look at.

    print_summary(report)

Never here: counting; the numbers are those of `mailpipe.pipeline.report`.
"""

from signal import Signals
from typing import TYPE_CHECKING

from mailpipe.cli import output
from mailpipe.defect import DEFECTS, Severity

if TYPE_CHECKING:  # slow to import; `mailpipe --help` must not wait for them
    from rich.console import Console

    from mailpipe.pipeline.report import RunReport

_STYLES = {
    "delivered": "green",
    "queued": "yellow",
    "failed": "bold red",
    "rejected": "red",
    "deferred": "yellow",
    "dropped": "dim",
    "quarantined": "magenta",
}
_MOST = 12
_SEVERITY_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.NOTE: "dim"}


def print_summary(report: "RunReport", *, stderr: bool = False, verbose: int = 0, dry_run: bool = False) -> None:
    """Print the whole summary."""
    console = output.console(stderr=stderr)
    most = 1_000_000 if verbose else _MOST
    _messages(console, report, dry_run=dry_run)
    _attachments(console, report, most)
    _defects(console, report, most)
    _metrics(console, report, most)
    _notices(console, report, most)
    _queue(console, report)
    _list(console, "In doubt: the end of data was sent, no reply came; they may arrive twice", report.in_doubt, most)
    _list(console, "Worth knowing", report.warnings, most)
    if report.signal or report.error:
        how = f"Stopped by {Signals(report.signal).name}" if report.signal else "Stopped before the end"
        again = "the same command goes on where it stopped" if report.journal else "nothing is remembered of it"
        console.print(output.label(f"{how}; {again}", "bold yellow"))


def _messages(console: "Console", report: "RunReport", *, dry_run: bool) -> None:
    table = output.table(
        "messages", "", title=f"{report.pipeline or 'run'}{' (dry run)' if dry_run else ''}", right=[""]
    )
    table.add_row("in", f"{report.entered:,}")
    if report.emitted:
        table.add_row("made by stages", f"{report.emitted:,}")
    if report.skipped:
        table.add_row(output.label("done by an earlier run", "dim"), f"{report.skipped:,}")
    endings = {getattr(ending, "value", str(ending)): count for ending, count in report.endings.items()}
    out = endings.pop("delivered", 0)
    table.add_row(output.label("out (delivered)", "green"), f"{out:,}")
    for ending in ("dropped", "rejected", "quarantined", "deferred", "queued", "failed"):
        count = endings.pop(ending, 0)
        table.add_row(output.label(ending, _STYLES[ending] if count else "dim"), f"{count:,}")
    for ending, count in endings.items():
        if count:
            table.add_row(output.label(ending), f"{count:,}")
    table.add_section()
    table.add_row("octets in", output.size_text(report.octets_in))
    table.add_row("octets out", output.size_text(report.octets_out))
    table.add_row("time", output.seconds_text(report.seconds))
    table.add_row("messages per second", f"{report.messages_per_second:,.1f}")
    table.add_row("octets per second", output.size_text(int(report.octets_per_second)))
    console.print(table)


def _attachments(console: "Console", report: "RunReport", most: int) -> None:
    if not report.attachments:
        return
    words = f"{output.count_text(report.attachments, 'attachment')}, {output.size_text(report.attachment_octets)}, in"
    table = output.table(words)
    for folder in report.attachment_folders[:most]:
        table.add_row(output.label(folder, "cyan"))
    _add_more(table, len(report.attachment_folders) - most, 1)
    console.print(table)


def _defects(console: "Console", report: "RunReport", most: int) -> None:
    if not report.defects:
        return
    table = output.table("defects found", "", "", right=["defects found"])
    ordered = sorted(report.defects.items(), key=lambda item: (-item[1], item[0]))
    for code, count in ordered[:most]:
        kind = DEFECTS.get(code)
        style = _SEVERITY_STYLES[kind.severity] if kind else ""
        sentence = f"{kind.sentence} ({kind.rfc})" if kind else ""
        table.add_row(f"{count:,}", output.label(code, style), output.label(sentence))
    _add_more(table, len(ordered) - most, 3)
    console.print(table)


def _metrics(console: "Console", report: "RunReport", most: int) -> None:
    if not report.metrics:
        return
    table = output.table("stages counted", "", right=[""])
    for name, value in list(report.metrics.items())[:most]:
        table.add_row(output.label(name), f"{value:,.12g}")
    _add_more(table, len(report.metrics) - most, 2)
    console.print(table)


def _notices(console: "Console", report: "RunReport", most: int) -> None:
    if not report.notices:
        return
    table = output.table("not delivered", "", "by", "why")
    for notice in report.notices[:most]:
        ending = getattr(notice.ending, "value", str(notice.ending))
        reason = output.shorten(output.safe(notice.reason), 400)
        why = reason if reason.startswith(notice.status) else f"{notice.status} {reason}"
        table.add_row(
            output.label(output.shorten(output.safe(notice.mail), 60)),
            output.label(ending, _STYLES.get(ending, "")),
            output.label(notice.stage or "sink"),
            output.label(why),
        )
    _add_more(table, len(report.notices) - most, 4)
    console.print(table)


def _queue(console: "Console", report: "RunReport") -> None:
    queue = report.queue
    if queue is None or not (queue.waiting or queue.delivered or queue.failed):
        return
    words = f"Queue: {output.count_text(queue.waiting, 'message')} waiting"
    if queue.delivered or queue.failed:
        words += (
            f"; of earlier mail {output.count_text(queue.delivered, 'recipient')} delivered, {queue.failed:,} refused"
        )
    console.print(output.label(words, "yellow" if queue.waiting else ""))
    if queue.waiting:
        console.print(output.label("  `mailpipe queue flush PIPELINE` tries them now", "dim"))


def _list(console: "Console", title: str, lines: tuple[str, ...], most: int) -> None:
    if not lines:
        return
    console.print(output.label(f"{title}:", "bold yellow"))
    for line in lines[:most]:
        console.print(output.label(f"  {line}"))
    if len(lines) > most:
        console.print(output.label(f"  … and {len(lines) - most:,} more (-v shows them)", "dim"))


def _add_more(table: "object", more: int, columns: int) -> None:
    if more > 0:
        cells = [""] * (columns - 1)
        table.add_row(*cells, output.label(f"… and {more:,} more (-v shows them)", "dim"))  # type: ignore[attr-defined]
