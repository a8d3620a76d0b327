"""What it costs to sign, to verify, and to look for signatures, beside dkimpy in the same run.

    python tests/benchmarks/dkim_bench.py

Best of several turns for each figure, interleaved. Signing begins with octets and ends with a field, for both.
"""

import sys
import time
from pathlib import Path

import dkim
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mailpipe import parse
from mailpipe.auth.dkim import sign, verify
from mailpipe.auth.keys import load_private_key
from mailpipe.auth.signatures import broken_by, signatures_of

HEAD = (
    b"Received: from mx.example.net by mail.example.org; Sat, 28 Nov 2026 10:00:01 +0000\r\n"
    b"From: Ann Muster <ann@example.org>\r\nTo: bob@example.net,\r\n\tcarol@example.net\r\nSubject: Invoice 4711\r\n"
    b"Date: Sat, 28 Nov 2026 10:00:00 +0000\r\nMessage-ID: <4711@example.org>\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\nX-Mailer: a program of ordinary length\r\n\r\n"
)
LINE = b"A line of text that goes  on for a while, as lines of mail do.\r\n"
SIZES = {"2 KB": 2_000, "50 KB": 50_000, "1 MB": 1_000_000}
MUST = {"sign": 10.0}
"""How many times as fast as dkimpy, for 2 KB."""


def best(jobs, seconds=0.15, rounds=5):
    """Seconds for each job."""
    found = dict.fromkeys(jobs, float("inf"))
    for _ in range(rounds):
        for name, job in jobs.items():
            began, count = time.perf_counter(), 0
            while (took := time.perf_counter() - began) < seconds or not count:
                job()
                count += 1
            found[name] = min(found[name], took / count)
    return found


def main() -> int:
    """Run the bench."""
    private = rsa.generate_private_key(65537, 2048)
    pem = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    key = load_private_key(pem)
    pad, digest = padding.PKCS1v15(), hashes.SHA256()
    print("## DKIM with RSA of 2048 bits, relaxed/relaxed; times as fast as dkimpy, more is better\n")
    print("| task | must | " + " | ".join(SIZES) + " |")
    print("|---|--:|" + "--:|" * len(SIZES))
    ratios: dict[str, list[float]] = {"sign": [], "verify": []}
    shares: dict[str, list[float]] = {"RSA": [], "signatures_of, none": [], "signatures_of, one": [], "broken_by": []}
    for size in SIZES.values():
        octets = HEAD + LINE * ((size - len(HEAD)) // len(LINE))
        message = parse(octets)
        signed = sign(message, key, "example.org", "s1").raw + octets
        before = parse(signed)
        after = before.with_header(before.header.with_field("Subject", "[list] Invoice 4711"))
        assert dkim.verify(signed, dnsfunc=lambda name, timeout=5: key.record)
        took = best({
            "sign": lambda octets=octets: sign(parse(octets), key, "example.org", "s1"),
            "dkimpy signs": lambda octets=octets: dkim.sign(octets, b"s1", b"example.org", pem, canonicalize=(b"relaxed", b"relaxed")),
            "verify": lambda signed=signed: verify(parse(signed), lambda name: (key.record,)),
            "dkimpy verifies": lambda signed=signed: dkim.verify(signed, dnsfunc=lambda name, timeout=5: key.record),
            "RSA": lambda: private.sign(b"x", pad, digest),
            "signatures_of, none": lambda octets=octets: signatures_of(parse(octets)),
            "signatures_of, one": lambda signed=signed: signatures_of(parse(signed)),
            "broken_by": lambda before=before, after=after: broken_by(before, after),
        })  # fmt: skip
        ratios["sign"].append(took["dkimpy signs"] / took["sign"])
        ratios["verify"].append(took["dkimpy verifies"] / took["verify"])
        for name, row in shares.items():
            row.append(took[name] / took["sign"])
    for name, row in ratios.items():
        print(f"| {name} | {MUST.get(name, 0) or '–'} | " + " | ".join(f"{each:.1f}" for each in row) + " |")
    print("\n| as a share of signing | | " + " | ".join(SIZES) + " |")
    print("|---|--:|" + "--:|" * len(SIZES))
    for name, row in shares.items():
        print(f"| {name} | | " + " | ".join(f"{each:.3f}" for each in row) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
