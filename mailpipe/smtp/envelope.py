"""The envelope (RFC 5321 section 2.3.1): who sends and who receives, apart from what the header says.

    envelope = Envelope("ann@example.org", (ForwardPath("bob@example.net"),))
    envelope.with_forward_paths("carol@example.net").addresses       # ("carol@example.net",)

Addresses are held without angle brackets; "" as reverse-path is the null one, "<>" (RFC 5321 section 4.5.5).

Never here: header fields. An envelope is never read from or written to a header by this module.
"""

from dataclasses import dataclass, field, replace

Parameters = tuple[tuple[str, str | None], ...]
"""ESMTP parameters that mailpipe has no name for: (keyword in capitals, value or None)."""


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
class MailParameters:
    """The parameters of the MAIL command.

    Attributes:
        body: "7BIT", "8BITMIME" or "BINARYMIME"; None where not given (RFC 6152, 3030).
        ret: "FULL" or "HDRS"; None where not given (RFC 3461 section 4.3).
        envid: the envelope identifier in xtext; None where not given (section 4.4).
        smtputf8: an address or the header needs UTF-8 (RFC 6531).
        requiretls: every hop must use TLS (RFC 8689).
        parameters: any others.
    """

    body: str | None = None
    ret: str | None = None
    envid: str | None = None
    smtputf8: bool = False
    requiretls: bool = False
    parameters: Parameters = ()


@dataclass(frozen=True, slots=True)
class Envelope:
    """Reverse-path, forward-paths and their parameters.

    Attributes:
        reverse_path: the sender's address-spec, "" for the null reverse-path.
        forward_paths: the recipients, in order.
        parameters: those of the MAIL command.
    """

    reverse_path: str = ""
    forward_paths: tuple[ForwardPath, ...] = ()
    parameters: MailParameters = field(default_factory=MailParameters)

    @classmethod
    def of(cls, reverse_path: str, *addresses: str) -> "Envelope":
        """The envelope of plain addresses without parameters."""
        return cls(reverse_path, tuple(ForwardPath(address) for address in addresses))

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
