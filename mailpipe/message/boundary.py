"""A boundary that occurs in none of the parts (RFC 2046 section 5.1.1), drawn from their digest.

Never here: chance. The same parts get the same boundary, so that the same input gives the same octets.
"""

import hashlib
from collections.abc import Iterable

from mailpipe.message.entity import Entity


def boundary_for(parts: Iterable[Entity]) -> str:
    """A boundary of 34 characters that no line of the parts begins with."""
    pieces = [piece for part in parts for piece in part.pieces()]
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    while True:
        # "=_" can occur in no quoted-printable or base64 body
        boundary = "=_" + digest.hexdigest()[:32]
        needle = b"--" + boundary.encode()
        if not any(needle in piece for piece in pieces):
            return boundary
        digest.update(needle)
