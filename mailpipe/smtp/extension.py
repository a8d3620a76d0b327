"""Service extensions (RFC 5321 sections 2.2 and 4.1.1.1): the keywords of an EHLO reply and what they allow.

    extensions = Extensions.parse(reply)
    extensions.pipelining, extensions.size, "STARTTLS" in extensions, extensions.auth

Each property names its RFC; a keyword without property is still in `keywords`.

Never here: what a client makes of an extension; see `negotiation`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from mailpipe.smtp.reply import Reply

KNOWN = {
    "8BITMIME": "RFC 6152, lines of eight-bit octets",
    "ATRN": "RFC 2645, on-demand relay",
    "AUTH": "RFC 4954, authentication",
    "BINARYMIME": "RFC 3030, content without lines",
    "CHUNKING": "RFC 3030, content in counted pieces",
    "DELIVERBY": "RFC 2852, deliver by a moment or report",
    "DSN": "RFC 3461, delivery status notifications",
    "ENHANCEDSTATUSCODES": "RFC 2034, class.subject.detail in replies",
    "ETRN": "RFC 1985, start a remote queue",
    "FUTURERELEASE": "RFC 4865, hold until a moment",
    "LIMITS": "RFC 9422, how much at once",
    "MT-PRIORITY": "RFC 6710, priorities",
    "NO-SOLICITING": "RFC 3865, no solicitations",
    "PIPELINING": "RFC 2920, several commands in flight",
    "REQUIRETLS": "RFC 8689, TLS on every hop",
    "SIZE": "RFC 1870, size declaration",
    "SMTPUTF8": "RFC 6531, UTF-8 in addresses and header",
    "STARTTLS": "RFC 3207, TLS on this connection",
    "XCLIENT": "Postfix, whom the client speaks for",
    "XFORWARD": "Postfix, what the client knows of the origin",
}
"""Keyword → where it is defined and what it is for."""


_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)


def parse_moment(text: str) -> datetime | None:
    """A moment in the form of RFC 3339 section 5.6, None where the text is none.

    >>> parse_moment("2026-12-24T18:00:00Z")
    datetime.datetime(2026, 12, 24, 18, 0, tzinfo=datetime.timezone.utc)
    """
    if not _MOMENT.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text.upper())
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class FutureRelease:
    """How far ahead a message may be held (RFC 4865 section 4).

    Attributes:
        longest: the longest interval of HOLDFOR; None where it was not readable.
        latest: the latest moment of HOLDUNTIL; None likewise.
    """

    longest: timedelta | None
    latest: datetime | None


@dataclass(frozen=True, slots=True)
class Extensions:
    """What one peer offers.

    Attributes:
        domain: the peer's own name from the first line.
        keywords: keyword in capitals → its words, as sent.
    """

    domain: str = ""
    keywords: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def parse(cls, reply: Reply) -> "Extensions":
        """Read a positive EHLO or LHLO reply; what does not look like a keyword is passed over."""
        domain = reply.lines[0].split() if reply.lines else []
        keywords: dict[str, tuple[str, ...]] = {}
        for line in reply.lines[1:]:
            words = line.split()
            if not words:
                continue  # QUIRK: Postfix's smtp-sink ends its list with an empty line
            keyword, equals, value = words[0].upper().partition("=")
            # QUIRK: "AUTH=LOGIN PLAIN" is the form of a draft of 1998, sent beside the right one for old clients
            arguments = ((value,) if equals and value else ()) + tuple(words[1:])
            earlier = keywords.get(keyword, ())
            keywords[keyword] = earlier + tuple(word for word in arguments if word not in earlier)
        return cls(domain[0] if domain else "", keywords)

    def __contains__(self, keyword: object) -> bool:
        return keyword in self.keywords

    @property
    def pipelining(self) -> bool:
        """Several commands may be in flight (RFC 2920)."""
        return "PIPELINING" in self.keywords

    @property
    def size(self) -> int | None:
        """Octets of the largest message; 0 is no fixed maximum, None not offered (RFC 1870)."""
        words = self.keywords.get("SIZE")
        if words is None:
            return None
        return int(words[0]) if words and words[0].isascii() and words[0].isdigit() and len(words[0]) <= 20 else 0

    @property
    def eightbitmime(self) -> bool:
        """Octets above 127 may be sent (RFC 6152)."""
        return "8BITMIME" in self.keywords

    @property
    def smtputf8(self) -> bool:
        """UTF-8 in addresses and header (RFC 6531)."""
        return "SMTPUTF8" in self.keywords

    @property
    def chunking(self) -> bool:
        """BDAT may be used (RFC 3030)."""
        return "CHUNKING" in self.keywords

    @property
    def binarymime(self) -> bool:
        """Content without lines may be sent, by BDAT only (RFC 3030 section 3)."""
        return "BINARYMIME" in self.keywords and self.chunking

    @property
    def dsn(self) -> bool:
        """NOTIFY, ORCPT, RET and ENVID (RFC 3461)."""
        return "DSN" in self.keywords

    @property
    def enhanced_status_codes(self) -> bool:
        """Replies carry enhanced status codes (RFC 2034)."""
        return "ENHANCEDSTATUSCODES" in self.keywords

    @property
    def starttls(self) -> bool:
        """The connection can change to TLS (RFC 3207)."""
        return "STARTTLS" in self.keywords

    @property
    def auth(self) -> tuple[str, ...]:
        """Names of the authentication mechanisms, in capitals (RFC 4954)."""
        return tuple(word.upper() for word in self.keywords.get("AUTH", ()))

    @property
    def requiretls(self) -> bool:
        """The peer passes a message on over TLS only (RFC 8689)."""
        return "REQUIRETLS" in self.keywords

    @property
    def limits(self) -> Mapping[str, int]:
        """MAILMAX, RCPTMAX, RCPTDOMAINMAX where given (RFC 9422)."""
        found = {}
        for word in self.keywords.get("LIMITS", ()):
            name, _, value = word.upper().partition("=")
            if value.isascii() and value.isdigit() and 0 < len(value) <= 6 and int(value) > 0:
                found[name] = int(value)
        return found

    @property
    def mail_max(self) -> int | None:
        """Transactions in one session, None without limit (RFC 9422 section 4.1)."""
        return self.limits.get("MAILMAX")

    @property
    def rcpt_max(self) -> int | None:
        """Recipients in one transaction, None without limit (RFC 9422 section 4.2)."""
        return self.limits.get("RCPTMAX")

    @property
    def rcpt_domain_max(self) -> int | None:
        """Domains among the recipients of one session, None without limit (RFC 9422 section 4.3)."""
        return self.limits.get("RCPTDOMAINMAX")

    @property
    def mt_priority(self) -> bool:
        """Messages may have a priority (RFC 6710)."""
        return "MT-PRIORITY" in self.keywords

    @property
    def priority_profile(self) -> str:
        """The profile of priorities that the peer follows, "" where it names none (RFC 6710 section 3)."""
        return (self.keywords.get("MT-PRIORITY") or ("",))[0].upper()

    @property
    def future_release(self) -> FutureRelease | None:
        """How far ahead a message may be held, None where none may be (RFC 4865)."""
        words = self.keywords.get("FUTURERELEASE")
        if words is None:
            return None
        seconds = words[0] if words else ""
        readable = seconds.isascii() and seconds.isdigit() and len(seconds) <= 9
        longest = timedelta(seconds=int(seconds)) if readable else None
        return FutureRelease(longest, parse_moment(words[1]) if len(words) > 1 else None)

    @property
    def deliver_by(self) -> timedelta | None:
        """The shortest time that may be asked for, zero where the peer names none; None not offered (RFC 2852)."""
        words = self.keywords.get("DELIVERBY")
        if words is None:
            return None
        seconds = words[0].partition(",")[0] if words else ""
        readable = seconds.isascii() and seconds.isdigit() and len(seconds) <= 9
        return timedelta(seconds=int(seconds)) if readable else timedelta()

    @property
    def xclient(self) -> tuple[str, ...]:
        """The attributes that XCLIENT may say, in capitals (Postfix)."""
        return tuple(word.upper() for word in self.keywords.get("XCLIENT", ()))

    @property
    def xforward(self) -> tuple[str, ...]:
        """The attributes that XFORWARD may say, in capitals (Postfix)."""
        return tuple(word.upper() for word in self.keywords.get("XFORWARD", ()))
