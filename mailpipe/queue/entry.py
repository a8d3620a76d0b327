"""The values of the queue: a message that waits (`Entry`), each of its recipients, and what an attempt came to.

    entry.id, entry.envelope, entry.octets, entry.next_try          # what a transport needs
    RecipientResult(path, RecipientFate.DEFERRED, EnhancedStatus(4, 2, 2), "452 4.2.2 mailbox full")
    json.dumps(entry.to_json())

Never here: the database and the clock. An entry is what was read at one moment; it does not follow what comes after.
"""

import contextlib
import hashlib
import json
import mmap
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import IO, Annotated, Any, Literal, Protocol

from mailpipe.errors import InputError
from mailpipe.smtp.demand import after_waiting, in_fields
from mailpipe.smtp.envelope import Client, Envelope, ForwardPath, MailParameters
from mailpipe.status import EnhancedStatus

_NOTHING_ASKED = MailParameters()


class Content(Protocol):
    """Where the octets of a message lie: a file, or rows of a database that can be opened like one."""

    def exists(self) -> bool:
        """Whether they are there."""
        ...

    def open(self, mode: Literal["rb"]) -> IO[bytes]:
        """A real file that begins with the octets.

        Raises:
            OSError: they cannot be read.
        """
        ...


class _TakenAsItIs:
    """Tells pydantic, where somebody dumps an entry with it, that there is nothing to check."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        return handler(object)


class RecipientState(StrEnum):
    """Where one recipient of one message stands."""

    WAITING = "waiting"  # to be tried at next_try
    IN_DOUBT = "in-doubt"  # it may have been accepted: no final reply was seen; tried again only where next_try is set
    HELD = "held"  # kept until somebody releases it
    DELIVERED = "delivered"  # accepted; kept as history while others of the message are not
    FAILED = "failed"  # refused for good; visible until removed
    EXPIRED = "expired"  # given up after the expiry; visible until removed

    @property
    def is_live(self) -> bool:
        """Whether a delivery may still come: waiting, in doubt or held."""
        return self in (RecipientState.WAITING, RecipientState.IN_DOUBT, RecipientState.HELD)


class RecipientFate(StrEnum):
    """What one attempt came to for one recipient; the values are those of a sink's receipt."""

    DELIVERED = "delivered"
    FAILED = "failed"
    DEFERRED = "deferred"
    IN_DOUBT = "in-doubt"


class Handover(StrEnum):
    """Who has a delivered message now, and with it the duty to report (RFC 3461 section 5.2)."""

    FINAL = "final"  # its mailbox
    RELAYED = "relayed"  # a server that knows nothing of reports
    REPORTING = "reporting"  # a server that was told what the sender wants, and reports by itself


@dataclass(frozen=True, slots=True)
class RecipientResult:
    """What a transport says about one recipient.

    Attributes:
        recipient: the forward-path as it stood in the entry's envelope; `ForwardPath("")` where it has none.
        fate: what the attempt came to; any enumeration with the same values is taken.
        status: enhanced status code.
        diagnostic: the peer's reply or the system's words, one line.
        handover: who has it, where it was delivered.
    """

    recipient: ForwardPath
    fate: RecipientFate
    status: EnhancedStatus
    diagnostic: str = ""
    handover: Handover = Handover.RELAYED

    def __post_init__(self) -> None:
        object.__setattr__(self, "fate", RecipientFate(self.fate))


@dataclass(frozen=True, slots=True)
class Recipient:
    """One recipient of a message in the queue.

    Attributes:
        position: its place in the envelope, from 0.
        forward_path: address and parameters; None stands for the one recipient of an envelope without any.
        state: where it stands.
        attempts: how many attempts were made.
        next_try: when it is due, seconds since the epoch; None where nobody will try by himself.
        status: enhanced status code of the last attempt, None before the first.
        diagnostic: the last reply or the system's words.
        changed: when the state was last recorded.
        is_attempted: an attempt has begun and its result is not recorded. If its process ends so, it is in doubt.
    """

    position: int
    forward_path: ForwardPath | None
    state: RecipientState = RecipientState.WAITING
    attempts: int = 0
    next_try: float | None = None
    status: EnhancedStatus | None = None
    diagnostic: str = ""
    changed: float = 0.0
    is_attempted: bool = False

    @property
    def address(self) -> str:
        """The address-spec, "" for the nameless one."""
        return self.forward_path.address if self.forward_path else ""

    @property
    def is_question(self) -> bool:
        """Whether it is in doubt and only a human can say what became of it."""
        return self.state is RecipientState.IN_DOUBT and self.next_try is None

    def to_json(self) -> dict[str, object]:
        """Plain values for `json.dumps`."""
        return {
            "address": self.address,
            "state": self.state.value,
            "attempts": self.attempts,
            "next_try": self.next_try,
            "status": str(self.status) if self.status else None,
            "diagnostic": self.diagnostic,
            "changed": self.changed,
            "is_question": self.is_question,
        }


@dataclass(frozen=True, slots=True)
class Entry:
    """One message in the queue.

    Attributes:
        id: its name, ordered by arrival.
        sender: reverse-path and parameters of the MAIL command, without recipients.
        recipients: all of them, settled ones included.
        origin: where it came from, in words.
        route: which way it goes, a name of the caller's.
        created: when it was put in, seconds since the epoch.
        since: from when its expiry counts: `created`, or the moment it was last requeued.
        size: octets of the message.
        digest: SHA-256 of the octets, hexadecimal.
        content: where the octets lie; a content file holds them first, then a record of the envelope.
        lease: who delivers it at this moment, "" for nobody.
        leased_until: when that right ends.
        leased: positions of the recipients that were leased with it; () for an entry that was only looked at.
    """

    id: str
    sender: Envelope
    recipients: tuple[Recipient, ...]
    origin: str
    route: str
    created: float
    since: float
    size: int
    digest: str
    content: Annotated[Content, _TakenAsItIs()]
    lease: str = ""
    leased_until: float | None = None
    leased: tuple[int, ...] = ()

    @property
    def remaining(self) -> tuple[Recipient, ...]:
        """The recipients to deliver to now where the entry is leased, else all that are not settled."""
        if self.leased:
            return tuple(recipient for recipient in self.recipients if recipient.position in self.leased)
        return tuple(recipient for recipient in self.recipients if recipient.state.is_live)

    @property
    def envelope(self) -> Envelope:
        """The envelope with the remaining recipients only."""
        paths = (recipient.forward_path for recipient in self.remaining)
        return self.sender.with_forward_paths(*(path for path in paths if path is not None))

    @property
    def attempts(self) -> int:
        """Attempts made for the recipient that was tried most often."""
        return max((recipient.attempts for recipient in self.recipients), default=0)

    @property
    def return_by(self) -> float | None:
        """When it is to be returned if it has not been delivered (RFC 2852, mode R), seconds since the epoch."""
        return return_by(self.sender.parameters, self.created)

    def late_marks(self, warn_after: float | None) -> tuple[float, ...]:
        """The moments at which the sender is told that it is late, as the queue or the sender (RFC 2852) wants it.

        Args:
            warn_after: seconds after its arrival; None for never.
        """
        return late_marks(self.sender.parameters, self.created, self.since, warn_after)

    def as_of(self, now: float) -> "Entry | None":
        """The message with what is left of the times that its sender gave it; None where it is to be returned.

        Args:
            now: seconds since the epoch.
        """
        given = self.sender.parameters
        moment = datetime.fromtimestamp(now, UTC)
        left = given if given == _NOTHING_ASKED else after_waiting(given, max(0.0, now - self.created), moment)
        if left is None or left is given:
            return None if left is None else self
        return replace(self, sender=replace(self.sender, parameters=left))

    @property
    def next_try(self) -> float | None:
        """When the first recipient is due, None where none is."""
        moments = [
            recipient.next_try
            for recipient in self.recipients
            if recipient.next_try is not None and recipient.state.is_live
        ]
        return min(moments, default=None)

    @property
    def octets(self) -> bytes:
        """The message, read from disk at each question, and compared with its digest.

        Raises:
            InputError: the content file is missing, or is not what was put in.
        """
        with self.view() as view:
            octets = bytes(view)
        if hashlib.sha256(octets).hexdigest() != self.digest:
            words = "the message is not what was put in; `mailpipe queue doctor --deep --repair` holds it"
            raise InputError(str(self.content), words)
        return octets

    @contextlib.contextmanager
    def view(self) -> Iterator[memoryview]:
        """The message as mapped memory, for messages too large to read at once.

        Raises:
            InputError: the content file is missing or shorter than it was.
        """
        try:
            with self.content.open("rb") as file:
                # A mapping of no octets does not exist.
                mapped = mmap.mmap(file.fileno(), self.size, access=mmap.ACCESS_READ) if self.size else b""
        except (OSError, ValueError) as error:
            raise InputError(str(self.content), f"the message cannot be read: {error}") from error
        with contextlib.ExitStack() as stack:
            if isinstance(mapped, mmap.mmap):
                stack.enter_context(mapped)
            yield stack.enter_context(memoryview(mapped))

    def with_recipients(self, *recipients: Recipient) -> "Entry":
        """The same entry with the given recipients in place of those with their positions."""
        changed = {recipient.position: recipient for recipient in recipients}
        return replace(self, recipients=tuple(changed.get(old.position, old) for old in self.recipients))

    def to_json(self) -> dict[str, object]:
        """Plain values for `json.dumps`."""
        return {
            "id": self.id,
            "sender": self.sender.reverse_path,
            "recipients": [recipient.to_json() for recipient in self.recipients],
            "origin": self.origin,
            "route": self.route,
            "created": self.created,
            "size": self.size,
            "digest": self.digest,
            "content": str(self.content),
            "attempts": self.attempts,
            "next_try": self.next_try,
            "leased_until": self.leased_until,
        }


def return_by(asked: MailParameters, created: float) -> float | None:
    """See `Entry.return_by`; of a message that came at `created`."""
    asked = in_fields(asked)
    return None if asked.by_time is None or asked.by_mode != "R" else created + asked.by_time


def late_marks(asked: MailParameters, created: float, since: float, warn_after: float | None) -> tuple[float, ...]:
    """See `Entry.late_marks`; of a message that came at `created` and whose patience counts from `since`."""
    asked = in_fields(asked)
    marks = () if warn_after is None else (since + warn_after,)
    return marks if asked.by_time is None or asked.by_mode != "N" else (*marks, created + asked.by_time)


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """How much lies in the queue.

    Attributes:
        messages: all messages, failed ones included.
        octets: their sizes together.
        due: messages that may be tried now.
        leased: messages that somebody delivers at this moment.
        recipients: state → recipients, every state named.
    """

    messages: int
    octets: int
    due: int
    leased: int
    recipients: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """Plain values for `json.dumps`."""
        return asdict(self)


def _parameters(rows: Any) -> tuple[tuple[str, str | None], ...]:
    return tuple((str(keyword), value) for keyword, value in rows)


def sender_text(envelope: Envelope) -> str:
    """Reverse-path, MAIL parameters and, where it is known, the client as one line of ASCII JSON."""
    client = [] if envelope.client is None else [asdict(envelope.client)]
    return json.dumps([envelope.reverse_path, asdict(envelope.parameters), *client])


def read_sender(text: str) -> Envelope:
    """Undo `sender_text`; unknown parameters of a later version are left out."""
    reverse_path, parameters, *more = json.loads(text)
    known = {name: value for name, value in parameters.items() if name in MailParameters.__dataclass_fields__}
    known["parameters"] = _parameters(known.get("parameters", ()))
    client = Client(**{name: more[0].get(name, "") for name in Client.__dataclass_fields__}) if more else None
    return Envelope(reverse_path, (), MailParameters(**known), client)


def forward_path_text(path: ForwardPath | None) -> str | None:
    """A forward-path as one line of ASCII JSON, None for the nameless one."""
    return json.dumps(asdict(path)) if path else None


def read_forward_path(text: str | None) -> ForwardPath | None:
    """Undo `forward_path_text`."""
    if text is None:
        return None
    path = json.loads(text)
    notify, parameters = tuple(path["notify"]), _parameters(path["parameters"])
    return ForwardPath(path["address"], notify, path["orcpt"], parameters)
