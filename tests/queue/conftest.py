"""A virtual clock, a queue on it in either kind of store, and transports that do as they are told."""

import contextlib
import errno
import importlib.util
import itertools
import os
import random
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mailpipe.queue import Entry, Queue, RecipientFate, RecipientResult
from mailpipe.smtp.envelope import ForwardPath
from mailpipe.status import EnhancedStatus
from mailpipe.testing import VirtualClock

STATUS = {"delivered": "2.0.0", "failed": "5.1.1", "deferred": "4.2.1", "in-doubt": "4.4.2"}


class PostgresServer:
    """A PostgreSQL of our own in a temporary directory, on a UNIX socket, without a port."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self.home = Path(tempfile.mkdtemp(prefix="mailpipe-pg-", dir="/tmp"))
        self._schemas = itertools.count(1)
        # It refuses to run as root; Debian's package brings a user for it.
        self._user = "postgres" if os.getuid() == 0 else None
        if self._user:
            shutil.chown(self.home, self._user)
        self._run("initdb", "--no-sync", "--auth=trust", "--username=mail", "--encoding=UTF8", "--locale=C")

    def _run(self, program: str, *arguments: str) -> None:
        log = self.home / f"{program}.out"
        with log.open("ab") as output:
            result = subprocess.run(
                [self._programs / program, "-D", self.home / "data", *arguments], user=self._user, stdin=subprocess.DEVNULL,
                stdout=output, stderr=output, cwd=self.home, env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
            )
        assert result.returncode == 0, log.read_text()

    def start(self) -> None:
        # Its processes are killed here, never the machine: what was written is there without fsync.
        settings = f"-c listen_addresses= -c unix_socket_directories={self.home} -c fsync=off -c synchronous_commit=off"
        self._run("pg_ctl", "-w", "-l", str(self.home / "log"), "-o", settings, "start")

    def stop(self, mode: str = "immediate") -> None:
        self._run("pg_ctl", "-m", mode, "-w", "stop")

    def close(self) -> None:
        with contextlib.suppress(AssertionError):  # it may lie already
            self.stop()
        shutil.rmtree(self.home, ignore_errors=True)

    def new_database(self) -> str:
        """A connection string with tables of its own."""
        return f"postgresql://mail@/postgres?host={self.home}&options=-csearch_path%3Dqueue{next(self._schemas)}"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("psycopg is not installed; pip install 'mailpipe[postgres]'")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or [Path(shutil.which("initdb") or "")]
    if found[-1] == Path():
        pytest.skip("there is no PostgreSQL server here; apt-get install postgresql")
    server = PostgresServer(found[-1].parent)
    try:
        server.start()
        yield server
    finally:
        server.close()


class Faults:
    """Makes the n-th call of a system function fail, at the `os` module that pathlib and the spool both use."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patch, self.calls = monkeypatch, 0

    def arm(self, name: str, number: int, code: int, *, then_all: bool = False) -> None:
        real: Callable[..., Any] = getattr(os, name)
        self.calls = 0

        def faulty(*arguments: Any, **named: Any) -> Any:
            self.calls += 1
            if self.calls == number or (then_all and self.calls > number):
                raise OSError(code, os.strerror(code))
            return real(*arguments, **named)

        self._patch.setattr(os, name, faulty)

    def disarm(self) -> None:
        self._patch.undo()


@pytest.fixture
def faults() -> Iterator[Faults]:
    with pytest.MonkeyPatch.context() as patch:
        yield Faults(patch)


@pytest.fixture(params=[errno.ENOSPC, errno.EIO, errno.EDQUOT], ids=["ENOSPC", "EIO", "EDQUOT"])
def code(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(1_700_000_000.0)


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Where a queue is: in tmp_path/queue, unless a test asks for another kind."""
    kind = getattr(request, "param", "files")
    if kind == "files":
        return {"directory": tmp_path / "queue"}
    server: PostgresServer = request.getfixturevalue("postgres_server")
    shared = {"directory": tmp_path / "queue"} if kind == "postgres-and-files" else {}
    return {"database": server.new_database(), **shared}


@pytest.fixture
def make_queue(place: dict[str, Any], clock: VirtualClock) -> Iterator[Callable[..., Queue]]:
    """Opens a queue in its place; `jitter` is off and chance is fixed."""
    made: list[Queue] = []

    def make(**options: Any) -> Queue:
        options = {"clock": clock, "random": random.Random(1), **place, **options}
        queue = Queue(**options)
        made.append(queue)
        return queue

    yield make
    for queue in made:
        queue.close()


@pytest.fixture
def queue(make_queue: Callable[..., Queue]) -> Queue:
    return make_queue()


@pytest.fixture
def result() -> Callable[..., RecipientResult]:
    def make(path: ForwardPath | str, fate: str, diagnostic: str = "") -> RecipientResult:
        path = ForwardPath(path) if isinstance(path, str) else path
        return RecipientResult(path, RecipientFate(fate), EnhancedStatus.parse(STATUS[fate]), diagnostic)

    return make


@pytest.fixture
def answering(result: Callable[..., RecipientResult]) -> Callable[..., Callable[[Entry], list[RecipientResult]]]:
    """A transport that gives every recipient the same fate, or each its own by address."""

    def make(fate: str = "delivered", **by_local_part: str) -> Callable[[Entry], list[RecipientResult]]:
        def transport(entry: Entry) -> list[RecipientResult]:
            paths = entry.envelope.forward_paths or (ForwardPath(""),)
            return [result(path, by_local_part.get(path.address.partition("@")[0], fate), "told so") for path in paths]

        return transport

    return make


@pytest.fixture
def crash() -> Callable[[Queue], None]:
    """Ends a queue as kill -9 would: nothing is recorded, the lock of its owner falls."""

    def end(queue: Queue) -> None:
        owner, queue._owner = queue._owner, None
        if owner is not None:
            owner._drop() if hasattr(owner, "_drop") else owner._let_go()
            while queue._store.is_alive(owner.name):  # a server notices within moments
                pass
        queue._store.close()

    return end


CONTRACT = ("test_queue", "test_deliver", "test_virtual_clock", "test_leases")
"""Files of tests that hold for every kind of store."""

FILES_ALONE = {"content_files", "directory", "unlink", "faults", "test_words_that_are_no_utf8_are_kept_readable"}
"""Names by which those are known among them that look at files, at locks of processes, or at what SQLite can keep."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "place" not in metafunc.fixturenames or metafunc.module.__name__.rpartition(".")[2] not in CONTRACT:
        return
    names = {metafunc.function.__name__, *metafunc.function.__code__.co_names, *metafunc.fixturenames}
    kinds = ["files"] if names & FILES_ALONE else ["files", "postgres"]
    metafunc.parametrize("place", kinds, indirect=True)
