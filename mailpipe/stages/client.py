"""Which host a mail came from: as a server told us, or as the Received field of a server of ours has it.

    client = client_of(mail, trusted_hops=1)        # Client(address="192.0.2.3", helo="mx.example.org"), or None

A Received field is believed only as far as the pipeline file says that the servers which wrote the topmost ones are
ours: everything below is the sender's to invent. And of a field that is believed only that counts which its server
found out, not what the client said about itself.

Never here: what follows from it.
"""

import re
from ipaddress import ip_address

from mailpipe.fields.trace import Received
from mailpipe.pipeline.mail import Mail
from mailpipe.smtp.envelope import Client

_SAID = re.compile(r"(?:^|(?<=[\s(]))(?:helo|ehlo|ident)(?:=|\s+)([^\s()]{0,255})", re.IGNORECASE)
_BRACKETED = re.compile(r"\[(?:IPv6:)?([0-9A-Fa-f:.]{3,45})\]", re.IGNORECASE)
_ALONE = re.compile(r"(?:[^@\s]{0,64}@)?([0-9A-Fa-f:.]{3,45})")


def client_of(mail: Mail, trusted_hops: int = 0) -> Client | None:
    """The client; None where nobody whom we believe says who it was.

    Args:
        mail: its envelope counts before its header.
        trusted_hops: how many of the topmost Received fields servers of ours wrote; the last of them speaks of the
            client. 0 for none.
    """
    told = mail.envelope.client
    if told is not None and (address := _address(told.address)):
        return Client(address, told.name, told.port, told.protocol, told.helo, told.ident)
    if trusted_hops <= 0:
        return None
    hops = mail.message.header.all("received")
    value = hops[trusted_hops - 1].value if len(hops) >= trusted_hops else None
    return _of_hop(value) if isinstance(value, Received) else None


def _of_hop(hop: Received) -> Client | None:
    said = ""
    found = ""
    for number, comment in enumerate((hop.from_comment, *hop.comments[:1])):
        text = comment or ""
        if name := _SAID.search(text):
            said = said or name[1]
            text = _SAID.sub(" ", text)
        # the name of a host, of a certificate or of a user may look like an address, so that brackets count, and behind
        # the first comment only an address that is all there is: QUIRK: qmail's "from unknown (HELO a) (192.0.2.1)"
        marked = _BRACKETED.search(text) if number == 0 else None
        alone = _ALONE.fullmatch(text.strip())
        found = found or _address((marked or alone or [""] * 2)[1])
    if not found and said and _BRACKETED.fullmatch(hop.from_ or ""):
        # QUIRK: Exim writes the address where others write the name: "from [192.0.2.1] (helo=mx.example.org)"
        found = _address(hop.from_ or "")
    return Client(found, helo=said or hop.from_ or "") if found else None


def _address(text: str) -> str:
    """An address in its usual form, "" where it is none."""
    try:
        return str(ip_address(re.sub(r"\A\[(?:IPv6:)?|\]\Z", "", text, flags=re.IGNORECASE).partition("%")[0]))
    except ValueError:
        return ""
