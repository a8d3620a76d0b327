"""DKIM (RFC 6376, RFC 8301, RFC 8463): sign a message, verify the signatures that it has.

    field = sign(message, key, "example.org", "s1", timestamp=now)
    signed = message.with_header(message.header.with_fields([field, *message.header.lines]))
    for each in verify(message, lookup, now=now):
        print(each.result, each.domain, each.reason)

Never here: clocks, the network, and what is to become of a message whose signature fails.
"""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from mailpipe.auth import keys
from mailpipe.auth.canonical import Canonical, Form
from mailpipe.auth.keys import ALGORITHMS, KeyProblem, PrivateKey
from mailpipe.auth.lookup import TxtLookup
from mailpipe.auth.signature_field import ARC_MESSAGE, ARC_SEAL, DKIM, Kind, SignatureField
from mailpipe.errors import ComposeError
from mailpipe.fields.value import one_line
from mailpipe.message import Field, Message

FIELDS = (
    "From", "Sender", "Reply-To", "Subject", "Date", "Message-ID", "To", "Cc", "In-Reply-To", "References",
    "MIME-Version", "Content-Type", "Content-Transfer-Encoding", "Content-ID", "Content-Description",
    "Resent-From", "Resent-Sender", "Resent-To", "Resent-Cc", "Resent-Date", "Resent-Message-ID",
    "List-Id", "List-Help", "List-Unsubscribe", "List-Unsubscribe-Post", "List-Subscribe", "List-Post",
    "List-Owner", "List-Archive", "Autocrypt",
)  # fmt: skip
"""What is signed by default where it is there (RFC 6376 section 5.4.1)."""
OVERSIGN = ("From", "To", "Cc", "Subject", "Date", "Reply-To", "Content-Type")
"""What may not be added later, by default: it is named once more than it stands (RFC 6376 section 8.15)."""
MAX_SIGNATURES = 20
"""LIMIT: signatures of a message that are verified."""
MAX_SAME = 50
"""LIMIT: fields of one name that are signed, the lowest; thousands of them would make a signature that nobody reads."""
SKEW = 300
"""Seconds by which the clock of a signer may be ahead."""
_WIDTH = 76


class Result(StrEnum):
    """How a check ended (RFC 8601 section 2.7.1)."""

    PASS = "pass"  # noqa: S105 - a word, not a secret
    FAIL = "fail"
    POLICY = "policy"
    NEUTRAL = "neutral"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


@dataclass(frozen=True, slots=True)
class Verification:
    """How one signature ended.

    Attributes:
        result: the word.
        domain, selector: whose signature it is; "" where that cannot be read.
        reason: one line for a person, "" for a pass.
        algorithm: such as "rsa-sha256".
        identity: who signed within the domain (i=).
        signature: the first octets of b= in base64, which tell signatures apart (RFC 6008).
        length: octets of the body that are covered, None for all.
        is_testing: the domain only tries: the mail is to be treated as if it had no signature.
        place: of the field among the lines of the header.
    """

    result: Result
    domain: str
    selector: str
    reason: str = ""
    algorithm: str = ""
    identity: str = ""
    signature: str = ""
    length: int | None = None
    is_testing: bool = False
    place: int = -1


def verify(
    message: Message, lookup: TxtLookup, *, now: int | None = None, limit: int = MAX_SIGNATURES
) -> tuple[Verification, ...]:
    """Verify every DKIM-Signature of a message; () where it has none.

    Args:
        message: as received; lines count as ended by CRLF.
        lookup: asked for keys.
        now: seconds since 1970, by which signatures expire; None believes every time.
        limit: signatures that are verified, from the top; the others are "policy".

    Raises:
        ConfigError: `cryptography` is not there.
    """
    if "dkim-signature" not in message.header:
        return ()
    canonical = Canonical(message)
    found = []
    for number, place in enumerate(canonical.places(DKIM)):
        one = SignatureField.parse(canonical.raw(place), DKIM)
        if number >= limit:
            found.append(_said(one, place, Result.POLICY, f"only {limit} signatures are verified"))
        else:
            found.append(check(canonical, place, one, lookup, now))
    return tuple(found)


def check(
    canonical: Canonical, place: int, one: SignatureField, lookup: TxtLookup, now: int | None
) -> Verification:
    """Verify one signature; a seal of ARC has another input, see `arc`.

    Args:
        canonical: the message.
        place: where the field stands.
        one: what it says.
        lookup: asked for the key.
        now: seconds since 1970.

    Raises:
        ConfigError: `cryptography` is not there.
    """
    if one.problem:
        return _said(one, place, Result.NEUTRAL if one.is_syntax else Result.PERMERROR, one.problem)
    if one.algorithm not in ALGORITHMS:
        return _said(one, place, Result.POLICY, f"{one.algorithm} is not believed (RFC 8301)")
    if now is not None and one.expires is not None and one.expires < now:
        return _said(one, place, Result.POLICY, "the signature has expired")
    if now is not None and one.timestamp is not None and one.timestamp > now + SKEW:
        return _said(one, place, Result.POLICY, "the signature was made in the future")
    # the body first: where it does not fit, nobody needs the key
    if not one.body_fits(canonical):
        if one.length is not None and one.length > len(canonical.body(one.body_form)):
            return _said(one, place, Result.PERMERROR, "l= is larger than the body")
        return _said(one, place, Result.FAIL, "the body has changed")
    return check_key(one, place, one.signed_header(canonical, place), lookup)


def check_key(one: SignatureField, place: int, signed: bytes, lookup: TxtLookup) -> Verification:
    """Whether b= is a signature of octets by the key of d= and s=.

    Raises:
        ConfigError: `cryptography` is not there.
    """
    try:
        record = keys.find(lookup, one.domain, one.selector)
        if record.is_strict and one.kind == DKIM:
            own = one.identity.rpartition("@")[2].lower().rstrip(".")
            if own != one.domain.lower():
                raise KeyProblem("permerror", "the key is not for domains below its own")
        fits = record.verify(one.algorithm, one.signature, signed)
    except KeyProblem as problem:
        return _said(one, place, Result(problem.result), problem.reason)
    if not fits:
        return _said(one, place, Result.FAIL, "the header or the signature has changed", is_testing=record.is_testing)
    return _said(one, place, Result.PASS, "", is_testing=record.is_testing)


def _said(
    one: SignatureField, place: int, result: Result, reason: str, *, is_testing: bool = False
) -> Verification:
    first = b64encode(one.signature[:9]).decode()[:8]
    # names and texts of the DNS are somebody else's words
    return Verification(
        result, one.domain, one.selector, one_line(reason, 300), one_line(one.algorithm), one_line(one.identity, 300),
        first, one.length, is_testing, place,
    )


def sign(
    message: Message,
    key: PrivateKey,
    domain: str,
    selector: str,
    *,
    fields: Sequence[str] = FIELDS,
    oversign: Sequence[str] = OVERSIGN,
    header_form: Form = "relaxed",
    body_form: Form = "relaxed",
    timestamp: int | None = None,
    lifetime: int | None = None,
    identity: str = "",
    length: int | None = None,
) -> Field:
    """The DKIM-Signature of a message, to stand at the top of its header.

    Args:
        message: as it will be sent; what a peer could not take (long lines, a bare CR) is to be encoded before.
        key: whose public half stands at SELECTOR._domainkey.DOMAIN.
        domain, selector: for d= and s=.
        fields: names of fields to sign where they are there, every one of a name; From always is.
        oversign: names of fields that nobody may add later.
        header_form, body_form: the canonicalization, for c=.
        timestamp: now, seconds since 1970; None leaves t= out.
        lifetime: seconds for which the signature is valid, counted from the timestamp; None for ever.
        identity: i=, at the domain or below it.
        length: octets of the canonical body to sign; None for all, which is what to use: what is added behind them
            looks signed to a reader (RFC 6376 section 8.2).

    Raises:
        ComposeError: the message has no From, the length is beyond the body, or an argument cannot be said.
    """
    canonical = Canonical(message)
    if not canonical.places("from"):
        raise ComposeError("a message without From cannot be signed (RFC 6376 section 5.4)")
    tags = {"v": "1", "a": key.algorithm, "c": f"{header_form}/{body_form}", "d": domain, "s": selector}
    if identity:
        tags["i"] = identity
    _add_times(tags, timestamp, lifetime)
    if length is not None:
        tags["l"] = str(length)
    names = _names(canonical, fields, oversign)
    return _signed(canonical, key, "DKIM-Signature", DKIM, tags, names, message.header.line_end)


def _add_times(tags: dict[str, str], timestamp: int | None, lifetime: int | None) -> None:
    if timestamp is not None:
        tags["t"] = str(timestamp)
        if lifetime is not None:
            tags["x"] = str(timestamp + max(lifetime, 1))


def _names(canonical: Canonical, fields: Sequence[str], oversign: Sequence[str]) -> list[str]:
    """The names for h=: each as often as it stands within limits, and once more where nobody may add one."""
    more = {name.lower() for name in oversign}
    names: dict[str, str] = {name.lower(): name for name in ("From", *fields, *oversign)}
    names.pop(DKIM, None)  # never the one that is made now
    listed: list[str] = []
    for key, name in names.items():
        listed += [name] * min(len(canonical.places(key)) + (key in more), MAX_SAME)
    return listed


def sign_arc_message(
    message: Message, key: PrivateKey, domain: str, selector: str, instance: int, *,
    fields: Sequence[str], timestamp: int | None,
) -> Field:
    """The ARC-Message-Signature of a message (RFC 8617 section 4.1.2); see `arc.seal`.

    Raises:
        ComposeError: as for `sign`.
    """  # fmt: skip
    canonical = Canonical(message)
    if not canonical.places("from"):
        raise ComposeError("a message without From cannot be signed (RFC 8617 section 4.1.2)")
    tags = {"i": str(instance), "a": key.algorithm, "c": "relaxed/relaxed", "d": domain, "s": selector}
    _add_times(tags, timestamp, None)
    own = {ARC_SEAL, ARC_MESSAGE, "arc-authentication-results", "authentication-results"}
    names = [name for name in _names(canonical, fields, ()) if name.lower() not in own]
    names += ["DKIM-Signature"] * min(len(canonical.places(DKIM)), MAX_SAME)
    return _signed(canonical, key, "ARC-Message-Signature", ARC_MESSAGE, tags, names, message.header.line_end)


def _signed(
    canonical: Canonical, key: PrivateKey, name: str, kind: Kind, tags: dict[str, str], names: list[str],
    line_end: bytes,
) -> Field:  # fmt: skip
    """A signature with a body and fields."""
    length = int(tags["l"]) if "l" in tags else None
    form: Form = "relaxed" if tags["c"].endswith("/relaxed") else "simple"
    digest = canonical.body_digest(form, "sha256", length)
    if digest is None:
        raise ComposeError(f"the body has less than {length} octets to sign")
    tags |= {"h": ":".join(names), "bh": b64encode(digest).decode()}
    unsigned = composed(name, tags, b"")
    one = SignatureField.parse(unsigned + b"A", kind)  # "A": without any b= it would be no signature
    if one.problem and one.problem != "b= is not in base64":
        raise ComposeError(f"{name} cannot be made: {one.problem}")
    if (one.domain, one.selector, list(one.names)) != (tags["d"], tags["s"], names):
        raise ComposeError(f"{name} cannot be made: a domain, selector or field name is none")
    signature = key.sign(one.signed_header(canonical, -1))
    return Field(composed(name, tags, signature).replace(b"\r\n", line_end))


def composed(name: str, tags: dict[str, str], signature: bytes) -> bytes:
    """A signature field, folded, with b= on lines of its own at its end; without a line end where b= is empty."""
    lines, line = [], f"{name}:"
    for tag, value in tags.items():
        word = f" {tag}={value};"
        if tag == "h":
            lines.append(line)
            line = ""
            for place, one in enumerate(value.split(":")):
                piece = f" h={one}" if not place else f":{one}"
                if len(line) + len(piece) >= _WIDTH:
                    lines.append(line + ":" * bool(place))
                    piece, line = f"  {piece.lstrip(' :')}", ""
                line += piece
            line += ";"
        elif len(line) + len(word) > _WIDTH:
            lines.append(line)
            line = word
        else:
            line += word
    lines += [line, " b="]
    if signature:
        text = b64encode(signature).decode()
        lines[-1] += text[:_WIDTH - 3]
        lines += [f" {text[at : at + _WIDTH - 1]}" for at in range(_WIDTH - 3, len(text), _WIDTH - 1)]
        lines.append("")
    try:
        return "\r\n".join(lines).encode("utf-8")
    except UnicodeEncodeError as error:
        raise ComposeError(f"{name} cannot be made: it holds half a character") from error
