"""Signed samples by those who sign mail in earnest, dkimpy, openssl and gpg, and the same programs as verifiers."""

import contextlib
import re
import shutil
import subprocess
import tempfile
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dkim
from dkim.util import parse_tag_value

import mailpipe
from mailpipe.auth.signatures import Kind
from mailpipe.testing.clamd import EICAR

HEAD = (
    b"Received: from mx.example.net by mail.example.org; Sat, 28 Nov 2026 10:00:01 +0000\r\n"
    b"From: Ann Muster <ann@example.org>\r\nTo: bob@example.net,\r\n\tcarol@example.net\r\nSubject:  Invoice  4711 \r\n"
    b"Date: Sat, 28 Nov 26 10:00 GMT\r\nMessage-ID: <4711@example.org>\r\n"  # obsolete, so that it can be mended
)
BODIES = {
    "plain": b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\nDear Bob,  \r\n\r\n\tplease pay.\r\n-- \r\nAnn\r\n\r\n",
    "8bit": b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\nSch\xf6ne Gr\xfc\xdfe\r\n",
    "quoted-printable": b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    b"Sch=C3=B6ne Gr=C3=BC=C3=9Fe =\r\nvon Ann=20\r\n",
    "base64": b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    + b64encode("Schöne Grüße\r\n".encode() * 9) + b"\r\n",
    "multipart": b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"=_b\"\r\n\r\nFor MIME.\r\n--=_b\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Transfer-Encoding: 8bit\r\n\r\nSch\xc3\xb6ne Gr\xc3\xbc\xc3\x9fe\r\n--=_b\r\nContent-Type: text/html\r\n\r\n<p>see  below</p>\r\n--=_b\r\n"
    b"Content-Type: application/pdf; name=invoice.pdf\r\nContent-Disposition: attachment; filename=invoice.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    + b64encode(EICAR)  # so that a scanner finds something to take out
     + b"\r\n--=_b--\r\n",
}  # fmt: skip
INNER = BODIES["multipart"].partition(b"\r\n")[2]  # what PGP/MIME and S/MIME sign: a part, header and body, in 7 bits
INNER = INNER.replace(b"8bit", b"quoted-printable").replace(b"\xc3\xb6", b"=C3=B6").replace(b"\xc3\xbc\xc3\x9f", b"=C3=BC=C3=9F")


@dataclass
class Sample:
    """A signed message.

    Attributes:
        octets: of the message.
        kind: of its signature.
        believes: whether a real verifier believes the signature of that kind in a message.
    """

    octets: bytes
    kind: Kind
    believes: Any


def run(*command, **more):
    return subprocess.run(command, capture_output=True, timeout=60, check=False, **more)


# -- dkimpy


def dkim_samples(keys):
    """Bodies × forms, the kinds of keys, l=, and a chain of ARC."""

    def dns(name, timeout=5):
        return keys.records.get(name.decode().rstrip("."))

    def believes(message):
        octets = bytes(message)
        for index, field in enumerate(message.header.all("DKIM-Signature")):
            if parse_tag_value(field.raw.partition(b":")[2])[b"s"] != b"dk":
                continue
            with contextlib.suppress(dkim.DKIMException):
                return dkim.DKIM(octets).verify(idx=index, dnsfunc=dns)
        return False

    def believes_chain(message):
        return dkim.arc_verify(bytes(message), dnsfunc=dns)[0] == dkim.CV_Pass

    made = {}
    for name, body in BODIES.items():
        octets = HEAD + body
        for form in (b"simple", b"relaxed"):
            field = dkim.sign(octets, b"dk", b"example.org", keys.rsa_pem, canonicalize=(form, form))
            made[f"dkimpy {name} {form.decode()}"] = Sample(field + octets, Kind.DKIM, believes)
    octets = HEAD + BODIES["plain"]
    field = dkim.sign(octets, b"dk", b"example.org", keys.rsa_pem, canonicalize=(b"relaxed", b"simple"), length=True)
    made["dkimpy plain l="] = Sample(field + octets, Kind.DKIM, believes)
    made["dkimpy plain l=, longer"] = Sample(field + octets + b"-- \r\nlist footer\r\n", Kind.DKIM, believes)
    some = [b"from", b"date", b"from", b"subject", b"subject"]
    field = dkim.sign(octets, b"dk", b"example.org", keys.rsa_pem, include_headers=some)
    made["dkimpy plain some fields"] = Sample(field + octets, Kind.DKIM, believes)
    lf = dkim.sign(octets, b"dk", b"example.org", keys.rsa_pem) + octets
    made["dkimpy plain LF"] = Sample(lf.replace(b"\r\n", b"\n"), Kind.DKIM, believes)
    octets = b"Authentication-Results: mx.example.net; spf=pass\r\n" + octets
    chain = dkim.arc_sign(octets, b"dk", b"example.org", keys.rsa_pem, b"mx.example.net")
    made["dkimpy arc"] = Sample(b"".join(chain) + octets, Kind.ARC_MESSAGE, believes_chain)
    octets = HEAD + BODIES["quoted-printable"]
    private = b64encode(keys.ed25519_seed)
    field = dkim.sign(octets, b"dk", b"example.org", private, signature_algorithm=b"ed25519-sha256")
    records = {"dk._domainkey.example.org": keys.ed25519.record}
    made["dkimpy ed25519"] = Sample(
        field + octets, Kind.DKIM,
        lambda message: any(
            _quietly(dkim.DKIM(bytes(message)), index, records) for index in range(len(message.header.all("DKIM-Signature")))
        ),
    )  # fmt: skip
    return made


def _quietly(one, index, records):
    try:
        return one.verify(idx=index, dnsfunc=lambda name, timeout=5: records.get(name.decode().rstrip(".")))
    except dkim.DKIMException:
        return False


# -- openssl


class Openssl:
    """A certificate of its own; signs and verifies with `openssl cms`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key, self.certificate = str(folder / "key.pem"), str(folder / "certificate.pem")
        made = run(
            "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", self.key, "-out", self.certificate,
            "-subj", "/CN=Ann Muster/emailAddress=ann@example.org", "-days", "30",
        )  # fmt: skip
        assert made.returncode == 0, made.stderr

    def sign(self, content: bytes, *more: str) -> bytes:
        made = run("openssl", "cms", "-sign", "-signer", self.certificate, "-inkey", self.key, "-md", "sha256", *more, input=content)
        assert made.returncode == 0, made.stderr
        return HEAD.replace(b"\r\n", b"\n") + made.stdout.replace(b"\r\n", b"\n")

    def believes(self, message) -> bool:
        for _, entity in message.walk():
            kind = entity.content_type.value
            if kind.endswith("pkcs7-mime") or (kind == "multipart/signed" and "pkcs7" in (entity.content_type.params.get("protocol") or "")):
                done = run("openssl", "cms", "-verify", "-CAfile", self.certificate, "-purpose", "any", input=entity.raw)
                return done.returncode == 0
        return False

    def samples(self):
        """Detached and opaque."""
        return {
            "openssl detached": Sample(self.sign(INNER), Kind.SMIME, self.believes),
            "openssl detached plain": Sample(self.sign(b"Content-Type: text/plain\r\n\r\nplease  pay. \r\n\r\n"), Kind.SMIME, self.believes),
            "openssl opaque": Sample(self.sign(INNER, "-nodetach"), Kind.SMIME_OPAQUE, self.believes),
        }


# -- gpg


class Gpg:
    """A key of its own in a folder of its own; a context manager, since gpg leaves an agent behind."""

    def __enter__(self):
        self.home = tempfile.mkdtemp(prefix="gpg")  # short: the agent's socket lies in it
        made = self.run("--quick-generate-key", "--passphrase", "", "Ann Muster <ann@example.org>", "ed25519", "sign", "never")
        assert made.returncode == 0, made.stderr
        return self

    def __exit__(self, *_):
        run("gpgconf", "--homedir", self.home, "--kill", "all")
        shutil.rmtree(self.home, ignore_errors=True)

    def run(self, *arguments, **more):
        return run("gpg", "--homedir", self.home, "--batch", "--no-tty", "--pinentry-mode", "loopback", *arguments, **more)

    def sign(self, content: bytes, how: str) -> bytes:
        made = self.run("--passphrase", "", "--armor", "--digest-algo", "sha256", "--output", "-", how, input=content)
        assert made.returncode == 0, made.stderr
        return made.stdout.replace(b"\n", b"\r\n")

    def believes(self, message) -> bool:
        for _, entity in message.walk():
            if entity.content_type.value == "multipart/signed" and len(entity.parts) == 2:
                signature = Path(self.home, "signature.asc")
                signature.write_bytes(entity.parts[1].octets)
                content = entity.parts[0].raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
                return self.run("--verify", str(signature), "-", input=content).returncode == 0
        return False

    def believes_inline(self, message) -> bool:
        for _, entity in message.walk():
            if entity.content_type.type == "text" and b"-----BEGIN PGP" in entity.octets:
                return self.run("--verify", input=entity.octets).returncode == 0
        return False

    def samples(self):
        """PGP/MIME and texts."""
        made = {}
        for name, part in {"multipart": INNER, "plain": b"Content-Type: text/plain\r\n\r\nplease  pay.\r\n"}.items():
            part = part.removesuffix(b"\r\n")
            octets = (
                HEAD + b'MIME-Version: 1.0\r\nContent-Type: multipart/signed; micalg=pgp-sha256;\r\n protocol="application/pgp-signature"; boundary=sig\r\n\r\n--sig\r\n'
                + part + b"\r\n--sig\r\nContent-Type: application/pgp-signature; name=signature.asc\r\n\r\n" + self.sign(part, "--detach-sign") + b"\r\n--sig--\r\n"
            )  # fmt: skip
            made[f"gpg mime {name}"] = Sample(octets, Kind.PGP_MIME, self.believes)
        for name, text in {"ascii": "please  pay  \n- now\n", "umlauts": "Schöne Grüße\n"}.items():
            clear = self.sign(text.encode(), "--clear-sign")
            octets = HEAD + b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nHello,\r\n\r\n" + clear
            made[f"gpg text {name}"] = Sample(octets, Kind.PGP_INLINE, self.believes_inline)
        return made


def edits():
    """Changes that no stage of ours makes today, by name."""
    compose = mailpipe.message.compose

    def fields(change):
        return lambda message: message.with_header(change(message.header))

    return {
        "subject tagged": fields(lambda header: header.with_field("Subject", "[list] Invoice 4711")),
        "subject folded": fields(lambda header: header.with_field("Subject", b"Invoice 4711")),
        "field added": fields(lambda header: header.with_added("X-Seen", "yes", first=True)),
        "second From": fields(lambda header: header.with_added("From", "eve@example.com", first=True)),
        "To removed": fields(lambda header: header.without("To")),
        "MIME-Version added": fields(lambda header: header.with_added("MIME-Version", b"1.0")),
        "footer part": lambda message: message.attach(compose.text("-- \nlist footer\n", line_end=message.header.line_end)),
        "footer octets": lambda message: mailpipe.parse(bytes(message) + b"-- \r\nlist footer\r\n"),
        "empty lines": lambda message: mailpipe.parse(bytes(message) + b"\r\n\r\n"),
        "trailing blanks gone": lambda message: mailpipe.parse(bytes(message).replace(b"  \r\n", b"\r\n").replace(b"  \n", b"\n")),
        "blanks made one": lambda message: mailpipe.parse(bytes(message).replace(b"  ", b" ")),
        "line ends": lambda message: mailpipe.parse(bytes(message).replace(b"\r\n", b"\n")),
        "other line ends": lambda message: mailpipe.parse(bytes(message).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")),
        "wrapped": lambda message: message.wrap(),
        "words changed": lambda message: mailpipe.parse(re.sub(rb"pay(?=[. ])|Sch(?=[=\x80-\xff])", b"give", bytes(message))),
    }  # fmt: skip
