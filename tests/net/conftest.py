"""What the tests of the net share: a name server of their own."""

import importlib.util
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("dns_server", Path(__file__).with_name("dns_server.py"))
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)


@pytest.fixture
def dns_server():
    """A name server on loopback with an empty table."""
    with _module.DnsServer() as server:
        yield server
