"""How messages of the queue look on a terminal.

    table = messages_table(); add_row(table, entry, now)
    print_entry(entry, now)

Never here: which messages.
"""

import time
from typing import TYPE_CHECKING

from mailpipe.cli import output

if TYPE_CHECKING:  # slow to import; `mailpipe --help` must not wait for them
    from rich.table import Table

    from mailpipe.queue import Entry, Recipient

_STATE_STYLES = {
    "waiting": "",
    "in-doubt": "bold yellow",
    "held": "magenta",
    "delivered": "green",
    "failed": "bold red",
    "expired": "red",
}

def messages_table() -> "Table":
    """A table without rows."""
    return output.table(
        "id", "age", "size", "from", "to", "state", "tries", "next", "last reply", right=["size", "tries"]
    )


def add_row(table: "Table", entry: "Entry", now: float) -> None:
    """Add a message; its first unsettled recipient speaks for it."""
    live = [one for one in entry.recipients if one.state.value != "delivered"] or list(entry.recipients)
    first = live[0]
    more = f" +{len(live) - 1}" if len(live) > 1 else ""
    states = list(dict.fromkeys(one.state.value for one in live))
    table.add_row(
        output.label(entry.id),
        output.seconds_text(now - entry.created),
        output.size_text(entry.size),
        output.label(shown(entry.sender.reverse_path)),
        output.label(shown(first.address) + more),
        output.label(", ".join(states), _STATE_STYLES.get(states[0], "")),
        str(entry.attempts),
        when(entry.next_try, now, is_leased=bool(entry.lease)),
        output.label(output.shorten(output.safe(reply(first)), 120)),
    )


def shown(address: str) -> str:
    """An address that is safe and short; "<>" for none."""
    return output.shorten(output.safe(address), 40) if address else "<>"


def reply(recipient: "Recipient") -> str:
    """The last reply, with its status where it does not say it itself."""
    status = str(recipient.status) if recipient.status else ""
    return recipient.diagnostic if status in recipient.diagnostic else f"{status} {recipient.diagnostic}".strip()


def when(moment: float | None, now: float, *, is_leased: bool = False) -> str:
    """The next try in words."""
    if is_leased:
        return "being delivered"
    if moment is None:
        return "never"
    return "now" if moment <= now else f"in {output.seconds_text(moment - now)}"


def print_entry(entry: "Entry", now: float) -> None:
    """Print a message in full."""
    console = output.console()
    console.print(output.label(entry.id, "bold"))
    arrived = time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(entry.created))
    for name, value in (
        ("from", shown(entry.sender.reverse_path)),
        ("origin", entry.origin),
        ("arrived", arrived),
        ("size", output.size_text(entry.size)),
        ("digest", entry.digest),
        ("content", str(entry.content)),
    ):
        console.print(output.label(f"  {name:8}", "cyan") + output.label(value))
    table = output.table("to", "state", "tries", "next", "last reply", right=["tries"])
    for one in entry.recipients:
        table.add_row(
            output.label(shown(one.address)),
            output.label(one.state.value, _STATE_STYLES.get(one.state.value, "")),
            str(one.attempts),
            when(one.next_try, now, is_leased=bool(entry.lease)),
            output.label(reply(one)),
        )
    console.print(table)
