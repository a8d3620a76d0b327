from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpipe.fields import date as dates
from mailpipe.fields.date import DateTime, parse, render


def iso(body: str) -> str | None:
    moment = parse(body.encode()).datetime
    return moment.isoformat() if moment is not None else None


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("Fri, 21 Nov 1997 09:55:06 -0600", "1997-11-21T09:55:06-06:00"),
        (" 1 Jul 2003 10:52 +0200", "2003-07-01T10:52:00+02:00"),
        ("Fri, 21 Nov 97 09(comment):   55  :  06 -0600", "1997-11-21T09:55:06-06:00"),
        ("Fri (a), 21 (b) Nov 1997 (c) 09 (d) : 55 -0600", "1997-11-21T09:55:00-06:00"),
        ("21 Nov 97 09:55:06 GMT", "1997-11-21T09:55:06+00:00"),
        ("Sun, 08 Dec 91 09:11:00 EST", "1991-12-08T09:11:00-05:00"),
        ("Thu, 22 Aug 102 12:07:35 +0800", "2002-08-22T12:07:35+08:00"),
        ("Thu, 22 Aug 0102 12:07:35 +0800", "2002-08-22T12:07:35+08:00"),
        ("26 Aug 76 14:30 PDT", "1976-08-26T14:30:00-07:00"),
        ("Sat Mar 24 21:23:03 EDT 2007", "2007-03-24T21:23:03-04:00"),
        ("Sat Mar 24 21:23:03 2007", "2007-03-24T21:23:03+00:00"),
        ("Sunday, 06-Nov-94 08:49:37 GMT", "1994-11-06T08:49:37+00:00"),
        ("Tue, 21 April 15 14:44:51 GMT", "2015-04-21T14:44:51+00:00"),
        ("Tue, 12 Jun 2012 19:22:28 0200", "2012-06-12T19:22:28+02:00"),
        ("Mon, 02 Sep 2002 01:07:29 -08:00", "2002-09-02T01:07:29-08:00"),
        ("Fri, 07 Jun 2002 16:35:51 GMT+1", "2002-06-07T16:35:51+01:00"),
        ("28 Jun 01 10:05:15 PM", "2001-06-28T22:05:15+00:00"),
        ("2002-09-22T10:00:00Z", "2002-09-22T10:00:00+00:00"),
        ("22/08/2002 10:25:57", "2002-08-22T10:25:57+00:00"),
        ("Thu, 22 08 2002 10:25:57", "2002-08-22T10:25:57+00:00"),
        ("22 08 02 10:25:57 +0100", "2002-08-22T10:25:57+01:00"),
        ("22 13 2002 10:25:57", None),
        ("4 8 15 16 23:42", None),
        ("08/22/2002 10:25:57", "2002-08-22T10:25:57+00:00"),
        ("13/13/2002 10:25:57", None),
        ("Thu, Aug 22, 2002 at 10:25 PM", "2002-08-22T22:25:00+00:00"),
        ("Thu, 8 Aug 2002 14:00:00 CEST", "2002-08-08T14:00:00+02:00"),
        ("Thu, 8 Aug 2002 14:00:00 XYZ", "2002-08-08T14:00:00+00:00"),
        ("Thu, 8 Aug 2002 14:00:00", "2002-08-08T14:00:00+00:00"),
        ("Thu, 8 Aug 2002 14:00", "2002-08-08T14:00:00+00:00"),
        ("Thu, 8 Aug 2002 14:00:", None),
        ("Thu, 8 Aug 2002 14:00:0", "2002-08-08T14:00:00+00:00"),
        ("Thu, 8 Aug 2002 9:8:7 -0600", "2002-08-08T09:08:07-06:00"),
        ("Thu, 8 Aug 2002 14:00:00 +-0500", "2002-08-08T14:00:00-05:00"),
        ("Thu, 8 Aug 2002 14:00:00 -400 (EDT)", "2002-08-08T14:00:00-04:00"),
        ("Thu, 8 Aug 2002 14:00:00 (CEST)", "2002-08-08T14:00:00+00:00"),
        ("Thu, 8 Aug 2002 14:00:00 Eastern Daylight Time", "2002-08-08T14:00:00+00:00"),
        ("Aug, 08 2002 2:00:01 PM +0300", "2002-08-08T14:00:01+03:00"),
        ("8 Aug 02 12:00:01 AM", "2002-08-08T00:00:01+00:00"),
        ("Thu, 8 Aug 2002 14:00:00 BST", "2002-08-08T14:00:00+01:00"),
        ("Thu, 8 Aug 2002 14:00:00 NST", "2002-08-08T14:00:00-03:30"),
        ("Thu, 8 Aug 2002 14:00:00 AEST", "2002-08-08T14:00:00+10:00"),
        ("Mar, 2 April 2002 14:00:00 +0100", "2002-04-02T14:00:00+01:00"),
        ("Mar 2 Apr 2002 14:00:00 +0100", "2002-04-02T14:00:00+01:00"),
        ("Sam, 6 April 2002 14:00:00 +0100", "2002-04-06T14:00:00+01:00"),
        ("Sam. 6 Apr 2002 14:00:00 +0100", "2002-04-06T14:00:00+01:00"),
        ("Tue, 2 Avr 2002 14:00:00 +0100", None),
        ("Mar, 2 2002 14:00:00 +0100", "2002-03-02T14:00:00+01:00"),
        ("Thu,\r\n 8 Aug\r\n\t2002 14:00:00\r\n +0100 (CET (really))", "2002-08-08T14:00:00+01:00"),
        ("Sat, 31 Dec 2016 23:59:60 +0000", "2017-01-01T00:00:00+00:00"),
        ("32 Jan 2020 00:00 GMT", None),
        ("1 Jan 2020 25:00 GMT", None),
        ("Tue, 19 Jan 2038", None),
        ("19 Jan +5:18 10:00", None),
        ("Sat, 9 May flies bit my arms", None),
        ("", None),
        ("Fri, 31 Dec 9999 23:59:59 -1200", None),
    ],
)
def test_dates_are_read_as_they_are_written(body: str, expected: str | None) -> None:
    for zone in (*body.split()[-1:], "+0800", "-1200"):
        iso(f"Fri, 21 Nov 1997 09:55:06 {zone}")  # zones and days that were seen before make no difference
    assert iso(body) == expected
    assert iso(body) == expected


def test_the_zone_is_kept_as_written() -> None:
    assert parse(b"1 Jul 2003 10:52:00 -0000").zone == "-0000"
    assert parse(b"1 Jul 2003 10:52:00 -0000").is_local_unknown
    assert parse(b"1 Jul 2003 10:52:00 EST").zone == "EST"
    assert not parse(b"1 Jul 2003 10:52:00 +0000").is_local_unknown
    assert parse(b"1 Jul 2003 10:52:00").is_local_unknown


def test_a_date_in_order_has_no_defect_however_often_it_is_read() -> None:
    for _ in range(2):
        assert parse(b" Fri, 21 Nov 1997 09:55:06 -0600 (CST)\r\n").defects == ()
        assert [defect.code for defect in parse(b"Fri, 21 Nov 1997 09:55:06 PST").defects] == ["obsolete-date"]
        assert [defect.code for defect in parse(b"yesterday").defects] == ["invalid-date"]


DATES = ["Fri, 21 Nov 1997 09:55:06 -0600 (CST)", "21 Nov 1997 09:55:06 GMT", "Tue Jun 11 10:33:29 2002", "09:55:06 +0100"]


@pytest.mark.parametrize("date", DATES)
def test_no_piece_of_a_date_raises(date: str) -> None:
    for start in range(len(date)):
        for stop in range(start, len(date) + 1):
            parse(date[start:stop].encode())
            parse(date[start:stop].replace(" ", "").encode() + b"Z")


@given(st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(9990, 1, 1)), st.integers(-1439, 1439))
def test_a_rendered_date_reads_back(naive: datetime, minutes: int) -> None:
    moment = naive.replace(microsecond=0, tzinfo=timezone(timedelta(minutes=minutes)))
    value = parse(render(moment))
    assert value.datetime == moment
    assert value.defects == ()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("8 Aug 02 14:00:00 EST (x)", ("obsolete-date", "8 Aug 02 14:00:00 EST")),
        ("Thu, 8 Aug 0102 14:00:00 +0100", ("obsolete-date", "Thu, 8 Aug 0102 14:00:00 +0100")),
        ("8 Aug 2002 14:00:00 0530", ("obsolete-date", "8 Aug 2002 14:00:00 0530")),
        ("8 Aug 2002 2:00:00 EST", ("obsolete-date", "zone EST")),
        ("8 Aug 2002 14:00:00 -08:00", ("obsolete-date", "zone -08:00")),
        ("8 Aug 2002 14:00:00 +9999", ("invalid-date", "zone +9999")),
        ("8 Aug 2002 14:00:00 XYZ", ("invalid-date", "zone XYZ")),
        ("8 Aug 2002 14:00:00", ("invalid-date", "zone missing")),
        ("8 Aug 2002 25:00:00", ("invalid-date", "8 Aug 2002 25:00:00")),
    ],
)
def test_what_is_odd_about_a_date_is_its_defect(body: str, expected: tuple[str, str]) -> None:
    for _ in range(2):
        assert [(defect.code, defect.detail) for defect in parse(body.encode()).defects] == [expected]


def test_a_moment_without_a_zone_says_so() -> None:
    assert render(datetime(2020, 1, 2, 3, 4, 5)) == b"Thu, 2 Jan 2020 03:04:05 -0000"
    assert DateTime.of(datetime(2020, 1, 2, tzinfo=UTC)).render() == b"Thu, 2 Jan 2020 00:00:00 +0000"
    assert DateTime(None).render() == b""


PIECES = st.sampled_from(
    ["Fri, ", "Sat,\t", "21", "1", "0", "31", " ", "  ", " Nov ", " Feb\t", "1997", "97", "0102", " 09:55:06", "24:00:00", "23:59:60", "9:55:06", "09:55", " +0000",
     " -0600", " -9999", " EST", " GMT", " UT", " Z", " (CST)", " (", ")", ":", "\v", "+01", "Fri Nov  7 "]
)  # fmt: skip
DATE = st.tuples(*[st.sampled_from(each) for each in (
    ["", "Fri, ", "Sat,\t", "fri, ", "Fri "], ["21", "1", "0", "31", "\t21"], [" Nov ", " Feb\t", " nov "], ["1997", "97", "2000"], [" ", "\t ", ""],
    ["09:55:06", "24:00:00", "23:59:60", "9:55:06", "09:55", "09:55:0x", "0:9:55:06", "09.55:06"],
    ["", " 1997", " +0000", " -0600", "+0100", " -9999", " EST", " GMT", " UT", " CEST", " BST", " z", " T", " Oct", " AM", " pm (x)", "  PM", " (x)"], ["", " (CST)", "\t(a b) (c)", " (CST", " "],
)]).map("".join)  # fmt: skip
ODD_DATE = st.tuples(*[st.sampled_from(each) for each in (
    ["", "Fri, ", "Sunday ", "Mar ", "Xyz, ", " Thu\t,"], ["21 Nov ", "1 Feb ", "Nov, 21 ", "Mar 2 ", "31 Jun ", "9 Xyz "], ["1997", "97", "102", "0102", "2", "9999"], [" ", "\t ", " at "],
    ["09:55:06", "9:5:6", "0:55", "23:59:60", "24:00:00", "12:00:01", "09:55:06.5", "09:55:"], ["", " AM", " PM", "\tPM", " pm", " P.M.", " PMX"],
    ["", " +-0500", " -08:00", " - 0800", " -400", " GMT+1", " 0530", " 1997", " Eastern Daylight Time", " (x)", " (x) : 55", " :5", "\t,+0100", " 10:11 PM", " 2002-09-22", " +123456", " January", " (x"],
)]).map("".join)  # fmt: skip


CTIME = st.tuples(*[st.sampled_from(each) for each in (
    ["Fri ", "Fri, ", ""], ["Nov", "Feb", "Xyz"], [" ", "  ", "   "], ["1", "21", "31"], [" ", "  "], ["09:55:06", "24:00:00", "9:55:06"],
    [" 1997", " 97", "  1997", " -0600", "", " GMT 1997", " 1997 -0600"],
)]).map("".join)  # fmt: skip


@given(DATE | ODD_DATE | CTIME | st.lists(PIECES, max_size=9).map("".join))
def test_a_date_means_the_same_however_quickly_it_is_read(text: str) -> None:
    text = text.strip(" \t\r\n")
    thorough = dates._parse_any(text.encode("latin-1"))
    for _ in range(2):
        assert repr(dates.of_text(text)) == repr(thorough)
    assert dates.read_moment(text) == thorough.datetime
