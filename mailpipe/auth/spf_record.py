"""The SPF record (RFC 7208 sections 4.5 to 7): its text to directives, modifiers and macros.

    record = parse_record("v=spf1 a:%{d2} ip4:192.0.2.0/24 -all")
    record.problem                  # "" where every term keeps the grammar
    [(each.qualifier, each.mechanism) for each in record.directives]

Never here: questions to the DNS, and what a record means for a client; see `spf`.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

QUALIFIERS = {"+": "pass", "-": "fail", "~": "softfail", "?": "neutral"}
_WITH_DOMAIN = ("include", "exists")
_WITH_PREFIX = ("a", "mx")
_EVERYWHERE = "slodiphv"
_EXPLAINING = _EVERYWHERE + "crt"

_TERM = re.compile(r"([-+~?]?)([A-Za-z][A-Za-z0-9_.-]*+)(.*)", re.DOTALL)
_MACRO = re.compile(r"%(?:\{([A-Za-z])([0-9]{0,9})(r?)([.+,/_=-]*+)\}|([%_-]))", re.IGNORECASE)
_LITERAL = re.compile(r"[!-$&-~]++")
_EXPLANATION_LITERAL = re.compile(r"[ !-$&-~]++")
_PLAIN_MACRO = {"%": "%", "_": " ", "-": "%20"}
_TOP_LABEL = re.compile(r"(?![0-9]+\Z)[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_PREFIXES = re.compile(r"(?:/(0|[1-9][0-9]?))?(?://(0|[1-9][0-9]{0,2}))?\Z")
_ONE_PREFIX = re.compile(r"(?:/(0|[1-9][0-9]{0,2}))?\Z")
_VERSION = re.compile(rb"v=spf1(?= |\Z)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Macro:
    """One macro (RFC 7208 section 7.1).

    Attributes:
        letter: in lower case.
        count: how many labels are kept, from the right; 0 for all.
        is_reversed: their order is turned round.
        delimiters: what splits the value; "" for dots.
        is_escaped: what is not unreserved is percent-encoded (an upper-case letter).
    """

    letter: str
    count: int = 0
    is_reversed: bool = False
    delimiters: str = ""
    is_escaped: bool = False


MacroString = tuple[str | Macro, ...]
"""Literal text and macros, in order."""


@dataclass(frozen=True, slots=True)
class Directive:
    """A mechanism with its qualifier.

    Attributes:
        text: as it stands in the record.
        mechanism: in lower case.
        result: what a match comes to.
        target: the domain-spec; None for the domain itself.
        network: of ip4 and ip6.
        prefix_4, prefix_6: how many bits of an address count, for a and mx.
    """

    text: str
    mechanism: str
    result: str
    target: MacroString | None = None
    network: IPv4Network | IPv6Network | None = None
    prefix_4: int = 32
    prefix_6: int = 128


@dataclass(frozen=True, slots=True)
class Record:
    """An SPF record.

    Attributes:
        directives: in order.
        redirect: the domain-spec of "redirect=", None where there is none.
        explanation: the domain-spec of "exp=".
        problem: what is wrong with its grammar, "" where nothing is; then the rest is of no use.
    """

    directives: tuple[Directive, ...] = ()
    redirect: MacroString | None = None
    explanation: MacroString | None = None
    problem: str = ""


class _Broken(ValueError):
    """Kept inside: the first error of the grammar."""


def is_spf(record: bytes) -> bool:
    """Whether a TXT record is one of SPF (RFC 7208 section 4.5)."""
    return _VERSION.match(record) is not None


def parse_record(octets: bytes) -> Record:
    """Parse a record that `is_spf`. Never raises; linear in its length."""
    try:
        return _parsed(octets[len("v=spf1") :].decode("ascii"))
    except UnicodeDecodeError:
        return Record(problem="it has octets outside ASCII")
    except _Broken as broken:
        return Record(problem=str(broken))


def parse_explanation(octets: bytes) -> MacroString | None:
    """The macros of an explanation string (RFC 7208 section 6.2); None where it breaks the grammar."""
    try:
        return _macros(octets.decode("ascii"), _EXPLAINING, _EXPLANATION_LITERAL)
    except (UnicodeDecodeError, _Broken):
        return None


def _parsed(text: str) -> Record:
    directives: list[Directive] = []
    modifiers: dict[str, MacroString] = {}
    for term in text.split(" "):
        if not term:
            continue
        found = _TERM.match(term)
        if found is None:
            raise _Broken(f"{_shown(term)} is no term")
        qualifier, name, rest = found[1], found[2].lower(), found[3]
        if rest.startswith("="):
            if qualifier:
                raise _Broken(f"{_shown(term)}: a modifier has no qualifier")
            value = rest[1:]
            if name not in ("redirect", "exp"):
                _macros(value, _EVERYWHERE)
                continue
            if name in modifiers:
                raise _Broken(f"{name}= stands twice")
            modifiers[name] = _domain(value, term)
        else:
            directives.append(_directive(term, QUALIFIERS[qualifier or "+"], name, rest))
    return Record(tuple(directives), modifiers.get("redirect"), modifiers.get("exp"))


def _directive(term: str, result: str, name: str, rest: str) -> Directive:
    if name == "all":
        if rest:
            raise _Broken(f"{_shown(term)}: all stands alone")
        return Directive(term, name, result)
    if name in ("ip4", "ip6"):
        return Directive(term, name, result, network=_network(term, name, rest))
    if name in _WITH_DOMAIN or name == "ptr":
        if not rest and name == "ptr":
            return Directive(term, name, result)
        if not rest.startswith(":"):
            raise _Broken(f"{_shown(term)}: a domain is missing")
        return Directive(term, name, result, _domain(rest[1:], term))
    if name in _WITH_PREFIX:
        found = _PREFIXES.search(rest)
        assert found is not None  # it may be empty
        prefix_4, prefix_6 = int(found[1] or 32), int(found[2] or 128)
        if prefix_4 > 32 or prefix_6 > 128:
            raise _Broken(f"{_shown(term)}: a prefix is too long")
        rest = rest[: found.start()]
        if rest and not rest.startswith(":"):
            raise _Broken(f"{_shown(term)} is no mechanism")
        target = _domain(rest[1:], term) if rest else None
        return Directive(term, name, result, target, None, prefix_4, prefix_6)
    raise _Broken(f"{_shown(term)}: there is no mechanism {name}")


def _network(term: str, name: str, rest: str) -> IPv4Network | IPv6Network:
    if not rest.startswith(":"):
        raise _Broken(f"{_shown(term)}: an address is missing")
    found = _ONE_PREFIX.search(rest)
    assert found is not None  # it may be empty
    address, prefix = rest[1 : found.start()], found[1]
    bits = 32 if name == "ip4" else 128
    if "/" in address or "%" in address or (prefix is not None and int(prefix) > bits):
        raise _Broken(f"{_shown(term)}: the prefix is none")
    try:
        if name == "ip4":
            return IPv4Network((address, int(prefix or 32)), strict=False)
        return IPv6Network((address, int(prefix or 128)), strict=False)
    except ValueError as error:
        raise _Broken(f"{_shown(term)}: the address is none") from error


def _domain(text: str, term: str) -> MacroString:
    """A domain-spec: it ends in a top label or in a macro."""
    macros = _macros(text, _EVERYWHERE)
    _, dot, top = text.removesuffix(".").rpartition(".")
    if not text.endswith(("}", "%%", "%_", "%-")) and not (dot and _TOP_LABEL.fullmatch(top)):
        raise _Broken(f"{_shown(term)}: the domain is none")
    return macros


def _macros(text: str, letters: str, literal: re.Pattern[str] = _LITERAL) -> MacroString:
    made: list[str | Macro] = []
    at = 0
    while at < len(text):
        if found := literal.match(text, at):
            made.append(found[0])
        elif found := _MACRO.match(text, at):
            letter, count, turned, delimiters, plain = found.groups()
            if plain:
                made.append(_PLAIN_MACRO[plain])
            else:
                if letter.lower() not in letters or (count and not int(count)):
                    raise _Broken(f"{_shown(found[0])} is no macro here")
                made.append(Macro(letter.lower(), int(count or 0), bool(turned), delimiters, letter.isupper()))
        else:
            raise _Broken(f"{_shown(text[at : at + 20])} is no macro string")
        at = found.end()
    return tuple(made)


def _shown(term: str) -> str:
    return repr(term if len(term) <= 60 else term[:60] + "…")
