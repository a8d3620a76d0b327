"""The clients that smtp_bench.py measures, one process each: prints CPU seconds, wall seconds, messages accepted.

    python tests/benchmarks/smtp_clients.py "mailpipe overlap" PORT COUNT CONNECTIONS
"""

import asyncio
import importlib.util
import json
import resource
import smtplib
import subprocess
import sys
import threading
import time

SENDER, RECIPIENT = "ann@example.org", "bob@example.net"
HEADER = b"From: Ann <ann@example.org>\r\nTo: Bob <bob@example.net>\r\nSubject: a message of 4 KB\r\n\r\n"
MESSAGE = HEADER + b"a line of text, as long as most of them are in plain letters today..\r\n" * 57


def _smtplib(port, count, connections):
    accepted = []

    def work(share):
        with smtplib.SMTP("127.0.0.1", port, local_hostname="client.test") as connection:
            for _ in range(share):
                refused = connection.sendmail(SENDER, [RECIPIENT], MESSAGE)
                accepted.append(not refused)

    threads = [threading.Thread(target=work, args=(count // connections,)) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(accepted)


def _aiosmtplib(port, count, connections):
    import aiosmtplib

    async def work(share):
        async with aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False, local_hostname="client.test") as connection:
            for _ in range(share):
                await connection.sendmail(SENDER, [RECIPIENT], MESSAGE)
        return share

    async def run():
        return sum(await asyncio.gather(*(work(count // connections) for _ in range(connections))))

    return asyncio.run(run())


def _smtp_source(port, count, connections):
    subprocess.run(
        ["smtp-source", "-d", "-s", str(connections), "-m", str(count), "-l", str(len(MESSAGE)), "-f", SENDER, "-t", RECIPIENT,
         f"127.0.0.1:{port}"], check=True,
    )  # fmt: skip
    return count


def _own(*, window, overlap=True, chunking=False, uvloop=False):
    def measure(port, count, connections):
        from mailpipe.net.aio import AsyncSmtpConnection
        from mailpipe.net.endpoint import Endpoint
        from mailpipe.smtp import Envelope
        from mailpipe.smtp.opening import Opening

        async def work(share):
            pairs = ((Envelope.of(SENDER, RECIPIENT), MESSAGE) for _ in range(share))
            accepted = 0
            async with AsyncSmtpConnection(Endpoint("127.0.0.1", port), Opening("client.test")) as connection:
                async for result in connection.stream(pairs, overlap=overlap, window=window, chunking=chunking):
                    accepted += result.answers[0].is_accepted
            return accepted

        async def run():
            return sum(await asyncio.gather(*(work(count // connections) for _ in range(connections))))

        if uvloop:
            import uvloop as loops

            return loops.run(run())
        return asyncio.run(run())

    return measure


def _own_sync(port, count, connections):
    from mailpipe.net.endpoint import Endpoint
    from mailpipe.net.sync import SmtpConnection
    from mailpipe.smtp import Envelope
    from mailpipe.smtp.opening import Opening

    accepted = []

    def work(share):
        with SmtpConnection(Endpoint("127.0.0.1", port), Opening("client.test")) as connection:
            for _ in range(share):
                result = connection.transaction(Envelope.of(SENDER, RECIPIENT), MESSAGE)
                accepted.append(result.answers[0].is_accepted)

    threads = [threading.Thread(target=work, args=(count // connections,)) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(accepted)


def _run(*, window):
    """The whole of `mailpipe run`: reads an archive, parses, keeps a journal, delivers."""

    def measure(port, count, connections):
        import tempfile
        from pathlib import Path

        from mailpipe.pipeline.assemble import assemble
        from mailpipe.pipeline.settings import load_settings
        from mailpipe.plugins import load_registry

        with tempfile.TemporaryDirectory() as place:
            folder, line = Path(place), b"From ann@example.org Thu Jan  1 00:00:00 1970\n"
            (folder / "archive.mbox").write_bytes((line + MESSAGE.replace(b"\r\n", b"\n") + b"\n") * count)
            (folder / "pipeline.toml").write_text(
                f'[source]\nuse = "mbox"\npath = "archive.mbox"\n[sink]\nuse = "smtp"\nhost = "127.0.0.1"\nport = {port}\n'
                f'tls = "never"\nhelo_name = "client.test"\nconnections_per_host = {connections}\nwindow = {window}\n'
            )
            registry = load_registry(folder)
            with assemble(load_settings(folder / "pipeline.toml", registry), registry) as pipeline:
                return pipeline.run().endings["delivered"]

    return measure


CLIENTS = {
    "smtplib": _smtplib,
    "aiosmtplib": _aiosmtplib,
    "smtp-source": _smtp_source,
    "mailpipe sync": _own_sync,
    "mailpipe pipelined": _own(window=1, overlap=False),
    "mailpipe overlap": _own(window=8),
    "mailpipe overlap, uvloop": _own(window=8, uvloop=True),
    "mailpipe BDAT 8": _own(window=8, chunking=True),
    "mailpipe BDAT 8, uvloop": _own(window=8, chunking=True, uvloop=True),
    "mailpipe BDAT 64": _own(window=64, chunking=True),
    "mailpipe BDAT 64, uvloop": _own(window=64, chunking=True, uvloop=True),
    "mailpipe run": _run(window=1),
    "mailpipe run, BDAT 8": _run(window=8),
}
"""Name → what sends so many messages over so many connections to a port and says how many were accepted."""


def missing(name):
    """The package that a client wants and that is not installed, "" where nothing is."""
    wanted = "aiosmtplib" if name == "aiosmtplib" else "uvloop" if name.endswith("uvloop") else ""
    wanted = "pydantic" if "run" in name else wanted
    return wanted if wanted and importlib.util.find_spec(wanted) is None else ""


def _spent():
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


if __name__ == "__main__":
    name, port, count, connections = sys.argv[1], *map(int, sys.argv[2:])
    if count > 2 * connections:
        CLIENTS[name](port, 2 * connections, connections)  # imports, caches and first connections are not measured
    spent, began = _spent(), time.perf_counter()
    accepted = CLIENTS[name](port, count, connections)
    print(json.dumps({"cpu": _spent() - spent, "wall": time.perf_counter() - began, "accepted": accepted}))
