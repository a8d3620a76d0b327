"""A server that talks like clamd and knows one virus, the EICAR test string; for tests of whatever asks clamd.

    with Clamd() as clamd:
        …scan by clamd.address, "127.0.0.1:…"…
    assert clamd.scanned == [b"…"]

    Clamd(path="/tmp/x/clamd.ctl")              # on a UNIX socket
    Clamd(limit=1000)                           # StreamMaxLength
    Clamd(does="hang")                          # misbehaves at each scan

It can:

    hang        say nothing more until it is stopped
    close       close the connection instead of an answer
    error       answer that it cannot scan
    garbage     answer what is no reply
    endless     answer a reply that never ends
    forget      answer, and close the connection behind the answer, as clamd does when nothing was said for some time

Never here: pytest.
"""

import contextlib
import socket
import struct
import threading
from types import TracebackType
from typing import IO, Self

EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
"""What every scanner calls a virus; in two pieces, so that none calls this file one."""
SIGNATURE = "Eicar-Test-Signature"
"""What this one is called here."""
_SIZE = struct.Struct(">I")


class _Over(Exception):
    """The client has gone."""


class Clamd:
    """A server in threads of its own; a context manager.

    Args:
        path: of a UNIX socket to listen at; "" for a loopback port.
        limit: octets of a stream at most.
        does: how it misbehaves, "" for not at all.
        times: how often; 0 for ever.

    Attributes:
        address: where it listens.
        scanned: what it was given, in order.
        connections: how many there were.
    """

    def __init__(self, path: str = "", limit: int = 25_000_000, does: str = "", times: int = 0) -> None:
        self.limit, self.does, self.times = limit, does, times
        self.scanned: list[bytes] = []
        self.connections = 0
        if path:
            self._listener = socket.create_server(path, family=socket.AF_UNIX)
            self.address = path
        else:
            self._listener = socket.create_server(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Close every connection, and wait for the threads."""
        self._is_over.set()
        for each in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        while not self._is_over.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(_Over, OSError), connection, connection.makefile("rb") as incoming:
            number = 0
            is_session = False
            while True:
                command = _until_nul(incoming)
                if command == b"zIDSESSION":
                    is_session = True
                    continue
                number += 1
                prefix = f"{number}: " if is_session else ""
                if command == b"zINSTREAM":
                    said = f"{prefix}{self._stream(incoming)}"
                elif command == b"zPING":
                    said = f"{prefix}PONG"
                else:
                    said = "UNKNOWN COMMAND"
                self._answer(connection, said)
                if "limit exceeded" in said or not is_session:
                    return

    def _stream(self, incoming: IO[bytes]) -> str:
        pieces: list[bytes] = []
        size = 0
        while count := _SIZE.unpack(_exactly(incoming, 4))[0]:
            size += count
            if size > self.limit:
                return "INSTREAM size limit exceeded. ERROR"
            pieces.append(_exactly(incoming, count))
        octets = b"".join(pieces)
        self.scanned.append(octets)
        return f"stream: {SIGNATURE} FOUND" if EICAR in octets else "stream: OK"

    def _answer(self, connection: socket.socket, said: str) -> None:
        does = self.does
        if does and self.times:
            self.times -= 1
            if not self.times:
                self.does = ""
        if does == "hang":
            self._is_over.wait(60)
            raise _Over
        if does == "close":
            raise _Over
        if does == "error":
            said = f"{said.partition(':')[0]}: lstat() failed: No such file or directory. ERROR"
        if does == "garbage":
            said = "\x00\xff 220 what?"
        if does == "endless":
            for _ in range(100):
                connection.sendall(b"stream: " * 1000)
        connection.sendall(said.encode() + b"\0")
        if does == "forget":
            raise _Over


def _exactly(incoming: IO[bytes], count: int) -> bytes:
    octets = incoming.read(count)
    if len(octets) < count:
        raise _Over
    return octets


def _until_nul(incoming: IO[bytes]) -> bytes:
    octets = b""
    while not octets.endswith(b"\0"):
        octets += _exactly(incoming, 1)
    return octets[:-1]
