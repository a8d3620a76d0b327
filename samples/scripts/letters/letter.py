"""One letter of the sample archive, and the small tools that write one.

    letter("hello", header, body)

In a header `{date}` and `{id}` stand for the letter's own date and identifier.
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

_FIRST = datetime(2026, 11, 2, 8, 15, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Letter:
    """A message before it is in the archive.

    Attributes:
        name: kebab-case, unique; also the file name where a letter stands alone.
        header: the header block with its line ends, without the empty line.
        body: the rest, the empty line included.
        sender: the reverse-path for the "From " line.
    """

    name: str
    header: bytes
    body: bytes
    sender: str

    def at(self, number: int) -> "Letter":
        """The letter as the archive's number `number`: date and identifier are filled in."""
        date = self.date(number).strftime("%a, %d %b %Y %H:%M:%S +0000").encode()
        ident = f"<{self.date(number):%Y%m%d%H%M}.{self.name}@harbour.example.org>".encode()
        return replace(self, header=self.header.replace(b"{date}", date).replace(b"{id}", ident))

    @staticmethod
    def date(number: int) -> datetime:
        """When the archive's letter `number` was written."""
        return _FIRST + timedelta(minutes=97 * number)

    @property
    def octets(self) -> bytes:
        """The message with LF line ends."""
        return self.header + self.body


def letter(
    name: str,
    header: str | bytes,
    body: str | bytes,
    *,
    charset: str = "ascii",
    sender: str = "ada@example.org",
    separator: bytes = b"\n",
) -> Letter:
    """A letter from its header block and its body; text is encoded in `charset`, the header always in UTF-8."""
    head = header.encode() if isinstance(header, str) else header
    rest = body.encode(charset) if isinstance(body, str) else body
    return Letter(name, head.lstrip(b"\n"), separator + rest, sender)


def in_base64(octets: bytes) -> str:
    """Base64 in lines of 76 characters."""
    text = base64.b64encode(octets).decode()
    return "".join(text[i : i + 76] + "\n" for i in range(0, len(text), 76))


def in_quoted_printable(text: str, charset: str) -> str:
    """Quoted-printable of a text, its line ends kept."""
    return binascii.b2a_qp(text.encode(charset), istext=True).decode()


def encoded_word(text: str, charset: str, encoding: str = "B") -> str:
    """One encoded word (RFC 2047), however long."""
    octets = text.encode(charset)
    if encoding == "B":
        return f"=?{charset}?B?{base64.b64encode(octets).decode()}?="
    plain = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!*+-/"
    return (
        f"=?{charset}?Q?"
        + "".join(chr(octet) if octet in plain else "_" if octet == 32 else f"={octet:02X}" for octet in octets)
        + "?="
    )


def filler(seed: str, size: int) -> bytes:
    """`size` octets that look like chance and never change."""
    octets, block = b"", seed.encode()
    while len(octets) < size:
        block = hashlib.sha256(block).digest()
        octets += block
    return octets[:size]
