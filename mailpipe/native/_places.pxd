# cython: language_level=3
"""Octets and the end of them, and the texts made of them: what the compiled readers have in common."""

from libc.string cimport memcpy

ctypedef const unsigned char* Place

cdef extern from "Python.h":
    object PyUnicode_New(Py_ssize_t size, Py_UCS4 greatest)
    void* PyUnicode_DATA(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    bint PyUnicode_IS_COMPACT_ASCII(object text)


cdef inline bint is_blank(unsigned char octet):
    return octet == c" " or octet == c"\t"


cdef inline bint is_space(unsigned char octet):
    return octet == c" " or octet == c"\t" or octet == c"\r" or octet == c"\n"


cdef inline unsigned char lower(unsigned char octet):
    return octet | 0x20 if c"A" <= octet <= c"Z" else octet


cdef inline object text_of(Place start, Py_ssize_t size):
    """A text of so many octets of ASCII."""
    made = PyUnicode_New(size, 127)
    memcpy(PyUnicode_DATA(made), start, size)
    return made
