r"""Canonical forms of header fields and bodies, "simple" and "relaxed" (RFC 6376 section 3.4).

    relaxed_body(b"a \t b \r\n\r\n")                    # b"a b\r\n"
    canonical = Canonical(message)
    canonical.header(names, "relaxed"), canonical.body_digest("simple", "sha256", None)

Lines end with CRLF here whatever the message has, since that is what a signature covers on the wire. Every function is
linear and walks over bodies in C, without a loop over lines.

Never here: keys, and what the tags of a signature mean.
"""

import hashlib
import re
from collections.abc import Sequence
from typing import Literal

from mailpipe.message import Message

Form = Literal["simple", "relaxed"]

CRLF = b"\r\n"
_BLANKS = re.compile(rb"[ \t]++")
_SPACES = re.compile(rb"  ++")
_ODD = re.compile(rb"[\x0b\x0c]|\r(?!\n)")  # what bytes.split() takes for a blank and RFC 6376 does not


def with_crlf(octets: bytes, *, is_cr: bool = False) -> bytes:
    """The same lines, ended by CRLF.

    Args:
        octets: lines that end with LF or CRLF.
        is_cr: they end with CR, as in a message that holds no LF at all.
    """
    if is_cr:
        return octets.replace(b"\r", CRLF)
    if octets.count(b"\n") == octets.count(CRLF):
        return octets
    return octets.replace(CRLF, b"\n").replace(b"\n", CRLF)


def _without_empty_lines(body: bytes) -> bytes:
    """A body of CRLF lines without the empty ones at its end, the end of its last line included."""
    kept = body.rstrip(CRLF)
    rest = body[len(kept) :]
    if rest in (b"", CRLF):
        return kept
    # a bare CR is no line end, so only whole pairs go
    rest = rest.replace(CRLF, b"\n").rstrip(b"\n")
    return kept + rest.replace(b"\n", CRLF) if rest else kept


def simple_body(body: bytes) -> bytes:
    r"""A body of CRLF lines: one line end behind its last line, also where it is empty (RFC 6376 section 3.4.3).

    >>> simple_body(b"a\r\n\r\n\r\n"), simple_body(b"")
    (b'a\r\n', b'\r\n')
    """
    if body.endswith(CRLF) and not body.endswith(b"\n\r\n") and len(body) > 2:
        return body  # the common case is not copied
    return _without_empty_lines(body) + CRLF


def relaxed_body(body: bytes) -> bytes:
    r"""A body of CRLF lines: blanks made one, none at the ends of lines (RFC 6376 section 3.4.4); b"" stays empty.

    >>> relaxed_body(b" C \r\nD \t E\r\n\r\n\r\n")
    b' C\r\nD E\r\n'
    """
    body = body.replace(b"\t", b" ")
    if b"  " in body:
        # mostly pairs; the pattern is for what is longer
        body = body.replace(b"  ", b" ")
        if b"  " in body:
            body = _SPACES.sub(b" ", body)
    body = body.replace(b" \r\n", CRLF)
    # a last line without its end gets one, and has then no blank before it
    kept = _without_empty_lines(body.removesuffix(b" "))
    return kept + CRLF if kept else b""


def simple_field(raw: bytes) -> bytes:
    """A raw field with CRLF (RFC 6376 section 3.4.1): nothing else changes."""
    raw = with_crlf(raw)
    return raw if raw.endswith(CRLF) else raw + CRLF


def relaxed_field(raw: bytes) -> bytes:
    r"""A raw field on one line, its name in lower case, its blanks made one (RFC 6376 section 3.4.2).

    >>> relaxed_field(b"Subject :\tone\r\n  two \r\n")
    b'subject:one two\r\n'
    """
    name, colon, body = raw.partition(b":")
    name = name.rstrip(b" \t").lower()
    if _ODD.search(body) is None:
        return b"%b%b%b\r\n" % (name, colon, b" ".join(body.split()))
    body = body.replace(CRLF, b"").replace(b"\n", b"")
    return b"%b%b%b\r\n" % (name, colon, _BLANKS.sub(b" ", body).strip(b" "))


class Canonical:
    """A message, ready to be signed or verified; what several signatures need is made once.

    Attributes:
        keys: the name of each line of the header in lower case, "" for what is no field.
    """

    __slots__ = ("_bodies", "_digests", "_is_cr", "_message", "_places", "_raws", "_relaxed", "keys")

    def __init__(self, message: Message, *, like: "Canonical | None" = None) -> None:
        """Nothing of the body is read yet.

        Args:
            message: which one.
            like: another, of a message before an edit; where the body is the same, its forms are not made again.
        """
        self._message = message
        self._is_cr = message.header.line_end == b"\r"
        lines = message.header.lines
        self.keys: list[str] = [field.key for field in lines]
        self._raws: list[bytes] = [field.raw for field in lines]
        self._places: dict[str, list[int]] | None = None
        self._relaxed: dict[int, bytes] = {}
        self._bodies: dict[Form, bytes] = {}
        self._digests: dict[tuple[Form, str, int | None], bytes] = {}
        if like is not None and like._is_cr == self._is_cr and like._message.raw_body == message.raw_body:
            self._bodies, self._digests = like._bodies, like._digests

    def raw(self, place: int) -> bytes:
        """A line of the header, with CRLF."""
        return simple_field(with_crlf(self._raws[place], is_cr=self._is_cr))

    def places(self, key: str) -> list[int]:
        """Where the fields of a lower-case name stand, from the top."""
        if self._places is None:
            self._places = {}
            for place, each in enumerate(self.keys):
                self._places.setdefault(each, []).append(place)
        return self._places.get(key, [])

    def field(self, place: int, form: Form) -> bytes:
        """A line of the header in one of its forms."""
        if form == "simple":
            return self.raw(place)
        made = self._relaxed.get(place)
        if made is None:
            made = self._relaxed[place] = relaxed_field(self.raw(place))
        return made

    def header(self, names: Sequence[str], form: Form, *, but: int = -1) -> bytes:
        """The named fields, each name taking the lowest that is left (RFC 6376 section 5.4.2); none where none is.

        Args:
            names: in any case, in the order in which they were signed.
            form: of the fields.
            but: the place of the signature itself, which is never among them.
        """
        left: dict[str, int] = {}
        pieces: list[bytes] = []
        for name in names:
            key = name.lower()
            places = self.places(key)
            at = left.get(key, len(places)) - 1
            if at >= 0 and places[at] == but:
                at -= 1
            if at >= 0:
                pieces.append(self.field(places[at], form))
            left[key] = max(at, 0)
        return b"".join(pieces)

    def body(self, form: Form) -> bytes:
        """The body in one of its forms."""
        made = self._bodies.get(form)
        if made is None:
            octets = with_crlf(self._message.raw_body, is_cr=self._is_cr)
            made = self._bodies[form] = simple_body(octets) if form == "simple" else relaxed_body(octets)
        return made

    def body_digest(self, form: Form, algorithm: str, length: int | None) -> bytes | None:
        """The digest of the body, or of its first octets; None where it has not so many (RFC 6376 section 3.5, l=).

        Args:
            form: of the body.
            algorithm: a name that hashlib knows.
            length: octets of the canonical body; None for all.
        """
        body = self.body(form)
        if length is not None and length > len(body):
            return None
        key = form, algorithm, length
        digest = self._digests.get(key)
        if digest is None:
            covered = body if length is None else memoryview(body)[:length]
            digest = self._digests[key] = hashlib.new(algorithm, covered, usedforsecurity=False).digest()
        return digest
