"""Authentication-Results (RFC 8601): which of them claim to be ours, and one to write.

    header, count = without_claiming(message.header, ["mx.example.org"])      # none of them may stay (section 5)
    one = result_of("spf", "pass", properties=(("smtp.mailfrom", "a.example"),))
    body = AuthenticationResults("mx.example.org", (one,))
    header.with_added("Authentication-Results", body, first=True)

The grammar is in `mailpipe.fields.authentication`; what is written here keeps it whatever a sender put into a name.

Never here: how a result was come by.
"""

import re
from collections.abc import Iterable

from mailpipe.auth.domain import ascii_domain
from mailpipe.fields.authentication import AuthenticationResult, AuthenticationResults
from mailpipe.message import Field, Header

NAME = "Authentication-Results"
MAX_WORDS = 300
"""LIMIT: characters of one value or reason; a local part or a DNS text of any length is no reason for a long field."""

_KEYWORD = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?")
_UNPRINTABLE = re.compile(r"[^ -~\u00a0-\U0010ffff]+")


def same_server(one: str, other: str) -> bool:
    """Whether two authserv-ids are one: capitals, a last dot and the script of a domain do not matter."""
    return _plain(one) == _plain(other)


def without_claiming(header: Header, servers: Iterable[str] | None) -> tuple[Header, int]:
    """The header without the fields that claim to be of one of these servers, or that do not say whose they are.

    Whoever reads mail behind us takes the former for ours, and may take the latter for it.

    Args:
        header: of the message.
        servers: authserv-ids; None: every field goes.

    Returns:
        the header, the same one where nothing went, and how many fields went.
    """
    own = None if servers is None else {_plain(server) for server in servers}
    key, kept, count = NAME.lower(), list[Field](), 0
    if not header.all(NAME):
        return header, 0
    for field in header.lines:
        if field.key == key and (own is None or _claims(field, own)):
            count += 1
        else:
            kept.append(field)
    return (header.with_fields(kept) if count else header), count


def _claims(field: Field, own: set[str]) -> bool:
    value = field.value
    return not isinstance(value, AuthenticationResults) or not value.server or _plain(value.server) in own


def result_of(
    method: str, result: str, reason: str = "", properties: Iterable[tuple[str, str]] = ()
) -> AuthenticationResult | None:
    """One result as it can be written; None where method or result is no keyword.

    Args:
        method, result: keywords.
        reason: one line.
        properties: ("smtp.mailfrom", "a.example"); one that is not of that form is left out.
    """
    if not _KEYWORD.fullmatch(method) or not _KEYWORD.fullmatch(result):
        return None
    made = []
    for name, value in properties:
        kind, dot, what = name.partition(".")
        text = _clean(value)
        if dot and text and _KEYWORD.fullmatch(kind) and _KEYWORD.fullmatch(what):
            made.append((kind, what, text))
    return AuthenticationResult(method, result, _clean(reason) or None, tuple(made))


def _plain(server: str) -> str:
    # "mx.example/1" was a version once (RFC 5451); a reader may still take it for one
    name = server.partition("/")[0].strip()
    return ascii_domain(name) or name.casefold()


def _clean(text: str) -> str:
    return _UNPRINTABLE.sub(" ", text).strip()[:MAX_WORDS]
