"""Notes that several rooms know: what checks found out about a mail.

Never here: notes of a single stage, which stand in its file.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AuthResult:
    """A note: one result of a check of who sent the mail.

    Attributes:
        method: "dkim", "spf", "dmarc", "arc".
        result: "pass", "fail", "none", "softfail", … as RFC 8601 has them.
        domain: whose domain was checked.
        reason: the check's words.
        properties: ("smtp.mailfrom", "example.org"), what was looked at.
    """

    method: str
    result: str
    domain: str = ""
    reason: str = ""
    properties: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class SpamScore:
    """A note: how much like spam a mail looks to a scanner.

    Attributes:
        engine: which scanner, "rspamd".
        score: the sum; the higher, the more.
        required: from where on it is spam.
        action: what the scanner would do, in its words.
        symbols: what it found, with the score of each.
    """

    engine: str
    score: float
    required: float
    action: str = ""
    symbols: tuple[tuple[str, float], ...] = ()
