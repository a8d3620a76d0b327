"""SPF (RFC 7208): may this client send mail that bears the name of this domain?

    found = check("192.0.2.3", "ann@example.org", helo="mx.example.org", lookup=lookup)
    found.result                # none, neutral, pass, fail, softfail, temperror, permerror
    found.mechanism             # "ip4:192.0.2.0/24", the term that decided

Never here: sockets, clocks, and what is done about a result. The grammar of records is in `spf_record`.
"""

from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from mailpipe.auth.domain import ascii_domain, domain_of, is_within
from mailpipe.auth.lookup import Lookup, LookupFailed
from mailpipe.auth.spf_macro import Facts, expand, expand_domain
from mailpipe.auth.spf_record import Directive, MacroString, Record, is_spf, parse_explanation, parse_record

MAX_LOOKUPS = 10
"""LIMIT: terms that ask the DNS (RFC 7208 section 4.6.4)."""
MAX_VOID_LOOKUPS = 2
"""LIMIT: questions that are answered with nothing (section 4.6.4)."""
MAX_NAMES = 10
"""LIMIT: exchangers of one mx, names of one address (section 4.6.4)."""
MAX_RECORD = 16_384
"""LIMIT: octets of a record; the RFC asks for less than 450 (section 3.4)."""
MAX_EXPLANATION = 1000
"""LIMIT: characters of an explanation; it goes into a reply."""

# a few providers publish what most domains include; 256 records of at most MAX_RECORD octets
_remembered = lru_cache(256)(parse_record)


@dataclass(frozen=True, slots=True)
class SpfResult:
    """What SPF says.

    Attributes:
        result: "none", "neutral", "pass", "fail", "softfail", "temperror" or "permerror" (RFC 7208 section 2.6).
        domain: whose policy was asked for.
        mechanism: the term that decided, as the domain wrote it; "default" where none matched, "" where it did not
            come to that.
        explanation: what the domain says to a failure, "" where it says nothing. Somebody else's words.
        reason: for none and the errors, one line that says why.
    """

    result: str
    domain: str = ""
    mechanism: str = ""
    explanation: str = ""
    reason: str = ""


def check(
    ip: str,
    sender: str,
    *,
    helo: str = "",
    lookup: Lookup,
    receiver: str = "unknown",
    timestamp: int = 0,
    explains: bool = True,
) -> SpfResult:
    """The function check_host() of RFC 7208 section 4, for the identity MAIL FROM.

    Args:
        ip: the client's address.
        sender: the reverse-path; where it is null, postmaster at the name of HELO is looked at (section 2.4). For the
            identity HELO itself give "postmaster@" and that name.
        helo: the name that the client gave.
        lookup: answers questions.
        receiver, timestamp: for explanations: our own name, and the time in seconds since 1970.
        explains: whether the domain's explanation of a failure is asked for.

    Raises:
        ValueError: ip is no address.
    """
    address = ip_address(ip.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped  # section 5
    if not sender:
        sender = f"postmaster@{helo}"
    elif "@" not in sender:
        sender = f"postmaster@{sender}"
    local = sender.rpartition("@")[0]
    domain = ascii_domain(domain_of(sender))
    if domain is None or "." not in domain:
        return SpfResult("none", domain_of(sender), reason="the domain is no full name")
    facts = Facts(address, f"{local}@{domain}", helo, receiver, timestamp)
    return _Check(facts, lookup, explains).run(domain)


class _Stopped(Exception):
    """Kept inside: the evaluation ends with an error of the DNS or of a record."""

    def __init__(self, result: str, reason: str) -> None:
        super().__init__(reason)
        self.result, self.reason = result, reason


class _Check:
    """One evaluation, its included and redirected ones with it."""

    def __init__(self, facts: Facts, lookup: Lookup, explains: bool) -> None:
        self._facts, self._lookup, self._explains = facts, lookup, explains
        self._family = 4 if isinstance(facts.ip, IPv4Address) else 6
        self._lookups = self._voids = 0
        self._names: tuple[str, ...] | None = None  # of the client, validated

    def run(self, domain: str) -> SpfResult:
        try:
            return self._evaluated(domain, is_included=False)
        except _Stopped as stopped:
            return SpfResult(stopped.result, domain, reason=stopped.reason)

    def _evaluated(self, domain: str, *, is_included: bool) -> SpfResult:
        record = self._record(domain)
        if record is None:
            return SpfResult("none", domain, reason=f"{domain} has no SPF record")
        if record.problem:
            raise _Stopped("permerror", f"the record of {domain}: {record.problem}")
        for directive in record.directives:
            if self._matches(directive, domain):
                explanation = ""
                if directive.result == "fail" and not is_included and record.explanation is not None:
                    explanation = self._explanation(record.explanation, domain)
                return SpfResult(directive.result, domain, directive.text, explanation)
        if record.redirect is None:
            return SpfResult("neutral", domain, "default")
        self._count()
        target = self._expanded(record.redirect, domain)
        found = self._evaluated(target, is_included=is_included) if target else None
        if found is None or found.result == "none":
            raise _Stopped("permerror", f"the record of {domain} redirects to one that is not there")
        return found

    # -- questions

    def _record(self, domain: str) -> Record | None:
        try:
            texts = [text for text in self._lookup.txt(domain) if is_spf(text)]
        except LookupFailed as error:
            raise _failed(error) from error
        if not texts:
            return None
        if len(texts) > 1:
            raise _Stopped("permerror", f"{domain} has more than one SPF record")
        if len(texts[0]) > MAX_RECORD:
            raise _Stopped("permerror", f"the record of {domain} is longer than {MAX_RECORD} octets")
        return _remembered(texts[0])

    def _count(self) -> None:
        self._lookups += 1
        if self._lookups > MAX_LOOKUPS:
            raise _Stopped("permerror", f"more than {MAX_LOOKUPS} terms ask the DNS")

    def _count_void(self, answer: tuple[str, ...]) -> tuple[str, ...]:
        if not answer:
            self._voids += 1
            if self._voids > MAX_VOID_LOOKUPS:
                raise _Stopped("permerror", f"more than {MAX_VOID_LOOKUPS} questions have no answer")
        return answer

    def _addresses(self, name: str, family: int) -> tuple[str, ...]:
        try:
            return self._count_void(self._lookup.addresses(name, family))
        except LookupFailed as error:
            raise _failed(error) from error

    def _exchangers(self, name: str) -> tuple[str, ...]:
        try:
            return self._count_void(self._lookup.mx(name))
        except LookupFailed as error:
            raise _failed(error) from error

    def _validated_names(self) -> tuple[str, ...]:
        """The names of the client that lead back to its address (section 5.5)."""
        if self._names is None:
            found = []
            try:
                names = self._count_void(self._lookup.ptr(str(self._facts.ip)))[:MAX_NAMES]
            except LookupFailed:
                names = ()
            for name in names:
                target = ascii_domain(name)
                try:
                    if target is not None and self._has_client(self._lookup.addresses(target, self._family)):
                        found.append(target)
                except LookupFailed:
                    continue  # section 5.5: such a name is skipped
            self._names = tuple(found)
        return self._names

    def _has_client(self, addresses: tuple[str, ...], prefix: int | None = None) -> bool:
        ip = self._facts.ip
        bits = ip.max_prefixlen if prefix is None else prefix
        return any(ip in ip_network((address, bits), strict=False) for address in addresses)

    # -- terms

    def _matches(self, directive: Directive, domain: str) -> bool:
        mechanism = directive.mechanism
        if mechanism == "all":
            return True
        if directive.network is not None:
            return directive.network.version == self._facts.ip.version and self._facts.ip in directive.network
        self._count()
        target = domain if directive.target is None else self._expanded(directive.target, domain)
        if mechanism == "include":
            return self._is_included(target)
        if not target:
            return False  # section 4.8: no such name can be there
        prefix = directive.prefix_4 if self._family == 4 else directive.prefix_6
        if mechanism == "a":
            return self._has_client(self._addresses(target, self._family), prefix)
        if mechanism == "exists":
            return bool(self._addresses(target, 4))
        if mechanism == "mx":
            exchangers = self._exchangers(target)
            if len(exchangers) > MAX_NAMES:
                raise _Stopped("permerror", f"{target} has more than {MAX_NAMES} exchangers")
            hosts = [host for exchanger in exchangers if (host := ascii_domain(exchanger))]
            return any(self._has_client(self._addresses(host, self._family), prefix) for host in hosts)
        return any(is_within(name, target) for name in self._validated_names())  # ptr

    def _is_included(self, target: str) -> bool:
        found = self._evaluated(target, is_included=True) if target else None
        if found is None or found.result == "none":
            raise _Stopped("permerror", f"an included domain has no SPF record: {target or 'no name'}")
        return found.result == "pass"

    def _expanded(self, macros: MacroString, domain: str) -> str:
        """The name that a domain-spec stands for; "" where it comes to none."""
        text = expand_domain(macros, self._facts.values(domain), lambda: self._validated_name(domain))
        return ascii_domain(text) or ""

    def _validated_name(self, domain: str) -> str:
        """The value of the macro p (section 7.3)."""
        names = self._validated_names()
        if domain in names:
            return domain
        return next((name for name in names if is_within(name, domain)), names[0] if names else "unknown")

    def _explanation(self, macros: MacroString, domain: str) -> str:
        """What the domain says to a failure; whatever goes wrong about it does not matter (section 6.2)."""
        if not self._explains:
            return ""
        try:
            target = self._expanded(macros, domain)
            texts = self._lookup.txt(target) if target else ()
            parsed = parse_explanation(texts[0]) if len(texts) == 1 and len(texts[0]) <= MAX_RECORD else None
            if parsed is None:
                return ""
            values = self._facts.values(domain)
            return expand(parsed, values, lambda: self._validated_name(domain))[:MAX_EXPLANATION]
        except (LookupFailed, _Stopped):
            return ""


def _failed(error: LookupFailed) -> _Stopped:
    # section 2.6.6: what only somebody's doing can mend is said once and for all, but no answer is never that
    return _Stopped("temperror", str(error))
