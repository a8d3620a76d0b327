"""The From_ line that separates the messages of an mbox (RFC 4155 appendix A): sender, and date as asctime gives it.

    parse(b"From ann@example.org Thu Nov 29 23:33:09 1973 +0200").sender        # "ann@example.org"
    render("ann@example.org", datetime.now(UTC))                                # b"From ann@example.org Thu Nov 29 …"

Never here: where such lines stand in an archive, and which of them separate; see `mbox`.

QUIRK: thirty years of writers: no seconds, a zone before or after the year (name or offset), the date of RFC 5322,
senders with blanks in them, the tail "remote from host" of UUCP.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

MAX_LENGTH = 2048
"""LIMIT: a longer line is no From_ line: nobody writes one, and each candidate is read as a whole."""

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH_NUMBERS = {month.encode(): number for number, month in enumerate(_MONTHS, 1)}
# RFC 5322 section 4.3; other names say nothing that can be relied on and count as UTC.
_ZONES = {b"EDT": -4, b"EST": -5, b"CDT": -5, b"CST": -6, b"MDT": -6, b"MST": -7, b"PDT": -7, b"PST": -8}

_MONTH = rb"(?P<{0}>" + b"|".join(month.encode() for month in _MONTHS) + rb")"
_TIME = rb"(?P<{0}>(?:[01]\d|2[0-3]):[0-5]\d(?>(?::[0-6]\d)?))"
_BLANK = rb"[ \t]{1,8}+"
_DATE = re.compile(
    rb"(?<=[ \t])(?:" + b"|".join(day.encode() for day in _DAYS) + rb"),?+" + _BLANK
    + rb"(?:"
    + _MONTH.replace(b"{0}", b"month") + _BLANK + rb"(?P<day>[0-3]?\d)" + _BLANK + _TIME.replace(b"{0}", b"time")
    + rb"(?>(?:" + _BLANK + rb"(?P<zone>[A-Za-z]{1,10}+|[+-]\d{4}))?)" + _BLANK + rb"(?P<year>\d{4}|\d\d)"
    + rb"|(?P<day2>[0-3]?\d)" + _BLANK + _MONTH.replace(b"{0}", b"month2") + _BLANK + rb"(?P<year2>\d{4}|\d\d)"
    + _BLANK + _TIME.replace(b"{0}", b"time2")
    + rb")"
    + rb"(?>(?:" + _BLANK + rb"(?P<name>[A-Za-z]{1,10}+(?![ \t]+from\b)))?)"
    + rb"(?>(?:" + _BLANK + rb"(?P<offset>[+-]\d{4}))?)"
    + rb"(?>(?:" + _BLANK + rb"(?:\([^()]{1,40}+\)|remote[ \t]from[ \t]\S++))?)"
    + rb"[ \t\r\n]*+\Z"
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class FromLine:
    """A From_ line that was understood.

    Attributes:
        sender: what stands for the reverse-path, as written; "" where it is absent.
        date: when the message was put into the archive, in UTC.
    """

    sender: str
    date: datetime


def _search(line: bytes) -> re.Match[bytes] | None:
    if not line.startswith(b"From ") or len(line) > MAX_LENGTH:
        return None
    # The sender ends where the date begins; an absent one leaves two blanks.
    return _DATE.search(line, 6)


def is_dated(line: bytes) -> bool:
    """Whether a line is a From_ line with a date at its end; faster than `parse`."""
    return _search(line) is not None


def _offset(text: bytes) -> timedelta:
    sign = -1 if text[:1] == b"-" else 1
    return sign * timedelta(hours=int(text[1:3]), minutes=int(text[3:5]))


def parse(line: bytes) -> FromLine | None:
    """Read a From_ line; None where it has another form.

    Args:
        line: with or without its line end.

    >>> parse(b"From ann@example.org Thu Nov 29 23:33:09 1973").sender
    'ann@example.org'
    >>> parse(b"From Russia with love") is None
    True
    """
    if (match := _search(line)) is None:
        return None
    year = int(match["year"] or match["year2"])
    if year < 100:
        year += 2000 if year < 50 else 1900  # RFC 5322 section 4.3
    hour, minute, *second = (int(digits) for digits in (match["time"] or match["time2"]).split(b":"))
    month, day = _MONTH_NUMBERS[match["month"] or match["month2"]], int(match["day"] or match["day2"])
    zone = match["offset"] or match["zone"] or match["name"] or b""
    offset = _offset(zone) if zone[:1] in (b"+", b"-") else timedelta(hours=_ZONES.get(zone.upper(), 0))
    try:
        # A leap second has no place in a datetime.
        local = datetime(year, month, day, hour, minute, min(second[0] if second else 0, 59), tzinfo=timezone(offset))
        moment = local.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return FromLine(line[5 : match.start()].strip(b" \t").decode("utf-8", "surrogateescape"), moment)


def render(sender: str, date: datetime) -> bytes:
    """The From_ line of a message, without a line end (RFC 4155: the date in UTC, as asctime writes it).

    Args:
        sender: the reverse-path; "" becomes MAILER-DAEMON, as mail servers write it. Blanks and control
            characters become "-", so that the line stays one line with one sender.
        date: an aware datetime.

    >>> render("", datetime(1973, 11, 29, 21, 33, 9, tzinfo=UTC))
    b'From MAILER-DAEMON Thu Nov 29 21:33:09 1973'
    """
    safe = re.sub(r"[\x00-\x20\x7f-\xa0\u2028\u2029]+", "-", sender) or "MAILER-DAEMON"
    moment = date.astimezone(UTC)
    stamp = (
        f"{_DAYS[moment.weekday()]} {_MONTHS[moment.month - 1]} {moment.day:2} {moment:%H:%M:%S} {moment.year:04}"
    )
    return b"From " + safe.encode("utf-8", "surrogateescape")[: MAX_LENGTH // 2] + b" " + stamp.encode("ascii")
