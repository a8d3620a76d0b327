"""Delivery to the recipients' own servers (RFC 5321 section 5.1), with the TLS that each domain asks for.

    direct = DirectDelivery(options, plan, handover, clock=time.monotonic, chance=random.Random())
    direct.deliver(mail).recipients

Recipients whose domains have the same exchangers share a transaction. Destinations go side by side: one that is down or
slow holds up no other of the same mail, and is left alone for a while afterwards. It needs dnspython, the extra
`mailpipe[direct]`.

Never here: what becomes of the mail that is deferred.
"""

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import TypeVar

from mailpipe.errors import DeliveryError, LocalProtocolError, MailpipeError, TransientFailure
from mailpipe.net.endpoint import Endpoint
from mailpipe.net.mx import Destination, Exchanger, MxRoutes
from mailpipe.net.resolver import Resolver
from mailpipe.net.tls import client_context, dane_context
from mailpipe.net.tls_policy import (
    Fetch,
    HttpsFetch,
    StsMode,
    StsPolicies,
    StsPolicy,
    TlsCounters,
    TlsProblem,
    dane_names,
    dane_records,
    problem_of,
)
from mailpipe.net.tls_state import TlsState
from mailpipe.pipeline.mail import Mail
from mailpipe.pipeline.outcome import Fate, Receipt, RecipientReceipt
from mailpipe.sinks.smtp_handover import MAX_DIAGNOSTIC, Handed, Handover, Target, TlsWatcher, deferred
from mailpipe.sinks.smtp_options import SmtpOptions
from mailpipe.smtp.demand import REQUIRETLS_NEEDED, asks_for_tls, must_use_tls
from mailpipe.smtp.envelope import ForwardPath
from mailpipe.smtp.opening import Opening, TlsMode
from mailpipe.smtp.path import AddressSpec
from mailpipe.status import EnhancedStatus

MAX_ADDRESSES = 10
"""LIMIT: addresses of one destination that one mail tries."""
MAX_SESSIONS = 3
"""LIMIT: servers of one destination that may put one mail off before it is deferred."""
_SIDE_BY_SIDE = 8
_ANY_CERTIFICATE = "dane-any"

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class _Found:
    """Where one domain's mail goes, and what it asks for."""

    destination: Destination
    sts: StsPolicy | None
    is_relaxed: bool = False  # the mail does not care for what the destination announces (RFC 8689 section 5)

    @property
    def is_safe(self) -> bool:
        """Whether the names of the exchangers cannot have been forged on the way (RFC 8689 section 4.2.1)."""
        return self.sts is not None or self.destination.is_validated


@dataclass(slots=True)
class _Watcher(TlsWatcher):
    """Counts how sessions with one exchanger begin, and remembers the last."""

    counters: TlsCounters
    domain: str
    policy_type: str
    host: str
    is_opportunistic: bool = False
    policy: tuple[str, ...] = ()
    has_answered: bool = False
    problem: TlsProblem | None = None
    has_failed: bool = False

    def opened(self, *, encrypted: bool) -> None:
        if encrypted or not self.is_opportunistic:
            self._count(None)
        else:
            self._count(TlsProblem.STARTTLS_NOT_SUPPORTED)

    def answered(self) -> None:
        self.has_answered = True

    def failed(self, failure: TransientFailure) -> None:
        self.has_failed = True
        self.problem = problem_of(failure)
        if self.problem is not None:
            self._count(self.problem)

    def _count(self, problem: TlsProblem | None) -> None:
        self.counters.count(self.domain, self.policy_type, problem, self.host, self.policy)


class DirectDelivery:
    """Finds the servers and hands over.

    Attributes:
        counters: how sessions began, by domain and policy.
    """

    def __init__(
        self,
        options: SmtpOptions,
        plan: Opening,
        handover: Handover,
        *,
        clock: Callable[[], float],
        chance: random.Random,
        fetch: Fetch | None = None,
    ) -> None:
        """Nothing is asked yet.

        Args:
            options: of the sink.
            plan: how a session begins; TLS as policies of the destination ask for comes on top.
            handover: hands over.
            clock: seconds that only grow.
            chance: shuffles servers of equal preference.
            fetch: gets MTA-STS policies; None for HTTPS.

        Raises:
            ConfigError: the name servers are none.
            OutputError: the state directory cannot be made or written.
        """
        self._options, self._plan, self._handover, self._chance = options, plan, handover, chance
        self._resolver = Resolver(
            options.dns, clock=clock, timeout=options.dns_timeout, validates=options.dns_validates
        )
        self._routes = MxRoutes(
            self._resolver,
            own_names=[plan.hello_name],
            own_addresses=options.own_addresses,
            allows_loopback=options.allow_loopback,
        )
        place = options.state_directory
        self._state = None if place is None else TlsState(place)
        self.counters = TlsCounters(self._state)
        fetch = fetch or HttpsFetch(self._resolver, ca_file=options.tls_ca_file)
        self._policies = StsPolicies(
            self._resolver, fetch, clock=clock, counters=self.counters, state=self._state
        )
        self._context = client_context(verify=True, ca_file=options.tls_ca_file)
        self._threads: ThreadPoolExecutor | None = None
        self._starting = threading.Lock()

    def close(self) -> None:
        """Let the threads go, and close the state."""
        if self._threads is not None:
            self._threads.shutdown()
        self._threads = None
        if self._state is not None:
            self._state.close()

    def deliver(self, mail: Mail) -> Receipt:
        """A transaction with each destination; an entry for each forward-path, in order. It raises nothing."""
        paths = mail.envelope.forward_paths
        entries: dict[int, RecipientReceipt] = {}
        domains: dict[str, list[int]] = {}
        for place, path in enumerate(paths):
            try:
                domains.setdefault(_domain(path.address), []).append(place)
            except LocalProtocolError as error:
                entries[place] = RecipientReceipt(path, Fate.FAILED, error.status, str(error)[:MAX_DIAGNOSTIC])
        groups: dict[object, tuple[_Found, list[int]]] = {}
        find = partial(self._find, is_relaxed=_is_relaxed(mail))
        for (_, places), found in zip(domains.items(), self._side_by_side(find, list(domains)), strict=True):
            if isinstance(found, DeliveryError):
                fate = Fate.DEFERRED if found.is_transient else Fate.FAILED
                words = found.diagnostic[:MAX_DIAGNOSTIC]
                entries |= {place: RecipientReceipt(paths[place], fate, found.status, words) for place in places}
            else:
                key = found.destination.key, found.destination.is_validated, found.sts
                groups.setdefault(key, (found, []))[1].extend(places)
        tasks = [(found, mail, sorted(places)) for found, places in groups.values()]
        reference = ""
        for (_, _, places), handed in zip(tasks, self._side_by_side(self._hand_over, tasks), strict=True):
            entries |= dict(zip(places, handed.receipts, strict=True))
            reference = reference or handed.reference
        return Receipt(tuple(entries[place] for place in range(len(paths))), reference)

    def _side_by_side(self, work: Callable[[T], R], tasks: Sequence[T]) -> list[R]:
        if len(tasks) < 2:
            return [work(task) for task in tasks]
        with self._starting:
            if self._threads is None:
                count = max(_SIDE_BY_SIDE, 2 * self._options.mails_in_flight)
                self._threads = ThreadPoolExecutor(count, "mailpipe-direct")
            threads = self._threads
        return list(threads.map(work, tasks))

    def _find(self, domain: str, *, is_relaxed: bool) -> _Found | DeliveryError:
        try:
            destination = self._routes.find(domain)
        except DeliveryError as error:
            return error
        wants_sts = self._options.mta_sts and self._plan.tls is not TlsMode.NEVER and not domain.startswith("[")
        wants_sts = wants_sts and not is_relaxed
        policy = self._policies.find(destination.domain) if wants_sts else None
        return _Found(destination, None if policy is None or policy.mode is StsMode.NONE else policy, is_relaxed)

    def _hand_over(self, task: tuple[_Found, Mail, list[int]]) -> Handed:
        found, mail, places = task
        paths = [mail.envelope.forward_paths[place] for place in places]
        try:
            requires_tls = must_use_tls(mail.envelope)
            if requires_tls and not found.is_safe:
                why = f"neither DNSSEC nor an MTA-STS policy vouches for the servers of {found.destination.domain!r}"
                words = f"the mail must travel over TLS (RFC 8689), and {why}"
                return Handed(tuple(RecipientReceipt(path, Fate.FAILED, REQUIRETLS_NEEDED, words) for path in paths))
            targets = self._targets(found, requires_tls=requires_tls)
            if found.is_safe and not requires_tls and asks_for_tls(mail.envelope.parameters):
                targets = chain(self._targets(found, requires_tls=True), targets)  # a report, which goes in any case
            return self._handover.to(targets, mail, paths, most_sessions=MAX_SESSIONS)
        except MailpipeError as error:  # before anything was sent; the other destinations have receipts of their own
            failure = TransientFailure(str(error), replace(error.status, status_class=4))
            return Handed(tuple(deferred(path, failure) for path in paths), failure)
        except Exception as error:  # noqa: BLE001 - what it had sent is not known, and the others have their receipts
            words = f"{type(error).__name__}: {error}"[:MAX_DIAGNOSTIC]
            return Handed(tuple(_in_doubt(path, words) for path in paths))

    def _targets(self, found: _Found, *, requires_tls: bool) -> Iterator[Target | TransientFailure]:
        """The servers of a destination in the order in which to ask them; what keeps us from one stands in for it."""
        tried = 0
        for exchanger in found.destination.ordered(self._chance):
            sts = found.sts
            try:
                announced = None if found.is_relaxed else self._announced(found.destination, exchanger)
            except TransientFailure as failure:
                self.counters.count(found.destination.domain, "tlsa", TlsProblem.DNSSEC_INVALID, exchanger.name)
                yield failure
                continue
            if announced is None and sts is not None and not sts.allows(exchanger.name):
                self.counters.count(
                    found.destination.domain, "sts", TlsProblem.VALIDATION_FAILURE, exchanger.name, sts.lines
                )
                if sts.mode is StsMode.ENFORCE or (requires_tls and not found.destination.is_validated):
                    words = f"the MTA-STS policy of {found.destination.domain!r} does not name {exchanger.name}"
                    yield TransientFailure(words, EnhancedStatus(4, 7, 5))
                    continue
                sts = None
            for address in exchanger.addresses:
                if tried == MAX_ADDRESSES:
                    return
                tried += 1
                host = address if exchanger.name.startswith("[") else exchanger.name
                endpoint = Endpoint(host, self._options.port, address)
                target = self._target(found, exchanger, endpoint, announced, sts, requires_tls=requires_tls)
                yield target
                if target.tag == "sts-testing" and _may_go_unchecked(target.watcher):
                    yield self._opportunistic(found, exchanger, endpoint)

    def _announced(self, destination: Destination, exchanger: Exchanger) -> Target | None:
        """A pattern of the targets whose certificate the DNS announces, None where it announces none."""
        if self._plan.tls is TlsMode.NEVER:
            return None
        found = dane_records(self._resolver, destination, exchanger, self._options.port)
        if found is None:
            return None
        usable = tuple(record for record in found.records if record.is_usable)
        if not usable:
            shown = tuple(map(str, found.records))
            self.counters.count(destination.domain, "tlsa", TlsProblem.TLSA_INVALID, exchanger.name, shown)
        context = dane_context(usable, dane_names(destination, exchanger))
        plan = replace(self._plan, tls=TlsMode.REQUIRED)
        shown = tuple(map(str, found.records))
        watcher = _Watcher(self.counters, destination.domain, "tlsa", exchanger.name, policy=shown)
        tag = f"dane-{hash(usable):x}" if usable else _ANY_CERTIFICATE
        return Target(Endpoint(found.base), plan, context=context, tag=tag, watcher=watcher)

    def _target(
        self, found: _Found, exchanger: Exchanger, endpoint: Endpoint, announced: Target | None,
        sts: StsPolicy | None, *, requires_tls: bool,
    ) -> Target:  # fmt: skip
        if announced is not None and not (requires_tls and announced.tag == _ANY_CERTIFICATE):
            return replace(announced, endpoint=replace(endpoint, host=announced.endpoint.host))
        if sts is None and not requires_tls:
            return self._opportunistic(found, exchanger, endpoint)
        watcher = _Watcher(
            self.counters, found.destination.domain, "no-policy-found" if sts is None else "sts", exchanger.name,
            policy=() if sts is None else sts.lines,
        )  # fmt: skip
        tag = "requiretls" if sts is None else f"sts-{sts.mode.value}"
        if requires_tls and sts is not None:
            tag = "sts-enforce"
        plan = replace(self._plan, tls=TlsMode.REQUIRED)
        return Target(endpoint, plan, context=self._context, tag=tag, watcher=watcher)

    def _opportunistic(self, found: _Found, exchanger: Exchanger, endpoint: Endpoint) -> Target:
        """As the pipeline file says, and no policy."""
        options = self._options
        watcher: TlsWatcher = TlsWatcher()
        if self._plan.tls is not TlsMode.NEVER:
            watcher = _Watcher(self.counters, found.destination.domain, "no-policy-found", exchanger.name, True)
        return Target(endpoint, self._plan, options.tls_verify, options.tls_ca_file, watcher=watcher)


def _may_go_unchecked(watcher: TlsWatcher) -> bool:
    """Whether a policy that is only tested would have kept the mail back: the mail then goes without (RFC 8461 5.2)."""
    assert isinstance(watcher, _Watcher)
    if watcher.has_answered:
        return False
    return watcher.problem is not None or not watcher.has_failed


def _is_relaxed(mail: Mail) -> bool:
    """Whether the author would rather have the mail read on the way than not delivered (RFC 8689 section 5).

    It counts for nothing where the envelope says that every hop must use TLS (section 4.1).
    """
    fields = mail.message.header.all("TLS-Required")
    says_no = bool(fields) and all(field.text.strip().lower() == "no" for field in fields)
    return says_no and not asks_for_tls(mail.envelope.parameters)


def _domain(address: str) -> str:
    """The domain of an address in A-labels and lower case.

    Raises:
        LocalProtocolError: it is no address, or has no domain.
    """
    spec = AddressSpec.parse(address)
    if not spec.domain:
        error = LocalProtocolError(f"<{address}> has no domain; direct delivery does not know where to send it")
        error.status = EnhancedStatus(5, 1, 2)
        raise error
    return spec.ascii_domain.lower()


def _in_doubt(path: ForwardPath, words: str) -> RecipientReceipt:
    return RecipientReceipt(path, Fate.IN_DOUBT, EnhancedStatus(4, 3, 0), words)
