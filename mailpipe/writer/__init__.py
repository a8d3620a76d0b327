r"""From the model to octets for a peer that can take less than everything (RFC 5321, RFC 6152, RFC 6531).

    from mailpipe.writer import WritePolicy, write

    octets = write(message, WritePolicy(line_end=b"\r\n", encoding="8bit"))

`bytes(message)` needs none of this: it is the lossless form.
"""

from mailpipe.writer.policy import WritePolicy
from mailpipe.writer.writing import write

__all__ = ["WritePolicy", "write"]
