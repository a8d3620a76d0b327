# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Dates, trace fields and addresses, compiled (RFC 5322 sections 3.3 and 3.4, RFC 5321 section 4.4), written as most are.

Never here: obsolete zones and other forms of dates and addresses, and how the clauses of a hop are read; Python does
that, and a hop is looked up in its tables.
"""

import datetime

from cpython.datetime cimport datetime_new, import_datetime, timedelta_new
from cpython.dict cimport PyDict_GetItemWithError
from cpython.object cimport PyObject
from libc.string cimport memcmp

from mailpipe.native._places cimport Place, PyUnicode_DATA, PyUnicode_GET_LENGTH, PyUnicode_IS_COMPACT_ASCII, is_space, text_of

import_datetime()

cdef extern from *:
    """
    #include "structmember.h"
    static int is_slot(PyObject *member) { return Py_TYPE(member) == &PyMemberDescr_Type; }
    static Py_ssize_t slot_of(PyObject *member) { return ((PyMemberDescrObject *)member)->d_member->offset; }
    static PyObject *new_instance(PyObject *kind) { return ((PyTypeObject *)kind)->tp_alloc((PyTypeObject *)kind, 0); }
    static void fill(PyObject *instance, Py_ssize_t slot, PyObject *value) {
        Py_INCREF(value);
        *(PyObject **)((char *)instance + slot) = value;
    }
    """
    bint is_slot(object member)
    Py_ssize_t slot_of(object member)
    object new_instance(object kind)
    void fill(object instance, Py_ssize_t slot, object value)


cdef inline bint _is_digit(unsigned char octet):
    return c"0" <= octet <= c"9"


cdef object _utc = datetime.timezone.utc
cdef object _timezone = datetime.timezone
cdef enum: FURTHEST = 900  # minutes; zones beyond are left to Python
cdef list _zones = [None] * (2 * FURTHEST + 1)


cdef object _zone(int minutes):
    if minutes == 0:
        return _utc
    made = _zones[minutes + FURTHEST]
    if made is None:
        made = _zones[minutes + FURTHEST] = _timezone(timedelta_new(0, minutes * 60, 0))
    return made


cdef int _two(Place at):
    """The number of two digits, below 0 where they are none."""
    return (at[0] - c"0") * 10 + at[1] - c"0" if _is_digit(at[0]) and _is_digit(at[1]) else -1


cdef int _month(Place at):
    """The month of three letters, 0 where they name none."""
    cdef const char* names = b"JanFebMarAprMayJunJulAugSepOctNovDec"
    cdef int number
    for number in range(12):
        if memcmp(names + 3 * number, at, 3) == 0:
            return number + 1
    return 0


cdef int _days(int year, int month):
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month == 4 or month == 6 or month == 9 or month == 11 else 31


cdef inline Place _behind_space(Place at, Place end):
    """Behind white space; NULL where there is none."""
    if at >= end or not is_space(at[0]):
        return NULL
    while at < end and is_space(at[0]):
        at += 1
    return at


cdef object _moment(Place at, Place end, Place* zone):
    """The moment of "Thu, 1 Jan 1998 10:20:30 +0100 (CET)", and where its zone stands; None where it is not so written.

    RFC 5322 section 3.3, without its obsolete forms.
    """
    cdef int day, month, year, hour, minute, second, offset
    while at < end and is_space(at[0]):
        at += 1
    if end - at < 5:
        return None
    if c"A" <= at[0] <= c"Z":
        if not (c"a" <= at[1] <= c"z" and c"a" <= at[2] <= c"z" and at[3] == c","):
            return None
        at = _behind_space(at + 4, end)
        if at == NULL:
            return None
    if end - at < 2 or not _is_digit(at[0]):
        return None
    day = at[0] - c"0"
    at += 1
    if _is_digit(at[0]):
        day = day * 10 + at[0] - c"0"
        at += 1
    at = _behind_space(at, end)
    if at == NULL or end - at < 3:
        return None
    month = _month(at)
    at = _behind_space(at + 3, end)
    if month == 0 or at == NULL or end - at < 4:
        return None
    year = _two(at) * 100 + _two(at + 2)
    if year < 1000 or year > 2999 or _two(at) < 0 or _two(at + 2) < 0:
        return None
    at = _behind_space(at + 4, end)
    if at == NULL or end - at < 8:
        return None
    hour, minute, second = _two(at), _two(at + 3), _two(at + 6)
    if at[2] != c":" or at[5] != c":" or hour < 0 or minute < 0 or second < 0:
        return None
    if hour > 23 or minute > 59 or second > 59 or day < 1 or day > _days(year, month):
        return None
    at = _behind_space(at + 8, end)
    if at == NULL or end - at < 5 or not (at[0] == c"+" or at[0] == c"-"):
        return None
    if _two(at + 1) < 0 or _two(at + 3) < 0 or _two(at + 3) > 59:
        return None
    offset = _two(at + 1) * 60 + _two(at + 3)
    if offset > FURTHEST:
        return None
    if at[0] == c"-":
        offset = -offset
    zone[0] = at
    at += 5
    while at < end:  # comments
        at = _behind_space(at, end)
        if at == NULL:
            return None
        if at == end:
            break
        if at[0] != c"(":
            return None
        at += 1
        while at < end and at[0] != c"(" and at[0] != c")" and at[0] != c"\\" and at[0] != c"\r" and at[0] != c"\n":
            at += 1
        if at == end or at[0] != c")":
            return None
        at += 1
    return datetime_new(year, month, day, hour, minute, second, 0, _zone(offset))


cdef class _Maker:
    """Makes instances of a frozen dataclass with slots, whose attributes are these."""

    cdef object kind
    cdef Py_ssize_t slots[16]

    def __cinit__(self, kind, tuple names not None):
        self.kind = kind
        if len(names) > 16:
            raise TypeError("too many attributes")
        for place, name in enumerate(names):
            member = kind.__dict__[name]
            if not is_slot(member):
                raise TypeError(f"{name} is no slot")
            self.slots[place] = slot_of(member)


cdef class DateReader:
    """Reads the text of a date as `mailpipe.fields.date` does, and asks `rare` where it is not an ordinary one."""

    cdef _Maker maker
    cdef object rare

    def __cinit__(self, kind, rare):
        self.maker = _Maker(kind, ("datetime", "zone", "defects"))
        self.rare = rare

    def __call__(self, str text not None, body=None):
        cdef Place start
        cdef Place zone = NULL
        if PyUnicode_IS_COMPACT_ASCII(text):
            start = <Place>PyUnicode_DATA(text)
            moment = _moment(start, start + PyUnicode_GET_LENGTH(text), &zone)
            if moment is not None:
                made = new_instance(self.maker.kind)
                fill(made, self.maker.slots[0], moment)
                fill(made, self.maker.slots[1], text_of(zone, 5))
                fill(made, self.maker.slots[2], ())
                return made
        return self.rare(text, body)


cdef enum: LONGEST = 600  # LIMIT: octets of a hop before its date; longer ones are left to Python


cdef object _looked_up(table, key):
    cdef PyObject* known = PyDict_GetItemWithError(table, key)
    return <object>known if known != NULL else table[key]


cdef class HopReader:
    """Reads the text of a hop by the tables of `mailpipe.fields.trace`, and asks `rare` where it is not an ordinary one."""

    cdef _Maker maker
    cdef object heads, rests, rare

    def __cinit__(self, kind, heads, rests, rare):
        self.maker = _Maker(
            kind,
            ("from_", "from_comment", "by", "by_comment", "via", "with_", "id", "for_", "comments", "date", "defects"),
        )
        if not isinstance(heads, dict) or not isinstance(rests, dict):
            raise TypeError("a table is a dict")
        self.heads, self.rests, self.rare = heads, rests, rare

    def __call__(self, str text not None, body=None):
        made = self.read(text) if PyUnicode_IS_COMPACT_ASCII(text) else None
        return made if made is not None else self.rare(text, body)

    cdef object read(self, str text):
        cdef Place start = <Place>PyUnicode_DATA(text)
        cdef Place end = start + PyUnicode_GET_LENGTH(text)
        cdef Place zone = NULL
        cdef unsigned char line[LONGEST]
        cdef unsigned char octet
        cdef Py_ssize_t stop = end - start - 1, at, cut = -1, behind
        cdef tuple head, rest
        while stop >= 0 and start[stop] != c";":
            stop -= 1
        if stop < 0 or stop > LONGEST:
            return None
        moment = _moment(start + stop + 1, end, &zone)
        if moment is None:
            return None
        for at in range(stop):
            octet = start[at]
            if octet == c"\t":
                octet = c" "
            line[at] = octet
            if octet == c" " and cut < 0 and at >= 3 and line[at - 1] == c"d" and line[at - 2] == c"i" and line[at - 3] == c" ":
                cut = at - 3
        known = _looked_up(self.heads, text_of(line, stop if cut < 0 else cut))
        if known is None:
            return None
        head = known
        id_, for_, comments = None, head[6], head[7]
        if cut >= 0:
            at = cut + 4
            while at < stop and line[at] == c" ":
                at += 1
            behind = at
            while behind < stop and line[behind] != c" ":
                behind += 1
            known = _looked_up(self.rests, text_of(line + behind + 1, stop - behind - 1) if behind < stop else "")
            if known is None:
                return None
            rest = known
            id_ = self.identifier(line + at, line + behind)
            if id_ is None:
                return None
            if rest[0]:
                for_ = rest[0]
            if rest[1]:
                comments = comments + rest[1]
        made = new_instance(self.maker.kind)
        for at in range(6):
            fill(made, self.maker.slots[at], head[at])
        fill(made, self.maker.slots[6], id_)
        fill(made, self.maker.slots[7], for_)
        fill(made, self.maker.slots[8], comments)
        fill(made, self.maker.slots[9], moment)
        fill(made, self.maker.slots[10], ())
        return made

    cdef object identifier(self, Place start, Place stop):
        """A word without its angle brackets; None where it is none."""
        cdef Place at
        if start < stop and start[0] == c"<":
            start += 1
        at = start
        while at < stop and at[0] not in b";()<>\"":
            at += 1
        if at == start or (at < stop and not (at[0] == c">" and at + 1 == stop)):
            return None
        return text_of(start, at - start)


cdef unsigned char _is_atext[256]
cdef unsigned char _is_phrase[256]


cdef void _fill_tables():
    cdef int octet
    for octet in range(256):
        _is_atext[octet] = octet < 128 and (chr(octet).isalnum() or octet in b"!#$%&'*+/=?^_`{|}~-")
        _is_phrase[octet] = _is_atext[octet] or octet == c"." or octet == c" "


_fill_tables()


cdef inline Place _behind_blanks(Place at, Place end):
    while at < end and is_space(at[0]):
        at += 1
    return at


cdef Place _behind_dot_atom(Place at, Place end):
    """Behind atoms with dots between them; NULL where there are none."""
    cdef Place word
    while True:
        word = at
        while at < end and _is_atext[at[0]]:
            at += 1
        if at == word:
            return NULL
        if not (at + 1 < end and at[0] == c"." and _is_atext[at[1]]):
            return at
        at += 1


cdef Place _behind_address(Place at, Place end):
    """Behind an address; NULL where there is none."""
    at = _behind_dot_atom(at, end)
    if at == NULL or at >= end or at[0] != c"@":
        return NULL
    return _behind_dot_atom(at + 1, end)


cdef inline bint _is_white(unsigned char octet):
    """What `str.split` splits at."""
    return octet == c" " or c"\t" <= octet <= c"\r" or 28 <= octet <= 31


cdef class MailboxReader:
    """Reads the text of a list of addresses as `mailpipe.fields.address` does where all are ordinary mailboxes."""

    cdef _Maker maker
    cdef object shown

    def __cinit__(self, kind, shown):
        self.maker = _Maker(kind, ("display_name", "address"))
        self.shown = shown  # gives what is shown for a name with encoded words or backslashes, and whether it is quoted

    def __call__(self, str text not None):
        """The mailboxes; None where one is a group or is written in a rarer way."""
        cdef Place at
        cdef Place end
        cdef Place last
        cdef Place name
        cdef Place name_stop
        cdef Place address
        cdef Place stop
        cdef bint is_quoted
        cdef list found = []
        if not PyUnicode_IS_COMPACT_ASCII(text):
            return None
        at = <Place>PyUnicode_DATA(text)
        end = last = at + PyUnicode_GET_LENGTH(text)
        while last > at and _is_white((last - 1)[0]):
            last -= 1
        while at < last:
            at = _behind_blanks(at, end)
            name = name_stop = at
            is_quoted = at < end and at[0] == c'"'
            if is_quoted:
                name_stop = name = at + 1
                while name_stop < end and name_stop[0] not in b'"\r\n':
                    if name_stop[0] == c"\\":
                        name_stop += 1
                        if name_stop == end or not c" " <= name_stop[0] <= c"~":
                            return None
                    name_stop += 1
                if name_stop == end or name_stop[0] != c'"':
                    return None
                address = _behind_blanks(name_stop + 1, end)
                if address == end or address[0] != c"<":
                    return None
            else:
                while name_stop < end and _is_phrase[name_stop[0]]:
                    name_stop += 1
                address = _behind_blanks(name_stop, end)
            if address < end and address[0] == c"<":
                address += 1
                stop = _behind_address(address, end)
                if stop == NULL or stop == end or stop[0] != c">":
                    return None
                at = stop + 1
            else:
                address = at
                stop = _behind_address(address, end)
                if stop == NULL or (address[0] == c"=" and address[1] == c"?"):
                    return None
                at = _behind_blanks(stop, end)
                name = name_stop = at
                if at < end and at[0] == c"(":
                    name = name_stop = at + 1
                    while name_stop < end and name_stop[0] not in b"()\\\r\n":
                        name_stop += 1
                    if name_stop == end or name_stop[0] != c")":
                        return None
                    at = name_stop + 1
            at = _behind_blanks(at, end)
            if at < end:
                if at[0] != c",":
                    return None
                at += 1
            shown = self.name(name, name_stop, is_quoted)
            made = new_instance(self.maker.kind)
            fill(made, self.maker.slots[0], shown)
            fill(made, self.maker.slots[1], text_of(address, stop - address))
            found.append(made)
        return tuple(found)

    cdef object name(self, Place start, Place stop, bint is_quoted):
        """What is shown for a name, None where that is nothing."""
        cdef Place at = start + 1
        cdef bint is_spread = False, is_rare = start < stop and start[0] == c"\\"
        while at < stop:
            is_rare = is_rare or at[0] == c"\\" or (at[0] == c"?" and (at - 1)[0] == c"=")
            is_spread = is_spread or (at[0] == c" " and (at - 1)[0] == c" ")
            at += 1
        if is_rare:
            return self.shown(text_of(start, stop - start), is_quoted)
        while start < stop and _is_white(start[0]):
            start += 1
        while stop > start and _is_white((stop - 1)[0]):
            stop -= 1
        if start == stop:
            return None
        text = text_of(start, stop - start)
        return text if is_quoted or not is_spread else " ".join(text.split())
