"""Date and time: Date, Resent-Date and the end of every trace field (RFC 5322 sections 3.3 and 4.3).

    moment = date.parse(b" Fri, 21 Nov 1997 09:55:06 -0600")
    moment.datetime, moment.zone           # an aware datetime, "-0600"
    date.render(moment.datetime)           # b"Fri, 21 Nov 1997 09:55:06 -0600"

Departures, for the sake of mail as it is: QUIRK: the order of ctime and of ISO 8601, full month names, zones without
a sign and a few European and Asian zone names that mean one thing only are understood; a wrong day of the week is no
defect; a zone that cannot be is taken for an unknown one.

Never here: the clock. No function of this module asks what time it is.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone

from mailpipe import native
from mailpipe.defect import Defect
from mailpipe.fields.value import FieldValue, Remembered, one_line
from mailpipe.frozen import quick_maker, twin_of
from mailpipe.wire.lexer import comment_end

# The class below has a field named datetime, which hides the type from its methods.
Moment = datetime

_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS = {name: number for number, name in enumerate(_MONTH_NAMES, 1)}
_ORDINARY_MONTHS = {name.capitalize(): f"{number:02}" for name, number in _MONTHS.items()}
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_ZONE_HOURS = {
    **dict.fromkeys(("ut", "utc", "gmt", "z", "wet"), 0.0),
    # RFC 5322 section 4.3
    "est": -5, "edt": -4, "cst": -6, "cdt": -5, "mst": -7, "mdt": -6, "pst": -8, "pdt": -7,
    # Not of the standard, but none of them has a second meaning.
    "ast": -4, "adt": -3, "akst": -9, "akdt": -8, "hst": -10, "west": 1, "cet": 1, "cest": 2, "met": 1, "mest": 2,
    "mez": 1, "mesz": 2, "eet": 2, "eest": 3, "msk": 3, "msd": 4, "jst": 9, "kst": 9, "nzst": 12, "nzdt": 13,
    "nst": -3.5, "ndt": -2.5, "brt": -3, "brst": -2, "sast": 2, "hkt": 8, "sgt": 8, "awst": 8, "acst": 9.5,
    "acdt": 10.5, "aest": 10, "aedt": 11,
    # Bangladesh has the name, too, but mail has it from Britain.
    "bst": 1,
}  # fmt: skip

_W = r"[ \t\r\n]++"
_DAY = re.compile(
    rf"[ \t\r\n]*+(?:[A-Z][a-z][a-z],{_W})?([0-9]{{1,2}}){_W}([A-Z][a-z][a-z]){_W}([12][0-9]{{3}}){_W}"
)
_ZONE = re.compile(rf"{_W}([+-][0-9]{{4}}|(?![AaPp][Mm]\b)[A-Za-z]{{1,5}})(?>(?:{_W}\([^()\\\r\n]*+\))*)[ \t\r\n]*+\Z")
# as ctime(3) writes it, and many a program behind it: the year is behind the clock
_CTIME_DAY = re.compile(r"[A-Z][a-z][a-z] ([A-Z][a-z][a-z]) {1,2}+([0-9]{1,2}) ")
_CTIME_YEAR = re.compile(r" ([12][0-9]{3})")
_WITHOUT_ZONE = (Defect("invalid-date", 0, "zone missing"),)
_PIECE = re.compile(
    r"(?P<iso>\d{4}[-/.]\d{1,2}[-/.]\d{1,2})(?=[T ,]|\Z)[T ]?"
    r"|(?P<dashed>\d{1,2}[-/]\d{1,2}[-/]\d{4}|\d{1,2}\.\d{1,2}\.\d{4})(?!\d)"
    r"|(?P<time>\d{1,2}[:.]\d{1,2}(?:[:.]\d{1,2}(?:[.,]\d{1,9})?)?)(?![\d:])(?:[ ]?(?P<half>[AaPp]\.?[Mm]\b\.?))?"
    r"|(?P<zone>[+-][ ]?\d{1,2}:?\d{2}(?!\d)|[+-]\d{1,2}(?!\d)|[+-]\d{3,}+)"
    r"|(?P<number>\d++)"
    r"|(?P<word>[A-Za-z]++)\.?"
    r"|(?P<other>[^\s,])",
)


@dataclass(frozen=True, slots=True)
class DateTime(FieldValue):
    """A moment.

    Attributes:
        datetime: aware, None where the body is no date. Where the zone is unknown or missing it is in UTC.
        zone: as written: "-0600", "EST", "-0000", "" where there is none.
        defects: what is wrong with the body.

    >>> parse(b"26 Aug 76 14:30 EDT").datetime.isoformat()
    '1976-08-26T14:30:00-04:00'
    """

    datetime: datetime | None
    zone: str = ""
    defects: tuple[Defect, ...] = field(default=(), compare=False)

    @property
    def is_local_unknown(self) -> bool:
        """Whether the time is known in UTC only: "-0000", an unknown zone, none (RFC 5322 section 3.3)."""
        return self.zone == "-0000" or _offset(self.zone) is None

    @classmethod
    def of(cls, moment: Moment) -> "DateTime":
        """A moment for a composed field; one without a zone gets "-0000"."""
        return cls(moment, render(moment)[-5:].decode("ascii"))

    def __str__(self) -> str:
        return self.render().decode("ascii")

    def render(self) -> bytes:
        """The octets of a composed field's body; none where there is no moment."""
        if self.datetime is None:
            return b""
        octets = render(self.datetime)
        return octets[:-5] + b"-0000" if self.is_local_unknown else octets


_make = quick_maker(DateTime)
_Twin, _new = twin_of(DateTime), object.__new__
_from_iso = datetime.fromisoformat


def _read_day(text: str) -> str:
    """What stands before the clock, as ISO 8601 has it; raises KeyError where it is not written as most are."""
    found = _DAY.fullmatch(text)
    if found is not None:
        day, month, year = found.groups()
    elif (found := _CTIME_DAY.fullmatch(text)) is not None:
        month, day = found.groups()
        year = ""
    else:
        raise KeyError(text)
    return f"{year}-{_ORDINARY_MONTHS[month]}-{int(day):02}T"


def _read_zone(text: str) -> tuple[str, str, tuple[Defect, ...]]:
    """What stands behind the clock: the zone as ISO 8601 has it and as written, what is wrong with it; or KeyError.

    Where there is no zone, but the year of ctime, the year is in the place of the first.
    """
    found = _ZONE.match(text)
    if found is not None:
        zone = found[1]
        offset = _offset(zone)
        if offset is not None:
            return f"{datetime(2000, 1, 1, tzinfo=timezone(offset)):%z}", zone, _zone_defects(zone)
        if zone.isalpha():
            return "+0000", zone, (Defect("invalid-date", 0, f"zone {zone}"),)
        raise KeyError(text)
    found = _CTIME_YEAR.fullmatch(text)
    if found is None:
        raise KeyError(text)
    return found[1], "", _WITHOUT_ZONE


days, zones = Remembered(_read_day, 60), Remembered(_read_zone, 60)
"""What stands before the clock of a date and what behind it: a day has many mails, and a mail many hops."""


def parse(body: bytes) -> DateTime:
    """The moment that a body names. Never raises.

    Args:
        body: what follows the colon, folded or not.
    """
    return of_text(body.decode("latin-1").strip(" \t\r\n"), body)


def of_text_in_python(text: str, body: bytes | None = None) -> DateTime:
    """The same for a body without blanks at its ends.

    Args:
        text: the body.
        body: its octets, where there are others.
    """
    try:
        clock = text.find(":") - 2
        iso, zone, defects = zones[text[clock + 8 :]]
        moment = _from_iso(
            days[text[:clock]] + text[clock : clock + 8] + iso if zone
            else f"{iso}{days[text[:clock]]}{text[clock : clock + 8]}+0000"
        )  # fmt: skip
        is_read = text[clock + 5] == ":"
    except (KeyError, ValueError):  # an unknown zone, a leap second, the 31st of June
        is_read = False
    if not is_read:
        return _parse_any(text.encode("latin-1") if body is None else body)
    made = _new(_Twin)
    made.datetime, made.zone, made.defects = moment, zone, defects
    made.__class__ = DateTime
    return made  # type: ignore[no-any-return]


of_text: Callable[..., DateTime] = (
    native.DateReader(DateTime, of_text_in_python) if native.DateReader is not None else of_text_in_python
)


def usual_moment(text: str) -> datetime | None:
    """The moment of a date whose day and zone are looked up; None for one that takes more thought."""
    clock = text.find(":") - 2
    try:
        moment = _from_iso(days[text[:clock]] + text[clock : clock + 8] + zones[text[clock + 8 :]][0])
    except (KeyError, ValueError):
        return None
    return moment if text[clock + 5] == ":" else None


def read_moment(text: str) -> datetime | None:
    """The moment that a piece of another field names, None where it names none."""
    text = text.strip(" \t\r\n")
    return (of_text(text) if text.isascii() else parse(text.encode("utf-8", "replace"))).datetime


def _zone_defects(zone: str) -> tuple[Defect, ...]:
    is_modern = zone[:1] in ("+", "-") and len(zone) == 5
    return () if is_modern else (Defect("obsolete-date", 0, f"zone {zone or 'missing'}"),)


def _offset(zone: str) -> timedelta | None:
    """What a zone as written means; None where nobody knows."""
    if zone[:1] in ("+", "-"):
        digits = zone[1:].strip().replace(":", "")
        if not digits.isdecimal() or len(digits) > 4:
            return None
        number = int(digits) if len(digits) > 2 else int(digits) * 100
        if number % 100 > 59 or number > 2359:
            return None
        offset = timedelta(hours=number // 100, minutes=number % 100)
        return -offset if zone[0] == "-" else offset
    hours = _ZONE_HOURS.get(zone.lower())
    return timedelta(hours=hours) if hours is not None else None


_COLON = re.compile(r"(?<=\d)(?:[ \t]++:[ \t]*+|:[ \t]++)(?=\d)")  # "09 : 55: 06" (RFC 5322 section 4.3)


def _without_comments(text: str) -> str:
    while (start := text.find("(")) >= 0:
        end = comment_end(text, start)
        if end < 0:
            return text[:start]
        text = text[:start] + " " + text[end:]
    return text


def _parse_any(body: bytes) -> DateTime:
    defects: list[Defect] = []
    # LIMIT: no date is longer; a megabyte of parentheses is none.
    text = _COLON.sub(":", _without_comments(body[:1000].decode("latin-1")))
    moment, zone, is_obsolete = _read(text)
    if moment is None:
        start = len(body) - len(body.lstrip())
        defects.append(Defect("invalid-date", start, one_line(text.strip())))
        return _make(None, zone, tuple(defects))
    if is_obsolete:
        defects.append(Defect("obsolete-date", 0, one_line(text.strip())))
    elif _offset(zone) is None:
        defects.append(Defect("invalid-date", 0, f"zone {one_line(zone) or 'missing'}"))
    else:
        defects += _zone_defects(zone)
    return _make(moment, zone, tuple(defects))


class _Pieces:
    """What a text says about day, month, year, time and zone, whatever their order."""

    __slots__ = ("clock", "day", "half", "is_begun", "is_obsolete", "month", "numbers", "year", "zone")

    def __init__(self) -> None:
        self.day: int | None = None
        self.month: int | None = None
        self.year: str | None = None
        self.clock: str | None = None
        self.half = ""
        self.zone = ""
        self.numbers: list[str] = []
        self.is_begun = False  # whether there was a word
        self.is_obsolete = False

    def take(self, found: re.Match[str]) -> bool:
        """Take one piece; False when it makes the text no date."""
        kind, piece = found.lastgroup, found[0]
        if found["half"]:
            kind = "time"
        if kind == "time":
            if self.clock is not None:
                return True
            self.clock, self.half = found["time"], (found["half"] or "")[:1].lower()
        elif kind == "word":
            return self._word(found["word"])
        elif kind == "number":
            return self._number(piece)
        elif kind == "zone":
            # A sign between the pieces of "06-Nov-94" is no zone.
            if self.clock is None:
                if self.month is None or self.year is None:
                    self.numbers.append(piece.lstrip("+- "))
            elif _offset(self.zone) is None or not self.zone or self.zone.lower() in ("gmt", "utc", "ut", "z"):
                self.zone = piece.replace(" ", "")
        elif kind == "iso":
            year, month, day = re.split(r"[-/.]", found["iso"])
            self.year, self.month, self.day, self.is_obsolete = year, int(month), int(day), True
        elif kind == "dashed":
            day, month, year = re.split(r"[-/.]", piece)
            if int(month) > 12:  # as in America; where both can be the month, the day is taken to come first
                day, month = month, day
            self.year, self.month, self.day, self.is_obsolete = year, int(month), int(day), True
        return True

    def _word(self, word: str) -> bool:
        low, is_first, self.is_begun = word.lower(), not self.is_begun, True
        # QUIRK: days of the week in other languages; "Mar" is a Tuesday before another month.
        is_open = self.month is None or (self.month == 3 and self.clock is None)
        if is_open and low[:3] in _MONTHS and (len(low) == 3 or _is_month(low)):
            self.month = _MONTHS[low[:3]]
            self.is_obsolete = self.is_obsolete or len(low) > 3
        elif self.clock is None:
            return low in ("t", "at") or low[:3] in _DAY_STEMS or (is_first and not self.numbers)
        elif not self.zone:
            self.zone = word
        return True

    def _number(self, digits: str) -> bool:
        if self.clock is None:
            self.numbers.append(digits)
        elif self.year is None and self.month is not None and len(self.numbers) < 2:
            # "14:40:57 2007" is ctime's year, "19:22:28 0200" a zone without its sign.
            self.numbers.append(digits)
        elif not self.zone and 3 <= len(digits) <= 4:
            self.zone = "+" + digits
            self.is_obsolete = True
        return len(self.numbers) < 4


_DAY_STEMS = {day.lower() for day in _DAYS}
_FULL_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "sept", "october",
    "november", "december",
)  # fmt: skip


def _is_month(word: str) -> bool:
    return word in _FULL_MONTHS


def _read(text: str) -> tuple[datetime | None, str, bool]:
    pieces = _Pieces()
    for found in _PIECE.finditer(text):
        if not pieces.take(found):
            return None, "", False
    day, year, month = pieces.day, pieces.year, pieces.month
    if month is None and len(pieces.numbers) == 3 and len(pieces.numbers[1]) <= 2:
        month, pieces.is_obsolete = int(pieces.numbers.pop(1)), True
    for digits in pieces.numbers:
        if day is None and len(digits) <= 2:
            day = int(digits)
        elif year is None and len(digits) <= 4:
            year = digits
        else:
            return None, pieces.zone, False
    if day is None or month is None or year is None or not year.isdecimal() or pieces.clock is None:
        return None, pieces.zone, False
    number = int(year)
    if number < 1000:
        # RFC 5322 section 4.3. QUIRK: "0102" is a year 2002 counted from 1900 too.
        number += 2000 if number < 50 else 1900
    if number > 9998:
        return None, pieces.zone, False
    return _moment(number, month, day, pieces, int(year) < 1000)


def _moment(year: int, month: int, day: int, pieces: _Pieces, is_short: bool) -> tuple[datetime | None, str, bool]:
    assert pieces.clock is not None
    clock = [int(digits) for digits in re.split(r"[:.,]", pieces.clock)[:3]]
    hour, minute, second = clock[0], clock[1], clock[2] if len(clock) > 2 else 0
    if pieces.half:
        hour = hour % 12 + (12 if pieces.half == "p" else 0)
    zone = pieces.zone
    offset = _offset(zone)
    is_obsolete = pieces.is_obsolete or is_short
    where = timezone(offset) if offset else UTC
    try:
        # A leap second is the first of the next minute to a datetime.
        moment = datetime(year, month, day, hour, minute, min(second, 59) if second <= 60 else second, 0, where)
    except ValueError:
        return None, zone, False
    return (moment + timedelta(seconds=1) if second == 60 else moment), zone, is_obsolete


def render(moment: datetime) -> bytes:
    """The octets of a moment in a composed field (RFC 5322 section 3.3).

    A moment without a zone is taken for UTC in an unknown place and gets "-0000".

    >>> render(datetime(1997, 11, 21, 9, 55, 6, tzinfo=timezone(timedelta(hours=-6))))
    b'Fri, 21 Nov 1997 09:55:06 -0600'
    """
    offset = moment.utcoffset()
    if offset is None:
        zone = "-0000"
    else:
        minutes = round(offset.total_seconds() / 60)
        zone = f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}{abs(minutes) % 60:02}"
    month = _MONTH_NAMES[moment.month - 1].capitalize()
    text = f"{_DAYS[moment.weekday()]}, {moment.day} {month} {moment.year:04} {moment:%H:%M:%S} {zone}"
    return text.encode("ascii")
