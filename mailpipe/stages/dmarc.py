"""The stage `dmarc`: does what passed bear the name in From, and what does that domain want done (RFC 7489)?

    [[stage]]
    use = "spf"

    [[stage]]
    use = "dkim-verify"

    [[stage]]
    use = "dmarc"
    on_reject = "reject"            # where the domain asks to reject: accept | tag | reject | quarantine
    on_quarantine = "quarantine"    # where it asks to quarantine: accept | tag | reject | quarantine
    on_temperror = "defer"          # accept | tag | defer

It goes by the notes that `spf` and `dkim-verify` leave, and stands behind them.

Never here: the evaluation (`mailpipe.auth.dmarc`). Reports to the domain are not sent.
"""

from hashlib import blake2b
from typing import Literal

from mailpipe.auth.dmarc import DmarcResult, Identity, check
from mailpipe.auth.domain import ascii_domain, domain_of
from mailpipe.auth.organization import Organization, PublicSuffixes, TreeWalk
from mailpipe.fields import AddressList
from mailpipe.pipeline.access import Access
from mailpipe.pipeline.component import Stage
from mailpipe.pipeline.mail import Changed, Mail
from mailpipe.pipeline.notes import AuthResult
from mailpipe.pipeline.services import Services
from mailpipe.pipeline.verdict import Decision, Verdict
from mailpipe.stages.lookups import LookupOptions, open_lookup

_Action = Literal["accept", "tag", "reject", "quarantine"]
_MAX_AUTHORS = 10  # LIMIT: domains in From that are looked at; each costs questions
_CHOSEN_BY = ("from", "date", "message-id", "subject")  # the same at every attempt of a sender


class DmarcOptions(LookupOptions):
    """What is done where the domain in From asks for something, and how domains are told apart."""

    on_reject: _Action = "reject"
    """Nothing passed for the domain in From, and it asks to reject such mail."""
    on_quarantine: _Action = "quarantine"
    """The same where it asks to quarantine it."""
    on_none: _Action = "accept"
    """The same where it asks for nothing."""
    on_temperror: Literal["accept", "tag", "defer"] = "accept"
    """The name servers gave no answer."""
    on_unusable: _Action = "accept"
    """There is no From with the domain of an address (RFC 7489 section 6.6.1)."""
    organization: Literal["public-suffix", "tree-walk"] = "public-suffix"
    """How the domain of an organization is found: by the list of public suffixes, which the extra "auth" brings along,
    or by DMARC records alone (DMARCbis)."""
    tag_field: str = "X-DMARC-Result"
    """The field that a tag is written to; where a message comes with one, that goes."""


class Dmarc(Stage[DmarcOptions]):
    """Checks whether SPF or DKIM passed for the domain in From (DMARC), and does what that domain asks for."""

    name = "dmarc"
    Options = DmarcOptions
    reads = Access(fields=("From", "Date", "Message-ID", "Subject"), envelope=True, notes=(AuthResult,))
    touches = Access(fields=("*",), notes=(AuthResult, Changed))

    @classmethod
    def accesses(cls, options: DmarcOptions) -> tuple[Access, Access]:
        """The header is touched only where something is tagged."""
        fields = (options.tag_field,) if "tag" in _actions(options) else ()
        return cls.reads, Access(fields=fields, notes=(AuthResult, Changed) if fields else (AuthResult,))

    @classmethod
    def decisions(cls, options: DmarcOptions) -> tuple[Decision, ...]:
        """Those that the options name."""
        return tuple(Decision(one) for one in dict.fromkeys(_actions(options)) if one not in ("accept", "tag"))

    def open(self, services: Services) -> None:
        """Have the name servers and the list of public suffixes ready.

        Raises:
            ConfigError: a package is missing, or a name server is no address.
        """
        self._lookup = open_lookup(self.options, services)
        by_list = self.options.organization == "public-suffix"
        self._organization: Organization = PublicSuffixes() if by_list else TreeWalk()

    def process(self, mail: Mail) -> Mail | Verdict:
        """Check every domain in From; the worst result counts."""
        domains = _authors(mail)
        if not domains:
            found = DmarcResult("permerror", "", reason="no From field has the domain of an address")
            return self._decided(mail, found, self.options.on_unusable)
        self._lookup.begin()
        identities = _identities(mail)
        digest = _digest(mail)
        results = [
            check(domain, identities, self._lookup, self._organization, digest=digest) for domain in domains
        ]  # fmt: skip
        found = max(results, key=_weight)
        options = self.options
        action: str = "accept"
        if found.result == "fail":
            by_disposition = {"reject": options.on_reject, "quarantine": options.on_quarantine}
            action = by_disposition.get(found.disposition, options.on_none)
        elif found.result == "temperror":
            action = options.on_temperror
        return self._decided(mail, found, action)

    def _decided(self, mail: Mail, found: DmarcResult, action: str) -> Mail | Verdict:
        known = {"header.from": found.domain, "policy.dmarc": found.policy}
        properties = tuple((name, value) for name, value in known.items() if value)
        note = AuthResult("dmarc", found.result, found.domain, found.reason, properties)
        words = f"DMARC {found.result}: " + (found.reason or f"neither SPF nor DKIM passed for {found.domain}")
        if action == "reject":
            return Verdict.reject(words, status="5.7.26" if found.domain else "5.7.1", notes=(note,))
        if action == "quarantine":
            return Verdict.quarantine(words, notes=(note,))
        if action == "defer":
            return Verdict.defer(words, status="4.7.24", notes=(note,))
        name = self.options.tag_field
        if action != "tag" and "tag" in _actions(self.options) and name in mail.message.header:
            mail = mail.with_message(mail.message.with_header(mail.message.header.without(name)))
            mail = mail.with_note(Changed(self.name, f"{name} removed, which was not ours"))
        if action == "tag":
            domain = f"domain={found.domain}; " if found.domain else ""
            body = f"{found.result}; {domain}policy={found.policy or 'none'}"
            header = mail.message.header.without(name).with_added(name, body)
            mail = mail.with_message(mail.message.with_header(header)).with_note(Changed(self.name, f"{name} added"))
        return mail.with_note(note)


def _actions(options: DmarcOptions) -> tuple[str, ...]:
    return options.on_reject, options.on_quarantine, options.on_none, options.on_temperror, options.on_unusable


def _authors(mail: Mail) -> list[str]:
    """The domains of every address in every From field: a message with two would choose which one is looked at."""
    domains: dict[str, None] = {}
    for value in mail.message.values_of("from"):
        for mailbox in value.mailboxes if isinstance(value, AddressList) else ():
            domain = ascii_domain(domain_of(mailbox.address))
            if domain is not None:
                domains[domain] = None
                if len(domains) >= _MAX_AUTHORS:
                    return list(domains)
    return list(domains)


def _identities(mail: Mail) -> list[Identity]:
    found = []
    for note in mail.notes_of(AuthResult):
        names = dict(note.properties)
        domain = note.domain
        if note.method == "spf":
            # RFC 7489 section 4.1: HELO counts only where there is no other sender
            if ("smtp.mailfrom" in names) != bool(mail.envelope.reverse_path):
                continue
        elif note.method == "dkim":
            domain = domain or names.get("header.d", "")
        else:
            continue
        found.append(Identity(note.method, note.result, ascii_domain(domain) or ""))
    return found


def _digest(mail: Mail) -> bytes:
    header = mail.message.header
    return blake2b(b"\0".join(header.body_of(name) or b"" for name in _CHOSEN_BY), digest_size=8).digest()


def _weight(found: DmarcResult) -> tuple[int, int]:
    """What a message with several authors is worth: what the strictest of them asks for."""
    by_result = {"fail": 3, "temperror": 2, "permerror": 2, "none": 1, "pass": 0}
    return by_result.get(found.result, 0), ("none", "quarantine", "reject").index(found.disposition)
