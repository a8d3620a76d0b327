"""What servers say about a message's origin: Authentication-Results (RFC 8601), and lists of tags (RFC 6376 3.2).

    found = authentication.parse(b" mx.example; spf=pass smtp.mailfrom=a.example; dkim=none")
    found.server, [(each.method, each.result) for each in found.results]
    authentication.parse_tags(b" v=1; a=rsa-sha256; d=a.example").tags["d"]      # "a.example"

Never here: the checks themselves, or whether the server that wrote the field is to be believed.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from mailpipe.defect import Defect
from mailpipe.fields.value import FieldValue, one_line, read_text
from mailpipe.wire.lexer import COMMENT, QUOTED, SPECIAL, Token, tokens, unescape

_SHORT = 65_536  # LIMIT: what lies beyond is not read
_PVALUE = re.compile(r"[A-Za-z0-9!#$%&'*+./^_`{|}~@-]++")
_TIES = frozenset("@/.")
_BLANK = re.compile(r"[ \t\r\n]++")


@dataclass(frozen=True, slots=True)
class AuthenticationResult:
    """One result (RFC 8601 section 2.2).

    Attributes:
        method: such as "spf", "dkim", "dmarc", in lower case.
        result: such as "pass", "fail", "none", in lower case.
        reason: the server's words, None where there are none.
        properties: ("smtp", "mailfrom") → value: what was looked at.
        comments: what stood in parentheses.
    """

    method: str
    result: str
    reason: str | None = None
    properties: tuple[tuple[str, str, str], ...] = ()
    comments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AuthenticationResults(FieldValue):
    """Authentication-Results and ARC-Authentication-Results.

    Attributes:
        server: the authserv-id, "" where there is none.
        results: in order; () for "none".
        instance: the instance number of an ARC set (RFC 8617 section 4.1.1), None elsewhere.
        defects: what is wrong with the body.
    """

    server: str
    results: tuple[AuthenticationResult, ...] = ()
    instance: int | None = None
    defects: tuple[Defect, ...] = field(default=(), compare=False)

    def result(self, method: str) -> str | None:
        """The first result of a method, None where it was not checked."""
        wanted = method.lower()
        return next((each.result for each in self.results if each.method == wanted), None)

    def render(self) -> bytes:
        """The octets of a composed field's body, not folded."""
        pieces = [] if self.instance is None else [f"i={self.instance}"]
        pieces.append(self.server)
        for each in self.results:
            words = [f"{each.method}={each.result}", *(f"({comment})" for comment in each.comments)]
            words += [] if each.reason is None else [f'reason={_pvalue(each.reason)}']
            words += [f"{kind}.{what}={_pvalue(value)}" for kind, what, value in each.properties]
            pieces.append(" ".join(words))
        return "; ".join(pieces if self.results else [*pieces, "none"]).encode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class TagList(FieldValue):
    """"tag=value; tag=value" (RFC 6376 section 3.2): DKIM-Signature, ARC-Seal, ARC-Message-Signature.

    Attributes:
        tags: name → value with folds removed, in order; a name that occurs again is left out.
        defects: what is wrong with the body.
    """

    tags: Mapping[str, str] = field(default_factory=dict, hash=False)
    defects: tuple[Defect, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        return "; ".join(f"{name}={value}" for name, value in self.tags.items())

    def render(self) -> bytes:
        """The octets of a composed field's body, not folded."""
        return str(self).encode("utf-8", "replace")


def _pvalue(text: str) -> str:
    if _PVALUE.fullmatch(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def parse_tags(body: bytes) -> TagList:
    """The tags of a body. Never raises; linear in its length."""
    defects: list[Defect] = []
    text = read_text(body[:_SHORT], defects)
    tags: dict[str, str] = {}
    for piece in text.split(";"):
        name, equals, value = piece.partition("=")
        name = name.strip()
        if not equals or not name:
            if piece.strip():
                defects.append(Defect("invalid-field", 0, one_line(piece.strip())))
        elif name in tags:
            defects.append(Defect("duplicate-parameter", 0, one_line(name)))
        else:
            tags[name] = _BLANK.sub(" ", value.strip())
    return TagList(tags, tuple(defects[:100]))


def parse(body: bytes) -> AuthenticationResults:
    """The results of a body. Never raises; linear in its length.

    >>> parse(b"mx.example 1; dkim=pass (good) header.d=a.example").results[0].properties
    (('header', 'd', 'a.example'),)
    """
    defects: list[Defect] = []
    text = read_text(body[:_SHORT], defects)
    broken: list[tuple[str, int]] = []
    clauses: list[list[Token]] = [[]]
    for token in tokens(text, broken):
        if token.kind is SPECIAL and token.text == ";":
            clauses.append([])
        else:
            clauses[-1].append(token)
    defects += [Defect(code, position) for code, position in broken]
    instance = None
    first = _words(clauses[0])
    if len(clauses) > 1 and first[:1] and (arc := re.fullmatch(r"i=(\d{1,3})", "".join(first))):
        # ARC puts its instance first (RFC 8617 section 4.1.1).
        instance = int(arc[1])
        clauses = clauses[1:]
        first = _words(clauses[0])
    server = first[0] if first else ""
    is_result = "=" in server
    if not server or is_result:
        defects.append(Defect("invalid-field", 0, "the server's name is missing"))
    results: list[AuthenticationResult] = []
    for clause in clauses if is_result else clauses[1:]:
        found = _result(clause)
        if found is not None:
            results.append(found)
        elif (words := _words(clause)) and words[0].lower() != "none":
            defects.append(Defect("invalid-field", 0, one_line(" ".join(words))))
    return AuthenticationResults("" if is_result else server, tuple(results), instance, tuple(defects[:100]))


def _words(clause: list[Token]) -> list[str]:
    """Words with what adheres to them: "a", "=", "b" become "a=b", blanks round the sign or not."""
    words: list[str] = []
    end, has_tie = -1, False
    for token in clause:
        if token.kind is COMMENT:
            continue
        text = unescape(token.text) if token.kind is QUOTED else token.text
        if words and (token.start == end or has_tie or text[:1] == "=" or text in _TIES):
            words[-1] += text
        else:
            words.append(text)
        # The "=" behind base64 ties nothing.
        end, has_tie = token.end, text in _TIES or (text[-1:] == "=" and words[-1].count("=") == 1)
    return words


def _result(clause: list[Token]) -> AuthenticationResult | None:
    words = _words(clause)
    if not words or "=" not in words[0]:
        return None
    method, _, result = words[0].partition("=")
    reason: str | None = None
    properties: list[tuple[str, str, str]] = []
    for word in words[1:]:
        name, equals, value = word.partition("=")
        if not equals:
            continue
        if name.lower() == "reason":
            reason = value
        else:
            kind, _, what = name.partition(".")
            properties.append((kind.lower(), what.lower(), value))
    comments = tuple(unescape(token.text) for token in clause if token.kind is COMMENT)
    return AuthenticationResult(method.split("/")[0].lower(), result.lower(), reason, tuple(properties), comments)
