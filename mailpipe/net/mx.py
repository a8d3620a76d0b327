"""Which hosts take the mail of a domain (RFC 5321 section 5.1, RFC 7505), and in which order to try them.

    routes = MxRoutes(resolver, own_names=["mx.example.org"])
    destination = routes.find("example.net")
    [(exchanger.name, exchanger.addresses) for exchanger in destination.ordered(random.Random())]

Two domains with equal `Destination.key` are served by the same hosts, so that one transaction serves both.

Never here: connections; what TLS such a host must offer (`mailpipe.net.tls_policy`).
"""

import random
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address, ip_address
from itertools import zip_longest

from mailpipe.errors import PermanentFailure, TransientFailure
from mailpipe.net.resolver import Answer, MxRecord, Resolver
from mailpipe.status import EnhancedStatus

MAX_EXCHANGERS = 20
"""LIMIT: exchangers of one domain that are looked at, the most preferred first."""
MAX_FAILURES = 3
"""LIMIT: exchangers whose addresses the name servers keep to themselves; each costs a time-out."""
MAX_ADDRESSES = 10
"""LIMIT: addresses of one exchanger that are looked at, for each of IPv6 and IPv4."""


@dataclass(frozen=True, slots=True)
class Exchanger:
    """One host that takes mail.

    Attributes:
        name: its name, as the MX record has it; an address literal keeps its brackets.
        preference: the lowest comes first.
        addresses: IPv6 and IPv4, as the DNS gave them.
        canonical_name: where the aliases of its name led; the same name where it has none.
        is_validated: its addresses come from a signed zone (RFC 7672 section 2.2.2).
    """

    name: str
    preference: int
    addresses: tuple[str, ...]
    canonical_name: str = ""
    is_validated: bool = False


@dataclass(frozen=True, slots=True)
class Destination:
    """Where the mail of one domain goes.

    Attributes:
        domain: in lower case and A-labels.
        exchangers: by preference.
        is_validated: the MX records come from a signed zone (RFC 7672 section 2.2.1).
        is_implicit: there was no MX record, the domain is its own exchanger.
    """

    domain: str
    exchangers: tuple[Exchanger, ...]
    is_validated: bool = False
    is_implicit: bool = False

    @property
    def key(self) -> tuple[tuple[int, str], ...]:
        """The same for domains that the same exchangers serve in the same order."""
        return tuple(sorted((exchanger.preference, exchanger.name) for exchanger in self.exchangers))

    def ordered(self, chance: random.Random) -> tuple[Exchanger, ...]:
        """The exchangers in the order in which to try them, the addresses of each likewise.

        Equal preferences are shuffled (RFC 5321 section 5.1); IPv6 and IPv4 alternate, so that a host that is reached
        by one of them only costs one attempt in vain.
        """
        shuffled = list(self.exchangers)
        chance.shuffle(shuffled)
        shuffled.sort(key=lambda exchanger: exchanger.preference)
        return tuple(
            Exchanger(
                one.name, one.preference, _alternating(one.addresses, chance), one.canonical_name, one.is_validated
            )
            for one in shuffled
        )  # fmt: skip


class MxRoutes:
    """Finds destinations.

    Attributes:
        own_names: names of ourselves, in lower case; an exchanger so named and all behind it are cut off.
        own_addresses: our addresses, likewise.
        allows_loopback: addresses inside this machine (127.0.0.1, ::1, 0.0.0.0) are taken for others. Without, they are
            ourselves: whoever has such an MX record would have us talk to servers that believe their neighbours.
    """

    def __init__(
        self,
        resolver: Resolver,
        *,
        own_names: Collection[str] = (),
        own_addresses: Collection[str] = (),
        allows_loopback: bool = False,
    ) -> None:
        self._resolver = resolver
        self.allows_loopback = allows_loopback
        self.own_names = frozenset(name.lower().rstrip(".") for name in own_names)
        self.own_addresses = frozenset(_normal(address) for address in own_addresses)

    def find(self, domain: str) -> Destination:
        """The hosts that take the mail of a domain.

        Args:
            domain: in A-labels, or an address literal with its brackets.

        Raises:
            PermanentFailure: 5.1.2 there is no such domain; 5.1.10 it takes no mail; 5.4.4 its exchangers do not
                exist; 5.4.6 the mail would come back to us.
            TransientFailure: 4.4.3 the name servers do not answer; 4.4.6 aliases run in a circle.
        """
        domain = domain.lower().rstrip(".")
        if domain.startswith("["):
            return self._literal(domain)
        answer = self._resolver.mx(domain)
        if not answer.exists:
            words = f"there is no domain {domain!r} (no such name in the DNS); check the address"
            raise PermanentFailure(words, EnhancedStatus(5, 1, 2))
        if not answer.records:
            return self._implicit(domain, answer)
        records = [record for record in answer.records if record.host != "."]
        if not records:
            words = f"the domain {domain!r} takes no mail (null MX, RFC 7505)"
            raise PermanentFailure(words, EnhancedStatus(5, 1, 10))
        return self._explicit(domain, records, is_validated=answer.is_validated)

    def check_sender(self, domain: str) -> None:
        """Refuse a sender's domain that takes no mail (RFC 7505 section 4.2), to which no report could be sent.

        Raises:
            PermanentFailure: it has a null MX (status 5.7.27).
            TransientFailure: the name servers do not answer.
        """
        records = self._resolver.mx(domain).records
        if records and all(record.host == "." for record in records):
            words = f"the sender's domain {domain!r} takes no mail (null MX, RFC 7505), not even a report"
            raise PermanentFailure(words, EnhancedStatus(5, 7, 27))

    def _literal(self, domain: str) -> Destination:
        """An address literal (RFC 5321 section 4.1.3)."""
        inner = domain.removeprefix("[").removesuffix("]")
        try:
            address = str(IPv6Address(inner[5:]) if inner.startswith("ipv6:") else IPv4Address(inner))
        except AddressValueError as error:
            words = f"the address literal {domain} has no form that mail can be sent to"
            raise PermanentFailure(words, EnhancedStatus(5, 1, 2)) from error
        if self._is_ours(domain, (address,)):
            raise _comes_back(domain)
        return Destination(domain, (Exchanger(domain, 0, (address,), domain),), is_implicit=True)

    def _implicit(self, domain: str, mx: Answer[MxRecord]) -> Destination:
        """Without MX records the domain is its own exchanger, at preference 0."""
        found = self._resolver.addresses(domain)
        if not found.records:
            words = f"the domain {domain!r} has neither an MX record nor an address; it takes no mail"
            raise PermanentFailure(words, EnhancedStatus(5, 1, 2))
        if self._is_ours(domain, found.records):
            raise _comes_back(domain)
        validated = mx.is_validated and found.is_validated
        only = Exchanger(domain, 0, found.records, found.name, found.is_validated)
        return Destination(domain, (only,), validated, is_implicit=True)

    def _explicit(self, domain: str, records: list[MxRecord], *, is_validated: bool) -> Destination:
        found: list[Exchanger] = []
        useless: list[str] = []
        failure: TransientFailure | None = None
        cut: int | None = None
        failures = 0
        for record in sorted(records, key=lambda one: one.preference)[:MAX_EXCHANGERS]:
            if cut is not None and record.preference > cut:
                break
            if record.host in self.own_names:
                cut = record.preference
                continue
            if _is_address(record.host):
                useless.append(f"{record.host} is an address, and an MX record must have a name")
                continue
            try:
                answer = self._resolver.addresses(record.host)
            except TransientFailure as error:
                failure = failure or error
                failures += 1
                if failures == MAX_FAILURES:
                    break
                continue
            if self._is_ours(record.host, answer.records):
                cut = record.preference
            elif not answer.records:
                useless.append(f"{record.host} has no address")
            else:
                found.append(
                    Exchanger(record.host, record.preference, answer.records, answer.name, answer.is_validated)
                )
        if cut is not None:  # ourselves, and whoever is no nearer to the destination (RFC 5321 section 5.1)
            found = [exchanger for exchanger in found if exchanger.preference < cut]
            if not found and failure is None:
                raise _comes_back(domain)
        if not found:
            if failure is not None:
                raise failure
            words = f"no mail exchanger of {domain!r} can be used: {'; '.join(useless[:5])}"
            raise PermanentFailure(words, EnhancedStatus(5, 4, 4))
        return Destination(domain, tuple(found), is_validated)

    def _is_ours(self, host: str, addresses: tuple[str, ...]) -> bool:
        if host in self.own_names or not self.own_addresses.isdisjoint(map(_normal, addresses)):
            return True
        return not self.allows_loopback and any(map(_is_inside, addresses))


def _alternating(addresses: tuple[str, ...], chance: random.Random) -> tuple[str, ...]:
    six = [address for address in addresses if ":" in address]
    four = [address for address in addresses if ":" not in address]
    chance.shuffle(six)
    chance.shuffle(four)
    pairs = zip_longest(six[:MAX_ADDRESSES], four[:MAX_ADDRESSES])
    return tuple(address for pair in pairs for address in pair if address is not None)


def _normal(address: str) -> str:
    return str(_plain(address))


def _plain(address: str) -> IPv4Address | IPv6Address:
    """The address, an IPv4 address in the clothes of IPv6 (RFC 4291 section 2.5.5.2) undressed."""
    parsed = ip_address(address)
    return (parsed.ipv4_mapped or parsed) if isinstance(parsed, IPv6Address) else parsed


def _is_inside(address: str) -> bool:
    parsed = _plain(address)
    return parsed.is_loopback or parsed.is_unspecified


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _comes_back(domain: str) -> PermanentFailure:
    words = f"mail for {domain!r} would come back to ourselves: the DNS names us as the host that takes it"
    return PermanentFailure(words, EnhancedStatus(5, 4, 6))
