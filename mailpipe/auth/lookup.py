"""The question that everything here asks of the DNS: the TXT records of a name (RFC 1035 section 3.3.14).

    def lookup(name: str) -> tuple[bytes, ...]: ...     # the strings of each record joined, () where there are none
    verify(message, lookup)

A name that is not there is an answer, `()`; what cannot be asked is a `LookupFailed`.

Never here: sockets. A stage gives a lookup over a resolver, a test one over a mapping.
"""

from typing import Protocol


class LookupFailed(Exception):
    """No answer could be had.

    Attributes:
        is_temporary: whether the same question may be answered later.
    """

    def __init__(self, words: str, *, is_temporary: bool = True) -> None:
        super().__init__(words)
        self.is_temporary = is_temporary


class TxtLookup(Protocol):
    """Asks for the TXT records of a name."""

    def __call__(self, name: str, /) -> tuple[bytes, ...]:
        """The records in the order of the answer, the strings of each joined (RFC 6376 section 3.6.2.2).

        Raises:
            LookupFailed: no answer could be had.
        """
