"""Which domains belong together: the organizational domain of a name (RFC 7489 section 3.2).

    PublicSuffixes().of("mail.shop.example.co.uk", lookup)      # "example.co.uk", by the list of public suffixes
    TreeWalk().of("mail.example.org", lookup)                   # by DMARC records on the way up, without any list

The tree walk is that of DMARCbis (draft-ietf-dmarc-dmarcbis, "DNS Tree Walk"): what is registered below a suffix that
publishes psd=y, or else the uppermost name that publishes a DMARC record.

Never here: what a policy says; see `dmarc`. The list comes from publicsuffixlist, the extra `mailpipe[auth]`.
"""

from typing import Any, Protocol

from mailpipe.auth.dmarc_record import DmarcRecord, find_record
from mailpipe.auth.lookup import Lookup
from mailpipe.errors import ConfigError

MAX_QUESTIONS = 8
"""LIMIT: names that a tree walk asks for, whatever the number of labels."""


class Organization(Protocol):
    """Knows the organizational domain of every name."""

    def of(self, domain: str, lookup: Lookup) -> str:
        """The organizational domain; the domain itself where it lies below none.

        Args:
            domain: in lower case and A-labels.
            lookup: for those that have to ask.

        Raises:
            LookupFailed: it asked and got no answer.
        """


class PublicSuffixes:
    """By the list of public suffixes that publicsuffixlist brings along.

    Raises:
        ConfigError: that package is missing.
    """

    def __init__(self) -> None:
        try:
            from publicsuffixlist import PublicSuffixList  # optional, and its list takes 30 ms to read
        except ImportError as error:
            words = 'the list of public suffixes is missing; run pip install "mailpipe[auth]", or choose the tree walk'
            raise ConfigError(words) from error
        self._list: Any = PublicSuffixList()

    def of(self, domain: str, lookup: Lookup) -> str:
        """The public suffix and one label more; it asks nothing."""
        return str(self._list.privatesuffix(domain) or domain)


class TreeWalk:
    """By the DMARC records on the way up."""

    def of(self, domain: str, lookup: Lookup) -> str:
        """What DMARCbis takes for the organizational domain.

        Raises:
            LookupFailed: no answer could be had.
        """
        found = domain
        for name in walked(domain):
            record = find_record(name, lookup)
            if not isinstance(record, DmarcRecord):
                continue
            if record.psd == "n":
                return name
            if record.psd == "y" and name != domain:
                labels = domain.split(".")
                return ".".join(labels[-name.count(".") - 2 :])
            found = name  # the one with the fewest labels is the last
        return found


def walked(domain: str) -> list[str]:
    """The names that a tree walk asks for, the longest first.

    >>> walked("a.mail.example.org")
    ['a.mail.example.org', 'mail.example.org', 'example.org', 'org']
    """
    labels = domain.split(".")
    shorter = labels[1:] if len(labels) < MAX_QUESTIONS else labels[-MAX_QUESTIONS + 1 :]
    return [domain, *(".".join(shorter[at:]) for at in range(len(shorter)))]
