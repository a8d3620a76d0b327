r"""The server's side of authentication (RFC 4422), for `ScriptedPeer`: it believes nothing that is not proven.

    steps = exchange("PLAIN", b"\0ann\0secret", {"ann": "secret"})
    challenge = next(steps)          # what to say behind 334; StopIteration at the end, its value whether all is well
    challenge = steps.send(answer)

Never here: base64 of the command line, and replies. Salt, nonce and timestamp are always the same: nothing is secret
in a test.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Generator, Mapping

Exchange = Generator[bytes, bytes, bool]

SALT, ITERATIONS, NONCE = b"salt of the peer", 4096, b"nonce-of-the-peer"
STAMP = b"<1896.697170952@peer.test>"


def exchange(
    mechanism: str, initial: bytes | None, users: Mapping[str, str], bindings: Mapping[str, bytes] | None = None
) -> Exchange | None:
    """The exchange of a mechanism, None for one that is not known.

    Args:
        mechanism: its name, in capitals.
        initial: the initial response, None where the client sent none.
        users: user name → password or token.
        bindings: name → what the connection is known by, for SCRAM-SHA-256-PLUS; None where that is not offered.
    """
    if mechanism.startswith("SCRAM"):
        return _scram_sha_256(initial, users, mechanism.endswith("-PLUS"), bindings)
    make = _MAKERS.get(mechanism)
    return None if make is None else make(initial, users)


def _plain(initial: bytes | None, users: Mapping[str, str]) -> Exchange:
    if initial is None:
        initial = yield b""
    words = initial.decode("utf-8", "replace").split("\0")
    return len(words) == 3 and words[1] in users and users[words[1]] == words[2]


def _login(initial: bytes | None, users: Mapping[str, str]) -> Exchange:
    name = initial if initial is not None else (yield b"Username:")
    password = yield b"Password:"
    return users.get(name.decode("utf-8", "replace")) == password.decode("utf-8", "replace")


def _cram_md5(initial: bytes | None, users: Mapping[str, str]) -> Exchange:
    answer = yield STAMP
    name, _, digest = answer.decode("utf-8", "replace").rpartition(" ")
    return name in users and hmac.new(users[name].encode(), STAMP, hashlib.md5).hexdigest() == digest


def _scram_sha_256(
    initial: bytes | None, users: Mapping[str, str], is_plus: bool, bindings: Mapping[str, bytes] | None
) -> Exchange:
    """RFC 5802 section 3 from the side that keeps StoredKey and ServerKey only."""
    if initial is None:
        initial = yield b""
    flag, _, bare = initial.partition(b",,")
    kind, _, wanted = flag.partition(b"=")
    bound = (bindings or {}).get(wanted.decode()) if kind == b"p" else b""
    if is_plus and kind == b"p" and bound is None:
        yield b"e=unsupported-channel-binding-type"
        return False
    # "y" to a server that does bind: somebody in the middle has struck its offer out (RFC 5802 section 6)
    if (kind == b"p") is not is_plus or kind not in (b"p", b"y", b"n") or (kind == b"y" and bindings is not None):
        return False
    if not bare.startswith(b"n="):
        return False
    name, _, nonce = bare[2:].partition(b",r=")
    user = name.decode().replace("=2C", ",").replace("=3D", "=")
    salted = hashlib.pbkdf2_hmac("sha256", users.get(user, "").encode(), SALT, ITERATIONS)
    stored_key = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    first = b"r=%b,s=%b,i=%d" % (nonce + NONCE, base64.b64encode(SALT), ITERATIONS)
    final = yield first
    without_proof, _, proof = final.rpartition(b",p=")
    header = base64.b64encode(flag + b",," + (bound or b""))
    if without_proof != b"c=" + header + b",r=" + nonce + NONCE or user not in users:
        return False
    auth_message = b",".join((bare, first, without_proof))
    signature = int.from_bytes(hmac.digest(stored_key, auth_message, "sha256"))
    client_key = (int.from_bytes(base64.b64decode(proof)) ^ signature).to_bytes(32)
    if hashlib.sha256(client_key).digest() != stored_key:
        return False
    answer = yield b"v=" + base64.b64encode(hmac.digest(server_key, auth_message, "sha256"))
    return answer == b""


def _bearer(initial: bytes | None, users: Mapping[str, str], *, name_key: bytes, goodbye: bytes) -> Exchange:
    if initial is None:
        initial = yield b""
    name, *pairs = initial.split(b"\x01")
    known = dict(pair.partition(b"=")[::2] for pair in pairs if pair)
    user = name.partition(name_key)[2].removesuffix(b",").decode("utf-8", "replace")
    if user in users and known.get(b"auth") == f"Bearer {users[user]}".encode():
        return True
    answer = yield json.dumps({"status": "invalid_token", "schemes": "bearer", "scope": "mail"}).encode()
    assert answer == goodbye, f"the client answered the error with {answer!r}"
    return False


def _oauthbearer(initial: bytes | None, users: Mapping[str, str]) -> Exchange:
    return _bearer(initial, users, name_key=b"n,a=", goodbye=b"\x01")


def _xoauth2(initial: bytes | None, users: Mapping[str, str]) -> Exchange:
    return _bearer(initial, users, name_key=b"user=", goodbye=b"")


_MAKERS: dict[str, Callable[[bytes | None, Mapping[str, str]], Exchange]] = {
    "PLAIN": _plain,
    "LOGIN": _login,
    "CRAM-MD5": _cram_md5,
    "OAUTHBEARER": _oauthbearer,
    "XOAUTH2": _xoauth2,
}
