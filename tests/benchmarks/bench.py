"""Measures mailpipe and its peers side by side: one process each, interleaved, the best of several rounds.

    python tests/benchmarks/bench.py                       # real mail if there is any, and set shapes
    python tests/benchmarks/bench.py --real ~/Mail --json results.json

A figure is the best of all rounds of a peer; ratios are to the standard library's compat32 in the same run. Peers that
are not installed are left out and named.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from peers import PEERS
from shapes import make

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mailpipe import native

TASKS = ("structure", "triage", "full", "round trip", "modify")
BASE = "stdlib compat32"
OWN = ("two fields", "texts", "every value")  # mailpipe's alone
MUST = {"structure": 13.0, "triage": 9.0, "full": 5.0, "round trip": 44.0, "modify": 80.0}
HERE = Path(__file__).parent


class Peer:
    """A peer's process."""

    def __init__(self, name: str, python: str) -> None:
        self.process = subprocess.Popen(
            [python, str(HERE / "peers.py"), name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env={**os.environ, "PYTHONPATH": str(HERE.parent.parent), "MAILPIPE_PURE": "1" if name == "mailpipe in Python" else ""},
        )  # fmt: skip
        self.tasks = set(self.answer())

    def answer(self) -> Any:
        """The next line of its output."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise EOFError
        return json.loads(line)

    def ask(self, **command: Any) -> Any:
        """One command, one answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return self.answer()


def real_messages(folder: Path | None, count: int) -> dict[str, list[bytes]]:
    """Samples of the files below a folder, any and the largest; CPython's own test messages where there is none."""
    if folder is None:
        try:
            import test.test_email as ours
        except ImportError:
            return {}
        folder = Path(ours.__file__).parent / "data"
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix in ("", ".txt", ".eml", ".msg"))
    random.Random(3).shuffle(files)
    samples = {"real mail": [message_in(path) for path in files[:count]]}
    if len(files) > 2 * count:
        files.sort(key=lambda path: -path.stat().st_size)
        samples["real mail, the largest"] = [message_in(path) for path in files[:count]]
    return samples


def message_in(path: Path) -> bytes:
    """The message in a file, without the line that mailboxes put before it: peers would drop or misread it."""
    octets = path.read_bytes()
    return octets[octets.find(b"\n") + 1 :] if octets.startswith(b"From ") else octets


def write_pack(path: Path, messages: list[bytes]) -> None:
    """All messages in one file, each behind its length."""
    with path.open("wb") as pack:
        for octets in messages:
            pack.write(len(octets).to_bytes(8, "big") + octets)


def measure(peers: dict[str, Peer], messages: list[bytes], rounds: int, seconds: float) -> dict[str, dict[str, float]]:
    """Best seconds per task and peer."""
    best: dict[str, dict[str, float]] = {task: {} for task in (*TASKS, *OWN)}
    with tempfile.TemporaryDirectory() as folder:
        pack = Path(folder, "pack")
        write_pack(pack, messages)
        for peer in peers.values():
            peer.ask(load=str(pack))
        for task in (*TASKS, *OWN):
            for _ in range(rounds):
                for name, peer in peers.items():
                    if task in peer.tasks:
                        took, _failed = peer.ask(task=task, seconds=seconds)
                        best[task][name] = min(took, best[task].get(name, took))
    return best


def report(title: str, messages: list[bytes], best: dict[str, dict[str, float]]) -> None:
    """One table: rows are tasks, columns peers, cells the ratio to the base."""
    size = sum(map(len, messages))
    names = [name for name in PEERS if any(name in row for row in best.values())]
    print(f"\n## {title}: {len(messages)} messages, {size / 1e6:.1f} MB; ratio to {BASE}, more is faster\n")
    print("| task | must | " + " | ".join(names) + " | mailpipe messages/s | MB/s |")
    print("|---|--:|" + "--:|" * (len(names) + 2))
    for task in TASKS:
        row = best[task]
        cells = [f"{row[BASE] / row[name]:.2f}" if name in row else "–" for name in names]
        rate = f"{len(messages) / row['mailpipe']:,.0f} | {size / row['mailpipe'] / 1e6:,.0f}"
        print(f"| {task} | {MUST[task]:g} | {' | '.join(cells)} | {rate} |")
    for name in ("mailpipe", "mailpipe in Python"):
        own = {task: best[task][name] for task in OWN if name in best[task]}
        if own:
            full = best["full"][BASE]
            print(f"\n{name}: structure and two fields: {own['two fields'] / best['structure'][name]:.2f} × structure alone (at most 1.35)")
            print(f"\n{name}: full without addresses, dates and trace: {full / own['texts']:.2f}; with every field typed: {full / own['every value']:.2f}")


def main() -> int:
    """Run the bench."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--real", type=Path, help="folder of messages, one a file")
    options.add_argument("--count", type=int, default=600, help="how many of them")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=float, default=0.4, help="for each peer, task and round")
    options.add_argument("--peers", nargs="*", help="only these")
    options.add_argument("--shapes", nargs="*", help="only these shapes; none: real mail only")
    options.add_argument("--json", type=Path, help="write every figure there")
    options.add_argument("--python", default=sys.executable)
    chosen = options.parse_args()
    peers: dict[str, Peer] = {}
    for name in chosen.peers or PEERS:
        try:
            # Debian's GMime bindings belong to Debian's Python
            peers[name] = Peer(name, "/usr/bin/python3" if name == "GMime" else chosen.python)
        except (EOFError, OSError):
            print(f"{name}: not installed, left out", file=sys.stderr)
    if not native.IS_COMPILED:
        print("mailpipe: there is no compiled build, both of its columns are in Python", file=sys.stderr)
    sets = real_messages(chosen.real, chosen.count) | make()
    if chosen.shapes is not None:
        sets = {name: one for name, one in sets.items() if name.startswith("real mail") or name in chosen.shapes}
    results: dict[str, Any] = {}
    for title, messages in sets.items():
        if messages:
            best = measure(peers, messages, chosen.rounds, chosen.seconds)
            report(title, messages, best)
            results[title] = {"messages": len(messages), "octets": sum(map(len, messages)), "seconds": best}
            if "mailpipe" in peers:
                kept = peers["mailpipe"].ask(task=OWN[0], retained=True)
                print(f"\nretained beyond the raw octets: {kept:.2f} × their size (at most 0.50)")
            if title.startswith("real mail"):
                for name, peer in peers.items():
                    if "round trip" in peer.tasks:
                        same = peer.ask(task="round trip", identical=True)
                        print(f"\n{name}: {same} of {len(messages)} come back octet for octet", end="")
                print()
    for peer in peers.values():
        assert peer.process.stdin is not None
        peer.process.stdin.close()
        peer.process.wait(10)
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
