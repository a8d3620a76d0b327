"""Messages of set shapes, the same on every machine: what the bench measures besides real mail."""

import base64
import quopri
import random
from collections.abc import Callable

WORDS = ["the", "quick", "brown", "mail", "server", "queues", "every", "message", "until", "somebody", "takes", "it", "and", "answers", "two", "hundred", "and", "fifty"]
ACCENTED = ["café", "naïve", "Zürich", "São-Paulo", "привет", "данные", "東京", "メール", "größer"]
CRLF = "\r\n"


class Shapes:
    """A maker of messages with a chance of its own."""

    def __init__(self, seed: int = 7) -> None:
        self.random = random.Random(seed)

    def prose(self, size: int, accents: float = 0.0) -> str:
        """Lines of words, about as many octets as asked for."""
        lines: list[str] = []
        while sum(map(len, lines)) < size:
            picks = (ACCENTED if self.random.random() < accents else WORDS for _ in range(11))
            lines.append(" ".join(self.random.choice(pick) for pick in picks))
        return CRLF.join(lines)[:size].rstrip()

    def token(self, length: int) -> str:
        """Hexadecimal digits."""
        return f"{self.random.getrandbits(length * 4):0{length}x}"

    def basic(self, subject: str = "Monthly statement") -> str:
        """The fields that every message has."""
        return (
            f'From: "Ann Example" <ann{self.token(2)}@example.org>\r\nTo: Bob Example <bob@example.net>\r\n'
            f"Subject: {subject} {self.token(6)}\r\nDate: Mon, 23 Nov 2026 09:{self.random.randint(10, 59)}:00 +0100\r\n"
            f"Message-ID: <{self.token(20)}@mail.example.org>\r\nMIME-Version: 1.0\r\n"
        )

    def trace(self) -> str:
        """About nineteen fields that servers add on the way."""
        blob = base64.b64encode(self.random.randbytes(256)).decode()
        folded = f"{CRLF}\t".join(blob[at : at + 68] for at in range(0, len(blob), 68))
        hops = "".join(
            f"Received: from out{hop}.example.net (out{hop}.example.net [192.0.2.{hop + 1}])\r\n"
            f"\tby in{hop}.example.org (Postfix) with ESMTPS id {self.token(10)}\r\n"
            f"\tfor <bob@example.net>; Mon, 23 Nov 2026 09:0{hop}:00 +0100 (CET)\r\n"
            for hop in range(6)
        )
        signatures = "".join(
            f"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=s{n};\r\n"
            f"\th=from:to:subject:date:message-id;\r\n\tbh={blob[:43]}=;\r\n\tb={folded}\r\n"
            for n in range(3)
        )
        return (
            f"Return-Path: <bounce-{self.token(8)}@example.org>\r\nDelivered-To: bob@example.net\r\n{hops}{signatures}"
            "Authentication-Results: in.example.org; dkim=pass header.d=example.org;\r\n"
            "\tspf=pass smtp.mailfrom=example.org; dmarc=pass header.from=example.org\r\n"
            f"List-Id: Statements <statements.example.org>\r\nList-Unsubscribe: <https://example.org/u/{self.token(32)}>\r\n"
            f"Precedence: bulk\r\nX-Mailer: Example 4.2\r\nX-Campaign: {self.token(16)}\r\n"
        )

    def text_1k(self) -> bytes:
        """1 KB of plain text."""
        return f"{self.basic()}Content-Type: text/plain; charset=us-ascii\r\n\r\n{self.prose(700)}\r\n".encode()

    def fields_25(self) -> bytes:
        """5 KB with 25 fields."""
        kind = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        return f"{self.trace()}{self.basic()}{kind}{self.prose(1800)}\r\n".encode()

    def alternative_60k(self) -> bytes:
        """60 KB of multipart/alternative in quoted-printable."""
        boundary = f"=_part_{self.token(16)}"
        rows = CRLF.join(
            f'<tr class="r{n % 7}"><td style="padding: 8px">{self.prose(60, 0.1)}</td><td><a href="https://example.org/?q={self.token(24)}">go</a></td></tr>'
            for n in range(260)
        )
        made = f"{self.trace()}{self.basic()}Content-Type: multipart/alternative;\r\n boundary=\"{boundary}\"\r\n\r\n".encode()
        for subtype, content in (("plain", self.prose(9000, 0.08)), ("html", f"<html><body><table>{rows}</table></body></html>")):
            quoted = quopri.encodestring(content.replace(CRLF, "\n").encode()).replace(b"\n", b"\r\n")
            kind = f"--{boundary}\r\nContent-Type: text/{subtype}; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
            made += kind.encode() + quoted + b"\r\n"
        return made + f"--{boundary}--\r\n".encode()

    def base64_5m(self) -> bytes:
        """5 MB of base64 attachments."""
        boundary = self.token(24)
        pieces = [
            f'{self.trace()}{self.basic()}Content-Type: multipart/mixed; boundary="{boundary}"\r\n\r\n--{boundary}\r\n'
            f"Content-Type: text/plain; charset=utf-8\r\n\r\n{self.prose(1500)}\r\n".encode()
        ]
        for number in range(3):
            head = (
                f'--{boundary}\r\nContent-Type: application/pdf; name="s{number}.pdf"\r\nContent-Transfer-Encoding: base64\r\n'
                f'Content-Disposition: attachment; filename="s{number}.pdf"\r\n\r\n'
            )
            pieces += [head.encode(), base64.encodebytes(self.random.randbytes(1_230_000)).replace(b"\n", b"\r\n")]
        return b"".join([*pieces, f"--{boundary}--\r\n".encode()])

    def nested_50(self) -> bytes:
        """50 parts in five nested multiparts."""

        def level(depth: int) -> str:
            boundary = f"=_{depth}_{self.token(10)}"
            made = f'Content-Type: multipart/mixed; boundary="{boundary}"\r\n\r\n'
            for number in range(10):
                made += (
                    f'--{boundary}\r\nContent-Type: text/plain; charset=utf-8; name="{depth}-{number}.txt"\r\n'
                    f'Content-Disposition: attachment; filename="{depth}-{number}.txt"\r\n\r\n{self.prose(280)}\r\n'
                )
            if depth < 4:
                made += f"--{boundary}\r\n{level(depth + 1)}\r\n"
            return f"{made}--{boundary}--\r\n"

        return (self.basic() + level(0)).encode()

    def encoded_words(self) -> bytes:
        """A header full of encoded words."""

        def word(size: int) -> str:
            octets = self.prose(size, 0.6).encode()
            if self.random.random() < 0.5:
                return f"=?utf-8?B?{base64.b64encode(octets).decode()}?="
            quoted = "".join(chr(one) if chr(one).isascii() and chr(one).isalnum() else f"={one:02X}" for one in octets)
            return f"=?UTF-8?Q?{quoted}?="

        def words(count: int) -> str:
            return f"{CRLF} ".join(word(14) for _ in range(count))

        people = [f"{CRLF} ".join([f"{word(10)} <u{self.token(5)}@example.org>," for _ in range(14)]).rstrip(",") for _ in range(2)]
        body = base64.encodebytes(self.prose(600, 0.5).encode()).replace(b"\n", b"\r\n")
        return (
            f"From: {word(9)} <ann@example.org>\r\nTo: {people[0]}\r\nCc: {people[1]}\r\nSubject: {words(6)}\r\nComments: {words(9)}\r\n"
            f"X-Campaign: {words(8)}\r\nThread-Topic: {words(5)}\r\nDate: Mon, 23 Nov 2026 09:00:00 +0000\r\n"
            f"Message-ID: <{self.token(20)}@example.org>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
            "Content-Transfer-Encoding: base64\r\n\r\n"
        ).encode() + body


def make(seed: int = 7) -> dict[str, list[bytes]]:
    """Every shape, in enough pieces to be measured."""
    shapes = Shapes(seed)
    plan: dict[str, tuple[Callable[[], bytes], int]] = {
        "1 KB text": (shapes.text_1k, 200),
        "5 KB, 25 fields": (shapes.fields_25, 120),
        "60 KB quoted-printable": (shapes.alternative_60k, 20),
        "5 MB base64": (shapes.base64_5m, 2),
        "50 nested parts": (shapes.nested_50, 30),
        "encoded words": (shapes.encoded_words, 80),
    }
    return {name: [maker() for _ in range(count)] for name, (maker, count) in plan.items()}
