r"""A span of a document as a piece of a composed entity: what nobody edited is written from where it stands.

    layout = (b"\r\n", Slice(document, body_start, stop))

Never here: what the octets say.
"""

from typing import SupportsBytes

from mailpipe.message.header import Header
from mailpipe.parser.node import Document


class Slice:
    """Octets of a document that have not been copied."""

    __slots__ = ("document", "start", "stop")

    def __init__(self, document: Document, start: int, stop: int) -> None:
        self.document, self.start, self.stop = document, start, stop

    @property
    def view(self) -> bytes | memoryview:
        """The octets where they stand; a copy of some thousands, which is made in less time than a view."""
        if self.stop - self.start < 1 << 16:
            return self.document.octets[self.start : self.stop]
        return memoryview(self.document.octets)[self.start : self.stop]

    def __bytes__(self) -> bytes:
        return self.document.octets[self.start : self.stop]

    def __len__(self) -> int:
        return self.stop - self.start


def separated(header: Header, separator: SupportsBytes) -> bytes:
    """What stands between a header and a body that has octets: an empty line, also where the header came without one.

    Args:
        header: what stands before.
        separator: what stood there, perhaps nothing.
    """
    if not header.is_ended:
        return header.line_end + (bytes(separator) or header.line_end)
    return bytes(separator) or header.line_end


def without_last_line_end(octets: bytes) -> bytes:
    """Octets without the line end that belongs to the delimiter behind them (RFC 2046 section 5.1.1)."""
    if octets.endswith(b"\r\n"):
        return octets[:-2]
    return octets[:-1] if octets.endswith((b"\n", b"\r")) else octets


def around(before: bytes, after: bytes, boundary: bytes) -> tuple[bytes, bytes]:
    """Preamble and epilogue of a multipart (RFC 2046 section 5.1.1).

    Args:
        before: what stands before the first part, its delimiter included.
        after: what stands behind the last part, the closing delimiter included.
        boundary: with its two hyphens.
    """
    preamble = without_last_line_end(before[: max(before.rfind(boundary), 0)])
    closing = after.find(boundary + b"--")
    if closing < 0:
        return preamble, b""
    line = after.find(b"\n", closing)
    line = line if line >= 0 else after.find(b"\r", closing)
    return preamble, after[line + 1 :] if line >= 0 else b""
