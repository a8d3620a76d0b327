"""The main job, end to end: samples/archive.mbox through samples/quickstart.toml into an SMTP server of its own.

    make demo                                   # or: python samples/scripts/demo.py [FOLDER]

Copies the pipeline file and the archive into out/demo, starts an SMTP server on a free port of the loopback interface,
and runs `mailpipe run` with nothing but host and port changed. What the server accepts it keeps in out/demo/accepted, a
Maildir; attachments lie in out/demo/attachments. The folder is made anew each time, so that every run is the same.
"""

import asyncio
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session

TOP = Path(__file__).resolve().parents[2]
SAMPLES = TOP / "samples"


class Server(SMTP):
    """An SMTP server that takes any line; the usual limit of 1,001 octets would refuse mail that others accept."""

    line_length_limit = 1 << 20
    command_size_limit = 2048


class Keeper:
    """Keeps each accepted message as a file of a Maildir, octets as they came, the envelope in fields before them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0
        for name in ("tmp", "new", "cur"):
            (folder / name).mkdir(parents=True)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Take one message; the reply is only sent once it is on disk."""
        self.count += 1
        name = f"{self.count:06}.demo"
        octets = f"Return-Path: <{envelope.mail_from or ''}>\r\n".encode("utf-8", "surrogateescape")
        for recipient in envelope.rcpt_tos:
            octets += f"Delivered-To: {recipient}\r\n".encode("utf-8", "surrogateescape")
        assert isinstance(envelope.content, bytes)
        (self.folder / "tmp" / name).write_bytes(octets + envelope.content)
        (self.folder / "tmp" / name).rename(self.folder / "new" / name)
        return f"250 2.0.0 kept as {name}"


class ServerThread:
    """The server with a loop of its own, on a free port.

    Attributes:
        port: where it listens, on 127.0.0.1.
        keeper: what it kept.
    """

    def __init__(self, folder: Path, port: int = 0, keeper: type[Keeper] = Keeper) -> None:
        self.keeper = keeper(folder)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server = self._loop.run_until_complete(
            self._loop.create_server(self._protocol, "127.0.0.1", port, reuse_address=True)
        )
        self.port: int = self._server.sockets[0].getsockname()[1]

    def _protocol(self) -> Server:
        options: dict[str, Any] = {"hostname": "demo.example.org", "ident": "mailpipe demo", "enable_SMTPUTF8": True}
        return Server(self.keeper, data_size_limit=100_000_000, loop=self._loop, **options)

    def __enter__(self) -> "ServerThread":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._server.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)


def _step(text: str) -> None:
    print(f"{'demo':10} {text}", flush=True)


def main(folder: Path) -> int:
    """Run the demo in `folder`, which is removed first; the exit code is that of `mailpipe run`."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in ("quickstart.toml", "archive.mbox"):
        shutil.copy(SAMPLES / name, folder / name)
    shown = folder.relative_to(TOP) if folder.is_relative_to(TOP) else folder
    _step(f"samples/quickstart.toml and samples/archive.mbox are copied to {shown}")
    with ServerThread(folder / "accepted") as server:
        _step(f"an SMTP server listens on 127.0.0.1:{server.port}")
        arguments = [
            "run", str(shown / "quickstart.toml"), "--set", "sink.host=127.0.0.1", "--set", f"sink.port={server.port}",
        ]
        _step("mailpipe " + " ".join(arguments))
        result = subprocess.run([sys.executable, "-m", "mailpipe", *arguments], cwd=TOP, check=False)
    _step(f"the server accepted {server.keeper.count} messages; they lie in {shown / 'accepted' / 'new'}")
    return result.returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else TOP / "out" / "demo"))
