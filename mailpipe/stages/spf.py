"""The stage `spf`: may the host that a mail came from send mail for the domain in its envelope (RFC 7208)?

    [[stage]]
    use = "spf"
    fail = "reject"                 # accept | tag | reject | quarantine
    softfail = "tag"
    temperror = "defer"             # accept | tag | defer
    trust_received = 1              # archives: the topmost Received field is of a server of ours

Who the client was says the envelope (`mailpipe filter --client-address … --client-helo …`), or, where `trust_received`
allows, a Received field. Where nobody says it, the result is none.

Never here: the evaluation (`mailpipe.auth.spf`); what DMARC makes of it (the stage `dmarc`).
"""

from typing import Literal

from pydantic import Field as OptionField

from mailpipe.auth.spf import SpfResult, check
from mailpipe.pipeline.access import Access
from mailpipe.pipeline.component import Stage
from mailpipe.pipeline.mail import Changed, Mail
from mailpipe.pipeline.notes import AuthResult
from mailpipe.pipeline.services import Services
from mailpipe.pipeline.verdict import Decision, Verdict
from mailpipe.smtp.envelope import Client
from mailpipe.stages.client import client_of
from mailpipe.stages.lookups import LookupOptions, open_lookup

_Action = Literal["accept", "tag", "reject", "quarantine"]
FIELD = "Received-SPF"
_SHORT = 200  # LIMIT: characters of somebody else's words in a reply or a field


class SpfOptions(LookupOptions):
    """What is done about each result, and whose word about the client counts."""

    fail: _Action = "accept"
    """The domain says that this host may not."""
    softfail: _Action = "accept"
    """The domain says that this host probably may not."""
    permerror: _Action = "accept"
    """The domain's record cannot be used."""
    temperror: Literal["accept", "tag", "defer"] = "accept"
    """The name servers gave no answer."""
    helo: bool = False
    """Whether the name that the client gave in HELO is checked too; no more than a second note comes of it. A rule that
    asks for SPF without a domain then holds for either of them."""
    trust_received: int = OptionField(default=0, ge=0, le=100)
    """How many of the topmost Received fields servers of ours wrote; the last of them says who the client was. For
    archives, where no mail server tells it."""
    receiver: str = "unknown"
    """Our own name, as it is put into the field and into explanations."""


class Spf(Stage[SpfOptions]):
    """Checks whether the client may send for the domain of the envelope (SPF), and accepts, tags or refuses."""

    name = "spf"
    Options = SpfOptions
    reads = Access(fields=("Received",), envelope=True)
    touches = Access(fields=(FIELD,), notes=(AuthResult, Changed))

    @classmethod
    def accesses(cls, options: SpfOptions) -> tuple[Access, Access]:
        """The header is read and touched only where the options ask for it."""
        reads = Access(fields=("Received",) if options.trust_received else (), envelope=True)
        tags = "tag" in (options.fail, options.softfail, options.permerror, options.temperror)
        return reads, Access(fields=(FIELD,), notes=(AuthResult, Changed)) if tags else Access(notes=(AuthResult,))

    @classmethod
    def decisions(cls, options: SpfOptions) -> tuple[Decision, ...]:
        """Those that the options name."""
        named = (options.fail, options.softfail, options.permerror, options.temperror)
        return tuple(Decision(one) for one in dict.fromkeys(named) if one not in ("accept", "tag"))

    def open(self, services: Services) -> None:
        """Have the name servers ready.

        Raises:
            ConfigError: dnspython is missing, or a name server is no address.
        """
        self._lookup = open_lookup(self.options, services)
        self._clock = services.clock

    def process(self, mail: Mail) -> Mail | Verdict:
        """Check the reverse-path, and the name in HELO; decide by the former."""
        client = client_of(mail, self.options.trust_received)
        sender = mail.envelope.reverse_path
        if client is None:
            return mail.with_note(AuthResult("spf", "none", reason="it is not known which host the mail came from"))
        self._lookup.begin()
        notes: list[AuthResult] = []
        found = self._checked(client, sender)
        notes.append(_note(found, sender, client))
        if self.options.helo and sender and client.helo:
            notes.append(_note(self._checked(client, f"postmaster@{client.helo}"), "", client))
        return self._decided(mail, found, client, tuple(notes))

    def _checked(self, client: Client, sender: str) -> SpfResult:
        return check(
            client.address, sender, helo=client.helo, lookup=self._lookup, receiver=self.options.receiver,
            timestamp=int(self._clock.now().timestamp()), explains=self.options.fail == "reject",
        )  # fmt: skip

    def _decided(
        self, mail: Mail, found: SpfResult, client: Client, notes: tuple[AuthResult, ...]
    ) -> Mail | Verdict:
        action = getattr(self.options, found.result, "accept")
        reason = _reason(found, client)
        if action == "reject":
            status = "5.7.24" if found.result == "permerror" else "5.7.23"  # RFC 7372 section 3.2
            return Verdict.reject(reason, status=status, notes=notes)
        if action == "quarantine":
            return Verdict.quarantine(reason, notes=notes)
        if action == "defer":
            return Verdict.defer(reason, status="4.7.24", notes=notes)
        if action == "tag":
            message = mail.message
            body = self._field(found, client, mail.envelope.reverse_path)
            header = message.header.with_added(FIELD, body, first=True)
            mail = mail.with_message(message.with_header(header)).with_note(Changed(self.name, f"{FIELD} added"))
        return mail.with_note(*notes)

    def _field(self, found: SpfResult, client: Client, sender: str) -> str:
        """The body of Received-SPF (RFC 7208 section 9.1)."""
        pairs = {
            "receiver": self.options.receiver, "identity": "mailfrom" if sender else "helo",
            "client-ip": client.address, "envelope-from": sender, "helo": client.helo, "mechanism": found.mechanism,
            "problem": found.reason,
        }  # fmt: skip
        return f"{found.result} " + "; ".join(f"{key}={_quoted(value)}" for key, value in pairs.items() if value)


def _note(found: SpfResult, sender: str, client: Client) -> AuthResult:
    looked_at = ("smtp.mailfrom", sender) if sender else ("smtp.helo", client.helo)
    return AuthResult("spf", found.result, found.domain, found.reason, (looked_at,))


def _reason(found: SpfResult, client: Client) -> str:
    if found.result in ("temperror", "permerror"):
        return f"SPF {found.result}: {found.reason}"
    words = f"SPF {found.result}: {client.address} may not send mail for {found.domain}"
    # RFC 7208 section 6.2: it must be plain that these are not our words
    return f"{words}; {found.domain} says: {_clean(found.explanation)}" if found.explanation else words


def _clean(text: str) -> str:
    return "".join(sign if " " <= sign <= "~" else " " for sign in text)[:_SHORT]


def _quoted(text: str) -> str:
    plain = _clean(text)
    if plain and all(sign.isalnum() or sign in ".-_:@+" for sign in plain) and "@" not in plain:
        return plain
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'
