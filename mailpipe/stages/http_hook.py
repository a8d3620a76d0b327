"""The stage `http-hook`: posts the mail, or facts about it, to a URL, and does what the answer says.

    [[stage]]
    use = "http-hook"
    url = "https://hook.example.org/mail"
    content = "facts"                      # or "message"
    secret = "hook-key"                    # signs what is posted
    on_error = {retry = 2, wait = "1s"}

`message` posts the message as message/rfc822, with X-Mailpipe-Sender and one X-Mailpipe-Recipient for each recipient;
`facts` posts JSON: envelope, header fields, and a list of the parts. X-Mailpipe-Delivery is the same whenever the same
mail is posted again. With a secret, X-Mailpipe-Signature is "t=SECONDS,v1=HEX": HMAC-SHA-256 of the seconds since 1970,
a full stop and the body.

The answer: 204, or 200 without a body, passes the mail. 200 with application/json may say

    {"verdict": "reject", "reason": "no invoices here", "status": "5.7.1",
     "add_fields": [["X-Checked", "yes"]], "remove_fields": ["X-Old"], "recipients": ["bob@example.net"]}

of which all is optional; verdicts are pass, accept, drop, reject, defer and quarantine. 200 with message/rfc822 is the
message from now on, where `replace` allows that. Anything else makes the stage fail, and its `on_error` says what
becomes of the mail; deferred by default.

Never here: HTTP; see `http_exchange`.
"""

import hashlib
import hmac
import json
from itertools import islice
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from mailpipe.errors import LimitExceeded, RemoteProtocolError, TransientFailure
from mailpipe.fields import is_address
from mailpipe.message import parse
from mailpipe.pipeline.access import EVERYTHING, Access
from mailpipe.pipeline.component import LocalPath, Options, Stage
from mailpipe.pipeline.mail import Changed, Mail
from mailpipe.pipeline.services import Services
from mailpipe.pipeline.verdict import Decision, Verdict
from mailpipe.stages.http_exchange import HttpAnswer, HttpPeer, checked_url
from mailpipe.status import EnhancedStatus
from mailpipe.units import ByteSize, Duration

PARTS_LIMIT = 1_000
"""LIMIT: parts that facts list; a message of a hundred thousand would make a body larger than itself."""


class HttpHookOptions(Options):
    """Where mail is posted, how it is signed, and what an answer may do."""

    url: Annotated[str, AfterValidator(checked_url)]
    """Where to: https, or http for a server that is trusted and near."""
    content: Literal["message", "facts"] = "facts"
    """What is posted: the message, or JSON about it."""
    replace: bool = False
    """Whether an answer may be a new message."""
    secret: str = ""
    """The name of a secret that signs what is posted; none by default."""
    token: str = ""
    """The name of a secret to send as Authorization: Bearer; none by default."""
    ca_file: LocalPath | None = None
    """Certificates to believe of an https URL, in place of those of the system."""
    timeout: Annotated[Duration, Field(gt=0)] = 10.0
    """How long one exchange may take."""
    max_size: Annotated[ByteSize, Field(ge=1)] = ByteSize(50_000_000)
    """A larger message is not posted, and the stage fails."""
    max_answer: Annotated[ByteSize, Field(ge=1)] = ByteSize(50_000_000)
    """A larger answer makes the stage fail."""


class _Answer(BaseModel):
    # a key that is misspelled would let a mail through
    model_config = ConfigDict(extra="forbid", frozen=True)

    verdict: Literal["pass", "accept", "drop", "reject", "defer", "quarantine"] = "pass"
    reason: str = ""
    status: str = ""
    add_fields: tuple[tuple[str, str], ...] = ()
    remove_fields: tuple[str, ...] = ()
    recipients: tuple[str, ...] | None = None


class HttpHook(Stage[HttpHookOptions]):
    """Posts the mail to a URL and takes a verdict, header fields, recipients or a new message from the answer."""

    name = "http-hook"
    Options = HttpHookOptions
    acts = True
    reads = EVERYTHING
    touches = EVERYTHING | Access(notes=(Changed,))

    @classmethod
    def accesses(cls, options: HttpHookOptions) -> tuple[Access, Access]:
        """Without replace it leaves the body alone."""
        return cls.reads, Access(fields=("*",), body=options.replace, envelope=True, notes=(Changed,))

    def open(self, services: Services) -> None:
        """Fetch the secrets.

        Raises:
            ConfigError: one of them is not there, or no certificates.
        """
        options = self.options
        self._services = services
        self._key = services.secrets.get(options.secret).encode() if options.secret else b""
        self._token = services.secrets.get(options.token) if options.token else ""
        self._peer = HttpPeer(options.url, timeout=options.timeout, most=options.max_answer, ca_file=options.ca_file)

    def close(self) -> None:
        """Close the connection."""
        if hasattr(self, "_peer"):
            self._peer.close()

    def process(self, mail: Mail) -> Mail | Verdict:
        """Post, and do what the answer says.

        Raises:
            TransientFailure: there is no answer, or one that says that something is wrong.
            RemoteProtocolError: the answer cannot be understood, or is not allowed.
            LimitExceeded: the message is too large to be posted.
        """
        octets = bytes(mail.message)
        if len(octets) > self.options.max_size:
            raise LimitExceeded("max_size", len(octets), self.options.max_size)
        answer = self._posted(mail, octets)
        if answer.status == 204 or (answer.status == 200 and not answer.body.strip()):
            return mail
        if answer.status != 200:
            words = f"{self.options.url} answered {answer.status}: {answer.beginning}"
            raise TransientFailure(words, EnhancedStatus(4, 3, 0))
        if answer.content_type == "message/rfc822":
            return self._replaced(mail, octets, answer.body)
        if answer.content_type != "application/json":
            words = f"{self.options.url} answered with {answer.content_type or 'content of no type'}"
            raise RemoteProtocolError(f"{words}; it must be application/json or message/rfc822")
        try:
            said = _Answer.model_validate_json(answer.body)
            return self._done(mail, said)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"])) or "the whole"
            raise RemoteProtocolError(f"{self.options.url}: {place} of its answer: {first['msg']}") from error
        except ValueError as error:
            # a status of another class than the verdict, or a field that cannot be written
            raise RemoteProtocolError(f"{self.options.url}: its answer cannot be followed: {error}") from error

    def _posted(self, mail: Mail, octets: bytes) -> HttpAnswer:
        fields: list[tuple[str, str]] = []
        if self.options.content == "message":
            body = octets
            fields += [("Content-Type", "message/rfc822"), ("X-Mailpipe-Sender", mail.envelope.reverse_path)]
            fields += (("X-Mailpipe-Recipient", address) for address in mail.envelope.addresses)
        else:
            body = json.dumps(_facts(mail, len(octets))).encode()
            fields.append(("Content-Type", "application/json"))
        delivery = hashlib.sha256(mail.origin.key.encode("utf-8", "surrogateescape") + b"\0" + octets).hexdigest()
        fields.append(("X-Mailpipe-Delivery", delivery))
        if self._key:
            seconds = str(int(self._services.clock.now().timestamp()))
            signature = hmac.digest(self._key, seconds.encode() + b"." + body, "sha256").hex()
            fields.append(("X-Mailpipe-Signature", f"t={seconds},v1={signature}"))
        if self._token:
            fields.append(("Authorization", f"Bearer {self._token}"))
        return self._peer.post("", body, fields)

    def _replaced(self, mail: Mail, octets: bytes, new: bytes) -> Mail:
        if not self.options.replace:
            words = f"{self.options.url} answered with a message; set replace = true where it may"
            raise RemoteProtocolError(words)
        if new == octets:
            return mail
        what = f"{len(octets):,} octets replaced by {len(new):,}"
        return mail.with_message(parse(new)).with_note(Changed(self.name, what))

    def _done(self, mail: Mail, said: _Answer) -> Mail | Verdict:
        reason = said.reason or "so the hook decided"
        match Decision(said.verdict) if said.verdict != "pass" else None:
            case Decision.DROP:
                return Verdict.drop(reason)
            case Decision.QUARANTINE:
                return Verdict.quarantine(reason)
            case Decision.REJECT:
                return Verdict.reject(reason, status=said.status or "5.7.1")
            case Decision.DEFER:
                return Verdict.defer(reason, status=said.status or "4.7.1")
            case Decision.ACCEPT if said.add_fields or said.remove_fields or said.recipients is not None:
                raise ValueError("accept changes nothing; use pass with fields or recipients")
            case Decision.ACCEPT:
                return Verdict.accept(reason)
        return self._changed(mail, said)

    def _changed(self, mail: Mail, said: _Answer) -> Mail:
        header, changes = mail.message.header, list[Changed]()
        for name in said.remove_fields:
            if name in header:
                header = header.without(name)
                changes.append(Changed(self.name, f"{name} removed"))
        for name, value in said.add_fields:
            header = header.with_added(name, value)
            changes.append(Changed(self.name, f"{name} added"))
        if changes:
            mail = mail.with_message(mail.message.with_header(header)).with_note(*changes)
        if said.recipients is not None and said.recipients != mail.envelope.addresses:
            mail = self._redirected(mail, said.recipients)
        return mail

    def _redirected(self, mail: Mail, recipients: tuple[str, ...]) -> Mail:
        if not recipients:
            raise ValueError("recipients is empty; the verdict for a mail that goes to nobody is drop")
        if wrong := [each for each in recipients if not is_address(each)]:
            raise ValueError(f"{wrong[0][:100]!a} is no address")
        known = {path.address: path for path in mail.envelope.forward_paths}
        envelope = mail.envelope.with_forward_paths(*(known.get(each, each) for each in recipients))
        return mail.with_envelope(envelope).with_note(Changed(self.name, f"sent to {', '.join(recipients)}"))


def _facts(mail: Mail, size: int) -> dict[str, Any]:
    """What is told of a mail in place of its octets."""
    message, envelope = mail.message, mail.envelope
    return {
        "origin": mail.origin.key,
        "size": size,
        "envelope": {"sender": envelope.reverse_path, "recipients": list(envelope.addresses)},
        "subject": message.subject,
        "message_id": message.message_id,
        "date": message.date.isoformat() if message.date is not None else None,
        "from": [one.address for one in message.from_.mailboxes],
        "fields": [[name, text] for name, text in message.header.items()],
        "parts": [
            {"path": path or "1", "type": one.content_type.value, "filename": one.filename, "size": len(one)}
            for path, one in islice(message.walk(), PARTS_LIMIT)
            if not one.parts and not one.is_multipart
        ],
    }
