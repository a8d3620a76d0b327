"""What an envelope and a message become for one peer: the commands of a transaction, chosen by the peer's extensions.

    plan = plan_transaction(envelope, octets, extensions)
    plan.mail.octets, [rcpt.octets for _, rcpt in plan.rcpts], plan.refusals

What the peer could only misunderstand is refused here, for the recipients whom it concerns, before anything is sent.

Never here: conversion of messages. Whoever writes the octets asks the extensions first; this is the last check.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from mailpipe.errors import LocalProtocolError
from mailpipe.smtp.command import Mail, Rcpt
from mailpipe.smtp.envelope import Envelope, ForwardPath, Parameters
from mailpipe.smtp.extension import Extensions
from mailpipe.smtp.path import AddressSpec
from mailpipe.smtp.reply import Reply
from mailpipe.smtp.transparency import encode_content, is_crlf_only
from mailpipe.status import EnhancedStatus

# Parameters that we only pass on, and the extension that allows each.
_EXTENSION_OF = {
    "AUTH": "AUTH",
    "BY": "DELIVERBY",
    "HOLDFOR": "FUTURERELEASE",
    "HOLDUNTIL": "FUTURERELEASE",
    "MT-PRIORITY": "MT-PRIORITY",
    "SOLICIT": "NO-SOLICITING",
}


@dataclass(frozen=True, slots=True)
class TransactionPlan:
    """The commands and the content of one transaction.

    Attributes:
        mail: the MAIL command.
        rcpts: place in the envelope and RCPT command of each recipient whom the peer is asked about.
        refusals: place in the envelope → our own refusal of a recipient whom it is not asked about.
        content: what follows the reply to DATA, end of data included, or the one piece of BDAT.
        is_chunked: the content goes by BDAT.
    """

    mail: Mail
    rcpts: tuple[tuple[int, Rcpt], ...]
    refusals: Mapping[int, Reply]
    content: bytes
    is_chunked: bool = False


def plan_transaction(
    envelope: Envelope, octets: bytes, extensions: Extensions, *, encrypted: bool = False
) -> TransactionPlan:
    """Choose the commands.

    Args:
        envelope: from whom, to whom.
        octets: the message with CRLF as its only line end, unless it is to go as BINARYMIME.
        extensions: what the peer offers.
        encrypted: the connection has TLS.

    Raises:
        LocalProtocolError: the message holds a bare CR or LF and cannot go by BDAT.
    """
    # Without BINARYMIME encode_content refuses a bare CR or LF; a NUL passes, as it always did.
    chunked = extensions.binarymime and (not is_crlf_only(octets) or b"\0" in octets)
    smtputf8 = extensions.smtputf8 and _needs_smtputf8(envelope, octets)
    body = "BINARYMIME" if chunked else None if octets.isascii() else "8BITMIME"
    mail = Mail(envelope.reverse_path, _mail_parameters(envelope, extensions, len(octets), body, smtputf8))
    whole = _whole_refusal(envelope, mail, octets, extensions, body, encrypted)
    if whole is not None or not envelope.forward_paths:
        refusals = {} if whole is None else dict.fromkeys(range(len(envelope.forward_paths)), whole)
        return TransactionPlan(mail, (), refusals, b"")
    rcpts: list[tuple[int, Rcpt]] = []
    refusals = {}
    for place, path in enumerate(envelope.forward_paths):
        rcpt = Rcpt(path.address, _rcpt_parameters(path, extensions), smtputf8)
        try:
            _ = rcpt.octets
        except LocalProtocolError as error:
            refusals[place] = _local(error.status, str(error))
        else:
            rcpts.append((place, rcpt))
    content = (octets if chunked else encode_content(octets)) if rcpts else b""
    return TransactionPlan(mail, tuple(rcpts), refusals, content, chunked)


def _local(status: EnhancedStatus, text: str) -> Reply:
    return Reply(status.reply_code, (text,), status)


def _needs_smtputf8(envelope: Envelope, octets: bytes) -> bool:
    addresses = (envelope.reverse_path, *envelope.addresses)
    return any(_is_utf8_address(address) for address in addresses) or has_utf8_header(octets)


def has_utf8_header(octets: bytes) -> bool:
    """Whether the header is one of RFC 6532.

    QUIRK: a header in an undeclared charset of the nineties is no UTF-8, and SMTPUTF8 would be a lie about it.
    """
    if octets.isascii():
        return False
    end = octets.find(b"\r\n\r\n")
    header = octets if end < 0 else octets[:end]
    if header.isascii():
        return False
    try:
        header.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_utf8_address(address: str) -> bool:
    if address.isascii():
        return False
    try:
        return AddressSpec.parse(address).needs_smtputf8
    except LocalProtocolError:
        return False


def _mail_parameters(
    envelope: Envelope, extensions: Extensions, size: int, body: str | None, smtputf8: bool
) -> Parameters:
    given = envelope.parameters
    chosen: list[tuple[str, str | None]] = []
    if extensions.size is not None:
        chosen.append(("SIZE", str(size)))  # RFC 1870 section 6.1: before transparency
    if body is not None and extensions.eightbitmime:
        chosen.append(("BODY", body))
    if smtputf8:
        chosen.append(("SMTPUTF8", None))
    if extensions.dsn:
        if given.ret:
            chosen.append(("RET", given.ret))
        if given.envid:
            chosen.append(("ENVID", given.envid))
    if given.requiretls and extensions.requiretls:
        chosen.append(("REQUIRETLS", None))
    return (*chosen, *_allowed(given.parameters, extensions))


def _rcpt_parameters(path: ForwardPath, extensions: Extensions) -> Parameters:
    if not (path.notify or path.orcpt or path.parameters):
        return ()
    chosen: list[tuple[str, str | None]] = []
    if extensions.dsn:
        if path.notify:
            chosen.append(("NOTIFY", ",".join(path.notify)))
        if path.orcpt:
            chosen.append(("ORCPT", path.orcpt))
    return (*chosen, *_allowed(path.parameters, extensions))


def _allowed(parameters: Parameters, extensions: Extensions) -> Parameters:
    return tuple(pair for pair in parameters if _EXTENSION_OF.get(pair[0].upper(), pair[0].upper()) in extensions)


def _whole_refusal(
    envelope: Envelope, mail: Mail, octets: bytes, extensions: Extensions, body: str | None, encrypted: bool
) -> Reply | None:
    """Why the transaction cannot be had at all, or None."""
    try:
        _ = mail.octets
    except LocalProtocolError as error:
        utf8 = error.status == EnhancedStatus(5, 6, 7)
        return _local(error.status if utf8 else EnhancedStatus(5, 1, 7), f"reverse-path: {error}")
    if envelope.parameters.smtputf8 and not extensions.smtputf8 and has_utf8_header(octets):
        words = "the header needs SMTPUTF8 (RFC 6531), which the next hop does not offer"
        return _local(EnhancedStatus(5, 6, 7), words)
    if extensions.size and len(octets) > extensions.size:
        words = f"the message has {len(octets)} octets, the next hop takes at most {extensions.size}"
        return _local(EnhancedStatus(5, 3, 4), words)
    if body is not None and not extensions.eightbitmime:
        words = "the message holds 8-bit octets, and the next hop does not offer 8BITMIME; re-encode it to 7bit"
        return _local(EnhancedStatus(5, 6, 3), words)
    if envelope.parameters.requiretls and not (encrypted and extensions.requiretls):
        words = "the mail must travel over TLS on every hop (RFC 8689), and the next hop does not offer that"
        return _local(EnhancedStatus(5, 7, 30), words)
    return None
