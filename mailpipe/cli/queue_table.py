"""How messages of the queue look on a terminal.

    count = print_messages(entries, now)
    domains_table(by_domain(entries, is_meant), now)
    print_entry(entry, now)

Never here: which messages.
"""

import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from mailpipe.cli import output

if TYPE_CHECKING:  # slow to import; `mailpipe --help` must not wait for them
    from collections.abc import Callable, Iterable, Mapping

    from rich.table import Table
    from rich.text import Text

    from mailpipe.queue import Entry, Recipient

_STATE_STYLES = {
    "waiting": "",
    "in-doubt": "bold yellow",
    "held": "magenta",
    "delivered": "green",
    "failed": "bold red",
    "expired": "red",
}

_WIDE_ENOUGH = 150
"""Columns from which the messages stand in a table; in fewer, each takes lines of its own."""

_CHUNK = 100  # messages that are laid out together, so that the first are seen at once and memory stays flat


def print_messages(entries: "Iterable[Entry]", now: float) -> int:
    """Print messages as they come, in columns that do not move.

    Returns:
        how many there were.
    """
    console, count, entries = output.console(), 0, iter(entries)
    while chunk := tuple(islice(entries, _CHUNK)):
        if console.width < _WIDE_ENOUGH:
            for entry in chunk:
                console.print(_block(entry, now, console.width), no_wrap=True, overflow="ellipsis", crop=True)
        else:
            table = _messages_table(console.width, has_header=not count)
            for entry in chunk:
                _add_row(table, entry, now)
            console.print(table)
        count += len(chunk)
    return count


def _messages_table(width: int, *, has_header: bool) -> "Table":
    from rich.table import Table  # slow to import

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=has_header, header_style="bold")
    fixed = {"id": 20, "age": 6, "size": 8, "tries": 5, "next": 15}
    left = width - sum(fixed.values()) - 2 * 9
    shares = {"from": left * 20 // 100, "to": left * 26 // 100, "state": left * 12 // 100}
    shares["last reply"] = left - sum(shares.values())
    for name in ("id", "age", "size", "from", "to", "state", "tries", "next", "last reply"):
        table.add_column(
            name, width=fixed.get(name) or shares[name], justify="right" if name in ("size", "tries") else "left",
            overflow="fold", no_wrap=name == "id",
        )  # fmt: skip
    return table


def _speaker(entry: "Entry") -> "Recipient":
    """The recipient that stands for a message: who is tried next, else who waits for a person, else any other."""
    order = {"waiting": 0, "in-doubt": 1, "held": 2, "failed": 3, "expired": 4, "delivered": 5}
    return min(
        entry.recipients,
        key=lambda one: (one.next_try is None, one.next_try or 0.0, order[one.state.value], one.position),
    )


def _people(entry: "Entry") -> tuple[str, list[str]]:
    """Whom it is still to reach, or did not, in short; and their states."""
    first = _speaker(entry)
    left = [one for one in entry.recipients if one.state.value != "delivered"] or list(entry.recipients)
    more = f" +{len(left) - 1}" if len(left) > 1 else ""
    states = [first.state.value, *(one.state.value for one in left)]
    return shown(first.address) + more, list(dict.fromkeys(states))


def _add_row(table: "Table", entry: "Entry", now: float) -> None:
    to, states = _people(entry)
    table.add_row(
        output.label(entry.id),
        output.seconds_text(now - entry.created),
        output.size_text(entry.size),
        output.label(shown(entry.sender.reverse_path)),
        output.label(to),
        output.label(", ".join(states), _STATE_STYLES.get(states[0], "")),
        str(entry.attempts),
        when(entry.next_try, now, is_leased=bool(entry.lease)),
        output.label(output.shorten(output.safe(reply(_speaker(entry))), 120)),
    )


def _block(entry: "Entry", now: float, width: int) -> "Text":
    to, states = _people(entry)
    tries = f"{entry.attempts} {'try' if entry.attempts == 1 else 'tries'}"
    ago, due = output.seconds_text(now - entry.created), when(entry.next_try, now, is_leased=bool(entry.lease))
    said_of = f"  {ago} ago, {output.size_text(entry.size)}, {tries}, next {due}; "
    head = output.label(entry.id, "bold") + output.label(said_of)
    head += output.label(", ".join(states), _STATE_STYLES.get(states[0], ""))
    lines = [head, output.label(f"  {shown(entry.sender.reverse_path)} → {to}")]
    if said := output.safe(reply(_speaker(entry))):
        lines.append(output.label(f"  {said}"))
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return type(head)("\n").join(lines)


@dataclass
class _Domain:
    """What waits for one domain."""

    messages: int = 0
    states: "Counter[str]" = field(default_factory=Counter)
    oldest: float = 0.0
    next_try: float | None = None
    said: str = ""
    changed: float = -1.0

    def to_json(self) -> dict[str, object]:
        return {
            "messages": self.messages, "recipients": dict(self.states), "oldest": self.oldest,
            "next_try": self.next_try, "last_reply": self.said,
        }  # fmt: skip


def by_domain(
    entries: "Iterable[Entry]", is_meant: "Callable[[Recipient], bool]"
) -> dict[str, _Domain]:
    """What is not delivered, by the domain that it goes to; the largest first."""
    found: dict[str, _Domain] = {}
    for entry in entries:
        here = set()
        for one in entry.recipients:
            if one.state.value == "delivered" or not is_meant(one):
                continue
            name = one.address.rpartition("@")[2].lower() or "(none)"
            domain = found.setdefault(name, _Domain(oldest=entry.created))
            domain.messages += name not in here
            here.add(name)
            domain.states[one.state.value] += 1
            domain.oldest = min(domain.oldest, entry.created)
            if one.next_try is not None and (domain.next_try is None or one.next_try < domain.next_try):
                domain.next_try = one.next_try
            if one.diagnostic and one.changed > domain.changed:
                domain.said, domain.changed = reply(one), one.changed
    return dict(sorted(found.items(), key=lambda pair: (-pair[1].messages, pair[0])))


def domains_table(domains: "Mapping[str, _Domain]", now: float) -> "Table":
    """A row for each domain."""
    states = [state for state in _STATE_STYLES if state != "delivered"]
    table = output.table("domain", "messages", *states, "oldest", "next", "last reply", right=["messages", *states])
    for name, domain in domains.items():
        table.add_row(
            output.label(shown(name)), f"{domain.messages:,}",
            *(output.label(f"{domain.states[state]:,}", _STATE_STYLES[state]) if domain.states[state] else ""
              for state in states),
            output.seconds_text(now - domain.oldest), when(domain.next_try, now),
            output.label(output.shorten(output.safe(domain.said), 100)),
        )  # fmt: skip
    return table


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
