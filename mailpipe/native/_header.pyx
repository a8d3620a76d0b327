# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The header block, compiled: names and texts of its fields, a search for one of them, where it ends.

Never here: a field that is not ASCII or has an encoded word, and a line that is no field; Python reads those.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.string cimport memchr, memcmp, memcpy

from mailpipe.native._places cimport Place, PyUnicode_DATA, PyUnicode_GET_LENGTH, PyUnicode_IS_COMPACT_ASCII, PyUnicode_New, is_blank, is_space, lower, text_of

cdef extern from "Python.h":
    void PyObject_GC_UnTrack(void* instance)

cdef list _names = [None] * 1024  # LIMIT: a place for each digest of a name, whoever came last


cdef object _name(Place start, Py_ssize_t size):
    """The text of a name, the same one for the names that mail is full of."""
    cdef unsigned int digest = 2166136261u  # FNV-1a
    cdef Py_ssize_t index
    if size >= 80:
        return text_of(start, size)
    for index in range(size):
        digest = (digest ^ start[index]) * 16777619u
    digest = (digest ^ (digest >> 15)) & 1023
    known = _names[digest]
    if known is not None and PyUnicode_GET_LENGTH(known) == size and memcmp(PyUnicode_DATA(known), start, size) == 0:
        return known
    made = _names[digest] = text_of(start, size)
    return made


cdef object _unfolded(Place start, Place stop, Py_ssize_t ends):
    """The text between two places without their line ends, so many octets, and without blanks at its ends."""
    cdef Place line
    cdef unsigned char* to
    while stop > start and is_space((stop - 1)[0]):
        stop -= 1
        ends -= not is_blank(stop[0])
    while start < stop and is_space(start[0]):
        ends -= not is_blank(start[0])
        start += 1
    made = PyUnicode_New(stop - start - ends, 127)
    to = <unsigned char*>PyUnicode_DATA(made)
    while ends:
        line = <Place>memchr(start, c"\n", stop - start)
        ends -= 1
        if (line - 1)[0] == c"\r":
            ends -= 1
            line -= 1
        memcpy(to, start, line - start)
        to += line - start
        start = line + 1 + (line[0] == c"\r")
    memcpy(to, start, stop - start)
    return made


cdef inline tuple _pair(name, text):
    """A pair of texts, which the garbage collector need not look at: sooner or later it finds that out by itself."""
    cdef tuple made = (name, text)
    PyObject_GC_UnTrack(<PyObject*>made)
    return made


cdef unsigned char _is_told[256]  # NUL, which ends the octets, too; CR, LF, ESC, "?", and what is not of ASCII


cdef void _fill_table():
    cdef int octet
    for octet in range(256):
        _is_told[octet] = octet > 127 or octet in (0, c"\r", c"\n", 27, c"?")


_fill_table()


def names_and_texts(bytes block not None, Py_ssize_t most):
    """See `mailpipe.message.lines.names_and_texts_in_python`."""
    cdef Place at = <Place>PyBytes_AS_STRING(block)
    cdef Place end = at + PyBytes_GET_SIZE(block)
    cdef Place name
    cdef Place colon
    cdef Place start
    cdef Place stop
    cdef unsigned char octet
    cdef bint is_complete = True, is_plain
    cdef Py_ssize_t ends
    cdef list found = []
    while at < end:
        name = at
        while c"!" <= at[0] <= c"~" and at[0] != c":":  # the NUL behind the octets ends it, too
            at += 1
        if at == name or at >= end or at[0] != c":":
            return None
        colon = at
        at += 1
        while at < end and is_blank(at[0]):
            at += 1
        start = at
        is_plain, ends = True, 0
        while True:
            while not _is_told[at[0]]:
                at += 1
            if at >= end:
                stop = end
                break
            octet = at[0]
            at += 1
            if octet == c"\n":
                stop = at - 1
                if at == end or not is_blank(at[0]):
                    break
                ends += 1
            elif octet == c"\r":
                if at == end or at[0] != c"\n":
                    return None
                ends += 1
            elif octet == c"?":
                if (at - 2)[0] == c"=":
                    is_plain = False
            elif octet != 0:  # ESC, or none of ASCII
                is_plain = False
        if len(found) >= most:
            return None
        if not is_plain:
            is_complete = False
            found.append(_pair(_name(name, colon - name), None))
            continue
        if ends:
            text = _unfolded(start, stop, ends)
        else:
            while stop > start and is_blank((stop - 1)[0]):
                stop -= 1
            text = text_of(start, stop - start)
        found.append(_pair(_name(name, colon - name), text))
    return tuple(found), is_complete


cdef inline bint _begins(Place at, Place bound, Place word, Py_ssize_t size):
    """Whether these octets stand here, their letters in any case."""
    cdef Py_ssize_t index
    if bound - at < size:
        return False
    for index in range(size):
        if lower(at[index]) != lower(word[index]):
            return False
    return True


cdef inline Place _behind_colon(Place at, Place end):
    """Behind the colon of a name that ends here, perhaps with blanks before it; NULL where there is none."""
    while at < end and is_blank(at[0]):
        at += 1
    return at + 1 if at < end and at[0] == c":" else <Place>NULL


cdef inline Place _field_stop(Place at, Place end):
    """Where the last line of a field stops, its line end aside."""
    while True:
        at = <Place>memchr(at, c"\n", end - at)
        if at == NULL:
            return end
        if at + 1 >= end or not is_blank(at[1]):
            return at
        at += 1


cdef inline bint _is_stripped(unsigned char octet):
    return octet == c" " or c"\t" <= octet <= c"\r"


cdef bytes _body(Place at, Place bound):
    """The body of a field, unfolded and stripped, as `mailpipe.parser.scan` has it."""
    cdef Place end = _field_stop(at, bound)
    cdef bint is_folded = memchr(at, c"\n", end - at) != NULL
    cdef bytes body
    cdef unsigned char* to
    while at < end and _is_stripped(at[0]):
        at += 1
    while end > at and _is_stripped((end - 1)[0]):
        end -= 1
    if not is_folded:
        return PyBytes_FromStringAndSize(<const char*>at, end - at)
    body = PyBytes_FromStringAndSize(NULL, end - at)
    to = <unsigned char*>PyBytes_AS_STRING(body)
    while at < end:
        if at[0] != c"\r" and at[0] != c"\n":
            to[0] = at[0]
            to += 1
        at += 1
    return body[: to - <unsigned char*>PyBytes_AS_STRING(body)]


def header_marks(bytes octets not None, Py_ssize_t start, Py_ssize_t bound):
    """Where a header ends, where the body begins, and the bodies of its first Content-Type and first
    Content-Transfer-Encoding, unfolded, None where there is none.

    See `mailpipe.parser.scan.scan_header`: lines end with LF, no delimiter is looked for.
    """
    cdef Place first = <Place>PyBytes_AS_STRING(octets)
    cdef Place at
    cdef Place end
    cdef Place name
    cdef Place stop
    cdef Place body
    cdef Place kind_at = NULL
    cdef Place encoding_at = NULL
    if start < 0 or start > bound or bound > PyBytes_GET_SIZE(octets):
        raise ValueError("no such place")
    at, end = first + start, first + bound
    stop = body = end
    while at < end:
        if at[0] == c"\n":
            stop, body = at, at + 1
            break
        if at[0] == c"\r":
            if at + 1 < end and at[1] == c"\n":
                stop, body = at, at + 2
                break
        elif _begins(at, end, <Place>b"content-t", 9):
            name = at + 9
            if _begins(name, end, <Place>b"ype", 3):
                if kind_at == NULL:
                    kind_at = _behind_colon(name + 3, end)
            elif _begins(name, end, <Place>b"ransfer-encoding", 16):
                if encoding_at == NULL:
                    encoding_at = _behind_colon(name + 16, end)
        at = <Place>memchr(at, c"\n", end - at)
        if at == NULL:
            break
        at += 1
    return (
        stop - first,
        body - first,
        _body(kind_at, stop) if kind_at != NULL and kind_at < stop else None,
        _body(encoding_at, stop) if encoding_at != NULL and encoding_at < stop else None,
    )


cdef list _bodies(bytes octets, Py_ssize_t start, Py_ssize_t stop, str name, Py_ssize_t most, bint as_places):
    """The bodies of the first fields of a name, so many at most; or their places, line ends included."""
    cdef Place at
    cdef Place end
    cdef Place look
    cdef Place line
    cdef Place letters
    cdef Place first = <Place>PyBytes_AS_STRING(octets)
    cdef Py_ssize_t size
    cdef bytes encoded
    cdef list found = []
    if start < 0 or stop > PyBytes_GET_SIZE(octets):
        raise ValueError("no such place")
    if PyUnicode_IS_COMPACT_ASCII(name):
        letters, size = <Place>PyUnicode_DATA(name), PyUnicode_GET_LENGTH(name)
    else:
        encoded = name.encode("utf-8", "surrogateescape")
        letters, size = <Place>PyBytes_AS_STRING(encoded), PyBytes_GET_SIZE(encoded)
    at, end = first + start, first + stop
    while at < end:
        # the empty name has no first octet by which Python knows the first line
        if _begins(at, end, letters, size) and (size or at > first + start):
            look = _behind_colon(at + size, end)
            if look != NULL:
                line, at = at, look
                look = _field_stop(look, end)
                if as_places:
                    found.append((line - first, look - first + (look < end)))
                else:
                    found.append(PyBytes_FromStringAndSize(<const char*>at, look - at))
                if len(found) == most:
                    break
                at = look + 1
                continue
        at = <Place>memchr(at, c"\n", end - at)
        if at == NULL:
            break
        at += 1
    return found


def field_body(bytes octets not None, Py_ssize_t start, Py_ssize_t stop, str name not None):
    """The body of the first field of a name between two places, folds and all; None where there is none.

    See `mailpipe.parser.grammar.Grammar.find`: lines end with LF.
    """
    cdef list found = _bodies(octets, start, stop, name, 1, False)
    return found[0] if found else None


def field_text(bytes octets not None, Py_ssize_t start, Py_ssize_t stop, str name not None):
    """The text of the first field of a name; None where there is none, an ellipsis where it takes a closer look.

    See `mailpipe.fields.unstructured.read`.
    """
    cdef list found = _bodies(octets, start, stop, name, 1, False)
    cdef bytes body
    cdef Place first
    cdef Place at
    cdef Place end
    cdef Py_ssize_t ends = 0
    if not found:
        return None
    body = found[0]
    first = at = <Place>PyBytes_AS_STRING(body)
    end = at + PyBytes_GET_SIZE(body)
    while True:
        while not _is_told[at[0]]:
            at += 1
        if at >= end:
            break
        if at[0] == c"\n" or (at[0] == c"\r" and (at + 1 == end or at[1] == c"\n")):
            ends += 1
        elif at[0] != 0 and (at[0] != c"?" or (at > first and (at - 1)[0] == c"=")):
            return Ellipsis
        at += 1
    return _unfolded(first, end, ends)


def field_bodies(bytes octets not None, Py_ssize_t start, Py_ssize_t stop, str name not None):
    """The same for every field of the name; see `mailpipe.parser.grammar.Grammar.every`."""
    return _bodies(octets, start, stop, name, -1, False)


def only_field(bytes octets not None, Py_ssize_t start, Py_ssize_t stop, str name not None):
    """Where the only field of the name stands, with its line end; None where there is none or another one.

    See `mailpipe.parser.grammar.Grammar.only`.
    """
    cdef list found = _bodies(octets, start, stop, name, 2, True)
    return found[0] if len(found) == 1 else None
