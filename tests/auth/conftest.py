"""Keys, made once, and the records that publish them; a table in place of the DNS."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("cryptography")

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from mailpipe.auth.keys import load_private_key


def _pem(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


@pytest.fixture(scope="session")
def keys():
    """A key of each kind: `rsa` and `ed25519`, their PEM beside them, and `records` by name for selectors s1, s2 and dk."""
    short = ed25519.Ed25519PrivateKey.generate()
    pems = {"rsa": _pem(rsa.generate_private_key(65537, 2048)), "ed25519": _pem(short)}
    made = {kind: load_private_key(pem) for kind, pem in pems.items()}
    records = {
        f"{selector}._domainkey.{domain}": made[kind].record
        for selector, kind in (("s1", "rsa"), ("s2", "ed25519"), ("dk", "rsa"))
        for domain in ("example.org", "example.net")
    }
    return SimpleNamespace(**made, rsa_pem=pems["rsa"], ed25519_pem=pems["ed25519"], ed25519_seed=short.private_bytes_raw(), records=records)


@pytest.fixture(scope="session")
def lookup(keys):
    """A lookup over the records of `keys`."""
    return lambda name: (keys.records[name],) if name in keys.records else ()


_spec = importlib.util.spec_from_file_location("zone", Path(__file__).with_name("zone.py"))
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)


@pytest.fixture
def zone():
    """The class of tables."""
    return _module.Zone
