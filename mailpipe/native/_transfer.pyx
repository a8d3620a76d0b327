# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Quoted-printable, compiled (RFC 2045 section 6.7), and what tells text from ASCII.

Never here: octets that do not follow the syntax; Python decodes those.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE

from mailpipe.native._places cimport Place, is_blank

cdef extern from *:
    r"""
    #include <stdint.h>
    #include <string.h>

    /* Copies what stands before the next "=", eight octets at a time where they are enough; its size. */
    static Py_ssize_t copy_run(unsigned char *to, const unsigned char *from, const unsigned char *end) {
        const unsigned char *at = from;
    #if defined(__GNUC__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
        for (; end - at >= 8; at += 8, to += 8) {
            uint64_t word;
            memcpy(&word, at, 8);
            memcpy(to, &word, 8);
            word ^= 0x3D3D3D3D3D3D3D3DULL;
            word = (word - 0x0101010101010101ULL) & ~word & 0x8080808080808080ULL;
            if (word) return at - from + (__builtin_ctzll(word) >> 3);
        }
    #endif
        for (; at < end && *at != '='; at++) *to++ = *at;
        return at - from;
    }

    /* Whether no line has blanks at its end and no CR stands alone, without a branch, so that compilers do many at once. */
    #if defined(__GNUC__) && !defined(__clang__)
    __attribute__((optimize("O3")))
    #endif
    static int is_calm(const unsigned char *octets, Py_ssize_t size) {
        unsigned char odd = 0;
        for (Py_ssize_t place = 1; place < size; place++) {
            unsigned char before = octets[place - 1], octet = octets[place];
            unsigned char blank = (before == ' ') | (before == '\t');
            odd |= (blank & ((octet == '\n') | (octet == '\r'))) | ((before == '\r') & (octet != '\n'));
        }
        return !odd;
    }

    /* Copies the octets above 127; their count. */
    static Py_ssize_t copy_high(unsigned char *to, const unsigned char *at, const unsigned char *end) {
        unsigned char *first = to;
        while (at < end) {
            uint64_t word;
            if (end - at >= 8 && (memcpy(&word, at, 8), !(word & 0x8080808080808080ULL))) {
                at += 8;
                continue;
            }
            for (int left = 8; left && at < end; left--, at++)
                if (*at & 0x80) *to++ = *at;
        }
        return to - first;
    }
    """
    Py_ssize_t copy_run(unsigned char* to, Place at, Place end)
    bint is_calm(Place octets, Py_ssize_t size)
    Py_ssize_t copy_high(unsigned char* to, Place at, Place end)


cdef unsigned char _digits[256]  # the value of a hexadecimal digit, 255 for what is none


cdef void _fill_table():
    cdef int octet
    for octet in range(256):
        _digits[octet] = 255
    for octet in range(10):
        _digits[c"0" + octet] = octet
    for octet in range(6):
        _digits[c"A" + octet] = _digits[c"a" + octet] = 10 + octet


_fill_table()


def decode_quoted_printable(bytes octets not None, bint has_cr):
    """What the octets encode; None where a "=" or a CR is astray; `has_cr` says so of the body that they are of.

    See `mailpipe.codec.quoted_printable`.
    """
    cdef Place at = <Place>PyBytes_AS_STRING(octets)
    cdef Place end = at + PyBytes_GET_SIZE(octets)
    cdef Py_ssize_t run
    cdef bytes decoded, calm
    cdef unsigned char* first
    cdef unsigned char* to
    if at < end and (is_blank((end - 1)[0]) or (end - 1)[0] == c"\r" or not is_calm(at, end - at)):
        calm = _without_blanks(octets, has_cr)
        if calm is None:
            return None
        at = <Place>PyBytes_AS_STRING(calm)
        end = at + PyBytes_GET_SIZE(calm)
    decoded = PyBytes_FromStringAndSize(NULL, end - at)
    first = to = <unsigned char*>PyBytes_AS_STRING(decoded)
    while True:
        run = copy_run(to, at, end)
        to += run
        at += run
        if end - at >= 3 and _digits[at[1]] != 255 and _digits[at[2]] != 255:
            to[0] = (_digits[at[1]] << 4) | _digits[at[2]]
            to += 1
            at += 3
        elif end - at >= 2 and at[1] == c"\n":
            at += 2
        elif end - at >= 3 and at[1] == c"\r" and at[2] == c"\n":
            at += 3
        elif end - at <= 1:  # the end, or a soft line break whose line end is missing
            return decoded[: to - first]
        else:
            return None


cdef bytes _without_blanks(bytes octets, bint has_cr):
    """Without the blanks before line ends, LF or, where the body has a CR, CRLF alone; None where a CR stands alone."""
    cdef Place at = <Place>PyBytes_AS_STRING(octets)
    cdef Place end = at + PyBytes_GET_SIZE(octets)
    cdef bytes calm = PyBytes_FromStringAndSize(NULL, end - at)
    cdef unsigned char* first = <unsigned char*>PyBytes_AS_STRING(calm)
    cdef unsigned char* to = first
    while at < end:
        if at[0] == c"\r" and (at + 1 == end or at[1] != c"\n"):
            return None
        if at[0] == c"\r" or (at[0] == c"\n" and not has_cr):
            while to > first and is_blank((to - 1)[0]):
                to -= 1
        to[0] = at[0]
        to += 1
        at += 1
    while to > first and is_blank((to - 1)[0]):
        to -= 1
    return calm[: to - first]


def high_octets(bytes octets not None):
    """Those above 127, in order."""
    cdef Place start = <Place>PyBytes_AS_STRING(octets)
    cdef bytes found = PyBytes_FromStringAndSize(NULL, PyBytes_GET_SIZE(octets))
    cdef Py_ssize_t size = copy_high(<unsigned char*>PyBytes_AS_STRING(found), start, start + PyBytes_GET_SIZE(octets))
    return found[:size]
