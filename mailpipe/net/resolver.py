"""Questions to the DNS (RFC 1035, RFC 2308): typed records, remembered as long as their TTL allows.

    resolver = Resolver(["127.0.0.1:5353"], clock=time.monotonic)
    resolver.mx("example.net").records         # (MxRecord(10, "mx.example.net"),)
    resolver.addresses("mx.example.net").records

A name that is not there is an answer; a name server that does not answer is an exception, and always a transient one.

Never here: what the records mean for mail (`mailpipe.net.mx`). It needs dnspython, the extra `mailpipe[direct]`.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Generic, TypeVar

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.nameserver
import dns.resolver

from mailpipe.errors import ConfigError, TransientFailure
from mailpipe.net.endpoint import split_host
from mailpipe.net.tls import TlsaRecord
from mailpipe.status import EnhancedStatus

MAX_CNAMES = 10
"""LIMIT: aliases that lead to one name; more is a loop or an accident."""
MAX_TTL = 86_400.0
"""LIMIT: seconds that an answer is remembered, whatever its TTL."""
MAX_REMEMBERED = 10_000
"""LIMIT: answers that are remembered at a time."""
MAX_TEXT = 8192
"""LIMIT: octets of TXT records that are remembered; a name may have 64 KiB, and senders choose the names."""
_UDP_SIZE = 1232  # what passes every path unfragmented

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class MxRecord:
    """One MX record (RFC 1035 section 3.3.9).

    Attributes:
        preference: the lowest comes first.
        host: the exchanger, in lower case without the last dot; "." is the root, the null MX of RFC 7505.
    """

    preference: int
    host: str


@dataclass(frozen=True, slots=True)
class Answer(Generic[R]):
    """What the DNS says to one question.

    Attributes:
        records: in the order of the answer; () where there are none.
        name: where the aliases led, in lower case without the last dot.
        exists: False where the name itself is not there (NXDOMAIN).
        is_validated: the name server vouches for every step (the AD flag), and is trusted to.
        expires_at: on the resolver's clock.
    """

    records: tuple[R, ...]
    name: str
    exists: bool
    is_validated: bool
    expires_at: float


class Resolver:
    """Asks name servers and remembers; may be used by several threads.

    Attributes:
        validates: the name servers check signatures (RFC 4033), and the way to them is safe.
    """

    def __init__(
        self,
        nameservers: Sequence[str] = (),
        *,
        clock: Callable[[], float],
        timeout: float = 10.0,
        validates: bool = False,
    ) -> None:
        """Nothing is asked yet.

        Args:
            nameservers: "192.0.2.53", "127.0.0.1:5353", "[2001:db8::53]:53"; none for those of the system.
            clock: seconds that only grow; answers expire by it.
            timeout: seconds for one question, with all repetitions.
            validates: believe the AD flag of these servers.

        Raises:
            ConfigError: a name server is no address, or the system names none.
        """
        self.validates = validates
        self._clock, self._timeout = clock, timeout
        self._remembered: dict[tuple[str, str], Answer[Any]] = {}
        self._lock = threading.Lock()
        try:
            self._servers = dns.resolver.Resolver(configure=not nameservers)
            if nameservers:
                places = (split_host(server, 53) for server in nameservers)
                self._servers.nameservers = [
                    dns.nameserver.Do53Nameserver(str(ip_address(host)), port) for host, port in places
                ]
        except (dns.exception.DNSException, ValueError) as error:
            given = ", ".join(nameservers) or "those of the system"
            words = f"name servers ({given}): {error}; give addresses in dns = […], such as \"127.0.0.1:53\""
            raise ConfigError(words) from error
        self._servers.timeout = min(timeout, self._servers.timeout)
        self._servers.use_edns(0, dns.flags.DO if validates else 0, _UDP_SIZE)
        self._servers.flags = dns.flags.RD | (dns.flags.AD if validates else 0)

    def mx(self, domain: str) -> Answer[MxRecord]:
        """The mail exchangers of a domain, in the order of the answer.

        Raises:
            TransientFailure: no answer could be had (status 4.4.3), or aliases run in a circle (4.4.6).
        """
        return self._ask(domain, "MX", lambda record: MxRecord(record.preference, _text(record.exchange)))

    def addresses(self, host: str) -> Answer[str]:
        """The IPv6 and the IPv4 addresses of a host.

        Raises:
            TransientFailure: as with `mx`; not where one of the two questions was answered with addresses.
        """
        answers: list[Answer[str]] = []
        failure: TransientFailure | None = None
        for kind in ("AAAA", "A"):
            try:
                answers.append(self._ask(host, kind, lambda record: str(record.address)))
            except TransientFailure as error:
                failure = error
        records = tuple(record for answer in answers for record in answer.records)
        if failure is not None and not records:
            raise failure
        return Answer(
            records,
            answers[-1].name,
            any(answer.exists for answer in answers),
            all(answer.is_validated for answer in answers),
            min(answer.expires_at for answer in answers),
        )

    def txt(self, name: str) -> Answer[str]:
        """The texts of a name, the strings of each joined (RFC 8461 section 3.1).

        Raises:
            TransientFailure: as with `mx`.
        """
        answer = self.texts(name)
        texts = tuple(text.decode("ascii", "backslashreplace") for text in answer.records)
        return Answer(texts, answer.name, answer.exists, answer.is_validated, answer.expires_at)

    def texts(self, name: str) -> Answer[bytes]:
        """The same in octets, as they were published.

        Raises:
            TransientFailure: as with `mx`.
        """
        return self._ask(name, "TXT", lambda record: b"".join(record.strings))

    def addresses_of(self, host: str, family: int) -> Answer[str]:
        """The IPv4 addresses of a host where the family is 4, the IPv6 ones where it is 6.

        Raises:
            TransientFailure: as with `mx`.
        """
        return self._ask(host, "A" if family == 4 else "AAAA", lambda record: str(record.address))

    def names(self, ip: str) -> Answer[str]:
        """The names of an IP address (PTR, RFC 1035 section 3.3.12), in lower case without the last dot.

        Raises:
            TransientFailure: as with `mx`.
            ValueError: it is no address.
        """
        return self._ask(ip_address(ip).reverse_pointer, "PTR", lambda record: _text(record.target))

    def tlsa(self, host: str, port: int) -> Answer[TlsaRecord]:
        """The certificates that a host announces for a TCP port (RFC 6698 section 3).

        Raises:
            TransientFailure: as with `mx`.
        """
        return self._ask(
            f"_{port}._tcp.{host}", "TLSA",
            lambda record: TlsaRecord(record.usage, record.selector, record.mtype, record.cert),
        )  # fmt: skip

    def _ask(self, name: str, kind: str, typed: Callable[[Any], R]) -> Answer[R]:
        key = name.lower().rstrip("."), kind
        now = self._clock()
        with self._lock:
            known = self._remembered.get(key)
        if known is not None and now < known.expires_at:
            return known
        answer = self._follow(key[0], kind, typed, now)
        if sum(len(record) for record in answer.records if isinstance(record, bytes)) > MAX_TEXT:
            return answer
        with self._lock:
            if len(self._remembered) >= MAX_REMEMBERED:
                self._forget(now)
            self._remembered[key] = answer
        return answer

    def _forget(self, now: float) -> None:
        """Drop what has expired, and where that is not enough, the older half."""
        fresh = [pair for pair in self._remembered.items() if now < pair[1].expires_at]
        self._remembered = dict(fresh if len(fresh) < MAX_REMEMBERED // 2 else fresh[len(fresh) // 2 :])

    def _follow(self, name: str, kind: str, typed: Callable[[Any], R], now: float) -> Answer[R]:
        """Ask, and ask again for the target where the server gave an alias alone."""
        validated, expires_at, seen = self.validates, now + MAX_TTL, [name]
        while True:
            response, exists = self._response(name, kind)
            chain = response.resolve_chaining()
            validated = validated and bool(response.flags & dns.flags.AD)
            expires_at = min(expires_at, now + chain.minimum_ttl)
            target = _text(chain.canonical_name)
            if chain.answer is not None or not exists or target == name:
                records = tuple(typed(record) for record in chain.answer or ())
                return Answer(records, target, exists, validated, expires_at)
            if target in seen or len(seen) >= MAX_CNAMES:
                raise _circle(seen[0], kind)
            seen.append(target)
            name = target

    def _response(self, name: str, kind: str) -> tuple[dns.message.QueryMessage, bool]:
        """The answer to one question, and whether the name is there."""
        try:
            asked = dns.name.from_text(name or ".")
        except (dns.exception.DNSException, UnicodeError):
            empty = dns.message.make_response(dns.message.make_query(".", kind))
            assert isinstance(empty, dns.message.QueryMessage)
            return empty, False
        try:
            answer = self._servers.resolve(
                asked, kind, raise_on_no_answer=False, lifetime=self._timeout, search=False
            )
        except dns.resolver.NXDOMAIN as missing:
            response: object = missing.response(asked)  # type: ignore[no-untyped-call]
            assert isinstance(response, dns.message.QueryMessage)
            return response, False
        except dns.resolver.NoNameservers as error:
            said = [entry[3] for entry in error.kwargs.get("errors", ())]
            if any(isinstance(entry, dns.message.ChainTooLong) for entry in said):
                raise _circle(name, kind) from error
            why = ", ".join(dict.fromkeys(str(entry) or type(entry).__name__ for entry in said))
            raise _no_answer(name, kind, why or "no server is left") from error
        except dns.resolver.LifetimeTimeout as error:
            raise _no_answer(name, kind, f"no answer within {self._timeout:g} s") from error
        except (dns.exception.DNSException, OSError) as error:
            raise _no_answer(name, kind, str(error) or type(error).__name__) from error
        return answer.response, True


def _text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()


def _no_answer(name: str, kind: str, why: str) -> TransientFailure:
    words = f"the name servers gave no answer for the {kind} records of {name!r} ({why}); it is tried again later"
    return TransientFailure(words, EnhancedStatus(4, 4, 3))


def _circle(name: str, kind: str) -> TransientFailure:
    words = f"the aliases (CNAME) of {name!r} run in a circle or are too many; no {kind} records can be had"
    return TransientFailure(words, EnhancedStatus(4, 4, 6))
