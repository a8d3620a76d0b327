"""DKIM-Signature, ARC-Message-Signature and ARC-Seal as values (RFC 6376 section 3.5, RFC 8617 section 4.1).

    one = SignatureField.parse(field.raw, DKIM)
    one.problem                     # "" where it can be verified; else what is wrong, in one line
    one.domain, one.selector, one.names, one.length

Never here: keys and lookups, so that anybody may look at signatures without them.
"""

import re
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from mailpipe.auth.canonical import CRLF, Canonical, Form, relaxed_field, simple_field, with_crlf
from mailpipe.fields.authentication import parse_tags
from mailpipe.fields.value import one_line
from mailpipe.wire.folding import body_of

Kind = Literal["dkim-signature", "arc-message-signature", "arc-seal"]
DKIM: Final = "dkim-signature"
ARC_MESSAGE: Final = "arc-message-signature"
ARC_SEAL: Final = "arc-seal"
"""The fields, by their names in lower case."""
ARC_RESULTS: Final = "arc-authentication-results"
"""The third field of an ARC set, which is no signature."""

MAX_OCTETS = 65_536
"""LIMIT: a signature of more octets is not read."""
_DIGITS = re.compile(r"[0-9]{1,18}", re.ASCII)
_LABELS = re.compile(r"[^\x00-\x20\x7f;:=@\"/]{1,255}")
_KNOWN = {"rsa-sha256": "sha256", "ed25519-sha256": "sha256", "rsa-sha1": "sha1"}


@dataclass(frozen=True, slots=True)
class SignatureField:
    """What the tags of a signature say.

    Attributes:
        kind: which field it is.
        raw: the field as it stands.
        problem: what is wrong with it, "" for nothing.
        is_syntax: whether that is the syntax ("neutral" in RFC 8601), not a rule ("permerror").
        tags: every tag by name.
        algorithm: a=, such as "rsa-sha256".
        domain, selector: d= and s=; whose key it is.
        header_form, body_form: the halves of c=.
        names: h=, in order, as written.
        length: l=, octets of the body that are covered; None for all.
        body_digest: bh=.
        signature: b=.
        timestamp, expires: t= and x=, seconds since 1970.
        identity: i= of DKIM, the domain behind "@" where there is none.
        instance: i= of ARC, 0 in DKIM.
        chain: cv= of a seal.
    """

    kind: Kind
    raw: bytes = field(repr=False)
    problem: str = ""
    is_syntax: bool = False
    tags: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)
    algorithm: str = ""
    domain: str = ""
    selector: str = ""
    header_form: Form = "simple"
    body_form: Form = "simple"
    names: tuple[str, ...] = ()
    length: int | None = None
    body_digest: bytes = b""
    signature: bytes = b""
    timestamp: int | None = None
    expires: int | None = None
    identity: str = ""
    instance: int = 0
    chain: str = ""

    @classmethod
    def parse(cls, raw: bytes, kind: Kind) -> "SignatureField":
        """Read a field; never raises, what is wrong is its `problem`.

        Args:
            raw: the field with its name.
            kind: which it is.
        """
        if len(raw) > MAX_OCTETS:
            return cls(kind, raw, f"the field has more than {MAX_OCTETS} octets", True)
        listed = parse_tags(body_of(raw))
        return _Reader(kind, raw, listed.tags, [defect.code for defect in listed.defects]).value()

    @property
    def hash_name(self) -> str:
        """The digest of the algorithm, as hashlib calls it; "" for an algorithm that is not known."""
        return _KNOWN.get(self.algorithm, "")

    def body_fits(self, canonical: Canonical) -> bool:
        """Whether the body is the one that was signed; True for a seal, which covers none."""
        if self.kind == ARC_SEAL:
            return True
        if not self.hash_name:
            return False
        return canonical.body_digest(self.body_form, self.hash_name, self.length) == self.body_digest

    def signed_header(self, canonical: Canonical, place: int) -> bytes:
        """The octets that b= is a signature of (RFC 6376 section 3.7): the named fields, and this one without b=.

        Args:
            canonical: the message.
            place: where this field stands in it, -1 where it does not yet.
        """
        own = canonical_without_signature(self.raw, self.header_form)
        return canonical.header(self.names, self.header_form, but=place) + own

    def __str__(self) -> str:
        word = {DKIM: "DKIM", ARC_MESSAGE: "ARC message signature", ARC_SEAL: "ARC seal"}[self.kind]
        words = [word, str(self.instance) if self.instance else "", self.domain]
        return " ".join(each for each in (*words, f"selector {self.selector}" if self.selector else "") if each)


def canonical_without_signature(raw: bytes, form: Form) -> bytes:
    """A signature field as it is signed: the value of b= deleted, without the line end (RFC 6376 section 3.7)."""
    name, colon, body = simple_field(raw).removesuffix(CRLF).partition(b":")
    pieces = body.split(b";")
    for place, piece in enumerate(pieces):
        tag, equals, _ = piece.partition(b"=")
        if equals and tag.strip(b" \t\r\n") == b"b":
            pieces[place] = tag + equals
            break
    stripped = name + colon + b";".join(pieces)
    return stripped if form == "simple" else relaxed_field(stripped).removesuffix(CRLF)


def relaxed_own(raw: bytes) -> bytes:
    """What a signature field is known by, however it is folded."""
    return b"".join(relaxed_field(with_crlf(raw)).split())


class _Reader:
    """Turns tags into a value and keeps the first problem."""

    def __init__(self, kind: Kind, raw: bytes, tags: Mapping[str, str], defects: list[str]) -> None:
        self.kind, self.raw, self.tags = kind, raw, tags
        self.problem, self.is_syntax = "", False
        if "duplicate-parameter" in defects:
            self.wrong("a tag stands twice")
        elif defects and not tags:
            self.wrong("it is no list of tags")

    def wrong(self, problem: str, *, is_syntax: bool = True) -> None:
        if not self.problem:
            self.problem, self.is_syntax = one_line(problem, 200), is_syntax

    def value(self) -> SignatureField:
        tags = self.tags
        required = ("a", "b", "bh", "d", "h", "s") if self.kind != ARC_SEAL else ("a", "b", "cv", "d", "s")
        if missing := [name for name in required if not tags.get(name)]:
            self.wrong(f"the tag {missing[0]}= is missing")
        algorithm = self.compact("a").lower()
        if not self.problem and algorithm not in _KNOWN:
            self.wrong(f"the algorithm {algorithm[:40]} is not known", is_syntax=False)
        domain, selector = self.labels("d"), self.labels("s")
        header_form, body_form = self.forms()
        names = tuple(name.strip() for name in tags.get("h", "").split(":"))
        instance, identity = 0, ""
        if self.kind == DKIM:
            if tags.get("v", "").strip() != "1":
                self.wrong("the version is not 1")
            identity = self.identity(domain)
        else:
            instance = self.number("i") or 0
            if not 1 <= instance <= 50:
                self.wrong("the instance is not from 1 to 50")
        if self.kind == ARC_SEAL:
            names = ()
            if "h" in tags:
                self.wrong("a seal names no fields", is_syntax=False)
            if tags.get("cv", "").strip().lower() not in ("none", "pass", "fail"):
                self.wrong("cv= is none of none, pass and fail")
        elif "from" not in (name.lower() for name in names):
            self.wrong("From is not signed", is_syntax=False)
        timestamp, expires = self.number("t"), self.number("x")
        if timestamp is not None and expires is not None and expires <= timestamp:
            self.wrong("it expires before it was made")
        return SignatureField(
            self.kind, self.raw, tags=tags, algorithm=algorithm, domain=domain, selector=selector,
            header_form=header_form, body_form=body_form, names=names, length=self.number("l"),
            body_digest=self.base64("bh"), signature=self.base64("b"), timestamp=timestamp, expires=expires,
            identity=identity, instance=instance, chain=tags.get("cv", "").strip().lower(),
            problem=self.problem, is_syntax=self.is_syntax,
        )  # fmt: skip

    def compact(self, name: str) -> str:
        return "".join(self.tags.get(name, "").split())

    def labels(self, name: str) -> str:
        value = self.compact(name).rstrip(".")
        if value and not _LABELS.fullmatch(value):
            self.wrong(f"{name}= is no name")
            return ""
        return value

    def forms(self) -> tuple[Form, Form]:
        if self.kind == ARC_SEAL:
            return "relaxed", "relaxed"  # RFC 8617 section 4.1.3
        header, _, body = (self.compact("c").lower() or "simple/simple").partition("/")
        forms: list[Form] = []
        for each in (header, body or "simple"):
            if each not in ("simple", "relaxed"):
                self.wrong(f"the canonicalization {each[:40]!r} is not known")
            forms.append("relaxed" if each == "relaxed" else "simple")
        return forms[0], forms[1]

    def identity(self, domain: str) -> str:
        value = self.compact("i") or f"@{domain}"
        own = value.rpartition("@")[2].lower().rstrip(".")
        if "@" not in value or not f".{own}".endswith(f".{domain.lower()}"):
            self.wrong("i= is not below d=", is_syntax=False)
        if (method := self.compact("q").lower()) and "dns/txt" not in method.split(":"):
            self.wrong("the key is not to be had from the DNS", is_syntax=False)
        return value

    def number(self, name: str) -> int | None:
        value = self.tags.get(name)
        if value is None:
            return None
        if not _DIGITS.fullmatch(value.strip()):
            self.wrong(f"{name}= is no number")
            return None
        return int(value)

    def base64(self, name: str) -> bytes:
        try:
            return b64decode(self.compact(name), validate=True)
        except ValueError:
            self.wrong(f"{name}= is not in base64")
            return b""
