"""SMTP and LMTP without sockets (RFC 5321, 2033): values, and protocol cores that take octets in and give octets out.

    from mailpipe.smtp import Envelope, ForwardPath, Reply
    from mailpipe.smtp.client import ClientProtocol

From the ground up: `path` (addresses), `xtext`, `reply`, `extension`, `envelope`, `dsn`, `attribute` (of XCLIENT),
`command` (values that know their octets); `transparency` (dots), `state` (the order of a session), `sasl`, `demand`;
`negotiation` (what a peer can take), `transaction`, `opening`, `events`, `client`. Beside them `transcript`.

Never here: sockets, clocks, chance; messages and their header fields.
"""

from mailpipe.smtp.envelope import Client, Envelope, ForwardPath, MailParameters
from mailpipe.smtp.reply import Reply

__all__ = ["Client", "Envelope", "ForwardPath", "MailParameters", "Reply"]
