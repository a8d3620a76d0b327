"""A stage that makes mail safe to share: addresses and names become pseudonyms, the same ones in the whole archive.

    [[stage]]
    use          = "privacy-redactor"
    keep_domains = ["example.org"]

    $ MAILPIPE_SECRET_REDACTION_KEY='long and random' mailpipe run redact.toml

A pseudonym is a keyed digest (HMAC-SHA256, RFC 2104): who writes to whom, who answers what, and how often, can still
be studied; who they are cannot be found out without the key. Threads hold together, since Message-ID, In-Reply-To and
References are replaced alike. Attachments give way to notes by default, because nobody has looked into them.

Never promised: that free text names nobody. The names of a message's own header are replaced wherever they stand;
others in its text are not known. Read the README before you publish anything.

Copy this file into the folder `plugins/` beside a pipeline file, or install the folder that it came in.
"""

import base64
import fnmatch
import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import mailpipe
from mailpipe import Changed, Entity, Field, Header, Mail, Mailbox, Message
from mailpipe.errors import ComposeError, MailpipeError
from mailpipe.fields import AddressList, Group, MessageId, MessageIdList
from mailpipe.message import compose, edit

SHORTEST = 16
"""Characters of a key at least; pseudonyms under a key that can be guessed are none."""
MOST = 2_000
"""LIMIT: words of names that are looked for in a text."""

_ATOM = r"[\w.!#$&'*+/=?^`{|}~-]"
_DOMAIN = r"[\w-]++(?>(?:\.[\w-]++)*)"
# a run of letters is looked at once, from its beginning, so that a long one costs no more than a short one; content
# identifiers ("cid:…", RFC 2392) tie pictures to a text and name nobody
_ADDRESS = re.compile(rf"(?<!{_ATOM})(?<!cid:)({_ATOM}++)(@|%40)({_DOMAIN})")
_WORD = re.compile(r"[^\W\d_]++")
_TAG = re.compile(r"(<[^<>]*+>)")
_AGAIN = re.compile(r"(Person [a-z2-7]{8})(?>(?:[ .,]{1,3}\1)+)")
_TEXTS = ("message/delivery-status", "message/disposition-notification", "message/feedback-report")


@dataclass(frozen=True, slots=True)
class RedactionReport:
    """A note: what was replaced in one message.

    Attributes:
        addresses: different ones.
        names: different ones.
        fields_removed: fields of all its headers.
        parts_removed: attachments that gave way to a note.
        parts_unread: attachments that were kept as they are, and may name anybody.
    """

    addresses: int
    names: int
    fields_removed: int
    parts_removed: int
    parts_unread: int


class PrivacyRedactorOptions(mailpipe.Options):
    """What is kept, and what goes."""

    secret: str = "redaction-key"  # noqa: S105 - the name of one
    """The name of the secret that the pseudonyms are made with; another one makes others."""

    keep_domains: tuple[str, ...] = ()
    """Domains that are not replaced, such as one's own; the part before the @ is, in any case."""

    remove_fields: tuple[str, ...] = (
        "Received", "X-Received", "Return-Path", "Delivered-To", "X-Original-To", "Envelope-To", "X-Envelope-*",
        "X-Originating-*", "X-Sender*", "User-Agent", "X-Mailer", "Authentication-Results", "Received-SPF", "ARC-*",
        "DKIM-Signature", "DomainKey-Signature", "List-*", "Autocrypt", "Face", "X-Face", "Organization", "Thread-*",
        "X-MS-*", "X-Google-*", "X-Gm-*",
    )  # fmt: skip
    """Header fields that go as a whole: they tell of machines and places, or cannot hold once the rest is changed. With
    wildcards; capitals do not matter."""

    attachments: Literal["note", "keep"] = "note"
    """Whether what is no text gives way to a note with its type and size, or stays as it is, unread."""

    envelope: bool = True
    """Whether sender and recipients are replaced too, which mbox and Maildir files show; not for mail that is sent."""


class PrivacyRedactor(mailpipe.Stage[PrivacyRedactorOptions]):
    """Replaces addresses and names in header and text by pseudonyms that are the same in the whole archive."""

    name = "privacy-redactor"
    Options = PrivacyRedactorOptions
    touches = replace(mailpipe.Stage.touches, notes=(RedactionReport,))
    decides = ()

    @classmethod
    def accesses(cls, options: PrivacyRedactorOptions) -> tuple[mailpipe.Access, mailpipe.Access]:
        """The envelope only where it is asked for."""
        return cls.reads, replace(cls.touches, envelope=options.envelope)

    def open(self, services: mailpipe.Services) -> None:
        """Fetch the key; without one nothing flows."""
        key = services.secrets.get(self.options.secret)
        if len(key) < SHORTEST:
            words = f"is too short; give it at least {SHORTEST} random characters"
            raise MailpipeError(f"the secret {self.options.secret!r} {words}")
        self._pseudonyms = Pseudonyms(key.encode(), frozenset(each.casefold() for each in self.options.keep_domains))

    def process(self, mail: Mail) -> Mail:
        """Replace what is to be replaced; the report says how much."""
        work = _Work(self.options, self._pseudonyms)
        work.learn_names(mail.message)
        message = edit.map_entities(mail.message, work.entity)
        if self.options.envelope:
            of = self._pseudonyms.address
            envelope = mail.envelope
            paths = [replace(path, address=of(path.address), orcpt=None) for path in envelope.forward_paths]
            mail = mail.with_envelope(
                replace(envelope, reverse_path=of(envelope.reverse_path), client=None).with_forward_paths(*paths)
            )
        report = work.report()
        words = f"{report.addresses} addresses and {report.names} names replaced, {report.parts_removed} parts removed"
        return mail.with_message(message).with_note(report, Changed(self.name, words))


def register(registry: mailpipe.Registry) -> None:
    """Enter the stage; called by mailpipe."""
    registry.add_stage(PrivacyRedactor)


class Pseudonyms:
    """What stands for what, under one key; the same word always has the same pseudonym."""

    def __init__(self, key: bytes, kept: frozenset[str] = frozenset()) -> None:
        self._key, self._kept = key, kept

    def _digest(self, kind: str, text: str, size: int) -> str:
        octets = f"{kind}\0{text}".encode("utf-8", "surrogatepass")
        return base64.b32encode(hmac.digest(self._key, octets, hashlib.sha256)).decode().lower()[:size]

    def address(self, address: str) -> str:
        """The pseudonym of an address; capitals do not matter, and one that is a pseudonym stays what it is.

        >>> Pseudonyms(b"key").address("Ann@Example.org") == Pseudonyms(b"key").address("ann@example.org")
        True
        """
        local, at, domain = address.rpartition("@")
        domain = domain.casefold().rstrip(".")
        if not address or domain.endswith(".redacted.invalid"):
            return address
        user = f"u-{self._digest('address', f'{local.casefold()}@{domain}', 12)}"
        if not at:
            return f"{user}@nowhere.redacted.invalid"
        return f"{user}@{domain if domain in self._kept else self.domain(domain)}"

    def domain(self, domain: str) -> str:
        """The pseudonym of a domain, under a name that will never exist (RFC 2606)."""
        return f"d-{self._digest('domain', domain, 8)}.redacted.invalid"

    def name(self, name: str) -> str:
        """The pseudonym of a person's name."""
        return f"Person {self._digest('name', ' '.join(name.casefold().split()), 8)}"

    def identifier(self, identifier: str) -> str:
        """The pseudonym of a message identifier."""
        if identifier.endswith("@id.redacted.invalid"):
            return identifier
        return f"m-{self._digest('identifier', identifier, 24)}@id.redacted.invalid"


@dataclass(slots=True)
class _Work:
    """One message in hand."""

    options: PrivacyRedactorOptions
    pseudonyms: Pseudonyms
    names: dict[str, str] = field(default_factory=dict)
    addresses: set[str] = field(default_factory=set)
    replaced: set[str] = field(default_factory=set)
    fields_removed: int = 0
    parts_removed: int = 0
    parts_unread: int = 0

    def report(self) -> RedactionReport:
        """What was done so far."""
        counts = (self.fields_removed, self.parts_removed, self.parts_unread)
        return RedactionReport(len(self.addresses), len(self.replaced), *counts)

    def learn_names(self, message: Message) -> None:
        """Every word of the names in the address fields of all headers stands for its person."""
        for _, entity in message.walk():
            for one in entity.header if isinstance(entity, Message) else ():
                value = one.value
                for mailbox in value.mailboxes if isinstance(value, AddressList) else ():
                    name = mailbox.display_name or ""
                    for word in _WORD.findall(name) if "@" not in name else ():
                        if len(word) > 2 and not word.islower() and len(self.names) < MOST:
                            self.names.setdefault(word, self.pseudonyms.name(name))

    # -- what takes the place of what

    def address(self, address: str) -> str:
        """An address in a field or a text."""
        made = self.pseudonyms.address(address)
        if made != address:
            self.addresses.add(made)
        return made

    def text(self, text: str) -> str:
        """Text without markup."""
        return self._without_names(_ADDRESS.sub(self._found, text))

    def html(self, text: str) -> str:
        """Addresses wherever they stand, names between the tags only: an attribute may be called like somebody."""
        pieces = _TAG.split(_ADDRESS.sub(self._found, text))
        pieces[::2] = [self._without_names(piece) for piece in pieces[::2]]
        return "".join(pieces)

    def _found(self, found: re.Match[str]) -> str:
        return self.address(f"{found[1]}@{found[3]}").replace("@", found[2])

    def _without_names(self, text: str) -> str:
        if not self.names:
            return text
        return _AGAIN.sub(r"\1", _WORD.sub(self._word, text))

    def _word(self, found: re.Match[str]) -> str:
        made = self.names.get(found[0])
        if made is None:
            return found[0]
        self.replaced.add(made)
        return made

    # -- entities

    def entity(self, path: str, entity: Entity) -> Entity:
        """An entity with everything in it replaced."""
        made = entity
        if not entity.parts and not entity.is_multipart:
            made = self._leaf(entity)
        return made.with_header(self._header(made.header)) if isinstance(made, Message) else made

    def _leaf(self, leaf: Entity) -> Entity:
        kind = leaf.content_type
        if kind.value in _TEXTS or (kind.type == "text" and not leaf.is_attachment):
            return self._text_leaf(leaf, self.html if kind.subtype == "html" else self.text)
        if self.options.attachments == "keep":
            self.parts_unread += 1
            return leaf
        self.parts_removed += 1
        # the name that the sender gave is not repeated: it may be somebody's
        words = f"An attachment was removed ({kind.value}, {len(leaf.octets)} octets).\n"
        note = compose.text(words, line_end=leaf.header.line_end)
        return leaf.replace("", note) if isinstance(leaf, Message) else note

    def _text_leaf(self, leaf: Entity, change: Callable[[str], str]) -> Entity:
        decoded = leaf.decoded_text
        text = change(decoded.text)
        if text == decoded.text:
            return leaf
        kind, header = leaf.content_type, leaf.header
        try:
            octets = text.encode(kind.charset or "us-ascii")
        except (LookupError, UnicodeError):
            octets = text.encode("utf-8", "replace")
            header = header.with_field("Content-Type", kind.with_param("charset", "utf-8"))
        encoding = leaf.transfer_encoding
        if encoding not in ("quoted-printable", "base64"):
            is_plain = octets.isascii() and max(map(len, octets.splitlines()), default=0) < 990 and b"\0" not in octets
            encoding = "7bit" if is_plain else "quoted-printable"
        return leaf.with_octets(octets, encoding, header=header, is_text=True)

    # -- headers

    def _header(self, header: Header) -> Header:
        lines = []
        for line in header.lines:
            made = self._field(line, header.line_end)
            if made is None:
                self.fields_removed += 1
            else:
                lines.append(made)
        # a new header, and not the old one with other fields: the From_ line of an mbox would stay
        return Header(lines)

    def _field(self, line: Field, line_end: bytes) -> Field | None:
        """What takes the place of a field; None where it has to go."""
        key = line.key
        if not key or any(fnmatch.fnmatchcase(key, each.lower()) for each in self.options.remove_fields):
            return None  # a line without a name could be anything
        if key.startswith("content-") or key == "mime-version":
            return line
        value = line.value
        try:
            if isinstance(value, AddressList):
                members = tuple(self._member(each) for each in value.members)
                return Field.compose(line.name, AddressList(members), line_end) if members else None
            if isinstance(value, MessageId):
                return Field.compose(line.name, MessageId(self.pseudonyms.identifier(value.id)), line_end)
            if isinstance(value, MessageIdList):
                ids = tuple(map(self.pseudonyms.identifier, value.ids))
                return Field.compose(line.name, MessageIdList(ids), line_end) if ids else None
            text = line.text
            made = self.text(text)
            # where nothing is replaced its octets stay; what could not be read as text may hide anything
            return line if made == text and line.raw.isascii() else Field.compose(line.name, made, line_end)
        except ComposeError:
            return None

    def _member(self, member: Mailbox | Group) -> Mailbox | Group:
        if isinstance(member, Group):
            mailboxes = (self._member(each) for each in member.mailboxes)
            return Group("Group", tuple(each for each in mailboxes if isinstance(each, Mailbox)))
        name = member.display_name
        if not name:
            return Mailbox(None, self.address(member.address))
        pseudonym = self.pseudonyms.name(name)
        self.replaced.add(pseudonym)
        return Mailbox(pseudonym, self.address(member.address))
