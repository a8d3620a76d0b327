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
from collections.abc import Callable, Iterable
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
_ORDINARY_MONTHS = {name.capitalize(): number for name, number in _MONTHS.items()}
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
# any other: what begins with a colon or with AM may be more of the clock
_ODD_ZONE = re.compile(r"[ \t\r\n]++(?![:(]|[AaPp]\.?[Mm]\b)|[ \t]*+(?>(?:\([^()\\\r\n]*+\)[ \t]*+)*)\Z")
_LONGEST_ZONE = 60
# the month before the day, a short year, a clock with fewer digits or of twelve hours
_ODD_DATE = re.compile(
    r"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)\b[ \t,]*+)?"
    r"(?:([0-9]{1,2})[ \t]++([A-Z][a-z][a-z])|([A-Z][a-z][a-z])[ \t,]++([0-9]{1,2}))[ \t]++([0-9]{2,4})[ \t]++"
    r"([0-9]{1,2}):([0-9]{1,2})(?::([0-9]{1,2}))?(?: ([AP])M)?(?=[ \t]|\Z)"
)
_LONGEST = 1000  # LIMIT: no date is longer; a megabyte of parentheses is none
_PIECE = re.compile(
    r"([A-Za-z]++)\.?"  # a word
    r"|(\d{4}[-/.]\d{1,2}[-/.]\d{1,2})(?=[T ,]|\Z)[T ]?"  # a date of ISO 8601
    r"|(\d{1,2}[-/]\d{1,2}[-/]\d{4}|\d{1,2}\.\d{1,2}\.\d{4})(?!\d)"  # another
    r"|(\d{1,2})[:.](\d{1,2})(?:[:.](\d{1,2})(?:[.,]\d{1,9})?)?(?![\d:])(?:[ ]?([AaPp])\.?[Mm]\b\.?)?"  # a clock
    r"|([+-][ ]?\d{1,2}:?\d{2}(?!\d)|[+-]\d{1,2}(?!\d)|[+-]\d{3,}+)"  # a zone
    r"|(\d++)"  # a number
)
_SEPARATOR = re.compile(r"[-/.]")


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
        return self.zone == "-0000" or _places[self.zone][0] is None

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
    return f"{year}-{_ORDINARY_MONTHS[month]:02}-{int(day):02}T"


def _read_place(zone: str) -> tuple[timezone | None, tuple[Defect, ...]]:
    """What a zone as written means, None where nobody knows; what is wrong with it."""
    offset = _offset(zone)
    if offset is None:
        return None, (Defect("invalid-date", 0, f"zone {one_line(zone) or 'missing'}"),)
    is_modern = zone[:1] in ("+", "-") and len(zone) == 5
    return timezone(offset), () if is_modern else (Defect("obsolete-date", 0, f"zone {zone}"),)


_places = Remembered(_read_place, 20)
_Zone = tuple[str, str, tuple[Defect, ...], timezone | None]
_ODD, _OBSOLETE = "odd", "obsolete"


def _read_zone(text: str) -> _Zone:
    """What stands behind the clock: the zone as ISO 8601 has it and as written, what is wrong with it, what it means.

    In the place of the first there is the year of ctime where that is there and no zone, and a word that is no zone
    where it is written oddly or makes the date obsolete. Raises KeyError for what may be more of the clock.
    """
    found = _ZONE.match(text)
    if found is not None:
        where, defects = _places[found[1]]
        where = where or UTC
        return f"{datetime(2000, 1, 1, tzinfo=where):%z}", found[1], defects, where
    found = _CTIME_YEAR.fullmatch(text)
    if found is not None:
        return found[1], "", _places[""][1], None
    if len(text) > _LONGEST_ZONE or _ODD_ZONE.match(text) is None:
        raise KeyError(text)
    moment, zone, is_obsolete = _read(_plain("1 Jan 2000 00:00:00" + text))
    where, defects = _places[zone]
    return _OBSOLETE if is_obsolete else _ODD, zone, defects, None if moment is None else where or UTC


days, zones = Remembered(_read_day, 60), Remembered(_read_zone, _LONGEST_ZONE)
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
        iso, zone, defects, where = zones[text[clock + 8 :]]
        moment = _from_iso(
            days[text[:clock]] + text[clock : clock + 8] + iso if where is not None
            else f"{iso}{days[text[:clock]]}{text[clock : clock + 8]}+0000"
        )  # fmt: skip
        is_read = text[clock + 5] == ":"
    except (KeyError, ValueError):  # an odd zone, a leap second, the 31st of June
        is_read = False
    if not is_read:
        return _parse_odd(text, body)
    made = _new(_Twin)
    made.datetime, made.zone, made.defects = moment, zone, defects
    made.__class__ = DateTime
    return made  # type: ignore[no-any-return]


of_text: Callable[..., DateTime] = (
    native.DateReader(DateTime, of_text_in_python) if native.DateReader is not None else of_text_in_python
)


def read_moment(text: str) -> datetime | None:
    """The moment that a piece of another field names, None where it names none."""
    text = text.strip(" \t\r\n")
    return (of_text(text) if text.isascii() else parse(text.encode("utf-8", "replace"))).datetime


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


def _plain(text: str) -> str:
    """A date without its comments and without blanks about its colons."""
    text = _without_comments(text)
    return _COLON.sub(":", text) if " :" in text or ": " in text or "\t" in text else text


def _parse_odd(text: str, body: bytes | None) -> DateTime:
    """A date whose pieces stand in one of the usual orders, whatever is odd about one of them; else any."""
    found = _ODD_DATE.match(text)
    if found is not None and len(text if body is None else body) <= _LONGEST:
        day, month, first_month, second_day, year, hour, minute, second, half = found.groups()
        try:
            iso, zone, defects, where = zones[text[found.end() :]]
            number = _ORDINARY_MONTHS[month or first_month]
        except KeyError:
            where = None
        if where is not None:
            moment = _moment(year, number, int(day or second_day), hour, minute, second, half, where)
            if moment is not None:
                if iso == _OBSOLETE or int(year) < 1000:
                    defects = _obsolete(_plain(text))
                return _make(moment, zone, defects)
    return _parse_any(text.encode("latin-1") if body is None else body)


def _obsolete(text: str) -> tuple[Defect, ...]:
    return (Defect("obsolete-date", 0, one_line(text.strip())),)


def _parse_any(body: bytes) -> DateTime:
    text = _plain(body[:_LONGEST].decode("latin-1"))
    moment, zone, is_obsolete = _read(text)
    if moment is None:
        start = len(body) - len(body.lstrip())
        return _make(None, zone, (Defect("invalid-date", start, one_line(text.strip())),))
    return _make(moment, zone, _obsolete(text) if is_obsolete else _places[zone][1])


_DAY_STEMS = frozenset(day.lower() for day in _DAYS)
_FULL_MONTHS = frozenset((
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "sept", "october",
    "november", "december",
))  # fmt: skip
_Pieces = Iterable[tuple[str, ...]]


def _read(text: str) -> tuple[datetime | None, str, bool]:
    """The moment of day, month, year, time and zone, whatever their order; the zone; whether the date is obsolete."""
    day: int | None = None
    month: int | None = None
    year = hour = minute = second = half = zone = ""
    numbers: list[str] = []
    is_begun = is_obsolete = False  # whether there was a word
    # a long text is no date, and its first pieces tell that
    pieces: _Pieces = _PIECE.findall(text) if len(text) < 200 else (each.groups("") for each in _PIECE.finditer(text))
    for word, iso, dashed, clock, minutes, seconds, half_day, offset, number in pieces:
        if word:
            low, is_first, is_begun = word.lower(), not is_begun, True
            # QUIRK: days of the week in other languages; "Mar" is a Tuesday before another month.
            is_open = month is None or (month == 3 and not hour)
            if is_open and low[:3] in _MONTHS and (len(low) == 3 or low in _FULL_MONTHS):
                month = _MONTHS[low[:3]]
                is_obsolete = is_obsolete or len(low) > 3
            elif not hour:
                if not (low in ("t", "at") or low[:3] in _DAY_STEMS or (is_first and not numbers)):
                    return None, "", False
            elif not zone:
                zone = word
        elif number:
            if not hour or (not year and month is not None and len(numbers) < 2):
                # "14:40:57 2007" is ctime's year, "19:22:28 0200" a zone without its sign.
                numbers.append(number)
            elif not zone and 3 <= len(number) <= 4:
                zone = "+" + number
                is_obsolete = True
            if len(numbers) > 3:
                return None, "", False
        elif clock:
            if not hour:
                hour, minute, second, half = clock, minutes, seconds, half_day
        elif offset:
            # A sign between the pieces of "06-Nov-94" is no zone.
            if not hour:
                if month is None or not year:
                    numbers.append(offset.lstrip("+- "))
            elif _places[zone][0] is None or zone.lower() in ("gmt", "utc", "ut", "z"):
                zone = offset.replace(" ", "")
        elif iso:
            year, months, days_ = _SEPARATOR.split(iso)
            month, day, is_obsolete = int(months), int(days_), True
        else:
            days_, months, year = _SEPARATOR.split(dashed)
            month, day, is_obsolete = int(months), int(days_), True
            if month > 12:  # as in America; where both can be the month, the day is taken to come first
                day, month = month, day
    if month is None and len(numbers) == 3 and len(numbers[1]) <= 2:
        month, is_obsolete = int(numbers.pop(1)), True
    for digits in numbers:
        if day is None and len(digits) <= 2:
            day = int(digits)
        elif not year and len(digits) <= 4:
            year = digits
        else:
            return None, zone, False
    if day is None or month is None or not year.isdecimal() or not hour:
        return None, zone, False
    moment = _moment(year, month, day, hour, minute, second, half, _places[zone][0] or UTC)
    return moment, zone, moment is not None and (is_obsolete or int(year) < 1000)


def _moment(
    digits: str, month: int, day: int, hours: str, minutes: str, seconds: str | None, half: str | None, where: timezone
) -> datetime | None:
    """The moment of a year and a clock as written; None where there is none."""
    year, hour, second = int(digits), int(hours), int(seconds or 0)
    if year < 1000:
        # RFC 5322 section 4.3. QUIRK: "0102" is a year 2002 counted from 1900 too.
        year += 2000 if year < 50 else 1900
    if half:
        hour = hour % 12 + (12 if half in "Pp" else 0)
    if year > 9998:
        return None
    try:
        # A leap second is the first of the next minute to a datetime.
        moment = datetime(year, month, day, hour, int(minutes), 59 if second == 60 else second, 0, where)
    except ValueError:
        return None
    return moment + timedelta(seconds=1) if second == 60 else moment


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
