"""The envelope (RFC 5321 section 2.3.1): who sends and who receives, apart from what the header says.

    envelope = Envelope("ann@example.org", (ForwardPath("bob@example.net"),))
    envelope.with_forward_paths("carol@example.net").addresses       # ("carol@example.net",)

Addresses are held without angle brackets; "" as reverse-path is the null one, "<>" (RFC 5321 section 4.5.5).

Never here: header fields. An envelope is never read from or written to a header by this module.
"""

from dataclasses import dataclass, replace

from mailpipe.errors import LocalProtocolError
from mailpipe.frozen import quick_maker
from mailpipe.smtp.extension import parse_moment
from mailpipe.smtp.path import AddressSpec
from mailpipe.smtp.xtext import encode_xtext

Parameters = tuple[tuple[str, str | None], ...]
"""ESMTP parameters that mailpipe has no name for: (keyword in capitals, value or None)."""

LONGEST = 999_999_999
"""LIMIT: seconds that can be said: nine digits, in RFC 2852 section 4 as in RFC 4865 section 4."""


@dataclass(frozen=True, slots=True)
class ForwardPath:
    """One recipient with the parameters of its RCPT command.

    Attributes:
        address: the address-spec, without angle brackets.
        notify: NEVER, or any of SUCCESS, FAILURE, DELAY; () where not given (RFC 3461 section 4.1).
        orcpt: the original recipient, "rfc822;bob@example.net" in xtext; None where not given (section 4.2).
        parameters: any others.
    """

    address: str
    notify: tuple[str, ...] = ()
    orcpt: str | None = None
    parameters: Parameters = ()

    def __str__(self) -> str:
        return f"<{self.address}>"


@dataclass(frozen=True, slots=True)
class Client:
    """Where a mail came from before it came to us, as a server that we trust has told; nothing is read from the header.

    Attributes:
        address: the IP address.
        name: the host's name.
        port: its TCP port.
        protocol: "SMTP" or "ESMTP".
        helo: how it introduced itself.
        ident: the number under which the server that told us has the mail.
    """

    address: str = ""
    name: str = ""
    port: str = ""
    protocol: str = ""
    helo: str = ""
    ident: str = ""

    def __bool__(self) -> bool:
        return any((self.address, self.name, self.port, self.protocol, self.helo, self.ident))


@dataclass(frozen=True, slots=True)
class MailParameters:
    """The parameters of the MAIL command.

    Attributes:
        body: "7BIT", "8BITMIME" or "BINARYMIME"; None where not given (RFC 6152, 3030).
        ret: "FULL" or "HDRS"; None where not given (RFC 3461 section 4.3).
        envid: the envelope identifier in xtext; None where not given (section 4.4).
        smtputf8: an address or the header needs UTF-8 (RFC 6531).
        requiretls: every hop must use TLS (RFC 8689).
        parameters: any others.
        auth: the address-spec of who submitted the mail, "" where that is not known well enough; None where not given
            (RFC 4954 section 5).
        mt_priority: -9 to 9, the higher the more urgent; None where not given (RFC 6710).
        hold_for: seconds for which the next hop is to hold the mail back, 0 where they are over; None where not given
            (RFC 4865).
        hold_until: the moment until which it is, in UTC as RFC 3339 writes it: "2026-12-24T18:00:00Z"; never together
            with `hold_for`.
        by_time: seconds within which it is to be delivered, below zero where they are over; None where not given
            (RFC 2852). Whoever holds the mail takes off the time that it lay with him.
        by_mode: "R", return it when the time is over; "N", tell the sender and go on. "R" asks for time left.
        by_trace: each hop is to report that it passed the mail on.

    Raises:
        LocalProtocolError: a value is out of its range, or an address is none.
    """

    body: str | None = None
    ret: str | None = None
    envid: str | None = None
    smtputf8: bool = False
    requiretls: bool = False
    parameters: Parameters = ()
    auth: str | None = None
    mt_priority: int | None = None
    hold_for: int | None = None
    hold_until: str | None = None
    by_time: int | None = None
    by_mode: str = "R"
    by_trace: bool = False

    def __post_init__(self) -> None:
        if self.auth:
            AddressSpec.parse(self.auth)
        if self.mt_priority is not None and not -9 <= self.mt_priority <= 9:
            raise LocalProtocolError(f"a priority is -9 to 9 (RFC 6710 section 4), not {self.mt_priority}")
        if self.hold_for is not None and not 0 <= self.hold_for <= LONGEST:
            raise LocalProtocolError(f"hold_for is 0 to {LONGEST} seconds (RFC 4865), not {self.hold_for}")
        until = self.hold_until
        if until is not None and (self.hold_for is not None or until[-1:] != "Z" or parse_moment(until) is None):
            words = "hold_until is a moment such as 2026-12-24T18:00:00Z, and never together with hold_for"
            raise LocalProtocolError(f"{words} (RFC 4865), not {until[:80]!a}")
        if self.by_time is not None:
            if not -LONGEST <= self.by_time <= LONGEST or self.by_mode not in ("R", "N"):
                words = f"at most {LONGEST} seconds with mode R or N"
                raise LocalProtocolError(f"{words} (RFC 2852 section 4), not {self.by_time} with {self.by_mode[:80]!a}")
            if self.by_mode == "R" and self.by_time <= 0:
                raise LocalProtocolError("no time is left in mode R: the mail is to be returned (RFC 2852 section 4)")

    @property
    def auth_word(self) -> str | None:
        """The value of AUTH=, None where not given; nobody where the address is not ASCII, which a relay may say."""
        if self.auth is None:
            return None
        return encode_xtext(self.auth) if self.auth and self.auth.isascii() else "<>"

    @property
    def by_word(self) -> str | None:
        """The value of BY=, such as "120;RT"; None where not given."""
        return None if self.by_time is None else f"{self.by_time};{self.by_mode}{'T' if self.by_trace else ''}"


NO_MAIL_PARAMETERS = MailParameters()
"""None; what an envelope has where nobody says otherwise."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """Reverse-path, forward-paths and their parameters.

    Attributes:
        reverse_path: the sender's address-spec, "" for the null reverse-path.
        forward_paths: the recipients, in order.
        parameters: those of the MAIL command.
        client: where it came from before it came to us, None where that is not known.
    """

    reverse_path: str = ""
    forward_paths: tuple[ForwardPath, ...] = ()
    parameters: MailParameters = NO_MAIL_PARAMETERS
    client: Client | None = None

    @classmethod
    def of(cls, reverse_path: str, *addresses: str) -> "Envelope":
        """The envelope of plain addresses without parameters."""
        paths = tuple([_path(address, (), None, ()) for address in addresses])
        return _envelope(reverse_path, paths, NO_MAIL_PARAMETERS, None) if cls is Envelope else cls(reverse_path, paths)

    @property
    def addresses(self) -> tuple[str, ...]:
        """The recipients' address-specs."""
        return tuple(path.address for path in self.forward_paths)

    def with_reverse_path(self, address: str) -> "Envelope":
        """The same envelope from another sender."""
        return replace(self, reverse_path=address)

    def with_forward_paths(self, *paths: "ForwardPath | str") -> "Envelope":
        """The same envelope to other recipients."""
        made = tuple(path if isinstance(path, ForwardPath) else ForwardPath(path) for path in paths)
        return replace(self, forward_paths=made)


_path = quick_maker(ForwardPath)
_envelope = quick_maker(Envelope)
