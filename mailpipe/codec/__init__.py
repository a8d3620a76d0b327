"""Transformations of octets: transfer encodings, charsets, encoded words (RFC 2045 6, 2047). Plain functions."""
