"""Delivery reports (RFC 3464, RFC 6522, RFC 6533) and disposition notifications (RFC 8098) as typed views.

    report = message.delivery_report                   # None for a message that reports no delivery
    for recipient in report.recipients:
        recipient.address, recipient.is_permanent, str(recipient.status), recipient.diagnostic_code
    report.returned.header["Subject"]                  # what had been sent: a Message, or its header alone

    receipt = message.disposition_notification
    receipt.kind, receipt.original_message_id          # "displayed", "abc@example.org"

Tolerant of mail servers as they are: QUIRK: types of addresses and servers may be missing, actions are misspelled, a
status may be a reply code or absent, blocks are joined or torn apart, the report may stand outside multipart/report or
under a transfer encoding. A report without a machine-readable part is read by its text (`bounce`).

Never here: how reports are written, and what a queue or a mailing list does about them.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from mailpipe import fields
from mailpipe.fields import DateTime, is_address
from mailpipe.message.entity import Entity
from mailpipe.message.field import Field
from mailpipe.message.header import Header
from mailpipe.parser.node import Document, place
from mailpipe.parser.scan import ENCLOSING
from mailpipe.status import EnhancedStatus

DELIVERY_STATUS = frozenset({"message/delivery-status", "message/global-delivery-status"})
DISPOSITION_NOTIFICATION = frozenset({"message/disposition-notification", "message/global-disposition-notification"})
_HEADERS = frozenset({"text/rfc822-headers", "message/rfc822-headers", "message/global-headers"})

# LIMIT: a report about more recipients than this is cut off; no message has as many.
_MOST_BLOCKS = 10_000
# LIMIT: two gateways on the way, not a million messages each inside the other.
_MOST_WRAPPERS = 3

_BLANK_LINES = re.compile(rb"(?>\r\n|\n|\r)(?>(?:[ \t]*+(?>\r\n|\n|\r))+)")
_ABOUT_RECIPIENT = ("final-recipient", "original-recipient", "action", "status")
_STATUS = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?![\d.])")
_REPLY_CODE = re.compile(r"\s*+([245])\d\d\b")
_HEXADECIMAL = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")
_ACTIONS = {
    "failed": "failed", "failure": "failed", "fail": "failed", "error": "failed", "undeliverable": "failed",
    "undelivered": "failed", "permanent": "failed", "expired": "failed", "rejected": "failed",
    "delayed": "delayed", "delay": "delayed", "deferred": "delayed", "temporary": "delayed", "warning": "delayed",
    "delivered": "delivered", "delivery": "delivered", "success": "delivered",
    "relayed": "relayed", "relay": "relayed", "expanded": "expanded", "expand": "expanded",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class TypedText:
    """A type and what follows its semicolon: an address, the name of a server, a diagnostic (RFC 3464 section 2.1.2).

    Attributes:
        type: in lower case, such as "rfc822", "dns", "smtp"; "" where the sender left it out.
        text: as written, without blanks at its ends.
    """

    type: str
    text: str

    @classmethod
    def parse(cls, text: str) -> "TypedText":
        """Split at the first semicolon, where a word stands before it.

        >>> TypedText.parse("dns; mail.example.org")
        TypedText(type='dns', text='mail.example.org')
        """
        before, semicolon, after = text.partition(";")
        if not semicolon or not re.fullmatch(r"\s*+[\w.+-]{1,60}\s*+", before):
            return cls("", text.strip())
        return cls(before.strip().lower(), after.strip())

    @property
    def address(self) -> str:
        """The text as an address, without angle brackets and comments; "" where it is none (X.400, say).

        >>> TypedText.parse("rfc822; <ann@example.org>").address
        'ann@example.org'
        """
        text = self.text
        if self.type == "utf-8":  # RFC 6533 section 3
            text = _HEXADECIMAL.sub(lambda found: _character(int(found[1], 16)), text)
        begin, stop = text.find("<"), text.rfind(">")
        text = (text[begin + 1 : stop] if 0 <= begin < stop else text.partition(" (")[0]).strip("<>\"' \t")
        if self.type not in ("rfc822", "utf-8", "smtp", "") or "@" not in text:
            return ""
        # QUIRK: some providers hand out local parts with two dots in a row; three are an address that was shortened
        return text if is_address(text) or is_address(text.replace("..", ".")) else ""

    def __str__(self) -> str:
        return f"{self.type}; {self.text}" if self.type else self.text


def _character(number: int) -> str:
    return chr(number) if number < 0x110000 and not 0xD800 <= number < 0xE000 else "\ufffd"


def _first_address(*recipients: TypedText | None) -> str:
    """The first address that there is, or ""."""
    return next((one.address for one in recipients if one is not None and one.address), "")


@dataclass(frozen=True, slots=True)
class RecipientReport:
    """What became of a message for one recipient (RFC 3464 section 2.3).

    Attributes:
        action: "failed", "delayed", "delivered", "relayed" or "expanded"; as written where it is none of these.
        status: the enhanced status, from Status or else from the diagnostic; None where none is given.
        final_recipient: the address that was tried.
        original_recipient: the address that the sender gave (ORCPT of RFC 3461).
        remote_mta: which server said so.
        diagnostic_code: what it said.
        last_attempt_date, will_retry_until: aware datetimes.
        final_log_id: how the reporting server's log calls it.
        header: the fields, for whatever else they hold; empty where a text was read.
    """

    action: str
    status: EnhancedStatus | None = None
    final_recipient: TypedText | None = None
    original_recipient: TypedText | None = None
    remote_mta: TypedText | None = None
    diagnostic_code: TypedText | None = None
    last_attempt_date: datetime | None = None
    will_retry_until: datetime | None = None
    final_log_id: str | None = None
    header: Header = field(default_factory=Header, repr=False)

    @property
    def address(self) -> str:
        """The address by which the sender knows the recipient: the original one, else the final one; or ""."""
        return _first_address(self.original_recipient, self.final_recipient)

    @property
    def is_permanent(self) -> bool:
        """The message was not delivered and will not be tried again."""
        return self.action == "failed"

    @property
    def is_temporary(self) -> bool:
        """The message was not delivered yet and is tried again."""
        return self.action == "delayed"

    @property
    def is_success(self) -> bool:
        """The message was delivered, or handed on."""
        return self.action in ("delivered", "relayed", "expanded")


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """A delivery report (RFC 3464), or what a bounce of another form says.

    Attributes:
        recipients: one entry a recipient, in order.
        is_machine_readable: whether the recipients are those of a message/delivery-status; False: read from a text.
        reporting_mta: who reports.
        dsn_gateway: who translated the report.
        received_from_mta: who had sent the message to the reporting server.
        original_envelope_id: ENVID of RFC 3461.
        arrival_date: when the reporting server received the message.
        explanation: the part for people to read, "" where there is none.
        returned: the `Message` that is reported about, or one of its header alone; None where it is not enclosed.
        is_returned_whole: whether `returned` has a body.
        header: the fields about the message as a whole, for whatever else they hold.
    """

    recipients: tuple[RecipientReport, ...]
    is_machine_readable: bool
    reporting_mta: TypedText | None = None
    dsn_gateway: TypedText | None = None
    received_from_mta: TypedText | None = None
    original_envelope_id: str | None = None
    arrival_date: datetime | None = None
    explanation: str = ""
    returned: Entity | None = field(default=None, repr=False)
    is_returned_whole: bool = False
    header: Header = field(default_factory=Header, repr=False)

    @property
    def failed(self) -> tuple[RecipientReport, ...]:
        """The recipients that will not get the message."""
        return tuple(recipient for recipient in self.recipients if recipient.is_permanent)

    @property
    def delayed(self) -> tuple[RecipientReport, ...]:
        """The recipients that may still get the message."""
        return tuple(recipient for recipient in self.recipients if recipient.is_temporary)


@dataclass(frozen=True, slots=True)
class DispositionNotification:
    """What a reader's program says became of a message (RFC 8098 section 3).

    Attributes:
        kind: the disposition type: "displayed", "deleted", "dispatched", "processed", …; "" where it is missing.
        action_mode: "manual-action" or "automatic-action": what led to the disposition.
        sending_mode: "mdn-sent-manually" or "mdn-sent-automatically".
        modifiers: words such as "error", in lower case.
        final_recipient, original_recipient: whose copy it is about.
        original_message_id: without angle brackets.
        reporting_ua: the program, with the host that it runs on.
        mdn_gateway: who translated the notification.
        errors: Error, Failure and Warning fields.
        explanation: the part for people to read.
        returned: the `Message` that it is about, or one of its header alone.
        header: every field.
    """

    kind: str
    action_mode: str = ""
    sending_mode: str = ""
    modifiers: tuple[str, ...] = ()
    final_recipient: TypedText | None = None
    original_recipient: TypedText | None = None
    original_message_id: str | None = None
    reporting_ua: str | None = None
    mdn_gateway: TypedText | None = None
    errors: tuple[str, ...] = ()
    explanation: str = ""
    returned: Entity | None = field(default=None, repr=False)
    header: Header = field(default_factory=Header, repr=False)

    @property
    def address(self) -> str:
        """Whose copy it is about: the original address, else the final one; or ""."""
        return _first_address(self.original_recipient, self.final_recipient)

    @property
    def is_automatic(self) -> bool:
        """Whether nobody pressed a key for it."""
        return self.action_mode == "automatic-action" or self.sending_mode == "mdn-sent-automatically"


def delivery_report(message: Entity) -> DeliveryReport | None:
    """The delivery report that a message is; None where it is none.

    Where the machine-readable part names no recipient, or there is none, the text is read.
    """
    part = None
    for _ in range(_MOST_WRAPPERS):
        part = _status_part(message, DELIVERY_STATUS, "reporting-mta", "final-recipient")
        inner = None if part is not None else _wrapped(message)
        if inner is None:
            break
        message = inner
    if part is None:
        return _from_text(message, Header())
    header, blocks = _grouped(part.octets)
    recipients = tuple(_recipient(block) for block in blocks)
    if not any(_names(recipient) for recipient in recipients):
        report = _from_text(message, header)
        if report is not None and report.recipients:
            return report
    returned, is_whole = _returned(message)
    return _report(header, recipients, True, _explanation(message, part), returned, is_whole)


def disposition_notification(message: Entity) -> DispositionNotification | None:
    """The disposition notification that a message is; None where it is none."""
    part = _status_part(message, DISPOSITION_NOTIFICATION, "disposition", "original-message-id")
    if part is None:
        return None
    header = Header([one for block in _blocks(part.octets) for one in block])
    modes, _, kinds = (header.get("disposition") or "").partition(";")
    action, _, sending = modes.partition("/")
    kind, _, modifiers = kinds.partition("/")
    identifier = header.first("original-message-id")
    returned, _ = _returned(message)
    return DispositionNotification(
        kind=kind.strip().lower(),
        action_mode=action.strip().lower(),
        sending_mode=sending.strip().lower(),
        modifiers=tuple(word.strip().lower() for word in modifiers.split(",") if word.strip()),
        final_recipient=_typed(header, "final-recipient"),
        original_recipient=_typed(header, "original-recipient"),
        original_message_id=None if identifier is None else identifier.text.strip().strip("<>").strip() or None,
        reporting_ua=header.get("reporting-ua"),
        mdn_gateway=_typed(header, "mdn-gateway"),
        errors=tuple(one.text for name in ("error", "failure", "warning") for one in header.all(name)),
        explanation=_explanation(message, part),
        returned=returned,
        header=header,
    )


# -- finding the parts


def _leaves(message: Entity) -> Iterator[Entity]:
    """The leaves of this message, not those of enclosed ones."""
    stack = [message]
    while stack:
        entity = stack.pop()
        if entity.is_multipart:
            stack.extend(reversed(entity.parts))
        else:
            yield entity


def _status_part(message: Entity, types: frozenset[str], *names: str) -> Entity | None:
    """The machine-readable part: by its type; in a report also by its first field, whatever its type says."""
    leaves = list(_leaves(message))
    for leaf in leaves:
        if leaf.content_type.value in types:
            return leaf
    kind = message.content_type
    if kind.value == "multipart/report" and f"message/{kind.params.get('report-type', '').lower()}" in types:
        for leaf in leaves:
            if leaf.content_type.type == "text" and leaf.octets[:20].lower().startswith(tuple(map(str.encode, names))):
                return leaf
    return None


def _wrapped(message: Entity) -> Entity | None:
    """A report inside a report: virus scanners at gateways enclose what they have looked at."""
    for leaf in _leaves(message):
        if leaf.content_type.value in ENCLOSING and leaf.parts:
            inner = leaf.parts[0]
            outer_subject, subject = (one.header.get("subject", "") for one in (message, inner))
            if inner.content_type.value == "multipart/report" and outer_subject == subject:
                return inner
    return None


def _returned(message: Entity) -> tuple[Entity | None, bool]:
    """The message that is reported about, and whether it has its body."""
    for leaf in _leaves(message):
        kind = leaf.content_type.value
        if kind in ENCLOSING and leaf.parts:
            return leaf.parts[0], len(leaf.parts[0].raw_body) > 0
        if kind in _HEADERS:
            return _message(leaf.octets), False
    return None, False


def _message(octets: bytes) -> Entity:
    return place(Entity._message_class, Document(octets), 0, len(octets))


def _explanation(message: Entity, status: Entity) -> str:
    for leaf in _leaves(message):
        if leaf is status:
            break
        if leaf.content_type.value == "text/plain":
            return leaf.text
    return ""


# -- reading the fields


def _blocks(octets: bytes) -> Iterator[Header]:
    """The blocks of fields between empty lines."""
    for raw in _BLANK_LINES.split(octets.strip(b" \t\r\n"), _MOST_BLOCKS)[:_MOST_BLOCKS]:
        if raw.strip():
            yield place(Entity, Document(raw), 0, len(raw)).header


def _grouped(octets: bytes) -> tuple[Header, list[Header]]:
    """The fields about the message, and those about each recipient, however they are parted by empty lines."""
    about_message: list[Field] = []
    recipients: list[list[Field]] = []
    current: list[Field] | None
    for block in _blocks(octets):
        current, seen = None, set[str]()
        if not any(name in block for name in _ABOUT_RECIPIENT):
            (recipients[-1] if recipients else about_message).extend(block)
            continue
        for one in block:
            key = one.key
            if key in _ABOUT_RECIPIENT and (current is None or (key in seen and key.endswith("-recipient"))):
                current, seen = [], set()
                recipients.append(current)
            seen.add(key)
            (about_message if current is None else current).append(one)
    return Header(about_message), [Header(recipient) for recipient in recipients]


def _recipient(block: Header) -> RecipientReport:
    diagnostic = _typed(block, "diagnostic-code")
    status = _status(block.get("status") or "") or (None if diagnostic is None else _status(diagnostic.text))
    final = _typed(block, "final-recipient")
    return RecipientReport(
        action=_action(block.get("action") or "", status),
        status=status,
        final_recipient=final if final is not None else _typed(block, "x-actual-recipient"),
        original_recipient=_typed(block, "original-recipient"),
        remote_mta=_typed(block, "remote-mta"),
        diagnostic_code=diagnostic,
        last_attempt_date=_date(block, "last-attempt-date"),
        will_retry_until=_date(block, "will-retry-until"),
        final_log_id=block.get("final-log-id"),
        header=block,
    )


def _report(
    header: Header,
    recipients: tuple[RecipientReport, ...],
    is_machine_readable: bool,
    explanation: str,
    returned: Entity | None,
    is_returned_whole: bool,
) -> DeliveryReport:
    return DeliveryReport(
        recipients=recipients,
        is_machine_readable=is_machine_readable,
        reporting_mta=_typed(header, "reporting-mta"),
        dsn_gateway=_typed(header, "dsn-gateway"),
        received_from_mta=_typed(header, "received-from-mta"),
        original_envelope_id=header.get("original-envelope-id"),
        arrival_date=_date(header, "arrival-date"),
        explanation=explanation,
        returned=returned,
        is_returned_whole=is_returned_whole,
        header=header,
    )


def _typed(header: Header, name: str) -> TypedText | None:
    text = header.get(name)
    return TypedText.parse(text) if text else None


def _date(header: Header, name: str) -> datetime | None:
    one = header.first(name)
    value = None if one is None else fields.parse("date", one.body)
    return value.datetime if isinstance(value, DateTime) else None


def _status(text: str) -> EnhancedStatus | None:
    if found := _STATUS.search(text):
        return EnhancedStatus(int(found[1]), int(found[2]), int(found[3]))
    code = _REPLY_CODE.match(text)
    return None if code is None else EnhancedStatus(int(code[1]), 0, 0)


def _action(text: str, status: EnhancedStatus | None) -> str:
    if word := re.search(r"[a-z]++", text[:200].lower()):
        return _ACTIONS.get(word[0], word[0])
    if status is None:
        return ""
    return "delivered" if status.is_success else "delayed" if status.is_transient else "failed"


def _names(recipient: RecipientReport) -> bool:
    return recipient.final_recipient is not None or recipient.original_recipient is not None


# -- reports for people only


def _from_text(message: Entity, header: Header) -> DeliveryReport | None:
    """What the text of a bounce says, see `bounce`."""
    # a table of phrases that only a reader of bounces needs
    from mailpipe.message.bounce import read_notice

    notice = read_notice(message)
    if notice is None:
        return None
    recipients = tuple(
        RecipientReport(
            action=one.action,
            status=one.status,
            final_recipient=TypedText("rfc822", one.address),
            original_recipient=TypedText("rfc822", one.original) if one.original else None,
            diagnostic_code=TypedText("", one.reason) if one.reason else None,
        )
        for one in notice.recipients
    )
    returned, is_whole = _returned(message)
    if returned is None and notice.returned:
        returned = _message(notice.returned)
        is_whole = len(returned.raw_body) > 0
    return _report(header, recipients, False, notice.text, returned, is_whole)
