"""How much of a message is understood before the rest is left opaque, octet for octet.

    mailpipe.parse(octets, limits=Limits(nesting_depth=20))

A limit that is reached is a defect, never an exception: what lies beyond it keeps its octets and loses only its
structure. Each limit names the attack that it stops.

Never here: limits of a connection or of a pipeline; those are options of the component that keeps them.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of understanding; sizes in octets.

    Attributes:
        nesting_depth: multiparts and messages inside one another; stops trees that overflow their reader.
        part_count: entities in one message; stops a megabyte of delimiters becoming a million objects.
        header_size: octets of one header; stops headers that are a body in disguise.
        field_count: fields in one header; stops a million fields of three octets.
        parameter_count: parameters of one field; stops a field of two hundred thousand parameters.
        address_count: mailboxes and groups in one field.
        encoded_word_count: encoded words in one field.
        decoded_size: octets or characters of one decoded body when asked for as a whole.
    """

    nesting_depth: int = 100
    part_count: int = 100_000
    header_size: int = 64 * 1024 * 1024
    field_count: int = 1_000_000
    parameter_count: int = 1_000
    address_count: int = 1_000_000
    encoded_word_count: int = 1_000_000
    decoded_size: int = 1 << 40


DEFAULT_LIMITS = Limits()
