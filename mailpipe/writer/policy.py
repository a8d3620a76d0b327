"""What may be written: line ends, octets above 127, long lines, UTF-8 in the header.

Never here: how that is achieved; see `write` and `downgrade`.
"""

from dataclasses import dataclass
from typing import Literal

Domain = Literal["7bit", "8bit", "binary"]


@dataclass(frozen=True, slots=True)
class WritePolicy:
    """A peer's abilities.

    Attributes:
        line_end: what every line must end with; None leaves each as it is.
        encoding: "7bit": ASCII in lines; "8bit": any octet but NUL, in lines (RFC 6152); "binary": anything
            (RFC 3030). A line has at most `line_length` octets unless "binary".
        smtputf8: whether a header may hold UTF-8 (RFC 6532). Where it may not and the encoding is "7bit", what
            can be said in encoded words is.
        line_length: the most octets in a line without its end (RFC 5321 section 4.5.3.1.6).
    """

    line_end: bytes | None = None
    encoding: Domain = "binary"
    smtputf8: bool = True
    line_length: int = 998
