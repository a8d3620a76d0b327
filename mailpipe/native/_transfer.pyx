# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Quoted-printable, compiled (RFC 2045 section 6.7).

Never here: octets that do not follow the syntax; Python decodes those.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcpy

from mailpipe.native._places cimport Place, is_blank


cdef unsigned char _digits[256]  # the value of a hexadecimal digit, 255 for what is none
cdef unsigned char _is_told[256]  # "=", CR and LF


cdef void _fill_tables():
    cdef int octet
    for octet in range(256):
        _digits[octet] = 255
        _is_told[octet] = octet == c"=" or octet == c"\r" or octet == c"\n"
    for octet in range(10):
        _digits[c"0" + octet] = octet
    for octet in range(6):
        _digits[c"A" + octet] = _digits[c"a" + octet] = 10 + octet


_fill_tables()


def decode_quoted_printable(bytes octets not None):
    """What the octets encode; None where a "=" or a CR is astray or blanks stand before the end of a line.

    See `mailpipe.codec.quoted_printable`.
    """
    cdef Place at = <Place>PyBytes_AS_STRING(octets)
    cdef Place end = at + PyBytes_GET_SIZE(octets)
    cdef Place run
    cdef bytes decoded = PyBytes_FromStringAndSize(NULL, end - at)
    cdef unsigned char* first = <unsigned char*>PyBytes_AS_STRING(decoded)
    cdef unsigned char* to = first
    if at < end and is_blank((end - 1)[0]):
        return None
    while True:
        run = at
        while at < end and not _is_told[at[0]]:
            at += 1
        memcpy(to, run, at - run)
        to += at - run
        if at >= end:
            return decoded[: to - first]
        if at[0] == c"=":
            if end - at >= 3 and _digits[at[1]] != 255 and _digits[at[2]] != 255:
                to[0] = (_digits[at[1]] << 4) | _digits[at[2]]
                to += 1
                at += 3
            elif end - at >= 2 and at[1] == c"\n":
                at += 2
            elif end - at >= 3 and at[1] == c"\r" and at[2] == c"\n":
                at += 3
            else:
                return None
            continue
        if at > run and is_blank((at - 1)[0]):
            return None
        if at[0] == c"\r":
            if end - at < 2 or at[1] != c"\n":
                return None
            to[0] = c"\r"
            to += 1
            at += 1
        to[0] = c"\n"
        to += 1
        at += 1
