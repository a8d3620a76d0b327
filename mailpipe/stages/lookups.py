"""The door of stages to the DNS: the questions of SPF, DKIM and DMARC, remembered, each mail with a time of its own.

    class Options(LookupOptions): ...            # nameservers, dns_timeout, dns_deadline

    def open(self, services):
        self._lookup = open_lookup(self.options, services)

    def process(self, mail):
        self._lookup.begin()                     # the time of this mail begins
        self._lookup.txt("_dmarc.example.org"), self._lookup("selector._domainkey.example.org")

Stages of one worker that ask the same servers share what is remembered. It needs dnspython, the extra `mailpipe[auth]`.

Never here: what an answer means.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakValueDictionary

from mailpipe.auth.lookup import LookupFailed
from mailpipe.errors import ConfigError, TransientFailure
from mailpipe.pipeline.component import Options
from mailpipe.pipeline.services import Clock, Services
from mailpipe.units import Duration

if TYPE_CHECKING:  # dnspython is optional
    from mailpipe.net.resolver import Answer, Resolver

R = TypeVar("R")


class LookupOptions(Options):
    """Which name servers are asked, and for how long."""

    nameservers: tuple[str, ...] = ()
    """Name servers by address, "192.0.2.53" or "127.0.0.1:5353"; by default those of the system."""
    dns_timeout: Duration = 5.0
    """How long one question may take, with all repetitions."""
    dns_deadline: Duration = 20.0
    """How long the questions for one mail may take together; then those that are left have no answer."""


class DnsLookup:
    """A `Lookup` over a resolver; called, it asks for TXT records as a `TxtLookup` does."""

    def __init__(self, resolver: "Resolver", clock: Clock, deadline: float) -> None:
        self._resolver, self._clock, self._deadline = resolver, clock, deadline
        self._until: float | None = None

    def begin(self) -> None:
        """The time of another mail begins. Before the first call of this there is no deadline."""
        self._until = self._clock.monotonic() + self._deadline

    def _records(self, name: str, ask: "Callable[[], Answer[R]]") -> tuple[R, ...]:
        if self._until is not None and self._clock.monotonic() >= self._until:
            raise LookupFailed(f"the DNS was asked for {self._deadline:g} s for this mail, {name!r} is left")
        try:
            return ask().records
        except TransientFailure as error:
            raise LookupFailed(str(error)) from error

    def __call__(self, name: str, /) -> tuple[bytes, ...]:
        """The same as `txt`."""
        return self.txt(name)

    def txt(self, name: str, /) -> tuple[bytes, ...]:
        """The TXT records of a name.

        Raises:
            LookupFailed: no answer could be had.
        """
        return self._records(name, lambda: self._resolver.texts(name))

    def addresses(self, name: str, family: int, /) -> tuple[str, ...]:
        """The addresses of a host, IPv4 where the family is 4, IPv6 where it is 6.

        Raises:
            LookupFailed: no answer could be had.
        """
        return self._records(name, lambda: self._resolver.addresses_of(name, family))

    def mx(self, name: str, /) -> tuple[str, ...]:
        """The exchangers of a domain, the most preferred first.

        Raises:
            LookupFailed: no answer could be had.
        """
        records = self._records(name, lambda: self._resolver.mx(name))
        return tuple(each.host for each in sorted(records, key=lambda each: each.preference))

    def ptr(self, ip: str, /) -> tuple[str, ...]:
        """The names of an IP address.

        Raises:
            LookupFailed: no answer could be had.
        """
        return self._records(ip, lambda: self._resolver.names(ip))


_resolvers: "WeakValueDictionary[tuple[tuple[str, ...], float, Clock], Resolver]" = WeakValueDictionary()


def open_lookup(options: LookupOptions, services: Services) -> DnsLookup:
    """What a stage asks; nothing is asked yet.

    Raises:
        ConfigError: dnspython is missing, a name server is no address, or the system names none.
    """
    key = options.nameservers, options.dns_timeout, services.clock
    resolver = _resolvers.get(key)
    if resolver is None:
        try:
            from mailpipe.net.resolver import Resolver  # dnspython is optional, and slow to import
        except ImportError as error:
            raise ConfigError('the DNS cannot be asked without dnspython; run pip install "mailpipe[auth]"') from error
        try:
            resolver = Resolver(options.nameservers, clock=services.clock.monotonic, timeout=options.dns_timeout)
        except ConfigError as error:
            raise ConfigError(str(error).replace("dns = […]", "nameservers = […]")) from error
        _resolvers[key] = resolver
    return DnsLookup(resolver, services.clock, options.dns_deadline)
