"""A mail server that misbehaves on script, for tests of whatever sends mail: SMTP and LMTP on a loopback port.

    with ScriptedPeer(Fault("RCPT", "reply", "550 5.1.1 no such user", match="bob")) as peer:
        …deliver to peer.host, peer.port…
    assert [taken.forward_paths for taken in peer.taken] == [("ann@example.org",)]

Without faults it is a polite server that takes everything. Each fault says at which step it does what. Steps are the
verbs, and "connect", "handshake" (of TLS), "content" (while the message is coming) and "dot" (the end of data, by BDAT
as well). It can do:

    reply       answers `text` instead, and believes it itself: after "250 …" it goes on, after "550 …" it does not
    drop        closes the connection without an answer
    reset       the same, by RST
    reply-drop  answers as usual, or `text`, and closes
    reply-reset the same, by RST
    hang        says nothing more until the peer is stopped; the client needs a short time-out
    slow        answers as usual, one octet at a time with a pause between
    garbage     answers octets that are no reply
    endless     answers a reply that has no last line
    long-line   answers a line of a megabyte
    inject      answers as usual and says `text` in the same breath, as somebody in the middle would before STARTTLS
    swap        keeps its answer and gives it behind the next one, out of order
    forget      answers as usual and throws away what was sent behind the command, as if it knew no pipelining

`peer.taken` holds exactly the transactions that it acknowledged, and with `accept` those that it kept without saying
so; `peer.sessions` what it was told, line by line; `peer.violations` what no client should do.

docs/testing.md has the whole of it for whoever writes a plugin.

Never here: pytest; the fixture `scripted_peer` is in `mailpipe.testing.fixtures`.
"""

import base64
import contextlib
import random
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import NoReturn, Protocol

from mailpipe.errors import RemoteProtocolError
from mailpipe.smtp.command import (
    Auth,
    Bdat,
    Data,
    Ehlo,
    Helo,
    Lhlo,
    Mail,
    Noop,
    Quit,
    Rcpt,
    Rset,
    StartTls,
    Xclient,
    Xforward,
    parse_command,
)
from mailpipe.smtp.state import Dialect
from mailpipe.smtp.transparency import DataReader
from mailpipe.testing.sasl import exchange
from mailpipe.testing.script import Fault, Taken

__all__ = ["EXTENSIONS", "Fault", "ScriptedPeer", "ServerContext", "Taken"]

EXTENSIONS = ("PIPELINING", "SIZE 52428800", "8BITMIME", "ENHANCEDSTATUSCODES", "DSN", "SMTPUTF8")
"""What it offers when nothing else is said; "CHUNKING", "BINARYMIME" and "AUTH PLAIN" work as well."""
_TELLS = ("reply", "reply-drop", "reply-reset", "slow", "inject", "swap", "forget")
_SAYS = ("reply", "reply-drop", "reply-reset")


@dataclass(slots=True)
class _Session:
    number: int
    connection: socket.socket
    buffer: bytearray = field(default_factory=bytearray)
    mail: Mail | None = None
    mail_line: str = ""
    rcpts: list[str] = field(default_factory=list)
    pieces: list[bytes] = field(default_factory=list)
    encrypted: bool = False
    held_back: bytes = b""


class ServerContext(Protocol):
    """What is needed of an `ssl.SSLContext`."""

    def wrap_socket(self, sock: socket.socket, server_side: bool = ...) -> socket.socket:
        """Do the handshake."""
        ...


class _Over(Exception):
    """The session has ended."""


class ScriptedPeer:
    """A server in a thread of its own; a context manager.

    Attributes:
        host, port: where it listens.
        taken: what it kept, in order.
        sessions: for each connection the command lines, without line ends.
        violations: what no client should do: a bare LF in a command or a message, commands ahead of replies where
            PIPELINING was not offered.
    """

    def __init__(
        self,
        *faults: Fault,
        dialect: Dialect = Dialect.SMTP,
        extensions: tuple[str, ...] = EXTENSIONS,
        tls: ServerContext | None = None,
        implicit_tls: bool = False,
        users: Mapping[str, str] | None = None,
        bindings: Mapping[str, bytes] | None = None,
        seed: int = 0,
        on_taken: Callable[[Taken], None] | None = None,
    ) -> None:
        """Nothing listens before `start` or `with`.

        Args:
            faults: the script; the first that fits a step is used.
            dialect: SMTP or LMTP.
            extensions: lines of the EHLO reply.
            tls: offer STARTTLS with this context.
            implicit_tls: speak TLS from the first octet instead.
            users: user name → password, or token; for every mechanism of `mailpipe.testing.sasl` that is offered.
            bindings: "tls-server-end-point" → its octets, for SCRAM-SHA-256-PLUS; None where that is not offered.
            seed: of the chance that faults with `chance` are drawn from.
            on_taken: told each transaction before the client is, in the session's thread; `taken` then stays empty.
        """
        self.host, self.port = "127.0.0.1", 0
        self.taken: list[Taken] = []
        self.sessions: list[list[str]] = []
        self.violations: list[str] = []
        self.faults = list(faults)
        self.extensions = extensions + (("STARTTLS",) if tls is not None and not implicit_tls else ())
        self._dialect, self._tls, self._implicit_tls, self._users = dialect, tls, implicit_tls, users or {}
        self._bindings = bindings
        self._chance, self._on_taken = random.Random(seed), on_taken
        self._seen: dict[tuple[str, int], int] = {}
        self._fired: dict[int, int] = {}
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._connections: list[socket.socket] = []
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None

    def __enter__(self) -> "ScriptedPeer":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, port: int = 0) -> None:
        """Listen; on the same port as before where one is given, for a server that comes back."""
        self._stopping = threading.Event()
        self._listener = socket.create_server((self.host, port))
        self.port = self._listener.getsockname()[1]
        self._begin(self._accept, self._listener)

    def stop(self) -> None:
        """Stop listening, end every session, wait for the threads."""
        self._stopping.set()
        if self._listener is not None:
            # A thread that waits in accept() does not notice close(); shutdown() wakes it.
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        with self._lock:
            connections, self._connections = self._connections, []
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for connection in connections:
            connection.close()
        self._threads.clear()

    def _begin(self, target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._connections.append(connection)
                self.sessions.append([])
                number = len(self.sessions)
            self._begin(self._serve, _Session(number, connection))

    def _serve(self, session: _Session) -> None:
        try:
            if self._implicit_tls and self._tls is not None:
                self._encrypt(session)
            self._answer(session, "connect", "", f"220 peer.test {self._dialect.value.upper()} ready")
            for line in self._lines(session):
                self._command(session, line)
        except (_Over, OSError):
            pass
        finally:
            session.connection.close()

    def _lines(self, session: _Session) -> Iterator[bytes]:
        while True:
            end = session.buffer.find(b"\n")
            if end < 0:
                session.buffer += self._receive(session)
                continue
            line = bytes(session.buffer[: end + 1])
            del session.buffer[: end + 1]
            if not line.endswith(b"\r\n"):
                self.violations.append(f"bare LF behind {line!r}")
            if session.buffer and "PIPELINING" not in self.extensions:
                self.violations.append(f"more octets behind {line!r} without PIPELINING")
            self.sessions[session.number - 1].append(line.rstrip(b"\r\n").decode("utf-8", "backslashreplace"))
            yield line

    @staticmethod
    def _receive(session: _Session) -> bytes:
        octets = session.connection.recv(65536)
        if not octets:
            raise _Over
        return octets

    def _command(self, session: _Session, line: bytes) -> None:
        text = line.decode("utf-8", "replace")
        try:
            command = parse_command(line)
        except RemoteProtocolError as error:
            self._send(session, f"501 5.5.4 {error}")
            return
        match command:
            case Ehlo() | Lhlo():
                session.mail = None
                usual = "\n".join(["250 peer.test", *(f"250 {extension}" for extension in self.extensions)])
                self._answer(session, command.verb, text, usual)
            case Helo() | Noop():
                self._answer(session, command.verb, text, "250 2.0.0 ok")
            case Xclient():
                if self._answer(session, "XCLIENT", text, "220 peer.test ESMTP again"):
                    session.mail = None
            case Xforward():
                self._answer(session, "XFORWARD", text, "250 2.0.0 ok")
            case StartTls():
                usual = "220 2.0.0 go ahead" if self._tls else "502 5.5.1 no TLS"
                if self._answer(session, "STARTTLS", text, usual, yes=("220",)):
                    session.buffer.clear()
                    self._encrypt(session)
            case Auth():
                self._auth(session, command, text)
            case Mail():
                usual = "503 5.5.1 nested MAIL" if session.mail is not None else "250 2.1.0 ok"
                if self._answer(session, "MAIL", text, usual):
                    session.mail, session.mail_line, session.rcpts, session.pieces = command, text, [], []
            case Rcpt():
                usual = "503 5.5.1 MAIL first" if session.mail is None else "250 2.1.5 ok"
                if self._answer(session, "RCPT", text, usual):
                    session.rcpts.append(command.forward_path)
            case Data():
                self._data(session, text)
            case Bdat():
                self._bdat(session, command)
            case Rset():
                if self._answer(session, "RSET", text, "250 2.0.0 forgotten"):
                    session.mail, session.rcpts = None, []
            case Quit():
                self._answer(session, "QUIT", text, "221 2.0.0 bye")
                raise _Over
            case _:
                self._send(session, "500 5.5.1 unknown command")

    def _auth(self, session: _Session, command: Auth, text: str) -> None:
        steps = exchange(command.mechanism, command.initial, self._users, self._bindings)
        if steps is None:
            self._answer(session, "AUTH", text, "504 5.5.4 no such mechanism here")
            return
        good = False
        try:
            challenge = next(steps)
            while True:
                self._send(session, "334 " + base64.b64encode(challenge).decode())
                answer = next(self._lines(session)).strip()
                if answer == b"*":
                    self._answer(session, "AUTH", text, "501 5.7.0 cancelled")
                    return
                challenge = steps.send(base64.b64decode(answer, validate=True))
        except StopIteration as done:
            good = done.value
        except (ValueError, AssertionError) as error:
            self.violations.append(f"{command.mechanism}: {error}")
        self._answer(session, "AUTH", text, "235 2.7.0 welcome" if good else "535 5.7.8 wrong")

    def _data(self, session: _Session, text: str) -> None:
        usual = "354 go ahead" if session.rcpts else "503 5.5.1 no valid recipients"
        if not self._answer(session, "DATA", text, usual, yes=("3",)):
            return
        reader = DataReader()
        reader.receive_data(bytes(session.buffer))
        session.buffer.clear()
        self._answer(session, "content", session.mail_line, "")
        while not reader.is_complete:
            reader.receive_data(self._receive(session))
        session.buffer += reader.rest
        octets = reader.octets
        if octets.count(b"\n") != octets.count(b"\r\n") or octets.count(b"\r") != octets.count(b"\r\n"):
            self.violations.append("a bare CR or LF in the content")
        self._end(session, octets)

    def _bdat(self, session: _Session, command: Bdat) -> None:
        while len(session.buffer) < command.size:
            session.buffer += self._receive(session)
        session.pieces.append(bytes(session.buffer[: command.size]))
        del session.buffer[: command.size]
        if session.mail is None or not session.rcpts:
            self._send(session, "503 5.5.1 no valid recipients")
        elif command.last:
            self._end(session, b"".join(session.pieces))
        else:
            self._answer(session, "BDAT", session.mail_line, "250 2.0.0 more")

    def _end(self, session: _Session, octets: bytes) -> None:
        mail, rcpts = session.mail, tuple(session.rcpts)
        session.mail, session.rcpts = None, []
        assert mail is not None or not rcpts
        groups = [(rcpt,) for rcpt in rcpts] if self._dialect is Dialect.LMTP else [rcpts]
        for number, group in enumerate(groups, 1):
            fault = self._fault("dot", session.mail_line, number)
            usual = "250 2.0.0 kept"
            said = (fault.text or usual) if fault is not None and fault.do in _SAYS else usual
            acknowledged = said.startswith("2") and (fault is None or fault.do in _TELLS)
            if mail is not None and group and (acknowledged or (fault is not None and fault.accept)):
                record = Taken(session.number, mail.reverse_path, group, mail.parameters, octets, acknowledged,
                               session.encrypted)  # fmt: skip
                if self._on_taken is not None:
                    self._on_taken(record)
                else:
                    with self._lock:
                        self.taken.append(record)
            self._act(session, fault, usual)

    def _fault(self, at: str, text: str, recipient: int = 0) -> Fault | None:
        """The fault that is due at a step, and that it has been."""
        with self._lock:
            due = None
            for number, fault in enumerate(self.faults):
                if fault.at != at or fault.match not in text or (fault.recipient and fault.recipient != recipient):
                    continue
                seen = self._seen[at, number] = self._seen.get((at, number), 0) + 1
                fired = self._fired.get(number, 0)
                is_due = (not fault.nth or seen == fault.nth) and (not fault.times or fired < fault.times)
                if due is None and is_due and (fault.chance >= 1 or self._chance.random() < fault.chance):
                    self._fired[number] = fired + 1
                    due = fault
            return due

    def _answer(
        self, session: _Session, at: str, text: str, usual: str, *, yes: tuple[str, ...] = ("2", "3")
    ) -> bool:
        """Answer a step as the script says; returns whether the answer begins as a yes does."""
        fault = self._fault(at, text)
        if fault is None and not usual:
            return True
        return self._act(session, fault, usual).startswith(yes)

    def _act(self, session: _Session, fault: Fault | None, usual: str) -> str:
        """Do what a fault says, or the usual; returns what was said, as the peer itself believes."""
        said = usual
        match fault.do if fault is not None else "":
            case "drop":
                raise _Over
            case "reset":
                self._reset(session)
            case "hang":
                self._stopping.wait()
                raise _Over
            case "garbage":
                session.connection.sendall(b"\x16\x03\x01 nonsense\r\n")
            case "endless":
                while not self._stopping.is_set():
                    session.connection.sendall(b"250-and so on\r\n" * 100)
            case "long-line":
                session.connection.sendall(b"250 " + b"x" * 1_000_000 + b"\r\n")
            case "inject":
                assert fault is not None
                session.connection.sendall(self._rendered(usual) + self._rendered(fault.text))
            case "swap":
                session.held_back += self._rendered(usual)
            case "forget":
                session.buffer.clear()
                self._send(session, usual)
            case "slow":
                assert fault is not None
                for octet in self._rendered(usual):
                    session.connection.sendall(bytes([octet]))
                    if self._stopping.wait(fault.seconds):
                        raise _Over
            case _:
                said = (fault.text if fault is not None else "") or usual
                self._send(session, said)
                if said.startswith("421") or (fault is not None and fault.do == "reply-drop"):
                    raise _Over
                if fault is not None and fault.do == "reply-reset":
                    self._reset(session)
        return said

    @staticmethod
    def _reset(session: _Session) -> NoReturn:
        # Linger zero makes close() send RST; what was written and not yet read is lost.
        session.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise _Over

    @staticmethod
    def _rendered(text: str) -> bytes:
        lines = text.split("\n")
        head = [f"{line[:3]}-{line[4:]}\r\n" for line in lines[:-1]]
        return "".join([*head, lines[-1] + "\r\n"]).encode()

    def _send(self, session: _Session, text: str) -> None:
        octets, session.held_back = self._rendered(text) + session.held_back, b""
        session.connection.sendall(octets)

    def _encrypt(self, session: _Session) -> None:
        assert self._tls is not None
        bare = session.connection
        fault = self._fault("handshake", "")
        if fault is not None:
            bare.recv(1, socket.MSG_PEEK)  # only once the client has begun
            self._act(session, fault, "500 5.5.1 no TLS here")
            raise _Over
        try:
            session.connection = self._tls.wrap_socket(bare, server_side=True)
        except OSError as error:
            raise _Over from error
        session.encrypted = True
        with self._lock:
            self._connections = [session.connection if one is bare else one for one in self._connections]
