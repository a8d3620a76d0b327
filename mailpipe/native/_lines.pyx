# cython: language_level=3, boundscheck=False, wraparound=False
"""Fields looked up by name among the names and texts of a header, compiled, and their values.

Never here: how a value is read; what is called does that.
"""

from cpython.dict cimport PyDict_GetItemWithError
from cpython.object cimport PyObject

from mailpipe.native._places cimport Place, PyUnicode_DATA, PyUnicode_GET_LENGTH, PyUnicode_IS_COMPACT_ASCII, lower


cdef bint _is(object written, str name):
    """Whether a name as written is this one, in whatever case; names that are not ASCII have more cases than octets."""
    cdef Py_ssize_t size, index
    cdef Place first
    cdef Place second
    if written is name:
        return True
    if not PyUnicode_IS_COMPACT_ASCII(written) or not PyUnicode_IS_COMPACT_ASCII(name):
        return written.lower() == name.lower()
    size = PyUnicode_GET_LENGTH(name)
    if PyUnicode_GET_LENGTH(written) != size:
        return False
    first, second = <Place>PyUnicode_DATA(written), <Place>PyUnicode_DATA(name)
    for index in range(size):
        if lower(first[index]) != lower(second[index]):
            return False
    return True


cdef Py_ssize_t _place(tuple items, str name, Py_ssize_t start):
    """Where the first field of a name stands from a place on, below 0 where there is none; a line without a name is none."""
    cdef Py_ssize_t place
    if PyUnicode_GET_LENGTH(name):
        for place in range(start, len(items)):
            if _is((<tuple>items[place])[0], name):
                return place
    return -1


cdef object _value(tuple items, Py_ssize_t place, list values, dict readers, lines):
    cdef PyObject* reader
    value = values[place]
    if value is None:
        name, text = <tuple>items[place]
        if text is None:
            value = lines.value_of_raw(place)
        else:
            reader = PyDict_GetItemWithError(readers, name)
            value = (<object>reader)(text) if reader != NULL else lines.value(place)
        values[place] = value
    return value


def places_of(tuple items not None, str name not None):
    """Where all fields of a name stand.

    See `mailpipe.message.lines.Lines.places_of`.
    """
    cdef list found = []
    cdef Py_ssize_t place = _place(items, name, 0)
    while place >= 0:
        found.append(place)
        place = _place(items, name, place + 1)
    return found


def value_of(tuple items not None, list values not None, str name not None, dict readers not None, lines):
    """The value of the first field of a name, None where there is none; read where it is not among the values.

    Args:
        items: name and text of each field.
        values: of each field, None where it has not been read.
        name: in any case.
        readers: what reads the text under a name as written.
        lines: whose they are; reads what is not in `readers`.
    """
    cdef Py_ssize_t place = _place(items, name, 0)
    if len(values) != len(items):
        raise ValueError("a value for each field")
    return None if place < 0 else _value(items, place, values, readers, lines)


def values_of(tuple items not None, list values not None, str name not None, dict readers not None, lines):
    """The values of all fields of a name; arguments as for `value_of`."""
    cdef list found = []
    cdef Py_ssize_t place = _place(items, name, 0)
    if len(values) != len(items):
        raise ValueError("a value for each field")
    while place >= 0:
        found.append(_value(items, place, values, readers, lines))
        place = _place(items, name, place + 1)
    return found
