"""Measures SMTP clients beside one another: 4 KB messages into Postfix's smtp-sink, and into a sink that takes BDAT.

    python tests/benchmarks/smtp_bench.py --count 1500 --rounds 3

The first figure is CPU time of the client's process for each message, as a ratio to smtplib on one reused connection in
the same run; less is better. The second is messages a second, as a ratio to smtplib in the same column; more is better.
"mailpipe run" is the whole command, from the archive to the journal; the others send one message again and again.
Each figure is the best of all rounds. Clients that are not installed are left out and named; so is smtp-sink.
"""

import argparse
import contextlib
import json
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

from smtp_clients import CLIENTS, missing

HERE = Path(__file__).parent


def _free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def _started(stack, *command):
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    stack.callback(lambda: (process.kill(), process.wait()))


def _wait_for(port):
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise SystemExit(f"nothing listens on port {port}")


def _measured(name, port, count, connections):
    command = [sys.executable, str(HERE / "smtp_clients.py"), name, str(port), str(count), str(connections)]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300,
                          env={"PYTHONPATH": str(HERE.parent.parent), "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"})  # fmt: skip
    found = json.loads(said.stdout.splitlines()[-1])
    assert found["accepted"] == count, f"{name}: {found['accepted']} of {count} accepted"
    return found["cpu"] / count, count / found["wall"]


def main():
    """Measure and print the table."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--count", type=int, default=1500, help="messages of a figure without delay")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--delay", type=int, default=20, help="milliseconds of the round trip of the other half")
    asked = options.parse_args()
    with contextlib.ExitStack() as stack:
        sink, own, late_sink, late_own = (_free_port() for _ in range(4))
        python, script = sys.executable, str(HERE / "smtp_sink.py")
        postfix = shutil.which("smtp-sink", path="/usr/sbin:/usr/bin:/usr/local/sbin")
        if postfix:
            _started(stack, postfix, "-u", "nobody", f"127.0.0.1:{sink}", "200")
        else:
            print("smtp-sink is not installed (Debian: postfix); the sink written for this stands in")
            _started(stack, python, script, "sink", str(sink))
        _started(stack, python, script, "sink", str(own))
        _started(stack, python, script, "relay", str(late_sink), str(sink), str(asked.delay))
        _started(stack, python, script, "relay", str(late_own), str(own), str(asked.delay))
        for port in (sink, own, late_sink, late_own):
            _wait_for(port)
        clients = []
        for name in CLIENTS:
            if lacking := missing(name) or (name == "smtp-source" and not shutil.which("smtp-source", path="/usr/sbin") and name):
                print(f"{name}: left out, {lacking} is not installed")
            else:
                clients.append(name)
        columns = [(1, 0), (20, 0), (1, asked.delay), (20, asked.delay)]
        best = {}
        for _ in range(asked.rounds):
            for connections, delay in columns:
                count = max(20, asked.count // 10 if delay and connections == 1 else asked.count) // 20 * 20
                for name in clients:
                    ports = (own, late_own) if "BDAT" in name else (sink, late_sink)
                    cpu, rate = _measured(name, ports[bool(delay)], count, connections)
                    old = best.get((name, connections, delay), (cpu, rate))
                    best[name, connections, delay] = min(old[0], cpu), max(old[1], rate)
    base = best["smtplib", 1, 0][0]
    heads = [f"{connections} conn, {delay} ms" for connections, delay in columns]
    print("| client | " + " | ".join(f"CPU, {head} | rate" for head in heads) + " |")
    print("|---|" + "--:|" * (2 * len(columns)))
    for name in clients:
        cells = []
        for column in columns:
            cpu, rate = best[(name, *column)]
            cells += [f"{cpu / base:.2f}", f"{rate / best[('smtplib', *column)][1]:.1f}"]
        print(f"| {name} | " + " | ".join(cells) + " |")
    print(f"\nsmtplib on one connection: {base * 1e6:.0f} µs of CPU a message")


if __name__ == "__main__":
    main()
