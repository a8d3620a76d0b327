"""The door of stages to the DNS: TXT records, remembered, each mail with a time of its own.

    class Options(LookupOptions): ...            # nameservers, dns_timeout, dns_deadline

    def open(self, services):
        self._lookup = open_lookup(self.options, services)

    def process(self, mail):
        self._lookup.begin()
        self._lookup("s1._domainkey.example.org")

It needs dnspython, the extra `mailpipe[auth]`.

Never here: what an answer means.
"""

from typing import TYPE_CHECKING

from mailpipe.auth.lookup import LookupFailed, TxtLookup
from mailpipe.errors import ConfigError, TransientFailure
from mailpipe.pipeline.component import Options
from mailpipe.pipeline.services import Clock, Services
from mailpipe.units import Duration

if TYPE_CHECKING:  # dnspython is optional
    from mailpipe.net.resolver import Resolver


class LookupOptions(Options):
    """Which name servers are asked, and for how long."""

    nameservers: tuple[str, ...] = ()
    """Name servers by address, "192.0.2.53" or "127.0.0.1:5353"; by default those of the system."""
    dns_timeout: Duration = 5.0
    """How long one question may take, with all repetitions."""
    dns_deadline: Duration = 20.0
    """How long the questions for one mail may take together; then those that are left have no answer."""


class DnsLookup:
    """A `TxtLookup` over a resolver."""

    def __init__(self, resolver: "Resolver", clock: Clock, deadline: float) -> None:
        self._resolver, self._clock, self._deadline = resolver, clock, deadline
        self._until: float | None = None

    def begin(self) -> None:
        """The time of another mail begins. Before the first call of this there is no deadline."""
        self._until = self._clock.monotonic() + self._deadline

    def __call__(self, name: str, /) -> tuple[bytes, ...]:
        """The TXT records of a name.

        Raises:
            LookupFailed: no answer could be had.
        """
        if self._until is not None and self._clock.monotonic() >= self._until:
            raise LookupFailed(f"the DNS was asked for {self._deadline:g} s for this mail, {name!r} is left")
        try:
            return tuple(text.encode() for text in self._resolver.txt(name).records)
        except TransientFailure as error:
            raise LookupFailed(str(error)) from error


def open_lookup(options: LookupOptions, services: Services) -> DnsLookup:
    """What a stage asks; nothing is asked yet.

    Raises:
        ConfigError: dnspython is missing, a name server is no address, or the system names none.
    """
    try:
        from mailpipe.net.resolver import Resolver  # dnspython is optional, and slow to import
    except ImportError as error:
        raise ConfigError('the DNS cannot be asked without dnspython; run pip install "mailpipe[auth]"') from error
    try:
        resolver = Resolver(options.nameservers, clock=services.clock.monotonic, timeout=options.dns_timeout)
    except ConfigError as error:
        raise ConfigError(str(error).replace("dns = […]", "nameservers = […]")) from error
    return DnsLookup(resolver, services.clock, options.dns_deadline)


def txt_lookup(options: LookupOptions, services: Services) -> TxtLookup:
    """The same for who needs TXT records alone.

    Raises:
        ConfigError: see `open_lookup`.
    """
    return open_lookup(options, services)
