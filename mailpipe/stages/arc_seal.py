"""The stage `arc-seal`: what we found out about the message, for those behind us who see it changed (RFC 8617).

    [[stage]]
    use = "arc-seal"
    server = "lists.example.net"    # our authserv-id
    domain = "example.net"
    selector = "s1"
    key = "s1.pem"                  # or secret = "NAME"

It stands last, and `arc-verify` first, before anything is changed: where that was not run, the chain is validated here.
The results are those of the notes `AuthResult`, and where there are none, those of Authentication-Results fields of the
same server. It needs the packages cryptography and dnspython, the extra `mailpipe[auth]`.

Never here: how a seal is made (`mailpipe.auth.arc`).
"""

from dataclasses import dataclass
from typing import Literal

from mailpipe.auth.arc import Chain, seal, validate
from mailpipe.auth.dkim import FIELDS
from mailpipe.errors import ComposeError
from mailpipe.fields.authentication import AuthenticationResult, AuthenticationResults
from mailpipe.pipeline.access import Access
from mailpipe.pipeline.component import Stage
from mailpipe.pipeline.mail import Changed, Mail
from mailpipe.pipeline.notes import AuthResult
from mailpipe.pipeline.services import Services
from mailpipe.pipeline.verdict import Decision, Verdict
from mailpipe.stages.lookups import LookupOptions, open_lookup
from mailpipe.stages.signing_key import KeyOptions, load_key

MAX_RESULTS = 50
"""LIMIT: results in one field."""


@dataclass(frozen=True, slots=True)
class ArcSealed:
    """A note: the mail was sealed.

    Attributes:
        domain, selector: by whose key.
        instance: the number of the set.
    """

    domain: str
    selector: str
    instance: int


class ArcSealOptions(LookupOptions, KeyOptions):
    """Who seals, by which key."""

    server: str
    """Our authserv-id, which the results begin with."""
    domain: str
    """The domain that seals."""
    selector: str
    """The name of the key below _domainkey in the DNS."""
    fields: tuple[str, ...] = FIELDS
    """The fields that are signed where they are there."""
    on_temperror: Literal["defer", "accept"] = "defer"
    """What becomes of a message whose chain cannot be validated now, since a seal that says so is for ever; accept
    leaves it without one."""


class ArcSeal(Stage[ArcSealOptions]):
    """Adds a set to the chain of ARC: results, signature, seal."""

    name = "arc-seal"
    Options = ArcSealOptions
    reads = Access(fields=("*",), body=True, notes=(AuthResult, Chain))
    touches = Access(
        fields=("ARC-Seal", "ARC-Message-Signature", "ARC-Authentication-Results"), notes=(ArcSealed, Changed)
    )
    decides = (Decision.DEFER,)
    signs = True

    @classmethod
    def decisions(cls, options: ArcSealOptions) -> tuple[Decision, ...]:
        """A verdict only where the options ask for one."""
        return (Decision.DEFER,) if options.on_temperror == "defer" else ()

    def open(self, services: Services) -> None:
        """Read the key; nobody is asked yet."""
        self._services = services
        self._key = load_key(self.options, services)
        self._lookup = open_lookup(self.options, services)

    def process(self, mail: Mail) -> Mail | Verdict:
        """Seal it."""
        options, message = self.options, mail.message
        now = int(self._services.clock.now().timestamp())
        if any((note.domain, note.selector) == (options.domain, options.selector) for note in mail.notes_of(ArcSealed)):
            self._services.log.info("it was sealed by %s already", options.domain)
            return mail
        if "from" not in message.header:
            self._services.log.info("a mail without From cannot be sealed")
            return mail
        chain = next(mail.notes_of(Chain), None)
        if chain is None:
            self._lookup.begin()
            chain = validate(message, self._lookup, now=now)
        if chain.is_temporary:
            words = f"the ARC chain cannot be validated now: {chain.reason}"
            if options.on_temperror == "defer":
                return Verdict.defer(words, status="4.7.5")
            self._services.log.info("%s; it stays without a seal", words)
            return mail
        try:
            fields = seal(
                message, chain, self._key, options.domain, options.selector,
                results=self._results(mail, chain), timestamp=now, fields=options.fields,
            )  # fmt: skip
        except ComposeError as error:
            # such as a chain that a stage before took away; a seal on what is left would not hold
            self._services.log.warning("no seal: %s", error)
            return mail
        if not fields:
            return mail
        header = message.header.with_fields([*fields, *message.header.lines])
        note = ArcSealed(options.domain, options.selector, chain.instance + 1)
        what = f"sealed by {options.domain} as instance {note.instance}, the chain before: {chain.status}"
        return mail.with_message(message.with_header(header)).with_note(note, Changed(self.name, what))

    def _results(self, mail: Mail, chain: Chain) -> bytes:
        """What was found out, as the body of a field."""
        notes = list(mail.notes_of(AuthResult))
        found: list[AuthenticationResult] = []
        if notes:
            found = [_result(note) for note in notes]
        else:
            for field in mail.message.header.all("Authentication-Results"):
                value = field.value
                if isinstance(value, AuthenticationResults) and value.server.lower() == self.options.server.lower():
                    found += value.results
        if not any(each.method == "arc" for each in found):
            found.append(AuthenticationResult("arc", chain.status))
        return AuthenticationResults(self.options.server, tuple(found[:MAX_RESULTS])).render()


def _result(note: AuthResult) -> AuthenticationResult:
    properties: list[tuple[str, str, str]] = []
    for name, value in note.properties:
        kind, dot, what = name.partition(".")
        if dot:
            properties.append((kind, what, _line(value)))
    return AuthenticationResult(note.method, note.result, _line(note.reason) or None, tuple(properties))


def _line(text: str) -> str:
    return " ".join("".join(each if each.isprintable() else " " for each in text[:300]).split())
