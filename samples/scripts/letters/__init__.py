"""The letters of the sample archive, one module a kind: plain, charsets, mime, broken.

Every address lies under a name that is reserved for examples (RFC 2606), every person is invented, and the same call
gives the same octets on every machine.
"""

from letters import broken, charsets, mime, plain
from letters.letter import Letter

LETTERS: tuple[Letter, ...] = (*plain.LETTERS, *charsets.LETTERS, *mime.LETTERS, *broken.LETTERS)
"""All of them, in the order of the archive."""
