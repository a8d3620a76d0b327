"""ARC, the Authenticated Received Chain (RFC 8617): what those who passed a message on found out about it.

    chain = validate(message, lookup, now=now)          # chain.status: "none", "pass", "fail"
    fields = seal(message, chain, key, "example.net", "s1", results=b"mx.example.net; spf=pass", timestamp=now)
    sealed = message.with_header(message.header.with_fields([*fields, *message.header.lines]))

A chain is made of sets, numbered from 1: Authentication-Results as they were found, a signature of the message, a seal
of all sets so far.

Never here: whether a sealer is to be believed.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mailpipe.auth import dkim
from mailpipe.auth.canonical import Canonical, relaxed_field
from mailpipe.auth.dkim import Result, check, check_key, composed, sign_arc_message
from mailpipe.auth.keys import ALGORITHMS, PrivateKey
from mailpipe.auth.lookup import TxtLookup
from mailpipe.auth.signature_field import (
    ARC_MESSAGE,
    ARC_RESULTS,
    ARC_SEAL,
    SignatureField,
    canonical_without_signature,
)
from mailpipe.errors import ComposeError
from mailpipe.message import Field, Message
from mailpipe.wire.folding import body_of, fold

MAX_SETS = 50
"""LIMIT: sets of a chain (RFC 8617 section 4.2.1)."""
MAX_OCTETS = 1_000_000
"""LIMIT: octets of all ARC fields; each seal covers those of all sets before it."""
_INSTANCE = re.compile(rb"[ \t]*+i[ \t]*+=[ \t]*+([0-9]{1,3})[ \t]*+(?:;|\Z)", re.IGNORECASE)

Status = Literal["none", "pass", "fail"]


@dataclass(frozen=True, slots=True)
class Chain:
    """The state of a message's chain (RFC 8617 section 4.4).

    Attributes:
        status: "none", "pass" or "fail".
        instance: the number of the last set, 0 where there is none.
        domain: whose seal that is.
        reason: why it fails, in one line.
        is_temporary: a key could not be had now: later the chain may pass.
        domains: who sealed, from the first on.
    """

    status: Status
    instance: int = 0
    domain: str = ""
    reason: str = ""
    is_temporary: bool = False
    domains: tuple[str, ...] = ()


@dataclass(slots=True)
class _Set:
    """The places of a set's fields."""

    results: int = -1
    message: int = -1
    seal: int = -1


def instance_of(raw: bytes) -> int:
    """The number of an ARC-Authentication-Results field (RFC 8617 section 4.1.1); 0 where it has none."""
    found = _INSTANCE.match(body_of(raw))
    return int(found[1]) if found else 0


def validate(message: Message, lookup: TxtLookup, *, now: int | None = None) -> Chain:
    """The state of a message's chain (RFC 8617 section 5.2).

    Args:
        message: as received.
        lookup: asked for keys.
        now: seconds since 1970; None believes every time.

    Raises:
        ConfigError: `cryptography` is not there.
    """
    if not any(name in message.header for name in (ARC_SEAL, ARC_MESSAGE, ARC_RESULTS)):
        return Chain("none")
    canonical = Canonical(message)
    places = [place for name in (ARC_SEAL, ARC_MESSAGE, ARC_RESULTS) for place in canonical.places(name)]
    if len(places) > 3 * MAX_SETS or sum(len(canonical.raw(place)) for place in places) > MAX_OCTETS:
        return Chain("fail", reason=f"it has more than {MAX_SETS} sets or is too long")
    seals = [SignatureField.parse(canonical.raw(place), ARC_SEAL) for place in canonical.places(ARC_SEAL)]
    messages = [SignatureField.parse(canonical.raw(place), ARC_MESSAGE) for place in canonical.places(ARC_MESSAGE)]
    last = max((one.instance for one in (*seals, *messages)), default=0)
    sets, problem = _sets(canonical, seals, messages, last)
    by_number = {one.instance: one for one in seals}
    domains = tuple(by_number[number].domain for number in range(1, last + 1) if number in by_number)
    domain = domains[-1] if domains else ""

    def failed(reason: str, *, is_temporary: bool = False) -> Chain:
        return Chain("fail", last, domain, reason, is_temporary, domains)

    if problem:
        return failed(problem)
    newest = next(one for one in messages if one.instance == last)
    found = check(canonical, sets[last].message, newest, lookup, now)
    if found.result != Result.PASS:
        return failed(f"message signature {last}: {found.reason}", is_temporary=found.result == Result.TEMPERROR)
    for number in range(last, 0, -1):
        one = by_number[number]
        if one.algorithm not in ALGORITHMS:
            return failed(f"seal {number}: {one.algorithm} is not believed (RFC 8301)")
        found = check_key(one, sets[number].seal, _sealed(canonical, sets, number, one.raw), lookup)
        if found.result != Result.PASS:
            return failed(f"seal {number}: {found.reason}", is_temporary=found.result == Result.TEMPERROR)
    return Chain("pass", last, domain, domains=domains)


def _sets(
    canonical: Canonical, seals: list[SignatureField], messages: list[SignatureField], last: int
) -> tuple[dict[int, _Set], str]:
    """The sets of a chain, and what is wrong with their structure (RFC 8617 section 5.2, steps 2 and 3)."""
    sets = {number: _Set() for number in range(1, last + 1)}
    for one, place in zip(seals, canonical.places(ARC_SEAL), strict=True):
        if one.problem:
            return sets, f"seal {one.instance or '?'}: {one.problem}"
        if sets[one.instance].seal >= 0:
            return sets, f"seal {one.instance} stands twice"
        sets[one.instance].seal = place
        if one.chain == "fail" and one.instance == last:
            return sets, "the chain had failed before"
        if one.chain != ("none" if one.instance == 1 else "pass"):
            return sets, f"seal {one.instance} says cv={one.chain[:10]}"
    for one, place in zip(messages, canonical.places(ARC_MESSAGE), strict=True):
        if not 1 <= one.instance <= last or (one.problem and one.instance == last):
            return sets, f"message signature {one.instance or '?'}: {one.problem}"
        if sets[one.instance].message >= 0:
            return sets, f"message signature {one.instance} stands twice"
        sets[one.instance].message = place
    for place in canonical.places(ARC_RESULTS):
        number = instance_of(canonical.raw(place))
        if number not in sets:
            return sets, f"results {number or '?'} belong to no set"
        if sets[number].results >= 0:
            return sets, f"results {number} stand twice"
        sets[number].results = place
    for number, one_set in sets.items():
        if min(one_set.results, one_set.message, one_set.seal) < 0:
            return sets, f"set {number} is not complete"
    return sets, "" if sets else "it has no seal"


def _sealed(canonical: Canonical, sets: dict[int, _Set], number: int, raw: bytes) -> bytes:
    """What a seal is a signature of (RFC 8617 section 5.1.1): the sets so far, the seal itself without b=."""
    pieces: list[bytes] = []
    for each in range(1, number + 1):
        one = sets[each]
        pieces += [canonical.field(one.results, "relaxed"), canonical.field(one.message, "relaxed")]
        if each < number:
            pieces.append(canonical.field(one.seal, "relaxed"))
    return b"".join((*pieces, canonical_without_signature(raw, "relaxed")))


def seal(
    message: Message,
    chain: Chain,
    key: PrivateKey,
    domain: str,
    selector: str,
    *,
    results: bytes,
    timestamp: int | None = None,
    fields: Sequence[str] = dkim.FIELDS,
) -> tuple[Field, ...]:
    """The fields of one more set, to stand at the top of the header: seal, signature, results.

    () where none may be added: the chain had failed at an earlier sealer, who said so, or is full (RFC 8617
    sections 5.1.2 and 4.2.1).

    Args:
        message: as it will be sent.
        chain: what `validate` said of it when it came in, before anything was changed.
        key: whose public half stands at SELECTOR._domainkey.DOMAIN.
        domain, selector: for d= and s=.
        results: what was found out about the message, the body of an Authentication-Results field.
        timestamp: now, seconds since 1970; None leaves t= out.
        fields: names of fields to sign where they are there.

    Raises:
        ComposeError: the message has no From, or an argument cannot be said.
    """
    canonical = Canonical(message)
    seals = [SignatureField.parse(canonical.raw(place), ARC_SEAL) for place in canonical.places(ARC_SEAL)]
    if chain.instance >= MAX_SETS or any(one.chain == "fail" for one in seals):
        return ()
    number, line_end = chain.instance + 1, message.header.line_end
    found = Field(fold("ARC-Authentication-Results", b"i=%d; %b" % (number, results), line_end=line_end))
    signature = sign_arc_message(message, key, domain, selector, number, fields=fields, timestamp=timestamp)
    tags = {"i": str(number), "a": key.algorithm, "cv": chain.status, "d": domain, "s": selector}
    if timestamp is not None:
        tags["t"] = str(timestamp)
    unsigned = composed("ARC-Seal", tags, b"")
    pieces: list[bytes] = []
    if chain.status == "pass":
        sets, problem = _sets(canonical, seals, _messages(canonical), chain.instance)
        if problem:
            raise ComposeError(f"the chain was changed after it had been validated: {problem}")
        for one in (sets[each] for each in range(1, number)):
            pieces += [canonical.field(place, "relaxed") for place in (one.results, one.message, one.seal)]
    # a seal of a chain that fails covers its own set alone (RFC 8617 section 5.1.2)
    pieces += [relaxed_field(found.raw), relaxed_field(signature.raw), canonical_without_signature(unsigned, "relaxed")]
    made = composed("ARC-Seal", tags, key.sign(b"".join(pieces))).replace(b"\r\n", line_end)
    return Field(made), signature, found


def _messages(canonical: Canonical) -> list[SignatureField]:
    return [SignatureField.parse(canonical.raw(place), ARC_MESSAGE) for place in canonical.places(ARC_MESSAGE)]
