"""A small HTTP server for tests of whatever posts: it remembers what it was told, and answers what it is given.

    with WebServer((200, "application/json", b"{}")) as web:
        …post to web.url…
    assert web.told[0].body == b"…"

Answers are given in turn, the last one for ever. One is a status, a media type and a body; or octets, said as they are
before the connection is closed; or the name of a misbehaviour:

    hang        say nothing more until it is stopped
    drip        begin an answer, and send the rest an octet at a time
    forget      answer 204, and close the connection without a word about it

Never here: pytest.
"""

import contextlib
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from mailpipe.testing.peer import ServerContext

Answer = tuple[int, str, bytes] | bytes | str


@dataclass(frozen=True, slots=True)
class Told:
    """One request.

    Attributes:
        path: with its query.
        fields: of its header, in order.
        body: the octets.
    """

    path: str
    fields: tuple[tuple[str, str], ...]
    body: bytes

    def all(self, name: str) -> list[str]:
        """The values of the fields of a name."""
        return [value for key, value in self.fields if key.lower() == name.lower()]


class WebServer:
    """A server in threads of its own, on a loopback port; a context manager.

    Args:
        answers: what it says, in turn.
        tls: for https.

    Attributes:
        told: what it was told, in order.
        connections: how many there were.
    """

    def __init__(self, *answers: Answer, tls: ServerContext | None = None) -> None:
        self._answers = list(answers)
        self.told: list[Told] = []
        self.connections = 0
        self._is_over = threading.Event()
        self._scheme = "http" if tls is None else "https"
        self._server = _Server(("127.0.0.1", 0), _handler_of(self))
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._server.shutdown()
        self._server.socket.close()
        self._thread.join(10)

    def _next(self) -> Answer:
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        answer = self._next()
        handler.close_connection = True
        if answer == "hang":
            self._is_over.wait(60)
        elif answer == "drip":
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            while not self._is_over.wait(0.02):
                handler.wfile.write(b"x")
        elif isinstance(answer, bytes):
            handler.wfile.write(answer)
        elif answer == "forget":
            handler.wfile.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        else:
            assert not isinstance(answer, str)
            status, kind, body = answer
            handler.close_connection = False
            handler.send_response(status)
            handler.send_header("Content-Type", kind)
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone is no error here."""


def _handler_of(web: WebServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            web.connections += 1
            super().setup()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            web.told.append(Told(self.path, tuple(self.headers.items()), body))
            with contextlib.suppress(OSError):
                web._answer(self)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler
