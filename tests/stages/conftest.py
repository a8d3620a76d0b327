"""Mails for stages."""

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import mailpipe
from mailpipe import Envelope, Mail, Services
from mailpipe.pipeline.mail import Origin


@pytest.fixture
def mail() -> Callable[[bytes], Mail]:
    """A mail of the given octets."""

    def make(octets: bytes) -> Mail:
        envelope = Envelope.of("ann@example.org", "bob@example.net")
        return Mail(mailpipe.parse(octets), envelope, Origin("eml", "test.eml", size=len(octets)))

    return make


@pytest.fixture
def stage() -> Callable[..., Any]:
    """An open stage of a class, with the given options."""
    opened: list[Any] = []

    def make(kind: Any, **options: Any) -> Any:
        one = kind(kind.Options.model_validate(options))
        one.open(Services.for_tests(one.name))
        opened.append(one)
        return one

    yield make
    for one in opened:
        one.close()


@pytest.fixture
def dns_server() -> Iterator[Any]:
    """A name server on loopback with an empty table."""
    place = Path(__file__).parents[1] / "net" / "dns_server.py"
    spec = importlib.util.spec_from_file_location("dns_server", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with module.DnsServer() as server:
        yield server
