"""What TLS a destination has announced for itself: MTA-STS (RFC 8461), DANE (RFC 7672); counts for reports (RFC 8460).

    policies = StsPolicies(resolver, HttpsFetch(resolver), clock=time.time)
    policy = policies.find("example.net")            # None where there is none
    policy.allows("mx.example.net")
    dane_records(resolver, destination, exchanger, 25)

Never here: contexts of TLS (`mailpipe.net.tls`); the choice between the two, which is the caller's.
"""

import contextlib
import http.client
import re
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from mailpipe.errors import TransientFailure
from mailpipe.net.mx import Destination, Exchanger
from mailpipe.net.resolver import Resolver
from mailpipe.net.tls import DANE_NO_MATCH, TlsaRecord, client_context, name_fits
from mailpipe.net.tls_state import TlsCount, TlsState
from mailpipe.status import EnhancedStatus

MAX_POLICY_SIZE = 64 * 1024
"""LIMIT: octets of a policy (RFC 8461 section 3.3 suggests this)."""
MAX_AGE = 31_557_600
"""The longest life of a policy in seconds, a year (RFC 8461 section 3.2)."""
MAX_POLICIES = 10_000
"""LIMIT: policies that are remembered, and keys that are counted."""
REFRESH = 86_400.0
"""Seconds after which a policy is fetched again although nothing announces a new one: else its life would end on a day
that somebody chooses, by keeping us from the web server (RFC 8461 section 10.2)."""
FETCH_PAUSE = 300.0
"""Seconds before a policy that could not be fetched is asked for again (RFC 8461 section 3.3)."""

_RECORD = re.compile(r"v=STSv1\s*;(.*)", re.ASCII | re.DOTALL)
_IDENT = re.compile(r"[A-Za-z0-9]{1,32}")
K = TypeVar("K")
V = TypeVar("V")
_UNTRUSTED = EnhancedStatus(4, 7, 5)


class StsMode(StrEnum):
    """What a domain asks of those who send it mail (RFC 8461 section 5)."""

    ENFORCE = "enforce"  # no mail without a certificate that is valid for a host of the policy
    TESTING = "testing"  # tell us how it would have gone
    NONE = "none"  # we had a policy, and take it back


@dataclass(frozen=True, slots=True)
class StsPolicy:
    """A domain's policy.

    Attributes:
        mode: what it asks for.
        hosts: names of exchangers that mail may go to; a star stands for the first label.
        max_age: seconds that it may be remembered.
    """

    mode: StsMode
    hosts: tuple[str, ...]
    max_age: int

    @property
    def lines(self) -> tuple[str, ...]:
        """The policy as a report shows it (RFC 8460 section 4.4)."""
        hosts = (f"mx: {host}" for host in self.hosts)
        return ("version: STSv1", f"mode: {self.mode.value}", *hosts, f"max_age: {self.max_age}")

    def allows(self, host: str) -> bool:
        """Whether mail may go to a host (RFC 8461 section 4.1)."""
        return any(name_fits(pattern, host) for pattern in self.hosts)


def parse_sts_record(texts: Sequence[str]) -> str | None:
    """The identifier of the present policy from the TXT records of "_mta-sts.<domain>" (RFC 8461 section 3.1).

    None where there is no record of this kind, more than one, or one of another form.

    >>> parse_sts_record(["v=spf1 -all", "v=STSv1; id=20260101T000000;"])
    '20260101T000000'
    """
    found = [match for text in texts if (match := _RECORD.match(text)) is not None]
    if len(found) != 1:
        return None
    for field in found[0][1].split(";"):
        key, _, value = field.strip().partition("=")
        if key.strip() == "id":
            return value.strip() if _IDENT.fullmatch(value.strip()) else None
    return None


def parse_sts_policy(octets: bytes) -> StsPolicy:
    """Read a policy (RFC 8461 section 3.2); unknown keys are passed over.

    Raises:
        ValueError: it is none.
    """
    single: dict[str, str] = {}
    hosts: list[str] = []
    for line in octets.decode("utf-8", "replace").splitlines():
        key, colon, value = line.partition(":")
        key, value = key.strip(), value.strip()
        if colon and key == "mx":
            hosts.append(value.lower())
        elif colon:
            single.setdefault(key, value)
    if single.get("version") != "STSv1":
        raise ValueError("the policy does not say version: STSv1")
    try:
        mode = StsMode(single.get("mode", ""))
    except ValueError:
        raise ValueError(f"the policy has no mode that is known ({single.get('mode', 'none given')[:40]})") from None
    age = single.get("max_age", "")
    if not (age.isascii() and age.isdigit() and len(age) <= 10):
        raise ValueError("the policy has no max_age in seconds")
    if not hosts and mode is not StsMode.NONE:
        raise ValueError("the policy names no mx")
    return StsPolicy(mode, tuple(hosts[:200]), min(int(age), MAX_AGE))


class TlsProblem(StrEnum):
    """What went wrong, in the words of RFC 8460 section 4.3."""

    STARTTLS_NOT_SUPPORTED = "starttls-not-supported"
    CERTIFICATE_HOST_MISMATCH = "certificate-host-mismatch"
    CERTIFICATE_EXPIRED = "certificate-expired"
    CERTIFICATE_NOT_TRUSTED = "certificate-not-trusted"
    VALIDATION_FAILURE = "validation-failure"
    TLSA_INVALID = "tlsa-invalid"
    DNSSEC_INVALID = "dnssec-invalid"
    STS_POLICY_FETCH_ERROR = "sts-policy-fetch-error"
    STS_POLICY_INVALID = "sts-policy-invalid"
    STS_WEBPKI_INVALID = "sts-webpki-invalid"


class TlsCounters:
    """Counts of sessions, for reports to those who ask for them (TLSRPT, RFC 8460); may be used by several threads.

    Args:
        state: where they outlive the process; None for nowhere.
    """

    def __init__(self, state: TlsState | None = None) -> None:
        self._counts: dict[TlsCount, int] = {}
        self._lock = threading.Lock()
        self._state = state

    def count(
        self,
        domain: str,
        policy_type: str,
        problem: TlsProblem | None = None,
        host: str = "",
        policy: tuple[str, ...] = (),
    ) -> None:
        """One more session; `policy` is what a report shows of it."""
        one = TlsCount(domain, policy_type, "" if problem is None else problem.value, host, 1, policy)
        if self._state is not None:
            self._state.count(one)
        with self._lock:
            if one in self._counts or len(self._counts) < MAX_POLICIES:
                self._counts[one] = self._counts.get(one, 0) + 1

    def values(self) -> tuple[TlsCount, ...]:
        """All counts of this process, in order."""
        with self._lock:
            return tuple(sorted(replace(one, sessions=sessions) for one, sessions in self._counts.items()))


def problem_of(failure: TransientFailure) -> TlsProblem | None:
    """What was wrong about TLS where a session did not come about; None where it was something else."""
    cause = failure.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        if cause.verify_code in (62, 63, 64):  # X509_V_ERR_HOSTNAME_MISMATCH and its like for mail and addresses
            return TlsProblem.CERTIFICATE_HOST_MISMATCH
        if cause.verify_code == 10:
            return TlsProblem.CERTIFICATE_EXPIRED
        if cause.verify_code == DANE_NO_MATCH:
            return TlsProblem.VALIDATION_FAILURE
        return TlsProblem.CERTIFICATE_NOT_TRUSTED
    if isinstance(cause, ssl.SSLError):
        return TlsProblem.VALIDATION_FAILURE
    if failure.status == EnhancedStatus(4, 7, 4):
        return TlsProblem.STARTTLS_NOT_SUPPORTED
    return None


Fetch = Callable[[str], bytes]
"""Gets a policy for a domain, or raises TransientFailure, ValueError or OSError."""


class HttpsFetch:
    """Gets policies from the web servers of their domains (RFC 8461 section 3.3): no redirects, 64 KiB at most."""

    def __init__(
        self, resolver: Resolver, *, ca_file: Path | None = None, port: int = 443, timeout: float = 30.0
    ) -> None:
        self._resolver, self._ca_file, self._port, self._timeout = resolver, ca_file, port, timeout
        self._context: ssl.SSLContext | None = None

    def __call__(self, domain: str) -> bytes:
        """The policy's octets.

        Raises:
            TransientFailure: the name servers do not answer, or the web server has no address.
            OSError: it cannot be reached, or its certificate is not believed.
            ValueError: it answers something else.
        """
        host = f"mta-sts.{domain}"
        addresses = self._resolver.addresses(host).records
        if not addresses:
            raise TransientFailure(f"{host} has no address, and the policy of {domain!r} should be there", _UNTRUSTED)
        if self._context is None:
            self._context = client_context(verify=True, ca_file=self._ca_file)
        connection = http.client.HTTPSConnection(host, self._port, timeout=self._timeout, context=self._context)
        over = None
        try:
            plain = self._connect(addresses)
            try:
                wrapped = self._context.wrap_socket(plain, server_hostname=host)
            except BaseException:
                plain.close()
                raise
            connection.sock = wrapped
            # The time-out of a socket counts from octet to octet; this one bounds the whole.
            over = threading.Timer(self._timeout, _end, (wrapped,))
            over.daemon = True
            over.start()
            connection.request("GET", "/.well-known/mta-sts.txt", headers={"Accept": "text/plain"})
            response = connection.getresponse()
            octets = response.read(MAX_POLICY_SIZE + 1)
        except http.client.HTTPException as error:
            raise ValueError(f"{host} answers something else than HTTP ({type(error).__name__})") from error
        finally:
            if over is not None:
                over.cancel()
            connection.close()
        if response.status != 200:
            raise ValueError(f"{host} answers {response.status} and no policy")
        if len(octets) > MAX_POLICY_SIZE:
            raise ValueError(f"the policy of {domain!r} is larger than {MAX_POLICY_SIZE} octets")
        if response.length:
            raise ValueError(f"{host} broke off, or took longer than {self._timeout:g} s")
        return octets

    def _connect(self, addresses: Sequence[str]) -> socket.socket:
        failure: OSError | None = None
        for address in addresses[:4]:
            try:
                return socket.create_connection((address, self._port), self._timeout)
            except OSError as error:
                failure = failure or error
        raise failure or OSError("no address")


def _end(wrapped: ssl.SSLSocket) -> None:
    """Wake whoever reads from a connection; the state of TLS is that thread's own."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(wrapped, socket.SHUT_RDWR)


@dataclass(frozen=True, slots=True)
class _Known:
    policy: StsPolicy
    ident: str
    fetched_at: float
    stamp: float = 0.0  # of the fetch, where it is kept

    @property
    def expires_at(self) -> float:
        return self.fetched_at + self.policy.max_age

    @property
    def refresh_at(self) -> float:
        return self.fetched_at + min(REFRESH, self.policy.max_age / 2)


class StsPolicies:
    """Finds and remembers policies; may be used by several threads."""

    def __init__(
        self,
        resolver: Resolver,
        fetch: Fetch,
        *,
        clock: Callable[[], float],
        counters: TlsCounters | None = None,
        state: TlsState | None = None,
    ) -> None:
        """Nothing is asked yet.

        Args:
            resolver: where "_mta-sts.<domain>" is asked for.
            fetch: gets a policy.
            clock: seconds; policies expire by it.
            counters: told of policies that cannot be had.
            state: where policies outlive the process; None for nowhere, so that whoever can keep us from a web server
                needs only to wait for a restart.
        """
        self._resolver, self._fetch, self._clock, self._state = resolver, fetch, clock, state
        self._counters = counters or TlsCounters()
        self._known: dict[str, _Known] = {}
        self._failed: dict[tuple[str, str], float] = {}
        self._lock = threading.Lock()

    def find(self, domain: str) -> StsPolicy | None:
        """The policy that holds for a domain now, None where there is none.

        One that was found holds until it expires, also where DNS or web server do not answer any more: otherwise
        whoever can stop their answers could switch it off (RFC 8461 section 10.2).
        """
        now = self._clock()
        known = self._remembered(domain, now)
        if known is not None and now >= known.expires_at:
            known = None
        held = None if known is None else known.policy
        try:
            ident = parse_sts_record(self._resolver.txt(f"_mta-sts.{domain}").records)
        except TransientFailure:
            return held
        if ident is None or (known is not None and known.ident == ident and now < known.refresh_at):
            return held
        with self._lock:
            if now < self._failed.get((domain, ident), now):
                return held
        try:
            policy = parse_sts_policy(self._get(domain))
        except (TransientFailure, OSError, ValueError) as error:
            self._counters.count(domain, "sts", _problem_of_fetch(error))
            with self._lock:
                _remember(self._failed, (domain, ident), now + FETCH_PAUSE)
            return held
        stamp = 0.0
        if self._state is not None:
            stamp = self._state.keep(domain, ident, policy.mode.value, policy.hosts, policy.max_age)
        with self._lock:
            _remember(self._known, domain, _Known(policy, ident, now, stamp))
        return policy

    def _remembered(self, domain: str, now: float) -> _Known | None:
        """What we know of a domain, from this process or from those before it."""
        with self._lock:
            known = self._known.get(domain)
        if self._state is None or (known is not None and now < known.refresh_at):
            return known
        kept = self._state.kept(domain)
        if kept is None or (known is not None and kept.stamp <= known.stamp):
            return known
        try:
            policy = StsPolicy(StsMode(kept.mode), kept.hosts, kept.max_age)
        except ValueError:  # of a later version
            return known
        known = _Known(policy, kept.ident, now - kept.age, kept.stamp)
        with self._lock:
            _remember(self._known, domain, known)
        return known

    def _get(self, domain: str) -> bytes:
        try:
            return self._fetch(domain)
        except ssl.SSLError:  # one about a certificate is a ValueError, too
            raise
        except ValueError as error:  # the web server's answer is no policy, which is not the policy's own fault
            raise TransientFailure(str(error), _UNTRUSTED) from error


def _remember(table: dict[K, V], key: K, value: V) -> None:
    if key not in table and len(table) >= MAX_POLICIES:
        table.pop(next(iter(table)))  # the oldest
    table[key] = value


def _problem_of_fetch(error: Exception) -> TlsProblem:
    if isinstance(error, ssl.SSLError):
        return TlsProblem.STS_WEBPKI_INVALID
    if isinstance(error, TransientFailure | OSError):
        return TlsProblem.STS_POLICY_FETCH_ERROR
    return TlsProblem.STS_POLICY_INVALID


@dataclass(frozen=True, slots=True)
class DaneRecords:
    """What an exchanger announces.

    Attributes:
        base: the name beside which the records are, and for which a certificate is asked (SNI, RFC 7672 section 8.1).
        records: usable or not.
    """

    base: str
    records: tuple[TlsaRecord, ...]


def dane_records(resolver: Resolver, destination: Destination, exchanger: Exchanger, port: int) -> DaneRecords | None:
    """The certificates that an exchanger announces in a signed zone (RFC 7672 section 2.2).

    Args:
        resolver: has checked the signatures, else there is no answer.
        destination: the exchanger's.
        exchanger: the host.
        port: the TCP port of SMTP.

    Returns:
        None where it announces none, or not safely. Records mean: TLS or no mail; and where some are usable, with a
        certificate that fits one of them.

    Raises:
        TransientFailure: the question has no answer; the host must not be used without (RFC 7672 section 2.1.2).
    """
    if not (resolver.validates and destination.is_validated and exchanger.is_validated):
        return None
    if exchanger.name.startswith("["):
        return None
    for base in dict.fromkeys((exchanger.canonical_name or exchanger.name, exchanger.name)):
        answer = resolver.tlsa(base, port)
        if answer.records and answer.is_validated:
            return DaneRecords(base, answer.records)
    return None


def dane_names(destination: Destination, exchanger: Exchanger) -> tuple[str, ...]:
    """What a certificate may name where an authority vouches for it (RFC 7672 section 3.2.2)."""
    return tuple(dict.fromkeys((exchanger.name, exchanger.canonical_name or exchanger.name, destination.domain)))
