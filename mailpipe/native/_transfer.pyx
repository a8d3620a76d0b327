# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Quoted-printable (RFC 2045 section 6.7) and text in windows-1252, compiled.

Never here: octets in which a CR stands alone; Python decodes those.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeLatin1

from mailpipe.native._places cimport Place, PyUnicode_DATA, PyUnicode_New, is_blank

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

    /* Loops without a branch, of which compilers do many octets at once where they are asked to. */
    #if defined(__GNUC__) && !defined(__clang__)
    #define QUICK __attribute__((optimize("O3")))
    #else
    #define QUICK
    #endif

    /* Whether no line has blanks at its end and no CR stands alone. */
    QUICK static int is_calm(const unsigned char *octets, Py_ssize_t size) {
        unsigned char odd = 0;
        for (Py_ssize_t place = 1; place < size; place++) {
            unsigned char before = octets[place - 1], octet = octets[place];
            unsigned char blank = (before == ' ') | (before == '\t');
            odd |= (blank & ((octet == '\n') | (octet == '\r'))) | ((before == '\r') & (octet != '\n'));
        }
        return !odd;
    }

    QUICK static int has_controls(const unsigned char *octets, Py_ssize_t size) {
        unsigned char found = 0;
        for (Py_ssize_t place = 0; place < size; place++) found |= (octets[place] & 0xE0) == 0x80;
        return found;
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
    bint has_controls(Place octets, Py_ssize_t size)
    Py_ssize_t copy_high(unsigned char* to, Place at, Place end)


cdef unsigned short _windows[256]  # what windows-1252 makes of each octet
cdef unsigned char _digits[256]  # the value of a hexadecimal digit, 255 for what is none


cdef void _fill_tables():
    cdef int octet
    for octet in range(256):
        _digits[octet] = 255
        _windows[octet] = ord(bytes([octet]).decode("cp1252", "ignore") or chr(octet))
    for octet in range(10):
        _digits[c"0" + octet] = octet
    for octet in range(6):
        _digits[c"A" + octet] = _digits[c"a" + octet] = 10 + octet


_fill_tables()


def decode_quoted_printable(bytes octets not None, bint has_cr, bint keeps_stray):
    """What the octets encode; None where a CR stands alone, and where a "=" is astray unless that is to be kept.

    `has_cr` says whether the body that they are of has one.

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
        elif keeps_stray:
            at += 1
            run = 0
            while at + run < end and is_blank(at[run]):
                run += 1
            if run and at + run < end and at[run] == c"\n":  # where the others end with CRLF
                at += run + 1
            else:
                to[0] = c"="
                to += 1
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


def windows_text(bytes octets not None):
    """The text of windows-1252, whose undefined octets are C1 controls, as WHATWG reads it."""
    cdef Place at = <Place>PyBytes_AS_STRING(octets)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(octets), place
    cdef bint is_wide = False
    cdef unsigned short* to
    if has_controls(at, size):
        for place in range(size):
            if _windows[at[place]] > 0xFF:
                is_wide = True
                break
    if not is_wide:
        return PyUnicode_DecodeLatin1(<const char*>at, size, NULL)
    text = PyUnicode_New(size, 0xFFFF)
    to = <unsigned short*>PyUnicode_DATA(text)
    for place in range(size):
        to[place] = _windows[at[place]]
    return text
