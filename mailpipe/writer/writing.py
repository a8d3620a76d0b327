r"""The walk from model to octets: what fits the policy is copied, what does not is downgraded.

    octets = write(message, WritePolicy(line_end=b"\r\n", encoding="7bit", smtputf8=False))

A message that fits already, and most do, costs three passes at memory speed and no parsing.

Never here: what a single leaf or field becomes; that is `downgrade`.
"""

import re

from mailpipe.message import Entity
from mailpipe.writer import downgrade
from mailpipe.writer.policy import WritePolicy

_BARE_CR = re.compile(rb"\r(?!\n)")


def write(entity: Entity, policy: WritePolicy) -> bytes:
    """The octets of an entity for a peer.

    Raises:
        ComposeError: the policy cannot be met without breaking a signature (5.6.3), or the header needs a UTF-8
            address that the peer cannot take (5.6.7).
    """
    octets = entity.raw
    if not downgrade.is_line_safe(octets, policy):
        octets = downgrade.downgrade(entity, policy).raw
    return octets if policy.line_end is None else with_line_ends(octets, policy.line_end)


def with_line_ends(octets: bytes, line_end: bytes) -> bytes:
    r"""The same lines with another end; a bare CR among lines that end with LF becomes a space.

    >>> with_line_ends(b"a\nb\r\nc", b"\r\n")
    b'a\r\nb\r\nc'
    """
    returns, feeds, pairs = octets.count(b"\r"), octets.count(b"\n"), octets.count(b"\r\n")
    if feeds == 0 and returns:
        return octets.replace(b"\r", line_end)
    if returns != pairs:
        octets = _BARE_CR.sub(b" ", octets)
    if line_end == b"\r\n":
        return octets if pairs == feeds else octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    octets = octets.replace(b"\r\n", b"\n")
    return octets if line_end == b"\n" else octets.replace(b"\n", line_end)
