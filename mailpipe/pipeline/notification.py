r"""Delivery status notifications, written (RFC 3464 in the multipart/report of RFC 6522; RFC 6533 beyond ASCII).

    reports = Reports("MAILER-DAEMON@mx.example.org")
    queue = Queue(directory, reporter=reports)          # who is told what and when is the queue's
    reports(notice)                                     # a Letter to the sender, or None

First comes what a person reads: whom it is about, what the other side said, what to do next. Addresses beyond ASCII are
written as they are to a sender who took part in SMTPUTF8, and as "\x{E4}" to any other.

Never here: clocks, and reading of reports (`mailpipe.message.report`). Nothing is ever said to the null reverse-path.
"""

import hashlib
import re
import textwrap
from datetime import UTC, datetime

from mailpipe.errors import ComposeError, InputError
from mailpipe.fields.date import render as render_date
from mailpipe.message import Field, Message, compose, parse
from mailpipe.message.entity import Entity
from mailpipe.queue import Entry, Letter, Notice, Recipient, Told
from mailpipe.smtp.demand import asks_for_tls, in_fields
from mailpipe.smtp.envelope import Envelope, MailParameters
from mailpipe.smtp.xtext import decode_xtext
from mailpipe.status import EnhancedStatus
from mailpipe.units import duration_text

FULL_LIMIT = 65_536
"""LIMIT: octets of a message that is returned whole; of a larger one only the header comes back, so that whoever
forges a sender cannot have us multiply his mail."""

_HEADER_LIMIT = 65_536  # LIMIT: octets of a header that is returned
_TEXT_LIMIT = 900  # LIMIT: characters of a diagnostic; RFC 5322 allows 998 in a line
_WIDTH = 76

_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]+")
_LINE_END = re.compile(rb"\r\n|\n|\r")
_HEADER_END = re.compile(rb"(?:\r\n|\n)(?:\r\n|\n)|\r\r")
_OVERLONG = re.compile(rb"[^\r\n]{999}")
# "mx.example.net[192.0.2.1]:25 said: 550 5.1.1 no such user (in reply to RCPT TO)"
_SAID = re.compile(r"(?P<peer>\S{1,300}) said: (?P<reply>[245]\d\d\b.*?)(?: \(in reply to [^()]*\))?")
_HOST = re.compile(r"[A-Za-z0-9_.-]+")
_PLAIN_XTEXT = re.compile(r"[^\x21-\x2a\x2c-\x3c\x3e-\x5b\x5d-\x7e]")  # RFC 6533 section 3: QCHAR, negated

_SUBJECTS = {
    Told.FAILED: "Your message could not be delivered",
    Told.DELAYED: "Your message is delayed; it will be tried again",
    Told.DELIVERED: "Your message was delivered",
    Told.RELAYED: "Your message was passed on",
}
_OPENINGS = {
    Told.FAILED: "Your message did not reach these recipients and will not be tried again:",
    Told.DELAYED: (
        "Your message has not reached these recipients yet. It is tried again until {until}; you need not send it "
        "again. You will be told if it cannot be delivered."
    ),
    Told.DELIVERED: "As you asked to be told: your message lies in the mailboxes of these recipients.",
    Told.RELAYED: (
        "As you asked to be told: your message for these recipients was accepted by another server, which does not "
        "report by itself. You will hear no more of it."
    ),
}
_GOOD = (Told.DELIVERED, Told.RELAYED)

# What the sender can do, by the subject and detail of the status (RFC 3463), else by the subject alone.
_ADVICE: dict[tuple[int, int | None], str] = {
    (1, 2): "The part after the @ is no place that takes mail. Look for a slip in it.",
    (1, 10): "That domain takes no mail at all. Ask the recipient for another address.",
    (1, 7): "Your own address was not accepted. Ask whoever runs your mail about it.",
    (1, 8): "Your own address was not accepted. Ask whoever runs your mail about it.",
    (1, None): "Check the address for a slip, or ask the recipient for the right one, and send the message again.",
    (2, 2): "The mailbox is full. Tell the recipient by another way, or send the message again later.",
    (2, 3): "The message is too large for that mailbox. Send it without its attachments, or in parts.",
    (2, None): "The mailbox takes no mail at present. Tell the recipient by another way.",
    (3, 4): "The message is too large for that server. Send it without its attachments, or in parts.",
    (3, None): "The trouble is with a mail server. Send the message again later, or show its postmaster this report.",
    (4, 6): "The message went round in circles. Show this report to the postmaster of the recipient.",
    (4, 7): "It was tried until its time was over. Check the part after the @, or send the message again later.",
    (4, None): "The recipient's server could not be reached. Check the part after the @, or try again later.",
    (6, 7): "The recipient's server takes no address with letters beyond ASCII. Use another address.",
    (6, 9): "The recipient's server takes no header with letters beyond ASCII. Write the subject and names in ASCII.",
    (6, None): "The recipient's server does not accept what the message holds. Send it in another form.",
    (7, None): "The recipient's server does not want this message. Ask the recipient by another way why that is.",
}
_ANY_ADVICE = "Show this report to the postmaster of the recipient if you do not know what to do."


class Reports:
    """Writes the reports of one mail system.

    Args:
        mailbox: who they are from, an address; its domain is the name under which we report.

    Raises:
        ComposeError: that is no address.
    """

    def __init__(self, mailbox: str) -> None:
        self.mailbox = mailbox
        self._host = _printable(mailbox.rpartition("@")[2], is_utf8=False)
        Field.compose("From", mailbox)

    def __call__(self, notice: Notice) -> Letter | None:
        """The report, from the null reverse-path to the sender.

        Returns:
            None where nobody is to be told: the message has no sender, or is a report itself.
        """
        entry = notice.entry
        sender = entry.sender.reverse_path
        head = _head(entry)
        if not sender or (head and parse(head).content_type.value == "multipart/report"):
            return None
        is_utf8 = entry.sender.parameters.smtputf8 or not sender.isascii()
        status = [self._about_message(entry, is_utf8), *(_about(notice, one, is_utf8) for one in notice.recipients)]
        kind = "global-delivery-status" if is_utf8 else "delivery-status"
        parts = [
            compose.text(self._words(notice)),
            _leaf(b"\r\n".join(status), f"message/{kind}", is_utf8),
            *_returned(notice, head, is_utf8),
        ]
        message = compose.multipart(
            "report", parts, params={"report-type": "delivery-status"}, fields=self._header(notice), kind=Message
        )
        # RFC 8689 section 5: what must travel over TLS does so on its way back
        parameters = MailParameters(smtputf8=is_utf8, requiretls=asks_for_tls(entry.sender.parameters))
        return Letter(bytes(message), Envelope("", Envelope.of("", sender).forward_paths, parameters))

    def _header(self, notice: Notice) -> list[Field]:
        identifier = f"{hashlib.sha256(notice.name.encode()).hexdigest()[:32]}@{self._host}"
        made = [
            Field.compose("Date", render_date(datetime.fromtimestamp(notice.now, UTC))),
            Field.compose("From", f"Mail Delivery System <{self.mailbox}>"),
        ]
        try:
            made.append(Field.compose("To", f"<{notice.entry.sender.reverse_path}>"))
        except ComposeError:
            # An envelope may hold addresses that a header cannot say; the envelope is what counts.
            made.append(Field.compose("To", "undisclosed-recipients:;"))
        return [
            *made,
            Field.compose("Subject", _SUBJECTS[notice.told]),
            Field.compose("Message-ID", f"<{identifier}>".encode()),
            Field.compose("Auto-Submitted", b"auto-replied"),
            Field.compose("MIME-Version", b"1.0"),
        ]

    def _about_message(self, entry: Entry, is_utf8: bool) -> bytes:
        """The fields about the message as a whole (RFC 3464 section 2.2)."""
        rows = [("Reporting-MTA", f"dns; {self._host}")]
        if envid := _decoded(entry.sender.parameters.envid):
            rows.insert(0, ("Original-Envelope-Id", envid))
        rows.append(("Arrival-Date", _date(entry.created)))
        asked = in_fields(entry.sender.parameters)
        if asked.by_time is not None:  # RFC 2852 section 5
            rows.append(("Deliver-By-Date", _date(entry.created + asked.by_time)))
        if asked.hold_for or asked.hold_until:  # RFC 4865 section 5.1.2
            held = f"until;{asked.hold_until}" if asked.hold_until else f"for;{asked.hold_for}"
            rows.append(("Future-Release-Request", held))
        return _block(rows, is_utf8)

    def _words(self, notice: Notice) -> str:
        """The part for people."""
        until = datetime.fromtimestamp(notice.until, UTC).strftime("%Y-%m-%d %H:%M UTC") if notice.until else "then"
        lines = [f"This is the mail system at {self._host}.", "", _filled(_OPENINGS[notice.told].format(until=until))]
        for one in notice.recipients:
            lines += ["", f"  <{_printable(one.address, is_utf8=True)}>"]
            if said := _printable(one.diagnostic, is_utf8=True):
                peer = _SAID.fullmatch(said)
                words = f"{peer['peer']} said: {peer['reply']}" if peer else f"Reason: {said}"
                lines.append(_filled(words, 4))
            if notice.told is Told.FAILED:
                lines.append(_filled(_advice(one.status), 4))
            elif notice.told is Told.DELAYED:
                waited = duration_text(max(60, int(notice.now - notice.entry.since) // 60 * 60))
                lines.append(_filled(f"It was tried {_times(one.attempts)} within {waited}.", 4))
        if notice.told not in _GOOD:
            lines += ["", _filled(f"Whoever looks into it will ask for this number: {notice.entry.id}")]
        return "\n".join([*lines, ""])


def _about(notice: Notice, one: Recipient, is_utf8: bool) -> bytes:
    """The fields about one recipient (RFC 3464 section 2.3)."""
    path = one.forward_path
    rows = []
    if path is not None and path.orcpt:
        kind, _, word = path.orcpt.partition(";")
        rows.append(("Original-Recipient", f"{kind.strip() or 'rfc822'}; {_decoded(word)}"))
    rows.append(("Final-Recipient", _typed(one.address, is_utf8)))
    rows += [("Action", notice.told.value), ("Status", str(_status(notice.told, one.status)))]
    diagnostic = _printable(one.diagnostic, is_utf8=True)
    if said := _SAID.fullmatch(diagnostic):
        if host := _HOST.match(said["peer"]):
            rows.append(("Remote-MTA", f"dns; {host[0]}"))
        rows.append(("Diagnostic-Code", f"smtp; {said['reply']}"))
    elif diagnostic and notice.told not in _GOOD:
        rows.append(("Diagnostic-Code", f"X-mailpipe; {diagnostic}"))
    rows += [("Last-Attempt-Date", _date(one.changed)), ("Final-Log-Id", notice.entry.id)]
    if notice.told is Told.DELAYED and notice.until:
        rows.append(("Will-Retry-Until", _date(notice.until)))
    return _block(rows, is_utf8)


def _status(told: Told, status: EnhancedStatus | None) -> EnhancedStatus:
    """The status in the class that goes with the action (RFC 3464 section 2.3.4)."""
    if told in _GOOD:
        return status if status is not None and status.is_success else EnhancedStatus(2, 0, 0)
    if told is Told.DELAYED:
        return status if status is not None and status.is_transient else EnhancedStatus(4, 0, 0)
    if status is None:
        return EnhancedStatus(5, 0, 0)
    # What was given up after its time is permanent now: RFC 3463 section 3.5 has the word for it.
    return status if status.is_permanent else EnhancedStatus(5, 4, 7)


def _advice(status: EnhancedStatus | None) -> str:
    if status is None:
        return _ANY_ADVICE
    if not status.is_permanent:
        return _ADVICE[4, 7]
    return _ADVICE.get((status.subject, status.detail)) or _ADVICE.get((status.subject, None)) or _ANY_ADVICE


def _head(entry: Entry) -> bytes:
    """The header of a message with its empty line, shortened if it has no end; none where the content is gone."""
    try:
        with entry.view() as octets:
            head = bytes(octets[: _HEADER_LIMIT * 2])
    except InputError:
        return b""  # the report is about that, perhaps
    found = _HEADER_END.search(head)
    if found is None or found.end() > _HEADER_LIMIT:
        head = head[:_HEADER_LIMIT]
        return head[: head.rfind(b"\n") + 1] or head
    return head[: found.end()]


def _returned(notice: Notice, head: bytes, is_utf8: bool) -> list[Entity]:
    """The message or its header, as RET asks; whole only in reports of failures (RFC 3461 sections 4.3 and 6.2)."""
    entry = notice.entry
    if not head:
        return []
    asked = entry.sender.parameters
    # RFC 8689 section 5: the header of what must travel over TLS is enough
    may_be_whole = asked.ret != "HDRS" and not asks_for_tls(asked) and entry.size <= FULL_LIMIT
    if notice.told is Told.FAILED and may_be_whole:
        octets = _LINE_END.sub(b"\r\n", _whole(entry))
        if octets and b"\0" not in octets and not _OVERLONG.search(octets):
            if is_utf8 and not octets.isascii():
                return [compose.leaf(octets, "message/global", encoding="8bit")]
            return [compose.enclosed(parse(octets))]
    octets = _LINE_END.sub(b"\r\n", head)
    kind = "message/global-headers" if is_utf8 and not head.isascii() else "text/rfc822-headers"
    return [_leaf(octets, kind, is_utf8)]


def _whole(entry: Entry) -> bytes:
    """The message; nothing where it is no more what was put in."""
    try:
        return entry.octets
    except InputError:
        return b""


def _leaf(octets: bytes, kind: str, is_utf8: bool) -> Entity:
    return compose.leaf(octets, kind, is_text=True, domain="8bit" if is_utf8 else "7bit")


def _block(rows: list[tuple[str, str]], is_utf8: bool) -> bytes:
    return b"".join(
        Field.compose(name, _printable(value, is_utf8=is_utf8)[:_TEXT_LIMIT].encode()).raw for name, value in rows
    )


def _typed(address: str, is_utf8: bool) -> str:
    """An address with its type (RFC 3464 section 2.1.2, RFC 6533 section 3)."""
    if not address:
        return "rfc822; unknown"
    if address.isascii():
        return f"rfc822; {address}"
    if is_utf8:
        return f"utf-8; {address}"
    return "utf-8; " + _PLAIN_XTEXT.sub(lambda found: f"\\x{{{ord(found[0]):02X}}}", _CONTROLS.sub("", address))


def _decoded(word: str | None) -> str:
    """Undo xtext; what is none is taken as it stands."""
    if not word:
        return ""
    try:
        return decode_xtext(word)
    except ValueError:
        return word


def _printable(text: str, *, is_utf8: bool) -> str:
    """One line without controls: peers say what they like, and an address may have come from anywhere."""
    text = " ".join(_CONTROLS.sub(" ", text).split())
    return text if is_utf8 else text.encode("ascii", "backslashreplace").decode("ascii")


def _date(moment: float) -> str:
    return render_date(datetime.fromtimestamp(moment, UTC)).decode("ascii")


def _filled(text: str, indent: int = 0) -> str:
    blanks = " " * indent
    return textwrap.fill(
        text, _WIDTH, initial_indent=blanks, subsequent_indent=blanks, break_long_words=False, break_on_hyphens=False
    )


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
