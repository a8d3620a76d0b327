"""The one table of header fields: what type a name has, how often it may occur, whether it must (RFC 5322 3.6).

    registry.parse("Date", b" Fri, 21 Nov 1997 09:55:06 -0600").datetime
    registry.occurrence("Date")                      # Occurrence(maximum=1, is_required=True)
    registry.register_field("X-Spam-Status", parse_spam_status)

Three readers: the lazy views of a header, validation, and the writer. A name that is not in the table is unstructured.

Never here: how a value is read; each type's file knows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

from mailpipe.defect import Defect
from mailpipe.fields import (
    address,
    authentication,
    content_disposition,
    content_type,
    date,
    keywords,
    mailing_list,
    message_id,
    mime,
    trace,
    unstructured,
)
from mailpipe.fields.value import FieldValue, Remembered, Unparsed, one_line
from mailpipe.wire.folding import unfolded

Parser = Callable[[bytes], FieldValue]


@dataclass(frozen=True, slots=True)
class Occurrence:
    """How often a field may stand in one header (RFC 5322 section 3.6, RFC 2045 section 3).

    Attributes:
        maximum: the most times, None where there is no bound.
        is_required: it must stand there.
    """

    maximum: int | None = None
    is_required: bool = False


@dataclass(frozen=True, slots=True)
class FieldKind:
    """One row of the table.

    Attributes:
        name: as it is usually written.
        parse: body → value; never raises.
        value: the type of the value.
        occurrence: how often it may stand in one header.
    """

    name: str
    parse: Parser
    value: type[FieldValue]
    occurrence: Occurrence = Occurrence()


_ANY, _ONCE, _REQUIRED = Occurrence(), Occurrence(1), Occurrence(1, True)

_TABLE: dict[str, FieldKind] = {}
_PARSERS: dict[str, Parser] = {}


def _rows(parser: Parser, value: type[FieldValue], occurrence: Occurrence, names: str) -> None:
    for name in names.split():
        _TABLE[name.lower()] = FieldKind(name, parser, value, occurrence)
        _PARSERS[name] = _PARSERS[name.lower()] = parser


_rows(unstructured.parse, unstructured.Text, _ONCE, "Subject Content-Description Organization User-Agent")
_rows(unstructured.parse, unstructured.Text, _ANY, "Comments X-Mailer")
_rows(date.parse, date.DateTime, _REQUIRED, "Date")
_rows(
    date.parse, date.DateTime, _ONCE,
    "Delivery-Date Expires Expiry-Date Reply-By Deferred-Delivery Latest-Delivery-Time",
)  # fmt: skip
_rows(date.parse, date.DateTime, _ANY, "Resent-Date")
_rows(address.parse, address.AddressList, _REQUIRED, "From")
_rows(
    address.parse, address.AddressList, _ONCE,
    "Sender Reply-To To Cc Bcc Disposition-Notification-To Mail-Followup-To Mail-Reply-To Return-Receipt-To Approved",
)  # fmt: skip
_rows(
    address.parse, address.AddressList, _ANY,
    "Resent-From Resent-Sender Resent-To Resent-Cc Resent-Bcc Resent-Reply-To Errors-To Delivered-To X-Original-To"
    " Envelope-To Apparently-To",
)  # fmt: skip
_rows(message_id.parse, message_id.MessageId, _ONCE, "Message-ID Content-ID")
_rows(message_id.parse, message_id.MessageId, _ANY, "Resent-Message-ID")
_rows(message_id.parse_list, message_id.MessageIdList, _ONCE, "In-Reply-To References Supersedes Original-Message-ID")
_rows(trace.parse_received, trace.Received, _ANY, "Received")
_rows(trace.parse_return_path, trace.ReturnPath, _ANY, "Return-Path")
_rows(keywords.parse, keywords.Keywords, _ANY, "Keywords")
_rows(content_type.parse, content_type.ContentType, _ONCE, "Content-Type")
_rows(content_disposition.parse, content_disposition.ContentDisposition, _ONCE, "Content-Disposition")
_rows(mime.parse_version, mime.MimeVersion, _ONCE, "MIME-Version")
_rows(mime.parse_transfer_encoding, mime.TokenValue, _ONCE, "Content-Transfer-Encoding")
_rows(mime.parse_language, mime.Languages, _ONCE, "Content-Language")
_rows(mime.parse_digest, mime.TokenValue, _ONCE, "Content-MD5")
_rows(mime.parse_location, mime.TokenValue, _ONCE, "Content-Location Content-Base")
_rows(mime.parse_token, mime.TokenValue, _ONCE, "Auto-Submitted Importance Priority Sensitivity Precedence")
_rows(mailing_list.parse_id, mailing_list.ListId, _ONCE, "List-Id")
_rows(
    mailing_list.parse, mailing_list.ListUrls, _ONCE,
    "List-Help List-Subscribe List-Unsubscribe List-Post List-Owner List-Archive",
)  # fmt: skip
_rows(authentication.parse, authentication.AuthenticationResults, _ANY,
      "Authentication-Results ARC-Authentication-Results")  # fmt: skip
_rows(authentication.parse_tags, authentication.TagList, _ANY, "DKIM-Signature ARC-Seal ARC-Message-Signature")


_UNIQUE = frozenset((date.parse, message_id.parse, message_id.parse_list, trace.parse_received))
_BY_OCTETS: dict[bytes, Parser] = {}
REMEMBERED = 120
"""LIMIT: octets of a raw field that `read_often` should be asked for; longer ones seldom come twice."""


def parser_of(name: bytes) -> Parser:
    """What reads a body under a name as it stands in a header; remembered for the names that mail is full of."""
    parser = _BY_OCTETS.get(name)
    if parser is None:
        known = name.rstrip(b" \t").lower().decode("utf-8", "surrogateescape")
        parser = _PARSERS.get(known, unstructured.parse)
        if len(_BY_OCTETS) < 2000 and len(name) < 80:  # a sender's inventions must not fill the memory
            _BY_OCTETS[name] = parser
    return parser


def read(raw: bytes) -> FieldValue:
    """The typed value of a raw field, its name, folds and line end included. Never raises."""
    name, colon, body = raw.partition(b":")
    parser = _BY_OCTETS.get(name) or parser_of(name)
    return parser(unfolded(body if colon else name))


_addresses = Remembered(address.of_text, REMEMBERED)

TextReader = Callable[[str], FieldValue]

_FROM_TEXT: dict[Parser, TextReader] = {
    unstructured.parse: unstructured.of_text,
    date.parse: date.of_text,
    trace.parse_received: trace.received_of_text,
    address.parse: _addresses.__getitem__,
}
TEXT_READERS: dict[str, TextReader] = {}
"""What `reader_of` found for the names that mail is full of, as written."""


def reader_of(name: str) -> TextReader:
    """What reads, under a name as written, a body that is ASCII, unfolded, without blanks at its ends or encoded words.

    Remembered for the names that mail is full of.
    """
    reader = TEXT_READERS.get(name)
    if reader is None:
        parser = _PARSERS.get(name) or _PARSERS.get(name.lower()) or unstructured.parse
        reader = _FROM_TEXT.get(parser) or partial(_of_octets, parser)
        if len(TEXT_READERS) < 2000 and len(name) < 80:  # a sender's inventions must not fill the memory
            TEXT_READERS[name] = reader
    return reader


def _of_octets(parser: Parser, text: str) -> FieldValue:
    body = text.encode("ascii")
    return parser(body) if parser in _UNIQUE or len(body) > REMEMBERED else _remembered(parser, body)


def read_known(name: str, text: str) -> FieldValue:
    """The typed value of a field whose body is ASCII, unfolded, without blanks at its ends or encoded words.

    Args:
        name: as written.
        text: the body.
    """
    return (TEXT_READERS.get(name) or reader_of(name))(text)


read_often = lru_cache(4096)(read)
"""The same, remembering the last thousands: most fields of a list, a sender or a host are always the same."""


def parse_often(name: str, body: bytes) -> FieldValue:
    """What `parse` gives, remembering the last thousands but for values that seldom come twice. Never raises.

    Args:
        name: the field's name, in any case.
        body: the octets behind the colon, folded or not.
    """
    parser = _PARSERS.get(name) or _PARSERS.get(name.lower()) or unstructured.parse
    if parser in _UNIQUE:
        value = parser(body)
        return parser(unfolded(body)) if value.defects else value  # whose places count from the unfolded body
    if len(body) > REMEMBERED:
        return parser(unfolded(body))
    return _remembered(parser, body)


@lru_cache(4096)
def _remembered(parser: Parser, body: bytes) -> FieldValue:
    return parser(unfolded(body))


def parse(name: str, body: bytes) -> FieldValue:
    """The typed value of a field's body. Never raises; the value's type depends on the name alone.

    Args:
        name: the field's name, in any case.
        body: the octets behind the colon, folded or not.

    >>> parse("SUBJECT", b" hello").text
    'hello'
    """
    parser = _PARSERS.get(name) or _PARSERS.get(name.lower()) or unstructured.parse
    return parser(body)


def row_of(key: str) -> FieldKind | None:
    """The row of a name in lower case, None where the table has none: its fields are unstructured."""
    return _TABLE.get(key)


def kind(name: str) -> FieldKind:
    """The row of a name; an unstructured one, to occur any number of times, where the table has none."""
    found = _TABLE.get(name.lower())
    return found if found is not None else FieldKind(name, unstructured.parse, unstructured.Text)


def occurrence(name: str) -> Occurrence:
    """How often a field of this name may stand in one header."""
    found = _TABLE.get(name.lower())
    return found.occurrence if found is not None else _ANY


def required_names() -> tuple[str, ...]:
    """The fields without which no message is complete (RFC 5322 section 3.6), as they are usually written."""
    return tuple(row.name for row in _TABLE.values() if row.occurrence.is_required)


def spelling(name: str) -> str:
    """A name as it is usually written; as given where the table does not have it.

    >>> spelling("message-id")
    'Message-ID'
    """
    found = _TABLE.get(name.lower())
    return found.name if found is not None else name


def names() -> tuple[str, ...]:
    """Every name in the table, as it is usually written."""
    return tuple(row.name for row in _TABLE.values())


def register_field(
    name: str,
    parser: Parser,
    *,
    value: type[FieldValue] = FieldValue,
    maximum: int | None = None,
    is_required: bool = False,
) -> None:
    """Add a row, or replace one: the extension point for plugins.

    Args:
        name: the field's name.
        parser: octets → value. What it raises does not come through: the value is then `Unparsed`, with a defect.
        value: the type that it gives.
        maximum: how often the field may occur, None for any number of times.
        is_required: whether it must occur.

    Raises:
        ValueError: the name is no field name (RFC 5322 section 2.2).
    """
    if not name or not all("!" <= sign <= "~" and sign != ":" for sign in name):
        raise ValueError(f"{name!r} is no name of a header field")

    def guarded(body: bytes) -> FieldValue:
        try:
            return parser(body)
        except Exception as trouble:  # noqa: BLE001  a plugin's bug must not cost a message
            return Unparsed(body, (Defect("invalid-field", 0, one_line(f"{type(trouble).__name__}: {trouble}")),))

    previous = _TABLE.get(name.lower())
    if previous is not None:
        _PARSERS.pop(previous.name, None)
    _TABLE[name.lower()] = FieldKind(name, guarded, value, Occurrence(maximum, is_required))
    _PARSERS[name] = _PARSERS[name.lower()] = guarded
    _BY_OCTETS.clear()
    TEXT_READERS.clear()
    read_often.cache_clear()
    _remembered.cache_clear()
