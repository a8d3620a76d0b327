"""The questions that everything here asks of the DNS: TXT records, and for SPF also addresses, exchangers and names.

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


class Lookup(Protocol):
    """Asks for every kind of record that SPF (RFC 7208 section 5) and DMARC need.

    Names are in A-labels and may end in a dot. Every method gives () where there is no such record or no such name,
    and raises `LookupFailed` where no answer could be had.
    """

    def txt(self, name: str, /) -> tuple[bytes, ...]:
        """The TXT records, the strings of each joined."""

    def addresses(self, name: str, family: int, /) -> tuple[str, ...]:
        """The addresses of a host: its A records where the family is 4, its AAAA records where it is 6."""

    def mx(self, name: str, /) -> tuple[str, ...]:
        """The exchangers of a domain, the most preferred first."""

    def ptr(self, ip: str, /) -> tuple[str, ...]:
        """The names of an IP address."""
