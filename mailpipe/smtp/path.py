r"""Paths and address-specs of an envelope (RFC 5321 sections 4.1.2 and 4.1.3, RFC 6531 section 3.3).

    AddressSpec.parse("ann@example.org").domain               # "example.org"
    path_octets("zoë@bücher.example", smtputf8=True)          # b"<zo\xc3\xab@b\xc3\xbccher.example>"
    parse_path(b"<@relay.example:bob@example.net>")           # "bob@example.net", the source route dropped

Strict in both directions: what a command line could be broken with never gets into one.

Never here: display names, groups and comments; those belong to header fields.

QUIRK: angle brackets are refused even inside a quoted string, where RFC 5321 allows them: too many servers look for
the first ">". An unquoted local part with dots in odd places ("a..b", "a.") is taken and written as a quoted string.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from mailpipe.errors import LocalProtocolError
from mailpipe.status import EnhancedStatus

# Controls (C0, DEL, C1), line and paragraph separators, lone surrogates: nothing that could end or bend a command.
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f<>\u2028\u2029\ud800-\udfff]")
# RFC 2047 words in an address are decoded by some receivers after they have checked it.
_ENCODED_WORD = re.compile(r"=\?[^?]*+\?[^?]*+\?[^?]*+\?=")
# What is not allowed, for a range of all of Unicode takes 5 ms to compile; what is: atext (RFC 5322) and UTF-8.
_ATEXT = r'[^\x00- "(),.:;<>@\[\\\]\x7f-\x9f]'
_LOCAL = re.compile(rf"(?>(?:{_ATEXT}|\.)+)")
_DOT_STRING = re.compile(rf"{_ATEXT}++(?>(?:\.{_ATEXT}++)*)")
_QUOTED = re.compile(r'"(?>(?:[^"\\]|\\.)*)"')
# QUIRK: the underscore is no letter of RFC 5321, but such hosts exist and receive mail.
_LABEL = re.compile(r"[^\x00-/:-@\[-^`{-\x9f](?:[^\x00-,./:-@\[-^`{-\x9f]*+)")
_GENERAL_LITERAL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9\-]*+):[\x21-\x5a\x5e-\x7e]++")

MAX_DOMAIN = 255
"""Octets of a domain (RFC 5321 section 4.5.3.1.2)."""
MAX_ADDRESS = 900
"""LIMIT: octets of an address; RFC 5321 section 4.5.3.1.3 says 256, but rewritten senders are longer in practice."""


def _refusal(what: str, address: str, status: EnhancedStatus) -> LocalProtocolError:
    error = LocalProtocolError(f"{what} in address {address[:200]!a}")
    error.status = status
    return error


_SYNTAX = EnhancedStatus(5, 1, 3)


@dataclass(frozen=True, slots=True)
class AddressSpec:
    """One address of an envelope (Mailbox of RFC 5321 section 4.1.2).

    Attributes:
        local_part: as written, quotes included.
        domain: a domain, or an address literal with its brackets; "" for the bare "postmaster".

    >>> str(AddressSpec.parse('"ann smith"@example.org'))
    '"ann smith"@example.org'
    >>> AddressSpec.parse("a..b@example.org").render()
    b'"a..b"@example.org'
    """

    local_part: str
    domain: str

    @classmethod
    def parse(cls, address: str) -> "AddressSpec":
        """Read an address-spec without angle brackets.

        Raises:
            LocalProtocolError: it is none, or holds what could smuggle a command: a control character, an angle
                bracket, an encoded word. Its status is 5.1.3.
        """
        return _parse(address)

    @property
    def is_literal(self) -> bool:
        """Whether the domain is an address literal such as [192.0.2.1]."""
        return self.domain.startswith("[")

    @property
    def needs_smtputf8(self) -> bool:
        """Whether only a peer with SMTPUTF8 can take it: a domain alone has an ASCII form, a local part has none."""
        return not self.local_part.isascii()

    @property
    def ascii_domain(self) -> str:
        """The domain in A-labels (RFC 5891).

        Raises:
            LocalProtocolError: the domain has no such form.
        """
        return self.domain if self.domain.isascii() else _a_labels(self.domain)

    def render(self, *, smtputf8: bool = False) -> bytes:
        """The octets, without angle brackets.

        Args:
            smtputf8: the command says SMTPUTF8; without it the domain is written in A-labels.

        Raises:
            LocalProtocolError: the local part is not ASCII and `smtputf8` is false (status 5.6.7).
        """
        local = self.local_part
        if local[0] != '"' and not _DOT_STRING.fullmatch(local):
            local = f'"{local}"'
        if smtputf8:
            return (f"{local}@{self.domain}" if self.domain else local).encode()
        if self.needs_smtputf8:
            raise _refusal("a local part that needs SMTPUTF8", str(self), EnhancedStatus(5, 6, 7))
        return (f"{local}@{self.ascii_domain}" if self.domain else local).encode("ascii")

    def __str__(self) -> str:
        return f"{self.local_part}@{self.domain}" if self.domain else self.local_part


@lru_cache(4096)
def _parse(address: str) -> AddressSpec:
    if (bad := _FORBIDDEN.search(address)) is not None:
        what = "an angle bracket" if bad[0] in "<>" else "a control character or a broken one"
        raise _refusal(what, address, _SYNTAX)
    if _ENCODED_WORD.search(address):
        raise _refusal("an encoded word", address, _SYNTAX)
    if len(address.encode()) > MAX_ADDRESS:
        raise _refusal(f"more than {MAX_ADDRESS} octets", address, _SYNTAX)
    if address.startswith('"'):
        quoted = _QUOTED.match(address)
        if quoted is None:
            raise _refusal("a quoted string without end", address, _SYNTAX)
        local, rest = quoted[0], address[quoted.end() :]
    else:
        local, at, rest = address.partition("@")
        rest = at + rest
        if not _LOCAL.fullmatch(local):
            what = "a local part that would need quotes" if local else "an empty local part"
            raise _refusal(what, address, _SYNTAX)
    if not rest and local.lower() == "postmaster":
        return AddressSpec(local, "")
    if not rest.startswith("@"):
        raise _refusal("no domain", address, _SYNTAX)
    domain = rest[1:]
    if not (_is_literal(domain) if domain.startswith("[") else _is_domain(domain)):
        raise _refusal("no valid domain", address, _SYNTAX)
    return AddressSpec(local, domain)


def _is_domain(domain: str) -> bool:
    labels = domain.split(".")
    fits = len(domain) <= MAX_DOMAIN and all(len(label) <= 63 for label in labels)
    return fits and all(_LABEL.fullmatch(label) and not label.endswith("-") for label in labels)


def _is_literal(domain: str) -> bool:
    if not domain.endswith("]"):
        return False
    inner = domain[1:-1]
    try:
        if inner[:5].lower() == "ipv6:":
            return bool(IPv6Address(inner[5:]))
        if ":" not in inner:
            return bool(IPv4Address(inner))
    except AddressValueError:
        return False
    return _GENERAL_LITERAL.fullmatch(inner) is not None


@lru_cache(4096)
def _a_labels(domain: str) -> str:
    import idna  # slow to import, rarely needed: most domains are ASCII

    status = EnhancedStatus(5, 1, 2)
    try:
        encoded = idna.encode(domain, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError) as error:
        raise _refusal(f"a domain without ASCII form ({error})", domain, status) from error
    if not _is_domain(encoded):  # mapping can bring forth characters that no domain may hold
        raise _refusal("a domain without ASCII form", domain, status)
    return encoded


def ascii_host(name: str) -> str:
    """A host name in A-labels, as a resolver and a certificate want it; literals and ASCII names pass unchanged.

    Raises:
        LocalProtocolError: the name has no such form.
    """
    return name if name.isascii() else _a_labels(name)


@lru_cache(4096)
def path_octets(address: str, smtputf8: bool = False) -> bytes:
    r"""A path as it stands in MAIL and RCPT, brackets included; "" is the null reverse-path.

    Raises:
        LocalProtocolError: see `AddressSpec.parse` and `AddressSpec.render`.

    >>> path_octets(""), path_octets("bob@bücher.example")
    (b'<>', b'<bob@xn--bcher-kva.example>')
    """
    return b"<" + AddressSpec.parse(address).render(smtputf8=smtputf8) + b">" if address else b"<>"


def parse_path(octets: bytes) -> str:
    """Read a path in angle brackets and give the address-spec; a source route is dropped (RFC 5321 appendix C).

    Raises:
        LocalProtocolError: it is no path.
    """
    text = octets.decode("utf-8", "surrogateescape")
    if not (text.startswith("<") and text.endswith(">")):
        raise _refusal("no angle brackets", text, _SYNTAX)
    inner = text[1:-1]
    if inner.startswith("@"):
        inner = inner.partition(":")[2]
        if not inner:
            raise _refusal("a source route without a mailbox", text, _SYNTAX)
    return str(AddressSpec.parse(inner)) if inner else ""
