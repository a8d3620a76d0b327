"""The stage `rspamd`: asks Rspamd what it thinks of a mail, and does what it says.

    [[stage]]
    use = "rspamd"
    url = "http://127.0.0.1:11333"
    milter_headers = true              # add and remove the header fields that it names

    [stage.actions]
    greylist = "pass"                  # in place of what the table below says

Rspamd's actions, and what becomes of the mail: "no action" passes; "greylist" and "soft reject" are deferred; "add
header" is tagged with `field`; "rewrite subject" gets the subject that Rspamd proposes; "reject" is rejected, "discard"
dropped, "quarantine" set aside. When Rspamd cannot be asked, the stage fails, and its `on_error` says what becomes of
the mail. The note `SpamScore` holds what it found.

The message is posted to /checkv2, with the envelope beside it where it is known.

Never here: HTTP; see `http_exchange`.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from mailpipe.errors import ComposeError, RemoteProtocolError, TransientFailure
from mailpipe.message import Field as HeaderField
from mailpipe.message import Header, Message
from mailpipe.pipeline.access import Access
from mailpipe.pipeline.component import LocalPath, Options, Stage
from mailpipe.pipeline.mail import Changed, Mail
from mailpipe.pipeline.notes import SpamScore
from mailpipe.pipeline.services import Services
from mailpipe.pipeline.verdict import Decision, Verdict
from mailpipe.stages.http_exchange import HttpPeer, checked_url
from mailpipe.status import EnhancedStatus
from mailpipe.units import Duration

Action = Literal[
    "no action", "greylist", "add header", "rewrite subject", "soft reject", "reject", "discard", "quarantine"
]
Then = Literal["pass", "tag", "subject", "defer", "reject", "drop", "quarantine"]
_THEN: dict[str, Then] = {
    "no action": "pass", "greylist": "defer", "add header": "tag", "rewrite subject": "subject",
    "soft reject": "defer", "reject": "reject", "discard": "drop", "quarantine": "quarantine",
}  # fmt: skip
ANSWER_LIMIT = 4_000_000
"""LIMIT: octets of an answer; one with hundreds of symbols has some ten thousand."""
_FOLD = re.compile(r"[\r\n]+[ \t]*")


class RspamdOptions(Options):
    """Where Rspamd is, and what is done about its actions."""

    url: Annotated[str, AfterValidator(checked_url)] = "http://127.0.0.1:11333"
    """Its normal worker or its proxy; /checkv2 is put behind it."""
    timeout: Annotated[Duration, Field(gt=0)] = 30.0
    """How long one mail may take."""
    password: str = ""
    """The name of a secret to send as password; none by default."""
    ca_file: LocalPath | None = None
    """Certificates to believe of an https URL, in place of those of the system."""
    actions: dict[Action, Then] = Field(default_factory=dict)
    """What becomes of a mail, where it is something else than usual: pass, tag, subject, defer, reject, drop,
    quarantine."""
    field: str = "X-Spam"
    """The header field that a tagged mail gets, with the value "Yes"."""
    milter_headers: bool = True
    """Whether header fields are added and removed as Rspamd says."""

    @property
    def table(self) -> dict[str, Then]:
        """What becomes of a mail for each action."""
        table = dict(_THEN)
        table.update(self.actions.items())
        return table


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Symbol(_Lenient):
    score: float = 0.0


class _Added(_Lenient):
    value: str
    order: int = -1


class _Milter(_Lenient):
    add_headers: dict[str, str | _Added | list[str | _Added]] = Field(default_factory=dict)
    remove_headers: dict[str, int | list[int]] = Field(default_factory=dict)


class _Answer(_Lenient):
    action: str
    score: float = 0.0
    required: float = Field(default=0.0, validation_alias=AliasChoices("required_score", "required"))
    symbols: dict[str, _Symbol] = Field(default_factory=dict)
    messages: dict[str, Any] = Field(default_factory=dict)
    subject: str | None = None
    milter: _Milter = _Milter()

    @property
    def words(self) -> str:
        """What is to be said to the sender, "" for nothing in particular."""
        said = self.messages.get("smtp_message")
        return said if isinstance(said, str) else ""


class Rspamd(Stage[RspamdOptions]):
    """Asks Rspamd about the mail, and passes, tags, defers, rejects or drops it as that says."""

    name = "rspamd"
    Options = RspamdOptions
    reads = Access(fields=("*",), body=True, envelope=True)
    touches = Access(fields=("*",), notes=(SpamScore, Changed))

    @classmethod
    def accesses(cls, options: RspamdOptions) -> tuple[Access, Access]:
        """Without milter_headers it writes a field or two."""
        if options.milter_headers:
            return cls.reads, cls.touches
        words = set(options.table.values())
        fields = (options.field,) * ("tag" in words) + ("Subject",) * ("subject" in words)
        return cls.reads, Access(fields=fields, notes=(SpamScore, Changed))

    @classmethod
    def decisions(cls, options: RspamdOptions) -> tuple[Decision, ...]:
        """What the table of actions names."""
        return tuple(decision for decision in Decision if decision.value in options.table.values())

    def open(self, services: Services) -> None:
        """Fetch the password.

        Raises:
            ConfigError: there is none, or no certificates.
        """
        options = self.options
        self._services = services
        self._password = services.secrets.get(options.password) if options.password else ""
        self._peer = HttpPeer(options.url, timeout=options.timeout, most=ANSWER_LIMIT, ca_file=options.ca_file)

    def close(self) -> None:
        """Close the connection."""
        if hasattr(self, "_peer"):
            self._peer.close()

    def process(self, mail: Mail) -> Mail | Verdict:
        """Ask, and do what the answer says.

        Raises:
            TransientFailure: Rspamd cannot be asked.
            RemoteProtocolError: it answers what cannot be understood.
        """
        answer = self._asked(mail)
        symbols = tuple((name, symbol.score) for name, symbol in sorted(answer.symbols.items()))
        note = SpamScore("rspamd", answer.score, answer.required, answer.action, symbols)
        self._services.metrics.count(answer.action.replace(" ", "_"))
        then = self.options.table.get(answer.action)
        if then is None:
            raise RemoteProtocolError(f"{self.options.url} says {answer.action[:100]!r}, an action that is not known")
        reason = answer.words or f"it looks like spam: score {answer.score:g} of {answer.required:g}"
        match then:
            case "reject":
                return Verdict.reject(reason, status="5.7.1", notes=(note,))
            case "defer":
                return Verdict.defer(answer.words or "try again later", status="4.7.1", notes=(note,))
            case "drop":
                return Verdict.drop(reason, notes=(note,))
            case "quarantine":
                return Verdict.quarantine(reason, notes=(note,))
        return self._changed(mail, answer, then).with_note(note)

    def _asked(self, mail: Mail) -> _Answer:
        answer = self._peer.post("/checkv2", bytes(mail.message), _fields(mail, self._password))
        if answer.status != 200:
            words = f"{self.options.url} answered {answer.status}: {answer.beginning}"
            raise TransientFailure(words, EnhancedStatus(4, 3, 0))
        try:
            return _Answer.model_validate_json(answer.body)
        except ValidationError as error:
            raise RemoteProtocolError(f"{self.options.url} answered {answer.beginning}") from error

    def _changed(self, mail: Mail, answer: _Answer, then: str) -> Mail:
        message, changes = mail.message, list[str]()
        if self.options.milter_headers:
            message = _removed(message, answer.milter, changes)
            message = self._added(message, answer.milter, changes)
        if then == "tag":
            message = message.with_header(message.header.with_field(self.options.field, "Yes"))
            changes.append(f"{self.options.field} added")
        if then == "subject":
            subject = answer.subject or f"*** SPAM *** {message.subject or ''}".rstrip()
            message = message.with_header(message.header.with_field("Subject", _FOLD.sub(" ", subject)))
            changes.append("Subject rewritten")
        if not changes:
            return mail
        return mail.with_message(message).with_note(*(Changed(self.name, what) for what in changes))

    def _added(self, message: Message, milter: _Milter, changes: list[str]) -> Message:
        for name, given in milter.add_headers.items():
            for each in given if isinstance(given, list) else [given]:
                value, order = (each, -1) if isinstance(each, str) else (each.value, each.order)
                try:
                    message = message.with_header(_with(message.header, name, _FOLD.sub(" ", value), order))
                except ComposeError as error:
                    self._services.log.warning("a field %a cannot be added: %s", name, error)
                else:
                    changes.append(f"{name} added")
        return message


def _with(header: Header, name: str, value: str, order: int) -> Header:
    """With one more field, at a place from 0 on, or at the end for -1."""
    if order < 0:
        return header.with_added(name, value)
    lines = list(header.lines)
    lines.insert(order, HeaderField.compose(name, value, header.line_end))
    return header.with_fields(lines)


def _removed(message: Message, milter: _Milter, changes: list[str]) -> Message:
    """Without the fields that are named: 0 all of them, 1 the first, -1 the last."""
    lines = message.header.lines
    gone: set[int] = set()
    for name, given in milter.remove_headers.items():
        places = [place for place, field in enumerate(lines) if field.key == name.lower()]
        for number in given if isinstance(given, list) else [given]:
            if number == 0:
                gone.update(places)
            elif -len(places) <= number <= len(places):
                gone.add(places[number - 1 if number > 0 else number])
    if not gone:
        return message
    changes.extend(f"{lines[place].name} removed" for place in sorted(gone))
    kept = [field for place, field in enumerate(lines) if place not in gone]
    return message.with_header(message.header.with_fields(kept))


def _fields(mail: Mail, password: str) -> list[tuple[str, str]]:
    envelope = mail.envelope
    fields = [("Content-Type", "message/rfc822"), ("From", envelope.reverse_path), ("Queue-Id", mail.origin.key)]
    fields += (("Rcpt", address) for address in envelope.addresses)
    if client := envelope.client:
        given = (("IP", client.address), ("Helo", client.helo), ("Hostname", client.name))
        fields += [(name, value) for name, value in given if value]
    if envelope.parameters.auth:
        fields.append(("User", envelope.parameters.auth))
    if password:
        fields.append(("Password", password))
    return fields
