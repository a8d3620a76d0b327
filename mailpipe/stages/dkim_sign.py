"""The stage `dkim-sign`: the domain of the author answers for the message (RFC 6376).

    [[stage]]
    use = "dkim-sign"
    selector = "s1"                 # the public key stands at s1._domainkey.DOMAIN
    key = "s1.pem"                  # or secret = "NAME"

    [stage.keys."example.net"]      # another key for mail from there and below
    selector = "n1"
    key = "n1.pem"

It stands last: whatever changes the message behind it breaks the signature. Where the next server may need another
transfer encoding, `re-encode` stands before it. A message that has a valid signature by the same key is not signed
again. It needs the package cryptography, the extra `mailpipe[auth]`.

Never here: how a signature is made (`mailpipe.auth.dkim`).
"""

import re
from dataclasses import dataclass
from typing import Literal

from pydantic import Field as OptionField
from pydantic import model_validator

from mailpipe.auth.canonical import Canonical, Form
from mailpipe.auth.dkim import FIELDS, OVERSIGN, Result, check, sign
from mailpipe.auth.keys import PrivateKey
from mailpipe.auth.signature_field import DKIM, SignatureField
from mailpipe.errors import ComposeError
from mailpipe.message import Message
from mailpipe.pipeline.access import Access
from mailpipe.pipeline.component import Stage
from mailpipe.pipeline.mail import Changed, Mail
from mailpipe.pipeline.services import Services
from mailpipe.pipeline.verdict import Decision, Verdict
from mailpipe.stages.signing_key import KeyOptions, load_key
from mailpipe.units import Duration

_DOMAIN = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63}){0,126}")
_NAME = re.compile(r"[!-9<-~]{1,200}")


@dataclass(frozen=True, slots=True)
class DkimSigned:
    """A note: the mail was signed.

    Attributes:
        domain, selector: by whose key.
    """

    domain: str
    selector: str


class DomainKey(KeyOptions):
    """The key of one domain."""

    selector: str
    """The name of the key below _domainkey in the DNS."""
    domain: str = ""
    """The domain that signs; by default the one that the table names."""


class DkimSignOptions(KeyOptions):
    """Whose key signs what."""

    domain: str = ""
    """The domain that signs; by default the author's."""
    selector: str = ""
    """The name of the key below _domainkey in the DNS."""
    keys: dict[str, DomainKey] = OptionField(default_factory=dict)
    """Keys by the domain in From; each serves the domains below it, too."""
    on_unknown: Literal["accept", "reject", "quarantine"] = "accept"
    """What becomes of mail that there is no key for, or that has no author; accept leaves it unsigned."""
    fields: tuple[str, ...] = FIELDS
    """The fields that are signed where they are there; From always is."""
    oversign: tuple[str, ...] = OVERSIGN
    """The fields that nobody may add later without breaking the signature."""
    canonicalization: Literal["relaxed/relaxed", "relaxed/simple", "simple/relaxed", "simple/simple"] = (
        "relaxed/relaxed"
    )
    """What may change on the way without harm: white space (relaxed) or nothing; of the header, of the body."""
    expire: Duration | None = None
    """How long the signature is valid; by default for ever."""

    @model_validator(mode="after")
    def _has_keys(self) -> "DkimSignOptions":
        if self.has_key != bool(self.selector):
            raise ValueError('a key needs its selector, and a selector its key: key = "FILE" or secret = "NAME"')
        if not self.has_key and not self.keys:
            raise ValueError('give selector = "…" with key = "FILE" or secret = "NAME", or a table keys')
        if missing := [domain for domain, one in self.keys.items() if not one.has_key]:
            raise ValueError(f'keys.{missing[0]}: give key = "FILE" or secret = "NAME"')
        if wrong := [name for name in (*self.fields, *self.oversign) if not _NAME.fullmatch(name)]:
            raise ValueError(f"{wrong[0]!r} is no field name")
        return self


class DkimSign(Stage[DkimSignOptions]):
    """Signs with DKIM, by the key of the author's domain."""

    name = "dkim-sign"
    Options = DkimSignOptions
    reads = Access(fields=("*",), body=True)
    touches = Access(fields=("DKIM-Signature",), notes=(DkimSigned, Changed))
    decides = (Decision.REJECT, Decision.QUARANTINE)
    signs = True

    @classmethod
    def decisions(cls, options: DkimSignOptions) -> tuple[Decision, ...]:
        """A verdict only where the options ask for one."""
        return () if options.on_unknown == "accept" else (Decision(options.on_unknown),)

    def open(self, services: Services) -> None:
        """Read the keys."""
        options = self.options
        self._services = services
        self._default = load_key(options, services) if options.has_key else None
        self._keys = {
            domain.lower().rstrip("."): (one.domain or domain, one.selector, load_key(one, services))
            for domain, one in options.keys.items()
        }

    def process(self, mail: Mail) -> Mail | Verdict:
        """Sign it."""
        message = mail.message
        author = _ascii(message.from_.mailboxes[0].domain) if message.from_.mailboxes else ""
        found = self._key_for(author) if "from" in message.header else None
        if found is None:
            return self._unknown(mail, author)
        domain, selector, key = found
        if DkimSigned(domain, selector) in mail.notes or _is_signed(message, domain, selector, key):
            self._services.log.info("it has a signature of %s by %s already", domain, selector)
            return mail
        options = self.options
        header_form, _, body_form = options.canonicalization.partition("/")
        try:
            field = sign(
                message, key, domain, selector, fields=options.fields, oversign=options.oversign,
                header_form=_form(header_form), body_form=_form(body_form),
                timestamp=int(self._services.clock.now().timestamp()),
                lifetime=None if options.expire is None else int(options.expire),
            )  # fmt: skip
        except ComposeError as error:
            return self._unsigned(mail, str(error))
        header = message.header.with_fields([field, *message.header.lines])
        signed = mail.with_message(message.with_header(header))
        what = f"signed by {domain} with the key {selector}"
        return signed.with_note(DkimSigned(domain, selector), Changed(self.name, what))

    def _key_for(self, author: str) -> tuple[str, str, PrivateKey] | None:
        """Domain, selector and key for an author's domain; that of the nearest domain above where it has none."""
        above = author
        while above:
            if (found := self._keys.get(above)) is not None:
                return found
            above = above.partition(".")[2]
        domain = self.options.domain or author
        return (domain, self.options.selector, self._default) if self._default is not None and domain else None

    def _unknown(self, mail: Mail, author: str) -> Mail | Verdict:
        words = f"there is no DKIM key for mail from {author!r}" if author else "the mail has no author to sign for"
        return self._unsigned(mail, words)

    def _unsigned(self, mail: Mail, words: str) -> Mail | Verdict:
        if self.options.on_unknown == "reject":
            return Verdict.reject(words, status="5.7.1")
        if self.options.on_unknown == "quarantine":
            return Verdict.quarantine(words)
        self._services.log.info("%s; it stays unsigned", words)
        return mail


def _ascii(domain: str) -> str:
    """A domain as it stands in the DNS; "" for what is none, a literal address among it."""
    try:
        ascii_domain = domain.encode("idna").decode("ascii").lower().rstrip(".")
    except UnicodeError:
        return ""
    return ascii_domain if _DOMAIN.fullmatch(ascii_domain) else ""


def _form(word: str) -> Form:
    return "relaxed" if word == "relaxed" else "simple"


def _is_signed(message: Message, domain: str, selector: str, key: PrivateKey) -> bool:
    """Whether the same key has signed the message as it is; our own key tells, without the DNS."""
    if DKIM not in message.header:
        return False
    canonical = Canonical(message)
    for place in canonical.places(DKIM):
        one = SignatureField.parse(canonical.raw(place), DKIM)
        is_ours = (one.domain.lower(), one.selector) == (domain.lower(), selector)
        if is_ours and check(canonical, place, one, lambda name: (key.record,), None).result == Result.PASS:
            return True
    return False
