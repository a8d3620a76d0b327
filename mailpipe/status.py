"""Enhanced mail system status codes (RFC 3463, RFC 5248): class "." subject "." detail.

    EnhancedStatus.parse("5.7.1").meaning      # "Delivery not authorized, message refused"
    EnhancedStatus(4, 4, 1).reply_code         # 451

Never here: the text of a reply, or which reply to give; a status is three numbers and what they mean.
"""

import re
from dataclasses import dataclass

_FORM = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})")

_SUBJECTS = {
    0: "Other or undefined status",
    1: "Address status",
    2: "Mailbox status",
    3: "Mail system status",
    4: "Network and routing status",
    5: "Mail delivery protocol status",
    6: "Message content or media status",
    7: "Security or policy status",
}

# RFC 3463 section 3, RFC 5248, RFC 6531 section 3.7, RFC 7505 section 4
_MEANINGS = {
    (0, 0): "Other undefined status",
    (1, 0): "Other address status",
    (1, 1): "Bad destination mailbox address",
    (1, 2): "Bad destination system address",
    (1, 3): "Bad destination mailbox address syntax",
    (1, 4): "Destination mailbox address ambiguous",
    (1, 5): "Destination address valid",
    (1, 6): "Destination mailbox has moved, no forwarding address",
    (1, 7): "Bad sender's mailbox address syntax",
    (1, 8): "Bad sender's system address",
    (1, 10): "Recipient address has null MX",
    (2, 0): "Other or undefined mailbox status",
    (2, 1): "Mailbox disabled, not accepting messages",
    (2, 2): "Mailbox full",
    (2, 3): "Message length exceeds administrative limit",
    (2, 4): "Mailing list expansion problem",
    (3, 0): "Other or undefined mail system status",
    (3, 1): "Mail system full",
    (3, 2): "System not accepting network messages",
    (3, 3): "System not capable of selected features",
    (3, 4): "Message too big for system",
    (3, 5): "System incorrectly configured",
    (4, 0): "Other or undefined network or routing status",
    (4, 1): "No answer from host",
    (4, 2): "Bad connection",
    (4, 3): "Directory server failure",
    (4, 4): "Unable to route",
    (4, 5): "Mail system congestion",
    (4, 6): "Routing loop detected",
    (4, 7): "Delivery time expired",
    (5, 0): "Other or undefined protocol status",
    (5, 1): "Invalid command",
    (5, 2): "Syntax error",
    (5, 3): "Too many recipients",
    (5, 4): "Invalid command arguments",
    (5, 5): "Wrong protocol version",
    (5, 6): "Authentication exchange line is too long",
    (6, 0): "Other or undefined media error",
    (6, 1): "Media not supported",
    (6, 2): "Conversion required and prohibited",
    (6, 3): "Conversion required but not supported",
    (6, 4): "Conversion with loss performed",
    (6, 5): "Conversion failed",
    (6, 6): "Message content not available",
    (6, 7): "Non-ASCII addresses not permitted for that sender or recipient",
    (6, 9): "UTF-8 header message cannot be transferred to one or more recipients",
    (7, 0): "Other or undefined security status",
    (7, 1): "Delivery not authorized, message refused",
    (7, 2): "Mailing list expansion prohibited",
    (7, 3): "Security conversion required but not possible",
    (7, 4): "Security features not supported",
    (7, 5): "Cryptographic failure",
    (7, 6): "Cryptographic algorithm not supported",
    (7, 7): "Message integrity failure",
    (7, 8): "Authentication credentials invalid",
    (7, 9): "Authentication mechanism is too weak",
    (7, 10): "Encryption needed",
    (7, 20): "No passing DKIM signature found",
    (7, 23): "SPF validation failed",
    (7, 26): "Multiple authentication checks failed",
    (7, 27): "Sender address has null MX",
    (7, 30): "REQUIRETLS support required",
}

# The reply that RFC 5248 section 2.4 registers with the code, where it is not the plain one of its class.
_REPLY_CODES = {
    (1, 1): {4: 450, 5: 550},
    (1, 3): {5: 553},
    (1, 7): {5: 553},
    (2, 1): {4: 450, 5: 550},
    (2, 2): {4: 452, 5: 552},
    (2, 3): {5: 552},
    (3, 1): {4: 452},
    (3, 4): {4: 452, 5: 552},
    (4, 1): {4: 451},
    (5, 1): {5: 500},
    (5, 2): {5: 500},
    (5, 3): {4: 452},
    (5, 4): {5: 501},
    (7, 1): {4: 450, 5: 550},
    (7, 8): {4: 454, 5: 535},
}
_DEFAULT_REPLY_CODES = {2: 250, 4: 451, 5: 550}


@dataclass(frozen=True, slots=True, order=True)
class EnhancedStatus:
    """One enhanced status code (RFC 3463 section 2).

    Attributes:
        status_class: 2 success, 4 persistent transient failure, 5 permanent failure.
        subject: what the status is about, 0 to 999.
        detail: what happened, 0 to 999.

    >>> str(EnhancedStatus.parse("5.1.1")), EnhancedStatus.parse("5.1.1").reply_code
    ('5.1.1', 550)
    """

    status_class: int
    subject: int
    detail: int

    def __post_init__(self) -> None:
        if self.status_class not in (2, 4, 5) or not 0 <= self.subject <= 999 or not 0 <= self.detail <= 999:
            raise ValueError(f"{self.status_class}.{self.subject}.{self.detail} is no status code (RFC 3463 section 2)")

    @classmethod
    def parse(cls, text: str) -> "EnhancedStatus":
        """Read "class.subject.detail".

        Raises:
            ValueError: the text is of another form.
        """
        if not (match := _FORM.fullmatch(text.strip())):
            raise ValueError(f"{text!r} is no enhanced status code such as 5.7.1 (RFC 3463 section 2)")
        return cls(int(match[1]), int(match[2]), int(match[3]))

    def __str__(self) -> str:
        return f"{self.status_class}.{self.subject}.{self.detail}"

    @property
    def is_success(self) -> bool:
        """Class 2."""
        return self.status_class == 2

    @property
    def is_transient(self) -> bool:
        """Class 4: the same message may be accepted later."""
        return self.status_class == 4

    @property
    def is_permanent(self) -> bool:
        """Class 5: the same message will be refused again."""
        return self.status_class == 5

    @property
    def meaning(self) -> str:
        """The sentence of RFC 3463 section 3, or that of the subject where the detail is unknown."""
        known = _MEANINGS.get((self.subject, self.detail))
        return known or _SUBJECTS.get(self.subject, _SUBJECTS[0])

    @property
    def reply_code(self) -> int:
        """The reply code that goes with the status where nobody chose another (RFC 5248 section 2.4)."""
        chosen = _REPLY_CODES.get((self.subject, self.detail), {})
        return chosen.get(self.status_class, _DEFAULT_REPLY_CODES[self.status_class])
